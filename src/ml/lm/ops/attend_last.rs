//! Attention of one new token to those before it.

use candle_core::{Result, Tensor};

use super::alone::tasks;
use super::attention::soften;
use super::math::{sum, vectorised};
use super::{Attention, Shared, values};

/// Keys and values of a sequence, `[T, kv_heads * n]` each.
pub(crate) struct Seen<'a> {
    pub keys: &'a [f32],
    pub values: &'a [f32],
}

/// [`super::attention`] of the last token of each of B sequences: `q [B, heads * n]`, `seen` with the T tokens that it looks at, itself among
/// them; result like q. Without a gradient. Of `shape` neither the number of tokens nor the window is asked.
pub(crate) fn attend_last(q: &Tensor, seen: &[Seen<'_>], shape: Attention) -> Result<Tensor> {
    let q = q.contiguous()?;
    let (rows, width) = q.dims2()?;
    let mut out = vec![0f32; rows * width];
    let shared = Shared(out.as_mut_ptr());
    let queries = values(&q)?;
    let (n, group, stride) = (shape.head, shape.heads / shape.kv_heads, shape.kv_heads * shape.head);
    tasks(rows * shape.heads, |task| {
        let (row, head) = (task / shape.heads, task % shape.heads);
        let at = row * width + head * n;
        // SAFETY: each task has a head of a row of its own.
        let out = unsafe { std::slice::from_raw_parts_mut(shared.at(at), n) };
        let from = head / group * n;
        let Seen { keys, values } = seen[row];
        look(&queries[at..at + n], &keys[from..], &values[from..], keys.len() / stride, stride, shape, out);
    });
    drop(queries);
    Tensor::from_vec(out, (rows, width), q.device())
}

vectorised! {
    /// softmax(cap(scale q k^T)) v of one query over `tokens` rows that are `stride` apart.
    pub(super) fn look(
        q: &[f32],
        keys: &[f32],
        values: &[f32],
        tokens: usize,
        stride: usize,
        shape: Attention,
        out: &mut [f32],
    ) {
        let n = q.len();
        let mut scores = vec![0f32; tokens];
        for (t, score) in scores.iter_mut().enumerate() {
            let key = &keys[t * stride..t * stride + n];
            *score = sum(n, |i| q[i] * key[i]);
        }
        soften(&mut scores, shape.scale, shape.cap.unwrap_or(0.0));
        for (t, share) in scores.iter().enumerate() {
            let value = &values[t * stride..t * stride + n];
            for (out, value) in out.iter_mut().zip(value) {
                *out += share * value;
            }
        }
    }
}
