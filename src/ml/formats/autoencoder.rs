//! An autoencoder of vectors `[d]` in the files of two projects: the published SAEs and diff-SAEs (docs/method.md 1.7, 9.2), and SAELens.

use super::saelens::{self, Kind};
use super::weights_file::{WeightsFacts, WeightsFile};
use super::{Layout, published};
use crate::ml::Result;
use crate::ml::crosscoder::{Activation, Autoencoder, CodeNorm, Crosscoder, Target};
use crate::ml::kernels::transposed;

/// Key of what it reads, in trainer_config.json of xd's folders and in the metadata of its SAELens folders.
pub const READS: &str = "target";

/// The word for a target in files: as in the published training script.
pub fn target_word(target: Target) -> &'static str {
    match target {
        Target::Base => "base",
        Target::Tuned => "chat",
        Target::Difference => "difference_cb",
    }
}

/// True of a state dict of the published classes for one vector: `encoder.weight` [D, d].
pub(super) fn is_published(file: &WeightsFile) -> bool {
    let shape = file.tensors.shape(&file.name("encoder.weight"));
    file.layout == Layout::Published && shape.is_some_and(|shape| shape.len() == 2)
}

/// True of an autoencoder of SAELens that reads one vector, as the user or its metadata says.
pub(super) fn is_saelens(file: &WeightsFile) -> bool {
    file.layout == Layout::Saelens && file.tuned.is_none() && (file.reads.is_some() || stated(file).is_some())
}

/// What it reads: as the user says, or as its files do.
pub(super) fn reads(file: &WeightsFile) -> Option<Target> {
    file.reads.or_else(|| stated(file))
}

fn stated(file: &WeightsFile) -> Option<Target> {
    let place = if file.layout == Layout::Saelens { &file.config["metadata"] } else { &file.trainer };
    let word = place[READS].as_str()?;
    [Target::Base, Target::Tuned, Target::Difference].into_iter().find(|target| target_word(*target) == word)
}

/// What can be said without reading the matrices.
pub(super) fn facts(file: &WeightsFile) -> Result<WeightsFacts> {
    let mut assumed = Vec::new();
    let (width, latents, norm, activation) = match file.layout {
        Layout::Saelens => {
            let own = saelens::Autoencoder::of(file)?;
            let activation = match own.kind {
                Kind::Standard => Activation::Relu,
                Kind::JumpRelu => Activation::JumpRelu { thresholds: file.matrix("threshold", &[own.latents])? },
                Kind::TopK(k) => Activation::TopK { k },
            };
            let norm = if own.rescales { CodeNorm::Concat } else { CodeNorm::None };
            (own.width, own.latents, norm, Ok(activation))
        }
        _ => {
            let [latents, width] = file.shape("encoder.weight")?;
            if published::normalizer_is_on(file)? {
                return Err(file.bad(
                    "it is an autoencoder that centres and scales its rows itself (`activation_mean`); xd reads those of rows as they are",
                ));
            }
            let norm = published::stated_norm(file, &mut assumed)?.unwrap_or(CodeNorm::None);
            (width, latents, norm, published::activation(file)?)
        }
    };
    Ok(WeightsFacts {
        layout: file.layout,
        width,
        latents,
        norm,
        activation,
        norm_assumed: false,
        normalizes: false,
        expects: None,
        assumed,
        autoencoder: true,
        reads: reads(file),
    })
}

/// Weights in the form of a crosscoder; the activation and norm are those of the facts.
pub(super) fn load(file: &WeightsFile, facts: &WeightsFacts) -> Result<Crosscoder> {
    let (d, latents) = (facts.width, facts.latents);
    let Some(on) = facts.reads else {
        return Err(file.bad(
            "it is a sparse autoencoder of one vector, and the files do not say of what: write `variant = sae(on = tuned)` (or `base`, or \
             `difference`) beside `from`, or `xd import PATH --reads tuned --out FOLDER`",
        ));
    };
    let own = match file.layout {
        Layout::Saelens => {
            let encoder = transposed(&file.matrix("W_enc", &[d, latents])?, d, latents);
            let (bias, mut encoder_bias) = (file.matrix("b_dec", &[d])?, file.matrix("b_enc", &[latents])?);
            if !saelens::Autoencoder::of(file)?.subtracts {
                // What is not subtracted from the rows is given back in the bias.
                for (sum, row) in encoder_bias.iter_mut().zip(encoder.chunks_exact(d)) {
                    let along: f64 = row.iter().zip(&bias).map(|(e, b)| f64::from(*e) * f64::from(*b)).sum();
                    *sum = (f64::from(*sum) + along) as f32;
                }
            }
            let decoder = file.matrix("W_dec", &[latents, d])?;
            Autoencoder { on, width: d, encoder, encoder_bias, decoder, bias }
        }
        _ => Autoencoder {
            on,
            width: d,
            encoder: file.matrix("encoder.weight", &[latents, d])?,
            encoder_bias: file.matrix("encoder.bias", &[latents])?,
            decoder: transposed(&file.matrix("decoder.weight", &[d, latents])?, d, latents),
            bias: file.matrix("b_dec", &[d])?,
        },
    };
    Ok(own.crosscoder(Activation::Relu))
}

/// `[2 d, D]`, `[2, D, d]` and `[2 d]` of [`super::slow_crosscoder`], by the project's own indices, and what is subtracted from rows `[2 d]`.
pub(super) fn slow_parts(file: &WeightsFile, facts: &WeightsFacts) -> Result<SlowParts> {
    let (d, latents) = (facts.width, facts.latents);
    let on = facts.reads.ok_or_else(|| file.bad("nothing says what it reads"))?;
    let saelens = file.layout == Layout::Saelens;
    let (encoder, decoder) = match saelens {
        true => (file.matrix("W_enc", &[d, latents])?, file.matrix("W_dec", &[latents, d])?),
        false => (file.matrix("encoder.weight", &[latents, d])?, file.matrix("decoder.weight", &[d, latents])?),
    };
    let bias = file.matrix("b_dec", &[d])?;
    let subtracts = !saelens || saelens::Autoencoder::of(file)?.subtracts;
    let mut parts = SlowParts {
        encoder: vec![0.0; 2 * d * latents],
        encoder_bias: file.matrix(if saelens { "b_enc" } else { "encoder.bias" }, &[latents])?,
        decoder: vec![0.0; 2 * d * latents],
        decoder_bias: vec![0.0; 2 * d],
        subtracted: vec![0.0; 2 * d],
    };
    let writes = on.model();
    for i in 0..d {
        for j in 0..latents {
            let weight = if saelens { encoder[i * latents + j] } else { encoder[j * d + i] };
            for model in 0..2 {
                parts.encoder[(model * d + i) * latents + j] = on.sign(model) * weight;
            }
            parts.decoder[(writes * latents + j) * d + i] =
                if saelens { decoder[j * d + i] } else { decoder[i * latents + j] };
        }
        parts.decoder_bias[writes * d + i] = bias[i];
        parts.subtracted[writes * d + i] = if subtracts { f64::from(bias[i]) } else { 0.0 };
    }
    Ok(parts)
}

/// Matrices for the slow reading.
pub(super) struct SlowParts {
    pub encoder: Vec<f32>,
    pub encoder_bias: Vec<f32>,
    pub decoder: Vec<f32>,
    pub decoder_bias: Vec<f32>,
    pub subtracted: Vec<f64>,
}
