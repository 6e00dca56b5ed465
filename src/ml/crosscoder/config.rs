//! How a crosscoder is trained: the numbers in force.

use serde::{Deserialize, Serialize};

use super::{CodeNorm, Precision, Variant};

/// Everything that [`super::Trainer`] needs besides the data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainerConfig {
    /// D.
    pub latents: usize,
    #[serde(default)]
    pub variant: Variant,
    pub loss: Loss,
    pub init: Init,
    pub train: Train,
}

/// What is minimised (docs/method.md 1.3, 1.4).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "form", rename_all = "snake_case")]
pub enum Loss {
    /// reconstruction + weight / B * sum of f S; the weight in force at a step is weight * min(step / warmup, 1).
    L1 { weight: f64, warmup: u64, reconstruction: Reconstruction, norm: CodeNorm },
    /// The B k largest scores of a batch stay active.
    BatchTopK(TopK),
    /// The k largest scores of each row stay active.
    TopK(TopK),
}

impl Loss {
    /// Which norm the error is measured in.
    pub fn reconstruction(&self) -> Reconstruction {
        match self {
            Loss::L1 { reconstruction, .. } => *reconstruction,
            Loss::BatchTopK(top) | Loss::TopK(top) => top.reconstruction,
        }
    }

    /// Weight of the sparsity penalty in force at a step; 0 for the top-k losses.
    pub fn weight_at(&self, step: u64) -> f64 {
        match *self {
            Loss::L1 { weight, warmup, .. } if step < warmup => weight * step as f64 / warmup as f64,
            Loss::L1 { weight, .. } => weight,
            Loss::BatchTopK(_) | Loss::TopK(_) => 0.0,
        }
    }

    /// How S is made.
    pub fn norm(&self) -> CodeNorm {
        match self {
            Loss::L1 { norm, .. } => *norm,
            Loss::BatchTopK(top) | Loss::TopK(top) => top.norm,
        }
    }
}

/// Arguments of the two top-k losses.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TopK {
    pub k: u64,
    /// Weight of AuxK; 0 is off.
    pub aux: f64,
    /// A latent is dead after so many tokens without firing.
    pub dead_after: u64,
    /// The running threshold starts after this step (BatchTopK).
    pub threshold_from: u64,
    /// `(from, steps)`: k goes linearly from `from` to `k` in so many steps.
    pub anneal: Option<(u64, u64)>,
    pub reconstruction: Reconstruction,
    pub norm: CodeNorm,
}

impl TopK {
    /// k in force at a step: max(1, round(from - (from - k) step / steps)), halves to the even number, as published.
    pub fn k_at(&self, step: u64) -> u64 {
        match self.anneal {
            Some((from, steps)) if step < steps => {
                let (from, k) = (from as f64, self.k as f64);
                ((from - (from - k) * step as f64 / steps as f64).round_ties_even() as u64).max(1)
            }
            _ => self.k,
        }
    }
}

/// Mean over rows and models of the error's norm, or of its square.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reconstruction {
    /// ||eps||: the published code.
    L2,
    /// ||eps||^2: the paper's formula.
    Mse,
}

/// Weights before the first step (docs/method.md 1.1).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Init {
    /// Norm of every encoder column (and decoder row) of each model; `None` keeps the Kaiming draw.
    pub norm: Option<f64>,
    pub encoder: InitEncoder,
    /// One draw for both models.
    pub same: bool,
}

/// How the decoder starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InitEncoder {
    /// As the transpose of the encoder.
    Transpose,
    /// By its own draw.
    Independent,
}

/// Optimisation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Train {
    /// B, tokens a step.
    pub batch: u64,
    pub steps: u64,
    pub optimizer: AdamConfig,
    /// Clips the gradient's global norm.
    pub clip: Option<f64>,
    pub shuffle: Shuffle,
    /// Steps between validations; 0 is none. Changes no result.
    pub validate: u64,
    /// Steps between log rows; 0 is none. Changes no result.
    pub log: u64,
    pub seed: u64,
    /// What dense products read.
    #[serde(default)]
    pub precision: Precision,
    /// Steps between resamplings of dead latents; `None` is off.
    pub resample: Option<u64>,
}

/// Adam and its learning rate.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct AdamConfig {
    pub learning_rate: f64,
    pub beta1: f64,
    pub beta2: f64,
    pub epsilon: f64,
    /// The factor at step s is min(s / warmup, 1).
    pub warmup: u64,
    /// Linear decay to 0 over the last so many steps; 0 is constant.
    pub decay: u64,
}

impl Train {
    /// Learning rate of a step. With resampling the warm-up starts again at each multiple of its period.
    pub fn rate_at(&self, step: u64) -> f64 {
        let adam = &self.optimizer;
        let warm = self.resample.map_or(step, |period| step % period.max(1));
        let up = if warm < adam.warmup { warm as f64 / adam.warmup as f64 } else { 1.0 };
        let left = self.steps.saturating_sub(step);
        let down = if left < adam.decay { left as f64 / adam.decay as f64 } else { 1.0 };
        adam.learning_rate * up.min(down)
    }
}

/// In which order rows are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shuffle {
    /// Blocks as stored, rows within a block by a new permutation each epoch.
    Local,
    /// One permutation of all rows each epoch.
    Global,
    /// As stored.
    None,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn train() -> Train {
        Train {
            batch: 8,
            steps: 100,
            optimizer: AdamConfig {
                learning_rate: 2.0,
                beta1: 0.9,
                beta2: 0.999,
                epsilon: 1e-8,
                warmup: 10,
                decay: 20,
            },
            clip: None,
            shuffle: Shuffle::None,
            validate: 0,
            log: 0,
            seed: 0,
            precision: Precision::F32,
            resample: None,
        }
    }

    #[test]
    fn rate_warms_up_from_zero_and_decays_at_the_end() {
        let rates: Vec<f64> = [0, 1, 10, 50, 80, 90, 99].map(|s| train().rate_at(s)).to_vec();
        assert_eq!(rates, [0.0, 0.2, 2.0, 2.0, 2.0, 1.0, 0.1]);
        let restarting = Train { resample: Some(30), ..train() };
        assert_eq!(restarting.rate_at(33), 2.0 * 0.3);
    }

    #[test]
    fn weight_of_l1_warms_up() {
        let loss = Loss::L1 { weight: 2.0, warmup: 4, reconstruction: Reconstruction::Mse, norm: CodeNorm::Sum };
        assert_eq!([0, 1, 3, 4, 5].map(|s| loss.weight_at(s)), [0.0, 0.5, 1.5, 2.0, 2.0]);
    }

    #[test]
    fn k_anneals_as_published() {
        let top = TopK {
            k: 5,
            aux: 0.0,
            dead_after: 1,
            threshold_from: 0,
            anneal: Some((20, 30)),
            reconstruction: Reconstruction::L2,
            norm: CodeNorm::Sum,
        };
        let ks: Vec<u64> = (0..8).map(|s| top.k_at(s)).collect();
        assert_eq!(ks, [20, 20, 19, 18, 18, 18, 17, 16]);
        assert_eq!((top.k_at(29), top.k_at(30), top.k_at(1000)), (6, 5, 5));
    }
}
