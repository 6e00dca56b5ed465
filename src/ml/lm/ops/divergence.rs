//! Rows of logits as distributions, and how far two of them lie apart.

use super::math::{exp, max, sum, vectorised};

/// Values of one partial sum in f32; these are added in f64, in order.
const CHUNK: usize = 4096;

/// What makes logits x a distribution: p_v = exp(x_v - top) / total.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Distribution {
    pub top: f32,
    /// Place of the first of the largest logits.
    pub likeliest: usize,
    /// ln of the sum of exp(x_v - top).
    pub log_total: f64,
}

impl Distribution {
    /// Of a row of logits.
    pub fn of(x: &[f32]) -> Self {
        let top = max(x);
        let likeliest = x.iter().position(|x| *x == top).unwrap_or(0);
        let total: f64 = x.chunks(CHUNK).map(|x| f64::from(exponentials(x, top))).sum();
        Distribution { top, likeliest, log_total: total.ln() }
    }

    /// -ln p of a logit of the row.
    pub fn surprise(&self, logit: f32) -> f64 {
        self.log_total - (f64::from(logit) - f64::from(self.top))
    }
}

/// KL(p || q) = sum over v of p_v (ln p_v - ln q_v) in nats, of the logits `a` of p and `b` of q.
pub(crate) fn divergence(a: &[f32], p: &Distribution, b: &[f32], q: &Distribution) -> f64 {
    let parts = a.chunks(CHUNK).zip(b.chunks(CHUNK));
    let weighted: f64 = parts.map(|(a, b)| f64::from(differences(a, p.top, b, q.top))).sum();
    weighted / p.log_total.exp() + (q.log_total - p.log_total)
}

vectorised! {
    pub(super) fn exponentials(x: &[f32], top: f32) -> f32 {
        sum(x.len(), |i| exp(x[i] - top))
    }
}

vectorised! {
    /// Sum of exp(a - top a) ((a - top a) - (b - top b)).
    pub(super) fn differences(a: &[f32], top_a: f32, b: &[f32], top_b: f32) -> f32 {
        let b = &b[..a.len()];
        sum(a.len(), |i| {
            let x = a[i] - top_a;
            exp(x) * (x - (b[i] - top_b))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logits(count: usize, seed: u32, scale: f32) -> Vec<f32> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 24) as f32 - 0.5
        };
        (0..count).map(|_| scale * next()).collect()
    }

    fn log_softmax(x: &[f32]) -> Vec<f64> {
        let top = x.iter().fold(f64::NEG_INFINITY, |top, x| top.max(f64::from(*x)));
        let total: f64 = x.iter().map(|x| (f64::from(*x) - top).exp()).sum();
        x.iter().map(|x| f64::from(*x) - top - total.ln()).collect()
    }

    #[test]
    fn divergence_and_surprise_agree_with_f64() {
        for (count, scale) in [(1, 3.0), (7, 1.0), (2048, 20.0), (50_257, 8.0), (9000, 60.0)] {
            let (a, b) = (logits(count, 3, scale), logits(count, 5, scale));
            let (p, q) = (Distribution::of(&a), Distribution::of(&b));
            let (ln_p, ln_q) = (log_softmax(&a), log_softmax(&b));
            let want: f64 = ln_p.iter().zip(&ln_q).map(|(p, q)| p.exp() * (p - q)).sum();
            let got = divergence(&a, &p, &b, &q);
            assert!((got - want).abs() < 2e-6 * (1.0 + want), "{count}: {got} for {want}");
            assert!((p.surprise(a[count / 2]) + ln_p[count / 2]).abs() < 1e-5);
            assert!(ln_p.iter().all(|other| *other <= ln_p[p.likeliest]));
        }
    }

    #[test]
    fn a_distribution_is_no_distance_from_itself_and_a_shift_changes_little() {
        let a = logits(3000, 1, 10.0);
        let p = Distribution::of(&a);
        assert_eq!(divergence(&a, &p, &a, &p), 0.0);
        let shifted: Vec<f32> = a.iter().map(|x| x + 2.0).collect();
        assert!(divergence(&a, &p, &shifted, &Distribution::of(&shifted)).abs() < 1e-6);
        assert_eq!(Distribution::of(&[1.0, 3.0, 3.0]).likeliest, 1);
    }
}
