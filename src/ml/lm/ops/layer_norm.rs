//! Layer normalisation.

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::alone::chunks;
use super::math::{sum, vectorised};
use super::{ROWS, floats, values};

/// y = (x - mean(x)) / sqrt(variance(x) + epsilon) * w + b over the last dimension; `x [.., n]`, `w [n]`, `b [n]`.
pub(crate) fn layer_norm(x: &Tensor, w: &Tensor, b: &Tensor, epsilon: f32) -> Result<Tensor> {
    x.contiguous()?.apply_op3(&w.contiguous()?, &b.contiguous()?, LayerNorm { epsilon })
}

struct LayerNorm {
    epsilon: f32,
}

/// Mean of a row and one over its deviation.
#[inline(always)]
fn moments(x: &[f32], epsilon: f32) -> (f32, f32) {
    let n = x.len();
    let mean = sum(n, |i| x[i]) / n as f32;
    let variance = sum(n, |i| (x[i] - mean) * (x[i] - mean)) / n as f32;
    (mean, 1.0 / (variance + epsilon).sqrt())
}

vectorised! {
    pub(super) fn forward_rows(x: &[f32], w: &[f32], b: &[f32], epsilon: f32, y: &mut [f32]) {
        let n = w.len();
        let b = &b[..n];
        for (x, y) in x.chunks_exact(n).zip(y.chunks_exact_mut(n)) {
            let (mean, scale) = moments(x, epsilon);
            for i in 0..n {
                y[i] = (x[i] - mean) * scale * w[i] + b[i];
            }
        }
    }
}

vectorised! {
    /// With u the normalised row and s its scale: dx = s (g w - mean(g w) - u mean(g w u)); adds g u to dw, g to db.
    pub(super) fn backward_rows(
        x: &[f32],
        w: &[f32],
        g: &[f32],
        epsilon: f32,
        dx: &mut [f32],
        dw: &mut [f32],
        db: &mut [f32],
    ) {
        let n = w.len();
        let (dw, db) = (&mut dw[..n], &mut db[..n]);
        let rows = x.chunks_exact(n).zip(g.chunks_exact(n)).zip(dx.chunks_exact_mut(n));
        for ((x, g), dx) in rows {
            let (mean, scale) = moments(x, epsilon);
            let plain = sum(n, |i| g[i] * w[i]) / n as f32;
            let tilted = sum(n, |i| g[i] * w[i] * (x[i] - mean)) / n as f32 * scale;
            for i in 0..n {
                let u = (x[i] - mean) * scale;
                dx[i] = scale * (g[i] * w[i] - plain - u * tilted);
                dw[i] += g[i] * u;
                db[i] += g[i];
            }
        }
    }
}

impl CustomOp3 for LayerNorm {
    fn name(&self) -> &'static str {
        "layer_norm"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
        s3: &CpuStorage,
        l3: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, w, b) = (floats(s1, l1)?, floats(s2, l2)?, floats(s3, l3)?);
        let mut y = vec![0f32; x.len()];
        let chunk = ROWS * w.len();
        chunks(&mut y, chunk, |c, y| forward_rows(&x[c * chunk..][..y.len()], w, b, self.epsilon, y));
        Ok((CpuStorage::F32(y), l1.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        _: &Tensor,
        _: &Tensor,
        g: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let g = g.contiguous()?;
        let (xs, ws, gs) = (values(x)?, values(w)?, values(&g)?);
        let (x_values, w_values, g_values): (&[f32], &[f32], &[f32]) = (&xs, &ws, &gs);
        let n = w_values.len();
        let chunk = ROWS * n;
        let mut dx = vec![0f32; x_values.len()];
        let parts: Vec<(Vec<f32>, Vec<f32>)> = dx
            .par_chunks_mut(chunk)
            .zip(x_values.par_chunks(chunk).zip(g_values.par_chunks(chunk)))
            .map(|(dx, (x, g))| {
                let (mut dw, mut db) = (vec![0f32; n], vec![0f32; n]);
                backward_rows(x, w_values, g, self.epsilon, dx, &mut dw, &mut db);
                (dw, db)
            })
            .collect();
        let (mut dw, mut db) = (vec![0f32; n], vec![0f32; n]);
        for (w_part, b_part) in parts {
            dw.iter_mut().zip(w_part).for_each(|(total, p)| *total += p);
            db.iter_mut().zip(b_part).for_each(|(total, p)| *total += p);
        }
        let device = g.device();
        Ok((
            Some(Tensor::from_vec(dx, x.shape(), device)?),
            Some(Tensor::from_vec(dw, n, device)?),
            Some(Tensor::from_vec(db, n, device)?),
        ))
    }
}
