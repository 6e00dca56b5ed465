//! What differs between the families: one file each, with the configuration that its `config.json` means and the names of
//! its published tensors.

mod gemma2;
mod gemma3;
mod gpt2;
mod gpt_neox;
mod llama;
mod mistral;
mod names;
mod qwen2;
mod qwen3;

use serde_json::Value;

pub(super) use names::{Names, Stored};

use super::DecoderConfig;
use super::fields::Fields;

/// A family of decoders.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    Gemma2,
    Gemma3,
    Gpt2,
    GptNeox,
    Llama,
    Mistral,
    Qwen2,
    Qwen3,
}

/// `model_type` of a config.json and its family. Gemma 3 has one for the language model alone and one for models that also see.
const MODEL_TYPES: [(&str, Family); 9] = [
    ("gemma2", Family::Gemma2),
    ("gemma3", Family::Gemma3),
    ("gemma3_text", Family::Gemma3),
    ("gpt2", Family::Gpt2),
    ("gpt_neox", Family::GptNeox),
    ("llama", Family::Llama),
    ("mistral", Family::Mistral),
    ("qwen2", Family::Qwen2),
    ("qwen3", Family::Qwen3),
];

impl Family {
    /// The family of a `model_type`.
    pub fn of(model_type: &str) -> Option<Self> {
        MODEL_TYPES.iter().find(|(name, _)| *name == model_type).map(|(_, family)| *family)
    }

    /// Every `model_type` that can be read.
    pub fn model_types() -> Vec<&'static str> {
        MODEL_TYPES.iter().map(|(name, _)| *name).collect()
    }

    /// What a `config.json` of this family means.
    pub(super) fn config(self, value: &Value) -> Result<DecoderConfig, String> {
        let fields = Fields(value);
        match self {
            Family::Gemma2 => gemma2::config(&fields),
            Family::Gemma3 => gemma3::config(&fields),
            Family::Gpt2 => gpt2::config(&fields),
            Family::GptNeox => gpt_neox::config(&fields),
            Family::Llama => llama::config(&fields),
            Family::Mistral => mistral::config(&fields),
            Family::Qwen2 => qwen2::config(&fields),
            Family::Qwen3 => qwen3::config(&fields),
        }
    }

    /// The names in its published files.
    pub(super) fn names(self) -> &'static Names {
        match self {
            Family::Gemma2 => &gemma2::NAMES,
            Family::Gemma3 => &gemma3::NAMES,
            Family::Gpt2 => &gpt2::NAMES,
            Family::GptNeox => &gpt_neox::NAMES,
            Family::Llama | Family::Mistral | Family::Qwen2 | Family::Qwen3 => &llama::NAMES,
        }
    }
}
