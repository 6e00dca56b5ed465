//! One file a mark: numbers to axes and shapes.

mod bar;
mod domain;
mod ecdf;
mod errors;
pub mod gradient;
mod heatmap;
mod histogram;
mod inset;
mod line;
mod scatter;

use super::data::Data;
use super::figure::{Figure, Mark};
use super::shape::{PanelSize, Sketch};
use crate::out::error::Result;

pub fn sketch(figure: &Figure, data: &Data, size: PanelSize) -> Result<Sketch> {
    match figure.mark {
        Mark::Bar => bar::sketch(figure, data, size),
        Mark::Ecdf => ecdf::sketch(figure, data, size),
        Mark::Gradient => Ok(gradient::sketch(size)),
        Mark::Heatmap => heatmap::sketch(figure, data, size),
        Mark::Histogram => histogram::sketch(figure, data, size),
        Mark::Line => line::sketch(figure, data, size),
        Mark::Scatter => scatter::sketch(figure, data, size),
    }
}
