//! Training of one crosscoder, step by step (docs/method.md 1.3, 1.4, 2.2). The heavy part of a step is a [`Backend`]'s.

use std::borrow::Cow;
use std::sync::Arc;

use super::backend::{Backend, Step};
use super::cpu::Cpu;
use super::layout::{by_latent, by_model};
use super::parameter::Parameter;
use super::state::State;
use super::{Activation, Autoencoder, Crosscoder, Loss, StepReport, TrainerConfig, Variant, start};
use crate::ml::cuda::{Gpu, Training};
use crate::ml::kernels::transposed;
use crate::ml::{Error, Result};

/// Factor of the running average of the threshold.
const THRESHOLD_BETA: f32 = 0.999;

/// A crosscoder in training.
pub struct Trainer {
    pub(super) config: TrainerConfig,
    pub(super) width: usize,
    pub(super) count: Count,
    backend: Box<dyn Backend>,
}

/// What a later step depends on besides what the backend holds.
#[derive(Clone)]
pub(super) struct Count {
    /// Steps done.
    pub step: u64,
    /// Rows trained on.
    pub tokens: u64,
    /// Running threshold; negative while unset.
    pub threshold: f32,
    pub last: Option<StepReport>,
}

impl Count {
    fn start() -> Self {
        Count { step: 0, tokens: 0, threshold: -1.0, last: None }
    }
}

impl Trainer {
    /// Before step 0: from a draw, or from the weights of another crosscoder of the same shape. With a top-k loss the
    /// first batch then sets the decoder bias to its geometric median, as published.
    pub fn new(config: TrainerConfig, width: usize, from: Option<&Crosscoder>) -> Result<Self> {
        if config.latents == 0 || width == 0 || config.train.batch == 0 {
            return Err(Error::invalid("train", "latents, width and batch must be at least 1"));
        }
        if let Some(from) = from
            && (from.width, from.latents) != (width, config.latents)
        {
            let problem = format!(
                "the crosscoder to start from has width {} and {} latents, not {width} and {}",
                from.width, from.latents, config.latents
            );
            return Err(Error::invalid("train", problem));
        }
        let drawn;
        let weights = match from {
            Some(from) => from,
            None => {
                drawn = start::start(&config, width);
                &drawn
            }
        };
        if config.variant != weights.variant {
            return Err(Error::invalid("train", "the crosscoder to start from is of another variant"));
        }
        let published = !matches!(config.loss, Loss::L1 { .. }) && config.train.resample.is_none();
        if config.variant != Variant::SharedCode && !published {
            return Err(Error::invalid("train", "an autoencoder is trained with a top-k loss and without resampling"));
        }
        let latents = config.latents;
        let [encoder, encoder_bias, decoder, decoder_bias] = match Autoencoder::of(weights) {
            Some(own) => [own.encoder, own.encoder_bias, own.decoder, own.bias],
            None => [
                transposed(&weights.encoder_weight, 2 * width, latents),
                weights.encoder_bias.clone(),
                by_latent(&weights.decoder_weight, width, latents),
                weights.decoder_bias.clone(),
            ],
        };
        let state = State {
            encoder: Parameter::new(encoder),
            encoder_bias: Parameter::new(encoder_bias),
            decoder: Parameter::new(decoder),
            decoder_bias: Parameter::new(decoder_bias),
            idle_tokens: vec![0; latents],
            idle_steps: vec![0; latents],
        };
        Ok(Trainer::with_state(config, width, Count::start(), state))
    }

    pub(super) fn with_state(config: TrainerConfig, width: usize, count: Count, state: State) -> Self {
        let backend = Box::new(Cpu::new(config.clone(), width, state));
        Trainer { config, width, count, backend }
    }

    /// Takes the training to a GPU, where it stays.
    pub fn on(self, gpu: &Arc<dyn Gpu>) -> Result<Self> {
        let Trainer { config, width, count, backend } = self;
        let training = Training::new(gpu, config.clone(), width, &*backend.state()?)?;
        Ok(Trainer { config, width, count, backend: Box::new(training) })
    }

    /// What has been learned, wherever it is.
    pub(super) fn state(&self) -> Result<Cow<'_, State>> {
        self.backend.state()
    }

    /// Scores everything in f32 from here on: the same bits, slower.
    pub fn in_f32(mut self) -> Self {
        self.backend.score_in_f32();
        self
    }

    /// Steps on a GPU whose scores in bf16 left too much open, so that all were made in f32. It changes no bit.
    pub fn fallbacks(&self) -> u64 {
        self.backend.fallbacks()
    }

    /// How it is trained.
    pub fn config(&self) -> &TrainerConfig {
        &self.config
    }

    /// d.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Numbers of a row that it learns from: 2d, or d of an autoencoder.
    pub(super) fn row(&self) -> usize {
        self.config.variant.row(self.width)
    }

    /// Steps done.
    pub fn steps_done(&self) -> u64 {
        self.count.step
    }

    /// Rows trained on.
    pub fn tokens(&self) -> u64 {
        self.count.tokens
    }

    /// True after the last step.
    pub fn is_done(&self) -> bool {
        self.count.step >= self.config.train.steps
    }

    /// What the last step saw.
    pub fn last(&self) -> Option<&StepReport> {
        self.count.last.as_ref()
    }

    /// Says which batch `[B, 2, d]` comes after the next step's, so that a device can bring it while it computes. No number depends on it.
    pub fn expect(&mut self, next: &Arc<Vec<f32>>) {
        if !self.backend.looks_ahead() {
            return;
        }
        let seen = match self.config.variant.seen(next, self.width) {
            Cow::Borrowed(_) => next.clone(),
            Cow::Owned(seen) => Arc::new(seen),
        };
        self.backend.expect(seen);
    }

    /// One step on rows `[B, 2, d]`. An error means that the loss, the clipped gradient or a new decoder norm is not
    /// finite; the step is then not counted, and the training cannot go on.
    pub fn step(&mut self, batch: &[f32]) -> Result<StepReport> {
        let both = 2 * self.width;
        if batch.is_empty() || !batch.len().is_multiple_of(both) {
            let problem = format!("a batch of {} numbers is not [B, 2, {}]", batch.len(), self.width);
            return Err(Error::invalid("train", problem));
        }
        let seen = self.config.variant.seen(batch, self.width);
        if self.count.step == 0 && !matches!(self.config.loss, Loss::L1 { .. }) {
            self.backend.start_at_median(&seen)?;
        }
        let rate = self.config.train.rate_at(self.count.step);
        let terms = self.backend.learn(&seen, Step { number: self.count.step, rate })?;
        self.resample(batch)?;
        self.follow(terms.least);
        let report = StepReport {
            step: self.count.step,
            tokens: self.count.tokens + (batch.len() / both) as u64,
            loss: terms.loss,
            reconstruction: terms.reconstruction,
            sparsity: terms.sparsity,
            auxk: terms.auxk,
            l0: terms.active as f64 / (batch.len() / both) as f64,
            dead: terms.dead,
            threshold: matches!(self.config.loss, Loss::BatchTopK(_)).then_some(self.count.threshold as f64),
            k: terms.k,
            lr: rate,
            gradient_norm: terms.gradient_norm,
        };
        self.count.step += 1;
        self.count.tokens = report.tokens;
        self.count.last = Some(report.clone());
        Ok(report)
    }

    /// Resampling, at the last step of each period.
    fn resample(&mut self, batch: &[f32]) -> Result<()> {
        match self.config.train.resample {
            Some(period) if period > 0 && self.count.step % period == period - 1 => {
                self.backend.resample(batch, self.count.step, period / 2)
            }
            _ => Ok(()),
        }
    }

    /// The running threshold takes note of the smallest score that stayed (docs/method.md 1.4).
    fn follow(&mut self, least: Option<f32>) {
        if let (Loss::BatchTopK(top), Some(least)) = (self.config.loss, least)
            && self.count.step > top.threshold_from
        {
            let old = self.count.threshold;
            self.count.threshold =
                if old < 0.0 { least } else { THRESHOLD_BETA * old + (1.0 - THRESHOLD_BETA) * least };
        }
    }

    /// 1 - Var(eps) / Var(h) of each model over the last batch, with its training code (docs/method.md 2). Of an autoencoder that of its target, in
    /// the place of the model that it writes to; NaN in the other.
    pub fn batch_fve(&self, batch: &[f32]) -> Result<[f64; 2]> {
        let mut sums = super::evaluate::Moments::new(self.width);
        let variant = self.config.variant;
        let targets = variant.targets(batch, self.width);
        let errors = variant.spread(self.backend.errors()?, self.width);
        if targets.len() == errors.len() {
            sums.add(&targets, &errors);
        }
        Ok(sums.fve())
    }

    /// The crosscoder as it is now, in the published layout, with its activation for use. An error is one of the device.
    pub fn crosscoder(&self) -> Result<Crosscoder> {
        let (width, latents) = (self.width, self.config.latents);
        let state = self.backend.state()?;
        let activation = match self.config.loss {
            Loss::L1 { .. } => Activation::Relu,
            Loss::BatchTopK(top) => Activation::Threshold { k: top.k, threshold: self.count.threshold },
            Loss::TopK(top) => Activation::TopK { k: top.k },
        };
        if let Variant::Sae(on) = self.config.variant {
            let [encoder, encoder_bias, decoder, bias] =
                [&state.encoder, &state.encoder_bias, &state.decoder, &state.decoder_bias].map(|p| p.value.clone());
            return Ok(Autoencoder { on, width, encoder, encoder_bias, decoder, bias }.crosscoder(activation));
        }
        Ok(Crosscoder {
            width,
            latents,
            encoder_weight: transposed(&state.encoder.value, latents, 2 * width),
            encoder_bias: state.encoder_bias.value.clone(),
            decoder_weight: by_model(&state.decoder.value, width, latents),
            decoder_bias: state.decoder_bias.value.clone(),
            code_norm: self.config.loss.norm(),
            activation,
            normalizer: None,
            variant: Variant::SharedCode,
        })
    }

    /// The trained crosscoder.
    pub fn finish(self) -> Result<Crosscoder> {
        self.crosscoder()
    }
}
