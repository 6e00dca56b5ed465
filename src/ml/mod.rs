//! Tensors: language models, activations, crosscoders, Latent Scaling. Knows nothing of `.xd`.
//!
//! Dimensions, in comments and signatures: B rows of a batch, T tokens of a sequence, d residual width, D latents, N rows
//! in all. Rows are `[B, 2, d]`, model order `[base, tuned]`, row-major f32.
//!
//! Results do not depend on the number of threads: work is split by fixed chunks, and sums run in a fixed order.

pub mod activations;
pub mod analysis;
pub mod crosscoder;
pub mod cuda;
pub mod data;
pub mod error;
pub mod formats;
pub mod kernels;
pub mod lm;
pub mod rows;
pub mod scaling;
pub mod synthetic;
pub mod watch;

pub use error::{Error, Result};
pub use rows::{MemoryRows, RowInfo, Rows, TokenGroup};
pub use watch::{Progress, Watch};

/// Index of a model in `[base, tuned]`.
pub const BASE: usize = 0;
/// Index of a model in `[base, tuned]`.
pub const TUNED: usize = 1;
