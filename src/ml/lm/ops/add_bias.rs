//! A bias on every row.

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::alone::chunks;
use super::{ROWS, floats, values};

/// y = x + b; `x [N, n]`, `b [n]`.
pub(crate) fn add_bias(x: &Tensor, b: &Tensor) -> Result<Tensor> {
    x.contiguous()?.apply_op2(&b.contiguous()?, AddBias)
}

struct AddBias;

impl CustomOp2 for AddBias {
    fn name(&self) -> &'static str {
        "add_bias"
    }

    fn cpu_fwd(&self, s1: &CpuStorage, l1: &Layout, s2: &CpuStorage, l2: &Layout) -> Result<(CpuStorage, Shape)> {
        let (x, b) = (floats(s1, l1)?, floats(s2, l2)?);
        let mut y = x.to_vec();
        chunks(&mut y, ROWS * b.len(), |_, rows| {
            for row in rows.chunks_exact_mut(b.len()) {
                row.iter_mut().zip(b).for_each(|(y, b)| *y += b);
            }
        });
        Ok((CpuStorage::F32(y), l1.shape().clone()))
    }

    /// The gradient of b is the sum of the rows, in chunks of a fixed size.
    fn bwd(&self, _: &Tensor, b: &Tensor, _: &Tensor, g: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let g = g.contiguous()?;
        let guard = values(&g)?;
        let gs: &[f32] = &guard;
        let n = b.elem_count();
        let parts: Vec<Vec<f32>> = gs
            .par_chunks(ROWS * n)
            .map(|rows| {
                let mut part = vec![0f32; n];
                for row in rows.chunks_exact(n) {
                    part.iter_mut().zip(row).for_each(|(total, g)| *total += g);
                }
                part
            })
            .collect();
        let mut db = vec![0f32; n];
        for part in parts {
            db.iter_mut().zip(part).for_each(|(total, p)| *total += p);
        }
        let db = Tensor::from_vec(db, n, g.device())?;
        drop(guard);
        Ok((Some(g), Some(db)))
    }
}
