//! Dense products.

use gemm::{Parallelism, gemm};
use rayon::prelude::*;

/// A matrix in a slice, possibly transposed.
#[derive(Clone, Copy)]
pub struct Matrix<'a> {
    values: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// `[rows, columns]`, row-major. Panics when the slice is shorter.
    pub fn new(values: &'a [f32], rows: usize, columns: usize) -> Self {
        assert!(values.len() >= rows * columns);
        Matrix { values, rows, columns, row_stride: columns, column_stride: 1 }
    }

    /// The same numbers as `[columns, rows]`.
    pub fn transposed(self) -> Self {
        Matrix {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }
}

/// Rows and columns of the output that one call of the single-threaded product makes. Never depends on the number of
/// threads, so neither does the order in which a number is summed.
const TILE_ROWS: usize = 512;
const TILE_COLUMNS: usize = 512;

/// Writes A B `[m, n]`, row-major, into `out`.
pub fn product(out: &mut [f32], a: Matrix, b: Matrix) {
    let (m, n, k) = (a.rows, b.columns, a.columns);
    assert_eq!(a.columns, b.rows);
    assert_eq!(out.len(), m * n);
    let target = Target(out.as_mut_ptr());
    let across = n.div_ceil(TILE_COLUMNS);
    let tiles = m.div_ceil(TILE_ROWS) * across;
    (0..tiles).into_par_iter().with_max_len(1).for_each(|tile| {
        let (row, column) = (tile / across * TILE_ROWS, tile % across * TILE_COLUMNS);
        let (rows, columns) = (TILE_ROWS.min(m - row), TILE_COLUMNS.min(n - column));
        // SAFETY: tiles lie within `out` (asserted above) and do not overlap; the operands cover [m, k] and [k, n].
        unsafe {
            gemm(
                rows,
                columns,
                k,
                target.at(row * n + column),
                1,
                n as isize,
                false,
                a.values.as_ptr().add(row * a.row_stride),
                a.column_stride as isize,
                a.row_stride as isize,
                b.values.as_ptr().add(column * b.column_stride),
                b.column_stride as isize,
                b.row_stride as isize,
                0.0f32,
                1.0f32,
                false,
                false,
                false,
                Parallelism::None,
            );
        }
    });
}

/// Where threads write their tiles.
struct Target(*mut f32);
// SAFETY: threads write disjoint tiles.
unsafe impl Sync for Target {}

impl Target {
    fn at(&self, offset: usize) -> *mut f32 {
        self.0.wrapping_add(offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(count: usize, seed: u32) -> Vec<f32> {
        (0..count as u32)
            .map(|i| ((i.wrapping_mul(2654435761).wrapping_add(seed) >> 8) % 2001) as f32 / 1000.0 - 1.0)
            .collect()
    }

    #[test]
    fn equals_the_definition_and_ignores_the_number_of_threads() {
        let (m, n, k) = (530, 1030, 70);
        let (a, b) = (numbers(m * k, 1), numbers(n * k, 2));
        let run = |threads| {
            let mut out = vec![0.0; m * n];
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| product(&mut out, Matrix::new(&a, m, k), Matrix::new(&b, n, k).transposed()));
            out
        };
        let out = run(1);
        assert_eq!(out, run(2));
        assert_eq!(out, run(5));
        for (row, column) in [(0, 0), (529, 1029), (100, 700), (511, 513)] {
            let exact: f64 = (0..k).map(|i| a[row * k + i] as f64 * b[column * k + i] as f64).sum();
            assert!((out[row * n + column] as f64 - exact).abs() < 1e-5, "{row} {column}");
        }
    }
}
