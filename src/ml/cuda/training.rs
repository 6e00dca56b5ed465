//! A training step on a GPU: what `src/ml/crosscoder/cpu.rs` does, with weights that stay in the GPU's memory.

use std::borrow::Cow;
use std::sync::Arc;

use super::array::Array;
use super::code::Code;
use super::columns::Turned;
use super::gpu::{Arg, Form, Gpu, Product};
use super::kernels::ROW_SUMS;
use super::launch::{blocks, launch, spans};
use super::median::geometric_median;
use super::run;
use super::scorer::{Operands, Scorer, Top, Way};
use super::selection::{Scores, Selection, fits};
use super::staging::Staging;
use super::sums::Sums;
use crate::ml::crosscoder::backend::{Backend, DENSE_SHARE, L1_DEAD_AFTER, Step, Terms};
use crate::ml::crosscoder::parameter::Parameter;
use crate::ml::crosscoder::state::State;
use crate::ml::crosscoder::{CodeNorm, Loss, Reconstruction, TopK, TrainerConfig, Variant, resample};
use crate::ml::kernels::AdamStep;
use crate::ml::{Error, Result};

/// Places of [`Sums`].
const RECONSTRUCTION: usize = 0;
const SPARSITY: usize = 1;
const SPREAD: usize = 2;
const AUXILIARY: usize = 3;
const GRADIENT: usize = 4;
const BIAS_GRADIENT: usize = 5;
const ENTRIES: usize = 6;
const LEAST: usize = 7;
const DEAD: usize = 8;

/// Weights with both moments.
struct Weights {
    value: Array<f32>,
    mean: Array<f32>,
    square: Array<f32>,
}

impl Weights {
    fn of(gpu: &Arc<dyn Gpu>, parameter: &Parameter) -> Result<Self> {
        let array = |values| Array::of(gpu, values);
        Ok(Weights {
            value: array(&parameter.value)?,
            mean: array(&parameter.mean)?,
            square: array(&parameter.square)?,
        })
    }

    fn set(&mut self, parameter: &Parameter) -> Result<()> {
        self.value.set(&parameter.value)?;
        self.mean.set(&parameter.mean)?;
        self.square.set(&parameter.square)
    }

    fn get(&self) -> Result<Parameter> {
        Ok(Parameter { value: self.value.get()?, mean: self.mean.get()?, square: self.square.get()? })
    }
}

/// What [`State`] is, in the GPU's memory, and what follows from it.
struct Resident {
    encoder: Weights,
    encoder_bias: Weights,
    decoder: Weights,
    decoder_bias: Weights,
    idle_tokens: Array<u64>,
    idle_steps: Array<u64>,
    /// 1 for latents that have had a gradient, `[D]`.
    touched: Array<u32>,
    /// ||d_j^base||, ||d_j^tuned||, `[D, 2]`.
    norms: Array<f32>,
    /// S `[D]`.
    scales: Array<f32>,
}

/// Who fired and who is dead, `[D]` each.
struct Fired {
    fired: Array<u32>,
    strong: Array<u32>,
    dead: Array<u32>,
    /// Dead ones before each, `[D + 1]`, and their list.
    before: Array<u32>,
    list: Array<u32>,
}

/// AuxK of one batch.
struct Auxiliary {
    code: Code,
    /// weight * dL_aux/dehat `[B, W]`.
    upstream: Array<f32>,
    squares: Array<f64>,
    mean: Array<f64>,
    spread: Array<f64>,
    /// Which latents are in its code, `[D]`.
    is_auxiliary: Array<u32>,
}

/// Gradients of a dense step of L1.
struct Dense {
    /// A bit for each f > 0, `[B, D / 32]`: dL/dp takes the place of f.
    positive: Array<u32>,
    /// `[D, W]`.
    encoder: Array<f32>,
    decoder: Array<f32>,
    /// `[D]`.
    bias: Array<f32>,
    activity: Array<f32>,
}

impl Dense {
    fn empty(gpu: &Arc<dyn Gpu>) -> Self {
        let array = || Array::empty(gpu);
        Dense { positive: Array::empty(gpu), encoder: array(), decoder: array(), bias: array(), activity: array() }
    }
}

/// A training on a GPU.
pub struct Training {
    gpu: Arc<dyn Gpu>,
    config: TrainerConfig,
    width: usize,
    state: Resident,
    x: Staging<f32>,
    /// The batch after this one, if it is known.
    next: Option<Arc<Vec<f32>>>,
    /// What an autoencoder's encoder reads: x - b_dec.
    input: Array<f32>,
    /// x W_enc `[B, D]`; of a dense step f, then dL/dp.
    products: Array<f32>,
    error: Array<f32>,
    upstream: Array<f32>,
    /// Parts of the loss by half row `[2B]` (of an autoencoder by row), and of the penalty by row `[B]`.
    sizes: Array<f64>,
    penalties: Array<f64>,
    scorer: Scorer,
    selection: Selection,
    code: Code,
    auxiliary: Auxiliary,
    fired: Fired,
    columns: Turned,
    dense: Dense,
    sums: Sums,
    bias_gradient: Array<f32>,
    /// Of an autoencoder: what flows back through each latent's encoder `[D]`, and through all of them `[W]`.
    flows: Array<f32>,
    through: Array<f64>,
    /// Squared norms of the latents' gradients `[D, spans]`, and sums of their new rows `[D, spans, ROW_SUMS]`.
    squares: Array<f64>,
    row_sums: Array<f64>,
    /// The first latent whose norm is not finite.
    broken: Array<u32>,
}

/// What the scorer multiplies; a macro, so that the other fields stay free.
macro_rules! operands {
    ($training:expr) => {
        Operands {
            x: if $training.config.variant == Variant::SharedCode { $training.x.array() } else { &$training.input },
            encoder: &$training.state.encoder.value,
            bias: &$training.state.encoder_bias.value,
            norms: &$training.state.scales,
            products: &$training.products,
        }
    };
}

/// The sums of a step by their places.
struct Seen(Vec<f64>);

impl Seen {
    fn of(&self, place: usize) -> f64 {
        self.0[place]
    }
}

/// Where the weights' gradient comes from.
#[derive(Clone, Copy)]
enum Flow {
    /// The columns, and whether AuxK's entries are among them.
    Sparse {
        auxiliary: bool,
    },
    Dense,
}

/// S as the kernels know it: form, and the two factors of the mixed one.
fn norm_args(norm: CodeNorm) -> [Arg; 3] {
    let (form, sae, cc) = match norm {
        CodeNorm::Sum => (0u32, 0.0, 0.0),
        CodeNorm::Concat => (1, 0.0, 0.0),
        CodeNorm::None => (2, 0.0, 0.0),
        CodeNorm::Mixed { sae, cc } => (3, sae, cc),
    };
    [Arg::U32(form), Arg::F32(sae), Arg::F32(cc)]
}

impl Training {
    /// Goes on from a state.
    pub(crate) fn new(gpu: &Arc<dyn Gpu>, config: TrainerConfig, width: usize, state: &State) -> Result<Self> {
        let (latents, row) = (config.latents, config.variant.row(width));
        fits(config.train.batch as usize, latents, row)?;
        let is_autoencoder = config.variant != Variant::SharedCode;
        let training = Training {
            state: Resident::of(gpu, row, state)?,
            x: Staging::new(gpu),
            next: None,
            input: Array::empty(gpu),
            products: Array::empty(gpu),
            error: Array::empty(gpu),
            upstream: Array::empty(gpu),
            sizes: Array::empty(gpu),
            penalties: Array::empty(gpu),
            scorer: Scorer::new(gpu, config.train.precision),
            selection: Selection::new(gpu)?,
            code: Code::empty(gpu),
            auxiliary: Auxiliary {
                code: Code::empty(gpu),
                upstream: Array::empty(gpu),
                squares: Array::empty(gpu),
                mean: Array::zeros(gpu, row)?,
                spread: Array::zeros(gpu, row)?,
                is_auxiliary: Array::zeros(gpu, latents)?,
            },
            fired: Fired {
                fired: Array::zeros(gpu, latents)?,
                strong: Array::zeros(gpu, latents)?,
                dead: Array::zeros(gpu, latents)?,
                before: Array::zeros(gpu, latents + 1)?,
                list: Array::zeros(gpu, latents)?,
            },
            columns: Turned::empty(gpu),
            dense: Dense::empty(gpu),
            sums: Sums::new(gpu)?,
            bias_gradient: Array::zeros(gpu, row)?,
            flows: Array::zeros(gpu, if is_autoencoder { latents } else { 0 })?,
            through: Array::zeros(gpu, if is_autoencoder { row } else { 0 })?,
            squares: Array::zeros(gpu, latents * spans(row))?,
            row_sums: Array::zeros(gpu, latents * spans(row) * ROW_SUMS)?,
            broken: Array::of(gpu, &[u32::MAX])?,
            gpu: gpu.clone(),
            config,
            width,
        };
        training.measure_norms()?;
        Ok(training)
    }

    /// Numbers of a row: 2d, or d of an autoencoder.
    fn row(&self) -> usize {
        self.config.variant.row(self.width)
    }

    /// Models in a row.
    fn models(&self) -> usize {
        self.row() / self.width
    }

    /// Decoder vectors keep norm 1, and x - b_dec is read in the place of x.
    fn is_autoencoder(&self) -> bool {
        self.config.variant != Variant::SharedCode
    }

    /// What the encoder reads `[B, W]`.
    fn input(&self) -> &Array<f32> {
        if self.is_autoencoder() { &self.input } else { self.x.array() }
    }

    fn rows(&self) -> usize {
        self.x.array().len() / self.row()
    }

    /// Decoder norms and S.
    fn measure_norms(&self) -> Result<()> {
        let state = &self.state;
        let mut args = vec![Arg::from(&state.decoder.value), self.row().into(), self.width.into()];
        args.extend(norm_args(self.config.loss.norm()));
        args.extend([Arg::from(&state.norms), Arg::from(&state.scales)]);
        run(&*self.gpu, "measure_norms", [self.config.latents as u32, 1], &args)
    }

    /// Brings the batch there.
    fn take_batch(&mut self, batch: &[f32]) -> Result<()> {
        self.x.bring(batch)?;
        let (rows, latents, row) = (self.rows(), self.config.latents, self.row());
        fits(rows, latents, row)?;
        self.products.resize(rows * latents)?;
        self.error.resize(rows * row)?;
        self.upstream.resize(rows * row)?;
        self.sizes.resize(self.models() * rows)?;
        self.penalties.resize(rows)?;
        if self.is_autoencoder() {
            self.input.resize(rows * row)?;
            let (grid, bias) = ([rows as u32, blocks(row)], &self.state.decoder_bias.value);
            launch!(&self.gpu, "subtract_bias", grid, self.x.array(), bias, row, &self.input)?;
        }
        Ok(())
    }

    /// While the batch is scored the next one sets out.
    fn send_next(&mut self) -> Result<()> {
        match self.next.take() {
            Some(next) => self.x.send_ahead(&next),
            None => Ok(()),
        }
    }

    /// From hhat in `error` (without `start`): eps, G, and the reconstruction term.
    fn take_errors(&self, start: Option<&Array<f32>>) -> Result<()> {
        let count = self.models() * self.rows();
        let squared = u32::from(self.config.loss.reconstruction() == Reconstruction::Mse);
        let (width, out) = (self.width, (&self.error, &self.upstream, &self.sizes));
        let grid = [count as u32, 1];
        launch!(
            &self.gpu,
            "reconstruct",
            grid,
            self.x.array(),
            start,
            width,
            squared,
            count as f64,
            out.0,
            out.1,
            out.2,
        )?;
        self.sums.take(&self.sizes, RECONSTRUCTION)
    }

    /// eps, G and the entries' gradients from the code.
    fn reconstruct(&self) -> Result<()> {
        let (state, both) = (&self.state, self.row());
        self.code.decode(&state.decoder.value, Some(&state.decoder_bias.value), both, &self.error)?;
        self.take_errors(None)?;
        self.code.back(&self.upstream, &state.decoder.value, both)
    }

    /// Forgets who fired in the last batch.
    fn nobody_fired(&mut self) -> Result<()> {
        self.fired.fired.clear()?;
        self.fired.strong.clear()
    }

    /// Counts on from who fired; the dead latents are listed and their number is noted.
    fn count_idle(&self, dead_after: u64) -> Result<()> {
        let (latents, rows) = (self.config.latents, self.rows() as u64);
        let (fired, state, gpu) = (&self.fired, &self.state, &self.gpu);
        let grid = [blocks(latents), 1];
        let idle = (&state.idle_tokens, &state.idle_steps);
        let (who, strong, after) = (&fired.fired, &fired.strong, dead_after.max(1));
        launch!(gpu, "count_idle", grid, who, strong, latents, rows, after, idle.0, idle.1, &fired.dead)?;
        launch!(gpu, "scan", [1, 1], &fired.dead, &fired.before, latents)?;
        launch!(gpu, "list_flagged", grid, &fired.dead, &fired.before, latents, &fired.list)?;
        self.sums.take_count(&fired.before, latents, DEAD)
    }

    fn learn_top(&mut self, top: TopK, step: Step) -> Result<Terms> {
        let k = top.k_at(step.number);
        let rows = self.rows();
        self.scorer.score(operands!(self))?;
        self.send_next()?;
        let of_batch = matches!(self.config.loss, Loss::BatchTopK(_));
        let which = match of_batch {
            true => Top::Batch(rows.saturating_mul(k as usize)),
            false => Top::Row(k as usize, None),
        };
        self.scorer.top(operands!(self), which, &mut self.selection, &mut self.code)?;
        if of_batch {
            self.sums.take_count(self.selection.least(), 0, LEAST)?;
        }
        self.sums.take_count(&self.code.offsets, rows, ENTRIES)?;
        self.reconstruct()?;
        self.nobody_fired()?;
        self.code.mark(resample::ACTIVE, &self.fired.fired, &self.fired.strong)?;
        self.count_idle(top.dead_after)?;
        let spread = self.auxiliary(top.aux)?;
        let codes = [&self.code, &self.auxiliary.code];
        let some = spread.is_some();
        self.columns.fill(self.config.latents, &codes[..if some { 2 } else { 1 }])?;
        let models = self.models();
        let terms = |seen: &Seen| {
            let reconstruction = seen.of(RECONSTRUCTION) / (models * rows) as f64;
            let auxk = spread.map_or(0.0, |spread| seen.of(AUXILIARY) / rows as f64 / spread);
            Terms {
                loss: reconstruction + top.aux * auxk,
                reconstruction,
                auxk: Some(auxk),
                active: seen.of(ENTRIES) as usize,
                dead: seen.of(DEAD) as u64,
                k: Some(k),
                least: of_batch.then(|| Selection::least_of(seen.of(LEAST) as u32)),
                ..Terms::default()
            }
        };
        self.update(Flow::Sparse { auxiliary: some }, step, 0.0, terms)
    }

    /// AuxK of the batch: its code and its gradients, and the sum of squares of e around its mean over B, which divides its loss; `None`
    /// where there is none. Only here a step waits for what it must know before it goes on.
    fn auxiliary(&mut self, weight: f64) -> Result<Option<f64>> {
        if weight == 0.0 {
            return Ok(None);
        }
        let (both, rows, width) = (self.row(), self.rows(), self.width);
        let auxiliary = &mut self.auxiliary;
        self.sums.columns(&self.error, both, None, 1.0 / rows as f64, Some(&auxiliary.mean), None)?;
        self.sums.columns(&self.error, both, Some(&auxiliary.mean), 1.0, Some(&auxiliary.spread), None)?;
        self.sums.take(&auxiliary.spread, SPREAD)?;
        let [spread, dead] = self.sums.get([SPREAD, DEAD])?;
        let (spread, dead) = (spread / rows as f64, dead as usize);
        if spread <= 0.0 || dead == 0 {
            return Ok(None);
        }
        self.fired.list.resize(dead)?;
        let keep = (width / 2).min(dead);
        if keep == 0 {
            return Ok(None);
        }
        let decoder = &self.state.decoder.value;
        let among = Top::Row(keep, Some(&self.fired.list));
        self.scorer.top(operands!(self), among, &mut self.selection, &mut auxiliary.code)?;
        auxiliary.upstream.resize(rows * both)?;
        auxiliary.squares.resize(rows)?;
        auxiliary.code.decode(decoder, None, both, &auxiliary.upstream)?;
        let factor = (-2.0 * weight / (rows as f64 * spread)) as f32;
        let (upstream, squares) = (&auxiliary.upstream, &auxiliary.squares);
        launch!(&self.gpu, "auxiliary_error", [rows as u32, 1], &self.error, both, factor, upstream, squares)?;
        self.sums.take(squares, AUXILIARY)?;
        auxiliary.code.back(&auxiliary.upstream, decoder, both)?;
        auxiliary.is_auxiliary.clear()?;
        auxiliary.code.mark(f32::INFINITY, &auxiliary.is_auxiliary, &auxiliary.is_auxiliary)?;
        Ok(Some(spread))
    }

    fn learn_l1(&mut self, step: Step) -> Result<Terms> {
        let (rows, row) = (self.rows(), self.row());
        let product = Product { form: Form::Rows, m: rows, n: self.config.latents, k: row };
        self.scorer.multiply(product, self.x.array(), &self.state.encoder.value, &self.products)?;
        self.send_next()?;
        let weight = self.config.loss.weight_at(step.number);
        let share = (weight / rows as f64) as f32;
        let scores = Scores { products: &self.products, bias: &self.state.encoder_bias.value, norms: None };
        let active = self.selection.count_positive(scores, &mut self.code)?;
        self.nobody_fired()?;
        let flow = if active as f64 > DENSE_SHARE * self.products.len() as f64 {
            self.flow_densely(share)?;
            Flow::Dense
        } else {
            self.dense = Dense::empty(&self.gpu);
            self.selection.counted_positive(scores_of(&self.products, &self.state), active, &mut self.code)?;
            self.reconstruct()?;
            let Code { offsets, latents, values, gradients, .. } = &self.code;
            let (grid, scales, sums) = ([rows as u32, 1], &self.state.scales, &self.penalties);
            launch!(&self.gpu, "penalize_entries", grid, offsets, latents, values, scales, share, gradients, sums)?;
            self.code.mark(resample::ACTIVE, &self.fired.fired, &self.fired.strong)?;
            self.columns.fill(self.config.latents, &[&self.code])?;
            Flow::Sparse { auxiliary: false }
        };
        self.sums.take(&self.penalties, SPARSITY)?;
        self.count_idle(L1_DEAD_AFTER)?;
        let terms = |seen: &Seen| {
            let reconstruction = seen.of(RECONSTRUCTION) / (2 * rows) as f64;
            let sparsity = seen.of(SPARSITY) / rows as f64;
            Terms {
                loss: reconstruction + weight * sparsity,
                reconstruction,
                sparsity: Some(sparsity),
                active,
                dead: seen.of(DEAD) as u64,
                ..Terms::default()
            }
        };
        self.update(flow, step, share, terms)
    }

    /// L1 while many latents are active: the same mathematics by dense products.
    fn flow_densely(&mut self, share: f32) -> Result<()> {
        let (rows, latents, both) = (self.rows(), self.config.latents, self.row());
        self.code.forget();
        self.columns.forget();
        let (state, gpu, dense) = (&self.state, &self.gpu, &mut self.dense);
        dense.positive.resize(rows * latents.div_ceil(32))?;
        dense.encoder.resize(latents * both)?;
        dense.decoder.resize(latents * both)?;
        dense.bias.resize(latents)?;
        dense.activity.resize(latents)?;
        let (bias, scales, sums) = (&state.encoder_bias.value, &state.scales, &self.penalties);
        let (fired, strong) = (&self.fired.fired, &self.fired.strong);
        let (f, grid, active) = (&self.products, [rows as u32, 1], resample::ACTIVE);
        launch!(gpu, "dense_values", grid, f, bias, scales, latents, active, sums, fired, strong, &dense.positive)?;
        let plain = Product { form: Form::Plain, m: rows, n: both, k: latents };
        self.scorer.multiply(plain, f, &state.decoder.value, &self.error)?;
        self.take_errors(Some(&self.state.decoder_bias.value))?;
        let (gpu, dense, scorer, decoder) = (&self.gpu, &self.dense, &mut self.scorer, &self.state.decoder.value);
        let turned = Product { form: Form::Turned, m: latents, n: both, k: rows };
        scorer.multiply(turned, &self.products, &self.upstream, &dense.decoder)?;
        self.sums.columns(&self.products, latents, None, 1.0, None, Some(&dense.activity))?;
        // f is not needed any more: dL/df is written over it.
        let back = Product { form: Form::Rows, m: rows, n: latents, k: both };
        scorer.multiply(back, &self.upstream, decoder, &self.products)?;
        let grid = [rows as u32, blocks(latents)];
        let scales = &self.state.scales;
        launch!(gpu, "dense_gradients", grid, &dense.positive, scales, share, latents, &self.products)?;
        scorer.multiply(turned, &self.products, self.x.array(), &dense.encoder)?;
        self.sums.columns(&self.products, latents, None, 1.0, None, Some(&dense.bias))
    }

    /// The arguments that say where the gradient comes from.
    fn flow_args(&self, flow: Flow) -> Vec<Arg> {
        let columns = &self.columns;
        let mut args = vec![Arg::Place(0); 12];
        match flow {
            Flow::Sparse { auxiliary } => {
                let sparse =
                    [&columns.values, &columns.gradients, self.input(), &self.upstream, &self.auxiliary.upstream];
                args[0] = Arg::from(&columns.starts);
                args[1] = Arg::from(&columns.rows);
                args[2..7].copy_from_slice(&sparse.map(Arg::from));
                args[7] = Arg::from(auxiliary.then_some(&self.auxiliary.is_auxiliary));
            }
            Flow::Dense => {
                let dense = &self.dense;
                args[8..12]
                    .copy_from_slice(&[&dense.encoder, &dense.decoder, &dense.bias, &dense.activity].map(Arg::from));
            }
        }
        args.push(self.row().into());
        args.push(self.width.into());
        args.push(u32::from(self.is_autoencoder()).into());
        args
    }

    /// Clips and takes the step of Adam; `share` is the weight of the penalty over B, and `terms` what is made of the sums, which are
    /// waited for: nothing is moved by a loss that is not finite.
    fn update(&mut self, flow: Flow, step: Step, share: f32, terms: impl Fn(&Seen) -> Terms) -> Result<Terms> {
        let (latents, both) = (self.config.latents, self.row());
        self.sums.columns(&self.upstream, both, None, 1.0, None, Some(&self.bias_gradient))?;
        if self.is_autoencoder() {
            self.subtract_through()?;
        }
        let from = self.flow_args(flow);
        let penalty = [&[Arg::F32(share)][..], &norm_args(self.config.loss.norm())].concat();
        let clip = self.config.train.clip;
        if clip.is_some() {
            let mut args = from.clone();
            args.extend([&self.state.decoder.value, &self.state.norms].map(Arg::from));
            args.extend(&penalty);
            args.push(Arg::from(&self.squares));
            run(&*self.gpu, "gradient_squares", [latents as u32, spans(both) as u32], &args)?;
            self.sums.take(&self.squares, GRADIENT)?;
            self.sums.take_squared_norm(&self.bias_gradient, BIAS_GRADIENT)?;
        }
        let seen = Seen(self.sums.all()?);
        let terms = terms(&seen);
        let gradient_norm = clip.map(|_| (seen.of(GRADIENT) + seen.of(BIAS_GRADIENT)).sqrt());
        let scale = clip.zip(gradient_norm).map_or(1.0, |(bound, norm)| (bound / (norm + 1e-6)).min(1.0));
        let (loss, number) = (terms.loss, step.number);
        if !loss.is_finite() || gradient_norm.is_some_and(|norm| !norm.is_finite()) {
            let problem = format!("at step {number} the loss is {loss} and not a finite number any more");
            return Err(Error::invalid("train", problem));
        }
        let adam = &self.config.train.optimizer;
        let adam = AdamStep::new(step.rate, adam.beta1, adam.beta2, adam.epsilon, number + 1, scale).numbers();
        self.move_latents(from, &penalty, &adam)?;
        let Weights { value, mean, square } = &self.state.decoder_bias;
        let mut args = vec![Arg::from(&self.bias_gradient), both.into()];
        args.extend(adam.map(Arg::F32));
        args.extend([value, mean, square].map(Arg::from));
        run(&*self.gpu, "update_vector", [blocks(both), 1], &args)?;
        match self.broken.get()?[0] {
            u32::MAX => Ok(Terms { gradient_norm, ..terms }),
            j => {
                let problem =
                    format!("after step {number} a decoder norm of latent {j} is not a finite number any more");
                Err(Error::invalid("train", problem))
            }
        }
    }

    /// An autoencoder's encoder reads x - b_dec, so what flows back through it is taken off the gradient of b_dec.
    fn subtract_through(&mut self) -> Result<()> {
        let (latents, row) = (self.config.latents, self.row());
        let Turned { starts, gradients, .. } = &self.columns;
        launch!(&self.gpu, "sum_flows", [blocks(latents), 1], starts, gradients, latents, &self.flows)?;
        self.sums.through(&self.state.encoder.value, &self.flows, &self.through)?;
        launch!(&self.gpu, "subtract_through", [blocks(row), 1], &self.bias_gradient, &self.through, row)
    }

    /// Moves the latents; the scorer's copy of the encoder goes along.
    fn move_latents(&mut self, from: Vec<Arg>, penalty: &[Arg], adam: &[f32; 6]) -> Result<()> {
        let (latents, row) = (self.config.latents, self.row());
        let copy = self.scorer.follow();
        let (state, sums, gpu) = (&self.state, &self.row_sums, &self.gpu);
        let Resident { touched, norms, scales, .. } = state;
        let mut args = from;
        args.extend(penalty);
        args.extend(adam.map(Arg::F32));
        args.push(Arg::from(touched));
        for Weights { value, mean, square } in [&state.encoder, &state.decoder, &state.encoder_bias] {
            args.extend([value, mean, square].map(Arg::from));
        }
        args.push(Arg::from(norms));
        args.extend([copy.narrow, copy.wide, Arg::from(copy.is_tf32), Arg::from(copy.sizes.is_some())]);
        args.push(Arg::from(sums));
        run(&**gpu, "update_latents", [latents as u32, spans(row) as u32], &args)?;
        if self.is_autoencoder() {
            launch!(gpu, "normalize_latents", [latents as u32, 1], touched, row, &state.decoder.value, sums)?;
        }
        let mut args = vec![Arg::from(touched), Arg::from(sums), latents.into(), row.into()];
        args.extend(norm_args(self.config.loss.norm()));
        args.extend([
            Arg::from(norms),
            Arg::from(scales),
            copy.sizes.unwrap_or(Arg::Place(0)),
            Arg::from(&self.broken),
        ]);
        run(&**gpu, "finish_latents", [blocks(latents), 1], &args)
    }
}

fn scores_of<'a>(products: &'a Array<f32>, state: &'a Resident) -> Scores<'a> {
    Scores { products, bias: &state.encoder_bias.value, norms: None }
}

impl Resident {
    /// Of rows of so many numbers.
    fn of(gpu: &Arc<dyn Gpu>, row: usize, state: &State) -> Result<Self> {
        let latents = state.idle_tokens.len();
        let touched: Vec<u32> = state.touched(row).into_iter().map(u32::from).collect();
        Ok(Resident {
            encoder: Weights::of(gpu, &state.encoder)?,
            encoder_bias: Weights::of(gpu, &state.encoder_bias)?,
            decoder: Weights::of(gpu, &state.decoder)?,
            decoder_bias: Weights::of(gpu, &state.decoder_bias)?,
            idle_tokens: Array::of(gpu, &state.idle_tokens)?,
            idle_steps: Array::of(gpu, &state.idle_steps)?,
            touched: Array::of(gpu, &touched)?,
            norms: Array::zeros(gpu, 2 * latents)?,
            scales: Array::zeros(gpu, latents)?,
        })
    }

    /// Becomes another state, in the same memory; what follows from it is not set.
    fn set(&mut self, state: &State) -> Result<()> {
        self.encoder.set(&state.encoder)?;
        self.encoder_bias.set(&state.encoder_bias)?;
        self.decoder.set(&state.decoder)?;
        self.decoder_bias.set(&state.decoder_bias)?;
        self.idle_tokens.set(&state.idle_tokens)?;
        self.idle_steps.set(&state.idle_steps)
    }

    fn get(&self) -> Result<State> {
        Ok(State {
            encoder: self.encoder.get()?,
            encoder_bias: self.encoder_bias.get()?,
            decoder: self.decoder.get()?,
            decoder_bias: self.decoder_bias.get()?,
            idle_tokens: self.idle_tokens.get()?,
            idle_steps: self.idle_steps.get()?,
        })
    }
}

impl Backend for Training {
    fn learn(&mut self, batch: &[f32], step: Step) -> Result<Terms> {
        self.take_batch(batch)?;
        match self.config.loss {
            Loss::L1 { .. } => self.learn_l1(step),
            Loss::BatchTopK(top) | Loss::TopK(top) => self.learn_top(top, step),
        }
    }

    fn looks_ahead(&self) -> bool {
        true
    }

    fn expect(&mut self, next: Arc<Vec<f32>>) {
        self.next = Some(next);
    }

    fn start_at_median(&mut self, batch: &[f32]) -> Result<()> {
        self.x.bring(batch)?;
        let median = geometric_median(&self.gpu, self.x.array(), self.width, self.models())?;
        self.state.decoder_bias.value.set(&median)
    }

    /// Resampling is rare: it is done by the same code as on the CPU, there.
    fn resample(&mut self, batch: &[f32], step: u64, patience: u64) -> Result<()> {
        let mut state = self.state.get()?;
        let error = self.error.get()?;
        let touched = self.state.touched.get()?;
        let revived = resample::resample(&mut state, &self.config, self.width, step, batch, &error, patience);
        if !revived.is_empty() {
            self.state.set(&state)?;
            self.state.touched.set(&touched)?;
            self.scorer.forget_encoder();
            self.measure_norms()?;
        }
        Ok(())
    }

    fn state(&self) -> Result<Cow<'_, State>> {
        Ok(Cow::Owned(self.state.get()?))
    }

    fn errors(&self) -> Result<Cow<'_, [f32]>> {
        Ok(Cow::Owned(self.error.get()?))
    }

    fn score_in_f32(&mut self) {
        self.scorer.set_way(Way::F32);
    }

    fn fallbacks(&self) -> u64 {
        self.scorer.fallbacks()
    }
}
