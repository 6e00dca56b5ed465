//! Layout and drawing: a sketch in data units becomes SVG.
//!
//! From top to bottom: title, legend, panels (with shared axes, tick labels only at the outer ones), title of x, notes, caption.

mod corner;
mod legend;
mod lines;
mod margin;
mod notes;
mod panel;
mod ramp;
mod shapes;
mod type_size;

use super::axis::{Axis, Tick};
use super::canvas::{Anchor, Canvas, TextStyle};
use super::data::Data;
use super::figure::{Dress, Figure, Mark, Width};
use super::font::{self, Weight};
use super::mark;
use super::shape::{PanelSize, Sketch};
use crate::out::error::Result;
use crate::out::frame::Frame;
use crate::out::number;
use lines::Reference;
use panel::Place;
use type_size::{LEADING, TypeSize};

/// 85 mm in pixels of 1/96 inch.
const COLUMN: f64 = 321.0;

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
    let named;
    let (figure, data) = if figure.mark == Mark::Gradient {
        // Its panels are the two penalties.
        named = Figure { facet: Some("penalty".to_owned()), ..figure.clone() };
        (&named, mark::gradient::data())
    } else {
        (figure, Data::read(figure, frame)?)
    };
    let columns = columns(data.facets.len(), figure.width);
    let mut size = panel_size(columns, data.facets.len(), figure.width);
    let mut sketch = mark::sketch(figure, &data, size)?;
    if figure.width == Width::Column {
        // Tick labels are known now: the panels take what is left of the column.
        let over = Page::new(figure, &data, &sketch, dress, columns, size).width() - COLUMN;
        size.width = (size.width - over / columns as f64).max(60.0);
        sketch = mark::sketch(figure, &data, size)?;
    }
    Ok(Page::new(figure, &data, &sketch, dress, columns, size).draw())
}

/// Panels side by side.
fn columns(panels: usize, width: Width) -> usize {
    match (width, panels) {
        (Width::Page, 0..=3) => panels.max(1),
        (Width::Page, 4) => 2,
        (Width::Page, 5 | 6 | 9) => 3,
        (Width::Page, _) => 4,
        (Width::Column, 0..=2) => 1,
        (Width::Column, _) => 2,
    }
}

fn panel_size(columns: usize, panels: usize, width: Width) -> PanelSize {
    let (width, height, narrow) = match (width, columns) {
        (Width::Page, 1) => (580.0, 320.0, false),
        (Width::Page, 2) => (340.0, 260.0, false),
        (Width::Page, 3) => (236.0, 200.0, false),
        (Width::Page, _) => (184.0, 150.0, false),
        (Width::Column, 1) if panels < 2 => (260.0, 180.0, true),
        (Width::Column, 1) => (260.0, 140.0, true),
        (Width::Column, _) => (120.0, 105.0, true),
    };
    PanelSize { width, height, narrow }
}

struct Page<'a> {
    figure: &'a Figure,
    data: &'a Data,
    sketch: &'a Sketch,
    dress: Dress,
    columns: usize,
    size: PanelSize,
    t: TypeSize,
    /// One list a panel.
    lines: Vec<Vec<Reference>>,
}

/// Tick labels under a categorical axis.
struct CategoryLabels {
    lines: Vec<Vec<String>>,
    turned: bool,
    room: f64,
}

impl<'a> Page<'a> {
    fn new(
        figure: &'a Figure,
        data: &'a Data,
        sketch: &'a Sketch,
        dress: Dress,
        columns: usize,
        size: PanelSize,
    ) -> Self {
        let lines = lines::of(figure, data, sketch);
        Self { figure, data, sketch, dress, columns, size, t: TypeSize::of(figure.width), lines }
    }

    /// Left of the first panel.
    fn left(&self) -> f64 {
        self.edge() + self.y_title_room() + self.y_tick_room()
    }

    /// From the left edge of the first to the right edge of the last panel.
    fn panels_width(&self) -> f64 {
        self.columns as f64 * self.size.width + (self.columns - 1) as f64 * (self.t.gap + self.margin())
    }

    fn ramp_room(&self) -> f64 {
        self.sketch.ramp.as_ref().map_or(0.0, |ramp| ramp::room(ramp, self.t))
    }

    fn width(&self) -> f64 {
        let overhang = self.right_overhang().max(self.margin() + self.y_line_room());
        (self.left() + self.panels_width() + self.ramp_room() + self.edge() + overhang).ceil()
    }

    /// Of a histogram beside and above each panel.
    fn margin(&self) -> f64 {
        if self.sketch.margins.is_empty() { 0.0 } else { self.t.margin + 3.0 }
    }

    fn draw(&self) -> String {
        let t = self.t;
        let left = self.left();
        let rows = self.data.facets.len().div_ceil(self.columns);
        let panels_width = self.panels_width();
        let x_labels = self.category_labels();
        let width = self.width();
        let text_room = width - 2.0 * self.edge();

        let mut canvas = Canvas::default();
        let mut body = Canvas::default();
        let mut y = self.edge();
        if self.dress == Dress::Alone && !self.figure.title.is_empty() {
            for line in font::wrap(&self.figure.title, t.title, Weight::SemiBold, text_room) {
                body.text(self.edge(), y + t.title * 0.85, &line, TextStyle::new(t.title, Anchor::Start).bold());
                y += t.title * LEADING;
            }
            y += 6.0;
        }
        y = self.legend(&mut body, y, width - self.edge() - self.ramp_room());
        let line_labels = self.line_label_room();
        let header_lines = self.header_lines();
        let header = if header_lines == 0 { 6.0 } else { 5.0 + header_lines as f64 * t.header };
        let row_height = self.size.height + header + line_labels + self.margin();
        let row_gap = 16.0;
        let first_top = y + row_height - self.size.height;
        let mut bottom = first_top;
        for facet in 0..self.data.facets.len() {
            let (row, column) = (facet / self.columns, facet % self.columns);
            let panel = Panel {
                left: left + column as f64 * (self.size.width + t.gap + self.margin()),
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
        let panels_height = (rows - 1) as f64 * (row_height + row_gap) + self.size.height;
        y = bottom + x_labels.room + 5.0;
        if !self.sketch.x.title.is_empty() {
            let middle = left + panels_width / 2.0;
            for line in font::wrap(&self.sketch.x.title, t.label, Weight::Regular, panels_width.max(200.0)) {
                body.text(middle, y + t.label * 0.85, &line, TextStyle::new(t.label, Anchor::Middle));
                y += t.label * LEADING;
            }
        }
        self.y_title(&mut body, first_top + panels_height / 2.0, panels_height);
        if let Some(ramp) = &self.sketch.ramp {
            let at = left + panels_width + self.margin() + self.y_line_room() + 22.0 * t.stroke;
            ramp::draw(&mut body, ramp, (at, first_top), panels_height.min(240.0), t);
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
        if self.dress == Dress::Alone { self.t.edge } else { 2.0 }
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
        if figure.mark != Mark::Gradient {
            text += &format!("; {} {}", number::grouped(self.data.points.len() as i64), figure.labels.rows);
        }
        text += ".";
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
        let size = self.t.label;
        let room = self.size.width - if self.sketch.counts { 5.8 * size } else { 0.0 };
        let lines = font::wrap(name, size, Weight::SemiBold, room);
        match lines.len() {
            0..=2 => lines.iter().map(|l| cut(l, size, Weight::SemiBold, room)).collect(),
            _ => vec![lines[0].clone(), cut(&lines[1..].join(" "), size, Weight::SemiBold, room)],
        }
    }

    /// `n = 1,234` of a panel, over runs the mean of theirs.
    fn count(&self, facet: usize) -> String {
        let count = self.data.points.iter().filter(|p| p.facet == facet).count();
        let mean = count as f64 / self.figure.runs() as f64;
        match mean.fract() == 0.0 || mean >= 100.0 {
            true => format!("n = {}", number::grouped(mean.round() as i64)),
            false => format!("n = {}", number::fixed(mean, 1)),
        }
    }

    fn y_title_room(&self) -> f64 {
        if self.sketch.y.title.is_empty() { 0.0 } else { self.t.label * LEADING + 4.0 }
    }

    fn y_tick_room(&self) -> f64 {
        let widths = self.y_tick_labels().into_iter().map(|l| font::width(&l, self.t.tick, Weight::Regular));
        widths.fold(0.0, f64::max) + 10.0
    }

    /// Names of categories on y are cut where they would take the page.
    fn y_tick_labels(&self) -> Vec<String> {
        let room = if self.size.narrow { 80.0 } else { 170.0 };
        self.sketch.y.ticks.iter().map(|t| cut(&t.label, self.t.tick, Weight::Regular, room)).collect()
    }

    /// Half of the last tick's label may stand out to the right.
    fn right_overhang(&self) -> f64 {
        let axis = &self.sketch.x;
        if axis.categories || self.sketch.ramp.is_some() {
            return 0.0;
        }
        let out = |t: &Tick| {
            let end = axis.place(t.at) * self.size.width + font::width(&t.label, self.t.tick, Weight::Regular) / 2.0;
            (end - self.size.width).max(0.0)
        };
        axis.ticks.iter().map(out).fold(0.0, f64::max)
    }

    fn category_labels(&self) -> CategoryLabels {
        let (axis, tick) = (&self.sketch.x, self.t.tick);
        if !axis.categories {
            return CategoryLabels { lines: Vec::new(), turned: false, room: tick + 9.0 };
        }
        let slot = self.size.width / axis.ticks.len().max(1) as f64 - 6.0 * self.t.stroke;
        let lines: Vec<Vec<String>> =
            axis.ticks.iter().map(|t| font::wrap(&t.label, tick, Weight::Regular, slot)).collect();
        let fits = lines.iter().flatten().all(|l| font::width(l, tick, Weight::Regular) <= slot + 1.0);
        let most = lines.iter().map(Vec::len).max().unwrap_or(1);
        if fits && most <= 3 {
            return CategoryLabels { lines, turned: false, room: 5.0 + most as f64 * tick * 1.25 };
        }
        let lines: Vec<Vec<String>> =
            axis.ticks.iter().map(|t| vec![cut(&t.label, tick, Weight::Regular, 165.0)]).collect();
        let longest = lines.iter().flatten().map(|l| font::width(l, tick, Weight::Regular)).fold(0.0, f64::max);
        CategoryLabels { lines, turned: true, room: 14.0 + longest * 35f64.to_radians().sin() + 4.0 }
    }

    fn y_title(&self, canvas: &mut Canvas, middle: f64, height: f64) {
        let room = height.max(200.0) + 2.0 * self.t.label;
        let size = self.t.label
            * (room / font::width(&self.sketch.y.title, self.t.label, Weight::Regular)).clamp(SMALLER, 1.0);
        let title = cut(&self.sketch.y.title, size, Weight::Regular, 1.001 * room);
        if !title.is_empty() {
            let x = self.edge() + size * 0.85;
            canvas.text(x, middle, &title, TextStyle::new(size, Anchor::Middle).turned(-90.0));
        }
    }
}

/// How much smaller a title beside an axis may become before it is cut.
const SMALLER: f64 = 0.8;

/// Text that fits, with `…` where it was cut.
fn cut(text: &str, size: f64, weight: Weight, room: f64) -> String {
    if font::width(text, size, weight) <= room {
        return text.to_owned();
    }
    let mut kept = text.to_owned();
    while kept.pop().is_some() {
        let shown = format!("{}…", kept.trim_end());
        if font::width(&shown, size, weight) <= room {
            return shown;
        }
    }
    String::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cut_text_fits() {
        let text = "batch_topk(k = 100, aux = 0.03125)";
        assert!(font::width(&cut(text, 12.0, Weight::SemiBold, 80.0), 12.0, Weight::SemiBold) <= 80.0);
        assert_eq!(cut("L1", 12.0, Weight::Regular, 80.0), "L1");
    }
}
