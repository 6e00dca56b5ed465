//! One block.

use candle_core::Tensor;

use super::continuation::Memory;
use super::mlp::Mlp;
use super::norm::Norm;
use super::rope::Angles;
use super::self_attention::SelfAttention;
use super::{DecoderConfig, Weights};
use crate::ml::Result;

/// Attention and MLP, each between its norms. How their outputs join the stream is [`super::Residual`].
pub(super) struct Layer {
    attention_norm: Norm,
    attention: SelfAttention,
    attention_post_norm: Option<Norm>,
    mlp_norm: Norm,
    mlp: Mlp,
    mlp_post_norm: Option<Norm>,
}

impl Layer {
    pub(super) fn new(config: &DecoderConfig, l: usize, weights: &Weights) -> Result<Self> {
        let layer = format!("layers.{l}");
        let norm = |name: &str| Norm::new(weights, &format!("{layer}.{name}"), config.norm, config.width);
        let post_norm = |name: &str| if config.post_norms { norm(name).map(Some) } else { Ok(None) };
        Ok(Self {
            attention_norm: norm("attention_norm")?,
            attention: SelfAttention::new(config, weights, l, &layer)?,
            attention_post_norm: post_norm("attention_post_norm")?,
            mlp_norm: norm("mlp_norm")?,
            mlp: Mlp::new(config, weights, &layer)?,
            mlp_post_norm: post_norm("mlp_post_norm")?,
        })
    }

    /// What attention adds to the stream; `h` and result `[B * T, d]`. With a memory the tokens follow those that it holds.
    pub(super) fn attention(
        &self,
        h: &Tensor,
        tokens: usize,
        angles: Option<&Angles>,
        memory: Option<&mut Memory>,
    ) -> Result<Tensor> {
        let out = self.attention.forward(&self.attention_norm.forward(h)?, tokens, angles, memory)?;
        self.attention_post_norm.as_ref().map_or(Ok(out.clone()), |norm| norm.forward(&out))
    }

    /// What the MLP adds to the stream; `h` and result `[B * T, d]`.
    pub(super) fn mlp(&self, h: &Tensor) -> Result<Tensor> {
        let out = self.mlp.forward(&self.mlp_norm.forward(h)?)?;
        self.mlp_post_norm.as_ref().map_or(Ok(out.clone()), |norm| norm.forward(&out))
    }
}
