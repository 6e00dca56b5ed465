//! Tests of everything that runs a plan.
#![cfg(feature = "engine")]

mod activations;
mod activations_lm;
mod analysis;
mod crosscoder;
mod lm;
mod lm_organism;
mod lm_training;
mod runs;
mod scaling;
mod support;
mod synthetic;
mod toy;
mod whole;
