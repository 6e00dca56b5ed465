//! Writes rows as two activation caches in the published format (docs/method.md 9.5).

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use half::bf16;
use serde_json::json;

use super::pickle::Dtype;
use super::write_torch_tensor;
use crate::ml::crosscoder::tensor_file::{Tensor, write_text};
use crate::ml::{Error, Result, RowInfo, Rows};

/// Writes `out/base/SUBMODULE` and `out/tuned/SUBMODULE` with shards of `shard_rows` rows in `dtype` (f32 or bf16), and
/// `tokens.pt` with `sequence_ranges.pt` beside each `SUBMODULE`. Rows go in the order of their text (corpus, sequence,
/// position), as a cache has them, so sequences are whole again.
///
/// # Errors
/// Rows cannot be read or files cannot be written.
pub fn write_cache(rows: &dyn Rows, out: &Path, submodule: &str, dtype: Dtype, shard_rows: u64) -> Result<()> {
    let mut infos = vec![RowInfo::default(); rows.count() as usize];
    rows.info(0, &mut infos)?;
    let mut order: Vec<u64> = (0..rows.count()).collect();
    order.sort_by_key(|&row| infos[row as usize]);
    let tokens: Vec<i64> = order.iter().map(|&row| i64::from(infos[row as usize].token)).collect();
    let sequence = |row: u64| (infos[row as usize].corpus, infos[row as usize].sequence);
    let mut ranges: Vec<i64> = Vec::new();
    for (place, &row) in order.iter().enumerate() {
        if place == 0 || sequence(row) != sequence(order[place - 1]) {
            ranges.push(place as i64);
        }
    }
    ranges.push(order.len() as i64);
    let longest = ranges.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0);
    let shards = order.chunks(shard_rows.max(1) as usize).collect::<Vec<_>>();
    for (model, name) in ["base", "tuned"].into_iter().enumerate() {
        let store = out.join(name);
        let folder = store.join(submodule);
        std::fs::create_dir_all(&folder).map_err(|error| Error::file(&folder, error))?;
        for (index, shard) in shards.iter().enumerate() {
            write_shard(rows, shard, model, &folder.join(format!("shard_{index}.memmap")), dtype)?;
        }
        let config = json!({
            "batch_size": 1,
            "context_len": longest,
            "shard_size": shard_rows,
            "d_model": rows.width(),
            "shuffle_shards": false,
            "io": "out",
            "total_size": rows.count(),
            "shard_count": shards.len(),
            "store_tokens": true,
            "store_sequence_ranges": true,
        });
        write_text(&folder.join("config.json"), &(config.to_string() + "\n"))?;
        write_torch_tensor(&store.join("tokens.pt"), &Tensor::i64(&[tokens.len()], &tokens))?;
        write_torch_tensor(&store.join("sequence_ranges.pt"), &Tensor::i64(&[ranges.len()], &ranges))?;
    }
    Ok(())
}

fn write_shard(rows: &dyn Rows, order: &[u64], model: usize, path: &Path, dtype: Dtype) -> Result<()> {
    let file = |error| Error::file(path, error);
    let width = rows.width();
    let mut out = BufWriter::new(File::create(path).map_err(file)?);
    let mut row = vec![0.0; 2 * width];
    for &index in order {
        rows.read(index, &mut row)?;
        for &value in &row[model * width..(model + 1) * width] {
            match dtype {
                Dtype::Bf16 => out.write_all(&bf16::from_f32(value).to_le_bytes()),
                _ => out.write_all(&value.to_le_bytes()),
            }
            .map_err(file)?;
        }
    }
    let out = out.into_inner().map_err(|error| file(error.into_error()))?;
    out.sync_all().map_err(file)?;
    let word = format!("torch.{}", if dtype == Dtype::Bf16 { "bfloat16" } else { "float32" });
    let meta: PathBuf = path.with_extension("meta");
    write_text(&meta, &json!({ "shape": [order.len(), width], "dtype": word }).to_string())
}
