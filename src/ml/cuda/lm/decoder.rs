//! A decoder on a GPU.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{DType, Device, Tensor};

use super::layer::{Attend, Layer};
use super::logits::GpuLogits;
use super::room::Room;
use super::values::{Format, Values};
use super::weights::{Matrix, Norm};
use crate::ml::cuda::Gpu;
use crate::ml::cuda::launch::{blocks, launch};
use crate::ml::lm::{
    DecoderConfig, Dtype, Held, LanguageModel, Logits, Pace, Residual, Rope, RopeTable, Site, Weights,
};
use crate::ml::{Error, Result};

/// What a card is given at a time: enough tokens that its products are large, and 1 GiB of logits. Passes go one after the other.
pub(crate) const PACE: Pace = Pace { tokens: 8192, logits: 1 << 28, side_by_side: false };

/// A causal language model on a GPU; its forward pass is that of [`crate::ml::lm::Decoder`], in the same formats.
pub struct GpuDecoder {
    gpu: Arc<dyn Gpu>,
    config: DecoderConfig,
    dtype: Dtype,
    format: Format,
    embedding: Matrix,
    positions: Option<Matrix>,
    layers: Vec<Layer>,
    norm: Norm,
    /// `None` where the embedding is the head.
    head: Option<Matrix>,
    /// Angles and pairs of every way in which layers turn queries and keys.
    tables: Vec<(RopeTable, usize)>,
    /// Of passes that are over. The lock is never held while the GPU works.
    rooms: Mutex<Vec<Room>>,
    blocks: AtomicU64,
}

impl GpuDecoder {
    /// Loads `config.json` and the weights of a folder, or both out of a GGUF file, to compute in `dtype`.
    ///
    /// # Errors
    /// As [`GpuDecoder::new`], and when a file is missing or broken.
    pub fn open(gpu: &Arc<dyn Gpu>, folder: impl AsRef<Path>, dtype: Dtype) -> Result<Self> {
        let folder = folder.as_ref();
        let config = DecoderConfig::load(folder)?;
        let weights = Weights::load(folder, &config, dtype)?;
        Self::new(gpu, config, &weights)
    }

    /// Copies the parts it needs to the GPU. Without a head the embedding is the head.
    ///
    /// # Errors
    /// When the GPU's memory is full, a part is missing, or heads are wider than the kernels'.
    pub fn new(gpu: &Arc<dyn Gpu>, config: DecoderConfig, weights: &Weights) -> Result<Self> {
        let (v, d) = (config.vocabulary, config.width);
        let config = DecoderConfig { tied: weights.tied(), ..config };
        let dtype = weights.dtype();
        let format = Format::of(dtype, &**gpu);
        let Some(attend) = Attend::of(config.attention.head, format) else {
            let (head, widest) = (config.attention.head, Attend::widest());
            let problem = format!(
                "heads of {head} numbers, but attention on a GPU has up to {widest}; without `--device` the model runs on the CPU"
            );
            return Err(Error::invalid("load model", problem));
        };
        let mut ropes: Vec<Rope> = Vec::new();
        let mut layers = Vec::with_capacity(config.layers.len());
        for (l, layer) in config.layers.iter().enumerate() {
            let turned = layer.rope.map(|rope| {
                let table = ropes.iter().position(|known| *known == rope).unwrap_or_else(|| {
                    ropes.push(rope);
                    ropes.len() - 1
                });
                (table, rope.pairs())
            });
            layers.push(Layer::new(gpu, &config, l, weights, turned, attend)?);
        }
        let head = if config.tied { None } else { Some(Matrix::new(gpu, weights, "head.weight", v, d)?) };
        let positions = config.positions.map(|rows| Matrix::new(gpu, weights, "positions.weight", rows, d));
        Ok(GpuDecoder {
            embedding: Matrix::new(gpu, weights, "embedding.weight", v, d)?,
            positions: positions.transpose()?,
            layers,
            norm: Norm::new(gpu, weights, "norm", config.norm, d)?,
            head,
            tables: ropes.into_iter().map(|rope| (RopeTable::new(rope, dtype), rope.pairs())).collect(),
            rooms: Mutex::default(),
            blocks: AtomicU64::new(0),
            gpu: gpu.clone(),
            dtype,
            format,
            config,
        })
    }

    /// Blocks run since it was loaded, whole or in part.
    pub fn blocks_run(&self) -> u64 {
        self.blocks.load(Ordering::Relaxed)
    }

    /// Calls `work` with room that no other pass uses.
    fn with_room<R>(&self, work: impl FnOnce(&mut Room) -> Result<R>) -> Result<R> {
        let kept = self.rooms.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut room = kept.unwrap_or_else(|| Room::new(&self.gpu, self.format, self.tables.len()));
        let result = work(&mut room)?;
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner).push(room);
        Ok(result)
    }

    /// The stream before block 0 into the room; T.
    fn embed(&self, ids: &Tensor, room: &mut Room) -> Result<usize> {
        let (batch, tokens) = ids.dims2()?;
        let ids: Vec<u32> = ids.to_dtype(DType::U32)?.flatten_all()?.to_vec1()?;
        let top = ids.iter().max().map_or(0, |top| *top as usize);
        if ids.is_empty() || top >= self.config.vocabulary {
            let problem = format!(
                "token id {top} of {batch} x {tokens}, but the model has {} embeddings",
                self.config.vocabulary
            );
            return Err(Error::invalid("embed", problem));
        }
        if let Some(rows) = self.config.positions.filter(|rows| tokens > *rows) {
            let problem = format!("a sequence of {tokens} tokens, but the model has learned {rows} positions");
            return Err(Error::invalid("embed", problem));
        }
        room.turn_to(&self.tables, tokens)?;
        room.ids.set(&ids)?;
        let width = self.config.width;
        room.stream.resize(ids.len() * width)?;
        let (table, positions) = (&self.embedding, self.positions.as_ref());
        launch!(
            &self.gpu,
            "embed",
            [ids.len() as u32, blocks(width)],
            &room.ids,
            table.wide(),
            table.narrow(),
            self.dtype.number(self.config.embedding_scale),
            positions.and_then(Matrix::wide),
            positions.and_then(Matrix::narrow),
            tokens,
            width,
            self.format,
            &room.stream,
        )?;
        Ok(tokens)
    }

    /// out = a + b.
    fn add(&self, a: &Values, b: &Values, out: &Values) -> Result<()> {
        launch!(&self.gpu, "add_streams", [blocks(a.len()), 1], a, b, a.len() as u64, self.format, out)
    }

    fn attention(&self, l: usize, tokens: usize, room: &mut Room) -> Result<()> {
        self.blocks.fetch_add(1, Ordering::Relaxed);
        self.layers[l].attention(&self.gpu, tokens, room)
    }

    fn mlp(&self, l: usize, room: &mut Room) -> Result<()> {
        self.layers[l].mlp(&self.gpu, room)
    }

    /// The stream in the room becomes the one after block l.
    fn block(&self, l: usize, tokens: usize, room: &mut Room) -> Result<()> {
        self.attention(l, tokens, room)?;
        match self.config.residual {
            Residual::Sequential => {
                self.add(&room.stream, &room.attention, &room.stream)?;
                self.mlp(l, room)?;
                self.add(&room.stream, &room.mlp, &room.stream)
            }
            Residual::Parallel => {
                self.mlp(l, room)?;
                self.add(&room.mlp, &room.attention, &room.mlp)?;
                self.add(&room.mlp, &room.stream, &room.stream)
            }
        }
    }

    /// Runs up to a site: what stands there, and what the block adds it to (where `beside`), `[B, T, d]` each.
    fn reach(&self, ids: &Tensor, layer: usize, site: Site, beside: bool) -> Result<(Tensor, Vec<Tensor>)> {
        self.check_layer(layer)?;
        let (batch, tokens) = ids.dims2()?;
        let get = |values: &Values| -> Result<Tensor> {
            Ok(Tensor::from_vec(values.get()?, (batch, tokens, self.config.width), &Device::Cpu)?)
        };
        let all = |values: &[&Values]| -> Result<Vec<Tensor>> {
            if beside { values.iter().map(|values| get(values)).collect() } else { Ok(Vec::new()) }
        };
        self.with_room(|room| {
            self.embed(ids, room)?;
            for l in 0..layer {
                self.block(l, tokens, room)?;
            }
            match (site, self.config.residual) {
                (Site::ResidualPre, _) => Ok((get(&room.stream)?, Vec::new())),
                (Site::ResidualPost, _) => {
                    self.block(layer, tokens, room)?;
                    Ok((get(&room.stream)?, Vec::new()))
                }
                (Site::AttnOut, Residual::Sequential) => {
                    self.attention(layer, tokens, room)?;
                    Ok((get(&room.attention)?, all(&[&room.stream])?))
                }
                (Site::MlpOut, Residual::Sequential) => {
                    self.attention(layer, tokens, room)?;
                    self.add(&room.stream, &room.attention, &room.stream)?;
                    self.mlp(layer, room)?;
                    Ok((get(&room.mlp)?, all(&[&room.stream])?))
                }
                (Site::AttnOut, Residual::Parallel) => {
                    self.attention(layer, tokens, room)?;
                    if beside {
                        self.mlp(layer, room)?;
                    }
                    Ok((get(&room.attention)?, all(&[&room.mlp, &room.stream])?))
                }
                (Site::MlpOut, Residual::Parallel) => {
                    match beside {
                        true => self.attention(layer, tokens, room)?,
                        false => _ = self.blocks.fetch_add(1, Ordering::Relaxed),
                    }
                    self.mlp(layer, room)?;
                    Ok((get(&room.mlp)?, all(&[&room.attention, &room.stream])?))
                }
            }
        })
    }

    /// The stream after the last block into the room, with values in the held place: as [`crate::ml::lm::Decoder::go_on`].
    fn go_on(&self, held: &Held, values: &Tensor, room: &mut Room) -> Result<()> {
        let (_, tokens, runs) = held.fits(values)?;
        let (layer, site) = held.place();
        let upload =
            |tensor: &Tensor, to: &mut Values| -> Result<()> { to.set(&tensor.flatten_all()?.to_vec1::<f32>()?) };
        let repeat = |tensor: &Tensor, to: &mut Values| upload(&tensor.repeat((runs, 1, 1))?, to);
        room.turn_to(&self.tables, tokens)?;
        upload(values, &mut room.values)?;
        room.stream.resize(room.values.len())?;
        match (site, held.aside()) {
            (Site::AttnOut, [h]) => {
                repeat(h, &mut room.stream)?;
                self.add(&room.stream, &room.values, &room.stream)?;
                self.mlp(layer, room)?;
                self.add(&room.stream, &room.mlp, &room.stream)?;
            }
            (Site::MlpOut, [h]) => {
                repeat(h, &mut room.stream)?;
                self.add(&room.stream, &room.values, &room.stream)?;
            }
            (Site::AttnOut | Site::MlpOut, [first, h]) => {
                repeat(first, &mut room.mlp)?;
                repeat(h, &mut room.stream)?;
                self.add(&room.mlp, &room.values, &room.mlp)?;
                self.add(&room.mlp, &room.stream, &room.stream)?;
            }
            _ => std::mem::swap(&mut room.stream, &mut room.values),
        }
        let next = if site == Site::ResidualPre { layer } else { layer + 1 };
        for l in next..self.layers.len() {
            self.block(l, tokens, room)?;
        }
        Ok(())
    }
}

impl LanguageModel for GpuDecoder {
    fn config(&self) -> &DecoderConfig {
        &self.config
    }

    fn pace(&self) -> Pace {
        PACE
    }

    fn residual(&self, ids: &Tensor, layer: usize, site: Site) -> Result<Tensor> {
        Ok(self.reach(ids, layer, site, false)?.0)
    }

    fn hold(&self, ids: &Tensor, layer: usize, site: Site) -> Result<Held> {
        let (value, aside) = self.reach(ids, layer, site, true)?;
        Ok(Held::new(layer, site, value, aside))
    }

    fn read_on(&self, held: &Held, values: &Tensor, positions: &[usize]) -> Result<Tensor> {
        let (sequences, tokens, width) = values.dims3()?;
        if let Some(position) = positions.iter().find(|position| **position >= tokens) {
            return Err(Error::invalid("read on", format!("position {position} of {tokens}")));
        }
        let rows: Vec<u32> = (0..sequences)
            .flat_map(|sequence| positions.iter().map(move |position| (sequence * tokens + position) as u32))
            .collect();
        self.with_room(|room| {
            self.go_on(held, values, room)?;
            room.rows.set(&rows)?;
            room.values.resize(rows.len() * width)?;
            let grid = [rows.len() as u32, blocks(width)];
            launch!(&self.gpu, "take_rows", grid, &room.stream, &room.rows, width, self.format, &room.values)?;
            self.norm.replace(&self.gpu, &mut room.values)?;
            Ok(Tensor::from_vec(room.values.get()?, (rows.len(), width), &Device::Cpu)?)
        })
    }

    fn logits_of(&self, rows: &Tensor) -> Result<Logits> {
        let rows: Vec<f32> = rows.flatten_all()?.to_vec1()?;
        let mut values = Values::empty(&self.gpu, self.format.wide());
        self.with_room(|room| {
            room.values.set(&rows)?;
            let head = self.head.as_ref().unwrap_or(&self.embedding);
            head.apply(&self.gpu, &room.values, None, &mut room.scratch, &mut values)
        })?;
        if let Some(cap) = self.config.logit_cap {
            let count = values.len();
            launch!(&self.gpu, "cap_values", [blocks(count), 1], &values, count as u64, cap, values.format())?;
        }
        Ok(Logits::Gpu(GpuLogits {
            gpu: self.gpu.clone(),
            values: values.into_wide(),
            vocabulary: self.config.vocabulary,
        }))
    }
}
