//! Normalisation of a row.

use candle_core::{DType, Tensor};

use super::ops::{layer_norm, rms_norm};
use super::{Dtype, NormShape, Weights};
use crate::ml::Result;

/// A norm with its weights `[n]`.
pub(super) struct Norm {
    shape: NormShape,
    weight: Tensor,
    bias: Option<Tensor>,
    dtype: Dtype,
}

impl Norm {
    /// Parts `NAME.weight` and, for a layer norm, `NAME.bias`.
    pub(super) fn new(weights: &Weights, name: &str, shape: NormShape, n: usize) -> Result<Self> {
        // A norm is small and computed in f32 whatever the rest is: its weights are widened once.
        let take =
            |part: &str| -> Result<Tensor> { Ok(weights.get(&format!("{name}.{part}"), &[n])?.to_dtype(DType::F32)?) };
        let bias = if shape.has_bias() { Some(take("bias")?) } else { None };
        Ok(Self { shape, weight: take("weight")?, bias, dtype: weights.dtype() })
    }

    /// Normalises the rows of `x [.., n]`.
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        match (self.shape, &self.bias) {
            // In bf16 Llama's norm hands the normalised row on before it multiplies it by w; Gemma's (1 + w) stays in f32.
            (NormShape::Rms { epsilon, offset: 0.0 }, _) if self.dtype == Dtype::Bf16 => {
                let unit = self.dtype.round(rms_norm(x, &self.weight.ones_like()?, epsilon, 0.0)?)?;
                self.dtype.round(unit.broadcast_mul(&self.weight)?)
            }
            (NormShape::Layer { epsilon }, Some(bias)) => self.dtype.round(layer_norm(x, &self.weight, bias, epsilon)?),
            (NormShape::Rms { epsilon, offset }, _) => self.dtype.round(rms_norm(x, &self.weight, epsilon, offset)?),
            (NormShape::Layer { epsilon }, None) => {
                self.dtype.round(layer_norm(x, &self.weight, &self.weight.zeros_like()?, epsilon)?)
            }
        }
    }
}
