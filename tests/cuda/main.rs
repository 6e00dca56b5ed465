//! Training, Latent Scaling and models on a GPU that is emulated: every kernel against slow references, whole trainings and models against the
//! CPU; and the same on a real card where there is one.
#![cfg(feature = "engine")]

/// Checks of a module, each as a test on the emulator with both orders of threads, and as one on a real card.
macro_rules! checks {
    ($($check:ident),+ $(,)?) => {
        mod emulated {
            $(#[test] fn $check() { super::$check(&crate::emulator::both_orders()); })+
        }
        #[cfg(feature = "cuda")]
        mod card {
            $(#[test] fn $check() { super::$check(&crate::card::card()); })+
        }
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
