use super::super::axis::{self, Axis};
use super::super::data::Data;
use super::super::figure::{Figure, Side};
use super::super::shape::{PanelSize, Shape, Sketch};
use super::bar;
use super::domain::{self, Reach};
use crate::out::error::Result;
use crate::out::number;

/// Counts by bins with round edges; groups lie over one another, so that each can be read from zero.
pub fn sketch(figure: &Figure, data: &Data, size: PanelSize) -> Result<Sketch> {
    if data.x.words.is_some() {
        return bar::counts(figure, data, size);
    }
    let mut notes = Vec::new();
    let xs = data.xs();
    let mut x = domain::axis(figure, Side::X, &data.x, &xs, Reach::Exact, size.ticks().0, &mut notes);
    let bins = Bins::new(&x, xs.len(), data.x.whole);
    if !x.log {
        let (low, high) = bins.ends();
        let ticks: Vec<f64> = x.ticks.iter().map(|t| t.at).collect();
        let (low, high) = (low.min(x.low), high.max(x.high));
        x = if figure.labels.column(&data.x.column).ticks.is_empty() {
            Axis::linear(low, high, &[], size.ticks().0, x.title)
        } else {
            Axis::linear(low, high, &ticks, size.ticks().0, x.title)
        };
        if data.x.whole {
            x.ticks.retain(|t| t.at.fract() == 0.0);
        }
    }

    let opacity = match data.groups.len() {
        1 => 0.75,
        2 => 0.35,
        _ => 0.28,
    };
    let mut panels = Vec::new();
    let mut most = 0u64;
    for facet in 0..data.facets.len() {
        let mut shapes = Vec::new();
        for (at, group) in data.groups.iter().enumerate() {
            let counts = bins.count(data.of(facet, at).map(|p| p.x));
            most = most.max(counts.iter().copied().max().unwrap_or(0));
            if counts.iter().all(|c| *c == 0) {
                continue;
            }
            let heights = counts.into_iter().map(|c| c as f64).collect();
            shapes.push(Shape::Steps { edges: bins.edges.clone(), heights, color: group.color, opacity });
        }
        // Small groups over large ones.
        shapes.sort_by(|a, b| total(b).total_cmp(&total(a)));
        panels.push(shapes);
    }
    let title = match bins.width {
        Some(width) => format!("{} per bin of {}", figure.labels.rows, number::short(width)),
        None => format!("{} per bin", figure.labels.rows),
    };
    let y = counts_axis(figure.log_y, most, size, title);
    Ok(Sketch { x, y, panels, ramp: None, notes, counts: true, grid: true })
}

fn total(shape: &Shape) -> f64 {
    if let Shape::Steps { heights, .. } = shape { heights.iter().sum() } else { 0.0 }
}

/// An axis of counts up to `most`; on a log axis one row stands clearly above the floor, and empty bins draw nothing.
pub fn counts_axis(log: bool, most: u64, size: PanelSize, title: String) -> Axis {
    if log {
        return Axis::log(0.6, most.max(9) as f64 * 1.4, title);
    }
    let mut axis = Axis::linear(0.0, most.max(1) as f64 * 1.05, &[], size.ticks().1, title);
    axis.ticks.retain(|t| t.at.fract() == 0.0);
    axis
}

struct Bins {
    edges: Vec<f64>,
    /// Of linear bins.
    width: Option<f64>,
    log: bool,
}

impl Bins {
    /// Twice the cube root of the count (Rice), between 20 and 50 bins, with round edges.
    fn new(axis: &Axis, count: usize, whole: bool) -> Self {
        let wanted = (2.0 * (count as f64).cbrt()).clamp(20.0, 50.0);
        if axis.log {
            let (low, high) = (axis.low.log10(), axis.high.log10());
            let step = (high - low) / wanted.round();
            let edges = (0..=wanted.round() as i64).map(|i| 10f64.powf(low + i as f64 * step)).collect();
            return Self { edges, width: None, log: true };
        }
        let (low, high) = axis::apart(axis.low, axis.high);
        let mut width = axis::round_step((high - low) / wanted);
        if whole {
            width = width.max(1.0).ceil();
        }
        // Bins of whole numbers are centred on them.
        let shift = if whole { -0.5 } else { 0.0 };
        let first = ((low - shift) / width + 1e-9).floor() as i64;
        let last = (((high - shift) / width - 1e-9).ceil() as i64).max(first + 1);
        let edges = (first..=last).map(|i| axis::multiple(i, width) + shift).collect();
        Self { edges, width: Some(width), log: false }
    }

    fn ends(&self) -> (f64, f64) {
        (self.edges.first().copied().unwrap_or(0.0), self.edges.last().copied().unwrap_or(1.0))
    }

    /// A bin holds its left edge; the last one holds both.
    fn count(&self, values: impl Iterator<Item = f64>) -> Vec<u64> {
        let bins = self.edges.len() - 1;
        let mut counts = vec![0; bins];
        let slack = if self.log { 0.0 } else { self.width.unwrap_or(0.0) * 1e-9 };
        for value in values {
            let after = self.edges.partition_point(|edge| *edge <= value + slack);
            let on_the_end = after == bins + 1 && value <= self.edges[bins] + slack;
            if after > 0 && (after <= bins || on_the_end) {
                counts[(after - 1).min(bins - 1)] += 1;
            }
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_have_round_edges_and_keep_both_ends() {
        let axis = Axis::linear(0.0, 1.0, &[], 5, String::new());
        let bins = Bins::new(&axis, 216, false);
        assert_eq!((bins.width, bins.edges.len()), (Some(0.05), 21));
        assert_eq!(
            bins.count([0.0, 0.1, 0.3, 0.1 + 0.2, 0.95, 1.0, 1.2, -0.1].into_iter())[..7],
            [1, 0, 1, 0, 0, 0, 2]
        );
        assert_eq!(bins.count([0.95, 1.0].into_iter())[19], 2);
    }

    #[test]
    fn whole_numbers_are_centred() {
        let axis = Axis::linear(0.0, 5.0, &[], 5, String::new());
        let bins = Bins::new(&axis, 30, true);
        assert_eq!(bins.edges, [-0.5, 0.5, 1.5, 2.5, 3.5, 4.5, 5.5]);
        assert_eq!(bins.count([0.0, 5.0, 2.0].into_iter()), [1, 0, 1, 0, 0, 1]);
    }
}
