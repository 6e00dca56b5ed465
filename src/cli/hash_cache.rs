//! Content hashes of large files, remembered between calls: weights of gigabytes do not change while one edits a file, and
//! `xd check` is to answer before a person has let go of the key.
//!
//! A hash is believed while path, size and time of change are the same. A file that changed in the last seconds is not
//! remembered, since a second change may leave no trace in its time.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// Smaller files are hashed each time: that takes less than it saves.
const LARGE: u64 = 32 << 20;
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

/// Hashes by absolute path. A cache that cannot be read or written costs time and nothing else.
#[derive(Debug, Default)]
pub struct HashCache {
    place: Option<PathBuf>,
    known: RefCell<Option<BTreeMap<PathBuf, Known>>>,
}

impl HashCache {
    /// The user's cache: `$XDG_CACHE_HOME/xd/hashes.json`, or the same under `~/.cache`.
    pub fn of_user() -> Self {
        HashCache { place: folder().map(|folder| folder.join("hashes.json")), known: RefCell::default() }
    }

    /// The hash of the file, by `compute` when it is small, new or changed.
    pub fn hash(
        &self,
        file: &Path,
        compute: impl FnOnce() -> Result<blake3::Hash, String>,
    ) -> Result<blake3::Hash, String> {
        let Some((path, bytes, changed)) = std::fs::metadata(file).ok().and_then(|m| identity(file, &m)) else {
            return compute();
        };
        if bytes < LARGE {
            return compute();
        }
        if let Some(hash) = self.lookup(&path, bytes, changed) {
            return Ok(hash);
        }
        let hash = compute()?;
        self.remember(path, Known { bytes, changed, hash: hash.to_hex().to_string() });
        Ok(hash)
    }

    fn lookup(&self, path: &Path, bytes: u64, changed: u64) -> Option<blake3::Hash> {
        let mut known = self.known.borrow_mut();
        let known = known.get_or_insert_with(|| self.read());
        let found = known.get(path).filter(|k| k.bytes == bytes && k.changed == changed)?;
        blake3::Hash::from_hex(&found.hash).ok()
    }

    fn remember(&self, path: PathBuf, fact: Known) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        if now.saturating_sub(Duration::from_nanos(fact.changed)) < SETTLED {
            return;
        }
        let mut known = self.known.borrow_mut();
        // Another process may have written meanwhile.
        let known = known.insert(self.read());
        known.insert(path, fact);
        let _ = self.write(known);
    }

    fn read(&self) -> BTreeMap<PathBuf, Known> {
        let text = self.place.as_ref().and_then(|place| std::fs::read(place).ok());
        text.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
    }

    fn write(&self, known: &BTreeMap<PathBuf, Known>) -> std::io::Result<()> {
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

    fn large_file(folder: &Path, age: Duration) -> PathBuf {
        let path = folder.join("model.safetensors");
        let file = std::fs::File::create(&path).expect("made");
        file.set_len(LARGE).expect("sparse");
        file.set_modified(SystemTime::now() - age).expect("dated");
        path
    }

    fn cache(folder: &Path) -> HashCache {
        HashCache { place: Some(folder.join("cache/hashes.json")), known: RefCell::default() }
    }

    fn refuse() -> Result<blake3::Hash, String> {
        Err("should have been remembered".into())
    }

    #[test]
    fn a_hash_is_remembered_until_the_file_changes() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = large_file(folder.path(), Duration::from_secs(60));
        let one = blake3::hash(b"one");
        assert_eq!(cache(folder.path()).hash(&path, || Ok(one)), Ok(one));
        assert_eq!(cache(folder.path()).hash(&path, refuse), Ok(one), "another process knows it");
        large_file(folder.path(), Duration::from_secs(30));
        let two = blake3::hash(b"two");
        assert_eq!(cache(folder.path()).hash(&path, || Ok(two)), Ok(two), "the time differs");
    }

    #[test]
    fn a_file_still_being_written_is_not_remembered() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = large_file(folder.path(), Duration::ZERO);
        assert!(cache(folder.path()).hash(&path, || Ok(blake3::hash(b"one"))).is_ok());
        assert!(cache(folder.path()).hash(&path, refuse).is_err());
    }

    #[test]
    fn a_spoiled_cache_costs_time_only() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = large_file(folder.path(), Duration::from_secs(60));
        std::fs::create_dir_all(folder.path().join("cache")).expect("made");
        std::fs::write(folder.path().join("cache/hashes.json"), "{").expect("spoiled");
        let one = blake3::hash(b"one");
        assert_eq!(cache(folder.path()).hash(&path, || Ok(one)), Ok(one));
    }
}
