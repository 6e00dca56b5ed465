//! The geometric median of a batch, on a GPU.

use std::sync::Arc;

use super::array::Array;
use super::gpu::Gpu;
use super::launch::{blocks, launch};
use super::sums::Sums;
use crate::ml::Result;
use crate::ml::crosscoder::median::{CLOSE, ROUNDS};

/// What [`crate::ml::crosscoder::geometric_median`] is of rows x `[B, parts, d]`, within rounding: `[parts, d]`. The GPU is waited for in each
/// round.
pub fn geometric_median(gpu: &Arc<dyn Gpu>, x: &Array<f32>, width: usize, parts: usize) -> Result<Vec<f32>> {
    let both = parts * width;
    let rows = x.len() / both;
    let guess = Array::<f64>::zeros(gpu, both)?;
    Sums::new(gpu)?.columns(x, both, None, 1.0 / rows as f64, Some(&guess), None)?;
    let (next, weights) = (Array::<f64>::zeros(gpu, both)?, Array::<f64>::zeros(gpu, rows * parts)?);
    let moved = Array::<f64>::zeros(gpu, 1)?;
    for _ in 0..ROUNDS {
        launch!(gpu, "median_weights", [rows as u32, parts as u32], x, width, parts, &guess, &weights)?;
        launch!(gpu, "median_next", [blocks(both), 1], x, rows, width, parts, &weights, &next)?;
        launch!(gpu, "median_moved", [1, 1], &next, &guess, width, parts, &moved)?;
        if moved.get()?[0] < CLOSE {
            break;
        }
    }
    Ok(guess.get()?.into_iter().map(|g| g as f32).collect())
}
