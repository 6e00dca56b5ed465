//! Tokens and sequences of an activation cache.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::named_tensors::NamedTensors;
use super::{CacheFolder, TorchFile};
use crate::ml::{Error, Result};

/// So many different ids may be replaced before the base reads them (docs/method.md 2.3: Llama replaces three).
const MOST_REPLACED: usize = 16;

/// Token ids of all rows, and where sequences begin.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CacheTokens {
    /// As the tuned model read them; empty when neither cache stores them.
    pub ids: Vec<u32>,
    /// First row of each sequence, ascending, from 0; empty when it is not known.
    pub starts: Vec<u64>,
    /// The sequences begin with a token of their own.
    pub has_bos: bool,
    /// Ids that the base read in place of others: `(tuned, base)`.
    pub replaced: Vec<(u32, u32)>,
}

impl CacheTokens {
    /// Reads the tokens of both caches and checks that row by row they are the same text.
    ///
    /// # Errors
    /// The ids differ by more than a replacement of some ids, or a file is damaged.
    pub fn of(base: &CacheFolder, tuned: &CacheFolder) -> Result<Self> {
        let read = |folder: &CacheFolder| folder.tokens.as_deref().map(|path| ids(path, folder.rows())).transpose();
        let (base_ids, tuned_ids) = (read(base)?, read(tuned)?);
        let replaced = match (&base_ids, &tuned_ids) {
            (Some(base_ids), Some(tuned_ids)) => replaced(base_ids, tuned_ids).map_err(|problem| {
                let (base, tuned) = (base.folder.display(), tuned.folder.display());
                Error::invalid("pair activation caches", format!("{base} and {tuned}: {problem}"))
            })?,
            _ => Vec::new(),
        };
        let source = if tuned_ids.is_some() { tuned } else { base };
        let Some(ids) = tuned_ids.or(base_ids) else { return Ok(CacheTokens::default()) };
        let (starts, has_bos) = starts(source, &ids)?;
        Ok(CacheTokens { ids, starts, has_bos, replaced })
    }

    /// Index of the sequence of a row and the row's place in it; `None` when sequences are not known.
    pub fn place(&self, row: u64) -> Option<(u64, u64)> {
        let sequence = self.starts.partition_point(|&start| start <= row).checked_sub(1)?;
        Some((sequence as u64, row - self.starts[sequence]))
    }
}

fn ids(path: &Path, rows: u64) -> Result<Vec<u32>> {
    let file = TorchFile::open(path)?;
    let ids = file.integers("")?.ok_or_else(|| file.bad("it holds no single tensor of token ids"))?;
    if ids.len() as u64 != rows {
        return Err(file.bad(&format!("it holds {} tokens for {rows} rows", ids.len())));
    }
    ids.into_iter().map(|id| u32::try_from(id).map_err(|_| file.bad(&format!("{id} is no token id")))).collect()
}

/// The pairs `(tuned, base)` in which the ids differ, when each tuned id stands for one base id wherever it occurs.
fn replaced(base: &[u32], tuned: &[u32]) -> std::result::Result<Vec<(u32, u32)>, String> {
    let mut pairs: BTreeMap<u32, u32> = BTreeMap::new();
    let mut differ = None;
    for (row, (&base, &tuned)) in base.iter().zip(tuned).enumerate() {
        if base != tuned {
            differ.get_or_insert((row, base, tuned));
            if *pairs.entry(tuned).or_insert(base) != base || pairs.len() > MOST_REPLACED {
                return Err(not_the_same(differ));
            }
        }
    }
    let kept: BTreeSet<u32> = base.iter().zip(tuned).filter(|(b, t)| b == t).map(|(_, &t)| t).collect();
    if pairs.keys().any(|id| kept.contains(id)) {
        return Err(not_the_same(differ));
    }
    Ok(pairs.into_iter().collect())
}

fn not_the_same(differ: Option<(usize, u32, u32)>) -> String {
    let (row, base, tuned) = differ.unwrap_or_default();
    format!(
        "their rows are not the same tokens: row {row} is the token {base} in the base and {tuned} in the tuned model. \
         Both must be collected from the same texts in the same order, cut at the same length"
    )
}

/// By `sequence_ranges.pt`; else by the token that the text begins with, when it comes back often enough to be a mark.
fn starts(folder: &CacheFolder, ids: &[u32]) -> Result<(Vec<u64>, bool)> {
    let rows = ids.len() as u64;
    let begins_alike = |starts: &[u64]| starts.iter().all(|&start| ids.get(start as usize) == ids.first());
    if let Some(path) = &folder.sequence_ranges {
        let file = TorchFile::open(path)?;
        let ranges = file.integers("")?.ok_or_else(|| file.bad("it holds no single tensor of sequence starts"))?;
        let starts: Vec<u64> = ranges.iter().filter_map(|&start| u64::try_from(start).ok()).collect();
        let fits = starts.len() == ranges.len()
            && starts.first() == Some(&0)
            && starts.last() == Some(&rows)
            && starts.is_sorted();
        if !fits {
            return Err(file.bad(&format!("its sequences do not go from row 0 to row {rows}")));
        }
        // An empty sequence has no first token.
        let mut starts: Vec<u64> = starts.into_iter().filter(|&start| start < rows).collect();
        starts.dedup();
        // Where every sequence is one token long, alike beginnings are no marks.
        let has_bos = starts.len() > 1 && starts.len() < ids.len() && begins_alike(&starts);
        return Ok((starts, has_bos));
    }
    let Some((&mark, context)) = ids.first().zip(folder.context) else { return Ok((Vec::new(), false)) };
    let starts: Vec<u64> = (0..rows).filter(|&row| ids[row as usize] == mark).collect();
    let ends = starts.iter().skip(1).copied().chain([rows]);
    let fits = starts.iter().zip(ends).all(|(start, end)| end - start <= context);
    Ok(if fits { (starts, true) } else { (Vec::new(), false) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaced_ids_are_told_from_other_texts() {
        let tuned = [1, 7, 3, 7, 9, 4];
        assert_eq!(replaced(&tuned, &tuned), Ok(vec![]));
        assert_eq!(replaced(&[1, 5, 3, 5, 5, 4], &tuned), Ok(vec![(7, 5), (9, 5)]));
        assert!(replaced(&[1, 5, 3, 7, 9, 4], &tuned).is_err(), "replaced once, kept once");
        assert!(replaced(&[1, 5, 3, 6, 9, 4], &tuned).is_err(), "replaced by two");
        let shifted: Vec<u32> = (0..100).collect();
        let error = replaced(&shifted[..99], &shifted[1..]).unwrap_err();
        assert!(error.contains("row 0 is the token 0 in the base and 1 in the tuned"), "{error}");
    }
}
