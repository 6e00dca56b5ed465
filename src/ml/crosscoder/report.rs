//! What one step of training saw.

use serde::{Deserialize, Serialize};

/// Numbers of one step, measured before its update.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepReport {
    /// Counted from 0.
    pub step: u64,
    /// Rows trained on so far, this step's among them.
    pub tokens: u64,
    /// What was minimised.
    pub loss: f64,
    /// Mean over rows and models of the error's norm (l2) or squared norm (mse).
    pub reconstruction: f64,
    /// L1: mean over rows of sum f S, without its weight.
    pub sparsity: Option<f64>,
    /// Top-k losses: AuxK, without its weight; 0 while no latent is dead.
    pub auxk: Option<f64>,
    /// Mean number of active latents a row.
    pub l0: f64,
    /// Latents that have not fired for `dead_after` tokens (10M for L1).
    pub dead: u64,
    /// BatchTopK: the running threshold after this step; negative while unset.
    pub threshold: Option<f64>,
    /// Top-k losses: k in force.
    pub k: Option<u64>,
    /// Learning rate of this step's update.
    pub lr: f64,
    /// Global norm of the gradient before clipping; `None` when it is not clipped.
    pub gradient_norm: Option<f64>,
}
