//! The loop that pretraining and fine-tuning share.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use candle_core::{DType, Device, Tensor, Var};
use rayon::prelude::*;

use super::adam::{Moments, update};
use super::checkpoint::{Checkpoint, LossRow};
use super::evaluate::token_loss;
use super::head_loss::gradient;
use super::packing::{Context, Contexts, Order};
use super::save::{save_weights, write_file};
use super::{Decoder, DecoderConfig, Dtype, Weights};
use crate::ml::{Error, Progress, Result, Watch};

/// What the two kinds of training have in common.
pub(super) struct Plan<'a> {
    pub config: DecoderConfig,
    /// Parts before step 0, in f32.
    pub start: BTreeMap<String, Tensor>,
    pub trainable: Trainable,
    pub contexts: Contexts,
    /// Tokens a context.
    pub context: usize,
    /// Tokens to train on, in all.
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
    /// Says what is trained, for checkpoints.
    pub identity: String,
    pub output: &'a Path,
    pub checkpoint: Option<&'a Path>,
    pub watch: &'a dyn Watch,
}

/// Which weights move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trainable {
    All,
    /// The blocks and the last norm: embedding, learned positions and head stay, with their moments the largest part of the
    /// memory where the vocabulary is large.
    Body,
}

impl Trainable {
    fn includes(self, part: &str) -> bool {
        self == Trainable::All || part.starts_with("layers.") || part.starts_with("norm.")
    }
}

/// What a training reports.
#[derive(Clone, Debug, PartialEq)]
pub struct Trained {
    pub steps: u64,
    pub tokens: u64,
    /// Loss on the held-out contexts before the first and after the last step (as saved), in nats a token.
    pub held_out: (f64, f64),
}

/// Most steps between rows of `losses.csv`; short trainings have fifty rows.
const ROW: u64 = 50;
/// Between checkpoints at least this long, and this many times as long as it takes to write one.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(30);
const CHECKPOINT_SHARE: u32 = 20;

/// Share of the learning rate at `step` of `steps`: a linear warm-up (by default over a twentieth, at most 200 steps), then a
/// cosine down to a tenth.
fn schedule(step: u64, steps: u64, warmup: Option<u64>) -> f64 {
    let warmup = warmup.unwrap_or((steps / 20).clamp(1, 200)).max(1);
    if step < warmup {
        return (step + 1) as f64 / warmup as f64;
    }
    let done = (step - warmup) as f64 / steps.saturating_sub(warmup).max(1) as f64;
    0.1 + 0.45 * (1.0 + (std::f64::consts::PI * done).cos())
}

/// Trains, and writes `model.safetensors` and `losses.csv` into the output folder.
pub(super) fn train(mut plan: Plan) -> Result<Trained> {
    let per_step = (plan.batch / plan.context as u64).max(1) as usize;
    let tokens = (per_step * plan.context) as u64;
    let steps = plan.length.div_ceil(tokens).max(1);
    let mut state = match plan.checkpoint {
        Some(folder) => {
            super::save::make_folder(folder)?;
            Checkpoint::load(folder, &plan.identity)?
        }
        None => None,
    }
    .unwrap_or_default();
    let (frozen, variables) = split(&mut plan, &mut state)?;
    let decoder = decoder(&plan.config, &frozen, &variables, |v| Ok(v.as_tensor().clone()))?;
    if state.rows.is_empty() {
        let measured = self::decoder(&plan.config, &frozen, &variables, |v| Ok(v.as_detached_tensor()))?;
        let held_out = token_loss(&measured, &plan.contexts.held_out)?;
        plan.watch.note(&format!("held-out loss {held_out:.3} nats a token before training"));
        state.rows.push(LossRow { step: 0, tokens: 0, loss: None, held_out: Some(held_out) });
    }
    let row = (steps / 50).clamp(1, ROW);
    let mut order = Order::new(plan.contexts.train.len(), plan.seed);
    let (mut saved, mut pause) = (Instant::now(), CHECKPOINT_EVERY);
    while state.step < steps {
        let batch: Vec<&Context> =
            order.batch(state.step, per_step).into_iter().map(|i| &plan.contexts.train[i]).collect();
        let loss = step(&plan, &decoder, &variables, &mut state, &batch, steps)?;
        state.step += 1;
        state.running = (state.running.0 + loss, state.running.1 + 1);
        if state.step.is_multiple_of(row) || state.step == steps {
            let mean = state.running.0 / state.running.1 as f64;
            state.rows.push(LossRow {
                step: state.step,
                tokens: state.step * tokens,
                loss: Some(mean),
                held_out: None,
            });
            state.running = (0.0, 0);
        }
        plan.watch.progress(&Progress { done: state.step * tokens, total: steps * tokens, loss: Some(loss) });
        let stop = plan.watch.stop();
        if let Some(folder) = plan.checkpoint
            && state.step < steps
            && (stop || saved.elapsed() > pause)
        {
            let start = Instant::now();
            state.parameters = values(&variables)?;
            state.save(folder, &plan.identity)?;
            state.parameters.clear();
            pause = CHECKPOINT_EVERY.max(start.elapsed() * CHECKPOINT_SHARE);
            saved = Instant::now();
        }
        if stop && state.step < steps {
            return Err(Error::Interrupted);
        }
    }
    finish(&plan, &frozen, &variables, state.rows, steps, tokens)
}

/// The parts that stay and those that move, the latter from the checkpoint if there was one.
fn split(plan: &mut Plan, state: &mut Checkpoint) -> Result<(BTreeMap<String, Tensor>, BTreeMap<String, Var>)> {
    let (mut frozen, mut variables) = (BTreeMap::new(), BTreeMap::new());
    let mut kept = std::mem::take(&mut state.parameters);
    for (name, tensor) in std::mem::take(&mut plan.start) {
        if !plan.trainable.includes(&name) {
            frozen.insert(name, tensor);
            continue;
        }
        let variable = match kept.remove(&name) {
            Some(values) => Var::from_vec(values, tensor.dims(), &Device::Cpu)?,
            None => Var::from_tensor(&tensor)?,
        };
        let count = tensor.elem_count();
        state.moments.entry(name.clone()).or_insert_with(|| Moments::zeros(count));
        variables.insert(name, variable);
    }
    Ok((frozen, variables))
}

/// A decoder of these parts.
fn decoder(
    config: &DecoderConfig,
    frozen: &BTreeMap<String, Tensor>,
    variables: &BTreeMap<String, Var>,
    moving: impl Fn(&Var) -> Result<Tensor>,
) -> Result<Decoder> {
    Decoder::new(config.clone(), &parts(frozen, variables, moving)?)
}

fn parts(
    frozen: &BTreeMap<String, Tensor>,
    variables: &BTreeMap<String, Var>,
    moving: impl Fn(&Var) -> Result<Tensor>,
) -> Result<Weights> {
    let mut parts = frozen.clone();
    for (name, variable) in variables {
        parts.insert(name.clone(), moving(variable)?);
    }
    Weights::new(parts, Dtype::F32)
}

/// One update on `batch`; gives its loss.
fn step(
    plan: &Plan,
    decoder: &Decoder,
    variables: &BTreeMap<String, Var>,
    state: &mut Checkpoint,
    batch: &[&Context],
    steps: u64,
) -> Result<f64> {
    let (loss, gradients) = gradients(plan, decoder, variables, batch)?;
    if !loss.is_finite() {
        return Err(Error::invalid(
            "train",
            format!("the loss is {loss} at step {}: lower the learning rate", state.step),
        ));
    }
    let mut square = 0.0;
    for gradient in gradients.values() {
        square += square_sum(gradient)?;
    }
    let norm = square.sqrt();
    let factor = if plan.clip > 0.0 && norm > plan.clip { plan.clip / norm } else { 1.0 };
    let rate = plan.learning_rate * schedule(state.step, steps, plan.warmup);
    for (name, gradient) in &gradients {
        if let (Some(moments), Some(variable)) = (state.moments.get_mut(name), variables.get(name)) {
            update(variable, gradient, moments, state.step, rate, factor)?;
        }
    }
    Ok(loss)
}

/// The mean loss of the batch and its gradient for each variable.
///
/// The head's part is computed a few rows at a time and without candle's graph (see `head_loss.rs`); the graph goes on from the
/// gradient g of the stream before it, as that of sum(x g).
fn gradients(
    plan: &Plan,
    decoder: &Decoder,
    variables: &BTreeMap<String, Var>,
    batch: &[&Context],
) -> Result<(f64, BTreeMap<String, Tensor>)> {
    let inputs: Vec<&[u32]> = batch.iter().map(|c| c.inputs()).collect();
    let (rows, targets) = Context::targets(batch.iter().copied());
    let mut h = decoder.embed(&decoder.batch(&inputs)?)?;
    for l in 0..decoder.layers() {
        h = decoder.block(l, &h)?;
    }
    let rows = Tensor::from_vec(rows, targets.len(), &Device::Cpu)?;
    let x = decoder.before_head(&h)?.index_select(&rows, 0)?;
    let head = if plan.config.tied { "embedding.weight" } else { "head.weight" };
    let trained = variables.contains_key(head);
    let end = gradient(&x.detach(), &decoder.head().detach(), &targets, plan.config.logit_cap, trained)?;
    let found = (x * end.input)?.sum_all()?.backward()?;
    let mut gradients = BTreeMap::new();
    for (name, variable) in variables {
        let below = found.get(variable.as_tensor()).cloned();
        let above = if name == head { end.head.clone() } else { None };
        let gradient = match (below, above) {
            (Some(below), Some(above)) => (below + above)?,
            (Some(one), None) | (None, Some(one)) => one,
            (None, None) => return Err(Error::invalid("train", format!("no gradient for {name}"))),
        };
        gradients.insert(name.clone(), gradient.contiguous()?);
    }
    Ok((end.loss, gradients))
}

/// Values whose squares are summed by one task.
const SQUARES: usize = 1 << 16;

fn square_sum(gradient: &Tensor) -> Result<f64> {
    let values = gradient.flatten_all()?.to_vec1::<f32>()?;
    let part = |part: &[f32]| part.iter().map(|v| f64::from(*v) * f64::from(*v)).sum::<f64>();
    let parts: Vec<f64> = values.par_chunks(SQUARES).map(part).collect();
    Ok(parts.iter().sum())
}

fn values(variables: &BTreeMap<String, Var>) -> Result<BTreeMap<String, Vec<f32>>> {
    variables.iter().map(|(name, v)| Ok((name.clone(), v.as_tensor().flatten_all()?.to_vec1::<f32>()?))).collect()
}

fn finish(
    plan: &Plan,
    frozen: &BTreeMap<String, Tensor>,
    variables: &BTreeMap<String, Var>,
    mut rows: Vec<LossRow>,
    steps: u64,
    tokens: u64,
) -> Result<Trained> {
    let as_saved = |tensor: &Tensor| match plan.store {
        Dtype::F32 => Ok(tensor.clone()),
        Dtype::Bf16 => Ok(tensor.to_dtype(DType::BF16)?.to_dtype(DType::F32)?),
    };
    let still: Result<BTreeMap<String, Tensor>> = frozen.iter().map(|(n, t)| Ok((n.clone(), as_saved(t)?))).collect();
    let weights = parts(&still?, variables, |v| as_saved(&v.as_detached_tensor()))?;
    let after = token_loss(&Decoder::new(plan.config.clone(), &weights)?, &plan.contexts.held_out)?;
    if let Some(last) = rows.last_mut() {
        last.held_out = Some(after);
    }
    let before = rows.first().and_then(|r| r.held_out).unwrap_or(f64::NAN);
    save_weights(plan.output, &weights.published(&plan.config)?, plan.store)?;
    let number = |x: Option<f64>| x.map_or(String::new(), |x| format!("{x:.5}"));
    let mut csv = String::from("step,tokens,loss,held_out\n");
    for row in &rows {
        csv += &format!("{},{},{},{}\n", row.step, row.tokens, number(row.loss), number(row.held_out));
    }
    write_file(&plan.output.join("losses.csv"), csv.as_bytes())?;
    if let Some(folder) = plan.checkpoint {
        Checkpoint::remove(folder)?;
    }
    Ok(Trained { steps, tokens: steps * tokens, held_out: (before, after) })
}
