//! Each layout's own convention, spelled out in f64 and on its own: what import and export are held against.
//!
//! Nothing here goes through [`crate::ml::crosscoder::Crosscoder`]: tensors are read by their names and indexed as their project does.

use rayon::prelude::*;

use super::saelens::Autoencoder;
use super::weights_file::{Choices, WeightsFile};
use super::{Layout, autoencoder, crosscode};
use crate::ml::crosscoder::file::THRESHOLDS;
use crate::ml::crosscoder::{Activation, CodeNorm};
use crate::ml::{Error, Result};

/// Scores closer than this to where they would be cut, relative to the cut, may fall on either side in f32.
const DOUBTFUL: f64 = 1e-5;

/// What a convention gives for rows.
#[derive(Clone, Debug, Default)]
pub struct SlowCode {
    /// `[B, D]`, unscaled.
    pub features: Vec<f64>,
    /// `[B, 2, d]`.
    pub reconstruction: Vec<f64>,
    /// `[B, D]`: the score is so close to the cut that rounding decides.
    pub doubtful: Vec<bool>,
}

/// Which scores stay.
enum Cut {
    Positive,
    Over(f64),
    Largest(usize),
    /// Preactivations over a threshold a latent.
    OverEach(Vec<f64>),
}

/// Matrices as they lie in the file, and how to index them.
pub struct SlowCrosscoder {
    pub width: usize,
    pub latents: usize,
    encoder: Vec<f32>,
    encoder_bias: Vec<f32>,
    decoder: Vec<f32>,
    decoder_bias: Vec<f32>,
    /// The decoder is `[D, 2, d]`, not `[2, D, d]`.
    latents_first: bool,
    /// `[D]`: what scores are features times.
    norms: Vec<f64>,
    cut: Cut,
    /// `[2, d]` and a scale a model.
    normalizer: Option<(Vec<f32>, [f64; 2])>,
    /// `[2, d]`: subtracted from the rows that are encoded, and from nothing else.
    subtracted: Vec<f64>,
}

impl SlowCrosscoder {
    /// Reads a crosscoder of any layout by the convention of its project.
    ///
    /// # Errors
    /// As [`WeightsFile::load`].
    pub fn open(file: &WeightsFile, choices: &Choices) -> Result<Self> {
        let facts = file.facts()?;
        let (d, latents) = (facts.width, facts.latents);
        let read = |name: &str| -> Result<Option<Vec<f32>>> {
            Ok(file.tensors.floats(&file.name(name))?.map(|(_, values)| values))
        };
        let must =
            |name: &str| -> Result<Vec<f32>> { read(name)?.ok_or_else(|| file.bad(&format!("there is no `{name}`"))) };
        let zeros = |name: &str, n: usize| Ok::<_, Error>(read(name)?.unwrap_or_else(|| vec![0.0; n]));
        let own = facts.autoencoder.then(|| autoencoder::slow_parts(file, &facts)).transpose()?;
        let subtracted = own.as_ref().map_or_else(|| vec![0.0; 2 * d], |own| own.subtracted.clone());
        let is_autoencoder = own.is_some();
        let (encoder, encoder_bias, decoder, decoder_bias) = match (file.layout, own) {
            (_, Some(own)) => (own.encoder, own.encoder_bias, own.decoder, own.decoder_bias),
            (Layout::Published, _) => {
                (must("encoder.weight")?, must("encoder.bias")?, must("decoder.weight")?, must("decoder.bias")?)
            }
            (Layout::Kissane | Layout::Saelens, _) => (must("W_enc")?, must("b_enc")?, must("W_dec")?, must("b_dec")?),
            (Layout::Crosscode, _) => {
                (must("_W_enc_XiDiL")?, zeros("b_enc_L", latents)?, must("_W_dec_LXoDo")?, zeros("_b_dec_XoDo", 2 * d)?)
            }
        };
        let latents_first = file.layout != Layout::Published && !is_autoencoder;
        let mean = read("activation_mean")?.filter(|mean| mean.iter().all(|value| !value.is_nan()));
        let normalizer = match (mean, read("activation_global_scale")?) {
            (Some(mean), Some(scale)) => {
                let last = scale.len() - 1;
                Some((mean, [f64::from(scale[0]), f64::from(scale[last])]))
            }
            _ => None,
        };
        let cut = match file.activation(&facts, choices)? {
            Activation::Relu => Cut::Positive,
            Activation::Threshold { threshold, .. } => Cut::Over(f64::from(threshold)),
            Activation::TopK { k } => Cut::Largest(k as usize),
            Activation::JumpRelu { .. } => Cut::OverEach(match file.layout {
                Layout::Crosscode => {
                    must(crosscode::LOG_THRESHOLD)?.into_iter().map(|log| f64::from(log).exp()).collect()
                }
                Layout::Saelens => must("threshold")?.into_iter().map(f64::from).collect(),
                Layout::Published | Layout::Kissane => must(THRESHOLDS)?.into_iter().map(f64::from).collect(),
            }),
        };
        let mut slow = SlowCrosscoder {
            width: d,
            latents,
            encoder,
            encoder_bias,
            decoder,
            decoder_bias,
            latents_first,
            norms: Vec::new(),
            cut,
            normalizer,
            subtracted,
        };
        if file.layout == Layout::Saelens && !is_autoencoder {
            slow.as_saelens(file)?;
        }
        slow.norms = slow.code_norms(file.norm(&facts, choices));
        Ok(slow)
    }

    /// As SAELens reads them: `process_sae_in` subtracts b_dec where `apply_b_dec_to_input` says so. A slice a model stands one after the other.
    fn as_saelens(&mut self, file: &WeightsFile) -> Result<()> {
        let base = Autoencoder::of(file)?;
        let mut subtracts = vec![base.subtracts; self.decoder_bias.len()];
        if let Some(tuned) = &file.tuned {
            let must = |name: &str| -> Result<Vec<f32>> {
                Ok(tuned
                    .tensors
                    .floats(&tuned.name(name))?
                    .ok_or_else(|| tuned.bad(&format!("there is no `{name}`")))?
                    .1)
            };
            self.encoder.extend(must("W_enc")?);
            self.decoder.extend(must("W_dec")?);
            self.decoder_bias.extend(must("b_dec")?);
            self.latents_first = false;
            subtracts.resize(self.decoder_bias.len(), Autoencoder::of(tuned)?.subtracts);
        }
        self.subtracted =
            self.decoder_bias.iter().zip(subtracts).map(|(&bias, on)| if on { f64::from(bias) } else { 0.0 }).collect();
        Ok(())
    }

    fn decoder_at(&self, model: usize, latent: usize, i: usize) -> f64 {
        let row = if self.latents_first { 2 * latent + model } else { model * self.latents + latent };
        f64::from(self.decoder[row * self.width + i])
    }

    fn code_norms(&self, norm: CodeNorm) -> Vec<f64> {
        (0..self.latents)
            .into_par_iter()
            .map(|j| {
                let square = |m| (0..self.width).map(|i| self.decoder_at(m, j, i).powi(2)).sum::<f64>();
                let (base, tuned) = (square(0), square(1));
                match norm {
                    CodeNorm::Sum => base.sqrt() + tuned.sqrt(),
                    CodeNorm::Concat => (base + tuned).sqrt(),
                    CodeNorm::None => 1.0,
                    CodeNorm::Mixed { sae, cc } => {
                        f64::from(sae) * (base + tuned).sqrt() + f64::from(cc) * (base.sqrt() + tuned.sqrt())
                    }
                }
            })
            .collect()
    }

    /// Encodes and decodes rows `[B, 2, d]`, one number after the other.
    pub fn code(&self, x: &[f32]) -> SlowCode {
        let rows: Vec<SlowCode> = x.par_chunks(2 * self.width).map(|row| self.row(row)).collect();
        let mut all = SlowCode::default();
        for row in rows {
            all.features.extend(row.features);
            all.reconstruction.extend(row.reconstruction);
            all.doubtful.extend(row.doubtful);
        }
        all
    }

    fn row(&self, x: &[f32]) -> SlowCode {
        let (d, latents) = (self.width, self.latents);
        let inside = |place: usize| match &self.normalizer {
            Some((mean, scale)) => (f64::from(x[place]) - f64::from(mean[place])) * scale[place / d],
            None => f64::from(x[place]) - self.subtracted[place],
        };
        let mut pre: Vec<f64> = self.encoder_bias.iter().map(|&bias| f64::from(bias)).collect();
        for place in 0..2 * d {
            let value = inside(place);
            for (pre, &weight) in pre.iter_mut().zip(&self.encoder[place * latents..][..latents]) {
                *pre += value * f64::from(weight);
            }
        }
        let score = |j: usize| pre[j].max(0.0) * self.norms[j];
        let cut_at = |j: usize| match &self.cut {
            Cut::Positive => (pre[j], 0.0, pre[j] > 0.0),
            Cut::Over(threshold) => (score(j), *threshold, pre[j] > 0.0 && score(j) > *threshold),
            Cut::OverEach(thresholds) => (pre[j], thresholds[j], pre[j] > 0.0 && pre[j] > thresholds[j]),
            Cut::Largest(_) => (score(j), 0.0, false),
        };
        let mut code = SlowCode { features: vec![0.0; latents], doubtful: vec![false; latents], ..SlowCode::default() };
        if let Cut::Largest(k) = self.cut {
            let mut order: Vec<usize> = (0..latents).collect();
            order.sort_by(|&a, &b| score(b).total_cmp(&score(a)).then(a.cmp(&b)));
            let last = order.get(k.wrapping_sub(1)).map_or(0.0, |&j| score(j));
            order.iter().take(k).for_each(|&j| code.features[j] = pre[j].max(0.0));
            for j in 0..latents {
                code.doubtful[j] = score(j) > 0.0 && (score(j) - last).abs() <= DOUBTFUL * last;
            }
        } else {
            for j in 0..latents {
                let (value, cut, stays) = cut_at(j);
                code.features[j] = if stays { pre[j] } else { 0.0 };
                code.doubtful[j] = (value - cut).abs() <= DOUBTFUL * cut.abs().max(1e-2);
            }
        }
        let active: Vec<usize> = (0..latents).filter(|&j| code.features[j] > 0.0).collect();
        for model in 0..2 {
            for i in 0..d {
                let sum: f64 = active.iter().map(|&j| code.features[j] * self.decoder_at(model, j, i)).sum();
                let mut value = sum + f64::from(self.decoder_bias[model * d + i]);
                if let Some((mean, scale)) = &self.normalizer {
                    value = value / (scale[model] + 1e-8) + f64::from(mean[model * d + i]);
                }
                code.reconstruction.push(value);
            }
        }
        code
    }
}
