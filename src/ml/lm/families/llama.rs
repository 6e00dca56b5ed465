//! Llama: one norm before each half of a block, no caps, no windows. Mistral and Qwen are close relatives.

use super::Names;
use super::names::Packing::Rows;
use crate::ml::lm::fields::Fields;
use crate::ml::lm::{AttentionShape, DecoderConfig, Family, MlpShape, NormShape, Residual};

pub(super) const NAMES: Names = Names {
    prefix: "model.",
    embedding: "embed_tokens",
    positions: None,
    norm: "norm",
    head: "lm_head",
    layers: "layers",
    parts: &[
        ("q", "self_attn.q_proj", Rows),
        ("k", "self_attn.k_proj", Rows),
        ("v", "self_attn.v_proj", Rows),
        ("o", "self_attn.o_proj", Rows),
        ("q_norm", "self_attn.q_norm", Rows),
        ("k_norm", "self_attn.k_norm", Rows),
        ("gate", "mlp.gate_proj", Rows),
        ("up", "mlp.up_proj", Rows),
        ("down", "mlp.down_proj", Rows),
        ("attention_norm", "input_layernorm", Rows),
        ("mlp_norm", "post_attention_layernorm", Rows),
    ],
};

pub(super) fn config(fields: &Fields) -> Result<DecoderConfig, String> {
    let width = fields.size("hidden_size")?;
    let heads = fields.size("num_attention_heads")?;
    let head = fields.size_or("head_dim", width / heads.max(1))?;
    let bias = fields.truth("attention_bias", false);
    Ok(DecoderConfig {
        family: Family::Llama,
        vocabulary: fields.size("vocab_size")?,
        width,
        layers: fields.layers(fields.rope(head, 10_000.0)?, 0, |_| false)?,
        attention: AttentionShape {
            heads,
            kv_heads: fields.size_or("num_key_value_heads", heads)?,
            head,
            scale: (head as f32).powf(-0.5),
            cap: None,
            head_norms: false,
            qkv_bias: bias,
            out_bias: bias,
        },
        mlp: MlpShape {
            inner: fields.size("intermediate_size")?,
            gated: true,
            activation: fields.activation("silu")?,
            bias: fields.truth("mlp_bias", false),
        },
        norm: NormShape::Rms { epsilon: fields.small("rms_norm_eps").unwrap_or(1e-6), offset: 0.0 },
        post_norms: false,
        residual: Residual::Sequential,
        positions: None,
        embedding_scale: 1.0,
        logit_cap: None,
        tied: fields.truth("tie_word_embeddings", false),
        context: fields.size_or("max_position_embeddings", 2048)?,
    })
}
