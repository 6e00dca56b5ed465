//! Crosscoders: weights, sparse codes, losses, training (method.md 1).

pub mod code;
pub mod weights;

pub use code::SparseCode;
pub use weights::{Activation, CodeNorm, Crosscoder};
