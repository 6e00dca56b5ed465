use super::super::data::Data;
use super::super::figure::{Figure, Side};
use super::super::palette;
use super::super::shape::{PanelSize, Ramp, Shape, Sketch};
use super::domain::{self, Reach};
use super::line::y_field;
use crate::out::error::Result;

/// Different colours of a scale.
const SHADES: usize = 24;

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
        let place =
            |(i, p): (usize, &super::super::data::Datum)| (spread(p.x, x.categories, i), spread(p.y, y.categories, i));
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
    Ok(Sketch { x, y, panels, ramp, notes, counts: true, grid: true })
}

/// Rows of one category are spread over half of its width by the golden ratio: even, and the same every time.
fn spread(value: f64, categories: bool, row: usize) -> f64 {
    if !categories {
        return value;
    }
    value + ((row as f64 * 0.618_033_988_749_895).fract() - 0.5) * 0.5
}
