//! Crosscoders: weights, sparse codes, losses, training (method.md 1).

pub mod code;
pub mod config;
pub mod file;
pub mod tensor_file;
pub mod weights;

pub use code::SparseCode;
pub use config::{AdamConfig, Init, InitEncoder, Loss, Reconstruction, Shuffle, TopK, Train, TrainerConfig};
pub use weights::{Activation, CodeNorm, Crosscoder};
