use std::collections::BTreeMap;

use super::{Aggregate, Column, Frame};
use crate::out::error::Result;
use crate::out::interval::{MeanInterval, mean_interval};

/// Added to the name of an aggregate for half the width of its interval.
pub const INTERVAL: &str = "_ci95";
/// On how many values the means of a row rest at least.
pub const VALUES: &str = "n";

impl Frame {
    /// Like [`Frame::group`], but every aggregate X is made at each value of the axes `over` on its own. X is then the mean of these numbers,
    /// `X_ci95` follows it ([`mean_interval`]), and the last column `n` is the least number of values behind a mean of the row.
    ///
    /// `points` has a row for each point that was measured, with the columns `over` and those of `keys` that are axes: where a group has no
    /// rows at a point, it counts 0 there, and what is empty there is left out.
    pub fn group_over(
        &self,
        keys: &[&str],
        over: &[&str],
        points: &Self,
        aggregates: &[(&str, Aggregate)],
    ) -> Result<Self> {
        let axes: Vec<&str> = keys.iter().copied().filter(|key| points.get(key).is_some()).collect();
        for column in keys.iter().chain(over) {
            self.column(column)?;
        }
        let along = |frame: &Self, row: usize, names: &[&str]| -> Vec<_> {
            names.iter().map(|name| frame.cell(row, name).key()).collect()
        };
        let mut measured: BTreeMap<Vec<_>, Vec<Vec<_>>> = BTreeMap::new();
        for row in 0..points.rows() {
            let values = measured.entry(along(points, row, &axes)).or_default();
            let value = along(points, row, over);
            if !values.contains(&value) {
                values.push(value);
            }
        }
        let groups = self.groups(keys);
        let firsts: Vec<usize> = groups.iter().filter_map(|rows| rows.first().copied()).collect();
        // The rows of each group at each of its points, groups one after another.
        let (mut cells, mut ends) = (Vec::new(), Vec::new());
        for rows in &groups {
            let group = rows.first().map(|&row| along(self, row, &axes)).unwrap_or_default();
            for value in measured.get(&group).into_iter().flatten() {
                cells.push(rows.iter().copied().filter(|&row| along(self, row, over) == *value).collect());
            }
            ends.push(cells.len());
        }
        let mut grouped = Self::new();
        for key in keys {
            grouped.push(*key, self.column(key)?.take(&firsts))?;
        }
        let mut least: Vec<Option<i64>> = vec![None; groups.len()];
        for (name, aggregate) in aggregates {
            let column = aggregate.over(self, &cells)?;
            let mut start = 0;
            let mut means: Vec<Option<MeanInterval>> = Vec::new();
            for &end in &ends {
                let values: Vec<f64> = (start..end).filter_map(|cell| column.cell(cell).number()).collect();
                means.push(mean_interval(&values));
                start = end;
            }
            for (least, mean) in least.iter_mut().zip(&means) {
                let count = mean.map_or(0, |mean| mean.count as i64);
                *least = Some(least.map_or(count, |least| least.min(count)));
            }
            grouped.push(*name, Column::Real(means.iter().map(|m| Some(m.as_ref()?.mean)).collect()))?;
            grouped
                .push(format!("{name}{INTERVAL}"), Column::Real(means.iter().map(|m| m.as_ref()?.ci95).collect()))?;
        }
        grouped.push(VALUES, Column::Whole(least))?;
        Ok(grouped)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Aggregate, Column, Condition, Constant, Frame, Operator};

    #[test]
    fn means_over_seeds_with_intervals() {
        // Two losses of three seeds; l1 has no tuned-only row at seed 1, batch_topk was measured at two seeds only.
        let rows = [
            ("l1", "0", "tuned", Some(1.0)),
            ("l1", "0", "tuned", Some(3.0)),
            ("l1", "0", "base", Some(9.0)),
            ("l1", "1", "base", Some(7.0)),
            ("l1", "2", "tuned", Some(8.0)),
            ("l1", "2", "base", None),
            ("batch_topk", "0", "tuned", Some(5.0)),
            ("batch_topk", "1", "tuned", Some(6.0)),
        ];
        let frame = Frame::new()
            .with("loss", Column::text(rows.iter().map(|r| r.0)))
            .and_then(|f| f.with("seed", Column::text(rows.iter().map(|r| r.1))))
            .and_then(|f| f.with("class", Column::text(rows.iter().map(|r| r.2))))
            .and_then(|f| f.with("x", Column::Real(rows.iter().map(|r| r.3).collect())))
            .unwrap();
        let points = Frame::new()
            .with("loss", Column::text(["l1", "l1", "l1", "batch_topk", "batch_topk"]))
            .and_then(|f| f.with("seed", Column::text(["0", "1", "2", "0", "1"])))
            .unwrap();
        let large = Condition::new("x", Operator::Greater, Constant::Number(2.0));
        let aggregates = [
            ("count", Aggregate::Count(None)),
            ("mean", Aggregate::Mean("x".into())),
            ("share", Aggregate::Share(large)),
        ];
        let grouped = frame.group_over(&["loss", "class"], &["seed"], &points, &aggregates).unwrap();
        assert_eq!(
            grouped.names().collect::<Vec<_>>(),
            ["loss", "class", "count", "count_ci95", "mean", "mean_ci95", "share", "share_ci95", "n"]
        );
        let cells = |name: &str| -> Vec<Option<f64>> {
            grouped.column(name).unwrap().cells().map(|cell| cell.number()).collect()
        };
        // l1 tuned: counts 2, 0, 1; means 2 and 8; shares 1/2 and 1. l1 base: counts 1, 1, 1; means 9 and 7.
        assert_eq!(cells("count"), [Some(1.0), Some(1.0), Some(1.0)]);
        assert_eq!(cells("mean"), [Some(5.0), Some(8.0), Some(5.5)]);
        assert_eq!(cells("share")[0], Some(0.75));
        assert_eq!(cells("n"), [Some(2.0), Some(2.0), Some(2.0)]);
        // t_{0.975, 2} s / sqrt(3) with s = 1, and t_{0.975, 1} |a - b| / 2.
        let near = |name: &str, row: usize, expected: f64| {
            let found = cells(name)[row].unwrap();
            assert!((found - expected).abs() < 1e-6 * expected, "{name} {row}: {found}");
        };
        near("count_ci95", 0, 4.302_652_73 / 3f64.sqrt());
        near("mean_ci95", 0, 12.706_204_74 * 3.0);
        near("mean_ci95", 2, 12.706_204_74 * 0.5);
        assert_eq!(cells("count_ci95")[1], Some(0.0));

        let whole = frame.group_over(&[], &["seed"], &points, &aggregates[..1]).unwrap();
        assert_eq!(whole.column("count").unwrap(), &Column::real([8.0 / 3.0]));
        assert_eq!(whole.column("n").unwrap(), &Column::whole([3]));
        let one = points.take(&[0]);
        let single = frame.group_over(&["class"], &["seed"], &one, &aggregates[..1]).unwrap();
        assert_eq!(single.column("count_ci95").unwrap(), &Column::Real(vec![None, None]));
    }
}
