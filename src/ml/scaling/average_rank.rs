//! Ranks as pandas gives them.

/// Ranks from 1, ascending; equal values share the mean of their ranks; `None` stays `None`.
pub fn average_ranks(values: &[Option<f64>]) -> Vec<Option<f64>> {
    let mut order: Vec<(usize, f64)> =
        values.iter().enumerate().filter_map(|(i, value)| value.filter(|v| !v.is_nan()).map(|v| (i, v))).collect();
    order.sort_by(|a, b| a.1.total_cmp(&b.1));
    let mut ranks = vec![None; values.len()];
    let mut start = 0;
    for tie in order.chunk_by(|a, b| a.1 == b.1) {
        let mean = start as f64 + (tie.len() + 1) as f64 / 2.0;
        for &(i, _) in tie {
            ranks[i] = Some(mean);
        }
        start += tie.len();
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_share_their_mean_rank() {
        // pandas.Series([3, 1, None, 3, 2, 0.0, -0.0]).rank() = [5.5, 3, nan, 5.5, 4, 1.5, 1.5]
        let values = [Some(3.0), Some(1.0), None, Some(3.0), Some(2.0), Some(0.0), Some(-0.0)];
        let ranks = [Some(5.5), Some(3.0), None, Some(5.5), Some(4.0), Some(1.5), Some(1.5)];
        assert_eq!(average_ranks(&values), ranks);
    }
}
