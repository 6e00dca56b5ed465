//! A sparse code in the memory of a GPU.

use std::sync::Arc;

use super::array::Array;
use super::gpu::Gpu;
use super::launch::blocks;
use super::launch::launch;
use crate::ml::Result;
use crate::ml::crosscoder::SparseCode;

/// f of B rows in compressed rows, as [`SparseCode`], with the gradient of each entry.
pub struct Code {
    gpu: Arc<dyn Gpu>,
    /// B.
    pub rows: usize,
    /// Entries.
    pub entries: usize,
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
            entries: 0,
            offsets: Array::empty(gpu),
            latents: Array::empty(gpu),
            values: Array::empty(gpu),
            gradients: Array::empty(gpu),
        }
    }

    /// Makes room for the entries that the offsets `[B + 1]` speak of.
    pub(super) fn open(&mut self, rows: usize) -> Result<()> {
        self.rows = rows;
        self.entries = self.offsets.get_from(rows, 1)?[0] as usize;
        self.latents.resize(self.entries)?;
        self.values.resize(self.entries)?;
        self.gradients.resize(self.entries)
    }

    /// Becomes a copy of a code, with gradients.
    pub fn set(&mut self, code: &SparseCode, gradients: &[f32]) -> Result<()> {
        (self.rows, self.entries) = (code.rows(), code.values.len());
        self.offsets.set(&code.offsets.iter().map(|&offset| offset as u32).collect::<Vec<_>>())?;
        self.latents.set(&code.latents)?;
        self.values.set(&code.values)?;
        self.gradients.set(gradients)
    }

    /// A copy.
    pub fn get(&self) -> Result<SparseCode> {
        Ok(SparseCode {
            offsets: self.offsets.get_from(0, self.rows + 1)?.into_iter().map(|offset| offset as usize).collect(),
            latents: self.latents.get_from(0, self.entries)?,
            values: self.values.get_from(0, self.entries)?,
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
        let grid = [self.rows as u32, 1];
        let (offsets, latents) = (&self.offsets, &self.latents);
        launch!(&self.gpu, "entry_gradients", grid, offsets, latents, upstream, decoder, width, &self.gradients)
    }

    /// Sets a 1 in `fired` for each latent of the code, and in `strong` for those with f over `active`; both `[D]`.
    pub fn mark(&self, active: f32, fired: &Array<u32>, strong: &Array<u32>) -> Result<()> {
        let (latents, values) = (&self.latents, &self.values);
        launch!(
            &self.gpu,
            "mark_fired",
            [blocks(self.entries), 1],
            latents,
            values,
            self.entries,
            active,
            fired,
            strong
        )
    }
}
