//! Where the heavy part of a training step runs.

use std::borrow::Cow;
use std::sync::Arc;

use super::state::State;
use crate::ml::Result;

/// L1 uses dense products while more than this share of the preactivations is positive (about break-even on a CPU).
pub const DENSE_SHARE: f64 = 0.08;
/// When a latent of an L1 crosscoder counts as dead (the default of the top-k losses).
pub const L1_DEAD_AFTER: u64 = 10_000_000;

/// Which step, counted from 0, and its learning rate.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    pub number: u64,
    pub rate: f64,
}

/// Terms of the loss of one batch, and what else was seen of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Terms {
    pub loss: f64,
    pub reconstruction: f64,
    pub sparsity: Option<f64>,
    pub auxk: Option<f64>,
    /// Entries of the code.
    pub active: usize,
    pub dead: u64,
    pub k: Option<u64>,
    /// BatchTopK: the smallest score that stayed; 0 if there is none.
    pub least: Option<f32>,
    /// Norm of the gradient, when it is clipped.
    pub gradient_norm: Option<f64>,
}

/// Holds the weights and moves them. What it is asked for a configuration follows the same equations everywhere (docs/method.md 1.3,
/// 1.4), with sums in an order of its own: the same bits each time, and within rounding those of another one.
pub trait Backend: Send {
    /// Forward, backward and update on rows `[B, 2, d]`, of an autoencoder `[B, d]`. An error means that the loss, the clipped gradient or a new decoder norm is
    /// not finite, or that the device failed.
    fn learn(&mut self, batch: &[f32], step: Step) -> Result<Terms>;

    /// Whether [`Backend::expect`] is of any use here.
    fn looks_ahead(&self) -> bool {
        false
    }

    /// Says which batch comes after the next one that is learned, so that it can be brought early. Whatever is learned then, no number
    /// depends on it.
    fn expect(&mut self, _next: Arc<Vec<f32>>) {}

    /// Before the first step of a top-k loss: the decoder bias becomes the geometric median of rows `[B, 2d]`, of an autoencoder `[B, d]`.
    fn start_at_median(&mut self, batch: &[f32]) -> Result<()>;

    /// Starts latents that were idle for more than `patience` steps again, by the errors of the batch just learned.
    fn resample(&mut self, batch: &[f32], step: u64, patience: u64) -> Result<()>;

    /// What has been learned.
    fn state(&self) -> Result<Cow<'_, State>>;

    /// eps of the last batch, `[B, 2d]`, of an autoencoder `[B, d]`.
    fn errors(&self) -> Result<Cow<'_, [f32]>>;

    /// Leaves out what makes scoring faster and changes no bit.
    fn score_in_f32(&mut self) {}

    /// Steps that were scored in f32 because too many entries were near enough to the largest in bf16.
    fn fallbacks(&self) -> u64 {
        0
    }
}
