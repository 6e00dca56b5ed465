//! What a trained crosscoder says about the two models.

pub mod classify;
pub mod latent_class;
pub mod recover;
pub mod vectors;

pub(crate) use classify::chunk_rows;
pub use classify::{Classes, classify};
pub use latent_class::{ClassThresholds, LatentClass, delta_norm};
pub use recover::{ClassRecovery, Match, Recovery, recover, recover_unflagged};
