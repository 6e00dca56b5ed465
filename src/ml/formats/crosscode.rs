//! The layout of crosscode: `model.pt` with `model_cfg.yaml`.

use super::Layout;
use super::kissane::models_first;
use super::weights_file::{WeightsFacts, WeightsFile};
use crate::ml::Result;
use crate::ml::crosscoder::{Activation, CodeNorm, Crosscoder, Variant};

/// Logarithms of the thresholds on preactivations of a JumpReLU crosscoder, `[D]`: f = p [p > exp(..)].
pub(super) const LOG_THRESHOLD: &str = "_activation_fn.log_threshold_L";

/// What can be said without reading the matrices.
pub(super) fn facts(file: &WeightsFile) -> Result<WeightsFacts> {
    let shape = file.tensors.shape(&file.name("_W_enc_XiDiL")).unwrap_or_default();
    let &[2, 1, width, latents] = &shape[..] else {
        return Err(file.bad(&format!(
            "`_W_enc_XiDiL` has shape {shape:?}, not [2 models, 1 place, d, D]; xd reads crosscoders of two models at one place"
        )));
    };
    let function = &file.config["activation_fn"];
    let activation = match function["classname"].as_str().unwrap_or("none") {
        "ReLUActivation" => Ok(Activation::Relu),
        "TopkActivation" => match function["cfg"]["k"].as_u64() {
            Some(k) => Ok(Activation::TopK { k }),
            None => return Err(file.bad("its model_cfg.yaml states no `k`")),
        },
        "BatchTopkActivation" => Err(
            "crosscode keeps no threshold for its batch top-k, so which latents fire depends on the batch they are in. \
             Give one: `xd import PATH --threshold NUMBER --out FOLDER`"
                .to_string(),
        ),
        "AnthropicSTEJumpReLUActivation" => {
            let logarithms = file.matrix(LOG_THRESHOLD, &[latents])?;
            Ok(Activation::JumpRelu { thresholds: logarithms.into_iter().map(f32::exp).collect() })
        }
        other => return Err(file.bad(&format!("its activation `{other}` is not one that xd reads"))),
    };
    // crosscode ranks preactivations as they are; in its losses of L1 and JumpReLU crosscoders the norms are summed.
    let norm = match activation {
        Ok(Activation::Relu | Activation::JumpRelu { .. }) => CodeNorm::Sum,
        _ => CodeNorm::None,
    };
    let folded = file.tensors.integers(&file.name("is_folded"))?.is_some_and(|flag| flag == [1]);
    let expects = if folded { None } else { Some("per_model_scale") };
    Ok(WeightsFacts {
        layout: Layout::Crosscode,
        width,
        latents,
        norm,
        activation,
        norm_assumed: false,
        normalizes: false,
        expects,
        assumed: Vec::new(),
        autoencoder: false,
        reads: None,
    })
}

/// `_W_dec_LXoDo` [D, 2, 1, d]; biases that are not used are 0.
pub(super) fn load(file: &WeightsFile, facts: &WeightsFacts) -> Result<Crosscoder> {
    let (d, latents) = (facts.width, facts.latents);
    let or_zeros = |name: &str, shape: &[usize]| match file.tensors.shape(&file.name(name)) {
        Some(_) => file.matrix(name, shape),
        None => Ok(vec![0.0; shape.iter().product()]),
    };
    Ok(Crosscoder {
        width: d,
        latents,
        encoder_weight: file.matrix("_W_enc_XiDiL", &[2, 1, d, latents])?,
        encoder_bias: or_zeros("b_enc_L", &[latents])?,
        decoder_weight: models_first(&file.matrix("_W_dec_LXoDo", &[latents, 2, 1, d])?, latents, d),
        decoder_bias: or_zeros("_b_dec_XoDo", &[2, 1, d])?,
        code_norm: facts.norm,
        activation: Activation::Relu,
        normalizer: None,
        variant: Variant::SharedCode,
    })
}
