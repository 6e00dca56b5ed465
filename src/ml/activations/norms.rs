//! How long the rows are, and which tokens are far longer than the rest.
//!
//! The first token of a sequence often has a norm many times that of the others ("attention sink"). A few such rows
//! dominate a squared error, so they are named before anybody trains on them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::sidecar::Record;
use crate::ml::{BASE, Result, TUNED, TokenGroup};

/// A row over this multiple of its model's median norm is a sink.
const SINK: f64 = 5.0;
/// Entries of each list.
const LISTED: usize = 16;

/// Norms of one model's rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ModelNorms {
    pub mean: f64,
    /// The upper one of two middle norms.
    pub median: f64,
    pub max: f64,
}

/// A token with rows over five times the median.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SinkToken {
    pub token: u32,
    /// Such rows.
    pub rows: u64,
    /// The longest of them, in medians of its model.
    pub ratio: f64,
}

/// A position with rows over five times the median.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SinkPosition {
    pub position: u32,
    pub rows: u64,
    pub ratio: f64,
}

/// Norms of a set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NormReport {
    /// `[base, tuned]`.
    pub models: [ModelNorms; 2],
    /// Rows over five times the median of either model.
    pub sinks: u64,
    /// Those of them that begin a sequence.
    pub sinks_at_bos: u64,
    /// The most frequent ones, at most 16.
    pub tokens: Vec<SinkToken>,
    /// The most frequent ones, at most 16.
    pub positions: Vec<SinkPosition>,
}

impl NormReport {
    /// Of all records, which are read several times.
    pub(super) fn over<I: Iterator<Item = Result<Record>>>(records: impl Fn() -> I) -> Result<Self> {
        let mut report = NormReport::default();
        for model in [BASE, TUNED] {
            let norms = || records().map(move |record| Ok(record?.norms[model]));
            report.models[model] = ModelNorms::over(norms)?;
        }
        let mut tokens: BTreeMap<u32, (u64, f64)> = BTreeMap::new();
        let mut positions: BTreeMap<u32, (u64, f64)> = BTreeMap::new();
        for record in records() {
            let record = record?;
            let ratio = report.ratio(&record);
            if ratio > SINK {
                report.sinks += 1;
                report.sinks_at_bos += u64::from(record.info.group == TokenGroup::Bos);
                for (map, key) in [(&mut tokens, record.info.token), (&mut positions, record.info.position)] {
                    let (rows, longest) = map.entry(key).or_default();
                    *rows += 1;
                    *longest = longest.max(ratio);
                }
            }
        }
        report.tokens = top(tokens).map(|(token, rows, ratio)| SinkToken { token, rows, ratio }).collect();
        report.positions =
            top(positions).map(|(position, rows, ratio)| SinkPosition { position, rows, ratio }).collect();
        Ok(report)
    }

    /// Norm in medians, of the model where that is more; 0 where the median is 0.
    fn ratio(&self, record: &Record) -> f64 {
        let ratios = self.models.iter().zip(record.norms);
        let ratios = ratios.filter(|(model, _)| model.median > 0.0).map(|(model, norm)| f64::from(norm) / model.median);
        ratios.fold(0.0, f64::max)
    }

    /// What to tell the user, if there is anything to tell. `rows` is the size of the set.
    pub fn warning(&self, rows: u64) -> Option<String> {
        let token = self.tokens.first()?;
        let position = self.positions.first()?;
        let longest = self.tokens.iter().map(|token| token.ratio).fold(0.0, f64::max);
        let advice = if self.sinks_at_bos * 2 > self.sinks { "exclude = [bos]" } else { "exclude = [norm_above(10x)]" };
        Some(format!(
            "{} of {rows} rows are over {SINK} times the median norm (up to {longest:.0} times; most often token {} and position {}): \
             they will dominate the loss. Leave them out with `{advice}`",
            self.sinks, token.token, position.position
        ))
    }
}

impl ModelNorms {
    fn over<I: Iterator<Item = Result<f32>>>(norms: impl Fn() -> I) -> Result<Self> {
        let (mut rows, mut sum, mut max) = (0u64, 0.0, 0.0f32);
        // The bits of positive floats are ordered like the floats: the median by its upper half, then by its lower half.
        let mut upper = vec![0u64; 1 << 16];
        for norm in norms() {
            let norm = norm?;
            rows += 1;
            sum += f64::from(norm);
            max = max.max(norm);
            upper[(norm.to_bits() >> 16) as usize] += 1;
        }
        if rows == 0 {
            return Ok(ModelNorms::default());
        }
        let (high, below) = find(&upper, rows / 2);
        let mut lower = vec![0u64; 1 << 16];
        for norm in norms() {
            let bits = norm?.to_bits();
            if bits >> 16 == high {
                lower[(bits & 0xffff) as usize] += 1;
            }
        }
        let (low, _) = find(&lower, rows / 2 - below);
        let median = f32::from_bits(high << 16 | low);
        Ok(ModelNorms { mean: sum / rows as f64, median: f64::from(median), max: f64::from(max) })
    }
}

/// The bucket that holds the element of this rank, and how many are in the buckets before.
fn find(buckets: &[u64], rank: u64) -> (u32, u64) {
    let mut below = 0;
    for (bucket, count) in buckets.iter().enumerate() {
        if below + count > rank {
            return (bucket as u32, below);
        }
        below += count;
    }
    (0, 0)
}

/// The entries with the most rows, the lower key first among equals.
fn top(map: BTreeMap<u32, (u64, f64)>) -> impl Iterator<Item = (u32, u64, f64)> {
    let mut entries: Vec<(u32, u64, f64)> = map.into_iter().map(|(key, (rows, ratio))| (key, rows, ratio)).collect();
    entries.sort_by_key(|(key, rows, _)| (std::cmp::Reverse(*rows), *key));
    entries.into_iter().take(LISTED)
}

/// The upper median; 0 of nothing.
pub(super) fn median(mut norms: Vec<f64>) -> f64 {
    norms.sort_by(f64::total_cmp);
    norms.get(norms.len() / 2).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ml::RowInfo;

    fn record(token: u32, position: u32, norms: [f32; 2]) -> Record {
        let group = if position == 0 { TokenGroup::Bos } else { TokenGroup::Text };
        Record { info: RowInfo { token, position, group, ..RowInfo::default() }, norms }
    }

    fn report(records: &[Record]) -> NormReport {
        NormReport::over(|| records.iter().map(|record| Ok(*record))).unwrap()
    }

    #[test]
    fn the_median_is_exact() {
        for count in [1, 2, 3, 100, 1001] {
            let norm = |i: usize| 1.0 + ((i * 7919) % 997) as f32 * 1e-4 + ((i * 31) % 7) as f32;
            let records: Vec<Record> = (0..count).map(|i| record(0, 1, [norm(i), 0.0])).collect();
            let report = report(&records);
            let norms: Vec<f64> = records.iter().map(|record| f64::from(record.norms[0])).collect();
            assert_eq!(report.models[0].median, median(norms.clone()));
            assert_eq!(report.models[0].max, norms.iter().copied().fold(0.0, f64::max));
            assert!((report.models[0].mean - norms.iter().sum::<f64>() / count as f64).abs() < 1e-9);
            assert_eq!(report.models[1], ModelNorms::default());
        }
    }

    #[test]
    fn names_the_sinks_and_what_to_write() {
        let mut records: Vec<Record> = (0..100).map(|i| record(7, 1 + i, [1.0, 2.0])).collect();
        records.extend([record(2, 0, [12.0, 2.0]), record(2, 0, [1.0, 30.0]), record(9, 4, [5.5, 2.0])]);
        let report = report(&records);
        assert_eq!((report.sinks, report.sinks_at_bos), (3, 2));
        assert_eq!(report.tokens[0], SinkToken { token: 2, rows: 2, ratio: 15.0 });
        assert_eq!(report.tokens[1], SinkToken { token: 9, rows: 1, ratio: 5.5 });
        assert_eq!(report.positions[0], SinkPosition { position: 0, rows: 2, ratio: 15.0 });
        let warning = report.warning(103).unwrap();
        assert!(warning.contains("3 of 103 rows") && warning.contains("exclude = [bos]"), "{warning}");
    }

    #[test]
    fn says_nothing_where_nothing_stands_out() {
        let records: Vec<Record> = (0..100).map(|i| record(7, i, [1.0 + i as f32 / 100.0, 2.0])).collect();
        assert_eq!(report(&records).warning(100), None);
        assert_eq!(report(&[]), NormReport::default());
    }
}
