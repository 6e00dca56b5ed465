//! Qwen 3: Llama with norms on queries and keys, and heads of a width of their own.

use crate::ml::lm::fields::Fields;
use crate::ml::lm::{DecoderConfig, Family};

pub(super) fn config(fields: &Fields) -> Result<DecoderConfig, String> {
    let mut config = super::llama::config(fields)?;
    config.family = Family::Qwen3;
    config.attention.head_norms = true;
    super::qwen2::windows(fields, &mut config)?;
    Ok(config)
}
