//! The text on which latents fire.

mod file;

use std::path::Path;

pub use file::ExamplesWriter;

use crate::ml::Result;

/// A stretch of a sequence around the place where a latent fires most.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Example {
    pub latent: u32,
    /// From 0 (weakest).
    pub bin: u8,
    /// Largest f_j S_j of the sequence.
    pub activation: f32,
    /// Index of the validation portion.
    pub corpus: u16,
    /// Index of the document within its corpus.
    pub sequence: u32,
    /// Index into `tokens` of the largest activation.
    pub peak: u32,
    /// Position in the sequence of the first token.
    pub start: u32,
    /// Joined they are readable text: of a character that is split over several tokens the last one has it, the others are
    /// empty.
    pub tokens: Vec<String>,
    /// f_j S_j, one a token; 0 where no row is stored.
    pub activations: Vec<f32>,
}

/// The examples of an artifact, by latent, strongest bin first, largest activation first.
///
/// # Errors
/// There are none, or the file is damaged.
pub fn read(folder: &Path) -> Result<Vec<Example>> {
    file::read(folder)
}
