//! What is planted.

use crate::ml::{Error, Result};

const OPERATION: &str = "synthetic pair";

/// What is planted, and how it fires.
#[derive(Clone, Debug, PartialEq)]
pub struct SyntheticConfig {
    /// d.
    pub width: u64,
    /// Features that both models have, the weak ones not counted.
    pub shared: u64,
    /// Shared features that are weaker in the base, at a norm ratio base / tuned drawn from `weak_ratio`.
    pub weak: u64,
    pub weak_ratio: (f64, f64),
    /// Norm ratio base / tuned of the other shared features.
    pub ratio: (f64, f64),
    pub base_only: u64,
    pub tuned_only: u64,
    /// Expected number of firing features a row.
    pub active: f64,
    /// Firing probabilities go like uniform^tail before they are scaled to `active`.
    pub tail: f64,
    /// Firing probabilities stay within this range.
    pub frequency: (f64, f64),
    /// Magnitude of a firing feature: `scale` times a uniform draw from `magnitude`.
    pub scale: f64,
    pub magnitude: (f64, f64),
    /// Norm of the random vector that is added to a shared feature's unit direction in the base (then made unit again):
    /// the cosine between the models is about 1 / sqrt(1 + turn^2).
    pub turn: f64,
    /// Pairs of features that fire together, and how often the more frequent one fires when the other does.
    pub correlated: u64,
    pub correlation: f64,
    /// Standard deviation of the Gaussian noise in each coordinate of each model.
    pub noise: f64,
    pub seed: u64,
}

impl SyntheticConfig {
    /// Number of planted features.
    pub fn features(&self) -> u64 {
        self.shared + self.weak + self.base_only + self.tuned_only
    }

    /// Refuses what cannot be planted, naming the field.
    pub fn check(&self) -> Result<()> {
        let refuse = |problem: String| Err(Error::invalid(OPERATION, problem));
        if self.width == 0 || self.features() == 0 {
            return refuse("needs a width and at least one feature".into());
        }
        for (name, (low, high)) in [
            ("weak_ratio", self.weak_ratio),
            ("ratio", self.ratio),
            ("frequency", self.frequency),
            ("magnitude", self.magnitude),
        ] {
            if !(low >= 0.0 && low <= high && high.is_finite()) {
                return refuse(format!("{name} is {low}..{high}, not an ascending range of numbers from 0 on"));
            }
        }
        for (name, value) in [
            ("active", self.active),
            ("tail", self.tail),
            ("scale", self.scale),
            ("turn", self.turn),
            ("noise", self.noise),
            ("correlation", self.correlation),
        ] {
            if !(value >= 0.0 && value.is_finite()) {
                return refuse(format!("{name} is {value}, not a number from 0 on"));
            }
        }
        if self.frequency.1 > 1.0 || self.correlation > 1.0 {
            return refuse("frequency and correlation are probabilities: at most 1".into());
        }
        if 2 * self.correlated > self.features() {
            return refuse(format!("{} correlated pairs do not fit in {} features", self.correlated, self.features()));
        }
        let n = self.features() as f64;
        let (least, most) = (n * self.frequency.0, n * self.frequency.1);
        if !(least <= self.active && self.active <= most) {
            return refuse(format!(
                "active is {}, but {n} features that fire with a probability in {}..{} make {least:.2} to {most:.2} active",
                self.active, self.frequency.0, self.frequency.1
            ));
        }
        Ok(())
    }
}
