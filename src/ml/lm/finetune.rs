//! A model from another one, on more text.

use std::collections::BTreeMap;
use std::path::Path;

use super::packing::{TextPortion, pack};
use super::save::{make_folder, save_config, write_file};
use super::train::{Plan, Trained, train};
use super::{DecoderConfig, Dtype, Family, Weights};
use crate::ml::data::Tokenizer;
use crate::ml::{Error, Result, Watch};

/// What to train on.
#[derive(Clone, Debug, PartialEq)]
pub struct Finetune {
    pub on: Vec<TextPortion>,
    /// Tokens a context.
    pub context: usize,
    /// Tokens to train on, in all; the text is repeated as needed.
    pub length: u64,
    /// Tokens a step.
    pub batch: u64,
    pub learning_rate: f64,
    pub seed: u64,
}

/// Trains all weights of the model in `from` and writes a folder like [`super::pretrain()`]'s, with the same tokenizer.
///
/// The loss is on all tokens of a chat: both sides and the template's own. Optimiser and schedule are those of pretraining.
pub fn finetune(
    spec: &Finetune,
    from: &Path,
    output: &Path,
    checkpoint: Option<&Path>,
    watch: &dyn Watch,
) -> Result<Trained> {
    let config = DecoderConfig::load(from)?;
    if config.family != Family::Gemma2 || !config.tied {
        return Err(Error::invalid("finetune", "only models of the Gemma-2 shape can be fine-tuned now"));
    }
    if spec.context < 2 {
        return Err(Error::invalid("finetune", "the context must have 2 tokens at least"));
    }
    make_folder(output)?;
    for name in ["tokenizer.json", "tokenizer_config.json", "chat_template.jinja"] {
        let path = from.join(name);
        let bytes = std::fs::read(&path).map_err(|e| Error::file(&path, e))?;
        write_file(&output.join(name), &bytes)?;
    }
    let tokenizer = Tokenizer::load(output)?;
    save_config(output, &config)?;
    let weights = Weights::load(from, &config, Dtype::F32)?;
    let mut start = BTreeMap::new();
    let mut hash = blake3::Hasher::new();
    for (name, shape) in super::Decoder::shapes(&config) {
        let values = weights.get(&name, &shape)?.flatten_all()?.to_vec1::<f32>()?;
        for value in &values {
            hash.update(&value.to_le_bytes());
        }
        start.insert(name, values);
    }
    train(Plan {
        start,
        contexts: pack(&spec.on, &tokenizer, spec.context, watch)?,
        context: spec.context,
        length: spec.length,
        batch: spec.batch,
        learning_rate: spec.learning_rate,
        seed: spec.seed,
        identity: format!("{spec:?} {}", hash.finalize().to_hex()),
        output,
        checkpoint,
        watch,
        config,
    })
}
