//! Products with a matrix that is laid out for them, on one thread.
//!
//! A matrix B `[K, N]` is kept as panels of [`PANEL`] columns, each `[K, PANEL]` and contiguous. A tile of rows of A stays in
//! registers while it runs down a panel. Every number is summed over k in order, in one accumulator: it depends on its row
//! of A and its column of B alone, never on what stands beside them, so batches can be cut anywhere without changing a bit.

use std::cell::RefCell;
use std::ops::Range;

/// Columns of a panel.
pub(super) const PANEL: usize = 32;
/// Rows that stay in the cache while all panels pass over them.
const BLOCK: usize = 112;

/// A matrix `[K, N]` in panels; columns beyond N are zero.
pub(crate) struct Panels {
    values: Vec<f32>,
    depth: usize,
    width: usize,
}

impl Panels {
    /// W^T, where `w` is `[width, depth]`, row-major: the way weights are published.
    pub(crate) fn of_transposed(w: &[f32], width: usize, depth: usize) -> Self {
        let mut panels = Panels { values: Vec::new(), depth, width };
        panels.fill_transposed(w, width, depth, depth);
        panels
    }

    /// K.
    pub(super) fn depth(&self) -> usize {
        self.depth
    }

    /// N.
    pub(super) fn width(&self) -> usize {
        self.width
    }

    /// Becomes W^T, where row j of `w` begins at j * stride and has `depth` values.
    pub(super) fn fill_transposed(&mut self, w: &[f32], width: usize, depth: usize, stride: usize) {
        self.resize(width, depth);
        for (p, panel) in self.values.chunks_exact_mut(depth * PANEL).enumerate() {
            let columns = PANEL.min(width - p * PANEL);
            for j in 0..columns {
                let row = &w[(p * PANEL + j) * stride..][..depth];
                for (slot, x) in panel[j..].iter_mut().step_by(PANEL).zip(row) {
                    *slot = *x;
                }
            }
            (columns..PANEL).for_each(|j| panel[j..].iter_mut().step_by(PANEL).for_each(|slot| *slot = 0.0));
        }
    }

    /// Becomes the matrix whose row k begins at k * stride of `b` and has `width` values.
    pub(super) fn fill(&mut self, b: &[f32], width: usize, depth: usize, stride: usize) {
        self.resize(width, depth);
        for (p, panel) in self.values.chunks_exact_mut(depth * PANEL).enumerate() {
            let columns = PANEL.min(width - p * PANEL);
            for (k, slots) in panel.chunks_exact_mut(PANEL).enumerate() {
                slots[..columns].copy_from_slice(&b[k * stride + p * PANEL..][..columns]);
                slots[columns..].fill(0.0);
            }
        }
    }

    /// All of it.
    #[cfg(test)]
    pub(super) fn whole(&self) -> Stretch<'_> {
        self.part(0..self.depth, 0..self.width.div_ceil(PANEL))
    }

    /// Some of its rows, some of its panels.
    pub(super) fn part(&self, rows: Range<usize>, panels: Range<usize>) -> Stretch<'_> {
        assert!(rows.end <= self.depth && panels.end <= self.width.div_ceil(PANEL));
        Stretch { of: self, rows, panels }
    }

    /// Of nothing yet.
    pub(super) const fn empty() -> Self {
        Panels { values: Vec::new(), depth: 0, width: 0 }
    }

    fn resize(&mut self, width: usize, depth: usize) {
        (self.width, self.depth) = (width, depth);
        self.values.resize(width.div_ceil(PANEL) * depth * PANEL, 0.0);
    }
}

/// Part of a matrix in panels.
#[derive(Clone)]
pub(super) struct Stretch<'a> {
    of: &'a Panels,
    rows: Range<usize>,
    panels: Range<usize>,
}

impl Stretch<'_> {
    fn depth(&self) -> usize {
        self.rows.len()
    }

    fn panel(&self, p: usize) -> &[f32] {
        &self.of.values[(p * self.of.depth + self.rows.start) * PANEL..(p * self.of.depth + self.rows.end) * PANEL]
    }
}

/// Rows of A: row r begins at r * stride.
#[derive(Clone, Copy)]
pub(super) struct Left<'a> {
    pub values: &'a [f32],
    pub rows: usize,
    pub stride: usize,
}

/// Where a product goes: row r begins at r * stride.
#[derive(Clone, Copy)]
pub(super) struct Out {
    pub start: *mut f32,
    pub stride: usize,
}

thread_local! {
    static PADDED: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// A B into `out`, whose first column is the first of B's panels; the rows of A have as many values as B is deep.
///
/// # Safety
/// `out` has room for all rows and the width of B, and nobody else touches those places.
pub(super) unsafe fn multiply(a: Left, b: &Stretch, out: Out) {
    // Rows that are a multiple of 4 KiB apart fall on the same places of the cache and throw each other out.
    if (a.stride * size_of::<f32>()).is_multiple_of(4096) && a.rows > 1 {
        PADDED.with_borrow_mut(|padded| {
            let stride = b.depth() + 16;
            if padded.len() < BLOCK * stride {
                padded.resize(BLOCK * stride, 0.0);
            }
            for first in (0..a.rows).step_by(BLOCK) {
                let rows = BLOCK.min(a.rows - first);
                for r in 0..rows {
                    padded[r * stride..][..b.depth()].copy_from_slice(&a.values[(first + r) * a.stride..][..b.depth()]);
                }
                // SAFETY: the caller's promise.
                unsafe { block(Left { values: padded, rows, stride }, b, out.from_row(first)) };
            }
        });
        return;
    }
    for first in (0..a.rows).step_by(BLOCK) {
        let part = Left { values: &a.values[first * a.stride..], rows: BLOCK.min(a.rows - first), ..a };
        // SAFETY: the caller's promise.
        unsafe { block(part, b, out.from_row(first)) };
    }
}

impl Out {
    fn from_row(self, row: usize) -> Self {
        Out { start: self.start.wrapping_add(row * self.stride), stride: self.stride }
    }
}

/// All panels over some rows.
///
/// # Safety
/// As [`multiply`].
unsafe fn block(a: Left, b: &Stretch, out: Out) {
    if a.rows == 0 {
        return;
    }
    assert!(a.values.len() >= (a.rows - 1) * a.stride + b.depth());
    for (i, p) in b.panels.clone().enumerate() {
        let columns = PANEL.min(b.of.width - p * PANEL);
        let out = Out { start: out.start.wrapping_add(i * PANEL), stride: out.stride };
        let part = Part { a: a.values.as_ptr(), a_stride: a.stride, depth: b.depth(), panel: b.panel(p).as_ptr(), out };
        if columns == PANEL {
            // SAFETY: the lengths were compared; the caller gives the room.
            unsafe { part.rows(a.rows) };
            continue;
        }
        // The last panel is wider than what is left of the output.
        let mut narrow = [0f32; TALLEST * PANEL];
        for first in (0..a.rows).step_by(TALLEST) {
            let rows = TALLEST.min(a.rows - first);
            let start = Out { start: narrow.as_mut_ptr(), stride: PANEL };
            let part = Part { a: part.a.wrapping_add(first * a.stride), out: start, ..part };
            // SAFETY: as above; `narrow` has room for TALLEST rows.
            unsafe { part.rows(rows) };
            for r in 0..rows {
                for j in 0..columns {
                    // SAFETY: within the width of B.
                    unsafe { *out.start.add((first + r) * out.stride + j) = narrow[r * PANEL + j] };
                }
            }
        }
    }
}

/// Rows of the highest tile.
const TALLEST: usize = 14;

/// Some rows of A against one panel.
#[derive(Clone, Copy)]
struct Part {
    a: *const f32,
    a_stride: usize,
    depth: usize,
    panel: *const f32,
    out: Out,
}

impl Part {
    /// Tiles from the top.
    ///
    /// # Safety
    /// A, the panel and the output have `rows` rows.
    unsafe fn rows(self, rows: usize) {
        // SAFETY: the features are there, and the caller's promise.
        unsafe {
            #[cfg(target_arch = "x86_64")]
            {
                if is_x86_feature_detected!("avx512f") {
                    return self.rows_512(rows);
                }
                if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                    return self.rows_256(rows);
                }
            }
            self.rows_plain(rows);
        }
    }

    fn below(self, row: usize) -> Self {
        Part { a: self.a.wrapping_add(row * self.a_stride), out: self.out.from_row(row), ..self }
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f")]
    unsafe fn rows_512(self, rows: usize) {
        let mut at = 0;
        // SAFETY: the caller's promise.
        unsafe {
            while at + 14 <= rows {
                self.below(at).tile_512::<14>();
                at += 14;
            }
            let rest = self.below(at);
            match rows - at {
                0 => {}
                1 => rest.tile_512::<1>(),
                2 => rest.tile_512::<2>(),
                3 => rest.tile_512::<3>(),
                4 => rest.tile_512::<4>(),
                5 => rest.tile_512::<5>(),
                6 => rest.tile_512::<6>(),
                7 => rest.tile_512::<7>(),
                8 => rest.tile_512::<8>(),
                9 => rest.tile_512::<9>(),
                10 => rest.tile_512::<10>(),
                11 => rest.tile_512::<11>(),
                12 => rest.tile_512::<12>(),
                _ => rest.tile_512::<13>(),
            }
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f")]
    #[inline]
    unsafe fn tile_512<const ROWS: usize>(self) {
        use std::arch::x86_64::*;
        // SAFETY: the caller's promise.
        unsafe {
            let mut sums = [[_mm512_setzero_ps(); 2]; ROWS];
            let mut panel = self.panel;
            for k in 0..self.depth {
                let (left, right) = (_mm512_loadu_ps(panel), _mm512_loadu_ps(panel.add(16)));
                panel = panel.add(PANEL);
                for (r, sums) in sums.iter_mut().enumerate() {
                    let x = _mm512_set1_ps(*self.a.add(r * self.a_stride + k));
                    sums[0] = _mm512_fmadd_ps(x, left, sums[0]);
                    sums[1] = _mm512_fmadd_ps(x, right, sums[1]);
                }
            }
            for (r, sums) in sums.iter().enumerate() {
                let out = self.out.start.add(r * self.out.stride);
                _mm512_storeu_ps(out, sums[0]);
                _mm512_storeu_ps(out.add(16), sums[1]);
            }
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn rows_256(self, rows: usize) {
        for half in [0, 16] {
            let out = Out { start: self.out.start.wrapping_add(half), ..self.out };
            let part = Part { panel: self.panel.wrapping_add(half), out, ..self };
            let mut at = 0;
            // SAFETY: the caller's promise.
            unsafe {
                while at + 6 <= rows {
                    part.below(at).tile_256::<6>();
                    at += 6;
                }
                let rest = part.below(at);
                match rows - at {
                    0 => {}
                    1 => rest.tile_256::<1>(),
                    2 => rest.tile_256::<2>(),
                    3 => rest.tile_256::<3>(),
                    4 => rest.tile_256::<4>(),
                    _ => rest.tile_256::<5>(),
                }
            }
        }
    }

    /// 16 of the panel's columns.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    #[inline]
    unsafe fn tile_256<const ROWS: usize>(self) {
        use std::arch::x86_64::*;
        // SAFETY: the caller's promise.
        unsafe {
            let mut sums = [[_mm256_setzero_ps(); 2]; ROWS];
            let mut panel = self.panel;
            for k in 0..self.depth {
                let (left, right) = (_mm256_loadu_ps(panel), _mm256_loadu_ps(panel.add(8)));
                panel = panel.add(PANEL);
                for (r, sums) in sums.iter_mut().enumerate() {
                    let x = _mm256_set1_ps(*self.a.add(r * self.a_stride + k));
                    sums[0] = _mm256_fmadd_ps(x, left, sums[0]);
                    sums[1] = _mm256_fmadd_ps(x, right, sums[1]);
                }
            }
            for (r, sums) in sums.iter().enumerate() {
                let out = self.out.start.add(r * self.out.stride);
                _mm256_storeu_ps(out, sums[0]);
                _mm256_storeu_ps(out.add(8), sums[1]);
            }
        }
    }

    unsafe fn rows_plain(self, rows: usize) {
        for r in 0..rows {
            let mut sums = [0f32; PANEL];
            // SAFETY: the caller's promise.
            unsafe {
                for k in 0..self.depth {
                    let x = *self.a.add(r * self.a_stride + k);
                    for (j, sum) in sums.iter_mut().enumerate() {
                        *sum += x * *self.panel.add(k * PANEL + j);
                    }
                }
                for (j, sum) in sums.iter().enumerate() {
                    *self.out.start.add(r * self.out.stride + j) = *sum;
                }
            }
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

    fn run(a: &[f32], rows: usize, b: &Panels) -> Vec<f32> {
        let mut out = vec![f32::NAN; rows * b.width()];
        let to = Out { start: out.as_mut_ptr(), stride: b.width() };
        // SAFETY: `out` has rows * width places.
        unsafe { multiply(Left { values: a, rows, stride: b.depth() }, &b.whole(), to) };
        out
    }

    #[test]
    fn a_product_is_its_definition_and_every_row_stands_alone() {
        for (m, n, k) in [(1, 1, 1), (17, 33, 5), (113, 64, 70), (230, 40, 1024), (3, 100, 2048)] {
            let (a, w) = (numbers(m * k, 1), numbers(n * k, 2));
            let b = Panels::of_transposed(&w, n, k);
            let out = run(&a, m, &b);
            for (i, got) in out.iter().enumerate() {
                let (r, j) = (i / n, i % n);
                let want: f64 = (0..k).map(|x| f64::from(a[r * k + x]) * f64::from(w[j * k + x])).sum();
                assert!((f64::from(*got) - want).abs() < 1e-6 * k as f64, "{m} {n} {k}: {got} is not {want}");
            }
            for r in 0..m {
                assert_eq!(run(&a[r * k..(r + 1) * k], 1, &b), out[r * n..(r + 1) * n], "row {r} alone");
            }
            let mut plain = Panels::empty();
            let transposed: Vec<f32> = (0..n * k).map(|i| w[i % n * k + i / n]).collect();
            plain.fill(&transposed, n, k, n);
            assert_eq!(run(&a, m, &plain), out);
        }
    }
}
