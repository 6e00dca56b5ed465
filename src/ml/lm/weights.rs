//! The parts of a decoder, by name.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{DType, Tensor};

use super::families::Stored;
use super::parts::parts;
use super::published::Published;
use super::{DecoderConfig, Dtype};
use crate::gguf::GgufFile;
use crate::ml::{Error, Result};

/// Tensors under the names of the decoder's parts (`parts.rs` lists them), whatever file they came from.
#[derive(Clone, Default)]
pub struct Weights {
    dtype: Dtype,
    parts: BTreeMap<String, Tensor>,
}

impl Weights {
    /// From parts that are there already; they are brought to `dtype` (f32 parts of an f32 decoder are shared, not copied).
    ///
    /// # Errors
    /// When a part is no floating-point tensor.
    pub fn new(parts: BTreeMap<String, Tensor>, dtype: Dtype) -> Result<Self> {
        let convert = |(name, tensor): (String, Tensor)| -> Result<(String, Tensor)> {
            match tensor.dtype() {
                DType::F32 | DType::F16 | DType::BF16 => Ok((name, tensor.to_dtype(dtype.of_weights())?)),
                other => {
                    Err(Error::invalid("load model", format!("{name} is {other:?}; bf16, f16 and f32 can be used")))
                }
            }
        };
        Ok(Self { dtype, parts: parts.into_iter().map(convert).collect::<Result<_>>()? })
    }

    /// Reads a model folder's safetensors (one file, or the shards that its index names), or dequantises a GGUF file.
    ///
    /// Whether there is a head is for the file to say: without one the embedding serves, even if the configuration is not tied;
    /// with one it is used, even if the configuration is tied (as transformers does).
    ///
    /// # Errors
    /// When a file is missing or broken, or a tensor is missing or has another shape than the configuration says.
    pub fn load(folder: &Path, config: &DecoderConfig, dtype: Dtype) -> Result<Self> {
        if GgufFile::is(folder) {
            return Self::new(super::gguf::parts(&super::gguf::open(folder)?, config)?, dtype);
        }
        Self::new(Published::open(folder)?.parts(config, dtype)?, dtype)
    }

    /// The tensors that a model folder of this family holds, under their published names.
    ///
    /// # Errors
    /// When a part is missing.
    pub fn published(&self, config: &DecoderConfig) -> Result<BTreeMap<String, Tensor>> {
        let config = DecoderConfig { tied: self.tied(), ..config.clone() };
        let names = config.family.names();
        let head = format!("{}.weight", names.head);
        let shapes: BTreeMap<String, Vec<usize>> = parts(&config).into_iter().collect();
        let part = |name: &str| self.get(name, shapes.get(name).map_or(&[], Vec::as_slice));
        let publish = |stored: Stored| {
            let prefix = if stored.name == head { "" } else { names.prefix };
            Ok((format!("{prefix}{}", stored.name), stored.join(config.attention.heads, part)?))
        };
        names.stored(&config).into_iter().map(publish).collect()
    }

    /// What decoders of these weights compute with.
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// True without a head: the embedding is the head.
    pub fn tied(&self) -> bool {
        !self.parts.contains_key("head.weight")
    }

    /// The part `name`, which must have the given shape.
    ///
    /// # Errors
    /// When it is missing or has another shape.
    pub fn get(&self, name: &str, shape: &[usize]) -> Result<Tensor> {
        let Some(tensor) = self.parts.get(name) else {
            return Err(Error::invalid("load model", format!("the part `{name}` is missing")));
        };
        match tensor.dims() == shape {
            true => Ok(tensor.clone()),
            false => {
                let problem =
                    format!("the part `{name}` has shape {:?}, the configuration says {shape:?}", tensor.dims());
                Err(Error::invalid("load model", problem))
            }
        }
    }

    /// All parts in the order of their names.
    pub fn parts(&self) -> &BTreeMap<String, Tensor> {
        &self.parts
    }
}
