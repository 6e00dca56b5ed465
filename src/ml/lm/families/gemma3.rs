//! Gemma 3: Gemma 2 with norms on queries and keys instead of soft caps, five windowed layers to a full one, and a rope of
//! their own for the windowed ones. Of models that also see, the language model (`text_config`) is taken.

use serde_json::Value;

use super::Names;
use crate::ml::lm::fields::{Fields, parse_rope};
use crate::ml::lm::{AttentionShape, DecoderConfig, Family, LayerShape, MlpShape, NormShape, Residual, Rope};

pub(super) const NAMES: Names = super::gemma2::NAMES;

pub(super) fn config(fields: &Fields) -> Result<DecoderConfig, String> {
    match fields.get("text_config") {
        Some(text) => language_model(&Fields(text)),
        None => language_model(fields),
    }
}

/// The published models that see leave out what equals the defaults of the language model.
fn language_model(fields: &Fields) -> Result<DecoderConfig, String> {
    fields.refuse("use_bidirectional_attention")?;
    let width = fields.size("hidden_size")?;
    let head = fields.size_or("head_dim", 256)?;
    let layers = fields.size("num_hidden_layers")?;
    let window = fields.size_or("sliding_window", 4096)?;
    let period = fields.size_or("sliding_window_pattern", fields.size_or("_sliding_window_pattern", 6)?)?.max(1);
    let sliding = fields.sliding(layers, |layer| (layer + 1) % period != 0)?;
    let (local, global) = ropes(fields, head)?;
    let shape = |s: bool| LayerShape { window: s.then_some(window), rope: Some(if s { local } else { global }) };
    let scalar = fields.number("query_pre_attn_scalar").unwrap_or(256.0);
    let bias = fields.truth("attention_bias", false);
    Ok(DecoderConfig {
        family: Family::Gemma3,
        vocabulary: fields.size_or("vocab_size", 262_208)?,
        width,
        layers: sliding.into_iter().map(shape).collect(),
        attention: AttentionShape {
            heads: fields.size_or("num_attention_heads", 8)?,
            kv_heads: fields.size_or("num_key_value_heads", 4)?,
            head,
            scale: scalar.powf(-0.5) as f32,
            cap: fields.small("attn_logit_softcapping"),
            head_norms: true,
            qkv_bias: bias,
            out_bias: bias,
        },
        mlp: MlpShape {
            inner: fields.size("intermediate_size")?,
            gated: true,
            activation: fields.activation("gelu_pytorch_tanh")?,
            bias: false,
        },
        norm: NormShape::Rms { epsilon: fields.small("rms_norm_eps").unwrap_or(1e-6), offset: 1.0 },
        post_norms: true,
        residual: Residual::Sequential,
        positions: None,
        embedding_scale: (width as f32).sqrt(),
        logit_cap: fields.small("final_logit_softcapping"),
        tied: fields.truth("tie_word_embeddings", true),
        context: fields.size_or("max_position_embeddings", 131_072)?,
    })
}

/// Windowed and full layers. New style: `rope_parameters` by layer type; old style: `rope_local_base_freq` beside the rest,
/// which is for the full layers.
fn ropes(fields: &Fields, head: usize) -> Result<(Rope, Rope), String> {
    let of_kind =
        |kind: &str| fields.get("rope_parameters").and_then(|p| p.get(kind)).filter(|v: &&Value| !v.is_null());
    let local = fields.number("rope_local_base_freq").unwrap_or(10_000.0);
    let global = fields.number("rope_theta").unwrap_or(1_000_000.0);
    match (of_kind("sliding_attention"), of_kind("full_attention")) {
        (Some(sliding), Some(full)) => Ok((parse_rope(sliding, head, local)?, parse_rope(full, head, global)?)),
        (None, None) => Ok((Rope::plain(head, local), fields.rope(head, global)?)),
        _ => Err("`rope_parameters` names only one of the two layer types".into()),
    }
}
