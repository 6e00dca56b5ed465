//! Next-token loss through the head, a few rows at a time.
//!
//! With a vocabulary of hundreds of thousands the logits of a batch and their gradient take more memory than everything else
//! together. Here no more than [`LOGITS`] of them are there at once, and only for the rows that count. With N rows, width d and
//! vocabulary V: x `[N, d]` is the stream after the last norm, w `[V, d]` the head.

use candle_core::{DType, Device, Tensor};

use super::ops::{capped_losses, softmax_gradient};
use crate::ml::Result;

/// Logits that are there at once (128 MiB in f32). The number of rows follows from it and V alone.
const LOGITS: usize = 1 << 25;
/// Rows at once, however small the vocabulary is.
const ROWS: usize = 1024;

/// What the loss is and how it changes.
pub(super) struct HeadGradient {
    /// Mean over the rows, in nats.
    pub loss: f64,
    /// dL/dx `[N, d]`.
    pub input: Tensor,
    /// dL/dw `[V, d]`, where it was asked for.
    pub head: Option<Tensor>,
}

fn chunks(rows: usize, vocabulary: usize) -> impl Iterator<Item = (usize, usize)> {
    let size = (LOGITS / vocabulary.max(1)).clamp(1, ROWS);
    (0..rows).step_by(size).map(move |start| (start, size.min(rows - start)))
}

/// -log softmax(c(x w^T))[target] of each row, in nats; c is the soft cap.
pub(super) fn row_losses(x: &Tensor, w: &Tensor, targets: &[u32], cap: Option<f32>) -> Result<Vec<f64>> {
    let mut losses = Vec::with_capacity(targets.len());
    for (start, count) in chunks(targets.len(), w.dim(0)?) {
        let logits = x.narrow(0, start, count)?.matmul(&w.t()?)?;
        losses.extend(capped_losses(&logits, &targets[start..start + count], cap)?);
    }
    Ok(losses)
}

/// The mean loss and its gradient; the gradient of the head only if it is trained.
pub(super) fn gradient(x: &Tensor, w: &Tensor, targets: &[u32], cap: Option<f32>, head: bool) -> Result<HeadGradient> {
    let (vocabulary, _) = w.dims2()?;
    let factor = 1.0 / targets.len().max(1) as f32;
    let (mut total, mut inputs, mut sum) = (0.0, Vec::new(), None::<Tensor>);
    for (start, count) in chunks(targets.len(), vocabulary) {
        let part = x.narrow(0, start, count)?;
        let logits = part.matmul(&w.t()?)?;
        total += softmax_gradient(&logits, &targets[start..start + count], cap, factor)?.iter().sum::<f64>();
        inputs.push(logits.matmul(w)?);
        if head {
            let own = logits.t()?.matmul(&part)?;
            sum = Some(match sum {
                Some(sum) => (sum + own)?,
                None => own,
            });
        }
    }
    let input = match inputs.is_empty() {
        true => Tensor::zeros(x.shape(), DType::F32, &Device::Cpu)?,
        false => Tensor::cat(&inputs, 0)?,
    };
    Ok(HeadGradient { loss: total / targets.len().max(1) as f64, input, head: sum })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(shape: (usize, usize), scale: f32, seed: u32) -> Tensor {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 24) as f32 - 0.5
        };
        let values: Vec<f32> = (0..shape.0 * shape.1).map(|_| scale * next()).collect();
        Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
    }

    /// The formula in f64.
    fn reference(x: &[Vec<f32>], w: &[Vec<f32>], targets: &[u32], cap: Option<f32>) -> f64 {
        let mut total = 0.0;
        for (row, target) in x.iter().zip(targets) {
            let logit = |v: &Vec<f32>| -> f64 {
                let raw: f64 = row.iter().zip(v).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
                cap.map_or(raw, |c| f64::from(c) * (raw / f64::from(c)).tanh())
            };
            let logits: Vec<f64> = w.iter().map(logit).collect();
            total += logits.iter().map(|l| l.exp()).sum::<f64>().ln() - logits[*target as usize];
        }
        total / targets.len() as f64
    }

    #[test]
    fn loss_and_gradients_agree_with_the_formula_and_its_differences() {
        for cap in [None, Some(2.0)] {
            let (x, w) = (draw((5, 4), 2.0, 1), draw((7, 4), 2.0, 2));
            let targets = [3, 0, 6, 6, 2];
            let got = gradient(&x, &w, &targets, cap, true).unwrap();
            let (xs, ws) = (x.to_vec2::<f32>().unwrap(), w.to_vec2::<f32>().unwrap());
            let at = |xs: &[Vec<f32>], ws: &[Vec<f32>]| reference(xs, ws, &targets, cap);
            assert!((got.loss - at(&xs, &ws)).abs() < 1e-5);
            let rows = row_losses(&x, &w, &targets, cap).unwrap();
            assert!((rows.iter().sum::<f64>() / 5.0 - got.loss).abs() < 1e-5);
            let step = 1e-2;
            let (dx, dw) = (got.input.to_vec2::<f32>().unwrap(), got.head.unwrap().to_vec2::<f32>().unwrap());
            for (values, wanted, is_x) in [(&xs, &dx, true), (&ws, &dw, false)] {
                for i in 0..values.len() {
                    for j in 0..4 {
                        let moved = |by: f32| {
                            let mut values = values.clone();
                            values[i][j] += by;
                            if is_x { at(&values, &ws) } else { at(&xs, &values) }
                        };
                        let slope = (moved(step) - moved(-step)) / (2.0 * f64::from(step));
                        assert!((slope - f64::from(wanted[i][j])).abs() < 2e-4, "{slope} {}", wanted[i][j]);
                    }
                }
            }
        }
    }

    #[test]
    fn rows_are_cut_by_the_vocabulary_alone() {
        assert_eq!(chunks(300, 262_144).collect::<Vec<_>>(), [(0, 128), (128, 128), (256, 44)]);
        assert_eq!(chunks(0, 7).count(), 0);
        assert_eq!(chunks(1500, 2048).collect::<Vec<_>>(), [(0, 1024), (1024, 476)]);
    }
}
