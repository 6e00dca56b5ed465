//! What is known of a step before it is run, for the checks and costs of the steps that read it.

use crate::lang::plan::spec::{Dtype, Target};
use crate::lang::world::ModelFacts;

/// Every fact is `None` where it does not apply or is not known.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Of a model; of a pair, its tuned model.
    pub model: Option<ModelFacts>,
    /// Of a pair, its base.
    pub base: Option<ModelFacts>,
    /// What a model computes with; of a fine-tuned one, that of the model it started from.
    pub dtype: Option<Dtype>,
    /// A synthetic pair, or activations of one.
    pub synthetic: bool,
    /// Width d of the activations.
    pub width: Option<u64>,
    /// Expected active features of a synthetic pair times its features: what one row costs.
    pub features: Option<u64>,
    /// Activations are scaled before a crosscoder sees them, and by what: `rms` or `per_model_scale`.
    pub normalize: Option<&'static str>,
    /// Of activations that are not stored: blocks that run for each row that is read.
    pub streamed: Option<u64>,
    /// Rows for training and validation.
    pub train: Option<u64>,
    pub validate: Option<u64>,
    /// Size of a corpus, and whether it is a chat.
    pub bytes: Option<u64>,
    pub chat: bool,
    /// Of a crosscoder.
    pub latents: Option<u64>,
    pub loss: Option<&'static str>,
    /// Of a crosscoder that is an autoencoder, what it reads.
    pub sae: Option<Target>,
    pub k: Option<u64>,
    /// Tokens it is trained on.
    pub trained: Option<u64>,
}
