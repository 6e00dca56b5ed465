//! A corpus, tokenised as it is read.

use super::bookmarks::{Bookmarks, Reading};
use super::source::Documents;
use crate::ml::Result;
use crate::ml::data::{Corpus, Document, Template, TokenSequence, Tokenizer};

/// [`Documents`] of a corpus. A chat is rendered by the template of `tokenizer`, which therefore is the tuned model's.
pub struct Texts<'a> {
    pub name: String,
    pub corpus: Corpus,
    pub tokenizer: &'a Tokenizer,
    /// Renders chats; `None` for plain text.
    pub template: Option<Template>,
}

impl Texts<'_> {
    /// A document as tokens. Errors: the template refuses it, or the tokenizer does; the message names it.
    pub(super) fn encode(&self, document: &Document, number: u64) -> Result<TokenSequence> {
        self.tokenizer
            .encode(document, self.template.as_ref(), usize::MAX)
            .map_err(|error| error.at(format_args!("document {number} of `{}`", self.name)))
    }
}

impl Documents for Texts<'_> {
    fn name(&self) -> &str {
        &self.name
    }

    fn read(&self, start: u64) -> Result<Box<dyn Iterator<Item = Result<TokenSequence>> + '_>> {
        let mut reading = Reading::open(self, start)?;
        Ok(Box::new(std::iter::from_fn(move || reading.next(self))))
    }
}

/// The same of texts that are left and taken up again: who reads on from where a reading was left goes on with that one.
pub struct MarkedTexts<'a> {
    pub texts: Texts<'a>,
    pub bookmarks: &'a Bookmarks,
}

impl Documents for MarkedTexts<'_> {
    fn name(&self) -> &str {
        &self.texts.name
    }

    fn read(&self, start: u64) -> Result<Box<dyn Iterator<Item = Result<TokenSequence>> + '_>> {
        let reading = match self.bookmarks.take(start) {
            Some(reading) => reading,
            None => Reading::open(&self.texts, start)?,
        };
        Ok(Box::new(Marked { texts: self, reading: Some(reading) }))
    }
}

/// A reading that is kept where it is left.
struct Marked<'a> {
    texts: &'a MarkedTexts<'a>,
    /// Taken when it is left.
    reading: Option<Reading>,
}

impl Iterator for Marked<'_> {
    type Item = Result<TokenSequence>;

    fn next(&mut self) -> Option<Self::Item> {
        self.reading.as_mut().and_then(|reading| reading.next(&self.texts.texts))
    }
}

impl Drop for Marked<'_> {
    fn drop(&mut self) {
        if let Some(reading) = self.reading.take() {
            self.texts.bookmarks.keep(reading);
        }
    }
}
