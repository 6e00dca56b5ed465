//! A linear map, with or without a bias.

use candle_core::{DType, Tensor};

use super::Weights;
use super::ops::{add_bias, linear_bf16};
use crate::ml::Result;

/// y = x w^T + b; `x [N, in]`, `w [out, in]`, `b [out]`, y `[N, out]`.
pub(super) struct Linear {
    weight: Tensor,
    bias: Option<Tensor>,
}

impl Linear {
    /// Parts `NAME.weight` and, if asked for, `NAME.bias`.
    pub(super) fn new(weights: &Weights, name: &str, out: usize, inputs: usize, bias: bool) -> Result<Self> {
        Ok(Self {
            weight: weights.get(&format!("{name}.weight"), &[out, inputs])?,
            bias: if bias { Some(weights.get(&format!("{name}.bias"), &[out])?) } else { None },
        })
    }

    /// The embedding, which many models use as their head too.
    pub(super) fn tied(embedding: &Tensor) -> Self {
        Self { weight: embedding.clone(), bias: None }
    }

    /// y; with weights in bf16 it is rounded to bf16.
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        if self.weight.dtype() == DType::BF16 {
            return Ok(linear_bf16(x, &self.weight, self.bias.as_ref())?);
        }
        let y = x.matmul(&self.weight.t()?)?;
        match &self.bias {
            Some(bias) => Ok(add_bias(&y, bias)?),
            None => Ok(y),
        }
    }
}
