//! One entry of the list of tensors.

use super::TensorType;

/// A tensor's name, shape and place.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorInfo {
    /// Name in llama.cpp's scheme, such as `blk.0.attn_q.weight`.
    pub name: String,
    /// Rows first, as torch writes shapes (the file has them the other way round).
    pub shape: Vec<u64>,
    pub kind: TensorType,
    /// First byte, counted from the start of the file.
    pub start: u64,
    /// Number of bytes.
    pub bytes: u64,
}

impl TensorInfo {
    /// Number of values.
    pub fn count(&self) -> u64 {
        self.shape.iter().product()
    }
}
