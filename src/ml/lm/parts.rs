//! The parts that a decoder is made of, under names of their own.
//!
//! Every source of weights (safetensors of any family, GGUF, a training) hands them over under these names, see
//! [`super::Weights`]. With d the width, n the width of a head, V the vocabulary:
//!
//! | part | shape | where |
//! | --- | --- | --- |
//! | `embedding.weight` | `[V, d]` | always |
//! | `positions.weight` | `[P, d]` | learned positions |
//! | `layers.L.q.weight`, `k`, `v` | `[heads n, d]`, `[kv_heads n, d]` | always; `.bias` with `attention.qkv_bias` |
//! | `layers.L.o.weight` | `[d, heads n]` | always; `.bias` with `attention.out_bias` |
//! | `layers.L.gate.weight` | `[inner, d]` | gated MLPs; `.bias` with `mlp.bias` |
//! | `layers.L.up.weight`, `down` | `[inner, d]`, `[d, inner]` | always; `.bias` with `mlp.bias` |
//! | `layers.L.attention_norm.weight`, `mlp_norm` | `[d]` | always; `.bias` for layer norms |
//! | `layers.L.attention_post_norm.weight`, `mlp_post_norm` | `[d]` | `post_norms` |
//! | `layers.L.q_norm.weight`, `k_norm` | `[n]` | `attention.head_norms` |
//! | `norm.weight` | `[d]` | always; `.bias` for layer norms |
//! | `head.weight` | `[V, d]` | unless `tied` |
//!
//! Queries and keys are laid out for rotary positions that turn coordinate i with i + half ([`super::ops`]' rotate); norms with an
//! offset (Gemma's 1 + w) are given as w.

use super::DecoderConfig;

/// Name and shape of every part of a configuration.
pub(super) fn parts(config: &DecoderConfig) -> Vec<(String, Vec<usize>)> {
    let (v, d) = (config.vocabulary, config.width);
    let mut list = List::default();
    list.add("embedding.weight", &[v, d]);
    if let Some(rows) = config.positions {
        list.add("positions.weight", &[rows, d]);
    }
    for l in 0..config.layers.len() {
        layer(config, &format!("layers.{l}"), &mut list);
    }
    list.norm(config, "norm", d);
    if !config.tied {
        list.add("head.weight", &[v, d]);
    }
    list.0
}

fn layer(config: &DecoderConfig, layer: &str, list: &mut List) {
    let (d, attention, mlp) = (config.width, config.attention, config.mlp);
    let (q, kv) = (attention.heads * attention.head, attention.kv_heads * attention.head);
    let name = |part: &str| format!("{layer}.{part}");
    for (part, out) in [("q", q), ("k", kv), ("v", kv)] {
        list.linear(&name(part), out, d, attention.qkv_bias);
    }
    list.linear(&name("o"), d, q, attention.out_bias);
    if mlp.gated {
        list.linear(&name("gate"), mlp.inner, d, mlp.bias);
    }
    list.linear(&name("up"), mlp.inner, d, mlp.bias);
    list.linear(&name("down"), d, mlp.inner, mlp.bias);
    list.norm(config, &name("attention_norm"), d);
    list.norm(config, &name("mlp_norm"), d);
    if config.post_norms {
        list.norm(config, &name("attention_post_norm"), d);
        list.norm(config, &name("mlp_post_norm"), d);
    }
    if attention.head_norms {
        list.norm(config, &name("q_norm"), attention.head);
        list.norm(config, &name("k_norm"), attention.head);
    }
}

#[derive(Default)]
struct List(Vec<(String, Vec<usize>)>);

impl List {
    fn add(&mut self, name: &str, shape: &[usize]) {
        self.0.push((name.to_string(), shape.to_vec()));
    }

    fn linear(&mut self, name: &str, out: usize, inputs: usize, bias: bool) {
        self.add(&format!("{name}.weight"), &[out, inputs]);
        if bias {
            self.add(&format!("{name}.bias"), &[out]);
        }
    }

    fn norm(&mut self, config: &DecoderConfig, name: &str, n: usize) {
        self.add(&format!("{name}.weight"), &[n]);
        if config.norm.has_bias() {
            self.add(&format!("{name}.bias"), &[n]);
        }
    }
}
