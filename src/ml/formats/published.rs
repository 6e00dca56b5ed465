//! The layout of the paper's project: its folders of the hub and its checkpoints (docs/method.md 1.1, 9.2).

use serde_json::Value;

use super::Layout;
use super::weights_file::{WeightsFacts, WeightsFile};
use crate::ml::Result;
use crate::ml::crosscoder::file::{RELU_SAE, THRESHOLDS};
use crate::ml::crosscoder::weights::FoldedNormalizer;
use crate::ml::crosscoder::{Activation, CodeNorm, Crosscoder, Variant};

/// `alpha_sae` and `alpha_cc` of MIXED where nothing states them.
pub(super) const MIXED: (f32, f32) = (1.0, 0.1);

/// What can be said without reading the matrices.
pub(super) fn facts(file: &WeightsFile) -> Result<WeightsFacts> {
    let [models, width, latents] = file.shape("encoder.weight")?;
    if models != 2 {
        return Err(file.bad(&format!("it encodes {models} models or layers; xd reads crosscoders of two models")));
    }
    let mut assumed = Vec::new();
    let (norm, norm_assumed) = norm(file, &mut assumed)?;
    let normalizer = normalizer(file, width)?;
    Ok(WeightsFacts {
        layout: Layout::Published,
        width,
        latents,
        norm,
        activation: activation(file)?,
        norm_assumed,
        normalizes: normalizer.is_some(),
        expects: None,
        assumed,
        autoencoder: false,
        reads: None,
    })
}

/// Weights, with the normaliser folded in; the activation and norm are those of the facts.
pub(super) fn load(file: &WeightsFile, facts: &WeightsFacts) -> Result<Crosscoder> {
    let (d, latents) = (facts.width, facts.latents);
    let mut crosscoder = Crosscoder {
        width: d,
        latents,
        encoder_weight: file.matrix("encoder.weight", &[2, d, latents])?,
        encoder_bias: file.matrix("encoder.bias", &[latents])?,
        decoder_weight: file.matrix("decoder.weight", &[2, latents, d])?,
        decoder_bias: file.matrix("decoder.bias", &[2, d])?,
        code_norm: facts.norm,
        activation: Activation::Relu,
        normalizer: None,
        variant: Variant::SharedCode,
    };
    if let Some(normalizer) = normalizer(file, d)? {
        crosscoder.fold(normalizer);
    }
    Ok(crosscoder)
}

/// By the buffer, by a config, by the older keys of a config, or assumed as the published loader does; and whether it was.
fn norm(file: &WeightsFile, assumed: &mut Vec<String>) -> Result<(CodeNorm, bool)> {
    if let Some(norm) = stated_norm(file, assumed)? {
        return Ok((norm, false));
    }
    let stated = [
        &file.config["code_normalization"],
        &file.trainer["code_normalization"],
        &file.trainer["sparsity_loss_type"],
        &file.config["sparsity_loss_type"],
    ];
    if let Some(word) = stated.into_iter().find_map(Value::as_str) {
        return Ok((of_word(file, word, assumed)?, false));
    }
    assumed.push(
        "the files do not say how decoder norms make one code norm: `sum` (CROSSCODER) is assumed, as the published loader does".into(),
    );
    Ok((CodeNorm::Sum, true))
}

/// By the buffer alone.
pub(super) fn stated_norm(file: &WeightsFile, assumed: &mut Vec<String>) -> Result<Option<CodeNorm>> {
    let ids = file.tensors.integers(&file.name("code_normalization_id"))?;
    ids.and_then(|ids| ids.first().copied()).map(|id| of_word(file, &id.to_string(), assumed)).transpose()
}

fn of_word(file: &WeightsFile, word: &str, assumed: &mut Vec<String>) -> Result<CodeNorm> {
    let tail = word.rsplit('.').next().unwrap_or(word).to_ascii_uppercase();
    match tail.as_str() {
        "1" | "CROSSCODER" | "CC" => Ok(CodeNorm::Sum),
        "2" | "SAE" => Ok(CodeNorm::Concat),
        "4" | "NONE" => Ok(CodeNorm::None),
        "3" | "MIXED" => mixed(file, assumed),
        "5" | "DECOUPLED" => Err(file.bad(
            "it is DECOUPLED: each model has a code, a top-k and a threshold of its own. xd reads crosscoders with one code for both models",
        )),
        _ => Err(file.bad(&format!("its code norm `{word}` is not known"))),
    }
}

/// alpha_sae * SAE + alpha_cc * CROSSCODER (docs/method.md 1.2), by the configs of any age.
fn mixed(file: &WeightsFile, assumed: &mut Vec<String>) -> Result<CodeNorm> {
    let mut alphas = [MIXED.0, MIXED.1];
    for (alpha, name) in alphas.iter_mut().zip(["sae", "cc"]) {
        let keys = [format!("code_normalization_alpha_{name}"), format!("sparsity_loss_alpha_{name}")];
        let stated = keys.iter().flat_map(|key| [&file.config[key], &file.trainer[key]]).find(|value| !value.is_null());
        match stated.map(Value::as_f64) {
            Some(Some(number)) if number >= 0.0 && number.is_finite() => *alpha = number as f32,
            Some(_) => return Err(file.bad(&format!("its `alpha_{name}` of the code norm MIXED is no number of 0 or more"))),
            None => assumed.push(format!(
                "the files do not say the `alpha_{name}` of their code norm MIXED: {alpha} is assumed, as the published code has it"
            )),
        }
    }
    Ok(CodeNorm::Mixed { sae: alphas[0], cc: alphas[1] })
}

pub(super) fn activation(file: &WeightsFile) -> Result<std::result::Result<Activation, String>> {
    let class = file.trainer["dict_class"].as_str();
    let k = file.k()?;
    if let Some((_, thresholds)) = file.tensors.floats(&file.name(THRESHOLDS))? {
        return Ok(Ok(Activation::JumpRelu { thresholds }));
    }
    // The published class for a top-k of each row has a threshold that it does not use.
    if let (Some("AutoEncoderTopK"), Some(k)) = (class, k) {
        return Ok(Ok(Activation::TopK { k }));
    }
    if let Some((_, values)) = file.tensors.floats(&file.name("threshold"))? {
        return match values[..] {
            [threshold] => Ok(Ok(Activation::Threshold { k: k.unwrap_or(0), threshold })),
            _ => Err(file.bad(&format!(
                "it has {} thresholds, one a model (DECOUPLED); xd reads crosscoders with one code for both models",
                values.len()
            ))),
        };
    }
    Ok(match (class, k) {
        (Some("TopKCrossCoder"), Some(k)) => Ok(Activation::TopK { k }),
        (Some("JumpReLUCrossCoder"), _) => {
            return Err(file.bad(&format!("it is a JumpReLU crosscoder without its tensor `{THRESHOLDS}`")));
        }
        (Some("CrossCoder" | RELU_SAE), _) | (None, None) => Ok(Activation::Relu),
        (Some("BatchTopKCrossCoder" | "BatchTopKSAE"), _) | (None, Some(_)) => Err(
            "it is a BatchTopK dictionary without its `threshold`; encoded as a plain ReLU it would fire on nearly everything. \
             Give the threshold of its training: `xd import PATH --threshold NUMBER --out FOLDER`"
                .into(),
        ),
        (Some(other), _) => return Err(file.bad(&format!("its class `{other}` is not one that xd reads"))),
    })
}

/// Its rows are centred and scaled by buffers of its own.
pub(super) fn normalizer_is_on(file: &WeightsFile) -> Result<bool> {
    let mean = file.tensors.floats(&file.name("activation_mean"))?;
    Ok(mean.is_some_and(|(_, mean)| mean.iter().all(|value| !value.is_nan())))
}

/// `activation_mean`, `activation_std` [2, d] and `activation_global_scale` ([] or [2]); NaN means off.
fn normalizer(file: &WeightsFile, width: usize) -> Result<Option<FoldedNormalizer>> {
    let read = |name: &str| file.tensors.floats(&file.name(name));
    let (Some((shape, mean)), Some((_, std))) = (read("activation_mean")?, read("activation_std")?) else {
        return Ok(None);
    };
    if mean.iter().chain(&std).any(|value| value.is_nan()) {
        return Ok(None);
    }
    if shape != [2, width] || std.len() != mean.len() {
        return Err(file.bad(&format!("`activation_mean` has shape {shape:?}, not [2, {width}]")));
    }
    let scale = match read("activation_global_scale")?.map(|(_, values)| values).as_deref() {
        Some([one]) => [*one; 2],
        Some([base, tuned]) => [*base, *tuned],
        _ => {
            return Err(
                file.bad("it has a mean and a deviation for its rows, but no `activation_global_scale` [] or [2]")
            );
        }
    };
    if scale.iter().any(|scale| !(*scale > 0.0 && scale.is_finite())) {
        return Err(file.bad(&format!("its `activation_global_scale` is {scale:?}")));
    }
    let target_rms = read("target_rms")?.and_then(|(_, values)| values.first().copied()).unwrap_or(1.0);
    Ok(Some(FoldedNormalizer { mean, std, scale, target_rms }))
}
