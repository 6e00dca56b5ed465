//! The sequences of rows: how many rows each has, and which have the same tokens.

use std::collections::{BTreeMap, BTreeSet};

use crate::ml::{Error, Result, RowInfo};

/// Portion and document.
pub type SequenceId = (u16, u32);

/// What is known of a sequence.
#[derive(Clone, Copy, Debug, Default)]
struct Rows {
    count: u32,
    /// Sum of the hashes of (position, token) of its rows: the same in any order of the rows.
    tokens: u128,
}

/// Sequences as they are met.
#[derive(Debug, Default)]
pub struct Survey {
    found: BTreeMap<SequenceId, Rows>,
    last_position: u32,
    distinct: BTreeSet<u32>,
}

impl Survey {
    pub fn add(&mut self, info: &RowInfo) {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&info.position.to_le_bytes()).update(&info.token.to_le_bytes());
        let mut half = [0; 16];
        half.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        let rows = self.found.entry((info.corpus, info.sequence)).or_default();
        rows.count += 1;
        rows.tokens = rows.tokens.wrapping_add(u128::from_le_bytes(half));
        self.last_position = self.last_position.max(info.position);
        if self.distinct.len() < 2 {
            self.distinct.insert(info.token);
        }
    }

    /// Sequences of all portions, or of these. Errors: the rows have no text.
    pub fn finish(self, portions: Option<&[u16]>) -> Result<Sequences> {
        if self.last_position == 0 || self.distinct.len() < 2 {
            let problem = "these rows do not say from which place of which text they are: harvest them with xd, or give tensor files \
                           `tokens`, `sequence` and `position` beside the activations";
            return Err(Error::invalid("collect examples", problem));
        }
        let mut seen = BTreeSet::new();
        let asked = |id: &SequenceId| portions.is_none_or(|portions| portions.contains(&id.0));
        let kept = self.found.into_iter().filter(|(id, _)| asked(id));
        // The first of equal ones stands for all.
        let counted = kept.filter(|(_, rows)| seen.insert(rows.tokens)).enumerate();
        Ok(Sequences(counted.map(|(number, (id, rows))| (id, (number as u32, rows.count))).collect()))
    }
}

/// Number and rows of each sequence that counts.
#[derive(Debug)]
pub struct Sequences(BTreeMap<SequenceId, (u32, u32)>);

impl Sequences {
    /// `None`: it is of another portion, or another one has the same tokens.
    pub fn get(&self, info: &RowInfo) -> Option<(u32, u32)> {
        self.0.get(&(info.corpus, info.sequence)).copied()
    }
}
