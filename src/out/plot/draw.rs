//! Layout and drawing: a sketch in data units becomes SVG.
//!
//! From top to bottom: title, legend, panels (with shared axes, tick labels only at the outer ones), title of x, notes, caption.

use super::axis::{Axis, Tick};
use super::canvas::{Anchor, Canvas, TextStyle};
use super::data::Data;
use super::figure::{Dress, Figure, Line, Side};
use super::font::{self, Weight};
use super::mark;
use super::palette::Color;
use super::shape::{PanelSize, Ramp, Shape, Sketch};
use crate::out::error::Result;
use crate::out::frame::Frame;
use crate::out::number;

/// Pixels.
const EDGE: f64 = 16.0;
const TITLE: f64 = 16.0;
const LABEL: f64 = 12.0;
const TICK: f64 = 11.0;
const NOTE: f64 = 10.5;
const CAPTION: f64 = 12.0;
const LEADING: f64 = 1.4;
/// Room of a line above a panel: its name and how many rows it holds.
const HEADER: f64 = 15.5;
const GAP: f64 = 22.0;
/// Point clouds larger than this are merged to cells of [`SPECK`] pixels.
const MOST_DOTS: usize = 2500;
const SPECK: f64 = 1.5;
/// Entries of a legend.
const MOST_ENTRIES: usize = 24;

/// A rectangle on the page.
#[derive(Clone, Copy, Debug)]
struct Panel {
    left: f64,
    top: f64,
    width: f64,
    height: f64,
}

impl Panel {
    fn bottom(self) -> f64 {
        self.top + self.height
    }

    fn right(self) -> f64 {
        self.left + self.width
    }

    fn x(self, axis: &Axis, value: f64) -> f64 {
        self.left + axis.place(value) * self.width
    }

    fn y(self, axis: &Axis, value: f64) -> f64 {
        self.bottom() - axis.place(value) * self.height
    }
}

pub fn draw(figure: &Figure, frame: &Frame, dress: Dress) -> Result<String> {
    let data = Data::read(figure, frame)?;
    let columns = columns(data.facets.len());
    let size = panel_size(columns);
    let sketch = mark::sketch(figure, &data, size)?;
    let page = Page { figure, data: &data, sketch: &sketch, dress, columns, size };
    Ok(page.draw())
}

/// Panels side by side.
fn columns(panels: usize) -> usize {
    match panels {
        0..=3 => panels.max(1),
        4 => 2,
        5 | 6 | 9 => 3,
        _ => 4,
    }
}

fn panel_size(columns: usize) -> PanelSize {
    match columns {
        1 => PanelSize { width: 580.0, height: 320.0 },
        2 => PanelSize { width: 340.0, height: 260.0 },
        3 => PanelSize { width: 236.0, height: 200.0 },
        _ => PanelSize { width: 184.0, height: 150.0 },
    }
}

struct Page<'a> {
    figure: &'a Figure,
    data: &'a Data,
    sketch: &'a Sketch,
    dress: Dress,
    columns: usize,
    size: PanelSize,
}

/// What a panel shows because of where it stands.
#[derive(Clone, Copy)]
struct Place<'a> {
    leftmost: bool,
    rightmost: bool,
    /// Of the lowest panels.
    labels: Option<&'a CategoryLabels>,
}

/// Tick labels under a categorical axis.
struct CategoryLabels {
    lines: Vec<Vec<String>>,
    turned: bool,
    room: f64,
}

impl Page<'_> {
    fn draw(&self) -> String {
        let left = self.edge() + self.y_title_room() + self.y_tick_room();
        let header_lines = self.header_lines();
        let rows = self.data.facets.len().div_ceil(self.columns);
        let panels_width = self.columns as f64 * self.size.width + (self.columns - 1) as f64 * GAP;
        let ramp_room = self.sketch.ramp.as_ref().map_or(0.0, ramp_room);
        let x_labels = self.category_labels();
        let line_names = self.y_line_room();
        let overhang = self.right_overhang().max(line_names);
        let width = (left + panels_width + ramp_room + self.edge() + overhang).ceil();
        let text_room = width - 2.0 * self.edge();

        let mut canvas = Canvas::default();
        let mut body = Canvas::default();
        let mut y = self.edge();
        if self.dress == Dress::Alone && !self.figure.title.is_empty() {
            for line in font::wrap(&self.figure.title, TITLE, Weight::SemiBold, text_room) {
                body.text(self.edge(), y + TITLE * 0.85, &line, TextStyle::new(TITLE, Anchor::Start).bold());
                y += TITLE * LEADING;
            }
            y += 6.0;
        }
        y = self.legend(&mut body, y, width - self.edge() - ramp_room);
        let line_labels = self.line_label_room();
        let header = if header_lines == 0 { 6.0 } else { 5.0 + header_lines as f64 * HEADER };
        let row_height = self.size.height + header + line_labels;
        let row_gap = 16.0;
        let first_top = y + row_height - self.size.height;
        let mut bottom = first_top;
        for facet in 0..self.data.facets.len() {
            let (row, column) = (facet / self.columns, facet % self.columns);
            let panel = Panel {
                left: left + column as f64 * (self.size.width + GAP),
                top: first_top + row as f64 * (row_height + row_gap),
                width: self.size.width,
                height: self.size.height,
            };
            let lowest = facet + self.columns >= self.data.facets.len();
            let place = Place {
                leftmost: column == 0,
                rightmost: column + 1 == self.columns || facet + 1 == self.data.facets.len(),
                labels: lowest.then_some(&x_labels),
            };
            self.panel(&mut body, panel, facet, place, line_labels);
            bottom = bottom.max(panel.bottom());
        }
        let panels_height = first_top + (rows - 1) as f64 * (row_height + row_gap) + self.size.height - first_top;
        y = bottom + x_labels.room + 5.0;
        if !self.sketch.x.title.is_empty() {
            let middle = left + panels_width / 2.0;
            for line in font::wrap(&self.sketch.x.title, LABEL, Weight::Regular, panels_width.max(200.0)) {
                body.text(middle, y + LABEL * 0.85, &line, TextStyle::new(LABEL, Anchor::Middle));
                y += LABEL * LEADING;
            }
        }
        self.y_title(&mut body, first_top + panels_height / 2.0, panels_height);
        if let Some(ramp) = &self.sketch.ramp {
            let height = panels_height.min(240.0);
            draw_ramp(&mut body, ramp, left + panels_width + line_names + 22.0, first_top, height);
        }
        y = self.notes(&mut body, y, text_room);
        let height = (y + self.edge() * 0.75).ceil();
        canvas.paper(width, height);
        let mut whole = canvas;
        whole.append(body);
        let description = self.description();
        let title = if self.figure.title.is_empty() { &self.figure.name } else { &self.figure.title };
        whole.finish((width, height), &self.id(), title, &description, self.dress == Dress::Alone)
    }

    /// Room around everything; a page brings its own.
    fn edge(&self) -> f64 {
        if self.dress == Dress::Alone { EDGE } else { 2.0 }
    }

    fn id(&self) -> String {
        let safe = |c: char| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '-' };
        format!("xd-{}", self.figure.name.chars().map(safe).collect::<String>())
    }

    /// What a reader who cannot see the figure is told.
    fn description(&self) -> String {
        let figure = self.figure;
        let mut text = format!("{} of {}", figure.mark.noun(), self.sketch.x.title);
        if !self.sketch.y.title.is_empty() {
            text += &format!(" and {}", self.sketch.y.title);
        }
        if let Some(color) = &figure.color {
            text += &format!(", coloured by {}", figure.labels.column(color).label);
        }
        if let Some(facet) = &figure.facet {
            text += &format!(", one panel for each {}", figure.labels.column(facet).label);
        }
        text += &format!("; {} {}.", number::grouped(self.data.points.len() as i64), figure.labels.rows);
        if !figure.caption.is_empty() {
            text += &format!(" {}", figure.caption);
        }
        text
    }

    /// Panels of several have a name above them, in up to two lines.
    fn header_lines(&self) -> usize {
        if self.figure.facet.is_none() {
            return 0;
        }
        self.data.facets.iter().map(|name| self.header(name).len()).max().unwrap_or(0)
    }

    fn header(&self, name: &str) -> Vec<String> {
        let room = self.size.width - if self.sketch.counts { 70.0 } else { 0.0 };
        let lines = font::wrap(name, LABEL, Weight::SemiBold, room);
        match lines.len() {
            0..=2 => lines.iter().map(|l| cut(l, LABEL, room)).collect(),
            _ => vec![lines[0].clone(), cut(&lines[1..].join(" "), LABEL, room)],
        }
    }

    /// `n = 1,234` of a panel.
    fn count(&self, facet: usize) -> String {
        let count = self.data.points.iter().filter(|p| p.facet == facet).count();
        format!("n = {}", number::grouped(count as i64))
    }

    fn y_title_room(&self) -> f64 {
        if self.sketch.y.title.is_empty() { 0.0 } else { LABEL * LEADING + 4.0 }
    }

    fn y_tick_room(&self) -> f64 {
        let widths = self.y_tick_labels().into_iter().map(|l| font::width(&l, TICK, Weight::Regular));
        widths.fold(0.0, f64::max) + 10.0
    }

    /// Names of categories on y are cut where they would take the page.
    fn y_tick_labels(&self) -> Vec<String> {
        self.sketch.y.ticks.iter().map(|t| cut(&t.label, TICK, 170.0)).collect()
    }

    /// Half of the last tick's label may stand out to the right.
    fn right_overhang(&self) -> f64 {
        let axis = &self.sketch.x;
        if axis.categories || self.sketch.ramp.is_some() {
            return 0.0;
        }
        let out = |t: &Tick| {
            let end = axis.place(t.at) * self.size.width + font::width(&t.label, TICK, Weight::Regular) / 2.0;
            (end - self.size.width).max(0.0)
        };
        axis.ticks.iter().map(out).fold(0.0, f64::max)
    }

    fn category_labels(&self) -> CategoryLabels {
        let axis = &self.sketch.x;
        if !axis.categories {
            return CategoryLabels { lines: Vec::new(), turned: false, room: TICK + 9.0 };
        }
        let slot = self.size.width / axis.ticks.len().max(1) as f64 - 6.0;
        let lines: Vec<Vec<String>> =
            axis.ticks.iter().map(|t| font::wrap(&t.label, TICK, Weight::Regular, slot)).collect();
        let fits = lines.iter().flatten().all(|l| font::width(l, TICK, Weight::Regular) <= slot + 1.0);
        let most = lines.iter().map(Vec::len).max().unwrap_or(1);
        if fits && most <= 3 {
            return CategoryLabels { lines, turned: false, room: 5.0 + most as f64 * TICK * 1.25 };
        }
        let lines: Vec<Vec<String>> = axis.ticks.iter().map(|t| vec![cut(&t.label, TICK, 150.0)]).collect();
        let longest = lines.iter().flatten().map(|l| font::width(l, TICK, Weight::Regular)).fold(0.0, f64::max);
        CategoryLabels { lines, turned: true, room: 14.0 + longest * 35f64.to_radians().sin() + 4.0 }
    }

    /// Entries in rows above the panels, and how many rows a single panel holds; the lower end of both.
    fn legend(&self, canvas: &mut Canvas, top: f64, mut right: f64) -> f64 {
        let column = self.legend_column();
        let counted = self.sketch.counts && self.figure.facet.is_none();
        if column.is_none() && !counted {
            return top;
        }
        let (left, mut x, mut y) = (self.edge(), self.edge(), top + 4.0);
        if counted {
            let count = self.count(0);
            canvas.text(right, y + LABEL * 0.8, &count, TextStyle::new(NOTE, Anchor::End).muted());
            right -= font::width(&count, NOTE, Weight::Regular) + 16.0;
        }
        if let Some(column) = column {
            let title = self.figure.labels.column(column).label;
            canvas.text(x, y + LABEL * 0.8, &title, TextStyle::new(LABEL, Anchor::Start).muted());
            x += font::width(&title, LABEL, Weight::Regular) + 12.0;
            for group in self.data.groups.iter().take(MOST_ENTRIES) {
                let label = cut(&group.label, LABEL, right - left - 20.0);
                let room = font::width(&label, LABEL, Weight::Regular) + 17.0;
                if x + room > right && x > left {
                    x = left;
                    y += LABEL * 1.6;
                }
                canvas.swatch(x, y, 11.0, group.color);
                canvas.text(x + 16.0, y + LABEL * 0.8, &label, TextStyle::new(LABEL, Anchor::Start));
                x += room + 16.0;
            }
            if self.data.groups.len() > MOST_ENTRIES {
                let more = format!("and {} more", self.data.groups.len() - MOST_ENTRIES);
                canvas.text(x, y + LABEL * 0.8, &more, TextStyle::new(LABEL, Anchor::Start).muted());
            }
        }
        y + LABEL * 1.6 + if column.is_some() { 4.0 } else { -4.0 }
    }

    /// The column that colours stand for, unless panels or categories name it already.
    fn legend_column(&self) -> Option<&str> {
        let color = self.figure.color.as_deref()?;
        let named_elsewhere =
            self.figure.facet.as_deref() == Some(color) || (self.figure.x == color && self.sketch.x.categories);
        let has_groups = self.data.amount.is_none() && self.data.groups.iter().any(|g| !g.label.is_empty());
        (has_groups && !named_elsewhere).then_some(color)
    }

    fn panel(&self, canvas: &mut Canvas, panel: Panel, facet: usize, place: Place<'_>, line_labels: f64) {
        let (x, y) = (&self.sketch.x, &self.sketch.y);
        let shapes = &self.sketch.panels[facet];
        if self.figure.facet.is_some() {
            let base = panel.top - line_labels - 7.0;
            if self.sketch.counts {
                canvas.text(panel.right(), base, &self.count(facet), TextStyle::new(NOTE, Anchor::End).muted());
            }
            let lines = self.header(&self.data.facets[facet]);
            for (i, line) in lines.iter().enumerate() {
                let y = base - (lines.len() - 1 - i) as f64 * HEADER;
                canvas.text(panel.left, y, line, TextStyle::new(LABEL, Anchor::Start).bold());
            }
        }
        if self.sketch.grid {
            for tick in x.ticks.iter().filter(|t| !t.minor && !x.categories) {
                let at = panel.x(x, tick.at);
                canvas.grid(at, panel.top, at, panel.bottom());
            }
            for tick in y.ticks.iter().filter(|t| !t.minor && !y.categories) {
                let at = panel.y(y, tick.at);
                canvas.grid(panel.left, at, panel.right(), at);
            }
        }
        if shapes.is_empty() {
            let middle = (panel.left + panel.width / 2.0, panel.top + panel.height / 2.0);
            let text = format!("no {}", self.figure.labels.rows);
            canvas.text(middle.0, middle.1, &text, TextStyle::new(LABEL + 1.0, Anchor::Middle).muted());
        }
        let clip = format!("{}-panel-{facet}", self.id());
        canvas.clipped(&clip, (panel.left, panel.top, panel.width, panel.height), |canvas| {
            self.shapes(canvas, panel, shapes);
        });
        self.edge_pointers(canvas, panel, shapes);
        self.whiskers(canvas, panel, shapes);
        self.bar_labels(canvas, panel, shapes);
        self.reference_lines(canvas, panel, line_labels, place.rightmost);
        canvas.axis(panel.left, panel.bottom(), panel.right(), panel.bottom());
        canvas.axis(panel.left, panel.top, panel.left, panel.bottom());
        self.y_ticks(canvas, panel, place.leftmost);
        self.x_ticks(canvas, panel, place.labels);
    }

    fn y_ticks(&self, canvas: &mut Canvas, panel: Panel, leftmost: bool) {
        let y = &self.sketch.y;
        for (tick, label) in y.ticks.iter().zip(self.y_tick_labels()) {
            let at = panel.y(y, tick.at);
            let length = if tick.minor { 2.5 } else { 4.0 };
            if !y.categories {
                canvas.axis(panel.left - length, at, panel.left, at);
            }
            if leftmost && !label.is_empty() {
                canvas.text(panel.left - 7.0, at + TICK * 0.36, &label, TextStyle::new(TICK, Anchor::End));
            }
        }
    }

    fn x_ticks(&self, canvas: &mut Canvas, panel: Panel, labels: Option<&CategoryLabels>) {
        let x = &self.sketch.x;
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
            let half = font::width(&tick.label, TICK, Weight::Regular) / 2.0;
            if tick.label.is_empty() || at - half < free_from {
                continue;
            }
            free_from = at + half + 4.0;
            canvas.text(at, panel.bottom() + TICK + 6.0, &tick.label, TextStyle::new(TICK, Anchor::Middle));
        }
    }

    fn category_label(&self, canvas: &mut Canvas, x: f64, bottom: f64, lines: &[String], turned: bool) {
        if turned {
            let style = TextStyle::new(TICK, Anchor::End).turned(-35.0);
            canvas.text(x + 4.0, bottom + 13.0, &lines.concat(), style);
            return;
        }
        for (i, line) in lines.iter().enumerate() {
            let y = bottom + TICK + 5.0 + i as f64 * TICK * 1.25;
            canvas.text(x, y, line, TextStyle::new(TICK, Anchor::Middle));
        }
    }

    fn y_title(&self, canvas: &mut Canvas, middle: f64, height: f64) {
        let title = cut(&self.sketch.y.title, LABEL, height.max(200.0));
        if !title.is_empty() {
            let x = self.edge() + LABEL * 0.85;
            canvas.text(x, middle, &title, TextStyle::new(LABEL, Anchor::Middle).turned(-90.0));
        }
    }

    /// Notes and, in a file of its own, the caption.
    fn notes(&self, canvas: &mut Canvas, mut y: f64, room: f64) -> f64 {
        let mut notes = self.data.notes.clone();
        notes.extend(self.sketch.notes.iter().cloned());
        if self.merges_points() {
            notes.push(format!("points closer than {SPECK} pixels are drawn as one, darker where there are more"));
        }
        if !notes.is_empty() {
            y += 4.0;
            let text = notes.join("; ");
            for line in font::wrap(&text, NOTE, Weight::Regular, room) {
                canvas.text(self.edge(), y + NOTE, &line, TextStyle::new(NOTE, Anchor::Start).muted());
                y += NOTE * LEADING;
            }
        }
        if self.dress == Dress::Alone && !self.figure.caption.is_empty() {
            y += 8.0;
            for line in font::wrap(&self.figure.caption, CAPTION, Weight::Regular, room) {
                canvas.text(self.edge(), y + CAPTION, &line, TextStyle::new(CAPTION, Anchor::Start));
                y += CAPTION * LEADING;
            }
        }
        y
    }

    fn merges_points(&self) -> bool {
        let all = self.sketch.panels.iter().flatten();
        let count: usize = all.map(|s| if let Shape::Points { points, .. } = s { points.len() } else { 0 }).sum();
        count > MOST_DOTS
    }

    fn shapes(&self, canvas: &mut Canvas, panel: Panel, shapes: &[Shape]) {
        let (ax, ay) = (&self.sketch.x, &self.sketch.y);
        let at = |(x, y): &(f64, f64)| (panel.x(ax, *x), panel.y(ay, *y));
        let count: usize =
            shapes.iter().map(|s| if let Shape::Points { points, .. } = s { points.len() } else { 0 }).sum();
        for shape in shapes {
            match shape {
                Shape::Bar { left, right, bottom, top, color, .. } => {
                    let (a, b) = (at(&(*left, *bottom)), at(&(*right, *top)));
                    canvas.rectangle(a.0, a.1.min(b.1), b.0 - a.0, (a.1 - b.1).abs(), *color, 0.88);
                }
                Shape::Cell { left, right, bottom, top, color, label } => {
                    let (a, b) = (at(&(*left, *bottom)), at(&(*right, *top)));
                    // A hair of overlap hides the seams between neighbours; cells with numbers stand apart.
                    let seam = if label.is_empty() { 0.3 } else { -1.0 };
                    canvas.rectangle(a.0, b.1, b.0 - a.0 + seam, a.1 - b.1 + seam, *color, 1.0);
                    if !label.is_empty() && font::width(label, TICK, Weight::Regular) < b.0 - a.0 - 2.0 {
                        canvas.text_on(a.0.midpoint(b.0), a.1.midpoint(b.1) + TICK * 0.36, label, TICK, *color);
                    }
                }
                Shape::Range { points, color } => {
                    let upper = points.iter().map(|p| at(&(p.0, p.2)));
                    let lower = points.iter().rev().map(|p| at(&(p.0, p.1)));
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
                    canvas.line(&points, *color, 1.8, dash);
                    if *dots {
                        canvas.dots(&points, 3.0, *color, 1.0);
                    }
                }
                Shape::Points { points, color } => {
                    let places: Vec<(f64, f64)> = points.iter().map(at).collect();
                    self.points(canvas, &places, *color, count);
                }
                Shape::Whisker { .. } => {}
            }
        }
        let steps = shapes.iter().filter(|s| matches!(s, Shape::Steps { .. })).count();
        for shape in shapes {
            let Shape::Steps { edges, heights, color, .. } = shape else { continue };
            for outline in outlines(edges, heights, ay.low.max(0.0)) {
                let outline: Vec<(f64, f64)> = outline.iter().map(at).collect();
                canvas.line(&outline, *color, if steps > 1 { 1.5 } else { 1.0 }, "");
            }
        }
    }

    /// Few points are circles that add up; a cloud is merged to cells, in four strengths by how many points a cell holds.
    fn points(&self, canvas: &mut Canvas, places: &[(f64, f64)], color: Color, in_panel: usize) {
        if !self.merges_points() {
            let (radius, opacity) = match in_panel {
                0..=150 => (3.6, 0.75),
                151..=800 => (2.6, 0.6),
                _ => (2.0, 0.45),
            };
            canvas.dots(places, radius, color, opacity);
            return;
        }
        let mut cells: std::collections::BTreeMap<(i64, i64), u32> = std::collections::BTreeMap::new();
        for (x, y) in places {
            *cells.entry(((x / SPECK).round() as i64, (y / SPECK).round() as i64)).or_default() += 1;
        }
        let strengths = [(1, 0.4), (2, 0.6), (4, 0.8), (8, 1.0)];
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
    fn edge_pointers(&self, canvas: &mut Canvas, panel: Panel, shapes: &[Shape]) {
        let (ax, ay) = (&self.sketch.x, &self.sketch.y);
        let mut drawn = std::collections::BTreeSet::new();
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

    /// Ranges and rows on bars; dots at the very end of an axis are not cut.
    fn whiskers(&self, canvas: &mut Canvas, panel: Panel, shapes: &[Shape]) {
        for shape in shapes {
            let Shape::Whisker { x, low, high, dots } = shape else { continue };
            let x = panel.x(&self.sketch.x, *x);
            let y = |value: f64| panel.y(&self.sketch.y, value).clamp(panel.top, panel.bottom());
            let values: Vec<f64> = dots.iter().map(|value| y(*value)).collect();
            canvas.whisker(x, y(*low), y(*high), &values);
        }
    }

    fn bar_labels(&self, canvas: &mut Canvas, panel: Panel, shapes: &[Shape]) {
        for shape in shapes {
            let Shape::Bar { left, right, top, label, .. } = shape else { continue };
            let (a, b) = (panel.x(&self.sketch.x, *left), panel.x(&self.sketch.x, *right));
            if label.is_empty() || font::width(label, NOTE, Weight::Regular) > (b - a) * 1.3 {
                continue;
            }
            let end = panel.y(&self.sketch.y, *top).clamp(panel.top, panel.bottom());
            let y = if *top < 0.0 { end + NOTE + 2.0 } else { end - 4.0 };
            canvas.text(a.midpoint(b), y, label, TextStyle::new(NOTE, Anchor::Middle).halo());
        }
    }

    /// The label of a line: its own, or its number where no tick says it.
    fn line_label(&self, line: &Line) -> Option<String> {
        let axis = if line.side == Side::X { &self.sketch.x } else { &self.sketch.y };
        let on_a_tick = axis.ticks.iter().any(|t| !t.minor && (t.at - line.value).abs() <= line.value.abs() * 1e-9);
        let number = || (!on_a_tick).then(|| number::short(line.value).replace('-', "−"));
        line.label.clone().or_else(number)
    }

    fn shown_lines(&self, side: Side) -> Vec<&Line> {
        let axis = if side == Side::X { &self.sketch.x } else { &self.sketch.y };
        self.figure.lines.iter().filter(|l| l.side == side && axis.contains(l.value)).collect()
    }

    /// Labels of vertical lines stand above the panel, in as many rows as keep them apart.
    fn line_label_rows(&self) -> Vec<(f64, String, usize)> {
        let mut lines = self.shown_lines(Side::X);
        lines.sort_by(|a, b| a.value.total_cmp(&b.value));
        let mut placed: Vec<(f64, String, usize)> = Vec::new();
        let mut row_ends: Vec<f64> = Vec::new();
        for line in lines {
            let Some(label) = self.line_label(line) else { continue };
            let at = self.sketch.x.place(line.value) * self.size.width;
            let half = font::width(&label, NOTE, Weight::Regular) / 2.0;
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

    fn line_label_room(&self) -> f64 {
        let rows = self.line_label_rows().iter().map(|l| l.2 + 1).max().unwrap_or(0);
        if rows == 0 { 0.0 } else { rows as f64 * NOTE * 1.3 + 2.0 }
    }

    fn reference_lines(&self, canvas: &mut Canvas, panel: Panel, room: f64, rightmost: bool) {
        let rows = self.line_label_rows();
        for line in self.shown_lines(Side::X) {
            let at = panel.x(&self.sketch.x, line.value);
            canvas.reference(at, panel.top, at, panel.bottom());
        }
        let last = rows.iter().map(|l| l.2).max().unwrap_or(0);
        for (at, label, row) in rows {
            let y = panel.top - room + (last - row) as f64 * NOTE * 1.3 + NOTE;
            let half = font::width(&label, NOTE, Weight::Regular) / 2.0;
            let x = (panel.left + at).min(panel.right() - half).max(panel.left + half);
            canvas.text(x, y, &label, TextStyle::new(NOTE, Anchor::Middle).muted());
        }
        for line in self.shown_lines(Side::Y) {
            let at = panel.y(&self.sketch.y, line.value);
            canvas.reference(panel.left, at, panel.right(), at);
            if let Some(label) = self.line_label(line).filter(|_| rightmost) {
                canvas.text(panel.right() + 5.0, at + NOTE * 0.36, &label, TextStyle::new(NOTE, Anchor::Start).muted());
            }
        }
    }

    /// Names of horizontal lines stand to the right of the last panel.
    fn y_line_room(&self) -> f64 {
        let lines = self.shown_lines(Side::Y);
        let labels = lines.iter().filter_map(|l| self.line_label(l));
        labels.map(|l| font::width(&l, NOTE, Weight::Regular) + 6.0).fold(0.0, f64::max)
    }
}

/// Closed outlines of the runs of bins that are not empty, standing on `floor`.
fn outlines(edges: &[f64], heights: &[f64], floor: f64) -> Vec<Vec<(f64, f64)>> {
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

fn ramp_room(ramp: &Ramp) -> f64 {
    let labels = ramp.axis.ticks.iter().map(|t| font::width(&t.label, TICK, Weight::Regular));
    22.0 + 12.0 + 8.0 + labels.fold(0.0, f64::max) + LABEL * LEADING + 4.0
}

/// A bar of colours with ticks and its title along the right.
fn draw_ramp(canvas: &mut Canvas, ramp: &Ramp, left: f64, top: f64, height: f64) {
    const STEPS: usize = 48;
    let step = height / STEPS as f64;
    for i in 0..STEPS {
        let color = (ramp.color)((i as f64 + 0.5) / STEPS as f64);
        let y = top + height - (i + 1) as f64 * step;
        canvas.rectangle(left, y, 12.0, step + 0.3, color, 1.0);
    }
    let mut widest: f64 = 0.0;
    for tick in ramp.axis.ticks.iter().filter(|t| !t.minor) {
        let y = top + height - ramp.axis.place(tick.at) * height;
        canvas.axis(left + 12.0, y, left + 15.0, y);
        canvas.text(left + 18.0, y + TICK * 0.36, &tick.label, TextStyle::new(TICK, Anchor::Start));
        widest = widest.max(font::width(&tick.label, TICK, Weight::Regular));
    }
    let x = left + 18.0 + widest + 8.0;
    let title = cut(&ramp.axis.title, LABEL, height.max(150.0));
    canvas.text(x, top + height / 2.0, &title, TextStyle::new(LABEL, Anchor::Middle).turned(90.0));
}

/// Text that fits, with `…` where it was cut.
fn cut(text: &str, size: f64, room: f64) -> String {
    if font::width(text, size, Weight::SemiBold) <= room {
        return text.to_owned();
    }
    let mut kept = text.to_owned();
    while kept.pop().is_some() {
        let shown = format!("{}…", kept.trim_end());
        if font::width(&shown, size, Weight::SemiBold) <= room {
            return shown;
        }
    }
    String::new()
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

    #[test]
    fn cut_text_fits() {
        let text = "batch_topk(k = 100, aux = 0.03125)";
        assert!(font::width(&cut(text, 12.0, 80.0), 12.0, Weight::SemiBold) <= 80.0);
        assert_eq!(cut("L1", 12.0, 80.0), "L1");
    }
}
