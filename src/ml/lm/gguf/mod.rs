//! The parts of a decoder out of a GGUF file, with their published values.

mod dequantize;
mod names;

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{Device, Tensor};
use rayon::prelude::*;

use self::dequantize::dequantize;
use super::DecoderConfig;
use crate::gguf::{GgufFile, TensorInfo};
use crate::ml::{Error, Result};

/// Opens the file of a model.
pub(super) fn open(path: &Path) -> Result<GgufFile> {
    GgufFile::open(path).map_err(|problem| Error::invalid("load model", format!("{}: {problem}", path.display())))
}

/// What `config.json` would say of the model.
pub(super) fn config(file: &GgufFile) -> Result<serde_json::Value> {
    let wrong = |problem: String| Error::invalid("load model", format!("{}: {problem}", file.path().display()));
    crate::gguf::config(file).map_err(wrong)
}

/// All parts as f32.
///
/// Undone is what llama.cpp's converter does to them: Gemma's norms are stored as 1 + w, and the rows of Llama's queries and
/// keys are in the order of another rope.
pub(super) fn parts(file: &GgufFile, config: &DecoderConfig) -> Result<BTreeMap<String, Tensor>> {
    let wrong = |problem: String| Error::invalid("load model", format!("{}: {problem}", file.path().display()));
    let change = Change::of(file, config).map_err(wrong)?;
    let read = |tensor: &TensorInfo| -> std::result::Result<Option<(String, Tensor)>, String> {
        let Some(part) = names::part(&tensor.name) else {
            return match change.unread(&tensor.name) {
                true => Ok(None),
                false => Err(format!("tensor `{}` is none that this decoder has", tensor.name)),
            };
        };
        let mut values = dequantize(tensor.kind, &file.bytes(tensor)?, tensor.count() as usize)?;
        change.apply(&mut values, tensor);
        let shape: Vec<usize> = tensor.shape.iter().map(|n| *n as usize).collect();
        let tensor = Tensor::from_vec(values, shape, &Device::Cpu).map_err(|e| e.to_string())?;
        Ok(Some((part, tensor)))
    };
    let tensors: Vec<&TensorInfo> = file.tensors().values().collect();
    let read: Vec<Option<(String, Tensor)>> =
        tensors.into_par_iter().map(read).collect::<std::result::Result<_, _>>().map_err(wrong)?;
    Ok(read.into_iter().flatten().collect())
}

/// What the converter did to the weights of an architecture.
struct Change {
    /// Norms hold 1 + w.
    norms: bool,
    /// Heads and key heads whose rows were interleaved.
    rows: Option<(usize, usize)>,
}

impl Change {
    fn of(file: &GgufFile, config: &DecoderConfig) -> std::result::Result<Self, String> {
        let architecture = file.architecture()?;
        let heads = (config.attention.heads, config.attention.kv_heads);
        Ok(Self { norms: architecture.starts_with("gemma"), rows: (architecture == "llama").then_some(heads) })
    }

    /// Tensors that say something already known from the metadata.
    fn unread(&self, name: &str) -> bool {
        name == "rope_freqs.weight" || name.ends_with(".attn_rot_embd") || name.ends_with(".attn.rot_embd")
    }

    fn apply(&self, values: &mut Vec<f32>, tensor: &TensorInfo) {
        if self.norms && tensor.name.ends_with("norm.weight") {
            values.iter_mut().for_each(|w| *w -= 1.0);
        }
        if let Some((heads, kv_heads)) = self.rows {
            if tensor.name.contains(".attn_q.") {
                *values = halves_again(values, heads, tensor.shape[0] as usize);
            }
            if tensor.name.contains(".attn_k.") {
                *values = halves_again(values, kv_heads, tensor.shape[0] as usize);
            }
        }
    }
}

/// Within each head, row 2 i goes to i and row 2 i + 1 to i + n / 2: from pairs of neighbours, which the original Llama code
/// rotates, to pairs of halves. Biases have rows of one value.
fn halves_again(values: &[f32], heads: usize, rows: usize) -> Vec<f32> {
    let (head, row) = (rows / heads.max(1), values.len() / rows.max(1));
    let mut out = Vec::with_capacity(values.len());
    for first in (0..rows).step_by(head.max(1)) {
        for half in 0..2 {
            for pair in 0..head / 2 {
                let from = (first + 2 * pair + half) * row;
                out.extend_from_slice(&values[from..from + row]);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_a_head_are_put_back_into_halves() {
        // Two heads of four rows of two values; the converter made 0 1 2 3 into 0 2 1 3.
        let stored: Vec<f32> = [0, 2, 1, 3, 4, 6, 5, 7].iter().flat_map(|r| [*r as f32, *r as f32 + 0.5]).collect();
        let want: Vec<f32> = (0..8).flat_map(|r| [r as f32, r as f32 + 0.5]).collect();
        assert_eq!(halves_again(&stored, 2, 8), want);
    }
}
