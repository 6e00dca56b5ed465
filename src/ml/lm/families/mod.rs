//! What differs between the families: one file each.

mod gemma2;
mod gemma3;
mod llama;

pub(super) use gemma2::gemma2;
pub(super) use gemma3::gemma3;
pub(super) use llama::llama;
