//! A crosscoder as autoencoders of SAELens: `cfg.json` and `sae_weights.safetensors` a folder.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::json;

use super::autoencoder::{READS, target_word};
use super::kissane::latents_first;
use super::saelens::{CONFIG, Part, WEIGHTS};
use crate::ml::crosscoder::tensor_file::{self, Tensor};
use crate::ml::crosscoder::{Activation, Autoencoder, CodeNorm, Crosscoder};
use crate::ml::kernels::transposed;
use crate::ml::{Error, Result};

/// Writes three folders: `joint` reads both models' activations side by side `[2 d]` and has the crosscoder's features; `base` and `tuned`
/// are the slices of one model each, whose decoders are exact and whose encoders see half of what the crosscoder sees.
///
/// Thresholds on f_j S_j become thresholds theta / S_j on preactivations (`jumprelu`). For top-k, S_j goes into the weights, so that SAELens ranks
/// as the crosscoder does; features are then f_j S_j. An autoencoder of one vector is written as it is, into the folder itself.
///
/// # Errors
/// Files cannot be written.
pub fn write_saelens(crosscoder: &Crosscoder, out: &Path) -> Result<()> {
    if let Some(own) = Autoencoder::of(crosscoder) {
        return write_one(&own, crosscoder, out);
    }
    let (d, latents) = (crosscoder.width, crosscoder.latents);
    let norms = crosscoder.code_norms();
    let mut encoder = crosscoder.encoder_weight.clone();
    let mut bias = crosscoder.encoder_bias.clone();
    let mut decoder = latents_first(&crosscoder.decoder_weight, latents, d);
    let (architecture, k, threshold) = match &crosscoder.activation {
        &Activation::Threshold { threshold, .. } if threshold >= 0.0 => {
            // A latent without norm never scores over the threshold.
            let each = norms.iter().map(|&norm| if norm > 0.0 { threshold / norm } else { f32::MAX });
            ("jumprelu", None, Some(each.collect::<Vec<f32>>()))
        }
        Activation::Relu | Activation::Threshold { .. } => ("standard", None, None),
        Activation::JumpRelu { thresholds } => ("jumprelu", None, Some(thresholds.clone())),
        &Activation::TopK { k } => {
            for row in encoder.chunks_mut(latents) {
                row.iter_mut().zip(&norms).for_each(|(weight, norm)| *weight *= norm);
            }
            bias.iter_mut().zip(&norms).for_each(|(bias, norm)| *bias *= norm);
            for (row, norm) in decoder.chunks_mut(2 * d).zip(&norms).filter(|(_, norm)| **norm > 0.0) {
                row.iter_mut().for_each(|weight| *weight /= norm);
            }
            ("topk", Some(k), None)
        }
    };
    let half = |model: usize| -> Vec<f32> {
        (0..latents).flat_map(|j| decoder[(2 * j + model) * d..][..d].iter().copied()).collect()
    };
    let slices = [
        (Part::Joint, 2 * d, encoder.clone(), decoder.clone(), crosscoder.decoder_bias.clone()),
        (Part::Base, d, encoder[..d * latents].to_vec(), half(0), crosscoder.decoder_bias[..d].to_vec()),
        (Part::Tuned, d, encoder[d * latents..].to_vec(), half(1), crosscoder.decoder_bias[d..].to_vec()),
    ];
    // With S_j in the weights, f_j is the score.
    let norm = if k.is_some() { CodeNorm::None } else { crosscoder.code_norm };
    for (part, width, encoder, decoder, decoder_bias) in &slices {
        let folder = out.join(part.folder());
        std::fs::create_dir_all(&folder).map_err(|error| Error::file(&folder, error))?;
        let mut tensors = BTreeMap::from([
            ("W_enc", Tensor::f32(&[*width, latents], encoder)),
            ("b_enc", Tensor::f32(&[latents], &bias)),
            ("W_dec", Tensor::f32(&[latents, *width], decoder)),
            ("b_dec", Tensor::f32(&[*width], decoder_bias)),
        ]);
        if let Some(threshold) = &threshold {
            tensors.insert("threshold", Tensor::f32(&[latents], threshold));
        }
        tensor_file::write(&folder.join(WEIGHTS), &tensors, None)?;
        let mut config = json!({
            "architecture": architecture,
            "d_in": width,
            "d_sae": latents,
            "dtype": "float32",
            "device": "cpu",
            "apply_b_dec_to_input": false,
            "normalize_activations": "none",
            "reshape_activations": "none",
            "metadata": { "crosscoder": part.note(), "code_norm": norm },
        });
        if let Some(k) = k {
            config["k"] = json!(k);
            config["rescale_acts_by_decoder_norm"] = json!(false);
        }
        let text = serde_json::to_string_pretty(&config).unwrap_or_default() + "\n";
        tensor_file::write_text(&folder.join(CONFIG), &text)?;
    }
    Ok(())
}

/// p = (x - b_dec) W_enc + b_enc, as SAELens has it with `apply_b_dec_to_input`; a threshold on f is the same for all latents.
fn write_one(own: &Autoencoder, crosscoder: &Crosscoder, out: &Path) -> Result<()> {
    let (d, latents) = (own.width, own.latents());
    let encoder = transposed(&own.encoder, latents, d);
    let norms = crosscoder.code_norms();
    let each =
        |threshold: f32| norms.iter().map(|&norm| if norm > 0.0 { threshold / norm } else { f32::MAX }).collect();
    let (architecture, k, threshold): (_, _, Option<Vec<f32>>) = match &crosscoder.activation {
        &Activation::Threshold { threshold, .. } if threshold >= 0.0 => ("jumprelu", None, Some(each(threshold))),
        Activation::Relu | Activation::Threshold { .. } => ("standard", None, None),
        Activation::JumpRelu { thresholds } => ("jumprelu", None, Some(thresholds.clone())),
        &Activation::TopK { k } => ("topk", Some(k), None),
    };
    std::fs::create_dir_all(out).map_err(|error| Error::file(out, error))?;
    let mut tensors = BTreeMap::from([
        ("W_enc", Tensor::f32(&[d, latents], &encoder)),
        ("b_enc", Tensor::f32(&[latents], &own.encoder_bias)),
        ("W_dec", Tensor::f32(&[latents, d], &own.decoder)),
        ("b_dec", Tensor::f32(&[d], &own.bias)),
    ]);
    if let Some(threshold) = &threshold {
        tensors.insert("threshold", Tensor::f32(&[latents], threshold));
    }
    tensor_file::write(&out.join(WEIGHTS), &tensors, None)?;
    let mut config = json!({
        "architecture": architecture,
        "d_in": d,
        "d_sae": latents,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": true,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "metadata": { READS: target_word(own.on) },
    });
    if let Some(k) = k {
        config["k"] = json!(k);
        config["rescale_acts_by_decoder_norm"] = json!(crosscoder.code_norm != CodeNorm::None);
    }
    let text = serde_json::to_string_pretty(&config).unwrap_or_default() + "\n";
    tensor_file::write_text(&out.join(CONFIG), &text)
}
