//! The header of a GGUF file: metadata and the list of tensors.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::cursor::Cursor;
use super::{TensorInfo, TensorType, Value};

/// Everything but the numbers of the tensors, which stay in the file.
#[derive(Clone, Debug)]
pub struct GgufFile {
    path: PathBuf,
    metadata: BTreeMap<String, Value>,
    tensors: BTreeMap<String, TensorInfo>,
}

/// Tensors begin at multiples of this, unless the file says otherwise.
const ALIGNMENT: u64 = 32;
/// Dimensions of a tensor.
const MOST_DIMENSIONS: u32 = 4;

impl GgufFile {
    /// True for the path of a file, as opposed to a model folder; what it holds is looked at by [`GgufFile::open`].
    pub fn is(path: &Path) -> bool {
        path.is_file()
    }

    /// Reads the header, and checks that the file is long enough for every tensor.
    ///
    /// # Errors
    /// A sentence that says what is wrong with the file.
    pub fn open(path: &Path) -> Result<Self, String> {
        let file = File::open(path).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => "there is no such file".to_string(),
            _ => format!("it cannot be read: {e}"),
        })?;
        let size = file.metadata().map_err(|e| format!("it cannot be read: {e}"))?.len();
        let mut cursor = Cursor::new(BufReader::with_capacity(1 << 16, file), size);
        let (tensors, pairs) = start(&mut cursor)?;
        let metadata = metadata(&mut cursor, pairs)?;
        if metadata.get("split.count").and_then(Value::whole).is_some_and(|n| n > 1) {
            return Err("it is one part of several; join them with llama.cpp's `llama-gguf-split --merge`".into());
        }
        let tensors = infos(&mut cursor, tensors, &metadata)?;
        Ok(Self { path: path.to_path_buf(), metadata, tensors })
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A value of the metadata.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.metadata.get(key)
    }

    /// All metadata, in the order of the keys.
    pub fn metadata(&self) -> &BTreeMap<String, Value> {
        &self.metadata
    }

    /// All tensors, in the order of their names.
    pub fn tensors(&self) -> &BTreeMap<String, TensorInfo> {
        &self.tensors
    }

    /// llama.cpp's name of the family, such as `gemma3`.
    ///
    /// # Errors
    /// When the file does not say it.
    pub fn architecture(&self) -> Result<&str, String> {
        self.get("general.architecture").and_then(Value::text).ok_or("it has no `general.architecture`".into())
    }

    /// Number of weights.
    pub fn parameters(&self) -> u64 {
        self.tensors.values().map(TensorInfo::count).sum()
    }

    /// The bytes of one tensor.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn bytes(&self, tensor: &TensorInfo) -> Result<Vec<u8>, String> {
        let read = || -> std::io::Result<Vec<u8>> {
            let mut file = File::open(&self.path)?;
            file.seek(SeekFrom::Start(tensor.start))?;
            let mut bytes = vec![0; tensor.bytes as usize];
            file.read_exact(&mut bytes)?;
            Ok(bytes)
        };
        read().map_err(|e| format!("tensor `{}` cannot be read: {e}", tensor.name))
    }

    /// The numbers of a small tensor that is stored as f32.
    ///
    /// # Errors
    /// When there is none of this name, or it is stored otherwise.
    pub fn f32s(&self, name: &str) -> Result<Vec<f32>, String> {
        let tensor = self.tensors.get(name).ok_or_else(|| format!("there is no tensor `{name}`"))?;
        if tensor.kind != TensorType::F32 {
            return Err(format!("tensor `{name}` is stored as {}, not as F32", tensor.kind.name()));
        }
        let bytes = self.bytes(tensor)?;
        Ok(bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
    }
}

/// Magic and version; gives the numbers of tensors and of metadata pairs.
fn start<R: Read>(cursor: &mut Cursor<R>) -> Result<(u64, u64), String> {
    if cursor.size < 4 || cursor.magic()? != *b"GGUF" {
        return Err("it is not a GGUF file: it does not start with `GGUF`".into());
    }
    match cursor.u32()? {
        2 | 3 => Ok((cursor.u64()?, cursor.u64()?)),
        version if (1..=3).contains(&version.swap_bytes()) => {
            Err("it was written for big-endian machines; convert the model anew".into())
        }
        version => Err(format!("it is GGUF version {version}; versions 2 and 3 are read")),
    }
}

fn metadata<R: Read>(cursor: &mut Cursor<R>, pairs: u64) -> Result<BTreeMap<String, Value>, String> {
    // A key has a length and a type at least.
    cursor.reserve(pairs, 12)?;
    let mut metadata = BTreeMap::new();
    for _ in 0..pairs {
        let key = cursor.text()?;
        let kind = cursor.u32()?;
        let value = cursor.value(kind, 0)?;
        if metadata.insert(key.clone(), value).is_some() {
            return Err(format!("it says `{key}` twice"));
        }
    }
    Ok(metadata)
}

fn infos<R: Read>(
    cursor: &mut Cursor<R>,
    count: u64,
    metadata: &BTreeMap<String, Value>,
) -> Result<BTreeMap<String, TensorInfo>, String> {
    // A name has a length, then come dimensions, type and offset.
    cursor.reserve(count, 24)?;
    let mut infos = Vec::new();
    for _ in 0..count {
        infos.push(info(cursor)?);
    }
    let alignment = metadata.get("general.alignment").map_or(Some(ALIGNMENT), Value::whole);
    let alignment = alignment.filter(|a| (1..=1 << 20).contains(a)).ok_or("its `general.alignment` is broken")?;
    let data = cursor.at.div_ceil(alignment) * alignment;
    let mut tensors = BTreeMap::new();
    for mut tensor in infos {
        let end = data.checked_add(tensor.start).and_then(|start| start.checked_add(tensor.bytes));
        match end {
            Some(end) if end <= cursor.size => tensor.start += data,
            Some(end) => {
                return Err(format!(
                    "it is cut off: tensor `{}` ends at byte {end}, the file at byte {}",
                    tensor.name, cursor.size
                ));
            }
            None => return Err(format!("it is broken: the place of tensor `{}`", tensor.name)),
        }
        if let Some(twice) = tensors.insert(tensor.name.clone(), tensor) {
            return Err(format!("it holds tensor `{}` twice", twice.name));
        }
    }
    Ok(tensors)
}

/// One entry; its start is still counted from where the tensors begin.
fn info<R: Read>(cursor: &mut Cursor<R>) -> Result<TensorInfo, String> {
    let name = cursor.text()?;
    let dimensions = cursor.u32()?;
    if dimensions > MOST_DIMENSIONS {
        return Err(format!("it is broken: tensor `{name}` has {dimensions} dimensions"));
    }
    let mut shape = (0..dimensions).map(|_| cursor.u64()).collect::<Result<Vec<_>, _>>()?;
    let kind = TensorType::of(cursor.u32()?).map_err(|why| format!("tensor `{name}`: {why}"))?;
    let start = cursor.u64()?;
    let row = shape.first().copied().unwrap_or(1);
    if row % kind.block() != 0 {
        return Err(format!(
            "it is broken: rows of {row} values of tensor `{name}` are no whole blocks of {}",
            kind.name()
        ));
    }
    shape.reverse();
    let count = shape.iter().try_fold(1u64, |a, b| a.checked_mul(*b));
    let bytes = count.and_then(|n| (n / kind.block()).checked_mul(kind.block_bytes()));
    let bytes = bytes.ok_or_else(|| format!("it is broken: tensor `{name}` has shape {shape:?}"))?;
    Ok(TensorInfo { name, shape, kind, start, bytes })
}
