//! Means over a few independent values, such as seeds, and their 95% intervals.

use crate::student::student_975;

/// Mean of n values, and half the width of its interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MeanInterval {
    pub mean: f64,
    /// t_{0.975, n-1} s / sqrt(n); `None` of a single value.
    pub ci95: Option<f64>,
    /// n.
    pub count: usize,
}

/// mean = sum x / n and ci95 = t_{0.975, n-1} s / sqrt(n) with s^2 = sum (x - mean)^2 / (n - 1) (docs/method.md 8); `None` of no values.
pub fn mean_interval(values: &[f64]) -> Option<MeanInterval> {
    if values.is_empty() {
        return None;
    }
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|x| (x - mean).powi(2)).sum();
    let ci95 = (values.len() > 1).then(|| student_975(values.len() as u32 - 1) * (squares / (n - 1.0) / n).sqrt());
    Some(MeanInterval { mean, ci95, count: values.len() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_by_hand() {
        let found = mean_interval(&[1.0, 2.0, 6.0]).unwrap();
        // s^2 = (4 + 1 + 9) / 2 = 7, and t_{0.975, 2} = 4.30265.
        assert_eq!((found.mean, found.count), (3.0, 3));
        assert!((found.ci95.unwrap() - 4.302_652_729_7 * (7.0f64 / 3.0).sqrt()).abs() < 1e-8);
        assert_eq!(mean_interval(&[5.0]), Some(MeanInterval { mean: 5.0, ci95: None, count: 1 }));
        assert_eq!(mean_interval(&[]), None);
        assert_eq!(mean_interval(&[0.25; 4]).unwrap().ci95, Some(0.0));
    }
}
