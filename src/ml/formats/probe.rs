//! Rows on which two readings of a crosscoder are compared.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::slow_crosscoder::SlowCode;
use crate::ml::crosscoder::{Crosscoder, SparseCode};
use crate::ml::kernels::squared_norm;

/// Rows of a probe.
pub const PROBE_ROWS: usize = 32;
/// Latents that are put into each row.
const MIXED: usize = 8;
/// Relative to the largest number, features and reconstructions in f32 agree better than this.
pub const AGREES: f64 = 1e-4;

/// How far two readings are apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Comparison {
    pub rows: usize,
    /// Active latents a row.
    pub active: f64,
    /// Largest difference of a feature, relative to the largest feature.
    pub features: f64,
    /// Largest difference of a reconstructed number, relative to the largest.
    pub reconstruction: f64,
}

impl Comparison {
    /// Both readings give the same, and there was something to give.
    pub fn agrees(&self) -> bool {
        self.features <= AGREES && self.reconstruction <= AGREES && self.active > 0.0
    }
}

/// Rows `[PROBE_ROWS, 2, d]` that make latents fire: the decoder's bias, some of its directions, each at a strength that brings it over
/// the threshold, and noise of a tenth. From a fixed seed.
pub fn probe_rows(crosscoder: &Crosscoder) -> Vec<f32> {
    let (d, latents) = (crosscoder.width, crosscoder.latents);
    let mut generator = ChaCha8Rng::seed_from_u64(9);
    let mut best: (usize, Vec<f32>) = (0, Vec::new());
    let chosen: Vec<usize> = (0..PROBE_ROWS * MIXED).map(|_| generator.random_range(0..latents)).collect();
    let noise: Vec<f32> = (0..PROBE_ROWS * 2 * d).map(|_| generator.random::<f32>() - 0.5).collect();
    let size = crosscoder.decoder_bias.iter().map(|b| b.abs()).fold(0.0, f32::max).max(1.0);
    // Strengths grow until half of the rows' latents fire; what reads large activations needs large rows.
    for power in 0..12 {
        let strength = size * 2f32.powi(power);
        let mut rows: Vec<f32> = noise
            .iter()
            .enumerate()
            .map(|(place, noise)| crosscoder.decoder_bias[place % (2 * d)] + 0.1 * strength * noise)
            .collect();
        for (row, chosen) in rows.chunks_mut(2 * d).zip(chosen.chunks(MIXED)) {
            for &latent in chosen {
                let directions = [crosscoder.decoder_row(0, latent), crosscoder.decoder_row(1, latent)];
                let norm = directions.iter().map(|direction| squared_norm(direction)).sum::<f32>().sqrt().max(1e-12);
                for (half, direction) in row.chunks_mut(d).zip(directions) {
                    half.iter_mut().zip(direction).for_each(|(value, weight)| *value += strength * weight / norm);
                }
            }
        }
        let active = crosscoder.encode(&rows).values.len();
        if active > best.0 || best.1.is_empty() {
            best = (active, rows);
        }
        if active >= PROBE_ROWS * MIXED / 2 {
            break;
        }
    }
    best.1
}

/// Compares a slow reading with a fast one: `scale` `[D]` is what the fast features are multiplied by first (1 where there is none).
pub fn compare(slow: &SlowCode, code: &SparseCode, decoded: &[f32], scale: Option<&[f32]>) -> Comparison {
    let rows = code.rows();
    let latents = slow.features.len() / rows.max(1);
    let mut dense = vec![0.0; slow.features.len()];
    for row in 0..rows {
        let (active, values) = code.row(row);
        for (&j, &value) in active.iter().zip(values) {
            dense[row * latents + j as usize] =
                f64::from(value) * scale.map_or(1.0, |scale| f64::from(scale[j as usize]));
        }
    }
    let decoded: Vec<f64> = decoded.iter().map(|&value| f64::from(value)).collect();
    of_numbers(rows, slow, &dense, &decoded)
}

/// Compares two slow readings; `scale` as in [`compare`], for the second.
pub fn compare_slow(rows: usize, slow: &SlowCode, other: &SlowCode, scale: Option<&[f32]>) -> Comparison {
    let latents = scale.map_or(1, <[f32]>::len);
    let by = |place: usize| scale.map_or(1.0, |scale| f64::from(scale[place % latents]));
    let features: Vec<f64> = other.features.iter().enumerate().map(|(place, value)| value * by(place)).collect();
    of_numbers(rows, slow, &features, &other.reconstruction)
}

fn of_numbers(rows: usize, slow: &SlowCode, features: &[f64], decoded: &[f64]) -> Comparison {
    let largest = |numbers: &[f64]| numbers.iter().map(|n| n.abs()).fold(0.0, f64::max).max(f64::MIN_POSITIVE);
    let (latents, both) = (slow.features.len() / rows.max(1), slow.reconstruction.len() / rows.max(1));
    let mut comparison = Comparison { rows, ..Comparison::default() };
    comparison.active = slow.features.iter().filter(|value| **value > 0.0).count() as f64 / rows.max(1) as f64;
    let mut worst = (0.0f64, 0.0f64);
    for row in 0..rows {
        let mut decided = true;
        for place in row * latents..(row + 1) * latents {
            let difference = (slow.features[place] - features[place]).abs();
            if slow.doubtful[place] && (slow.features[place] > 0.0) != (features[place] > 0.0) {
                decided = false;
            } else {
                worst.0 = worst.0.max(difference);
            }
        }
        // Where rounding decides whether a latent fires, the reconstruction differs by that latent.
        if decided {
            let places = row * both..(row + 1) * both;
            worst.1 = places.map(|i| (slow.reconstruction[i] - decoded[i]).abs()).fold(worst.1, f64::max);
        }
    }
    comparison.features = worst.0 / largest(&slow.features);
    comparison.reconstruction = worst.1 / largest(&slow.reconstruction);
    comparison
}
