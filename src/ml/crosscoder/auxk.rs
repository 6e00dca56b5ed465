//! AuxK: dead latents learn to write the error that the living ones leave (docs/method.md 1.4).

use rayon::prelude::*;

use super::rows_pass::{self, CHUNK_ROWS};
use super::state::State;
use super::{Precision, SparseCode};
use crate::ml::kernels::{Preactivations, Selector, dots, squared_norm};

/// Places whose mean and spread one thread takes.
const PLACES: usize = 64;

/// AuxK of one batch; its buffers are used again for the next one.
#[derive(Default)]
pub struct AuxK {
    /// Code of dead latents: the min(d / 2, dead) largest scores of each row among them.
    pub code: SparseCode,
    /// weight * dL_aux/dehat `[B, 2d]`.
    pub upstream: Vec<f32>,
    /// weight * dL_aux/dp for each entry of the code.
    pub gradients: Vec<f32>,
    /// Most latents of a row: d / 2.
    pub most: usize,
    /// What the encoder's product reads.
    pub precision: Precision,
    /// L_aux = mean_i ||e_i - ehat_i||^2 / mean_i ||e_i - mean e||^2, without its weight.
    pub loss: f64,
    /// x W_enc of the dead latents alone `[B, dead]`, their biases and their S.
    products: Vec<f32>,
    bias: Vec<f32>,
    norms: Vec<f32>,
    zeros: Vec<f32>,
    selector: Selector,
    parts: Vec<f64>,
}

impl AuxK {
    /// Of what the encoder reads, x, and the (detached) errors e, both `[B, 2d]`; `norms` is S, `dead` is ascending.
    pub fn fill(&mut self, weight: f64, x: &[f32], error: &[f32], state: &State, norms: &[f32], dead: &[u32]) {
        let both = state.decoder_bias.value.len();
        let rows = (error.len() / both) as f64;
        let keep = self.most.min(dead.len());
        self.code.clear();
        self.gradients.clear();
        self.loss = 0.0;
        if weight == 0.0 || keep == 0 {
            return;
        }
        let spread = spread(error, both, &mut self.parts);
        if spread <= 0.0 {
            return;
        }
        self.choose(x, state, norms, dead, keep);
        let decoder = &state.decoder.value;
        self.upstream.resize(error.len(), 0.0);
        self.zeros.resize(both, 0.0);
        rows_pass::decode(&self.code, decoder, &self.zeros, &mut self.upstream);
        let factor = (-2.0 * weight / (rows * spread)) as f32;
        let chunk = CHUNK_ROWS * both;
        self.upstream
            .par_chunks_mut(chunk)
            .zip(error.par_chunks(chunk))
            .map(|(differences, errors)| {
                let mut sum = 0f64;
                for (difference, e) in differences.chunks_mut(both).zip(errors.chunks(both)) {
                    difference.iter_mut().zip(e).for_each(|(h, e)| *h = e - *h);
                    sum += squared_norm(difference) as f64;
                    difference.iter_mut().for_each(|h| *h *= factor);
                }
                sum
            })
            .collect_into_vec(&mut self.parts);
        self.gradients.resize(self.code.values.len(), 0.0);
        rows_pass::back_to_code(&self.code, &self.upstream, decoder, both, &mut self.gradients);
        self.loss = self.parts.iter().sum::<f64>() / rows / spread;
    }

    /// The code: only the dead latents are scored.
    fn choose(&mut self, x: &[f32], state: &State, norms: &[f32], dead: &[u32], keep: usize) {
        let both = state.decoder_bias.value.len();
        self.products.resize(x.len() / both * dead.len(), 0.0);
        let encoder = &state.encoder.value;
        match self.precision {
            Precision::F32 => dots(&mut self.products, x, encoder, both, Some(dead)),
            narrow => {
                let (x, encoder) = (narrow.read(x), narrow.read_rows(encoder, both, dead));
                dots(&mut self.products, &x, &encoder, both, None);
            }
        }
        self.bias.clear();
        self.bias.extend(dead.iter().map(|&j| state.encoder_bias.value[j as usize]));
        self.norms.clear();
        self.norms.extend(dead.iter().map(|&j| norms[j as usize]));
        let at = Preactivations { products: &self.products, bias: &self.bias, norms: &self.norms };
        self.selector.row_top_k(at, keep, None, &mut self.code);
        self.code.latents.iter_mut().for_each(|place| *place = dead[*place as usize]);
    }
}

/// mean_i ||e_i - mean e||^2, summed in `parts`.
fn spread(error: &[f32], both: usize, parts: &mut Vec<f64>) -> f64 {
    let rows = (error.len() / both) as f64;
    (0..both.div_ceil(PLACES))
        .into_par_iter()
        .map(|part| {
            let from = part * PLACES;
            let count = PLACES.min(both - from);
            let mut mean = [0f64; PLACES];
            for row in error.chunks(both) {
                mean.iter_mut().zip(&row[from..from + count]).for_each(|(m, &e)| *m += e as f64 / rows);
            }
            let mut squares = [0f64; PLACES];
            for row in error.chunks(both) {
                let deviations = mean.iter().zip(&row[from..from + count]);
                squares.iter_mut().zip(deviations).for_each(|(s, (m, &e))| *s += (e as f64 - m) * (e as f64 - m));
            }
            squares.iter().sum()
        })
        .collect_into_vec(parts);
    parts.iter().sum::<f64>() / rows
}
