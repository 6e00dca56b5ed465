use std::collections::{BTreeMap, BTreeSet};

use super::super::axis::Axis;
use super::super::canvas::Canvas;
use super::super::font::{self, Weight};
use super::super::palette::Color;
use super::super::shape::Shape;
use super::{Page, Panel};

/// Point clouds larger than this are merged to cells of [`SPECK`] pixels.
const MOST_DOTS: usize = 6000;
pub const SPECK: f64 = 1.5;

impl Page<'_> {
    pub fn merges_points(&self) -> bool {
        let all = self.sketch.panels.iter().flatten();
        let count: usize = all.map(|s| if let Shape::Points { points, .. } = s { points.len() } else { 0 }).sum();
        count > MOST_DOTS
    }

    /// Of the fullest panel: dots of one figure have one size.
    fn most_points(&self) -> usize {
        let of = |shape: &Shape| if let Shape::Points { points, .. } = shape { points.len() } else { 0 };
        self.sketch.panels.iter().map(|shapes| shapes.iter().map(of).sum()).max().unwrap_or(0)
    }

    /// Everything that is cut off at the panel.
    pub fn shapes(&self, canvas: &mut Canvas, panel: Panel, (ax, ay): (&Axis, &Axis), shapes: &[Shape]) {
        let at = |(x, y): &(f64, f64)| (panel.x(ax, *x), panel.y(ay, *y));
        let stroke = self.t.stroke;
        let count = self.most_points();
        for shape in shapes {
            match shape {
                Shape::Bar { left, right, bottom, top, color, .. } => {
                    let (a, b) = (at(&(*left, *bottom)), at(&(*right, *top)));
                    canvas.rectangle(a.0, a.1.min(b.1), b.0 - a.0, (a.1 - b.1).abs(), *color, 0.88);
                }
                Shape::Cell { left, right, bottom, top, color, label } => {
                    let (a, b) = (at(&(*left, *bottom)), at(&(*right, *top)));
                    self.cell(canvas, a, b, *color, label);
                }
                Shape::Range { points, color } => {
                    // Nothing is far below the floor of a log axis.
                    let floor = if ay.log { ay.low } else { f64::NEG_INFINITY };
                    let upper = points.iter().map(|p| at(&(p.0, p.2.max(floor))));
                    let lower = points.iter().rev().map(|p| at(&(p.0, p.1.max(floor))));
                    canvas.area(&upper.chain(lower).collect::<Vec<_>>(), *color, 0.18);
                }
                Shape::Steps { edges, heights, color, opacity } => {
                    for outline in outlines(edges, heights, ay.low.max(0.0)) {
                        let outline: Vec<(f64, f64)> = outline.iter().map(at).collect();
                        canvas.area(&outline, *color, *opacity);
                    }
                }
                Shape::Line { points, color, dash, dots } => {
                    let points: Vec<(f64, f64)> = points.iter().map(at).collect();
                    canvas.line(&points, *color, 1.8 * stroke, dash);
                    if *dots {
                        canvas.dots(&points, 3.0 * stroke, *color, 1.0);
                    }
                }
                Shape::Points { points, color } => {
                    let places: Vec<(f64, f64)> = points.iter().map(at).collect();
                    self.points(canvas, &places, *color, count);
                }
                Shape::ErrorBar { x, low, high, color: Some(color) } => {
                    let (x, low) = at(&(*x, *low));
                    let high = panel.y(ay, *high);
                    let cap = 3.0 * stroke;
                    for ends in
                        [[(x, low), (x, high)], [(x - cap, low), (x + cap, low)], [(x - cap, high), (x + cap, high)]]
                    {
                        canvas.line(&ends, *color, 1.2 * stroke, "");
                    }
                }
                Shape::Arrow { from, to, color } => canvas.arrow(at(from), at(to), *color, 1.2 * stroke),
                Shape::Whisker { .. } | Shape::ErrorBar { .. } => {}
            }
        }
        let steps = shapes.iter().filter(|s| matches!(s, Shape::Steps { .. })).count();
        for shape in shapes {
            let Shape::Steps { edges, heights, color, .. } = shape else { continue };
            for outline in outlines(edges, heights, ay.low.max(0.0)) {
                let outline: Vec<(f64, f64)> = outline.iter().map(at).collect();
                canvas.line(&outline, *color, if steps > 1 { 1.5 * stroke } else { stroke }, "");
            }
        }
    }

    fn cell(&self, canvas: &mut Canvas, a: (f64, f64), b: (f64, f64), color: Color, label: &str) {
        let tick = self.t.tick;
        // A hair of overlap hides the seams between neighbours; cells with numbers stand apart.
        let seam = if label.is_empty() { 0.3 } else { -1.0 };
        canvas.rectangle(a.0, b.1, b.0 - a.0 + seam, a.1 - b.1 + seam, color, 1.0);
        if !label.is_empty() && font::width(label, tick, Weight::Regular) < b.0 - a.0 - 2.0 {
            canvas.text_on(a.0.midpoint(b.0), a.1.midpoint(b.1) + tick * 0.36, label, tick, color);
        }
    }

    /// Few points are circles that add up; a cloud is merged to cells, in four strengths by how many points a cell holds.
    fn points(&self, canvas: &mut Canvas, places: &[(f64, f64)], color: Color, most: usize) {
        let stroke = self.t.stroke;
        if !self.merges_points() {
            let (radius, opacity) = match most {
                0..=150 => (3.6, 0.75),
                151..=800 => (2.6, 0.6),
                801..=2500 => (2.0, 0.45),
                _ => (1.7, 0.4),
            };
            canvas.dots(places, radius * stroke, color, opacity);
            return;
        }
        let mut cells: BTreeMap<(i64, i64), u32> = BTreeMap::new();
        for (x, y) in places {
            *cells.entry(((x / SPECK).round() as i64, (y / SPECK).round() as i64)).or_default() += 1;
        }
        let strengths = [(1, 0.5), (2, 0.65), (4, 0.8), (8, 1.0)];
        for (i, (from, opacity)) in strengths.iter().enumerate() {
            let below = strengths.get(i + 1).map_or(u32::MAX, |s| s.0);
            let specks: Vec<(f64, f64)> = cells
                .iter()
                .filter(|(_, n)| (*from..below).contains(*n))
                .map(|((x, y), _)| (*x as f64 * SPECK, *y as f64 * SPECK))
                .collect();
            canvas.specks(&specks, 1.1, color, *opacity);
        }
    }

    /// Points outside of the axes are triangles at the edge that they lie beyond.
    pub fn edge_pointers(&self, canvas: &mut Canvas, panel: Panel, shapes: &[Shape]) {
        if !self.points_beyond() {
            return;
        }
        let (ax, ay) = (&self.sketch.x, &self.sketch.y);
        let mut drawn = BTreeSet::new();
        for shape in shapes {
            let Shape::Points { points, color } = shape else { continue };
            for (x, y) in points.iter().filter(|(x, y)| !ax.contains(*x) || !ay.contains(*y)) {
                let place_x = panel.x(ax, *x).clamp(panel.left + 4.0, panel.right() - 4.0);
                let place_y = panel.y(ay, *y).clamp(panel.top + 4.0, panel.bottom() - 4.0);
                let turn = match (ax.contains(*x), ay.contains(*y)) {
                    (true, _) if *y > ay.high => 0.0,
                    (true, _) => 180.0,
                    (false, _) if *x > ax.high => 90.0,
                    (false, _) => 270.0,
                };
                if drawn.insert(((place_x / 3.0) as i64, (place_y / 3.0) as i64, turn as i64)) {
                    canvas.pointer(place_x, place_y, turn, *color);
                }
            }
        }
    }

    /// Ranges, errors and rows on bars; dots at the very end of an axis are not cut.
    pub fn whiskers(&self, canvas: &mut Canvas, panel: Panel, shapes: &[Shape]) {
        let y = |value: f64| panel.y(&self.sketch.y, value).clamp(panel.top, panel.bottom());
        for shape in shapes {
            match shape {
                Shape::Whisker { x, low, high, dots } => {
                    let values: Vec<f64> = dots.iter().map(|value| y(*value)).collect();
                    canvas.whisker(panel.x(&self.sketch.x, *x), y(*low), y(*high), &values);
                }
                Shape::ErrorBar { x, low, high, color: None } => {
                    canvas.error_bar(panel.x(&self.sketch.x, *x), y(*low), y(*high), 3.5 * self.t.stroke);
                }
                _ => {}
            }
        }
    }
}

/// Closed outlines of the runs of bins that are not empty, standing on `floor`.
pub fn outlines(edges: &[f64], heights: &[f64], floor: f64) -> Vec<Vec<(f64, f64)>> {
    let mut outlines: Vec<Vec<(f64, f64)>> = Vec::new();
    let mut open: Vec<(f64, f64)> = Vec::new();
    for (i, &height) in heights.iter().enumerate() {
        if height > 0.0 {
            if open.is_empty() {
                open.push((edges[i], floor));
            }
            open.push((edges[i], height));
            open.push((edges[i + 1], height));
        }
        let ends = height <= 0.0 || i + 1 == heights.len();
        if ends && !open.is_empty() {
            let right = if height > 0.0 { edges[i + 1] } else { edges[i] };
            open.push((right, floor));
            outlines.push(std::mem::take(&mut open));
        }
    }
    outlines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_bins_split_the_outline() {
        let found = outlines(&[0.0, 1.0, 2.0, 3.0, 4.0], &[2.0, 0.0, 1.0, 3.0], 0.0);
        let first = vec![(0.0, 0.0), (0.0, 2.0), (1.0, 2.0), (1.0, 0.0)];
        let second = vec![(2.0, 0.0), (2.0, 1.0), (3.0, 1.0), (3.0, 3.0), (4.0, 3.0), (4.0, 0.0)];
        assert_eq!(found, [first, second]);
    }
}
