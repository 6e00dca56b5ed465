use super::super::axis::Axis;
use super::super::data::Data;
use super::super::figure::{Count, Figure, Side};
use super::super::over::{self, Spread};
use super::super::shape::{Inset, PanelSize, Shape, Sketch};
use super::domain::{self, Reach};
use super::histogram::counts_axis;
use super::inset;
use super::line::DASHES;
use crate::out::error::Result;

/// More steps than this cannot be seen apart.
const MOST_STEPS: usize = 600;
/// On a log axis each of the first steps can.
const FIRST_STEPS: usize = 200;

/// Share of a group's rows with x at or below a value, or how many rows that are.
pub fn sketch(figure: &Figure, data: &Data, size: PanelSize) -> Result<Sketch> {
    let mut notes = Vec::new();
    let x = domain::axis(figure, Side::X, &data.x, &data.xs(), Reach::Padded, size.ticks().0, &mut notes);
    let counted = figure.count == Some(Count::Rows);
    let mut panels = Vec::new();
    let mut most = 1usize;
    let runs = figure.runs();
    for facet in 0..data.facets.len() {
        let (mut shapes, mut bands) = (Vec::new(), Vec::new());
        for (at, group) in data.groups.iter().enumerate() {
            let mut values: Vec<f64> = data.of(facet, at).map(|p| p.x).collect();
            if values.is_empty() {
                continue;
            }
            let mut by_run: Vec<Vec<f64>> =
                over::by_run(data.of(facet, at), runs).iter().map(|rows| rows.iter().map(|p| p.x).collect()).collect();
            most = most.max(by_run.iter().map(Vec::len).max().unwrap_or(0));
            values.sort_by(f64::total_cmp);
            let dash = DASHES[at / 8 % DASHES.len()];
            let first = if figure.log_y { FIRST_STEPS } else { 0 };
            let points = if figure.over.is_some() {
                by_run.iter_mut().for_each(|values| values.sort_by(f64::total_cmp));
                let (points, band) = averaged(&values, &by_run, &x, counted, first);
                if band.iter().any(|p| p.1 < p.2) {
                    bands.push(Shape::Range { points: band, color: group.color });
                }
                points
            } else {
                steps(&values, &x, if counted { values.len() as f64 } else { 1.0 }, first)
            };
            shapes.push(Shape::Line { points, color: group.color, dash, dots: false });
        }
        bands.append(&mut shapes);
        panels.push(bands);
    }
    let rows = &figure.labels.rows;
    let y = match (figure.range_y, counted) {
        (Some((low, high)), _) => {
            let title = if counted { format!("{rows} at or below") } else { format!("share of {rows}") };
            if figure.log_y { Axis::log(low, high, title) } else { Axis::linear(low, high, &[], size.ticks().1, title) }
        }
        (None, true) => counts_axis(figure, most as f64, size, format!("{rows} at or below")),
        (None, false) if figure.log_y => Axis::log(0.6 / most as f64, 1.4, format!("share of {rows}")),
        (None, false) => {
            let mut y = Axis::linear(0.0, 1.0, &[0.0, 0.25, 0.5, 0.75, 1.0], 5, format!("share of {rows}"));
            y.high = 1.02;
            y
        }
    };
    if let Some(over) = &figure.over {
        notes.push(format!("lines and n: mean over {}; bands: their range", over.said()));
    }
    let inset = figure.inset.map(|range| enlarged(&panels, range, figure, size));
    let mut sketch = Sketch { counts: true, ..Sketch::new(x, y, panels, notes) };
    if let Some(inset) = inset {
        inset::place(&mut sketch, inset, size, false);
    }
    Ok(sketch)
}

/// The same stairs over a range of x, with an axis of their own heights.
fn enlarged(panels: &[Vec<Shape>], range: (f64, f64), figure: &Figure, size: PanelSize) -> Inset {
    let heights = panels.iter().flatten().flat_map(|shape| match shape {
        Shape::Line { points, .. } => inset::heights_within(points, range),
        _ => Vec::new(),
    });
    let (low, high) = domain::ends(heights).unwrap_or((0.0, 1.0));
    let (x, y) = inset::axes(figure, range, (low, high), size);
    Inset { x, y, range, left: 0.0, top: 0.0, panels: panels.to_vec() }
}

/// Corners of the stairs of a mean, and `(x, low, high)` of what it is a mean of.
type Averaged = (Vec<(f64, f64)>, Vec<(f64, f64, f64)>);

/// The mean of the stairs of the runs, and their range, at all of their values (sorted, and those of each run). A run without rows
/// counts 0, and has no shares. Thinned like [`steps`].
fn averaged(sorted: &[f64], by_run: &[Vec<f64>], axis: &Axis, counted: bool, first: usize) -> Averaged {
    let runs: Vec<&Vec<f64>> = by_run.iter().filter(|values| counted || !values.is_empty()).collect();
    let at = |value: f64| {
        let height = |run: &&Vec<f64>| {
            let below = run.partition_point(|x| *x <= value) as f64;
            if counted { below } else { below / run.len() as f64 }
        };
        Spread::of(&runs.iter().map(height).collect::<Vec<f64>>())
    };
    let count = sorted.len();
    let every = count.div_ceil(MOST_STEPS);
    let mut last = Spread { mean: 0.0, low: 0.0, high: 0.0 };
    let (mut points, mut band) = (Vec::new(), Vec::new());
    let mut corner = |x: f64, spread: Spread| {
        points.push((x, spread.mean));
        band.push((x, spread.low, spread.high));
    };
    corner(axis.low.min(sorted[0]), last);
    for (i, value) in sorted.iter().enumerate() {
        let ends_a_run = sorted.get(i + 1) != Some(value);
        let thinned = i >= first.max(1) && i + 1 != count && (i + 1) % every != 0;
        if ends_a_run && !thinned {
            corner(*value, last);
            last = at(*value);
            corner(*value, last);
        }
    }
    corner(axis.high.max(sorted[count - 1]), last);
    (points, band)
}

/// Corners of the staircase over sorted values, from one end of the axis to the other, up to `whole`; after the `first`
/// ones at most [`MOST_STEPS`] steps.
fn steps(sorted: &[f64], axis: &Axis, whole: f64, first: usize) -> Vec<(f64, f64)> {
    let count = sorted.len();
    let mut points = vec![(axis.low.min(sorted[0]), 0.0)];
    let mut height = 0.0;
    let every = count.div_ceil(MOST_STEPS);
    for (i, value) in sorted.iter().enumerate() {
        let ends_a_run = sorted.get(i + 1) != Some(value);
        let thinned = i >= first.max(1) && i + 1 != count && (i + 1) % every != 0;
        if !ends_a_run || thinned {
            continue;
        }
        points.push((*value, height));
        height = (i + 1) as f64 / count as f64 * whole;
        points.push((*value, height));
    }
    points.push((axis.high.max(sorted[count - 1]), height));
    points
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_are_one_step() {
        let axis = Axis::linear(0.0, 4.0, &[], 4, String::new());
        let corners = [(0.0, 0.0), (1.0, 0.0), (1.0, 0.75), (3.0, 0.75), (3.0, 1.0), (4.0, 1.0)];
        assert_eq!(steps(&[1.0, 1.0, 1.0, 3.0], &axis, 1.0, 0), corners);
        assert_eq!(steps(&[1.0, 1.0, 1.0, 3.0], &axis, 4.0, 0)[3], (3.0, 3.0));
    }

    #[test]
    fn stairs_of_runs_are_averaged_and_not_thrown_together() {
        let axis = Axis::linear(0.0, 4.0, &[], 4, String::new());
        let runs = [vec![1.0], vec![1.0, 2.0, 2.0, 3.0], Vec::new()];
        let sorted = [1.0, 1.0, 2.0, 2.0, 3.0];
        let (points, band) = averaged(&sorted, &runs, &axis, false, 0);
        // At 1: all of the first run and a quarter of the second. The third has no shares.
        assert_eq!(points[2], (1.0, 0.625));
        assert_eq!(band[2], (1.0, 0.25, 1.0));
        let (points, band) = averaged(&sorted, &runs, &axis, true, 0);
        assert_eq!((points[2], band[2]), ((1.0, 2.0 / 3.0), (1.0, 0.0, 1.0)));
        assert_eq!(points.last(), Some(&(4.0, 5.0 / 3.0)));
    }
}
