//! A model that reads other tokens than the text has.

use std::collections::BTreeMap;

use super::source::{Residuals, Vocabulary};
use crate::ml::Result;
use crate::ml::lm::Pace;

/// [`Residuals`] of a model that reads `replace[id]` where the text has `id`: a base model that does not know the tokens of the
/// chat template (docs/method.md 2.3). Positions and stored tokens stay those of the text.
pub struct ReadAs<'a> {
    pub model: &'a dyn Residuals,
    pub replace: BTreeMap<u32, u32>,
}

impl ReadAs<'_> {
    /// What the model reads of a text.
    fn read(&self, ids: &[u32]) -> Vec<u32> {
        ids.iter().map(|id| self.replace.get(id).copied().unwrap_or(*id)).collect()
    }
}

impl Residuals for ReadAs<'_> {
    fn width(&self) -> usize {
        self.model.width()
    }

    fn vocabulary(&self) -> &Vocabulary {
        self.model.vocabulary()
    }

    fn unread(&self, ids: &[u32]) -> Option<usize> {
        match self.replace.is_empty() {
            true => self.model.unread(ids),
            false => self.model.unread(&self.read(ids)),
        }
    }

    fn pace(&self) -> Pace {
        self.model.pace()
    }

    fn residuals(&self, ids: &[u32], batch: usize) -> Result<Vec<f32>> {
        if self.replace.is_empty() {
            return self.model.residuals(ids, batch);
        }
        self.model.residuals(&self.read(ids), batch)
    }
}
