//! Products with weights that are kept in bf16.

use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor};
use gemm::Parallelism;
use half::bf16;

use super::alone::{chunks, is_alone};
use super::math::vectorised;
use super::{ROWS, contiguous, floats};

/// y = x w^T + b, summed in f32 and rounded to bf16 once; `x [N, in]` in f32, `w [out, in]` and `b [out]` in bf16, y in f32.
///
/// The weights are widened block by block, so that no whole f32 copy of them is ever in memory. Without a gradient.
pub(crate) fn linear_bf16(x: &Tensor, w: &Tensor, b: Option<&Tensor>) -> Result<Tensor> {
    match b {
        Some(b) => x.contiguous()?.apply_op3_no_bwd(&w.contiguous()?, &b.contiguous()?, &LinearBf16),
        None => x.contiguous()?.apply_op2_no_bwd(&w.contiguous()?, &LinearBf16),
    }
}

struct LinearBf16;

/// Rows of w that are widened at once.
const BLOCK: usize = 1024;
/// Weights that one task widens.
const CHUNK: usize = 16_384;

fn halves<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [bf16]> {
    Ok(&storage.as_slice::<bf16>()?[contiguous(layout)?])
}

vectorised! {
    /// y += b (where there is one), rounded to bf16.
    pub(super) fn finish_row(y: &mut [f32], b: &[f32]) {
        for (y, b) in y.iter_mut().zip(b) {
            let bits = (*y + b).to_bits();
            *y = f32::from_bits(bits.wrapping_add(0x7FFF + ((bits >> 16) & 1)) & 0xFFFF_0000);
        }
    }
}

fn forward(x: &[f32], w: &[bf16], b: Option<&[bf16]>, inputs: usize) -> Vec<f32> {
    let (rows, out) = (x.len() / inputs, w.len() / inputs);
    let mut y = vec![0f32; rows * out];
    let mut wide = vec![0f32; BLOCK.min(out) * inputs];
    for start in (0..out).step_by(BLOCK) {
        let count = BLOCK.min(out - start);
        let block = &w[start * inputs..(start + count) * inputs];
        chunks(&mut wide[..block.len()], CHUNK, |c, wide| {
            wide.iter_mut().zip(&block[c * CHUNK..]).for_each(|(wide, w)| *wide = w.to_f32());
        });
        // SAFETY: x is [rows, inputs], wide holds `count` rows of w, and columns start .. start + count of y [rows, out] are
        // written by this call alone.
        unsafe {
            gemm::gemm(
                rows,
                count,
                inputs,
                y.as_mut_ptr().add(start),
                1,
                out as isize,
                false,
                x.as_ptr(),
                1,
                inputs as isize,
                wide.as_ptr(),
                inputs as isize,
                1,
                0.0f32,
                1.0f32,
                false,
                false,
                false,
                if is_alone() { Parallelism::None } else { Parallelism::Rayon(rayon::current_num_threads()) },
            );
        }
    }
    let bias: Vec<f32> = b.map_or(vec![0.0; out], |b| b.iter().map(|b| b.to_f32()).collect());
    chunks(&mut y, ROWS * out, |_, rows| rows.chunks_exact_mut(out).for_each(|row| finish_row(row, &bias)));
    y
}

fn shape(x: &Layout, w: &Layout) -> Result<(usize, Shape)> {
    let (rows, inputs) = x.shape().dims2()?;
    let (out, expected) = w.shape().dims2()?;
    if inputs != expected || inputs == 0 {
        candle_core::bail!("linear_bf16: x is [{rows}, {inputs}], w is [{out}, {expected}]");
    }
    Ok((inputs, Shape::from((rows, out))))
}

impl CustomOp2 for LinearBf16 {
    fn name(&self) -> &'static str {
        "linear_bf16"
    }

    fn cpu_fwd(&self, s1: &CpuStorage, l1: &Layout, s2: &CpuStorage, l2: &Layout) -> Result<(CpuStorage, Shape)> {
        let (inputs, shape) = shape(l1, l2)?;
        Ok((CpuStorage::F32(forward(floats(s1, l1)?, halves(s2, l2)?, None, inputs)), shape))
    }
}

impl CustomOp3 for LinearBf16 {
    fn name(&self) -> &'static str {
        "linear_bf16"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
        s3: &CpuStorage,
        l3: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (inputs, shape) = shape(l1, l2)?;
        Ok((CpuStorage::F32(forward(floats(s1, l1)?, halves(s2, l2)?, Some(halves(s3, l3)?), inputs)), shape))
    }
}
