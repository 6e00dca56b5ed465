//! Root-mean-square normalisation.

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::alone::chunks;
use super::math::{sum, vectorised};
use super::{ROWS, floats, values};

/// y = x / sqrt(mean(x^2) + epsilon) * (w + offset) over the last dimension; `x [.., n]`, `w [n]`. Gemma's offset is 1.
pub(crate) fn rms_norm(x: &Tensor, w: &Tensor, epsilon: f32, offset: f32) -> Result<Tensor> {
    x.contiguous()?.apply_op2(&w.contiguous()?, RmsNorm { epsilon, offset })
}

struct RmsNorm {
    epsilon: f32,
    offset: f32,
}

vectorised! {
    pub(super) fn forward_rows(x: &[f32], w: &[f32], epsilon: f32, offset: f32, y: &mut [f32]) {
        let n = w.len();
        for (x, y) in x.chunks_exact(n).zip(y.chunks_exact_mut(n)) {
            let scale = 1.0 / (sum(n, |i| x[i] * x[i]) / n as f32 + epsilon).sqrt();
            for i in 0..n {
                y[i] = x[i] * scale * (w[i] + offset);
            }
        }
    }
}

vectorised! {
    /// dx_i = s (g_i w_i - x_i s^2 mean(g w x)) with s the scale; adds g x s to dw.
    pub(super) fn backward_rows(x: &[f32], w: &[f32], g: &[f32], epsilon: f32, offset: f32, dx: &mut [f32], dw: &mut [f32]) {
        let n = w.len();
        let rows = x.chunks_exact(n).zip(g.chunks_exact(n)).zip(dx.chunks_exact_mut(n));
        for ((x, g), dx) in rows {
            let scale = 1.0 / (sum(n, |i| x[i] * x[i]) / n as f32 + epsilon).sqrt();
            let mean = sum(n, |i| g[i] * (w[i] + offset) * x[i]) / n as f32;
            let pull = scale * scale * mean;
            for i in 0..n {
                dx[i] = scale * (g[i] * (w[i] + offset) - x[i] * pull);
                dw[i] += g[i] * x[i] * scale;
            }
        }
    }
}

impl CustomOp2 for RmsNorm {
    fn name(&self) -> &'static str {
        "rms_norm"
    }

    fn cpu_fwd(&self, s1: &CpuStorage, l1: &Layout, s2: &CpuStorage, l2: &Layout) -> Result<(CpuStorage, Shape)> {
        let (x, w) = (floats(s1, l1)?, floats(s2, l2)?);
        let mut y = vec![0f32; x.len()];
        let chunk = ROWS * w.len();
        chunks(&mut y, chunk, |c, y| forward_rows(&x[c * chunk..][..y.len()], w, self.epsilon, self.offset, y));
        Ok((CpuStorage::F32(y), l1.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, w: &Tensor, _: &Tensor, g: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let g = g.contiguous()?;
        let (xs, ws, gs) = (values(x)?, values(w)?, values(&g)?);
        let (x_values, w_values, g_values): (&[f32], &[f32], &[f32]) = (&xs, &ws, &gs);
        let n = w_values.len();
        let chunk = ROWS * n;
        let mut dx = vec![0f32; x_values.len()];
        let parts: Vec<Vec<f32>> = dx
            .par_chunks_mut(chunk)
            .zip(x_values.par_chunks(chunk).zip(g_values.par_chunks(chunk)))
            .map(|(dx, (x, g))| {
                let mut dw = vec![0f32; n];
                backward_rows(x, w_values, g, self.epsilon, self.offset, dx, &mut dw);
                dw
            })
            .collect();
        let mut dw = vec![0f32; n];
        for part in parts {
            dw.iter_mut().zip(part).for_each(|(total, p)| *total += p);
        }
        Ok((Some(Tensor::from_vec(dx, x.shape(), x.device())?), Some(Tensor::from_vec(dw, w.shape(), w.device())?)))
    }
}
