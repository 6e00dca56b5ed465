//! Resampling of dead latents (docs/method.md 1.6): they start again as directions of rows that are reconstructed badly.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::TrainerConfig;
use super::state::State;
use crate::ml::kernels::squared_norm;

/// A latent is active in a step when some f is over this.
pub const ACTIVE: f32 = 1e-4;
/// Norm of a new encoder column, as a share of the mean norm of the living ones.
const SHARE: f32 = 0.05;
/// Stream of the seeded generator.
const STREAM: u64 = 3;

/// Gives every latent that was idle for more than `patience` steps a row of the batch, drawn without replacement in
/// proportion to (mean over models of ||eps||)^2: its encoder becomes the row times 0.05 times the mean encoder norm of
/// the living latents of that model, its decoder the row at norm 1 a model, its bias and moments 0. Returns the latents
/// that were changed.
pub fn resample(
    state: &mut State,
    config: &TrainerConfig,
    width: usize,
    step: u64,
    batch: &[f32],
    error: &[f32],
    patience: u64,
) -> Vec<usize> {
    let both = 2 * width;
    let dead: Vec<usize> = (0..config.latents).filter(|&j| state.idle_steps[j] > patience).collect();
    if dead.is_empty() || dead.len() == config.latents {
        return Vec::new();
    }
    let living = living_norms(state, width, patience);
    let mut generator = ChaCha8Rng::seed_from_u64(config.train.seed);
    generator.set_stream(STREAM);
    generator.set_word_pos((step as u128) << 32);
    let rows = draw(&mut generator, weights(error, width), dead.len());
    let revived: Vec<usize> = dead.into_iter().take(rows.len()).collect();
    for (&j, &row) in revived.iter().zip(&rows) {
        for model in 0..2 {
            let x = &batch[row * both + model * width..][..width];
            let norm = squared_norm(x).sqrt();
            let target = j * both + model * width;
            for (i, &value) in x.iter().enumerate() {
                state.encoder.value[target + i] = value * living[model] * SHARE;
                state.decoder.value[target + i] = if norm > 0.0 { value / norm } else { 0.0 };
            }
        }
        state.encoder_bias.value[j] = 0.0;
        state.encoder_bias.forget(j..j + 1);
        state.encoder.forget(j * both..(j + 1) * both);
        state.decoder.forget(j * both..(j + 1) * both);
    }
    revived
}

fn living_norms(state: &State, width: usize, patience: u64) -> [f32; 2] {
    let (mut sums, mut count) = ([0f64; 2], 0f64);
    for (j, row) in state.encoder.value.chunks(2 * width).enumerate() {
        if state.idle_steps[j] <= patience {
            count += 1.0;
            sums[0] += squared_norm(&row[..width]).sqrt() as f64;
            sums[1] += squared_norm(&row[width..]).sqrt() as f64;
        }
    }
    sums.map(|sum| (sum / count) as f32)
}

fn weights(error: &[f32], width: usize) -> Vec<f64> {
    let norm = |half: &[f32]| squared_norm(half).sqrt() as f64;
    error.chunks(2 * width).map(|row| ((norm(&row[..width]) + norm(&row[width..])) / 2.0).powi(2)).collect()
}

/// At most `count` different indices, each drawn in proportion to the weights that are left.
fn draw(generator: &mut ChaCha8Rng, mut weights: Vec<f64>, count: usize) -> Vec<usize> {
    let mut drawn = Vec::new();
    while drawn.len() < count {
        let total: f64 = weights.iter().sum();
        if total <= 0.0 {
            break;
        }
        let mut left = generator.random::<f64>() * total;
        let chosen = weights.iter().position(|&weight| {
            left -= weight;
            left < 0.0 && weight > 0.0
        });
        let Some(row) = chosen.or_else(|| weights.iter().rposition(|&weight| weight > 0.0)) else { break };
        weights[row] = 0.0;
        drawn.push(row);
    }
    drawn
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_without_replacement_and_in_proportion() {
        let mut first = [0usize; 3];
        for seed in 0..3000 {
            let mut generator = ChaCha8Rng::seed_from_u64(seed);
            let rows = draw(&mut generator, vec![1.0, 0.0, 3.0], 5);
            assert_eq!(rows.len(), 2);
            assert_ne!(rows[0], rows[1]);
            first[rows[0]] += 1;
        }
        assert_eq!(first[1], 0);
        assert!((first[2] as f64 / 3000.0 - 0.75).abs() < 0.03, "{first:?}");
    }
}
