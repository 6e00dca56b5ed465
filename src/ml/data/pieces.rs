//! Text token by token.

use super::Tokenizer;
use crate::ml::Result;

/// Tokens of one character, at most: a byte each.
const BYTES: usize = 4;

impl Tokenizer {
    /// The text of each token, special ones included; joined they are the text of all. Of a character that is split over several
    /// tokens the last one has it and the others are empty; spaces that the decoder takes off the beginning of a text are taken
    /// off the first one only.
    ///
    /// # Errors
    /// The tokenizer cannot decode.
    pub fn pieces(&self, ids: &[u32]) -> Result<Vec<String>> {
        let mut pieces = vec![String::new(); ids.len()];
        // The text of ids[before..told] is known; what follows is decoded with it in front.
        let (mut before, mut told) = (0, 0);
        for end in 1..=ids.len() {
            let text = self.decode(&ids[before..end])?;
            if text.ends_with('\u{FFFD}') && end - told < BYTES && end < ids.len() {
                continue;
            }
            let new = text.strip_prefix(self.decode(&ids[before..told])?.as_str()).map(str::to_string);
            pieces[end - 1] = match new {
                Some(new) => new,
                None => self.decode(&ids[told..end])?,
            };
            (before, told) = (told, end);
        }
        Ok(pieces)
    }
}
