//! Latent activations in the cache of delphi, for automatic interpretation.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::slow_crosscoder::SlowCrosscoder;
use crate::ml::crosscoder::Crosscoder;
use crate::ml::crosscoder::tensor_file::{self, Tensor, TensorFile};
use crate::ml::{Error, Result, RowInfo, Rows, Watch};

/// Latents of one file.
const SPLIT: usize = 16_384;
/// delphi keeps what is larger than this.
const SMALLEST: f32 = 1e-5;
/// The folder of the crosscoder, which delphi calls a module.
const MODULE: &str = "crosscoder";

/// Where the rows of a cache lie.
struct Places {
    infos: Vec<RowInfo>,
    /// Index by corpus and sequence.
    sequences: BTreeMap<(u16, u32), u32>,
    /// T, the longest sequence.
    context: usize,
}

impl Places {
    fn of(rows: &dyn Rows) -> Result<Self> {
        let mut infos = vec![RowInfo::default(); rows.count() as usize];
        rows.info(0, &mut infos)?;
        let mut sequences: BTreeMap<(u16, u32), u32> = infos.iter().map(|i| ((i.corpus, i.sequence), 0)).collect();
        sequences.values_mut().zip(0..).for_each(|(index, place)| *index = place);
        let context = infos.iter().map(|info| info.position as usize + 1).max().unwrap_or(0);
        if context <= 1 {
            return Err(Error::invalid(
                "export for delphi",
                "these rows have no text: delphi shows latents in their sentences",
            ));
        }
        Ok(Places { infos, sequences, context })
    }

    fn sequence(&self, info: &RowInfo) -> u32 {
        self.sequences.get(&(info.corpus, info.sequence)).copied().unwrap_or(0)
    }
}

/// Writes `out/crosscoder/{first}_{last}.safetensors` with `locations` [n, 3] (sequence, position, latent - first), `activations` [n]
/// (f_j S_j) and `tokens` [sequences, T], and `config.json`. Places of a sequence that are no rows hold the token 0, and
/// `n_rows` of config.json does not count them. Gives the number of
/// activations.
///
/// # Errors
/// The rows have no text or cannot be read, or files cannot be written.
pub fn write_delphi(
    crosscoder: &Crosscoder,
    rows: &dyn Rows,
    out: &Path,
    model: &str,
    watch: &dyn Watch,
) -> Result<usize> {
    let places = Places::of(rows)?;
    let folder = out.join(MODULE);
    std::fs::create_dir_all(&folder).map_err(|error| Error::file(&folder, error))?;
    let mut tokens = vec![0i64; places.sequences.len() * places.context];
    for info in &places.infos {
        let place = places.sequence(info) as usize * places.context + info.position as usize;
        tokens[place] = i64::from(info.token);
    }
    // (latent, sequence, position, activation).
    let mut found: Vec<(u32, u32, u32, f32)> = Vec::new();
    let norms = crosscoder.code_norms();
    let mut x = Vec::new();
    let step = crosscoder.rows_at_a_time();
    for start in (0..places.infos.len()).step_by(step) {
        if watch.stop() {
            return Err(Error::Interrupted);
        }
        let infos = &places.infos[start..places.infos.len().min(start + step)];
        x.resize(infos.len() * 2 * crosscoder.width, 0.0);
        rows.read(start as u64, &mut x)?;
        let code = crosscoder.encode(&x);
        for (i, info) in infos.iter().enumerate() {
            let (latents, values) = code.row(i);
            let scaled = latents.iter().zip(values).map(|(&j, value)| (j, value * norms[j as usize]));
            let kept = scaled.filter(|(_, value)| *value > SMALLEST);
            found.extend(kept.map(|(j, value)| (j, places.sequence(info), info.position, value)));
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
            ("tokens", Tensor::i64(&[places.sequences.len(), places.context], &tokens)),
        ]);
        tensor_file::write(&folder.join(format!("{first}_{last}.safetensors")), &tensors, None)?;
    }
    let config = json!({
        "model_name": model,
        // The one name is that of 2024, the other that of today.
        "ctx_len": places.context,
        "cache_ctx_len": places.context,
        "batch_size": 1,
        "n_tokens": rows.count(),
        "n_rows": rows.count(),
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
    Ok(found.len())
}

/// Largest difference between the written activations and a slow reading of the crosscoder on the first rows, relative to the largest.
///
/// # Errors
/// The files cannot be read back.
pub fn verify_delphi(slow: &SlowCrosscoder, norms: &[f32], rows: &dyn Rows, out: &Path) -> Result<f64> {
    let places = Places::of(rows)?;
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
        let found = written.get(&(places.sequence(info), info.position));
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
