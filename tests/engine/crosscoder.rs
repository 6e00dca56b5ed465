//! Crosscoder training against the published trainers, finite differences and itself.

mod gradient;
mod reference;
mod rows;
mod speed;
mod sweep;
mod trajectory;
