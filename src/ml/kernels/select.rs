//! From preactivations to a sparse code: which latents stay active (docs/method.md 1.4).
//!
//! `products` are x W_enc `[B, D]` without the bias; r = ReLU(product + bias) is the value and v = r S the score.

use rayon::prelude::*;

use super::dispatched;
use crate::ml::crosscoder::SparseCode;

/// Rows that one thread scans at a time.
const CHUNK_ROWS: usize = 8;
/// Scores looked at to guess a lower bound of the batch top-k. The guess changes the speed only.
const SAMPLES: usize = 1 << 16;
/// Scores compared at a time before any one is looked at.
const BLOCK: usize = 32;

/// Preactivations of B rows.
#[derive(Clone, Copy)]
pub struct Preactivations<'a> {
    /// `[B, D]`, without the bias.
    pub products: &'a [f32],
    /// `[D]`.
    pub bias: &'a [f32],
    /// S `[D]`.
    pub norms: &'a [f32],
}

impl Preactivations<'_> {
    fn latents(&self) -> usize {
        self.bias.len()
    }

    pub(super) fn score(&self, index: usize) -> f32 {
        let latent = index % self.latents();
        (self.products[index] + self.bias[latent]).max(0.0) * self.norms[latent]
    }
}

/// Candidates of a chunk of rows.
#[derive(Default)]
struct Hits {
    /// End of each row.
    ends: Vec<usize>,
    latents: Vec<u32>,
    values: Vec<f32>,
    scores: Vec<f32>,
    /// Of one row: what a scan found, and scores to be put in order.
    found: Vec<(u32, f32, f32)>,
    ordered: Vec<f32>,
}

impl Hits {
    fn clear(&mut self) {
        self.ends.clear();
        self.truncate(0);
    }

    fn truncate(&mut self, kept: usize) {
        self.latents.truncate(kept);
        self.values.truncate(kept);
        self.scores.truncate(kept);
    }

    fn push(&mut self, latent: u32, value: f32, score: f32) {
        self.latents.push(latent);
        self.values.push(value);
        self.scores.push(score);
    }

    /// Adds the latents of one row whose score is over `bound` (at least 0).
    fn scan(&mut self, row: &[f32], at: &Preactivations, bound: f32) {
        let mut found = std::mem::take(&mut self.found);
        found.clear();
        scan_row(row, at.bias, at.norms, bound, &mut found);
        for &(latent, value, score) in &found {
            self.push(latent, value, score);
        }
        self.found = found;
    }

    fn copy(&mut self, from: usize, to: usize) {
        self.latents[to] = self.latents[from];
        self.values[to] = self.values[from];
        self.scores[to] = self.scores[from];
    }

    /// Drops all but the `k` best of the entries from `start` on; the earlier one of equals stays.
    fn keep_best(&mut self, start: usize, k: usize) {
        if self.scores.len() - start <= k {
            return;
        }
        self.ordered.clear();
        self.ordered.extend_from_slice(&self.scores[start..]);
        let (bound, mut ties) = cut(&mut self.ordered, k);
        let mut kept = start;
        for t in start..self.scores.len() {
            if stays(self.scores[t], bound, &mut ties) {
                self.copy(t, kept);
                kept += 1;
            }
        }
        self.truncate(kept);
    }

    /// Drops the entries that do not stay, of all rows in order.
    fn filter(&mut self, mut stays: impl FnMut(f32) -> bool) {
        let (mut kept, mut t) = (0, 0);
        for row in 0..self.ends.len() {
            while t < self.ends[row] {
                if stays(self.scores[t]) {
                    self.copy(t, kept);
                    kept += 1;
                }
                t += 1;
            }
            self.ends[row] = kept;
        }
        self.truncate(kept);
    }
}

/// The k-th largest score, and how many of its equals are among the k. `k` < the number of scores; k = 0 keeps nothing.
pub(super) fn cut(scores: &mut [f32], k: usize) -> (f32, usize) {
    if k == 0 {
        return (f32::INFINITY, 0);
    }
    let bound = *scores.select_nth_unstable_by(k - 1, |a, b| b.total_cmp(a)).1;
    (bound, k - scores.iter().filter(|&&v| v > bound).count())
}

pub(super) fn stays(score: f32, bound: f32, ties: &mut usize) -> bool {
    if score == bound && *ties > 0 {
        *ties -= 1;
        return true;
    }
    score > bound
}

/// Finds which latents stay active; its buffers are used again at each call.
#[derive(Default)]
pub struct Selector {
    /// Candidates by chunks of rows.
    parts: Vec<Hits>,
    scores: Vec<f32>,
    /// S where the value is the score.
    ones: Vec<f32>,
}

impl Selector {
    /// Every positive r: a plain ReLU.
    pub fn positive(&mut self, products: &[f32], bias: &[f32], code: &mut SparseCode) {
        let mut ones = std::mem::take(&mut self.ones);
        ones.resize(bias.len(), 1.0);
        let at = Preactivations { products, bias, norms: &ones };
        self.scan(at, |row, hits| hits.scan(row, &at, 0.0));
        self.ones = ones;
        self.write(code);
    }

    /// The `k` largest positive scores of each row, among all latents or some (ascending). Of equal scores the lower latent stays.
    pub fn row_top_k(&mut self, at: Preactivations, k: usize, among: Option<&[u32]>, code: &mut SparseCode) {
        self.scan(at, |row, hits| {
            let start = hits.latents.len();
            match among {
                None => hits.scan(row, &at, 0.0),
                Some(latents) => {
                    for &latent in latents {
                        let j = latent as usize;
                        let value = row[j] + at.bias[j];
                        let score = value * at.norms[j];
                        if score > 0.0 {
                            hits.push(latent, value, score);
                        }
                    }
                }
            }
            hits.keep_best(start, k);
        });
        self.write(code);
    }

    /// The `keep` largest positive scores of the whole batch; returns the smallest of them (0 if there is none). Of equal scores the one that
    /// comes first (by row, then latent) stays.
    pub fn batch_top_k(&mut self, at: Preactivations, keep: usize, code: &mut SparseCode) -> f32 {
        let mut bound = self.lower_bound(&at, keep);
        self.scan(at, |row, hits| hits.scan(row, &at, bound));
        if bound > 0.0 && self.count() < keep {
            bound = 0.0;
            self.scan(at, |row, hits| hits.scan(row, &at, bound));
        }
        if self.count() > keep {
            self.scores.clear();
            self.parts.iter().for_each(|part| self.scores.extend_from_slice(&part.scores));
            let (bound, mut ties) = cut(&mut self.scores, keep);
            self.parts.iter_mut().for_each(|part| part.filter(|score| stays(score, bound, &mut ties)));
        }
        let least = self.parts.iter().flat_map(|part| &part.scores).copied().fold(f32::INFINITY, f32::min);
        self.write(code);
        if least.is_finite() { least } else { 0.0 }
    }

    /// Candidates of every row.
    fn scan(&mut self, at: Preactivations, keep: impl Fn(&[f32], &mut Hits) + Sync) {
        let chunk = CHUNK_ROWS * at.latents();
        self.parts.resize_with(at.products.len().div_ceil(chunk), Hits::default);
        self.parts.par_iter_mut().zip(at.products.par_chunks(chunk)).for_each(|(hits, rows)| {
            hits.clear();
            for row in rows.chunks(at.latents()) {
                keep(row, hits);
                hits.ends.push(hits.latents.len());
            }
        });
    }

    fn count(&self) -> usize {
        self.parts.iter().map(|part| part.latents.len()).sum()
    }

    /// The candidates as a code.
    fn write(&self, code: &mut SparseCode) {
        code.clear();
        code.offsets.push(0);
        for part in &self.parts {
            let start = code.latents.len();
            code.offsets.extend(part.ends.iter().map(|end| start + end));
            code.latents.extend_from_slice(&part.latents);
            code.values.extend_from_slice(&part.values);
        }
    }

    /// A score that probably fewer than all and more than `keep` entries exceed: read off a regular sample.
    fn lower_bound(&mut self, at: &Preactivations, keep: usize) -> f32 {
        let total = at.products.len();
        if total < 2 * SAMPLES {
            return 0.0;
        }
        let stride = (total / SAMPLES) | 1;
        let sample = &mut self.scores;
        sample.clear();
        sample.extend((0..total).step_by(stride).map(|index| at.score(index)));
        let expected = keep as f64 / total as f64 * sample.len() as f64;
        let rank = (1.15 * expected + 4.0 * expected.sqrt()) as usize + 4;
        if rank >= sample.len() {
            return 0.0;
        }
        let bound = *sample.select_nth_unstable_by(rank, |a, b| b.total_cmp(a)).1;
        if bound.is_finite() { bound } else { 0.0 }
    }
}

dispatched! {
    /// Appends the latents of one row whose score is over `bound` (at least 0).
    pub fn scan_row(row: &[f32], bias: &[f32], norms: &[f32], bound: f32, found: &mut Vec<(u32, f32, f32)>) {
        let whole = row.len() / BLOCK * BLOCK;
        let mut start = 0;
        while start < row.len() {
            let end = if start < whole { start + BLOCK } else { row.len() };
            let mut any = start >= whole;
            if !any {
                let p: &[f32; BLOCK] = row[start..end].try_into().unwrap();
                let b: &[f32; BLOCK] = bias[start..end].try_into().unwrap();
                let s: &[f32; BLOCK] = norms[start..end].try_into().unwrap();
                let mut over = 0i32;
                for l in 0..BLOCK {
                    over |= ((p[l] + b[l]) * s[l] > bound) as i32;
                }
                any = over != 0;
            }
            if any {
                for j in start..end {
                    let value = row[j] + bias[j];
                    let score = value * norms[j];
                    if score > bound {
                        found.push((j as u32, value, score));
                    }
                }
            }
            start = end;
        }
    }
}

dispatched! {
    /// Appends the latents of one row that are over 0 and over their own bound.
    pub fn scan_row_each(row: &[f32], bias: &[f32], bounds: &[f32], found: &mut Vec<(u32, f32)>) {
        let whole = row.len() / BLOCK * BLOCK;
        let mut start = 0;
        while start < row.len() {
            let end = if start < whole { start + BLOCK } else { row.len() };
            let mut any = start >= whole;
            if !any {
                let p: &[f32; BLOCK] = row[start..end].try_into().unwrap();
                let b: &[f32; BLOCK] = bias[start..end].try_into().unwrap();
                let t: &[f32; BLOCK] = bounds[start..end].try_into().unwrap();
                let mut over = 0i32;
                for l in 0..BLOCK {
                    over |= (p[l] + b[l] > t[l]) as i32;
                }
                any = over != 0;
            }
            if any {
                for j in start..end {
                    let value = row[j] + bias[j];
                    if value > bounds[j] && value > 0.0 {
                        found.push((j as u32, value));
                    }
                }
            }
            start = end;
        }
    }
}

/// A code of its own, by a selector that is used once.
fn once(select: impl FnOnce(&mut Selector, &mut SparseCode)) -> SparseCode {
    let mut code = SparseCode::default();
    select(&mut Selector::default(), &mut code);
    code
}

/// Every positive r: a plain ReLU.
pub fn positive(products: &[f32], bias: &[f32]) -> SparseCode {
    once(|selector, code| selector.positive(products, bias, code))
}

/// Every positive r whose score is over the threshold (strictly); a negative threshold is a plain ReLU.
pub fn over_threshold(at: Preactivations, threshold: f32) -> SparseCode {
    if threshold < 0.0 {
        return positive(at.products, at.bias);
    }
    once(|selector, code| {
        selector.scan(at, |row, hits| hits.scan(row, &at, threshold));
        selector.write(code);
    })
}

/// Every positive preactivation that is over the threshold of its latent `[D]` (strictly).
pub fn over_each(at: Preactivations, thresholds: &[f32]) -> SparseCode {
    once(|selector, code| {
        selector.scan(at, |row, hits| {
            let mut found = Vec::new();
            scan_row_each(row, at.bias, thresholds, &mut found);
            found.into_iter().for_each(|(latent, value)| hits.push(latent, value, value));
        });
        selector.write(code);
    })
}

/// [`Selector::row_top_k`] once.
pub fn row_top_k(at: Preactivations, k: usize, among: Option<&[u32]>) -> SparseCode {
    once(|selector, code| selector.row_top_k(at, k, among, code))
}

/// [`Selector::batch_top_k`] once.
pub fn batch_top_k(at: Preactivations, keep: usize) -> (SparseCode, f32) {
    let mut least = 0.0;
    let code = once(|selector, code| least = selector.batch_top_k(at, keep, code));
    (code, least)
}

dispatched! {
    /// How many preactivations of a row are positive.
    pub fn count_positive(row: &[f32], bias: &[f32]) -> usize {
        let mut count = 0u32;
        for (p, b) in row.iter().zip(bias) {
            count += (p + b > 0.0) as u32;
        }
        count as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(count: usize) -> Vec<f32> {
        (0..count as u32).map(|i| ((i.wrapping_mul(2654435761) >> 7) % 4001) as f32 / 1000.0 - 2.0).collect()
    }

    /// Sorts everything: the definition.
    fn slow(at: &Preactivations, range: std::ops::Range<usize>, keep: usize) -> Vec<usize> {
        let mut order: Vec<usize> = range.filter(|&i| at.score(i) > 0.0).collect();
        order.sort_by(|&a, &b| at.score(b).total_cmp(&at.score(a)).then(a.cmp(&b)));
        order.truncate(keep);
        order.sort_unstable();
        order
    }

    fn flat(code: &SparseCode, latents: usize) -> Vec<usize> {
        (0..code.rows()).flat_map(|i| code.row(i).0.iter().map(move |&j| i * latents + j as usize)).collect()
    }

    #[test]
    fn batch_top_k_equals_a_full_sort_with_ties_by_order() {
        for (rows, latents, keep) in [(7, 50, 20), (64, 4096, 900), (64, 4096, 0), (3, 10, 1000)] {
            let products = numbers(rows * latents);
            let bias: Vec<f32> = (0..latents).map(|j| (j % 3) as f32 * 0.25 - 0.5).collect();
            let norms: Vec<f32> = (0..latents).map(|j| 1.0 + (j % 4) as f32 * 0.5).collect();
            let at = Preactivations { products: &products, bias: &bias, norms: &norms };
            let (code, least) = batch_top_k(at, keep);
            let expected = slow(&at, 0..rows * latents, keep);
            assert_eq!(flat(&code, latents), expected);
            let smallest = expected.iter().map(|&i| at.score(i)).fold(f32::INFINITY, f32::min);
            assert_eq!(least, if expected.is_empty() { 0.0 } else { smallest });
            let value = |i: usize| products[i] + bias[i % latents];
            assert_eq!(code.values, expected.iter().map(|&i| value(i)).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_bad_guess_of_the_bound_only_costs_time() {
        let (rows, latents) = (64, 4096);
        let mut products = vec![-1.0; rows * latents];
        let stride = (rows * latents / SAMPLES) | 1;
        (0..100 * stride).step_by(stride).for_each(|i| products[i] = 5.0);
        products[1] = 1.0;
        let (bias, norms) = (vec![0.0; latents], vec![1.0; latents]);
        let at = Preactivations { products: &products, bias: &bias, norms: &norms };
        assert_eq!(flat(&batch_top_k(at, 2000).0, latents), slow(&at, 0..rows * latents, 2000));
    }

    #[test]
    fn row_top_k_equals_a_sort_of_each_row_also_among_some() {
        let (rows, latents, k) = (20, 70, 5);
        let products = numbers(rows * latents);
        let (bias, norms) = (vec![0.1; latents], vec![2.0; latents]);
        let at = Preactivations { products: &products, bias: &bias, norms: &norms };
        let code = row_top_k(at, k, None);
        let expected: Vec<usize> = (0..rows).flat_map(|i| slow(&at, i * latents..(i + 1) * latents, k)).collect();
        assert_eq!(flat(&code, latents), expected);
        let some: Vec<u32> = (0..latents as u32).step_by(3).collect();
        let code = row_top_k(at, k, Some(&some));
        for i in 0..rows {
            let mut order = some.clone();
            order.sort_by(|&a, &b| {
                let score = |j: u32| at.score(i * latents + j as usize);
                score(b).total_cmp(&score(a)).then(a.cmp(&b))
            });
            order.retain(|&j| at.score(i * latents + j as usize) > 0.0);
            order.truncate(k);
            order.sort_unstable();
            assert_eq!(code.row(i).0, order);
        }
    }

    #[test]
    fn threshold_is_strict_and_negative_is_relu() {
        let (products, bias, norms) = ([1.0f32, 2.0, -1.0, 0.5], [0.0f32; 4], [2.0f32, 1.0, 1.0, 0.0]);
        let at = Preactivations { products: &products, bias: &bias, norms: &norms };
        assert_eq!(over_threshold(at, 2.0).latents, Vec::<u32>::new());
        assert_eq!(over_threshold(at, 1.9).latents, vec![0, 1]);
        assert_eq!(over_threshold(at, -1.0).latents, vec![0, 1, 3]);
        assert_eq!(count_positive(&products, &bias), 3);
    }

    #[test]
    fn thresholds_of_each_latent_equal_their_definition() {
        let (rows, latents) = (11, 70);
        let products = numbers(rows * latents);
        let bias: Vec<f32> = (0..latents).map(|j| (j % 5) as f32 * 0.125 - 0.25).collect();
        let norms = vec![3.0; latents];
        // Some are met exactly, some are negative, one is never passed.
        let mut thresholds: Vec<f32> = (0..latents).map(|j| products[j] + bias[j]).collect();
        thresholds[3] = f32::INFINITY;
        let code = over_each(Preactivations { products: &products, bias: &bias, norms: &norms }, &thresholds);
        let value = |i: usize| products[i] + bias[i % latents];
        let expected: Vec<usize> =
            (0..rows * latents).filter(|&i| value(i) > 0.0 && value(i) > thresholds[i % latents]).collect();
        assert!(expected.len() > 50 && thresholds.iter().any(|&t| t < 0.0));
        assert_eq!(flat(&code, latents), expected);
        assert_eq!(code.values, expected.iter().map(|&i| value(i)).collect::<Vec<_>>());
        assert!(code.row(0).0.is_empty(), "the first row meets its thresholds exactly");
    }
}
