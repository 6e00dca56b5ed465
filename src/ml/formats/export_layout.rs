//! A crosscoder in the layouts of other projects.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::json;

use super::crosscode::LOG_THRESHOLD;
use super::kissane::latents_first;
use super::probe::{Comparison, compare, compare_slow, probe_rows};
use super::published::MIXED;
use super::slow_crosscoder::SlowCrosscoder;
use super::weights_file::{Choices, WeightsFile};
use super::{saelens_writer, write_torch};
use crate::ml::crosscoder::file::THRESHOLDS;
use crate::ml::crosscoder::tensor_file::{Tensor, write_text};
use crate::ml::crosscoder::{Activation, Autoencoder, CodeNorm, Crosscoder};
use crate::ml::kernels::transposed;
use crate::ml::{Error, Result};

/// Where a crosscoder can go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportLayout {
    /// Folder: model.safetensors, config.json, trainer_config.json.
    Published,
    /// One `.pt` file: the state dict of the published classes.
    Torch,
    /// Folder: cc_weights.pt, cfg.json.
    Kissane,
    /// Folder: model.pt, model_cfg.yaml.
    Crosscode,
    /// Folder with `joint`, `base` and `tuned`; of an autoencoder the folder itself.
    Saelens,
}

/// The threshold a latent on preactivations that means the same as one on f_j S_j: theta / S_j.
fn thresholds(crosscoder: &Crosscoder, threshold: f32) -> Vec<f32> {
    crosscoder.code_norms().into_iter().map(|norm| if norm > 0.0 { threshold / norm } else { f32::MAX }).collect()
}

/// What of this crosscoder a layout has no place for, a sentence each.
pub fn lost(crosscoder: &Crosscoder, layout: ExportLayout) -> Vec<String> {
    if crosscoder.variant.target().is_some() {
        return lost_of_autoencoder(crosscoder, layout);
    }
    let mut lost = Vec::new();
    let norm = crosscoder.code_norm.word();
    // One scale for both models leaves the norms in proportion.
    let normalizes = crosscoder.normalizer.as_ref().is_some_and(|by| by.scale[0] != by.scale[1]);
    match (layout, &crosscoder.activation) {
        (ExportLayout::Published | ExportLayout::Torch, Activation::TopK { .. }) => {
            lost.push(
                "the published project has no class for a top-k a token: its loader would take it for a plain ReLU"
                    .into(),
            );
        }
        (ExportLayout::Published | ExportLayout::Torch, Activation::JumpRelu { .. }) => {
            lost.push(
                "the published project has no class for a threshold a latent: its loader would take it for a plain ReLU"
                    .into(),
            );
        }
        (
            ExportLayout::Kissane,
            Activation::Threshold { .. } | Activation::TopK { .. } | Activation::JumpRelu { .. },
        ) => {
            lost.push("the layout has no place for a threshold or k: it would encode as a plain ReLU".into());
        }
        (ExportLayout::Crosscode, Activation::TopK { .. }) if crosscoder.code_norm != CodeNorm::None => {
            lost.push(format!("crosscode ranks preactivations as they are, not times the code norm (`{norm}`)"));
        }
        (ExportLayout::Crosscode, Activation::Threshold { threshold, .. }) if *threshold <= 0.0 => {
            lost.push(format!("the threshold {threshold} has no logarithm, which crosscode keeps"));
        }
        (ExportLayout::Crosscode, Activation::JumpRelu { thresholds }) => {
            if let Some(latent) = thresholds.iter().position(|threshold| *threshold <= 0.0) {
                lost.push(format!(
                    "the threshold {} of latent {latent} has no logarithm, which crosscode keeps",
                    thresholds[latent]
                ));
            }
        }
        _ => {}
    }
    if layout == ExportLayout::Torch {
        lost.extend(lost_alphas(crosscoder));
    }
    if layout == ExportLayout::Crosscode
        && !matches!(crosscoder.activation, Activation::TopK { .. })
        && crosscoder.code_norm != CodeNorm::Sum
    {
        lost.push(format!(
            "crosscode adds the decoder norms in its losses, and this crosscoder's code norm is `{norm}`"
        ));
    }
    if matches!(layout, ExportLayout::Kissane) && crosscoder.code_norm != CodeNorm::Sum {
        lost.push(format!("its readers add the decoder norms, and this crosscoder's code norm is `{norm}`"));
    }
    if normalizes && matches!(layout, ExportLayout::Kissane | ExportLayout::Crosscode | ExportLayout::Saelens) {
        lost.push(
            "its normaliser is folded into the weights, so decoder norms (and the classes by them) are those of raw activations".into(),
        );
    }
    lost
}

/// The same of an autoencoder of one vector.
fn lost_of_autoencoder(crosscoder: &Crosscoder, layout: ExportLayout) -> Vec<String> {
    let mut lost = Vec::new();
    match (layout, &crosscoder.activation) {
        (ExportLayout::Kissane | ExportLayout::Crosscode, _) => lost.push(
            "the layout is one of crosscoders and does not say that this is an autoencoder: it would be read as a crosscoder whose other half is zero"
                .into(),
        ),
        (ExportLayout::Published | ExportLayout::Torch, Activation::Relu | Activation::JumpRelu { .. }) => lost.push(
            "the published project has top-k autoencoders only: its loader would not take this one".into(),
        ),
        (ExportLayout::Torch, Activation::TopK { .. }) => lost.push(
            "one file of tensors does not say that the k largest of each row stay active: its loader would use the threshold".into(),
        ),
        _ => {}
    }
    lost
}

/// What a file of tensors alone does not hold of a mixed code norm: its two numbers, unless they are those that readers assume.
pub fn lost_alphas(crosscoder: &Crosscoder) -> Option<String> {
    match crosscoder.code_norm {
        CodeNorm::Mixed { sae, cc } if (sae, cc) != MIXED => Some(format!(
            "the code norm is {sae} times the norm of both decoder vectors together plus {cc} times the sum of their norms, and these two numbers \
             stand in a config.json, which this format has not"
        )),
        _ => None,
    }
}

/// Writes the files.
///
/// # Errors
/// They cannot be written.
pub fn export_crosscoder(crosscoder: &Crosscoder, layout: ExportLayout, out: &Path) -> Result<()> {
    let folder = if layout == ExportLayout::Torch { out.parent().unwrap_or(Path::new("")) } else { out };
    if !folder.as_os_str().is_empty() {
        std::fs::create_dir_all(folder).map_err(|error| Error::file(folder, error))?;
    }
    match layout {
        ExportLayout::Published => crosscoder.save(out),
        ExportLayout::Torch => torch(crosscoder, out),
        ExportLayout::Kissane => kissane(crosscoder, out),
        ExportLayout::Crosscode => crosscode(crosscoder, out),
        ExportLayout::Saelens => saelens_writer::write_saelens(crosscoder, out),
    }
}

/// The state dict of `CrossCoder` and `BatchTopKCrossCoder`, or of `BatchTopKSAE` and `AutoEncoderTopK`.
fn torch(crosscoder: &Crosscoder, out: &Path) -> Result<()> {
    if let Some(own) = Autoencoder::of(crosscoder) {
        let columns = transposed(&own.decoder, own.latents(), own.width);
        return write_torch(out, &own.tensors(&columns, crosscoder.code_norm, &crosscoder.activation).0);
    }
    let (d, latents) = (crosscoder.width, crosscoder.latents);
    let (weights, normalizer) = crosscoder.unfolded();
    let off = vec![f32::NAN; 2 * d];
    let (mean, std, scale, target) = match &normalizer {
        Some(on) => (&on.mean, &on.std, on.scale, on.target_rms),
        None => (&off, &off, [1.0; 2], 1.0),
    };
    let mut tensors = BTreeMap::from([
        ("encoder.weight", Tensor::f32(&[2, d, latents], &weights.encoder_weight)),
        ("encoder.bias", Tensor::f32(&[latents], &weights.encoder_bias)),
        ("decoder.weight", Tensor::f32(&[2, latents, d], &weights.decoder_weight)),
        ("decoder.bias", Tensor::f32(&[2, d], &weights.decoder_bias)),
        ("code_normalization_id", Tensor::i64(&[], &[crosscoder.code_norm.id()])),
        ("activation_mean", Tensor::f32(&[2, d], mean)),
        ("activation_std", Tensor::f32(&[2, d], std)),
        ("activation_global_scale", Tensor::f32(&[2], &scale)),
        ("target_rms", Tensor::f32_scalar(target)),
    ]);
    match &crosscoder.activation {
        &Activation::Threshold { k, threshold } => {
            tensors.insert("k", Tensor::i32_scalar(k as i32));
            tensors.insert("threshold", Tensor::f32_scalar(threshold));
        }
        &Activation::TopK { k } => drop(tensors.insert("k", Tensor::i32_scalar(k as i32))),
        Activation::JumpRelu { thresholds } => {
            drop(tensors.insert(THRESHOLDS, Tensor::f32(&[latents], thresholds)));
        }
        Activation::Relu => {}
    }
    write_torch(out, &tensors)
}

fn kissane(crosscoder: &Crosscoder, out: &Path) -> Result<()> {
    let (d, latents) = (crosscoder.width, crosscoder.latents);
    let decoder = latents_first(&crosscoder.decoder_weight, latents, d);
    let tensors = BTreeMap::from([
        ("W_enc", Tensor::f32(&[2, d, latents], &crosscoder.encoder_weight)),
        ("W_dec", Tensor::f32(&[latents, 2, d], &decoder)),
        ("b_enc", Tensor::f32(&[latents], &crosscoder.encoder_bias)),
        ("b_dec", Tensor::f32(&[2, d], &crosscoder.decoder_bias)),
    ]);
    write_torch(&out.join("cc_weights.pt"), &tensors)?;
    let config = json!({ "d_in": d, "dict_size": latents, "enc_dtype": "fp32" });
    write_text(&out.join("cfg.json"), &(serde_json::to_string_pretty(&config).unwrap_or_default() + "\n"))
}

/// The activation of a JumpReLU crosscoder in model_cfg.yaml.
const JUMP_RELU: &str = "  cfg:\n    bandwidth: 2.0\n    size: SIZE\n  classname: AnthropicSTEJumpReLUActivation\n";

fn crosscode(crosscoder: &Crosscoder, out: &Path) -> Result<()> {
    let (d, latents) = (crosscoder.width, crosscoder.latents);
    let decoder = latents_first(&crosscoder.decoder_weight, latents, d);
    let logarithms: Vec<f32>;
    let mut tensors = BTreeMap::from([
        ("_W_enc_XiDiL", Tensor::f32(&[2, 1, d, latents], &crosscoder.encoder_weight)),
        ("_W_dec_LXoDo", Tensor::f32(&[latents, 2, 1, d], &decoder)),
        ("b_enc_L", Tensor::f32(&[latents], &crosscoder.encoder_bias)),
        ("_b_dec_XoDo", Tensor::f32(&[2, 1, d], &crosscoder.decoder_bias)),
        ("folded_scaling_factors_in_Xi", Tensor::f32(&[2, 1], &[1.0, 1.0])),
        ("folded_scaling_factors_out_Xo", Tensor::f32(&[2, 1], &[1.0, 1.0])),
        ("is_folded", Tensor::truth_scalar(true)),
    ]);
    let jump = |thresholds: &[f32]| thresholds.iter().map(|threshold| threshold.ln()).collect::<Vec<f32>>();
    let function = match &crosscoder.activation {
        &Activation::Threshold { threshold, .. } if threshold > 0.0 => {
            logarithms = jump(&thresholds(crosscoder, threshold));
            JUMP_RELU.replace("SIZE", &latents.to_string())
        }
        Activation::JumpRelu { thresholds } => {
            logarithms = jump(thresholds);
            JUMP_RELU.replace("SIZE", &latents.to_string())
        }
        Activation::TopK { k } => {
            logarithms = Vec::new();
            format!("  cfg:\n    k: {k}\n  classname: TopkActivation\n")
        }
        Activation::Relu | Activation::Threshold { .. } => {
            logarithms = Vec::new();
            "  cfg: {}\n  classname: ReLUActivation\n".to_string()
        }
    };
    if !logarithms.is_empty() {
        tensors.insert(LOG_THRESHOLD, Tensor::f32(&[latents], &logarithms));
    }
    write_torch(&out.join("model.pt"), &tensors)?;
    let config = format!(
        "activation_fn:\n{function}d_model: {d}\ndtype: float32\nn_hookpoints: 1\nn_latents: {latents}\nn_models: 2\nuse_decoder_bias: true\nuse_encoder_bias: true\n"
    );
    write_text(&out.join("model_cfg.yaml"), &config)
}

/// Reads the written files by the convention of their project and compares the features and reconstructions of a probe with the
/// crosscoder's. Where a layout keeps scaled features (top-k in SAELens), it is these that are compared.
///
/// # Errors
/// The files cannot be read back.
pub fn verify_export(crosscoder: &Crosscoder, layout: ExportLayout, out: &Path) -> Result<Comparison> {
    let x = probe_rows(crosscoder);
    let code = crosscoder.encode(&x);
    let decoded = crosscoder.decode(&code);
    let norms = crosscoder.code_norms();
    let target = crosscoder.variant.target();
    let joint = layout == ExportLayout::Saelens && target.is_none();
    let read = if joint { out.join("joint") } else { out.to_path_buf() };
    let mut file = WeightsFile::open(&read, None)?;
    if let Some(target) = target {
        file = file.reading(target)?;
    }
    let slow = SlowCrosscoder::open(&file, &Choices::default())?;
    let scaled = joint && matches!(&crosscoder.activation, Activation::TopK { .. });
    Ok(compare(&slow.code(&x), &code, &decoded, scaled.then_some(&norms[..])))
}

/// Reads files elsewhere by the convention of their project and compares with a crosscoder that was made of them.
///
/// # Errors
/// The files cannot be read.
pub fn verify_import(file: &WeightsFile, choices: &Choices, made: &Crosscoder) -> Result<Comparison> {
    let x = probe_rows(made);
    let code = made.encode(&x);
    let decoded = made.decode(&code);
    let slow = SlowCrosscoder::open(file, choices)?.code(&x);
    Ok(compare(&slow, &code, &decoded, None))
}

/// How far the features of the slices of one model are from the crosscoder's: `[base, tuned]`, on the probe, relative to the largest feature.
///
/// # Errors
/// The files cannot be read back.
pub fn slices_apart(crosscoder: &Crosscoder, out: &Path) -> Result<[f64; 2]> {
    let x = probe_rows(crosscoder);
    let d = crosscoder.width;
    let whole = SlowCrosscoder::open(&WeightsFile::open(&out.join("joint"), None)?, &Choices::default())?;
    let rows = x.len() / (2 * d);
    let joint = whole.code(&x);
    let mut apart = [0.0; 2];
    for (model, apart) in apart.iter_mut().enumerate() {
        // A slice sees its own model's activations: to the whole that is the other model's being zero.
        let mut half = x.clone();
        half.chunks_mut(2 * d).for_each(|row| row[(1 - model) * d..][..d].fill(0.0));
        *apart = compare_slow(rows, &joint, &whole.code(&half), None).features;
    }
    Ok(apart)
}
