//! Sums and dot products over a few rows of a matrix.

use super::{dispatched, multiply_add};

/// Columns that are summed in registers at a time.
const TILE: usize = 64;
/// Partial sums of a dot product.
const LANES: usize = 32;

dispatched! {
    /// out += sum over t of `coefficients[t]` times row `rows[t]` of `matrix` (rows of the length of `out`).
    pub fn gather_sum(out: &mut [f32], coefficients: &[f32], rows: &[u32], matrix: &[f32]) {
        let width = out.len();
        let mut tiles = out.chunks_exact_mut(TILE);
        let mut start = 0;
        for tile in &mut tiles {
            let mut sum = [0f32; TILE];
            sum.copy_from_slice(tile);
            for (&c, &row) in coefficients.iter().zip(rows) {
                let from = row as usize * width + start;
                let values: &[f32; TILE] = matrix[from..from + TILE].try_into().unwrap();
                for l in 0..TILE {
                    sum[l] = multiply_add::<FMA>(c, values[l], sum[l]);
                }
            }
            tile.copy_from_slice(&sum);
            start += TILE;
        }
        let rest = tiles.into_remainder();
        if !rest.is_empty() {
            for (&c, &row) in coefficients.iter().zip(rows) {
                let from = row as usize * width + start;
                for (o, &v) in rest.iter_mut().zip(&matrix[from..from + width - start]) {
                    *o = multiply_add::<FMA>(c, v, *o);
                }
            }
        }
    }
}

dispatched! {
    /// `out[t]` = dot product of `vector` and row `rows[t]` of `matrix` (rows of the length of `vector`).
    pub fn gather_dots(out: &mut [f32], vector: &[f32], rows: &[u32], matrix: &[f32]) {
        let width = vector.len();
        for (o, &row) in out.iter_mut().zip(rows) {
            let from = row as usize * width;
            *o = dot_body::<FMA>(vector, &matrix[from..from + width]);
        }
    }
}

dispatched! {
    /// Dot product of two vectors of one length.
    pub fn dot(a: &[f32], b: &[f32]) -> f32 {
        dot_body::<FMA>(a, b)
    }
}

/// Squared Euclidean norm.
pub fn squared_norm(a: &[f32]) -> f32 {
    dot(a, a)
}

#[inline(always)]
fn dot_body<const FMA: bool>(a: &[f32], b: &[f32]) -> f32 {
    let whole = a.len() / LANES * LANES;
    let mut sums = [0f32; LANES];
    let mut start = 0;
    while start < whole {
        let x: &[f32; LANES] = a[start..start + LANES].try_into().unwrap();
        let y: &[f32; LANES] = b[start..start + LANES].try_into().unwrap();
        for l in 0..LANES {
            sums[l] = multiply_add::<FMA>(x[l], y[l], sums[l]);
        }
        start += LANES;
    }
    let mut lanes = LANES / 2;
    while lanes > 0 {
        for l in 0..lanes {
            sums[l] += sums[l + lanes];
        }
        lanes /= 2;
    }
    let mut rest = 0.0;
    for i in whole..a.len() {
        rest = multiply_add::<FMA>(a[i], b[i], rest);
    }
    sums[0] + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_and_dots_equal_their_definitions_at_odd_lengths() {
        for width in [1, 31, 64, 100, 200] {
            let matrix: Vec<f32> = (0..width * 5).map(|i| (i as f32 * 0.37).sin()).collect();
            let vector: Vec<f32> = (0..width).map(|i| (i as f32 * 0.11).cos()).collect();
            let (rows, coefficients) = ([4u32, 0, 2], [0.5f32, -1.5, 2.0]);
            let mut out = vector.clone();
            gather_sum(&mut out, &coefficients, &rows, &matrix);
            let mut dots = [0f32; 3];
            gather_dots(&mut dots, &vector, &rows, &matrix);
            for c in 0..width {
                let exact: f64 = vector[c] as f64
                    + rows
                        .iter()
                        .zip(coefficients)
                        .map(|(&r, k)| k as f64 * matrix[r as usize * width + c] as f64)
                        .sum::<f64>();
                assert!((out[c] as f64 - exact).abs() < 1e-5);
            }
            for t in 0..3 {
                let exact: f64 =
                    (0..width).map(|c| vector[c] as f64 * matrix[rows[t] as usize * width + c] as f64).sum();
                assert!((dots[t] as f64 - exact).abs() < 1e-5);
            }
        }
    }
}
