//! Where an inset stands: in the emptiest part of its panels.

use super::super::axis::Axis;
use super::super::figure::Figure;
use super::super::shape::{Inset, PanelSize, Shape, Sketch};

/// Vertical stripes in which panels are looked through.
const STRIPES: usize = 100;
/// Air between the inset and what is around it, as a share of the panel.
const AIR: f64 = 0.03;

/// The heights of a line within a range of x, and at its left end.
pub fn heights_within(points: &[(f64, f64)], range: (f64, f64)) -> Vec<f64> {
    let before = points.iter().take_while(|p| p.0 < range.0).last();
    let inside = points.iter().filter(|p| (range.0..=range.1).contains(&p.0));
    before.into_iter().chain(inside).map(|p| p.1).collect()
}

/// Axes over a range of x and these heights, with few ticks.
pub fn axes(figure: &Figure, range: (f64, f64), heights: (f64, f64), size: PanelSize) -> (Axis, Axis) {
    let (low, high) = range;
    let count = if size.width < 300.0 { 2 } else { 3 };
    let x = if figure.log_x {
        Axis::log(low, high, String::new())
    } else {
        let middle = low.midpoint(high);
        let short = |x: f64| crate::out::number::short(x).len() <= 5;
        let ticks = if short(middle) { vec![low, middle, high] } else { vec![low, high] };
        let ticks = if ticks.iter().all(|t| short(*t)) { ticks } else { Vec::new() };
        Axis::linear(low, high, &ticks, count, String::new())
    };
    let (bottom, top) = heights;
    let y = if figure.log_y {
        Axis::log(bottom.max(top / 1e6), top * 1.4, String::new())
    } else {
        let air = (top - bottom).max(top.abs() * 1e-6) * 0.08;
        Axis::linear(if bottom == 0.0 { 0.0 } else { bottom - air }, top + air, &[], count, String::new())
    };
    (x, y)
}

/// Puts the inset into the emptiest part of the panels. With `raise`, their y axis grows where there is no room above them.
pub fn place(sketch: &mut Sketch, mut inset: Inset, size: PanelSize, raise: bool) {
    let (width, height) = Inset::share(size);
    let needed = height + 2.0 * AIR;
    let stripes: Vec<(f64, f64)> = (0..STRIPES).map(|i| occupied(sketch, i)).collect();
    let span = ((width + 2.0 * AIR) * STRIPES as f64).ceil() as usize;
    let windows = stripes.windows(span.min(STRIPES)).enumerate().map(|(at, stripes)| {
        let free_above = 1.0 - stripes.iter().map(|s| s.1).fold(0.0, f64::max);
        let free_below = stripes.iter().map(|s| s.0).fold(1.0, f64::min);
        (at, free_above, free_below)
    });
    // Where several places have room enough, the one nearest to the range; above the shapes before below them.
    let middle = sketch.x.place(inset.range.0).midpoint(sketch.x.place(inset.range.1)) * STRIPES as f64;
    let mut best: Option<(bool, f64, usize, f64, bool)> = None;
    for (at, above, below) in windows {
        let near = -(at as f64 + span as f64 / 2.0 - middle).abs();
        for (free, is_above) in [(above, true), (below, false)] {
            if !is_above && raise {
                continue;
            }
            let enough = free >= needed;
            let worth = if enough { near } else { free };
            if best.is_none_or(|(e, w, ..)| (enough, worth) > (e, w)) {
                best = Some((enough, worth, at, free, is_above));
            }
        }
    }
    let Some((_, _, at, free, above)) = best else { return };
    if raise && free < needed {
        lift(&mut sketch.y, (1.0 - free) / (1.0 - needed));
    }
    inset.left = at as f64 / STRIPES as f64 + AIR;
    inset.top = if above { AIR } else { 1.0 - height - AIR };
    sketch.inset = Some(inset);
}

/// The lowest and the highest place that shapes of any panel take in a stripe; stairs leave the room below them free.
fn occupied(sketch: &Sketch, stripe: usize) -> (f64, f64) {
    let (from, to) = (stripe as f64 / STRIPES as f64, (stripe + 1) as f64 / STRIPES as f64);
    let (mut low, mut high) = (1.0f64, 0.0f64);
    let mut take = |bottom: f64, top: f64| {
        low = low.min(bottom.clamp(0.0, 1.0));
        high = high.max(top.clamp(0.0, 1.0));
    };
    for shape in sketch.panels.iter().flatten() {
        match shape {
            Shape::Steps { edges, heights, .. } => {
                for (i, height) in heights.iter().enumerate().filter(|(_, h)| **h > 0.0) {
                    if sketch.x.place(edges[i + 1]) > from && sketch.x.place(edges[i]) < to {
                        take(0.0, sketch.y.place(*height));
                    }
                }
            }
            Shape::Line { points, .. } => {
                for pair in points.windows(2) {
                    if sketch.x.place(pair[1].0) >= from && sketch.x.place(pair[0].0) <= to {
                        let (a, b) = (sketch.y.place(pair[0].1), sketch.y.place(pair[1].1));
                        take(a.min(b), a.max(b));
                    }
                }
            }
            Shape::Range { points, .. } => {
                for pair in points.windows(2) {
                    if sketch.x.place(pair[1].0) >= from && sketch.x.place(pair[0].0) <= to {
                        take(sketch.y.place(pair[0].1), sketch.y.place(pair[0].2));
                    }
                }
            }
            _ => {}
        }
    }
    (low, high)
}

/// Makes an axis reach `factor` times as far above its lower end.
fn lift(axis: &mut Axis, factor: f64) {
    let title = axis.title.clone();
    let whole = axis.ticks.iter().all(|t| t.minor || t.at.fract() == 0.0);
    let named = axis.ticks.iter().filter(|t| !t.minor).count();
    *axis = if axis.log {
        Axis::log(axis.low, axis.low * (axis.high / axis.low).powf(factor), title)
    } else {
        Axis::linear(axis.low, axis.low + (axis.high - axis.low) * factor, &[], named.clamp(3, 7), title)
    };
    if whole {
        axis.ticks.retain(|t| t.minor || t.at.fract() == 0.0);
    }
}
