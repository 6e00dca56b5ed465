//! Norms and cosines of encoder and decoder vectors, in f64.

use rayon::prelude::*;

use crate::ml::crosscoder::Crosscoder;
use crate::ml::{BASE, TUNED};

/// Norms of d_j, `[base, tuned]`.
pub fn decoder_norms(crosscoder: &Crosscoder, latent: usize) -> [f64; 2] {
    [BASE, TUNED].map(|m| {
        let row = crosscoder.decoder_row(m, latent);
        f64::from(crosscoder.norm_unit(m)) * dot(row, row).sqrt()
    })
}

/// Of every latent the norms of e_j, `[base, tuned]`, and their cosine (`None` where one is zero).
pub fn encoder_vectors(crosscoder: &Crosscoder) -> Vec<([f64; 2], Option<f64>)> {
    const COLUMNS: usize = 1024;
    let (d, latents) = (crosscoder.width, crosscoder.latents);
    let (base, tuned) = crosscoder.encoder_weight.split_at(d * latents);
    let units = [BASE, TUNED].map(|m| f64::from(crosscoder.encoder_unit(m)));
    let mut found = vec![([0.0; 2], None); latents];
    found.par_chunks_mut(COLUMNS).enumerate().for_each(|(chunk, found)| {
        let (from, count) = (chunk * COLUMNS, found.len());
        let mut sums = vec![[0.0f64; 3]; count];
        for (base, tuned) in base.chunks_exact(latents).zip(tuned.chunks_exact(latents)) {
            let pairs = base[from..from + count].iter().zip(&tuned[from..from + count]);
            for (sums, (&b, &t)) in sums.iter_mut().zip(pairs) {
                let (b, t) = (f64::from(b), f64::from(t));
                *sums = [sums[0] + b * b, sums[1] + t * t, sums[2] + b * t];
            }
        }
        for (found, [bb, tt, bt]) in found.iter_mut().zip(sums) {
            let cosine = (bb * tt > 0.0).then(|| (bt / (bb * tt).sqrt()).clamp(-1.0, 1.0));
            *found = ([units[0] * bb.sqrt(), units[1] * tt.sqrt()], cosine);
        }
    });
    found
}

/// These vectors, each divided by its norm, one after another; those of norm 0 stay 0.
pub fn unit_rows<'a>(vectors: impl Iterator<Item = Vec<f32>> + 'a) -> Vec<f32> {
    let mut rows = Vec::new();
    for vector in vectors {
        let norm = dot(&vector, &vector).sqrt();
        let scale = if norm > 0.0 { 1.0 / norm } else { 0.0 };
        rows.extend(vector.iter().map(|&x| (f64::from(x) * scale) as f32));
    }
    rows
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
