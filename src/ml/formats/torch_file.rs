//! Files of `torch.save`: the zip archive of today, and the plain pickle of torch before 1.6.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Cursor;
use std::ops::Range;
use std::path::Path;

use half::{bf16, f16};
use memmap2::Mmap;

use super::named_tensors::NamedTensors;
use super::pickle::{Dtype, Node, NodeId, Pickle, TensorView};
use crate::ml::{Error, Result};

/// The low eight bytes of the number at the start of the older format.
const MAGIC: i64 = 0xa86a_20f9_469c_fc6cu64 as i64;
/// Values in one file, counted along every path that leads to them.
const MOST_VALUES: usize = 1 << 20;
/// Containers within one another.
const DEEPEST: usize = 64;
/// A tensor may repeat the numbers of its storage (stride 0) up to this count; a larger one is not believed.
const MOST_REPEATED: u64 = 1 << 20;

/// Named tensors and numbers of a `.pt` file. Names of nested dicts are joined by dots, items of lists are called by
/// their place, and a tensor that stands alone is called ``.
#[derive(Debug)]
pub struct TorchFile {
    path: String,
    map: Mmap,
    /// By name in the archive.
    storages: BTreeMap<String, Range<usize>>,
    values: BTreeMap<String, Value>,
}

#[derive(Clone, Debug)]
enum Value {
    Tensor(TensorView),
    Whole(i64),
    Real(f64),
}

impl TorchFile {
    /// Maps a file and reads what it names; numbers are read when they are asked for.
    ///
    /// # Errors
    /// It is no file of torch, it is damaged, or it would run something.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|source| Error::file(path, source))?;
        // SAFETY: a file that somebody changes while it is read gives wrong numbers, as it would with any reader.
        let map = unsafe { Mmap::map(&file) }.map_err(|source| Error::file(path, source))?;
        let path = path.display().to_string();
        let refuse = |problem: String| Error::invalid("read torch file", format!("{path}: {problem}"));
        let (pickle, storages) = if map.starts_with(b"PK") { archive(&map) } else { older(&map) }.map_err(refuse)?;
        let mut values = BTreeMap::new();
        let mut visits = 0;
        collect(&pickle, pickle.root, String::new(), 0, &mut visits, &mut values).map_err(refuse)?;
        Ok(TorchFile { path, map, storages, values })
    }

    /// True when the file holds one tensor and nothing else.
    pub fn is_bare(&self) -> bool {
        self.values.len() == 1 && self.values.contains_key("")
    }

    /// Number format of a tensor.
    pub fn dtype(&self, name: &str) -> Option<Dtype> {
        match self.values.get(name)? {
            Value::Tensor(view) => Some(view.dtype),
            Value::Whole(_) => Some(Dtype::I64),
            Value::Real(_) => Some(Dtype::F64),
        }
    }

    fn numbers<T>(&self, name: &str, view: &TensorView, read: impl Fn(&[u8]) -> T) -> Result<Vec<T>> {
        let bytes = self.storages.get(&view.storage).and_then(|range| self.map.get(range.clone()));
        let bytes = bytes.ok_or_else(|| self.bad(&format!("the numbers of `{name}` are not in it")))?;
        gather(bytes, view, read).map_err(|problem| self.bad(&format!("`{name}` {problem}")))
    }
}

impl NamedTensors for TorchFile {
    fn path(&self) -> &str {
        &self.path
    }

    fn names(&self) -> Vec<String> {
        self.values.keys().cloned().collect()
    }

    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        match self.values.get(name)? {
            Value::Tensor(view) => view.shape.iter().map(|&n| usize::try_from(n).ok()).collect(),
            _ => Some(Vec::new()),
        }
    }

    fn floats(&self, name: &str) -> Result<Option<(Vec<usize>, Vec<f32>)>> {
        let view = match self.values.get(name) {
            None => return Ok(None),
            Some(Value::Real(value)) => return Ok(Some((Vec::new(), vec![*value as f32]))),
            Some(Value::Whole(value)) => return Ok(Some((Vec::new(), vec![*value as f32]))),
            Some(Value::Tensor(view)) => view,
        };
        let values = match view.dtype {
            Dtype::F32 => self.numbers(name, view, |b| f32::from_le_bytes(array(b)))?,
            Dtype::F64 => self.numbers(name, view, |b| f64::from_le_bytes(array(b)) as f32)?,
            Dtype::F16 => self.numbers(name, view, |b| f16::from_le_bytes(array(b)).to_f32())?,
            Dtype::Bf16 => self.numbers(name, view, |b| bf16::from_le_bytes(array(b)).to_f32())?,
            other => return Err(self.bad(&format!("`{name}` is {}, not a float tensor", other.name()))),
        };
        Ok(Some((self.shape(name).unwrap_or_default(), values)))
    }

    fn integers(&self, name: &str) -> Result<Option<Vec<i64>>> {
        let view = match self.values.get(name) {
            None => return Ok(None),
            Some(Value::Whole(value)) => return Ok(Some(vec![*value])),
            Some(Value::Real(_)) => return Err(self.bad(&format!("`{name}` is a float, not an integer"))),
            Some(Value::Tensor(view)) => view,
        };
        Ok(Some(match view.dtype {
            Dtype::I64 => self.numbers(name, view, |b| i64::from_le_bytes(array(b)))?,
            Dtype::I32 => self.numbers(name, view, |b| i64::from(i32::from_le_bytes(array(b))))?,
            Dtype::I16 => self.numbers(name, view, |b| i64::from(i16::from_le_bytes(array(b))))?,
            Dtype::I8 => self.numbers(name, view, |b| i64::from(b[0] as i8))?,
            Dtype::U8 | Dtype::Bool => self.numbers(name, view, |b| i64::from(b[0]))?,
            other => return Err(self.bad(&format!("`{name}` is {}, not an integer tensor", other.name()))),
        }))
    }
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(bytes);
    out
}

/// The numbers of a view in row-major order.
fn gather<T>(bytes: &[u8], view: &TensorView, read: impl Fn(&[u8]) -> T) -> std::result::Result<Vec<T>, String> {
    let size = view.dtype.size();
    let held = (bytes.len() / size) as u64;
    let count = view.shape.iter().try_fold(1u64, |product, &n| product.checked_mul(n));
    let count = count.filter(|&count| count <= held.max(MOST_REPEATED));
    let count = count.ok_or_else(|| format!("has the shape {:?}, more than the file holds", view.shape))?;
    if count == 0 {
        return Ok(Vec::new());
    }
    let last = view
        .shape
        .iter()
        .zip(&view.strides)
        .try_fold(view.offset, |sum, (&n, &stride)| sum.checked_add((n - 1).checked_mul(stride)?));
    if last.is_none_or(|last| last >= held) {
        return Err(format!("reaches beyond its storage of {held} numbers"));
    }
    let number = |index: u64| read(&bytes[index as usize * size..(index as usize + 1) * size]);
    if is_contiguous(view) {
        return Ok((view.offset..view.offset + count).map(number).collect());
    }
    let mut values = Vec::with_capacity(count as usize);
    let mut place = vec![0u64; view.shape.len()];
    let mut index = view.offset;
    loop {
        values.push(number(index));
        let mut axis = view.shape.len();
        loop {
            if axis == 0 {
                return Ok(values);
            }
            axis -= 1;
            place[axis] += 1;
            index = index.wrapping_add(view.strides[axis]);
            if place[axis] < view.shape[axis] {
                break;
            }
            index = index.wrapping_sub(place[axis].wrapping_mul(view.strides[axis]));
            place[axis] = 0;
        }
    }
}

fn is_contiguous(view: &TensorView) -> bool {
    let mut expected = 1u64;
    for (&n, &stride) in view.shape.iter().zip(&view.strides).rev() {
        if n != 1 && stride != expected {
            return false;
        }
        expected = expected.saturating_mul(n);
    }
    true
}

type Read = std::result::Result<(Pickle, BTreeMap<String, Range<usize>>), String>;

/// `archive/data.pkl` and `archive/data/0`, .. in a zip file whose entries are not compressed.
fn archive(map: &[u8]) -> Read {
    let broken = |error: zip::result::ZipError| format!("its archive is damaged: {error}");
    let mut archive = zip::ZipArchive::new(Cursor::new(map)).map_err(broken)?;
    let mut storages = BTreeMap::new();
    let mut program = None;
    for index in 0..archive.len() {
        let entry = archive.by_index_raw(index).map_err(broken)?;
        let name = entry.name().map_err(broken)?.to_string();
        let Some((_, tail)) = name.split_once('/') else { continue };
        let wanted = matches!(tail, "data.pkl" | "byteorder") || tail.starts_with("data/");
        if !wanted {
            continue;
        }
        if entry.compression() != zip::CompressionMethod::Stored || entry.encrypted() {
            return Err(format!("`{name}` in it is compressed, which torch does not do"));
        }
        let start = entry.data_start().ok_or("its archive is damaged")?;
        let end = start.checked_add(entry.compressed_size()).filter(|&end| end <= map.len() as u64);
        let range = start as usize..end.ok_or_else(|| format!("`{name}` in it is cut off"))? as usize;
        match tail.strip_prefix("data/") {
            Some(key) => drop(storages.insert(key.to_string(), range)),
            None if tail == "data.pkl" => program = Some(range),
            None if map[range].trim_ascii() == b"big" => return Err("it was written on a big-endian machine".into()),
            None => {}
        }
    }
    let program = program.ok_or("it is a zip archive without the `data.pkl` of torch")?;
    Ok((Pickle::read(&map[program])?, storages))
}

/// A magic number, a version, facts of the machine, the pickle, the names of the storages, and the storages, each with its
/// length in front.
fn older(map: &[u8]) -> Read {
    let mut at = 0;
    let mut next = || -> std::result::Result<Pickle, String> {
        let pickle = Pickle::read(&map[at..])?;
        at += pickle.length;
        Ok(pickle)
    };
    let magic = next().map_err(|_| "it is no file of torch.save".to_string())?;
    if *magic.node(magic.root) != Node::Whole(MAGIC) {
        return Err("it is no file of torch.save".into());
    }
    next()?;
    let machine = next()?;
    if let Node::Dict(facts) = machine.node(machine.root) {
        let is = |id: NodeId, text: &str| matches!(machine.node(id), Node::Text(word) if word == text);
        if facts.iter().any(|&(key, value)| is(key, "little_endian") && *machine.node(value) == Node::Truth(false)) {
            return Err("it was written on a big-endian machine".into());
        }
    }
    let pickle = next()?;
    let keys = next()?;
    let sizes: BTreeMap<&str, usize> = pickle
        .nodes
        .iter()
        .filter_map(|node| match node {
            Node::Storage { key, dtype, .. } => Some((key.as_str(), dtype.size())),
            _ => None,
        })
        .collect();
    let Node::List(names) = keys.node(keys.root) else { return Err("it does not name its storages".into()) };
    let mut storages = BTreeMap::new();
    for &name in names {
        let Node::Text(name) = keys.node(name) else { return Err("it does not name its storages".into()) };
        let cut = || format!("it ends within the storage {name}");
        let length = map.get(at..).and_then(|rest| rest.first_chunk::<8>()).ok_or_else(cut)?;
        let length = usize::try_from(u64::from_le_bytes(*length)).map_err(|_| cut())?;
        let size = sizes.get(name.as_str()).copied().ok_or("it names a storage that no tensor uses")?;
        let start = at + 8;
        let end = length.checked_mul(size).and_then(|bytes| start.checked_add(bytes)).filter(|&end| end <= map.len());
        at = end.ok_or_else(cut)?;
        storages.insert(name.clone(), start..at);
    }
    Ok((pickle, storages))
}

/// Tensors and numbers below a node, by their names joined with dots.
fn collect(
    pickle: &Pickle,
    id: NodeId,
    name: String,
    depth: usize,
    visits: &mut usize,
    values: &mut BTreeMap<String, Value>,
) -> std::result::Result<(), String> {
    *visits += 1;
    if *visits > MOST_VALUES || depth > DEEPEST {
        return Err("it holds more values than a file of tensors does".into());
    }
    let join = |tail: &str| if name.is_empty() { tail.to_string() } else { format!("{name}.{tail}") };
    match pickle.node(id) {
        Node::Tensor(view) => drop(values.insert(name, Value::Tensor(view.clone()))),
        Node::Whole(value) => drop(values.insert(name, Value::Whole(*value))),
        Node::Truth(value) => drop(values.insert(name, Value::Whole(i64::from(*value)))),
        Node::Real(value) => drop(values.insert(name, Value::Real(*value))),
        Node::List(items) | Node::Tuple(items) => {
            for (place, &item) in items.iter().enumerate() {
                collect(pickle, item, join(&place.to_string()), depth + 1, visits, values)?;
            }
        }
        Node::Dict(items) => {
            for &(key, value) in items {
                let word = match pickle.node(key) {
                    Node::Text(text) => text.clone(),
                    Node::Whole(number) => number.to_string(),
                    _ => continue,
                };
                collect(pickle, value, join(&word), depth + 1, visits, values)?;
            }
        }
        _ => {}
    }
    Ok(())
}
