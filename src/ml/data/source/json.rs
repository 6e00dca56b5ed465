//! A list of JSON objects, or an object with such a list, cut into its entries without reading the rest.

use std::io::BufRead;
use std::path::{Path, PathBuf};

use super::cell::{bad_utf8, of_object};
use super::opened::{damaged, opened};
use super::{LONGEST, Selection};
use crate::ml::data::{Document, Documents};
use crate::ml::{Error, Result};

pub fn open(path: &Path, selection: &Selection, skip: &mut u64) -> Result<Documents> {
    let mut scan = Scan::new(path)?;
    match scan.peek()? {
        Some(b'[') => {}
        Some(b'{') => {
            let key = match &selection.list {
                Some(list) => list.clone(),
                None => only_list(path)?,
            };
            scan.enter_list(&key)?;
        }
        Some(b'"' | b'0'..=b'9' | b't' | b'f' | b'n' | b'-') => {
            return Err(scan.wrong("a single value; it must be a list of objects"));
        }
        Some(_) => return Err(scan.wrong("no JSON")),
        None => return Err(scan.wrong("empty; an empty list is written []")),
    }
    scan.expect(b'[')?;
    let mut entries = Entries { scan, column: selection.column.clone(), number: 0, entry: Vec::new(), done: false };
    while *skip > 0 && entries.next(false)? {
        *skip -= 1;
    }
    Ok(Box::new(std::iter::from_fn(move || match entries.next(true) {
        Ok(true) => Some(entries.document()),
        Ok(false) => None,
        Err(error) => {
            entries.done = true;
            Some(Err(error))
        }
    })))
}

/// The one key of the object that holds a list of objects.
fn only_list(path: &Path) -> Result<String> {
    let mut scan = Scan::new(path)?;
    let (mut lists, mut keys) = (Vec::new(), Vec::new());
    scan.members(|scan, key| {
        if scan.peek()? == Some(b'[') && scan.is_list_of_objects()? {
            lists.push(key.to_string());
        }
        keys.push(format!("`{key}`"));
        Ok(false)
    })?;
    match (lists.len(), keys.len()) {
        (1, _) => Ok(lists.remove(0)),
        (0, 0) => Err(scan.wrong("an empty object; it must be a list of objects")),
        (0, _) => Err(scan.wrong(&format!(
            "an object without a list of objects; it has {}. One object a line is read by `jsonl(..)`",
            keys.join(", ")
        ))),
        _ => Err(scan.wrong(&format!(
            "an object with several lists ({}): say which with `list = \"{}\"`",
            lists.join(", "),
            lists[0]
        ))),
    }
}

struct Entries {
    scan: Scan,
    column: String,
    /// Of the entry in `entry`, from 1; the first entry of the list is number 1.
    number: u64,
    entry: Vec<u8>,
    done: bool,
}

impl Entries {
    /// Goes to the next entry, kept in `entry` when `keep`. `false`: the list is at its end.
    fn next(&mut self, keep: bool) -> Result<bool> {
        if self.done {
            return Ok(false);
        }
        let next = self.scan.peek()?;
        match (next, self.number) {
            (Some(b']'), _) => {
                self.done = true;
                return Ok(false);
            }
            (Some(b','), 1..) => {
                self.scan.expect(b',')?;
            }
            (Some(_), 0) => {}
            (None, _) => return Err(self.scan.ends(&format!("after entry {} of the list", self.number))),
            (Some(other), _) => {
                return Err(self.scan.wrong(&format!(
                    "byte {}: `{}` where a comma or ] is expected",
                    self.scan.at,
                    char::from(other)
                )));
            }
        }
        self.number += 1;
        self.entry.clear();
        self.scan.peek()?;
        let start = self.scan.at;
        self.scan.value(keep.then_some(&mut self.entry))?;
        if keep && let Err(error) = std::str::from_utf8(&self.entry) {
            return Err(self.scan.wrong(&format!(
                "entry {}: {}",
                self.number,
                bad_utf8(&self.entry, &error, start, "the file")
            )));
        }
        Ok(true)
    }

    fn document(&self) -> Result<Document> {
        let parse = || of_object(&serde_json::from_slice(&self.entry).map_err(|e| e.to_string())?, &self.column);
        parse().map_err(|problem: String| self.scan.wrong(&format!("entry {}: {problem}", self.number)))
    }
}

/// Cuts JSON at its brackets, commas and quotes; what is between them is looked into later, or never.
struct Scan {
    path: PathBuf,
    reader: Box<dyn BufRead + Send>,
    /// Bytes that were taken.
    at: u64,
}

impl Scan {
    fn new(path: &Path) -> Result<Self> {
        Ok(Scan { path: path.to_path_buf(), reader: opened(path)?, at: 0 })
    }

    fn wrong(&self, problem: &str) -> Error {
        Error::invalid("read json", format!("{}: {problem}", self.path.display()))
    }

    fn ends(&self, place: &str) -> Error {
        self.wrong(&format!("ends {place}; the file is incomplete"))
    }

    /// The next byte, not taken.
    fn byte(&mut self) -> Result<Option<u8>> {
        match self.reader.fill_buf() {
            Ok(buffer) => Ok(buffer.first().copied()),
            Err(error) => Err(damaged(&self.path, &error)),
        }
    }

    fn take(&mut self) {
        self.reader.consume(1);
        self.at += 1;
    }

    /// The next byte that is no space, not taken.
    fn peek(&mut self) -> Result<Option<u8>> {
        while let Some(byte) = self.byte()? {
            if !byte.is_ascii_whitespace() {
                return Ok(Some(byte));
            }
            self.take();
        }
        Ok(None)
    }

    fn expect(&mut self, wanted: u8) -> Result<()> {
        match self.peek()? {
            Some(byte) if byte == wanted => {
                self.take();
                Ok(())
            }
            Some(byte) => Err(self.wrong(&format!(
                "byte {}: `{}` where `{}` is expected",
                self.at,
                char::from(byte),
                char::from(wanted)
            ))),
            None => Err(self.ends(&format!("where `{}` is expected", char::from(wanted)))),
        }
    }

    /// Takes one value, and keeps its bytes.
    fn value(&mut self, mut keep: Option<&mut Vec<u8>>) -> Result<()> {
        let start = self.at;
        let (mut depth, mut quoted, mut escaped) = (0usize, false, false);
        loop {
            let buffer = self.reader.fill_buf().map_err(|e| damaged(&self.path, &e))?;
            if buffer.is_empty() {
                return match depth == 0 && !quoted && self.at > start {
                    true => Ok(()),
                    false => Err(self.ends(&format!("in the middle of the value from byte {start}"))),
                };
            }
            let mut taken = buffer.len();
            let mut over = false;
            for (index, &byte) in buffer.iter().enumerate() {
                if quoted {
                    match byte {
                        _ if escaped => escaped = false,
                        b'\\' => escaped = true,
                        b'"' => {
                            quoted = false;
                            over = depth == 0;
                        }
                        _ => {}
                    }
                } else {
                    match byte {
                        b'"' => quoted = true,
                        b'{' | b'[' => depth += 1,
                        b'}' | b']' | b',' if depth == 0 => {
                            taken = index;
                            over = true;
                            break;
                        }
                        b'}' | b']' => {
                            depth -= 1;
                            over = depth == 0;
                        }
                        _ => {}
                    }
                }
                if over {
                    taken = index + 1;
                    break;
                }
            }
            if let Some(kept) = keep.as_deref_mut() {
                kept.extend_from_slice(&buffer[..taken]);
                if kept.len() > LONGEST {
                    return Err(self.wrong(&format!("the value from byte {start} is longer than 256 MiB")));
                }
            }
            self.reader.consume(taken);
            self.at += taken as u64;
            if over {
                return match self.at > start {
                    true => Ok(()),
                    false => Err(self.wrong(&format!("byte {start}: a value is expected"))),
                };
            }
        }
    }

    /// Goes through the members of the object: `each` is called before a value, and says `true` to stop there.
    fn members(&mut self, mut each: impl FnMut(&mut Scan, &str) -> Result<bool>) -> Result<bool> {
        self.expect(b'{')?;
        if self.peek()? == Some(b'}') {
            return Ok(false);
        }
        loop {
            self.peek()?;
            let mut key = Vec::new();
            self.value(Some(&mut key))?;
            let Ok(key) = serde_json::from_slice::<String>(&key) else {
                return Err(self.wrong(&format!("byte {}: a key in quotes is expected", self.at)));
            };
            self.expect(b':')?;
            let before = self.at;
            self.peek()?;
            if each(self, &key)? {
                return Ok(true);
            }
            // A value that was looked into is at its end already.
            if self.at == before || !self.is_between()? {
                self.value(None)?;
            }
            match self.peek()? {
                Some(b',') => self.expect(b',')?,
                _ => {
                    self.expect(b'}')?;
                    return Ok(false);
                }
            }
        }
    }

    fn is_between(&mut self) -> Result<bool> {
        Ok(matches!(self.peek()?, Some(b',' | b'}') | None))
    }

    /// Takes a list; `true` when its first entry is an object.
    fn is_list_of_objects(&mut self) -> Result<bool> {
        self.expect(b'[')?;
        let objects = self.peek()? == Some(b'{');
        while self.peek()? != Some(b']') {
            self.value(None)?;
            if self.peek()? == Some(b',') {
                self.expect(b',')?;
            }
        }
        self.expect(b']')?;
        Ok(objects)
    }

    /// Goes to the list under `key`.
    fn enter_list(&mut self, key: &str) -> Result<()> {
        let mut keys = Vec::new();
        let found = self.members(|scan, name| {
            keys.push(format!("`{name}`"));
            if name != key {
                return Ok(false);
            }
            match scan.peek()? {
                Some(b'[') => Ok(true),
                _ => Err(scan.wrong(&format!("`{key}` is no list"))),
            }
        })?;
        match found {
            true => Ok(()),
            false => Err(self.wrong(&format!("no list `{key}`; there is {}", keys.join(", ")))),
        }
    }
}
