//! SVG text, written element by element. Colours that a dark page changes carry a class besides their value; marks are groups
//! that it may brighten.

use std::fmt::Write;

use super::font::{self, Weight};
use super::palette::Color;

/// Roles that the report recolours in the dark: text, second text, grid, axes, the page.
pub const INK: &str = "#1f2328";
pub const MUTED: &str = "#5b636d";
const GRID: &str = "#e6e8eb";
const AXIS: &str = "#8b929a";
const PAPER: &str = "#ffffff";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
    Start,
    Middle,
    End,
}

/// How a piece of text looks.
#[derive(Clone, Copy, Debug)]
pub struct TextStyle {
    pub size: f64,
    pub weight: Weight,
    pub anchor: Anchor,
    pub muted: bool,
    /// Degrees clockwise around the anchor point.
    pub turn: f64,
    /// A rim in the page's colour keeps letters legible over marks.
    pub halo: bool,
}

impl TextStyle {
    pub fn new(size: f64, anchor: Anchor) -> Self {
        Self { size, weight: Weight::Regular, anchor, muted: false, turn: 0.0, halo: false }
    }

    pub fn muted(self) -> Self {
        Self { muted: true, ..self }
    }

    pub fn bold(self) -> Self {
        Self { weight: Weight::SemiBold, ..self }
    }

    pub fn turned(self, degrees: f64) -> Self {
        Self { turn: degrees, ..self }
    }

    pub fn halo(self) -> Self {
        Self { halo: true, ..self }
    }
}

#[derive(Debug, Default)]
pub struct Canvas {
    body: String,
}

impl Canvas {
    pub fn text(&mut self, x: f64, y: f64, text: &str, style: TextStyle) {
        let class = if style.muted { "xd-muted" } else { "xd-ink" };
        let fill = if style.muted { MUTED } else { INK };
        let mut more = String::new();
        if style.weight == Weight::SemiBold {
            more += " font-weight=\"600\"";
        }
        match style.anchor {
            Anchor::Start => {}
            Anchor::Middle => more += " text-anchor=\"middle\"",
            Anchor::End => more += " text-anchor=\"end\"",
        }
        if style.turn != 0.0 {
            let _ = write!(more, " transform=\"rotate({} {} {})\"", n(style.turn), n(x), n(y));
        }
        if style.halo {
            let _ =
                write!(more, " stroke=\"{PAPER}\" stroke-width=\"3\" stroke-linejoin=\"round\" paint-order=\"stroke\"");
        }
        let halo = if style.halo { " xd-halo" } else { "" };
        let _ = writeln!(
            self.body,
            "<text class=\"{class}{halo}\" x=\"{}\" y=\"{}\" font-size=\"{}\" fill=\"{fill}\"{more}>{}</text>",
            n(x),
            n(y),
            n(style.size),
            escape(text)
        );
    }

    /// Text in a given colour, for numbers inside of coloured cells.
    pub fn text_on(&mut self, x: f64, y: f64, text: &str, size: f64, background: Color) {
        let fill = if background.is_light() { "#1f2328" } else { "#ffffff" };
        let _ = writeln!(
            self.body,
            "<text x=\"{}\" y=\"{}\" font-size=\"{}\" fill=\"{fill}\" text-anchor=\"middle\">{}</text>",
            n(x),
            n(y),
            n(size),
            escape(text)
        );
    }

    pub fn grid(&mut self, x1: f64, y1: f64, x2: f64, y2: f64) {
        self.straight(x1, y1, x2, y2, "xd-grid", GRID, 1.0, "");
    }

    pub fn axis(&mut self, x1: f64, y1: f64, x2: f64, y2: f64) {
        self.straight(x1, y1, x2, y2, "xd-axis", AXIS, 1.0, "");
    }

    /// A vertical range on a bar, and single values on it.
    pub fn whisker(&mut self, x: f64, y1: f64, y2: f64, values: &[f64]) {
        self.straight(x, y1, x, y2, "xd-whisker", INK, 1.2, "");
        for y in values {
            let _ = writeln!(
                self.body,
                "<circle class=\"xd-ink\" cx=\"{}\" cy=\"{}\" r=\"2.2\" fill=\"{INK}\"/>",
                n(x),
                n(*y)
            );
        }
    }

    /// A vertical range with caps, in the colour of text.
    pub fn error_bar(&mut self, x: f64, y1: f64, y2: f64, cap: f64) {
        self.straight(x, y1, x, y2, "xd-whisker", INK, 1.2, "");
        self.straight(x - cap, y1, x + cap, y1, "xd-whisker", INK, 1.2, "");
        self.straight(x - cap, y2, x + cap, y2, "xd-whisker", INK, 1.2, "");
    }

    /// A dashed reference line; of a group in its colour.
    pub fn reference(&mut self, x1: f64, y1: f64, x2: f64, y2: f64, color: Option<Color>) {
        let dashes = " stroke-dasharray=\"4 3\"";
        match color {
            Some(color) => self.straight(x1, y1, x2, y2, "xd-marks", &color.to_string(), 1.4, dashes),
            None => self.straight(x1, y1, x2, y2, "xd-reference", MUTED, 1.0, dashes),
        }
    }

    /// A light ground under a range that stands out.
    pub fn shade(&mut self, x: f64, y: f64, width: f64, height: f64) {
        let (x, y, width, height) = (n(x), n(y), n(width.max(0.0)), n(height.max(0.0)));
        let _ = writeln!(
            self.body,
            "<rect class=\"xd-shade\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" fill=\"{AXIS}\" fill-opacity=\"0.12\"/>"
        );
    }

    /// The page's colour over what is there.
    pub fn backing(&mut self, x: f64, y: f64, width: f64, height: f64) {
        let (x, y, width, height) = (n(x), n(y), n(width.max(0.0)), n(height.max(0.0)));
        let _ = writeln!(
            self.body,
            "<rect class=\"xd-backing\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" fill=\"{PAPER}\"/>"
        );
    }

    /// A line with a head at its end; nothing where it has no length.
    pub fn arrow(&mut self, from: (f64, f64), to: (f64, f64), color: Color, width: f64) {
        let (dx, dy) = (to.0 - from.0, to.1 - from.1);
        let length = dx.hypot(dy);
        if length < 0.1 {
            return;
        }
        let head = (3.2 * width).min(length * 0.6);
        let (ux, uy) = (dx / length, dy / length);
        let neck = (to.0 - ux * head, to.1 - uy * head);
        self.line(&[from, neck], color, width, "");
        let side = head * 0.55;
        self.area(
            &[to, (neck.0 - uy * side, neck.1 + ux * side), (neck.0 + uy * side, neck.1 - ux * side)],
            color,
            1.0,
        );
    }

    #[expect(clippy::too_many_arguments)]
    fn straight(&mut self, x1: f64, y1: f64, x2: f64, y2: f64, class: &str, color: &str, width: f64, more: &str) {
        let _ = writeln!(
            self.body,
            "<path class=\"{class}\" d=\"M{} {}L{} {}\" stroke=\"{color}\" stroke-width=\"{}\" fill=\"none\"{more}/>",
            n(x1),
            n(y1),
            n(x2),
            n(y2),
            n(width)
        );
    }

    pub fn rectangle(&mut self, x: f64, y: f64, width: f64, height: f64, fill: Color, opacity: f64) {
        let _ = writeln!(
            self.body,
            "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" fill=\"{fill}\"{}/>",
            n(x),
            n(y),
            n(width.max(0.0)),
            n(height.max(0.0)),
            opacity_attribute("fill-opacity", opacity)
        );
    }

    /// A square of a legend.
    pub fn swatch(&mut self, x: f64, y: f64, side: f64, fill: Color) {
        let (x, y, side) = (n(x), n(y), n(side));
        let _ = writeln!(
            self.body,
            "<rect class=\"xd-marks\" x=\"{x}\" y=\"{y}\" width=\"{side}\" height=\"{side}\" fill=\"{fill}\"/>"
        );
    }

    pub fn paper(&mut self, width: f64, height: f64) {
        let _ = writeln!(
            self.body,
            "<rect class=\"xd-paper\" width=\"{}\" height=\"{}\" fill=\"{PAPER}\"/>",
            n(width),
            n(height)
        );
    }

    /// A filled outline without a stroke.
    pub fn area(&mut self, points: &[(f64, f64)], fill: Color, opacity: f64) {
        let _ = writeln!(
            self.body,
            "<path d=\"{}Z\" fill=\"{fill}\"{}/>",
            path(points),
            opacity_attribute("fill-opacity", opacity)
        );
    }

    pub fn line(&mut self, points: &[(f64, f64)], stroke: Color, width: f64, dash: &str) {
        let dash = if dash.is_empty() { String::new() } else { format!(" stroke-dasharray=\"{dash}\"") };
        let _ = writeln!(
            self.body,
            "<path d=\"{}\" fill=\"none\" stroke=\"{stroke}\" stroke-width=\"{}\" stroke-linejoin=\"round\"{dash}/>",
            path(points),
            n(width)
        );
    }

    /// One circle each, so that overlaps add up.
    pub fn dots(&mut self, points: &[(f64, f64)], radius: f64, fill: Color, opacity: f64) {
        if points.is_empty() {
            return;
        }
        let _ = writeln!(self.body, "<g fill=\"{fill}\"{}>", opacity_attribute("fill-opacity", opacity));
        for (x, y) in points {
            let _ = writeln!(self.body, "<circle cx=\"{}\" cy=\"{}\" r=\"{}\"/>", n(*x), n(*y), n(radius));
        }
        self.body += "</g>\n";
    }

    /// Many points as one path of round caps: small, and overlaps do not add up.
    pub fn specks(&mut self, points: &[(f64, f64)], radius: f64, fill: Color, opacity: f64) {
        if points.is_empty() {
            return;
        }
        let mut d = String::with_capacity(points.len() * 14);
        for (x, y) in points {
            let _ = write!(d, "M{} {}h.01", tenth(*x), tenth(*y));
        }
        let _ = writeln!(
            self.body,
            "<path d=\"{d}\" fill=\"none\" stroke=\"{fill}\" stroke-width=\"{}\" stroke-linecap=\"round\"{}/>",
            n(2.0 * radius),
            opacity_attribute("stroke-opacity", opacity)
        );
    }

    /// A small triangle that points out of the panel: `turn` degrees clockwise from up.
    pub fn pointer(&mut self, x: f64, y: f64, turn: f64, fill: Color) {
        let _ = writeln!(
            self.body,
            "<path d=\"M0 -4L3.2 2L-3.2 2Z\" transform=\"translate({} {}) rotate({})\" fill=\"{fill}\" fill-opacity=\"0.7\"/>",
            n(x),
            n(y),
            n(turn)
        );
    }

    /// Everything drawn inside of `draw` is cut off at the rectangle.
    pub fn clipped(&mut self, id: &str, rectangle: (f64, f64, f64, f64), draw: impl FnOnce(&mut Self)) {
        let (x, y, w, h) = rectangle;
        let _ = writeln!(
            self.body,
            "<clipPath id=\"{id}\"><rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"/></clipPath>\n<g class=\"xd-marks\" clip-path=\"url(#{id})\">",
            n(x),
            n(y),
            n(w),
            n(h)
        );
        draw(self);
        self.body += "</g>\n";
    }

    /// Draws all of `other` over what is there.
    pub fn append(&mut self, other: Self) {
        self.body += &other.body;
    }

    /// The whole document. `id` makes the names inside unique on a page with several figures.
    pub fn finish(self, size: (f64, f64), id: &str, title: &str, description: &str, embed_font: bool) -> String {
        let (width, height) = (n(size.0), n(size.1));
        let style = if embed_font { format!("<style>{}</style>\n", font::css()) } else { String::new() };
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
             role=\"img\" aria-labelledby=\"{id}-title {id}-text\" font-family=\"{}\">\n\
             <title id=\"{id}-title\">{}</title>\n<desc id=\"{id}-text\">{}</desc>\n{style}{}</svg>\n",
            font::FAMILY,
            escape(title),
            escape(description),
            self.body
        )
    }
}

fn opacity_attribute(name: &str, opacity: f64) -> String {
    if opacity >= 1.0 { String::new() } else { format!(" {name}=\"{}\"", n(opacity)) }
}

fn path(points: &[(f64, f64)]) -> String {
    let mut d = String::with_capacity(points.len() * 12);
    for (i, (x, y)) in points.iter().enumerate() {
        let _ = write!(d, "{}{} {}", if i == 0 { 'M' } else { 'L' }, n(*x), n(*y));
    }
    d
}

/// A coordinate with at most two decimals.
fn n(x: f64) -> String {
    decimals(x, 100.0)
}

fn tenth(x: f64) -> String {
    decimals(x, 10.0)
}

fn decimals(x: f64, unit: f64) -> String {
    let rounded = (x.clamp(-1e6, 1e6) * unit).round() / unit;
    if rounded == 0.0 { "0".to_owned() } else { rounded.to_string() }
}

/// Text for XML; control characters, which XML forbids, become spaces.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            '\n' | '\t' => escaped.push(letter),
            letter if letter.is_control() || matches!(letter, '\u{fffe}' | '\u{ffff}') => escaped.push(' '),
            letter => escaped.push(letter),
        }
    }
    escaped
}
