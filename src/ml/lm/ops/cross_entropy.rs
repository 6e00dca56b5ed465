//! Next-token loss.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::math::{exp, max, sum, tanh, vectorised};
use super::{floats, values};

/// Mean over N rows of -log softmax(c(x))[target], in nats, as a scalar; `x [N, V]`, `targets [N]`. c is the soft cap
/// cap * tanh(x / cap), or nothing.
pub(crate) fn cross_entropy(x: &Tensor, targets: Vec<u32>, cap: Option<f32>) -> Result<Tensor> {
    let (rows, vocabulary) = x.dims2()?;
    if targets.len() != rows || targets.iter().any(|t| *t as usize >= vocabulary) {
        candle_core::bail!("cross entropy: {} targets for logits [{rows}, {vocabulary}]", targets.len());
    }
    x.contiguous()?.apply_op1(CrossEntropy { targets, cap })
}

/// The loss of each row by itself `[N]`, for logits that are capped already.
pub(crate) fn token_losses(x: &Tensor, targets: &[u32]) -> Result<Vec<f64>> {
    let x = x.contiguous()?;
    let vocabulary = x.dims2()?.1;
    let x = values(&x)?;
    let x: &[f32] = &x;
    Ok(row_losses(x, vocabulary, targets, None))
}

struct CrossEntropy {
    targets: Vec<u32>,
    cap: Option<f32>,
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

vectorised! {
    /// d = (softmax - onehot) * factor * dc/dx, with dc/dx = 1 - (c / cap)^2.
    pub(super) fn row_gradient(x: &[f32], target: usize, cap: f32, factor: f32, d: &mut [f32]) {
        let inverse = if cap > 0.0 { 1.0 / cap } else { 0.0 };
        let n = x.len();
        let d = &mut d[..n];
        let mut c = vec![0f32; n];
        for i in 0..n {
            c[i] = capped(x[i], cap, inverse);
        }
        let top = max(&c);
        for i in 0..n {
            d[i] = exp(c[i] - top);
        }
        let share = factor / sum(n, |i| d[i]);
        for i in 0..n {
            d[i] *= share;
        }
        d[target] -= factor;
        for i in 0..n {
            let t = c[i] * inverse;
            d[i] *= 1.0 - t * t;
        }
    }
}

impl CustomOp1 for CrossEntropy {
    fn name(&self) -> &'static str {
        "cross_entropy"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = floats(storage, layout)?;
        let losses = row_losses(x, layout.dims()[1], &self.targets, self.cap);
        let mean = losses.iter().sum::<f64>() / losses.len() as f64;
        Ok((CpuStorage::F32(vec![mean as f32]), Shape::from(())))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, g: &Tensor) -> Result<Option<Tensor>> {
        let guard = values(x)?;
        let logits: &[f32] = &guard;
        let vocabulary = x.dims2()?.1;
        let factor = g.to_scalar::<f32>()? / self.targets.len() as f32;
        let mut d = vec![0f32; logits.len()];
        d.par_chunks_mut(vocabulary)
            .zip(logits.par_chunks(vocabulary))
            .zip(&self.targets)
            .for_each(|((d, x), target)| row_gradient(x, *target as usize, self.cap.unwrap_or(0.0), factor, d));
        Ok(Some(Tensor::from_vec(d, x.shape(), x.device())?))
    }
}
