//! Hashes by which files of the hub are known: sha256 of the content, and git's own for files outside large storage.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256};

/// Bytes read at a time.
const CHUNK: usize = 1 << 20;

/// Both hashes of a file, computed as its bytes go by.
#[derive(Clone)]
pub struct Digest {
    sha256: Context,
    git: Context,
    bytes: u64,
}

impl Digest {
    /// Of a file of `bytes` bytes: git's hash begins with the length.
    pub fn new(bytes: u64) -> Self {
        let mut git = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
        git.update(format!("blob {bytes}\0").as_bytes());
        Digest { sha256: Context::new(&SHA256), git, bytes: 0 }
    }

    /// The next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        self.git.update(bytes);
        self.bytes += bytes.len() as u64;
    }

    /// Bytes so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// sha256 in hex.
    pub fn sha256(&self) -> String {
        hex(self.sha256.clone().finish().as_ref())
    }

    /// git's hash (of a file of the promised length) in hex.
    pub fn git(&self) -> String {
        hex(self.git.clone().finish().as_ref())
    }

    /// Takes up to `limit` bytes from the start of a file.
    pub fn read(&mut self, path: &Path, limit: u64) -> std::io::Result<()> {
        let mut file = File::open(path)?.take(limit);
        let mut chunk = vec![0; CHUNK];
        loop {
            match file.read(&mut chunk)? {
                0 => return Ok(()),
                n => self.update(&chunk[..n]),
            }
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_hashes() {
        let mut digest = Digest::new(6);
        digest.update(b"hel");
        digest.update(b"lo\n");
        assert_eq!(digest.sha256(), "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03");
        assert_eq!(digest.git(), "ce013625030ba8dba906f756967f9e9ca394464a", "as `git hash-object`");
        assert_eq!(digest.bytes(), 6);
    }
}
