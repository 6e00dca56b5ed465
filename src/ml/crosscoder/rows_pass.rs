//! What happens to each row of a batch once its code is known: reconstruction, error, and the gradients that flow back.

use rayon::prelude::*;

use super::{Reconstruction, SparseCode};
use crate::ml::kernels::{gather_dots, gather_sum, squared_norm};

/// Rows that one thread works on at a time.
pub const CHUNK_ROWS: usize = 16;

/// Splits a slice that is aligned with a code's entries into the parts of each chunk of rows.
pub fn split_entries<'a>(code: &SparseCode, mut entries: &'a mut [f32]) -> Vec<&'a mut [f32]> {
    let mut parts = Vec::with_capacity(code.rows().div_ceil(CHUNK_ROWS));
    for start in (0..code.rows()).step_by(CHUNK_ROWS) {
        let end = (start + CHUNK_ROWS).min(code.rows());
        let (part, rest) = entries.split_at_mut(code.offsets[end] - code.offsets[start]);
        parts.push(part);
        entries = rest;
    }
    parts
}

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
    split_entries(code, out).into_par_iter().enumerate().for_each(|(chunk, part)| {
        let first = chunk * CHUNK_ROWS;
        let mut rest = part;
        for row in first..(first + CHUNK_ROWS).min(code.rows()) {
            let (latents, _) = code.row(row);
            let (entries, after) = rest.split_at_mut(latents.len());
            gather_dots(entries, &upstream[row * both..(row + 1) * both], latents, decoder);
            rest = after;
        }
    });
}

/// Turns reconstructions in `error` into errors eps = x - hhat and writes G = dL/dhhat. Returns the reconstruction term:
/// the mean over rows and models of ||eps|| or ||eps||^2.
pub fn reconstruction(form: Reconstruction, x: &[f32], width: usize, error: &mut [f32], upstream: &mut [f32]) -> f64 {
    let both = 2 * width;
    let count = (x.len() / width) as f64;
    let sizes: Vec<f64> = error
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
        .collect();
    sizes.iter().sum::<f64>() / count
}

/// Sums over rows `[B, n]` of each column, in chunks of rows summed in order.
pub fn column_sums(matrix: &[f32], columns: usize) -> Vec<f32> {
    let parts: Vec<Vec<f32>> = matrix
        .par_chunks(CHUNK_ROWS * columns)
        .map(|rows| {
            let mut sum = vec![0f32; columns];
            for row in rows.chunks(columns) {
                sum.iter_mut().zip(row).for_each(|(s, v)| *s += v);
            }
            sum
        })
        .collect();
    let mut total = vec![0f32; columns];
    for part in parts {
        total.iter_mut().zip(part).for_each(|(t, v)| *t += v);
    }
    total
}
