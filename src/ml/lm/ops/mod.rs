//! The operations of a decoder that candle has only as chains of slow ones: each is one pass forward and one backward.
//!
//! Work is split by rows, heads or fixed chunks, and sums have a fixed order, so that results do not depend on the number
//! of threads.

mod activate;
mod add;
mod add_bias;
mod alone;
mod attend_last;
mod attention;
mod cross_entropy;
mod divergence;
mod gated;
mod layer_norm;
mod linear;
mod linear_bf16;
mod math;
mod panel;
mod rms_norm;
mod rotate;
mod rounded;
mod soft_cap;
#[cfg(test)]
mod tests;

pub(crate) use activate::activate;
pub(crate) use add::add;
pub(crate) use add_bias::add_bias;
pub(crate) use alone::alone;
pub(crate) use attend_last::{Seen, attend_last};
pub(crate) use attention::{Attention, attention};
pub(crate) use cross_entropy::{capped_losses, softmax_gradient};
pub(crate) use divergence::{Distribution, divergence};
pub use gated::Activation;
pub(crate) use gated::gated;
pub(crate) use layer_norm::layer_norm;
pub(crate) use linear::{linear, packed};
pub(crate) use linear_bf16::linear_bf16;
pub(crate) use panel::Panels;
pub(crate) use rms_norm::rms_norm;
pub(crate) use rotate::{rotate, rotate_bf16};
pub(crate) use rounded::rounded;
pub(crate) use soft_cap::soft_cap;

use std::ops::{Deref, Range};

use candle_core::{CpuStorage, Layout, Result, Storage, Tensor};

/// Rows that one task handles.
const ROWS: usize = 64;

/// The values of a contiguous f32 tensor on the CPU; `G` holds its lock.
pub(super) struct Floats<G> {
    storage: G,
    range: Range<usize>,
}

pub(super) fn values(tensor: &Tensor) -> Result<Floats<impl Deref<Target = Storage> + '_>> {
    let (storage, layout) = tensor.storage_and_layout();
    let range = contiguous(layout)?;
    match &*storage {
        Storage::Cpu(CpuStorage::F32(_)) => Ok(Floats { storage, range }),
        _ => candle_core::bail!("an f32 tensor on the CPU is needed"),
    }
}

impl<G: Deref<Target = Storage>> Deref for Floats<G> {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match &*self.storage {
            Storage::Cpu(CpuStorage::F32(values)) => &values[self.range.clone()],
            _ => &[],
        }
    }
}

fn contiguous(layout: &Layout) -> Result<Range<usize>> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(start..end),
        None => candle_core::bail!("a contiguous tensor is needed, this one has strides {:?}", layout.stride()),
    }
}

/// The values behind the arguments of a custom operation.
fn floats<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    Ok(&storage.as_slice::<f32>()?[contiguous(layout)?])
}

/// A pointer for tasks that write disjoint places of one buffer.
#[derive(Clone, Copy)]
struct Shared(*mut f32);

// SAFETY: whoever makes one gives each task its own places.
unsafe impl Send for Shared {}
unsafe impl Sync for Shared {}

impl Shared {
    fn at(self, offset: usize) -> *mut f32 {
        // SAFETY: callers stay within the buffer that the pointer was taken from.
        unsafe { self.0.add(offset) }
    }
}
