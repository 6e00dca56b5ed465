//! Rows to files: tables, plots, the report. Knows nothing of `.xd` and of tensors.

pub mod frame;

pub use frame::{Column, Frame};
