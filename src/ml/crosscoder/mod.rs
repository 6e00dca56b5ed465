//! Crosscoders: weights, sparse codes, losses, training (docs/method.md 1).

pub mod code;
pub mod config;
pub mod evaluate;
pub mod events;
pub mod file;
pub mod log;
pub mod order;
pub mod report;
pub mod sweep;
pub mod tensor_file;
pub mod trainer;
pub mod variant;
pub mod weights;

pub(crate) mod backend;
pub(crate) mod layout;
pub(crate) mod parameter;
pub(crate) mod resample;
pub(crate) mod state;

mod autoencoder;
mod auxk;
mod checkpoint;
mod cpu;
mod encoder;
mod gradient;
mod guess;
pub(crate) mod median;
mod precision;
mod rows_pass;
mod start;

pub use autoencoder::Autoencoder;
pub use code::SparseCode;
pub use config::{AdamConfig, Init, InitEncoder, Loss, Reconstruction, Shuffle, TopK, Train, TrainerConfig};
pub use encoder::Encoder;
pub use evaluate::{Evaluation, Quality, evaluate};
pub use median::geometric_median;
pub use precision::Precision;
pub use report::StepReport;
pub use sweep::{Pace, SweepPoint, train_sweep};
pub use trainer::Trainer;
pub use variant::{Target, Variant};
pub use weights::{Activation, CodeNorm, Crosscoder};
