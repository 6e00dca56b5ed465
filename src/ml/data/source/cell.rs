//! What a cell holds: a text, or the messages of a chat.

use serde_json::Value;

use crate::ml::data::{Document, Message};

/// The document in a cell of JSON. Errors say what was seen.
pub fn document(cell: &Value, column: &str) -> Result<Document, String> {
    match cell {
        Value::String(text) => Ok(Document::Text(text.clone())),
        Value::Array(entries) => messages(entries, column).map(Document::Chat),
        other => Err(format!("column `{column}` is {}, neither text nor a list of messages", seen(other))),
    }
}

/// The cell `column` of an object.
pub fn of_object(value: &Value, column: &str) -> Result<Document, String> {
    let Some(object) = value.as_object() else {
        return Err(format!("not a JSON object but {}", seen(value)));
    };
    match object.get(column) {
        Some(cell) => document(cell, column),
        None => Err(missing(column, object.keys().map(String::as_str))),
    }
}

/// Words for a column that is not there.
pub fn missing<'a>(column: &str, names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
    match names.is_empty() {
        true => format!("no column `{column}`; there are no columns"),
        false => format!("no column `{column}`; there is {}", names.join(", ")),
    }
}

fn messages(entries: &[Value], column: &str) -> Result<Vec<Message>, String> {
    let message = |(index, entry): (usize, &Value)| {
        let wrong =
            |problem: String| format!("column `{column}` is no list of {{role, content}}: entry {index} {problem}");
        let Some(object) = entry.as_object() else { return Err(wrong(format!("is {}", seen(entry)))) };
        let text = |key: &str| match object.get(key) {
            Some(Value::String(text)) => Ok(text.clone()),
            Some(other) => Err(wrong(format!("has {} as its `{key}`, not text", seen(other)))),
            None => Err(wrong(lacks(key, object.keys().map(String::as_str)))),
        };
        Ok(Message { role: text("role")?, content: text("content")? })
    };
    entries.iter().enumerate().map(message).collect()
}

/// Words for a message without `role` or `content`.
pub fn lacks<'a>(key: &str, names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.collect();
    let hint = if names.contains(&"from") && names.contains(&"value") {
        "; rename `from` to `role` and `value` to `content`, and the roles to user and assistant"
    } else {
        ""
    };
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    format!("has no `{key}` but {}{hint}", if names.is_empty() { "nothing".to_string() } else { names.join(", ") })
}

/// A value in words that stand after "is", shortened.
pub fn seen(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Bool(_) | Value::Number(_) => format!("`{value}`"),
        Value::String(text) => format!("the text {:?}", shortened(text)),
        Value::Array(entries) if entries.is_empty() => "an empty list".into(),
        Value::Array(entries) => format!("a list of {}", entries.len()),
        Value::Object(object) => {
            let keys: Vec<String> = object.keys().take(6).map(|key| format!("`{key}`")).collect();
            format!("an object with {}", if keys.is_empty() { "nothing".to_string() } else { keys.join(", ") })
        }
    }
}

/// The first characters of a text.
pub fn shortened(text: &str) -> String {
    const SHOWN: usize = 40;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}..", &text[..end]),
        None => text.to_string(),
    }
}

/// Bytes as text; the error has the place of the first bad byte, `start` bytes after the beginning of what it names.
pub fn utf8(bytes: &[u8], start: u64, of: &str) -> Result<String, String> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.to_string()),
        Err(error) => Err(bad_utf8(bytes, &error, start, of)),
    }
}

/// Words for bytes that are no UTF-8.
pub fn bad_utf8(bytes: &[u8], error: &std::str::Utf8Error, start: u64, of: &str) -> String {
    let at = error.valid_up_to();
    let byte = bytes.get(at).copied().unwrap_or(0);
    format!("not UTF-8: byte 0x{byte:02x} at byte {} of {of}; write it as UTF-8", start + at as u64)
}
