//! Runs that a figure averages over: the seeds of an experiment (docs/method.md 8).

use super::data::Datum;
use crate::out::interval::mean_interval;
use crate::out::number;

/// What a figure is a mean of.
#[derive(Clone, Debug, PartialEq)]
pub struct Over {
    /// The column that tells one run from another.
    pub column: String,
    /// Its runs in the plural: `seeds`.
    pub label: String,
    /// How many were made, also of those that have no rows here; at least 2.
    pub count: usize,
}

impl Over {
    /// `3 seeds`.
    pub fn said(&self) -> String {
        format!("{} {}", self.count, self.label)
    }
}

/// The rows of each run, in the order of the runs.
pub fn by_run<'d>(rows: impl IntoIterator<Item = &'d Datum>, runs: usize) -> Vec<Vec<&'d Datum>> {
    let mut by_run = vec![Vec::new(); runs];
    for row in rows {
        if let Some(rows) = by_run.get_mut(row.run) {
            rows.push(row);
        }
    }
    by_run
}

/// A mean over runs, and how far the runs reach: from the lowest to the highest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    pub mean: f64,
    pub low: f64,
    pub high: f64,
}

impl Spread {
    /// Of what each run gives; 0 of no runs.
    pub fn of(values: &[f64]) -> Self {
        let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
        let ends = values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(*v), h.max(*v)));
        if values.is_empty() { Self { mean, low: 0.0, high: 0.0 } } else { Self { mean, low: ends.0, high: ends.1 } }
    }
}

/// The mean over runs with the ends of its 95% interval ([`mean_interval`]); no ends of a single run.
pub fn interval(values: &[f64]) -> (f64, Option<(f64, f64)>) {
    let Some(found) = mean_interval(values) else { return (0.0, None) };
    (found.mean, found.ci95.map(|half| (found.mean - half, found.mean + half)))
}

/// `0.73 ± 0.05 (3 seeds)`; of a single run its number alone.
pub fn written(values: &[f64], label: &str) -> Option<String> {
    let found = mean_interval(values)?;
    let fixed = |value: f64| number::fixed(value, 2).replace('-', "−");
    Some(match found.ci95 {
        Some(half) => format!("{} ± {} ({} {label})", fixed(found.mean), fixed(half), found.count),
        None => format!("{} (one of the {label})", fixed(found.mean)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_averaged_with_their_range_or_interval() {
        assert_eq!(Spread::of(&[1.0, 4.0, 4.0]), Spread { mean: 3.0, low: 1.0, high: 4.0 });
        assert_eq!(Spread::of(&[]), Spread { mean: 0.0, low: 0.0, high: 0.0 });
        // s = sqrt(3), t_{0.975, 2} = 4.30265: the half width is 4.30265.
        let (mean, ends) = interval(&[1.0, 4.0, 4.0]);
        let half = 4.302_652_729_7;
        assert!(
            mean == 3.0 && ends.is_some_and(|(l, h)| (l - 3.0 + half).abs() < 1e-8 && (h - 3.0 - half).abs() < 1e-8)
        );
        assert_eq!(interval(&[5.0]), (5.0, None));
        assert_eq!(written(&[1.0, 4.0, 4.0], "seeds").as_deref(), Some("3.00 ± 4.30 (3 seeds)"));
        assert_eq!(written(&[-0.5], "seeds").as_deref(), Some("−0.50 (one of the seeds)"));
    }
}
