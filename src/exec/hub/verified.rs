//! Hashes of cached files that were computed before: weights of gigabytes are read through once and not at every run.
//!
//! A hash is believed while the size and the time of change of the file are the same.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::digest::Digest;

/// Smaller files are hashed each time.
const LARGE: u64 = 8 << 20;
/// Changes closer to now than this may not be the last.
const SETTLED: Duration = Duration::from_secs(5);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Known {
    bytes: u64,
    /// Nanoseconds since 1970.
    changed: u64,
    sha256: String,
}

/// sha256 by path. A memory that cannot be read or written costs time and nothing else.
#[derive(Debug, Default)]
pub struct Verified {
    place: Option<PathBuf>,
    known: Mutex<Option<BTreeMap<PathBuf, Known>>>,
}

impl Verified {
    /// Kept in this file.
    pub fn at(place: Option<PathBuf>) -> Self {
        Verified { place, known: Mutex::default() }
    }

    /// The sha256 of a file.
    pub fn sha256(&self, file: &Path) -> std::io::Result<String> {
        let path = file.canonicalize()?;
        let facts = std::fs::metadata(&path)?;
        let changed = facts.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
        let nanoseconds = u64::try_from(changed.as_nanos()).unwrap_or(0);
        if facts.len() >= LARGE {
            let mut known = self.known.lock().unwrap_or_else(|e| e.into_inner());
            let known = known.get_or_insert_with(|| self.read());
            if let Some(found) = known.get(&path).filter(|k| k.bytes == facts.len() && k.changed == nanoseconds) {
                return Ok(found.sha256.clone());
            }
        }
        let mut digest = Digest::new(facts.len());
        digest.read(&path, u64::MAX)?;
        let sha256 = digest.sha256();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        if facts.len() >= LARGE && now.saturating_sub(changed) >= SETTLED {
            self.remember(path, Known { bytes: facts.len(), changed: nanoseconds, sha256: sha256.clone() });
        }
        Ok(sha256)
    }

    fn remember(&self, path: PathBuf, fact: Known) {
        let mut known = self.known.lock().unwrap_or_else(|e| e.into_inner());
        // Another process may have written meanwhile.
        let known = known.insert(self.read());
        known.insert(path, fact);
        if let (Some(place), Ok(text)) = (&self.place, serde_json::to_vec_pretty(known)) {
            let _ = crate::exec::store::write_whole(place, &text);
        }
    }

    fn read(&self) -> BTreeMap<PathBuf, Known> {
        let text = self.place.as_ref().and_then(|place| std::fs::read(place).ok());
        text.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_remembered_until_the_file_changes() {
        let folder = tempfile::tempdir().unwrap();
        let (path, place) = (folder.path().join("w"), folder.path().join("memory.json"));
        let write = |byte: u8, age: u64| {
            std::fs::write(&path, vec![byte; LARGE as usize]).unwrap();
            let file = std::fs::File::options().write(true).open(&path).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(age)).unwrap();
        };
        write(1, 60);
        let first = Verified::at(Some(place.clone())).sha256(&path).unwrap();
        let kept = std::fs::read_to_string(&place).unwrap();
        assert!(kept.contains(&first));
        std::fs::write(&place, kept.replace(&first, &"0".repeat(64))).unwrap();
        assert_eq!(
            Verified::at(Some(place.clone())).sha256(&path).unwrap(),
            "0".repeat(64),
            "another process believes it"
        );
        write(2, 30);
        assert_ne!(Verified::at(Some(place)).sha256(&path).unwrap(), first);
    }
}
