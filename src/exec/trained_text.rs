//! Which documents of a corpus a crosscoder was trained on.

use std::ops::Range;

use super::rows;
use super::steps::Job;
use super::wiring::inputs;
use super::{Error, Result};
use crate::lang::plan::StepIndex;
use crate::lang::plan::spec::StoreAs;
use crate::ml::activations::StreamIndex;
use crate::ml::analysis::held_out::last_document;

/// The documents of a corpus that the training rows of activations of models come from, by their numbers: a harvest takes documents for
/// validation first and those for training after them. Empty where the corpus is not trained on.
///
/// # Errors
/// When the activations are missing or damaged.
pub fn trained(job: &Job<'_>, activations: StepIndex, corpus: StepIndex) -> Result<Range<u64>> {
    let step = &job.plan.steps[activations.0];
    let portion = |role: &str| inputs(step, role).into_iter().position(|read| read == corpus);
    let Some(train) = portion("train") else { return Ok(0..0) };
    let validate = portion("validate");
    let number = |portion: usize| u16::try_from(portion).map_err(|_| Error::Failed("too many portions".into()));
    let (held_out, last) = if rows::spec_of(step)?.store == StoreAs::None {
        let folder = job.store.artifact(&step.id);
        let last = |set: &str, portion: usize| -> Result<Option<u64>> {
            Ok(StreamIndex::read(&folder.join(set))?.end.get(portion).and_then(|cursor| cursor.last))
        };
        (validate.map(|portion| last("validate", portion)).transpose()?, last("train", train)?)
    } else {
        let opened = rows::open_raw(job.plan, job.store, activations)?;
        let last = |rows, portion: usize| -> Result<Option<u64>> { Ok(last_document(rows, number(portion)?)?) };
        let held_out = validate.map(|portion| last(opened.validate.as_ref(), portion)).transpose()?;
        (held_out, last(opened.train.as_ref(), train)?)
    };
    let start = held_out.flatten().map_or(0, |last| last + 1);
    Ok(last.map_or(0..0, |last| start..last + 1))
}
