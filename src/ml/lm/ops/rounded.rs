//! Rounding to bf16.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};

use super::alone::chunks;
use super::floats;
use super::math::vectorised;

/// x with every value rounded to the nearest bf16 (ties to even), still as f32. Without a gradient.
pub(crate) fn rounded(x: &Tensor) -> Result<Tensor> {
    x.contiguous()?.apply_op1_no_bwd(&Rounded)
}

struct Rounded;

const CHUNK: usize = 16_384;

vectorised! {
    pub(super) fn round_values(x: &[f32], y: &mut [f32]) {
        for (x, y) in x.iter().zip(y) {
            let bits = x.to_bits();
            let up = bits.wrapping_add(0x7FFF + ((bits >> 16) & 1)) & 0xFFFF_0000;
            *y = if x.is_nan() { *x } else { f32::from_bits(up) };
        }
    }
}

impl CustomOp1 for Rounded {
    fn name(&self) -> &'static str {
        "rounded"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = floats(storage, layout)?;
        let mut y = vec![0f32; x.len()];
        chunks(&mut y, CHUNK, |c, y| round_values(&x[c * CHUNK..][..y.len()], y));
        Ok((CpuStorage::F32(y), layout.shape().clone()))
    }
}
