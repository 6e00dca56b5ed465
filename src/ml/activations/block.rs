//! The rows that are shuffled together and make a shard.

use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use super::index::{Shard, sync_folder};
use super::sidecar::{RECORD, Record};
use super::statistics::{Statistics, norm};
use super::store::Store;
use crate::ml::{Error, Result, RowInfo};

/// Bytes of a block, at most.
const BYTES: usize = 1 << 30;
/// Rows of a block, at most.
const ROWS: usize = 1 << 18;
/// Rows that are written at a time.
const WRITE: usize = 1024;

/// Rows in the order in which they came.
#[derive(Debug)]
pub struct Block {
    width: usize,
    store: Store,
    values: Vec<u8>,
    records: Vec<u8>,
    /// Rows that the journal has.
    saved: usize,
    scratch: Vec<f32>,
}

/// Rows of a block where nobody says otherwise: a power of two that fills at most 1 GiB and 262,144 rows, at least 1,024.
pub fn default_rows(width: usize, store: Store) -> usize {
    let most = (BYTES / (2 * width.max(1) * store.size())).clamp(WRITE, ROWS);
    1 << most.ilog2()
}

impl Block {
    pub fn new(width: usize, store: Store) -> Self {
        Block { width, store, values: Vec::new(), records: Vec::new(), saved: 0, scratch: vec![0.0; width] }
    }

    pub fn rows(&self) -> usize {
        self.records.len() / RECORD
    }

    /// Bytes of a stored row.
    fn stride(&self) -> usize {
        2 * self.width * self.store.size()
    }

    /// Takes in the row `[base, tuned]` `[2, d]`.
    pub fn push(&mut self, row: [&[f32]; 2], info: RowInfo) {
        let mut norms = [0.0; 2];
        for (half, slot) in row.into_iter().zip(&mut norms) {
            let start = self.values.len();
            self.store.encode(half, &mut self.values);
            self.store.decode(&self.values[start..], &mut self.scratch);
            *slot = norm(&self.scratch) as f32;
        }
        Record { info, norms }.encode(&mut self.records);
    }

    /// Appends what is new to the journal in `folder`. Returns the rows that are there now.
    pub fn save(&mut self, folder: &Path) -> Result<usize> {
        let rows = self.rows();
        for (path, bytes, size) in
            [(journal(folder, "rows"), &self.values, self.stride()), (journal(folder, "info"), &self.records, RECORD)]
        {
            let append = || {
                let mut file = OpenOptions::new().create(true).append(true).open(&path)?;
                file.set_len((self.saved * size) as u64)?;
                file.write_all(&bytes[self.saved * size..])?;
                file.sync_all()
            };
            append().map_err(|error| Error::file(&path, error))?;
        }
        self.saved = rows;
        Ok(rows)
    }

    /// The first `rows` rows of the journal in `folder`. `None` when it has less.
    pub fn load(width: usize, store: Store, folder: &Path, rows: usize) -> Option<Self> {
        let mut block = Block::new(width, store);
        block.values = read_start(&journal(folder, "rows"), rows * block.stride())?;
        block.records = read_start(&journal(folder, "info"), rows * RECORD)?;
        block.saved = rows;
        Some(block)
    }

    /// Writes the rows as shard `number` of `folder`, in an order drawn from `seed`, adds them to `statistics`, and is empty
    /// afterwards.
    pub fn finish(&mut self, folder: &Path, number: usize, seed: Seed, statistics: &mut Statistics) -> Result<Shard> {
        let order = permutation(self.rows(), seed);
        let name = Shard::name(number);
        let rows = folder.join(format!("{name}.rows"));
        let info = folder.join(format!("{name}.info"));
        let mut values = vec![0.0; WRITE * 2 * self.width];
        let checksum = write_ordered(&rows, &self.values, self.stride(), &order, |bytes| {
            let values = &mut values[..bytes.len() / self.store.size()];
            self.store.decode(bytes, values);
            statistics.add(values);
        })?;
        let info_checksum = write_ordered(&info, &self.records, RECORD, &order, |_| {})?;
        sync_folder(&rows)?;
        let shard = Shard { name, rows: self.rows() as u64, checksum, info_checksum };
        self.values.clear();
        self.records.clear();
        self.saved = 0;
        Ok(shard)
    }
}

/// Removes the journal of `folder`.
pub fn forget(folder: &Path) {
    for kind in ["rows", "info"] {
        // Left-overs are harmless: a journal is read only as far as the progress file says.
        let _ = fs::remove_file(journal(folder, kind));
    }
}

fn journal(folder: &Path, kind: &str) -> PathBuf {
    folder.join(format!("journal.{kind}"))
}

fn read_start(path: &Path, bytes: usize) -> Option<Vec<u8>> {
    let mut out = vec![0; bytes];
    if bytes == 0 {
        return Some(out);
    }
    File::open(path).ok()?.read_exact(&mut out).ok()?;
    Some(out)
}

/// Writes the records of `bytes` in `order` to a temporary file that is then renamed; shows each stretch to `see`. Returns
/// the checksum.
fn write_ordered(path: &Path, bytes: &[u8], size: usize, order: &[u32], mut see: impl FnMut(&[u8])) -> Result<String> {
    let temporary = path.with_file_name(format!("{}.tmp", path.file_name().unwrap_or_default().to_string_lossy()));
    let mut hasher = blake3::Hasher::new();
    let mut write = || {
        let mut file = BufWriter::new(File::create(&temporary)?);
        let mut stretch = Vec::with_capacity(WRITE * size);
        for rows in order.chunks(WRITE) {
            stretch.clear();
            for &row in rows {
                stretch.extend_from_slice(&bytes[row as usize * size..(row as usize + 1) * size]);
            }
            hasher.update(&stretch);
            see(&stretch);
            file.write_all(&stretch)?;
        }
        file.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()?;
        fs::rename(&temporary, path)
    };
    write().map_err(|error: std::io::Error| Error::file(path, error))?;
    Ok(hasher.finalize().to_hex().to_string())
}

/// Which order: the seed of the harvest, the set (0 validate, 1 train) and the block.
#[derive(Clone, Copy, Debug)]
pub struct Seed {
    pub seed: u64,
    pub set: usize,
    pub block: usize,
}

/// A uniform order of `0..rows` (Fisher and Yates), the same for the same seed on every machine.
pub(super) fn permutation(rows: usize, seed: Seed) -> Vec<u32> {
    let mut random = ChaCha8Rng::seed_from_u64(seed.seed);
    random.set_stream((seed.set as u64) << 40 | seed.block as u64);
    let mut order: Vec<u32> = (0..rows as u32).collect();
    for i in (1..rows).rev() {
        let j = ((u128::from(random.next_u64()) * (i as u128 + 1)) >> 64) as usize;
        order.swap(i, j);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED: Seed = Seed { seed: 42, set: 1, block: 0 };

    #[test]
    fn an_order_is_a_permutation_of_its_seed() {
        let order = permutation(1000, SEED);
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..1000).collect::<Vec<u32>>());
        assert_eq!(order, permutation(1000, SEED));
        for other in [Seed { seed: 43, ..SEED }, Seed { set: 0, ..SEED }, Seed { block: 1, ..SEED }] {
            assert_ne!(order, permutation(1000, other));
        }
    }

    #[test]
    fn an_order_mixes() {
        let order = permutation(10_000, SEED);
        let still = order.iter().enumerate().filter(|(i, row)| *i == **row as usize).count();
        assert!(still < 10, "{still} rows stay where they are; 1 is expected");
        let first: f64 = order[..1000].iter().map(|&row| f64::from(row)).sum::<f64>() / 1000.0;
        assert!((first - 5000.0).abs() < 400.0, "mean row of the first tenth: {first}");
    }

    #[test]
    fn blocks_are_a_gibibyte_at_most() {
        assert_eq!(default_rows(2304, Store::Bf16), 65_536);
        assert_eq!(default_rows(128, Store::Bf16), 262_144);
        assert_eq!(default_rows(4096, Store::F32), 32_768);
    }
}
