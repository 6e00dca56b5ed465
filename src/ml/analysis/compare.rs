//! The latents of two crosscoders, matched by their decoders.

use rayon::prelude::*;

use super::vectors::{cosine, unit_rows};
use crate::ml::crosscoder::Crosscoder;
use crate::ml::kernels::{Matrix, product};
use crate::ml::{BASE, Error, Progress, Result, TUNED, Watch};

/// Latents whose cosines are in memory at a time: 8 MiB.
const ROWS: usize = 512;
const COLUMNS: usize = 4096;
/// Columns that one thread looks at.
const STRIPE: usize = 256;

/// [d_j^base, d_j^tuned] of every latent, of norm 1; or d_j^m of one model, where an autoencoder has but one vector.
#[derive(Clone, Debug)]
pub struct Directions {
    /// `[D, 2d]` or `[D, d]`.
    rows: Vec<f32>,
    /// 2d or d.
    width: usize,
    /// Whether both decoder vectors are zero.
    zero: Vec<bool>,
}

impl Directions {
    /// Of a crosscoder. Where it brought a normaliser along, its decoders are compared on the normaliser's scale (docs/method.md 1.6).
    pub fn of(crosscoder: &Crosscoder) -> Self {
        Directions::among(crosscoder, &[BASE, TUNED])
    }

    /// Of one model's decoders alone.
    pub fn in_model(crosscoder: &Crosscoder, model: usize) -> Self {
        Directions::among(crosscoder, &[model])
    }

    fn among(crosscoder: &Crosscoder, models: &[usize]) -> Self {
        let laid = |j: usize| -> Vec<f32> {
            let of = |m: usize| crosscoder.decoder_row(m, j).iter().map(move |x| x * crosscoder.norm_unit(m));
            models.iter().flat_map(|&m| of(m)).collect()
        };
        let rows = unit_rows((0..crosscoder.latents).map(laid));
        let width = models.len() * crosscoder.width;
        let zero = rows.chunks(width.max(1)).map(|row| row.iter().all(|x| *x == 0.0)).collect();
        Directions { rows, width, zero }
    }

    /// D.
    pub fn latents(&self) -> usize {
        self.zero.len()
    }

    fn row(&self, j: usize) -> &[f32] {
        &self.rows[j * self.width..(j + 1) * self.width]
    }

    fn block(&self, from: usize, count: usize) -> Matrix<'_> {
        Matrix::new(&self.rows[from * self.width..], count, self.width)
    }
}

/// The best match of a latent; nothing for a latent without a direction.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct BestMatch {
    pub latent: Option<u32>,
    pub cosine: Option<f64>,
    /// It is also the best match of its match.
    pub mutual: bool,
}

/// For every latent of `a` the latent of `b` with the largest cosine (the first of several), in blocks: no D x D matrix is kept.
pub fn compare(a: &Directions, b: &Directions, watch: &dyn Watch) -> Result<Vec<BestMatch>> {
    if a.width != b.width {
        let problem = format!("crosscoders of width {} and {}", a.width / 2, b.width / 2);
        return Err(Error::invalid("compare", problem));
    }
    let mut best_of_a = vec![Best::default(); a.latents()];
    let mut best_of_b = vec![Best::default(); b.latents()];
    let mut cosines = Vec::new();
    for from_a in (0..a.latents()).step_by(ROWS) {
        let rows = ROWS.min(a.latents() - from_a);
        for from_b in (0..b.latents()).step_by(COLUMNS) {
            if watch.stop() {
                return Err(Error::Interrupted);
            }
            let columns = COLUMNS.min(b.latents() - from_b);
            cosines.resize(rows * columns, 0.0);
            product(&mut cosines, a.block(from_a, rows), b.block(from_b, columns).transposed());
            let of_a = best_of_a[from_a..from_a + rows].par_iter_mut().zip(cosines.par_chunks(columns));
            of_a.enumerate().filter(|(i, _)| !a.zero[from_a + i]).for_each(|(_, (best, cosines))| {
                for (column, &cosine) in cosines.iter().enumerate().filter(|(c, _)| !b.zero[from_b + c]) {
                    best.offer(from_b + column, cosine);
                }
            });
            let of_b = best_of_b[from_b..from_b + columns].par_chunks_mut(STRIPE).enumerate();
            of_b.for_each(|(stripe, bests)| {
                let first = stripe * STRIPE;
                for (row, cosines) in cosines.chunks(columns).enumerate().filter(|(i, _)| !a.zero[from_a + i]) {
                    for (best, &cosine) in bests.iter_mut().zip(&cosines[first..]) {
                        best.offer(from_a + row, cosine);
                    }
                }
            });
        }
        watch.progress(&Progress { done: (from_a + rows) as u64, total: a.latents() as u64, loss: None });
    }
    let matched = |(j, best): (usize, &Best)| match best.latent {
        None => BestMatch::default(),
        Some(k) => BestMatch {
            latent: Some(k as u32),
            cosine: cosine(a.row(j), b.row(k)),
            mutual: best_of_b[k].latent == Some(j),
        },
    };
    Ok(best_of_a.iter().enumerate().map(matched).collect())
}

/// The largest cosine so far.
#[derive(Clone, Copy, Default)]
struct Best {
    latent: Option<usize>,
    cosine: f32,
}

impl Best {
    fn offer(&mut self, latent: usize, cosine: f32) {
        if self.latent.is_none() || cosine > self.cosine {
            *self = Best { latent: Some(latent), cosine };
        }
    }
}
