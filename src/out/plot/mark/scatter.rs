use super::super::axis::Axis;
use super::super::correlation;
use super::super::data::{Data, Datum, Group};
use super::super::figure::{Correlation, Count, Figure, Side};
use super::super::over;
use super::super::palette;
use super::super::shape::{Margin, Outline, PanelSize, Ramp, Remark, Shape, Sketch};
use super::domain::{self, Reach};
use super::histogram::Bins;
use super::line::y_field;
use crate::out::error::Result;

/// Different colours of a scale.
const SHADES: usize = 24;
/// Bins of a margin, as many as in the published figure.
const BINS: usize = 50;
/// More groups than this have no correlations of their own.
const MOST_REMARKS: usize = 5;

/// A point a row. Small groups lie over large ones. Rows in categories are spread within them.
pub fn sketch(figure: &Figure, data: &Data, size: PanelSize) -> Result<Sketch> {
    let field = y_field(data, "a scatter plot")?;
    let mut notes = Vec::new();
    let x = domain::axis(figure, Side::X, &data.x, &data.xs(), Reach::Padded, size.ticks().0, &mut notes);
    let y = domain::axis(figure, Side::Y, field, &data.ys(), Reach::Padded, size.ticks().1, &mut notes);
    let ramp = data.amount.as_ref().map(|amount| {
        let amounts: Vec<f64> = data.points.iter().map(|p| p.amount).collect();
        let axis = domain::amounts(figure, amount, &amounts, &mut notes);
        Ramp { axis, color: palette::amount }
    });
    let mut panels = Vec::new();
    for facet in 0..data.facets.len() {
        let place = |(i, p): (usize, &Datum)| (spread(p.x, x.categories, i), spread(p.y, y.categories, i));
        let mut shapes = Vec::new();
        if let Some(ramp) = &ramp {
            let mut shades = vec![Vec::new(); SHADES];
            for (i, p) in data.of(facet, 0).enumerate() {
                let share = ramp.axis.place(p.amount).clamp(0.0, 1.0);
                shades[((share * SHADES as f64) as usize).min(SHADES - 1)].push(place((i, p)));
            }
            for (i, points) in shades.into_iter().enumerate().filter(|(_, points)| !points.is_empty()) {
                let color = (ramp.color)((i as f64 + 0.5) / SHADES as f64);
                shapes.push(Shape::Points { points, color });
            }
        } else {
            let mut groups: Vec<(usize, Vec<(f64, f64)>)> =
                (0..data.groups.len()).map(|g| (g, data.of(facet, g).enumerate().map(place).collect())).collect();
            groups.sort_by_key(|(_, points)| std::cmp::Reverse(points.len()));
            for (group, points) in groups.into_iter().filter(|(_, points)| !points.is_empty()) {
                shapes.push(Shape::Points { points, color: data.groups[group].color });
            }
        }
        panels.push(shapes);
    }
    let margins = if figure.marginal { margins(figure, data, &x, &y) } else { Vec::new() };
    let remarks = figure.correlation.map(|which| remarks(figure, data, which)).unwrap_or_default();
    if let Some(over) = &figure.over {
        let correlations = if figure.correlation.is_some() { ", correlations: mean and 95% t-interval" } else { "" };
        notes.push(format!("dots: all {}; n: mean over them{correlations}", over.said()));
    }
    Ok(Sketch { ramp, counts: true, margins, remarks, ..Sketch::new(x, y, panels, notes) })
}

/// Densities of each group over x and over y, in bins over the axes, up to 1 in each margin.
fn margins(figure: &Figure, data: &Data, x: &Axis, y: &Axis) -> Vec<Margin> {
    let bins = |axis: &Axis| Bins::even(axis.low, axis.high, figure.bins.unwrap_or(BINS), axis.log);
    let (over_x, over_y) = (bins(x), bins(y));
    let outlines = |facet: usize, bins: &Bins, of: fn(&Datum) -> f64| -> Vec<Outline> {
        let mut outlines: Vec<(usize, Outline)> = Vec::new();
        for (at, group) in data.groups.iter().enumerate() {
            let rows = data.of(facet, at).count();
            let by_run = over::by_run(data.of(facet, at), figure.runs());
            let heights: Vec<f64> =
                bins.averaged(&by_run, Count::Share, of, |_| true).iter().map(|spread| spread.mean).collect();
            if heights.iter().any(|h| *h > 0.0) {
                outlines.push((rows, Outline { edges: bins.edges.clone(), heights, color: group.color }));
            }
        }
        outlines.sort_by_key(|(rows, _)| std::cmp::Reverse(*rows));
        outlines.into_iter().map(|(_, outline)| outline).collect()
    };
    let mut margins: Vec<Margin> = (0..data.facets.len())
        .map(|facet| Margin { top: outlines(facet, &over_x, |p| p.x), right: outlines(facet, &over_y, |p| p.y) })
        .collect();
    // One scale for all panels, so that they can be compared.
    scale(margins.iter_mut().flat_map(|m| &mut m.top).collect());
    scale(margins.iter_mut().flat_map(|m| &mut m.right).collect());
    margins
}

fn scale(mut outlines: Vec<&mut Outline>) {
    let most = outlines.iter().flat_map(|o| &o.heights).copied().fold(0.0, f64::max);
    if most > 0.0 {
        outlines.iter_mut().flat_map(|o| &mut o.heights).for_each(|h| *h /= most);
    }
}

/// The correlation of x and y in each panel: of all its rows, and of each group.
fn remarks(figure: &Figure, data: &Data, which: Correlation) -> Vec<Vec<Remark>> {
    let pairs = |points: &[&Datum]| -> Vec<(f64, f64)> { points.iter().map(|p| (p.x, p.y)).collect() };
    let of = |points: Vec<&Datum>| match &figure.over {
        None => correlation::said(which, &pairs(&points)),
        Some(over) => {
            let by_run = over::by_run(points, over.count);
            correlation::said_over(which, by_run.iter().map(|points| pairs(points)), &over.label)
        }
    };
    let remark = |facet: usize| {
        let mut remarks = Vec::new();
        let all: Vec<&Datum> = data.points.iter().filter(|p| p.facet == facet).collect();
        let groups: Vec<usize> = (0..data.groups.len()).filter(|g| data.of(facet, *g).count() >= 3).collect();
        let apart = groups.len() > 1 && groups.len() <= MOST_REMARKS && figure.color.is_some();
        let all = of(all).map(|text| if apart { format!("all: {text}") } else { text });
        remarks.extend(all.map(|text| Remark { text, color: None }));
        if apart {
            for group in groups {
                let Group { label, color } = &data.groups[group];
                let said = of(data.of(facet, group).collect());
                remarks.extend(said.map(|text| Remark { text: format!("{label}: {text}"), color: Some(*color) }));
            }
        }
        remarks
    };
    (0..data.facets.len()).map(remark).collect()
}

/// Rows of one category are spread over half of its width by the golden ratio: even, and the same every time.
fn spread(value: f64, categories: bool, row: usize) -> f64 {
    if !categories {
        return value;
    }
    value + ((row as f64 * 0.618_033_988_749_895).fract() - 0.5) * 0.5
}
