//! The layout of Kissane et al. (docs/method.md 2.4, 9.2).

use super::Layout;
use super::weights_file::{WeightsFacts, WeightsFile};
use crate::ml::Result;
use crate::ml::crosscoder::{Activation, CodeNorm, Crosscoder, Variant};

/// What can be said without reading the matrices.
pub(super) fn facts(file: &WeightsFile) -> Result<WeightsFacts> {
    if let Some(shape) = file.tensors.shape(&file.name("W_enc")).filter(|shape| shape.len() == 2) {
        return Err(
            file.bad(&format!("it is a sparse autoencoder of one model (`W_enc` {shape:?}), not a crosscoder of two"))
        );
    }
    let [models, width, latents] = file.shape("W_enc")?;
    if models != 2 {
        return Err(file.bad(&format!("it encodes {models} models or layers; xd reads crosscoders of two models")));
    }
    Ok(WeightsFacts {
        layout: Layout::Kissane,
        width,
        latents,
        norm: CodeNorm::Sum,
        activation: Ok(Activation::Relu),
        norm_assumed: false,
        normalizes: false,
        expects: Some("per_model_scale"),
        assumed: Vec::new(),
        autoencoder: false,
        reads: None,
    })
}

/// `decoder.weight` = `W_dec` [D, 2, d] with its first two axes exchanged.
pub(super) fn load(file: &WeightsFile, facts: &WeightsFacts) -> Result<Crosscoder> {
    let (d, latents) = (facts.width, facts.latents);
    Ok(Crosscoder {
        width: d,
        latents,
        encoder_weight: file.matrix("W_enc", &[2, d, latents])?,
        encoder_bias: file.matrix("b_enc", &[latents])?,
        decoder_weight: models_first(&file.matrix("W_dec", &[latents, 2, d])?, latents, d),
        decoder_bias: file.matrix("b_dec", &[2, d])?,
        code_norm: facts.norm,
        activation: Activation::Relu,
        normalizer: None,
        variant: Variant::SharedCode,
    })
}

/// `[D, 2, d]` to `[2, D, d]`.
pub(super) fn models_first(rows: &[f32], latents: usize, d: usize) -> Vec<f32> {
    let mut out = Vec::with_capacity(rows.len());
    for model in 0..2 {
        for latent in 0..latents {
            out.extend_from_slice(&rows[(2 * latent + model) * d..][..d]);
        }
    }
    out
}

/// `[2, D, d]` to `[D, 2, d]`.
pub(super) fn latents_first(rows: &[f32], latents: usize, d: usize) -> Vec<f32> {
    let mut out = Vec::with_capacity(rows.len());
    for latent in 0..latents {
        for model in 0..2 {
            out.extend_from_slice(&rows[(model * latents + latent) * d..][..d]);
        }
    }
    out
}
