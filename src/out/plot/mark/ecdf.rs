use super::super::axis::Axis;
use super::super::data::Data;
use super::super::figure::{Figure, Side};
use super::super::shape::{PanelSize, Shape, Sketch};
use super::domain::{self, Reach};
use super::line::DASHES;
use crate::out::error::Result;

/// More steps than this cannot be seen apart.
const MOST_STEPS: usize = 600;

/// Share of a group's rows with x at or below a value.
pub fn sketch(figure: &Figure, data: &Data, size: PanelSize) -> Result<Sketch> {
    let mut notes = Vec::new();
    let x = domain::axis(figure, Side::X, &data.x, &data.xs(), Reach::Padded, size.ticks().0, &mut notes);
    let mut panels = Vec::new();
    for facet in 0..data.facets.len() {
        let mut shapes = Vec::new();
        for (at, group) in data.groups.iter().enumerate() {
            let mut values: Vec<f64> = data.of(facet, at).map(|p| p.x).collect();
            if values.is_empty() {
                continue;
            }
            values.sort_by(f64::total_cmp);
            let dash = DASHES[at / 8 % DASHES.len()];
            let points = steps(&values, &x);
            shapes.push(Shape::Line { points, color: group.color, dash, dots: false });
        }
        panels.push(shapes);
    }
    let title = format!("share of {}", figure.labels.rows);
    let mut y = Axis::linear(0.0, 1.0, &[0.0, 0.25, 0.5, 0.75, 1.0], 5, title);
    y.high = 1.02;
    Ok(Sketch { x, y, panels, ramp: None, notes, counts: true, grid: true })
}

/// Corners of the staircase over sorted values, from one end of the axis to the other; at most [`MOST_STEPS`] steps.
fn steps(sorted: &[f64], axis: &Axis) -> Vec<(f64, f64)> {
    let count = sorted.len();
    let mut points = vec![(axis.low.min(sorted[0]), 0.0)];
    let mut height = 0.0;
    let every = count.div_ceil(MOST_STEPS);
    for (i, value) in sorted.iter().enumerate() {
        let ends_a_run = sorted.get(i + 1) != Some(value);
        let thinned = i != 0 && i + 1 != count && (i + 1) % every != 0;
        if !ends_a_run || thinned {
            continue;
        }
        points.push((*value, height));
        height = (i + 1) as f64 / count as f64;
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
        assert_eq!(steps(&[1.0, 1.0, 1.0, 3.0], &axis), corners);
    }
}
