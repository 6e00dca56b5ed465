//! One file of a repository into the cache: locked, resumed, checked, and whole or not there.
//!
//! ```text
//! CACHE/models--org--name/blobs/ETAG              the content; ETAG is the sha256 of large files, git's hash of others
//! CACHE/models--org--name/blobs/ETAG.incomplete   what came so far; the next attempt goes on at its end
//! CACHE/models--org--name/snapshots/COMMIT/PATH   a link to the blob
//! CACHE/.locks/models--org--name/ETAG.lock        held while it is fetched, by xd and by the Python library
//! ```

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::client::{self, Client, Head};
use super::digest::Digest;
use super::problem::{Place, Problem, Result, short};
use super::traffic::Traffic;
use crate::exec::limits;
use crate::lang::hub::{HubFile, HubWanted};

/// Bytes read at a time.
const CHUNK: usize = 256 << 10;
/// Connections in a row that bring nothing before a transfer is given up.
const TRIES: u32 = 5;

/// A file to fetch.
pub struct Download<'a> {
    pub client: &'a Client,
    pub traffic: &'a Traffic,
    pub wanted: &'a HubWanted,
    pub place: &'a Place,
    /// The cache folder with all repositories.
    pub cache: &'a Path,
    pub commit: &'a str,
    pub path: &'a str,
    /// What the lock file, or the listing of the hub, says it is.
    pub expected: Option<&'a HubFile>,
    /// Whether `expected` is pinned, and not only listed.
    pub pinned: bool,
}

impl Download<'_> {
    /// Where the file is, or will be.
    pub fn pointer(&self) -> PathBuf {
        snapshot(self.cache, self.wanted, self.commit).join(self.path)
    }

    /// Fetches the file; nothing is fetched when the content is there under another name or commit.
    pub fn run(&self) -> Result<HubFile> {
        let head = self.client.head(self.wanted, self.commit, self.path, &|| self.traffic.stopped())?;
        self.check_head(&head)?;
        let folder = self.cache.join(self.wanted.cache_folder());
        let blob = folder.join("blobs").join(&head.etag);
        make_folder(&folder.join("blobs"))?;
        let lock = self.lock(&head)?;
        let file = match fs::metadata(&blob) {
            Ok(facts) => {
                self.traffic.add(facts.len());
                self.check_blob(&blob, &head)?
            }
            Err(_) => self.fetch(&head, &blob)?,
        };
        self.link(&blob)?;
        drop(lock);
        Ok(file)
    }

    /// What the hub says of the file against what is expected, before a byte of it comes.
    fn check_head(&self, head: &Head) -> Result<()> {
        let Some(expected) = self.expected.filter(|_| self.pinned) else { return Ok(()) };
        if is_sha256(&head.etag) && head.etag != expected.sha256 {
            return Err(self.differs(&expected.sha256, &head.etag));
        }
        match head.bytes {
            Some(bytes) if bytes != expected.bytes => {
                Err(self.differs(&format!("{} bytes", expected.bytes), &format!("{bytes} bytes")))
            }
            _ => Ok(()),
        }
    }

    fn differs(&self, locked: &str, found: &str) -> Problem {
        let shown = |text: &str| if is_sha256(text) { format!("sha256 {}..", short(text)) } else { text.to_string() };
        Problem::LockDiffers {
            place: self.place.clone(),
            file: self.path.to_string(),
            where_: "on the hub".to_string(),
            locked: shown(locked),
            found: shown(found),
        }
    }

    /// A content that another download left in the cache.
    fn check_blob(&self, blob: &Path, head: &Head) -> Result<HubFile> {
        let bytes = fs::metadata(blob).map_err(|e| Problem::file(blob, &e))?.len();
        let mut digest = Digest::new(bytes);
        digest.read(blob, u64::MAX).map_err(|e| Problem::file(blob, &e))?;
        let file = self.check_content(&digest, head);
        if file.is_err() {
            // It is not what its name says: no later run is to believe it.
            fs::remove_file(blob).map_err(|e| Problem::file(blob, &e))?;
            return self.fetch(head, blob);
        }
        file
    }

    fn check_content(&self, digest: &Digest, head: &Head) -> Result<HubFile> {
        let wrong =
            |expected: String, found: String| Problem::WrongContent { file: self.path.to_string(), expected, found };
        if let Some(bytes) = head.bytes.filter(|&bytes| bytes != digest.bytes()) {
            return Err(wrong(format!("{bytes} bytes"), format!("{} bytes", digest.bytes())));
        }
        let sha256 = digest.sha256();
        let named = match head.etag.len() {
            64 => Some(&sha256),
            _ => None,
        };
        if named.is_some_and(|found| *found != head.etag) {
            return Err(wrong(format!("sha256 {}..", short(&head.etag)), format!("sha256 {}..", short(&sha256))));
        }
        if head.etag.len() == 40 && head.bytes.is_some() && digest.git() != head.etag {
            return Err(wrong(format!("git's {}..", short(&head.etag)), format!("git's {}..", short(&digest.git()))));
        }
        match self.expected {
            Some(expected) if self.pinned && expected.sha256 != sha256 => Err(self.differs(&expected.sha256, &sha256)),
            _ => Ok(HubFile { path: self.path.to_string(), bytes: digest.bytes(), sha256 }),
        }
    }

    /// Waits for the lock that the Python library takes too.
    fn lock(&self, head: &Head) -> Result<File> {
        let folder = self.cache.join(".locks").join(self.wanted.cache_folder());
        make_folder(&folder)?;
        let path = folder.join(format!("{}.lock", head.etag));
        let file = OpenOptions::new().create(true).append(true).open(&path).map_err(|e| Problem::file(&path, &e))?;
        let mut waiting = false;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::WouldBlock) => {
                    if !waiting {
                        self.traffic.note(format!("another process downloads {} now; waiting for it", self.path));
                        waiting = true;
                    }
                    if self.traffic.stopped() {
                        return Err(Problem::Stopped);
                    }
                    std::thread::sleep(Duration::from_millis(100));
                }
                Err(TryLockError::Error(e)) => return Err(Problem::file(&path, &e)),
            }
        }
    }

    /// Brings the bytes that are not here yet, connection after connection.
    fn fetch(&self, head: &Head, blob: &Path) -> Result<HubFile> {
        let total = head.bytes.or(self.expected.map(|e| e.bytes));
        let partial = blob.with_file_name(format!("{}.incomplete", head.etag));
        let mut coming = Partial::open(&partial, total)?;
        self.check_room(&partial, total, coming.bytes())?;
        self.traffic.add(coming.bytes());
        if coming.bytes() > 0 {
            let kept = limits::bytes(coming.bytes());
            self.traffic.note(format!("{}: goes on after the {kept} that are here", self.path));
        }
        let mut attempt = 0;
        let mut head = head.clone();
        while total.is_none_or(|total| coming.bytes() < total) {
            let before = coming.bytes();
            let why = match self.one_connection(&head, &mut coming, total)? {
                Came::All => break,
                Came::Part { why } => why,
            };
            attempt = if coming.bytes() > before { 1 } else { attempt + 1 };
            if attempt > TRIES {
                let total = total.unwrap_or(coming.bytes());
                return Err(Problem::Broken { file: self.path.to_string(), done: coming.bytes(), total, why });
            }
            client::wait(attempt, &|| self.traffic.stopped())?;
            // The address of the bytes is signed for an hour or so.
            if let Ok(fresh) = self.client.head(self.wanted, self.commit, self.path, &|| self.traffic.stopped())
                && fresh.etag == head.etag
            {
                head = fresh;
            }
        }
        coming.file.sync_all().map_err(|e| Problem::file(&partial, &e))?;
        match self.check_content(&coming.digest, &head) {
            Ok(file) => {
                fs::rename(&partial, blob).map_err(|e| Problem::file(blob, &e))?;
                Ok(file)
            }
            Err(problem) => {
                fs::remove_file(&partial).map_err(|e| Problem::file(&partial, &e))?;
                Err(problem)
            }
        }
    }

    fn one_connection(&self, head: &Head, coming: &mut Partial, total: Option<u64>) -> Result<Came> {
        let start = coming.bytes();
        let response = match self.client.bytes(head, start) {
            Ok(response) => response,
            Err(error) => return Ok(Came::Part { why: client::plain_error(&error) }),
        };
        match response.status().as_u16() {
            206 if starts_at(&response, start) => {}
            // All of it, from the beginning: the server knows no ranges, or what is here is not of this file.
            200 | 206 | 416 if start > 0 && response.status() != 200 => {
                self.traffic.take_back(start);
                coming.empty()?;
                return Ok(Came::Part { why: "it does not go on where it stopped".to_string() });
            }
            200 => {
                self.traffic.take_back(start);
                coming.empty()?;
            }
            status => {
                let why = format!("the answer is {status}");
                return match status {
                    408 | 429 | 500..=599 => Ok(Came::Part { why }),
                    401 | 403 if !head.trusted => {
                        Ok(Came::Part { why: "the signed address is no longer good".to_string() })
                    }
                    401 | 403 => Err(Problem::Gated(self.place.clone())),
                    _ => Err(Problem::NoHub { address: head.location.clone(), why }),
                };
            }
        }
        let mut body = response.into_body().into_reader();
        let mut chunk = vec![0; CHUNK];
        loop {
            if self.traffic.stopped() {
                coming.file.sync_all().map_err(|e| Problem::file(&coming.path, &e))?;
                return Err(Problem::Stopped);
            }
            match body.read(&mut chunk) {
                Ok(0) if total.is_none_or(|total| coming.bytes() >= total) => return Ok(Came::All),
                Ok(0) => return Ok(Came::Part { why: "it ended early".to_string() }),
                Ok(n) => {
                    if let Some(total) = total.filter(|&total| coming.bytes() + n as u64 > total) {
                        coming.empty()?;
                        let expected = format!("{total} bytes");
                        return Err(Problem::WrongContent {
                            file: self.path.to_string(),
                            expected,
                            found: "more".to_string(),
                        });
                    }
                    coming.push(&chunk[..n]).map_err(|e| self.write_error(&coming.path, &e, total, coming.bytes()))?;
                    self.traffic.add(n as u64);
                }
                Err(error) => return Ok(Came::Part { why: client::plain_io(&error) }),
            }
        }
    }

    fn check_room(&self, partial: &Path, total: Option<u64>, here: u64) -> Result<()> {
        let needed = total.unwrap_or(0).saturating_sub(here);
        let folder = partial.parent().unwrap_or(self.cache);
        match limits::free_disk(folder) {
            Some(free) if needed > free => Err(self.disk_full(needed, Some(free))),
            _ => Ok(()),
        }
    }

    fn write_error(&self, path: &Path, error: &std::io::Error, total: Option<u64>, here: u64) -> Problem {
        match Problem::file(path, error) {
            Problem::DiskFull { .. } => self
                .disk_full(total.unwrap_or(0).saturating_sub(here), limits::free_disk(path.parent().unwrap_or(path))),
            other => other,
        }
    }

    fn disk_full(&self, needed: u64, free: Option<u64>) -> Problem {
        Problem::DiskFull { file: self.path.to_string(), needed, free, folder: self.cache.to_path_buf() }
    }

    /// Links the snapshot's file to the blob, as the Python library does: relative, so that the cache can be moved.
    fn link(&self, blob: &Path) -> Result<()> {
        let pointer = self.pointer();
        let parent = pointer.parent().unwrap_or(self.cache);
        make_folder(parent)?;
        // Up from PATH's folder to the repository's: snapshots/COMMIT, and one for each folder of PATH.
        let steps = 2 + self.path.matches('/').count();
        let name = blob.file_name().unwrap_or_default();
        let target = PathBuf::from("../".repeat(steps)).join("blobs").join(name);
        if fs::read_link(&pointer).is_ok_and(|there| there == target) {
            return Ok(());
        }
        let temporary = parent.join(format!(".{}.{}.tmp", name.to_string_lossy(), std::process::id()));
        let _ = fs::remove_file(&temporary);
        std::os::unix::fs::symlink(&target, &temporary).map_err(|e| Problem::file(&temporary, &e))?;
        fs::rename(&temporary, &pointer).map_err(|e| Problem::file(&pointer, &e))
    }
}

/// How a connection ended.
enum Came {
    All,
    Part { why: String },
}

/// A file that is not whole yet, and the hashes of what is here.
struct Partial {
    path: PathBuf,
    file: File,
    digest: Digest,
    total: u64,
}

impl Partial {
    /// Opens what an earlier attempt left, or begins anew.
    fn open(path: &Path, total: Option<u64>) -> Result<Self> {
        let wrong = |e: std::io::Error| Problem::file(path, &e);
        let file = OpenOptions::new().create(true).append(true).open(path).map_err(wrong)?;
        let here = file.metadata().map_err(wrong)?.len();
        let length = total.unwrap_or(0);
        let mut partial = Partial { path: path.to_path_buf(), file, digest: Digest::new(length), total: length };
        match total {
            Some(total) if here <= total => partial.digest.read(path, here).map_err(wrong)?,
            // Longer than the file, or nobody knows how long it is: of another content.
            _ => partial.empty()?,
        }
        Ok(partial)
    }

    fn bytes(&self) -> u64 {
        self.digest.bytes()
    }

    fn push(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.file.write_all(bytes)?;
        self.digest.update(bytes);
        Ok(())
    }

    fn empty(&mut self) -> Result<()> {
        self.file.set_len(0).map_err(|e| Problem::file(&self.path, &e))?;
        self.digest = Digest::new(self.total);
        Ok(())
    }
}

/// The folder of a repository at a commit.
pub fn snapshot(cache: &Path, wanted: &HubWanted, commit: &str) -> PathBuf {
    hf_hub::Cache::new(cache.to_path_buf()).repo(client::repo(wanted, commit)).pointer_path(commit)
}

/// True when the answer to a range begins where it should: `Content-Range: bytes 100-199/200`.
fn starts_at(response: &ureq::http::Response<ureq::Body>, start: u64) -> bool {
    let range = response.headers().get("content-range").and_then(|v| v.to_str().ok());
    let first = range.and_then(|r| r.trim().strip_prefix("bytes ")?.split('-').next()?.trim().parse::<u64>().ok());
    first == Some(start)
}

fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

fn make_folder(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).map_err(|e| Problem::file(folder, &e))
}
