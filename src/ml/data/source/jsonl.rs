//! One JSON object a line.

use std::io::BufRead;
use std::path::Path;

use super::cell::{bad_utf8, of_object};
use super::opened::{damaged, opened};
use super::{LONGEST, Selection};
use crate::ml::data::{Document, Documents};
use crate::ml::{Error, Result};

pub fn open(path: &Path, selection: &Selection, skip: &mut u64) -> Result<Documents> {
    let mut lines =
        Lines { name: path.display().to_string(), reader: opened(path)?, number: 0, at: 0, line: Vec::new() };
    while *skip > 0 && lines.read(path)? {
        *skip -= 1;
    }
    let (column, path) = (selection.column.clone(), path.to_path_buf());
    Ok(Box::new(std::iter::from_fn(move || match lines.read(&path) {
        Ok(true) => Some(lines.document(&column)),
        Ok(false) => None,
        Err(error) => Some(Err(error)),
    })))
}

/// Documents of JSON lines that are in memory; `name` is used in errors.
pub fn lines(text: &'static str, name: String, column: String) -> Documents {
    let reader = Box::new(std::io::Cursor::new(text.as_bytes()));
    let path = std::path::PathBuf::from(&name);
    let mut lines = Lines { name, reader, number: 0, at: 0, line: Vec::new() };
    Box::new(std::iter::from_fn(move || match lines.read(&path) {
        Ok(true) => Some(lines.document(&column)),
        Ok(false) => None,
        Err(error) => Some(Err(error)),
    }))
}

struct Lines {
    name: String,
    reader: Box<dyn BufRead + Send>,
    /// Of the line in `line`, from 1.
    number: u64,
    /// Byte at which the line in `line` begins.
    at: u64,
    line: Vec<u8>,
}

impl Lines {
    /// Goes to the next line that is not empty. `false`: there is none.
    fn read(&mut self, path: &Path) -> Result<bool> {
        loop {
            self.at += self.line.len() as u64;
            self.line.clear();
            let mut limited = std::io::Read::take(&mut self.reader, LONGEST as u64 + 1);
            let read = limited.read_until(b'\n', &mut self.line).map_err(|e| damaged(path, &e))?;
            if read == 0 {
                return Ok(false);
            }
            self.number += 1;
            if read > LONGEST {
                let problem = "the line is longer than 256 MiB; a file with one list is read by `json(..)`";
                return Err(Error::invalid("read jsonl", format!("{}:{}: {problem}", self.name, self.number)));
            }
            if !self.line.trim_ascii().is_empty() {
                return Ok(true);
            }
        }
    }

    fn document(&self, column: &str) -> Result<Document> {
        let parse = || {
            let text = std::str::from_utf8(&self.line).map_err(|e| bad_utf8(&self.line, &e, self.at, "the file"))?;
            let value = serde_json::from_str(text).map_err(|error| {
                let list = if text.trim_start().starts_with('[') {
                    "; a file with one list is read by `json(..)`"
                } else {
                    ""
                };
                format!("{error}{list}")
            })?;
            of_object(&value, column)
        };
        parse().map_err(|problem: String| {
            Error::invalid("read jsonl", format!("{}:{}: {problem}", self.name, self.number))
        })
    }
}
