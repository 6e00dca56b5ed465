//! Products with weights that do not change.

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};

use super::alone::{is_alone, tasks};
use super::panel::{Left, Out, PANEL, Panels, multiply};
use super::{Shared, floats, values};

/// Rows and panels that one task multiplies.
const ROWS: usize = 112;
const PANELS: usize = 16;

/// Weights `[out, in]`, laid out once for [`linear`].
pub(crate) fn packed(w: &Tensor) -> Result<Arc<Panels>> {
    let (out, inputs) = w.dims2()?;
    let w = w.contiguous()?;
    Ok(Arc::new(Panels::of_transposed(&values(&w)?, out, inputs)))
}

/// y = x w^T + b without a gradient; `x [N, in]`, y `[N, out]`.
pub(crate) fn linear(x: &Tensor, w: &Arc<Panels>, bias: Option<&Tensor>) -> Result<Tensor> {
    let (_, inputs) = x.dims2()?;
    if inputs != w.depth() {
        candle_core::bail!("linear: rows of {inputs} values for weights [{}, {}]", w.width(), w.depth());
    }
    let bias = bias.map(|bias| bias.to_vec1::<f32>()).transpose()?;
    x.contiguous()?.apply_op1_no_bwd(&Linear { w: w.clone(), bias })
}

struct Linear {
    w: Arc<Panels>,
    bias: Option<Vec<f32>>,
}

impl Linear {
    fn forward(&self, x: &[f32]) -> Vec<f32> {
        let (depth, width) = (self.w.depth(), self.w.width());
        let rows = x.len() / depth.max(1);
        let mut y = Vec::with_capacity(rows * width);
        let to = Shared(y.as_mut_ptr());
        let panels = width.div_ceil(PANEL);
        // One task is a block of rows and all panels where rows are plenty, a few panels where they are not.
        let across = if is_alone() || rows >= 8 * ROWS { 1 } else { panels.div_ceil(PANELS) };
        let tall = if is_alone() { rows.max(1) } else { ROWS };
        tasks(rows.div_ceil(tall) * across, |task| {
            let (first, part) = (task / across * tall, task % across);
            let count = tall.min(rows - first);
            let some = if across == 1 { 0..panels } else { part * PANELS..((part + 1) * PANELS).min(panels) };
            let (start, end) = (some.start * PANEL, (some.end * PANEL).min(width));
            let left = Left { values: &x[first * depth..(first + count) * depth], rows: count, stride: depth };
            // SAFETY: these rows and columns of y lie within its capacity and belong to this task alone.
            unsafe {
                let out = Out { start: to.at(first * width + start), stride: width };
                multiply(left, &self.w.part(0..depth, some), out);
                if let Some(bias) = &self.bias {
                    for r in 0..count {
                        for (j, b) in bias[start..end].iter().enumerate() {
                            *out.start.add(r * width + j) += b;
                        }
                    }
                }
            }
        });
        // SAFETY: the tasks wrote every place.
        unsafe { y.set_len(rows * width) };
        y
    }
}

impl CustomOp1 for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let y = self.forward(floats(storage, layout)?);
        Ok((CpuStorage::F32(y), Shape::from((layout.dims()[0], self.w.width()))))
    }
}
