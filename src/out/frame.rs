//! A frame: named, typed columns of equal length. Every analysis ends as one.

use std::sync::Arc;

/// The cells of one column. `None` is an empty cell (NaN never stands in a frame).
#[derive(Clone, Debug, PartialEq)]
pub enum Column {
    Text(Vec<Option<Arc<str>>>),
    Whole(Vec<Option<i64>>),
    Real(Vec<Option<f64>>),
    Truth(Vec<Option<bool>>),
}

/// Named columns in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Frame {
    pub columns: Vec<(String, Column)>,
}
