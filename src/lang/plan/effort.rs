//! How long the parts of a step take against the two speeds that a device is measured to have: products of f32 matrices, F operations
//! a second, and memory that is read and written, M bytes a second.
//!
//! ```text
//! seconds = flops / F + bytes / M
//! training, a step   flops = ENCODE 4 d D B + STEP        bytes = SCORES 4 D B + ENTRIES 32 d k B + WEIGHTS 96 d D
//! L1                 flops = L1 4 d D B + STEP            bytes = WEIGHTS 96 d D
//! a pass, a row      flops = PASS 4 d D + ROW 2 d         bytes = ENTRIES 32 d k
//! Latent Scaling     flops = PASS 4 d D + ROW 2 d         bytes = TARGETS 32 d k, a row
//! its intervals      flops = INTERVALS resamples D min(GROUPS, N k / D)
//! a synthetic row    flops = SYNTHETIC (features + d)
//! ```
//!
//! with d, D, k and B as everywhere: 4 d D is the encoder's product for one row of both models, 32 d k are the bytes of the vectors that k active
//! latents read or write four times, 96 d D those of 4 d D weights with two moments, read and written. N are rows. The numbers from ENCODE to SYNTHETIC are
//! for `bench/costs/run.sh --refit` to fit to measured runs and write into this file; docs/performance.md says how far that is and how well
//! they predict.

/// Products of training.
pub const ENCODE: f64 = 0.576;
/// Passes over the scores of a batch.
pub const SCORES: f64 = 5.614;
/// What an active entry costs.
pub const ENTRIES: f64 = 0.945;
/// One update of all weights.
pub const WEIGHTS: f64 = 1.413;
/// What a step costs whatever its size.
pub const STEP: f64 = 2.28e7;
/// Encoder products that a step of L1 is worth.
pub const L1: f64 = 8.712;
/// Encoding and decoding for an analysis.
pub const PASS: f64 = 0.479;
/// What an analysis does with each coordinate of a row.
pub const ROW: f64 = 395.595;
/// What an active entry costs in Latent Scaling, with all of its targets.
pub const TARGETS: f64 = 3.460;
/// A group of sequences that is drawn again for a latent of Latent Scaling.
pub const INTERVALS: f64 = 154.380;
/// A number of a synthetic row.
pub const SYNTHETIC: f64 = 1.34e3;

/// Groups of sequences that are drawn again (`ml::scaling`).
pub const GROUPS: f64 = 256.0;
/// Active latents a token that an L1 crosscoder is taken to have.
pub const L1_ACTIVE: u64 = 64;
/// Share of a product's speed that whole passes of language models reach, forward and backward.
pub const MODEL: f64 = 0.5;
/// The same for the products of a harvest, which are most of it.
pub const HARVEST: f64 = 0.9;
/// Operations that norms, activations and attention of a harvest are worth, for each coordinate of each block.
pub const COORDINATE: f64 = 3400.0;
