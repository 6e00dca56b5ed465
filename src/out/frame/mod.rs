//! A frame: named, typed columns of equal length. Every analysis ends as one.

mod aggregate;
mod cell;
mod column;
mod concat;
mod condition;
mod derive;
mod filter;
mod group;
mod join;
mod over;
mod select;
mod sort;
mod store;

pub use aggregate::Aggregate;
pub use cell::Cell;
pub use column::Column;
pub use condition::{Condition, Constant, Operator};
pub use derive::largest;
pub use over::{INTERVAL, VALUES};

use std::sync::Arc;

use super::error::{Error, Result};

/// Named columns in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Frame {
    pub columns: Vec<(String, Column)>,
}

impl Frame {
    pub fn new() -> Self {
        Self::default()
    }

    /// N, the number of rows. A frame without columns has none.
    pub fn rows(&self) -> usize {
        self.columns.first().map_or(0, |(_, column)| column.len())
    }

    /// Names of the columns, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(|(name, _)| name.as_str())
    }

    pub fn get(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|(n, _)| n == name).map(|(_, column)| column)
    }

    /// The column, or an error that lists the ones that are there.
    pub fn column(&self, name: &str) -> Result<&Column> {
        self.get(name).ok_or_else(|| Error::UnknownColumn {
            column: name.to_owned(),
            known: self.names().collect::<Vec<_>>().join(", "),
        })
    }

    /// One cell; `Cell::Empty` when there is no such column or row.
    pub fn cell(&self, row: usize, name: &str) -> Cell<'_> {
        self.get(name).map_or(Cell::Empty, |column| column.cell(row))
    }

    /// Appends a column.
    pub fn push(&mut self, name: impl Into<String>, column: Column) -> Result<()> {
        let name = name.into();
        if self.get(&name).is_some() {
            return Err(Error::RepeatedColumn { column: name });
        }
        if !self.columns.is_empty() && column.len() != self.rows() {
            return Err(Error::Length { column: name, found: column.len(), rows: self.rows() });
        }
        self.columns.push((name, column));
        Ok(())
    }

    /// The frame with one more column.
    pub fn with(mut self, name: impl Into<String>, column: Column) -> Result<Self> {
        self.push(name, column)?;
        Ok(self)
    }

    /// Text columns that hold one word in every row, put before the others in this order: the axes of a sweep.
    pub fn with_constants(mut self, constants: &[(&str, &str)]) -> Result<Self> {
        let rows = self.rows();
        for (at, (name, value)) in constants.iter().enumerate() {
            if self.get(name).is_some() {
                return Err(Error::RepeatedColumn { column: (*name).to_owned() });
            }
            let cell: Arc<str> = Arc::from(*value);
            self.columns.insert(at, ((*name).to_owned(), Column::Text(vec![Some(cell); rows])));
        }
        Ok(self)
    }

    /// The rows at these indices, in this order.
    pub fn take(&self, rows: &[usize]) -> Self {
        Self { columns: self.columns.iter().map(|(name, column)| (name.clone(), column.take(rows))).collect() }
    }

    /// The first `count` rows.
    pub fn limit(&self, count: usize) -> Self {
        let rows: Vec<usize> = (0..self.rows().min(count)).collect();
        self.take(&rows)
    }
}
