//! Heavy-tailed firing probabilities with a given sum.

/// p_k = clamp(s u_k^tail, range), with the one s that makes the sum `active`. Feasible when n low <= active <= n high.
pub fn frequencies(uniforms: &[f64], tail: f64, range: (f64, f64), active: f64) -> Vec<f64> {
    let at = |s: f64| uniforms.iter().map(move |u| (s * u.powf(tail)).clamp(range.0, range.1));
    let (mut low, mut high) = (0.0, 1.0);
    while at(high).sum::<f64>() < active && high < 1e12 {
        high *= 2.0;
    }
    for _ in 0..200 {
        let middle = 0.5 * (low + high);
        if at(middle).sum::<f64>() < active { low = middle } else { high = middle }
    }
    at(high).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_is_active_and_the_range_holds() {
        let uniforms: Vec<f64> = (0..256).map(|k| (k as f64 + 0.5) / 256.0).collect();
        let p = frequencies(&uniforms, 1.5, (0.004, 0.5), 8.0);
        assert!((p.iter().sum::<f64>() - 8.0).abs() < 1e-9);
        assert!(p.iter().all(|&p| (0.004..=0.5).contains(&p)));
        assert!(p[255] > 10.0 * p[20], "not heavy-tailed: {} and {}", p[255], p[20]);
    }

    #[test]
    fn the_edges_are_feasible() {
        let uniforms = [0.2, 0.4, 0.9];
        assert!(frequencies(&uniforms, 1.5, (0.1, 0.5), 0.3).iter().all(|&p| (p - 0.1).abs() < 1e-9));
        assert!(frequencies(&uniforms, 1.5, (0.1, 0.5), 1.5).iter().all(|&p| (p - 0.5).abs() < 1e-6));
    }
}
