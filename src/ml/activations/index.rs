//! What a set of shards is: `index.json`.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::norms::NormReport;
use super::reader::Ran;
use super::statistics::Statistics;
use super::store::Store;
use crate::ml::{Error, Result};

/// Version of the layout.
pub(super) const FORMAT: u32 = 1;

/// One pair of files, `shard-00000.rows` and `shard-00000.info`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shard {
    /// Name of both files, without their endings.
    pub name: String,
    pub rows: u64,
    /// Blake3 of the rows, in hex.
    pub checksum: String,
    /// Blake3 of the sidecar, in hex.
    pub info_checksum: String,
}

impl Shard {
    /// Name of the shard of this number.
    pub(super) fn name(number: usize) -> String {
        format!("shard-{number:05}")
    }
}

/// A finished set, `train` or `validate`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Index {
    pub format: u32,
    /// Hash of the settings that made it.
    pub key: String,
    /// N.
    pub rows: u64,
    /// d.
    pub width: usize,
    pub store: Store,
    pub shards: Vec<Shard>,
    /// Names of the corpora, by portion (`RowInfo::corpus`).
    pub corpora: Vec<String>,
    /// Documents that gave at least one row, by portion.
    pub documents: Vec<u64>,
    /// Rows of each portion.
    pub portions: Vec<u64>,
    /// Different token ids among the rows.
    pub distinct_tokens: u64,
    /// Tokens that each model ran for it.
    #[serde(default)]
    pub ran: Ran,
    /// Of the stored values.
    pub statistics: Statistics,
    pub norms: NormReport,
}

impl Index {
    /// Reads `folder/index.json`.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join("index.json");
        let text = fs::read_to_string(&path).map_err(|error| Error::file(&path, error))?;
        let index: Index = serde_json::from_str(&text)
            .map_err(|error| Error::invalid("read activations", format!("{}: {error}", path.display())))?;
        if index.format != FORMAT {
            let problem = format!("{}: format {}, this xd reads {FORMAT}", path.display(), index.format);
            return Err(Error::invalid("read activations", problem));
        }
        Ok(index)
    }

    pub(super) fn write(&self, folder: &Path) -> Result<()> {
        write_json(&folder.join("index.json"), self)
    }
}

/// Writes JSON so that a reader sees the old file or the new one, never a part.
pub(super) fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let mut text = serde_json::to_string_pretty(value)
        .map_err(|error| Error::invalid("write activations", format!("{}: {error}", path.display())))?;
    text.push('\n');
    let temporary = path.with_extension("tmp");
    let write = || {
        let mut file = File::create(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    write().map_err(|error| Error::file(path, error))?;
    sync_folder(path)
}

/// Makes renames in the folder of `path` last through a power cut.
pub(super) fn sync_folder(path: &Path) -> Result<()> {
    let Some(folder) = path.parent() else { return Ok(()) };
    if cfg!(unix) {
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| Error::file(folder, error))?;
    }
    Ok(())
}
