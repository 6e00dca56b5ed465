//! Where documents come from, in an order that never changes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::builtin::builtin;
use super::format::{Format, KNOWN_ENDINGS};
use super::shelf::Shelf;
use super::source::{self, Selection};
use crate::ml::{Error, Result};

/// One turn of a chat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    pub role: String,
    pub content: String,
}

/// A text, or a chat that a template renders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Document {
    Text(String),
    Chat(Vec<Message>),
}

impl Document {
    /// A text without characters, or a chat without messages.
    pub fn is_empty(&self) -> bool {
        match self {
            Document::Text(text) => text.is_empty(),
            Document::Chat(messages) => messages.is_empty(),
        }
    }
}

/// A source of documents. A path is a file, a glob, or a folder (its files of the format, or all files if it has none), read
/// in the order of the paths. `column` holds a string, or a list of `{role, content}`; other fields of a message are not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Corpus {
    /// One JSON object a line.
    Jsonl { path: PathBuf, column: String },
    /// A list of objects, or an object with one list of objects; `list` is its key where there are several.
    Json { path: PathBuf, column: String, list: Option<String> },
    /// A header row, then one document a row; tabs in files `.tsv`.
    Csv { path: PathBuf, column: String },
    /// One document a row.
    Parquet { path: PathBuf, column: String },
    /// One document a file.
    Text { path: PathBuf },
    /// Text that xd ships; see [`super::builtin_names`].
    Builtin { name: String },
    /// Files one after another, each of the format that its name tells ([`Format::of`]).
    Shelf { files: Arc<dyn Shelf>, column: String },
}

/// Documents in order.
pub type Documents = Box<dyn Iterator<Item = Result<Document>> + Send>;

impl Corpus {
    /// The files that are read, in the order of reading; none for a builtin. Errors when there is no file.
    pub fn files(&self) -> Result<Vec<PathBuf>> {
        match self {
            Corpus::Jsonl { path, .. }
            | Corpus::Json { path, .. }
            | Corpus::Csv { path, .. }
            | Corpus::Parquet { path, .. }
            | Corpus::Text { path } => self.files_at(path),
            Corpus::Builtin { .. } => Ok(Vec::new()),
            Corpus::Shelf { files, .. } => (0..files.names().len()).map(|index| files.file(index)).collect(),
        }
    }

    /// Streams the documents from the first one on.
    pub fn documents(&self) -> Result<Documents> {
        self.documents_from(0)
    }

    /// Streams documents `start..`. Those before are not looked into: files of text and row groups of Parquet are left out
    /// unread, lines, rows and entries are counted.
    ///
    /// Every record is a document, also one with an empty text, except for lines of white space. Errors: files that are not
    /// there, or are not what they are read as; each later one when it is met.
    pub fn documents_from(&self, start: u64) -> Result<Documents> {
        if let Corpus::Builtin { name } = self {
            return Ok(Box::new(builtin(name)?.skip(usize::try_from(start).unwrap_or(usize::MAX))));
        }
        let shelf: Arc<dyn Shelf> = match self {
            Corpus::Shelf { files, .. } => files.clone(),
            _ => Arc::new(Lying::new(self.files()?)),
        };
        let formats = shelf.names().iter().map(|name| self.format(Path::new(name))).collect::<Result<Vec<_>>>()?;
        let files = formats.into_iter().enumerate();
        let selection = self.selection();
        Ok(Box::new(Chain { shelf, files, selection, skip: start, current: None, broken: false }))
    }

    fn selection(&self) -> Selection {
        let (column, list) = match self {
            Corpus::Json { column, list, .. } => (column.clone(), list.clone()),
            Corpus::Jsonl { column, .. }
            | Corpus::Csv { column, .. }
            | Corpus::Parquet { column, .. }
            | Corpus::Shelf { column, .. } => (column.clone(), None),
            Corpus::Text { .. } | Corpus::Builtin { .. } => (String::new(), None),
        };
        Selection { column, list }
    }

    /// What `path` is read as.
    fn format(&self, path: &Path) -> Result<Format> {
        let told = Format::of(path);
        match self {
            Corpus::Jsonl { .. } => Ok(Format::Jsonl),
            Corpus::Json { .. } => Ok(Format::Json),
            Corpus::Csv { .. } => Ok(match told {
                Some(Format::Csv { delimiter }) => Format::Csv { delimiter },
                _ => Format::Csv { delimiter: b',' },
            }),
            Corpus::Parquet { .. } => Ok(Format::Parquet),
            Corpus::Text { .. } => Ok(Format::Text),
            Corpus::Shelf { .. } | Corpus::Builtin { .. } => told.ok_or_else(|| {
                let problem =
                    format!("{}: the name does not tell the format; known are {KNOWN_ENDINGS}", path.display());
                Error::invalid("read files", problem)
            }),
        }
    }

    fn files_at(&self, path: &Path) -> Result<Vec<PathBuf>> {
        let mut files = if path.is_dir() {
            let mut files = folder_files(path)?;
            let is_own = |file: &PathBuf| {
                matches!(
                    (self, Format::of(file)),
                    (Corpus::Jsonl { .. }, Some(Format::Jsonl))
                        | (Corpus::Json { .. }, Some(Format::Json))
                        | (Corpus::Csv { .. }, Some(Format::Csv { .. }))
                        | (Corpus::Parquet { .. }, Some(Format::Parquet))
                )
            };
            let is_text = |file: &PathBuf| {
                let name = file.file_name().map(|name| name.to_string_lossy().to_string()).unwrap_or_default();
                matches!(self, Corpus::Text { .. })
                    && [".txt", ".txt.gz", ".txt.zst"].iter().any(|ending| name.ends_with(ending))
            };
            let wanted = |file: &PathBuf| is_own(file) || is_text(file);
            if files.iter().any(wanted) {
                files.retain(wanted);
            }
            files
        } else if path.is_file() {
            vec![path.to_path_buf()]
        } else {
            glob_files(path)?
        };
        files.sort();
        match files.is_empty() {
            true => Err(Error::invalid("read text", format!("no file at {}", path.display()))),
            false => Ok(files),
        }
    }
}

/// Files that lie on this machine.
#[derive(Debug)]
struct Lying {
    names: Vec<String>,
    files: Vec<PathBuf>,
}

impl Lying {
    fn new(files: Vec<PathBuf>) -> Self {
        Lying { names: files.iter().map(|file| file.display().to_string()).collect(), files }
    }
}

impl Shelf for Lying {
    fn names(&self) -> &[String] {
        &self.names
    }

    fn file(&self, index: usize) -> Result<PathBuf> {
        Ok(self.files[index].clone())
    }
}

/// One file after another.
struct Chain {
    shelf: Arc<dyn Shelf>,
    files: std::iter::Enumerate<std::vec::IntoIter<Format>>,
    selection: Selection,
    /// Records that are still to be left out.
    skip: u64,
    current: Option<Documents>,
    /// After an error there is nothing more.
    broken: bool,
}

impl Iterator for Chain {
    type Item = Result<Document>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.broken {
            if let Some(document) = self.current.as_mut().and_then(Iterator::next) {
                self.broken = document.is_err();
                return Some(document);
            }
            let (index, format) = self.files.next()?;
            let file = self.shelf.file(index);
            match file.and_then(|file| source::open(&file, format, &self.selection, &mut self.skip)) {
                Ok(documents) => self.current = Some(documents),
                Err(error) => {
                    self.broken = true;
                    return Some(Err(error));
                }
            }
        }
        None
    }
}

fn folder_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|e| Error::file(folder, e))? {
        let path = entry.map_err(|e| Error::file(folder, e))?.path();
        if path.is_file() {
            files.push(path);
        }
    }
    Ok(files)
}

fn glob_files(pattern: &Path) -> Result<Vec<PathBuf>> {
    let text = pattern.to_string_lossy();
    let paths = glob::glob(&text).map_err(|e| Error::invalid("read text", format!("{text}: {e}")))?;
    let mut files = Vec::new();
    for path in paths {
        let path = path.map_err(|e| Error::file(e.path().to_path_buf(), e.into()))?;
        if path.is_file() {
            files.push(path);
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collect(corpus: &Corpus) -> Result<Vec<Document>> {
        corpus.documents()?.collect()
    }

    #[test]
    fn jsonl_reads_text_and_messages_and_names_the_bad_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jsonl");
        std::fs::write(&path, "{\"t\":\"one\"}\n\n{\"t\":[{\"role\":\"user\",\"content\":\"hi\"}]}\n{\"u\":1}\n")
            .unwrap();
        let corpus = Corpus::Jsonl { path, column: "t".into() };
        let mut documents = corpus.documents().unwrap();
        assert_eq!(documents.next().unwrap().unwrap(), Document::Text("one".into()));
        let chat = Document::Chat(vec![Message { role: "user".into(), content: "hi".into() }]);
        assert_eq!(documents.next().unwrap().unwrap(), chat);
        let error = documents.next().unwrap().unwrap_err().to_string();
        assert!(error.contains("a.jsonl:4: no column `t`; there is `u`"), "{error}");
    }

    #[test]
    fn text_takes_a_file_a_folder_or_a_glob_in_order() {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [("b.txt", "B"), ("a.txt", "A"), ("c.md", "C")] {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let read = |path: PathBuf| collect(&Corpus::Text { path }).unwrap();
        let text = |t: &str| Document::Text(t.into());
        assert_eq!(read(folder.path().into()), [text("A"), text("B")]);
        assert_eq!(read(folder.path().join("*.*")), [text("A"), text("B"), text("C")]);
        assert_eq!(read(folder.path().join("c.md")), [text("C")]);
        assert!(collect(&Corpus::Text { path: folder.path().join("none-*.txt") }).is_err());
    }
}
