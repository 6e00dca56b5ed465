//! The language half: text to plan. No files, no tensors, no printing, no time, no randomness.
//!
//! What it must know of the outside (imported files, the width of a model, how large a corpus is) comes through [`World`].

pub mod analyse;
pub mod check;
pub mod diagnostic;
pub mod hub;
pub mod plan;
pub mod resolve;
pub mod schema;
pub mod source;
pub mod syntax;
pub mod world;

pub use analyse::{Analysis, analyse};
pub use diagnostic::Diagnostic;
pub use source::{FileId, Source, Sources, Span};
pub use world::World;
