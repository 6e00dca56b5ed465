//! Two activation caches side by side, as rows.

use std::fs::File;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use half::{bf16, f16};
use memmap2::Mmap;

use super::pickle::Dtype;
use super::{CacheFolder, CacheTokens};
use crate::ml::{Error, Result, RowInfo, Rows, TokenGroup};

/// Rows of the caches of both models, in the order in which they were collected. Shards are of any length; a row is found
/// by the cumulative lengths.
#[derive(Clone, Debug)]
pub struct CacheRows {
    models: Arc<[Shards; 2]>,
    tokens: Arc<CacheTokens>,
    width: usize,
    rows: Range<u64>,
}

/// The mapped shards of a model and the first row of each.
#[derive(Debug)]
struct Shards {
    maps: Vec<(Mmap, Dtype)>,
    /// One more than shards.
    starts: Vec<u64>,
}

impl Shards {
    fn open(folder: &CacheFolder) -> Result<Self> {
        let mut shards = Shards { maps: Vec::new(), starts: vec![0] };
        let mut end = 0;
        for shard in folder.shards.iter().filter(|shard| shard.rows > 0) {
            let file = File::open(&shard.path).map_err(|error| Error::file(&shard.path, error))?;
            // SAFETY: a file that somebody changes while it is read gives wrong numbers, as it would with any reader.
            let map = unsafe { Mmap::map(&file) }.map_err(|error| Error::file(&shard.path, error))?;
            if map.len() as u64 != shard.rows * folder.width as u64 * shard.dtype.size() as u64 {
                let problem = format!("{} changed while it was opened", shard.path.display());
                return Err(Error::invalid("read activation cache", problem));
            }
            end += shard.rows;
            shards.maps.push((map, shard.dtype));
            shards.starts.push(end);
        }
        Ok(shards)
    }

    /// Writes row `row` into `out` `[d]`.
    fn read(&self, row: u64, out: &mut [f32]) {
        let shard = self.starts.partition_point(|&start| start <= row) - 1;
        let (map, dtype) = &self.maps[shard];
        let bytes = out.len() * dtype.size();
        let from = (row - self.starts[shard]) as usize * bytes;
        numbers(&map[from..from + bytes], *dtype, out);
    }
}

fn numbers(bytes: &[u8], dtype: Dtype, out: &mut [f32]) {
    let pairs = out.iter_mut().zip(bytes.chunks_exact(dtype.size()));
    match dtype {
        Dtype::F32 => pairs.for_each(|(value, b)| *value = f32::from_le_bytes([b[0], b[1], b[2], b[3]])),
        Dtype::F16 => pairs.for_each(|(value, b)| *value = f16::from_le_bytes([b[0], b[1]]).to_f32()),
        Dtype::Bf16 => pairs.for_each(|(value, b)| *value = bf16::from_le_bytes([b[0], b[1]]).to_f32()),
        _ => pairs.for_each(|(value, b)| *value = f64::from_le_bytes(b.try_into().unwrap_or_default()) as f32),
    }
}

impl CacheRows {
    /// Opens both caches and pairs them row by row.
    ///
    /// # Errors
    /// One of them is no cache, they have different widths or numbers of rows, or their tokens are not the same.
    pub fn open(base: &Path, tuned: &Path) -> Result<Self> {
        let folders = [CacheFolder::open(base)?, CacheFolder::open(tuned)?];
        let [base, tuned] = &folders;
        pair(base, tuned)?;
        let tokens = CacheTokens::of(base, tuned)?;
        let models = [Shards::open(base)?, Shards::open(tuned)?];
        Ok(CacheRows { width: base.width, rows: 0..base.rows(), models: Arc::new(models), tokens: Arc::new(tokens) })
    }

    /// What is known of the text.
    pub fn tokens(&self) -> &CacheTokens {
        &self.tokens
    }

    /// These rows only; they count from 0 again. Errors: there are fewer.
    pub fn slice(&self, rows: Range<u64>) -> Result<Self> {
        if rows.start > rows.end || rows.end > self.count() {
            return Err(Error::invalid("read activation cache", format!("rows {rows:?} of {}", self.count())));
        }
        Ok(CacheRows { rows: self.rows.start + rows.start..self.rows.start + rows.end, ..self.clone() })
    }

    fn inside(&self, start: u64, count: u64) -> Result<()> {
        match start.checked_add(count).filter(|&end| end <= self.count()) {
            Some(_) => Ok(()),
            None => {
                let problem = format!("{count} rows from {start} of {}", self.count());
                Err(Error::invalid("read activation cache", problem))
            }
        }
    }
}

/// Two caches must have the same width and as many rows.
pub fn pair(base: &CacheFolder, tuned: &CacheFolder) -> Result<()> {
    let refuse = |problem: String| {
        let (base, tuned) = (base.folder.display(), tuned.folder.display());
        Err(Error::invalid("pair activation caches", format!("{base} and {tuned}: {problem}")))
    };
    if base.width != tuned.width {
        return refuse(format!("the base has the width {}, the tuned model {}", base.width, tuned.width));
    }
    if base.rows() != tuned.rows() {
        return refuse(format!("the base has {} rows, the tuned model {}", base.rows(), tuned.rows()));
    }
    Ok(())
}

impl Rows for CacheRows {
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
        let both = 2 * self.width;
        if out.len() % both != 0 {
            return Err(Error::invalid(
                "read activation cache",
                format!("{} numbers are no rows of {both}", out.len()),
            ));
        }
        self.inside(start, (out.len() / both) as u64)?;
        for (i, row) in out.chunks_exact_mut(both).enumerate() {
            let place = self.rows.start + start + i as u64;
            let (base, tuned) = row.split_at_mut(self.width);
            self.models[0].read(place, base);
            self.models[1].read(place, tuned);
        }
        Ok(())
    }

    fn info(&self, start: u64, out: &mut [RowInfo]) -> Result<()> {
        self.inside(start, out.len() as u64)?;
        for (i, slot) in out.iter_mut().enumerate() {
            let row = self.rows.start + start + i as u64;
            let (sequence, position) = self.tokens.place(row).unwrap_or((row, 0));
            *slot = RowInfo {
                corpus: 0,
                sequence: sequence as u32,
                position: position as u32,
                token: self.tokens.ids.get(row as usize).copied().unwrap_or(0),
                group: match self.tokens.has_bos && position == 0 {
                    true => TokenGroup::Bos,
                    false => TokenGroup::Text,
                },
            };
        }
        Ok(())
    }
}
