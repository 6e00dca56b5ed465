//! The causality experiment (docs/method.md 5): latents are put into one model's activations, the other one goes on, and its predictions
//! are compared with those it makes on its own.
//!
//! ```text
//! base  -- blocks up to the place --> h^base  --+--> f --> h_S of each entry --> upper blocks and head of `finish` --> q
//! tuned -- blocks up to the place --> h^tuned --+          h^finish itself   -->                                   --> p
//! ```
//!
//! KL_t = sum over v of p_t(v) (ln p_t(v) - ln q_t(v)). Lower halves and the code are made once for all entries. At a site that
//! is no residual stream h_S takes the place of what the finishing model computes there itself, in its own run. Memory: both models,
//! the streams of a window of conversations ([`WINDOW`]), and what [`super::downstream`] holds; never the logits of a whole conversation.

mod conversations;
mod entry;
mod positions;
mod sums;

use rayon::prelude::*;

use super::TappedPair;
use super::downstream::{Subject, downstream};
use crate::ml::crosscoder::SparseCode;
use crate::ml::data::TokenSequence;
use crate::ml::lm::{Held, Prediction, alone};
use crate::ml::{BASE, Error, Progress, Result, TUNED, Watch};
use entry::{Prepared, Streams};

pub use conversations::Conversations;
pub use entry::{Entry, Mode};
pub use positions::{Positions, predicting};
pub use sums::{Mean, PromptSums, mean};

/// Tokens of a window: conversations whose streams are in memory together (2 models x 2048 x d x 4 bytes twice: 75 MB for d = 2304).
/// A conversation is never divided.
pub const WINDOW: usize = 2048;

/// What is measured at each position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// KL(finish || patched).
    Kl,
    /// KL(base || patched).
    KlBase,
    /// KL(tuned || patched).
    KlTuned,
    /// -ln q of the next token of the text, as the finishing model reads it.
    Loss,
    /// -ln q of what the finishing model finds likeliest.
    LossArgmax,
    /// 1 where the likeliest token is the finishing model's, else 0.
    Agreement,
}

impl Metric {
    fn of(self, prediction: &Prediction, finish: usize) -> f64 {
        match self {
            Metric::Kl => prediction.kl,
            Metric::KlBase if finish == BASE => prediction.kl,
            Metric::KlTuned if finish == TUNED => prediction.kl,
            Metric::KlBase | Metric::KlTuned => prediction.kl_other,
            Metric::Loss => prediction.loss,
            Metric::LossArgmax => prediction.loss_likeliest,
            Metric::Agreement => f64::from(u8::from(prediction.agrees)),
        }
    }
}

/// What to put where, and what to measure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatchConfig {
    /// Whose activations are patched, and who goes on: [`BASE`] or [`TUNED`].
    pub into: usize,
    pub finish: usize,
    pub entries: Vec<Entry>,
    /// Of the entries that do not say it themselves.
    pub mode: Mode,
    pub positions: Vec<Positions>,
    pub metrics: Vec<Metric>,
}

/// Sums over the conversations that are done.
#[derive(Clone, Debug, PartialEq)]
pub struct Patched {
    prompts: Vec<PromptSums>,
    sets: usize,
    metrics: usize,
}

impl Patched {
    /// A metric over a set of positions, by their places in the configuration; `None` without such positions.
    pub fn entry(&self, entry: usize, set: usize, metric: usize) -> Option<Mean> {
        self.run(entry + 1, set, metric)
    }

    /// The same of the finishing model untouched.
    pub fn clean(&self, set: usize, metric: usize) -> Option<Mean> {
        self.run(0, set, metric)
    }

    /// (nothing - mean) / (nothing - clean): which share of the way from entry `nothing` to the untouched finishing model an entry
    /// goes. For KL the untouched model is at 0.
    pub fn closed(&self, entry: usize, nothing: usize, set: usize, metric: usize) -> Option<f64> {
        let mean = |run: usize| self.run(run, set, metric).map(|found| found.mean);
        let (start, here, end) = (mean(nothing + 1)?, mean(entry + 1)?, mean(0)?);
        Some((start - here) / (start - end)).filter(|share| share.is_finite())
    }

    fn run(&self, run: usize, set: usize, metric: usize) -> Option<Mean> {
        let place = (run * self.sets + set) * self.metrics + metric;
        mean(self.prompts.iter().map(|prompt| (prompt.counts[set], prompt.sums[place])))
    }
}

/// Patches every conversation with every entry. `done` are the sums of the first conversations, from an earlier call that was
/// stopped; `save` is given all sums after each window. Progress is in tokens.
pub fn patch(
    pair: &TappedPair,
    conversations: &[TokenSequence],
    config: &PatchConfig,
    done: Vec<PromptSums>,
    save: &mut dyn FnMut(&[PromptSums]) -> Result<()>,
    watch: &dyn Watch,
) -> Result<Patched> {
    pair.check()?;
    if pair.decoders[BASE].width() != pair.decoders[TUNED].width() {
        return Err(Error::invalid("patch", "the models have different widths"));
    }
    let latents = pair.crosscoder.latents;
    let entries = config.entries.iter().map(|e| Prepared::new(e, latents)).collect::<Result<Vec<_>>>()?;
    let (sets, metrics) = (config.positions.len(), config.metrics.len());
    let shape = (sets, (entries.len() + 1) * sets * metrics);
    let mut prompts = match done.iter().all(|prompt| (prompt.counts.len(), prompt.sums.len()) == shape) {
        true => done,
        false => Vec::new(),
    };
    let mut tokens = 0;
    let lengths: Vec<usize> = conversations.iter().map(TokenSequence::len).collect();
    let total = lengths.iter().sum::<usize>() as u64;
    for window in windows(&lengths) {
        if prompts.len() < window.end {
            prompts.truncate(window.start);
            prompts.extend(measure(pair, &conversations[window.clone()], config, &entries, watch)?);
            save(&prompts)?;
        }
        tokens += lengths[window].iter().sum::<usize>() as u64;
        watch.progress(&Progress { done: tokens, total, loss: None });
    }
    prompts.truncate(conversations.len());
    Ok(Patched { prompts, sets, metrics })
}

/// Stretches of texts of these lengths of at most [`WINDOW`] tokens, or of one text.
pub(super) fn windows(lengths: &[usize]) -> Vec<std::ops::Range<usize>> {
    let (mut windows, mut start, mut tokens) = (Vec::new(), 0, 0);
    for (number, length) in lengths.iter().enumerate() {
        if number > start && tokens + length > WINDOW {
            windows.push(start..number);
            (start, tokens) = (number, 0);
        }
        tokens += length;
    }
    if start < lengths.len() {
        windows.push(start..lengths.len());
    }
    windows
}

/// The sums of the conversations of a window.
fn measure(
    pair: &TappedPair,
    conversations: &[TokenSequence],
    config: &PatchConfig,
    entries: &[Prepared],
    watch: &dyn Watch,
) -> Result<Vec<PromptSums>> {
    let side_by_side = pair.decoders.iter().all(|decoder| decoder.pace().side_by_side);
    let held = hold(&|model, ids| pair.hold(model, ids), conversations, side_by_side, watch)?;
    let mut streams: [Vec<Vec<f32>>; 2] = [Vec::new(), Vec::new()];
    for both in &held {
        for model in [BASE, TUNED] {
            streams[model].push(both[model].values()?);
        }
    }
    let is_read = entries.iter().any(|entry| !matches!(entry, Prepared::Nothing | Prepared::Template));
    let code = match is_read {
        true => pair.encode([&streams[BASE].concat(), &streams[TUNED].concat()]),
        false => SparseCode::default(),
    };
    let mut first = 0;
    let (into, finish) = (config.into, config.finish);
    let mut texts = Vec::new();
    let mut subjects = Vec::new();
    // The one that does not go on is run to its end where something is measured against it.
    let beside = 1 - finish;
    let against = [Metric::KlBase, Metric::KlTuned][beside];
    let needs_other = config.metrics.contains(&against);
    for (number, conversation) in conversations.iter().enumerate() {
        let positions = predicting(&conversation.groups);
        let ids = pair.read(finish, &conversation.ids);
        texts.push(Streams {
            into: &streams[into][number],
            other: &streams[1 - into][number],
            code: &code,
            first,
            groups: &conversation.groups,
        });
        subjects.push(Subject {
            held: &held[number][finish],
            other: needs_other.then_some(&held[number][beside]),
            next: positions.iter().map(|position| ids[position + 1]).collect(),
            positions,
        });
        first += conversation.len();
    }
    let values = |text: usize, run: usize| Ok(texts[text].patched(&entries[run], pair, into, config.mode));
    let other = needs_other.then_some(pair.decoders[beside]);
    let found = downstream(pair.decoders[finish], other, &subjects, entries.len(), &values, watch)?;
    let sums = |number: usize| {
        let runs = found.iter().map(|run| run[number].as_slice());
        add(runs, &conversations[number], &subjects[number].positions, config)
    };
    (0..conversations.len()).map(sums).collect()
}

/// Both models, run over each text up to the place: `run` of a model and the tokens of a text.
pub(super) fn hold(
    run: &(dyn Fn(usize, &[u32]) -> Result<Held> + Sync),
    texts: &[TokenSequence],
    side_by_side: bool,
    watch: &dyn Watch,
) -> Result<Vec<[Held; 2]>> {
    let tasks: Vec<(usize, usize)> = (0..texts.len()).flat_map(|text| [(text, BASE), (text, TUNED)]).collect();
    let is_many = tasks.len() >= 2 * rayon::current_num_threads();
    let watched = |(text, model): (usize, usize)| match watch.stop() {
        true => Err(Error::Interrupted),
        false => run(model, &texts[text].ids),
    };
    let held: Vec<Held> = match (side_by_side, is_many) {
        (false, _) => tasks.into_iter().map(watched).collect::<Result<_>>()?,
        (_, true) => {
            tasks.into_par_iter().with_max_len(1).map(|task| alone(|| watched(task))).collect::<Result<_>>()?
        }
        (_, false) => tasks.into_par_iter().with_max_len(1).map(watched).collect::<Result<_>>()?,
    };
    let mut held = held.into_iter();
    let mut both = Vec::with_capacity(texts.len());
    while let (Some(base), Some(tuned)) = (held.next(), held.next()) {
        both.push([base, tuned]);
    }
    Ok(both)
}

/// Adds up what all runs predict in one conversation. Errors: numbers that are none.
fn add<'a>(
    runs: impl Iterator<Item = &'a [Prediction]>,
    conversation: &TokenSequence,
    positions: &[usize],
    config: &PatchConfig,
) -> Result<PromptSums> {
    let sets: Vec<Vec<bool>> =
        config.positions.iter().map(|set| set.members(&conversation.groups, positions)).collect();
    let counts = sets.iter().map(|set| set.iter().filter(|is| **is).count() as u64).collect();
    let mut sums = Vec::new();
    for (run, predictions) in runs.enumerate() {
        for set in &sets {
            for metric in &config.metrics {
                let chosen = predictions.iter().zip(set).filter(|(_, is)| **is);
                let sum = chosen
                    .map(|(prediction, _)| metric.of(prediction, config.finish))
                    .fold([0.0; 2], |[sum, squares], x| [sum + x, squares + x * x]);
                if !sum[0].is_finite() {
                    let who = if run == 0 { "untouched".to_string() } else { format!("of entry {run}") };
                    return Err(Error::invalid("patch", format!("the predictions {who} are NaN or infinite")));
                }
                sums.push(sum);
            }
        }
    }
    Ok(PromptSums { counts, sums })
}
