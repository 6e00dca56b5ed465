//! `model`: small ones that an experiment makes itself.

use std::path::Path;

use super::{Job, Made};
use crate::exec::models;
use crate::exec::wiring::inputs;
use crate::exec::{Error, Result};
use crate::lang::plan::spec::{self, ModelSpec, PortionSpec};
use crate::ml::lm::{Counted, Dtype, Finetune, Pretrain, TextPortion, Trainable, finetune, pretrain};

/// Trains the model into the job's folder, which becomes a model folder.
///
/// # Errors
/// When a corpus or the model to start from cannot be read.
pub fn make(job: &Job<'_>, spec: &ModelSpec) -> Result<Made> {
    let checkpoint = job.folder.join("checkpoint");
    let trained = match spec {
        ModelSpec::Folder { .. } | ModelSpec::Gguf { .. } | ModelSpec::Hub { .. } => {
            return Err(Error::Failed(format!("{}: a model that is there is not made", job.step.address)));
        }
        ModelSpec::Pretrain { on, layers, width, heads, vocabulary, context, length, batch, learning_rate, seed } => {
            let config = Pretrain {
                on: portions(job, on)?,
                layers: *layers as usize,
                width: *width as usize,
                heads: *heads as usize,
                vocabulary: *vocabulary as usize,
                context: *context as usize,
                length: *length,
                batch: *batch,
                learning_rate: *learning_rate,
                seed: *seed,
            };
            pretrain(&config, job.folder, Some(&checkpoint), job.watch)?
        }
        ModelSpec::Finetune {
            on,
            weights,
            loss_on,
            context,
            length,
            batch,
            learning_rate,
            warmup,
            clip,
            seed,
            store,
        } => {
            let config = Finetune {
                on: portions(job, on)?,
                trainable: match weights {
                    spec::Trainable::All => Trainable::All,
                    spec::Trainable::Body => Trainable::Body,
                },
                counted: match loss_on {
                    spec::LossOn::All => Counted::All,
                    spec::LossOn::Assistant => Counted::Assistant,
                },
                context: *context as usize,
                length: *length,
                batch: *batch,
                learning_rate: *learning_rate,
                warmup: *warmup,
                clip: *clip,
                seed: *seed,
                store: match store {
                    spec::Dtype::F32 => Dtype::F32,
                    spec::Dtype::Bf16 => Dtype::Bf16,
                },
            };
            let from = models::folder(job.plan, job.store, job.input("from")?)?;
            finetune(&config, &from, job.folder, Some(&checkpoint), job.watch)?
        }
    };
    let (before, after) = trained.held_out;
    job.watch.note(&format!("held-out loss {before:.3} before, {after:.3} after, in nats a token"));
    forget(&checkpoint)?;
    Ok(Made { tokens: trained.tokens })
}

fn portions(job: &Job<'_>, portions: &[PortionSpec]) -> Result<Vec<TextPortion>> {
    inputs(job.step, "on")
        .into_iter()
        .zip(portions)
        .map(|(corpus, portion)| {
            let text = models::text(job.plan, job.hub, corpus)?;
            Ok(TextPortion { corpus: text.corpus, template: text.template, tokens: portion.tokens })
        })
        .collect()
}

fn forget(checkpoint: &Path) -> Result<()> {
    match std::fs::remove_dir_all(checkpoint) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::file(checkpoint, error)),
        _ => Ok(()),
    }
}
