//! What is measured.

/// Which decoder direction is fitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// d_j^tuned, for every latent (the paper).
    Tuned,
    /// d_j^base, for every latent.
    Base,
    /// d_j^tuned, and d_j^base for base-only latents (Delta_norm < 0.1).
    Both,
}

/// The direction fitted for one latent: the decoder vector of this model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Base,
    Tuned,
}

/// What is measured, and how a latent is judged.
#[derive(Clone, Debug, PartialEq)]
pub struct ScalingConfig {
    /// Latents to measure; `None` = all.
    pub latents: Option<Vec<u32>>,
    /// Measured too, for comparison, but not ranked.
    pub control: Vec<u32>,
    pub fit: Fit,
    /// Rows, the first ones; at most all there are.
    pub tokens: u64,
    /// A specific latent has nu_reconstruction below this (paper: 0.5) ...
    pub nu_reconstruction: f64,
    /// ... and nu_error below this (paper: 0.2).
    pub nu_error: f64,
    /// Bootstrap resamples over sequences; 0 is none.
    pub intervals: u64,
    /// Of the resamples.
    pub seed: u64,
}

impl Default for ScalingConfig {
    fn default() -> Self {
        Self {
            latents: None,
            control: Vec::new(),
            fit: Fit::Tuned,
            tokens: 50_000_000,
            nu_reconstruction: 0.5,
            nu_error: 0.2,
            intervals: 0,
            seed: 42,
        }
    }
}
