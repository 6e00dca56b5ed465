//! Scores over a bound, found in bf16 and made in f32: the same entries and the same bits as from all scores in f32, for a part of the
//! time (docs/performance.md, "How a training step is made").
//!
//! With x = xb + dx and w = wb + dw, where xb and wb are in bf16,
//!
//! ```text
//! x.w - xb.wb = dx.w + xb.dw,   so   |x.w - xb.wb| <= ||dx|| ||w|| + ||xb|| ||dw||      (Cauchy-Schwarz)
//! ```
//!
//! Sums in f32 add what they round: at most K 2^-24 of ||xb|| ||wb|| for the product in bf16 and (K / 16 + 8) 2^-24 of ||x|| ||w|| for the one in f32
//! (Higham, Accuracy and Stability, 3.1); twice of both is taken, which also covers a unit that truncates, and the sum over both is G. So
//!
//! ```text
//! |fl(x.w) - fl(xb.wb)| <= a N + b M,   N >= ||w||, M >= ||dw||,
//! a = ||dx|| + G (2 ||xb|| + ||dx||),   b = ||xb|| (1 + G),
//! ```
//!
//! times 1 + 2^-10 for the rounding of these numbers, of the norms and of the comparison. An entry's score is fl(fl(fl(x.w) + bias) S). It can only be
//! over T when fl(x.w) is at least T / S - bias, less what these two operations round; so every entry with
//! fl(xb.wb) + a N + b M over that is scored again in f32, and no other can be over T. Numbers that the units flush to zero are smaller than
//! 2^-126: denormal inputs are zero in bf16 already and lie in dx, and 2^-126 an operation is taken off the bound. Rows that are not finite or larger than
//! 1e18 have an infinite bound, so all their entries are scored in f32; and an approximate score that is no number counts as over.

use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;

use super::dots::dot_each;
use super::rounded::{GROUP, Rounded, Side};
use super::score::{SQUARE, Square, Started, Unit};
use super::select::{cut, stays};
use crate::ml::crosscoder::SparseCode;

/// Latents of a task, in squares.
const TASK_SQUARES: usize = 16;
/// Bytes of rounded rows that one task goes over again and again.
const TASK_BYTES: usize = 640 << 10;
/// Entries that are scored in f32 at a time.
const PORTION: usize = 32;
/// Depths over which the bound is not proved.
const DEEPEST: usize = 1 << 16;

/// What scores rows.
#[derive(Clone, Copy)]
pub struct Latents<'a> {
    /// `[D, K]`, and the same in bf16.
    pub encoder: &'a [f32],
    pub rounded: &'a Rounded,
    /// `[D]`.
    pub bias: &'a [f32],
    /// S `[D]`.
    pub norms: &'a [f32],
}

/// Buffers that are used again at each call.
pub struct Candidates {
    x: Rounded,
    /// a and b of each row, filled up to whole squares.
    slopes: [Vec<f32>; 2],
    /// What fl(x.w) must reach, `[D]`.
    reach: Vec<f32>,
    tasks: Vec<Vec<Hit>>,
    scores: Vec<f32>,
    /// The entries over the bound by row, then latent.
    offsets: Vec<usize>,
    hits: Vec<Hit>,
}

/// An entry whose score is over the bound.
#[derive(Clone, Copy, Debug, Default)]
struct Hit {
    row: u32,
    latent: u32,
    value: f32,
    score: f32,
}

impl Default for Candidates {
    fn default() -> Self {
        Candidates {
            x: Rounded::empty(Side::Right),
            slopes: [Vec::new(), Vec::new()],
            reach: Vec::new(),
            tasks: Vec::new(),
            scores: Vec::new(),
            offsets: Vec::new(),
            hits: Vec::new(),
        }
    }
}

impl Candidates {
    /// Whether the bound holds for rows of this depth.
    pub fn fit(depth: usize) -> bool {
        depth <= DEEPEST
    }

    /// The `keep` largest positive scores of all rows x `[B, K]`, as [`super::batch_top_k`] finds them, and the smallest of them.
    /// `guess` is a bound (at least 0) that more than `keep` scores exceed; `None` when fewer do, or far too many.
    pub fn batch_top_k(
        &mut self,
        unit: Unit,
        x: &[f32],
        of: Latents,
        keep: usize,
        guess: f32,
        code: &mut SparseCode,
    ) -> Option<f32> {
        if keep == 0 || !self.find(unit, x, of, guess, 8 * keep + PORTION) || self.hits.len() < keep {
            return None;
        }
        self.scores.clear();
        self.scores.extend(self.hits.iter().map(|hit| hit.score));
        let (bound, mut ties) = match self.scores.len() == keep {
            true => (f32::NEG_INFINITY, 0),
            false => cut(&mut self.scores, keep),
        };
        let mut least = f32::INFINITY;
        self.write(code, |score| {
            let kept = stays(score, bound, &mut ties);
            if kept {
                least = least.min(score);
            }
            kept
        });
        Some(if least.is_finite() { least } else { 0.0 })
    }

    /// Every score of rows x `[B, K]` over `threshold` (at least 0), as [`super::over_threshold`] finds them; `None` when there are more than
    /// pay.
    pub fn over_threshold(&mut self, unit: Unit, x: &[f32], of: Latents, threshold: f32) -> Option<SparseCode> {
        let entries = x.len() / of.rounded.depth().max(1) * of.bias.len();
        let mut code = SparseCode::default();
        self.find(unit, x, of, threshold, entries / 16 + PORTION).then(|| self.write(&mut code, |_| true))?;
        Some(code)
    }

    fn write(&self, code: &mut SparseCode, mut stays: impl FnMut(f32) -> bool) {
        code.clear();
        code.offsets.push(0);
        for row in self.offsets.windows(2) {
            for hit in &self.hits[row[0]..row[1]] {
                if stays(hit.score) {
                    code.latents.push(hit.latent);
                    code.values.push(hit.value);
                }
            }
            code.offsets.push(code.latents.len());
        }
    }

    /// Fills `hits` with all entries whose score is over `bound`; false when more than `most` had to be looked at.
    fn find(&mut self, unit: Unit, x: &[f32], of: Latents, bound: f32, most: usize) -> bool {
        let depth = of.rounded.depth();
        if !Candidates::fit(depth) || bound.is_nan() || bound < 0.0 {
            return false;
        }
        self.x.fill(x, depth);
        self.slopes(depth);
        self.reach.clear();
        self.reach.extend(of.bias.iter().zip(of.norms).map(|(&bias, &norm)| reach(bound, bias, norm, depth)));
        let rows = self.x.rows();
        let tall = (TASK_BYTES / (2 * depth)).next_multiple_of(SQUARE).clamp(2 * SQUARE, 8 * SQUARE);
        let squares = of.bias.len().div_ceil(SQUARE);
        let across = squares.div_ceil(TASK_SQUARES);
        self.tasks.resize_with(rows.div_ceil(tall) * across, Vec::new);
        let seen = AtomicUsize::new(0);
        let pass = Pass { rows: x, of, x: &self.x, slopes: [&self.slopes[0], &self.slopes[1]], reach: &self.reach };
        self.tasks.par_iter_mut().with_max_len(1).enumerate().for_each(|(task, hits)| {
            hits.clear();
            let (first, square) = (task / across * tall, task % across * TASK_SQUARES);
            let started = unit.start();
            for square in square..squares.min(square + TASK_SQUARES) {
                if seen.load(Ordering::Relaxed) > most {
                    return;
                }
                seen.fetch_add(
                    pass.square(&started, first..rows.min(first + tall), square, bound, hits),
                    Ordering::Relaxed,
                );
            }
        });
        if seen.into_inner() > most {
            return false;
        }
        self.by_row(rows);
        true
    }

    fn slopes(&mut self, depth: usize) {
        let grown = (depth + depth / 16 + 64) as f64 / f64::from(1 << 23);
        let slack = 1.0 + 1.0 / 1024.0;
        self.slopes.iter_mut().for_each(|slopes| slopes.clear());
        for norms in self.x.norms() {
            let (whole, rest) = (f64::from(norms.whole), f64::from(norms.rest));
            let rounded = whole + rest;
            self.slopes[0].push(((rest + grown * (2.0 * rounded + rest)) * slack) as f32);
            self.slopes[1].push((rounded * (1.0 + grown) * slack) as f32);
        }
        let filled = self.x.rows().next_multiple_of(SQUARE);
        self.slopes.iter_mut().for_each(|slopes| slopes.resize(filled, 0.0));
    }

    /// Sorts the hits of the tasks, which come by blocks of rows, then latents.
    fn by_row(&mut self, rows: usize) {
        self.offsets.clear();
        self.offsets.resize(rows + 2, 0);
        for hit in self.tasks.iter().flatten() {
            self.offsets[hit.row as usize + 2] += 1;
        }
        for row in 0..rows {
            self.offsets[row + 2] += self.offsets[row + 1];
        }
        self.hits.clear();
        self.hits.resize(self.offsets[rows + 1], Hit::default());
        for hit in self.tasks.iter().flatten() {
            let place = &mut self.offsets[hit.row as usize + 1];
            self.hits[*place] = *hit;
            *place += 1;
        }
        self.offsets.pop();
    }
}

/// What fl(x.w) must at least be so that fl(fl(fl(x.w) + bias) norm) can be over `bound`.
fn reach(bound: f32, bias: f32, norm: f32, depth: usize) -> f32 {
    if norm == 0.0 {
        return f32::INFINITY;
    }
    if norm.is_nan() || norm < 0.0 {
        return f32::NEG_INFINITY;
    }
    let (bound, bias) = (f64::from(bound), f64::from(bias));
    // Under 1e-30 the product with S may underflow; then the value is at least positive.
    let value = if bound < 1e-30 { 0.0 } else { bound / f64::from(norm) * (1.0 - 2f64.powi(-21)) };
    let flushed = 4.0 * (depth + 64) as f64 * 2f64.powi(-126);
    let exact = value - bias - 2f64.powi(-40) * (value.abs() + bias.abs()) - flushed;
    (exact as f32).next_down()
}

struct Pass<'a> {
    /// `[B, K]`, and the same in bf16.
    rows: &'a [f32],
    x: &'a Rounded,
    of: Latents<'a>,
    slopes: [&'a [f32]; 2],
    reach: &'a [f32],
}

impl Pass<'_> {
    /// Appends the hits of 32 latents on a range of rows; how many entries were scored in f32.
    fn square(
        &self,
        started: &Started,
        rows: std::ops::Range<usize>,
        square: usize,
        bound: f32,
        hits: &mut Vec<Hit>,
    ) -> usize {
        let w = self.of.rounded;
        let left = [w.group(2 * square), w.group(2 * square + 1)];
        let latents = SQUARE.min(w.rows() - square * SQUARE);
        let mut out = Square([[0.0; SQUARE]; SQUARE]);
        let (mut waiting, mut count, mut seen) = ([(0u32, 0u32); PORTION], 0, 0);
        for first in rows.clone().step_by(SQUARE) {
            let group = first / GROUP;
            started.square(left, [self.x.group(group), self.x.group(group + 1)], &mut out);
            let there = u32::MAX >> (SQUARE - SQUARE.min(rows.end - first));
            let slopes = self.slopes.map(|slopes| slopes[first..first + SQUARE].try_into().unwrap());
            for (j, products) in out.0[..latents].iter().enumerate() {
                let latent = square * SQUARE + j;
                let norms = w.norms()[latent];
                let mut over = over(products, slopes, [norms.whole, norms.rest], self.reach[latent]) & there;
                while over != 0 {
                    waiting[count] = (first as u32 + over.trailing_zeros(), latent as u32);
                    over &= over - 1;
                    count += 1;
                    if count == PORTION {
                        seen += count;
                        self.score(&waiting, bound, hits);
                        count = 0;
                    }
                }
            }
        }
        self.score(&waiting[..count], bound, hits);
        seen + count
    }

    /// Scores entries in f32 and appends those over the bound.
    fn score(&self, entries: &[(u32, u32)], bound: f32, hits: &mut Vec<Hit>) {
        let depth = self.x.depth();
        let mut pairs: [(&[f32], &[f32]); PORTION] = [(&[], &[]); PORTION];
        for (pair, &(row, latent)) in pairs.iter_mut().zip(entries) {
            *pair = (&self.rows[row as usize * depth..][..depth], &self.of.encoder[latent as usize * depth..][..depth]);
        }
        let mut products = [0f32; PORTION];
        dot_each(&mut products[..entries.len()], &pairs[..entries.len()]);
        for (&(row, latent), product) in entries.iter().zip(products) {
            let value = product + self.of.bias[latent as usize];
            let score = value * self.of.norms[latent as usize];
            if score > bound {
                hits.push(Hit { row, latent, value, score });
            }
        }
    }
}

/// Which of 32 rows can reach: bit i is set unless product + a N + b M <= reach.
fn over(products: &[f32; SQUARE], slopes: [&[f32; SQUARE]; 2], norms: [f32; 2], reach: f32) -> u32 {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx512f") {
        // SAFETY: the feature was detected.
        return unsafe { over_wide(products, slopes, norms, reach) };
    }
    let mut over = 0;
    for i in 0..SQUARE {
        let most = slopes[1][i].mul_add(norms[1], slopes[0][i].mul_add(norms[0], products[i]));
        over |= u32::from(most.is_nan() || most > reach) << i;
    }
    over
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
#[inline]
fn over_wide(products: &[f32; SQUARE], slopes: [&[f32; SQUARE]; 2], norms: [f32; 2], reach: f32) -> u32 {
    use std::arch::x86_64::*;
    let half = |from: usize| {
        // SAFETY: 16 numbers from 0 or 16 on.
        let [p, a, b] =
            unsafe { [products, slopes[0], slopes[1]].map(|numbers| _mm512_loadu_ps(numbers.as_ptr().add(from))) };
        let most = _mm512_fmadd_ps(a, _mm512_set1_ps(norms[0]), p);
        let most = _mm512_fmadd_ps(b, _mm512_set1_ps(norms[1]), most);
        u32::from(_mm512_cmp_ps_mask::<_CMP_NLE_UQ>(most, _mm512_set1_ps(reach)))
    };
    half(0) | half(GROUP) << GROUP
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ml::kernels::{Preactivations, batch_top_k, dots, over_threshold};

    /// x `[B, K]`, W `[D, K]`, bias and S.
    struct Case {
        name: &'static str,
        depth: usize,
        x: Vec<f32>,
        w: Vec<f32>,
        bias: Vec<f32>,
        norms: Vec<f32>,
    }

    fn normal(count: usize, seed: u64) -> Vec<f32> {
        use rand::{Rng, SeedableRng};
        let mut generator = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
        (0..count).map(|_| (0..6).map(|_| generator.random::<f32>() - 0.5).sum::<f32>()).collect()
    }

    fn case(name: &'static str, rows: usize, latents: usize, depth: usize) -> Case {
        let bias = normal(latents, 3).iter().map(|b| b * 0.1).collect();
        let norms = normal(latents, 4).iter().map(|s| 1.0 + s.abs()).collect();
        Case { name, depth, x: normal(rows * depth, 1), w: normal(latents * depth, 2), bias, norms }
    }

    /// What breaks a bound that is not one.
    fn cases() -> Vec<Case> {
        let mut cases = vec![case("ordinary", 75, 210, 96), case("odd sizes", 33, 35, 7), case("deep", 40, 64, 2064)];
        let mut ties = case("many ties", 70, 100, 40);
        for row in ties.w.chunks_mut(40).skip(1).step_by(2) {
            row.copy_from_slice(&normal(40, 9));
        }
        (ties.bias.fill(0.0), ties.norms.fill(1.0));
        cases.push(ties);
        let mut equal = case("all rows are equal", 64, 80, 48);
        let row = equal.x[..48].to_vec();
        equal.x.chunks_mut(48).for_each(|x| x.copy_from_slice(&row));
        cases.push(equal);
        let mut near = case("ties but for less than bf16 resolves", 64, 96, 64);
        let row = near.w[..64].to_vec();
        for (j, w) in near.w.chunks_mut(64).enumerate() {
            w.copy_from_slice(&row);
            w[j % 64] *= 1.0 + (j + 1) as f32 * 2f32.powi(-22);
        }
        (near.bias.fill(0.0), near.norms.fill(1.0));
        cases.push(near);
        let mut range = case("a huge range", 64, 96, 64);
        range.x.iter_mut().enumerate().for_each(|(i, x)| *x *= 10f32.powi((i * 31 % 25) as i32 - 12));
        range.w.iter_mut().enumerate().for_each(|(i, w)| *w *= 10f32.powi((i * 17 % 21) as i32 - 10));
        cases.push(range);
        let mut tiny = case("denormal numbers", 64, 64, 64);
        tiny.x.iter_mut().enumerate().for_each(|(i, x)| *x *= if i % 3 == 0 { 1e-39 } else { 1e-20 });
        tiny.w.iter_mut().for_each(|w| *w *= 1e-19);
        (tiny.bias.fill(0.0), tiny.norms.fill(1.0));
        cases.push(tiny);
        let mut cancelling = case("sums that cancel", 64, 64, 64);
        for rows in [&mut cancelling.x, &mut cancelling.w] {
            for pair in rows.chunks_mut(2) {
                pair[0] = pair[1] * (1.0 + pair[0] * 1e-3);
            }
        }
        cancelling.w.iter_mut().skip(1).step_by(2).for_each(|w| *w = -*w);
        cases.push(cancelling);
        let mut few = case("fewer positive than k", 64, 64, 32);
        few.bias.fill(-40.0);
        few.bias[5] = 1.0;
        cases.push(few);
        let mut zeros = case("zeros", 64, 64, 32);
        zeros.x[..1024].fill(0.0);
        zeros.w[..320].fill(0.0);
        zeros.norms[9] = 0.0;
        cases.push(zeros);
        let mut broken = case("numbers that are not finite", 64, 64, 32);
        (broken.x[40], broken.x[100], broken.w[70], broken.w[200]) = (f32::INFINITY, f32::NAN, 1e30, f32::NEG_INFINITY);
        (broken.bias[3], broken.norms[7]) = (f32::NEG_INFINITY, f32::INFINITY);
        cases.push(broken);
        let mut offset = case("a large common offset", 64, 96, 64);
        offset.x.iter_mut().for_each(|x| *x += 100.0);
        cases.push(offset);
        cases
    }

    #[test]
    fn entries_over_any_bound_are_those_of_f32_to_the_bit() {
        for case in cases() {
            let (rows, latents) = (case.x.len() / case.depth, case.bias.len());
            let mut products = vec![0.0; rows * latents];
            dots(&mut products, &case.x, &case.w, case.depth, None);
            let at = Preactivations { products: &products, bias: &case.bias, norms: &case.norms };
            let mut scores: Vec<f32> = (0..rows * latents).map(|i| at.score(i)).filter(|s| *s > 0.0).collect();
            scores.sort_by(f32::total_cmp);
            let mut rounded = Rounded::empty(Side::Left);
            rounded.fill(&case.w, case.depth);
            let of = Latents { encoder: &case.w, rounded: &rounded, bias: &case.bias, norms: &case.norms };
            let mut candidates = Candidates::default();
            for unit in Unit::all() {
                for part in [0, 1, 50, 90, 99, 100] {
                    let threshold = scores[(scores.len() - 1) * part / 100];
                    for threshold in [threshold, threshold.next_down(), threshold.next_up()] {
                        assert!(candidates.find(unit, &case.x, of, threshold, usize::MAX));
                        let mut code = SparseCode::default();
                        candidates.write(&mut code, |_| true);
                        let exact = over_threshold(at, threshold);
                        assert_eq!(code.offsets, exact.offsets, "{} {unit:?} {threshold}", case.name);
                        assert_eq!(code.latents, exact.latents, "{} {unit:?} {threshold}", case.name);
                        let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
                        assert_eq!(bits(&code.values), bits(&exact.values), "{} {unit:?}", case.name);
                    }
                }
            }
        }
    }

    #[test]
    fn the_largest_of_a_batch_are_those_of_f32_to_the_bit() {
        for case in cases() {
            let (rows, latents) = (case.x.len() / case.depth, case.bias.len());
            let mut products = vec![0.0; rows * latents];
            dots(&mut products, &case.x, &case.w, case.depth, None);
            let at = Preactivations { products: &products, bias: &case.bias, norms: &case.norms };
            let mut rounded = Rounded::empty(Side::Left);
            rounded.fill(&case.w, case.depth);
            let of = Latents { encoder: &case.w, rounded: &rounded, bias: &case.bias, norms: &case.norms };
            let mut candidates = Candidates::default();
            for unit in Unit::all() {
                for keep in [1, rows, 5 * rows] {
                    let (exact, least) = batch_top_k(at, keep);
                    for guess in [0.0, least * 0.5, least * 0.99, least.next_down(), least, least * 1.01, 1e30] {
                        let mut code = SparseCode::default();
                        let found = candidates.batch_top_k(unit, &case.x, of, keep, guess, &mut code);
                        let Some(found) = found else {
                            let near = guess < least && guess > least * 0.9;
                            assert!(!(near && case.name == "ordinary"), "{keep} {guess} is not found in bf16");
                            continue;
                        };
                        assert_eq!(code, exact, "{} {unit:?} {keep} {guess}", case.name);
                        assert_eq!(found.to_bits(), least.to_bits(), "{}", case.name);
                    }
                }
            }
        }
    }
}
