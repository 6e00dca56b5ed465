//! The store: artifacts by content key, each whole or not there.
//!
//! ```text
//! .xd/store/ab/ab12..ef/          a finished artifact; `step.json` says what it is
//! .xd/store/ab/ab12..ef.work/     one being made, with its checkpoints; survives kill -9 and is gone on with
//! .xd/store/ab/ab12..ef.lock      held while it is made: one maker an entry
//! .xd/store/index/NAME.json       the last key of every address of an experiment, to say why a step must be done
//! ```
//!
//! An artifact is made in the work folder; its files are synced, then the folder is renamed. A reader never sees half of it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Error, Result};

/// What `step.json` of an artifact says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    pub id: String,
    pub kind: String,
    /// Address at which it was first made.
    pub address: String,
    pub seconds: f64,
    pub tokens: u64,
    /// Largest resident memory of the whole process while it was made, in bytes; 0 where the system does not say. Steps that
    /// were made side by side share it.
    #[serde(default)]
    pub memory_bytes: u64,
    /// Remarks of the making, such as norm warnings.
    pub notes: Vec<String>,
    pub xd_version: String,
    /// Where it was computed: `cpu`, or a card. Empty in records of versions that did not write it down.
    #[serde(default)]
    pub device: String,
}

/// What the index remembers of an address.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Remembered {
    pub id: String,
    /// The step's specification as JSON.
    pub spec: serde_json::Value,
    /// Ids of its inputs by address.
    pub inputs: BTreeMap<String, String>,
}

/// A folder of artifacts.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
}

impl Store {
    /// Opens the store, making its folder where it is missing.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self> {
        let root = root.into();
        fs::create_dir_all(&root).map_err(|e| Error::file(&root, e))?;
        let root = fs::canonicalize(&root).map_err(|e| Error::file(&root, e))?;
        Ok(Store { root })
    }

    /// Its folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where the artifact of this key is, or will be.
    pub fn artifact(&self, id: &str) -> PathBuf {
        self.root.join(&id[..2]).join(id)
    }

    fn beside(&self, id: &str, suffix: &str) -> PathBuf {
        self.root.join(&id[..2]).join(format!("{id}{suffix}"))
    }

    /// The record of a finished artifact; `None` where there is none.
    ///
    /// # Errors
    /// When the record is there and cannot be read.
    pub fn record(&self, id: &str) -> Result<Option<Record>> {
        let path = self.artifact(id).join("step.json");
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|e| Error::damaged(&path, e)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Error::file(&path, e)),
        }
    }

    /// True when a making was begun and not finished.
    pub fn begun(&self, id: &str) -> bool {
        self.beside(id, ".work").is_dir()
    }

    /// Begins (or goes on with) the making of an artifact. Waits while another process makes the same one; `waiting` is
    /// called once before it waits.
    ///
    /// # Errors
    /// When the folder or the lock cannot be made.
    pub fn begin(&self, id: &str, waiting: impl FnOnce()) -> Result<Making> {
        let work = self.beside(id, ".work");
        let parent = self.root.join(&id[..2]);
        fs::create_dir_all(&parent).map_err(|e| Error::file(&parent, e))?;
        let lock_path = self.beside(id, ".lock");
        let lock = File::create(&lock_path).map_err(|e| Error::file(&lock_path, e))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                waiting();
                lock.lock().map_err(|e| Error::file(&lock_path, e))?;
            }
            Err(fs::TryLockError::Error(e)) => return Err(Error::file(&lock_path, e)),
        }
        fs::create_dir_all(&work).map_err(|e| Error::file(&work, e))?;
        Ok(Making { work, done: self.artifact(id), _lock: lock })
    }

    /// The index of an experiment: what each address was made from last time.
    pub fn index(&self, experiment: &str) -> BTreeMap<String, Remembered> {
        let path = self.root.join("index").join(format!("{experiment}.json"));
        fs::read(path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
    }

    /// Replaces the index of an experiment.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn remember(&self, experiment: &str, index: &BTreeMap<String, Remembered>) -> Result<()> {
        let path = self.root.join("index").join(format!("{experiment}.json"));
        let text = serde_json::to_vec_pretty(index).map_err(|e| Error::damaged(&path, e))?;
        write_whole(&path, &text)
    }
}

/// An artifact being made. Dropping it keeps the work folder, so that the next run goes on from its checkpoints.
pub struct Making {
    work: PathBuf,
    done: PathBuf,
    _lock: File,
}

impl Making {
    /// The folder to write into.
    pub fn folder(&self) -> &Path {
        &self.work
    }

    /// Writes the record, syncs every file, and moves the folder to its place.
    ///
    /// # Errors
    /// When something cannot be written.
    pub fn finish(self, record: &Record) -> Result<PathBuf> {
        if self.done.join("step.json").is_file() {
            // Another process finished it while this one waited for the lock.
            fs::remove_dir_all(&self.work).map_err(|e| Error::file(&self.work, e))?;
            return Ok(self.done);
        }
        let text = serde_json::to_vec_pretty(record).map_err(|e| Error::damaged(&self.work, e))?;
        let path = self.work.join("step.json");
        fs::write(&path, text).map_err(|e| Error::file(&path, e))?;
        sync_all(&self.work)?;
        if self.done.exists() {
            fs::remove_dir_all(&self.done).map_err(|e| Error::file(&self.done, e))?;
        }
        fs::rename(&self.work, &self.done).map_err(|e| Error::file(&self.done, e))?;
        sync(self.done.parent().unwrap_or(&self.done))?;
        Ok(self.done)
    }
}

/// Writes a file so that a reader sees the old or the new bytes, never a part: temp beside it, fsync, rename.
///
/// # Errors
/// When the folder or file cannot be written.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(|e| Error::file(parent, e))?;
    }
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}.tmp", std::process::id()));
    let temp = path.with_file_name(name);
    let mut file = File::create(&temp).map_err(|e| Error::file(&temp, e))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(|e| Error::file(&temp, e))?;
    fs::rename(&temp, path).map_err(|e| Error::file(path, e))
}

fn sync_all(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder).map_err(|e| Error::file(folder, e))? {
        let path = entry.map_err(|e| Error::file(folder, e))?.path();
        if path.is_dir() {
            sync_all(&path)?;
        } else {
            sync(&path)?;
        }
    }
    sync(folder)
}

fn sync(path: &Path) -> Result<()> {
    File::open(path).and_then(|f| f.sync_all()).map_err(|e| Error::file(path, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(id: &str) -> Record {
        Record {
            id: id.into(),
            kind: "crosscoder".into(),
            address: "cc[loss = l1]".into(),
            seconds: 1.5,
            memory_bytes: 0,
            tokens: 10,
            notes: vec!["sink token at position 0".into()],
            xd_version: "0.1.0".into(),
            device: "cpu".into(),
        }
    }

    #[test]
    fn an_artifact_is_there_only_when_it_is_finished() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path().join("store")).unwrap();
        let id = "ab".repeat(32);
        let making = store.begin(&id, || panic!("nobody else makes it")).unwrap();
        fs::write(making.folder().join("rows.csv"), "x").unwrap();
        assert_eq!(store.record(&id).unwrap(), None);
        assert!(store.begun(&id));
        drop(making);
        let making = store.begin(&id, || panic!("the lock was dropped")).unwrap();
        assert!(making.folder().join("rows.csv").is_file(), "an interrupted making is gone on with");
        making.finish(&record(&id)).unwrap();
        assert_eq!(store.record(&id).unwrap(), Some(record(&id)));
        assert!(!store.begun(&id));
    }

    #[test]
    fn one_maker_an_entry() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let id = "cd".repeat(32);
        let first = store.begin(&id, || panic!("free")).unwrap();
        let waited = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            let second = scope.spawn(|| {
                let making = store.begin(&id, || waited.store(true, std::sync::atomic::Ordering::SeqCst)).unwrap();
                making.finish(&record(&id)).unwrap()
            });
            while !waited.load(std::sync::atomic::Ordering::SeqCst) {
                std::thread::yield_now();
            }
            fs::write(first.folder().join("by"), "first").unwrap();
            first.finish(&record(&id)).unwrap();
            second.join().unwrap();
        });
        assert_eq!(fs::read_to_string(store.artifact(&id).join("by")).unwrap(), "first");
    }

    #[test]
    fn a_damaged_record_is_an_error_and_not_a_miss() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let id = "ef".repeat(32);
        fs::create_dir_all(store.artifact(&id)).unwrap();
        fs::write(store.artifact(&id).join("step.json"), "{").unwrap();
        assert!(matches!(store.record(&id), Err(Error::Damaged { .. })));
    }
}
