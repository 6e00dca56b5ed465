//! Gemma 3 (text): Gemma 2 with norms on queries and keys instead of soft caps, five windowed layers to a full one, and a
//! rope of their own for the windowed ones.

use serde_json::Value;

use crate::ml::lm::config::{Fields, parse_rope};
use crate::ml::lm::{DecoderConfig, Family, LayerShape, Rope};

pub(in crate::ml::lm) fn gemma3(fields: &Fields) -> Result<DecoderConfig, String> {
    fields.refuse("attention_bias")?;
    fields.refuse("use_bidirectional_attention")?;
    let width = fields.size("hidden_size")?;
    let layers = fields.size("num_hidden_layers")?;
    let window = fields.size_or("sliding_window", 4096)?;
    let period = fields.size_or("sliding_window_pattern", fields.size_or("_sliding_window_pattern", 6)?)?.max(1);
    let sliding = fields.sliding(layers, |layer| (layer + 1) % period != 0)?;
    let (local, global) = ropes(fields)?;
    let shape = |s: bool| LayerShape { window: s.then_some(window), rope: if s { local } else { global } };
    let scalar = fields.number("query_pre_attn_scalar").unwrap_or(256.0);
    Ok(DecoderConfig {
        family: Family::Gemma3,
        vocabulary: fields.size("vocab_size")?,
        width,
        heads: fields.size("num_attention_heads")?,
        kv_heads: fields.size("num_key_value_heads")?,
        head: fields.size("head_dim")?,
        inner: fields.size("intermediate_size")?,
        layers: sliding.into_iter().map(shape).collect(),
        epsilon: fields.small("rms_norm_eps").unwrap_or(1e-6),
        norm_offset: 1.0,
        post_norms: true,
        head_norms: true,
        activation: fields.activation("gelu_pytorch_tanh")?,
        embedding_scale: (width as f32).sqrt(),
        attention_scale: scalar.powf(-0.5) as f32,
        attention_cap: fields.small("attn_logit_softcapping"),
        logit_cap: fields.small("final_logit_softcapping"),
        tied: fields.truth("tie_word_embeddings", true),
        context: fields.size_or("max_position_embeddings", 131_072)?,
    })
}

/// Windowed and full layers. New style: `rope_parameters` by layer type; old style: `rope_local_base_freq` beside the rest,
/// which is for the full layers.
fn ropes(fields: &Fields) -> Result<(Rope, Rope), String> {
    let of_kind =
        |kind: &str| fields.get("rope_parameters").and_then(|p| p.get(kind)).filter(|v: &&Value| !v.is_null());
    let local = fields.number("rope_local_base_freq").unwrap_or(10_000.0);
    match (of_kind("sliding_attention"), of_kind("full_attention")) {
        (Some(sliding), Some(full)) => Ok((parse_rope(sliding, local)?, parse_rope(full, 1_000_000.0)?)),
        (None, None) => Ok((Rope::plain(local), fields.rope(1_000_000.0)?)),
        _ => Err("`rope_parameters` names only one of the two layer types".into()),
    }
}
