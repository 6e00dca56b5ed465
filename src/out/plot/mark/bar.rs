use std::collections::BTreeMap;

use super::super::axis::Axis;
use super::super::data::{Data, Field};
use super::super::figure::{Figure, Side};
use super::super::shape::{PanelSize, Shape, Sketch};
use super::domain::{self, Reach};
use super::histogram::counts_axis;
use crate::out::error::Result;
use crate::out::number;

/// Bars with this many or fewer in a panel have their number on top.
const MOST_NUMBERED: usize = 12;
/// Share of a category's width that its bars take.
const FILLED: f64 = 0.76;

struct Bar {
    facet: usize,
    category: usize,
    group: usize,
    values: Vec<f64>,
}

/// A bar from zero to the mean of y; where several rows share a bar, their range and the rows themselves stand on it.
pub fn sketch(figure: &Figure, data: &Data, size: PanelSize) -> Result<Sketch> {
    let Some(field) = &data.y else { return counts(figure, data, size) };
    let bars = bars(data);
    let mut notes = Vec::new();
    let means: Vec<f64> = bars.iter().map(|b| mean(&b.values)).collect();
    let several = bars.iter().any(|b| b.values.len() > 1);
    let shown: Vec<f64> = bars.iter().flat_map(|b| b.values.iter().copied()).chain(means.iter().copied()).collect();
    let positive: Vec<f64> = shown.iter().copied().filter(|v| !figure.log_y || *v > 0.0).collect();
    let y = domain::axis(figure, Side::Y, field, &positive, Reach::FromZero, size.ticks().1, &mut notes);
    if several {
        notes.push("bars: mean; dots and lines: single rows and their range".to_owned());
    }
    let lane = lanes(data, &bars);
    let mut panels = vec![Vec::new(); data.facets.len()];
    let numbered = bars.len() <= MOST_NUMBERED * data.facets.len() && !several;
    for (bar, mean) in bars.iter().zip(means) {
        let label = if numbered { number::significant(mean, 3).replace('-', "−") } else { String::new() };
        let (left, right) = lane(bar);
        let bottom = if y.log { y.low } else { 0.0 };
        let color = data.groups[bar.group].color;
        panels[bar.facet].push(Shape::Bar { left, right, bottom, top: mean, color, label });
        if bar.values.len() > 1 {
            let low = bar.values.iter().copied().fold(f64::INFINITY, f64::min);
            let high = bar.values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let dots = if bar.values.len() <= 20 { bar.values.clone() } else { Vec::new() };
            panels[bar.facet].push(Shape::Whisker { x: left.midpoint(right), low, high, dots });
        }
    }
    Ok(Sketch { x: categories(figure, &data.x), y, panels, ramp: None, notes, counts: false, grid: true })
}

/// A bar a category with its number of rows.
pub fn counts(figure: &Figure, data: &Data, size: PanelSize) -> Result<Sketch> {
    let bars = bars(data);
    let most = bars.iter().map(|b| b.values.len()).max().unwrap_or(0);
    let y = counts_axis(figure.log_y, most as u64, size, figure.labels.rows.clone());
    let numbered = bars.len() <= MOST_NUMBERED * data.facets.len();
    let lane = lanes(data, &bars);
    let mut panels = vec![Vec::new(); data.facets.len()];
    for bar in &bars {
        let (left, right) = lane(bar);
        let count = bar.values.len();
        let label = if numbered { number::grouped(count as i64) } else { String::new() };
        let bottom = if y.log { y.low } else { 0.0 };
        let color = data.groups[bar.group].color;
        panels[bar.facet].push(Shape::Bar { left, right, bottom, top: count as f64, color, label });
    }
    Ok(Sketch { x: categories(figure, &data.x), y, panels, ramp: None, notes: Vec::new(), counts: false, grid: true })
}

fn categories(figure: &Figure, field: &Field) -> Axis {
    let names: Vec<String> = field.words.iter().flatten().map(|w| figure.labels.value(w)).collect();
    Axis::categories(&names, field.title.clone())
}

/// Panel by panel, category by category, group by group.
fn bars(data: &Data) -> Vec<Bar> {
    let mut bars: BTreeMap<(usize, usize, usize), Vec<f64>> = BTreeMap::new();
    for p in &data.points {
        bars.entry((p.facet, p.x as usize, p.group)).or_default().push(p.y);
    }
    bars.into_iter().map(|((facet, category, group), values)| Bar { facet, category, group, values }).collect()
}

/// Left and right of a bar. Groups stand side by side, unless each category has but one (then the bar is as wide as it can be).
fn lanes(data: &Data, bars: &[Bar]) -> impl Fn(&Bar) -> (f64, f64) + use<> {
    let one_each =
        bars.windows(2).all(|w| w[0].facet != w[1].facet || w[0].category != w[1].category) || data.groups.len() == 1;
    let lanes = if one_each { 1 } else { data.groups.len() };
    move |bar| {
        let lane = if one_each { 0 } else { bar.group };
        let width = FILLED / lanes as f64;
        let left = bar.category as f64 - FILLED / 2.0 + lane as f64 * width;
        let gap = if lanes > 1 { width * 0.06 } else { 0.0 };
        (left + gap, left + width - gap)
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}
