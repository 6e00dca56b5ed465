use super::{Cell, Column, Frame};
use crate::out::error::{Error, Result};

/// Compares a cell with a constant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    Equal,
    Greater,
    GreaterEqual,
    Less,
    LessEqual,
    NotEqual,
}

/// The right side of a condition.
#[derive(Clone, Debug, PartialEq)]
pub enum Constant {
    Number(f64),
    Truth(bool),
    Word(String),
}

/// `column operator value`, or `abs(column) operator value`. An empty cell never satisfies one, not even `!=`.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    pub column: String,
    pub operator: Operator,
    pub value: Constant,
    pub absolute: bool,
}

impl Operator {
    /// Whether `left operator right` holds.
    pub fn holds<T: PartialOrd>(self, left: &T, right: &T) -> bool {
        match self {
            Self::Equal => left == right,
            Self::Greater => left > right,
            Self::GreaterEqual => left >= right,
            Self::Less => left < right,
            Self::LessEqual => left <= right,
            Self::NotEqual => left != right,
        }
    }

    /// As it is written in a file.
    pub fn sign(self) -> &'static str {
        match self {
            Self::Equal => "==",
            Self::Greater => ">",
            Self::GreaterEqual => ">=",
            Self::Less => "<",
            Self::LessEqual => "<=",
            Self::NotEqual => "!=",
        }
    }

    fn is_equality(self) -> bool {
        matches!(self, Self::Equal | Self::NotEqual)
    }
}

impl Condition {
    pub fn new(column: impl Into<String>, operator: Operator, value: Constant) -> Self {
        Self { column: column.into(), operator, value, absolute: false }
    }

    /// The same of the absolute value of the column.
    pub fn of_absolute(self) -> Self {
        Self { absolute: true, ..self }
    }

    /// One truth a row. A number may be compared with words that are numbers (axes are words); everything else must agree.
    pub fn test(&self, frame: &Frame) -> Result<Vec<bool>> {
        let column = frame.column(&self.column)?;
        self.check(column)?;
        Ok(column.cells().map(|cell| self.holds(cell)).collect())
    }

    fn holds(&self, cell: Cell<'_>) -> bool {
        match (&self.value, cell) {
            (_, Cell::Empty) => false,
            (Constant::Word(word), Cell::Text(text)) => self.operator.holds(&text, &word.as_str()),
            (Constant::Truth(wanted), Cell::Truth(found)) => self.operator.holds(&found, wanted),
            (Constant::Number(number), cell) => {
                let found = match cell {
                    Cell::Text(text) => text.parse().ok(),
                    cell => cell.number(),
                };
                let found = found.map(|x: f64| if self.absolute { x.abs() } else { x });
                found.is_some_and(|x| self.operator.holds(&x, number))
            }
            _ => false,
        }
    }

    fn check(&self, column: &Column) -> Result<()> {
        let fits = match (&self.value, column) {
            (Constant::Number(_), Column::Truth(_)) => false,
            (Constant::Number(_), _) => true,
            (Constant::Word(_), Column::Text(_)) | (Constant::Truth(_), Column::Truth(_)) => {
                self.operator.is_equality() && !self.absolute
            }
            _ => false,
        };
        if fits {
            return Ok(());
        }
        let needed = match &self.value {
            _ if self.absolute => "numbers",
            Constant::Number(_) => "numbers",
            Constant::Word(_) if self.operator.is_equality() => "words",
            Constant::Truth(_) if self.operator.is_equality() => "yes/no",
            _ => "numbers",
        };
        Err(Error::WrongType {
            operation: "a comparison",
            column: self.column.clone(),
            needed,
            found: column.type_name(),
        })
    }
}
