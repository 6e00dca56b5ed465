//! The two-layer network of a block.

use candle_core::Tensor;

use super::linear::Linear;
use super::ops::{activate, gated};
use super::{Activation, DecoderConfig, Dtype, Weights};
use crate::ml::Result;

/// down(act(gate(x)) * up(x)) where there is a gate, else down(act(up(x))); `inner` wide in its middle.
pub(super) struct Mlp {
    gate: Option<Linear>,
    up: Linear,
    down: Linear,
    activation: Activation,
    dtype: Dtype,
}

impl Mlp {
    pub(super) fn new(config: &DecoderConfig, weights: &Weights, layer: &str) -> Result<Self> {
        let (d, shape) = (config.width, config.mlp);
        let linear =
            |name: &str, out, inputs| Linear::new(weights, &format!("{layer}.{name}"), out, inputs, shape.bias);
        Ok(Self {
            gate: if shape.gated { Some(linear("gate", shape.inner, d)?) } else { None },
            up: linear("up", shape.inner, d)?,
            down: linear("down", d, shape.inner)?,
            activation: shape.activation,
            dtype: weights.dtype(),
        })
    }

    /// `x [N, d]`, already normalised; result `[N, d]`.
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let up = self.up.forward(x)?;
        let middle = match &self.gate {
            None => self.dtype.round(activate(&up, self.activation)?)?,
            Some(gate) => self.gate(&gate.forward(x)?, &up)?,
        };
        self.down.forward(&middle)
    }

    fn gate(&self, gate: &Tensor, up: &Tensor) -> Result<Tensor> {
        match self.dtype {
            Dtype::F32 => Ok(gated(gate, up, self.activation)?),
            dtype => dtype.round((dtype.round(activate(gate, self.activation)?)? * up)?),
        }
    }
}
