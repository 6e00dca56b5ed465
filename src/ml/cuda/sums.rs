//! Sums in a fixed order.

use std::sync::Arc;

use super::array::Array;
use super::gpu::{Arg, Gpu};
use super::launch::{blocks, launch};
use crate::ml::Result;

/// Rows whose sums of a column one thread takes.
const CHUNK_ROWS: usize = 64;

/// Sums in f64, and where they are kept until they are looked at.
pub struct Sums {
    gpu: Arc<dyn Gpu>,
    /// Sums that were taken.
    taken: Array<f64>,
    /// Column sums of the chunks of rows.
    partial: Array<f64>,
}

/// Sums that are kept at a time.
pub(super) const PLACES: usize = 12;

/// Bytes that the sums of the columns of a matrix `[rows, columns]` take on their way.
pub(super) fn partial(rows: usize, columns: usize) -> usize {
    rows.div_ceil(CHUNK_ROWS) * columns * size_of::<f64>()
}

impl Sums {
    /// Nothing taken yet.
    pub fn new(gpu: &Arc<dyn Gpu>) -> Result<Self> {
        Ok(Sums { gpu: gpu.clone(), taken: Array::zeros(gpu, PLACES)?, partial: Array::empty(gpu) })
    }

    fn place(&self, place: usize) -> Arg {
        Arg::Place(self.taken.place() + (place * size_of::<f64>()) as u64)
    }

    /// Takes the sum of numbers into a place.
    pub fn take(&self, of: &Array<f64>, place: usize) -> Result<()> {
        launch!(&self.gpu, "sum_doubles", [1, 1], of, of.len(), self.place(place))
    }

    /// Takes the squared norm of numbers into a place.
    pub fn take_squared_norm(&self, of: &Array<f32>, place: usize) -> Result<()> {
        launch!(&self.gpu, "squared_norm", [1, 1], of, of.len(), self.place(place))
    }

    /// Takes a count: number `at` of these.
    pub fn take_count(&self, of: &Array<u32>, at: usize, place: usize) -> Result<()> {
        let count = Arg::Place(of.place() + (at * size_of::<u32>()) as u64);
        launch!(&self.gpu, "note_count", [1, 1], count, self.place(place))
    }

    /// All that was taken, by place; the GPU is waited for.
    pub fn all(&self) -> Result<Vec<f64>> {
        self.taken.get()
    }

    /// What was taken; the GPU is waited for.
    pub fn get<const N: usize>(&self, places: [usize; N]) -> Result<[f64; N]> {
        let taken = self.all()?;
        Ok(places.map(|place| taken[place]))
    }

    /// Column sums of a matrix `[rows, columns]`, times `factor`, into `out` and rounded into `narrow`, where these are given. With
    /// a `mean` `[columns]` the sums of squared distances from it.
    pub fn columns(
        &mut self,
        matrix: &Array<f32>,
        columns: usize,
        mean: Option<&Array<f64>>,
        factor: f64,
        out: Option<&Array<f64>>,
        narrow: Option<&Array<f32>>,
    ) -> Result<()> {
        let rows = matrix.len() / columns;
        let chunks = rows.div_ceil(CHUNK_ROWS);
        self.partial.resize(chunks * columns)?;
        let (gpu, partial) = (&self.gpu, &self.partial);
        let grid = [chunks as u32, blocks(columns)];
        launch!(gpu, "column_partials", grid, matrix, rows, columns, CHUNK_ROWS, mean, partial)?;
        launch!(gpu, "column_totals", [blocks(columns), 1], partial, chunks, columns, factor, out, narrow)
    }

    /// sum_j flow_j e_j of encoder rows `[D, W]`, into `out` `[W]`: what flows back through an encoder.
    pub fn through(&mut self, encoder: &Array<f32>, flows: &Array<f32>, out: &Array<f64>) -> Result<()> {
        let (latents, width) = (flows.len(), out.len());
        let chunks = latents.div_ceil(CHUNK_ROWS);
        self.partial.resize(chunks * width)?;
        let (gpu, partial) = (&self.gpu, &self.partial);
        let grid = [chunks as u32, blocks(width)];
        launch!(gpu, "flow_partials", grid, encoder, flows, latents, width, CHUNK_ROWS, partial)?;
        let none = None::<&Array<f32>>;
        launch!(gpu, "column_totals", [blocks(width), 1], partial, chunks, width, 1.0f64, out, none)
    }
}
