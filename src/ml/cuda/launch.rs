//! Calls of kernels.

use super::array::{Array, Number};
use super::gpu::{Arg, Gpu};
use super::kernels::{BLOCK, SPAN};
use crate::ml::Result;

/// Blocks that cover so many threads.
pub fn blocks(threads: usize) -> u32 {
    threads.div_ceil(BLOCK) as u32
}

/// Bytes of weights that are gathered from at a time: they stay in the L2 of a card.
const SLICE: usize = 32 << 20;

/// Latents of a slice whose rows of so many numbers are gathered from at a time, and slices of so many latents.
pub(super) fn slices(latents: usize, row: usize) -> (usize, usize) {
    let slice = (SLICE / (4 * row)).max(1);
    (slice, latents.div_ceil(slice))
}

/// Spans of a row of so many numbers.
pub(super) fn spans(row: usize) -> usize {
    row.div_ceil(SPAN)
}

/// Runs a kernel, unless its grid is empty.
pub fn run(gpu: &dyn Gpu, kernel: &'static str, grid: [u32; 2], args: &[Arg]) -> Result<()> {
    if grid.contains(&0) { Ok(()) } else { gpu.launch(kernel, grid, args) }
}

/// `launch!(gpu, "kernel", [x, y], a, b, ..)`: arguments are numbers, arrays, or arrays that may be missing.
macro_rules! launch {
    ($gpu:expr, $kernel:literal, $grid:expr, $($arg:expr),+ $(,)?) => {
        $crate::ml::cuda::run(&**$gpu, $kernel, $grid, &[$($crate::ml::cuda::Arg::from($arg)),+])
    };
}
pub(super) use launch;

impl<T: Number> From<&Array<T>> for Arg {
    fn from(array: &Array<T>) -> Self {
        array.arg()
    }
}

impl<T: Number> From<Option<&Array<T>>> for Arg {
    fn from(array: Option<&Array<T>>) -> Self {
        array.map_or(Arg::Place(0), Array::arg)
    }
}

impl From<u32> for Arg {
    fn from(value: u32) -> Self {
        Arg::U32(value)
    }
}

impl From<bool> for Arg {
    fn from(value: bool) -> Self {
        Arg::U32(value.into())
    }
}

/// Counts and sizes are 32 bits wide in the kernels; who starts a step has checked that they fit.
impl From<usize> for Arg {
    fn from(value: usize) -> Self {
        debug_assert!(u32::try_from(value).is_ok());
        Arg::U32(value as u32)
    }
}

impl From<u64> for Arg {
    fn from(value: u64) -> Self {
        Arg::U64(value)
    }
}

impl From<f32> for Arg {
    fn from(value: f32) -> Self {
        Arg::F32(value)
    }
}

impl From<f64> for Arg {
    fn from(value: f64) -> Self {
        Arg::F64(value)
    }
}
