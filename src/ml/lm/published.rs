//! Weights in the files that a model is published in.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use candle_core::safetensors::MmapedSafetensors;
use candle_core::{DType, Device, Tensor};

use super::families::Stored;
use super::{DecoderConfig, Dtype};
use crate::ml::{Error, Result};

/// The safetensors of a folder, mapped; tensors are read when they are asked for.
pub(super) struct Published {
    folder: PathBuf,
    files: Vec<(PathBuf, MmapedSafetensors)>,
    /// Which file holds a tensor.
    places: BTreeMap<String, usize>,
}

impl Published {
    /// `model.safetensors`, or the shards that `model.safetensors.index.json` names.
    pub(super) fn open(folder: &Path) -> Result<Self> {
        let (mut files, mut places) = (Vec::new(), BTreeMap::new());
        for path in weight_files(folder)? {
            // SAFETY: the file is mapped for reading, and not changed while it is.
            let mapped = unsafe { MmapedSafetensors::new(&path) }.map_err(|e| broken(&path, &e))?;
            for (name, _) in mapped.tensors() {
                places.insert(name, files.len());
            }
            files.push((path, mapped));
        }
        Ok(Self { folder: folder.to_path_buf(), files, places })
    }

    /// All parts of a configuration. The head is left out where the files have none, or the embedding a second time.
    pub(super) fn parts(&self, config: &DecoderConfig, dtype: Dtype) -> Result<BTreeMap<String, Tensor>> {
        let names = config.family.names();
        let prefix = self.prefix(&format!("{}.weight", names.embedding))?;
        let head = format!("{}.weight", names.head);
        let untied = DecoderConfig { tied: false, ..config.clone() };
        let mut parts = BTreeMap::new();
        for stored in names.stored(&untied) {
            let name = match stored.name == head {
                true => match self.head(&head, prefix) {
                    Some(name) => name,
                    None => continue,
                },
                false => format!("{prefix}{}", stored.name),
            };
            let tensor = self.read(&name, &stored)?.to_dtype(dtype.of_weights())?;
            parts.extend(stored.split(&tensor, config.attention.heads)?);
        }
        if config.tied && same(parts.get("head.weight"), parts.get("embedding.weight"))? {
            parts.remove("head.weight");
        }
        Ok(parts)
    }

    /// What stands before the family's names: found by the embedding.
    fn prefix(&self, embedding: &str) -> Result<&str> {
        let before = |name: &'_ String| -> bool {
            name.strip_suffix(embedding).is_some_and(|prefix| prefix.is_empty() || prefix.ends_with('.'))
        };
        let found: Vec<&String> = self.places.keys().filter(|n| before(n)).collect();
        match found.as_slice() {
            [one] => Ok(&one[..one.len() - embedding.len()]),
            [] => Err(self.wrong(format!("there is no tensor `{embedding}`"))),
            [one, other, ..] => Err(self.wrong(format!("`{one}` and `{other}` could both be the embedding"))),
        }
    }

    /// The head stands beside the body, before or behind the last word of its prefix.
    fn head(&self, head: &str, prefix: &str) -> Option<String> {
        let outer =
            prefix.trim_end_matches('.').rsplit_once('.').map_or(String::new(), |(outer, _)| format!("{outer}."));
        [outer, prefix.to_string(), String::new()]
            .into_iter()
            .map(|before| format!("{before}{head}"))
            .find(|name| self.places.contains_key(name))
    }

    fn read(&self, name: &str, stored: &Stored) -> Result<Tensor> {
        let Some(place) = self.places.get(name) else {
            return Err(self.wrong(format!("there is no tensor `{name}`")));
        };
        let (path, file) = &self.files[*place];
        let view = file.get(name).map_err(|e| broken(path, &e))?;
        if view.shape() != stored.shape() {
            let problem = format!(
                "{}: tensor `{name}` has shape {:?}, config.json says {:?}",
                path.display(),
                view.shape(),
                stored.shape()
            );
            return Err(Error::invalid("load model", problem));
        }
        let tensor = file.load(name, &Device::Cpu).map_err(|e| broken(path, &e))?;
        match tensor.dtype() {
            DType::F32 | DType::F16 | DType::BF16 => Ok(tensor),
            other => {
                let problem = format!("{}: `{name}` is {other:?}; bf16, f16 and f32 can be read", path.display());
                Err(Error::invalid("load model", problem))
            }
        }
    }

    fn wrong(&self, problem: String) -> Error {
        Error::invalid("load model", format!("{}: {problem}", self.folder.display()))
    }
}

fn broken(path: &Path, error: &dyn std::fmt::Display) -> Error {
    let problem = format!("{} cannot be read as safetensors (was it copied whole?): {error}", path.display());
    Error::invalid("load model", problem)
}

fn same(a: Option<&Tensor>, b: Option<&Tensor>) -> Result<bool> {
    let (Some(a), Some(b)) = (a, b) else { return Ok(false) };
    Ok(a.ne(b)?.to_dtype(DType::U32)?.flatten_all()?.max(0)?.to_scalar::<u32>()? == 0)
}

fn weight_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let whole = folder.join("model.safetensors");
    if whole.is_file() {
        return Ok(vec![whole]);
    }
    let index = folder.join("model.safetensors.index.json");
    let fail = |problem: String| Err(Error::invalid("load model", problem));
    if !index.is_file() {
        let other = folder.join("pytorch_model.bin").is_file() || folder.join("pytorch_model.bin.index.json").is_file();
        let help =
            if other { "; pytorch_model.bin is not read: save the model with safe_serialization=True" } else { "" };
        return fail(format!("there is no model.safetensors in {}{help}", folder.display()));
    }
    let text = std::fs::read_to_string(&index).map_err(|e| Error::file(&index, e))?;
    let value: serde_json::Value = match serde_json::from_str(&text) {
        Ok(value) => value,
        Err(error) => return fail(format!("{}: {error}", index.display())),
    };
    let Some(map) = value["weight_map"].as_object() else {
        return fail(format!("{}: no `weight_map`", index.display()));
    };
    let names: BTreeSet<&str> = map.values().filter_map(|v| v.as_str()).collect();
    let mut files = Vec::new();
    for name in names {
        let file = folder.join(name);
        if !file.is_file() {
            return fail(format!("{} names the shard {name}, which is not in {}", index.display(), folder.display()));
        }
        files.push(file);
    }
    Ok(files)
}
