//! Correlations with their p values, and how they are written.

use super::figure::Correlation;
use super::over;
use crate::out::number;

/// `r = 0.73, p < 10⁻³⁰⁰`; `None` for fewer than three pairs, or where one side does not vary.
pub fn said(which: Correlation, pairs: &[(f64, f64)]) -> Option<String> {
    let (letter, r) = match which {
        Correlation::Pearson => ("r", pearson(pairs)?),
        Correlation::Spearman => ("ρ", spearman(pairs)?),
    };
    let decimals = number::fixed(r, 2).replace('-', "−");
    Some(format!("{letter} = {decimals}, {}", written(log10_p(r, pairs.len()))))
}

/// `r = 0.73 ± 0.05 (3 seeds)`: the correlation of each run by itself, its mean and 95% t-interval; runs whose correlation is not
/// defined are left out.
pub fn said_over(which: Correlation, runs: impl Iterator<Item = Vec<(f64, f64)>>, label: &str) -> Option<String> {
    let (letter, of): (_, fn(&[(f64, f64)]) -> Option<f64>) = match which {
        Correlation::Pearson => ("r", pearson),
        Correlation::Spearman => ("ρ", spearman),
    };
    let found: Vec<f64> = runs.filter_map(|pairs| of(&pairs)).collect();
    Some(format!("{letter} = {}", over::written(&found, label)?))
}

/// r = sum (x - mean x)(y - mean y) / sqrt(sum (x - mean x)^2 sum (y - mean y)^2).
pub fn pearson(pairs: &[(f64, f64)]) -> Option<f64> {
    let n = pairs.len() as f64;
    if pairs.len() < 3 {
        return None;
    }
    let (mean_x, mean_y) = (pairs.iter().map(|p| p.0).sum::<f64>() / n, pairs.iter().map(|p| p.1).sum::<f64>() / n);
    let (mut xx, mut yy, mut xy) = (0.0, 0.0, 0.0);
    for (x, y) in pairs {
        let (x, y) = (x - mean_x, y - mean_y);
        (xx, yy, xy) = (xx + x * x, yy + y * y, xy + x * y);
    }
    let r = xy / (xx.sqrt() * yy.sqrt());
    r.is_finite().then(|| r.clamp(-1.0, 1.0))
}

/// Pearson's r of the ranks; equal values share the mean of theirs.
pub fn spearman(pairs: &[(f64, f64)]) -> Option<f64> {
    let ranks = |of: fn(&(f64, f64)) -> f64| {
        let mut order: Vec<usize> = (0..pairs.len()).collect();
        order.sort_by(|a, b| of(&pairs[*a]).total_cmp(&of(&pairs[*b])));
        let mut ranks = vec![0.0; pairs.len()];
        let mut before = 0;
        for run in order.chunk_by(|a, b| of(&pairs[*a]) == of(&pairs[*b])) {
            run.iter().for_each(|&i| ranks[i] = before as f64 + (run.len() + 1) as f64 / 2.0);
            before += run.len();
        }
        ranks
    };
    let ranked: Vec<(f64, f64)> = ranks(|p| p.0).into_iter().zip(ranks(|p| p.1)).collect();
    pearson(&ranked)
}

/// log10 of the two-sided p of r under no correlation: t = r sqrt((n - 2) / (1 - r^2)) has Student's distribution with n - 2
/// degrees of freedom, so p = I(1 - r^2; (n - 2) / 2, 1/2), the regularised incomplete beta function.
pub fn log10_p(r: f64, n: usize) -> f64 {
    let x = 1.0 - r * r;
    if x <= 0.0 {
        return f64::NEG_INFINITY;
    }
    ln_incomplete_beta(x, (n as f64 - 2.0) / 2.0, 0.5) / std::f64::consts::LN_10
}

/// `p = 0.031`, `p = 2·10⁻⁹`, `p < 10⁻³⁰⁰`.
fn written(log10_p: f64) -> String {
    if log10_p < -300.0 {
        return "p < 10⁻³⁰⁰".to_owned();
    }
    let p = 10f64.powf(log10_p);
    if p >= 1e-3 {
        return format!("p = {}", number::significant(p, 2));
    }
    let scientific = format!("{p:.0e}");
    let (digit, power) = scientific.split_once('e').unwrap_or(("1", "0"));
    let raised: String = power.chars().map(super::axis::raised).collect();
    if digit == "1" { format!("p = 10{raised}") } else { format!("p = {digit}·10{raised}") }
}

/// ln I(x; a, b) by the continued fraction (Numerical Recipes 6.4), which does not underflow in the logarithm.
fn ln_incomplete_beta(x: f64, a: f64, b: f64) -> f64 {
    if x >= 1.0 {
        return 0.0;
    }
    let front = ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b) + a * x.ln() + b * (1.0 - x).ln();
    if x < (a + 1.0) / (a + b + 2.0) {
        front + (fraction(x, a, b) / a).ln()
    } else {
        let other = (front + (fraction(1.0 - x, b, a) / b).ln()).exp();
        (-other).ln_1p()
    }
}

/// Lentz's method.
fn fraction(x: f64, a: f64, b: f64) -> f64 {
    const TINY: f64 = 1e-300;
    let safe = |v: f64| if v.abs() < TINY { TINY } else { v };
    let mut c = 1.0;
    let mut d = 1.0 / safe(1.0 - (a + b) * x / (a + 1.0));
    let mut h = d;
    for m in 1..500 {
        let m = f64::from(m);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        for step in [even, odd] {
            d = 1.0 / safe(1.0 + step * d);
            c = safe(1.0 + step / c);
            h *= d * c;
        }
        if (d * c - 1.0).abs() < 1e-14 {
            break;
        }
    }
    h
}

/// ln Gamma for positive arguments (Lanczos, g = 7, nine terms).
fn ln_gamma(x: f64) -> f64 {
    const TERMS: [f64; 9] = [
        0.999_999_999_999_809_9,
        676.520_368_121_885_1,
        -1_259.139_216_722_402_8,
        771.323_428_777_653_1,
        -176.615_029_162_140_6,
        12.507_343_278_686_905,
        -0.138_571_095_265_720_12,
        9.984_369_578_019_572e-6,
        1.505_632_735_149_311_6e-7,
    ];
    if x < 0.5 {
        let pi = std::f64::consts::PI;
        return (pi / (pi * x).sin()).ln() - ln_gamma(1.0 - x);
    }
    let x = x - 1.0;
    let sum = TERMS.iter().enumerate().skip(1).fold(TERMS[0], |sum, (i, term)| sum + term / (x + i as f64));
    let t = x + 7.5;
    0.5 * (2.0 * std::f64::consts::PI).ln() + (x + 0.5) * t.ln() - t + sum.ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The two tails of Student's t, integrated with the substitution t = tan(u) in many small steps.
    fn slow_p(r: f64, n: usize) -> f64 {
        let v = n as f64 - 2.0;
        let from = (r.abs() * (v / (1.0 - r * r)).sqrt()).atan();
        let density = |u: f64| {
            let t = u.tan();
            (1.0 + t * t / v).powf(-(v + 1.0) / 2.0) * (1.0 + t * t)
        };
        let integral = |from: f64, to: f64| {
            let steps = 200_000;
            let h = (to - from) / f64::from(steps);
            (0..steps).map(|i| density(from + (f64::from(i) + 0.5) * h) * h).sum::<f64>()
        };
        let end = std::f64::consts::FRAC_PI_2;
        integral(from, end) / integral(0.0, end)
    }

    #[test]
    fn p_is_the_tails_of_students_t() {
        for (r, n) in [(0.5, 10), (-0.5, 10), (0.1, 5), (0.0, 20), (0.9, 12), (0.3, 200), (0.05, 1000)] {
            let (fast, slow) = (10f64.powf(log10_p(r, n)), slow_p(r, n));
            assert!((fast - slow).abs() < 1e-6 * slow.max(1e-3), "r = {r}, n = {n}: {fast} {slow}");
        }
    }

    #[test]
    fn p_of_many_rows_does_not_underflow() {
        assert!((-60_000.0..-300.0).contains(&log10_p(0.9, 73_728)));
        assert_eq!(written(log10_p(0.9, 73_728)), "p < 10⁻³⁰⁰");
        assert_eq!(written(log10_p(0.5, 10)), "p = 0.14");
        assert_eq!(written(-9.0), "p = 10⁻⁹");
        assert_eq!(written(2.0f64.log10() - 12.0), "p = 2·10⁻¹²");
    }

    #[test]
    fn r_by_hand() {
        let pairs = [(1.0, 2.0), (2.0, 4.0), (3.0, 5.0), (4.0, 4.0), (5.0, 5.0)];
        // sxy = 6, sxx = 10, syy = 6.
        assert!((pearson(&pairs).unwrap() - 6.0 / 60f64.sqrt()).abs() < 1e-12);
        // Ranks of y: 1, 2.5, 4.5, 2.5, 4.5.
        assert!((spearman(&pairs).unwrap() - 7.0 / (10.0f64 * 9.0).sqrt()).abs() < 1e-12);
        assert_eq!(pearson(&pairs[..2]), None);
        assert_eq!(pearson(&[(1.0, 1.0), (1.0, 2.0), (1.0, 3.0)]), None);
        assert_eq!(said(Correlation::Pearson, &pairs).unwrap(), "r = 0.77, p = 0.12");
    }
}
