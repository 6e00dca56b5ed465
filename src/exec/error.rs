//! Why a step, or the run itself, failed.

use super::hub::Problem;
use crate::{ml, out};

/// Results of this half.
pub type Result<T> = std::result::Result<T, Error>;

/// A failure with words for the user.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The user stopped the run; what was done is kept.
    #[error("interrupted")]
    Interrupted,
    #[error("{path}: {source}")]
    File { path: String, source: std::io::Error },
    /// Something in the store is not what it says it is.
    #[error("{path}: {problem}")]
    Damaged { path: String, problem: String },
    #[error("{0}")]
    Failed(String),
    #[error("{0}")]
    Hub(Problem),
    #[error(transparent)]
    Out(#[from] out::Error),
    #[error("{0}")]
    Numbers(ml::Error),
}

impl From<Problem> for Error {
    fn from(problem: Problem) -> Self {
        match problem {
            Problem::Stopped => Error::Interrupted,
            other => Error::Hub(other),
        }
    }
}

impl From<ml::Error> for Error {
    fn from(error: ml::Error) -> Self {
        match error {
            ml::Error::Interrupted => Error::Interrupted,
            other => Error::Numbers(other),
        }
    }
}

impl Error {
    /// An [`Error::File`].
    pub fn file(path: impl AsRef<std::path::Path>, source: std::io::Error) -> Self {
        Error::File { path: path.as_ref().display().to_string(), source }
    }

    /// An [`Error::Damaged`].
    pub fn damaged(path: impl AsRef<std::path::Path>, problem: impl std::fmt::Display) -> Self {
        Error::Damaged { path: path.as_ref().display().to_string(), problem: problem.to_string() }
    }
}
