//! Texts inside the binary.

use super::Documents;
use super::source::lines;
use crate::ml::{Error, Result};

/// Name, JSON lines, column. The held-out texts of the organism: small, and no shipped model was trained on them.
const TEXTS: &[(&str, &str, &str)] = &[
    ("chat", include_str!("../../../experiments/organism/texts/chat_heldout.jsonl"), "messages"),
    ("prose", include_str!("../../../experiments/organism/texts/prose_heldout.jsonl"), "text"),
];

/// Names that [`builtin`] knows.
pub fn builtin_names() -> Vec<&'static str> {
    TEXTS.iter().map(|(name, _, _)| *name).collect()
}

/// Documents of a shipped text.
pub fn builtin(name: &str) -> Result<Documents> {
    match TEXTS.iter().find(|(n, _, _)| *n == name) {
        Some((name, text, column)) => Ok(lines(text, format!("builtin({name})"), column.to_string())),
        None => {
            let known = builtin_names().join(", ");
            Err(Error::invalid("read builtin", format!("there is no text `{name}`; there is: {known}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ml::data::Document;

    #[test]
    fn both_texts_can_be_read_and_others_are_refused() {
        let count = |name: &str, chat: bool| {
            let documents: Vec<Document> = builtin(name).unwrap().map(|d| d.unwrap()).collect();
            assert!(documents.iter().all(|d| matches!(d, Document::Chat(_)) == chat));
            documents.len()
        };
        assert_eq!((count("chat", true), count("prose", false)), (257, 384));
        let Err(error) = builtin("poems") else { panic!("there are no poems") };
        assert!(error.to_string().contains("there is: chat, prose"));
    }
}
