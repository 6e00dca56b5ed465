//! Comma-separated values with a header row.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::cell::{missing, utf8};
use super::opened::opened;
use super::{LONGEST, Selection};
use crate::ml::data::{Document, Documents};
use crate::ml::{Error, Result};

pub fn open(path: &Path, delimiter: u8, selection: &Selection, skip: &mut u64) -> Result<Documents> {
    let left = Arc::new(AtomicUsize::new(LONGEST));
    let bounded = Bounded { inner: opened(path)?, left: left.clone() };
    let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).buffer_capacity(64 << 10).from_reader(bounded);
    let headers = reader.byte_headers().map_err(|e| wrong(path, e.to_string()))?;
    let names: Vec<String> = headers.iter().map(|name| String::from_utf8_lossy(name).trim().to_string()).collect();
    let Some(index) = names.iter().position(|name| *name == selection.column) else {
        return Err(wrong(path, missing(&selection.column, names.iter().map(String::as_str))));
    };
    let mut rows = Rows {
        path: path.to_path_buf(),
        column: selection.column.clone(),
        index,
        reader,
        left,
        record: csv::ByteRecord::new(),
    };
    while *skip > 0 && rows.read()? {
        *skip -= 1;
    }
    Ok(Box::new(std::iter::from_fn(move || match rows.read() {
        Ok(true) => Some(rows.document()),
        Ok(false) => None,
        Err(error) => Some(Err(error)),
    })))
}

fn wrong(path: &Path, problem: String) -> Error {
    Error::invalid("read csv", format!("{}: {problem}", path.display()))
}

struct Rows {
    path: PathBuf,
    column: String,
    index: usize,
    reader: csv::Reader<Bounded>,
    left: Arc<AtomicUsize>,
    record: csv::ByteRecord,
}

impl Rows {
    fn read(&mut self) -> Result<bool> {
        self.left.store(LONGEST, Ordering::Relaxed);
        self.reader.read_byte_record(&mut self.record).map_err(|error| {
            let problem = match error.kind() {
                csv::ErrorKind::UnequalLengths { expected_len, len, pos } => {
                    let line = pos.as_ref().map_or(0, csv::Position::line);
                    format!("line {line} has {len} cells, the header {expected_len}; a cell with commas or line breaks stands in double quotes")
                }
                _ => error.to_string(),
            };
            wrong(&self.path, problem)
        })
    }

    fn document(&self) -> Result<Document> {
        let cell = self.record.get(self.index).unwrap_or_default();
        let text = utf8(cell, 0, &format!("column `{}`", self.column));
        text.map(Document::Text).map_err(|problem| {
            let (line, byte) = self.record.position().map_or((0, 0), |p| (p.line(), p.byte()));
            wrong(&self.path, format!("line {line} (from byte {byte}): {problem}"))
        })
    }
}

/// Refuses to read more than is left: a quote that is never closed would swallow the file.
struct Bounded {
    inner: Box<dyn std::io::BufRead + Send>,
    left: Arc<AtomicUsize>,
}

impl Read for Bounded {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let left = self.left.load(Ordering::Relaxed);
        if left == 0 {
            return Err(std::io::Error::other("a row is longer than 256 MiB: is a double quote not closed?"));
        }
        let wanted = out.len().min(left);
        let read = self.inner.read(&mut out[..wanted])?;
        self.left.store(left - read, Ordering::Relaxed);
        Ok(read)
    }
}
