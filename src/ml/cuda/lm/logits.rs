//! Logits in the memory of a GPU.

use std::sync::Arc;

use candle_core::{Device, Tensor};

use crate::ml::Result;
use crate::ml::cuda::launch::launch;
use crate::ml::cuda::{Arg, Array, Gpu};
use crate::ml::lm::Prediction;

/// Numbers of a prediction in `predictions.cu`.
const MEASURES: usize = 5;

/// Rows of logits `[N, V]`.
pub struct GpuLogits {
    pub(super) gpu: Arc<dyn Gpu>,
    pub(super) values: Array<f32>,
    pub(super) vocabulary: usize,
}

/// Rows of logits as distributions: the largest, its place, and ln of the sum of exp(x - largest).
struct Distributions {
    tops: Array<f32>,
    likeliest: Array<u32>,
    logs: Array<f64>,
}

impl GpuLogits {
    /// On the CPU.
    pub(crate) fn tensor(&self) -> Result<Tensor> {
        let rows = self.values.len() / self.vocabulary;
        Ok(Tensor::from_vec(self.values.get()?, (rows, self.vocabulary), &Device::Cpu)?)
    }

    /// Over the first `count` ids.
    fn distributions(&self, count: usize) -> Result<Distributions> {
        let rows = self.values.len() / self.vocabulary;
        let mut found = Distributions {
            tops: Array::empty(&self.gpu),
            likeliest: Array::empty(&self.gpu),
            logs: Array::empty(&self.gpu),
        };
        found.tops.resize(rows)?;
        found.likeliest.resize(rows)?;
        found.logs.resize(rows)?;
        let Distributions { tops, likeliest, logs } = &found;
        let (grid, stride) = ([rows as u32, 1], self.vocabulary);
        launch!(&self.gpu, "distributions", grid, &self.values, stride, count, tops, likeliest, logs)?;
        Ok(found)
    }

    /// Of the logits `[(N + 1) P, V]`, the untouched run first: `(N + 1) P` predictions, as `src/ml/lm/prediction.rs` has them on the CPU.
    pub(crate) fn compare(&self, beside: Option<&GpuLogits>, next: &[u32]) -> Result<Vec<Prediction>> {
        let rows = self.values.len() / self.vocabulary;
        let own = self.distributions(self.vocabulary)?;
        // Ids that only one of the two models has are no tokens.
        let common = beside.map_or(0, |beside| beside.vocabulary.min(self.vocabulary));
        let of_beside = beside.map(|beside| beside.distributions(common)).transpose()?;
        let cut = match beside {
            Some(_) if common < self.vocabulary => Some(self.distributions(common)?),
            _ => None,
        };
        let cut = cut.as_ref().unwrap_or(&own);
        let next_ids = Array::of(&self.gpu, next)?;
        let mut found = Array::<f64>::empty(&self.gpu);
        found.resize(rows * MEASURES)?;
        let Distributions { tops, likeliest, logs } = &own;
        let none = Arg::Place(0);
        let (other, other_tops, other_logs) = match (beside, &of_beside) {
            (Some(beside), Some(of)) => (beside.values.arg(), of.tops.arg(), of.logs.arg()),
            _ => (none, none, none),
        };
        let other_stride = beside.map_or(0, |beside| beside.vocabulary);
        let grid = [rows as u32, 1];
        launch!(
            &self.gpu,
            "predict",
            grid,
            &self.values,
            self.vocabulary,
            next.len(),
            tops,
            likeliest,
            logs,
            other,
            other_stride,
            common,
            other_tops,
            other_logs,
            &cut.tops,
            &cut.logs,
            &next_ids,
            &found,
        )?;
        let found = found.get()?;
        let prediction =
            |x: &[f64]| Prediction { kl: x[0], kl_other: x[1], loss: x[2], loss_likeliest: x[3], agrees: x[4] > 0.0 };
        Ok(found.chunks_exact(MEASURES).map(prediction).collect())
    }
}
