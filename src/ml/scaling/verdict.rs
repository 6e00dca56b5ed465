//! What the two ratios say about a latent.

/// Why a latent is, or is not, specific to the model whose direction was fitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// Both ratios are low: the other model lacks it.
    Specific,
    /// Only nu_error is too high: it explains the other model's error (Complete Shrinkage).
    Shrinkage,
    /// Only nu_reconstruction is too high: other latents write it in the other model (Latent Decoupling).
    Decoupling,
    /// Both are too high.
    Both,
    /// Never active on the measured rows, or its fitted direction is zero: nothing to say.
    Inactive,
    /// Of an autoencoder, which has neither ratio.
    Unjudged,
}

impl Verdict {
    /// The verdict on (nu_reconstruction, nu_error) with their limits: a ratio is low when it is below its limit.
    pub fn of(reconstruction: Option<f64>, error: Option<f64>, limits: (f64, f64)) -> Self {
        match (reconstruction, error) {
            (Some(r), Some(e)) => match (r < limits.0, e < limits.1) {
                (true, true) => Verdict::Specific,
                (true, false) => Verdict::Shrinkage,
                (false, true) => Verdict::Decoupling,
                (false, false) => Verdict::Both,
            },
            _ => Verdict::Inactive,
        }
    }

    /// The word in tables.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Specific => "specific",
            Verdict::Shrinkage => "shrinkage",
            Verdict::Decoupling => "decoupling",
            Verdict::Both => "both",
            Verdict::Inactive => "inactive",
            Verdict::Unjudged => "",
        }
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_at_its_limit_is_too_high() {
        let verdict = |r, e| Verdict::of(Some(r), Some(e), (0.5, 0.2));
        assert_eq!(verdict(0.49, 0.19), Verdict::Specific);
        assert_eq!(verdict(-3.0, -3.0), Verdict::Specific);
        assert_eq!(verdict(0.49, 0.2), Verdict::Shrinkage);
        assert_eq!(verdict(0.5, 0.19), Verdict::Decoupling);
        assert_eq!(verdict(0.5, 0.2), Verdict::Both);
        assert_eq!(Verdict::of(None, Some(0.0), (0.5, 0.2)), Verdict::Inactive);
    }
}
