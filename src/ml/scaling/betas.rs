//! From sums to betas and their ratios.

use super::config::Direction;
use super::sums::Sums;
use crate::ml::{BASE, TUNED};

/// What does not depend on the rows: products of the fitted direction d_j with the decoder, `[base, tuned]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Projections {
    pub direction: Direction,
    /// D_j = ||d_j||^2.
    pub squared: f64,
    /// G_j^m = d_j . d_j^m.
    pub decoder: [f64; 2],
    /// d_j . b^m.
    pub bias: [f64; 2],
}

/// The eight betas of a latent, `[base, tuned]` each.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Betas {
    /// Target h^m.
    pub activation: [f64; 2],
    /// Target h^m - b^m.
    pub activation_no_bias: [f64; 2],
    /// Target hhat^m, the full reconstruction with the latent's own term and the bias.
    pub reconstruction: [f64; 2],
    /// Target h^m - (hhat^m - f_j d_j^m), the error without the latent.
    pub error: [f64; 2],
}

/// The ratios of a latent: the model it is not fitted in over the model it is fitted in (base / tuned unless the base
/// direction is fitted). `None` where the denominator is zero.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Nus {
    pub activation: Option<f64>,
    pub activation_no_bias: Option<f64>,
    pub reconstruction: Option<f64>,
    pub error: Option<f64>,
}

impl Betas {
    /// NaN throughout: what is not known of an autoencoder stays so.
    pub(super) const UNKNOWN: Betas = Betas {
        activation: [f64::NAN; 2],
        activation_no_bias: [f64::NAN; 2],
        reconstruction: [f64::NAN; 2],
        error: [f64::NAN; 2],
    };

    /// beta^act = A/(C D), beta^nobias = (A - F1 (d . b))/(C D), beta^rec = (A - E)/(C D), beta^err = E/(C D) + G/D.
    /// `None` when the latent never fires (C = 0) or its direction is zero (D = 0).
    pub fn new(sums: &Sums, projections: &Projections) -> Option<Self> {
        let scale = sums.code_squared * projections.squared;
        if !(scale > 0.0 && scale.is_finite()) {
            return None;
        }
        let each = |beta: &dyn Fn(usize) -> f64| [beta(BASE), beta(TUNED)];
        Some(Self {
            activation: each(&|m| sums.activation[m] / scale),
            activation_no_bias: each(&|m| (sums.activation[m] - sums.code * projections.bias[m]) / scale),
            reconstruction: each(&|m| (sums.activation[m] - sums.error[m]) / scale),
            error: each(&|m| sums.error[m] / scale + projections.decoder[m] / projections.squared),
        })
    }

    /// The ratios for the direction that was fitted.
    pub fn nus(&self, direction: Direction) -> Nus {
        let (over, under) = match direction {
            Direction::Tuned => (BASE, TUNED),
            Direction::Base => (TUNED, BASE),
        };
        let ratio = |beta: &[f64; 2]| Some(beta[over] / beta[under]).filter(|nu| nu.is_finite());
        Nus {
            activation: ratio(&self.activation),
            activation_no_bias: ratio(&self.activation_no_bias),
            reconstruction: ratio(&self.reconstruction),
            error: ratio(&self.error),
        }
    }
}
