//! Self-attention of a block.

use candle_core::Tensor;

use super::continuation::Memory;
use super::linear::Linear;
use super::norm::Norm;
use super::ops::{Attention, attend_last, attention, rotate, rotate_bf16};
use super::rope::Angles;
use super::{AttentionShape, DecoderConfig, Dtype, LayerShape, Weights};
use crate::ml::Result;

/// Queries, keys, values and what comes after them.
pub(super) struct SelfAttention {
    q: Linear,
    k: Linear,
    v: Linear,
    o: Linear,
    /// Norms on every head's queries and keys.
    head_norms: Option<(Norm, Norm)>,
    shape: AttentionShape,
    layer: LayerShape,
    dtype: Dtype,
}

impl SelfAttention {
    /// Parts of layer `l`, whose names start with `layer`.
    pub(super) fn new(config: &DecoderConfig, weights: &Weights, l: usize, layer: &str) -> Result<Self> {
        let (d, shape) = (config.width, config.attention);
        let (q, kv) = (shape.heads * shape.head, shape.kv_heads * shape.head);
        let linear =
            |name: &str, out, inputs, bias| Linear::new(weights, &format!("{layer}.{name}"), out, inputs, bias);
        let norm = |name: &str| Norm::new(weights, &format!("{layer}.{name}"), config.norm, shape.head);
        Ok(Self {
            q: linear("q", q, d, shape.qkv_bias)?,
            k: linear("k", kv, d, shape.qkv_bias)?,
            v: linear("v", kv, d, shape.qkv_bias)?,
            o: linear("o", d, q, shape.out_bias)?,
            head_norms: if shape.head_norms { Some((norm("q_norm")?, norm("k_norm")?)) } else { None },
            shape,
            layer: config.layers[l],
            dtype: weights.dtype(),
        })
    }

    /// `x [B * T, d]`, already normalised; result `[B * T, d]`. `angles` are those of the positions, where they turn queries and
    /// keys. A memory takes in keys and values; when it holds some already, the one token of each sequence (T = 1) looks at those
    /// too.
    pub(super) fn forward(
        &self,
        x: &Tensor,
        tokens: usize,
        angles: Option<&Angles>,
        memory: Option<&mut Memory>,
    ) -> Result<Tensor> {
        let (mut q, mut k, v) = (self.q.forward(x)?, self.k.forward(x)?, self.v.forward(x)?);
        if let Some((q_norm, k_norm)) = &self.head_norms {
            (q, k) = (self.by_head(&q, q_norm)?, self.by_head(&k, k_norm)?);
        }
        if let (Some(angles), Some(rope)) = (angles, self.layer.rope) {
            let turn = match self.dtype {
                Dtype::F32 => rotate,
                Dtype::Bf16 => rotate_bf16,
            };
            let turn = |x: &Tensor| turn(x, angles, self.shape.head, 2 * rope.pairs(), tokens);
            (q, k) = (turn(&q)?, turn(&k)?);
        }
        let shape = Attention {
            heads: self.shape.heads,
            kv_heads: self.shape.kv_heads,
            head: self.shape.head,
            tokens,
            scale: self.shape.scale,
            cap: self.shape.cap,
            window: self.layer.window,
        };
        let out = match memory {
            None => attention(&q, &k, &v, shape)?,
            Some(memory) => {
                let begins = memory.is_empty();
                memory.push(&k, &v, tokens)?;
                match begins {
                    true => attention(&q, &k, &v, shape)?,
                    false => attend_last(&q, &memory.seen(shape.kv_heads * shape.head), shape)?,
                }
            }
        };
        self.o.forward(&self.dtype.round(out)?)
    }

    fn by_head(&self, x: &Tensor, norm: &Norm) -> Result<Tensor> {
        let (rows, width) = x.dims2()?;
        let n = self.shape.head;
        Ok(norm.forward(&x.reshape((rows * width / n, n))?)?.reshape((rows, width))?)
    }
}
