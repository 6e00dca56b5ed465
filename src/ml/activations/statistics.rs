//! Means, variances and norms of a set of rows.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::ml::{Result, Rows};

/// Rows of one partial sum; fixed, so that the sums do not depend on threads.
const CHUNK: usize = 256;
/// Rows that are read at a time.
const READ: usize = 4096;

/// Sums over rows `[N, 2, d]`, in f64.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Statistics {
    /// N.
    pub rows: u64,
    /// `[2 d]`.
    pub mean: Vec<f64>,
    /// Sums of squared deviations from the mean, `[2 d]`.
    pub squares: Vec<f64>,
    /// Mean norm of each model.
    pub norm: [f64; 2],
}

impl Statistics {
    /// Of no rows of width d.
    pub fn new(width: usize) -> Self {
        Statistics { rows: 0, mean: vec![0.0; 2 * width], squares: vec![0.0; 2 * width], norm: [0.0; 2] }
    }

    /// Of all rows.
    pub fn over(rows: &dyn Rows) -> Result<Self> {
        let width = rows.width();
        let mut statistics = Statistics::new(width);
        let mut values = Vec::new();
        for start in (0..rows.count()).step_by(READ) {
            let count = (rows.count() - start).min(READ as u64) as usize;
            values.resize(count * 2 * width, 0.0);
            rows.read(start, &mut values)?;
            statistics.add(&values);
        }
        Ok(statistics)
    }

    /// d.
    pub fn width(&self) -> usize {
        self.mean.len() / 2
    }

    /// Variance of each coordinate, `[2 d]`, with N - 1 in the denominator as in the published code.
    pub fn variance(&self) -> Vec<f64> {
        let free = self.rows.saturating_sub(1).max(1) as f64;
        self.squares.iter().map(|square| square / free).collect()
    }

    /// Takes in `values` `[rows, 2, d]`.
    pub fn add(&mut self, values: &[f32]) {
        if values.is_empty() {
            return;
        }
        let width = self.width();
        let parts: Vec<Statistics> = values.par_chunks(CHUNK * 2 * width).map(|chunk| part(chunk, width)).collect();
        for part in &parts {
            self.merge(part);
        }
    }

    /// Takes in the rows of `other` (Chan, Golub and LeVeque 1979).
    pub fn merge(&mut self, other: &Statistics) {
        if other.rows == 0 {
            return;
        }
        let (n, m) = (self.rows as f64, other.rows as f64);
        let share = m / (n + m);
        for i in 0..self.mean.len() {
            let delta = other.mean[i] - self.mean[i];
            self.mean[i] += delta * share;
            self.squares[i] += other.squares[i] + delta * delta * n * share;
        }
        for (norm, other) in self.norm.iter_mut().zip(other.norm) {
            *norm += (other - *norm) * share;
        }
        self.rows += other.rows;
    }
}

/// Of one chunk, by two passes over it.
fn part(values: &[f32], width: usize) -> Statistics {
    let mut part = Statistics::new(width);
    let stride = 2 * width;
    part.rows = (values.len() / stride) as u64;
    let count = part.rows as f64;
    for row in values.chunks_exact(stride) {
        for (sum, &x) in part.mean.iter_mut().zip(row) {
            *sum += f64::from(x);
        }
        for (sum, half) in part.norm.iter_mut().zip(row.chunks_exact(width)) {
            *sum += norm(half);
        }
    }
    part.mean.iter_mut().for_each(|sum| *sum /= count);
    part.norm.iter_mut().for_each(|sum| *sum /= count);
    for row in values.chunks_exact(stride) {
        for ((sum, &x), mean) in part.squares.iter_mut().zip(row).zip(&part.mean) {
            let deviation = f64::from(x) - mean;
            *sum += deviation * deviation;
        }
    }
    part
}

/// Euclidean norm, summed in f64 in eight fixed lanes.
pub(super) fn norm(values: &[f32]) -> f64 {
    let mut lanes = [0.0f64; 8];
    let chunks = values.chunks_exact(8);
    let rest: f64 = chunks.remainder().iter().map(|&x| f64::from(x) * f64::from(x)).sum();
    for chunk in chunks {
        for (lane, &x) in lanes.iter_mut().zip(chunk) {
            *lane += f64::from(x) * f64::from(x);
        }
    }
    (lanes.iter().sum::<f64>() + rest).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ml::MemoryRows;

    fn rows(count: usize, width: usize) -> MemoryRows {
        let values = (0..count * 2 * width).map(|i| 100.0 + ((i * 7919) % 1009) as f32 / 64.0).collect();
        MemoryRows { width, values, infos: Vec::new() }
    }

    #[test]
    fn equal_to_the_plain_formulas() {
        let rows = rows(5000, 5);
        let statistics = Statistics::over(&rows).unwrap();
        assert_eq!(statistics.rows, 5000);
        for i in 0..10 {
            let column: Vec<f64> = rows.values.iter().skip(i).step_by(10).map(|&x| f64::from(x)).collect();
            let mean = column.iter().sum::<f64>() / 5000.0;
            let variance = column.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 4999.0;
            assert!((statistics.mean[i] - mean).abs() < 1e-10);
            assert!((statistics.variance()[i] - variance).abs() < 1e-9 * variance);
        }
        for model in 0..2 {
            let norms = rows.values.chunks(5).skip(model).step_by(2);
            let mean = norms.map(|x| x.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt()).sum::<f64>() / 5000.0;
            assert!((statistics.norm[model] - mean).abs() < 1e-9);
        }
    }

    #[test]
    fn the_same_bits_on_one_and_three_threads() {
        let rows = rows(3000, 4);
        let with = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| Statistics::over(&rows).unwrap())
        };
        assert_eq!(with(1), with(3));
    }
}
