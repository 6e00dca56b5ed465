//! Causal attention with grouped keys, a sliding window and a soft cap.

use std::cell::RefCell;

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor};
use gemm::Parallelism;
use rayon::prelude::*;

use super::alone::tasks;
use super::math::{exp, max, sum, tanh, vectorised};
use super::panel::{Left, Out, PANEL, Panels, multiply};
use super::{Shared, floats, values};

/// Queries that are multiplied with the same keys at a time.
const QUERIES: usize = 28;

/// What a thread keeps from one sequence to the next.
struct Scratch {
    /// K^T `[n, T]`.
    keys: Panels,
    /// V `[T, n]`.
    values: Panels,
    scores: Vec<f32>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> =
        const { RefCell::new(Scratch { keys: Panels::empty(), values: Panels::empty(), scores: Vec::new() }) };
}

/// Shapes and constants of one attention; n is `head`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attention {
    /// Query heads and key/value heads.
    pub heads: usize,
    pub kv_heads: usize,
    /// n.
    pub head: usize,
    /// T.
    pub tokens: usize,
    /// Scores are scale * q . k.
    pub scale: f32,
    /// Scores become cap * tanh(score / cap).
    pub cap: Option<f32>,
    /// A token sees itself and the window - 1 tokens before it.
    pub window: Option<usize>,
}

/// softmax(mask(cap(scale q k^T))) v; `q [B * T, heads * n]`, `k` and `v [B * T, kv_heads * n]`, result like q.
pub(crate) fn attention(q: &Tensor, k: &Tensor, v: &Tensor, shape: Attention) -> Result<Tensor> {
    q.contiguous()?.apply_op3(&k.contiguous()?, &v.contiguous()?, shape)
}

vectorised! {
    /// Turns the raw products of one query into probabilities.
    pub(super) fn soften(row: &mut [f32], scale: f32, cap: f32) {
        let n = row.len();
        if cap > 0.0 {
            let inner = scale / cap;
            for x in row.iter_mut() {
                *x = cap * tanh(*x * inner);
            }
        } else {
            for x in row.iter_mut() {
                *x *= scale;
            }
        }
        let top = max(row);
        for x in row.iter_mut() {
            *x = exp(*x - top);
        }
        let share = 1.0 / sum(n, |i| row[i]);
        for x in row.iter_mut() {
            *x *= share;
        }
    }
}

/// Turns raw products `[T, T]` into probabilities; zero where a token does not look.
fn probabilities(scores: &mut [f32], tokens: usize, window: usize, scale: f32, cap: f32) {
    for (t, row) in scores.chunks_exact_mut(tokens).enumerate() {
        let low = (t + 1).saturating_sub(window);
        row[..low].fill(0.0);
        row[t + 1..].fill(0.0);
        soften(&mut row[low..=t], scale, cap);
    }
}

vectorised! {
    /// From raw products `scores`, probabilities `p` and their gradient `dp`, all `[T, T]`: the gradient of the raw products,
    /// into `dp`.
    pub(super) fn score_gradient(scores: &[f32], p: &[f32], dp: &mut [f32], tokens: usize, window: usize, scale: f32, cap: f32) {
        let rows = scores.chunks_exact(tokens).zip(p.chunks_exact(tokens)).zip(dp.chunks_exact_mut(tokens));
        for (t, ((scores, p), dp)) in rows.enumerate() {
            let low = (t + 1).saturating_sub(window);
            dp[..low].fill(0.0);
            dp[t + 1..].fill(0.0);
            let (scores, p, dp) = (&scores[low..=t], &p[low..=t], &mut dp[low..=t]);
            let n = p.len();
            let mean = sum(n, |i| p[i] * dp[i]);
            if cap > 0.0 {
                let inner = scale / cap;
                for i in 0..n {
                    let c = tanh(scores[i] * inner);
                    dp[i] = p[i] * (dp[i] - mean) * scale * (1.0 - c * c);
                }
            } else {
                for i in 0..n {
                    dp[i] = p[i] * (dp[i] - mean) * scale;
                }
            }
        }
    }
}

/// A matrix within a buffer: first element, row and column stride.
#[derive(Clone, Copy)]
struct View(*const f32, usize, usize);

impl View {
    fn rows(values: &[f32], offset: usize, stride: usize) -> Self {
        View(values[offset..].as_ptr(), stride, 1)
    }

    fn transposed(self) -> Self {
        View(self.0, self.2, self.1)
    }
}

/// out[m, n] (+)= a[m, k] b[k, n] on one thread; `out` has row stride `stride`.
///
/// # Safety
/// The views and `out` must lie within their buffers, and nobody else may touch `out`.
unsafe fn product(sizes: (usize, usize, usize), a: View, b: View, out: *mut f32, stride: usize, add: bool) {
    let (m, n, k) = sizes;
    // SAFETY: the caller's promise.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out,
            1,
            stride as isize,
            add,
            a.0,
            a.2 as isize,
            a.1 as isize,
            b.0,
            b.2 as isize,
            b.1 as isize,
            1.0f32,
            1.0f32,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

impl Attention {
    fn group(&self) -> usize {
        self.heads / self.kv_heads
    }

    fn window(&self) -> usize {
        self.window.unwrap_or(self.tokens).min(self.tokens)
    }

    fn cap(&self) -> f32 {
        self.cap.unwrap_or(0.0)
    }

    /// Raw products of head `h` of sequence `b` into `scores [T, T]`.
    fn scores(&self, q: &[f32], k: &[f32], b: usize, h: usize, scores: &mut [f32]) {
        let (t, n) = (self.tokens, self.head);
        let (q_width, k_width) = (self.heads * n, self.kv_heads * n);
        let q = View::rows(q, b * t * q_width + h * n, q_width);
        let k = View::rows(k, b * t * k_width + h / self.group() * n, k_width);
        // SAFETY: T rows of n values each lie within q and k; scores has T * T places.
        unsafe { product((t, t, n), q, k.transposed(), scores.as_mut_ptr(), t, false) };
    }

    /// By blocks of queries: keys that no query of the block looks at are not multiplied.
    fn forward(&self, q: &[f32], k: &[f32], v: &[f32]) -> Vec<f32> {
        let mut out = Vec::with_capacity(q.len());
        let shared = Shared(out.as_mut_ptr());
        tasks(q.len() / (self.tokens * self.heads * self.head) * self.kv_heads, |task| {
            let (b, kv) = (task / self.kv_heads, task % self.kv_heads);
            SCRATCH.with_borrow_mut(|scratch| self.sequence(q, k, v, b, kv, shared, scratch));
        });
        // SAFETY: the tasks wrote every place.
        unsafe { out.set_len(q.len()) };
        out
    }

    /// The heads that share keys `kv` of sequence `b`.
    #[allow(clippy::too_many_arguments)]
    fn sequence(&self, q: &[f32], k: &[f32], v: &[f32], b: usize, kv: usize, out: Shared, scratch: &mut Scratch) {
        let (t, n) = (self.tokens, self.head);
        let (q_width, k_width) = (self.heads * n, self.kv_heads * n);
        let k_at = b * t * k_width + kv * n;
        scratch.keys.fill_transposed(&k[k_at..], t, n, k_width);
        scratch.values.fill(&v[k_at..], n, t, k_width);
        for first in (0..t).step_by(QUERIES) {
            let rows = QUERIES.min(t - first);
            let low = (first + 1).saturating_sub(self.window()) / PANEL * PANEL;
            let high = first + rows;
            // Not a power of two apart, so that rows fall on different places of the cache.
            let stride = (high - low).next_multiple_of(PANEL) + 16;
            let Scratch { keys, values, scores } = scratch;
            if scores.len() < rows * stride {
                scores.resize(rows * stride, 0.0);
            }
            for h in kv * self.group()..(kv + 1) * self.group() {
                let at = (b * t + first) * q_width + h * n;
                let q = Left { values: &q[at..], rows, stride: q_width };
                // SAFETY: `scores` has the room; head h in the rows of sequence b belongs to this task alone.
                unsafe {
                    let some = keys.part(0..n, low / PANEL..high.div_ceil(PANEL));
                    multiply(q, &some, Out { start: scores.as_mut_ptr(), stride });
                    for (r, row) in scores.chunks_exact_mut(stride).take(rows).enumerate() {
                        let from = (first + r + 1).saturating_sub(self.window()).max(low) - low;
                        let row = &mut row[..high - low];
                        row[..from].fill(0.0);
                        row[first + r + 1 - low..].fill(0.0);
                        soften(&mut row[from..first + r + 1 - low], self.scale, self.cap());
                    }
                    let p = Left { values: scores, rows, stride };
                    multiply(
                        p,
                        &values.part(low..high, 0..n.div_ceil(PANEL)),
                        Out { start: out.at(at), stride: q_width },
                    );
                }
            }
        }
    }

    /// Gradients of q, k and v, given the gradient `g` of the result.
    fn backward(&self, q: &[f32], k: &[f32], v: &[f32], g: &[f32]) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
        let (t, n) = (self.tokens, self.head);
        let (q_width, k_width) = (self.heads * n, self.kv_heads * n);
        let (mut dq, mut dk, mut dv) = (vec![0f32; q.len()], vec![0f32; k.len()], vec![0f32; v.len()]);
        let (to_q, to_k, to_v) = (Shared(dq.as_mut_ptr()), Shared(dk.as_mut_ptr()), Shared(dv.as_mut_ptr()));
        let tasks = q.len() / (t * q_width) * self.kv_heads;
        (0..tasks).into_par_iter().for_each_init(
            || (vec![0f32; t * t], vec![0f32; t * t], vec![0f32; t * t]),
            |(scores, p, dp), task| {
                let (b, kv) = (task / self.kv_heads, task % self.kv_heads);
                let k_at = b * t * k_width + kv * n;
                let (k_view, v_view) = (View::rows(k, k_at, k_width), View::rows(v, k_at, k_width));
                for member in 0..self.group() {
                    let h = kv * self.group() + member;
                    let q_at = b * t * q_width + h * n;
                    let (q_view, g_view) = (View::rows(q, q_at, q_width), View::rows(g, q_at, q_width));
                    self.scores(q, k, b, h, scores);
                    p.copy_from_slice(scores);
                    probabilities(p, t, self.window(), self.scale, self.cap());
                    // SAFETY: dp has T * T places.
                    unsafe { product((t, t, n), g_view, v_view.transposed(), dp.as_mut_ptr(), t, false) };
                    score_gradient(scores, p, dp, t, self.window(), self.scale, self.cap());
                    let (p, dp) = (View::rows(p, 0, t), View::rows(dp, 0, t));
                    // SAFETY: head h of q and head kv of k and v, in the rows of sequence b, belong to this task alone.
                    unsafe {
                        product((t, n, t), dp, k_view, to_q.at(q_at), q_width, false);
                        product((t, n, t), dp.transposed(), q_view, to_k.at(k_at), k_width, member > 0);
                        product((t, n, t), p.transposed(), g_view, to_v.at(k_at), k_width, member > 0);
                    }
                }
            },
        );
        (dq, dk, dv)
    }
}

impl CustomOp3 for Attention {
    fn name(&self) -> &'static str {
        "attention"
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
        let out = self.forward(floats(s1, l1)?, floats(s2, l2)?, floats(s3, l3)?);
        Ok((CpuStorage::F32(out), l1.shape().clone()))
    }

    fn bwd(
        &self,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        _: &Tensor,
        g: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let g = g.contiguous()?;
        let (dq, dk, dv) = self.backward(&values(q)?, &values(k)?, &values(v)?, &values(&g)?);
        let device = g.device();
        Ok((
            Some(Tensor::from_vec(dq, q.shape(), device)?),
            Some(Tensor::from_vec(dk, k.shape(), device)?),
            Some(Tensor::from_vec(dv, v.shape(), device)?),
        ))
    }
}
