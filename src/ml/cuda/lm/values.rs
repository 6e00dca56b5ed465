//! Numbers of a pass in the memory of a GPU.

use std::sync::Arc;

use half::bf16;

use crate::ml::Result;
use crate::ml::cuda::{Arg, Array, Gpu};
use crate::ml::lm::Dtype;

/// How what an operation reads and gives lies in memory; `decoder.cu` has the same numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    F32 = 0,
    /// f32, each number rounded to bf16.
    Rounded = 1,
    /// The same numbers in two bytes each, as units for narrow numbers read them.
    Narrow = 2,
}

impl Format {
    /// Of a model in `dtype`.
    pub(super) fn of(dtype: Dtype, gpu: &dyn Gpu) -> Self {
        match dtype {
            Dtype::F32 => Format::F32,
            Dtype::Bf16 if gpu.has_narrow() => Format::Narrow,
            Dtype::Bf16 => Format::Rounded,
        }
    }

    /// The same numbers in f32.
    pub(super) fn wide(self) -> Self {
        if self == Format::Narrow { Format::Rounded } else { self }
    }
}

impl From<Format> for Arg {
    fn from(format: Format) -> Self {
        Arg::U32(format as u32)
    }
}

/// Numbers in a format; one of the two arrays is empty.
pub(super) struct Values {
    format: Format,
    wide: Array<f32>,
    narrow: Array<u16>,
}

impl Values {
    pub(super) fn empty(gpu: &Arc<dyn Gpu>, format: Format) -> Self {
        Values { format, wide: Array::empty(gpu), narrow: Array::empty(gpu) }
    }

    pub(super) fn format(&self) -> Format {
        self.format
    }

    pub(super) fn len(&self) -> usize {
        if self.format == Format::Narrow { self.narrow.len() } else { self.wide.len() }
    }

    /// Makes room for so many numbers, which hold anything.
    pub(super) fn resize(&mut self, len: usize) -> Result<()> {
        if self.format == Format::Narrow { self.narrow.resize(len) } else { self.wide.resize(len) }
    }

    /// Becomes a copy of these, rounded where the format rounds.
    pub(super) fn set(&mut self, values: &[f32]) -> Result<()> {
        match self.format {
            Format::F32 => self.wide.set(values),
            Format::Rounded => self.wide.set(&values.iter().map(|x| bf16::from_f32(*x).to_f32()).collect::<Vec<f32>>()),
            Format::Narrow => {
                self.narrow.set(&values.iter().map(|x| bf16::from_f32(*x).to_bits()).collect::<Vec<u16>>())
            }
        }
    }

    /// A copy of all of them.
    pub(super) fn get(&self) -> Result<Vec<f32>> {
        match self.format {
            Format::Narrow => Ok(self.narrow.get()?.into_iter().map(|bits| bf16::from_bits(bits).to_f32()).collect()),
            _ => self.wide.get(),
        }
    }

    /// The address of the first.
    pub(super) fn place(&self) -> u64 {
        if self.format == Format::Narrow { self.narrow.place() } else { self.wide.place() }
    }

    /// Those of a format that is f32.
    pub(super) fn into_wide(self) -> Array<f32> {
        self.wide
    }
}

impl From<&Values> for Arg {
    fn from(values: &Values) -> Self {
        Arg::Place(values.place())
    }
}
