//! What happens to each row of a batch once its code is known: reconstruction, error, and the gradients that flow back.

use std::ops::Range;

use rayon::prelude::*;

use super::{Reconstruction, SparseCode};
use crate::ml::kernels::{gather_dots, gather_sum, squared_norm};

/// Rows that one thread works on at a time.
pub const CHUNK_ROWS: usize = 16;

/// out_i = start + sum_j f_ij d_j, rows `[B, 2d]` of a decoder `[D, 2d]`.
pub fn decode(code: &SparseCode, decoder: &[f32], start: &[f32], out: &mut [f32]) {
    let both = start.len();
    out.par_chunks_mut(CHUNK_ROWS * both).enumerate().for_each(|(chunk, rows)| {
        for (i, row) in rows.chunks_mut(both).enumerate() {
            let (latents, values) = code.row(chunk * CHUNK_ROWS + i);
            row.copy_from_slice(start);
            gather_sum(row, values, latents, decoder);
        }
    });
}

/// `out` = G_i d_j for every entry of a code.
pub fn back_to_code(code: &SparseCode, upstream: &[f32], decoder: &[f32], both: usize, out: &mut [f32]) {
    back(code, 0..code.rows(), out, &|row, entries| {
        gather_dots(entries, &upstream[row * both..(row + 1) * both], code.row(row).0, decoder);
    });
}

/// Shows each of these rows with its entries, halves of the rows beside one another.
fn back(code: &SparseCode, rows: Range<usize>, entries: &mut [f32], one: &(dyn Fn(usize, &mut [f32]) + Sync)) {
    if rows.len() > CHUNK_ROWS {
        let middle = rows.start + (rows.len() / 2).next_multiple_of(CHUNK_ROWS);
        let (first, second) = entries.split_at_mut(code.offsets[middle] - code.offsets[rows.start]);
        rayon::join(|| back(code, rows.start..middle, first, one), || back(code, middle..rows.end, second, one));
        return;
    }
    let mut rest = entries;
    for row in rows {
        let (own, after) = rest.split_at_mut(code.offsets[row + 1] - code.offsets[row]);
        one(row, own);
        rest = after;
    }
}

/// Turns reconstructions in `error` into errors eps = x - hhat and writes G = dL/dhhat. Returns the reconstruction term:
/// the mean over rows and models of ||eps|| or ||eps||^2, summed in `parts`.
pub fn reconstruction(
    form: Reconstruction,
    x: &[f32],
    width: usize,
    error: &mut [f32],
    upstream: &mut [f32],
    parts: &mut Vec<f64>,
) -> f64 {
    let both = 2 * width;
    let count = (x.len() / width) as f64;
    error
        .par_chunks_mut(CHUNK_ROWS * both)
        .zip(upstream.par_chunks_mut(CHUNK_ROWS * both))
        .zip(x.par_chunks(CHUNK_ROWS * both))
        .map(|((errors, upstreams), rows)| {
            let mut sum = 0f64;
            let halves = errors.chunks_mut(width).zip(upstreams.chunks_mut(width)).zip(rows.chunks(width));
            for ((error, upstream), row) in halves {
                error.iter_mut().zip(row).for_each(|(e, x)| *e = x - *e);
                let square = squared_norm(error);
                let size = square.sqrt();
                let (term, factor) = match form {
                    Reconstruction::L2 if size > 0.0 => (size, -1.0 / (size as f64 * count)),
                    Reconstruction::L2 => (size, 0.0),
                    Reconstruction::Mse => (square, -2.0 / count),
                };
                sum += term as f64;
                upstream.iter_mut().zip(error.iter()).for_each(|(u, e)| *u = factor as f32 * e);
            }
            sum
        })
        .collect_into_vec(parts);
    parts.iter().sum::<f64>() / count
}

/// Sums over rows `[B, n]` of each column.
#[derive(Default)]
pub struct ColumnSums {
    /// Of each chunk of rows.
    parts: Vec<f32>,
    /// `[n]`.
    pub total: Vec<f32>,
}

impl ColumnSums {
    /// Sums a matrix, in chunks of rows summed in order.
    pub fn fill(&mut self, matrix: &[f32], columns: usize) {
        self.parts.clear();
        self.parts.resize(matrix.len().div_ceil(CHUNK_ROWS * columns) * columns, 0.0);
        let chunks = matrix.par_chunks(CHUNK_ROWS * columns).zip(self.parts.par_chunks_mut(columns));
        chunks.for_each(|(rows, sum)| {
            for row in rows.chunks(columns) {
                sum.iter_mut().zip(row).for_each(|(s, v)| *s += v);
            }
        });
        self.total.clear();
        self.total.resize(columns, 0.0);
        for part in self.parts.chunks(columns) {
            self.total.iter_mut().zip(part).for_each(|(t, v)| *t += v);
        }
    }
}
