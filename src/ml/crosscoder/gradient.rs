//! The gradient of the loss by each latent's weights.
//!
//! With G = dL/dhhat `[B, 2d]` and g_ij = dL/dp_ij (0 where latent j is inactive in row i):
//! dL/dd_j = sum_i f_ij G_i (+ the L1 penalty's share), dL/de_j = sum_i g_ij x_i, dL/db_j = sum_i g_ij.

use std::cell::RefCell;

use rayon::prelude::*;

use super::CodeNorm;
use super::autoencoder::without_parallel;
use crate::ml::kernels::{Columns, gather_sum, squared_norm};

/// Latents whose gradients one thread makes at a time.
const CHUNK: usize = 16;

/// dL/dS_j is `weight` times the sum of f_ij over the batch.
#[derive(Clone, Copy)]
pub struct Penalty {
    /// mu / B.
    pub weight: f32,
    pub norm: CodeNorm,
}

/// Where the gradient of a latent comes from.
pub enum Gradient<'a> {
    /// Gathered from the rows in which the latent is active; no gradient tensor is stored.
    Sparse {
        columns: &'a Columns,
        /// `[B, 2d]`.
        x: &'a [f32],
        /// G `[B, 2d]`.
        upstream: &'a [f32],
        /// dL_aux/dehat `[B, 2d]` for the latents that are in the auxiliary code (which are not in the main one).
        auxiliary: &'a [f32],
        /// Which latents those are, `[D]`.
        is_auxiliary: &'a [bool],
        /// Decoder vectors keep norm 1: what would change it is left out.
        unit: bool,
    },
    /// Made by dense products.
    Dense {
        /// `[D, 2d]`.
        encoder: &'a [f32],
        /// `[D, 2d]`, without the penalty.
        decoder: &'a [f32],
        /// `[D]`.
        bias: &'a [f32],
        /// Sum over the batch of f, `[D]`.
        activity: &'a [f32],
    },
}

/// Gradient of one latent: buffers `[2d]` that are used again for the next one.
pub struct LatentGradient {
    pub encoder: Vec<f32>,
    pub decoder: Vec<f32>,
    pub bias: f32,
}

thread_local! {
    static HERE: RefCell<LatentGradient> =
        const { RefCell::new(LatentGradient { encoder: Vec::new(), decoder: Vec::new(), bias: 0.0 }) };
}

impl LatentGradient {
    /// Lends the buffers of this thread.
    pub fn here<T>(both: usize, work: impl FnOnce(&mut LatentGradient) -> T) -> T {
        HERE.with_borrow_mut(|latent| {
            latent.encoder.resize(both, 0.0);
            latent.decoder.resize(both, 0.0);
            work(latent)
        })
    }

    fn squared_norm(&self) -> f64 {
        squared_norm(&self.encoder) as f64 + squared_norm(&self.decoder) as f64 + (self.bias as f64).powi(2)
    }
}

impl Gradient<'_> {
    /// Writes the gradient of latent j; false when it is zero (then `out` is zero as well). `row` is d_j `[2d]` and
    /// `norms` its two norms.
    pub fn write(
        &self,
        j: usize,
        row: &[f32],
        norms: [f32; 2],
        penalty: Option<Penalty>,
        out: &mut LatentGradient,
    ) -> bool {
        let both = row.len();
        out.encoder.fill(0.0);
        out.decoder.fill(0.0);
        out.bias = 0.0;
        let activity = match self {
            Gradient::Sparse { columns, x, upstream, auxiliary, is_auxiliary, unit } => {
                let (rows, values, gradients) = columns.column(j);
                if rows.is_empty() {
                    return false;
                }
                gather_sum(&mut out.decoder, values, rows, if is_auxiliary[j] { auxiliary } else { upstream });
                if *unit {
                    without_parallel(row, &mut out.decoder);
                }
                gather_sum(&mut out.encoder, gradients, rows, x);
                out.bias = gradients.iter().sum();
                values.iter().sum()
            }
            Gradient::Dense { encoder, decoder, bias, activity } => {
                if activity[j] == 0.0 {
                    return false;
                }
                out.encoder.copy_from_slice(&encoder[j * both..(j + 1) * both]);
                out.decoder.copy_from_slice(&decoder[j * both..(j + 1) * both]);
                out.bias = bias[j];
                activity[j]
            }
        };
        if let Some(penalty) = penalty {
            penalty.add(activity, row, norms, &mut out.decoder);
        }
        true
    }

    /// dL/db_j, which is also what flows back through the encoder of latent j.
    fn bias(&self, j: usize) -> f32 {
        match self {
            Gradient::Sparse { columns, .. } => columns.column(j).2.iter().sum(),
            Gradient::Dense { bias, .. } => bias[j],
        }
    }

    /// sum_i dL/dx_i = sum_j dL/db_j e_j `[2d]`, through encoder rows `[D, 2d]`, in chunks of latents summed in order: the first numbers of
    /// `parts`.
    pub fn through_encoder<'p>(&self, encoder: &[f32], both: usize, parts: &'p mut Vec<f64>) -> &'p [f64] {
        parts.clear();
        parts.resize(encoder.len().div_ceil(CHUNK * both) * both, 0.0);
        encoder.par_chunks(CHUNK * both).zip(parts.par_chunks_mut(both)).enumerate().for_each(
            |(chunk, (rows, sum))| {
                for (i, row) in rows.chunks(both).enumerate() {
                    let flow = f64::from(self.bias(chunk * CHUNK + i));
                    if flow != 0.0 {
                        sum.iter_mut().zip(row).for_each(|(s, &e)| *s += flow * f64::from(e));
                    }
                }
            },
        );
        let (total, rest) = parts.split_at_mut(both);
        rest.chunks(both).for_each(|part| total.iter_mut().zip(part).for_each(|(t, p)| *t += p));
        total
    }

    /// Squared norm of the gradient of all latents' weights, summed in `parts`.
    pub fn squared_norm(
        &self,
        decoder: &[f32],
        norms: &[[f32; 2]],
        both: usize,
        penalty: Option<Penalty>,
        parts: &mut Vec<f64>,
    ) -> f64 {
        decoder
            .par_chunks(CHUNK * both)
            .enumerate()
            .map(|(chunk, rows)| {
                LatentGradient::here(both, |gradient| {
                    let mut sum = 0.0;
                    for (i, row) in rows.chunks(both).enumerate() {
                        let j = chunk * CHUNK + i;
                        if self.write(j, row, norms[j], penalty, gradient) {
                            sum += gradient.squared_norm();
                        }
                    }
                    sum
                })
            })
            .collect_into_vec(parts);
        parts.iter().sum()
    }
}

impl Penalty {
    /// Adds weight * activity * dS/dd_j: d/||d|| of each model (sum), d/S (concat), both in their proportion (mixed); 0 at norm 0.
    fn add(&self, activity: f32, row: &[f32], norms: [f32; 2], out: &mut [f32]) {
        let width = row.len() / 2;
        let whole = self.norm.of(norms[0], norms[1]);
        for model in 0..2 {
            let size = match self.norm {
                CodeNorm::Sum => norms[model],
                CodeNorm::Concat => whole,
                CodeNorm::None => return,
                // 1 / size is the sum of both.
                CodeNorm::Mixed { sae, cc } => {
                    let concat = CodeNorm::Concat.of(norms[0], norms[1]);
                    (norms[model] * concat) / (sae * norms[model] + cc * concat)
                }
            };
            if size > 0.0 {
                let factor = self.weight * activity / size;
                let part = model * width..(model + 1) * width;
                out[part.clone()].iter_mut().zip(&row[part]).for_each(|(o, d)| *o += factor * d);
            }
        }
    }
}
