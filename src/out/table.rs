//! Tables for users: CSV files, and text for the terminal.

use std::path::Path;

use super::error::{Error, Result};
use super::frame::{Column, Frame};
use super::number;

/// RFC 4180 with a header line, `\n` ends, rows in the frame's order. Real numbers have at most six significant digits
/// ([`number::short`]); whole numbers all of theirs; an empty cell is an empty field. The same frame gives the same bytes.
pub fn csv(frame: &Frame) -> Vec<u8> {
    let mut writer = csv::WriterBuilder::new().from_writer(Vec::new());
    // Writing to memory fails only if records differ in length, and all have one field a column.
    let _ = writer.write_record(frame.names());
    for row in 0..frame.rows() {
        let _ = writer.write_record(frame.columns.iter().map(|(_, column)| column.cell(row).to_string()));
    }
    writer.into_inner().unwrap_or_default()
}

/// Writes [`csv`] to a file.
pub fn write(frame: &Frame, path: &Path) -> Result<()> {
    std::fs::write(path, csv(frame)).map_err(Error::io(path))
}

/// Aligned columns for a terminal: words to the left, numbers to the right, `-` for an empty cell, reals with four significant
/// digits. After `most` rows: `... 112 more rows in {place}`.
pub fn text(frame: &Frame, most: usize, place: &str) -> String {
    if frame.columns.is_empty() {
        return "(no columns)\n".to_owned();
    }
    let shown = frame.rows().min(most);
    let columns: Vec<TextColumn> = frame.columns.iter().map(|(name, c)| TextColumn::new(name, c, shown)).collect();
    let line = |cell: &dyn Fn(&TextColumn) -> String| {
        columns.iter().map(|c| c.pad(&cell(c))).collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    let mut text = line(&|c| c.name.clone());
    text += &line(&|c| "─".repeat(c.width));
    for row in 0..shown {
        text += &line(&|c| c.cells[row].clone());
    }
    match frame.rows() - shown {
        0 if shown == 0 => text += "(no rows)\n",
        0 => {}
        1 => text += &format!("... 1 more row in {place}\n"),
        rest => text += &format!("... {} more rows in {place}\n", number::grouped(rest as i64)),
    }
    text
}

struct TextColumn {
    name: String,
    cells: Vec<String>,
    width: usize,
    right: bool,
}

impl TextColumn {
    fn new(name: &str, column: &Column, rows: usize) -> Self {
        let cells: Vec<String> = (0..rows).map(|row| short_cell(column, row)).collect();
        let width = cells.iter().chain([&name.to_owned()]).map(|c| c.chars().count()).max().unwrap_or(0);
        Self { name: name.to_owned(), cells, width, right: !column.is_categorical() }
    }

    fn pad(&self, cell: &str) -> String {
        let gap = " ".repeat(self.width.saturating_sub(cell.chars().count()));
        if self.right { gap + cell } else { cell.to_owned() + &gap }
    }
}

fn short_cell(column: &Column, row: usize) -> String {
    use super::frame::Cell;
    match column.cell(row) {
        Cell::Empty => "-".to_owned(),
        Cell::Real(x) => number::significant(x, 4),
        Cell::Text(text) => text.replace(['\n', '\r', '\t'], " "),
        cell => cell.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame() -> Frame {
        Frame::new()
            .with("class", Column::Text(vec![Some("shared".into()), Some("say \"hi\", all".into()), None]))
            .and_then(|f| f.with("count", Column::whole([12, -3, 73_728])))
            .and_then(|f| f.with("nu_error", Column::Real(vec![Some(0.123_456_789), None, Some(-0.0)])))
            .and_then(|f| f.with("dead", Column::truth([true, false, false])))
            .unwrap()
    }

    #[test]
    fn csv_is_rfc_4180_with_short_numbers() {
        let text = String::from_utf8(csv(&frame())).unwrap();
        let expected =
            "class,count,nu_error,dead\nshared,12,0.123457,true\n\"say \"\"hi\"\", all\",-3,,false\n,73728,0,false\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn text_is_aligned_and_says_where_the_rest_is() {
        let expected = "\
class          count  nu_error  dead
─────────────  ─────  ────────  ─────
shared            12    0.1235  true
say \"hi\", all     -3         -  false
... 1 more row in tables/x.csv
";
        assert_eq!(text(&frame(), 2, "tables/x.csv"), expected);
        assert!(text(&frame().limit(0), 5, "x").ends_with("(no rows)\n"));
    }

    proptest! {
        #[test]
        fn csv_reads_back(words in prop::collection::vec(".{1,12}", 1..8)) {
            let frame = Frame::new().with("a", Column::text(&words))
                .and_then(|f| f.with("b", Column::whole(0..words.len() as i64))).unwrap();
            let bytes = csv(&frame);
            let mut reader = csv::Reader::from_reader(&bytes[..]);
            let back: Vec<String> = reader.records().map(|r| r.unwrap()[0].to_owned()).collect();
            prop_assert_eq!(back, words);
        }
    }
}
