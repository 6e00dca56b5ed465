//! `examples.parquet`: one row an example.
//!
//! | column | what |
//! | --- | --- |
//! | `latent`, `bin`, `corpus`, `sequence`, `peak`, `start` | u32, as in [`Example`] |
//! | `activation` | f32 |
//! | `tokens` | list of strings |
//! | `activations` | list of f32, as long |
//!
//! The footer has a blake3 of all rows under `xd.rows`.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::basic::{Compression, ZstdLevel};
use parquet::column::reader::get_typed_column_reader;
use parquet::data_type::{ByteArray, ByteArrayType, DataType, FloatType, Int32Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{FileReader, RowGroupReader, SerializedFileReader};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;

use super::Example;
use crate::ml::{Error, Result};

/// Name of the file in an artifact.
pub const NAME: &str = "examples.parquet";
/// Key of the hash in the footer.
const HASH: &str = "xd.rows";
const SCHEMA: &str = "message examples {
    required int32 latent (UINT_32);
    required int32 bin (UINT_32);
    required int32 corpus (UINT_32);
    required int32 sequence (UINT_32);
    required int32 peak (UINT_32);
    required int32 start (UINT_32);
    required float activation;
    required group tokens (LIST) { repeated group list { required binary element (UTF8); } }
    required group activations (LIST) { repeated group list { required float element; } }
}";
/// Columns of whole numbers, in the order of the schema.
const NUMBERS: [fn(&Example) -> u32; 6] =
    [|e| e.latent, |e| u32::from(e.bin), |e| u32::from(e.corpus), |e| e.sequence, |e| e.peak, |e| e.start];
/// Examples of a row group.
const GROUP: usize = 4096;

/// Writes examples one after another; memory does not grow with them.
pub struct ExamplesWriter {
    path: PathBuf,
    writer: SerializedFileWriter<File>,
    ready: Vec<Example>,
    hasher: blake3::Hasher,
}

impl ExamplesWriter {
    /// Begins `folder/examples.parquet`.
    ///
    /// # Errors
    /// The file cannot be made.
    pub fn create(folder: &Path) -> Result<Self> {
        let path = folder.join(NAME);
        let file = File::create(&path).map_err(|error| Error::file(&path, error))?;
        let wrong = |error: ParquetError| wrong(&path, error.to_string());
        let schema = Arc::new(parse_message_type(SCHEMA).map_err(wrong)?);
        let properties = WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::default())).build();
        let writer = SerializedFileWriter::new(file, schema, Arc::new(properties)).map_err(wrong)?;
        Ok(ExamplesWriter { path, writer, ready: Vec::new(), hasher: blake3::Hasher::new() })
    }

    /// Takes in the next one, in the order of [`super::read`].
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn push(&mut self, example: Example) -> Result<()> {
        hash(&mut self.hasher, &example);
        self.ready.push(example);
        match self.ready.len() {
            GROUP => self.flush(),
            _ => Ok(()),
        }
    }

    /// Writes what is left, and the hash.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn finish(mut self) -> Result<()> {
        self.flush()?;
        let hash = self.hasher.finalize().to_hex().to_string();
        self.writer.append_key_value_metadata(KeyValue::new(HASH.to_string(), hash));
        self.writer.close().map(drop).map_err(|error| wrong(&self.path, error.to_string()))
    }

    fn flush(&mut self) -> Result<()> {
        let examples = std::mem::take(&mut self.ready);
        if examples.is_empty() {
            return Ok(());
        }
        let group = self.writer.next_row_group().and_then(|mut group| {
            for number in NUMBERS {
                let numbers: Vec<i32> = examples.iter().map(|e| number(e) as i32).collect();
                plain::<Int32Type>(&mut group, &numbers)?;
            }
            plain::<FloatType>(&mut group, &examples.iter().map(|e| e.activation).collect::<Vec<f32>>())?;
            let tokens = |e: &Example| e.tokens.iter().map(|t| ByteArray::from(t.as_str())).collect();
            list::<ByteArrayType>(&mut group, &examples, tokens)?;
            list::<FloatType>(&mut group, &examples, |e| e.activations.clone())?;
            group.close()
        });
        group.map(drop).map_err(|error| wrong(&self.path, error.to_string()))
    }
}

type Group<'a> = SerializedRowGroupWriter<'a, File>;
type Parquet<T> = std::result::Result<T, ParquetError>;

/// Writes the next column, one value a row.
fn plain<T: DataType>(group: &mut Group<'_>, values: &[T::T]) -> Parquet<()> {
    column::<T>(group, values, None, None)
}

/// Writes the next column, a list a row.
fn list<T: DataType>(
    group: &mut Group<'_>,
    examples: &[Example],
    values: impl Fn(&Example) -> Vec<T::T>,
) -> Parquet<()> {
    let (mut all, mut defined, mut repeated) = (Vec::new(), Vec::new(), Vec::new());
    for example in examples {
        let values = values(example);
        defined.resize(defined.len() + values.len().max(1), i16::from(!values.is_empty()));
        repeated.push(0);
        repeated.resize(defined.len(), 1);
        all.extend(values);
    }
    column::<T>(group, &all, Some(&defined), Some(&repeated))
}

fn column<T: DataType>(
    group: &mut Group<'_>,
    values: &[T::T],
    defined: Option<&[i16]>,
    repeated: Option<&[i16]>,
) -> Parquet<()> {
    let Some(mut column) = group.next_column()? else { return Err(ParquetError::EOF("no column is left".into())) };
    column.typed::<T>().write_batch(values, defined, repeated)?;
    column.close()
}

/// What the hash is over: every field, with the lengths of lists and strings.
fn hash(hasher: &mut blake3::Hasher, example: &Example) {
    for number in NUMBERS {
        hasher.update(&number(example).to_le_bytes());
    }
    hasher.update(&example.activation.to_le_bytes());
    hasher.update(&(example.tokens.len() as u64).to_le_bytes());
    for token in &example.tokens {
        hasher.update(&(token.len() as u64).to_le_bytes());
        hasher.update(token.as_bytes());
    }
    hasher.update(&(example.activations.len() as u64).to_le_bytes());
    for value in &example.activations {
        hasher.update(&value.to_le_bytes());
    }
}

fn wrong(path: &Path, problem: impl std::fmt::Display) -> Error {
    Error::invalid("read examples", format!("{}: {problem}", path.display()))
}

/// Shows all examples of `folder/examples.parquet`, a row group in memory at a time.
pub(super) fn visit(folder: &Path, see: &mut dyn FnMut(Example)) -> Result<()> {
    let path = folder.join(NAME);
    let file = File::open(&path).map_err(|error| Error::file(&path, error))?;
    let damaged = "the file is damaged or was changed; remove the artifact's folder and run the step again";
    // The reader asserts what a damaged file can break.
    let read = catch_unwind(AssertUnwindSafe(|| rows(file, see)));
    match read {
        Ok(Ok(true)) => Ok(()),
        Ok(Err(error)) => Err(wrong(&path, format!("{error}; {damaged}"))),
        Ok(Ok(false)) | Err(_) => Err(wrong(&path, damaged)),
    }
}

/// False: the rows are not those that were written.
fn rows(file: File, see: &mut dyn FnMut(Example)) -> Parquet<bool> {
    let reader = SerializedFileReader::new(file)?;
    let metadata = reader.metadata().file_metadata();
    let entries = metadata.key_value_metadata();
    let expected = entries.and_then(|all| all.iter().find(|e| e.key == HASH)).and_then(|e| e.value.clone());
    let mut hasher = blake3::Hasher::new();
    let is_whole = |e: &Example| e.tokens.len() == e.activations.len() && (e.peak as usize) < e.tokens.len();
    for number in 0..reader.num_row_groups() {
        let group = reader.get_row_group(number)?;
        let Some(found) = group_rows(group.as_ref())? else { return Ok(false) };
        found.iter().for_each(|example| hash(&mut hasher, example));
        if !found.iter().all(is_whole) {
            return Ok(false);
        }
        found.into_iter().for_each(&mut *see);
    }
    let hash = hasher.finalize().to_hex().to_string();
    Ok(expected.as_deref() == Some(hash.as_str()))
}

/// `None`: columns of different lengths.
fn group_rows(group: &dyn RowGroupReader) -> Parquet<Option<Vec<Example>>> {
    let rows = usize::try_from(group.metadata().num_rows()).unwrap_or(0);
    let mut numbers = Vec::new();
    for column in 0..NUMBERS.len() {
        numbers.push(values::<Int32Type>(group, column, rows)?.0);
    }
    let activation = values::<FloatType>(group, NUMBERS.len(), rows)?.0;
    let tokens = lists::<ByteArrayType>(group, NUMBERS.len() + 1, rows)?;
    let activations = lists::<FloatType>(group, NUMBERS.len() + 2, rows)?;
    let lengths = [activation.len(), tokens.len(), activations.len()];
    if numbers.iter().map(Vec::len).chain(lengths).any(|length| length != rows) {
        return Ok(None);
    }
    let mut examples = Vec::with_capacity(rows);
    for (row, (tokens, activations)) in tokens.into_iter().zip(activations).enumerate() {
        let [latent, bin, corpus, sequence, peak, start] = [0, 1, 2, 3, 4, 5].map(|column| numbers[column][row] as u32);
        let (Ok(bin), Ok(corpus)) = (u8::try_from(bin), u16::try_from(corpus)) else { return Ok(None) };
        let texts: Parquet<Vec<String>> = tokens.iter().map(|t| Ok(t.as_utf8()?.to_string())).collect();
        let (activation, tokens) = (activation[row], texts?);
        examples.push(Example { latent, bin, activation, corpus, sequence, peak, start, tokens, activations });
    }
    Ok(Some(examples))
}

/// A column's values, and for lists the levels that say where each begins and whether it has any.
type Values<T> = (Vec<T>, Vec<i16>, Vec<i16>);

fn values<T: DataType>(group: &dyn RowGroupReader, column: usize, rows: usize) -> Parquet<Values<T::T>> {
    let mut reader = get_typed_column_reader::<T>(group.get_column_reader(column)?);
    let (mut found, mut defined, mut repeated) = (Vec::new(), Vec::new(), Vec::new());
    reader.read_records(rows, Some(&mut defined), Some(&mut repeated), &mut found)?;
    Ok((found, defined, repeated))
}

fn lists<T: DataType>(group: &dyn RowGroupReader, column: usize, rows: usize) -> Parquet<Vec<Vec<T::T>>> {
    let (found, defined, repeated) = values::<T>(group, column, rows)?;
    let mut found = found.into_iter();
    let mut lists: Vec<Vec<T::T>> = Vec::new();
    for (defined, repeated) in defined.into_iter().zip(repeated) {
        if repeated == 0 {
            lists.push(Vec::new());
        }
        if let (1, Some(list)) = (defined, lists.last_mut()) {
            list.extend(found.next());
        }
    }
    Ok(lists)
}

#[cfg(test)]
mod tests {
    use super::super::read;
    use super::*;

    fn examples() -> Vec<Example> {
        (0..10_000u32)
            .map(|i| Example {
                latent: i / 7,
                bin: (6 - i % 7) as u8,
                activation: 3.5 / (i + 1) as f32,
                corpus: (i % 3) as u16,
                sequence: u32::MAX - i,
                peak: i % 5,
                start: i * 2,
                tokens: (0..5).map(|t| ["Füß", "e", "", " », «\n", "\0"][(i as usize + t) % 5].to_string()).collect(),
                activations: (0..5).map(|t| t as f32 * i as f32).collect(),
            })
            .collect()
    }

    fn written(examples: &[Example]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = ExamplesWriter::create(folder.path()).unwrap();
        examples.iter().for_each(|example| writer.push(example.clone()).unwrap());
        writer.finish().unwrap();
        folder
    }

    #[test]
    fn what_is_written_comes_back() {
        let examples = examples();
        assert_eq!(read(written(&examples).path()).unwrap(), examples);
        assert_eq!(read(written(&[]).path()).unwrap(), []);
        let (one, other) = (written(&examples), written(&examples));
        let bytes = |folder: &tempfile::TempDir| std::fs::read(folder.path().join(NAME)).unwrap();
        assert_eq!(bytes(&one), bytes(&other));
    }

    #[test]
    fn a_damaged_file_is_refused() {
        let folder = written(&examples()[..500]);
        let path = folder.path().join(NAME);
        let whole = std::fs::read(&path).unwrap();
        let mut files = vec![whole[..whole.len() / 2].to_vec(), b"PAR1".to_vec(), Vec::new()];
        for place in (0..whole.len()).step_by(41) {
            let mut bytes = whole.clone();
            bytes[place] ^= 16;
            files.push(bytes);
        }
        let expected = examples()[..500].to_vec();
        let mut refused = 0;
        for bytes in &files {
            std::fs::write(&path, bytes).unwrap();
            match read(folder.path()) {
                Err(error) => {
                    let error = error.to_string();
                    assert!(error.contains("examples.parquet") && error.contains("run the step again"), "{error}");
                    refused += 1;
                }
                // Statistics and offsets of the footer may change without a row being another.
                Ok(found) => assert_eq!(found, expected),
            }
        }
        assert!(refused > files.len() / 2, "{refused} of {} damaged files were refused", files.len());
        std::fs::remove_file(&path).unwrap();
        assert!(read(folder.path()).unwrap_err().to_string().contains("examples.parquet"));
    }
}
