//! An activation, element by element.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::alone::chunks;
use super::math::{erf, exp, vectorised};
use super::{Activation, floats, values};

/// activation(x).
pub(crate) fn activate(x: &Tensor, activation: Activation) -> Result<Tensor> {
    x.contiguous()?.apply_op1(Activate { activation })
}

struct Activate {
    activation: Activation,
}

const CHUNK: usize = 16_384;
const TWO_ROOT: f32 = 1.595_769_1; // 2 sqrt(2 / pi)
const CUBE: f32 = 0.044_715;
const ROOT_HALF: f32 = std::f32::consts::FRAC_1_SQRT_2;
const DENSITY: f32 = 0.398_942_3; // 1 / sqrt(2 pi)

vectorised! {
    /// x Phi(x), Phi the normal distribution.
    pub(super) fn gelu(x: &[f32], y: &mut [f32]) {
        for (x, y) in x.iter().zip(y) {
            *y = x * 0.5 * (1.0 + erf(x * ROOT_HALF));
        }
    }
}

vectorised! {
    /// g (Phi(x) + x phi(x)), phi its density.
    pub(super) fn gelu_gradient(x: &[f32], g: &[f32], d: &mut [f32]) {
        for ((x, g), d) in x.iter().zip(g).zip(d) {
            *d = g * (0.5 * (1.0 + erf(x * ROOT_HALF)) + x * DENSITY * exp(-0.5 * x * x));
        }
    }
}

/// sigmoid(z) and the derivative of z, where the activation is x * sigmoid(z).
#[inline(always)]
fn inner(x: f32, tanh: bool) -> (f32, f32) {
    let (z, slope) = match tanh {
        true => (TWO_ROOT * (x + CUBE * x * x * x), TWO_ROOT * (1.0 + 3.0 * CUBE * x * x)),
        false => (x, 1.0),
    };
    (1.0 / (1.0 + exp(-z)), slope)
}

vectorised! {
    pub(super) fn sigmoid_like(x: &[f32], tanh: bool, y: &mut [f32]) {
        for (x, y) in x.iter().zip(y) {
            *y = x * inner(*x, tanh).0;
        }
    }
}

vectorised! {
    pub(super) fn sigmoid_like_gradient(x: &[f32], g: &[f32], tanh: bool, d: &mut [f32]) {
        for ((x, g), d) in x.iter().zip(g).zip(d) {
            let (sigmoid, slope) = inner(*x, tanh);
            *d = g * (sigmoid + x * sigmoid * (1.0 - sigmoid) * slope);
        }
    }
}

impl Activate {
    fn forward(&self, x: &[f32], y: &mut [f32]) {
        match self.activation {
            Activation::Gelu => gelu(x, y),
            Activation::GeluTanh => sigmoid_like(x, true, y),
            Activation::Silu => sigmoid_like(x, false, y),
        }
    }

    fn backward(&self, x: &[f32], g: &[f32], d: &mut [f32]) {
        match self.activation {
            Activation::Gelu => gelu_gradient(x, g, d),
            Activation::GeluTanh => sigmoid_like_gradient(x, g, true, d),
            Activation::Silu => sigmoid_like_gradient(x, g, false, d),
        }
    }
}

impl CustomOp1 for Activate {
    fn name(&self) -> &'static str {
        "activate"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = floats(storage, layout)?;
        let mut y = vec![0f32; x.len()];
        chunks(&mut y, CHUNK, |c, y| self.forward(&x[c * CHUNK..][..y.len()], y));
        Ok((CpuStorage::F32(y), layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, g: &Tensor) -> Result<Option<Tensor>> {
        let g = g.contiguous()?;
        let (xs, gs) = (values(x)?, values(&g)?);
        let mut d = vec![0f32; xs.len()];
        d.par_chunks_mut(CHUNK)
            .zip(xs.par_chunks(CHUNK).zip(gs.par_chunks(CHUNK)))
            .for_each(|(d, (x, g))| self.backward(x, g, d));
        Ok(Some(Tensor::from_vec(d, x.shape(), g.device())?))
    }
}
