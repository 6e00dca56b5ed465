//! Rotary position embedding.

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};

use super::alone::chunks;
use super::{ROWS, floats};

/// Turns each pair (x_i, x_{i + m/2}) among the first m = `turned` coordinates of each head of `x [B * T, heads * n]` by the angle
/// of its position (row modulo T); the others stay. `angles` holds (cos, sin) `[>= T, m/2]`.
pub(crate) fn rotate(
    x: &Tensor,
    angles: &Arc<Vec<(f32, f32)>>,
    head: usize,
    turned: usize,
    tokens: usize,
) -> Result<Tensor> {
    x.contiguous()?.apply_op1(Rotate { angles: angles.clone(), head, turned, tokens, sign: 1.0, rounds: false })
}

/// [`rotate`] where both products and their sum are rounded to bf16, as torch has them. Without a gradient.
pub(crate) fn rotate_bf16(
    x: &Tensor,
    angles: &Arc<Vec<(f32, f32)>>,
    head: usize,
    turned: usize,
    tokens: usize,
) -> Result<Tensor> {
    let op = Rotate { angles: angles.clone(), head, turned, tokens, sign: 1.0, rounds: true };
    x.contiguous()?.apply_op1_no_bwd(&op)
}

struct Rotate {
    angles: Arc<Vec<(f32, f32)>>,
    head: usize,
    turned: usize,
    tokens: usize,
    sign: f32,
    /// To bf16.
    rounds: bool,
}

/// (a, b) turned by the angle with this cosine and sine.
#[inline(always)]
fn turn(a: f32, b: f32, cos: f32, sin: f32) -> (f32, f32) {
    (a * cos - b * sin, b * cos + a * sin)
}

/// The same, rounded to bf16 after each operation.
#[inline(always)]
fn turn_bf16(a: f32, b: f32, cos: f32, sin: f32) -> (f32, f32) {
    (round(round(a * cos) - round(b * sin)), round(round(b * cos) + round(a * sin)))
}

/// The nearest bf16 of a finite number.
#[inline(always)]
fn round(x: f32) -> f32 {
    let bits = x.to_bits();
    f32::from_bits(bits.wrapping_add(0x7FFF + ((bits >> 16) & 1)) & 0xFFFF_0000)
}

impl Rotate {
    #[inline(always)]
    fn row(&self, position: usize, x: &[f32], y: &mut [f32], turn: impl Fn(f32, f32, f32, f32) -> (f32, f32)) {
        let half = self.turned / 2;
        let angles = &self.angles[position * half..(position + 1) * half];
        for (x, y) in x.chunks_exact(self.head).zip(y.chunks_exact_mut(self.head)) {
            let ((x, x_rest), (y, y_rest)) = (x.split_at(self.turned), y.split_at_mut(self.turned));
            y_rest.copy_from_slice(x_rest);
            let ((xa, xb), (ya, yb)) = (x.split_at(half), y.split_at_mut(half));
            for (i, &(cos, sin)) in angles.iter().enumerate() {
                let sin = sin * self.sign;
                (ya[i], yb[i]) = turn(xa[i], xb[i], cos, sin);
            }
        }
    }
}

impl CustomOp1 for Rotate {
    fn name(&self) -> &'static str {
        if self.rounds { "rotate_bf16" } else { "rotate" }
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = floats(storage, layout)?;
        let width = layout.dims()[layout.dims().len() - 1];
        let mut y = vec![0f32; x.len()];
        let chunk = ROWS * width;
        chunks(&mut y, chunk, |c, y| {
            let x = &x[c * chunk..][..y.len()];
            for (row, (x, y)) in x.chunks_exact(width).zip(y.chunks_exact_mut(width)).enumerate() {
                let position = (c * ROWS + row) % self.tokens;
                match self.rounds {
                    false => self.row(position, x, y, turn),
                    true => self.row(position, x, y, turn_bf16),
                }
            }
        });
        Ok((CpuStorage::F32(y), layout.shape().clone()))
    }

    /// The transpose of a rotation is the rotation back.
    fn bwd(&self, _: &Tensor, _: &Tensor, g: &Tensor) -> Result<Option<Tensor>> {
        let back = Rotate { angles: self.angles.clone(), sign: -self.sign, ..*self };
        Ok(Some(g.contiguous()?.apply_op1_no_bwd(&back)?))
    }
}
