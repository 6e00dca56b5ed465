//! How far an axis reaches.

use super::super::axis::Axis;
use super::super::data::Field;
use super::super::figure::{Figure, Line, Mark, Side};

/// So many rows close together are shown close up also on an axis with known ticks.
const MANY: usize = 20;

/// Which values an axis must show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// A little air at both ends.
    Padded,
    /// Exactly the values.
    Exact,
    /// From zero, with air above.
    FromZero,
}

/// The axis for a column with these values. A few values far away from all others would squeeze the picture: then the axis
/// shows the middle 99 % and a note counts the rest.
pub fn axis(
    figure: &Figure,
    side: Side,
    field: &Field,
    values: &[f64],
    reach: Reach,
    count: usize,
    notes: &mut Vec<String>,
) -> Axis {
    if let Some(words) = &field.words {
        let names: Vec<String> = words.iter().map(|w| figure.labels.value(w)).collect();
        return Axis::categories(&names, field.title.clone());
    }
    let style = figure.labels.column(&field.column);
    let log = if side == Side::X { figure.log_x } else { figure.log_y };
    let fixed = || figure.lines.iter().filter(|l| l.side == side).filter_map(Line::value);
    let lines = fixed().filter(|value| !log || *value > 0.0);
    if let Some((low, high)) = figure.range(side) {
        return ranged(low, high, log, field, &style.ticks, count);
    }
    let mut shown: Vec<f64> = values.to_vec();
    shown.sort_by(f64::total_cmp);
    if log {
        let (low, high) = ends(shown.into_iter().chain(lines)).unwrap_or((1.0, 10.0));
        let air = if reach == Reach::Exact { 1.0 } else { (high / low).powf(0.03).max(1.05) };
        return Axis::log(low / air, high * air, field.title.clone());
    }
    let (mut low, mut high) = middle(&shown);
    let outside = shown.iter().filter(|v| **v < low || **v > high).count();
    if outside > 0 {
        let how = if figure.mark == Mark::Scatter { "drawn as triangles at the edge" } else { "not shown" };
        notes.push(format!("{} with {} outside of the axis {how}", figure.labels.counted(outside), style.label));
    }
    if let Some((l, h)) = ends(lines) {
        (low, high) = (low.min(l), high.max(h));
    }
    if shown.is_empty() && style.domain.is_none() {
        (low, high) = ends(fixed()).unwrap_or((0.0, 1.0));
    }
    // Cosines that are never negative do not need the half of the axis below 0.
    let domain = style.domain.map(|(l, h)| if l == -h && low >= 0.0 && !shown.is_empty() { (0.0, h) } else { (l, h) });
    let whole_domain = domain.filter(|(l, h)| low >= *l && high <= *h);
    let known = style.domain.is_some();
    (low, high) = match whole_domain {
        // A column that could lie in 0..1 and fills a corner of it is shown from zero or in its corner, not in a desert.
        Some((l, h)) if !shown.is_empty() && reach == Reach::FromZero && high < 0.4 * h => (l, high * 1.08),
        Some((l, h))
            if !shown.is_empty()
                && reach == Reach::Padded
                && (style.ticks.is_empty() || shown.len() >= MANY)
                && high - low < 0.2 * (h - l) =>
        {
            let air = (high - low).max((h - l) * 0.02) * 0.08;
            ((low - air).max(l), (high + air).min(h))
        }
        Some((l, h)) if reach == Reach::Padded => (l - (h - l) * 0.02, h + (h - l) * 0.02),
        Some((l, h)) if reach == Reach::FromZero => (l, h + (h - l) * 0.04),
        Some(domain) => domain,
        None => match reach {
            Reach::Exact => (low, high),
            Reach::FromZero => (low.min(0.0) * 1.06, high.max(0.0) * 1.06),
            Reach::Padded => {
                let air = (high - low) * 0.04;
                (low - air, high + air)
            }
        },
    };
    if reach == Reach::FromZero && low == 0.0 && high <= 0.0 {
        high = 1.0;
    }
    let ticks = if known && whole_domain.is_some() { few(&style.ticks, low, high) } else { Vec::new() };
    let mut axis = Axis::linear(low, high, &ticks, count, field.title.clone());
    if field.whole {
        axis.ticks.retain(|t| t.at.fract() == 0.0);
    }
    axis
}

/// An axis with ends that the figure asks for; ticks that the column is known by stay where three of them are left.
fn ranged(low: f64, high: f64, log: bool, field: &Field, known: &[f64], count: usize) -> Axis {
    if log {
        return Axis::log(low, high, field.title.clone());
    }
    let mut axis = Axis::linear(low, high, &few(known, low, high), count, field.title.clone());
    if field.whole {
        axis.ticks.retain(|t| t.at.fract() == 0.0);
    }
    axis
}

/// The ticks that a column is known by, where at least three of them are left.
fn few(known: &[f64], low: f64, high: f64) -> Vec<f64> {
    let inside: Vec<f64> = known.iter().copied().filter(|t| (low..=high).contains(t)).collect();
    if inside.len() >= 3 { inside } else { Vec::new() }
}

/// Smallest and largest.
pub fn ends(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values.fold(None, |ends, v| Some(ends.map_or((v, v), |(l, h): (f64, f64)| (l.min(v), h.max(v)))))
}

/// The ends of sorted values, without a tail that would take over four fifths of the axis.
fn middle(sorted: &[f64]) -> (f64, f64) {
    let (Some(&low), Some(&high)) = (sorted.first(), sorted.last()) else { return (0.0, 1.0) };
    if sorted.len() < 50 {
        return (low, high);
    }
    let at = |share: f64| sorted[((sorted.len() - 1) as f64 * share).round() as usize];
    let (inner_low, inner_high) = (at(0.005), at(0.995));
    let inner = inner_high - inner_low;
    if inner > 0.0 && inner < (high - low) / 5.0 {
        // What stands close to the middle is kept whole.
        let near = |v: &&f64| **v >= inner_low - inner * 0.25 && **v <= inner_high + inner * 0.25;
        ends(sorted.iter().filter(near).copied()).unwrap_or((low, high))
    } else {
        (low, high)
    }
}

/// An axis for amounts that colours stand for: logarithmic when they span more than two and a half decades.
pub fn amounts(figure: &Figure, field: &Field, values: &[f64], notes: &mut Vec<String>) -> Axis {
    let mut plain = figure.clone();
    (plain.log_y, plain.lines, plain.range_y) = (false, Vec::new(), None);
    if let Some((low, high)) = ends(values.iter().copied())
        && low > 0.0
        && high / low > 300.0
    {
        return Axis::log(low, high, field.title.clone());
    }
    axis(&plain, Side::Y, field, values, Reach::Exact, 5, notes)
}
