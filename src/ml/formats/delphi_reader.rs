//! Latent activations in the cache of delphi, counted a latent.

use std::path::{Path, PathBuf};

use half::{bf16, f16};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::Value;

use crate::ml::crosscoder::tensor_file::TensorFile;
use crate::ml::{Error, Result};

/// The cache of one module, looked at and not yet read.
#[derive(Clone, Debug)]
pub struct DelphiCache {
    folder: PathBuf,
    /// First and last latent of each file, ascending and without a gap.
    splits: Vec<(usize, usize, PathBuf)>,
    config: Value,
}

/// What a cache holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DelphiCounts {
    /// `[D]`.
    pub latents: Vec<LatentCount>,
    /// Tokens that were read.
    pub tokens: u64,
    /// The files hold no `tokens`: their number is what config.json asks for.
    pub asked: bool,
    /// Activations below 0, which are not counted.
    pub negative: u64,
}

/// Of one latent, over the tokens on which it is over 0.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LatentCount {
    pub active: u64,
    pub largest: f32,
    pub sum: f64,
}

/// True for a folder of splits, and for one that holds such folders.
pub fn is_cache(folder: &Path) -> bool {
    splits(folder).is_ok_and(|found| !found.is_empty()) || modules(folder).is_ok_and(|found| !found.is_empty())
}

impl DelphiCache {
    /// Looks at the folder of a module, or at one that holds a single module.
    ///
    /// # Errors
    /// There is no cache, there are several, or one of its files is missing.
    pub fn open(folder: &Path) -> Result<Self> {
        let mut found = splits(folder)?;
        let mut folder = folder.to_path_buf();
        if found.is_empty() {
            let inside = modules(&folder)?;
            match &inside[..] {
                [one] => folder = one.clone(),
                [] => return Err(bad(&folder, "it holds no `{first}_{last}.safetensors`, as a cache of delphi does")),
                several => {
                    let names: Vec<String> =
                        several.iter().filter_map(|p| Some(p.file_name()?.to_string_lossy().to_string())).collect();
                    return Err(bad(&folder, &format!("it holds several modules: name one of {}", names.join(", "))));
                }
            }
            found = splits(&folder)?;
        }
        let mut next = 0;
        for (first, last, path) in &found {
            if *first != next || last < first {
                return Err(bad(
                    path,
                    &format!("latents from {next} on are expected here: a file is missing or left over"),
                ));
            }
            next = last + 1;
        }
        let path = folder.join("config.json");
        let config = match std::fs::read_to_string(&path) {
            Ok(text) => serde_json::from_str(&text).map_err(|error| bad(&path, &error.to_string()))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Value::Null,
            Err(error) => return Err(Error::file(&path, error)),
        };
        Ok(DelphiCache { folder, splits: found, config })
    }

    /// Reads every file, one after the other.
    ///
    /// # Errors
    /// A file is damaged, or the number of tokens is not known.
    pub fn count(&self) -> Result<DelphiCounts> {
        let latents = self.splits.last().map_or(0, |(_, last, _)| last + 1);
        let mut counts = DelphiCounts { latents: vec![LatentCount::default(); latents], ..DelphiCounts::default() };
        let mut grid: Option<[usize; 2]> = None;
        for (place, (first, last, path)) in self.splits.iter().enumerate() {
            let file = TensorFile::open(path)?;
            let tensors = file.tensors()?;
            let tokens = tensors.tensor("tokens").ok().map(|tokens| tokens.shape().to_vec());
            let own = match tokens.as_deref() {
                None => None,
                Some(&[sequences, context]) => Some([sequences, context]),
                Some(shape) => return Err(file.bad(&format!("`tokens` has shape {shape:?}, not [sequences, T]"))),
            };
            if place > 0 && own != grid {
                return Err(file.bad("its `tokens` are of another shape than those of the file before"));
            }
            grid = own;
            let of = |name: &str| tensors.tensor(name).map_err(|_| file.bad(&format!("there is no `{name}`")));
            let part = &mut counts.latents[*first..=*last];
            counts.negative += split(&file, &of("locations")?, &of("activations")?, grid, part)?;
        }
        (counts.tokens, counts.asked) = match (self.config["n_rows"].as_u64(), grid) {
            // Places of a sequence that xd stored no row for are no tokens that it read.
            (Some(rows), Some([sequences, context])) if rows > (sequences * context) as u64 => {
                return Err(bad(
                    &self.folder,
                    &format!(
                        "config.json says `n_rows` = {rows}, and there are {sequences} sequences of {context} tokens"
                    ),
                ));
            }
            (Some(rows), _) => (rows, false),
            (None, Some([sequences, context])) => ((sequences * context) as u64, false),
            (None, None) => (self.asked()?, true),
        };
        let most = counts.latents.iter().map(|latent| latent.active).max().unwrap_or(0);
        if most > counts.tokens {
            return Err(bad(&self.folder, &format!("a latent is active {most} times on {} tokens", counts.tokens)));
        }
        Ok(counts)
    }

    /// delphi reads whole batches of whole sequences: `n_tokens` rounded down to them.
    fn asked(&self) -> Result<u64> {
        let number =
            |keys: &[&str]| keys.iter().find_map(|key| self.config[*key].as_u64()).filter(|number| *number > 0);
        match (number(&["n_tokens"]), number(&["cache_ctx_len", "ctx_len"]), number(&["batch_size"])) {
            (Some(tokens), Some(context), Some(batch)) => Ok(tokens / context / batch * batch * context),
            _ => Err(bad(
                &self.folder,
                "its files hold no `tokens`, and config.json does not state `n_tokens`, `cache_ctx_len` and `batch_size`: how many tokens were read \
                 is not known",
            )),
        }
    }
}

/// Counts one file; gives the number of activations below 0.
fn split(
    file: &TensorFile,
    locations: &TensorView<'_>,
    activations: &TensorView<'_>,
    grid: Option<[usize; 2]>,
    latents: &mut [LatentCount],
) -> Result<u64> {
    let (places, values) = (locations.shape(), activations.shape());
    let &[count, 3] = places else { return Err(file.bad(&format!("`locations` has shape {places:?}, not [n, 3]"))) };
    if *values != [count] {
        return Err(file.bad(&format!("`activations` has shape {values:?}, not [{count}]")));
    }
    let whole = whole(locations.dtype())
        .ok_or_else(|| file.bad(&format!("`locations` is {:?}, not an integer tensor", locations.dtype())))?;
    let real = real(activations.dtype())
        .ok_or_else(|| file.bad(&format!("`activations` is {:?}, not a float tensor", activations.dtype())))?;
    let width = locations.data().len() / (3 * count).max(1);
    let size = activations.data().len() / count.max(1);
    let mut negative = 0;
    for index in 0..count {
        let axis = |axis: usize| whole(&locations.data()[(3 * index + axis) * width..][..width]);
        let (sequence, position, latent) = (axis(0), axis(1), axis(2));
        let value = real(&activations.data()[index * size..][..size]);
        if grid.is_some_and(|[sequences, context]| sequence >= sequences as u64 || position >= context as u64) {
            return Err(file.bad(&format!(
                "activation {index} is at sequence {sequence}, position {position}: outside of `tokens`"
            )));
        }
        if !value.is_finite() {
            return Err(file.bad(&format!(
                "activation {index} is {value}; in half precision, as delphi writes, numbers end at 65504: scale the activations down"
            )));
        }
        let latents_here = latents.len();
        let found = usize::try_from(latent).ok().and_then(|latent| latents.get_mut(latent));
        let Some(found) = found else {
            return Err(file.bad(&format!("activation {index} is of latent {latent} of {latents_here} in this file")));
        };
        if value > 0.0 {
            found.active += 1;
            found.largest = found.largest.max(value);
            found.sum += f64::from(value);
        } else if value < 0.0 {
            negative += 1;
        }
    }
    Ok(negative)
}

/// Reads a number that cannot be below 0; one that is comes out too large for any place.
fn whole(dtype: Dtype) -> Option<fn(&[u8]) -> u64> {
    Some(match dtype {
        Dtype::U8 => |b| u64::from(b[0]),
        Dtype::U16 => |b| u64::from(u16::from_le_bytes([b[0], b[1]])),
        Dtype::U32 => |b| u64::from(u32::from_le_bytes([b[0], b[1], b[2], b[3]])),
        Dtype::I32 => |b| i64::from(i32::from_le_bytes([b[0], b[1], b[2], b[3]])) as u64,
        Dtype::I64 | Dtype::U64 => |b| u64::from_le_bytes(b.try_into().unwrap_or([0xff; 8])),
        _ => return None,
    })
}

fn real(dtype: Dtype) -> Option<fn(&[u8]) -> f32> {
    Some(match dtype {
        Dtype::F16 => |b| f16::from_le_bytes([b[0], b[1]]).to_f32(),
        Dtype::BF16 => |b| bf16::from_le_bytes([b[0], b[1]]).to_f32(),
        Dtype::F32 => |b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]),
        _ => return None,
    })
}

/// `{first}_{last}.safetensors` of a folder, ascending.
fn splits(folder: &Path) -> Result<Vec<(usize, usize, PathBuf)>> {
    let numbers = |path: &Path| {
        let (first, last) = path.file_stem()?.to_str()?.split_once('_')?;
        let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten();
        Some((digits(first)?, digits(last)?))
    };
    let mut found = Vec::new();
    for path in entries(folder)? {
        if path.extension().is_some_and(|ending| ending == "safetensors")
            && let Some((first, last)) = numbers(&path)
        {
            found.push((first, last, path));
        }
    }
    found.sort();
    Ok(found)
}

/// Folders with splits.
fn modules(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found: Vec<PathBuf> = entries(folder)?
        .into_iter()
        .filter(|path| path.is_dir() && splits(path).is_ok_and(|s| !s.is_empty()))
        .collect();
    found.sort();
    Ok(found)
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).map_err(|error| Error::file(folder, error))?;
    entries.map(|entry| entry.map(|entry| entry.path()).map_err(|error| Error::file(folder, error))).collect()
}

fn bad(path: &Path, problem: &str) -> Error {
    Error::invalid("read latent cache", format!("{}: {problem}", path.display()))
}
