use std::collections::BTreeMap;

use super::super::data::{Data, Datum, Field};
use super::super::figure::{Figure, Side};
use super::super::shape::{PanelSize, Shape, Sketch};
use super::domain::{self, Reach};
use super::errors;
use crate::out::error::{Error, Result};

/// After eight colours lines are told apart by these.
pub const DASHES: [&str; 3] = ["", "6 3", "2 2"];
/// Lines with no more points than this show each of them.
const MOST_DOTS: usize = 24;
/// More points than this a line cannot be seen apart: each stretch keeps its lowest and highest.
const MOST_POINTS: usize = 1200;

/// Mean of y at each x; behind it the range of the rows that share an x, or their error.
pub fn sketch(figure: &Figure, data: &Data, size: PanelSize) -> Result<Sketch> {
    let field = y_field(data, "a line")?;
    let mut notes = Vec::new();
    let lines: Vec<Vec<Vec<Place>>> = (0..data.facets.len())
        .map(|facet| (0..data.groups.len()).map(|group| along(figure, data, facet, group)).collect())
        .collect();
    let ends = lines.iter().flatten().flatten().flat_map(|p| [p.low, p.high]);
    let own = if figure.over.is_some() { Vec::new() } else { data.ys() };
    let shown: Vec<f64> = own
        .into_iter()
        .chain(ends.filter(|_| figure.error.is_some() || figure.over.is_some()))
        .filter(|v| !figure.log_y || *v > 0.0)
        .collect();
    let x = domain::axis(figure, Side::X, &data.x, &data.xs(), Reach::Padded, size.ticks().0, &mut notes);
    let y = domain::axis(figure, Side::Y, field, &shown, Reach::Padded, size.ticks().1, &mut notes);
    let longest = lines.iter().flatten().map(Vec::len).max().unwrap_or(0);
    let bars = (figure.error.is_some() || figure.over.is_some()) && longest <= MOST_DOTS;
    let mut panels = Vec::new();
    let mut ranged = false;
    for groups in &lines {
        let (mut ranges, mut over) = (Vec::new(), Vec::new());
        for (at, line) in groups.iter().enumerate().filter(|(_, line)| !line.is_empty()) {
            let color = data.groups[at].color;
            if line.iter().any(|p| p.low < p.high) {
                ranged = true;
                if bars {
                    let bar = |p: &Place| Shape::ErrorBar { x: p.x, low: p.low, high: p.high, color: Some(color) };
                    ranges.extend(line.iter().filter(|p| p.low < p.high).map(bar));
                } else {
                    let points = line.iter().map(|p| (p.x, p.low, p.high)).collect();
                    ranges.push(Shape::Range { points, color });
                }
            }
            let points: Vec<(f64, f64)> = line.iter().map(|p| (p.x, p.mean)).collect();
            let dots = points.len() <= MOST_DOTS;
            let dash = DASHES[at / 8 % DASHES.len()];
            over.push(Shape::Line { points: thin(points), color, dash, dots });
        }
        ranges.append(&mut over);
        panels.push(ranges);
    }
    if ranged {
        let shaded = if bars { "bars" } else { "shaded" };
        notes.push(match &figure.error {
            _ if figure.over.is_some() => errors::over_runs(figure, &format!("lines and {shaded}")).unwrap_or_default(),
            None => "lines: mean; shaded: range of the rows at one x".to_owned(),
            Some(error) => format!("{shaded}: {}", errors::said(error, figure)),
        });
    }
    notes.extend(errors::several(figure, lines.iter().flatten().flatten().filter(|p| p.several).count(), "places"));
    Ok(Sketch::new(x, y, panels, notes))
}

/// The column on y, or an error that names what the mark needs.
pub fn y_field<'a>(data: &'a Data, mark: &'static str) -> Result<&'a Field> {
    data.y.as_ref().ok_or(Error::NoColumn { operation: mark, role: "y" })
}

/// A mean, and how far the rows or their error reach.
struct Place {
    x: f64,
    mean: f64,
    low: f64,
    high: f64,
    /// Several rows, where each has an error of its own.
    several: bool,
}

/// The places of a group by rising x.
fn along(figure: &Figure, data: &Data, facet: usize, group: usize) -> Vec<Place> {
    let mut at: BTreeMap<i64, (f64, Vec<&Datum>)> = BTreeMap::new();
    for p in data.of(facet, group) {
        // Finite numbers order like these integers.
        let bits = (p.x + 0.0).to_bits() as i64;
        let key = if bits < 0 { i64::MIN - bits } else { bits };
        at.entry(key).or_insert_with(|| (p.x, Vec::new())).1.push(p);
    }
    let summary = |(x, rows): (f64, Vec<&Datum>)| {
        let ys: Vec<f64> = rows.iter().map(|p| p.y).collect();
        let mean = errors::mean(figure, &rows);
        let reach = errors::reach(figure, &rows, mean);
        let several = matches!(reach, errors::Reach::OwnOfMany);
        let (low, high) = match reach {
            errors::Reach::Ends(low, high) => (low, high),
            errors::Reach::None => (mean, mean),
            _ => domain::ends(ys.into_iter()).unwrap_or((mean, mean)),
        };
        Place { x, mean, low, high, several }
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
