//! Training, Latent Scaling and models on a GPU that is emulated: every kernel against slow references, whole trainings against the CPU.
#![cfg(feature = "engine")]

mod analyses;
mod decoder;
mod emulator;
mod experiment;
mod kernels;
mod models;
mod nvrtc;
#[path = "../engine/crosscoder/rows.rs"]
mod rows;
mod scaling;
mod training;
mod verbs;
