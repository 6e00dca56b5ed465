//! GPT-NeoX (Pythia): layer norms, biases, a plain MLP beside attention or after it, rotary positions on a part of each head;
//! queries, keys and values are stored in one, head by head.

use super::Names;
use super::names::Packing::{Heads, Rows};
use crate::ml::lm::fields::{Fields, turned};
use crate::ml::lm::{AttentionShape, DecoderConfig, Family, MlpShape, NormShape, Residual};

pub(super) const NAMES: Names = Names {
    prefix: "gpt_neox.",
    embedding: "embed_in",
    positions: None,
    norm: "final_layer_norm",
    head: "embed_out",
    layers: "layers",
    parts: &[
        ("q", "attention.query_key_value", Heads),
        ("k", "attention.query_key_value", Heads),
        ("v", "attention.query_key_value", Heads),
        ("o", "attention.dense", Rows),
        ("up", "mlp.dense_h_to_4h", Rows),
        ("down", "mlp.dense_4h_to_h", Rows),
        ("attention_norm", "input_layernorm", Rows),
        ("mlp_norm", "post_attention_layernorm", Rows),
    ],
};

pub(super) fn config(fields: &Fields) -> Result<DecoderConfig, String> {
    let width = fields.size("hidden_size")?;
    let heads = fields.size("num_attention_heads")?;
    let head = width / heads.max(1);
    let bias = fields.truth("attention_bias", true);
    // Old style: `rotary_pct` and `rotary_emb_base` beside the rest; new style: within `rope_parameters`.
    let mut rope = fields.rope(head, fields.number("rotary_emb_base").unwrap_or(10_000.0))?;
    let within = fields.get("rope_parameters").and_then(|r| r.get("partial_rotary_factor")).is_some();
    if !within {
        let share = fields.number("rotary_pct").or_else(|| fields.number("partial_rotary_factor")).unwrap_or(0.25);
        rope.turned = turned(head, Some(share));
    }
    Ok(DecoderConfig {
        family: Family::GptNeox,
        vocabulary: fields.size("vocab_size")?,
        width,
        layers: fields.layers(rope, 0, |_| false)?,
        attention: AttentionShape {
            heads,
            kv_heads: heads,
            head,
            scale: (head as f32).powf(-0.5),
            cap: None,
            head_norms: false,
            qkv_bias: bias,
            out_bias: bias,
        },
        mlp: MlpShape {
            inner: fields.size("intermediate_size")?,
            gated: false,
            activation: fields.activation("gelu")?,
            bias: true,
        },
        norm: NormShape::Layer { epsilon: fields.small("layer_norm_eps").unwrap_or(1e-5) },
        post_norms: false,
        residual: match fields.truth("use_parallel_residual", true) {
            true => Residual::Parallel,
            false => Residual::Sequential,
        },
        positions: None,
        embedding_scale: 1.0,
        logit_cap: None,
        tied: fields.truth("tie_word_embeddings", false),
        context: fields.size_or("max_position_embeddings", 2048)?,
    })
}
