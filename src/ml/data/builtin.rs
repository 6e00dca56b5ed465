//! Texts inside the binary.

use std::io::Cursor;

use super::Documents;
use super::corpus::jsonl_documents;
use crate::ml::{Error, Result};

/// Name, JSON lines, column.
const TEXTS: &[(&str, &str, &str)] = &[];

/// Names that [`builtin`] knows.
pub fn builtin_names() -> Vec<&'static str> {
    TEXTS.iter().map(|(name, _, _)| *name).collect()
}

/// Documents of a shipped text.
pub fn builtin(name: &str) -> Result<Documents> {
    match TEXTS.iter().find(|(n, _, _)| *n == name) {
        Some((name, text, column)) => {
            Ok(jsonl_documents(Cursor::new(*text), format!("builtin({name})"), column.to_string()))
        }
        None => {
            let known = builtin_names().join(", ");
            Err(Error::invalid("read builtin", format!("there is no text `{name}`; there is: {known}")))
        }
    }
}
