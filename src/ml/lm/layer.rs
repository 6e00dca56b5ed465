//! One block.

use candle_core::Tensor;

use super::ops::{Attention, attention, gated, rms_norm, rotate};
use super::rope::Angles;
use super::{DecoderConfig, Weights};
use crate::ml::Result;

/// Weights of block l, under their published names.
pub(super) struct Layer {
    q: Tensor,
    k: Tensor,
    v: Tensor,
    o: Tensor,
    gate: Tensor,
    up: Tensor,
    down: Tensor,
    before_attention: Tensor,
    after_attention: Option<Tensor>,
    before_mlp: Tensor,
    after_mlp: Option<Tensor>,
    q_norm: Option<Tensor>,
    k_norm: Option<Tensor>,
}

/// Names and shapes of the weights of layer `l`, in the order of [`Layer`]'s fields.
pub(super) fn shapes(config: &DecoderConfig, l: usize) -> Vec<(String, Vec<usize>)> {
    let (d, inner, n) = (config.width, config.inner, config.head);
    let (q, kv) = (config.heads * n, config.kv_heads * n);
    let mut shapes = vec![
        ("self_attn.q_proj", vec![q, d]),
        ("self_attn.k_proj", vec![kv, d]),
        ("self_attn.v_proj", vec![kv, d]),
        ("self_attn.o_proj", vec![d, q]),
        ("mlp.gate_proj", vec![inner, d]),
        ("mlp.up_proj", vec![inner, d]),
        ("mlp.down_proj", vec![d, inner]),
        ("input_layernorm", vec![d]),
        ("post_attention_layernorm", vec![d]),
    ];
    if config.post_norms {
        shapes.push(("pre_feedforward_layernorm", vec![d]));
        shapes.push(("post_feedforward_layernorm", vec![d]));
    }
    if config.head_norms {
        shapes.push(("self_attn.q_norm", vec![n]));
        shapes.push(("self_attn.k_norm", vec![n]));
    }
    shapes.into_iter().map(|(name, shape)| (format!("model.layers.{l}.{name}.weight"), shape)).collect()
}

impl Layer {
    pub(super) fn new(config: &DecoderConfig, l: usize, weights: &Weights) -> Result<Self> {
        let mut found = std::collections::BTreeMap::new();
        for (name, shape) in shapes(config, l) {
            let tensor = weights.get(&name, &shape)?;
            let short = name.trim_start_matches(&format!("model.layers.{l}.")).trim_end_matches(".weight").to_string();
            found.insert(short, tensor);
        }
        let mut take = |name: &str| {
            found
                .remove(name)
                .ok_or_else(|| crate::ml::Error::invalid("load model", format!("layer {l} has no {name}")))
        };
        // With post norms, `post_attention_layernorm` follows attention; without, it precedes the MLP.
        let (after_attention, before_mlp, after_mlp) = match config.post_norms {
            true => (
                Some(take("post_attention_layernorm")?),
                take("pre_feedforward_layernorm")?,
                Some(take("post_feedforward_layernorm")?),
            ),
            false => (None, take("post_attention_layernorm")?, None),
        };
        let (q_norm, k_norm) = match config.head_norms {
            true => (Some(take("self_attn.q_norm")?), Some(take("self_attn.k_norm")?)),
            false => (None, None),
        };
        Ok(Self {
            q: take("self_attn.q_proj")?,
            k: take("self_attn.k_proj")?,
            v: take("self_attn.v_proj")?,
            o: take("self_attn.o_proj")?,
            gate: take("mlp.gate_proj")?,
            up: take("mlp.up_proj")?,
            down: take("mlp.down_proj")?,
            before_attention: take("input_layernorm")?,
            after_attention,
            before_mlp,
            after_mlp,
            q_norm,
            k_norm,
        })
    }

    /// What attention adds to the stream; `h` and result `[B * T, d]`.
    pub(super) fn attention(
        &self,
        config: &DecoderConfig,
        l: usize,
        h: &Tensor,
        tokens: usize,
        angles: &Angles,
    ) -> Result<Tensor> {
        let norm = |x: &Tensor, w: &Tensor| rms_norm(x, w, config.epsilon, config.norm_offset);
        let head_norm = |x: Tensor, w: &Option<Tensor>| match w {
            Some(w) => {
                let (rows, width) = x.dims2()?;
                norm(&x.reshape((rows * width / config.head, config.head))?, w)?.reshape((rows, width))
            }
            None => Ok(x),
        };
        let x = norm(h, &self.before_attention)?;
        let q = rotate(&head_norm(linear(&x, &self.q)?, &self.q_norm)?, angles, config.head, tokens)?;
        let k = rotate(&head_norm(linear(&x, &self.k)?, &self.k_norm)?, angles, config.head, tokens)?;
        let v = linear(&x, &self.v)?;
        let shape = Attention {
            heads: config.heads,
            kv_heads: config.kv_heads,
            head: config.head,
            tokens,
            scale: config.attention_scale,
            cap: config.attention_cap,
            window: config.layers[l].window,
        };
        let out = linear(&attention(&q, &k, &v, shape)?, &self.o)?;
        match &self.after_attention {
            Some(w) => Ok(norm(&out, w)?),
            None => Ok(out),
        }
    }

    /// What the MLP adds to the stream; `h` and result `[B * T, d]`.
    pub(super) fn mlp(&self, config: &DecoderConfig, h: &Tensor) -> Result<Tensor> {
        let x = rms_norm(h, &self.before_mlp, config.epsilon, config.norm_offset)?;
        let inner = gated(&linear(&x, &self.gate)?, &linear(&x, &self.up)?, config.activation)?;
        let out = linear(&inner, &self.down)?;
        match &self.after_mlp {
            Some(w) => Ok(rms_norm(&out, w, config.epsilon, config.norm_offset)?),
            None => Ok(out),
        }
    }
}

/// x w^T; `x [N, in]`, `w [out, in]`.
pub(super) fn linear(x: &Tensor, w: &Tensor) -> candle_core::Result<Tensor> {
    x.matmul(&w.t()?)
}
