//! How much is taken of which corpus, and in what order portions take turns.

use serde::{Deserialize, Serialize};

/// So many rows of one corpus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Portion {
    /// Index into the list of corpora of the harvest.
    pub corpus: usize,
    /// Rows to store.
    pub tokens: u64,
}

/// Whose turn it is: portions take turns in proportion to their sizes, so that every stretch of the stream has their mix.
///
/// After r rows portion p has given r n_p / N rows, to within the number of portions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    sizes: Vec<u64>,
    taken: Vec<u64>,
    left: u64,
}

impl Schedule {
    /// All portions, or the first `limit` rows of the mix.
    pub fn new(portions: &[Portion], limit: Option<u64>) -> Self {
        let sizes: Vec<u64> = portions.iter().map(|portion| portion.tokens).collect();
        let total: u64 = sizes.iter().sum();
        Schedule { taken: vec![0; sizes.len()], left: limit.map_or(total, |limit| limit.min(total)), sizes }
    }

    /// Rows to come.
    pub fn left(&self) -> u64 {
        self.left
    }

    /// Rows that each portion has given.
    pub fn taken(&self) -> &[u64] {
        &self.taken
    }

    /// Rows that each portion gives in all, of P portions with n_p of N rows.
    ///
    /// Turns come by rising (taken + 1/2) / n_p, so those up to any x are a beginning of the schedule, in which portion p has
    /// given floor(x n_p + 1/2) rows. With x = (R - P) / N these are at most the R rows that are given in all, and no more than
    /// 2 P short of them: only the last turns are taken one by one, however many rows there are.
    pub fn totals(&self) -> Vec<u64> {
        let mut rest = self.clone();
        let all = rest.taken.iter().sum::<u64>() + rest.left;
        let (sure, total) = (all.saturating_sub(self.sizes.len() as u64), self.sizes.iter().sum::<u64>());
        for (taken, &size) in rest.taken.iter_mut().zip(&self.sizes).filter(|_| sure > 0) {
            let given = (2 * u128::from(sure) * u128::from(size) + u128::from(total)) / (2 * u128::from(total));
            *taken = (*taken).max(given as u64);
        }
        rest.left = all - rest.taken.iter().sum::<u64>();
        while rest.next().is_some() {}
        rest.taken
    }

    /// Goes on where `taken` says.
    pub(super) fn resume(mut self, taken: &[u64]) -> Self {
        self.left -= taken.iter().sum::<u64>().min(self.left);
        self.taken = taken.to_vec();
        self
    }
}

impl Iterator for Schedule {
    type Item = usize;

    /// The portion that has given the smallest share of itself: the lowest (taken + 1/2) / size, the first one of equals.
    fn next(&mut self) -> Option<usize> {
        if self.left == 0 {
            return None;
        }
        let open = (0..self.sizes.len()).filter(|&p| self.taken[p] < self.sizes[p]);
        let share = |p: usize, other: usize| u128::from(2 * self.taken[p] + 1) * u128::from(self.sizes[other]);
        let turn = open.reduce(|best, p| if share(p, best) < share(best, p) { p } else { best })?;
        self.taken[turn] += 1;
        self.left -= 1;
        Some(turn)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_prefix_has_the_mix(sizes in prop::collection::vec(0u64..300, 1..5), limit in prop::option::of(0u64..700)) {
            let portions: Vec<Portion> = sizes.iter().map(|&tokens| Portion { corpus: 0, tokens }).collect();
            let total: u64 = sizes.iter().sum();
            let mut schedule = Schedule::new(&portions, limit);
            let mut rows = 0;
            while schedule.next().is_some() {
                rows += 1;
                for (taken, size) in schedule.taken().iter().zip(&sizes) {
                    let fair = rows as f64 * *size as f64 / total as f64;
                    prop_assert!((*taken as f64 - fair).abs() < sizes.len() as f64, "{taken} for {fair}");
                }
            }
            prop_assert_eq!(rows, limit.map_or(total, |limit| limit.min(total)));
            prop_assert_eq!(Schedule::new(&portions, limit).totals(), schedule.taken().to_vec());
        }

        #[test]
        fn goes_on_where_it_stopped(a in 1u64..200, b in 1u64..200, stop in 0usize..400) {
            let portions = [Portion { corpus: 0, tokens: a }, Portion { corpus: 1, tokens: b }];
            let whole: Vec<usize> = Schedule::new(&portions, None).collect();
            let mut schedule = Schedule::new(&portions, None);
            let mut turns: Vec<usize> = schedule.by_ref().take(stop).collect();
            turns.extend(Schedule::new(&portions, None).resume(schedule.taken()));
            prop_assert_eq!(turns, whole);
        }
    }

    /// A walk over all rows would take weeks: streams ask for the totals again and again.
    #[test]
    fn totals_take_no_walk_over_the_rows() {
        let portions = [Portion { corpus: 0, tokens: 1 << 50 }, Portion { corpus: 1, tokens: 3 << 50 }];
        assert_eq!(Schedule::new(&portions, None).totals(), [1 << 50, 3 << 50]);
        assert_eq!(Schedule::new(&portions, Some(4_000_000_000_001)).totals(), [1_000_000_000_000, 3_000_000_000_001]);
    }

    #[test]
    fn halves_alternate() {
        let portions = [Portion { corpus: 0, tokens: 3 }, Portion { corpus: 1, tokens: 3 }];
        assert_eq!(Schedule::new(&portions, None).collect::<Vec<_>>(), [0, 1, 0, 1, 0, 1]);
    }
}
