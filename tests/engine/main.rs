//! Tests of everything that runs a plan.
#![cfg(feature = "engine")]

mod activations;
mod analysis;
mod lm;
mod scaling;
mod synthetic;
mod toy;
