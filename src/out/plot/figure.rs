use std::path::Path;

use super::labels::Labels;
use super::{draw, png};
use crate::out::error::{Error, Result};
use crate::out::frame::Frame;

/// What stands for a row, or for many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// Mean of y for each x, counts without y.
    Bar,
    /// Share of rows at or below x.
    Ecdf,
    /// Mean of the colour for each x and y, counts without a colour.
    Heatmap,
    /// Counts of rows by bins of x.
    Histogram,
    /// Mean of y along x, with the range of the rows that share an x.
    Line,
    /// One point a row.
    Scatter,
}

impl Mark {
    /// What the figure is, for readers who cannot see it.
    pub fn noun(self) -> &'static str {
        match self {
            Self::Bar => "Bar chart",
            Self::Ecdf => "Cumulative distribution",
            Self::Heatmap => "Heat map",
            Self::Histogram => "Histogram",
            Self::Line => "Line chart",
            Self::Scatter => "Scatter plot",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    X,
    Y,
}

/// A dashed line across each panel.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    pub side: Side,
    pub value: f64,
    /// Shown at the line; without one the number is, unless a tick shows it already.
    pub label: Option<String>,
}

/// A figure as an experiment declares it; [`Figure::svg`] gives it its rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// Makes ids unique on a page; letters, digits, `-` and `_`.
    pub name: String,
    pub title: String,
    /// Stands under the figure; may be empty.
    pub caption: String,
    pub mark: Mark,
    pub x: String,
    pub y: Option<String>,
    pub color: Option<String>,
    pub facet: Option<String>,
    pub lines: Vec<Line>,
    pub log_x: bool,
    pub log_y: bool,
    pub labels: Labels,
}

/// Where an SVG will stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dress {
    /// A file of its own: title, caption and font inside.
    Alone,
    /// In a page that has the title, the caption and the font.
    Inline,
}

impl Figure {
    pub fn new(name: impl Into<String>, mark: Mark, x: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            title: String::new(),
            caption: String::new(),
            mark,
            x: x.into(),
            y: None,
            color: None,
            facet: None,
            lines: Vec::new(),
            log_x: false,
            log_y: false,
            labels: Labels::standard(),
        }
    }

    /// The figure as SVG. The same rows give the same bytes. Rows that cannot be drawn (empty cells, nothing positive on a log
    /// axis) are counted in a note under the axes; without rows the panel says so.
    pub fn svg(&self, frame: &Frame, dress: Dress) -> Result<String> {
        draw::draw(self, frame, dress)
    }

    /// The figure as PNG, twice the size of the SVG in pixels.
    pub fn png(&self, frame: &Frame) -> Result<Vec<u8>> {
        png::render(&self.svg(frame, Dress::Alone)?, 2.0)
    }

    /// Writes SVG or PNG, by the ending of the path (`.png`, anything else is SVG).
    pub fn write(&self, frame: &Frame, path: &Path) -> Result<()> {
        let is_png = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("png"));
        let bytes = if is_png { self.png(frame)? } else { self.svg(frame, Dress::Alone)?.into_bytes() };
        std::fs::write(path, bytes).map_err(Error::io(path))
    }
}
