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
    /// A thin vertical line with ends.
    Whisker {
        x: f64,
        low: f64,
        high: f64,
        dots: Vec<f64>,
    },
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
}

/// Pixels of one panel.
#[derive(Clone, Copy, Debug)]
pub struct PanelSize {
    pub width: f64,
    pub height: f64,
}

impl PanelSize {
    /// About so many labelled ticks fit.
    pub fn ticks(self) -> (usize, usize) {
        ((self.width / 75.0).round().max(3.0) as usize, (self.height / 52.0).round().max(3.0) as usize)
    }
}
