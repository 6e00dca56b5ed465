//! Ratios of sums over independent clusters, such as documents, and their intervals.

use crate::student::student_975;

/// A ratio, and half the width of its interval.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Ratio {
    pub value: f64,
    /// Half of the 95% interval; `None` with fewer than two clusters.
    pub ci95: Option<f64>,
}

/// With (a_c, b_c) the sums of each cluster c and C of them that have b_c other than 0 (docs/method.md 5.3):
///
/// ```text
/// value = sum_c a_c / sum_c b_c
/// ci95  = t_{0.975, C-1} sqrt( C / (C - 1) sum_c (a_c - value b_c)^2 ) / |sum_c b_c|
/// ```
///
/// the linearised variance of a ratio of two sums over independent clusters. With b_c the number of tokens, the value is a mean over tokens.
/// `None` where the sum of b_c is 0 or a sum is not finite.
pub fn ratio(clusters: impl Iterator<Item = [f64; 2]> + Clone) -> Option<Ratio> {
    let (mut top, mut bottom, mut count) = (0.0, 0.0, 0u32);
    for [a, b] in clusters.clone() {
        top += a;
        bottom += b;
        count += u32::from(b != 0.0);
    }
    let value = Some(top / bottom).filter(|value| value.is_finite())?;
    let ci95 = (count > 1).then(|| {
        let squares: f64 = clusters.map(|[a, b]| (a - value * b).powi(2)).sum();
        let factor = f64::from(count) / f64::from(count - 1);
        student_975(count - 1) * (factor * squares).sqrt() / bottom.abs()
    });
    Some(Ratio { value, ci95 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_and_its_interval_by_hand() {
        let found = ratio([[1.0, 2.0], [3.0, 2.0], [2.0, 4.0], [0.0, 0.0]].into_iter()).unwrap();
        assert_eq!(found.value, 0.75);
        // Residuals -0.5, 1.5, -1; t_{0.975, 2} = 4.30265.
        let want = 4.302_652_729_7 * (1.5f64 * (0.25 + 2.25 + 1.0)).sqrt() / 8.0;
        assert!((found.ci95.unwrap() - want).abs() < 1e-9);
        assert_eq!(ratio([[1.0, 2.0]].into_iter()), Some(Ratio { value: 0.5, ci95: None }));
        assert_eq!(ratio([[1.0, 0.0]].into_iter()), None);
        assert_eq!(ratio(std::iter::empty()), None);
    }
}
