//! The planted features.

use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::config::SyntheticConfig;
use super::frequencies::frequencies;
use super::normal::quantile;
use crate::ml::analysis::{LatentClass, delta_norm};
use crate::ml::{BASE, Result, TUNED};

/// One planted feature.
#[derive(Clone, Debug, PartialEq)]
pub struct PlantedFeature {
    /// `BaseOnly`, `Shared` or `TunedOnly`; the weak shared ones are `Shared`.
    pub class: LatentClass,
    /// Norm of its direction in each model, `[base, tuned]`.
    pub norms: [f64; 2],
    /// Cosine between its directions in the two models; `None` when one of them lacks it.
    pub cosine: Option<f64>,
    /// Probability that it fires on a row.
    pub frequency: f64,
    /// A feature without which this one fires less often, and how often it fires when the other does.
    pub follows: Option<(usize, f64)>,
}

impl PlantedFeature {
    /// Delta_norm of the planted norms (paper section 2.1).
    pub fn delta_norm(&self) -> Option<f64> {
        delta_norm(self.norms[BASE], self.norms[TUNED])
    }
}

/// All planted features: shared first, then weak, base-only, tuned-only.
#[derive(Clone, Debug, PartialEq)]
pub struct Dictionary {
    pub config: SyntheticConfig,
    pub features: Vec<PlantedFeature>,
    /// `[2, K, d]`: the direction of each of the K features in each model times its norm there.
    pub directions: Vec<f32>,
}

impl Dictionary {
    /// Plants what `config` says; depends on nothing else.
    pub fn new(config: &SyntheticConfig) -> Result<Self> {
        config.check()?;
        let mut rng = ChaCha8Rng::seed_from_u64(config.seed);
        let uniforms: Vec<f64> = (0..config.features()).map(|_| uniform(&mut rng)).collect();
        let frequencies = frequencies(&uniforms, config.tail, config.frequency, config.active);
        let (d, count) = (config.width as usize, frequencies.len());
        let mut directions = vec![0.0f32; 2 * count * d];
        let mut features = Vec::with_capacity(count);
        for (k, &frequency) in frequencies.iter().enumerate() {
            let (class, norms) = plant(config, k as u64, &mut rng);
            let tuned = unit(&gaussian(d, &mut rng));
            let step = unit(&gaussian(d, &mut rng));
            let turned: Vec<f64> = tuned.iter().zip(&step).map(|(t, s)| t + config.turn * s).collect();
            let base = if class == LatentClass::Shared { unit(&turned) } else { tuned.clone() };
            for (m, direction) in [(BASE, &base), (TUNED, &tuned)] {
                let at = (m * count + k) * d;
                for (slot, value) in directions[at..at + d].iter_mut().zip(direction) {
                    *slot = (norms[m] * value) as f32;
                }
            }
            let cosine = base.iter().zip(&tuned).map(|(b, t)| b * t).sum::<f64>();
            let cosine = (norms[BASE] > 0.0 && norms[TUNED] > 0.0).then_some(cosine);
            features.push(PlantedFeature { class, norms, cosine, frequency, follows: None });
        }
        correlate(config, &mut features, &mut rng);
        Ok(Self { config: config.clone(), features, directions })
    }

    /// d.
    pub fn width(&self) -> usize {
        self.config.width as usize
    }

    /// w_k^m, `[d]`.
    pub fn direction(&self, model: usize, feature: usize) -> &[f32] {
        let at = (model * self.features.len() + feature) * self.width();
        &self.directions[at..at + self.width()]
    }
}

/// Class and norms of feature k: tuned norm 1 where the tuned model has it, base norm = ratio.
fn plant(config: &SyntheticConfig, k: u64, rng: &mut ChaCha8Rng) -> (LatentClass, [f64; 2]) {
    let between = |(low, high): (f64, f64), u: f64| low + (high - low) * u;
    let u = uniform(rng);
    if k < config.shared {
        (LatentClass::Shared, [between(config.ratio, u), 1.0])
    } else if k < config.shared + config.weak {
        (LatentClass::Shared, [between(config.weak_ratio, u), 1.0])
    } else if k < config.shared + config.weak + config.base_only {
        (LatentClass::BaseOnly, [1.0, 0.0])
    } else {
        (LatentClass::TunedOnly, [0.0, 1.0])
    }
}

/// Joins `correlated` pairs of different features at random; in each, the more frequent one follows the other.
fn correlate(config: &SyntheticConfig, features: &mut [PlantedFeature], rng: &mut ChaCha8Rng) {
    let mut order: Vec<usize> = (0..features.len()).collect();
    order.shuffle(rng);
    for pair in order.chunks_exact(2).take(config.correlated as usize) {
        let (mut rare, mut frequent) = (pair[0], pair[1]);
        if features[rare].frequency > features[frequent].frequency {
            std::mem::swap(&mut rare, &mut frequent);
        }
        features[frequent].follows = Some((rare, config.correlation));
    }
}

fn uniform(rng: &mut ChaCha8Rng) -> f64 {
    rng.random::<f64>()
}

fn gaussian(d: usize, rng: &mut ChaCha8Rng) -> Vec<f64> {
    (0..d).map(|_| quantile(uniform(rng).clamp(1e-16, 1.0 - 1e-16))).collect()
}

fn unit(vector: &[f64]) -> Vec<f64> {
    let norm = vector.iter().map(|v| v * v).sum::<f64>().sqrt();
    vector.iter().map(|v| v / norm).collect()
}
