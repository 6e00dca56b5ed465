//! Rows out of shards.

use std::fs::File;
use std::ops::Range;
use std::path::Path;
use std::sync::OnceLock;

use memmap2::Mmap;
use rayon::prelude::*;

use super::index::{Index, Shard};
use super::sidecar::{RECORD, Record};
use crate::ml::rows::whole_rows;
use crate::ml::{Error, Result, RowInfo, Rows};

/// Numbers that one task converts.
const CONVERT: usize = 1 << 16;
/// Rows that lie so many bytes apart at most are read ahead together.
const NEAR: u64 = 64 << 10;

/// A set of a harvest, `[N, 2, d]`, mapped into memory. The checksum of a shard is compared when the shard is first read.
#[derive(Debug)]
pub struct ShardRows {
    index: Index,
    shards: Vec<Mapped>,
    /// First row of each shard, and N.
    starts: Vec<u64>,
}

#[derive(Debug)]
struct Mapped {
    path: String,
    rows: Map,
    info: Map,
    /// What the comparison of the checksums found wrong.
    verdict: OnceLock<Option<String>>,
}

/// A mapped file; empty files cannot be mapped.
#[derive(Debug)]
struct Map(Option<Mmap>);

impl Map {
    /// Errors: another length than `bytes`.
    fn open(path: &Path, bytes: u64) -> Result<Self> {
        let file = File::open(path).map_err(|error| Error::file(path, error))?;
        let found = file.metadata().map_err(|error| Error::file(path, error))?.len();
        if found != bytes {
            let problem =
                format!("{} has {found} bytes, the index says {bytes}: it was cut or changed", path.display());
            return Err(Error::invalid("read activations", problem));
        }
        if bytes == 0 {
            return Ok(Map(None));
        }
        // SAFETY: shards are written once, renamed into place and never changed by xd.
        let map = unsafe { Mmap::map(&file) }.map_err(|error| Error::file(path, error))?;
        Ok(Map(Some(map)))
    }

    fn bytes(&self) -> &[u8] {
        self.0.as_deref().unwrap_or(&[])
    }

    /// Lets the system read these bytes ahead, where it can; it is no matter where it cannot.
    fn expect(&self, bytes: Range<usize>) {
        #[cfg(unix)]
        if let Some(map) = &self.0 {
            let _ = map.advise_range(memmap2::Advice::WillNeed, bytes.start, bytes.len());
        }
        #[cfg(not(unix))]
        let _ = bytes;
    }
}

impl ShardRows {
    /// The set in `folder` (`HARVEST/train` or `HARVEST/validate`). Errors: no index, a shard of another length.
    pub fn open(folder: &Path) -> Result<Self> {
        Self::of(folder, Index::read(folder)?)
    }

    /// The set that `index` describes.
    pub(super) fn of(folder: &Path, index: Index) -> Result<Self> {
        let row = (2 * index.width * index.store.size()) as u64;
        let mut starts = vec![0];
        let mut shards = Vec::new();
        for shard in &index.shards {
            let path = folder.join(format!("{}.rows", shard.name));
            shards.push(Mapped {
                rows: Map::open(&path, shard.rows * row)?,
                info: Map::open(&folder.join(format!("{}.info", shard.name)), shard.rows * RECORD as u64)?,
                path: path.display().to_string(),
                verdict: OnceLock::new(),
            });
            starts.push(starts[starts.len() - 1] + shard.rows);
        }
        if starts[starts.len() - 1] != index.rows {
            let problem = format!(
                "{}: the shards have {} rows, the index says {}",
                folder.display(),
                starts[starts.len() - 1],
                index.rows
            );
            return Err(Error::invalid("read activations", problem));
        }
        Ok(ShardRows { index, shards, starts })
    }

    pub fn index(&self) -> &Index {
        &self.index
    }

    /// Rows `start..end` of each block; a block is shuffled within itself.
    pub fn blocks(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        self.starts.windows(2).map(|pair| pair[0]..pair[1])
    }

    /// Compares every checksum now.
    pub fn verify(&self) -> Result<()> {
        (0..self.shards.len()).into_par_iter().try_for_each(|shard| self.verify_shard(shard))
    }

    /// Compares the checksum of the last shard, the only one that a crash can have hurt.
    pub(super) fn verify_last(&self) -> Result<()> {
        self.shards.len().checked_sub(1).map_or(Ok(()), |last| self.verify_shard(last))
    }

    fn verify_shard(&self, shard: usize) -> Result<()> {
        let mapped = &self.shards[shard];
        match mapped.verdict.get_or_init(|| mapped.compare(&self.index.shards[shard])) {
            None => Ok(()),
            Some(problem) => Err(Error::invalid("read activations", problem.clone())),
        }
    }

    /// Norms `[base, tuned]` and origin of every row, in order.
    pub(super) fn records(&self) -> impl Iterator<Item = Result<Record>> + '_ {
        self.shards.iter().flat_map(|shard| shard.info.bytes().chunks_exact(RECORD).map(Record::decode))
    }

    /// Splits rows `start..start + count` by shard: `(shard, rows within it, rows within the request)`.
    fn pieces(&self, start: u64, count: usize) -> Result<Vec<(usize, Range<usize>, Range<usize>)>> {
        let end = start + count as u64;
        if end > self.index.rows {
            let problem = format!("rows {start}..{end} of {}", self.index.rows);
            return Err(Error::invalid("read activations", problem));
        }
        let mut pieces = Vec::new();
        let mut at = start;
        let mut shard = self.starts.partition_point(|first| *first <= start) - 1;
        while at < end {
            let stop = end.min(self.starts[shard + 1]);
            if stop > at {
                self.verify_shard(shard)?;
                let first = self.starts[shard];
                pieces.push((
                    shard,
                    (at - first) as usize..(stop - first) as usize,
                    (at - start) as usize..(stop - start) as usize,
                ));
            }
            at = stop;
            shard += 1;
        }
        Ok(pieces)
    }
}

impl Mapped {
    fn compare(&self, expected: &Shard) -> Option<String> {
        let sum = |map: &Map| blake3::hash(map.bytes()).to_hex().to_string();
        for (what, found, expected) in
            [("rows", sum(&self.rows), &expected.checksum), ("sidecar", sum(&self.info), &expected.info_checksum)]
        {
            if found != *expected {
                return Some(format!(
                    "{}: the {what} do not have the checksum that was written ({found}, not {expected}); remove the harvest and run again",
                    self.path
                ));
            }
        }
        None
    }
}

impl Rows for ShardRows {
    fn is_stored(&self) -> bool {
        true
    }

    fn expect(&self, rows: &[u64]) {
        let size = (2 * self.index.width * self.index.store.size()) as u64;
        let mut rows = rows.to_vec();
        rows.sort_unstable();
        for (shard, mapped) in self.shards.iter().enumerate() {
            let [first, end] = [self.starts[shard], self.starts[shard + 1]];
            let inside = &rows[rows.partition_point(|row| *row < first)..rows.partition_point(|row| *row < end)];
            for near in inside.chunk_by(|a, b| (b - a) * size <= NEAR) {
                let from = (near[0] - first) * size;
                mapped.rows.expect(from as usize..((near[near.len() - 1] + 1 - first) * size) as usize);
            }
        }
    }

    fn width(&self) -> usize {
        self.index.width
    }

    fn count(&self) -> u64 {
        self.index.rows
    }

    fn read(&self, start: u64, out: &mut [f32]) -> Result<()> {
        let row = 2 * self.index.width;
        let count = whole_rows(out.len(), self.index.width)?;
        let store = self.index.store;
        for (shard, from, to) in self.pieces(start, count)? {
            let bytes =
                &self.shards[shard].rows.bytes()[from.start * row * store.size()..from.end * row * store.size()];
            let out = &mut out[to.start * row..to.end * row];
            if out.len() <= CONVERT {
                store.decode(bytes, out);
            } else {
                let parts = bytes.par_chunks(CONVERT * store.size()).zip(out.par_chunks_mut(CONVERT));
                parts.for_each(|(bytes, out)| store.decode(bytes, out));
            }
        }
        Ok(())
    }

    fn info(&self, start: u64, out: &mut [RowInfo]) -> Result<()> {
        for (shard, from, to) in self.pieces(start, out.len())? {
            let bytes = &self.shards[shard].info.bytes()[from.start * RECORD..from.end * RECORD];
            for (slot, record) in out[to].iter_mut().zip(bytes.chunks_exact(RECORD)) {
                *slot = Record::decode(record)?.info;
            }
        }
        Ok(())
    }
}
