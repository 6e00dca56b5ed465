//! The quantile of Student's distribution that intervals of few independent values need.

/// The 0.975 quantile of Student's t with a whole number of degrees of freedom: half of the interval between it and its opposite is
/// found in theta = atan(t / sqrt(nu)), where the probability is a finite sum. Panics at 0.
pub fn student_975(degrees: u32) -> f64 {
    assert!(degrees > 0);
    let (mut low, mut high) = (0.0, std::f64::consts::FRAC_PI_2);
    // Each step halves the interval; after so many it is as narrow as two neighbouring numbers.
    for _ in 0..64 {
        let middle = 0.5 * (low + high);
        if within(middle, degrees) < 0.95 { low = middle } else { high = middle }
    }
    f64::from(degrees).sqrt() * (0.5 * (low + high)).tan()
}

/// P(|T| < sqrt(nu) tan theta) (Abramowitz and Stegun 26.7.3 and 26.7.4).
fn within(theta: f64, degrees: u32) -> f64 {
    let (sine, cosine) = theta.sin_cos();
    let odd = degrees % 2 == 1;
    // 1 + a_1 cos^2 + a_2 cos^4 + ..., with a_k = a_{k-1} (2k - 1) / 2k for even nu, 2k / (2k + 1) for odd nu.
    let terms = if odd { degrees.saturating_sub(1) / 2 } else { degrees / 2 };
    let (mut sum, mut term) = (0.0, 1.0);
    for k in 1..=terms {
        sum += term;
        let k = f64::from(k);
        term *= cosine * cosine * if odd { 2.0 * k / (2.0 * k + 1.0) } else { (2.0 * k - 1.0) / (2.0 * k) };
    }
    match odd {
        true => std::f64::consts::FRAC_2_PI * (theta + sine * cosine * sum),
        false => sine * sum,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The printed table, three decimals.
    const TABLE: &[(u32, f64)] = &[
        (1, 12.706),
        (2, 4.303),
        (3, 3.182),
        (4, 2.776),
        (5, 2.571),
        (6, 2.447),
        (7, 2.365),
        (8, 2.306),
        (9, 2.262),
        (10, 2.228),
        (11, 2.201),
        (12, 2.179),
        (15, 2.131),
        (20, 2.086),
        (25, 2.060),
        (29, 2.045),
        (30, 2.042),
        (40, 2.021),
        (60, 2.000),
        (120, 1.980),
    ];

    #[test]
    fn the_quantile_equals_the_printed_table() {
        for &(degrees, printed) in TABLE {
            assert!((student_975(degrees) - printed).abs() <= 5.001e-4, "{degrees}: {}", student_975(degrees));
        }
        assert!((student_975(1) - (0.95 * std::f64::consts::FRAC_PI_2).tan()).abs() < 1e-9);
        // The normal quantile is the limit.
        assert!((student_975(1_000_000) - 1.959_963_984_540_054).abs() < 1e-5);
    }

    #[test]
    fn the_quantile_holds_95_percent_of_the_density() {
        // The density (1 + t^2 / nu)^(-(nu + 1) / 2) in t = sqrt(nu) tan u is cos^(nu - 1) u, by the midpoint rule.
        for degrees in [1, 2, 3, 4, 5, 8, 13, 30] {
            let mass = |to: f64| -> f64 {
                let steps = 200_000;
                let width = to / f64::from(steps);
                (0..steps).map(|i| ((f64::from(i) + 0.5) * width).cos().powi(degrees as i32 - 1) * width).sum()
            };
            let theta = (student_975(degrees) / f64::from(degrees).sqrt()).atan();
            let share = mass(theta) / mass(std::f64::consts::FRAC_PI_2);
            assert!((share - 0.95).abs() < 1e-8, "{degrees}: {share}");
        }
    }
}
