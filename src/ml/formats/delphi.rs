//! Latent activations in the cache of delphi, for automatic interpretation.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::slow_crosscoder::SlowCrosscoder;
use crate::ml::analysis::examples::{SequenceId, Tokens};
use crate::ml::crosscoder::Crosscoder;
use crate::ml::crosscoder::tensor_file::{self, Tensor, TensorFile};
use crate::ml::{Error, Result, RowInfo, Rows, Watch};

/// Latents of one file.
const SPLIT: usize = 16_384;
/// delphi keeps what is larger than this.
const SMALLEST: f32 = 1e-5;
const NAME: &str = "export for delphi";
/// The folder of the crosscoder, which delphi calls a module.
const MODULE: &str = "crosscoder";

/// Where rows lie in the documents, one behind the other in rows of `context` tokens.
struct Places {
    infos: Vec<RowInfo>,
    /// Of each sequence, where it begins and the positions that have a token, ascending.
    sequences: BTreeMap<SequenceId, (usize, Vec<u32>)>,
    /// `[sequences, T]`, whole rows.
    tokens: Vec<i64>,
    /// T, the longest sequence.
    context: usize,
    /// Tokens that filled no row.
    dropped: usize,
}

impl Places {
    /// Documents end behind their last row: what comes after it was not read. Tokens that nobody knows are left out, so that every
    /// token of the cache is text.
    fn of(rows: &dyn Rows, texts: &Tokens) -> Result<Self> {
        let mut infos = Vec::new();
        rows.origins(&mut |some| infos.extend_from_slice(some))?;
        let mut ends: BTreeMap<SequenceId, usize> = BTreeMap::new();
        for info in &infos {
            let end = ends.entry((info.corpus, info.sequence)).or_default();
            *end = (*end).max(info.position as usize + 1);
        }
        let context = ends.values().copied().max().unwrap_or(0);
        if context <= 1 {
            let problem = "these rows have no text: delphi shows latents in their sentences";
            return Err(Error::invalid(NAME, problem));
        }
        let mut places = Places { infos, sequences: BTreeMap::new(), tokens: Vec::new(), context, dropped: 0 };
        for (id, end) in ends {
            let ids = texts.get(&id).map(Vec::as_slice).unwrap_or_default();
            let known = ids.iter().take(end).enumerate().filter_map(|(at, id)| Some((at as u32, (*id)?)));
            let (positions, ids): (Vec<u32>, Vec<u32>) = known.unzip();
            places.sequences.insert(id, (places.tokens.len(), positions));
            places.tokens.extend(ids.into_iter().map(i64::from));
        }
        for info in &places.infos {
            if places.index(info).is_none_or(|index| places.tokens[index] != i64::from(info.token)) {
                let problem = format!(
                    "document {} of portion {} has another token at position {} than when it was harvested: the text or its tokenizer has \
                     changed; harvest it again",
                    info.sequence, info.corpus, info.position
                );
                return Err(Error::invalid(NAME, problem));
            }
        }
        places.dropped = places.tokens.len() % context;
        places.tokens.truncate(places.tokens.len() - places.dropped);
        Ok(places)
    }

    /// Number of its token, counted over all documents.
    fn index(&self, info: &RowInfo) -> Option<usize> {
        let (start, positions) = self.sequences.get(&(info.corpus, info.sequence))?;
        Some(start + positions.binary_search(&info.position).ok()?)
    }

    /// Row and column in `tokens`; `None` in the last row that is not full.
    fn place(&self, info: &RowInfo) -> Option<(u32, u32)> {
        let index = self.index(info).filter(|index| *index < self.tokens.len())?;
        Some(((index / self.context) as u32, (index % self.context) as u32))
    }

    fn count(&self) -> usize {
        self.tokens.len() / self.context
    }
}

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    pub activations: usize,
    /// Rows of activations whose tokens are in the cache.
    pub rows: usize,
    /// Tokens at the end that filled no row of the cache.
    pub dropped: usize,
}

/// Writes `out/crosscoder/{first}_{last}.safetensors` with `locations` [n, 3] (row, column, latent - first), `activations` [n]
/// (f_j S_j) and `tokens` [sequences, T], and `config.json`.
///
/// The documents lie one behind the other in `tokens`, with the tokens that have no activations (`skip`, `exclude`) as `texts` has them:
/// delphi cuts windows out of the flat list of tokens and draws texts on which a latent is silent from all of them, so filling would
/// be scored as text. `n_rows` of config.json counts the tokens with activations.
///
/// # Errors
/// The rows have no text, another one than `texts`, or cannot be read, or files cannot be written.
pub fn write_delphi(
    crosscoder: &Crosscoder,
    rows: &dyn Rows,
    texts: &Tokens,
    out: &Path,
    model: &str,
    watch: &dyn Watch,
) -> Result<Written> {
    let places = Places::of(rows, texts)?;
    let folder = out.join(MODULE);
    std::fs::create_dir_all(&folder).map_err(|error| Error::file(&folder, error))?;
    // (latent, sequence, position, activation).
    let mut found: Vec<(u32, u32, u32, f32)> = Vec::new();
    let mut counted = 0;
    let norms = crosscoder.code_norms();
    let mut x = Vec::new();
    let mut encoder = crosscoder.encoder();
    let step = crosscoder.rows_at_a_time();
    for start in (0..places.infos.len()).step_by(step) {
        if watch.stop() {
            return Err(Error::Interrupted);
        }
        let infos = &places.infos[start..places.infos.len().min(start + step)];
        x.resize(infos.len() * 2 * crosscoder.width, 0.0);
        rows.read(start as u64, &mut x)?;
        let code = encoder.encode(&x);
        for (i, info) in infos.iter().enumerate() {
            let Some((row, column)) = places.place(info) else { continue };
            counted += 1;
            let (latents, values) = code.row(i);
            let scaled = latents.iter().zip(values).map(|(&j, value)| (j, value * norms[j as usize]));
            let kept = scaled.filter(|(_, value)| *value > SMALLEST);
            found.extend(kept.map(|(j, value)| (j, row, column, value)));
        }
    }
    found.sort_unstable_by_key(|&(latent, sequence, position, _)| (latent, sequence, position));
    for first in (0..crosscoder.latents).step_by(SPLIT) {
        let last = (first + SPLIT).min(crosscoder.latents) - 1;
        let from = found.partition_point(|entry| (entry.0 as usize) < first);
        let to = found.partition_point(|entry| entry.0 as usize <= last);
        let part = &found[from..to];
        let locations: Vec<u32> = part.iter().flat_map(|&(j, s, p, _)| [s, p, j - first as u32]).collect();
        let activations: Vec<f32> = part.iter().map(|entry| entry.3).collect();
        let tensors = BTreeMap::from([
            ("locations", Tensor::u32(&[part.len(), 3], &locations)),
            ("activations", Tensor::f32(&[part.len()], &activations)),
            ("tokens", Tensor::i64(&[places.count(), places.context], &places.tokens)),
        ]);
        tensor_file::write(&folder.join(format!("{first}_{last}.safetensors")), &tensors, None)?;
    }
    let config = json!({
        "model_name": model,
        // The one name is that of 2024, the other that of today.
        "ctx_len": places.context,
        "cache_ctx_len": places.context,
        "batch_size": 1,
        "n_tokens": places.tokens.len(),
        "n_rows": counted,
        "n_splits": crosscoder.latents.div_ceil(SPLIT),
        "dataset_repo": "",
        "dataset_split": "",
        "dataset_name": "",
        "dataset_column": "",
    });
    tensor_file::write_text(
        &folder.join("config.json"),
        &(serde_json::to_string_pretty(&config).unwrap_or_default() + "\n"),
    )?;
    Ok(Written { activations: found.len(), rows: counted, dropped: places.dropped })
}

/// Largest difference between the written activations and a slow reading of the crosscoder on the first rows, relative to the largest.
///
/// # Errors
/// The files cannot be read back.
pub fn verify_delphi(slow: &SlowCrosscoder, norms: &[f32], rows: &dyn Rows, texts: &Tokens, out: &Path) -> Result<f64> {
    let places = Places::of(rows, texts)?;
    let count = places.infos.len().min(super::probe::PROBE_ROWS);
    let mut x = vec![0.0; count * 2 * slow.width];
    rows.read(0, &mut x)?;
    let code = slow.code(&x);
    let mut written: BTreeMap<(u32, u32), BTreeMap<usize, f32>> = BTreeMap::new();
    for first in (0..slow.latents).step_by(SPLIT) {
        let last = (first + SPLIT).min(slow.latents) - 1;
        let path: PathBuf = out.join(MODULE).join(format!("{first}_{last}.safetensors"));
        let file = TensorFile::open(&path)?;
        let locations = file.integers("locations")?.unwrap_or_default();
        let activations = file.floats("activations")?.map(|(_, values)| values).unwrap_or_default();
        for (place, value) in locations.chunks_exact(3).zip(activations) {
            let row = written.entry((place[0] as u32, place[1] as u32)).or_default();
            row.insert(first + place[2] as usize, value);
        }
    }
    let (mut worst, mut largest) = (0.0f64, f64::MIN_POSITIVE);
    for (row, info) in places.infos[..count].iter().enumerate() {
        let Some(place) = places.place(info) else { continue };
        let found = written.get(&place);
        for (j, &norm) in norms.iter().enumerate() {
            let place = row * slow.latents + j;
            let expected = code.features[place] * f64::from(norm);
            let value = f64::from(found.and_then(|found| found.get(&j)).copied().unwrap_or(0.0));
            largest = largest.max(expected);
            if !(code.doubtful[place] && (expected > 0.0) != (value > 0.0)) {
                worst = worst.max((expected - value).abs());
            }
        }
    }
    Ok(worst / largest)
}
