//! What can go wrong while numbers are made: the operation and the shapes.

/// Results of this half.
pub type Result<T> = std::result::Result<T, Error>;

/// The operation and what it met.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{operation}: {problem}")]
    Invalid { operation: &'static str, problem: String },
    #[error("{path}: {source}")]
    File { path: String, source: std::io::Error },
    /// The user stopped the run; everything up to the last checkpoint is kept.
    #[error("interrupted")]
    Interrupted,
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
    #[error(transparent)]
    Safetensors(#[from] safetensors::SafeTensorError),
}

impl Error {
    /// An [`Error::Invalid`].
    pub fn invalid(operation: &'static str, problem: impl Into<String>) -> Self {
        Error::Invalid { operation, problem: problem.into() }
    }

    /// The same, with the place in front of what an [`Error::Invalid`] says.
    pub fn at(self, place: impl std::fmt::Display) -> Self {
        match self {
            Error::Invalid { operation, problem } => {
                Error::Invalid { operation, problem: format!("{place}: {problem}") }
            }
            other => other,
        }
    }

    /// An [`Error::File`].
    pub fn file(path: impl AsRef<std::path::Path>, source: std::io::Error) -> Self {
        Error::File { path: path.as_ref().display().to_string(), source }
    }
}
