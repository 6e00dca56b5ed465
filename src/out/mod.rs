//! Rows to files: tables, plots, the report. Knows nothing of `.xd` and of tensors.

mod base64;
pub mod error;
pub mod frame;
pub mod interval;
pub mod number;
pub mod plot;
pub mod report;
pub mod table;

pub use error::{Error, Result};
pub use frame::{Aggregate, Cell, Column, Condition, Constant, Frame, Operator};
