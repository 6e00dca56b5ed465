//! A sparse code in the memory of a GPU.

use std::sync::Arc;

use super::array::Array;
use super::gpu::Gpu;
use super::launch::{blocks, launch, slices};
use crate::ml::Result;
use crate::ml::crosscoder::SparseCode;

/// f of B rows in compressed rows, as [`SparseCode`], with the gradient of each entry.
pub struct Code {
    gpu: Arc<dyn Gpu>,
    /// B.
    pub rows: usize,
    /// Entries that there is room for; the last offset says how many there are.
    pub room: usize,
    /// B + 1.
    pub offsets: Array<u32>,
    pub latents: Array<u32>,
    pub values: Array<f32>,
    /// dL/dp of each entry.
    pub gradients: Array<f32>,
}

impl Code {
    /// Of no rows.
    pub fn empty(gpu: &Arc<dyn Gpu>) -> Self {
        Code {
            gpu: gpu.clone(),
            rows: 0,
            room: 0,
            offsets: Array::empty(gpu),
            latents: Array::empty(gpu),
            values: Array::empty(gpu),
            gradients: Array::empty(gpu),
        }
    }

    /// Makes room for the entries that the offsets `[B + 1]` speak of, which are waited for.
    pub(super) fn open(&mut self, rows: usize) -> Result<()> {
        let entries = self.offsets.get_from(rows, 1)?[0] as usize;
        self.open_for(rows, entries)
    }

    /// Makes room for at most so many entries.
    pub(super) fn open_for(&mut self, rows: usize, most: usize) -> Result<()> {
        (self.rows, self.room) = (rows, most);
        self.latents.resize(most)?;
        self.values.resize(most)?;
        self.gradients.resize(most)
    }

    /// Gives the memory of the entries back.
    pub(super) fn forget(&mut self) {
        self.room = 0;
        (self.latents, self.values, self.gradients) =
            (Array::empty(&self.gpu), Array::empty(&self.gpu), Array::empty(&self.gpu));
    }

    /// Becomes a copy of a code, with gradients.
    pub fn set(&mut self, code: &SparseCode, gradients: &[f32]) -> Result<()> {
        (self.rows, self.room) = (code.rows(), code.values.len());
        self.offsets.set(&code.offsets.iter().map(|&offset| offset as u32).collect::<Vec<_>>())?;
        self.latents.set(&code.latents)?;
        self.values.set(&code.values)?;
        self.gradients.set(gradients)
    }

    /// A copy.
    pub fn get(&self) -> Result<SparseCode> {
        let offsets = self.offsets.get_from(0, self.rows + 1)?;
        let offsets: Vec<usize> = offsets.into_iter().map(|offset| offset as usize).collect();
        let entries = offsets.last().copied().unwrap_or(0);
        Ok(SparseCode {
            offsets,
            latents: self.latents.get_from(0, entries)?,
            values: self.values.get_from(0, entries)?,
        })
    }

    /// Writes start + sum_j f_ij d_j `[B, W]` of a decoder `[D, W]`, in the order of the latents; without `start` `[W]` from 0.
    pub fn decode(
        &self,
        decoder: &Array<f32>,
        start: Option<&Array<f32>>,
        width: usize,
        out: &Array<f32>,
    ) -> Result<()> {
        let grid = [self.rows as u32, blocks(width)];
        launch!(&self.gpu, "decode", grid, &self.offsets, &self.latents, &self.values, decoder, start, width, out)
    }

    /// Fills the gradients: G_i d_j of every entry, G `[B, W]`.
    pub fn back(&self, upstream: &Array<f32>, decoder: &Array<f32>, width: usize) -> Result<()> {
        let (slice, slices) = slices(decoder.len() / width, width);
        let grid = [self.rows as u32, slices as u32];
        let (offsets, latents, out) = (&self.offsets, &self.latents, &self.gradients);
        launch!(&self.gpu, "entry_gradients", grid, offsets, latents, upstream, decoder, width, slice, out)
    }

    /// Sets a 1 in `fired` for each latent of the code, and in `strong` for those with f over `active`; both `[D]`.
    pub fn mark(&self, active: f32, fired: &Array<u32>, strong: &Array<u32>) -> Result<()> {
        let (offsets, latents, values) = (&self.offsets, &self.latents, &self.values);
        launch!(&self.gpu, "mark_fired", [self.rows as u32, 1], offsets, latents, values, active, fired, strong)
    }
}
