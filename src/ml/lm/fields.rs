//! Reading a published `config.json`.

use serde_json::Value;

use super::{Activation, LayerShape, Rope, RopeScaling};

/// Fields of a configuration; absent and `null` are the same.
pub(super) struct Fields<'a>(pub &'a Value);

type Read<T> = std::result::Result<T, String>;

impl Fields<'_> {
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|v| !v.is_null())
    }

    pub fn text(&self, name: &str) -> Read<String> {
        let value = self.get(name).and_then(Value::as_str);
        value.map(str::to_string).ok_or_else(|| format!("no text `{name}`"))
    }

    pub fn size(&self, name: &str) -> Read<usize> {
        let value = self.get(name).and_then(Value::as_u64);
        value.map(|v| v as usize).ok_or_else(|| format!("no whole number `{name}`"))
    }

    pub fn size_or(&self, name: &str, default: usize) -> Read<usize> {
        if self.get(name).is_some() { self.size(name) } else { Ok(default) }
    }

    pub fn number(&self, name: &str) -> Option<f64> {
        self.get(name).and_then(Value::as_f64)
    }

    /// A soft cap and its like.
    pub fn small(&self, name: &str) -> Option<f32> {
        self.number(name).map(|v| v as f32)
    }

    pub fn truth(&self, name: &str, default: bool) -> bool {
        self.get(name).and_then(Value::as_bool).unwrap_or(default)
    }

    /// Refuses what this decoder does not compute.
    pub fn refuse(&self, name: &str) -> Read<()> {
        match self.truth(name, false) {
            true => Err(format!("`{name}` cannot be computed by xd")),
            false => Ok(()),
        }
    }

    /// The activation, under any of its names.
    pub fn activation(&self, default: &str) -> Read<Activation> {
        let names = ["hidden_activation", "hidden_act", "activation_function"];
        let name = names.iter().find_map(|n| self.text(n).ok()).unwrap_or(default.into());
        match name.as_str() {
            "gelu_pytorch_tanh" | "gelu_new" | "gelu_fast" => Ok(Activation::GeluTanh),
            "gelu" => Ok(Activation::Gelu),
            "silu" | "swish" => Ok(Activation::Silu),
            other => Err(format!("the activation `{other}` cannot be computed by xd")),
        }
    }

    /// One rope for all layers, for heads of width `head`: `rope_parameters`, else `rope_theta` and `rope_scaling`.
    pub fn rope(&self, head: usize, default_theta: f64) -> Read<Rope> {
        let theta = self.number("rope_theta").unwrap_or(default_theta);
        match self.get("rope_parameters").or_else(|| self.get("rope_scaling")) {
            Some(value) => parse_rope(value, head, theta),
            None => Ok(Rope::plain(head, theta)),
        }
    }

    /// True where the layer looks through a sliding window: `layer_types`, else `rule(layer)`.
    pub fn sliding(&self, layers: usize, rule: impl Fn(usize) -> bool) -> Read<Vec<bool>> {
        let Some(types) = self.get("layer_types").and_then(Value::as_array) else {
            return Ok((0..layers).map(rule).collect());
        };
        if types.len() != layers {
            return Err(format!("{} layer_types for {layers} layers", types.len()));
        }
        types
            .iter()
            .map(|t| match t.as_str() {
                Some("sliding_attention") => Ok(true),
                Some("full_attention") => Ok(false),
                _ => Err(format!("the layer type {t} cannot be computed by xd")),
            })
            .collect()
    }

    /// All layers with the same rope; those that `rule` names look through a window of `window` tokens.
    pub fn layers(&self, rope: Rope, window: usize, rule: impl Fn(usize) -> bool) -> Read<Vec<LayerShape>> {
        let sliding = self.sliding(self.size("num_hidden_layers")?, rule)?;
        Ok(sliding.into_iter().map(|s| LayerShape { window: s.then_some(window), rope: Some(rope) }).collect())
    }
}

/// Reads one rope; `theta` is used where it has none of its own.
pub(super) fn parse_rope(value: &Value, head: usize, theta: f64) -> Read<Rope> {
    let fields = Fields(value);
    let theta = fields.number("rope_theta").unwrap_or(theta);
    let need = |name: &str| fields.number(name).ok_or_else(|| format!("no number `{name}` in the rope"));
    let turned = turned(head, fields.number("partial_rotary_factor"));
    let kind = fields.text("rope_type").or_else(|_| fields.text("type")).unwrap_or("default".into());
    let scaling = match kind.as_str() {
        "default" => RopeScaling::None,
        "linear" => RopeScaling::Linear { factor: need("factor")? },
        "llama3" => RopeScaling::Llama3 {
            factor: need("factor")?,
            low: need("low_freq_factor")?,
            high: need("high_freq_factor")?,
            context: need("original_max_position_embeddings")?,
        },
        other => return Err(format!("rope scaling `{other}` cannot be computed by xd")),
    };
    Ok(Rope { theta, turned, scaling })
}

/// How many coordinates of a head are turned, for a share of them.
pub(super) fn turned(head: usize, share: Option<f64>) -> usize {
    share.map_or(head, |share| (head as f64 * share) as usize)
}
