//! Text to tree, and text to the same text in canonical layout.

mod brackets;
mod builder;
mod format;
mod mistake;
mod parser;
mod text;
pub mod tree;

pub use format::fmt;
pub use parser::{EDITION, parse};
