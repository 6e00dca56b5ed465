//! What a harvest reads from: documents as tokens, and models as residuals.

use std::collections::BTreeSet;

use crate::ml::data::TokenSequence;
use crate::ml::lm::Pace;
use crate::ml::{Error, Result};

/// The documents of a corpus, tokenised for the pair, always in the same order.
pub trait Documents: Sync {
    /// Name of the corpus, for messages.
    fn name(&self) -> &str;
    /// Documents `start..`.
    fn read(&self, start: u64) -> Result<Box<dyn Iterator<Item = Result<TokenSequence>> + '_>>;
}

/// What a harvest must know about a tokenizer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vocabulary {
    /// Content hash of the tokenizer: equal hashes give equal ids.
    pub hash: String,
    /// Id of the token that begins a sequence; `Some(0)` is a token like any other.
    pub bos: Option<u32>,
    /// Ids of the special tokens.
    pub special: BTreeSet<u32>,
}

/// A model that is run up to one place in the stream.
pub trait Residuals: Sync {
    /// d.
    fn width(&self) -> usize;
    fn vocabulary(&self) -> &Vocabulary;
    /// Position of the first of `ids` that the model cannot read. A tokenizer may have more ids than its model has embeddings:
    /// that of Gemma 3 has one for images, which the models without eyes have no row for.
    fn unread(&self, _ids: &[u32]) -> Option<usize> {
        None
    }
    /// How much to give it at a time.
    fn pace(&self) -> Pace {
        Pace::of_cpu()
    }
    /// Residuals `[B, T, d]` of `ids` `[B, T]` (row-major). A sequence that is shorter than T is padded on the right; what
    /// comes out at the padding is not used.
    fn residuals(&self, ids: &[u32], batch: usize) -> Result<Vec<f32>>;
}

/// Two models that read the same ids.
#[derive(Clone, Copy)]
pub struct Pair<'a> {
    base: &'a dyn Residuals,
    tuned: &'a dyn Residuals,
}

impl<'a> Pair<'a> {
    /// Errors: different tokenizers, different widths.
    pub fn new(base: &'a dyn Residuals, tuned: &'a dyn Residuals) -> Result<Self> {
        let (a, b) = (base.vocabulary(), tuned.vocabulary());
        if a.hash != b.hash {
            let problem = format!(
                "the tokenizers differ: base {}, tuned {}; the same id must mean the same token in both models",
                a.hash, b.hash
            );
            return Err(Error::invalid("pair models", problem));
        }
        if base.width() != tuned.width() {
            let problem = format!("the widths differ: base d = {}, tuned d = {}", base.width(), tuned.width());
            return Err(Error::invalid("pair models", problem));
        }
        Ok(Pair { base, tuned })
    }

    /// d.
    pub fn width(&self) -> usize {
        self.base.width()
    }

    pub fn vocabulary(&self) -> &Vocabulary {
        self.base.vocabulary()
    }

    /// Of both models: the smaller batches, and side by side only if both may.
    pub(super) fn pace(&self) -> Pace {
        let (a, b) = (self.base.pace(), self.tuned.pace());
        Pace {
            tokens: a.tokens.min(b.tokens),
            logits: a.logits.min(b.logits),
            side_by_side: a.side_by_side && b.side_by_side,
        }
    }

    /// Errors: document `number` of `corpus` has an id that one of the models cannot read.
    pub(super) fn check_ids(&self, document: &TokenSequence, corpus: &str, number: u64) -> Result<()> {
        for (name, model) in [("base", self.base), ("tuned", self.tuned)] {
            if let Some(position) = model.unread(&document.ids) {
                let problem = format!(
                    "document {number} of `{corpus}` has the token id {} at position {position}, for which the {name} model has \
                     no embedding: leave the document out of the corpus",
                    document.ids[position]
                );
                return Err(Error::invalid("harvest", problem));
            }
        }
        Ok(())
    }

    /// Residuals `[B, T, d]` of model 0 (base) or 1 (tuned). Errors: an output of another shape.
    pub(super) fn residuals(&self, model: usize, ids: &[u32], batch: usize) -> Result<Vec<f32>> {
        let values = [self.base, self.tuned][model].residuals(ids, batch)?;
        if values.len() != ids.len() * self.width() {
            let problem = format!(
                "the {} model gave {} numbers for [B, T, d] = [{batch}, {}, {}]",
                ["base", "tuned"][model],
                values.len(),
                ids.len() / batch.max(1),
                self.width()
            );
            return Err(Error::invalid("run models", problem));
        }
        Ok(values)
    }
}
