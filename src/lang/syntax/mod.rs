//! Text to tree, and text to the same text in canonical layout.

mod brackets;
mod builder;
mod format;
mod habit;
mod mistake;
mod parser;
mod reader;
mod text;
pub mod tree;

pub use format::fmt;
pub use parser::{EDITION, parse};
