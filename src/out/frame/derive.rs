//! Columns out of columns: what a plot puts on its axes besides plain ones.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::cell::Key;
use super::{Cell, Column, Frame};
use crate::out::error::{Error, Result};

impl Frame {
    /// The cells of a column as numbers; words of an axis that are numbers count as such.
    pub fn numbers(&self, name: &str) -> Result<Vec<Option<f64>>> {
        let number = |cell: Cell<'_>| match cell {
            Cell::Text(text) => text.parse().ok().filter(|x: &f64| x.is_finite()),
            cell => cell.number(),
        };
        Ok(self.column(name)?.cells().map(number).collect())
    }

    /// Place of each row among the rows that share its cells of `within`, from 1 for the lowest (or highest) value. Equal values
    /// share the mean of their places, as pandas' average ranks do. Empty cells have no place.
    pub fn rank(&self, name: &str, descending: bool, within: &[String]) -> Result<Vec<Option<f64>>> {
        let values = self.numbers(name)?;
        let mut ranks = vec![None; values.len()];
        for rows in self.parts(within)?.into_values() {
            let sorted = sorted(rows, &values, descending);
            let mut before = 0;
            for run in sorted.chunk_by(|a, b| values[*a] == values[*b]) {
                let place = before as f64 + (run.len() + 1) as f64 / 2.0;
                run.iter().for_each(|&row| ranks[row] = Some(place));
                before += run.len();
            }
        }
        Ok(ranks)
    }

    /// In each part, the rows with the `count` lowest (or highest) values, in the order of the frame; of equal values the first.
    pub fn extremes(&self, name: &str, count: usize, highest: bool, within: &[String]) -> Result<Vec<usize>> {
        let values = self.numbers(name)?;
        let mut kept = Vec::new();
        for rows in self.parts(within)?.into_values() {
            kept.extend(sorted(rows, &values, highest).into_iter().take(count));
        }
        kept.sort_unstable();
        Ok(kept)
    }

    /// All rows once for each of these columns: their cells as `value`, their names as `series`, the other columns repeated.
    pub fn stacked(&self, columns: &[(String, Vec<Option<f64>>)], value: &str, series: &str) -> Result<Self> {
        let frames: Result<Vec<Self>> = columns
            .iter()
            .map(|(name, cells)| {
                let names: Vec<Option<Arc<str>>> = vec![Some(Arc::from(name.as_str())); self.rows()];
                self.clone().with(value, Column::Real(cells.clone()))?.with(series, Column::Text(names))
            })
            .collect();
        Self::concat(&frames?)
    }

    /// Rows that share their cells of these columns.
    fn parts(&self, within: &[String]) -> Result<BTreeMap<Vec<Key>, Vec<usize>>> {
        let columns: Result<Vec<&Column>> = within.iter().map(|name| self.column(name)).collect();
        let columns = columns?;
        let mut parts: BTreeMap<Vec<Key>, Vec<usize>> = BTreeMap::new();
        for row in 0..self.rows() {
            parts.entry(columns.iter().map(|c| c.cell(row).key()).collect()).or_default().push(row);
        }
        Ok(parts)
    }
}

/// The largest of several columns in each row; empty where one of them is.
pub fn largest(columns: &[Vec<Option<f64>>]) -> Result<Vec<Option<f64>>> {
    let Some(first) = columns.first() else {
        return Err(Error::NoColumn { operation: "the largest of several columns", role: "each of them" });
    };
    let largest = |row: usize| {
        columns.iter().map(|c| c.get(row).copied().flatten()).try_fold(f64::NEG_INFINITY, |m, x| x.map(|x| m.max(x)))
    };
    Ok((0..first.len()).map(largest).collect())
}

/// Rows with a value, by value; equal ones in their order.
fn sorted(rows: Vec<usize>, values: &[Option<f64>], descending: bool) -> Vec<usize> {
    let mut rows: Vec<(usize, f64)> = rows.into_iter().filter_map(|row| Some((row, values[row]?))).collect();
    rows.sort_by(|a, b| if descending { b.1.total_cmp(&a.1) } else { a.1.total_cmp(&b.1) });
    rows.into_iter().map(|(row, _)| row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame() -> Frame {
        Frame::new()
            .with("loss", Column::text(["l1", "l1", "topk", "l1", "topk", "l1"]))
            .and_then(|f| {
                f.with("nu", Column::Real(vec![Some(0.3), Some(-0.9), Some(5.0), Some(0.3), Some(4.0), None]))
            })
            .and_then(|f| f.with("layer", Column::text(["1", "2", "10", "1", "2", "x"])))
            .unwrap()
    }

    #[test]
    fn ranks_are_those_of_each_part_and_equal_values_share_them() {
        let within = ["loss".to_string()];
        let up = frame().rank("nu", false, &within).unwrap();
        assert_eq!(up, [Some(2.5), Some(1.0), Some(2.0), Some(2.5), Some(1.0), None]);
        let down = frame().rank("nu", true, &[]).unwrap();
        assert_eq!(down, [Some(3.5), Some(5.0), Some(1.0), Some(3.5), Some(2.0), None]);
    }

    #[test]
    fn extremes_are_those_of_each_part() {
        let within = ["loss".to_string()];
        assert_eq!(frame().extremes("nu", 2, false, &within).unwrap(), [0, 1, 2, 4]);
        assert_eq!(frame().extremes("nu", 1, true, &within).unwrap(), [0, 2]);
        assert_eq!(
            frame().extremes("nu", 9, true, &[]).unwrap(),
            [0, 1, 2, 3, 4],
            "rows without a value are never kept"
        );
    }

    #[test]
    fn axis_words_are_numbers_where_they_can_be() {
        assert_eq!(frame().numbers("layer").unwrap(), [Some(1.0), Some(2.0), Some(10.0), Some(1.0), Some(2.0), None]);
    }

    #[test]
    fn the_largest_lacks_where_one_lacks() {
        let found = largest(&[vec![Some(1.0), None], vec![Some(-3.0), Some(2.0)]]).unwrap();
        assert_eq!(found, [Some(1.0), None]);
    }

    #[test]
    fn stacked_columns_keep_the_others() {
        let stacked =
            frame().stacked(&[("base".into(), vec![Some(1.0); 6]), ("tuned".into(), vec![None; 6])], "value", "series");
        let stacked = stacked.unwrap();
        assert_eq!(stacked.rows(), 12);
        assert_eq!(stacked.cell(7, "series"), Cell::Text("tuned"));
        assert_eq!(stacked.cell(7, "nu"), Cell::Real(-0.9));
        assert_eq!(stacked.cell(7, "value"), Cell::Empty);
    }
}
