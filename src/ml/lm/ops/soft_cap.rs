//! Soft capping of logits.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};

use super::alone::chunks;
use super::floats;
use super::math::{tanh, vectorised};

/// cap * tanh(x / cap). Without a gradient: training takes the cap inside its loss.
pub(crate) fn soft_cap(x: &Tensor, cap: f32) -> Result<Tensor> {
    x.contiguous()?.apply_op1_no_bwd(&SoftCap { cap })
}

struct SoftCap {
    cap: f32,
}

const CHUNK: usize = 16_384;

vectorised! {
    pub(super) fn cap_values(x: &[f32], cap: f32, y: &mut [f32]) {
        let inverse = 1.0 / cap;
        for (x, y) in x.iter().zip(y) {
            *y = cap * tanh(*x * inverse);
        }
    }
}

impl CustomOp1 for SoftCap {
    fn name(&self) -> &'static str {
        "soft_cap"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = floats(storage, layout)?;
        let mut y = vec![0f32; x.len()];
        chunks(&mut y, CHUNK, |c, y| cap_values(&x[c * CHUNK..][..y.len()], self.cap, y));
        Ok((CpuStorage::F32(y), layout.shape().clone()))
    }
}
