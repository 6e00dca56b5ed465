//! AdamW in one pass over each parameter.

use std::sync::Mutex;

use candle_core::{CpuStorage, InplaceOp2, Layout, Tensor, Var};
use rayon::prelude::*;

/// beta1, beta2, epsilon and weight decay of all training here.
const BETA1: f64 = 0.9;
const BETA2: f64 = 0.95;
const EPSILON: f32 = 1e-8;
const DECAY: f32 = 0.1;

/// First and second moments of one parameter.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Moments {
    pub first: Vec<f32>,
    pub second: Vec<f32>,
}

impl Moments {
    pub(super) fn zeros(count: usize) -> Self {
        Self { first: vec![0.0; count], second: vec![0.0; count] }
    }
}

/// One update of one parameter: moments, bias correction, decoupled weight decay (for matrices only).
struct Update<'a> {
    moments: Mutex<&'a mut Moments>,
    /// Gradients are multiplied by this (clipping).
    factor: f32,
    rate: f32,
    decay: f32,
    correction1: f32,
    correction2: f32,
}

const CHUNK: usize = 16_384;

impl Update<'_> {
    fn chunk(&self, w: &mut [f32], g: &[f32], m: &mut [f32], v: &mut [f32]) {
        let n = w.len();
        let (g, m, v) = (&g[..n], &mut m[..n], &mut v[..n]);
        for i in 0..n {
            let g = g[i] * self.factor;
            m[i] = BETA1 as f32 * m[i] + (1.0 - BETA1) as f32 * g;
            v[i] = BETA2 as f32 * v[i] + (1.0 - BETA2) as f32 * g * g;
            let step = (m[i] * self.correction1) / ((v[i] * self.correction2).sqrt() + EPSILON);
            w[i] -= self.rate * (step + self.decay * w[i]);
        }
    }
}

impl InplaceOp2 for Update<'_> {
    fn name(&self) -> &'static str {
        "adamw"
    }

    fn cpu_fwd(&self, s1: &mut CpuStorage, l1: &Layout, s2: &CpuStorage, l2: &Layout) -> candle_core::Result<()> {
        let (Some((from, to)), Some((g_from, g_to))) = (l1.contiguous_offsets(), l2.contiguous_offsets()) else {
            candle_core::bail!("adamw: contiguous tensors are needed")
        };
        let CpuStorage::F32(weights) = s1 else { candle_core::bail!("adamw: f32 is needed") };
        let gradient = &s2.as_slice::<f32>()?[g_from..g_to];
        let Ok(mut moments) = self.moments.lock() else { candle_core::bail!("adamw: a thread panicked") };
        let Moments { first, second } = &mut **moments;
        weights[from..to]
            .par_chunks_mut(CHUNK)
            .zip(gradient.par_chunks(CHUNK))
            .zip(first.par_chunks_mut(CHUNK).zip(second.par_chunks_mut(CHUNK)))
            .for_each(|((w, g), (m, v))| self.chunk(w, g, m, v));
        Ok(())
    }
}

/// Updates `weights` in place; `step` counts from 0, `factor` scales the gradient.
pub(super) fn update(
    weights: &Var,
    gradient: &Tensor,
    moments: &mut Moments,
    step: u64,
    rate: f64,
    factor: f64,
) -> candle_core::Result<()> {
    let count = (step + 1).min(i32::MAX as u64) as i32;
    let update = Update {
        moments: Mutex::new(moments),
        factor: factor as f32,
        rate: rate as f32,
        decay: if weights.dims().len() > 1 { DECAY } else { 0.0 },
        correction1: (1.0 / (1.0 - BETA1.powi(count))) as f32,
        correction2: (1.0 / (1.0 - BETA2.powi(count))) as f32,
    };
    weights.as_tensor().inplace_op2(&gradient.contiguous()?, &update)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn agrees_with_the_formula_in_f64() {
        let weights = Var::from_slice(&[0.5f32, -1.0, 2.0, 0.0], (2, 2), &Device::Cpu).unwrap();
        let mut moments = Moments::zeros(4);
        let (mut w, mut m, mut v) = ([0.5f64, -1.0, 2.0, 0.0], [0f64; 4], [0f64; 4]);
        for step in 0..5u64 {
            let g: Vec<f64> = (0..4).map(|i| ((i as f64 + 1.0) * (step as f64 + 0.7)).sin()).collect();
            let gradient =
                Tensor::from_vec(g.iter().map(|x| *x as f32).collect::<Vec<_>>(), (2, 2), &Device::Cpu).unwrap();
            update(&weights, &gradient, &mut moments, step, 0.01, 0.5).unwrap();
            for i in 0..4 {
                let g = g[i] * 0.5;
                m[i] = 0.9 * m[i] + 0.1 * g;
                v[i] = 0.95 * v[i] + 0.05 * g * g;
                let t = step as i32 + 1;
                let step = m[i] / (1.0 - 0.9f64.powi(t)) / ((v[i] / (1.0 - 0.95f64.powi(t))).sqrt() + 1e-8);
                w[i] -= 0.01 * (step + 0.1 * w[i]);
            }
        }
        for (got, want) in weights.flatten_all().unwrap().to_vec1::<f32>().unwrap().iter().zip(w) {
            assert!((f64::from(*got) - want).abs() < 1e-6, "{got} {want}");
        }
    }
}
