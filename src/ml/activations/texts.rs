//! A corpus, tokenised as it is read.

use std::collections::VecDeque;

use rayon::prelude::*;

use super::source::Documents;
use crate::ml::Result;
use crate::ml::data::{self, Corpus, Document, Template, TokenSequence, Tokenizer};

/// Documents that are tokenised at a time.
const AHEAD: usize = 64;

/// [`Documents`] of a corpus. A chat is rendered by the template of `tokenizer`, which therefore is the tuned model's.
pub struct Texts<'a> {
    pub name: String,
    pub corpus: Corpus,
    pub tokenizer: &'a Tokenizer,
    /// Renders chats; `None` for plain text.
    pub template: Option<Template>,
}

impl Documents for Texts<'_> {
    fn name(&self) -> &str {
        &self.name
    }

    fn read(&self, start: u64) -> Result<Box<dyn Iterator<Item = Result<TokenSequence>> + '_>> {
        let documents = self.corpus.documents_from(start)?;
        Ok(Box::new(Tokenized { texts: self, documents, ready: VecDeque::new() }))
    }
}

/// Documents in order; some are tokenised ahead, on all threads.
struct Tokenized<'a> {
    texts: &'a Texts<'a>,
    documents: data::Documents,
    ready: VecDeque<Result<TokenSequence>>,
}

impl Iterator for Tokenized<'_> {
    type Item = Result<TokenSequence>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ready.is_empty() {
            let documents: Vec<Result<Document>> = self.documents.by_ref().take(AHEAD).collect();
            let Texts { tokenizer, template, .. } = self.texts;
            let encode = |document: Result<Document>| tokenizer.encode(&document?, template.as_ref(), usize::MAX);
            self.ready = documents.into_par_iter().map(encode).collect::<Vec<_>>().into();
        }
        self.ready.pop_front()
    }
}
