//! The code of a chunk of rows as analyses use it: inference activation, unscaled values.

use rayon::prelude::*;

use crate::ml::crosscoder::{Activation, CodeNorm, Crosscoder, SparseCode};
use crate::ml::{BASE, TUNED};

/// S_j of every latent (paper section 2.1; equation of the code norm in [`CodeNorm`]).
pub fn code_norms(crosscoder: &Crosscoder) -> Vec<f64> {
    (0..crosscoder.latents)
        .map(|j| {
            let [base, tuned] = decoder_norms(crosscoder, j);
            match crosscoder.code_norm {
                CodeNorm::Sum => base + tuned,
                CodeNorm::Concat => (base * base + tuned * tuned).sqrt(),
                CodeNorm::None => 1.0,
            }
        })
        .collect()
}

/// d_j^m, `[d]`.
pub fn decoder(crosscoder: &Crosscoder, model: usize, latent: usize) -> &[f32] {
    let at = (model * crosscoder.latents + latent) * crosscoder.width;
    &crosscoder.decoder_weight[at..at + crosscoder.width]
}

/// Norms of d_j, `[base, tuned]`.
pub fn decoder_norms(crosscoder: &Crosscoder, latent: usize) -> [f64; 2] {
    [BASE, TUNED].map(|m| decoder(crosscoder, m, latent).iter().map(|&v| v as f64 * v as f64).sum::<f64>().sqrt())
}

/// Cosine of two vectors in f64; `None` when either is zero.
pub fn cosine(a: &[f32], b: &[f32]) -> Option<f64> {
    let (mut ab, mut aa, mut bb) = (0.0f64, 0.0f64, 0.0f64);
    for (&a, &b) in a.iter().zip(b) {
        let (a, b) = (a as f64, b as f64);
        ab += a * b;
        aa += a * a;
        bb += b * b;
    }
    (aa > 0.0 && bb > 0.0).then(|| (ab / (aa.sqrt() * bb.sqrt())).clamp(-1.0, 1.0))
}

/// The sparse code of rows `[B, 2, d]`.
pub fn encode(crosscoder: &Crosscoder, rows: &[f32]) -> SparseCode {
    let (d, latents) = (crosscoder.width, crosscoder.latents);
    let norms = code_norms(crosscoder);
    let code: Vec<Vec<(u32, f32)>> = rows
        .par_chunks_exact(2 * d)
        .map(|row| {
            let mut scores = crosscoder.encoder_bias.clone();
            for (x, weights) in row.iter().zip(crosscoder.encoder_weight.chunks_exact(latents)) {
                scores.iter_mut().zip(weights).for_each(|(s, w)| *s += x * w);
            }
            let scaled = |j: usize| scores[j].max(0.0) as f64 * norms[j];
            let mut active: Vec<usize> = (0..latents).filter(|&j| scores[j] > 0.0).collect();
            match crosscoder.activation {
                Activation::Relu => {}
                Activation::Threshold { threshold, .. } => active.retain(|&j| scaled(j) > threshold as f64),
                Activation::TopK { k } => {
                    active.sort_by(|&a, &b| scaled(b).total_cmp(&scaled(a)).then(a.cmp(&b)));
                    active.truncate(k as usize);
                    active.sort_unstable();
                }
            }
            active.into_iter().map(|j| (j as u32, scores[j])).collect()
        })
        .collect();
    let mut sparse = SparseCode { offsets: vec![0], ..SparseCode::default() };
    for row in code {
        for (latent, value) in row {
            sparse.latents.push(latent);
            sparse.values.push(value);
        }
        sparse.offsets.push(sparse.latents.len());
    }
    sparse
}
