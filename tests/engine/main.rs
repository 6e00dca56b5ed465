//! Tests of everything that runs a plan.
#![cfg(feature = "engine")]

mod activation_caches;
mod activations;
mod activations_lm;
mod analysis;
mod browser;
mod corpora;
mod crosscoder;
mod exports;
mod format_verbs;
mod gguf;
mod hub;
mod hub_server;
mod largest_allocation;
mod latents;
mod lm;
mod lm_bf16;
mod lm_config;
mod lm_files;
mod lm_organism;
mod lm_training;
mod patch;
mod plots;
mod recipes;
mod runs;
mod scaling;
mod splice;
mod streams;
mod support;
mod synthetic;
mod templates;
mod torch_files;
mod toy;
mod weight_layouts;
mod whole;
