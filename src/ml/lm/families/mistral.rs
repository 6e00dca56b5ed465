//! Mistral: Llama with a sliding window on all layers, where it states one (0.1 does, later ones do not).

use crate::ml::lm::fields::Fields;
use crate::ml::lm::{DecoderConfig, Family};

pub(super) fn config(fields: &Fields) -> Result<DecoderConfig, String> {
    let mut config = super::llama::config(fields)?;
    config.family = Family::Mistral;
    if fields.get("sliding_window").is_some() {
        let window = fields.size("sliding_window")?;
        config.layers.iter_mut().for_each(|layer| layer.window = Some(window));
    }
    Ok(config)
}
