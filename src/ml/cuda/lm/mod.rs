//! Language models on a GPU: what `src/ml/lm` does in a decoder's forward pass, with weights and the stream in the GPU's memory.
//!
//! Only token ids and values that are put in go up, only the stream at the tapped site and what the head reads come down. Logits
//! stay there and are compared there. The order of every sum is fixed; against the CPU it is another one.
//!
//! A model in bf16 has all its numbers but the logits as bf16 where the GPU has units for narrow numbers (`values.rs`): these multiply them as they are.

mod decoder;
mod layer;
mod logits;
mod room;
mod values;
mod weights;

pub use decoder::GpuDecoder;
pub(crate) use decoder::PACE;
pub use logits::GpuLogits;
pub(crate) use weights::WIDE;
