//! Named tensors in a safetensors file.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::path::Path;

use safetensors::{Dtype, SafeTensors, View};

use crate::ml::{Error, Result};

/// A tensor to write: shape and little-endian bytes.
pub struct Tensor<'a> {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Cow<'a, [u8]>,
}

impl<'a> Tensor<'a> {
    /// f32.
    pub fn f32(shape: &[usize], values: &'a [f32]) -> Self {
        debug_assert_eq!(shape.iter().product::<usize>(), values.len());
        let bytes = if cfg!(target_endian = "little") {
            // SAFETY: any f32 is four bytes, and the lifetime is kept.
            Cow::Borrowed(unsafe { std::slice::from_raw_parts(values.as_ptr().cast::<u8>(), 4 * values.len()) })
        } else {
            Cow::Owned(values.iter().flat_map(|v| v.to_le_bytes()).collect())
        };
        Tensor { dtype: Dtype::F32, shape: shape.to_vec(), bytes }
    }

    /// i64.
    pub fn i64(shape: &[usize], values: &[i64]) -> Self {
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        Tensor { dtype: Dtype::I64, shape: shape.to_vec(), bytes: Cow::Owned(bytes) }
    }

    /// u32.
    pub fn u32(shape: &[usize], values: &[u32]) -> Self {
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        Tensor { dtype: Dtype::U32, shape: shape.to_vec(), bytes: Cow::Owned(bytes) }
    }

    /// One i32, shape `[]`.
    pub fn i32_scalar(value: i32) -> Self {
        Tensor { dtype: Dtype::I32, shape: Vec::new(), bytes: Cow::Owned(value.to_le_bytes().to_vec()) }
    }

    /// One yes or no, shape `[]`.
    pub fn truth_scalar(value: bool) -> Self {
        Tensor { dtype: Dtype::BOOL, shape: Vec::new(), bytes: Cow::Owned(vec![u8::from(value)]) }
    }

    /// One f32, shape `[]`.
    pub fn f32_scalar(value: f32) -> Self {
        Tensor { dtype: Dtype::F32, shape: Vec::new(), bytes: Cow::Owned(value.to_le_bytes().to_vec()) }
    }
}

impl View for &Tensor<'_> {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.bytes)
    }

    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}

/// Writes the tensors, with one string of metadata: to a temporary file, synced, then renamed, so that a reader sees
/// the old file or the whole new one.
pub fn write(path: &Path, tensors: &BTreeMap<&str, Tensor>, note: Option<&str>) -> Result<()> {
    let temporary = temporary(path);
    let metadata = note.map(|note| HashMap::from([("xd".to_string(), note.to_string())]));
    safetensors::serialize_to_file(tensors, metadata, &temporary)?;
    commit(&temporary, path)
}

/// Writes a text the same way.
pub fn write_text(path: &Path, text: &str) -> Result<()> {
    write_bytes(path, text.as_bytes())
}

/// Writes bytes the same way.
pub fn write_bytes(path: &Path, bytes: &[u8]) -> Result<()> {
    let temporary = temporary(path);
    std::fs::write(&temporary, bytes).map_err(|source| Error::file(&temporary, source))?;
    commit(&temporary, path)
}

fn temporary(path: &Path) -> std::path::PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".new");
    path.with_file_name(name)
}

fn commit(temporary: &Path, path: &Path) -> Result<()> {
    let file = |source| Error::file(path, source);
    File::open(temporary).and_then(|written| written.sync_all()).map_err(file)?;
    std::fs::rename(temporary, path).map_err(file)?;
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(file)?;
    }
    Ok(())
}

/// Says how a tensor's shape differs from what is expected (`None` in it: any size).
pub fn expect_shape(name: &str, found: &[usize], shape: &[Option<usize>]) -> std::result::Result<(), String> {
    if found.len() == shape.len() && found.iter().zip(shape).all(|(f, s)| s.is_none_or(|s| s == *f)) {
        return Ok(());
    }
    let wanted: Vec<String> = shape.iter().map(|s| s.map_or("?".into(), |s| s.to_string())).collect();
    Err(format!("`{name}` has shape {found:?}, not [{}]", wanted.join(", ")))
}

/// A safetensors file in memory.
pub struct TensorFile {
    path: String,
    map: memmap2::Mmap,
}

impl TensorFile {
    /// Maps a file.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|source| Error::file(path, source))?;
        // SAFETY: store entries and weight files are not written while they are read.
        let map = unsafe { memmap2::Mmap::map(&file) }.map_err(|source| Error::file(path, source))?;
        Ok(TensorFile { path: path.display().to_string(), map })
    }

    /// The file, as it was opened.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Its tensors.
    pub fn tensors(&self) -> Result<SafeTensors<'_>> {
        SafeTensors::deserialize(&self.map).map_err(|error| self.bad(&error.to_string()))
    }

    /// The string of metadata that [`write`] was given.
    pub fn note(&self) -> Result<Option<String>> {
        let (_, metadata) = SafeTensors::read_metadata(&self.map).map_err(|error| self.bad(&error.to_string()))?;
        Ok(metadata.metadata().as_ref().and_then(|map| map.get("xd").cloned()))
    }

    /// An error about this file.
    pub fn bad(&self, problem: &str) -> Error {
        Error::invalid("read weights", format!("{}: {problem}", self.path))
    }

    /// Shape and numbers of a float tensor of any width as f32; `None` when it is not there.
    pub fn floats(&self, name: &str) -> Result<Option<(Vec<usize>, Vec<f32>)>> {
        let tensors = self.tensors()?;
        let Ok(view) = tensors.tensor(name) else { return Ok(None) };
        let bytes = view.data();
        let values = match view.dtype() {
            Dtype::F32 => bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(),
            Dtype::F64 => {
                bytes.chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().unwrap_or_default()) as f32).collect()
            }
            Dtype::BF16 => bytes.chunks_exact(2).map(|b| half::bf16::from_le_bytes([b[0], b[1]]).to_f32()).collect(),
            Dtype::F16 => bytes.chunks_exact(2).map(|b| half::f16::from_le_bytes([b[0], b[1]]).to_f32()).collect(),
            other => return Err(self.bad(&format!("`{name}` is {other:?}, not a float tensor"))),
        };
        Ok(Some((view.shape().to_vec(), values)))
    }

    /// Integers of an i32 or i64 tensor; `None` when it is not there.
    pub fn integers(&self, name: &str) -> Result<Option<Vec<i64>>> {
        let tensors = self.tensors()?;
        let Ok(view) = tensors.tensor(name) else { return Ok(None) };
        let bytes = view.data();
        match view.dtype() {
            Dtype::I64 => {
                Ok(Some(bytes.chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().unwrap_or_default())).collect()))
            }
            Dtype::U32 => {
                Ok(Some(bytes.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]) as i64).collect()))
            }
            Dtype::I32 => {
                Ok(Some(bytes.chunks_exact(4).map(|b| i32::from_le_bytes([b[0], b[1], b[2], b[3]]) as i64).collect()))
            }
            other => Err(self.bad(&format!("`{name}` is {other:?}, not an integer tensor"))),
        }
    }

    /// A float tensor that must be there with this shape (`None` in the shape: any size).
    pub fn matrix(&self, name: &str, shape: &[Option<usize>]) -> Result<(Vec<usize>, Vec<f32>)> {
        let (found, values) = self.floats(name)?.ok_or_else(|| self.bad(&format!("there is no `{name}`")))?;
        expect_shape(name, &found, shape).map_err(|problem| self.bad(&problem))?;
        Ok((found, values))
    }
}
