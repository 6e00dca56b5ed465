//! Hashes of large files, remembered between calls: weights of gigabytes do not change while one edits a file, `xd check` is to
//! answer before a person has let go of the key, and what the hub sent is not read through at every run.
//!
//! A hash is believed while path, size and time of change are the same. A file that changed in the last seconds is not
//! remembered, since a second change may leave no trace in its time.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// Changes closer to now than this may not be the last.
const SETTLED: Duration = Duration::from_secs(5);

/// What is remembered of a file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Known {
    bytes: u64,
    /// Nanoseconds since 1970.
    changed: u64,
    hash: String,
}

type Memory = BTreeMap<PathBuf, Known>;

/// Hashes by absolute path. A cache that cannot be read or written costs time and nothing else.
#[derive(Debug, Default)]
pub struct HashCache {
    place: Option<PathBuf>,
    large: u64,
    known: Mutex<Option<Memory>>,
}

impl HashCache {
    /// Kept in the file `place`. Files smaller than `large` bytes are hashed each time: that takes less than it saves.
    pub fn at(place: Option<PathBuf>, large: u64) -> Self {
        HashCache { place, large, known: Mutex::default() }
    }

    /// The hash of the file in hex, by `compute` when it is small, new or changed.
    pub fn hash<E>(&self, file: &Path, compute: impl FnOnce() -> Result<String, E>) -> Result<String, E> {
        let Some((path, bytes, changed)) = std::fs::metadata(file).ok().and_then(|m| identity(file, &m)) else {
            return compute();
        };
        if bytes < self.large {
            return compute();
        }
        if let Some(hash) = self.lookup(&path, bytes, changed) {
            return Ok(hash);
        }
        let hash = compute()?;
        self.remember(path, Known { bytes, changed, hash: hash.clone() });
        Ok(hash)
    }

    fn known(&self) -> MutexGuard<'_, Option<Memory>> {
        self.known.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn lookup(&self, path: &Path, bytes: u64, changed: u64) -> Option<String> {
        let mut known = self.known();
        let known = known.get_or_insert_with(|| self.read());
        let found = known.get(path).filter(|k| k.bytes == bytes && k.changed == changed)?;
        Some(found.hash.clone())
    }

    fn remember(&self, path: PathBuf, fact: Known) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        if now.saturating_sub(Duration::from_nanos(fact.changed)) < SETTLED {
            return;
        }
        let mut known = self.known();
        // Another process may have written meanwhile.
        let known = known.insert(self.read());
        known.insert(path, fact);
        let _ = self.write(known);
    }

    fn read(&self) -> Memory {
        let text = self.place.as_ref().and_then(|place| std::fs::read(place).ok());
        text.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
    }

    fn write(&self, known: &Memory) -> std::io::Result<()> {
        let Some(place) = &self.place else { return Ok(()) };
        if let Some(folder) = place.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let temporary = place.with_extension(format!("{}.tmp", std::process::id()));
        std::fs::write(&temporary, serde_json::to_vec_pretty(known)?)?;
        std::fs::rename(temporary, place)
    }
}

/// Where xd keeps what it may forget: `xd` in `$XDG_CACHE_HOME` or `~/.cache`.
pub fn folder() -> Option<PathBuf> {
    let home = || std::env::var_os("HOME").filter(|h| !h.is_empty()).map(|home| PathBuf::from(home).join(".cache"));
    let cache = std::env::var_os("XDG_CACHE_HOME").filter(|f| !f.is_empty()).map(PathBuf::from).or_else(home);
    cache.map(|cache| cache.join("xd"))
}

/// Absolute path, size and time of change.
fn identity(file: &Path, metadata: &Metadata) -> Option<(PathBuf, u64, u64)> {
    let changed = metadata.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some((file.canonicalize().ok()?, metadata.len(), u64::try_from(changed.as_nanos()).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LARGE: u64 = 32 << 20;

    fn large_file(folder: &Path, age: Duration) -> PathBuf {
        let path = folder.join("model.safetensors");
        let file = std::fs::File::create(&path).expect("made");
        file.set_len(LARGE).expect("sparse");
        file.set_modified(SystemTime::now() - age).expect("dated");
        path
    }

    fn cache(folder: &Path) -> HashCache {
        HashCache::at(Some(folder.join("cache/hashes.json")), LARGE)
    }

    fn refuse() -> Result<String, String> {
        Err("should have been remembered".into())
    }

    #[test]
    fn a_hash_is_remembered_until_the_file_changes() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = large_file(folder.path(), Duration::from_secs(60));
        let one = blake3::hash(b"one").to_hex().to_string();
        assert_eq!(cache(folder.path()).hash(&path, || Ok::<_, String>(one.clone())), Ok(one.clone()));
        assert_eq!(cache(folder.path()).hash(&path, refuse), Ok(one), "another process knows it");
        large_file(folder.path(), Duration::from_secs(30));
        let two = blake3::hash(b"two").to_hex().to_string();
        assert_eq!(cache(folder.path()).hash(&path, || Ok::<_, String>(two.clone())), Ok(two), "the time differs");
    }

    #[test]
    fn a_file_still_being_written_is_not_remembered() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = large_file(folder.path(), Duration::ZERO);
        assert!(cache(folder.path()).hash(&path, || Ok::<_, String>("one".into())).is_ok());
        assert!(cache(folder.path()).hash(&path, refuse).is_err());
    }

    #[test]
    fn a_spoiled_cache_costs_time_only() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = large_file(folder.path(), Duration::from_secs(60));
        std::fs::create_dir_all(folder.path().join("cache")).expect("made");
        std::fs::write(folder.path().join("cache/hashes.json"), "{").expect("spoiled");
        let one = blake3::hash(b"one").to_hex().to_string();
        assert_eq!(cache(folder.path()).hash(&path, || Ok::<_, String>(one.clone())), Ok(one.clone()));
    }

    #[test]
    fn another_process_believes_what_is_remembered_until_the_file_changes() {
        const LARGE: u64 = 8 << 20;
        let folder = tempfile::tempdir().unwrap();
        let (path, place) = (folder.path().join("w"), folder.path().join("memory.json"));
        let write = |byte: u8, age: u64| {
            std::fs::write(&path, vec![byte; LARGE as usize]).unwrap();
            let file = std::fs::File::options().write(true).open(&path).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(age)).unwrap();
        };
        let hash = || {
            let content = || std::fs::read(&path).map(|bytes| blake3::hash(&bytes).to_hex().to_string());
            HashCache::at(Some(place.clone()), LARGE).hash(&path, content).unwrap()
        };
        write(1, 60);
        let first = hash();
        let kept = std::fs::read_to_string(&place).unwrap();
        assert!(kept.contains(&first));
        std::fs::write(&place, kept.replace(&first, &"0".repeat(64))).unwrap();
        assert_eq!(hash(), "0".repeat(64), "another process believes it");
        write(2, 30);
        assert_ne!(hash(), first);
    }
}
