//! Raw activations to scaled ones, once.

use serde::{Deserialize, Serialize};

use super::statistics::Statistics;
use super::{ShardRows, StreamedRows, TensorRows};
use crate::ml::formats::CacheRows;
use crate::ml::synthetic::SyntheticRows;
use crate::ml::{Error, MemoryRows, Result, RowInfo, Rows};

/// How activations are scaled before a crosscoder sees them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Normalize {
    /// As they are (the paper's runs).
    #[default]
    None,
    /// x -> (x - mean) target / sqrt(sum of variances + 1e-8): the mean of each coordinate, and one scale for both models
    /// (published code, `NormalizableMixin`; its later default target is 100).
    Rms(f64),
    /// x^m -> x^m sqrt(d) / mean norm of model m (Kissane et al.).
    PerModelScale,
}

/// Rows that have not been scaled yet. [`Normalized`] is not, so nothing is scaled twice:
///
/// ```compile_fail
/// use xd::ml::{MemoryRows, activations::{Normalizer, Normalized}};
/// fn twice(by: &Normalizer, rows: Normalized<MemoryRows>) {
///     by.wrap(rows).unwrap();
/// }
/// ```
pub trait Raw: Rows {}

impl Raw for CacheRows {}
impl Raw for MemoryRows {}
impl Raw for ShardRows {}
impl Raw for StreamedRows<'_> {}
impl Raw for TensorRows {}
impl Raw for SyntheticRows {}
impl<R: Raw + ?Sized> Raw for &R {}
impl<R: Raw + ?Sized> Raw for Box<R> {}

/// y^m = (x^m - mean^m) scale^m.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Normalizer {
    width: usize,
    /// `[2 d]`, or empty for no shift.
    mean: Vec<f32>,
    scale: [f32; 2],
}

impl Normalizer {
    /// From statistics of the training set. Errors: no rows, a set that is constant or all zero, a target that is not positive.
    pub fn fit(normalize: Normalize, statistics: &Statistics) -> Result<Self> {
        let width = statistics.width();
        let refuse = |problem: String| Err(Error::invalid("normalize activations", problem));
        if normalize != Normalize::None && statistics.rows == 0 {
            return refuse("there are no training rows to take statistics from".into());
        }
        match normalize {
            Normalize::None => Ok(Normalizer { width, mean: Vec::new(), scale: [1.0; 2] }),
            Normalize::Rms(target) => {
                let variance: f64 = statistics.variance().iter().sum();
                if !(target.is_finite() && target > 0.0) {
                    return refuse(format!("the target {target} of rms is not a positive number"));
                }
                if !(variance > 0.0 && variance.is_finite()) {
                    return refuse(format!("the variances of the {} training rows sum to {variance}", statistics.rows));
                }
                let scale = (target / (variance + 1e-8).sqrt()) as f32;
                Ok(Normalizer { width, mean: statistics.mean.iter().map(|&x| x as f32).collect(), scale: [scale; 2] })
            }
            Normalize::PerModelScale => {
                let [base, tuned] = statistics.norm;
                if !(base > 0.0 && tuned > 0.0 && base.is_finite() && tuned.is_finite()) {
                    return refuse(format!("the mean norms are {base} (base) and {tuned} (tuned)"));
                }
                let root = (width as f64).sqrt();
                Ok(Normalizer { width, mean: Vec::new(), scale: [(root / base) as f32, (root / tuned) as f32] })
            }
        }
    }

    /// True when it changes nothing.
    pub fn is_identity(&self) -> bool {
        self.mean.is_empty() && self.scale == [1.0; 2]
    }

    /// Factor of each model.
    pub fn scale(&self) -> [f32; 2] {
        self.scale
    }

    /// What is taken off first, `[2 d]`; empty for nothing.
    pub fn mean(&self) -> &[f32] {
        &self.mean
    }

    /// Rows that are scaled as they are read. Errors: another width.
    pub fn wrap<R: Raw>(&self, rows: R) -> Result<Normalized<R>> {
        if rows.width() != self.width {
            let problem = format!("statistics of width d = {} for rows of width d = {}", self.width, rows.width());
            return Err(Error::invalid("normalize activations", problem));
        }
        Ok(Normalized { rows, by: self.clone() })
    }

    /// Scales `[rows, 2, d]` in place.
    pub(crate) fn apply(&self, values: &mut [f32]) {
        if self.is_identity() {
            return;
        }
        for row in values.chunks_exact_mut(2 * self.width) {
            if !self.mean.is_empty() {
                row.iter_mut().zip(&self.mean).for_each(|(x, mean)| *x -= mean);
            }
            for (half, scale) in row.chunks_exact_mut(self.width).zip(self.scale) {
                half.iter_mut().for_each(|x| *x *= scale);
            }
        }
    }
}

impl Normalizer {
    /// What rows `[rows, 2, d]` were before they were scaled, in place: x^m = y^m / scale^m + mean^m.
    pub(crate) fn undo(&self, values: &mut [f32]) {
        if self.is_identity() {
            return;
        }
        for row in values.chunks_exact_mut(2 * self.width) {
            for (half, scale) in row.chunks_exact_mut(self.width).zip(self.scale) {
                half.iter_mut().for_each(|x| *x /= scale);
            }
            row.iter_mut().zip(&self.mean).for_each(|(x, mean)| *x += mean);
        }
    }
}

/// Rows that are scaled as they are read.
#[derive(Debug)]
pub struct Normalized<R> {
    rows: R,
    by: Normalizer,
}

impl<R> Normalized<R> {
    /// What they were before.
    pub fn raw(&self) -> &R {
        &self.rows
    }

    pub fn normalizer(&self) -> &Normalizer {
        &self.by
    }
}

impl<R: Raw> Rows for Normalized<R> {
    fn width(&self) -> usize {
        self.rows.width()
    }

    fn count(&self) -> u64 {
        self.rows.count()
    }

    fn read(&self, start: u64, out: &mut [f32]) -> Result<()> {
        self.rows.read(start, out)?;
        self.by.apply(out);
        Ok(())
    }

    fn info(&self, start: u64, out: &mut [RowInfo]) -> Result<()> {
        self.rows.info(start, out)
    }

    fn origins(&self, see: &mut dyn FnMut(&[RowInfo])) -> Result<()> {
        self.rows.origins(see)
    }

    fn is_stored(&self) -> bool {
        self.rows.is_stored()
    }

    fn expect(&self, rows: &[u64]) {
        self.rows.expect(rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> MemoryRows {
        let values = (0..600).map(|i| ((i * 37) % 101) as f32 * if i % 6 < 3 { 0.5 } else { 2.0 } + 3.0).collect();
        MemoryRows { width: 3, values, infos: Vec::new() }
    }

    fn read(rows: &dyn Rows) -> Vec<f32> {
        let mut out = vec![0.0; rows.count() as usize * 2 * rows.width()];
        rows.read(0, &mut out).unwrap();
        out
    }

    #[test]
    fn none_changes_no_bit() {
        let rows = rows();
        let by = Normalizer::fit(Normalize::None, &Statistics::over(&rows).unwrap()).unwrap();
        assert!(by.is_identity());
        assert_eq!(read(&by.wrap(&rows).unwrap()), rows.values);
    }

    #[test]
    fn rms_centres_and_gives_the_target() {
        let rows = rows();
        let by = Normalizer::fit(Normalize::Rms(100.0), &Statistics::over(&rows).unwrap()).unwrap();
        let scaled = MemoryRows { values: read(&by.wrap(&rows).unwrap()), ..rows };
        let after = Statistics::over(&scaled).unwrap();
        assert!(after.mean.iter().all(|mean| mean.abs() < 1e-3), "{:?}", after.mean);
        assert!((after.variance().iter().sum::<f64>().sqrt() - 100.0).abs() < 1e-2);
        assert_eq!(by.scale()[0], by.scale()[1]);
    }

    #[test]
    fn per_model_scale_gives_both_models_the_norm_root_d() {
        let rows = rows();
        let by = Normalizer::fit(Normalize::PerModelScale, &Statistics::over(&rows).unwrap()).unwrap();
        let scaled = MemoryRows { values: read(&by.wrap(&rows).unwrap()), ..rows };
        let after = Statistics::over(&scaled).unwrap();
        assert!(after.norm.iter().all(|norm| (norm - 3f64.sqrt()).abs() < 1e-5), "{:?}", after.norm);
        assert_ne!(by.scale()[0], by.scale()[1]);
    }

    #[test]
    fn undone_rows_are_what_they_were() {
        let rows = rows();
        for normalize in [Normalize::None, Normalize::Rms(7.0), Normalize::PerModelScale] {
            let by = Normalizer::fit(normalize, &Statistics::over(&rows).unwrap()).unwrap();
            let mut values = read(&by.wrap(&rows).unwrap());
            by.undo(&mut values);
            let worst = values.iter().zip(&rows.values).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst < 1e-4, "{normalize:?}: {worst}");
        }
    }

    #[test]
    fn validation_rows_use_the_training_statistics() {
        let train = rows();
        let by = Normalizer::fit(Normalize::Rms(1.0), &Statistics::over(&train).unwrap()).unwrap();
        let one = MemoryRows { width: 3, values: train.values[..6].to_vec(), infos: Vec::new() };
        assert_eq!(read(&by.wrap(&one).unwrap()), read(&by.wrap(&train).unwrap())[..6]);
    }

    #[test]
    fn refuses_what_has_no_scale() {
        let none = Statistics::new(3);
        assert!(Normalizer::fit(Normalize::Rms(1.0), &none).is_err());
        let zeros = MemoryRows { width: 3, values: vec![0.0; 60], infos: Vec::new() };
        let statistics = Statistics::over(&zeros).unwrap();
        assert!(Normalizer::fit(Normalize::Rms(1.0), &statistics).is_err());
        assert!(Normalizer::fit(Normalize::PerModelScale, &statistics).is_err());
        let by = Normalizer::fit(Normalize::None, &statistics).unwrap();
        assert!(by.wrap(MemoryRows { width: 2, ..MemoryRows::default() }).is_err());
    }
}
