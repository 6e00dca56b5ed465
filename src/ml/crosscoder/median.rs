//! The geometric median: where the decoder bias of the top-k losses starts (docs/method.md 1.1).

/// Most rounds of Weiszfeld's algorithm.
pub const ROUNDS: usize = 100;
/// It has converged when no part's guess moves further.
pub const CLOSE: f64 = 1e-5;

/// Per part, the point with the least sum of distances to the rows x `[B, parts, d]`: `[parts, d]` (two models, or the one vector of an
/// autoencoder), by Weiszfeld's algorithm from the mean, as published; a row that equals the guess counts with distance 1e-12 where the
/// published code divides by zero.
pub fn geometric_median(x: &[f32], width: usize, parts: usize) -> Vec<f32> {
    let both = parts * width;
    let rows = (x.len() / both) as f64;
    let mut guess = vec![0f64; both];
    for row in x.chunks_exact(both) {
        guess.iter_mut().zip(row).for_each(|(g, &v)| *g += v as f64 / rows);
    }
    for _ in 0..ROUNDS {
        let mut moved = 0f64;
        for model in 0..parts {
            let part = model * width..(model + 1) * width;
            let next = improve(x, both, part.clone(), &guess[part.clone()]);
            moved = moved.max(distance(next.iter().copied(), &guess[part.clone()]));
            guess[part].copy_from_slice(&next);
        }
        if moved < CLOSE {
            break;
        }
    }
    guess.into_iter().map(|g| g as f32).collect()
}

fn improve(x: &[f32], both: usize, part: std::ops::Range<usize>, guess: &[f64]) -> Vec<f64> {
    let mut sum = vec![0f64; guess.len()];
    let mut total = 0f64;
    for row in x.chunks_exact(both) {
        let values = &row[part.clone()];
        let weight = 1.0 / distance(values.iter().map(|&v| v as f64), guess).max(1e-12);
        total += weight;
        sum.iter_mut().zip(values).for_each(|(s, &v)| *s += weight * v as f64);
    }
    sum.iter_mut().for_each(|s| *s /= total);
    sum
}

fn distance(a: impl Iterator<Item = f64>, b: &[f64]) -> f64 {
    a.zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outlier_hardly_moves_it() {
        // Base: corners of a square and one far point; tuned: constant.
        let rows = [[1.0f32, 1.0], [-1.0, 1.0], [1.0, -1.0], [-1.0, -1.0], [1e4, 0.0]];
        let x: Vec<f32> = rows.iter().flat_map(|&[a, b]| [a, b, 3.0, 4.0]).collect();
        let median = geometric_median(&x, 2, 2);
        assert!(median[0].abs() < 1.0 && median[1].abs() < 1e-3, "{median:?}");
        assert_eq!(&median[2..], [3.0, 4.0]);
    }
}
