//! Reference lines and their labels.

use super::super::axis::Axis;
use super::super::canvas::{Anchor, Canvas, TextStyle};
use super::super::data::{Data, Datum};
use super::super::figure::{At, Figure, Side};
use super::super::font::{self, Weight};
use super::super::over;
use super::super::palette::Color;
use super::super::shape::Sketch;
use super::{Page, Panel};
use crate::out::interval::mean_interval;
use crate::out::number;

/// A line that has its place.
#[derive(Clone, Debug)]
pub struct Reference {
    side: Side,
    value: f64,
    label: Option<String>,
    /// Of the group whose mean it is.
    color: Option<Color>,
    /// A mean or a median.
    statistic: bool,
}

impl Reference {
    fn shown(&self, sketch: &Sketch) -> bool {
        if self.side == Side::X { &sketch.x } else { &sketch.y }.contains(self.value)
    }
}

/// Lines beyond an axis, for a note.
pub fn beyond(figure: &Figure, sketch: &Sketch, lines: &[Vec<Reference>]) -> Vec<String> {
    let mut said = Vec::new();
    for line in lines.iter().flatten().filter(|l| !l.shown(sketch)) {
        let axis = match (line.side, &figure.y) {
            (Side::X, _) => figure.labels.column(&figure.x).label,
            (Side::Y, Some(y)) => figure.labels.column(y).label,
            (Side::Y, None) => "y".to_owned(),
        };
        let number = || format!("line at {}", number::short(line.value).replace('-', "−"));
        let what = line.label.clone().filter(|_| line.statistic).unwrap_or_else(number);
        let said_now = format!("{what} of {axis} lies outside of the axis");
        if !said.contains(&said_now) {
            said.push(said_now);
        }
    }
    said
}

/// The lines of each panel.
pub fn of(figure: &Figure, data: &Data, sketch: &Sketch) -> Vec<Vec<Reference>> {
    let several = data.groups.len() > 1;
    let in_panel = |facet: usize| {
        let mut lines = Vec::new();
        for line in &figure.lines {
            let axis = if line.side == Side::X { &sketch.x } else { &sketch.y };
            let fixed = |value: f64| Reference {
                side: line.side,
                value,
                label: line.label.clone().or_else(|| number_off_the_ticks(axis, value)),
                color: None,
                statistic: false,
            };
            let (word, statistic): (&str, fn(&mut Vec<f64>) -> f64) = match line.at {
                At::Value(value) => {
                    lines.push(fixed(value));
                    continue;
                }
                At::Mean => ("mean", |values| values.iter().sum::<f64>() / values.len() as f64),
                At::Median => ("median", median),
            };
            let place: fn(&Datum) -> f64 = if line.side == Side::X { |p| p.x } else { |p| p.y };
            for (at, group) in data.groups.iter().enumerate() {
                let by_run = over::by_run(data.of(facet, at), figure.runs());
                let of_runs = by_run.iter().filter(|rows| !rows.is_empty()).map(|rows| {
                    let mut values: Vec<f64> = rows.iter().map(|p| place(p)).collect();
                    statistic(&mut values)
                });
                let Some(found) = mean_interval(&of_runs.collect::<Vec<f64>>()) else { continue };
                let value = found.mean;
                let said = format!("{word} {}", number::significant(value, 3).replace('-', "−"));
                let label = Some(line.label.clone().unwrap_or(said));
                let color = several.then_some(group.color);
                lines.push(Reference { side: line.side, value, label, color, statistic: true });
            }
        }
        lines
    };
    (0..data.facets.len()).map(in_panel).collect()
}

fn median(values: &mut Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    if values.len() % 2 == 1 { values[half] } else { values[half - 1].midpoint(values[half]) }
}

/// The number of a line, where no tick says it.
fn number_off_the_ticks(axis: &Axis, value: f64) -> Option<String> {
    let on_a_tick = axis.ticks.iter().any(|t| !t.minor && (t.at - value).abs() <= value.abs() * 1e-9);
    (!on_a_tick).then(|| number::short(value).replace('-', "−"))
}

impl Page<'_> {
    fn of_side(&self, facet: usize, side: Side) -> impl Iterator<Item = &Reference> {
        self.lines[facet].iter().filter(move |l| l.side == side && l.shown(self.sketch))
    }

    /// Labels of vertical lines stand above the panel, in as many rows as keep them apart.
    fn line_label_rows(&self, facet: usize) -> Vec<(f64, &str, usize)> {
        let note = self.t.note;
        let mut lines: Vec<&Reference> = self.of_side(facet, Side::X).collect();
        lines.sort_by(|a, b| a.value.total_cmp(&b.value));
        let mut placed: Vec<(f64, &str, usize)> = Vec::new();
        let mut row_ends: Vec<f64> = Vec::new();
        for line in lines {
            let Some(label) = &line.label else { continue };
            let at = self.sketch.x.place(line.value) * self.size.width;
            let half = font::width(label, note, Weight::Regular) / 2.0;
            let free = row_ends.iter().position(|end| *end < at - half);
            let row = free.unwrap_or(row_ends.len());
            if free.is_none() {
                row_ends.push(0.0);
            }
            row_ends[row] = at + half + 8.0;
            placed.push((at, label, row));
        }
        placed
    }

    pub fn line_label_room(&self) -> f64 {
        let rows = |facet: usize| self.line_label_rows(facet).iter().map(|l| l.2 + 1).max().unwrap_or(0);
        let rows = (0..self.data.facets.len()).map(rows).max().unwrap_or(0);
        if rows == 0 { 0.0 } else { rows as f64 * self.t.note * 1.3 + 2.0 }
    }

    /// The lines of a panel, through its margins too, and their labels.
    pub fn reference_lines(&self, canvas: &mut Canvas, panel: Panel, facet: usize, rightmost: bool) {
        let note = self.t.note;
        let (top, right) = (panel.top - self.margin(), panel.right() + self.margin());
        for line in self.of_side(facet, Side::X) {
            let at = panel.x(&self.sketch.x, line.value);
            canvas.reference(at, top, at, panel.bottom(), line.color);
        }
        for (at, label, row) in self.line_label_rows(facet) {
            let y = top - 2.0 - row as f64 * note * 1.3 - note * 0.3;
            let half = font::width(label, note, Weight::Regular) / 2.0;
            let x = (panel.left + at).min(panel.right() - half).max(panel.left + half);
            canvas.text(x, y, label, TextStyle::new(note, Anchor::Middle).muted());
        }
        for line in self.of_side(facet, Side::Y) {
            let at = panel.y(&self.sketch.y, line.value);
            canvas.reference(panel.left, at, right, at, line.color);
            if let Some(label) = line.label.as_ref().filter(|_| rightmost) {
                canvas.text(right + 5.0, at + note * 0.36, label, TextStyle::new(note, Anchor::Start).muted());
            }
        }
    }

    /// Names of horizontal lines stand to the right of the last panel.
    pub fn y_line_room(&self) -> f64 {
        let lines = (0..self.data.facets.len()).flat_map(|facet| self.of_side(facet, Side::Y));
        let labels = lines.filter_map(|l| l.label.as_ref());
        labels.map(|l| font::width(l, self.t.note, Weight::Regular) + 6.0).fold(0.0, f64::max)
    }
}
