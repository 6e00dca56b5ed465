//! Products as cuBLAS counts them: matrices column by column.

use super::gpu::{Form, Product};

/// The arguments of a gemm over columns that writes a row-major C. Such a C `[m, n]` is its C^T `[n, m]` by columns, and
/// C^T = B^T A^T, so B is the first operand and A the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByColumns {
    /// Whether the operand as it lies (by columns) is to be turned.
    pub turn_first: bool,
    pub turn_second: bool,
    /// Rows and columns of what is written, and the terms of each sum.
    pub m: usize,
    pub n: usize,
    pub k: usize,
    /// Numbers from one column to the next.
    pub lead_first: usize,
    pub lead_second: usize,
    pub lead_out: usize,
}

impl ByColumns {
    /// Of a row-major product.
    pub fn of(product: Product) -> Self {
        let Product { form, m, n, k } = product;
        let (turn_first, lead_first, turn_second, lead_second) = match form {
            Form::Rows => (true, k, false, k),
            Form::Plain => (false, n, false, k),
            Form::Turned => (false, n, true, m),
        };
        ByColumns { turn_first, turn_second, m: n, n: m, k, lead_first, lead_second, lead_out: n }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// gemm as cuBLAS documents it: C(i, j) = sum_l op(A)(i, l) op(B)(l, j), every matrix M(i, j) at i + j lead.
    fn gemm(of: ByColumns, first: &[f32], second: &[f32], out: &mut [f32]) {
        assert!(of.lead_first >= if of.turn_first { of.k } else { of.m }, "cuBLAS refuses a smaller lead");
        assert!(of.lead_second >= if of.turn_second { of.n } else { of.k } && of.lead_out >= of.m);
        let at = |matrix: &[f32], turned: bool, lead: usize, i: usize, j: usize| {
            let (i, j) = if turned { (j, i) } else { (i, j) };
            f64::from(matrix[i + j * lead])
        };
        for i in 0..of.m {
            for j in 0..of.n {
                let sum: f64 = (0..of.k)
                    .map(|l| {
                        at(first, of.turn_first, of.lead_first, i, l) * at(second, of.turn_second, of.lead_second, l, j)
                    })
                    .sum();
                out[i + j * of.lead_out] = sum as f32;
            }
        }
    }

    #[test]
    fn a_gemm_by_columns_with_these_arguments_writes_the_row_major_product() {
        for (m, n, k) in [(3, 5, 7), (5, 3, 2), (1, 4, 6), (4, 1, 3), (6, 6, 6)] {
            let numbers =
                |count: usize, by: usize| (0..count).map(|i| ((i * by) % 11) as f32 - 4.0).collect::<Vec<_>>();
            let (a, b) = (numbers(m * k, 7), numbers(n * k, 5));
            for form in [Form::Rows, Form::Plain, Form::Turned] {
                let mut found = vec![f32::NAN; m * n];
                gemm(ByColumns::of(Product { form, m, n, k }), &b, &a, &mut found);
                for row in 0..m {
                    for column in 0..n {
                        let exact: f32 = (0..k)
                            .map(|l| match form {
                                Form::Rows => a[row * k + l] * b[column * k + l],
                                Form::Plain => a[row * k + l] * b[l * n + column],
                                Form::Turned => a[l * m + row] * b[l * n + column],
                            })
                            .sum();
                        assert_eq!(found[row * n + column], exact, "{form:?} {m} {n} {k} at {row} {column}");
                    }
                }
            }
        }
    }
}
