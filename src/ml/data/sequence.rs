//! A tokenised document.

use crate::ml::TokenGroup;

/// T token ids and what each is for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenSequence {
    /// `[T]`.
    pub ids: Vec<u32>,
    /// `[T]`.
    pub groups: Vec<TokenGroup>,
}

impl TokenSequence {
    /// T.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// No token at all.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Keeps the first `context` tokens.
    pub fn truncate(&mut self, context: usize) {
        self.ids.truncate(context);
        self.groups.truncate(context);
    }
}
