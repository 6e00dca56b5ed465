//! The weights of a crosscoder, in the published layout (docs/method.md 1.1), and what they do to rows.

use rayon::prelude::*;

use super::{Autoencoder, Encoder, SparseCode, Variant};
use crate::ml::kernels::{Preactivations, gather_sum, over_each, over_threshold, positive, row_top_k, squared_norm};

/// How the two decoder norms make one code norm S_j (docs/method.md 1.2).
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CodeNorm {
    /// ||d_base|| + ||d_tuned||.
    Sum,
    /// sqrt(||d_base||^2 + ||d_tuned||^2).
    Concat,
    /// 1.
    None,
    /// sae times `Concat` plus cc times `Sum`: MIXED of published crosscoders, in which these are `alpha_sae` and `alpha_cc`.
    Mixed { sae: f32, cc: f32 },
}

impl CodeNorm {
    /// S of a latent whose decoder has these two norms.
    pub fn of(self, base: f32, tuned: f32) -> f32 {
        match self {
            CodeNorm::Sum => base + tuned,
            CodeNorm::Concat => (base * base + tuned * tuned).sqrt(),
            CodeNorm::None => 1.0,
            CodeNorm::Mixed { sae, cc } => sae * CodeNorm::Concat.of(base, tuned) + cc * CodeNorm::Sum.of(base, tuned),
        }
    }

    /// As users name it.
    pub fn word(self) -> &'static str {
        match self {
            CodeNorm::Sum => "sum",
            CodeNorm::Concat => "concat",
            CodeNorm::None => "none",
            CodeNorm::Mixed { .. } => "mixed",
        }
    }
}

/// What turns preactivations into the code when the crosscoder is used (not while it is trained).
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// f = ReLU(p): L1 crosscoders.
    Relu,
    /// f = ReLU(p) [ReLU(p) S > threshold]: BatchTopK; a negative threshold (unset) is a plain ReLU.
    Threshold { k: u64, threshold: f32 },
    /// The k largest ReLU(p) S of each row.
    TopK { k: u64 },
    /// f_j = ReLU(p_j) [p_j > theta_j], a threshold a latent `[D]`: JumpReLU as crosscode and SAELens have it. One of 0 or less is a plain ReLU.
    JumpRelu { thresholds: Vec<f32> },
}

impl Activation {
    /// The code for use.
    pub fn code(&self, at: Preactivations) -> SparseCode {
        match self {
            Activation::Relu => positive(at.products, at.bias),
            Activation::Threshold { threshold, .. } => over_threshold(at, *threshold),
            Activation::TopK { k } => row_top_k(at, *k as usize, None),
            Activation::JumpRelu { thresholds } => over_each(at, thresholds),
        }
    }
}

/// A crosscoder of two models. All matrices row-major f32.
#[derive(Clone, Debug, PartialEq)]
pub struct Crosscoder {
    /// d.
    pub width: usize,
    /// D.
    pub latents: usize,
    /// `[2, d, D]`.
    pub encoder_weight: Vec<f32>,
    /// `[D]`.
    pub encoder_bias: Vec<f32>,
    /// `[2, D, d]`.
    pub decoder_weight: Vec<f32>,
    /// `[2, d]`.
    pub decoder_bias: Vec<f32>,
    pub code_norm: CodeNorm,
    pub activation: Activation,
    /// The normaliser that a published crosscoder brought along; the weights above read and write raw rows.
    pub normalizer: Option<FoldedNormalizer>,
    /// Whether it is one of both models or an autoencoder.
    pub variant: Variant,
}

/// How a published crosscoder of mid-2025 on scales its rows: x^m -> (x^m - mean^m) scale^m, and what it decodes the other way
/// round (docs/method.md 1.6). Decoder norms are compared on its scale.
#[derive(Clone, Debug, PartialEq)]
pub struct FoldedNormalizer {
    /// `[2, d]`.
    pub mean: Vec<f32>,
    /// `[2, d]`; changes nothing beyond `scale`, and is written back as it was.
    pub std: Vec<f32>,
    pub scale: [f32; 2],
    pub target_rms: f32,
}

impl FoldedNormalizer {
    /// What the published code divides by on the way back: scale + 1e-8.
    fn back(&self, model: usize) -> f32 {
        self.scale[model] + 1e-8
    }
}

/// Preactivations that are in memory at a time when rows are encoded: 64 MiB.
const PREACTIVATIONS: usize = 1 << 24;
/// Rows that one thread decodes at a time.
const DECODE_ROWS: usize = 16;

impl Crosscoder {
    /// Decoder row d_j^m `[d]` of a model (0 base, 1 tuned).
    pub fn decoder_row(&self, model: usize, latent: usize) -> &[f32] {
        let from = (model * self.latents + latent) * self.width;
        &self.decoder_weight[from..from + self.width]
    }

    /// ||d_j^base|| and ||d_j^tuned||, each `[D]`.
    pub fn decoder_norms(&self) -> [Vec<f32>; 2] {
        [0, 1].map(|model| {
            let unit = self.norm_unit(model);
            (0..self.latents).into_par_iter().map(|j| unit * squared_norm(self.decoder_row(model, j)).sqrt()).collect()
        })
    }

    /// What decoder norms of a model are multiplied by before they are compared: 1, or the scale of its normaliser.
    pub fn norm_unit(&self, model: usize) -> f32 {
        self.normalizer.as_ref().map_or(1.0, |normalizer| normalizer.back(model))
    }

    /// The same for encoder norms: 1, or 1 / the scale of its normaliser.
    pub fn encoder_unit(&self, model: usize) -> f32 {
        self.normalizer.as_ref().map_or(1.0, |normalizer| 1.0 / normalizer.scale[model])
    }

    /// Takes a normaliser into the weights, so that they read and write raw rows. Of an autoencoder nothing of it is kept beside them.
    pub fn fold(&mut self, normalizer: FoldedNormalizer) {
        if let Some(own) = Autoencoder::of(self) {
            let folded = own.folded(&normalizer).crosscoder(self.activation.clone());
            *self = Crosscoder { code_norm: self.code_norm, ..folded };
            return;
        }
        let (d, latents) = (self.width, self.latents);
        let mut shift = vec![0.0f64; latents];
        for (row, (weights, &mean)) in self.encoder_weight.chunks_mut(latents).zip(&normalizer.mean).enumerate() {
            let scale = normalizer.scale[row / d];
            for (weight, shift) in weights.iter_mut().zip(&mut shift) {
                *weight *= scale;
                *shift += f64::from(*weight) * f64::from(mean);
            }
        }
        for (bias, shift) in self.encoder_bias.iter_mut().zip(shift) {
            *bias = (f64::from(*bias) - shift) as f32;
        }
        for model in 0..2 {
            let back = normalizer.back(model);
            self.decoder_weight[model * latents * d..][..latents * d].iter_mut().for_each(|weight| *weight /= back);
            self.decoder_bias[model * d..][..d].iter_mut().for_each(|bias| *bias /= back);
        }
        self.decoder_bias.iter_mut().zip(&normalizer.mean).for_each(|(bias, mean)| *bias += mean);
        self.normalizer = Some(normalizer);
    }

    /// The same crosscoder with its normaliser beside the weights, as the published files have it.
    pub fn unfolded(&self) -> (Crosscoder, Option<FoldedNormalizer>) {
        let mut apart = self.clone();
        let Some(normalizer) = apart.normalizer.take() else { return (apart, None) };
        let (d, latents) = (self.width, self.latents);
        apart.decoder_bias.iter_mut().zip(&normalizer.mean).for_each(|(bias, mean)| *bias -= mean);
        for model in 0..2 {
            let back = normalizer.back(model);
            apart.decoder_weight[model * latents * d..][..latents * d].iter_mut().for_each(|weight| *weight *= back);
            apart.decoder_bias[model * d..][..d].iter_mut().for_each(|bias| *bias *= back);
        }
        let mut shift = vec![0.0f64; latents];
        for (row, (weights, &mean)) in apart.encoder_weight.chunks_mut(latents).zip(&normalizer.mean).enumerate() {
            let scale = normalizer.scale[row / d];
            for (weight, shift) in weights.iter_mut().zip(&mut shift) {
                *shift += f64::from(*weight) * f64::from(mean);
                *weight /= scale;
            }
        }
        for (bias, shift) in apart.encoder_bias.iter_mut().zip(shift) {
            *bias = (f64::from(*bias) + shift) as f32;
        }
        (apart, Some(normalizer))
    }

    /// S `[D]`: what f is multiplied by to compare latents (docs/method.md 1.2).
    pub fn code_norms(&self) -> Vec<f32> {
        let [base, tuned] = self.decoder_norms();
        base.iter().zip(&tuned).map(|(&b, &t)| self.code_norm.of(b, t)).collect()
    }

    /// Rows that are encoded at a time, for whoever reads rows in portions.
    pub fn rows_at_a_time(&self) -> usize {
        (PREACTIVATIONS / self.latents.max(1)).clamp(64, 4096)
    }

    /// What it leaves of rows x `[B, 2, d]`, in their layout: x - hhat; of an autoencoder what it leaves of its target.
    pub fn errors(&self, x: &[f32], code: &SparseCode) -> Vec<f32> {
        let mut errors = self.decode(code);
        let targets = self.variant.targets(x, self.width);
        errors.par_iter_mut().zip(&*targets).for_each(|(error, target)| *error = target - *error);
        errors
    }

    /// Code of rows x `[B, 2, d]` by the activation for use.
    pub fn encode(&self, x: &[f32]) -> SparseCode {
        self.encoder().encode(x)
    }

    /// For whoever encodes many portions of rows.
    pub fn encoder(&self) -> Encoder<'_> {
        Encoder::new(self)
    }

    /// Reconstruction `[B, 2, d]` of a code.
    pub fn decode(&self, code: &SparseCode) -> Vec<f32> {
        let both = 2 * self.width;
        let mut out = vec![0.0; code.rows() * both];
        let (base, tuned) = self.decoder_weight.split_at(self.latents * self.width);
        out.par_chunks_mut(DECODE_ROWS * both).enumerate().for_each(|(chunk, rows)| {
            for (i, row) in rows.chunks_mut(both).enumerate() {
                let (latents, values) = code.row(chunk * DECODE_ROWS + i);
                row.copy_from_slice(&self.decoder_bias);
                let (row_base, row_tuned) = row.split_at_mut(self.width);
                gather_sum(row_base, values, latents, base);
                gather_sum(row_tuned, values, latents, tuned);
            }
        });
        out
    }
}
