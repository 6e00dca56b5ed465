//! What a mark asks to be drawn, in the units of the data.

use super::axis::Axis;
use super::palette::Color;

#[derive(Clone, Debug)]
pub enum Shape {
    /// A filled box; `label` stands above its top.
    Bar {
        left: f64,
        right: f64,
        bottom: f64,
        top: f64,
        color: Color,
        label: String,
    },
    /// A box of a heatmap with a number inside.
    Cell {
        left: f64,
        right: f64,
        bottom: f64,
        top: f64,
        color: Color,
        label: String,
    },
    /// `(x, low, high)` around a line.
    Range {
        points: Vec<(f64, f64, f64)>,
        color: Color,
    },
    /// The middle one of the steps starts at `edges[i]` and ends at `edges[i + 1]`.
    Steps {
        edges: Vec<f64>,
        heights: Vec<f64>,
        color: Color,
        opacity: f64,
    },
    Line {
        points: Vec<(f64, f64)>,
        color: Color,
        dash: &'static str,
        dots: bool,
    },
    Points {
        points: Vec<(f64, f64)>,
        color: Color,
    },
    /// A thin vertical line, and rows on it.
    Whisker {
        x: f64,
        low: f64,
        high: f64,
        dots: Vec<f64>,
    },
    /// A vertical line with caps; in the colour of text where it has none.
    ErrorBar {
        x: f64,
        low: f64,
        high: f64,
        color: Option<Color>,
    },
    Arrow {
        from: (f64, f64),
        to: (f64, f64),
        color: Color,
    },
}

/// A range of x once more, in the corner of each panel.
#[derive(Clone, Debug)]
pub struct Inset {
    pub x: Axis,
    pub y: Axis,
    /// The range of the panel's x that it shows.
    pub range: (f64, f64),
    /// Its left and upper edge, as shares of the panel.
    pub left: f64,
    pub top: f64,
    pub panels: Vec<Vec<Shape>>,
}

impl Inset {
    /// Width and height with the tick labels, as shares of a panel of this size.
    pub fn share(size: PanelSize) -> (f64, f64) {
        ((96.0 / size.width).clamp(0.36, 0.6), (76.0 / size.height).clamp(0.44, 0.6))
    }
}

/// Outlines in the margins of a scatter.
#[derive(Clone, Debug, Default)]
pub struct Margin {
    /// Over x, and over y; heights up to 1.
    pub top: Vec<Outline>,
    pub right: Vec<Outline>,
}

#[derive(Clone, Debug)]
pub struct Outline {
    pub edges: Vec<f64>,
    pub heights: Vec<f64>,
    pub color: Color,
}

/// A line of text in the corner of a panel.
#[derive(Clone, Debug)]
pub struct Remark {
    pub text: String,
    /// Of the group it is about.
    pub color: Option<Color>,
}

/// What colours mean, besides the groups.
#[derive(Clone, Debug)]
pub struct Ramp {
    pub axis: Axis,
    pub color: fn(f64) -> Color,
}

/// A figure in data units.
#[derive(Clone, Debug)]
pub struct Sketch {
    pub x: Axis,
    pub y: Axis,
    /// One list a panel.
    pub panels: Vec<Vec<Shape>>,
    pub ramp: Option<Ramp>,
    pub notes: Vec<String>,
    /// Whether panels say how many rows they hold.
    pub counts: bool,
    /// No grid behind cells.
    pub grid: bool,
    pub inset: Option<Inset>,
    /// One a panel, or none at all.
    pub margins: Vec<Margin>,
    /// One list a panel, or none at all.
    pub remarks: Vec<Vec<Remark>>,
}

impl Sketch {
    /// Axes and shapes alone.
    pub fn new(x: Axis, y: Axis, panels: Vec<Vec<Shape>>, notes: Vec<String>) -> Self {
        Self {
            x,
            y,
            panels,
            ramp: None,
            notes,
            counts: false,
            grid: true,
            inset: None,
            margins: Vec::new(),
            remarks: Vec::new(),
        }
    }
}

/// Pixels of one panel.
#[derive(Clone, Copy, Debug)]
pub struct PanelSize {
    pub width: f64,
    pub height: f64,
    /// Of a narrow figure, with smaller letters.
    pub narrow: bool,
}

impl PanelSize {
    /// About so many labelled ticks fit.
    pub fn ticks(self) -> (usize, usize) {
        let (x, y) = if self.narrow { (52.0, 36.0) } else { (75.0, 52.0) };
        ((self.width / x).round().max(3.0) as usize, (self.height / y).round().max(3.0) as usize)
    }
}
