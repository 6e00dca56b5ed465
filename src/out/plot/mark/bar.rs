use std::collections::BTreeMap;

use super::super::axis::Axis;
use super::super::data::{Data, Datum, Field};
use super::super::figure::{Count, ErrorBar, Figure, Side};
use super::super::over;
use super::super::shape::{PanelSize, Shape, Sketch};
use super::domain;
use super::errors::{self, Reach};
use super::histogram::counts_axis;
use crate::out::error::Result;
use crate::out::number;

/// Bars with this many or fewer in a panel have their number on top.
const MOST_NUMBERED: usize = 12;
/// Share of a category's width that its bars take.
const FILLED: f64 = 0.76;

struct Bar<'a> {
    facet: usize,
    category: usize,
    group: usize,
    rows: Vec<&'a Datum>,
}

/// A bar from zero to the mean of y, with its error; without one, where several rows share a bar, their range and the rows
/// themselves stand on it.
pub fn sketch(figure: &Figure, data: &Data, size: PanelSize) -> Result<Sketch> {
    let Some(field) = &data.y else { return counts(figure, data, size) };
    let bars = bars(data);
    let mut notes = Vec::new();
    let means: Vec<f64> = bars.iter().map(|b| errors::mean(figure, &b.rows)).collect();
    let reaches: Vec<Reach> = bars.iter().zip(&means).map(|(b, mean)| errors::reach(figure, &b.rows, *mean)).collect();
    let ends = reaches.iter().flat_map(|reach| match reach {
        Reach::Ends(low, high) => vec![*low, *high],
        _ => Vec::new(),
    });
    let own = !matches!(figure.error, Some(ErrorBar::Interval)) && figure.over.is_none();
    let rows = bars.iter().flat_map(|b| b.rows.iter().map(|p| p.y)).filter(|_| own);
    let shown: Vec<f64> = rows.chain(means.iter().copied()).chain(ends).collect();
    let positive: Vec<f64> = shown.iter().copied().filter(|v| !figure.log_y || *v > 0.0).collect();
    let y = domain::axis(figure, Side::Y, field, &positive, domain::Reach::FromZero, size.ticks().1, &mut notes);
    let several = bars.iter().any(|b| b.rows.len() > 1);
    let averaged = errors::over_runs(figure, "bars");
    match &figure.error {
        _ if averaged.is_some() => notes.extend(averaged),
        Some(error) => {
            notes.push(format!("bars: {}", errors::said(error, figure)));
            let many = reaches.iter().filter(|r| matches!(r, Reach::OwnOfMany)).count();
            notes.extend(errors::several(figure, many, "bars"));
        }
        None if several => notes.push("bars: mean; dots and lines: single rows and their range".to_owned()),
        None => {}
    }
    let lane = lanes(data, &bars);
    let mut panels = vec![Vec::new(); data.facets.len()];
    let numbered =
        bars.len() <= MOST_NUMBERED * data.facets.len() && !several && figure.error.is_none() && figure.over.is_none();
    for ((bar, mean), reach) in bars.iter().zip(means).zip(reaches) {
        let label = if numbered { number::significant(mean, 3).replace('-', "−") } else { String::new() };
        let (left, right) = lane(bar);
        let bottom = if y.log { y.low } else { 0.0 };
        let color = data.groups[bar.group].color;
        panels[bar.facet].push(Shape::Bar { left, right, bottom, top: mean, color, label });
        let x = left.midpoint(right);
        match reach {
            Reach::Ends(low, high) => panels[bar.facet].push(Shape::ErrorBar { x, low, high, color: None }),
            Reach::Rows | Reach::OwnOfMany if bar.rows.len() > 1 => {
                let ys: Vec<f64> = bar.rows.iter().map(|p| p.y).collect();
                let (low, high) = domain::ends(ys.iter().copied()).unwrap_or((mean, mean));
                let dots = if ys.len() <= 20 { ys } else { Vec::new() };
                panels[bar.facet].push(Shape::Whisker { x, low, high, dots });
            }
            _ => {}
        }
    }
    Ok(Sketch::new(categories(figure, &data.x), y, panels, notes))
}

/// A bar a category with its number of rows, or their share; over runs the mean of theirs with its interval.
pub fn counts(figure: &Figure, data: &Data, size: PanelSize) -> Result<Sketch> {
    let bars = bars(data);
    let shares = figure.count == Some(Count::Share);
    let of_colors = shares && figure.color.as_deref().is_some_and(|color| color != figure.x);
    let runs = figure.runs();
    let wholes = |bar: &Bar<'_>| {
        let counted = data.points.iter().filter(|p| p.facet == bar.facet && (!of_colors || p.group == bar.group));
        over::by_run(counted, runs)
    };
    // A run without rows of the category counts none; one without any rows has no shares.
    let heights = |bar: &Bar<'_>| -> Vec<f64> {
        let rows = over::by_run(bar.rows.iter().copied(), runs);
        if !shares {
            return rows.iter().map(|rows| rows.len() as f64).collect();
        }
        let pairs = rows.iter().zip(wholes(bar));
        pairs
            .filter(|(_, whole)| !whole.is_empty())
            .map(|(rows, whole)| rows.len() as f64 / whole.len() as f64)
            .collect()
    };
    let tops: Vec<(f64, Option<(f64, f64)>)> = bars.iter().map(|bar| over::interval(&heights(bar))).collect();
    let most = tops.iter().map(|(top, ends)| ends.map_or(*top, |ends| ends.1)).fold(0.0, f64::max);
    let least = tops.iter().map(|(top, _)| *top).fold(f64::INFINITY, f64::min);
    let rows = &figure.labels.rows;
    let title = match (shares, &figure.color) {
        (false, _) => rows.clone(),
        (true, Some(color)) if of_colors => {
            format!("share of each {}", figure.labels.column(color).label)
        }
        (true, _) => format!("share of {rows}"),
    };
    let count = size.ticks().1;
    let y = match (figure.range_y, shares) {
        (Some((low, high)), _) if figure.log_y => Axis::log(low, high, title),
        (Some((low, high)), _) => Axis::linear(low, high, &[], count, title),
        (None, false) => counts_axis(figure, most, size, title),
        (None, true) if figure.log_y => Axis::log(least.min(0.1) * 0.6, 1.4, title),
        (None, true) => Axis::linear(0.0, if most > 0.0 { most * 1.06 } else { 1.0 }, &[], count, title),
    };
    let numbered = bars.len() <= MOST_NUMBERED * data.facets.len();
    let lane = lanes(data, &bars);
    let mut panels = vec![Vec::new(); data.facets.len()];
    for (bar, (top, ends)) in bars.iter().zip(tops) {
        let (left, right) = lane(bar);
        let label = match (numbered, shares) {
            _ if figure.over.is_some() => String::new(),
            (false, _) => String::new(),
            (true, false) => number::grouped(bar.rows.len() as i64),
            (true, true) => number::significant(top, 2),
        };
        let bottom = if y.log { y.low } else { 0.0 };
        let color = data.groups[bar.group].color;
        panels[bar.facet].push(Shape::Bar { left, right, bottom, top, color, label });
        if let Some((low, high)) = ends {
            let (x, low) = (left.midpoint(right), low.max(bottom));
            panels[bar.facet].push(Shape::ErrorBar { x, low, high, color: None });
        }
    }
    let notes = errors::over_runs(figure, "bars").into_iter().collect();
    Ok(Sketch::new(categories(figure, &data.x), y, panels, notes))
}

fn categories(figure: &Figure, field: &Field) -> Axis {
    let names: Vec<String> = field.words.iter().flatten().map(|w| figure.labels.value(w)).collect();
    Axis::categories(&names, field.title.clone())
}

/// Panel by panel, category by category, group by group.
fn bars(data: &Data) -> Vec<Bar<'_>> {
    let mut bars: BTreeMap<(usize, usize, usize), Vec<&Datum>> = BTreeMap::new();
    for p in &data.points {
        bars.entry((p.facet, p.x as usize, p.group)).or_default().push(p);
    }
    bars.into_iter().map(|((facet, category, group), rows)| Bar { facet, category, group, rows }).collect()
}

/// Left and right of a bar. Groups stand side by side, unless each category has but one (then the bar is as wide as it can be).
fn lanes(data: &Data, bars: &[Bar<'_>]) -> impl Fn(&Bar<'_>) -> (f64, f64) + use<> {
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
