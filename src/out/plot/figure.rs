use std::path::Path;

use super::labels::Labels;
use super::over::Over;
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
    /// Where the two penalties on decoder norms push them; reads no rows.
    Gradient,
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
            Self::Gradient => "Vector fields",
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

/// Where a reference line stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum At {
    Value(f64),
    /// Of the rows of a panel and a colour.
    Mean,
    Median,
}

/// A dashed line across each panel.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    pub side: Side,
    pub at: At,
    /// Shown at the line; without one the number is, unless a tick shows it already.
    pub label: Option<String>,
}

impl Line {
    /// A line at a number.
    pub fn new(side: Side, value: f64) -> Self {
        Self { side, at: At::Value(value), label: None }
    }

    /// The number it stands at, where that needs no rows.
    pub fn value(&self) -> Option<f64> {
        if let At::Value(value) = self.at { Some(value) } else { None }
    }
}

/// What is counted where there is no y.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Count {
    #[default]
    Rows,
    /// Of the rows of a panel and a colour.
    Share,
    /// Share by the width of the bin.
    Density,
}

/// Where the ends of an error bar are.
#[derive(Clone, Debug, PartialEq)]
pub enum ErrorBar {
    /// y - column .. y + column.
    Half(String),
    /// From one column to the other.
    Ends(String, String),
    /// 1.96 s / sqrt(n) of the rows that share a place (published code).
    Interval,
}

/// A number in the corner of a scatter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Correlation {
    Pearson,
    Spearman,
}

/// How wide a figure will stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Width {
    /// A page, or both columns of a paper.
    #[default]
    Page,
    /// One column of a paper, 85 mm.
    Column,
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
    /// Runs such as seeds: what is drawn is a mean of what each gives.
    pub over: Option<Over>,
    /// Said under the figure.
    pub remark: Option<String>,
    /// Bins of a histogram, or of the margins of a scatter.
    pub bins: Option<usize>,
    /// `None`: rows, and of an ecdf the share.
    pub count: Option<Count>,
    pub range_x: Option<(f64, f64)>,
    pub range_y: Option<(f64, f64)>,
    /// A range of x once more, enlarged in a corner.
    pub inset: Option<(f64, f64)>,
    /// Histograms of x and y in the margins.
    pub marginal: bool,
    /// A column of truths: rows of a histogram that are filled darker.
    pub highlight: Option<String>,
    pub error: Option<ErrorBar>,
    pub correlation: Option<Correlation>,
    pub lines: Vec<Line>,
    pub log_x: bool,
    pub log_y: bool,
    pub width: Width,
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
            over: None,
            remark: None,
            bins: None,
            count: None,
            range_x: None,
            range_y: None,
            inset: None,
            marginal: false,
            highlight: None,
            error: None,
            correlation: None,
            lines: Vec::new(),
            log_x: false,
            log_y: false,
            width: Width::Page,
            labels: Labels::standard(),
        }
    }

    /// Over how many runs it averages; 1 where it does not.
    pub fn runs(&self) -> usize {
        self.over.as_ref().map_or(1, |over| over.count.max(1))
    }

    /// The range that is asked of a side.
    pub fn range(&self, side: Side) -> Option<(f64, f64)> {
        if side == Side::X { self.range_x } else { self.range_y }
    }

    /// The figure as SVG. The same rows give the same bytes. Rows that cannot be drawn (empty cells, nothing positive on a log
    /// axis, outside of a range) are counted in a note under the axes; without rows the panel says so.
    pub fn svg(&self, frame: &Frame, dress: Dress) -> Result<String> {
        draw::draw(self, frame, dress)
    }

    /// The figure as PNG, three times the size of the SVG in pixels (over 300 an inch on the 170 mm of a page), of a narrow figure four times
    /// (384 an inch).
    pub fn png(&self, frame: &Frame) -> Result<Vec<u8>> {
        let zoom = if self.width == Width::Column { 4.0 } else { 3.0 };
        png::render(&self.svg(frame, Dress::Alone)?, zoom)
    }

    /// Writes SVG or PNG, by the ending of the path (`.png`, anything else is SVG).
    pub fn write(&self, frame: &Frame, path: &Path) -> Result<()> {
        let is_png = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("png"));
        let bytes = if is_png { self.png(frame)? } else { self.svg(frame, Dress::Alone)?.into_bytes() };
        std::fs::write(path, bytes).map_err(Error::io(path))
    }
}
