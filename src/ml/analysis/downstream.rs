//! What a model makes of other values in one place of its runs.
//!
//! The part below the place is run once a text, whatever is tried there. The part above runs for several values at once, side by side
//! as one batch of as many tokens as the model's [`crate::ml::lm::Pace`] says (or one text), and several batches at once.

use candle_core::{Device, Tensor};
use rayon::prelude::*;

use crate::ml::lm::{Held, LanguageModel, Prediction, Reading, alone, predictions};
use crate::ml::{Error, Result, Watch};

/// Numbers that wait for the head at once, of all runs (128 MiB).
const WAITING: usize = 1 << 25;

/// A text that was run up to the place, and what is measured of it.
pub struct Subject<'a> {
    pub held: &'a Held,
    /// Of the other model, where predictions are compared with its own too.
    pub other: Option<&'a Held>,
    /// Where predictions are measured, ascending, and the tokens that come there.
    pub positions: Vec<usize>,
    pub next: Vec<u32>,
}

/// Makes the value `[T, d]` that run number `.1` has in the place, for subject number `.0`.
pub type Values<'a> = dyn Fn(usize, usize) -> Result<Vec<f32>> + Sync + 'a;

/// Predictions `[runs + 1][subjects][positions]`: of the untouched run, then of each run with its values in the place. `other` is
/// the decoder of [`Subject::other`].
pub fn downstream(
    decoder: &dyn LanguageModel,
    other: Option<&dyn LanguageModel>,
    subjects: &[Subject],
    runs: usize,
    values: &Values,
    watch: &dyn Watch,
) -> Result<Vec<Vec<Vec<Prediction>>>> {
    let next: Vec<u32> = subjects.iter().flat_map(|subject| subject.next.iter().copied()).collect();
    let own = |subject: usize, _: usize| subjects[subject].held.values();
    let clean = rows(decoder, subjects, 0..1, &own, watch)?.swap_remove(0);
    let beside = match other {
        Some(other) => {
            let held = |subject: &Subject| match subject.other {
                Some(held) => other.read_on(held, held.value(), &subject.positions),
                None => Err(Error::invalid("compare predictions", "the other model was not run")),
            };
            let rows = match other.pace().side_by_side {
                true => subjects.par_iter().map(held).collect::<Result<Vec<_>>>()?,
                false => subjects.iter().map(held).collect::<Result<Vec<_>>>()?,
            };
            Some((other, Tensor::cat(&rows, 0)?))
        }
        None => None,
    };
    let other = beside.as_ref().map(|(decoder, rows)| Reading { decoder: *decoder, rows });
    let lengths: Vec<usize> = subjects.iter().map(|subject| subject.positions.len()).collect();
    let together = (WAITING / (next.len() * decoder.width()).max(1)).max(1);
    let mut found = Vec::with_capacity(runs + 1);
    for start in (0..runs.max(1)).step_by(together) {
        let group = start..(start + together).min(runs);
        let changed = rows(decoder, subjects, group, values, watch)?;
        let predicted = predictions(decoder, &clean, &changed, other, &next, watch)?;
        found.extend(predicted.into_iter().skip(usize::from(start > 0)).map(|run| split(run, &lengths)));
    }
    Ok(found)
}

/// What the head reads at the measured positions of all subjects, `[positions, d]`, for each of some runs.
fn rows(
    decoder: &dyn LanguageModel,
    subjects: &[Subject],
    runs: std::ops::Range<usize>,
    values: &Values,
    watch: &dyn Watch,
) -> Result<Vec<Tensor>> {
    let pace = decoder.pace();
    let mut tasks = Vec::new();
    for (number, subject) in subjects.iter().enumerate() {
        let tokens = subject.held.value().dims3()?.1;
        // Of a text of T tokens as many runs stand side by side as fill a batch, at least one. Part of the result, because products of
        // other shapes round in another order; no setting.
        let some = (pace.tokens / tokens.max(1)).max(1);
        tasks.extend(runs.clone().step_by(some).map(|start| (number, start..(start + some).min(runs.end))));
    }
    let run = |(number, group): &(usize, std::ops::Range<usize>)| -> Result<Vec<Tensor>> {
        let subject = &subjects[*number];
        let (_, tokens, width) = subject.held.value().dims3()?;
        let mut all = Vec::with_capacity(group.len() * tokens * width);
        for run in group.clone() {
            all.extend(values(*number, run)?);
        }
        let all = Tensor::from_vec(all, (group.len(), tokens, width), &Device::Cpu)?;
        let rows = decoder.read_on(subject.held, &all, &subject.positions)?;
        let count = subject.positions.len();
        Ok((0..group.len()).map(|run| rows.narrow(0, run * count, count)).collect::<candle_core::Result<_>>()?)
    };
    let watched =
        |task: &(usize, std::ops::Range<usize>)| if watch.stop() { Err(Error::Interrupted) } else { run(task) };
    // A thread that has batches of its own runs them alone; where batches are few, threads share each.
    let is_many = tasks.len() >= 2 * rayon::current_num_threads();
    let parts: Vec<Vec<Tensor>> = match (pace.side_by_side, is_many) {
        (false, _) => tasks.iter().map(watched).collect::<Result<_>>()?,
        (_, true) => tasks.par_iter().with_max_len(1).map(|task| alone(|| watched(task))).collect::<Result<_>>()?,
        (_, false) => tasks.par_iter().with_max_len(1).map(watched).collect::<Result<_>>()?,
    };
    let mut found: Vec<Vec<Tensor>> = vec![Vec::new(); runs.len()];
    for ((_, group), parts) in tasks.into_iter().zip(parts) {
        for (run, part) in group.zip(parts) {
            found[run - runs.start].push(part);
        }
    }
    Ok(found.iter().map(|parts| Tensor::cat(parts, 0)).collect::<candle_core::Result<_>>()?)
}

fn split(run: Vec<Prediction>, lengths: &[usize]) -> Vec<Vec<Prediction>> {
    let mut rest = run.into_iter();
    lengths.iter().map(|length| rest.by_ref().take(*length).collect()).collect()
}
