//! A model that can be run, wherever that is.

use candle_core::Tensor;

use super::prediction::Logits;
use super::{Decoder, DecoderConfig, Held, Site};
use crate::ml::{Error, Result};

/// How much a model is best given at a time. Changes results only as products of other shapes round in another order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Tokens of a batch, padding included.
    pub tokens: usize,
    /// Logits that are there at once, of all runs together.
    pub logits: usize,
    /// Whether threads should each run batches of their own, side by side.
    pub side_by_side: bool,
}

impl Pace {
    /// A batch is small enough that intermediate results stay in the cache, and logits are 128 MiB.
    pub const fn of_cpu() -> Self {
        Pace { tokens: 512, logits: 1 << 25, side_by_side: true }
    }
}

/// A model as harvest, patching and quality see it: [`Decoder`] on the CPU, [`crate::ml::cuda::GpuDecoder`] on a GPU. What it is given and
/// what it gives lies in the memory of the CPU, except for logits.
pub trait LanguageModel: Send + Sync {
    /// Shapes and constants.
    fn config(&self) -> &DecoderConfig;

    /// How much to give it at a time.
    fn pace(&self) -> Pace;

    /// The stream at a site of `layer`, `[B, T, d]`, of ids `[B, T]`; no block that comes after it is run.
    fn residual(&self, ids: &Tensor, layer: usize, site: Site) -> Result<Tensor>;

    /// Runs `ids [B, T]` up to a site of `layer`, and of that block what the rest needs beside it.
    fn hold(&self, ids: &Tensor, layer: usize, site: Site) -> Result<Held>;

    /// What the head reads, `[N B P, d]`, at P positions of each sequence when each of N values `[N B, T, d]` takes the place of the held
    /// one `[B, T, d]`.
    fn read_on(&self, held: &Held, values: &Tensor, positions: &[usize]) -> Result<Tensor>;

    /// Logits of rows `[N, d]` that the head reads.
    fn logits_of(&self, rows: &Tensor) -> Result<Logits>;

    /// d.
    fn width(&self) -> usize {
        self.config().width
    }

    /// Number of blocks.
    fn layers(&self) -> usize {
        self.config().layers.len()
    }

    /// Rows of the embedding, V.
    fn vocabulary(&self) -> usize {
        self.config().vocabulary
    }

    /// Errors: there is no such layer.
    fn check_layer(&self, layer: usize) -> Result<()> {
        if layer >= self.layers() {
            let problem = format!("layer {layer}, but the model has layers 0 to {}", self.layers().saturating_sub(1));
            return Err(Error::invalid("residual", problem));
        }
        Ok(())
    }
}

impl LanguageModel for Decoder {
    fn config(&self) -> &DecoderConfig {
        Decoder::config(self)
    }

    fn pace(&self) -> Pace {
        Pace::of_cpu()
    }

    fn residual(&self, ids: &Tensor, layer: usize, site: Site) -> Result<Tensor> {
        Decoder::residual(self, ids, layer, site)
    }

    fn hold(&self, ids: &Tensor, layer: usize, site: Site) -> Result<Held> {
        Decoder::hold(self, ids, layer, site)
    }

    fn read_on(&self, held: &Held, values: &Tensor, positions: &[usize]) -> Result<Tensor> {
        self.head_rows(&self.go_on(held, values)?, positions)
    }

    fn logits_of(&self, rows: &Tensor) -> Result<Logits> {
        Ok(Logits::Cpu(self.row_logits(rows)?.contiguous()?))
    }
}
