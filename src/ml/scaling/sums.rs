//! What one pass gathers for a latent.

use std::ops::AddAssign;

/// Sums over the rows i on which latent j is active, in f64; `[base, tuned]` where there are two. d_j is the fitted direction.
///
/// The error enters instead of the reconstruction, since hhat = h - eps and the difference is then exact where it is small.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sums {
    /// F1_j = sum f.
    pub code: f64,
    /// C_j = sum f^2.
    pub code_squared: f64,
    /// A_j^m = sum f (d_j . h^m).
    pub activation: [f64; 2],
    /// E_j^m = sum f (d_j . eps^m), so that R_j^m = A_j^m - E_j^m.
    pub error: [f64; 2],
}

impl AddAssign<&Sums> for Sums {
    fn add_assign(&mut self, other: &Sums) {
        self.add_times(other, 1.0);
    }
}

impl Sums {
    /// Adds `times` copies of `other`.
    pub fn add_times(&mut self, other: &Sums, times: f64) {
        self.code += times * other.code;
        self.code_squared += times * other.code_squared;
        for m in 0..2 {
            self.activation[m] += times * other.activation[m];
            self.error[m] += times * other.error[m];
        }
    }
}
