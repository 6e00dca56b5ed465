//! How far a harvest is: `progress.json`, replaced as a whole, so that it always describes one moment.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::index::{Shard, write_json};
use super::reader::{Cursor, Ran};
use super::statistics::Statistics;
use crate::ml::{Error, Result};

/// A moment of a harvest.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Hash of the settings.
    pub key: String,
    /// Which set is being made: 0 validate, 1 train.
    pub set: usize,
    /// Longest norm that is kept, of each model, once it is known.
    pub longest: Option<[f64; 2]>,
    /// First free document, by corpus.
    pub free: Vec<u64>,
    /// Of the set: where each portion stands.
    pub cursors: Vec<Cursor>,
    /// Of the set: finished shards.
    pub shards: Vec<Shard>,
    /// Of the set: sums over the finished shards.
    pub statistics: Statistics,
    /// Rows of the unfinished block, which are in the journal.
    pub journal: usize,
}

impl State {
    /// The saved moment. `None` where there is none or the file is damaged. Errors: it is of another harvest.
    pub fn load(folder: &Path, key: &str) -> Result<Option<Self>> {
        let path = folder.join("progress.json");
        let Ok(text) = fs::read_to_string(&path) else { return Ok(None) };
        let Ok(state) = serde_json::from_str::<State>(&text) else { return Ok(None) };
        if state.key != key {
            let problem =
                format!("{} belongs to a harvest with other settings; give it another folder", path.display());
            return Err(Error::invalid("harvest", problem));
        }
        Ok(Some(state))
    }

    /// What each model ran for the set so far.
    pub fn ran(&self) -> Ran {
        let mut ran = Ran::default();
        for cursor in &self.cursors {
            ran.add(cursor.ran);
            ran.add(cursor.window);
        }
        ran
    }

    pub fn save(&self, folder: &Path) -> Result<()> {
        write_json(&folder.join("progress.json"), self)
    }
}
