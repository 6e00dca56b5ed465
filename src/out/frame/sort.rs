use std::cmp::Ordering;

use super::{Cell, Frame};
use crate::out::error::Result;

impl Frame {
    /// Sorted by several columns, the first one foremost; `true` is descending. Stable; empty cells come last either way.
    pub fn sort(&self, by: &[(&str, bool)]) -> Result<Self> {
        let mut columns = Vec::with_capacity(by.len());
        for (name, descending) in by {
            columns.push((self.column(name)?, *descending));
        }
        let mut rows: Vec<usize> = (0..self.rows()).collect();
        rows.sort_by(|&a, &b| {
            let orders = columns.iter().map(|(column, descending)| order(column.cell(a), column.cell(b), *descending));
            orders.fold(Ordering::Equal, Ordering::then)
        });
        Ok(self.take(&rows))
    }
}

fn order(a: Cell<'_>, b: Cell<'_>, descending: bool) -> Ordering {
    let order = a.order(b);
    if descending && a != Cell::Empty && b != Cell::Empty { order.reverse() } else { order }
}

#[cfg(test)]
mod tests {
    use super::super::{Column, Frame};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn sorting_is_stable_and_puts_empty_cells_last(
            cells in prop::collection::vec(prop::option::of(0i64..4), 0..40), descending: bool,
        ) {
            let frame = Frame::new()
                .with("x", Column::Whole(cells.clone()))
                .and_then(|f| f.with("row", Column::whole(0..cells.len() as i64)))
                .unwrap();
            let sorted = frame.sort(&[("x", descending)]).unwrap();
            let mut expected: Vec<usize> = (0..cells.len()).collect();
            expected.sort_by_key(|&row| match cells[row] {
                None => (1, 0, row),
                Some(n) => (0, if descending { -n } else { n }, row),
            });
            prop_assert_eq!(sorted.column("row").unwrap(), &Column::whole(expected.iter().map(|&r| r as i64)));
        }
    }

    #[test]
    fn later_columns_break_ties() {
        let frame = Frame::new()
            .with("loss", Column::text(["l1", "batch_topk", "l1"]))
            .and_then(|f| f.with("nu", Column::real([0.1, 0.5, 0.9])))
            .unwrap();
        let sorted = frame.sort(&[("loss", false), ("nu", true)]).unwrap();
        assert_eq!(sorted.column("nu").unwrap(), &Column::real([0.5, 0.9, 0.1]));
    }
}
