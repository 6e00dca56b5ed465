//! The numbers that a decoder computes with.

use candle_core::{DType, Tensor};

use super::ops::rounded;
use crate::ml::Result;

/// Format of weights and of every intermediate result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dtype {
    #[default]
    F32,
    /// Weights are kept in bf16, products are summed in f32, and what an operation gives is rounded to bf16.
    Bf16,
}

impl Dtype {
    pub(super) fn of_weights(self) -> DType {
        match self {
            Dtype::F32 => DType::F32,
            Dtype::Bf16 => DType::BF16,
        }
    }

    /// `x` (f32) as an operation hands it on.
    pub(super) fn round(self, x: Tensor) -> Result<Tensor> {
        match self {
            Dtype::F32 => Ok(x),
            Dtype::Bf16 => Ok(rounded(&x)?),
        }
    }

    /// One number as the decoder sees it.
    pub(crate) fn number(self, x: f32) -> f32 {
        match self {
            Dtype::F32 => x,
            Dtype::Bf16 => half::bf16::from_f32(x).to_f32(),
        }
    }
}
