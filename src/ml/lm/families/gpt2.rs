//! GPT-2: learned positions, layer norms, biases everywhere, a plain MLP; weights are stored transposed and queries, keys and
//! values in one.

use super::Names;
use super::names::Packing::{Columns, Rows};
use crate::ml::lm::fields::Fields;
use crate::ml::lm::{AttentionShape, DecoderConfig, Family, LayerShape, MlpShape, NormShape, Residual};

pub(super) const NAMES: Names = Names {
    prefix: "transformer.",
    embedding: "wte",
    positions: Some("wpe"),
    norm: "ln_f",
    head: "lm_head",
    layers: "h",
    parts: &[
        ("q", "attn.c_attn", Columns),
        ("k", "attn.c_attn", Columns),
        ("v", "attn.c_attn", Columns),
        ("o", "attn.c_proj", Columns),
        ("up", "mlp.c_fc", Columns),
        ("down", "mlp.c_proj", Columns),
        ("attention_norm", "ln_1", Rows),
        ("mlp_norm", "ln_2", Rows),
    ],
};

pub(super) fn config(fields: &Fields) -> Result<DecoderConfig, String> {
    fields.refuse("scale_attn_by_inverse_layer_idx")?;
    fields.refuse("add_cross_attention")?;
    let width = fields.size("n_embd")?;
    let heads = fields.size("n_head")?;
    let head = width / heads.max(1);
    let context = fields.size_or("n_positions", fields.size_or("n_ctx", 1024)?)?;
    let scaled = fields.truth("scale_attn_weights", true);
    Ok(DecoderConfig {
        family: Family::Gpt2,
        vocabulary: fields.size("vocab_size")?,
        width,
        layers: vec![LayerShape { window: None, rope: None }; fields.size("n_layer")?],
        attention: AttentionShape {
            heads,
            kv_heads: heads,
            head,
            scale: if scaled { (head as f32).powf(-0.5) } else { 1.0 },
            cap: None,
            head_norms: false,
            qkv_bias: true,
            out_bias: true,
        },
        mlp: MlpShape {
            inner: fields.size_or("n_inner", 4 * width)?,
            gated: false,
            activation: fields.activation("gelu_new")?,
            bias: true,
        },
        norm: NormShape::Layer { epsilon: fields.small("layer_norm_epsilon").unwrap_or(1e-5) },
        post_norms: false,
        residual: Residual::Sequential,
        positions: Some(context),
        embedding_scale: 1.0,
        logit_cap: None,
        tied: fields.truth("tie_word_embeddings", true),
        context,
    })
}
