//! A bare word that a field can hold: `bf16`, `histogram`, `residual_post`.

use super::field::Built;

/// One choice.
#[derive(Clone, Copy, Debug)]
pub struct Word {
    pub word: &'static str,
    /// One sentence.
    pub doc: &'static str,
    pub built: Built,
}

impl Word {
    /// A choice that works.
    pub const fn new(word: &'static str, doc: &'static str) -> Self {
        Word { word, doc, built: Built::Yes }
    }

    /// A choice that is known and refused; the words say what to write meanwhile.
    pub const fn later(mut self, meanwhile: &'static str) -> Self {
        self.built = Built::NotYet(meanwhile);
        self
    }
}
