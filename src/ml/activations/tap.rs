//! A model, run up to one site of one layer.

use candle_core::{Device, Tensor};

use super::source::{Residuals, Vocabulary};
use crate::ml::data::Tokenizer;
use crate::ml::lm::{LanguageModel, Pace, Site};
use crate::ml::{Error, Result};

/// [`Residuals`] of a model; blocks after the layer are not run.
pub struct Tap<'a> {
    decoder: &'a dyn LanguageModel,
    layer: usize,
    site: Site,
    vocabulary: Vocabulary,
}

impl<'a> Tap<'a> {
    /// `tokenizer` is the model's own; it may have ids that the model has no embedding for ([`Residuals::unread`]). Errors: the
    /// model has no such layer.
    pub fn new(decoder: &'a dyn LanguageModel, tokenizer: &Tokenizer, layer: usize, site: Site) -> Result<Self> {
        if layer >= decoder.layers() {
            let problem =
                format!("layer {layer}, but the model has layers 0 to {}", decoder.layers().saturating_sub(1));
            return Err(Error::invalid("tap", problem));
        }
        Ok(Tap { decoder, layer, site, vocabulary: Vocabulary::of(tokenizer) })
    }
}

impl Vocabulary {
    /// What a harvest must know about this tokenizer.
    pub fn of(tokenizer: &Tokenizer) -> Self {
        let hash = tokenizer.fingerprint().to_string();
        Vocabulary { hash, bos: tokenizer.bos(), special: tokenizer.special().clone() }
    }
}

impl Residuals for Tap<'_> {
    fn width(&self) -> usize {
        self.decoder.width()
    }

    fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    fn unread(&self, ids: &[u32]) -> Option<usize> {
        ids.iter().position(|&id| id as usize >= self.decoder.vocabulary())
    }

    fn pace(&self) -> Pace {
        self.decoder.pace()
    }

    fn residuals(&self, ids: &[u32], batch: usize) -> Result<Vec<f32>> {
        let ids = Tensor::from_slice(ids, (batch, ids.len() / batch.max(1)), &Device::Cpu)?;
        Ok(self.decoder.residual(&ids, self.layer, self.site)?.flatten_all()?.to_vec1()?)
    }
}
