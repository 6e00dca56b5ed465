//! The decoder: one for all families.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use candle_core::{DType, Device, Tensor};

use super::layer::{self, Layer, linear};
use super::ops::{rms_norm, soft_cap};
use super::rope::RopeTable;
use super::{DecoderConfig, Site, Weights};
use crate::ml::{Error, Result};

/// Sees the stream `[B, T, d]` at a site of a layer; what it returns takes its place.
pub type Hook<'a> = dyn FnMut(usize, Site, &Tensor) -> Result<Option<Tensor>> + 'a;

/// A causal language model on the CPU, in f32. Token ids are `[B, T]` (u32), the stream is `[B, T, d]`, logits are `[B, T, V]`.
///
/// Attention is causal and there is no padding mask: what stands to the right of a token never reaches it, so shorter
/// sequences of a batch may be filled up with any id.
pub struct Decoder {
    config: DecoderConfig,
    embedding: Tensor,
    layers: Vec<Layer>,
    norm: Tensor,
    head: Option<Tensor>,
    ropes: Vec<RopeTable>,
    blocks: AtomicU64,
}

impl Decoder {
    /// Loads `config.json` and the weights of a folder.
    pub fn load(folder: impl AsRef<Path>) -> Result<Self> {
        let folder = folder.as_ref();
        let config = DecoderConfig::load(folder)?;
        Self::new(config, &Weights::load(folder)?)
    }

    /// Takes the weights it needs, by their published names; they are shared, not copied.
    pub fn new(config: DecoderConfig, weights: &Weights) -> Result<Self> {
        let (v, d) = (config.vocabulary, config.width);
        let layers: Result<Vec<Layer>> = (0..config.layers.len()).map(|l| Layer::new(&config, l, weights)).collect();
        let ropes = config.layers.iter().map(|l| RopeTable::new(l.rope, config.head)).collect();
        Ok(Self {
            embedding: weights.get("model.embed_tokens.weight", &[v, d])?,
            layers: layers?,
            norm: weights.get("model.norm.weight", &[d])?,
            head: if config.tied { None } else { Some(weights.get("lm_head.weight", &[v, d])?) },
            ropes,
            blocks: AtomicU64::new(0),
            config,
        })
    }

    /// Names and shapes of all weights of a configuration.
    pub fn shapes(config: &DecoderConfig) -> Vec<(String, Vec<usize>)> {
        let (v, d) = (config.vocabulary, config.width);
        let mut shapes = vec![("model.embed_tokens.weight".to_string(), vec![v, d])];
        shapes.extend((0..config.layers.len()).flat_map(|l| layer::shapes(config, l)));
        shapes.push(("model.norm.weight".to_string(), vec![d]));
        if !config.tied {
            shapes.push(("lm_head.weight".to_string(), vec![v, d]));
        }
        shapes
    }

    /// Shapes and constants.
    pub fn config(&self) -> &DecoderConfig {
        &self.config
    }

    /// d.
    pub fn width(&self) -> usize {
        self.config.width
    }

    /// Number of blocks.
    pub fn layers(&self) -> usize {
        self.layers.len()
    }

    /// Rows of the embedding, V.
    pub fn vocabulary(&self) -> usize {
        self.config.vocabulary
    }

    /// Blocks run since it was loaded, whole or in part.
    pub fn blocks_run(&self) -> u64 {
        self.blocks.load(Ordering::Relaxed)
    }

    /// Ids as the tensor `[B, T]`; all sequences must have the same length.
    pub fn batch(&self, sequences: &[&[u32]]) -> Result<Tensor> {
        let tokens = sequences.first().map_or(0, |s| s.len());
        if tokens == 0 || sequences.iter().any(|s| s.len() != tokens) {
            return Err(Error::invalid("batch", "sequences must have the same length, and one token at least"));
        }
        let ids: Vec<u32> = sequences.iter().flat_map(|s| s.iter().copied()).collect();
        Ok(Tensor::from_vec(ids, (sequences.len(), tokens), &Device::Cpu)?)
    }

    /// The stream before block 0; `ids [B, T]`.
    pub fn embed(&self, ids: &Tensor) -> Result<Tensor> {
        let (batch, tokens) = ids.dims2()?;
        let ids = ids.to_dtype(DType::U32)?.flatten_all()?;
        let top = ids.max(0)?.to_scalar::<u32>()? as usize;
        if top >= self.config.vocabulary {
            let problem = format!("token id {top}, but the model has {} embeddings", self.config.vocabulary);
            return Err(Error::invalid("embed", problem));
        }
        let h = self.embedding.index_select(&ids, 0)?;
        let h = if self.config.embedding_scale == 1.0 { h } else { (h * f64::from(self.config.embedding_scale))? };
        Ok(h.reshape((batch, tokens, self.config.width))?)
    }

    /// The stream after block `l`, given the stream before it.
    pub fn block(&self, l: usize, h: &Tensor) -> Result<Tensor> {
        self.hooked_block(l, h.clone(), &mut |_, _, _| Ok(None))
    }

    /// Logits of all positions, given the stream after the last block.
    pub fn unembed(&self, h: &Tensor) -> Result<Tensor> {
        let logits = self.raw_logits(h)?;
        Ok(match self.config.logit_cap {
            Some(cap) => soft_cap(&logits, cap)?,
            None => logits,
        })
    }

    /// Logits before their soft cap.
    pub(super) fn raw_logits(&self, h: &Tensor) -> Result<Tensor> {
        let (batch, tokens, width) = h.dims3()?;
        let flat = h.reshape((batch * tokens, width))?;
        let h = rms_norm(&flat, &self.norm, self.config.epsilon, self.config.norm_offset)?;
        let head = self.head.as_ref().unwrap_or(&self.embedding);
        Ok(linear(&h, head)?.reshape((batch, tokens, self.config.vocabulary))?)
    }

    /// Logits; the hook sees every site of every layer in order and may replace the stream there.
    pub fn run(&self, ids: &Tensor, hook: &mut Hook) -> Result<Tensor> {
        let mut h = self.embed(ids)?;
        for l in 0..self.layers.len() {
            h = self.hooked_block(l, h, hook)?;
        }
        self.unembed(&h)
    }

    /// Logits of plain ids.
    pub fn logits(&self, ids: &Tensor) -> Result<Tensor> {
        self.resume(0, &self.embed(ids)?)
    }

    /// The stream at a site of `layer`, `[B, T, d]`; no block that comes after it is run.
    pub fn residual(&self, ids: &Tensor, layer: usize, site: Site) -> Result<Tensor> {
        if layer >= self.layers.len() {
            let problem = format!("layer {layer}, but the model has layers 0 to {}", self.layers.len() - 1);
            return Err(Error::invalid("residual", problem));
        }
        let mut h = self.embed(ids)?;
        for l in 0..layer {
            h = self.block(l, &h)?;
        }
        match site {
            Site::ResidualPre => Ok(h),
            Site::ResidualPost => self.block(layer, &h),
            Site::AttnOut => self.attention(layer, &h),
            Site::MlpOut => self.mlp(layer, &(&h + self.attention(layer, &h)?)?),
        }
    }

    /// Logits, given the stream before block `layer`; `layer` = number of layers is [`Decoder::unembed`].
    pub fn resume(&self, layer: usize, h: &Tensor) -> Result<Tensor> {
        let mut h = h.clone();
        for l in layer..self.layers.len() {
            h = self.block(l, &h)?;
        }
        self.unembed(&h)
    }

    fn hooked_block(&self, l: usize, h: Tensor, hook: &mut Hook) -> Result<Tensor> {
        let mut tap = |site: Site, h: Tensor| -> Result<Tensor> { Ok(hook(l, site, &h)?.unwrap_or(h)) };
        let h = tap(Site::ResidualPre, h)?;
        let h = (&h + tap(Site::AttnOut, self.attention(l, &h)?)?)?;
        let h = (&h + tap(Site::MlpOut, self.mlp(l, &h)?)?)?;
        tap(Site::ResidualPost, h)
    }

    fn attention(&self, l: usize, h: &Tensor) -> Result<Tensor> {
        self.blocks.fetch_add(1, Ordering::Relaxed);
        let (batch, tokens, width) = h.dims3()?;
        let angles = self.ropes[l].angles(tokens);
        let out = self.layers[l].attention(&self.config, l, &h.reshape((batch * tokens, width))?, tokens, &angles)?;
        Ok(out.reshape((batch, tokens, width))?)
    }

    fn mlp(&self, l: usize, h: &Tensor) -> Result<Tensor> {
        let (batch, tokens, width) = h.dims3()?;
        let out = self.layers[l].mlp(&self.config, &h.reshape((batch * tokens, width))?)?;
        Ok(out.reshape((batch, tokens, width))?)
    }
}
