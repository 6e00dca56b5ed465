use super::super::axis::{self, Axis};
use super::super::data::{Data, Datum};
use super::super::figure::{Count, Figure, Side};
use super::super::over::{self, Spread};
use super::super::shape::{Inset, PanelSize, Shape, Sketch};
use super::domain::{self, Reach};
use super::{bar, inset};
use crate::out::error::Result;
use crate::out::number;

/// Bins of an inset, as many as in the published figure.
const INSET_BINS: usize = 20;

/// Rows by bins, round ones or so many as the figure says; groups lie over one another, so that each can be read from zero.
pub fn sketch(figure: &Figure, data: &Data, size: PanelSize) -> Result<Sketch> {
    if data.x.words.is_some() {
        return bar::counts(figure, data, size);
    }
    let mut notes = Vec::new();
    let xs = data.xs();
    let mut x = domain::axis(figure, Side::X, &data.x, &xs, Reach::Exact, size.ticks().0, &mut notes);
    let bins = match figure.bins {
        Some(count) => Bins::even(x.low, x.high, count, x.log),
        None => Bins::new(&x, xs.len(), data.x.whole),
    };
    if !x.log && figure.bins.is_none() && figure.range_x.is_none() {
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
    let panels = outlines(figure, data, &bins);
    let heights = Heights::of(&panels);
    let title = title(figure, &bins);
    let counted = figure.count.unwrap_or_default();
    let y = match figure.range_y {
        Some((low, high)) if figure.log_y => Axis::log(low, high, title),
        Some((low, high)) => Axis::linear(low, high, &[], size.ticks().1, title),
        None if counted == Count::Rows => counts_axis(figure, heights.most, size, title),
        None => heights.axis(figure.log_y, size.ticks().1, title),
    };
    if let Some(highlight) = &figure.highlight {
        notes.push(format!("filled: {}", figure.labels.column(highlight).label));
    }
    if let Some(over) = &figure.over {
        notes.push(format!("heights and n: mean over {}; bands: their range", over.said()));
    }
    let mut sketch = Sketch { counts: true, ..Sketch::new(x, y, panels, notes) };
    if let Some(range) = figure.inset {
        let bins = Bins::even(range.0, range.1, INSET_BINS, figure.log_x);
        let panels = outlines(figure, data, &bins);
        let heights = Heights::of(&panels);
        let bottom = match (figure.log_y, counted) {
            (false, _) => 0.0,
            (true, Count::Rows) => 0.6 / figure.runs() as f64,
            (true, _) => heights.least * 0.6,
        };
        let most = heights.most.max(if counted == Count::Rows { 1.0 } else { 1e-9 });
        let (x, y) = inset::axes(figure, range, (bottom, most), size);
        let zoomed = Inset { x, y, range, left: 0.0, top: 0.0, panels };
        inset::place(&mut sketch, zoomed, size, figure.range_y.is_none());
    }
    Ok(sketch)
}

/// One outline a group and panel, and one of its highlighted rows.
fn outlines(figure: &Figure, data: &Data, bins: &Bins) -> Vec<Vec<Shape>> {
    let opacity = match (data.groups.len(), &figure.highlight) {
        (_, Some(_)) => 0.3,
        (1, _) => 0.75,
        (2, _) => 0.35,
        _ => 0.28,
    };
    let mut panels = Vec::new();
    for facet in 0..data.facets.len() {
        let (mut shapes, mut lit, mut bands) = (Vec::new(), Vec::new(), Vec::new());
        for (at, group) in data.groups.iter().enumerate() {
            let rows = over::by_run(data.of(facet, at), figure.runs());
            let counted = figure.count.unwrap_or_default();
            let heights = |only_lit: bool| bins.averaged(&rows, counted, |p| p.x, |p| p.lit || !only_lit);
            let mean = |spreads: &[Spread]| -> Vec<f64> { spreads.iter().map(|s| s.mean).collect() };
            let spreads = heights(false);
            let all = mean(&spreads);
            if all.iter().all(|h| *h == 0.0) {
                continue;
            }
            let edges = bins.edges.clone();
            if spreads.iter().any(|s| s.low < s.high) {
                bands.push(Shape::Range { points: band(&edges, &spreads), color: group.color });
            }
            shapes.push(Shape::Steps { edges: edges.clone(), heights: all, color: group.color, opacity });
            if figure.highlight.is_some() {
                lit.push(Shape::Steps { edges, heights: mean(&heights(true)), color: group.color, opacity: 1.0 });
            }
        }
        // Small groups over large ones.
        shapes.sort_by(|a, b| total(b).total_cmp(&total(a)));
        lit.sort_by(|a, b| total(b).total_cmp(&total(a)));
        shapes.append(&mut lit);
        shapes.append(&mut bands);
        panels.push(shapes);
    }
    panels
}

/// `(x, low, high)` at both edges of each bin.
fn band(edges: &[f64], spreads: &[Spread]) -> Vec<(f64, f64, f64)> {
    let ends = edges.windows(2).zip(spreads);
    ends.flat_map(|(edge, s)| [(edge[0], s.low, s.high), (edge[1], s.low, s.high)]).collect()
}

/// What the bins of all panels hold.
struct Heights {
    least: f64,
    most: f64,
}

impl Heights {
    fn of(panels: &[Vec<Shape>]) -> Self {
        let heights = panels.iter().flatten().flat_map(|shape| match shape {
            Shape::Steps { heights, .. } => heights.clone(),
            Shape::Range { points, .. } => points.iter().flat_map(|p| [p.1, p.2]).collect(),
            _ => Vec::new(),
        });
        let positive = heights.filter(|h| *h > 0.0);
        let (least, most) = domain::ends(positive).unwrap_or((0.0, 0.0));
        Self { least, most }
    }

    /// An axis of shares or densities.
    fn axis(&self, log: bool, count: usize, title: String) -> Axis {
        match (log, self.most > 0.0) {
            (true, true) => Axis::log(self.least * 0.6, self.most * 1.4, title),
            (true, false) => Axis::log(0.001, 1.0, title),
            (false, true) => Axis::linear(0.0, self.most * 1.05, &[], count, title),
            (false, false) => Axis::linear(0.0, 1.0, &[], count, title),
        }
    }
}

fn title(figure: &Figure, bins: &Bins) -> String {
    let per = match bins.width {
        Some(width) => format!("per bin of {}", number::significant(width, 3)),
        None => "per bin".to_owned(),
    };
    let rows = &figure.labels.rows;
    match figure.count.unwrap_or_default() {
        Count::Rows => format!("{rows} {per}"),
        Count::Share => match &figure.color {
            Some(color) => format!("share of each {} {per}", figure.labels.column(color).label),
            None => format!("share of {rows} {per}"),
        },
        Count::Density if bins.log => "density by the logarithm (base 10)".to_owned(),
        Count::Density => "density".to_owned(),
    }
}

fn total(shape: &Shape) -> f64 {
    if let Shape::Steps { heights, .. } = shape { heights.iter().sum() } else { 0.0 }
}

/// An axis of counts up to `most`; on a log axis one row (in one of the runs) stands clearly above the floor, and empty bins draw
/// nothing.
pub fn counts_axis(figure: &Figure, most: f64, size: PanelSize, title: String) -> Axis {
    if figure.log_y {
        return Axis::log(0.6 / figure.runs() as f64, most.max(9.0) * 1.4, title);
    }
    let mut axis = Axis::linear(0.0, most.max(1.0) * 1.05, &[], size.ticks().1, title);
    axis.ticks.retain(|t| t.at.fract() == 0.0);
    axis
}

/// Ranges of x; also of the margins of a scatter.
pub struct Bins {
    pub edges: Vec<f64>,
    /// Of linear bins.
    width: Option<f64>,
    log: bool,
}

impl Bins {
    /// So many bins of one width, in the logarithm on a log axis.
    pub fn even(low: f64, high: f64, count: usize, log: bool) -> Self {
        let count = count.max(1);
        let share = |i: usize| i as f64 / count as f64;
        if log {
            let (low, high) = (low.log10(), high.log10());
            let edges = (0..=count).map(|i| 10f64.powf(low + share(i) * (high - low))).collect();
            return Self { edges, width: None, log };
        }
        let edges = (0..=count).map(|i| low + share(i) * (high - low)).collect();
        Self { edges, width: Some((high - low) / count as f64), log }
    }

    /// Counts as they are, by all rows of their group, or also by the width of the bin (on a log axis in decades).
    pub fn heights(&self, counts: &[u64], count: Count, rows: usize) -> Vec<f64> {
        let width = |i: usize| {
            if self.log { (self.edges[i + 1] / self.edges[i]).log10() } else { self.edges[i + 1] - self.edges[i] }
        };
        let height = |(i, n): (usize, &u64)| match count {
            Count::Rows => *n as f64,
            Count::Share => *n as f64 / rows.max(1) as f64,
            Count::Density => *n as f64 / rows.max(1) as f64 / width(i),
        };
        counts.iter().enumerate().map(height).collect()
    }

    /// Heights of the rows of each run that count, each run by itself, as their mean and range. Where rows are counted a run without
    /// any counts 0; it has no shares and no densities.
    pub fn averaged(
        &self,
        by_run: &[Vec<&Datum>],
        count: Count,
        place: impl Fn(&Datum) -> f64,
        counts: impl Fn(&Datum) -> bool,
    ) -> Vec<Spread> {
        let heights: Vec<Vec<f64>> = by_run
            .iter()
            .filter(|rows| count == Count::Rows || !rows.is_empty())
            .map(|rows| {
                let counted = self.count(rows.iter().filter(|p| counts(p)).map(|p| place(p)));
                self.heights(&counted, count, rows.len())
            })
            .collect();
        let of_bin = |bin: usize| Spread::of(&heights.iter().map(|run| run[bin]).collect::<Vec<f64>>());
        (0..self.edges.len() - 1).map(of_bin).collect()
    }

    /// Twice the cube root of the count (Rice), between 20 and 50 bins, with round edges.
    pub fn new(axis: &Axis, count: usize, whole: bool) -> Self {
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
    pub fn count(&self, values: impl Iterator<Item = f64>) -> Vec<u64> {
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
    fn shares_and_densities_are_of_all_rows_of_the_group() {
        let bins = Bins::even(0.0, 1.0, 4, false);
        assert_eq!(bins.edges, [0.0, 0.25, 0.5, 0.75, 1.0]);
        assert_eq!(bins.heights(&[1, 0, 2, 0], Count::Share, 8), [0.125, 0.0, 0.25, 0.0]);
        assert_eq!(bins.heights(&[1, 0, 2, 0], Count::Density, 8), [0.5, 0.0, 1.0, 0.0]);
        let decades = Bins::even(1e-4, 1.0, 2, true);
        assert!((decades.edges[1] - 1e-2).abs() < 1e-12);
        let area: f64 = decades.heights(&[3, 5], Count::Density, 8).iter().map(|h| h * 2.0).sum();
        assert!((area - 1.0).abs() < 1e-9);
    }

    #[test]
    fn whole_numbers_are_centred() {
        let axis = Axis::linear(0.0, 5.0, &[], 5, String::new());
        let bins = Bins::new(&axis, 30, true);
        assert_eq!(bins.edges, [-0.5, 0.5, 1.5, 2.5, 3.5, 4.5, 5.5]);
        assert_eq!(bins.count([0.0, 5.0, 2.0].into_iter()), [1, 0, 1, 0, 0, 1]);
    }
}
