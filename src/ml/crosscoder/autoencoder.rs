//! A sparse autoencoder: its own weights, and the crosscoder that does the same (docs/method.md 1.7).

use rayon::prelude::*;

use super::weights::FoldedNormalizer;
use super::{Activation, CodeNorm, Crosscoder, Target, Variant};
use crate::ml::kernels::{squared_norm, transposed};

/// Weights as the published class has them, by latent: p = (x - b_dec) . e_j + b_j, xhat = sum_j f_j d_j + b_dec.
#[derive(Clone, Debug, PartialEq)]
pub struct Autoencoder {
    pub on: Target,
    /// d.
    pub width: usize,
    /// Rows e_j `[D, d]`.
    pub encoder: Vec<f32>,
    /// b `[D]`.
    pub encoder_bias: Vec<f32>,
    /// Rows d_j `[D, d]`.
    pub decoder: Vec<f32>,
    /// b_dec `[d]`.
    pub bias: Vec<f32>,
}

impl Autoencoder {
    /// D.
    pub fn latents(&self) -> usize {
        self.encoder_bias.len()
    }

    /// The weights of a crosscoder that is an autoencoder; `None` of others. b = b_enc + b_dec . e_j.
    pub fn of(crosscoder: &Crosscoder) -> Option<Self> {
        let on = crosscoder.variant.target()?;
        let (d, latents, model) = (crosscoder.width, crosscoder.latents, on.model());
        let columns = &crosscoder.encoder_weight[model * d * latents..][..d * latents];
        let encoder = transposed(columns, d, latents);
        let bias = crosscoder.decoder_bias[model * d..][..d].to_vec();
        let encoder_bias = shifted(&encoder, &crosscoder.encoder_bias, &bias, 1.0);
        let decoder = crosscoder.decoder_weight[model * latents * d..][..latents * d].to_vec();
        Some(Autoencoder { on, width: d, encoder, encoder_bias, decoder, bias })
    }

    /// Of rows as they are, where this one reads y = s x - c, s x - c being its target of rows (h^m - mean^m) s^m: e_j s, d_j / s,
    /// (b_dec + c) / s. The difference has one scale for both models.
    pub fn folded(&self, normalizer: &FoldedNormalizer) -> Self {
        let scale = normalizer.scale[self.on.model()];
        let offset = |i: usize| -> f32 {
            let mean =
                |model: usize| self.on.sign(model) * normalizer.scale[model] * normalizer.mean[model * self.width + i];
            mean(0) + mean(1)
        };
        Autoencoder {
            encoder: self.encoder.iter().map(|e| e * scale).collect(),
            decoder: self.decoder.iter().map(|d| d / scale).collect(),
            bias: self.bias.iter().enumerate().map(|(i, b)| (b + offset(i)) / scale).collect(),
            ..self.clone()
        }
    }

    /// The same function of rows `[2, d]`, exactly but for rounding: e^m = sign e_j, b_enc = b - b_dec . e_j, and a decoder in the half of
    /// its model. Scores are f themselves (S = 1).
    pub fn crosscoder(&self, activation: Activation) -> Crosscoder {
        let (d, latents, model) = (self.width, self.latents(), self.on.model());
        let columns = transposed(&self.encoder, latents, d);
        let mut encoder_weight = Vec::with_capacity(2 * columns.len());
        for half in 0..2 {
            let sign = self.on.sign(half);
            encoder_weight.extend(columns.iter().map(|&weight| if sign == 0.0 { 0.0 } else { sign * weight }));
        }
        let in_half = |values: &[f32]| {
            let mut both = vec![0.0; 2 * values.len()];
            both[model * values.len()..][..values.len()].copy_from_slice(values);
            both
        };
        Crosscoder {
            width: d,
            latents,
            encoder_weight,
            encoder_bias: shifted(&self.encoder, &self.encoder_bias, &self.bias, -1.0),
            decoder_weight: in_half(&self.decoder),
            decoder_bias: in_half(&self.bias),
            code_norm: CodeNorm::None,
            activation,
            normalizer: None,
            variant: Variant::Sae(self.on),
        }
    }
}

/// `bias_j + sign b_dec . e_j`, summed in f64.
fn shifted(encoder: &[f32], bias: &[f32], decoder_bias: &[f32], sign: f64) -> Vec<f32> {
    let rows = encoder.par_chunks_exact(decoder_bias.len());
    rows.zip(bias)
        .map(|(row, &bias)| {
            let along: f64 = row.iter().zip(decoder_bias).map(|(e, b)| f64::from(*e) * f64::from(*b)).sum();
            (f64::from(bias) + sign * along) as f32
        })
        .collect()
}

/// Scales a decoder vector to norm 1: d / (||d|| + eps), eps the f32 machine epsilon, as published.
pub fn to_unit_norm(row: &mut [f32]) {
    let norm = squared_norm(row).sqrt() + f32::EPSILON;
    row.iter_mut().for_each(|value| *value /= norm);
}

/// Takes the part along d_j out of the gradient of a decoder vector of norm 1: g - (g . u) u with u = d / (||d|| + 1e-6), as published.
pub fn without_parallel(row: &[f32], gradient: &mut [f32]) {
    let norm = f64::from(squared_norm(row).sqrt()) + 1e-6;
    let along: f64 = row.iter().zip(gradient.iter()).map(|(d, g)| f64::from(*d) * f64::from(*g)).sum();
    let factor = (along / (norm * norm)) as f32;
    gradient.iter_mut().zip(row).for_each(|(g, d)| *g -= factor * d);
}
