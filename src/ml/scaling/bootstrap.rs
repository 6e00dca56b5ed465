//! 95 % intervals by resampling sequences.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::betas::{Betas, Projections};
use super::sums::Sums;
use crate::ml::RowInfo;

/// Sequences are dealt into so many groups by a hash of (corpus, sequence), and groups are what is drawn again. With up to
/// this many sequences that hold a latent it is nearly the bootstrap over sequences itself; with more, a group is a random
/// sample of sequences and the interval is the same up to sqrt(2 / GROUPS) of its width. It bounds the memory: 48 bytes
/// times GROUPS a latent.
pub const GROUPS: usize = 256;

/// The central 95 % of the resampled values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    pub low: f64,
    pub high: f64,
}

/// Intervals of a latent's ratios; `None` where fewer than half of the resamples have a value.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Intervals {
    pub activation: Option<Interval>,
    pub reconstruction: Option<Interval>,
    pub error: Option<Interval>,
}

/// The group of a row's sequence.
pub fn group(info: &RowInfo) -> usize {
    let mut x = ((info.corpus as u64) << 32 | info.sequence as u64).wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (x ^ (x >> 31)) as usize % GROUPS
}

/// How often each group is drawn in each resample, `[resamples, GROUPS]`: multinomial, the same for all latents.
pub fn draws(resamples: u64, seed: u64) -> Vec<[f64; GROUPS]> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut draw = || {
        let mut times = [0.0; GROUPS];
        for _ in 0..GROUPS {
            times[rng.random_range(0..GROUPS as u32) as usize] += 1.0;
        }
        times
    };
    (0..resamples).map(|_| draw()).collect()
}

/// Percentile intervals of one latent from its sums a group.
pub fn intervals(groups: &[Sums], projections: &Projections, draws: &[[f64; GROUPS]]) -> Intervals {
    let (mut activation, mut reconstruction, mut error) = (Vec::new(), Vec::new(), Vec::new());
    let filled: Vec<(usize, &Sums)> = groups.iter().enumerate().filter(|(_, sums)| sums.code_squared > 0.0).collect();
    for times in draws {
        let mut sums = Sums::default();
        for (group, part) in &filled {
            if times[*group] > 0.0 {
                sums.add_times(part, times[*group]);
            }
        }
        if let Some(betas) = Betas::new(&sums, projections) {
            let nus = betas.nus(projections.direction);
            activation.extend(nus.activation);
            reconstruction.extend(nus.reconstruction);
            error.extend(nus.error);
        }
    }
    Intervals {
        activation: percentiles(activation, draws.len()),
        reconstruction: percentiles(reconstruction, draws.len()),
        error: percentiles(error, draws.len()),
    }
}

fn percentiles(mut values: Vec<f64>, of: usize) -> Option<Interval> {
    if values.is_empty() || 2 * values.len() < of {
        return None;
    }
    values.sort_by(f64::total_cmp);
    Some(Interval { low: quantile(&values, 0.025), high: quantile(&values, 0.975) })
}

/// Linear between the closest ranks (numpy's default), of ascending values.
fn quantile(values: &[f64], q: f64) -> f64 {
    let at = q * (values.len() - 1) as f64;
    let (low, high) = (values[at.floor() as usize], values[at.ceil() as usize]);
    low + (high - low) * at.fract()
}
