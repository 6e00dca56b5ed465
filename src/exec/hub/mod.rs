//! Repositories of the Hugging Face hub: where their files are on this machine.
//!
//! A step that reads one asks [`folder`] (models, crosscoders) or [`shelf`] (corpora).

use std::path::PathBuf;
use std::sync::Arc;

use super::{Error, Result};
use crate::lang::hub::{HubPin, HubRef};
use crate::ml::data::Shelf;

/// The folder with the pinned files of a model or crosscoder: the snapshot in the cache, and the folder of it that is asked for.
///
/// # Errors
/// When nothing is pinned, or a file is not on this machine.
pub fn folder(hub: &HubRef) -> Result<PathBuf> {
    let (folder, pin) = pinned(hub)?;
    for file in &pin.files {
        let path = folder.join(&file.path);
        std::fs::metadata(&path).map_err(|e| Error::file(&path, e))?;
    }
    match &hub.wanted.part {
        crate::lang::hub::HubPart::Crosscoder { folder: Some(inner) } => Ok(folder.join(inner)),
        _ => Ok(folder),
    }
}

/// The pinned files of a corpus, in the order of reading.
///
/// # Errors
/// When nothing is pinned.
pub fn shelf(hub: &HubRef) -> Result<Arc<dyn Shelf>> {
    let (folder, pin) = pinned(hub)?;
    Ok(Arc::new(Cached { folder, names: pin.files.iter().map(|f| f.path.clone()).collect() }))
}

fn pinned(hub: &HubRef) -> Result<(PathBuf, &HubPin)> {
    match (&hub.folder, &hub.pin) {
        (Some(folder), Some(pin)) => Ok((PathBuf::from(folder), pin)),
        _ => Err(Error::Failed(format!("{}: the lock file pins nothing for it", hub.wanted.id))),
    }
}

/// Files of a snapshot in the cache.
#[derive(Debug)]
struct Cached {
    folder: PathBuf,
    names: Vec<String>,
}

impl Shelf for Cached {
    fn names(&self) -> &[String] {
        &self.names
    }

    fn file(&self, index: usize) -> crate::ml::Result<PathBuf> {
        Ok(self.folder.join(&self.names[index]))
    }
}
