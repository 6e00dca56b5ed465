//! A model that reads other tokens than the text has.

use std::collections::BTreeMap;

use super::source::{Residuals, Vocabulary};
use crate::ml::Result;

/// [`Residuals`] of a model that reads `replace[id]` where the text has `id`: a base model that does not know the tokens of the
/// chat template (docs/method.md 2.3). Positions and stored tokens stay those of the text.
pub struct ReadAs<'a> {
    pub model: &'a dyn Residuals,
    pub replace: BTreeMap<u32, u32>,
}

impl Residuals for ReadAs<'_> {
    fn width(&self) -> usize {
        self.model.width()
    }

    fn vocabulary(&self) -> &Vocabulary {
        self.model.vocabulary()
    }

    fn residuals(&self, ids: &[u32], batch: usize) -> Result<Vec<f32>> {
        if self.replace.is_empty() {
            return self.model.residuals(ids, batch);
        }
        let read: Vec<u32> = ids.iter().map(|id| self.replace.get(id).copied().unwrap_or(*id)).collect();
        self.model.residuals(&read, batch)
    }
}
