use std::collections::BTreeMap;

use super::{Aggregate, Frame};
use crate::out::error::Result;

impl Frame {
    /// One row for each different value of the key columns, in order of first appearance, with the keys and then the
    /// aggregates under their names. Without keys there is exactly one row. Empty keys are a group of their own.
    pub fn group(&self, keys: &[&str], aggregates: &[(&str, Aggregate)]) -> Result<Self> {
        for key in keys {
            self.column(key)?;
        }
        let groups = self.groups(keys);
        let firsts: Vec<usize> = groups.iter().filter_map(|rows| rows.first().copied()).collect();
        let mut grouped = Self::new();
        for key in keys {
            grouped.push(*key, self.column(key)?.take(&firsts))?;
        }
        for (name, aggregate) in aggregates {
            grouped.push(*name, aggregate.over(self, &groups)?)?;
        }
        Ok(grouped)
    }

    /// Row indices by value of the key columns, groups in order of first appearance.
    pub(crate) fn groups(&self, keys: &[&str]) -> Vec<Vec<usize>> {
        if keys.is_empty() {
            return vec![(0..self.rows()).collect()];
        }
        let mut index = BTreeMap::new();
        let mut groups: Vec<Vec<usize>> = Vec::new();
        for row in 0..self.rows() {
            let key: Vec<_> = keys.iter().map(|name| self.cell(row, name).key()).collect();
            let group = *index.entry(key).or_insert_with(|| {
                groups.push(Vec::new());
                groups.len() - 1
            });
            groups[group].push(row);
        }
        groups
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Aggregate, Column, Condition, Constant, Frame, Operator};

    fn frame() -> Frame {
        Frame::new()
            .with("class", Column::text(["b", "a", "b", "b", "a"]))
            .and_then(|f| f.with("nu", Column::Real(vec![Some(1.0), None, Some(4.0), Some(2.0), None])))
            .and_then(|f| f.with("count", Column::Whole(vec![Some(5), Some(-3), None, Some(9), Some(2)])))
            .and_then(|f| f.with("dead", Column::truth([true, false, false, true, false])))
            .unwrap()
    }

    #[test]
    fn aggregates_equal_hand_values() {
        let small = Condition::new("nu", Operator::LessEqual, Constant::Number(2.0));
        let grouped = frame()
            .group(
                &["class"],
                &[
                    ("n", Aggregate::Count(None)),
                    ("small", Aggregate::Count(Some(small.clone()))),
                    ("share", Aggregate::Share(small)),
                    ("mean", Aggregate::Mean("nu".into())),
                    ("median", Aggregate::Median("nu".into())),
                    ("min", Aggregate::Min("count".into())),
                    ("max", Aggregate::Max("nu".into())),
                    ("dead", Aggregate::Mean("dead".into())),
                ],
            )
            .unwrap();
        assert_eq!(grouped.column("class").unwrap(), &Column::text(["b", "a"]));
        assert_eq!(grouped.column("n").unwrap(), &Column::whole([3, 2]));
        assert_eq!(grouped.column("small").unwrap(), &Column::whole([2, 0]));
        assert_eq!(grouped.column("share").unwrap(), &Column::real([2.0 / 3.0, 0.0]));
        assert_eq!(grouped.column("mean").unwrap(), &Column::Real(vec![Some(7.0 / 3.0), None]));
        assert_eq!(grouped.column("median").unwrap(), &Column::Real(vec![Some(2.0), None]));
        assert_eq!(grouped.column("min").unwrap(), &Column::whole([5, -3]));
        assert_eq!(grouped.column("max").unwrap(), &Column::Real(vec![Some(4.0), None]));
        assert_eq!(grouped.column("dead").unwrap(), &Column::real([2.0 / 3.0, 0.0]));
    }

    #[test]
    fn an_even_count_has_the_mean_of_the_middle_two() {
        let f = Frame::new().with("x", Column::real([4.0, 1.0, 3.0, 2.0])).unwrap();
        assert_eq!(f.reduce(&Aggregate::Median("x".into())).unwrap(), Some(2.5));
    }

    #[test]
    fn no_rows_count_zero_and_have_no_mean() {
        let none = frame().limit(0);
        assert_eq!(none.reduce(&Aggregate::Count(None)).unwrap(), Some(0.0));
        assert_eq!(none.reduce(&Aggregate::Mean("nu".into())).unwrap(), None);
        assert_eq!(none.group(&["class"], &[("n", Aggregate::Count(None))]).unwrap().rows(), 0);
    }

    #[test]
    fn a_mean_of_words_is_refused() {
        let message = frame().reduce(&Aggregate::Mean("class".into())).unwrap_err().to_string();
        assert_eq!(message, "mean needs numbers in column `class`, which holds words");
    }
}
