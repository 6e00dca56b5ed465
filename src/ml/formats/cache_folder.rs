//! One model's activations in the published cache: shards with their metadata, tokens beside them or one folder up
//! (docs/method.md 9.5).

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::pickle::Dtype;
use crate::ml::{Error, Result};

/// Name of the file of facts.
const CONFIG: &str = "config.json";

/// A folder of shards, looked at and not yet read.
#[derive(Clone, Debug, PartialEq)]
pub struct CacheFolder {
    /// Where the shards are.
    pub folder: PathBuf,
    /// d.
    pub width: usize,
    pub shards: Vec<CacheShard>,
    /// `tokens.pt`, where there is one.
    pub tokens: Option<PathBuf>,
    /// `sequence_ranges.pt`, where there is one.
    pub sequence_ranges: Option<PathBuf>,
    /// Longest sequence, where it is stated.
    pub context: Option<u64>,
}

/// `shard_{i}.memmap`: `[rows, d]`, row-major, little endian.
#[derive(Clone, Debug, PartialEq)]
pub struct CacheShard {
    pub path: PathBuf,
    pub rows: u64,
    pub dtype: Dtype,
}

impl CacheFolder {
    /// Looks at a folder: the one of the shards, or the one above it when it holds a single such folder.
    ///
    /// # Errors
    /// It is no cache, parts of it are missing or cut off, or its rows were shuffled.
    pub fn open(folder: &Path) -> Result<Self> {
        let folder = shard_folder(folder)?;
        let refuse = |problem: String| bad(&folder, problem);
        let config = json(&folder.join(CONFIG))?;
        let number = |key: &str| config[key].as_u64();
        if config["shuffle_shards"].as_bool() == Some(true) {
            return Err(refuse(
                "its rows were shuffled when they were stored, each model's in another order, so the two models cannot be paired".into(),
            ));
        }
        let count = number("shard_count").ok_or_else(|| refuse(format!("{CONFIG} states no `shard_count`")))?;
        let mut shards = Vec::new();
        let mut width = None;
        for index in 0..count {
            let (shard, d) = shard(&folder, index)?;
            if *width.get_or_insert(d) != d {
                return Err(bad(
                    &shard.path,
                    format!("its rows have the width {d}, those before it {}", width.unwrap_or(0)),
                ));
            }
            shards.push(shard);
        }
        let width = width.filter(|&d| d > 0).ok_or_else(|| refuse("it holds no shards".into()))?;
        let rows: u64 = shards.iter().map(|shard| shard.rows).sum();
        if let Some(total) = number("total_size").filter(|&total| total != rows) {
            return Err(refuse(format!(
                "its shards hold {rows} rows, and {CONFIG} says {total}: one of them is missing or cut off"
            )));
        }
        let beside = |name: &str| {
            let above = folder.parent().map(|above| above.join(name));
            [Some(folder.join(name)), above].into_iter().flatten().find(|path| path.is_file())
        };
        let stored = config["store_tokens"].as_bool();
        let tokens = beside("tokens.pt").filter(|_| stored != Some(false));
        if stored == Some(true) && tokens.is_none() {
            return Err(refuse(format!(
                "{CONFIG} says that tokens are stored, but `tokens.pt` is neither here nor one folder up"
            )));
        }
        let sequence_ranges = beside("sequence_ranges.pt").filter(|_| tokens.is_some());
        Ok(CacheFolder { width, shards, tokens, sequence_ranges, context: number("context_len"), folder })
    }

    /// N.
    pub fn rows(&self) -> u64 {
        self.shards.iter().map(|shard| shard.rows).sum()
    }
}

fn bad(path: &Path, problem: String) -> Error {
    Error::invalid("read activation cache", format!("{}: {problem}", path.display()))
}

fn json(path: &Path) -> Result<Value> {
    let text = std::fs::read_to_string(path).map_err(|error| Error::file(path, error))?;
    serde_json::from_str(&text).map_err(|error| bad(path, error.to_string()))
}

/// The folder itself when it has a config.json, else the only folder in it that has one.
fn shard_folder(folder: &Path) -> Result<PathBuf> {
    if folder.join(CONFIG).is_file() {
        return Ok(folder.to_path_buf());
    }
    let entries = std::fs::read_dir(folder).map_err(|error| Error::file(folder, error))?;
    let mut inside: Vec<PathBuf> =
        entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.join(CONFIG).is_file()).collect();
    inside.sort();
    match &inside[..] {
        [one] => Ok(one.clone()),
        [] => Err(bad(folder, "it holds no config.json, and no folder in it does: it is no activation cache".into())),
        several => {
            let names: Vec<String> =
                several.iter().filter_map(|path| Some(path.file_name()?.to_string_lossy().to_string())).collect();
            Err(bad(folder, format!("it holds several caches: name one of {}", names.join(", "))))
        }
    }
}

/// A shard and the width of its rows.
fn shard(folder: &Path, index: u64) -> Result<(CacheShard, usize)> {
    let path = folder.join(format!("shard_{index}.memmap"));
    let meta_path = folder.join(format!("shard_{index}.meta"));
    let meta = json(&meta_path)?;
    let shape: Option<Vec<u64>> =
        meta["shape"].as_array().and_then(|shape| shape.iter().map(Value::as_u64).collect::<Option<_>>());
    let Some([rows, width]) = shape.as_deref() else {
        return Err(bad(&meta_path, format!("the shape {} is not [rows, d]", meta["shape"])));
    };
    let word = meta["dtype"].as_str().unwrap_or("torch.float32");
    let dtype = Dtype::of_name(word)
        .filter(|dtype| matches!(dtype, Dtype::F64 | Dtype::F32 | Dtype::F16 | Dtype::Bf16))
        .ok_or_else(|| bad(&meta_path, format!("`{word}` is no number format of activations")))?;
    let bytes = std::fs::metadata(&path).map_err(|error| Error::file(&path, error))?.len();
    let expected = rows.checked_mul(*width).and_then(|n| n.checked_mul(dtype.size() as u64));
    if expected != Some(bytes) {
        return Err(bad(
            &path,
            format!("it has {bytes} bytes, but [{rows}, {width}] numbers of {word} take another size"),
        ));
    }
    Ok((CacheShard { path, rows: *rows, dtype }, *width as usize))
}
