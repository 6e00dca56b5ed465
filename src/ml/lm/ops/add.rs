//! Sums of two streams.

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};

use super::alone::chunks;
use super::floats;

/// a + b, element by element.
pub(crate) fn add(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    // Candle's own sum waits for a pool of its own, which the threads of a harvest would all wait for.
    match a.track_op() || b.track_op() {
        true => a + b,
        false => a.contiguous()?.apply_op2_no_bwd(&b.contiguous()?, &Add),
    }
}

struct Add;

const CHUNK: usize = 16_384;

impl CustomOp2 for Add {
    fn name(&self) -> &'static str {
        "add"
    }

    fn cpu_fwd(&self, s1: &CpuStorage, l1: &Layout, s2: &CpuStorage, l2: &Layout) -> Result<(CpuStorage, Shape)> {
        let (a, b) = (floats(s1, l1)?, floats(s2, l2)?);
        if l1.shape() != l2.shape() {
            candle_core::bail!("add: {:?} and {:?}", l1.shape(), l2.shape());
        }
        let mut y = a.to_vec();
        chunks(&mut y, CHUNK, |c, y| y.iter_mut().zip(&b[c * CHUNK..]).for_each(|(y, b)| *y += b));
        Ok((CpuStorage::F32(y), l1.shape().clone()))
    }
}
