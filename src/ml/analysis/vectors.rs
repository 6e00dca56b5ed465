//! Norms and cosines of decoder vectors, in f64.

use crate::ml::crosscoder::Crosscoder;
use crate::ml::{BASE, TUNED};

/// Norms of d_j, `[base, tuned]`.
pub fn decoder_norms(crosscoder: &Crosscoder, latent: usize) -> [f64; 2] {
    [BASE, TUNED].map(|m| {
        let row = crosscoder.decoder_row(m, latent);
        f64::from(crosscoder.norm_unit(m)) * dot(row, row).sqrt()
    })
}

/// Dot product in f64.
pub fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| a as f64 * b as f64).sum()
}

/// Cosine of two vectors; `None` when either is zero.
pub fn cosine(a: &[f32], b: &[f32]) -> Option<f64> {
    let squared = dot(a, a) * dot(b, b);
    (squared > 0.0).then(|| (dot(a, b) / squared.sqrt()).clamp(-1.0, 1.0))
}
