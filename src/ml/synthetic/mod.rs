//! Activations from a known dictionary: sparse, heavy-tailed firing of planted features, so that what a crosscoder says
//! about the two models can be held against the truth.
//!
//! h^m = sum over the firing features k of a_k w_k^m + noise; a_k > 0 is the magnitude, w_k^m the direction of feature k in
//! model m (zero in the model that lacks it).

pub mod config;
pub mod dictionary;
pub mod frequencies;
pub mod normal;
pub mod synthetic_rows;

pub use config::SyntheticConfig;
pub use dictionary::{Dictionary, PlantedFeature};
pub use synthetic_rows::{Split, SyntheticRows};
