//! A matrix turned round.

use rayon::prelude::*;

/// Rows and columns that are turned at a time: a cache line.
const BLOCK: usize = 16;

/// `[rows, columns]` to `[columns, rows]`.
pub fn transposed(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    let mut out = vec![0.0; rows * columns];
    out.par_chunks_mut(BLOCK * rows.max(1)).enumerate().for_each(|(block, targets)| {
        let first = block * BLOCK;
        for from in (0..rows).step_by(BLOCK) {
            for row in from..rows.min(from + BLOCK) {
                let values = &values[row * columns + first..columns.min(first + BLOCK) + row * columns];
                values.iter().enumerate().for_each(|(column, value)| targets[column * rows + row] = *value);
            }
        }
    });
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_become_columns() {
        for (rows, columns) in [(1, 1), (3, 40), (33, 17), (5, 0)] {
            let values: Vec<f32> = (0..rows * columns).map(|i| i as f32).collect();
            let turned = transposed(&values, rows, columns);
            for (place, value) in values.iter().enumerate() {
                assert_eq!(turned[place % columns * rows + place / columns], *value);
            }
        }
    }
}
