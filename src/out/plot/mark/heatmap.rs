use std::collections::BTreeMap;

use super::super::axis::{self, Axis};
use super::super::data::{Data, Datum, Field};
use super::super::figure::{Figure, Side};
use super::super::over;
use super::super::palette;
use super::super::shape::{PanelSize, Ramp, Shape, Sketch};
use super::domain::{self, Reach};
use super::line::y_field;
use crate::out::error::Result;
use crate::out::number;

/// Panels with no more cells than this have their numbers written in.
const MOST_NUMBERED: usize = 120;
/// Different numbers up to this many are categories.
const MOST_CATEGORIES: usize = 24;

/// Cells of x and y coloured by the mean of the colour column, or by how many rows they hold.
pub fn sketch(figure: &Figure, data: &Data, size: PanelSize) -> Result<Sketch> {
    let field = y_field(data, "a heatmap")?;
    let mut notes = Vec::new();
    let x = Bins::new(figure, Side::X, &data.x, &data.xs(), size, &mut notes);
    let y = Bins::new(figure, Side::Y, field, &data.ys(), size, &mut notes);
    let mut cells: BTreeMap<(usize, usize, usize), Vec<&Datum>> = BTreeMap::new();
    for p in &data.points {
        if let (Some(column), Some(row)) = (x.bin(p.x), y.bin(p.y)) {
            cells.entry((p.facet, row, column)).or_default().push(p);
        }
    }
    let counted = data.amount.is_none();
    // A run without rows in a cell counts 0 there, and has no mean.
    let value = |rows: &Vec<&Datum>| {
        let by_run = over::by_run(rows.iter().copied(), figure.runs());
        let mean = |rows: &Vec<&Datum>| rows.iter().map(|p| p.amount).sum::<f64>() / rows.len() as f64;
        let runs: Vec<f64> = match counted {
            true => by_run.iter().map(|rows| rows.len() as f64).collect(),
            false => by_run.iter().filter(|rows| !rows.is_empty()).map(mean).collect(),
        };
        over::interval(&runs).0
    };
    let values: Vec<f64> = cells.values().map(value).collect();
    let ramp = ramp(figure, data, &values, counted);
    let numbered = x.cells() * y.cells() <= MOST_NUMBERED && x.named && y.named;
    let decimals = if counted && figure.over.is_none() { None } else { Some(decimals(&values)) };
    let mut panels = vec![Vec::new(); data.facets.len()];
    for (((facet, row, column), _), value) in cells.iter().zip(&values) {
        let color = (ramp.color)(ramp.axis.place(*value));
        let label = if numbered { written(*value, decimals) } else { String::new() };
        let ((left, right), (bottom, top)) = (x.range(*column), y.range(*row));
        panels[*facet].push(Shape::Cell { left, right, bottom, top, color, label });
    }
    if let Some(over) = &figure.over {
        notes.push(format!("each cell: mean over {}", over.said()));
    } else if !counted && data.points.len() > cells.len() {
        notes.push("each cell: mean of its rows".to_owned());
    }
    Ok(Sketch { ramp: Some(ramp), grid: false, ..Sketch::new(x.axis, y.axis, panels, notes) })
}

/// Counts without, numbers with the same decimals in every cell; very large and very small ones with three digits.
fn written(value: f64, decimals: Option<Option<usize>>) -> String {
    match decimals {
        None => number::grouped(value as i64),
        Some(Some(places)) => number::fixed(value, places).replace('-', "−"),
        Some(None) => number::significant(value, 3).replace('-', "−"),
    }
}

/// Decimals that show three digits of the largest value, but no more than any value needs.
fn decimals(values: &[f64]) -> Option<usize> {
    let largest = values.iter().fold(0.0f64, |m, v| m.max(v.abs()));
    if !(1e-3..1e5).contains(&largest) {
        return None;
    }
    let most = (2 - largest.log10().floor() as i32).max(0) as usize;
    let needed = |v: &f64| {
        let text = number::significant(*v, 3);
        text.split_once('.').map_or(0, |(_, decimals)| decimals.len())
    };
    Some(values.iter().map(needed).max().unwrap_or(0).min(most))
}

/// Counts from 0; signed values around white; others from the smallest to the largest.
fn ramp(figure: &Figure, data: &Data, values: &[f64], counted: bool) -> Ramp {
    let largest = values.iter().copied().fold(0.0, f64::max);
    if counted {
        let title = figure.labels.rows.clone();
        let axis = if largest > 100.0 {
            Axis::log(1.0, largest, title)
        } else {
            Axis::linear(0.0, largest.max(1.0), &[], 4, title)
        };
        return Ramp { axis, color: palette::amount };
    }
    let title = data.amount.as_ref().map(|f| f.title.clone()).unwrap_or_default();
    let column = data.amount.as_ref().map(|f| f.column.as_str()).unwrap_or_default();
    let smallest = values.iter().copied().fold(f64::INFINITY, f64::min);
    let peak = largest.max(-smallest);
    if smallest < 0.0 && largest > 0.0 {
        return Ramp { axis: Axis::linear(-peak, peak, &[], 4, title), color: palette::signed };
    }
    let style = figure.labels.column(column);
    let (low, high) = match style.domain {
        Some((low, high)) if smallest >= low && largest <= high && largest - smallest > 0.3 * (high - low) => {
            (low, high)
        }
        _ if smallest.is_finite() => (smallest, values.iter().copied().fold(f64::NEG_INFINITY, f64::max)),
        _ => (0.0, 1.0),
    };
    Ramp { axis: Axis::linear(low, high, &[], 4, title), color: palette::amount }
}

struct Bins {
    axis: Axis,
    edges: Vec<f64>,
    /// Values that stand for themselves rather than for a range, if there are few.
    centres: Option<Vec<f64>>,
    named: bool,
}

impl Bins {
    fn new(
        figure: &Figure,
        side: Side,
        field: &Field,
        values: &[f64],
        size: PanelSize,
        notes: &mut Vec<String>,
    ) -> Self {
        let (ticks, length) = match side {
            Side::X => (size.ticks().0, size.width),
            Side::Y => (size.ticks().1, size.height),
        };
        if let Some(words) = &field.words {
            let axis = domain::axis(figure, side, field, values, Reach::Exact, ticks, notes);
            let edges = (0..=words.len()).map(|i| i as f64 - 0.5).collect();
            return Self { axis, edges, centres: None, named: true };
        }
        let mut distinct = values.to_vec();
        distinct.sort_by(f64::total_cmp);
        distinct.dedup();
        let log = if side == Side::X { figure.log_x } else { figure.log_y };
        let between = log || figure.range(side).is_some();
        if !between && !distinct.is_empty() && distinct.len() <= MOST_CATEGORIES {
            let names: Vec<String> = distinct.iter().map(|v| number::short(*v).replace('-', "−")).collect();
            let edges = (0..=names.len()).map(|i| i as f64 - 0.5).collect();
            let axis = Axis::categories(&names, field.title.clone());
            return Self { axis, edges, centres: Some(distinct), named: true };
        }
        let mut axis = domain::axis(figure, side, field, values, Reach::Exact, ticks, notes);
        let wanted = (length / 6.5).round().max(8.0);
        let edges: Vec<f64> = if axis.log {
            let step = (axis.high / axis.low).ln() / wanted;
            (0..=wanted as i64).map(|i| axis.low * (i as f64 * step).exp()).collect()
        } else {
            let width = axis::round_step((axis.high - axis.low) / wanted);
            let first = (axis.low / width + 1e-9).floor() as i64;
            let last = ((axis.high / width - 1e-9).ceil() as i64).max(first + 1);
            (first..=last).map(|i| axis::multiple(i, width)).collect()
        };
        if figure.range(side).is_none() {
            axis.low = edges[0];
            axis.high = edges[edges.len() - 1];
        }
        Self { axis, edges, centres: None, named: false }
    }

    fn cells(&self) -> usize {
        self.edges.len() - 1
    }

    fn bin(&self, value: f64) -> Option<usize> {
        let value = match &self.centres {
            Some(centres) => centres.iter().position(|c| *c == value)? as f64,
            None => value,
        };
        let slack = (self.axis.high - self.axis.low) * 1e-9;
        let after = self.edges.partition_point(|edge| *edge <= value + slack);
        (after > 0 && value <= self.axis.high + slack).then(|| (after - 1).min(self.cells() - 1))
    }

    fn range(&self, bin: usize) -> (f64, f64) {
        (self.edges[bin], self.edges[bin + 1])
    }
}
