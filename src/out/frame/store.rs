//! Full precision on disk: what the store keeps. Two header lines (names, types), then one CSV line a row.

use std::path::Path;
use std::sync::Arc;

use super::{Cell, Column, Frame};
use crate::out::error::{Error, Result};

impl Frame {
    /// Writes every cell so that [`Frame::read`] gives the same frame back, real numbers to the bit.
    pub fn write(&self, path: &Path) -> Result<()> {
        std::fs::write(path, self.to_bytes()).map_err(Error::io(path))
    }

    /// Reads what [`Frame::write`] wrote.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(Error::io(path))?;
        parse(&bytes).map_err(|reason| Error::unreadable(path, reason))
    }

    /// Reads a CSV file without the line of types, such as a log: `types` has an empty column for each that is known, others are left out. A
    /// known column that the file lacks is empty in every row.
    pub fn read_plain(path: &Path, types: Vec<(&str, Column)>) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(Error::io(path))?;
        parse_plain(&bytes, types).map_err(|reason| Error::unreadable(path, reason))
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut writer = csv::WriterBuilder::new().from_writer(Vec::new());
        let mut put = |record: Vec<String>| {
            // Writing to memory fails only if records differ in length, and all have one field a column.
            let _ = writer.write_record(record);
        };
        if !self.columns.is_empty() {
            put(self.names().map(str::to_owned).collect());
            put(self.columns.iter().map(|(_, column)| tag(column).to_owned()).collect());
            for row in 0..self.rows() {
                put(self.columns.iter().map(|(_, column)| encode(column.cell(row))).collect());
            }
        }
        writer.into_inner().unwrap_or_default()
    }
}

fn parse(bytes: &[u8]) -> std::result::Result<Frame, String> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(bytes);
    let mut records = reader.records();
    let Some(names) = records.next() else { return Ok(Frame::new()) };
    let names = names.map_err(|e| e.to_string())?;
    let types = records.next().ok_or("the line of types is missing")?.map_err(|e| e.to_string())?;
    let mut frame = Frame::new();
    for (name, tag) in names.iter().zip(&types) {
        frame.push(name, column(tag)?).map_err(|e| e.to_string())?;
    }
    for record in records {
        let record = record.map_err(|e| e.to_string())?;
        for ((name, column), field) in frame.columns.iter_mut().zip(&record) {
            decode(column, field).ok_or_else(|| format!("`{field}` does not fit column `{name}`"))?;
        }
    }
    Ok(frame)
}

fn parse_plain(bytes: &[u8], types: Vec<(&str, Column)>) -> std::result::Result<Frame, String> {
    let mut reader = csv::ReaderBuilder::new().from_reader(bytes);
    let names = reader.headers().map_err(|e| e.to_string())?.clone();
    let places: Vec<Option<usize>> =
        types.iter().map(|(known, _)| names.iter().position(|name| name == *known)).collect();
    let mut frame = Frame::new();
    for (name, column) in types {
        frame.push(name, column).map_err(|e| e.to_string())?;
    }
    for record in reader.records() {
        let record = record.map_err(|e| e.to_string())?;
        for ((name, column), place) in frame.columns.iter_mut().zip(&places) {
            let field = place.and_then(|place| record.get(place)).unwrap_or_default();
            decode(column, field).ok_or_else(|| format!("`{field}` does not fit column `{name}`"))?;
        }
    }
    Ok(frame)
}

fn tag(column: &Column) -> &'static str {
    match column {
        Column::Text(_) => "text",
        Column::Whole(_) => "whole",
        Column::Real(_) => "real",
        Column::Truth(_) => "truth",
    }
}

fn column(tag: &str) -> std::result::Result<Column, String> {
    match tag {
        "text" => Ok(Column::Text(Vec::new())),
        "whole" => Ok(Column::Whole(Vec::new())),
        "real" => Ok(Column::Real(Vec::new())),
        "truth" => Ok(Column::Truth(Vec::new())),
        other => Err(format!("`{other}` is no type of column")),
    }
}

/// An empty cell is an empty field; so that an empty word differs from it, words that are empty or begin with `\` get a `\`.
fn encode(cell: Cell<'_>) -> String {
    match cell {
        Cell::Empty => String::new(),
        Cell::Text(text) if text.is_empty() || text.starts_with('\\') => format!("\\{text}"),
        Cell::Text(text) => text.to_owned(),
        Cell::Whole(n) => n.to_string(),
        Cell::Real(x) => format!("{x:?}"),
        Cell::Truth(t) => t.to_string(),
    }
}

fn decode(column: &mut Column, field: &str) -> Option<()> {
    let empty = field.is_empty();
    match column {
        Column::Text(cells) => {
            let word: Arc<str> = Arc::from(field.strip_prefix('\\').unwrap_or(field));
            cells.push((!empty).then_some(word));
        }
        Column::Whole(cells) => cells.push(if empty { None } else { Some(field.parse().ok()?) }),
        Column::Real(cells) => cells.push(if empty { None } else { Some(field.parse().ok()?) }),
        Column::Truth(cells) => cells.push(if empty { None } else { Some(field.parse().ok()?) }),
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_log_has_no_line_of_types() {
        let types = || vec![("step", Column::Whole(Vec::new())), ("k", Column::Real(Vec::new()))];
        let read = |text: &str| parse_plain(text.as_bytes(), types());
        let frame = read("step,other,k\n0,x,\n50,y,1.5\n").unwrap();
        assert_eq!(frame.column("step").unwrap(), &Column::whole([0, 50]));
        assert_eq!(frame.numbers("k").unwrap(), [None, Some(1.5)]);
        assert_eq!(read("step\n7\n").unwrap().numbers("k").unwrap(), [None]);
        assert_eq!(read("step,k\n").unwrap().rows(), 0);
        assert_eq!(read("step,k\nx,1\n").unwrap_err(), "`x` does not fit column `step`");
    }

    fn frames() -> impl Strategy<Value = Frame> {
        let word = prop_oneof![".*", Just(String::new()), Just("\\".into()), Just("a,\"b\"\r\nc".into())];
        let row = (
            prop::option::of(word),
            prop::option::of(any::<i64>()),
            prop::option::of(prop::num::f64::ANY.prop_filter("no NaN", |x| !x.is_nan())),
            prop::option::of(any::<bool>()),
        );
        prop::collection::vec(row, 0..12).prop_map(|rows| {
            Frame::new()
                .with("te,xt", Column::Text(rows.iter().map(|r| r.0.as_deref().map(Arc::from)).collect()))
                .and_then(|f| f.with("whole", Column::Whole(rows.iter().map(|r| r.1).collect())))
                .and_then(|f| f.with("real", Column::Real(rows.iter().map(|r| r.2).collect())))
                .and_then(|f| f.with("truth", Column::Truth(rows.iter().map(|r| r.3).collect())))
                .unwrap()
        })
    }

    fn bits(frame: &Frame) -> Vec<Option<u64>> {
        match frame.column("real").unwrap() {
            Column::Real(cells) => cells.iter().map(|c| c.map(f64::to_bits)).collect(),
            _ => Vec::new(),
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back_to_the_bit(frame in frames()) {
            let back = parse(&frame.to_bytes()).unwrap();
            prop_assert_eq!(bits(&back), bits(&frame));
            prop_assert_eq!(back, frame);
        }
    }

    #[test]
    fn a_single_text_column_keeps_empty_cells_and_empty_words() {
        let frame = Frame::new().with("t", Column::Text(vec![None, Some("".into()), Some("x".into())])).unwrap();
        assert_eq!(parse(&frame.to_bytes()).unwrap(), frame);
        assert_eq!(parse(&Frame::new().to_bytes()).unwrap(), Frame::new());
    }

    #[test]
    fn a_damaged_file_says_what_is_wrong() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.csv");
        std::fs::write(&path, "a\nwhole\nx\n").unwrap();
        let message = Frame::read(&path).unwrap_err().to_string();
        assert!(message.ends_with("not a stored frame: `x` does not fit column `a`"), "{message}");
        std::fs::write(&path, "a,b\nwhole,whole\n1\n").unwrap();
        assert!(Frame::read(&path).is_err());
    }
}
