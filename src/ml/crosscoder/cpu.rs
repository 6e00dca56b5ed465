//! A training step on the CPU.
//!
//! The gradients are written by hand on the sparse code: reconstruction, the gradient of the code, and both weight
//! gradients touch only the active entries. Adam runs for every latent that ever had a gradient, because its moments keep
//! moving a weight after the gradient is gone and the next encoding needs every weight.

use std::borrow::Cow;

use rayon::prelude::*;

use super::autoencoder::to_unit_norm;
use super::auxk::AuxK;
use super::backend::{Backend, DENSE_SHARE, L1_DEAD_AFTER, Step, Terms};
use super::gradient::{Gradient, LatentGradient, Penalty};
use super::guess::Guess;
use super::parameter::ParameterPart;
use super::rows_pass::{self, ColumnSums, back_to_code, decode};
use super::state::State;
use super::{CodeNorm, Loss, Precision, SparseCode, TopK, TrainerConfig, Variant, geometric_median, resample};
use crate::ml::kernels::{
    AdamStep, Candidates, Columns, GROUP, Latents, Matrix, Preactivations, Rounded, RoundedGroup, Selector, Side, Unit,
    count_positive, dot, dots, product, squared_norm,
};
use crate::ml::{Error, Result};

/// Latents whose weights one thread updates at a time.
const CHUNK_LATENTS: usize = GROUP;

/// A training on the CPU.
pub struct Cpu {
    config: TrainerConfig,
    width: usize,
    state: State,
    work: Workspace,
}

/// Buffers that are used again each step, and what follows from the state.
#[derive(Default)]
struct Workspace {
    /// ||d_j^base||, ||d_j^tuned||, `[D]`.
    norms: Vec<[f32; 2]>,
    /// S `[D]`.
    scales: Vec<f32>,
    /// Latents that have had a gradient, `[D]`.
    touched: Vec<bool>,
    /// x W_enc `[B, D]`, where all of it is needed.
    products: Vec<f32>,
    /// BatchTopK where the machine multiplies fast in bf16: the encoder in bf16, and the search for the largest scores.
    rounded: Option<(Unit, Rounded)>,
    candidates: Candidates,
    guess: Guess,
    selector: Selector,
    code: SparseCode,
    /// Latents that count as dead, ascending.
    dead: Vec<u32>,
    auxk: AuxK,
    is_auxiliary: Vec<bool>,
    /// Dense L1: dL/dp `[B, D]`, and the gradients `[D, 2d]`.
    dense: Dense,
    /// eps and G, `[B, 2d]`.
    error: Vec<f32>,
    upstream: Vec<f32>,
    /// dL/dp of the code's entries.
    gradients: Vec<f32>,
    columns: Columns,
    /// dL/db_dec `[2d]`.
    bias_gradient: ColumnSums,
    /// Sums of chunks.
    parts: Vec<f64>,
}

/// What one thread updates at a time: encoder, decoder, biases, both norms and S, and which latents had a gradient.
type Chunk<'a> = (
    (((ParameterPart<'a>, ParameterPart<'a>), ParameterPart<'a>), (&'a mut [[f32; 2]], &'a mut [f32])),
    &'a mut [bool],
);

#[derive(Default)]
struct Dense {
    gradients: Vec<f32>,
    encoder: Vec<f32>,
    decoder: Vec<f32>,
    bias: ColumnSums,
    activity: ColumnSums,
    /// The largest value of each latent.
    most: Vec<f32>,
}

impl Cpu {
    /// Goes on from a state.
    pub fn new(config: TrainerConfig, width: usize, state: State) -> Self {
        let mut cpu = Cpu { config, width, state, work: Workspace::default() };
        cpu.measure_norms();
        cpu.work.auxk.most = width / 2;
        let both = cpu.row();
        let precision = cpu.config.train.precision;
        cpu.work.auxk.precision = precision;
        let unit = Unit::here().filter(|_| Candidates::fit(both) && precision == Precision::F32);
        if let (Loss::BatchTopK(_), Some(unit)) = (cpu.config.loss, unit) {
            let mut rounded = Rounded::empty(Side::Left);
            rounded.fill(&cpu.state.encoder.value, both);
            cpu.work.rounded = Some((unit, rounded));
        }
        cpu.work.touched = cpu.state.touched(both);
        cpu
    }

    /// Numbers of a row that it learns from: 2d, or d of an autoencoder.
    fn row(&self) -> usize {
        self.config.variant.row(self.width)
    }

    /// Decoder vectors keep norm 1, and x - b_dec is read in the place of x.
    fn is_autoencoder(&self) -> bool {
        self.config.variant != Variant::SharedCode
    }

    /// What the encoder reads of rows `[B, 2d]`: themselves, and of an autoencoder x - b_dec.
    fn input<'a>(&self, seen: &'a [f32]) -> Cow<'a, [f32]> {
        if !self.is_autoencoder() {
            return Cow::Borrowed(seen);
        }
        let bias = &self.state.decoder_bias.value;
        let mut input = seen.to_vec();
        let rows = input.par_chunks_exact_mut(bias.len());
        rows.for_each(|row| row.iter_mut().zip(bias).for_each(|(x, b)| *x -= b));
        Cow::Owned(input)
    }

    fn learn_l1_either(&mut self, batch: &[f32], step: Step, work: &mut Workspace, norm: CodeNorm) -> Result<Terms> {
        self.preactivations(batch, work);
        let weight = self.config.loss.weight_at(step.number);
        let rows = batch.len() / (2 * self.width);
        let penalty = Penalty { weight: (weight / rows as f64) as f32, norm };
        let latents = self.config.latents;
        let bias = &self.state.encoder_bias.value;
        let active: usize = work.products.par_chunks(latents).map(|row| count_positive(row, bias)).sum();
        if active as f64 > DENSE_SHARE * work.products.len() as f64 {
            self.learn_dense(batch, step, work, weight, penalty, active)
        } else {
            self.learn_l1(batch, step, work, weight, penalty)
        }
    }

    /// Forward, backward and update on rows of which the encoder reads `input`.
    fn learn_with(&mut self, batch: &[f32], input: &[f32], step: Step, work: &mut Workspace) -> Result<Terms> {
        work.error.resize(batch.len(), 0.0);
        work.upstream.resize(batch.len(), 0.0);
        match self.config.loss {
            Loss::L1 { norm, .. } => self.learn_l1_either(batch, step, work, norm),
            Loss::BatchTopK(top) => {
                let k = top.k_at(step.number);
                let keep = (batch.len() / self.row()).saturating_mul(k as usize);
                let least = self.batch_code(input, keep, work);
                Ok(Terms { least: Some(least), ..self.learn_top((batch, input), step, work, top, k)? })
            }
            Loss::TopK(top) => {
                let k = top.k_at(step.number);
                self.preactivations(input, work);
                let mut selector = std::mem::take(&mut work.selector);
                let mut code = std::mem::take(&mut work.code);
                selector.row_top_k(self.scores(work), k as usize, None, &mut code);
                (work.selector, work.code) = (selector, code);
                self.learn_top((batch, input), step, work, top, k)
            }
        }
    }

    fn scores<'a>(&'a self, work: &'a Workspace) -> Preactivations<'a> {
        Preactivations { products: &work.products, bias: &self.state.encoder_bias.value, norms: &work.scales }
    }

    fn preactivations(&self, batch: &[f32], work: &mut Workspace) {
        let (both, latents) = (self.row(), self.config.latents);
        let rows = batch.len() / both;
        work.products.resize(rows * latents, 0.0);
        let precision = self.config.train.precision;
        let (x, encoder) = (precision.read(batch), precision.read(&self.state.encoder.value));
        dots(&mut work.products, &x, &encoder, both, None);
    }

    /// The code of a batch, its largest scores; returns the smallest of them. By way of bf16 where that is fast and the last step tells about where the
    /// smallest lies, else from all scores in f32. Both give the same bits.
    fn batch_code(&self, batch: &[f32], keep: usize, work: &mut Workspace) -> f32 {
        let mut code = std::mem::take(&mut work.code);
        let least = self.batch_code_into(batch, keep, work, &mut code);
        work.guess.see(least);
        work.code = code;
        least
    }

    fn batch_code_into(&self, batch: &[f32], keep: usize, work: &mut Workspace, code: &mut SparseCode) -> f32 {
        if let Some((unit, rounded)) = &work.rounded {
            let state = &self.state;
            let (encoder, bias) = (&state.encoder.value, &state.encoder_bias.value);
            let of = Latents { encoder, rounded, bias, norms: &work.scales };
            for guess in work.guess.bounds() {
                if let Some(least) = work.candidates.batch_top_k(*unit, batch, of, keep, guess, code) {
                    return least;
                }
            }
        }
        self.preactivations(batch, work);
        let mut selector = std::mem::take(&mut work.selector);
        let least = selector.batch_top_k(self.scores(work), keep, code);
        work.selector = selector;
        least
    }

    /// Reconstruction from a code: fills eps, G and the entries' gradients.
    fn reconstruct(&self, batch: &[f32], code: &SparseCode, work: &mut Workspace) -> f64 {
        let both = self.row();
        decode(code, &self.state.decoder.value, &self.state.decoder_bias.value, &mut work.error);
        let form = self.config.loss.reconstruction();
        let (error, upstream) = (&mut work.error, &mut work.upstream);
        let term = rows_pass::reconstruction(form, batch, self.width, error, upstream, &mut work.parts);
        work.gradients.resize(code.values.len(), 0.0);
        back_to_code(code, &work.upstream, &self.state.decoder.value, both, &mut work.gradients);
        term
    }

    /// On rows, and what the encoder reads of them.
    fn learn_top(
        &mut self,
        (batch, input): (&[f32], &[f32]),
        step: Step,
        work: &mut Workspace,
        top: TopK,
        k: u64,
    ) -> Result<Terms> {
        let code = std::mem::take(&mut work.code);
        let reconstruction = self.reconstruct(batch, &code, work);
        self.count_idle(&code);
        self.list_dead(top.dead_after, &mut work.dead);
        let mut auxk = std::mem::take(&mut work.auxk);
        auxk.fill(top.aux, input, &work.error, &self.state, &work.scales, &work.dead);
        let mut is_auxiliary = std::mem::take(&mut work.is_auxiliary);
        is_auxiliary.clear();
        is_auxiliary.resize(self.config.latents, false);
        auxk.code.latents.iter().for_each(|&j| is_auxiliary[j as usize] = true);
        let mut columns = std::mem::take(&mut work.columns);
        let codes = [(&code, &work.gradients[..]), (&auxk.code, &auxk.gradients)];
        columns.fill(self.config.latents, &codes[..if auxk.code.latents.is_empty() { 1 } else { 2 }]);
        let terms = Terms {
            loss: reconstruction + top.aux * auxk.loss,
            reconstruction,
            sparsity: None,
            auxk: Some(auxk.loss),
            active: code.values.len(),
            dead: work.dead.len() as u64,
            k: Some(k),
            ..Terms::default()
        };
        let upstream = std::mem::take(&mut work.upstream);
        let gradient = Gradient::Sparse {
            columns: &columns,
            x: input,
            upstream: &upstream,
            auxiliary: &auxk.upstream,
            is_auxiliary: &is_auxiliary,
            unit: self.is_autoencoder(),
        };
        let norm = self.update(&gradient, &upstream, step, terms.loss, None, work);
        (work.columns, work.upstream) = (columns, upstream);
        (work.auxk, work.is_auxiliary, work.code) = (auxk, is_auxiliary, code);
        Ok(Terms { gradient_norm: norm?, ..terms })
    }

    fn learn_l1(
        &mut self,
        batch: &[f32],
        step: Step,
        work: &mut Workspace,
        weight: f64,
        penalty: Penalty,
    ) -> Result<Terms> {
        let mut code = std::mem::take(&mut work.code);
        work.selector.positive(&work.products, &self.state.encoder_bias.value, &mut code);
        let reconstruction = self.reconstruct(batch, &code, work);
        let mut sparsity = 0f64;
        for ((gradient, &j), &f) in work.gradients.iter_mut().zip(&code.latents).zip(&code.values) {
            let scale = work.scales[j as usize];
            *gradient += penalty.weight * scale;
            sparsity += f as f64 * scale as f64;
        }
        sparsity /= code.rows() as f64;
        self.count_idle(&code);
        self.list_dead(L1_DEAD_AFTER, &mut work.dead);
        let terms = Terms {
            loss: reconstruction + weight * sparsity,
            reconstruction,
            sparsity: Some(sparsity),
            active: code.values.len(),
            dead: work.dead.len() as u64,
            ..Terms::default()
        };
        let mut is_auxiliary = std::mem::take(&mut work.is_auxiliary);
        is_auxiliary.resize(self.config.latents, false);
        let mut columns = std::mem::take(&mut work.columns);
        columns.fill(self.config.latents, &[(&code, &work.gradients)]);
        let upstream = std::mem::take(&mut work.upstream);
        let gradient = Gradient::Sparse {
            columns: &columns,
            x: batch,
            upstream: &upstream,
            auxiliary: &[],
            is_auxiliary: &is_auxiliary,
            unit: false,
        };
        let norm = self.update(&gradient, &upstream, step, terms.loss, Some(penalty), work);
        (work.columns, work.upstream) = (columns, upstream);
        (work.is_auxiliary, work.code) = (is_auxiliary, code);
        Ok(Terms { gradient_norm: norm?, ..terms })
    }

    /// L1 while many latents are active: the same mathematics by dense products.
    fn learn_dense(
        &mut self,
        batch: &[f32],
        step: Step,
        work: &mut Workspace,
        weight: f64,
        penalty: Penalty,
        active: usize,
    ) -> Result<Terms> {
        let (both, latents) = (2 * self.width, self.config.latents);
        let rows = batch.len() / both;
        let bias = &self.state.encoder_bias.value;
        let scales = &work.scales;
        work.products
            .par_chunks_mut(latents)
            .map(|row| {
                row.iter_mut().zip(bias).for_each(|(p, b)| *p = (*p + b).max(0.0));
                dot(row, scales) as f64
            })
            .collect_into_vec(&mut work.parts);
        let sparsity = work.parts.iter().sum::<f64>() / rows as f64;
        let precision = self.config.train.precision;
        let (decoder, code) = (precision.read(&self.state.decoder.value), precision.read(&work.products));
        let decoder = Matrix::new(&decoder, latents, both);
        let code = Matrix::new(&code, rows, latents);
        product(&mut work.error, code, decoder);
        let decoder_bias = &self.state.decoder_bias.value;
        work.error.par_chunks_mut(both).for_each(|row| row.iter_mut().zip(decoder_bias).for_each(|(h, b)| *h += b));
        let form = self.config.loss.reconstruction();
        let (error, upstream) = (&mut work.error, &mut work.upstream);
        let reconstruction = rows_pass::reconstruction(form, batch, self.width, error, upstream, &mut work.parts);

        let dense = &mut work.dense;
        dense.gradients.resize(rows * latents, 0.0);
        dense.encoder.resize(latents * both, 0.0);
        dense.decoder.resize(latents * both, 0.0);
        let upstream = precision.read(&work.upstream);
        let upstream = Matrix::new(&upstream, rows, both);
        product(&mut dense.gradients, upstream, decoder.transposed());
        dense.gradients.par_chunks_mut(latents).zip(work.products.par_chunks(latents)).for_each(
            |(gradients, values)| {
                for ((g, &f), s) in gradients.iter_mut().zip(values).zip(scales) {
                    *g = if f > 0.0 { *g + penalty.weight * s } else { 0.0 };
                }
            },
        );
        product(&mut dense.decoder, code.transposed(), upstream);
        let (flow, x) = (precision.read(&dense.gradients), precision.read(batch));
        let flow = Matrix::new(&flow, rows, latents);
        product(&mut dense.encoder, flow.transposed(), Matrix::new(&x, rows, both));
        dense.bias.fill(&dense.gradients, latents);
        dense.activity.fill(&work.products, latents);

        self.count_idle_dense(&work.products, rows, &mut dense.most);
        self.list_dead(L1_DEAD_AFTER, &mut work.dead);
        let terms = Terms {
            loss: reconstruction + weight * sparsity,
            reconstruction,
            sparsity: Some(sparsity),
            active,
            dead: work.dead.len() as u64,
            ..Terms::default()
        };
        let dense = std::mem::take(&mut work.dense);
        let upstream = std::mem::take(&mut work.upstream);
        let gradient = Gradient::Dense {
            encoder: &dense.encoder,
            decoder: &dense.decoder,
            bias: &dense.bias.total,
            activity: &dense.activity.total,
        };
        let norm = self.update(&gradient, &upstream, step, terms.loss, Some(penalty), work);
        (work.dense, work.upstream) = (dense, upstream);
        Ok(Terms { gradient_norm: norm?, ..terms })
    }

    /// Clips and takes the step of Adam; new decoder norms come out of the same pass.
    fn update(
        &mut self,
        gradient: &Gradient,
        upstream: &[f32],
        step: Step,
        loss: f64,
        penalty: Option<Penalty>,
        work: &mut Workspace,
    ) -> Result<Option<f64>> {
        let (both, is_autoencoder) = (self.row(), self.is_autoencoder());
        work.bias_gradient.fill(upstream, both);
        let bias_gradient = &mut work.bias_gradient.total;
        if is_autoencoder {
            // x - b_dec is what the encoder reads.
            let through = gradient.through_encoder(&self.state.encoder.value, both, &mut work.parts);
            bias_gradient.iter_mut().zip(through).for_each(|(b, e)| *b = (f64::from(*b) - e) as f32);
        }
        let mut scale = 1.0;
        let mut norm = None;
        if let Some(bound) = self.config.train.clip {
            let decoder = &self.state.decoder.value;
            let latents = gradient.squared_norm(decoder, &work.norms, both, penalty, &mut work.parts);
            let whole = (latents + squared_norm(bias_gradient) as f64).sqrt();
            scale = (bound / (whole + 1e-6)).min(1.0);
            norm = Some(whole);
        }
        if !loss.is_finite() || norm.is_some_and(|norm| !norm.is_finite()) {
            let problem = format!("at step {} the loss is {loss} and not a finite number any more", step.number);
            return Err(Error::invalid("train", problem));
        }
        let adam = &self.config.train.optimizer;
        let number = step.number;
        let step = AdamStep::new(step.rate, adam.beta1, adam.beta2, adam.epsilon, number + 1, scale);
        let width = self.width;
        let code_norm = self.config.loss.norm();
        let state = &mut self.state;
        let encoder = state.encoder.parts(CHUNK_LATENTS * both);
        let decoder = state.decoder.parts(CHUNK_LATENTS * both);
        let biases = state.encoder_bias.parts(CHUNK_LATENTS);
        let norms = work.norms.par_chunks_mut(CHUNK_LATENTS).zip(work.scales.par_chunks_mut(CHUNK_LATENTS));
        let touched = work.touched.par_chunks_mut(CHUNK_LATENTS);
        let parts = encoder.zip(decoder).zip(biases).zip(norms).zip(touched).enumerate();
        let learn = |part, mut rounded: Option<RoundedGroup>| {
            let (chunk, ((((mut encoder, mut decoder), mut biases), (norms, scales)), touched)): (usize, Chunk) = part;
            LatentGradient::here(both, |latent| {
                for i in 0..norms.len() {
                    let row = i * both..(i + 1) * both;
                    let j = chunk * CHUNK_LATENTS + i;
                    touched[i] |= gradient.write(j, &decoder.value[row.clone()], norms[i], penalty, latent);
                    if !touched[i] {
                        continue;
                    }
                    encoder.step(row.clone(), &latent.encoder, &step);
                    if let Some(rounded) = &mut rounded {
                        rounded.set(i, &encoder.value[row.clone()]);
                    }
                    decoder.step(row.clone(), &latent.decoder, &step);
                    if is_autoencoder {
                        to_unit_norm(&mut decoder.value[row.clone()]);
                    }
                    biases.step(i..i + 1, &[latent.bias], &step);
                    norms[i] = two_norms(&decoder.value[row], width);
                    scales[i] = code_norm.of(norms[i][0], norms[i][1]);
                }
            });
        };
        match &mut work.rounded {
            Some((_, rounded)) => parts.zip(rounded.groups()).for_each(|(part, rounded)| learn(part, Some(rounded))),
            None => parts.for_each(|part| learn(part, None)),
        }
        state.decoder_bias.step(bias_gradient, &step);
        if let Some(j) = work.norms.iter().position(|norms| !norms[0].is_finite() || !norms[1].is_finite()) {
            let problem = format!("after step {number} a decoder norm of latent {j} is not a finite number any more");
            return Err(Error::invalid("train", problem));
        }
        Ok(norm)
    }

    fn count_idle(&mut self, code: &SparseCode) {
        let rows = code.rows() as u64;
        self.state.idle_tokens.iter_mut().for_each(|idle| *idle += rows);
        self.state.idle_steps.iter_mut().for_each(|idle| *idle += 1);
        for (&j, &f) in code.latents.iter().zip(&code.values) {
            self.state.idle_tokens[j as usize] = 0;
            if f > resample::ACTIVE {
                self.state.idle_steps[j as usize] = 0;
            }
        }
    }

    fn count_idle_dense(&mut self, values: &[f32], rows: usize, most: &mut Vec<f32>) {
        most.clear();
        most.resize(self.config.latents, 0.0);
        for row in values.chunks(most.len()) {
            most.iter_mut().zip(row).for_each(|(m, &f)| *m = m.max(f));
        }
        for (j, &most) in most.iter().enumerate() {
            let state = &mut self.state;
            state.idle_tokens[j] = if most > 0.0 { 0 } else { state.idle_tokens[j] + rows as u64 };
            state.idle_steps[j] = if most > resample::ACTIVE { 0 } else { state.idle_steps[j] + 1 };
        }
    }

    /// Latents without an entry in so many tokens.
    fn list_dead(&self, after: u64, dead: &mut Vec<u32>) {
        let idle = self.state.idle_tokens.iter().enumerate();
        dead.clear();
        dead.extend(idle.filter(|&(_, &tokens)| tokens >= after.max(1)).map(|(j, _)| j as u32));
    }

    fn measure_norms(&mut self) {
        let (both, width) = (self.row(), self.width);
        let rows = self.state.decoder.value.par_chunks(both);
        self.work.norms = rows.map(|row| two_norms(row, width)).collect();
        let norm: CodeNorm = self.config.loss.norm();
        self.work.scales = self.work.norms.iter().map(|&[base, tuned]| norm.of(base, tuned)).collect();
    }
}

impl Backend for Cpu {
    fn learn(&mut self, batch: &[f32], step: Step) -> Result<Terms> {
        let mut work = std::mem::take(&mut self.work);
        let input = self.input(batch);
        let outcome = self.learn_with(batch, &input, step, &mut work);
        self.work = work;
        outcome
    }

    fn start_at_median(&mut self, batch: &[f32]) -> Result<()> {
        self.state.decoder_bias.value = geometric_median(batch, self.width, self.row() / self.width);
        Ok(())
    }

    fn resample(&mut self, batch: &[f32], step: u64, patience: u64) -> Result<()> {
        let work = &mut self.work;
        let revived = resample::resample(&mut self.state, &self.config, self.width, step, batch, &work.error, patience);
        let both = 2 * self.width;
        for j in revived {
            if let Some((_, rounded)) = &mut work.rounded {
                rounded.set(j, &self.state.encoder.value[j * both..(j + 1) * both]);
            }
            work.norms[j] = two_norms(&self.state.decoder.value[j * both..(j + 1) * both], self.width);
            work.scales[j] = self.config.loss.norm().of(work.norms[j][0], work.norms[j][1]);
        }
        Ok(())
    }

    fn state(&self) -> Result<Cow<'_, State>> {
        Ok(Cow::Borrowed(&self.state))
    }

    fn errors(&self) -> Result<Cow<'_, [f32]>> {
        Ok(Cow::Borrowed(&self.work.error))
    }

    fn score_in_f32(&mut self) {
        self.work.rounded = None;
    }
}

fn two_norms(row: &[f32], width: usize) -> [f32; 2] {
    [squared_norm(&row[..width]).sqrt(), squared_norm(&row[width..]).sqrt()]
}
