//! What can go wrong between rows and files.

use std::path::{Path, PathBuf};

/// Errors of this half name the operation, the column and the file; the caller adds the step's address.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("there is no column `{column}` (there are: {known})")]
    UnknownColumn { column: String, known: String },
    #[error("column `{column}` is there twice")]
    RepeatedColumn { column: String },
    #[error("column `{column}` has {found} cells where the frame has {rows} rows")]
    Length { column: String, found: usize, rows: usize },
    #[error("{operation} needs {needed} in column `{column}`, which holds {found}")]
    WrongType { operation: &'static str, column: String, needed: &'static str, found: &'static str },
    #[error("{operation} needs a column for {role}")]
    NoColumn { operation: &'static str, role: &'static str },
    #[error("column `{column}` holds {left} in one frame and {right} in another")]
    Mismatch { column: String, left: &'static str, right: &'static str },
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: std::io::Error },
    #[error("{path}: not a stored frame: {reason}")]
    Unreadable { path: PathBuf, reason: String },
    #[error("the figure could not be turned into a PNG: {0}")]
    Png(String),
    #[error("the report could not be rendered: {0}")]
    Template(String),
}

pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }

    pub(crate) fn unreadable(path: &Path, reason: impl ToString) -> Self {
        Self::Unreadable { path: path.to_owned(), reason: reason.to_string() }
    }
}
