//! AuxK: dead latents learn to write the error that the living ones leave (docs/method.md 1.4).

use super::{SparseCode, rows_pass};
use crate::ml::kernels::{Preactivations, row_top_k, squared_norm};

/// AuxK of one batch.
#[derive(Default)]
pub struct AuxK {
    /// Code of dead latents: the min(d / 2, dead) largest scores of each row among them.
    pub code: SparseCode,
    /// weight * dL_aux/dehat `[B, 2d]`.
    pub upstream: Vec<f32>,
    /// weight * dL_aux/dp for each entry of the code.
    pub gradients: Vec<f32>,
    /// L_aux = mean_i ||e_i - ehat_i||^2 / mean_i ||e_i - mean e||^2, without its weight.
    pub loss: f64,
}

impl AuxK {
    /// From the (detached) errors e `[B, 2d]`; `dead` is ascending.
    pub fn of(weight: f64, at: Preactivations, dead: &[u32], error: &[f32], decoder: &[f32], both: usize) -> Self {
        let rows = (error.len() / both) as f64;
        let spread = spread(error, both);
        let keep = (both / 4).min(dead.len());
        if weight == 0.0 || keep == 0 || spread <= 0.0 {
            return AuxK::default();
        }
        let code = row_top_k(at, keep, Some(dead));
        let mut upstream = vec![0.0; error.len()];
        rows_pass::decode(&code, decoder, &vec![0.0; both], &mut upstream);
        let factor = (-2.0 * weight / (rows * spread)) as f32;
        let mut squares = 0f64;
        for (difference, e) in upstream.chunks_mut(both).zip(error.chunks(both)) {
            difference.iter_mut().zip(e).for_each(|(h, e)| *h = e - *h);
            squares += squared_norm(difference) as f64;
            difference.iter_mut().for_each(|h| *h *= factor);
        }
        let mut gradients = vec![0.0; code.values.len()];
        rows_pass::back_to_code(&code, &upstream, decoder, both, &mut gradients);
        AuxK { code, upstream, gradients, loss: squares / rows / spread }
    }
}

/// mean_i ||e_i - mean e||^2.
fn spread(error: &[f32], both: usize) -> f64 {
    let rows = (error.len() / both) as f64;
    let mut mean = vec![0f64; both];
    for row in error.chunks(both) {
        mean.iter_mut().zip(row).for_each(|(m, &e)| *m += e as f64 / rows);
    }
    let squares = |row: &[f32]| mean.iter().zip(row).map(|(m, &e)| (e as f64 - m) * (e as f64 - m)).sum::<f64>();
    error.chunks(both).map(squares).sum::<f64>() / rows
}
