//! How well a crosscoder reconstructs rows that it was not trained on.
//!
//! The fraction of variance explained is global: one mean and one variance over all rows that are read,
//!
//! ```text
//! FVE_m = 1 - sum over dimensions of Var_i(eps_i^m) / sum over dimensions of Var_i(h_i^m)
//! ```
//!
//! and joint FVE sums over the dimensions of both models (the formula of the published code, docs/method.md 2, which takes
//! it per batch and averages). An autoencoder is measured on its target: of the difference, h is h^tuned - h^base.

use super::{Activation, Crosscoder, SparseCode, Variant};
use crate::ml::kernels::{Preactivations, batch_top_k};
use crate::ml::watch::{Progress, Watch};
use crate::ml::{Error, Result, Rows};

/// Numbers of one model (or of both together).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quality {
    /// Global fraction of variance explained.
    pub fve: f64,
    /// Mean over rows of ||eps||^2 (sum over d); joint: mean over rows and models.
    pub mse: f64,
}

/// What [`evaluate`] measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// Of an autoencoder NaN where it does not write; one of the difference writes to the tuned model.
    pub base: Quality,
    pub tuned: Quality,
    /// Of an autoencoder: of its target.
    pub joint: Quality,
    /// Mean number of active latents a row, by the activation for use.
    pub l0: f64,
    /// The same by the selection of training: the largest `rows k` scores of each portion of rows (BatchTopK), else as
    /// for use.
    pub l0_training: f64,
    /// Share of the latents that were never active.
    pub dead: f64,
    /// Rows read, and their mean `[2, d]`.
    pub tokens: u64,
    pub mean: Vec<f32>,
}

impl Evaluation {
    /// FVE of what is written into each model's half, `[base, tuned]`; `None` where an autoencoder does not write.
    pub fn fve_by_model(&self, variant: Variant) -> [Option<f64>; 2] {
        let writes = |model: usize| variant.target().is_none_or(|target| target.model() == model);
        [0, 1].map(|model| writes(model).then(|| [self.base, self.tuned][model].fve))
    }

    /// What is reported, with its name: both models and both together, or an autoencoder's target.
    pub fn of(&self, variant: Variant) -> Vec<(&'static str, Quality)> {
        match variant {
            Variant::SharedCode => vec![("base", self.base), ("tuned", self.tuned), ("joint", self.joint)],
            Variant::Sae(target) => vec![(target.word(), self.joint)],
        }
    }
}

/// Encodes and decodes the first `limit` rows (all when `None`). Memory is bounded by a portion of rows.
pub fn evaluate(crosscoder: &Crosscoder, rows: &dyn Rows, limit: Option<u64>, watch: &dyn Watch) -> Result<Evaluation> {
    let width = crosscoder.width;
    if rows.width() != width {
        let problem = format!("the rows have width {}, the crosscoder {width}", rows.width());
        return Err(Error::invalid("evaluate", problem));
    }
    let total = limit.map_or(rows.count(), |limit| limit.min(rows.count()));
    let norms = crosscoder.code_norms();
    let portion = crosscoder.rows_at_a_time().min(2048) as u64;
    let mut encoder = crosscoder.encoder().in_f32();
    let mut moments = Moments::new(width);
    // Of the rows themselves, where an autoencoder's target is another thing.
    let mut whole = (crosscoder.variant != Variant::SharedCode).then(|| Moments::new(width));
    let mut fired = vec![false; crosscoder.latents];
    let (mut active, mut active_training) = (0u64, 0u64);
    let mut x = Vec::new();
    let mut start = 0;
    while start < total {
        let count = portion.min(total - start);
        x.resize(count as usize * 2 * width, 0.0);
        rows.read(start, &mut x)?;
        let products = encoder.products(&x);
        let at = Preactivations { products, bias: &crosscoder.encoder_bias, norms: &norms };
        let (code, training) = codes(&crosscoder.activation, at, count as usize);
        active += code.values.len() as u64;
        active_training += training as u64;
        code.latents.iter().for_each(|&latent| fired[latent as usize] = true);
        moments.add(&crosscoder.variant.targets(&x, width), &crosscoder.errors(&x, &code));
        if let Some(whole) = &mut whole {
            whole.add(&x, &x);
        }
        start += count;
        watch.progress(&Progress { done: start, total, loss: None });
        if watch.stop() {
            return Err(Error::Interrupted);
        }
    }
    let [fve_base, fve_tuned] = moments.fve();
    let [mse_base, mse_tuned] = moments.mse();
    let mse = match crosscoder.variant {
        Variant::SharedCode => (mse_base + mse_tuned) / 2.0,
        Variant::Sae(target) => [mse_base, mse_tuned][target.model()],
    };
    let tokens = total.max(1) as f64;
    Ok(Evaluation {
        base: Quality { fve: fve_base, mse: mse_base },
        tuned: Quality { fve: fve_tuned, mse: mse_tuned },
        joint: Quality { fve: moments.fve_joint(), mse },
        l0: active as f64 / tokens,
        l0_training: active_training as f64 / tokens,
        dead: fired.iter().filter(|&&fired| !fired).count() as f64 / crosscoder.latents.max(1) as f64,
        tokens: total,
        mean: whole.unwrap_or(moments).mean(),
    })
}

/// The code for use, and how many latents the selection of training leaves active.
fn codes(activation: &Activation, at: Preactivations, rows: usize) -> (SparseCode, usize) {
    let code = activation.code(at);
    let training = match activation {
        Activation::Threshold { k, .. } => batch_top_k(at, rows.saturating_mul(*k as usize)).0.values.len(),
        Activation::Relu | Activation::TopK { .. } | Activation::JumpRelu { .. } => code.values.len(),
    };
    (code, training)
}

/// Sums from which the variances of rows and errors follow, in f64.
pub struct Moments {
    width: usize,
    rows: u64,
    /// Sum and sum of squares of h and of eps for each of the 2d dimensions.
    row: Vec<[f64; 2]>,
    error: Vec<[f64; 2]>,
    /// First row: subtracted from all, so that a large common offset costs no digits.
    origin: Vec<f32>,
}

impl Moments {
    /// Of no rows.
    pub fn new(width: usize) -> Self {
        Moments { width, rows: 0, row: vec![[0.0; 2]; 2 * width], error: vec![[0.0; 2]; 2 * width], origin: Vec::new() }
    }

    /// Adds rows `[B, 2, d]` and their errors.
    pub fn add(&mut self, rows: &[f32], errors: &[f32]) {
        let both = 2 * self.width;
        if self.origin.is_empty() {
            self.origin = rows[..both].to_vec();
        }
        for (row, error) in rows.chunks_exact(both).zip(errors.chunks_exact(both)) {
            self.rows += 1;
            for i in 0..both {
                let (h, e) = (row[i] as f64 - self.origin[i] as f64, error[i] as f64);
                self.row[i][0] += h;
                self.row[i][1] += h * h;
                self.error[i][0] += e;
                self.error[i][1] += e * e;
            }
        }
    }

    /// Mean of the rows, `[2, d]`.
    pub fn mean(&self) -> Vec<f32> {
        let rows = self.rows.max(1) as f64;
        let offset = |i: usize| f64::from(self.origin.get(i).copied().unwrap_or(0.0));
        self.row.iter().enumerate().map(|(i, [sum, _])| (offset(i) + sum / rows) as f32).collect()
    }

    /// Sum over the dimensions of a model of the squared deviations.
    fn deviations(&self, sums: &[[f64; 2]], model: usize) -> f64 {
        let part = &sums[model * self.width..(model + 1) * self.width];
        part.iter().map(|[sum, squares]| squares - sum * sum / self.rows.max(1) as f64).sum()
    }

    /// FVE of each model.
    pub fn fve(&self) -> [f64; 2] {
        [0, 1].map(|model| 1.0 - self.deviations(&self.error, model) / self.deviations(&self.row, model))
    }

    /// FVE over the dimensions of both models.
    pub fn fve_joint(&self) -> f64 {
        let both = |sums: &[[f64; 2]]| self.deviations(sums, 0) + self.deviations(sums, 1);
        1.0 - both(&self.error) / both(&self.row)
    }

    /// Mean over rows of ||eps||^2 of each model.
    pub fn mse(&self) -> [f64; 2] {
        let rows = self.rows.max(1) as f64;
        [0, 1].map(|model| {
            self.error[model * self.width..(model + 1) * self.width].iter().map(|[_, squares]| squares / rows).sum()
        })
    }
}
