//! What stands in the corners of panels: an inset, and remarks.

use super::super::axis::Axis;
use super::super::canvas::{Anchor, Canvas, TextStyle};
use super::super::font::{self, Weight};
use super::super::shape::{Inset, Remark, Shape};
use super::{Page, Panel};

impl Page<'_> {
    /// A smaller panel with axes of its own.
    pub fn inset(&self, canvas: &mut Canvas, panel: Panel, inset: &Inset, facet: usize) {
        let size = self.t.tick - 1.5;
        let width = |label: &str| font::width(label, size, Weight::Regular);
        let (share_x, share_y) = Inset::share(self.size);
        let (left, top) = (panel.left + inset.left * panel.width, panel.top + inset.top * panel.height);
        let (whole_width, whole_height) = (share_x * panel.width, share_y * panel.height);
        let labels = inset.y.ticks.iter().map(|t| width(&t.label)).fold(0.0, f64::max) + 6.0;
        let overhang = inset.x.ticks.last().map_or(0.0, |t| width(&t.label) / 2.0);
        let inner = Panel {
            left: left + labels,
            top: top + size * 0.4,
            width: whole_width - labels - overhang,
            height: whole_height - size * 1.9,
        };
        canvas.backing(left, top - 2.0, whole_width + 2.0, whole_height + 2.0);
        canvas.shade(inner.left, inner.top, inner.width, inner.height);
        let clip = format!("{}-inset-{facet}", self.id());
        canvas.clipped(&clip, (inner.left, inner.top, inner.width, inner.height), |canvas| {
            self.shapes(canvas, inner, (&inset.x, &inset.y), &inset.panels[facet]);
        });
        canvas.axis(inner.left, inner.bottom(), inner.right(), inner.bottom());
        canvas.axis(inner.left, inner.top, inner.left, inner.bottom());
        for tick in &inset.y.ticks {
            let at = inner.y(&inset.y, tick.at);
            canvas.axis(inner.left - if tick.minor { 1.5 } else { 3.0 }, at, inner.left, at);
            canvas.text(inner.left - 4.5, at + size * 0.36, &tick.label, TextStyle::new(size, Anchor::End));
        }
        self.inset_ticks(canvas, inner, &inset.x, size);
    }

    fn inset_ticks(&self, canvas: &mut Canvas, inner: Panel, axis: &Axis, size: f64) {
        let mut free_from = f64::NEG_INFINITY;
        for tick in &axis.ticks {
            let at = inner.x(axis, tick.at);
            canvas.axis(at, inner.bottom(), at, inner.bottom() + if tick.minor { 1.5 } else { 3.0 });
            let half = font::width(&tick.label, size, Weight::Regular) / 2.0;
            if !tick.label.is_empty() && at - half >= free_from {
                free_from = at + half + 3.0;
                canvas.text(at, inner.bottom() + size + 3.0, &tick.label, TextStyle::new(size, Anchor::Middle));
            }
        }
    }

    /// Lines of text in the corner that has the fewest dots.
    pub fn remarks(&self, canvas: &mut Canvas, panel: Panel, shapes: &[Shape], remarks: &[Remark]) {
        let (size, air) = (self.t.note, 6.0);
        let Some(widest) = remarks.iter().map(|r| font::width(&r.text, size, Weight::Regular)).reduce(f64::max) else {
            return;
        };
        let swatches = remarks.iter().any(|r| r.color.is_some());
        let swatch = if swatches { size + 1.0 } else { 0.0 };
        let (width, line) = (widest + swatch, size * 1.35);
        let height = line * remarks.len() as f64;
        let corners = [(true, true), (false, true), (false, false), (true, false)].map(|(right, top)| {
            let x = if right { panel.right() - air - width } else { panel.left + air };
            let y = if top { panel.top + air } else { panel.bottom() - air - height };
            (x, y)
        });
        let dots =
            shapes.iter().flat_map(|s| if let Shape::Points { points, .. } = s { points.as_slice() } else { &[] });
        let places: Vec<(f64, f64)> =
            dots.map(|(x, y)| (panel.x(&self.sketch.x, *x), panel.y(&self.sketch.y, *y))).collect();
        let under = |(x, y): (f64, f64)| {
            places.iter().filter(|(a, b)| (x..x + width).contains(a) && (y..y + height).contains(b)).count()
        };
        let Some(&(x, y)) = corners.iter().min_by_key(|corner| under(**corner)) else { return };
        for (i, remark) in remarks.iter().enumerate() {
            let base = y + i as f64 * line + size;
            if let Some(color) = remark.color {
                canvas.swatch(x, base - size * 0.75, size * 0.75, color);
            }
            canvas.text(x + swatch, base, &remark.text, TextStyle::new(size, Anchor::Start).halo());
        }
    }
}
