//! A file that is one document.

use std::io::Read;
use std::path::Path;

use super::LONGEST;
use super::cell::utf8;
use super::opened::{damaged, opened};
use crate::ml::data::{Document, Documents};
use crate::ml::{Error, Result};

pub fn open(path: &Path, skip: &mut u64) -> Result<Documents> {
    if *skip > 0 {
        *skip -= 1;
        return Ok(Box::new(std::iter::empty()));
    }
    let path = path.to_path_buf();
    Ok(Box::new(std::iter::once_with(move || read(&path))))
}

fn read(path: &Path) -> Result<Document> {
    let mut bytes = Vec::new();
    let mut limited = opened(path)?.take(LONGEST as u64 + 1);
    limited.read_to_end(&mut bytes).map_err(|e| damaged(path, &e))?;
    let wrong = |problem: String| Error::invalid("read text", format!("{}: {problem}", path.display()));
    if bytes.len() > LONGEST {
        return Err(wrong("longer than 256 MiB, and one document; split it into files, or write one document a line and use `jsonl(..)`".into()));
    }
    utf8(&bytes, 0, "the file").map(Document::Text).map_err(wrong)
}
