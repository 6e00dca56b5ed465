//! Latent Scaling: how much of each model's activations, reconstruction and error a latent explains (paper section 2.3).
//!
//! beta_j(y) = argmin over beta of sum_i || beta f_ij d_j - y_i ||^2, for eight targets y (activation, the same without the
//! decoder bias, reconstruction, and leave-one-out error, in either model) and one fitted direction d_j. All eight come out
//! of one pass over the active (row, latent) pairs: see [`Sums`].

pub mod average_rank;
pub mod betas;
pub mod bootstrap;
pub mod config;
pub mod measure;
pub mod sums;
pub mod verdict;

pub use average_rank::average_ranks;
pub use betas::{Betas, Nus, Projections};
pub use bootstrap::{Interval, Intervals};
pub use config::{Direction, Fit, ScalingConfig};
pub use measure::{Scaling, control_sample, scale, scale_on};
pub use sums::Sums;
pub use verdict::Verdict;
