//! The decoder: one for all families.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use candle_core::{DType, Device, Tensor};

use super::continuation::Memory;
use super::layer::Layer;
use super::linear::Linear;
use super::norm::Norm;
use super::ops::{add, soft_cap};
use super::parts::parts;
use super::rope::RopeTable;
use super::{DecoderConfig, Dtype, Residual, Site, Weights};
use crate::ml::{Error, Result};

/// Sees the stream `[B, T, d]` at a site of a layer; what it returns takes its place.
pub type Hook<'a> = dyn FnMut(usize, Site, &Tensor) -> Result<Option<Tensor>> + 'a;

/// A causal language model on the CPU. Token ids are `[B, T]` (u32), the stream is `[B, T, d]`, logits are `[B, T, V]`, both in f32
/// (with [`Dtype::Bf16`] their values are those of bf16).
///
/// Attention is causal and there is no padding mask: what stands to the right of a token never reaches it, so shorter
/// sequences of a batch may be filled up with any id.
pub struct Decoder {
    config: DecoderConfig,
    dtype: Dtype,
    embedding: Tensor,
    positions: Option<Tensor>,
    layers: Vec<Layer>,
    norm: Norm,
    head: Linear,
    /// One a layer; `None` with learned positions.
    ropes: Vec<Option<RopeTable>>,
    blocks: AtomicU64,
}

impl Decoder {
    /// Loads `config.json` and the weights of a folder, or both out of a GGUF file, to compute in f32.
    pub fn load(folder: impl AsRef<Path>) -> Result<Self> {
        Self::open(folder, Dtype::F32)
    }

    /// Loads `config.json` and the weights of a folder, to compute in `dtype`.
    pub fn open(folder: impl AsRef<Path>, dtype: Dtype) -> Result<Self> {
        let folder = folder.as_ref();
        let config = DecoderConfig::load(folder)?;
        let weights = Weights::load(folder, &config, dtype)?;
        Self::new(config, &weights)
    }

    /// Takes the parts it needs; they are shared, not copied. Without a head the embedding is the head.
    pub fn new(config: DecoderConfig, weights: &Weights) -> Result<Self> {
        let (v, d) = (config.vocabulary, config.width);
        let config = DecoderConfig { tied: weights.tied(), ..config };
        let dtype = weights.dtype();
        let layers: Result<Vec<Layer>> = (0..config.layers.len()).map(|l| Layer::new(&config, l, weights)).collect();
        let embedding = weights.get("embedding.weight", &[v, d])?;
        Ok(Self {
            positions: config.positions.map(|rows| weights.get("positions.weight", &[rows, d])).transpose()?,
            layers: layers?,
            norm: Norm::new(weights, "norm", config.norm, d)?,
            head: if config.tied { Linear::tied(&embedding) } else { Linear::new(weights, "head", v, d, false)? },
            ropes: config.layers.iter().map(|l| l.rope.map(|rope| RopeTable::new(rope, dtype))).collect(),
            blocks: AtomicU64::new(0),
            embedding,
            dtype,
            config,
        })
    }

    /// Names and shapes of all parts of a configuration.
    pub fn shapes(config: &DecoderConfig) -> Vec<(String, Vec<usize>)> {
        parts(config)
    }

    /// Shapes and constants.
    pub fn config(&self) -> &DecoderConfig {
        &self.config
    }

    /// What it computes with.
    pub fn dtype(&self) -> Dtype {
        self.dtype
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
        self.embed_from(ids, 0)
    }

    /// The same for tokens that stand after `first` others.
    fn embed_from(&self, ids: &Tensor, first: usize) -> Result<Tensor> {
        let (batch, tokens) = ids.dims2()?;
        let ids = ids.to_dtype(DType::U32)?.flatten_all()?;
        let top = ids.max(0)?.to_scalar::<u32>()? as usize;
        if top >= self.config.vocabulary {
            let problem = format!("token id {top}, but the model has {} embeddings", self.config.vocabulary);
            return Err(Error::invalid("embed", problem));
        }
        let h = self.embedding.index_select(&ids, 0)?.to_dtype(DType::F32)?;
        let scale = self.dtype.number(self.config.embedding_scale);
        let h = if scale == 1.0 { h } else { self.dtype.round((h * f64::from(scale))?)? };
        let h = h.reshape((batch, tokens, self.config.width))?;
        match &self.positions {
            Some(positions) => self.add_positions(&h, positions, first, tokens),
            None => Ok(h),
        }
    }

    fn add_positions(&self, h: &Tensor, positions: &Tensor, first: usize, tokens: usize) -> Result<Tensor> {
        let rows = positions.dim(0)?;
        if first + tokens > rows {
            let all = first + tokens;
            let problem = format!("a sequence of {all} tokens, but the model has learned {rows} positions");
            return Err(Error::invalid("embed", problem));
        }
        self.dtype.round(h.broadcast_add(&positions.narrow(0, first, tokens)?.to_dtype(DType::F32)?)?)
    }

    /// The stream after block `l`, given the stream before it.
    pub fn block(&self, l: usize, h: &Tensor) -> Result<Tensor> {
        self.hooked_block(l, h.clone(), &mut |_, _, _| Ok(None))
    }

    /// Logits of all positions, given the stream after the last block.
    pub fn unembed(&self, h: &Tensor) -> Result<Tensor> {
        let (batch, tokens, _) = h.dims3()?;
        let logits = self.row_logits(&self.before_head(h)?)?;
        Ok(logits.reshape((batch, tokens, self.config.vocabulary))?)
    }

    /// Logits `[N, V]` of rows `[N, d]` that the head reads.
    pub(super) fn row_logits(&self, rows: &Tensor) -> Result<Tensor> {
        let logits = self.head.forward(rows)?;
        Ok(match self.config.logit_cap {
            Some(cap) => self.dtype.round(soft_cap(&logits, cap)?)?,
            None => logits,
        })
    }

    /// The stream after the last block as the head sees it: normed, `[B * T, d]`.
    pub(super) fn before_head(&self, h: &Tensor) -> Result<Tensor> {
        let (batch, tokens, width) = h.dims3()?;
        self.norm.forward(&h.reshape((batch * tokens, width))?)
    }

    /// The head's weights `[V, d]`.
    pub(super) fn head(&self) -> &Tensor {
        self.head.weight()
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
        self.check_layer(layer)?;
        let mut h = self.embed(ids)?;
        for l in 0..layer {
            h = self.block(l, &h)?;
        }
        match site {
            Site::ResidualPre => Ok(h),
            Site::ResidualPost => self.block(layer, &h),
            Site::AttnOut => self.attention(layer, &h),
            Site::MlpOut => match self.config.residual {
                Residual::Sequential => self.mlp(layer, &self.add(&h, &self.attention(layer, &h)?)?),
                Residual::Parallel => {
                    self.count();
                    self.mlp(layer, &h)
                }
            },
        }
    }

    /// Errors: there is no such layer.
    pub fn check_layer(&self, layer: usize) -> Result<()> {
        if layer >= self.layers.len() {
            let problem = format!("layer {layer}, but the model has layers 0 to {}", self.layers.len() - 1);
            return Err(Error::invalid("residual", problem));
        }
        Ok(())
    }

    /// Logits, given the stream before block `layer`; `layer` = number of layers is [`Decoder::unembed`].
    pub fn resume(&self, layer: usize, h: &Tensor) -> Result<Tensor> {
        let mut h = h.clone();
        for l in layer..self.layers.len() {
            h = self.block(l, &h)?;
        }
        self.unembed(&h)
    }

    /// The stream after the last block of tokens `[B, T]` that stand after `first` others, which the memories hold.
    pub(super) fn continued(
        &self,
        ids: &Tensor,
        first: usize,
        memories: &mut [Memory],
        hook: &mut Hook,
    ) -> Result<Tensor> {
        let mut h = self.embed_from(ids, first)?;
        for (l, memory) in memories.iter_mut().enumerate() {
            h = self.block_with(l, h, hook, &mut |h| self.remembering(l, h, first, Some(&mut *memory)))?;
        }
        Ok(h)
    }

    fn hooked_block(&self, l: usize, h: Tensor, hook: &mut Hook) -> Result<Tensor> {
        self.block_with(l, h, hook, &mut |h| self.attention(l, h))
    }

    fn block_with(
        &self,
        l: usize,
        h: Tensor,
        hook: &mut Hook,
        attention: &mut dyn FnMut(&Tensor) -> Result<Tensor>,
    ) -> Result<Tensor> {
        let mut tap = |site: Site, h: Tensor| -> Result<Tensor> { Ok(hook(l, site, &h)?.unwrap_or(h)) };
        let h = tap(Site::ResidualPre, h)?;
        let attention = tap(Site::AttnOut, attention(&h)?)?;
        let h = match self.config.residual {
            Residual::Sequential => {
                let h = self.add(&h, &attention)?;
                self.add(&h, &tap(Site::MlpOut, self.mlp(l, &h)?)?)?
            }
            Residual::Parallel => {
                let mlp = tap(Site::MlpOut, self.mlp(l, &h)?)?;
                self.add(&self.add(&mlp, &attention)?, &h)?
            }
        };
        tap(Site::ResidualPost, h)
    }

    pub(super) fn add(&self, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        self.dtype.round(add(a, b)?)
    }

    fn count(&self) {
        self.blocks.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn attention(&self, l: usize, h: &Tensor) -> Result<Tensor> {
        self.remembering(l, h, 0, None)
    }

    /// What attention adds to tokens that stand after `first` others; those that do are one a sequence.
    fn remembering(&self, l: usize, h: &Tensor, first: usize, memory: Option<&mut Memory>) -> Result<Tensor> {
        self.count();
        let (batch, tokens, width) = h.dims3()?;
        let angles = self.ropes[l].as_ref().map(|rope| if first == 0 { rope.angles(tokens) } else { rope.at(first) });
        let out = self.layers[l].attention(&h.reshape((batch * tokens, width))?, tokens, angles.as_ref(), memory)?;
        Ok(out.reshape((batch, tokens, width))?)
    }

    pub(super) fn mlp(&self, l: usize, h: &Tensor) -> Result<Tensor> {
        let (batch, tokens, width) = h.dims3()?;
        Ok(self.layers[l].mlp(&h.reshape((batch * tokens, width))?)?.reshape((batch, tokens, width))?)
    }
}
