//! Tensors by name, out of safetensors files.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};

use crate::ml::{Error, Result};

/// Tensors by their published names, as f32.
#[derive(Clone, Default)]
pub struct Weights {
    tensors: BTreeMap<String, Tensor>,
}

impl Weights {
    /// From tensors that are there already.
    pub fn new(tensors: BTreeMap<String, Tensor>) -> Self {
        Self { tensors }
    }

    /// Reads `model.safetensors`, or the files that `model.safetensors.index.json` names; bf16, f16 and f32 become f32.
    pub fn load(folder: &Path) -> Result<Self> {
        let mut tensors = BTreeMap::new();
        for file in weight_files(folder)? {
            // SAFETY: the file is mapped for reading, and not changed while it is.
            let mapped = unsafe { candle_core::safetensors::MmapedSafetensors::new(&file) }?;
            for (name, _) in mapped.tensors() {
                let tensor = mapped.load(&name, &Device::Cpu)?;
                match tensor.dtype() {
                    DType::F32 | DType::F16 | DType::BF16 => tensors.insert(name, tensor.to_dtype(DType::F32)?),
                    other => {
                        let problem = format!("{}: {name} is {other:?}; bf16, f16 and f32 can be read", file.display());
                        return Err(Error::invalid("load model", problem));
                    }
                };
            }
        }
        Ok(Self { tensors })
    }

    /// The tensor `name`, which must have the given shape.
    pub fn get(&self, name: &str, shape: &[usize]) -> Result<Tensor> {
        let Some(tensor) = self.tensors.get(name) else {
            return Err(Error::invalid("load model", format!("there is no tensor `{name}`")));
        };
        match tensor.dims() == shape {
            true => Ok(tensor.clone()),
            false => {
                let problem =
                    format!("tensor `{name}` has shape {:?}, the configuration says {shape:?}", tensor.dims());
                Err(Error::invalid("load model", problem))
            }
        }
    }

    /// All tensors in the order of their names.
    pub fn tensors(&self) -> &BTreeMap<String, Tensor> {
        &self.tensors
    }
}

fn weight_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let whole = folder.join("model.safetensors");
    let index = folder.join("model.safetensors.index.json");
    if whole.is_file() || !index.is_file() {
        return match whole.is_file() {
            true => Ok(vec![whole]),
            false => {
                Err(Error::invalid("load model", format!("there is no model.safetensors in {}", folder.display())))
            }
        };
    }
    let text = std::fs::read_to_string(&index).map_err(|e| Error::file(&index, e))?;
    let value: serde_json::Value =
        serde_json::from_str(&text).map_err(|e| Error::invalid("load model", format!("{}: {e}", index.display())))?;
    let map = value["weight_map"].as_object();
    let map = map.ok_or_else(|| Error::invalid("load model", format!("{}: no `weight_map`", index.display())))?;
    let names: BTreeSet<&str> = map.values().filter_map(|v| v.as_str()).collect();
    Ok(names.into_iter().map(|name| folder.join(name)).collect())
}
