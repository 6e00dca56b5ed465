//! Where documents come from, in an order that never changes.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::builtin::builtin;
use super::shelf::Shelf;
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

/// A source of documents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Corpus {
    /// One JSON object a line; `column` holds a string, or a list of `{role, content}`.
    Jsonl { path: PathBuf, column: String },
    /// One document a file: a file, a glob, or a folder (its `.txt` files, or all files if it has none), sorted by path.
    Text { path: PathBuf },
    /// Text that xd ships; see [`super::builtin_names`].
    Builtin { name: String },
    /// Files one after another, each in the format that its ending tells.
    Shelf { files: Arc<dyn Shelf>, column: String },
}

/// Documents in order.
pub type Documents = Box<dyn Iterator<Item = Result<Document>> + Send>;

impl Corpus {
    /// The files that are read, in the order of reading; none for a builtin. Errors when there is no file.
    pub fn files(&self) -> Result<Vec<PathBuf>> {
        match self {
            Corpus::Jsonl { path, .. } => {
                File::open(path).map_err(|e| Error::file(path, e))?;
                Ok(vec![path.clone()])
            }
            Corpus::Text { path } => text_files(path),
            Corpus::Builtin { .. } => Ok(Vec::new()),
            Corpus::Shelf { files, .. } => (0..files.names().len()).map(|index| files.file(index)).collect(),
        }
    }

    /// Streams the documents from the first one on. Empty lines and empty texts are skipped.
    pub fn documents(&self) -> Result<Documents> {
        match self {
            Corpus::Jsonl { path, column } => jsonl_file(path, column),
            Corpus::Text { path } => {
                let files = text_files(path)?;
                Ok(Box::new(files.into_iter().map(|file| read_text(&file).map(Document::Text)).filter(not_empty)))
            }
            Corpus::Builtin { name } => builtin(name),
            Corpus::Shelf { files, column } => {
                let (files, column, count) = (files.clone(), column.clone(), files.names().len());
                let open = move |index: usize| match files.file(index).and_then(|file| file_documents(&file, &column)) {
                    Ok(documents) => documents,
                    Err(error) => Box::new(std::iter::once(Err(error))),
                };
                Ok(Box::new((0..count).flat_map(open)))
            }
        }
    }
}

/// The documents of one file of a shelf, in the format that its ending tells.
fn file_documents(path: &Path, column: &str) -> Result<Documents> {
    match path.extension().and_then(|e| e.to_str()) {
        Some("jsonl" | "ndjson") => jsonl_file(path, column),
        _ => Err(Error::invalid("read corpus", format!("{}: files of this format cannot be read", path.display()))),
    }
}

fn jsonl_file(path: &Path, column: &str) -> Result<Documents> {
    let file = File::open(path).map_err(|e| Error::file(path, e))?;
    Ok(jsonl_documents(BufReader::new(file), path.display().to_string(), column.to_string()))
}

/// Documents of JSON lines; `name` is used in errors.
pub(super) fn jsonl_documents(lines: impl BufRead + Send + 'static, name: String, column: String) -> Documents {
    let parse = move |(number, line): (usize, std::io::Result<String>)| {
        let line = line.map_err(|e| Error::file(&name, e))?;
        if line.trim().is_empty() {
            return Ok(Document::Text(String::new()));
        }
        document(&line, &column)
            .map_err(|problem| Error::invalid("read jsonl", format!("{name}:{}: {problem}", number + 1)))
    };
    Box::new(lines.lines().enumerate().map(parse).filter(not_empty))
}

fn not_empty(document: &Result<Document>) -> bool {
    match document {
        Ok(Document::Text(text)) => !text.is_empty(),
        Ok(Document::Chat(messages)) => !messages.is_empty(),
        Err(_) => true,
    }
}

fn document(line: &str, column: &str) -> std::result::Result<Document, String> {
    let value: serde_json::Value = serde_json::from_str(line).map_err(|e| e.to_string())?;
    let object = value.as_object().ok_or("not a JSON object")?;
    let names = || object.keys().map(|k| format!("`{k}`")).collect::<Vec<_>>().join(", ");
    let cell = object.get(column).ok_or_else(|| format!("no column `{column}`; there is {}", names()))?;
    match cell {
        serde_json::Value::String(text) => Ok(Document::Text(text.clone())),
        serde_json::Value::Array(_) => serde_json::from_value(cell.clone())
            .map(Document::Chat)
            .map_err(|e| format!("column `{column}` is no list of {{role, content}}: {e}")),
        _ => Err(format!("column `{column}` is neither text nor a list of messages")),
    }
}

fn read_text(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).map_err(|e| Error::file(path, e))
}

fn text_files(path: &Path) -> Result<Vec<PathBuf>> {
    let mut files = if path.is_dir() {
        folder_files(path)?
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

fn folder_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|e| Error::file(folder, e))? {
        let path = entry.map_err(|e| Error::file(folder, e))?.path();
        if path.is_file() {
            files.push(path);
        }
    }
    let is_text = |path: &PathBuf| path.extension().is_some_and(|e| e == "txt");
    if files.iter().any(is_text) {
        files.retain(is_text);
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
