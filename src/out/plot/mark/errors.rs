//! What an error bar says: the error of one row, or the interval of the mean of several.

use super::super::data::Datum;
use super::super::figure::{ErrorBar, Figure};
use super::super::over;
use crate::out::number::grouped;

/// How far the rows of a place reach.
pub enum Reach {
    /// To the ends of an error bar.
    Ends(f64, f64),
    /// No error is asked for: as far as the rows themselves.
    Rows,
    /// Each of several rows has an error of its own, so there is none of their mean.
    OwnOfMany,
    /// The row has no error, or is the only one where an interval is asked for.
    None,
}

/// The mean of y of rows that share a place: of the rows, or of the means of the runs that have any.
pub fn mean(figure: &Figure, rows: &[&Datum]) -> f64 {
    let of = |rows: &[&Datum]| rows.iter().map(|p| p.y).sum::<f64>() / rows.len() as f64;
    if figure.over.is_some() { over::interval(&means_by_run(figure, rows)).0 } else { of(rows) }
}

/// The mean of y of each run that has rows.
fn means_by_run(figure: &Figure, rows: &[&Datum]) -> Vec<f64> {
    let of = |rows: Vec<&Datum>| rows.iter().map(|p| p.y).sum::<f64>() / rows.len() as f64;
    let by_run = over::by_run(rows.iter().copied(), figure.runs());
    by_run.into_iter().filter(|rows| !rows.is_empty()).map(of).collect()
}

/// The reach of rows that share a place and have this mean: over runs the interval of their mean.
pub fn reach(figure: &Figure, rows: &[&Datum], mean: f64) -> Reach {
    if figure.over.is_some() {
        let (_, ends) = over::interval(&means_by_run(figure, rows));
        return ends.map_or(Reach::None, |(low, high)| Reach::Ends(low, high));
    }
    match (&figure.error, rows) {
        (None, _) => Reach::Rows,
        (Some(ErrorBar::Interval), [_]) => Reach::None,
        (Some(ErrorBar::Interval), _) => {
            let half = half_interval(rows.iter().map(|p| p.y), mean, rows.len());
            Reach::Ends(mean - half, mean + half)
        }
        (Some(_), [one]) => one.ends.map_or(Reach::None, |(low, high)| Reach::Ends(low, high)),
        (Some(_), _) => Reach::OwnOfMany,
    }
}

/// 1.96 s / sqrt(n) with s^2 = sum (y - mean)^2 / (n - 1): the 95% interval of a mean of independent rows, as in the published
/// plots of interpretability scores.
fn half_interval(ys: impl Iterator<Item = f64>, mean: f64, count: usize) -> f64 {
    let n = count as f64;
    let squares: f64 = ys.map(|y| (y - mean) * (y - mean)).sum();
    1.96 * (squares / (n - 1.0)).sqrt() / n.sqrt()
}

/// What the bars are, for a note.
pub fn said(error: &ErrorBar, figure: &Figure) -> String {
    let label = |name: &str| figure.labels.column(name).label;
    match error {
        ErrorBar::Half(name) => format!("± {}", label(name)),
        ErrorBar::Ends(low, high) => format!("{} to {}", label(low), label(high)),
        ErrorBar::Interval => format!("95% interval of the mean over {}", figure.labels.rows),
    }
}

/// What bars or lines are where the figure averages over runs.
pub fn over_runs(figure: &Figure, what: &str) -> Option<String> {
    let over = figure.over.as_ref()?;
    Some(format!("{what}: mean and 95% t-interval over {}", over.said()))
}

/// A note on places whose rows have errors of their own, which have no common one.
pub fn several(figure: &Figure, count: usize, places: &str) -> Option<String> {
    (count > 0).then(|| {
        let rows = &figure.labels.rows;
        format!(
            "{} {places} of several {rows}: mean and range of the {rows}, without their own errors",
            grouped(count as i64)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::half_interval;

    #[test]
    fn the_interval_of_a_mean() {
        // s = 2 over n = 4 rows.
        let ys = [1.0, 1.0 + 12f64.sqrt(), 1.0, 1.0];
        let mean = ys.iter().sum::<f64>() / 4.0;
        let s2: f64 = ys.iter().map(|y| (y - mean).powi(2)).sum::<f64>() / 3.0;
        assert!((half_interval(ys.into_iter(), mean, 4) - 1.96 * (s2 / 4.0).sqrt()).abs() < 1e-12);
        assert_eq!(half_interval([2.0, 2.0].into_iter(), 2.0, 2), 0.0);
    }
}
