use super::super::canvas::{Anchor, Canvas, TextStyle};
use super::super::figure::Mark;
use super::super::font::{self, Weight};
use super::super::shape::Shape;
use super::{CategoryLabels, Page, Panel};

/// What a panel shows because of where it stands.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    pub leftmost: bool,
    pub rightmost: bool,
    /// Of the lowest panels.
    pub labels: Option<&'a CategoryLabels>,
}

impl Page<'_> {
    pub fn panel(&self, canvas: &mut Canvas, panel: Panel, facet: usize, place: Place<'_>, line_labels: f64) {
        let shapes = &self.sketch.panels[facet];
        if self.figure.facet.is_some() {
            self.name(canvas, panel, facet, panel.top - self.margin() - line_labels - 7.0);
        }
        if self.sketch.grid {
            self.grid(canvas, panel);
        }
        if shapes.is_empty() {
            let middle = (panel.left + panel.width / 2.0, panel.top + panel.height / 2.0);
            let text = format!("no {}", self.figure.labels.rows);
            canvas.text(middle.0, middle.1, &text, TextStyle::new(self.t.label + 1.0, Anchor::Middle).muted());
        }
        if let Some(inset) = self.sketch.inset.as_ref().filter(|_| !shapes.is_empty()) {
            let (from, to) = (panel.x(&self.sketch.x, inset.range.0), panel.x(&self.sketch.x, inset.range.1));
            let (from, to) = (from.clamp(panel.left, panel.right()), to.clamp(panel.left, panel.right()));
            canvas.shade(from, panel.top, to - from, panel.height);
        }
        let clip = format!("{}-panel-{facet}", self.id());
        canvas.clipped(&clip, (panel.left, panel.top, panel.width, panel.height), |canvas| {
            self.shapes(canvas, panel, (&self.sketch.x, &self.sketch.y), shapes);
        });
        self.edge_pointers(canvas, panel, shapes);
        self.whiskers(canvas, panel, shapes);
        self.bar_labels(canvas, panel, shapes);
        self.reference_lines(canvas, panel, facet, place.rightmost);
        if let Some(margin) = self.sketch.margins.get(facet) {
            self.margins(canvas, panel, margin, facet);
        }
        canvas.axis(panel.left, panel.bottom(), panel.right(), panel.bottom());
        canvas.axis(panel.left, panel.top, panel.left, panel.bottom());
        self.y_ticks(canvas, panel, place.leftmost);
        self.x_ticks(canvas, panel, place.labels);
        if let Some(inset) = self.sketch.inset.as_ref().filter(|_| !shapes.is_empty()) {
            self.inset(canvas, panel, inset, facet);
        }
        if let Some(remarks) = self.sketch.remarks.get(facet) {
            self.remarks(canvas, panel, shapes, remarks);
        }
    }

    /// The name of a panel and how many rows it holds, on this base line.
    fn name(&self, canvas: &mut Canvas, panel: Panel, facet: usize, base: f64) {
        if self.sketch.counts {
            let right = panel.right() + self.margin();
            canvas.text(right, base, &self.count(facet), TextStyle::new(self.t.note, Anchor::End).muted());
        }
        let lines = self.header(&self.data.facets[facet]);
        for (i, line) in lines.iter().enumerate() {
            let y = base - (lines.len() - 1 - i) as f64 * self.t.header;
            canvas.text(panel.left, y, line, TextStyle::new(self.t.label, Anchor::Start).bold());
        }
    }

    fn grid(&self, canvas: &mut Canvas, panel: Panel) {
        let (x, y) = (&self.sketch.x, &self.sketch.y);
        for tick in x.ticks.iter().filter(|t| !t.minor && !x.categories) {
            let at = panel.x(x, tick.at);
            canvas.grid(at, panel.top, at, panel.bottom());
        }
        for tick in y.ticks.iter().filter(|t| !t.minor && !y.categories) {
            let at = panel.y(y, tick.at);
            canvas.grid(panel.left, at, panel.right(), at);
        }
    }

    fn y_ticks(&self, canvas: &mut Canvas, panel: Panel, leftmost: bool) {
        let (y, size) = (&self.sketch.y, self.t.tick);
        for (tick, label) in y.ticks.iter().zip(self.y_tick_labels()) {
            let at = panel.y(y, tick.at);
            let length = if tick.minor { 2.5 } else { 4.0 };
            if !y.categories {
                canvas.axis(panel.left - length, at, panel.left, at);
            }
            if leftmost && !label.is_empty() {
                canvas.text(panel.left - 7.0, at + size * 0.36, &label, TextStyle::new(size, Anchor::End));
            }
        }
    }

    fn x_ticks(&self, canvas: &mut Canvas, panel: Panel, labels: Option<&CategoryLabels>) {
        let (x, size) = (&self.sketch.x, self.t.tick);
        let every = if x.log { self.every_tick() } else { 1 };
        let mut named = 0usize;
        let mut free_from = f64::NEG_INFINITY;
        for (i, tick) in x.ticks.iter().enumerate() {
            let at = panel.x(x, tick.at);
            let length = if tick.minor { 2.5 } else { 4.0 };
            if !x.categories {
                canvas.axis(at, panel.bottom(), at, panel.bottom() + length);
            }
            let Some(labels) = labels else { continue };
            if let Some(lines) = labels.lines.get(i) {
                self.category_label(canvas, at, panel.bottom(), lines, labels.turned);
                continue;
            }
            let half = font::width(&tick.label, size, Weight::Regular) / 2.0;
            if tick.label.is_empty() {
                continue;
            }
            named += 1;
            if at - half < free_from || !(named - 1).is_multiple_of(every) {
                continue;
            }
            free_from = at + half + 4.0;
            canvas.text(at, panel.bottom() + size + 6.0, &tick.label, TextStyle::new(size, Anchor::Middle));
        }
    }

    /// Of the labels of a log axis every so many fit, evenly.
    fn every_tick(&self) -> usize {
        let x = &self.sketch.x;
        let width = |label: &str| font::width(label, self.t.tick, Weight::Regular);
        let named: Vec<(f64, f64)> = x
            .ticks
            .iter()
            .filter(|t| !t.label.is_empty())
            .map(|t| (x.place(t.at) * self.size.width, width(&t.label) / 2.0))
            .collect();
        let fits = |every: &usize| {
            let kept: Vec<_> = named.iter().step_by(*every).collect();
            kept.windows(2).all(|w| w[0].0 + w[0].1 + 4.0 <= w[1].0 - w[1].1)
        };
        (1..named.len()).find(fits).unwrap_or(named.len().max(1))
    }

    fn category_label(&self, canvas: &mut Canvas, x: f64, bottom: f64, lines: &[String], turned: bool) {
        let size = self.t.tick;
        if turned {
            let style = TextStyle::new(size, Anchor::End).turned(-35.0);
            canvas.text(x + 4.0, bottom + 13.0, &lines.concat(), style);
            return;
        }
        for (i, line) in lines.iter().enumerate() {
            let y = bottom + size + 5.0 + i as f64 * size * 1.25;
            canvas.text(x, y, line, TextStyle::new(size, Anchor::Middle));
        }
    }

    fn bar_labels(&self, canvas: &mut Canvas, panel: Panel, shapes: &[Shape]) {
        let note = self.t.note;
        for shape in shapes {
            let Shape::Bar { left, right, top, label, .. } = shape else { continue };
            let (a, b) = (panel.x(&self.sketch.x, *left), panel.x(&self.sketch.x, *right));
            if label.is_empty() || font::width(label, note, Weight::Regular) > (b - a) * 1.3 {
                continue;
            }
            let end = panel.y(&self.sketch.y, *top).clamp(panel.top, panel.bottom());
            let y = if *top < 0.0 { end + note + 2.0 } else { end - 4.0 };
            canvas.text(a.midpoint(b), y, label, TextStyle::new(note, Anchor::Middle).halo());
        }
    }

    /// Whether dots outside of the axes are shown at their edges: not where the figure itself chose the range, nor in a field.
    pub fn points_beyond(&self) -> bool {
        self.figure.range_x.is_none() && self.figure.range_y.is_none() && self.figure.mark != Mark::Gradient
    }
}
