//! Qwen 2 and 2.5: Llama with biases on queries, keys and values; the upper layers may look through a window.

use crate::ml::lm::fields::Fields;
use crate::ml::lm::{DecoderConfig, Family};

pub(super) fn config(fields: &Fields) -> Result<DecoderConfig, String> {
    let mut config = super::llama::config(fields)?;
    config.family = Family::Qwen2;
    config.attention.qkv_bias = true;
    config.attention.out_bias = false;
    windows(fields, &mut config)?;
    Ok(config)
}

/// `use_sliding_window` puts `sliding_window` on the layers from `max_window_layers` on.
pub(super) fn windows(fields: &Fields, config: &mut DecoderConfig) -> Result<(), String> {
    let count = config.layers.len();
    let window = match fields.truth("use_sliding_window", false) {
        true => Some(fields.size_or("sliding_window", 4096)?),
        false => None,
    };
    let first = fields.size_or("max_window_layers", 28)?;
    let sliding = fields.sliding(count, |layer| window.is_some() && layer >= first)?;
    for (layer, slides) in config.layers.iter_mut().zip(sliding) {
        layer.window = if slides { window } else { None };
    }
    Ok(())
}
