//! What a trained crosscoder says about the two models.

pub mod classify;
pub mod compare;
pub mod latent_class;
mod pass;
pub mod recover;
pub mod tokens;
pub mod twins;
pub mod vectors;

pub use classify::{Classes, classify};
pub use compare::{BestMatch, Directions, compare};
pub use latent_class::{ClassThresholds, LatentClass, delta_norm};
pub(crate) use pass::chunk_rows;
pub use recover::{ClassRecovery, Match, Recovery, recover, recover_unflagged};
pub use tokens::{CountedGroup, GroupCount, TokenCounts, TokensConfig, tokens};
pub use twins::{TwinPair, Twins, TwinsConfig, twins};
