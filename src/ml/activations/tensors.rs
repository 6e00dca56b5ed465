//! Activations in a safetensors file: `[rows, 2, d]`, read in order, and written for others to read.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use half::{bf16, f16};
use memmap2::Mmap;
use safetensors::{Dtype, SafeTensors, tensor::TensorInfo};
use serde_json::json;

use super::sidecar::group;
use crate::ml::{Error, Result, RowInfo, Rows, TokenGroup};

/// Rows that are copied at a time.
const COPY: usize = 1024;

/// Rows of a tensor `[rows, 2, d]` of a file, f32, f16 or bf16, in the order of the file.
///
/// Where the file has `tokens`, `sequence` and `position` (also `corpus` and `group`), `[rows]` each and integers, as
/// [`export_tensors`] writes them, they are the origins of the rows.
#[derive(Clone, Debug)]
pub struct TensorRows {
    map: Arc<Mmap>,
    dtype: Dtype,
    width: usize,
    bytes: Range<usize>,
    origins: Origins,
    rows: Range<u64>,
}

/// Where the integer tensors are.
#[derive(Clone, Debug, Default)]
struct Origins {
    tokens: Option<Column>,
    sequence: Option<Column>,
    position: Option<Column>,
    corpus: Option<Column>,
    group: Option<Column>,
}

#[derive(Clone, Debug)]
struct Column {
    size: usize,
    start: usize,
}

impl TensorRows {
    /// Tensor `key` of `path`. Errors: no such tensor (naming those there are), another shape, another number format.
    pub fn open(path: &Path, key: &str) -> Result<Self> {
        let refuse = |problem: String| Error::invalid("read tensors", format!("{}: {problem}", path.display()));
        let file = File::open(path).map_err(|error| Error::file(path, error))?;
        // SAFETY: a file that somebody changes while it is read gives wrong numbers, as it would with any reader.
        let map = unsafe { Mmap::map(&file) }.map_err(|error| Error::file(path, error))?;
        let (length, metadata) = SafeTensors::read_metadata(&map).map_err(|error| refuse(error.to_string()))?;
        let base = 8 + length;
        let Some(info) = metadata.info(key) else {
            let mut names: Vec<String> = metadata.tensors().into_keys().collect();
            names.sort();
            return Err(refuse(format!("no tensor `{key}`; there are {}", names.join(", "))));
        };
        let [rows, 2, width] = info.shape[..] else {
            return Err(refuse(format!("`{key}` has the shape {:?}, not [rows, 2, d]", info.shape)));
        };
        if !matches!(info.dtype, Dtype::F32 | Dtype::F16 | Dtype::BF16) || width == 0 {
            return Err(refuse(format!("`{key}` {:?} is {:?}, not f32, f16 or bf16", info.shape, info.dtype)));
        }
        let column = |name: &str| metadata.info(name).and_then(|info| Column::of(info, rows, base));
        let origins = Origins {
            tokens: column("tokens"),
            sequence: column("sequence"),
            position: column("position"),
            corpus: column("corpus"),
            group: column("group"),
        };
        let bytes = base + info.data_offsets.0..base + info.data_offsets.1;
        Ok(TensorRows { dtype: info.dtype, width, bytes, origins, rows: 0..rows as u64, map: Arc::new(map) })
    }

    /// These rows only; they count from 0 again. Errors: there are fewer.
    pub fn slice(&self, rows: Range<u64>) -> Result<Self> {
        if rows.start > rows.end || rows.end > self.count() {
            return Err(Error::invalid("read tensors", format!("rows {rows:?} of {}", self.count())));
        }
        Ok(TensorRows { rows: self.rows.start + rows.start..self.rows.start + rows.end, ..self.clone() })
    }
}

impl Column {
    /// `None`: not `rows` integers.
    fn of(info: &TensorInfo, rows: usize, base: usize) -> Option<Self> {
        let size = match info.dtype {
            Dtype::I64 | Dtype::U64 => 8,
            Dtype::I32 | Dtype::U32 => 4,
            Dtype::I16 | Dtype::U16 => 2,
            Dtype::U8 => 1,
            _ => return None,
        };
        (info.shape[..] == [rows]).then_some(Column { size, start: base + info.data_offsets.0 })
    }

    fn get(&self, map: &[u8], row: usize) -> u64 {
        let mut bytes = [0; 8];
        let start = self.start + row * self.size;
        bytes[..self.size].copy_from_slice(&map[start..start + self.size]);
        u64::from_le_bytes(bytes)
    }
}

/// Divides `rows` rows that come in order: training takes the first `train`, validation the last `validate`, which therefore
/// stay the same when training grows. `limit` bounds training. Errors: there are fewer than both together.
pub fn split_rows(rows: u64, train: u64, validate: u64, limit: Option<u64>) -> Result<(Range<u64>, Range<u64>)> {
    let train = limit.map_or(train, |limit| limit.min(train));
    if train.checked_add(validate).is_none_or(|asked| asked > rows) {
        let problem = format!(
            "the file has {rows} rows, but train asks for {train} and validate for {validate}: write at most `train = {} tokens`",
            rows.saturating_sub(validate)
        );
        return Err(Error::invalid("split tensors", problem));
    }
    Ok((0..train, rows - validate..rows))
}

/// Rows of a file for training and validation, as [`split_rows`] says.
pub fn split_tensors(
    all: &TensorRows,
    train: u64,
    validate: u64,
    limit: Option<u64>,
) -> Result<(TensorRows, TensorRows)> {
    let (train, validate) = split_rows(all.count(), train, validate, limit)?;
    Ok((all.slice(train)?, all.slice(validate)?))
}

impl Rows for TensorRows {
    fn is_stored(&self) -> bool {
        true
    }

    fn width(&self) -> usize {
        self.width
    }

    fn count(&self) -> u64 {
        self.rows.end - self.rows.start
    }

    fn read(&self, start: u64, out: &mut [f32]) -> Result<()> {
        let row = 2 * self.width;
        let count = (out.len() / row) as u64;
        if out.len() % row != 0 || start + count > self.count() {
            let problem = format!("rows {start}..{} of [{}, 2, {}]", start + count, self.count(), self.width);
            return Err(Error::invalid("read tensors", problem));
        }
        let size = self.dtype.bitsize() / 8;
        let first = self.bytes.start + (self.rows.start + start) as usize * row * size;
        let bytes = &self.map[first..first + out.len() * size];
        match self.dtype {
            Dtype::F32 => {
                for (value, bits) in out.iter_mut().zip(bytes.chunks_exact(4)) {
                    *value = f32::from_le_bytes([bits[0], bits[1], bits[2], bits[3]]);
                }
            }
            Dtype::F16 => {
                for (value, bits) in out.iter_mut().zip(bytes.chunks_exact(2)) {
                    *value = f16::from_le_bytes([bits[0], bits[1]]).to_f32();
                }
            }
            _ => {
                for (value, bits) in out.iter_mut().zip(bytes.chunks_exact(2)) {
                    *value = bf16::from_le_bytes([bits[0], bits[1]]).to_f32();
                }
            }
        }
        Ok(())
    }

    fn info(&self, start: u64, out: &mut [RowInfo]) -> Result<()> {
        if start + out.len() as u64 > self.count() {
            let problem = format!("rows {start}..{} of {}", start + out.len() as u64, self.count());
            return Err(Error::invalid("read tensors", problem));
        }
        for (i, slot) in out.iter_mut().enumerate() {
            let row = (self.rows.start + start) as usize + i;
            let get =
                |column: &Option<Column>, other| column.as_ref().map_or(other, |column| column.get(&self.map, row));
            *slot = RowInfo {
                corpus: get(&self.origins.corpus, 0) as u16,
                sequence: get(&self.origins.sequence, row as u64) as u32,
                position: get(&self.origins.position, 0) as u32,
                token: get(&self.origins.tokens, 0) as u32,
                group: group(get(&self.origins.group, TokenGroup::Text as u64) as u8)?,
            };
        }
        Ok(())
    }
}

/// Writes rows as a safetensors file: `activations` f32 `[rows, 2, d]`; `tokens`, `sequence`, `position`, `corpus` i64
/// `[rows]`; `group` u8 `[rows]` (0 text, 1 bos, 2 control, 3 user, 4 assistant, 5 other). Memory does not grow with rows.
pub fn export_tensors(rows: &dyn Rows, path: &Path) -> Result<()> {
    let count = rows.count() as usize;
    let integers: [(&str, fn(&RowInfo) -> i64); 4] = [
        ("corpus", |info| info.corpus.into()),
        ("position", |info| info.position.into()),
        ("sequence", |info| info.sequence.into()),
        ("tokens", |info| info.token.into()),
    ];
    let mut header = serde_json::Map::new();
    let mut end = 0;
    let mut add = |name: &str, dtype: &str, shape: &[usize], size: usize| {
        let start = end;
        end += shape.iter().product::<usize>() * size;
        header.insert(name.into(), json!({ "dtype": dtype, "shape": shape, "data_offsets": [start, end] }));
    };
    integers.iter().for_each(|(name, _)| add(name, "I64", &[count], 8));
    add("activations", "F32", &[count, 2, rows.width()], 4);
    add("group", "U8", &[count], 1);
    let mut header = serde_json::Value::Object(header).to_string();
    header.push_str(&" ".repeat(header.len().next_multiple_of(8) - header.len()));

    let temporary = path.with_extension("safetensors.tmp");
    let file = |error| Error::file(path, error);
    let mut out = BufWriter::new(File::create(&temporary).map_err(file)?);
    out.write_all(&(header.len() as u64).to_le_bytes())
        .and_then(|()| out.write_all(header.as_bytes()))
        .map_err(file)?;
    for (_, number) in integers {
        each_info(rows, |info| out.write_all(&number(info).to_le_bytes()).map_err(file))?;
    }
    let mut values = Vec::new();
    for start in (0..count).step_by(COPY) {
        values.resize((count - start).min(COPY) * 2 * rows.width(), 0.0);
        rows.read(start as u64, &mut values)?;
        values.iter().try_for_each(|value| out.write_all(&value.to_le_bytes())).map_err(file)?;
    }
    each_info(rows, |info| out.write_all(&[info.group as u8]).map_err(file))?;
    let out = out.into_inner().map_err(|error| file(error.into_error()))?;
    out.sync_all().and_then(|()| fs::rename(&temporary, path)).map_err(file)
}

fn each_info(rows: &dyn Rows, mut see: impl FnMut(&RowInfo) -> Result<()>) -> Result<()> {
    let mut infos = Vec::new();
    for start in (0..rows.count()).step_by(COPY) {
        infos.resize((rows.count() - start).min(COPY as u64) as usize, RowInfo::default());
        rows.info(start, &mut infos)?;
        infos.iter().try_for_each(&mut see)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ml::MemoryRows;

    fn rows() -> MemoryRows {
        let infos = (0..5000).map(|i| RowInfo {
            corpus: 1,
            sequence: i / 7,
            position: i % 7,
            token: 70_000 + i,
            group: if i % 2 == 0 { TokenGroup::Assistant } else { TokenGroup::User },
        });
        MemoryRows { width: 3, values: (0..30_000).map(|i| i as f32 / 3.0).collect(), infos: infos.collect() }
    }

    fn read(rows: &dyn Rows) -> (Vec<f32>, Vec<RowInfo>) {
        let mut values = vec![0.0; rows.count() as usize * 2 * rows.width()];
        let mut infos = vec![RowInfo::default(); rows.count() as usize];
        rows.read(0, &mut values).unwrap();
        rows.info(0, &mut infos).unwrap();
        (values, infos)
    }

    #[test]
    fn what_is_exported_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.safetensors");
        let rows = rows();
        export_tensors(&rows, &path).unwrap();
        let back = TensorRows::open(&path, "activations").unwrap();
        assert_eq!((back.count(), back.width()), (5000, 3));
        assert_eq!(read(&back), (rows.values.clone(), rows.infos.clone()));
        let bytes = fs::read(&path).unwrap();
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        assert_eq!(tensors.tensor("activations").unwrap().shape(), [5000, 2, 3]);
        assert_eq!(tensors.tensor("tokens").unwrap().dtype(), Dtype::I64);
    }

    #[test]
    fn training_takes_the_first_rows_and_validation_the_last() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.safetensors");
        export_tensors(&rows(), &path).unwrap();
        let all = TensorRows::open(&path, "activations").unwrap();
        let (train, validate) = split_tensors(&all, 4000, 100, None).unwrap();
        assert_eq!(read(&train).0, read(&all).0[..24_000]);
        assert_eq!(read(&validate).0, read(&all).0[29_400..]);
        assert_eq!(read(&validate).1[0].token, 74_900);
        assert_eq!(split_tensors(&all, 4000, 100, Some(10)).unwrap().0.count(), 10);
        let error = split_tensors(&all, 4950, 100, None).unwrap_err().to_string();
        assert!(error.contains("5000 rows") && error.contains("4900 tokens"), "{error}");
        assert!(split_tensors(&all, u64::MAX, 1, None).is_err());
        assert!(train.read(3999, &mut [0.0; 12]).is_err(), "the rows after it belong to nobody");
    }

    #[test]
    fn a_missing_tensor_is_named_with_those_there_are() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.safetensors");
        export_tensors(&rows(), &path).unwrap();
        let error = TensorRows::open(&path, "activation").unwrap_err().to_string();
        assert!(error.contains("no tensor `activation`") && error.contains("activations, corpus"), "{error}");
        let error = TensorRows::open(&path, "tokens").unwrap_err().to_string();
        assert!(error.contains("[5000], not [rows, 2, d]"), "{error}");
    }
}
