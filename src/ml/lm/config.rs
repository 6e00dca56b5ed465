//! What a decoder looks like.

use std::path::Path;

use serde_json::Value;

use super::families;
use super::{Activation, Rope, RopeScaling};
use crate::ml::{Error, Result};

/// A family of decoders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    Gemma2,
    Gemma3,
    Llama,
}

/// What one layer's attention does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LayerShape {
    /// A token sees itself and the window - 1 tokens before it; `None` sees all.
    pub window: Option<usize>,
    pub rope: Rope,
}

/// Shapes and constants of a decoder; d is `width`.
#[derive(Clone, Debug, PartialEq)]
pub struct DecoderConfig {
    pub family: Family,
    /// Rows of the embedding, V.
    pub vocabulary: usize,
    /// d.
    pub width: usize,
    pub heads: usize,
    pub kv_heads: usize,
    /// Width of one head.
    pub head: usize,
    /// Width of the MLP's middle.
    pub inner: usize,
    /// One a layer.
    pub layers: Vec<LayerShape>,
    /// Within the square root of the norms.
    pub epsilon: f32,
    /// Norms multiply by (w + offset); Gemma's is 1.
    pub norm_offset: f32,
    /// Norms on what attention and MLP add to the stream, too.
    pub post_norms: bool,
    /// Norms on queries and keys.
    pub head_norms: bool,
    pub activation: Activation,
    /// Embeddings are multiplied by this.
    pub embedding_scale: f32,
    /// Attention scores are multiplied by this.
    pub attention_scale: f32,
    pub attention_cap: Option<f32>,
    pub logit_cap: Option<f32>,
    /// The embedding is also the head.
    pub tied: bool,
    /// Longest context it was made for.
    pub context: usize,
}

impl DecoderConfig {
    /// Reads `config.json` of a model folder.
    pub fn load(folder: impl AsRef<Path>) -> Result<Self> {
        let path = folder.as_ref().join("config.json");
        let text = std::fs::read_to_string(&path).map_err(|e| Error::file(&path, e))?;
        let value: Value = serde_json::from_str(&text)
            .map_err(|e| Error::invalid("load model", format!("{}: {e}", path.display())))?;
        Self::parse(&value).map_err(|problem| Error::invalid("load model", format!("{}: {problem}", path.display())))
    }

    /// Reads the published configuration, in the old style (`rope_theta`, `rope_scaling`) and the new one (`rope_parameters`).
    pub fn parse(value: &Value) -> std::result::Result<Self, String> {
        let fields = Fields(value);
        let config = match fields.text("model_type")?.as_str() {
            "gemma2" => families::gemma2(&fields)?,
            "gemma3_text" => families::gemma3(&fields)?,
            "llama" => families::llama(&fields)?,
            other => {
                return Err(format!(
                    "models of type `{other}` are not built yet; there is gemma2, gemma3_text and llama"
                ));
            }
        };
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> std::result::Result<(), String> {
        let positive =
            [self.vocabulary, self.width, self.heads, self.kv_heads, self.head, self.inner, self.layers.len()];
        if positive.contains(&0) {
            return Err("a size is 0".into());
        }
        if !self.heads.is_multiple_of(self.kv_heads) {
            return Err(format!("{} heads cannot share {} key heads", self.heads, self.kv_heads));
        }
        match self.head % 2 {
            0 => Ok(()),
            _ => Err(format!("head_dim {} is odd", self.head)),
        }
    }
}

/// Fields of a configuration; absent and `null` are the same.
pub(super) struct Fields<'a>(pub &'a Value);

impl Fields<'_> {
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|v| !v.is_null())
    }

    pub fn text(&self, name: &str) -> std::result::Result<String, String> {
        let value = self.get(name).and_then(Value::as_str);
        value.map(str::to_string).ok_or_else(|| format!("no text `{name}`"))
    }

    pub fn size(&self, name: &str) -> std::result::Result<usize, String> {
        let value = self.get(name).and_then(Value::as_u64);
        value.map(|v| v as usize).ok_or_else(|| format!("no whole number `{name}`"))
    }

    pub fn size_or(&self, name: &str, default: usize) -> std::result::Result<usize, String> {
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
    pub fn refuse(&self, name: &str) -> std::result::Result<(), String> {
        match self.truth(name, false) {
            true => Err(format!("`{name}` is not built yet")),
            false => Ok(()),
        }
    }

    /// The activation, under either of its names.
    pub fn activation(&self, default: &str) -> std::result::Result<Activation, String> {
        let name = self.text("hidden_activation").or_else(|_| self.text("hidden_act")).unwrap_or(default.into());
        match name.as_str() {
            "gelu_pytorch_tanh" => Ok(Activation::GeluTanh),
            "silu" => Ok(Activation::Silu),
            other => Err(format!("the activation `{other}` is not built yet")),
        }
    }

    /// One rope for all layers: `rope_parameters`, else `rope_theta` and `rope_scaling`.
    pub fn rope(&self, default_theta: f64) -> std::result::Result<Rope, String> {
        let theta = self.number("rope_theta").unwrap_or(default_theta);
        match self.get("rope_parameters").or_else(|| self.get("rope_scaling")) {
            Some(value) => parse_rope(value, theta),
            None => Ok(Rope::plain(theta)),
        }
    }

    /// True where the layer looks through a sliding window: `layer_types`, else `rule(layer)`.
    pub fn sliding(&self, layers: usize, rule: impl Fn(usize) -> bool) -> std::result::Result<Vec<bool>, String> {
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
                _ => Err(format!("the layer type {t} is not built yet")),
            })
            .collect()
    }
}

/// Reads one rope; `theta` is used where it has none of its own.
pub(super) fn parse_rope(value: &Value, theta: f64) -> std::result::Result<Rope, String> {
    let fields = Fields(value);
    let theta = fields.number("rope_theta").unwrap_or(theta);
    let need = |name: &str| fields.number(name).ok_or_else(|| format!("no number `{name}` in the rope"));
    if fields.number("partial_rotary_factor").is_some_and(|f| f != 1.0) {
        return Err("`partial_rotary_factor` is not built yet".into());
    }
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
        other => return Err(format!("rope scaling `{other}` is not built yet")),
    };
    Ok(Rope { theta, scaling })
}
