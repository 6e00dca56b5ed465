//! A linear map, with or without a bias.

use std::sync::{Arc, OnceLock};

use candle_core::{DType, Tensor};

use super::Weights;
use super::ops::{Panels, add_bias, linear, linear_bf16, packed};
use crate::ml::Result;

/// y = x w^T + b; `x [N, in]`, `w [out, in]`, `b [out]`, y `[N, out]`.
pub(super) struct Linear {
    weight: Tensor,
    bias: Option<Tensor>,
    /// The weights again, laid out for products without a gradient; made at the first one.
    packed: OnceLock<Arc<Panels>>,
    is_head: bool,
}

impl Linear {
    /// Parts `NAME.weight` and, if asked for, `NAME.bias`.
    pub(super) fn new(weights: &Weights, name: &str, out: usize, inputs: usize, bias: bool) -> Result<Self> {
        Ok(Self {
            weight: weights.get(&format!("{name}.weight"), &[out, inputs])?,
            bias: if bias { Some(weights.get(&format!("{name}.bias"), &[out])?) } else { None },
            packed: OnceLock::new(),
            is_head: false,
        })
    }

    /// The embedding, which many models use as their head too.
    pub(super) fn tied(embedding: &Tensor) -> Self {
        Self { weight: embedding.clone(), bias: None, packed: OnceLock::new(), is_head: true }
    }

    /// w `[out, in]`.
    pub(super) fn weight(&self) -> &Tensor {
        &self.weight
    }

    /// y; with weights in bf16 it is rounded to bf16.
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        if self.weight.dtype() == DType::BF16 {
            return Ok(linear_bf16(x, &self.weight, self.bias.as_ref())?);
        }
        // A tied head is as large as all the rest, and is rarely asked: it is not kept twice.
        if !self.is_head && !x.track_op() && !self.weight.track_op() {
            return Ok(linear(x, &self.packed()?, self.bias.as_ref())?);
        }
        let y = x.matmul(&self.weight.t()?)?;
        match &self.bias {
            Some(bias) => Ok(add_bias(&y, bias)?),
            None => Ok(y),
        }
    }

    fn packed(&self) -> Result<Arc<Panels>> {
        if let Some(packed) = self.packed.get() {
            return Ok(packed.clone());
        }
        let made = packed(&self.weight)?;
        Ok(self.packed.get_or_init(|| made).clone())
    }
}
