//! Parquet through its record reader: one row group after another, page by page, only the columns that are needed.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::basic::LogicalType;
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::reader::{ReaderIter, TreeBuilder};
use parquet::record::{Field, Row};
use parquet::schema::types::{SchemaDescPtr, SchemaDescriptor, Type};

use super::Selection;
use super::cell::{lacks, missing, shortened, utf8};
use crate::ml::data::{Document, Documents, Message};
use crate::ml::{Error, Result};

/// Rows that the record reader holds at a time: documents may be long.
const BATCH: usize = 64;

pub fn open(path: &Path, selection: &Selection, skip: &mut u64) -> Result<Documents> {
    let file = File::open(path).map_err(|e| Error::file(path, e))?;
    let reader = guarded(path, None, || SerializedFileReader::new(file))?;
    let column = &selection.column;
    let schema = descriptor(&reader, column).map_err(|problem| wrong(path, problem))?;
    let mut rows =
        Rows { path: path.to_path_buf(), column: column.clone(), reader, schema, group: 0, number: 0, rows: None };
    rows.skip(skip)?;
    Ok(Box::new(std::iter::from_fn(move || rows.next().transpose())))
}

fn wrong(path: &Path, problem: String) -> Error {
    Error::invalid("read parquet", format!("{}: {problem}", path.display()))
}

/// Runs a part of the Parquet reader, which asserts what a damaged file can break.
fn guarded<T>(path: &Path, row: Option<u64>, read: impl FnOnce() -> std::result::Result<T, ParquetError>) -> Result<T> {
    let place = row.map_or(String::new(), |row| format!("row {row}: "));
    match catch_unwind(AssertUnwindSafe(read)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => {
            let text = error.to_string();
            let problem = match (text.contains("as String"), text.rsplit_once("Error: ")) {
                (true, Some((_, why))) => format!("{place}not UTF-8: {why}"),
                _ => format!("{place}cannot be read ({text}); the file may be damaged or incomplete"),
            };
            Err(wrong(path, problem))
        }
        Err(_) => Err(wrong(path, format!("{place}cannot be read; the file is damaged"))),
    }
}

struct Rows {
    path: PathBuf,
    column: String,
    reader: SerializedFileReader<File>,
    schema: SchemaDescPtr,
    /// The next row group.
    group: usize,
    /// The next row of the file.
    number: u64,
    rows: Option<ReaderIter>,
}

impl Rows {
    /// Leaves out whole row groups by the file's index, then rows.
    fn skip(&mut self, skip: &mut u64) -> Result<()> {
        while *skip > 0 && self.group < self.reader.num_row_groups() {
            let rows = u64::try_from(self.reader.metadata().row_group(self.group).num_rows()).unwrap_or(0);
            if rows > *skip {
                break;
            }
            *skip -= rows;
            self.number += rows;
            self.group += 1;
        }
        while *skip > 0 && self.row()?.is_some() {
            *skip -= 1;
        }
        Ok(())
    }

    fn next(&mut self) -> Result<Option<Document>> {
        let number = self.number;
        let Some(row) = self.row()? else { return Ok(None) };
        let found = row
            .get_column_iter()
            .next()
            .map_or(Err("has no cells".to_string()), |(_, cell)| document(cell, &self.column));
        found.map(Some).map_err(|problem| wrong(&self.path, format!("row {number}: {problem}")))
    }

    fn row(&mut self) -> Result<Option<Row>> {
        loop {
            let number = self.number;
            if let Some(rows) = &mut self.rows
                && let Some(row) = guarded(&self.path, Some(number), || rows.next().transpose())?
            {
                self.number += 1;
                return Ok(Some(row));
            }
            if self.group == self.reader.num_row_groups() {
                return Ok(None);
            }
            let rows = guarded(&self.path, Some(number), || {
                let group = self.reader.get_row_group(self.group)?;
                TreeBuilder::new().with_batch_size(BATCH).as_iter(self.schema.clone(), &*group)
            })?;
            self.rows = Some(rows);
            self.group += 1;
        }
    }
}

/// The schema of the one column, and of a list of structs only the fields `role` and `content`.
fn descriptor(reader: &SerializedFileReader<File>, column: &str) -> std::result::Result<SchemaDescPtr, String> {
    let root = reader.metadata().file_metadata().schema();
    let names = || root.get_fields().iter().map(|field| field.name());
    let Some(field) = root.get_fields().iter().find(|field| field.name() == column) else {
        return Err(missing(column, names()));
    };
    let pruned = prune(field).map_err(|e| e.to_string())?;
    let schema = Type::group_type_builder(root.name()).with_fields(vec![pruned]).build().map_err(|e| e.to_string())?;
    Ok(Arc::new(SchemaDescriptor::new(Arc::new(schema))))
}

/// The type without fields that are not read: of a struct with `role` and `content` the others.
fn prune(ty: &Arc<Type>) -> std::result::Result<Arc<Type>, ParquetError> {
    if ty.is_primitive() {
        return Ok(ty.clone());
    }
    let is_message = |name: &str| name == "role" || name == "content";
    let fields = ty.get_fields();
    let chosen: Vec<Arc<Type>> = match fields.iter().filter(|field| is_message(field.name())).count() {
        2 => fields.iter().filter(|field| is_message(field.name())).cloned().collect(),
        _ => fields.iter().map(prune).collect::<std::result::Result<_, _>>()?,
    };
    let info = ty.get_basic_info();
    let mut builder = Type::group_type_builder(info.name())
        .with_converted_type(info.converted_type())
        .with_logical_type(info.logical_type_ref().cloned().filter(|logical| *logical == LogicalType::List))
        .with_fields(chosen);
    if info.has_repetition() {
        builder = builder.with_repetition(info.repetition());
    }
    builder.build().map(Arc::new)
}

fn document(cell: &Field, column: &str) -> std::result::Result<Document, String> {
    match cell {
        Field::Str(text) => Ok(Document::Text(text.clone())),
        Field::Bytes(bytes) => utf8(bytes.data(), 0, &format!("column `{column}`")).map(Document::Text),
        Field::ListInternal(list) => {
            // In old layouts, where the repeated group is the entry itself, the record reader puts a list around the list.
            let entries = match list.elements() {
                [Field::ListInternal(inner)] => inner.elements(),
                entries => entries,
            };
            let messages = entries.iter().enumerate().map(|(index, entry)| message(index, entry, column));
            messages.collect::<std::result::Result<_, _>>().map(Document::Chat)
        }
        other => Err(format!("column `{column}` is {}, neither text nor a list of messages", seen(other))),
    }
}

fn message(index: usize, entry: &Field, column: &str) -> std::result::Result<Message, String> {
    let wrong = |problem: String| format!("column `{column}` is no list of {{role, content}}: entry {index} {problem}");
    let Field::Group(row) = entry else { return Err(wrong(format!("is {}", seen(entry)))) };
    let text = |key: &str| match row.get_column_iter().find(|(name, _)| *name == key) {
        Some((_, Field::Str(text))) => Ok(text.clone()),
        Some((_, Field::Bytes(bytes))) => utf8(bytes.data(), 0, &format!("its `{key}`")).map_err(&wrong),
        Some((_, other)) => Err(wrong(format!("has {} as its `{key}`, not text", seen(other)))),
        None => Err(wrong(lacks(key, row.get_column_iter().map(|(name, _)| name.as_str())))),
    };
    Ok(Message { role: text("role")?, content: text("content")? })
}

/// A cell in words that stand after "is".
fn seen(cell: &Field) -> String {
    match cell {
        Field::Null => "null".into(),
        Field::Str(text) => format!("the text {:?}", shortened(text)),
        Field::Group(row) => {
            let names: Vec<String> = row.get_column_iter().take(6).map(|(name, _)| format!("`{name}`")).collect();
            format!("a struct with {}", names.join(", "))
        }
        Field::ListInternal(list) => format!("a list of {}", list.len()),
        other => format!("`{}`", shortened(&other.to_string())),
    }
}
