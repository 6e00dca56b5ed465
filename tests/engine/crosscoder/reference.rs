//! The losses again, in f64, dense and by their definitions (docs/method.md 1.1 to 1.4): slow and obvious.

use xd::ml::crosscoder::*;

/// Shape of a small crosscoder; parameters lie one after the other: encoder.weight `[2, d, D]`, encoder.bias `[D]`,
/// decoder.weight `[2, D, d]`, decoder.bias `[2, d]`.
#[derive(Clone, Copy)]
pub struct Shape {
    pub width: usize,
    pub latents: usize,
}

pub struct Outcome {
    pub total: f64,
    pub reconstruction: f64,
    pub sparsity: f64,
    pub auxk: f64,
    /// eps `[B, 2, d]`.
    pub error: Vec<f64>,
    /// Active entries.
    pub active: usize,
}

impl Shape {
    pub fn count(self) -> usize {
        4 * self.width * self.latents + self.latents + 2 * self.width
    }

    /// Ends of the four tensors.
    pub fn ends(self) -> [usize; 4] {
        let weights = 2 * self.width * self.latents;
        [weights, weights + self.latents, 2 * weights + self.latents, self.count()]
    }

    fn encoder(self, p: &[f64], m: usize, i: usize, j: usize) -> f64 {
        p[(m * self.width + i) * self.latents + j]
    }

    fn encoder_bias(self, p: &[f64], j: usize) -> f64 {
        p[self.ends()[0] + j]
    }

    fn decoder(self, p: &[f64], m: usize, j: usize, i: usize) -> f64 {
        p[self.ends()[1] + (m * self.latents + j) * self.width + i]
    }

    fn decoder_bias(self, p: &[f64], m: usize, i: usize) -> f64 {
        p[self.ends()[2] + m * self.width + i]
    }

    fn code_norm(self, p: &[f64], norm: CodeNorm, j: usize) -> f64 {
        let square = |m| (0..self.width).map(|i| self.decoder(p, m, j, i).powi(2)).sum::<f64>();
        match norm {
            CodeNorm::Sum => square(0).sqrt() + square(1).sqrt(),
            CodeNorm::Concat => (square(0) + square(1)).sqrt(),
            CodeNorm::None => 1.0,
            CodeNorm::Mixed { sae, cc } => {
                f64::from(sae) * (square(0) + square(1)).sqrt() + f64::from(cc) * (square(0).sqrt() + square(1).sqrt())
            }
        }
    }

    /// sum_j f_j d_j, without the bias.
    fn decode(self, p: &[f64], f: &[f64], m: usize, i: usize) -> f64 {
        (0..self.latents).map(|j| f[j] * self.decoder(p, m, j, i)).sum()
    }

    /// The loss of rows x. Latents without an active entry in the batch are dead when `dead` is true. AuxK takes its
    /// (detached) errors from `frozen`, or else from this evaluation.
    pub fn loss(self, p: &[f64], x: &[f32], loss: &Loss, dead: bool, frozen: Option<&[f64]>) -> Outcome {
        let (d, latents) = (self.width, self.latents);
        let rows = x.len() / (2 * d);
        let relu: Vec<Vec<f64>> = (0..rows)
            .map(|row| {
                let preactivation = |j: usize| {
                    let sum = |m: usize| -> f64 {
                        (0..d).map(|i| x[(row * 2 + m) * d + i] as f64 * self.encoder(p, m, i, j)).sum()
                    };
                    sum(0) + sum(1) + self.encoder_bias(p, j)
                };
                (0..latents).map(|j| preactivation(j).max(0.0)).collect()
            })
            .collect();
        let norms: Vec<f64> = (0..latents).map(|j| self.code_norm(p, loss.norm(), j)).collect();
        let best = |candidates: Vec<(usize, usize)>, keep: usize| {
            let mut code = vec![vec![0.0; latents]; rows];
            let score = |&(row, j): &(usize, usize)| relu[row][j] * norms[j];
            let mut order = candidates;
            order.sort_by(|a, b| score(b).total_cmp(&score(a)).then(a.cmp(b)));
            order.into_iter().take(keep).for_each(|(row, j)| code[row][j] = relu[row][j]);
            code
        };
        let by_row = |among: &[usize], keep: usize| -> Vec<Vec<f64>> {
            (0..rows).map(|row| best(among.iter().map(|&j| (row, j)).collect(), keep).swap_remove(row)).collect()
        };
        let all: Vec<usize> = (0..latents).collect();
        let code = match loss {
            Loss::L1 { .. } => relu.clone(),
            Loss::BatchTopK(top) => {
                let everything = (0..rows).flat_map(|row| all.iter().map(move |&j| (row, j))).collect();
                best(everything, rows * top.k as usize)
            }
            Loss::TopK(top) => by_row(&all, top.k as usize),
        };
        let mut error = Vec::new();
        let mut reconstruction = 0.0;
        for (row, f) in code.iter().enumerate() {
            for m in 0..2 {
                let eps =
                    |i: usize| x[(row * 2 + m) * d + i] as f64 - self.decode(p, f, m, i) - self.decoder_bias(p, m, i);
                let eps: Vec<f64> = (0..d).map(eps).collect();
                let square: f64 = eps.iter().map(|e| e * e).sum();
                let term = if loss.reconstruction() == Reconstruction::L2 { square.sqrt() } else { square };
                reconstruction += term / (2 * rows) as f64;
                error.extend(eps);
            }
        }
        let (mut sparsity, mut auxk, mut total) = (0.0, 0.0, reconstruction);
        match loss {
            Loss::L1 { weight, .. } => {
                sparsity = code.iter().map(|f| f.iter().zip(&norms).map(|(f, s)| f * s).sum::<f64>()).sum::<f64>()
                    / rows as f64;
                total += weight * sparsity;
            }
            Loss::BatchTopK(top) | Loss::TopK(top) => {
                let dead: Vec<usize> =
                    all.iter().copied().filter(|&j| dead && code.iter().all(|f| f[j] == 0.0)).collect();
                if !dead.is_empty() {
                    let code = by_row(&dead, (d / 2).min(dead.len()));
                    auxk = self.auxk(p, &code, frozen.unwrap_or(&error));
                    total += top.aux * auxk;
                }
            }
        }
        let active = code.iter().flatten().filter(|&&f| f > 0.0).count();
        Outcome { total, reconstruction, sparsity, auxk, error, active }
    }

    fn auxk(self, p: &[f64], code: &[Vec<f64>], error: &[f64]) -> f64 {
        let both = 2 * self.width;
        let rows = code.len() as f64;
        let mean = |c: usize| error.iter().skip(c).step_by(both).sum::<f64>() / rows;
        let means: Vec<f64> = (0..both).map(mean).collect();
        let (mut left, mut spread) = (0.0, 0.0);
        for (f, e) in code.iter().zip(error.chunks(both)) {
            for c in 0..both {
                left += (e[c] - self.decode(p, f, c / self.width, c % self.width)).powi(2) / rows;
                spread += (e[c] - means[c]).powi(2) / rows;
            }
        }
        left / spread
    }

    /// Central differences of the loss by every parameter.
    pub fn gradient(self, p: &[f64], x: &[f32], loss: &Loss, dead: bool) -> Vec<f64> {
        let error = self.loss(p, x, loss, dead, None).error;
        let step = 1e-6;
        let mut p = p.to_vec();
        (0..p.len())
            .map(|i| {
                let at = p[i];
                p[i] = at + step;
                let over = self.loss(&p, x, loss, dead, Some(&error)).total;
                p[i] = at - step;
                let under = self.loss(&p, x, loss, dead, Some(&error)).total;
                p[i] = at;
                (over - under) / (2.0 * step)
            })
            .collect()
    }
}

/// All parameters of a crosscoder.
pub fn parameters(crosscoder: &Crosscoder) -> Vec<f64> {
    [&crosscoder.encoder_weight, &crosscoder.encoder_bias, &crosscoder.decoder_weight, &crosscoder.decoder_bias]
        .into_iter()
        .flatten()
        .map(|&v| v as f64)
        .collect()
}
