//! Next-token predictions of changed runs beside those of the untouched one, a few positions at a time.
//!
//! Rows are `[P, d]`, what the head reads at P positions. Of the logits `[P, V]` of N runs never more than the model's
//! [`super::Pace`] says are there at once (or those of two runs at one position), however large N, P and V are.

use candle_core::Tensor;
use rayon::prelude::*;

use super::LanguageModel;
use super::ops::{Distribution, divergence, values};
use crate::ml::cuda::GpuLogits;
use crate::ml::{Error, Result, Watch};

/// Rows at once, however small the vocabulary is.
pub const ROWS: usize = 4096;

/// What a run predicts at one position. p is the untouched run's distribution, q this one's, r that of another model.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Prediction {
    /// KL(p || q).
    pub kl: f64,
    /// KL(r || q), over the ids that both models have; 0 where there is no other model.
    pub kl_other: f64,
    /// -ln q of the token that comes.
    pub loss: f64,
    /// -ln q of the likeliest token of p.
    pub loss_likeliest: f64,
    /// Whether the likeliest token is the same.
    pub agrees: bool,
}

/// What another decoder reads at the same positions.
#[derive(Clone, Copy)]
pub struct Reading<'a> {
    pub decoder: &'a dyn LanguageModel,
    /// `[P, d]`.
    pub rows: &'a Tensor,
}

/// Predictions `[N + 1][P]`: first those of the untouched run, then those of each of `runs`. `next [P]` are the tokens that come.
pub fn predictions(
    decoder: &dyn LanguageModel,
    clean: &Tensor,
    runs: &[Tensor],
    other: Option<Reading>,
    next: &[u32],
    watch: &dyn Watch,
) -> Result<Vec<Vec<Prediction>>> {
    let (positions, vocabulary) = (next.len(), decoder.vocabulary());
    if std::iter::once(clean).chain(runs).any(|rows| rows.dims().first() != Some(&positions)) {
        return Err(Error::invalid("compare predictions", format!("rows are not those of {positions} positions")));
    }
    if let Some(token) = next.iter().find(|token| **token as usize >= vocabulary) {
        let problem = format!("token id {token}, but the model has {vocabulary} logits");
        return Err(Error::invalid("compare predictions", problem));
    }
    let mut found = vec![Vec::with_capacity(positions); runs.len() + 1];
    let most = (decoder.pace().logits / vocabulary.max(1)).clamp(2, ROWS);
    let together = runs.len().clamp(1, most - 1);
    let groups: Vec<&[Tensor]> = if runs.is_empty() { vec![&[]] } else { runs.chunks(together).collect() };
    let size = (most / (together + 1)).max(1);
    for start in (0..positions).step_by(size) {
        let count = size.min(positions - start);
        let next = &next[start..start + count];
        let cut = |rows: &Tensor| rows.narrow(0, start, count);
        let beside = match other {
            Some(other) => Some(other.decoder.logits_of(&cut(other.rows)?)?),
            None => None,
        };
        // The untouched run is projected anew for each group, so that it stands in the same product as those beside it.
        for (number, group) in groups.iter().enumerate() {
            if watch.stop() {
                return Err(Error::Interrupted);
            }
            let rows: Vec<Tensor> =
                std::iter::once(clean).chain(*group).map(cut).collect::<candle_core::Result<_>>()?;
            let predicted = decoder.logits_of(&Tensor::cat(&rows, 0)?)?.compare(beside.as_ref(), next)?;
            let mut parts = predicted.chunks(count);
            let own = parts.next().unwrap_or_default();
            if number == 0 {
                found[0].extend_from_slice(own);
            }
            for (run, part) in parts.enumerate() {
                found[1 + number * together + run].extend_from_slice(part);
            }
        }
    }
    Ok(found)
}

/// Rows of logits `[N, V]`, where the model that made them is.
pub enum Logits {
    Cpu(Tensor),
    Gpu(GpuLogits),
}

impl Logits {
    /// As a tensor of the CPU.
    pub fn tensor(&self) -> Result<Tensor> {
        match self {
            Logits::Cpu(logits) => Ok(logits.clone()),
            Logits::Gpu(logits) => logits.tensor(),
        }
    }

    /// Of the logits `[(N + 1) P, V]`, the untouched run first: `(N + 1) P` predictions. `beside` are those `[P, V']` of another model,
    /// `next [P]` the tokens that come.
    fn compare(&self, beside: Option<&Logits>, next: &[u32]) -> Result<Vec<Prediction>> {
        match (self, beside) {
            (Logits::Cpu(logits), None) => compare(logits, None, next),
            (Logits::Cpu(logits), Some(Logits::Cpu(beside))) => compare(logits, Some(beside), next),
            (Logits::Gpu(logits), None) => logits.compare(None, next),
            (Logits::Gpu(logits), Some(Logits::Gpu(beside))) => logits.compare(Some(beside), next),
            _ => Err(Error::invalid("compare predictions", "one model is on the CPU, the other on a GPU")),
        }
    }
}

/// Of the logits `[(N + 1) P, V]`, the untouched run first: `(N + 1) P` predictions.
fn compare(logits: &Tensor, beside: Option<&Tensor>, next: &[u32]) -> Result<Vec<Prediction>> {
    let (positions, vocabulary) = (next.len(), logits.dim(1)?);
    let x = values(logits)?;
    let x: &[f32] = &x;
    let other = beside.map(values).transpose()?;
    // Ids that only one of the two models has are no tokens.
    let width = beside.map_or(Ok(0), |beside| beside.dim(1))?;
    let common = width.min(vocabulary);
    let others: Vec<&[f32]> = match &other {
        Some(other) => other.chunks_exact(width).map(|row| &row[..common]).collect(),
        None => Vec::new(),
    };
    let of_others: Vec<Distribution> = others.par_iter().map(|row| Distribution::of(row)).collect();
    let clean: Vec<Distribution> =
        x[..positions * vocabulary].par_chunks_exact(vocabulary).map(Distribution::of).collect();
    let rows = x.par_chunks_exact(vocabulary).enumerate();
    Ok(rows
        .map(|(row, b)| {
            let position = row % positions;
            let a = &x[position * vocabulary..][..vocabulary];
            let (p, q) = (clean[position], Distribution::of(b));
            let kl_other = others.get(position).map_or(0.0, |r| {
                let cut = &b[..common];
                let q = if common == vocabulary { q } else { Distribution::of(cut) };
                divergence(r, &of_others[position], cut, &q)
            });
            Prediction {
                kl: divergence(a, &p, b, &q),
                kl_other,
                loss: q.surprise(b[next[position] as usize]),
                loss_likeliest: q.surprise(b[p.likeliest]),
                agrees: p.likeliest == q.likeliest,
            }
        })
        .collect())
}
