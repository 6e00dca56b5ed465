//! What a trained crosscoder says about the two models.

pub mod classify;
pub mod compare;
mod downstream;
pub mod examples;
pub mod held_out;
pub mod latent_class;
pub mod layers;
mod pass;
pub mod patch;
pub mod ratio;
pub mod recover;
pub mod some_latents;
pub mod splice;
pub mod steering;
mod tapped_pair;
pub mod tokens;
pub mod twins;
pub mod vectors;

pub use classify::{Classes, classify};
pub use compare::{BestMatch, Directions, compare};
pub use held_out::{HeldOut, Places};
pub use latent_class::{ClassThresholds, LatentClass, delta_norm};
pub(crate) use pass::chunk_rows;
pub use ratio::{Ratio, ratio};
pub use recover::{ClassRecovery, Match, Recovery, recover, recover_unflagged};
pub use some_latents::largest_activations;
pub use splice::{Spliced, splice};
pub use steering::steering_vector;
pub use tapped_pair::TappedPair;
pub use tokens::{BUCKETS, CountedGroup, GroupCount, TokenCounts, TokensConfig, tokens};
pub use twins::{Buckets, TwinPair, Twins, TwinsConfig, divergence, twins};
