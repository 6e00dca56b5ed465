//! The middle of a gated MLP.

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::alone::chunks;
use super::math::{exp, vectorised};
use super::{floats, values};

/// What the middle of an MLP goes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// x Phi(x), with Phi the normal distribution (by erf).
    Gelu,
    /// x / 2 * (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))), written as x * sigmoid(2 u).
    GeluTanh,
    /// x * sigmoid(x).
    Silu,
}

/// activation(gate) * up, element by element.
pub(crate) fn gated(gate: &Tensor, up: &Tensor, activation: Activation) -> Result<Tensor> {
    if activation == Activation::Gelu {
        return super::activate(gate, activation)? * up;
    }
    gate.contiguous()?.apply_op2(&up.contiguous()?, Gated { activation })
}

struct Gated {
    activation: Activation,
}

const CHUNK: usize = 16_384;
const TWO_ROOT: f32 = 1.595_769_1; // 2 sqrt(2 / pi)
const CUBE: f32 = 0.044_715;

/// sigmoid(z) and the derivative of z, where the activation is x * sigmoid(z).
#[inline(always)]
fn inner(x: f32, gelu: bool) -> (f32, f32) {
    let (z, slope) = match gelu {
        true => (TWO_ROOT * (x + CUBE * x * x * x), TWO_ROOT * (1.0 + 3.0 * CUBE * x * x)),
        false => (x, 1.0),
    };
    (1.0 / (1.0 + exp(-z)), slope)
}

vectorised! {
    pub(super) fn forward(gate: &[f32], up: &[f32], gelu: bool, y: &mut [f32]) {
        for i in 0..y.len().min(gate.len()).min(up.len()) {
            y[i] = gate[i] * inner(gate[i], gelu).0 * up[i];
        }
    }
}

vectorised! {
    pub(super) fn backward(gate: &[f32], up: &[f32], g: &[f32], gelu: bool, d_gate: &mut [f32], d_up: &mut [f32]) {
        let n = g.len();
        let (gate, up, d_gate, d_up) = (&gate[..n], &up[..n], &mut d_gate[..n], &mut d_up[..n]);
        for i in 0..n {
            let (sigmoid, slope) = inner(gate[i], gelu);
            d_up[i] = g[i] * gate[i] * sigmoid;
            d_gate[i] = g[i] * up[i] * (sigmoid + gate[i] * sigmoid * (1.0 - sigmoid) * slope);
        }
    }
}

impl CustomOp2 for Gated {
    fn name(&self) -> &'static str {
        "gated"
    }

    fn cpu_fwd(&self, s1: &CpuStorage, l1: &Layout, s2: &CpuStorage, l2: &Layout) -> Result<(CpuStorage, Shape)> {
        let (gate, up) = (floats(s1, l1)?, floats(s2, l2)?);
        let gelu = self.activation == Activation::GeluTanh;
        let mut y = vec![0f32; gate.len()];
        chunks(&mut y, CHUNK, |c, y| {
            let range = c * CHUNK..c * CHUNK + y.len();
            forward(&gate[range.clone()], &up[range], gelu, y);
        });
        Ok((CpuStorage::F32(y), l1.shape().clone()))
    }

    fn bwd(&self, gate: &Tensor, up: &Tensor, _: &Tensor, g: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let g = g.contiguous()?;
        let (gates, ups, gs) = (values(gate)?, values(up)?, values(&g)?);
        let gelu = self.activation == Activation::GeluTanh;
        let (mut d_gate, mut d_up) = (vec![0f32; gs.len()], vec![0f32; gs.len()]);
        d_gate
            .par_chunks_mut(CHUNK)
            .zip(d_up.par_chunks_mut(CHUNK))
            .zip(gates.par_chunks(CHUNK).zip(ups.par_chunks(CHUNK)).zip(gs.par_chunks(CHUNK)))
            .for_each(|((d_gate, d_up), ((gate, up), g))| backward(gate, up, g, gelu, d_gate, d_up));
        let shape = gate.shape();
        Ok((Some(Tensor::from_vec(d_gate, shape, g.device())?), Some(Tensor::from_vec(d_up, shape, g.device())?)))
    }
}
