//! Crosscoder training against the published trainers, finite differences and itself.

mod autoencoder;
mod exact;
mod gradient;
mod memory;
mod narrow;
mod reference;
pub mod rows;
mod speed;
mod sweep;
mod trajectory;
