//! Figures: rows to SVG, SVG to PNG.
//!
//! ```text
//! Figure + Frame --data--> numbers, groups, panels --mark/*--> axes and shapes in data units --draw--> SVG --png--> PNG
//! ```
//!
//! Everything is a pure function of the figure and its rows, so the same experiment gives the same bytes.

mod axis;
mod canvas;
mod correlation;
mod data;
pub mod derived;
mod draw;
mod figure;
pub mod font;
#[cfg(test)]
pub(super) mod gallery;
mod labels;
mod mark;
mod over;
pub mod palette;
mod png;
mod shape;

pub use canvas::escape;
pub use figure::{At, Correlation, Count, Dress, ErrorBar, Figure, Line, Mark, Side, Width};
pub use labels::{ColumnStyle, Labels};
pub use over::Over;
