//! The class of a latent by its decoder norms.

/// Where a latent lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LatentClass {
    BaseOnly,
    Shared,
    TunedOnly,
    Other,
}

impl LatentClass {
    /// The word in tables: `base_only`, `shared`, `tuned_only`, `other`.
    pub fn name(self) -> &'static str {
        match self {
            LatentClass::BaseOnly => "base_only",
            LatentClass::Shared => "shared",
            LatentClass::TunedOnly => "tuned_only",
            LatentClass::Other => "other",
        }
    }
}

impl std::fmt::Display for LatentClass {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Delta_norm = 1/2 (1 + (||d_tuned|| - ||d_base||) / max(||d_tuned||, ||d_base||)), the paper's orientation: 1 is
/// tuned-only, 0.5 equal, 0 base-only (paper section 2.1; the published CSVs hold 1 - Delta_norm). `None` when both norms
/// are zero or one is not finite.
pub fn delta_norm(base: f64, tuned: f64) -> Option<f64> {
    let largest = base.max(tuned);
    (largest > 0.0 && base.is_finite() && tuned.is_finite()).then(|| 0.5 * (1.0 + (tuned - base) / largest))
}

/// Ranges of Delta_norm. Base-only and tuned-only are open towards the middle (`< 0.1`, `> 0.9`), shared is closed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClassThresholds {
    pub base_only: (f64, f64),
    pub shared: (f64, f64),
    pub tuned_only: (f64, f64),
}

impl Default for ClassThresholds {
    /// The paper's: 0.0..0.1, 0.4..0.6, 0.9..1.0.
    fn default() -> Self {
        Self { base_only: (0.0, 0.1), shared: (0.4, 0.6), tuned_only: (0.9, 1.0) }
    }
}

impl ClassThresholds {
    /// The class of a Delta_norm; `Other` for `None`.
    pub fn class(&self, delta_norm: Option<f64>) -> LatentClass {
        match delta_norm {
            Some(x) if x > self.tuned_only.0 && x <= self.tuned_only.1 => LatentClass::TunedOnly,
            Some(x) if x >= self.base_only.0 && x < self.base_only.1 => LatentClass::BaseOnly,
            Some(x) if x >= self.shared.0 && x <= self.shared.1 => LatentClass::Shared,
            _ => LatentClass::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_tuned_only() {
        assert_eq!(delta_norm(0.0, 3.0), Some(1.0));
        assert_eq!(delta_norm(3.0, 0.0), Some(0.0));
        assert_eq!(delta_norm(2.0, 2.0), Some(0.5));
        assert_eq!(delta_norm(0.25, 1.0), Some(0.875));
        assert_eq!(delta_norm(0.5, 1.0), Some(0.75));
        assert_eq!(delta_norm(1.0, 0.5), Some(0.25));
    }

    #[test]
    fn a_latent_without_norms_has_no_class_of_its_own() {
        assert_eq!(delta_norm(0.0, 0.0), None);
        assert_eq!(delta_norm(f64::NAN, 1.0), None);
        assert_eq!(ClassThresholds::default().class(None), LatentClass::Other);
    }

    #[test]
    fn the_papers_thresholds() {
        let class = |x| ClassThresholds::default().class(Some(x));
        assert_eq!([0.0, 0.0999].map(class), [LatentClass::BaseOnly; 2]);
        assert_eq!([0.1, 0.3, 0.65, 0.9].map(class), [LatentClass::Other; 4]);
        assert_eq!([0.4, 0.5, 0.6].map(class), [LatentClass::Shared; 3]);
        assert_eq!([0.9001, 1.0].map(class), [LatentClass::TunedOnly; 2]);
    }
}
