//! The loop that pretraining and fine-tuning share.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use candle_core::{Device, Tensor, Var};
use half::bf16;

use super::adam::{Moments, update};
use super::checkpoint::{Checkpoint, LossRow};
use super::evaluate::token_loss;
use super::ops::cross_entropy;
use super::packing::{Contexts, Order};
use super::save::{save_weights, write_file};
use super::{Decoder, DecoderConfig, Dtype, Weights};
use crate::ml::{Error, Progress, Result, Watch};

/// What the two kinds of training have in common.
pub(super) struct Plan<'a> {
    pub config: DecoderConfig,
    /// Weights before step 0, by name.
    pub start: BTreeMap<String, Vec<f32>>,
    pub contexts: Contexts,
    /// Tokens a context.
    pub context: usize,
    /// Tokens to train on, in all.
    pub length: u64,
    /// Tokens a step.
    pub batch: u64,
    pub learning_rate: f64,
    pub seed: u64,
    /// Says what is trained, for checkpoints.
    pub identity: String,
    pub output: &'a Path,
    pub checkpoint: Option<&'a Path>,
    pub watch: &'a dyn Watch,
}

/// What a training reports.
#[derive(Clone, Debug, PartialEq)]
pub struct Trained {
    pub steps: u64,
    pub tokens: u64,
    /// Loss on the held-out contexts before the first and after the last step (as saved, in bf16), in nats a token.
    pub held_out: (f64, f64),
}

/// Norm that gradients are clipped to.
const CLIP: f64 = 1.0;
/// Steps between rows of `losses.csv`, and between checks of the clock.
const ROW: u64 = 50;
const CHECKPOINT_EVERY: Duration = Duration::from_secs(30);

/// Share of the learning rate at `step` of `steps`: a linear warm-up over a twentieth (at most 200 steps), then a cosine down
/// to a tenth.
fn schedule(step: u64, steps: u64) -> f64 {
    let warmup = (steps / 20).clamp(1, 200);
    if step < warmup {
        return (step + 1) as f64 / warmup as f64;
    }
    let done = (step - warmup) as f64 / (steps - warmup).max(1) as f64;
    0.1 + 0.45 * (1.0 + (std::f64::consts::PI * done).cos())
}

/// Trains, and writes `model.safetensors` (bf16) and `losses.csv` into the output folder.
pub(super) fn train(plan: Plan) -> Result<Trained> {
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
    .unwrap_or_else(|| fresh(&plan));
    let shapes = Decoder::shapes(&plan.config);
    let mut variables = BTreeMap::new();
    for (name, shape) in &shapes {
        let values = state.parameters.remove(name).unwrap_or_default();
        variables.insert(name.clone(), Var::from_vec(values, shape.as_slice(), &Device::Cpu)?);
    }
    let weights =
        Weights::new(variables.iter().map(|(n, v)| (n.clone(), v.as_tensor().clone())).collect(), Dtype::F32)?;
    let decoder = Decoder::new(plan.config.clone(), &weights)?;
    if state.rows.is_empty() {
        let held_out = token_loss(&detached(&plan.config, &variables, false)?, &plan.contexts.held_out)?;
        state.rows.push(LossRow { step: 0, tokens: 0, loss: None, held_out: Some(held_out) });
    }
    let mut order = Order::new(plan.contexts.train.len(), plan.seed);
    let mut saved = Instant::now();
    while state.step < steps {
        let batch: Vec<&Vec<u32>> =
            order.batch(state.step, per_step).into_iter().map(|i| &plan.contexts.train[i]).collect();
        let loss = step(&plan, &decoder, &variables, &mut state, &batch, steps)?;
        state.step += 1;
        state.running = (state.running.0 + loss, state.running.1 + 1);
        if state.step.is_multiple_of(ROW) || state.step == steps {
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
            && (stop || saved.elapsed() > CHECKPOINT_EVERY)
        {
            state.parameters = values(&variables)?;
            state.save(folder, &plan.identity)?;
            saved = Instant::now();
        }
        if stop && state.step < steps {
            return Err(Error::Interrupted);
        }
    }
    finish(&plan, &variables, state.rows, steps, tokens)
}

fn fresh(plan: &Plan) -> Checkpoint {
    Checkpoint {
        step: 0,
        running: (0.0, 0),
        rows: Vec::new(),
        moments: plan.start.iter().map(|(n, v)| (n.clone(), Moments::zeros(v.len()))).collect(),
        parameters: plan.start.clone(),
    }
}

/// One update on `batch`; gives its loss.
fn step(
    plan: &Plan,
    decoder: &Decoder,
    variables: &BTreeMap<String, Var>,
    state: &mut Checkpoint,
    batch: &[&Vec<u32>],
    steps: u64,
) -> Result<f64> {
    let inputs: Vec<&[u32]> = batch.iter().map(|c| &c[..plan.context]).collect();
    let targets: Vec<u32> = batch.iter().flat_map(|c| c[1..].iter().copied()).collect();
    let mut h = decoder.embed(&decoder.batch(&inputs)?)?;
    for l in 0..decoder.layers() {
        h = decoder.block(l, &h)?;
    }
    let logits = decoder.raw_logits(&h)?.flatten(0, 1)?;
    let loss = cross_entropy(&logits, targets, plan.config.logit_cap)?;
    let value = f64::from(loss.to_scalar::<f32>()?);
    if !value.is_finite() {
        return Err(Error::invalid(
            "train",
            format!("the loss is {value} at step {}: lower the learning rate", state.step),
        ));
    }
    let gradients = loss.backward()?;
    let mut square = 0.0;
    let mut pairs = Vec::new();
    for (name, variable) in variables {
        let Some(gradient) = gradients.get(variable.as_tensor()) else {
            return Err(Error::invalid("train", format!("no gradient for {name}")));
        };
        let gradient = gradient.contiguous()?;
        square += square_sum(&gradient.flatten_all()?.to_vec1::<f32>()?);
        pairs.push((name, variable, gradient));
    }
    let norm = square.sqrt();
    let factor = if norm > CLIP { CLIP / norm } else { 1.0 };
    let rate = plan.learning_rate * schedule(state.step, steps);
    for (name, variable, gradient) in pairs {
        if let Some(moments) = state.moments.get_mut(name) {
            update(variable, &gradient, moments, state.step, rate, factor)?;
        }
    }
    Ok(value)
}

fn square_sum(values: &[f32]) -> f64 {
    values.iter().map(|v| f64::from(*v) * f64::from(*v)).sum()
}

fn values(variables: &BTreeMap<String, Var>) -> Result<BTreeMap<String, Vec<f32>>> {
    variables.iter().map(|(name, v)| Ok((name.clone(), v.as_tensor().flatten_all()?.to_vec1::<f32>()?))).collect()
}

/// A decoder with copies of the weights, rounded to bf16 or not, that records no gradient.
fn detached(config: &DecoderConfig, variables: &BTreeMap<String, Var>, round: bool) -> Result<Decoder> {
    let copy = |v: &Var| -> Result<Tensor> {
        let values = v.as_tensor().flatten_all()?.to_vec1::<f32>()?;
        let values: Vec<f32> = values.into_iter().map(|x| if round { bf16::from_f32(x).to_f32() } else { x }).collect();
        Ok(Tensor::from_vec(values, v.shape(), &Device::Cpu)?)
    };
    let tensors: Result<BTreeMap<String, Tensor>> = variables.iter().map(|(n, v)| Ok((n.clone(), copy(v)?))).collect();
    Decoder::new(config.clone(), &Weights::new(tensors?, Dtype::F32)?)
}

fn finish(
    plan: &Plan,
    variables: &BTreeMap<String, Var>,
    mut rows: Vec<LossRow>,
    steps: u64,
    tokens: u64,
) -> Result<Trained> {
    let after = token_loss(&detached(&plan.config, variables, true)?, &plan.contexts.held_out)?;
    if let Some(last) = rows.last_mut() {
        last.held_out = Some(after);
    }
    let before = rows.first().and_then(|r| r.held_out).unwrap_or(f64::NAN);
    let parts = variables.iter().map(|(name, v)| (name.clone(), v.as_tensor().clone())).collect();
    save_weights(plan.output, &Weights::new(parts, Dtype::F32)?.published(&plan.config)?)?;
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
