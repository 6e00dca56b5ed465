//! Llama: one norm before each half of a block, no caps, no windows.

use crate::ml::lm::config::Fields;
use crate::ml::lm::{DecoderConfig, Family, LayerShape};

pub(in crate::ml::lm) fn llama(fields: &Fields) -> Result<DecoderConfig, String> {
    fields.refuse("attention_bias")?;
    fields.refuse("mlp_bias")?;
    let width = fields.size("hidden_size")?;
    let layers = fields.size("num_hidden_layers")?;
    let heads = fields.size("num_attention_heads")?;
    let head = fields.size_or("head_dim", width / heads.max(1))?;
    let rope = fields.rope(10_000.0)?;
    Ok(DecoderConfig {
        family: Family::Llama,
        vocabulary: fields.size("vocab_size")?,
        width,
        heads,
        kv_heads: fields.size_or("num_key_value_heads", heads)?,
        head,
        inner: fields.size("intermediate_size")?,
        layers: vec![LayerShape { window: None, rope }; layers],
        epsilon: fields.small("rms_norm_eps").unwrap_or(1e-6),
        norm_offset: 0.0,
        post_norms: false,
        head_norms: false,
        activation: fields.activation("silu")?,
        embedding_scale: 1.0,
        attention_scale: (head as f32).powf(-0.5),
        attention_cap: None,
        logit_cap: None,
        tied: fields.truth("tie_word_embeddings", false),
        context: fields.size_or("max_position_embeddings", 2048)?,
    })
}
