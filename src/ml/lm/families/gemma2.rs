//! Gemma 2: norms before and after, soft caps, every second layer looks through a window.

use super::names::Packing::Rows;
use super::{Names, llama};
use crate::ml::lm::fields::Fields;
use crate::ml::lm::{AttentionShape, DecoderConfig, Family, MlpShape, NormShape, Residual};

pub(super) const NAMES: Names = Names {
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
        ("attention_post_norm", "post_attention_layernorm", Rows),
        ("mlp_norm", "pre_feedforward_layernorm", Rows),
        ("mlp_post_norm", "post_feedforward_layernorm", Rows),
    ],
    ..llama::NAMES
};

pub(super) fn config(fields: &Fields) -> Result<DecoderConfig, String> {
    fields.refuse("use_bidirectional_attention")?;
    let width = fields.size("hidden_size")?;
    let head = fields.size_or("head_dim", 256)?;
    let window = fields.size_or("sliding_window", 4096)?;
    let scalar = fields.number("query_pre_attn_scalar").unwrap_or(256.0);
    let bias = fields.truth("attention_bias", false);
    Ok(DecoderConfig {
        family: Family::Gemma2,
        vocabulary: fields.size("vocab_size")?,
        width,
        layers: fields.layers(fields.rope(head, 10_000.0)?, window, |layer| layer % 2 == 0)?,
        attention: AttentionShape {
            heads: fields.size("num_attention_heads")?,
            kv_heads: fields.size("num_key_value_heads")?,
            head,
            scale: scalar.powf(-0.5) as f32,
            cap: fields.small("attn_logit_softcapping"),
            head_norms: false,
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
        context: fields.size_or("max_position_embeddings", 8192)?,
    })
}
