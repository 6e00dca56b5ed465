use std::collections::BTreeMap;

use super::super::data::{Data, Field};
use super::super::figure::{Figure, Side};
use super::super::shape::{PanelSize, Shape, Sketch};
use super::domain::{self, Reach};
use crate::out::error::{Error, Result};

/// After eight colours lines are told apart by these.
pub const DASHES: [&str; 3] = ["", "6 3", "2 2"];
/// Lines with no more points than this show each of them.
const MOST_DOTS: usize = 24;
/// More points than this a line cannot be seen apart: each stretch keeps its lowest and highest.
const MOST_POINTS: usize = 1200;

/// Mean of y at each x; the range of the rows that share an x lies behind.
pub fn sketch(figure: &Figure, data: &Data, size: PanelSize) -> Result<Sketch> {
    let field = y_field(data, "a line")?;
    let mut notes = Vec::new();
    let x = domain::axis(figure, Side::X, &data.x, &data.xs(), Reach::Padded, size.ticks().0, &mut notes);
    let y = domain::axis(figure, Side::Y, field, &data.ys(), Reach::Padded, size.ticks().1, &mut notes);
    let mut panels = Vec::new();
    let mut several = false;
    for facet in 0..data.facets.len() {
        let (mut ranges, mut lines) = (Vec::new(), Vec::new());
        for (at, group) in data.groups.iter().enumerate() {
            let line = along(data, facet, at);
            if line.is_empty() {
                continue;
            }
            if line.iter().any(|p| p.2 < p.3) {
                several = true;
                let points = line.iter().map(|p| (p.0, p.2, p.3)).collect();
                ranges.push(Shape::Range { points, color: group.color });
            }
            let points: Vec<(f64, f64)> = line.iter().map(|p| (p.0, p.1)).collect();
            let dots = points.len() <= MOST_DOTS;
            let dash = DASHES[at / 8 % DASHES.len()];
            lines.push(Shape::Line { points: thin(points), color: group.color, dash, dots });
        }
        ranges.append(&mut lines);
        panels.push(ranges);
    }
    if several {
        notes.push("lines: mean; shaded: range of the rows at one x".to_owned());
    }
    Ok(Sketch { x, y, panels, ramp: None, notes, counts: false, grid: true })
}

/// The column on y, or an error that names what the mark needs.
pub fn y_field<'a>(data: &'a Data, mark: &'static str) -> Result<&'a Field> {
    data.y.as_ref().ok_or(Error::NoColumn { operation: mark, role: "y" })
}

/// `(x, mean, low, high)` by rising x.
fn along(data: &Data, facet: usize, group: usize) -> Vec<(f64, f64, f64, f64)> {
    let mut at: BTreeMap<i64, (f64, Vec<f64>)> = BTreeMap::new();
    for p in data.of(facet, group) {
        // Finite numbers order like these integers.
        let bits = (p.x + 0.0).to_bits() as i64;
        let key = if bits < 0 { i64::MIN - bits } else { bits };
        at.entry(key).or_insert_with(|| (p.x, Vec::new())).1.push(p.y);
    }
    let summary = |(x, ys): (f64, Vec<f64>)| {
        let mean = ys.iter().sum::<f64>() / ys.len() as f64;
        let low = ys.iter().copied().fold(f64::INFINITY, f64::min);
        let high = ys.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        (x, mean, low, high)
    };
    at.into_values().map(summary).collect()
}

fn thin(points: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    if points.len() <= MOST_POINTS {
        return points;
    }
    let stretch = points.len().div_ceil(MOST_POINTS / 2);
    let mut kept = Vec::new();
    for part in points.chunks(stretch) {
        let mut low = 0;
        let mut high = 0;
        for (i, p) in part.iter().enumerate() {
            if p.1 < part[low].1 {
                low = i;
            }
            if p.1 > part[high].1 {
                high = i;
            }
        }
        kept.push(part[low.min(high)]);
        if low != high {
            kept.push(part[low.max(high)]);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thinning_keeps_spikes() {
        let mut points: Vec<(f64, f64)> = (0..10_000).map(|i| (f64::from(i), 0.0)).collect();
        points[7_777].1 = 5.0;
        let kept = thin(points);
        assert!(kept.len() <= MOST_POINTS && kept.contains(&(7_777.0, 5.0)), "{}", kept.len());
    }
}
