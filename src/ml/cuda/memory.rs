//! How much of a card's memory a training, a pass of Latent Scaling and a model take at most: every array by its name.
//!
//! B rows of a batch, W numbers of a row (2d, or d of an autoencoder), D latents. What grows with the data, the entries of a code, stands here with
//! its bound. A test runs both with an allocator that counts and holds these numbers against it.

use super::columns::CHUNK_ROWS;
use super::kernels::{BINS, ROW_SUMS, SUMS};
use super::launch::spans;
use super::lm::WIDE;
use super::{scaling, scorer, sums};
use crate::ml::crosscoder::backend::DENSE_SHARE;
use crate::ml::crosscoder::{Activation, Loss, Precision, TrainerConfig, Variant};
use crate::ml::lm::{Decoder, DecoderConfig, Dtype, Rope};
use crate::ml::scaling::bootstrap::GROUPS;

/// What is set aside for the context, the machine code of the kernels, cuBLAS and its workspace: an allowance, not a measurement.
pub const LIBRARIES: u64 = 256 << 20;

/// Bytes of an entry of a code: its latent, value and gradient; and the same of the code turned round.
const ENTRY: usize = 12;

/// Arrays that are in a card's memory at the same time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// What each holds, and its bytes.
    pub arrays: Vec<(&'static str, u64)>,
}

impl Memory {
    /// Bytes in all.
    pub fn bytes(&self) -> u64 {
        self.arrays.iter().map(|(_, bytes)| bytes).sum()
    }

    fn with(mut self, what: &'static str, bytes: usize) -> Self {
        self.arrays.push((what, bytes as u64));
        self
    }

    /// The larger one.
    fn or(self, other: Self) -> Self {
        if other.bytes() > self.bytes() { other } else { self }
    }
}

/// A training at its peak, on rows of width d.
pub fn training(config: &TrainerConfig, width: usize) -> Memory {
    let (rows, latents, row) = (config.train.batch as usize, config.latents, config.variant.row(width));
    let precision = config.train.precision;
    match config.loss {
        Loss::BatchTopK(top) | Loss::TopK(top) => {
            let k = top.anneal.map_or(top.k, |(from, _)| from.max(top.k)) as usize;
            let kept = rows * k.min(latents);
            let auxiliary = if top.aux == 0.0 { 0 } else { rows * (width / 2).min(latents) };
            let memory = shared(config, rows, latents, row)
                .with("code", kept * ENTRY)
                .with("AuxK, code", auxiliary * ENTRY)
                .with("code turned round", (kept + auxiliary) * ENTRY)
                .with("sums of columns", sums::partial(rows, row));
            let memory = match precision {
                Precision::F32 => near(memory, kept.max(auxiliary), rows, latents, row),
                _ => memory.with("operands, rounded", number(precision) * (rows + latents) * row),
            };
            if auxiliary == 0 {
                return memory;
            }
            memory.with("AuxK, upstream", 4 * rows * row).with("AuxK, by row", 8 * rows + 4 * (rows + 1))
        }
        Loss::L1 { .. } => {
            let all = shared(config, rows, latents, row).with("sums of columns", sums::partial(rows, row.max(latents)));
            let entries = (DENSE_SHARE * (rows * latents) as f64) as usize;
            let sparse = all
                .clone()
                .with("code", entries * ENTRY)
                .with("code turned round", entries * ENTRY)
                .with("operands, rounded", number(precision) * (rows + latents) * row);
            let operands = rows * row.max(latents) + row * latents.max(rows);
            let dense = all
                .with("gradients of the weights", 2 * 4 * latents * row)
                .with("gradients of the biases, activity", 2 * 4 * latents)
                .with("who is positive", 4 * rows * latents.div_ceil(32))
                .with("operands, rounded", number(precision) * operands);
            dense.or(sparse)
        }
    }
}

/// Bytes of a rounded number; f32 is not rounded.
fn number(precision: Precision) -> usize {
    match precision {
        Precision::F32 => 0,
        Precision::Tf32 => 4,
        Precision::Bf16 => 2,
    }
}

/// What makes near scores, and scores again what can be among the `wanted` largest.
fn near(memory: Memory, wanted: usize, rows: usize, latents: usize, row: usize) -> Memory {
    memory
        .with("rows and encoder in bf16", 2 * (rows + latents) * row)
        .with("their norms, bounds", 8 * (rows + latents) + 12 * rows)
        .with("who can be among the largest", 4 * rows * latents.div_ceil(32))
        .with("entries scored again", 8 * scorer::scored_again(wanted, rows, rows * latents) + 4 * (2 * rows + 1))
}

/// What every training has.
fn shared(config: &TrainerConfig, rows: usize, latents: usize, both: usize) -> Memory {
    let weights = 4 * (2 * latents * both + latents + both);
    Memory::default()
        .with("weights", weights)
        .with("moments", 2 * weights)
        .with("idle latents, norms", latents * (8 + 8 + 4 + 8 + 4))
        .with("rows, two batches", 2 * 4 * rows * both)
        .with("error, upstream", 2 * 4 * rows * both)
        .with("loss by row", 8 * (2 * rows + rows))
        .with("products", 4 * rows * latents)
        .with("selection", selection(rows))
        .with("offsets of the code", 4 * (rows + 1))
        .with("who fired, who is dead", 4 * (4 * latents + latents + 1))
        .with("AuxK, by latent and column", 4 * latents + 2 * 8 * both)
        .with("counts of the code turned round", turned(rows, latents))
        .with("gradients of the bias, sums", 4 * both + 8 * sums::PLACES + 4)
        .with("sums of the latents' rows", 8 * (1 + ROW_SUMS) * latents * spans(both))
        .with(
            "what an autoencoder reads, flows",
            match config.variant {
                Variant::SharedCode => 0,
                Variant::Sae(_) => 4 * rows * both + 4 * latents + 8 * both,
            },
        )
}

fn selection(rows: usize) -> usize {
    4 * (5 * rows + rows + 1 + BINS + 3 + 1)
}

fn turned(rows: usize, latents: usize) -> usize {
    4 * (rows.div_ceil(CHUNK_ROWS) * latents + latents + latents + 1)
}

/// A pass of Latent Scaling.
#[derive(Clone, Copy, Debug)]
pub struct ScalingSizes {
    /// d and D.
    pub width: usize,
    pub latents: usize,
    /// Latents that are measured.
    pub measured: usize,
    /// With intervals.
    pub by_group: bool,
    /// Of JumpReLU.
    pub thresholds: bool,
    /// Rows in all.
    pub rows: u64,
    /// Latents that are active in a row, on the average over the rows that are encoded at a time.
    pub active: usize,
}

/// Active latents of a row that are reckoned with: k where the activation keeps just so many; twice that where a threshold keeps k on the
/// average; else the share of latents at which an L1 crosscoder counts as dense.
pub fn active(activation: &Activation, latents: usize) -> usize {
    let active = match activation {
        Activation::TopK { k } => *k as usize,
        Activation::Threshold { k, .. } => 2 * *k as usize,
        Activation::Relu | Activation::JumpRelu { .. } => (DENSE_SHARE * latents as f64).ceil() as usize,
    };
    active.min(latents)
}

/// Latent Scaling at its peak.
pub fn scaling(of: ScalingSizes) -> Memory {
    let ScalingSizes { width, latents, measured, .. } = of;
    let rows = scaling::rows_at_a_time(width, latents).min(of.rows as usize);
    let (both, entries) = (2 * width, rows * of.active);
    let thresholds = if of.thresholds { latents } else { 0 };
    let portions = if of.rows > rows as u64 { 2 } else { 1 };
    Memory::default()
        .with("weights", 4 * (2 * latents * both + latents + both))
        .with("norms, thresholds", 4 * (latents + thresholds))
        .with("directions", 4 * (measured * width + measured))
        .with("sums", measured * (8 * SUMS + 8))
        .with("sums by group", if of.by_group { measured * GROUPS * 8 * SUMS } else { 0 })
        .with("rows of a portion or two", portions * 4 * (rows * both + rows))
        .with("error", 4 * rows * both)
        .with("products", 4 * rows * latents)
        .with("selection", selection(rows))
        .with("code", entries * ENTRY + 4 * (rows + 1))
        .with("code turned round", entries * ENTRY + turned(rows, latents))
        .with("projections", 4 * 4 * entries)
}

/// A decoder that is given so many tokens at a time, in sequences of at most `longest`, on a card with units for narrow numbers or
/// without. `rest`: it also goes on from values that are put in, and makes so many logits at a time.
pub fn model(
    config: &DecoderConfig,
    dtype: Dtype,
    has_narrow: bool,
    tokens: usize,
    longest: usize,
    rest: Option<usize>,
) -> Memory {
    let (d, shape, mlp) = (config.width, config.attention, config.mlp);
    let weight = if dtype == Dtype::Bf16 { 2 } else { 4 };
    // Of what a pass writes on its way.
    let number = if dtype == Dtype::Bf16 && has_narrow { 2 } else { 4 };
    let parts = Decoder::shapes(config);
    let bytes = |shape: &[usize]| match shape {
        [numbers] => 4 * numbers,
        shape => weight * shape.iter().product::<usize>(),
    };
    let (queries, keys) = (shape.heads * shape.head, shape.kv_heads * shape.head);
    let middle = if mlp.gated { 2 } else { 1 } * mlp.inner;
    let mut ropes: Vec<Rope> = config.layers.iter().filter_map(|layer| layer.rope).collect();
    ropes.dedup();
    ropes = ropes.iter().enumerate().filter(|(i, rope)| !ropes[..*i].contains(rope)).map(|(_, rope)| *rope).collect();
    let memory = Memory::default()
        .with("weights", parts.iter().map(|(_, shape)| bytes(shape)).sum())
        .with("token ids", 4 * tokens)
        .with("stream, attention, MLP, norm", 4 * number * tokens * d)
        .with("queries, keys, values, what is attended to", number * tokens * (2 * queries + 2 * keys))
        .with("middle of the MLP", number * tokens * middle)
        .with("angles", ropes.iter().map(|rope| 8 * longest * rope.pairs()).sum());
    let memory = match rest {
        // A row of logits at a time is one position of one run.
        Some(logits) => memory.with("values put in, rows read", (number * d + 4) * tokens).with("logits", 4 * logits),
        None => memory,
    };
    match dtype {
        Dtype::F32 => memory,
        Dtype::Bf16 if has_narrow => {
            let biased = [(shape.qkv_bias, queries.max(keys)), (shape.out_bias, d), (mlp.bias, mlp.inner.max(d))];
            let widest = biased.iter().filter(|(is, _)| *is).map(|(_, width)| *width).max();
            memory.with("products before the bias", 4 * tokens * widest.unwrap_or(0))
        }
        Dtype::Bf16 => widened(memory, config, tokens, rest),
    }
}

/// What products with widened weights take beside.
fn widened(memory: Memory, config: &DecoderConfig, tokens: usize, rest: Option<usize>) -> Memory {
    let (d, shape, inner) = (config.width, config.attention, config.mlp.inner);
    let (queries, keys) = (shape.heads * shape.head, shape.kv_heads * shape.head);
    let block = |rows: usize, columns: usize| rows.min((WIDE / columns).max(1));
    let linear = [(queries, d), (keys, d), (d, queries), (inner, d), (d, inner)];
    let of_layers =
        linear.iter().map(|&(rows, columns)| (block(rows, columns) * columns, tokens * block(rows, columns)));
    let of_head = if rest.is_some() { block(config.vocabulary, d) } else { 0 };
    let (wide, product) = of_layers
        .chain([(of_head * d, rest.unwrap_or(0) / config.vocabulary * of_head)])
        .fold((0, 0), |(wide, product), (w, p)| (wide.max(w), product.max(p)));
    memory.with("weights in f32", 4 * wide).with("products before they are rounded", 4 * product)
}
