use super::super::figure::Width;

/// Sizes of letters and distances, in pixels of 1/96 inch.
#[derive(Clone, Copy, Debug)]
pub struct TypeSize {
    /// Around everything.
    pub edge: f64,
    pub title: f64,
    pub label: f64,
    pub tick: f64,
    pub note: f64,
    pub caption: f64,
    /// Of a line above a panel: its name and how many rows it holds.
    pub header: f64,
    /// Between panels side by side.
    pub gap: f64,
    /// Height of a histogram in the margin.
    pub margin: f64,
    /// Widths of lines, by those of a page.
    pub stroke: f64,
}

/// Line height by letter height.
pub const LEADING: f64 = 1.4;

impl TypeSize {
    /// Letters of a page; on 85 mm none is smaller than 6 points.
    pub fn of(width: Width) -> Self {
        match width {
            Width::Page => Self {
                edge: 16.0,
                title: 16.0,
                label: 12.0,
                tick: 11.0,
                note: 10.5,
                caption: 12.0,
                header: 15.5,
                gap: 22.0,
                margin: 44.0,
                stroke: 1.0,
            },
            Width::Column => Self {
                edge: 5.0,
                title: 11.0,
                label: 9.5,
                tick: 8.5,
                note: 8.0,
                caption: 9.0,
                header: 12.5,
                gap: 12.0,
                margin: 26.0,
                stroke: 0.7,
            },
        }
    }
}
