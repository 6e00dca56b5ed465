//! Sparse codes turned round: for each latent, the rows in which it is active.

use std::sync::Arc;

use super::array::Array;
use super::code::Code;
use super::gpu::Gpu;
use super::launch::{blocks, launch};
use crate::ml::Result;

/// Rows that one block counts and places.
pub(super) const CHUNK_ROWS: usize = 32;

/// Compressed columns, as [`crate::ml::kernels::Columns`]: latent j is active in `rows[starts[j]..starts[j + 1]]`, ascending.
pub struct Turned {
    gpu: Arc<dyn Gpu>,
    /// D + 1.
    pub starts: Array<u32>,
    /// With room at the end where the codes have it.
    pub rows: Array<u32>,
    pub values: Array<f32>,
    pub gradients: Array<f32>,
    /// Entries of each latent, by chunk of rows and in all.
    counts: Array<u32>,
    totals: Array<u32>,
}

impl Turned {
    /// Of nothing.
    pub fn empty(gpu: &Arc<dyn Gpu>) -> Self {
        Turned {
            gpu: gpu.clone(),
            starts: Array::empty(gpu),
            rows: Array::empty(gpu),
            values: Array::empty(gpu),
            gradients: Array::empty(gpu),
            counts: Array::empty(gpu),
            totals: Array::empty(gpu),
        }
    }

    /// Gives the memory of the entries back.
    pub(super) fn forget(&mut self) {
        self.rows = Array::empty(&self.gpu);
        (self.values, self.gradients) = (Array::empty(&self.gpu), Array::empty(&self.gpu));
    }

    /// Replaces the content by the columns of codes of the same rows that share no latent.
    pub fn fill(&mut self, latents: usize, codes: &[&Code]) -> Result<()> {
        let rows = codes.first().map_or(0, |code| code.rows);
        let entries: usize = codes.iter().map(|code| code.room).sum();
        let chunks = rows.div_ceil(CHUNK_ROWS);
        self.counts.resize(chunks * latents)?;
        self.counts.clear()?;
        self.totals.resize(latents)?;
        self.starts.resize(latents + 1)?;
        self.rows.resize(entries)?;
        self.values.resize(entries)?;
        self.gradients.resize(entries)?;
        let (gpu, counts, grid) = (&self.gpu, &self.counts, [chunks as u32, 1]);
        for code in codes {
            launch!(gpu, "count_entries", grid, &code.offsets, &code.latents, rows, CHUNK_ROWS, latents, counts)?;
        }
        launch!(gpu, "sum_chunks", [blocks(latents), 1], counts, chunks, latents, &self.totals)?;
        launch!(gpu, "scan", [1, 1], &self.totals, &self.starts, latents)?;
        for code in codes {
            let Code { offsets, latents: which, values, gradients, .. } = code;
            let (starts, to) = (&self.starts, [&self.values, &self.gradients]);
            launch!(
                gpu,
                "place_entries",
                grid,
                offsets,
                which,
                values,
                gradients,
                rows,
                CHUNK_ROWS,
                latents,
                starts,
                counts,
                &self.rows,
                to[0],
                to[1],
            )?;
        }
        Ok(())
    }
}
