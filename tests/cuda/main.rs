//! Training and Latent Scaling on a GPU that is emulated: every kernel against slow references, whole trainings against the CPU.
#![cfg(feature = "engine")]

mod emulator;
mod kernels;
#[path = "../engine/crosscoder/narrow.rs"]
mod narrow;
mod nvrtc;
#[path = "../engine/crosscoder/rows.rs"]
mod rows;
mod scaling;
mod scorer;
mod training;
mod verbs;
