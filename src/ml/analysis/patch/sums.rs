//! What is added up over tokens and prompts, and the means and intervals that follow.

use serde::{Deserialize, Serialize};

use crate::ml::analysis::ratio::ratio;

/// z of a two-sided 95% interval, for tokens: they are many.
const Z: f64 = 1.96;

/// Sums over the tokens of one prompt. Runs are numbered from 0, the untouched one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PromptSums {
    /// Tokens, by set of positions.
    pub counts: Vec<u64>,
    /// Sum and sum of squares, by run, set and metric.
    pub sums: Vec<[f64; 2]>,
}

/// A mean over tokens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mean {
    pub mean: f64,
    /// Half of the 95% interval with tokens taken as independent; none with one token.
    pub ci95: Option<f64>,
    /// The same with tokens of a prompt taken together; none with one prompt.
    pub ci95_prompts: Option<f64>,
    /// Tokens, and prompts that have some.
    pub count: u64,
    pub prompts: u64,
}

/// With x_ci the tokens i of the prompts c, n_c how many, s_c = sum_i x_ci, n = sum_c n_c and C the prompts with n_c > 0:
///
/// ```text
/// mean         = sum_c s_c / n
/// ci95         = 1.96 sqrt( sum_ci (x_ci - mean)^2 / (n - 1) / n )                       (published code)
/// ci95_prompts = t_{0.975, C-1} sqrt( C / (C - 1) sum_c (s_c - mean n_c)^2 ) / n
/// ```
///
/// t is the quantile of Student's distribution; prompts may be few. The last one is the linearised variance of a ratio of two sums over independent prompts (docs/method.md 5.3). `prompts` are
/// `(n_c, s_c, sum_i x_ci^2)`. `None` without a token.
pub fn mean(prompts: impl Iterator<Item = (u64, [f64; 2])> + Clone) -> Option<Mean> {
    let (mut count, mut total, mut squares, mut clusters) = (0u64, 0.0, 0.0, 0u64);
    for (n, [sum, square]) in prompts.clone() {
        count += n;
        total += sum;
        squares += square;
        clusters += u64::from(n > 0);
    }
    if count == 0 {
        return None;
    }
    let n = count as f64;
    let mean = total / n;
    let variance = || ((squares - n * mean * mean).max(0.0)) / (n - 1.0);
    Some(Mean {
        mean,
        ci95: (count > 1).then(|| Z * (variance() / n).sqrt()),
        ci95_prompts: ratio(prompts.map(|(n, [sum, _])| [sum, n as f64])).and_then(|found| found.ci95),
        count,
        prompts: clusters,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::student::student_975;

    const TOKENS: &[&[f64]] = &[&[0.5, 0.25, 4.0], &[], &[1.0], &[0.0, 0.125, 3.0, 2.0, 2.5]];

    fn sums() -> Vec<(u64, [f64; 2])> {
        TOKENS.iter().map(|x| (x.len() as u64, [x.iter().sum(), x.iter().map(|x| x * x).sum()])).collect()
    }

    #[test]
    fn means_and_intervals_agree_with_the_formulas() {
        let all: Vec<f64> = TOKENS.concat();
        let n = all.len() as f64;
        let want = all.iter().sum::<f64>() / n;
        let variance = all.iter().map(|x| (x - want).powi(2)).sum::<f64>() / (n - 1.0);
        let found = mean(sums().into_iter()).unwrap();
        assert!((found.mean - want).abs() < 1e-12);
        assert!((found.ci95.unwrap() - 1.96 * (variance / n).sqrt()).abs() < 1e-12);
        assert_eq!((found.count, found.prompts), (9, 3));
        // Each prompt's residual sum, spelled out.
        let residuals: Vec<f64> =
            TOKENS.iter().filter(|x| !x.is_empty()).map(|x| x.iter().map(|x| x - want).sum::<f64>()).collect();
        let clustered = 3.0 / 2.0 * residuals.iter().map(|r| r * r).sum::<f64>() / (n * n);
        // Three prompts: 4.303, not 1.96.
        assert!((found.ci95_prompts.unwrap() - 4.302_652_729_7 * clustered.sqrt()).abs() < 1e-9);
    }

    #[test]
    fn prompts_of_one_token_each_give_both_intervals_alike_but_for_the_quantile() {
        let each = [0.5, 2.0, 0.25, 1.5, 3.0];
        let found = mean(each.iter().map(|x| (1, [*x, x * x]))).unwrap();
        let (tokens, prompts) = (found.ci95.unwrap() / 1.96, found.ci95_prompts.unwrap() / student_975(4));
        assert!((tokens - prompts).abs() < 1e-12);
    }

    #[test]
    fn tokens_that_are_alike_within_prompts_widen_the_interval() {
        let prompts = [(10, [10.0, 10.0]), (10, [30.0, 90.0]), (10, [20.0, 40.0])];
        let found = mean(prompts.into_iter()).unwrap();
        assert!(found.ci95_prompts.unwrap() > 3.0 * found.ci95.unwrap());
    }

    #[test]
    fn too_few_have_no_interval() {
        assert_eq!(mean([(0, [0.0; 2])].into_iter()), None);
        let one = mean([(1, [2.0, 4.0])].into_iter()).unwrap();
        assert_eq!((one.mean, one.ci95, one.ci95_prompts), (2.0, None, None));
        assert_eq!(mean([(4, [2.0, 4.0])].into_iter()).unwrap().ci95_prompts, None);
    }
}
