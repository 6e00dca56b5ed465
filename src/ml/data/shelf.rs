//! Files that come when they are asked for.

use std::fmt::Debug;
use std::path::PathBuf;

use crate::ml::Result;

/// The files of a corpus in the order of reading; each is brought to this machine when it is first read, so that of a data
/// set of terabytes only the files come that the tokens asked for are in.
pub trait Shelf: Debug + Send + Sync {
    /// Their names, whose endings tell the format.
    fn names(&self) -> &[String];
    /// Where the file of this index now lies. Errors: it cannot be brought here.
    fn file(&self, index: usize) -> Result<PathBuf>;
}

/// Shelves with the same names are the same to whoever compares settings.
impl PartialEq for dyn Shelf {
    fn eq(&self, other: &dyn Shelf) -> bool {
        self.names() == other.names()
    }
}

impl Eq for dyn Shelf {}
