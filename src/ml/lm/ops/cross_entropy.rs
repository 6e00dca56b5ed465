//! Next-token loss.

use std::sync::Mutex;

use candle_core::{CpuStorage, InplaceOp1, Layout, Result, Tensor};
use rayon::prelude::*;

use super::math::{exp, max, sum, tanh, vectorised};
use super::{contiguous, values};

/// The loss of each row `[N]` of logits that are not capped yet.
pub(crate) fn capped_losses(x: &Tensor, targets: &[u32], cap: Option<f32>) -> Result<Vec<f64>> {
    check(x, targets)?;
    let x = x.contiguous()?;
    let vocabulary = x.dims2()?.1;
    let x = values(&x)?;
    let x: &[f32] = &x;
    Ok(row_losses(x, vocabulary, targets, cap))
}

/// Replaces the logits `x [N, V]` by `factor` times the gradient of each row's loss; gives the losses `[N]`.
pub(crate) fn softmax_gradient(x: &Tensor, targets: &[u32], cap: Option<f32>, factor: f32) -> Result<Vec<f64>> {
    check(x, targets)?;
    let op = SoftmaxGradient { targets, cap: cap.unwrap_or(0.0), factor, losses: Mutex::new(Vec::new()) };
    x.inplace_op1(&op)?;
    match op.losses.into_inner() {
        Ok(losses) => Ok(losses),
        Err(_) => candle_core::bail!("softmax gradient: a thread panicked"),
    }
}

fn check(x: &Tensor, targets: &[u32]) -> Result<()> {
    let (rows, vocabulary) = x.dims2()?;
    if targets.len() != rows || targets.iter().any(|t| *t as usize >= vocabulary) {
        candle_core::bail!("cross entropy: {} targets for logits [{rows}, {vocabulary}]", targets.len());
    }
    Ok(())
}

struct SoftmaxGradient<'a> {
    targets: &'a [u32],
    /// 0 is none.
    cap: f32,
    factor: f32,
    losses: Mutex<Vec<f64>>,
}

impl InplaceOp1 for SoftmaxGradient<'_> {
    fn name(&self) -> &'static str {
        "softmax gradient"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
        let range = contiguous(layout)?;
        let CpuStorage::F32(x) = storage else { candle_core::bail!("softmax gradient: f32 is needed") };
        let vocabulary = layout.dims()[1];
        let losses = x[range]
            .par_chunks_mut(vocabulary)
            .zip(self.targets)
            .map_init(
                || vec![0f32; if self.cap > 0.0 { vocabulary } else { 0 }],
                |slopes, (x, target)| f64::from(row_step(x, *target as usize, self.cap, self.factor, slopes)),
            )
            .collect();
        match self.losses.lock() {
            Ok(mut slot) => *slot = losses,
            Err(_) => candle_core::bail!("softmax gradient: a thread panicked"),
        }
        Ok(())
    }
}

vectorised! {
    /// The loss of a row, which becomes (softmax - onehot) * factor * dc/dx.
    pub(super) fn row_step(x: &mut [f32], target: usize, cap: f32, factor: f32, slopes: &mut [f32]) -> f32 {
        let n = x.len();
        if cap > 0.0 {
            let inverse = 1.0 / cap;
            let slopes = &mut slopes[..n];
            for i in 0..n {
                let t = tanh(x[i] * inverse);
                x[i] = cap * t;
                slopes[i] = 1.0 - t * t;
            }
        }
        let top = max(x);
        let wanted = x[target];
        for i in 0..n {
            x[i] = exp(x[i] - top);
        }
        let total = sum(n, |i| x[i]);
        let share = factor / total;
        for i in 0..n {
            x[i] *= share;
        }
        x[target] -= factor;
        if cap > 0.0 {
            let slopes = &slopes[..n];
            for i in 0..n {
                x[i] *= slopes[i];
            }
        }
        top + total.ln() - wanted
    }
}

fn row_losses(x: &[f32], vocabulary: usize, targets: &[u32], cap: Option<f32>) -> Vec<f64> {
    x.par_chunks(vocabulary)
        .zip(targets)
        .map_init(
            || vec![0f32; vocabulary],
            |row, (x, target)| f64::from(row_loss(x, *target as usize, cap.unwrap_or(0.0), row)),
        )
        .collect()
}

#[inline(always)]
fn capped(x: f32, cap: f32, inverse: f32) -> f32 {
    if cap > 0.0 { cap * tanh(x * inverse) } else { x }
}

vectorised! {
    pub(super) fn row_loss(x: &[f32], target: usize, cap: f32, row: &mut [f32]) -> f32 {
        let inverse = if cap > 0.0 { 1.0 / cap } else { 0.0 };
        for (slot, x) in row.iter_mut().zip(x) {
            *slot = capped(*x, cap, inverse);
        }
        let top = max(row);
        let total = sum(row.len(), |i| exp(row[i] - top));
        top + total.ln() - row[target]
    }
}
