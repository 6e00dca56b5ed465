//! The text on which latents fire.

mod file;
mod sample;
mod sequences;
mod text;

use std::path::Path;

pub use file::{ExamplesWriter, NAME};
pub use sample::{ExamplesConfig, Kept, sample};
pub use sequences::SequenceId;
pub use text::{Spell, Tokens, sequences_of, sequences_of_rows, tokens_of_documents, tokens_of_rows, with_text};

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

impl Example {
    /// The text, with the token of the largest activation in double angle quotes; where that is the beginning of a character, with the
    /// tokens up to its end.
    pub fn text(&self) -> String {
        let peak = self.peak as usize;
        let end = (peak..self.tokens.len()).find(|&at| !self.tokens[at].is_empty()).unwrap_or(peak);
        let [before, at, after] =
            [0..peak, peak..end + 1, end + 1..self.tokens.len()].map(|part| self.tokens[part].concat());
        format!("{before}«{at}»{after}")
    }
}

/// The examples of an artifact, by latent, strongest bin first, largest activation first.
///
/// # Errors
/// There are none, or the file is damaged.
pub fn read(folder: &Path) -> Result<Vec<Example>> {
    let mut examples = Vec::new();
    visit(folder, &mut |example| examples.push(example))?;
    Ok(examples)
}

/// Shows the examples of an artifact one after another, in the order of [`read`]; memory does not grow with them.
///
/// # Errors
/// As [`read`]; that rows were changed is known only after the last one was shown.
pub fn visit(folder: &Path, see: &mut dyn FnMut(Example)) -> Result<()> {
    file::visit(folder, see)
}
