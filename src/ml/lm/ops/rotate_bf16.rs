//! Rotary position embedding with bf16's roundings.

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};

use super::alone::chunks;
use super::{ROWS, floats};

/// [`super::rotate`] where both products and their sum are rounded to bf16, as torch has them. Without a gradient.
pub(crate) fn rotate_bf16(
    x: &Tensor,
    angles: &Arc<Vec<(f32, f32)>>,
    head: usize,
    turned: usize,
    tokens: usize,
) -> Result<Tensor> {
    x.contiguous()?.apply_op1_no_bwd(&RotateBf16 { angles: angles.clone(), head, turned, tokens })
}

struct RotateBf16 {
    angles: Arc<Vec<(f32, f32)>>,
    head: usize,
    turned: usize,
    tokens: usize,
}

/// The nearest bf16 of a finite number.
#[inline(always)]
fn round(x: f32) -> f32 {
    let bits = x.to_bits();
    f32::from_bits(bits.wrapping_add(0x7FFF + ((bits >> 16) & 1)) & 0xFFFF_0000)
}

impl RotateBf16 {
    fn row(&self, position: usize, x: &[f32], y: &mut [f32]) {
        let half = self.turned / 2;
        let angles = &self.angles[position * half..(position + 1) * half];
        for (x, y) in x.chunks_exact(self.head).zip(y.chunks_exact_mut(self.head)) {
            y[self.turned..].copy_from_slice(&x[self.turned..]);
            for (i, &(cos, sin)) in angles.iter().enumerate() {
                let (a, b) = (x[i], x[i + half]);
                y[i] = round(round(a * cos) - round(b * sin));
                y[i + half] = round(round(b * cos) + round(a * sin));
            }
        }
    }
}

impl CustomOp1 for RotateBf16 {
    fn name(&self) -> &'static str {
        "rotate_bf16"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = floats(storage, layout)?;
        let width = layout.dims()[layout.dims().len() - 1];
        let mut y = vec![0f32; x.len()];
        let chunk = ROWS * width;
        chunks(&mut y, chunk, |c, y| {
            let x = &x[c * chunk..][..y.len()];
            for (row, (x, y)) in x.chunks_exact(width).zip(y.chunks_exact_mut(width)).enumerate() {
                self.row((c * ROWS + row) % self.tokens, x, y);
            }
        });
        Ok((CpuStorage::F32(y), layout.shape().clone()))
    }
}
