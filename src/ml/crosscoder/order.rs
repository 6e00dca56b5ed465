//! The order in which training reads its rows.
//!
//! Rows come as one endless stream of epochs; step s trains on positions s B .. (s + 1) B of it, so the number of rows
//! trained on is all there is to remember. An epoch is read in blocks of a size that depends on the width alone.
//!
//! The published code takes 10^6 rows of each corpus at a time, permutes each and lets them alternate, anew in each epoch
//! (docs/method.md 2.3). With `shuffle = local` stored rows, in which the corpora are mixed already, are permuted here within
//! stretches of 10^6 rows, anew in each epoch. Rows that are made when they are read (`store = none`, planted pairs) are permuted
//! within a block only; those of a stream were shuffled in the mixing buffer before, once.

use rand::seq::SliceRandom;
use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::Shuffle;

/// Bytes of a block: what is in memory at a time, and the reach of the local shuffle where rows are not stored.
const BLOCK_BYTES: u64 = 64 << 20;
/// Rows within which the local shuffle permutes stored ones.
const REACH: u64 = 1_000_000;
/// Rounds of the Feistel network.
const ROUNDS: usize = 6;

/// A part of an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    pub epoch: u64,
    /// First position within the epoch, and number of rows.
    pub start: u64,
    pub count: u64,
}

/// Rows of a block in reading order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BlockOrder {
    /// Rows `start..start + count`, taken by these offsets; `None` as stored.
    Within(Option<Vec<u32>>),
    /// Rows anywhere in the data.
    Anywhere(Vec<u64>),
}

/// Order of N rows by a seed.
#[derive(Clone, Copy, Debug)]
pub struct Order {
    shuffle: Shuffle,
    seed: u64,
    count: u64,
    block: u64,
    /// Rows of a stretch that is permuted as a whole; blocks lie within one.
    reach: Option<u64>,
}

impl Order {
    /// Of `count` rows `[2, width]`, which are stored or made when they are read.
    pub fn new(shuffle: Shuffle, seed: u64, count: u64, width: usize, is_stored: bool) -> Self {
        let block = (BLOCK_BYTES / (8 * width.max(1) as u64)).max(1024);
        let reach = (is_stored && shuffle == Shuffle::Local).then_some(REACH);
        Order { shuffle, seed, count, block, reach }
    }

    /// First row of the stretch that a row of an epoch lies in, and the row after its last.
    fn stretch(&self, row: u64) -> [u64; 2] {
        let Some(reach) = self.reach else { return [0, self.count] };
        let first = row / reach * reach;
        [first, self.count.min(first + reach)]
    }

    /// The block that holds a position of the stream. There must be rows.
    pub fn block_at(&self, position: u64) -> Block {
        let (epoch, within) = (position / self.count, position % self.count);
        let [first, end] = self.stretch(within);
        let start = first + (within - first) / self.block * self.block;
        Block { epoch, start, count: self.block.min(end - start) }
    }

    /// Position in the stream of a block's first row.
    pub fn position(&self, block: &Block) -> u64 {
        block.epoch * self.count + block.start
    }

    /// In which order the rows of a block are read.
    pub fn of(&self, block: &Block) -> BlockOrder {
        match self.shuffle {
            Shuffle::None => BlockOrder::Within(None),
            Shuffle::Local if self.reach.is_some() => {
                let [first, end] = self.stretch(block.start);
                let permutation = Permutation::new(end - first, &mut self.generator(block.epoch, first));
                let places = block.start - first..block.start - first + block.count;
                BlockOrder::Anywhere(places.map(|place| first + permutation.at(place)).collect())
            }
            Shuffle::Local => {
                let mut offsets: Vec<u32> = (0..block.count as u32).collect();
                offsets.shuffle(&mut self.generator(block.epoch, block.start));
                BlockOrder::Within(Some(offsets))
            }
            Shuffle::Global => {
                let permutation = Permutation::new(self.count, &mut self.generator(block.epoch, u64::MAX));
                BlockOrder::Anywhere((block.start..block.start + block.count).map(|i| permutation.at(i)).collect())
            }
        }
    }

    fn generator(&self, epoch: u64, start: u64) -> ChaCha8Rng {
        let mut key = [0u8; 32];
        for (part, number) in key.chunks_mut(8).zip([self.seed, epoch, start, 0x6f72_6465_7200]) {
            part.copy_from_slice(&number.to_le_bytes());
        }
        ChaCha8Rng::from_seed(key)
    }
}

/// A permutation of 0..count that is computed, not stored: a Feistel network over the next even number of bits, walked
/// until it lands inside.
struct Permutation {
    count: u64,
    half: u32,
    keys: [u64; ROUNDS],
}

impl Permutation {
    fn new(count: u64, generator: &mut ChaCha8Rng) -> Self {
        let bits = 64 - count.saturating_sub(1).leading_zeros();
        Permutation { count, half: bits.div_ceil(2).max(1), keys: std::array::from_fn(|_| generator.next_u64()) }
    }

    fn at(&self, index: u64) -> u64 {
        let mut value = index;
        loop {
            value = self.round_trip(value);
            if value < self.count {
                return value;
            }
        }
    }

    fn round_trip(&self, value: u64) -> u64 {
        let mask = (1u64 << self.half) - 1;
        let (mut left, mut right) = (value >> self.half, value & mask);
        for key in self.keys {
            (left, right) = (right, left ^ (mix(right ^ key) & mask));
        }
        left << self.half | right
    }
}

/// SplitMix64's finaliser.
fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The stream's rows from a position on, block by block.
    fn rows(order: &Order, mut position: u64, until: u64) -> Vec<u64> {
        let mut out = Vec::new();
        while position < until {
            let block = order.block_at(position);
            let skip = position - order.position(&block);
            for offset in skip..block.count.min(until - order.position(&block)) {
                out.push(match order.of(&block) {
                    BlockOrder::Within(None) => block.start + offset,
                    BlockOrder::Within(Some(offsets)) => block.start + offsets[offset as usize] as u64,
                    BlockOrder::Anywhere(rows) => rows[offset as usize],
                });
                position += 1;
            }
        }
        out
    }

    fn small(shuffle: Shuffle, seed: u64, count: u64, block: u64) -> Order {
        Order { block, ..Order::new(shuffle, seed, count, 1, false) }
    }

    /// A local shuffle of stored rows.
    fn stored(seed: u64, count: u64, block: u64, reach: u64) -> Order {
        Order { block, reach: Some(reach), ..Order::new(Shuffle::Local, seed, count, 1, true) }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]

        #[test]
        fn every_epoch_reads_every_row_once_and_a_cursor_goes_on(
            kind in 0..4usize, seed in 0..1000u64, count in 1..70u64, block in 1..40u64, cut in 0..140u64, reach in 1..50u64,
        ) {
            let order = match kind {
                3 => stored(seed, count, block, reach),
                _ => small([Shuffle::Local, Shuffle::Global, Shuffle::None][kind], seed, count, block),
            };
            let all = rows(&order, 0, 2 * count);
            for epoch in 0..2 {
                let mut read = all[(epoch * count) as usize..((epoch + 1) * count) as usize].to_vec();
                read.sort_unstable();
                prop_assert_eq!(read, (0..count).collect::<Vec<_>>());
            }
            let cut = cut.min(2 * count);
            prop_assert_eq!(&rows(&order, cut, 2 * count)[..], &all[cut as usize..]);
            prop_assert_eq!(&rows(&order, 0, cut)[..], &all[..cut as usize]);
        }
    }

    #[test]
    fn shuffles_differ_by_epoch_and_seed_and_local_stays_in_its_block() {
        for shuffle in [Shuffle::Local, Shuffle::Global] {
            let order = small(shuffle, 7, 200, 50);
            let all = rows(&order, 0, 400);
            assert_ne!(all[..200], all[200..]);
            assert_ne!(all[..200], rows(&small(shuffle, 8, 200, 50), 0, 200)[..]);
            assert_ne!(all[..200], (0..200).collect::<Vec<_>>()[..]);
            let inside = (0..200u64).all(|i| all[i as usize] / 50 == i / 50);
            assert_eq!(inside, shuffle == Shuffle::Local);
        }
    }

    /// At d = 4096 a block is one batch; a shuffle within it would leave every batch with the same rows for ever.
    #[test]
    fn stored_rows_are_permuted_over_a_million() {
        let order = Order::new(Shuffle::Local, 7, 2_500_000, 4096, true);
        assert_eq!(order.block, 2048);
        let block = order.block_at(1_000_000 + 10);
        assert_eq!((block.start, block.count), (1_000_000, 2048));
        // The last block of a stretch ends with it.
        assert_eq!(order.block_at(999_999).start + order.block_at(999_999).count, 1_000_000);
        let BlockOrder::Anywhere(rows) = order.of(&block) else { panic!("rows of a stretch") };
        assert!(rows.iter().all(|row| (1_000_000..2_000_000).contains(row)));
        let (least, most) = (rows.iter().min().unwrap(), rows.iter().max().unwrap());
        assert!(most - least > 990_000, "{least} to {most}");
        // Half of them in either half of the stretch, and other ones in the next epoch.
        let low = rows.iter().filter(|row| **row < 1_500_000).count();
        assert!((900..1148).contains(&low), "{low}");
        let BlockOrder::Anywhere(next) = order.of(&Block { epoch: 1, ..block }) else { panic!("rows of a stretch") };
        let again = next.iter().filter(|row| rows.contains(row)).count();
        assert!(again < 20, "{again} of 2,048 rows meet again");
        // What is made when it is read stays within its block.
        let order = Order::new(Shuffle::Local, 7, 2_500_000, 4096, false);
        assert!(matches!(order.of(&order.block_at(0)), BlockOrder::Within(Some(_))));
    }
}
