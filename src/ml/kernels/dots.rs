//! Products of rows with rows: every number is one dot product, always summed in the same order.
//!
//! x . w is summed in 16 lanes, lane l over the places k = l, l + 16, l + 32, ... in order with fused multiply-add, and the lanes are
//! then added as a tree (l with l + 8, l + 4, l + 2, l + 1). A number depends on its two rows alone, never on what else is computed
//! beside it, so a product of whole matrices and a single candidate that is scored again (`candidates.rs`) agree to the bit.

use rayon::prelude::*;

use super::{dispatched, multiply_add};

/// Partial sums of a dot product.
const LANES: usize = 16;
/// Numbers of X that one task multiplies with some rows of W, and the number of these.
const TASK_X: usize = 1 << 18;
const TASK_W: usize = 384;

/// Writes X W^T `[B, n]`, row-major, into `out`: X is `[B, depth]`, W `[D, depth]`, and its rows are all of them or those named.
pub fn dots(out: &mut [f32], x: &[f32], w: &[f32], depth: usize, named: Option<&[u32]>) {
    let (rows, columns) = (x.len() / depth, named.map_or(w.len() / depth, <[u32]>::len));
    assert_eq!(out.len(), rows * columns);
    let target = Target(out.as_mut_ptr());
    let tallest = (TASK_X / depth).next_multiple_of(16).clamp(32, 256);
    let across = columns.div_ceil(TASK_W);
    let tasks = rows.div_ceil(tallest) * across;
    (0..tasks).into_par_iter().with_max_len(1).for_each(|task| {
        let (row, column) = (task / across * tallest, task % across * TASK_W);
        let (tall, wide) = (tallest.min(rows - row), TASK_W.min(columns - column));
        let w = W { values: w, depth, first: column, count: wide, named };
        // Tasks write places of `out` that lie within it and that no other task writes.
        let place = Place { start: target.at(row * columns + column), stride: columns };
        block(&x[row * depth..(row + tall) * depth], &w, &place);
    });
}

/// Some rows of W.
struct W<'a> {
    values: &'a [f32],
    depth: usize,
    first: usize,
    count: usize,
    named: Option<&'a [u32]>,
}

impl W<'_> {
    fn row(&self, i: usize) -> &[f32] {
        let j = self.named.map_or(self.first + i, |named| named[self.first + i] as usize);
        &self.values[j * self.depth..(j + 1) * self.depth]
    }
}

/// The dot product of two rows of one length.
#[cfg(test)]
pub fn lane_dot(x: &[f32], w: &[f32]) -> f32 {
    let mut out = [0.0];
    dot_each(&mut out, &[(x, w)]);
    out[0]
}

dispatched! {
    /// The dot product of each pair of rows.
    pub fn dot_each(out: &mut [f32], pairs: &[(&[f32], &[f32])]) {
        let mut at = 0;
        while at + 4 <= pairs.len() {
            let four: &[(&[f32], &[f32]); 4] = pairs[at..at + 4].try_into().unwrap();
            let sums = sum_lanes::<FMA, 4>(four);
            for i in 0..4 {
                out[at + i] = tree(sums[i]);
            }
            at += 4;
        }
        while at < pairs.len() {
            let one: &[(&[f32], &[f32]); 1] = pairs[at..at + 1].try_into().unwrap();
            out[at] = tree(sum_lanes::<FMA, 1>(one)[0]);
            at += 1;
        }
    }
}

#[inline(always)]
fn sum_lanes<const FMA: bool, const N: usize>(pairs: &[(&[f32], &[f32]); N]) -> [[f32; LANES]; N] {
    let depth = pairs[0].0.len();
    let whole = depth / LANES * LANES;
    let mut sums = [[0f32; LANES]; N];
    let mut k = 0;
    while k < whole {
        for i in 0..N {
            let a: &[f32; LANES] = pairs[i].0[k..k + LANES].try_into().unwrap();
            let b: &[f32; LANES] = pairs[i].1[k..k + LANES].try_into().unwrap();
            for l in 0..LANES {
                sums[i][l] = multiply_add::<FMA>(a[l], b[l], sums[i][l]);
            }
        }
        k += LANES;
    }
    if whole < depth {
        for i in 0..N {
            // Filled up with zeros, as the product of whole matrices is.
            let (mut a, mut b) = ([0f32; LANES], [0f32; LANES]);
            a[..depth - whole].copy_from_slice(&pairs[i].0[whole..]);
            b[..depth - whole].copy_from_slice(&pairs[i].1[whole..]);
            for l in 0..LANES {
                sums[i][l] = multiply_add::<FMA>(a[l], b[l], sums[i][l]);
            }
        }
    }
    sums
}

#[inline(always)]
fn tree(mut sums: [f32; LANES]) -> f32 {
    let mut lanes = LANES / 2;
    while lanes > 0 {
        for l in 0..lanes {
            sums[l] += sums[l + lanes];
        }
        lanes /= 2;
    }
    sums[0]
}

/// Where a product goes: row r begins at r * stride.
struct Place {
    start: *mut f32,
    stride: usize,
}

struct Target(*mut f32);
// SAFETY: threads write disjoint places.
unsafe impl Sync for Target {}

impl Target {
    fn at(&self, offset: usize) -> *mut f32 {
        self.0.wrapping_add(offset)
    }
}

fn block(x: &[f32], w: &W, out: &Place) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx512f") {
        // SAFETY: the feature was detected; the caller's place has room.
        return unsafe { wide::block(x, w, out) };
    }
    plain_block(x, w, out);
}

/// The same in pairs of rows, for machines with shorter vectors.
fn plain_block(x: &[f32], w: &W, out: &Place) {
    for (i, x) in x.chunks(w.depth).enumerate() {
        for first in (0..w.count).step_by(4) {
            let count = 4.min(w.count - first);
            let mut pairs: [(&[f32], &[f32]); 4] = [(&[], &[]); 4];
            pairs[..count].iter_mut().enumerate().for_each(|(l, pair)| *pair = (x, w.row(first + l)));
            let mut sums = [0f32; 4];
            dot_each(&mut sums[..count], &pairs[..count]);
            for (l, sum) in sums[..count].iter().enumerate() {
                // SAFETY: the place has room for all rows of X and W.
                unsafe { *out.start.add(i * out.stride + first + l) = *sum };
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod wide {
    use std::arch::x86_64::*;
    use std::cell::RefCell;

    use super::{LANES, Place};

    /// Rows of W and of X whose dot products are in registers at a time.
    const W: usize = 6;
    const X: usize = 4;
    /// Steps of 16 places that are summed at a time, so that a tile's rows stay in the nearest cache.
    const STEPS: usize = 64;

    /// 16 numbers that begin a cache line.
    #[derive(Clone, Copy)]
    #[repr(C, align(64))]
    struct Line([f32; LANES]);

    /// Rows side by side, 16 places of each in turn, and sums between two stretches of places.
    #[derive(Default)]
    struct Packed {
        x: Vec<Line>,
        w: Vec<Line>,
        kept: Vec<[Line; X * W]>,
    }

    thread_local! {
        static PACKED: RefCell<Packed> = RefCell::default();
    }

    /// # Safety
    /// There is AVX-512, and the place has room for all rows of X and W.
    pub unsafe fn block(x: &[f32], w: &super::W, out: &Place) {
        let (rows, steps) = (x.len() / w.depth, w.depth.div_ceil(LANES));
        PACKED.with_borrow_mut(|Packed { x: packed_x, w: packed_w, kept }| {
            packed_x.resize(rows.div_ceil(X) * X * steps, Line([0.0; LANES]));
            packed_w.resize(W * steps, Line([0.0; LANES]));
            let stretches = steps.div_ceil(STEPS);
            kept.resize(if stretches > 1 { rows.div_ceil(X) } else { 1 }, [Line([0.0; LANES]); X * W]);
            for (group, part) in packed_x.chunks_mut(X * steps).enumerate() {
                pack::<X>(part, (group * X..rows.min(group * X + X)).map(|i| &x[i * w.depth..(i + 1) * w.depth]));
            }
            for first in (0..w.count).step_by(W) {
                let columns = W.min(w.count - first);
                pack::<W>(packed_w, (first..first + columns).map(|j| w.row(j)));
                for stretch in 0..stretches {
                    let range = stretch * STEPS..steps.min((stretch + 1) * STEPS);
                    let right = &packed_w[range.start * W..range.end * W];
                    for (group, part) in packed_x.chunks(X * steps).enumerate() {
                        let kept = &mut kept[if stretches > 1 { group } else { 0 }];
                        // SAFETY: the caller's promise.
                        unsafe {
                            tile(&part[range.start * X..range.end * X], right, kept, stretch == 0);
                            if stretch + 1 == stretches {
                                finish(kept, X.min(rows - group * X), columns, out, group * X, first);
                            }
                        }
                    }
                }
            }
        });
    }

    /// Rows side by side, filled up with zeros.
    fn pack<'a, const N: usize>(part: &mut [Line], rows: impl ExactSizeIterator<Item = &'a [f32]>) {
        let count = rows.len();
        for (r, row) in rows.enumerate() {
            let (whole, rest) = row.as_chunks::<LANES>();
            let mut lines = part[r..].iter_mut().step_by(N);
            whole.iter().zip(&mut lines).for_each(|(values, line)| line.0 = *values);
            if let Some(line) = lines.next() {
                line.0 = [0.0; LANES];
                line.0[..rest.len()].copy_from_slice(rest);
            }
        }
        (count..N).for_each(|r| part[r..].iter_mut().step_by(N).for_each(|line| line.0 = [0.0; LANES]));
    }

    /// Adds a stretch of places to the sums of 4 rows of X with 6 of W.
    #[target_feature(enable = "avx512f")]
    fn tile(x: &[Line], w: &[Line], kept: &mut [Line; X * W], fresh: bool) {
        // SAFETY: all lines have 16 numbers.
        unsafe {
            let mut sums = [[_mm512_setzero_ps(); X]; W];
            if !fresh {
                for (j, sums) in sums.iter_mut().enumerate() {
                    for (i, sum) in sums.iter_mut().enumerate() {
                        *sum = _mm512_load_ps(kept[j * X + i].0.as_ptr());
                    }
                }
            }
            for (x, w) in x.chunks_exact(X).zip(w.chunks_exact(W)) {
                let x: [__m512; X] = [
                    _mm512_load_ps(x[0].0.as_ptr()),
                    _mm512_load_ps(x[1].0.as_ptr()),
                    _mm512_load_ps(x[2].0.as_ptr()),
                    _mm512_load_ps(x[3].0.as_ptr()),
                ];
                for (j, sums) in sums.iter_mut().enumerate() {
                    let w = _mm512_load_ps(w[j].0.as_ptr());
                    for (i, sum) in sums.iter_mut().enumerate() {
                        *sum = _mm512_fmadd_ps(x[i], w, *sum);
                    }
                }
            }
            for (j, sums) in sums.iter().enumerate() {
                for (i, sum) in sums.iter().enumerate() {
                    _mm512_store_ps(kept[j * X + i].0.as_mut_ptr(), *sum);
                }
            }
        }
    }

    /// Adds the lanes of each sum and writes `rows` by `columns` of them, from `row` and `column` on.
    ///
    /// # Safety
    /// The place has room for them.
    #[target_feature(enable = "avx512f")]
    #[inline]
    unsafe fn finish(kept: &[Line; X * W], rows: usize, columns: usize, out: &Place, row: usize, column: usize) {
        for j in 0..columns {
            let sums = tree_of_four(kept[j * X..(j + 1) * X].try_into().unwrap());
            for (i, sum) in sums[..rows].iter().enumerate() {
                // SAFETY: the caller's promise.
                unsafe { *out.start.add((row + i) * out.stride + column + j) = *sum };
            }
        }
    }

    /// The tree over the lanes of four sums at once: each step adds the upper half of the lanes to the lower one.
    #[target_feature(enable = "avx512f")]
    #[inline]
    fn tree_of_four(sums: &[Line; 4]) -> [f32; 4] {
        // SAFETY: 16 numbers each; four are written.
        unsafe {
            let s: [__m512; 4] = [
                _mm512_loadu_ps(sums[0].0.as_ptr()),
                _mm512_loadu_ps(sums[1].0.as_ptr()),
                _mm512_loadu_ps(sums[2].0.as_ptr()),
                _mm512_loadu_ps(sums[3].0.as_ptr()),
            ];
            // Lanes 0-7 and 8-15 of two sums: [a, b].
            let eight = |a: __m512, b: __m512| {
                _mm512_add_ps(_mm512_shuffle_f32x4::<0b01_00_01_00>(a, b), _mm512_shuffle_f32x4::<0b11_10_11_10>(a, b))
            };
            let (ab, cd) = (eight(s[0], s[1]), eight(s[2], s[3]));
            // Quarters 0 and 2 are lanes 0-3 of each sum, quarters 1 and 3 lanes 4-7.
            let low = _mm512_shuffle_f32x4::<0b10_00_10_00>(ab, cd);
            let high = _mm512_shuffle_f32x4::<0b11_01_11_01>(ab, cd);
            let four = _mm512_add_ps(low, high);
            let two = _mm512_add_ps(four, _mm512_permute_ps::<0b00_00_11_10>(four));
            let one = _mm512_add_ps(two, _mm512_permute_ps::<0b00_00_00_01>(two));
            let mut lanes = [0f32; LANES];
            _mm512_storeu_ps(lanes.as_mut_ptr(), one);
            [lanes[0], lanes[4], lanes[8], lanes[12]]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(count: usize, seed: u32) -> Vec<f32> {
        let mix = |i: u32| i.wrapping_mul(2_654_435_761).wrapping_add(seed) >> 8;
        (0..count as u32).map(|i| (mix(i) % 2001) as f32 / 1000.0 - 1.0).collect()
    }

    #[test]
    fn a_product_is_its_definition_and_every_number_stands_alone() {
        for (rows, columns, depth) in [(1, 1, 1), (5, 7, 3), (70, 13, 100), (9, 100, 1024), (67, 8, 1100), (4, 6, 2064)]
        {
            let (x, w) = (numbers(rows * depth, 1), numbers(columns * depth, 2));
            let mut out = vec![f32::NAN; rows * columns];
            dots(&mut out, &x, &w, depth, None);
            for (place, got) in out.iter().enumerate() {
                let (x, w) = (&x[place / columns * depth..][..depth], &w[place % columns * depth..][..depth]);
                let exact: f64 = x.iter().zip(w).map(|(&x, &w)| f64::from(x) * f64::from(w)).sum();
                assert!((f64::from(*got) - exact).abs() < 1e-6 * depth as f64, "{got} is not {exact}");
                assert_eq!(got.to_bits(), lane_dot(x, w).to_bits(), "{rows} {columns} {depth} {place}");
            }
            let mut plain = vec![f32::NAN; rows * columns];
            let of = W { values: &w, depth, first: 0, count: columns, named: None };
            plain_block(&x, &of, &Place { start: plain.as_mut_ptr(), stride: columns });
            assert_eq!(plain, out, "shorter vectors");
            let named: Vec<u32> = (0..columns as u32).rev().step_by(2).collect();
            let mut some = vec![f32::NAN; rows * named.len()];
            dots(&mut some, &x, &w, depth, Some(&named));
            for (place, got) in some.iter().enumerate() {
                assert_eq!(*got, out[place / named.len() * columns + named[place % named.len()] as usize]);
            }
        }
    }

    #[test]
    fn ignores_the_number_of_threads() {
        let (rows, columns, depth) = (300, 210, 70);
        let (x, w) = (numbers(rows * depth, 1), numbers(columns * depth, 2));
        let run = |threads| {
            let mut out = vec![0.0; rows * columns];
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| dots(&mut out, &x, &w, depth, None));
            out
        };
        assert_eq!(run(1), run(2));
        assert_eq!(run(1), run(5));
    }
}
