use std::sync::Arc;

use super::Cell;

/// The cells of one column. `None` is an empty cell (NaN never stands in a frame).
#[derive(Clone, Debug, PartialEq)]
pub enum Column {
    Text(Vec<Option<Arc<str>>>),
    Whole(Vec<Option<i64>>),
    Real(Vec<Option<f64>>),
    Truth(Vec<Option<bool>>),
}

impl Column {
    /// A column of words without empty cells. Equal words in a row share their memory.
    pub fn text<S: AsRef<str>>(cells: impl IntoIterator<Item = S>) -> Self {
        let mut last: Option<Arc<str>> = None;
        let share = |cell: S| match &last {
            Some(seen) if **seen == *cell.as_ref() => Some(seen.clone()),
            _ => {
                last = Some(Arc::from(cell.as_ref()));
                last.clone()
            }
        };
        Self::Text(cells.into_iter().map(share).collect())
    }

    /// A column of whole numbers without empty cells.
    pub fn whole(cells: impl IntoIterator<Item = i64>) -> Self {
        Self::Whole(cells.into_iter().map(Some).collect())
    }

    /// A column of real numbers; NaN becomes an empty cell.
    pub fn real(cells: impl IntoIterator<Item = f64>) -> Self {
        Self::Real(cells.into_iter().map(|x| (!x.is_nan()).then_some(x)).collect())
    }

    /// A column of yes and no without empty cells.
    pub fn truth(cells: impl IntoIterator<Item = bool>) -> Self {
        Self::Truth(cells.into_iter().map(Some).collect())
    }

    pub fn len(&self) -> usize {
        match self {
            Self::Text(cells) => cells.len(),
            Self::Whole(cells) => cells.len(),
            Self::Real(cells) => cells.len(),
            Self::Truth(cells) => cells.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The cell of one row; `Cell::Empty` outside of the column.
    pub fn cell(&self, row: usize) -> Cell<'_> {
        let cell = match self {
            Self::Text(cells) => cells.get(row).and_then(|c| c.as_deref()).map(Cell::Text),
            Self::Whole(cells) => cells.get(row).copied().flatten().map(Cell::Whole),
            Self::Real(cells) => cells.get(row).copied().flatten().filter(|x| !x.is_nan()).map(Cell::Real),
            Self::Truth(cells) => cells.get(row).copied().flatten().map(Cell::Truth),
        };
        cell.unwrap_or(Cell::Empty)
    }

    /// All cells in order.
    pub fn cells(&self) -> impl Iterator<Item = Cell<'_>> {
        (0..self.len()).map(|row| self.cell(row))
    }

    /// The cells at these rows, in this order.
    pub fn take(&self, rows: &[usize]) -> Self {
        fn pick<T: Clone>(cells: &[Option<T>], rows: &[usize]) -> Vec<Option<T>> {
            rows.iter().map(|&row| cells.get(row).cloned().flatten()).collect()
        }
        match self {
            Self::Text(cells) => Self::Text(pick(cells, rows)),
            Self::Whole(cells) => Self::Whole(pick(cells, rows)),
            Self::Real(cells) => Self::Real(pick(cells, rows)),
            Self::Truth(cells) => Self::Truth(pick(cells, rows)),
        }
    }

    /// Different cells in order of first appearance, the empty one left out.
    pub fn distinct(&self) -> Vec<Cell<'_>> {
        let mut seen = std::collections::BTreeSet::new();
        self.cells().filter(|cell| *cell != Cell::Empty && seen.insert(cell.key())).collect()
    }

    /// Whether its cells are words or yes/no rather than numbers.
    pub fn is_categorical(&self) -> bool {
        matches!(self, Self::Text(_) | Self::Truth(_))
    }

    /// In words, for messages.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Text(_) => "words",
            Self::Whole(_) => "whole numbers",
            Self::Real(_) => "real numbers",
            Self::Truth(_) => "yes/no",
        }
    }

    /// An all-empty column of the same type.
    pub(super) fn empty_like(&self, rows: usize) -> Self {
        match self {
            Self::Text(_) => Self::Text(vec![None; rows]),
            Self::Whole(_) => Self::Whole(vec![None; rows]),
            Self::Real(_) => Self::Real(vec![None; rows]),
            Self::Truth(_) => Self::Truth(vec![None; rows]),
        }
    }
}
