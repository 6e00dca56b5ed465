//! Training, Latent Scaling and models on a GPU that is emulated: every kernel against slow references, whole trainings and models against the
//! CPU; and the same on a real card where there is one.
#![cfg(feature = "engine")]

/// Checks on these GPUs, each as a test of its own.
macro_rules! checks {
    ($gpus:expr, $module:ident: $($check:ident),+ $(,)?) => {
        $(#[test] fn $check() { crate::$module::$check(&$gpus); })+
    };
}
use checks;

mod analyses;
#[cfg(feature = "cuda")]
mod card;
mod copies;
mod costs;
mod counting;
mod decoder;
mod emulator;
mod experiment;
mod kernels;
mod models;
#[path = "../engine/crosscoder/narrow.rs"]
mod narrow;
mod nvrtc;
#[path = "../engine/crosscoder/rows.rs"]
mod rows;
mod scaling;
mod scorer;
mod training;
mod verbs;
