//! Gemma 2: norms before and after, soft caps, every second layer looks through a window.

use crate::ml::lm::config::Fields;
use crate::ml::lm::{DecoderConfig, Family, LayerShape};

pub(in crate::ml::lm) fn gemma2(fields: &Fields) -> Result<DecoderConfig, String> {
    fields.refuse("attention_bias")?;
    fields.refuse("use_bidirectional_attention")?;
    let width = fields.size("hidden_size")?;
    let layers = fields.size("num_hidden_layers")?;
    let window = fields.size_or("sliding_window", 4096)?;
    let rope = fields.rope(10_000.0)?;
    let sliding = fields.sliding(layers, |layer| layer % 2 == 0)?;
    let scalar = fields.number("query_pre_attn_scalar").unwrap_or(256.0);
    Ok(DecoderConfig {
        family: Family::Gemma2,
        vocabulary: fields.size("vocab_size")?,
        width,
        heads: fields.size("num_attention_heads")?,
        kv_heads: fields.size("num_key_value_heads")?,
        head: fields.size("head_dim")?,
        inner: fields.size("intermediate_size")?,
        layers: sliding.into_iter().map(|s| LayerShape { window: s.then_some(window), rope }).collect(),
        epsilon: fields.small("rms_norm_eps").unwrap_or(1e-6),
        norm_offset: 1.0,
        post_norms: true,
        head_norms: false,
        activation: fields.activation("gelu_pytorch_tanh")?,
        embedding_scale: (width as f32).sqrt(),
        attention_scale: scalar.powf(-0.5) as f32,
        attention_cap: fields.small("attn_logit_softcapping"),
        logit_cap: fields.small("final_logit_softcapping"),
        tied: fields.truth("tie_word_embeddings", true),
        context: fields.size_or("max_position_embeddings", 8192)?,
    })
}
