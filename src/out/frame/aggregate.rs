use super::{Cell, Column, Condition, Frame};
use crate::out::error::{Error, Result};

/// A number made of many rows. Empty cells are left out of the first four; over no cells at all those are empty.
#[derive(Clone, Debug, PartialEq)]
pub enum Aggregate {
    Max(String),
    Mean(String),
    /// The middle value, or the mean of the two middle ones.
    Median(String),
    Min(String),
    /// Rows, or rows that satisfy the condition.
    Count(Option<Condition>),
    /// Rows that satisfy the condition, as a share of all rows; empty without rows.
    Share(Condition),
}

impl Aggregate {
    /// One cell for each group of rows: whole for counts and for extremes of whole numbers, else real.
    pub(super) fn over(&self, frame: &Frame, groups: &[Vec<usize>]) -> Result<Column> {
        match self {
            Self::Count(None) => Ok(Column::whole(groups.iter().map(|rows| rows.len() as i64))),
            Self::Count(Some(condition)) => {
                let holds = condition.test(frame)?;
                Ok(Column::whole(groups.iter().map(|rows| hits(&holds, rows) as i64)))
            }
            Self::Share(condition) => {
                let holds = condition.test(frame)?;
                let share = |rows: &Vec<usize>| hits(&holds, rows) as f64 / rows.len() as f64;
                Ok(Column::real(groups.iter().map(share)))
            }
            Self::Mean(name) => real(frame, name, "mean", groups, |values| {
                let sum: f64 = values.iter().sum();
                sum / values.len() as f64
            }),
            Self::Median(name) => real(frame, name, "median", groups, median),
            Self::Min(name) => extreme(frame, name, "min", groups, f64::min, i64::min),
            Self::Max(name) => extreme(frame, name, "max", groups, f64::max, i64::max),
        }
    }
}

impl Frame {
    /// The aggregate over all rows; `None` where it is empty.
    pub fn reduce(&self, aggregate: &Aggregate) -> Result<Option<f64>> {
        let all = [(0..self.rows()).collect()];
        Ok(aggregate.over(self, &all)?.cell(0).number())
    }
}

fn hits(holds: &[bool], rows: &[usize]) -> usize {
    rows.iter().filter(|&&row| holds[row]).count()
}

fn numbers<'a>(frame: &'a Frame, name: &str, operation: &'static str) -> Result<&'a Column> {
    match frame.column(name)? {
        column @ Column::Text(_) => {
            Err(Error::WrongType { operation, column: name.to_owned(), needed: "numbers", found: column.type_name() })
        }
        column => Ok(column),
    }
}

fn real(
    frame: &Frame,
    name: &str,
    operation: &'static str,
    groups: &[Vec<usize>],
    reduce: impl Fn(&mut Vec<f64>) -> f64,
) -> Result<Column> {
    let column = numbers(frame, name, operation)?;
    let cell = |rows: &Vec<usize>| {
        let mut values: Vec<f64> = rows.iter().filter_map(|&row| column.cell(row).number()).collect();
        (!values.is_empty()).then(|| reduce(&mut values)).filter(|x| !x.is_nan())
    };
    Ok(Column::Real(groups.iter().map(cell).collect()))
}

fn extreme(
    frame: &Frame,
    name: &str,
    operation: &'static str,
    groups: &[Vec<usize>],
    real_pick: impl Fn(f64, f64) -> f64 + Copy,
    whole_pick: impl Fn(i64, i64) -> i64 + Copy,
) -> Result<Column> {
    let column = numbers(frame, name, operation)?;
    if let Column::Whole(_) = column {
        let whole = |row: &usize| match column.cell(*row) {
            Cell::Whole(n) => Some(n),
            _ => None,
        };
        return Ok(Column::Whole(groups.iter().map(|r| r.iter().filter_map(whole).reduce(whole_pick)).collect()));
    }
    let number = |row: &usize| column.cell(*row).number();
    Ok(Column::Real(groups.iter().map(|r| r.iter().filter_map(number).reduce(real_pick)).collect()))
}

fn median(values: &mut Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { values[middle - 1].midpoint(values[middle]) }
}
