//! Files to documents, one reader a format. Each holds a document and a buffer at a time, never a file.

mod cell;
mod csv;
mod json;
mod jsonl;
mod opened;
mod parquet;
mod text;

use std::path::Path;

pub(super) use jsonl::lines;

use super::{Documents, Format};
use crate::ml::Result;

/// No document and no line is longer: 256 MiB. What is longer is a file of another format, and would fill the memory.
const LONGEST: usize = 256 << 20;

/// What is read of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Selection {
    pub column: String,
    /// Of [`Format::Json`]: key of the list.
    pub list: Option<String>,
}

/// Documents of one file from record `skip` on; `skip` becomes the number of records that are still to be left out in the
/// files after it. Records that are left out are not looked into.
pub(super) fn open(path: &Path, format: Format, selection: &Selection, skip: &mut u64) -> Result<Documents> {
    match format {
        Format::Jsonl => jsonl::open(path, selection, skip),
        Format::Json => json::open(path, selection, skip),
        Format::Csv { delimiter } => csv::open(path, delimiter, selection, skip),
        Format::Parquet => parquet::open(path, selection, skip),
        Format::Text => text::open(path, skip),
    }
}
