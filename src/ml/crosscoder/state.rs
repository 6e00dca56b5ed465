//! What training has learned so far, in memory.

use rayon::prelude::*;

use super::parameter::Parameter;

/// Weights with their moments, and how long each latent has not fired. Every later step depends on all of it.
#[derive(Clone)]
pub struct State {
    /// Rows of the encoder, `[D, 2d]`; of an autoencoder `[D, d]`, and so wherever 2d stands below.
    pub encoder: Parameter,
    /// `[D]`.
    pub encoder_bias: Parameter,
    /// Rows of the decoder, `[D, 2d]`.
    pub decoder: Parameter,
    /// `[2d]`.
    pub decoder_bias: Parameter,
    /// Tokens since each latent fired, `[D]`.
    pub idle_tokens: Vec<u64>,
    /// Steps since f was over 1e-4, `[D]` (for resampling).
    pub idle_steps: Vec<u64>,
}

impl State {
    /// Which latents have had a gradient, `[D]`; `both` is the length of a row.
    pub fn touched(&self, both: usize) -> Vec<bool> {
        (0..self.idle_tokens.len())
            .into_par_iter()
            .map(|j| {
                let row = j * both..(j + 1) * both;
                let is_fresh = self.encoder.untouched(row.clone()) && self.decoder.untouched(row);
                !(is_fresh && self.encoder_bias.untouched(j..j + 1))
            })
            .collect()
    }
}
