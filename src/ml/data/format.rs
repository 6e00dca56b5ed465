//! How documents lie in a file.

use std::path::Path;

/// A way to keep documents in a file; all but [`Format::Parquet`] may be compressed as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line.
    Jsonl,
    /// A list of JSON objects, or an object that holds one.
    Json,
    /// A header row, then one document a row; the byte between two cells.
    Csv { delimiter: u8 },
    /// Columns in row groups.
    Parquet,
    /// The file is one document.
    Text,
}

/// Endings of file names that [`Format::of`] knows, for messages.
pub const KNOWN_ENDINGS: &str =
    ".parquet, .jsonl, .ndjson, .json, .csv, .tsv, .txt and .md (all but the first also with .gz or .zst)";

impl Format {
    /// The format that a file's name tells: `train-00000.parquet`, `a.jsonl.zst`.
    pub fn of(path: &Path) -> Option<Format> {
        let name = path.file_name()?.to_str()?.to_ascii_lowercase();
        let plain = name.strip_suffix(".gz").or_else(|| name.strip_suffix(".zst")).unwrap_or(&name);
        match plain.rsplit_once('.')?.1 {
            "jsonl" | "ndjson" => Some(Format::Jsonl),
            "json" => Some(Format::Json),
            "csv" => Some(Format::Csv { delimiter: b',' }),
            "tsv" => Some(Format::Csv { delimiter: b'\t' }),
            "parquet" if plain == name => Some(Format::Parquet),
            "txt" | "text" | "md" => Some(Format::Text),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_formats() {
        let of = |name: &str| Format::of(Path::new(name));
        assert_eq!(of("a/train-00000-of-00002.parquet"), Some(Format::Parquet));
        assert_eq!(of("a.b.JSONL.zst"), Some(Format::Jsonl));
        assert_eq!(of("a.json.gz"), Some(Format::Json));
        assert_eq!(of("a.tsv"), Some(Format::Csv { delimiter: b'\t' }));
        assert_eq!(of("a.txt.gz"), Some(Format::Text));
        assert_eq!(of("a.parquet.gz"), None);
        assert_eq!(of("README"), None);
    }
}
