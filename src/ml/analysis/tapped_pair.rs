//! Two models, tapped at one place, and the crosscoder of what they compute there.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};

use crate::ml::activations::Normalizer;
use crate::ml::crosscoder::{Crosscoder, SparseCode, Variant};
use crate::ml::kernels::gather_sum;
use crate::ml::lm::{Held, LanguageModel, Site};
use crate::ml::{BASE, Error, Result};

/// What runs models with something of the crosscoder in place of their own.
#[derive(Clone, Copy)]
pub struct TappedPair<'a> {
    /// `[base, tuned]`.
    pub decoders: [&'a dyn LanguageModel; 2],
    /// What the base reads in place of which tokens (docs/method.md 2.3).
    pub read_as: &'a BTreeMap<u32, u32>,
    pub layer: usize,
    pub site: Site,
    pub crosscoder: &'a Crosscoder,
    /// How rows were scaled before the crosscoder saw them: y^m = (h^m - mean^m) s^m.
    pub normalizer: &'a Normalizer,
}

impl TappedPair<'_> {
    /// Errors: models of other widths than the crosscoder's, no such layer.
    pub fn check(&self) -> Result<()> {
        let width = self.crosscoder.width;
        for (decoder, name) in self.decoders.iter().zip(["base", "tuned"]) {
            if decoder.width() != width {
                let problem =
                    format!("the {name} model has width {}, the crosscoder reads rows of {width}", decoder.width());
                return Err(Error::invalid("run models with a crosscoder", problem));
            }
            decoder.check_layer(self.layer)?;
        }
        Ok(())
    }

    /// The tokens of a text as a model reads them.
    pub fn read(&self, model: usize, ids: &[u32]) -> Vec<u32> {
        match model {
            BASE => ids.iter().map(|id| self.read_as.get(id).copied().unwrap_or(*id)).collect(),
            _ => ids.to_vec(),
        }
    }

    /// A model, run over a text up to the place.
    pub fn hold(&self, model: usize, ids: &[u32]) -> Result<Held> {
        let ids = self.read(model, ids);
        let count = ids.len();
        self.decoders[model].hold(&Tensor::from_vec(ids, (1, count), &Device::Cpu)?, self.layer, self.site)
    }

    /// f of rows `h^m [T, d]` of both models.
    pub fn encode(&self, streams: [&[f32]; 2]) -> SparseCode {
        self.crosscoder.encode(&self.rows(streams))
    }

    /// Rows `[T, 2, d]` as the crosscoder sees them.
    fn rows(&self, streams: [&[f32]; 2]) -> Vec<f32> {
        let width = self.crosscoder.width;
        let mut rows = vec![0.0; 2 * streams[0].len()];
        for (model, stream) in streams.into_iter().enumerate() {
            for (row, h) in rows.chunks_exact_mut(2 * width).zip(stream.chunks_exact(width)) {
                row[model * width..(model + 1) * width].copy_from_slice(h);
            }
        }
        self.normalizer.apply(&mut rows);
        rows
    }

    /// `out += sign sum over t of values_t d_(latents_t)^m / s^m`: what latents write, on the scale of the model.
    pub fn write(&self, model: usize, latents: &[u32], values: &[f32], sign: f32, out: &mut [f32]) {
        let (width, count) = (self.crosscoder.width, self.crosscoder.latents);
        let decoder = &self.crosscoder.decoder_weight[model * count * width..][..count * width];
        let mut sum = vec![0.0; width];
        gather_sum(&mut sum, values, latents, decoder);
        let scale = self.normalizer.scale()[model];
        out.iter_mut().zip(sum).for_each(|(out, sum)| *out += sign * (sum / scale));
    }

    /// b_dec `[d]` of an autoencoder on the scale of the models: (b_dec + c) / s where it reads s x - c (docs/method.md 1.7). Zeros of a crosscoder.
    pub fn bias(&self) -> Vec<f32> {
        let width = self.crosscoder.width;
        let Some(target) = self.crosscoder.variant.target() else { return vec![0.0; width] };
        let (mean, scale) = (self.normalizer.mean(), self.normalizer.scale());
        let own = &self.crosscoder.decoder_bias[target.model() * width..][..width];
        let taken = |m: usize, i: usize| target.sign(m) * scale[m] * mean.get(m * width + i).copied().unwrap_or(0.0);
        own.iter().enumerate().map(|(i, b)| (b + taken(BASE, i) + taken(1 - BASE, i)) / scale[target.model()]).collect()
    }

    /// hhat^m = mean^m + (sum over j of f_j d_j^m + b^m) / s^m of rows `h^m [T, d]` of both models, `[T, 2, d]`. An autoencoder leaves the model
    /// alone that it does not write to, and to one of the difference hhat^tuned is h^base with the rest added: h less what it misses.
    pub fn reconstruct(&self, streams: [&[f32]; 2]) -> Vec<f32> {
        let mut rows = self.rows(streams);
        let code = self.crosscoder.encode(&rows);
        match self.crosscoder.variant {
            Variant::SharedCode => rows = self.crosscoder.decode(&code),
            Variant::Sae(_) => {
                let errors = self.crosscoder.errors(&rows, &code);
                rows.iter_mut().zip(errors).for_each(|(row, error)| *row -= error);
            }
        }
        self.normalizer.undo(&mut rows);
        rows
    }
}
