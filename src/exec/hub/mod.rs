//! Repositories of the Hugging Face hub: what they are now ([`Hub::pin`]), and their files on this machine.
//!
//! ```text
//! hf("id", revision) --pin--> commit, files, sizes, sha256 --bring--> CACHE/models--org--name/snapshots/COMMIT/PATH
//!                             (the lock file)                        (the cache that the Python library shares)
//! ```
//!
//! Of this, hf-hub does: the addresses, the request for a repository's facts, the names within the cache, the user agent. Done
//! here, because hf-hub does not: what refusals mean (gated, missing, private, renamed, busy), listings with sizes and hashes,
//! offline work, transfers that go on where they broke (`.incomplete`, `Range`), locks that wait, checks of size and hash, links that
//! appear whole, progress and stopping. No connection is opened before a file names something of the hub that is not here.

mod client;
mod digest;
mod download;
mod listing;
mod pin;
mod problem;
mod select;
mod settings;
mod splits;
mod traffic;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

use super::{Error, Result};
use crate::hash_cache::HashCache;
use crate::lang::hub::{HubFile, HubPart, HubPin, HubRef, HubWanted};
use crate::ml;
use crate::ml::Watch;
use crate::ml::data::Shelf;

pub use pin::Pinned;
pub use problem::Problem;
pub use settings::{Settings, Token};

use client::Client;
use digest::Digest;
use problem::Place;
use traffic::Traffic;

/// Hashes of cached files of so many bytes are remembered.
const LARGE: u64 = 8 << 20;

/// The hub, as this machine sees it. Cheap to clone; making it opens no connection.
#[derive(Clone, Debug)]
pub struct Hub {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    settings: Settings,
    client: OnceLock<std::result::Result<Client, Problem>>,
    traffic: Traffic,
    hashes: HashCache,
    /// One transfer at a time: several share one progress.
    turn: Mutex<()>,
}

impl Hub {
    /// With the file in which hashes of large cached files are remembered.
    pub fn new(settings: Settings, memory: Option<PathBuf>) -> Self {
        let inner = Inner {
            settings,
            client: OnceLock::new(),
            traffic: Traffic::default(),
            hashes: HashCache::at(memory, LARGE),
            turn: Mutex::default(),
        };
        Hub { inner: Arc::new(inner) }
    }

    /// Where it is and who asks.
    pub fn settings(&self) -> &Settings {
        &self.inner.settings
    }

    fn client(&self) -> problem::Result<&Client> {
        let made = self.inner.client.get_or_init(|| Client::new(self.settings().clone()));
        made.as_ref().map_err(Clone::clone)
    }

    fn traffic(&self) -> &Traffic {
        &self.inner.traffic
    }

    /// The sha256 of a cached file; that of a large one is remembered.
    fn sha256(&self, file: &Path) -> std::io::Result<String> {
        self.inner.hashes.hash(file, || {
            let mut digest = Digest::new(std::fs::metadata(file)?.len());
            digest.read(file, u64::MAX)?;
            Ok(digest.sha256())
        })
    }

    /// True once a request was made.
    pub fn was_asked(&self) -> bool {
        self.inner.client.get().is_some_and(|client| client.as_ref().is_ok_and(Client::was_used))
    }

    /// What a reference is now: its commit, and the files that are read with their hashes. Small files come with it.
    ///
    /// # Errors
    /// What the hub, the network or the cache refuses.
    pub fn pin(&self, wanted: &HubWanted, watch: &dyn Watch) -> std::result::Result<Pinned, Problem> {
        let _turn = self.inner.turn.lock().unwrap_or_else(|e| e.into_inner());
        self.traffic().expect(0);
        self.traffic().watched(watch, || pin::pin(self, wanted))
    }

    /// Brings the files that tell the facts of what is pinned: of a model all but its weights, a crosscoder whole.
    ///
    /// # Errors
    /// What the hub, the network or the cache refuses.
    pub fn describe(&self, hub: &HubRef, watch: &dyn Watch) -> std::result::Result<(), Problem> {
        self.bring_those(hub, |file| tells_facts(&hub.wanted.part, file), watch)
    }

    /// Brings every pinned file of a reference that is not here, and checks those that are.
    ///
    /// # Errors
    /// What the hub, the network or the cache refuses, and files that are not the pinned ones.
    pub fn bring(&self, hub: &HubRef, watch: &dyn Watch) -> std::result::Result<(), Problem> {
        self.bring_those(hub, |_| true, watch)
    }

    fn bring_those(
        &self,
        hub: &HubRef,
        which: impl Fn(&HubFile) -> bool,
        watch: &dyn Watch,
    ) -> std::result::Result<(), Problem> {
        let Some((folder, pin)) = pinned(hub) else { return Ok(()) };
        let _turn = self.inner.turn.lock().unwrap_or_else(|e| e.into_inner());
        let files: Vec<&HubFile> = pin.files.iter().filter(|file| which(file)).collect();
        let missing = files.iter().filter(|file| !is_here(&folder, file)).map(|file| file.bytes).sum();
        self.traffic().expect(missing);
        self.traffic()
            .watched(watch, || files.iter().try_for_each(|file| self.bring_file(hub, &folder, pin, file).map(drop)))
    }

    /// One pinned file: checked when it is here, and fetched when it is not.
    fn bring_file(&self, hub: &HubRef, folder: &Path, pin: &HubPin, file: &HubFile) -> problem::Result<PathBuf> {
        let path = folder.join(&file.path);
        if self.traffic().stopped() {
            return Err(Problem::Stopped);
        }
        match std::fs::metadata(&path) {
            Ok(facts) => self.check(hub, &path, facts.len(), file)?,
            Err(_) if self.settings().offline => return Err(self.offline(&hub.wanted, &pin.commit, Some(&file.path))),
            Err(_) => drop(self.fetch(&hub.wanted, &pin.commit, file, true)?),
        }
        Ok(path)
    }

    fn check(&self, hub: &HubRef, path: &Path, bytes: u64, file: &HubFile) -> problem::Result<()> {
        let differs = |locked: String, found: String| Problem::LockDiffers {
            place: Place::of(&hub.wanted, self.settings()),
            file: file.path.clone(),
            where_: format!("in the cache ({})", path.display()),
            locked,
            found,
        };
        if bytes != file.bytes {
            return Err(differs(format!("{} bytes", file.bytes), format!("{bytes} bytes")));
        }
        let sha256 = self.sha256(path).map_err(|e| Problem::file(path, &e))?;
        if sha256 != file.sha256 {
            let shown = |hash: &str| format!("sha256 {}..", problem::short(hash));
            return Err(differs(shown(&file.sha256), shown(&sha256)));
        }
        Ok(())
    }

    /// The pinned files of a corpus, in the order of reading; each comes when it is first read.
    ///
    /// # Errors
    /// When nothing is pinned.
    pub fn shelf(&self, hub: &HubRef) -> Result<Arc<dyn Shelf>> {
        let (_, pin) = pinned(hub).ok_or_else(|| unpinned(hub))?;
        let names = pin.files.iter().map(|f| f.path.clone()).collect();
        Ok(Arc::new(Fetched { hub: self.clone(), reference: hub.clone(), names }))
    }

    /// Does the work while a watch hears of the files that come for it.
    pub fn watched<T>(&self, watch: &dyn Watch, work: impl FnOnce() -> T) -> T {
        self.traffic().watched(watch, work)
    }
}

/// The folder with the pinned files of a model or crosscoder: the snapshot in the cache, and the folder of it that is asked for.
///
/// # Errors
/// When nothing is pinned, or a file is not on this machine.
pub fn folder(hub: &HubRef) -> Result<PathBuf> {
    let (folder, pin) = pinned(hub).ok_or_else(|| unpinned(hub))?;
    for file in &pin.files {
        let path = folder.join(&file.path);
        std::fs::metadata(&path).map_err(|e| Error::file(&path, e))?;
    }
    match &hub.wanted.part {
        HubPart::Crosscoder { folder: Some(inner) } => Ok(folder.join(inner)),
        _ => Ok(folder),
    }
}

/// Bytes of a reference that are not on this machine; `None` while nothing is pinned.
pub fn missing(hub: &HubRef) -> Option<u64> {
    let (folder, pin) = pinned(hub)?;
    Some(pin.files.iter().filter(|file| !is_here(&folder, file)).map(|file| file.bytes).sum())
}

/// True when the files that tell the facts of a reference are on this machine.
pub fn is_described(hub: &HubRef) -> bool {
    let Some((folder, pin)) = pinned(hub) else { return false };
    pin.files.iter().filter(|file| tells_facts(&hub.wanted.part, file)).all(|file| folder.join(&file.path).is_file())
}

fn tells_facts(part: &HubPart, file: &HubFile) -> bool {
    match part {
        HubPart::Model => select::is_description(&file.path),
        HubPart::Crosscoder { .. } => true,
        HubPart::Split { .. } => false,
    }
}

fn pinned(hub: &HubRef) -> Option<(PathBuf, &HubPin)> {
    Some((PathBuf::from(hub.folder.as_ref()?), hub.pin.as_ref()?))
}

fn unpinned(hub: &HubRef) -> Error {
    Error::Failed(format!("{}: the lock file pins nothing for it", hub.wanted.id))
}

fn is_here(folder: &Path, file: &HubFile) -> bool {
    std::fs::metadata(folder.join(&file.path)).is_ok_and(|facts| facts.len() == file.bytes)
}

/// The files of a corpus of the hub.
#[derive(Debug)]
struct Fetched {
    hub: Hub,
    reference: HubRef,
    names: Vec<String>,
}

impl Shelf for Fetched {
    fn names(&self) -> &[String] {
        &self.names
    }

    fn file(&self, index: usize) -> ml::Result<PathBuf> {
        let Some((folder, pin)) = pinned(&self.reference) else {
            return Err(ml::Error::invalid("read corpus", unpinned(&self.reference).to_string()));
        };
        let file = &pin.files[index];
        let _turn = self.hub.inner.turn.lock().unwrap_or_else(|e| e.into_inner());
        self.hub.traffic().expect(if is_here(&folder, file) { 0 } else { file.bytes });
        self.hub.bring_file(&self.reference, &folder, pin, file).map_err(|problem| match problem {
            Problem::Stopped => ml::Error::Interrupted,
            problem => ml::Error::invalid("read corpus", problem.to_string()),
        })
    }
}
