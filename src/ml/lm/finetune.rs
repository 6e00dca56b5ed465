//! A model from another one, on more text.

use std::path::Path;

use super::packing::{Counted, TextPortion, pack};
use super::save::{make_folder, write_file};
use super::train::{Plan, Trainable, Trained, train};
use super::{DecoderConfig, Dtype, Weights};
use crate::gguf::GgufFile;
use crate::ml::data::{Tokenizer, copy_tokenizer};
use crate::ml::{Error, Result, Watch};

/// What to train on, and what of the model.
#[derive(Clone, Debug, PartialEq)]
pub struct Finetune {
    pub on: Vec<TextPortion>,
    pub trainable: Trainable,
    /// Tokens whose prediction counts.
    pub counted: Counted,
    /// Tokens a context.
    pub context: usize,
    /// Tokens to train on, in all; the text is repeated as needed.
    pub length: u64,
    /// Tokens a step.
    pub batch: u64,
    pub learning_rate: f64,
    /// Steps over which the learning rate grows; `None` is a twentieth of all, at most 200.
    pub warmup: Option<u64>,
    /// Norm that gradients are scaled down to; 0 is none.
    pub clip: f64,
    pub seed: u64,
    /// Format of the weights that are written.
    pub store: Dtype,
}

/// Trains the model in `from` (a model folder of any family, or a GGUF file) and writes a model folder with the same tokenizer.
///
/// AdamW (0.9, 0.95; weight decay 0.1 on matrices), linear warm-up, cosine down to a tenth, f32 throughout. With a checkpoint
/// folder, the same call goes on where it was stopped, to the same bits.
///
/// # Errors
/// When the model or the text cannot be read, or the loss is no number.
pub fn finetune(
    spec: &Finetune,
    from: &Path,
    output: &Path,
    checkpoint: Option<&Path>,
    watch: &dyn Watch,
) -> Result<Trained> {
    if spec.context < 2 {
        return Err(Error::invalid("finetune", "the context must have 2 tokens at least"));
    }
    let config = DecoderConfig::load(from)?;
    if spec.context > config.context {
        let problem = format!("contexts of {} tokens, but the model was made for {}", spec.context, config.context);
        return Err(Error::invalid("finetune", problem));
    }
    make_folder(output)?;
    copy_tokenizer(from, output)?;
    copy_config(from, output, spec.store)?;
    let contexts = pack(&spec.on, &Tokenizer::load(output)?, spec.context, spec.counted, watch)?;
    let weights = Weights::load(from, &config, Dtype::F32)?;
    let config = DecoderConfig { tied: weights.tied(), ..config };
    let identity = format!("{spec:?} {}", hash(&weights)?);
    train(Plan {
        start: weights.parts().clone(),
        trainable: spec.trainable,
        contexts,
        context: spec.context,
        length: spec.length,
        batch: spec.batch,
        learning_rate: spec.learning_rate,
        warmup: spec.warmup,
        clip: spec.clip,
        seed: spec.seed,
        store: spec.store,
        identity,
        output,
        checkpoint,
        watch,
        config,
    })
}

/// `config.json` as it is, but for the format of the weights; out of a GGUF file its translation.
fn copy_config(from: &Path, output: &Path, store: Dtype) -> Result<()> {
    let mut config = match GgufFile::is(from) {
        true => super::gguf::config(&super::gguf::open(from)?)?,
        false => {
            let path = from.join("config.json");
            let text = std::fs::read(&path).map_err(|e| Error::file(&path, e))?;
            serde_json::from_slice(&text).map_err(|e| Error::invalid("finetune", format!("{}: {e}", path.display())))?
        }
    };
    let format = match store {
        Dtype::F32 => "float32",
        Dtype::Bf16 => "bfloat16",
    };
    for key in ["torch_dtype", "dtype"] {
        if key == "torch_dtype" || config.get(key).is_some() {
            config[key] = format.into();
        }
    }
    write_file(&output.join("config.json"), format!("{config:#}\n").as_bytes())
}

/// Hash of all parts, for checkpoints.
fn hash(weights: &Weights) -> Result<String> {
    let mut hash = blake3::Hasher::new();
    for (name, tensor) in weights.parts() {
        hash.update(name.as_bytes());
        let values = tensor.flatten_all()?.to_vec1::<f32>()?;
        for part in values.chunks(1 << 16) {
            hash.update(&part.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>());
        }
    }
    Ok(hash.finalize().to_hex().to_string())
}
