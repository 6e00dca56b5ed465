//! What a decoder looks like.

use std::path::Path;

use serde_json::Value;

use super::fields::Fields;
use super::{Activation, Family, Rope};
use crate::gguf::GgufFile;
use crate::ml::{Error, Result};

/// What one layer's attention sees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LayerShape {
    /// A token sees itself and the window - 1 tokens before it; `None` sees all.
    pub window: Option<usize>,
    /// How positions turn queries and keys; `None` where they are learned.
    pub rope: Option<Rope>,
}

/// Attention of every layer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AttentionShape {
    pub heads: usize,
    /// Heads of keys and values; each serves heads / kv_heads queries.
    pub kv_heads: usize,
    /// Width of one head, n.
    pub head: usize,
    /// Scores are multiplied by this.
    pub scale: f32,
    /// Scores become cap * tanh(score / cap).
    pub cap: Option<f32>,
    /// Norms on every head's queries and keys.
    pub head_norms: bool,
    pub qkv_bias: bool,
    pub out_bias: bool,
}

/// MLP of every layer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MlpShape {
    /// Width of its middle.
    pub inner: usize,
    /// down(act(gate(x)) * up(x)) instead of down(act(up(x))).
    pub gated: bool,
    pub activation: Activation,
    pub bias: bool,
}

/// What all norms compute.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum NormShape {
    /// x / sqrt(mean(x^2) + epsilon) * (w + offset); Gemma's offset is 1.
    Rms { epsilon: f32, offset: f32 },
    /// (x - mean) / sqrt(variance + epsilon) * w + b.
    Layer { epsilon: f32 },
}

impl NormShape {
    /// Layer norms have one.
    pub fn has_bias(self) -> bool {
        matches!(self, NormShape::Layer { .. })
    }
}

/// How attention and MLP join the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Residual {
    /// h += attention(norm(h)), then h += mlp(norm(h)).
    Sequential,
    /// h += attention(norm1(h)) + mlp(norm2(h)), both from the stream before the block.
    Parallel,
}

/// Shapes and constants of a decoder; d is `width`.
#[derive(Clone, Debug, PartialEq)]
pub struct DecoderConfig {
    pub family: Family,
    /// Rows of the embedding, V.
    pub vocabulary: usize,
    /// d.
    pub width: usize,
    /// One a layer.
    pub layers: Vec<LayerShape>,
    pub attention: AttentionShape,
    pub mlp: MlpShape,
    pub norm: NormShape,
    /// Norms on what attention and MLP add to the stream, too.
    pub post_norms: bool,
    pub residual: Residual,
    /// Rows of the learned positions, which are added to the embeddings; `None` where positions turn queries and keys.
    pub positions: Option<usize>,
    /// Embeddings are multiplied by this.
    pub embedding_scale: f32,
    /// Logits become cap * tanh(logit / cap).
    pub logit_cap: Option<f32>,
    /// The embedding is also the head.
    pub tied: bool,
    /// Longest context it was made for.
    pub context: usize,
}

impl DecoderConfig {
    /// Reads `config.json` of a model folder, or the metadata of a GGUF file.
    ///
    /// # Errors
    /// When it cannot be read, its `model_type` is of no family here, or it asks for something that cannot be computed.
    pub fn load(folder: impl AsRef<Path>) -> Result<Self> {
        let folder = folder.as_ref();
        if GgufFile::is(folder) {
            let value = super::gguf::config(&super::gguf::open(folder)?)?;
            let wrong = |problem| Error::invalid("load model", format!("{}: {problem}", folder.display()));
            return Self::parse(&value).map_err(wrong);
        }
        let path = folder.join("config.json");
        let text = std::fs::read_to_string(&path).map_err(|e| Error::file(&path, e))?;
        let value: Value = serde_json::from_str(&text)
            .map_err(|e| Error::invalid("load model", format!("{}: {e}", path.display())))?;
        Self::parse(&value).map_err(|problem| Error::invalid("load model", format!("{}: {problem}", path.display())))
    }

    /// Reads the published configuration, in the old style (`rope_theta`, `rope_scaling`) and the new one (`rope_parameters`).
    ///
    /// # Errors
    /// A sentence, when it names an unknown `model_type`, lacks a field, or asks for something that cannot be computed.
    pub fn parse(value: &Value) -> std::result::Result<Self, String> {
        let name = Fields(value).text("model_type")?;
        let family = Family::of(&name).ok_or_else(|| {
            format!("models of type `{name}` are not known; there is {}", Family::model_types().join(", "))
        })?;
        let config = family.config(value)?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> std::result::Result<(), String> {
        let attention = &self.attention;
        let sizes = [self.vocabulary, self.width, attention.heads, attention.kv_heads, attention.head, self.mlp.inner];
        if sizes.contains(&0) || self.layers.is_empty() {
            return Err("a size is 0".into());
        }
        if !attention.heads.is_multiple_of(attention.kv_heads) {
            return Err(format!("{} heads cannot share {} key heads", attention.heads, attention.kv_heads));
        }
        for rope in self.layers.iter().filter_map(|l| l.rope) {
            if rope.pairs() == 0 || 2 * rope.pairs() > attention.head {
                return Err(format!("{} coordinates of a head of {} cannot be turned", rope.turned, attention.head));
            }
        }
        match self.layers.iter().any(|l| l.window == Some(0)) {
            true => Err("a sliding window of 0 tokens sees nothing".into()),
            false => Ok(()),
        }
    }
}
