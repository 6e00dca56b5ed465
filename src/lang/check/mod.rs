//! What can be wrong with a file, one file a subject. The words of each mistake stand here.

pub mod activations;
pub mod autoencoders;
pub mod classes;
pub mod columns;
pub mod corpora;
pub mod crosscoders;
pub mod fields;
pub mod files;
pub mod hub;
pub mod latents;
pub mod lints;
pub mod models;
pub mod pairs;
pub mod plots;
pub mod points;
pub mod questions;
pub mod sweeps;
pub mod text;
pub mod unused;
pub mod weights;
