//! One step in each precision against its definition in f64 (docs/method.md 1.8): what products read is rounded, nothing else is.

use super::rows::{config, l1, rows, top};
use xd::ml::crosscoder::*;

const WIDTH: usize = 6;
const LATENTS: usize = 40;
const ROWS: usize = 24;
pub const ALL: [Precision; 3] = [Precision::F32, Precision::Tf32, Precision::Bf16];

/// Adam without memory and with a huge epsilon takes steps of `STEP` times the gradient.
const STEP: f64 = 1e3;
const EPSILON: f64 = 1e6;

/// Parameters in f64: encoder.weight `[2, d, D]`, encoder.bias `[D]`, decoder.weight `[2, D, d]`, decoder.bias `[2, d]`.
fn parameters(c: &Crosscoder) -> Vec<f64> {
    [&c.encoder_weight, &c.encoder_bias, &c.decoder_weight, &c.decoder_bias]
        .into_iter()
        .flatten()
        .map(|&v| f64::from(v))
        .collect()
}

fn weights() -> Crosscoder {
    let number = |i: usize, seed: usize| (((i * 7919 + seed * 104_729) % 1009) as f32 / 504.5 - 1.0) * 0.6;
    let weights = |seed| (0..2 * WIDTH * LATENTS).map(|i| number(i, seed)).collect::<Vec<_>>();
    Crosscoder {
        width: WIDTH,
        latents: LATENTS,
        encoder_weight: weights(1),
        encoder_bias: (0..LATENTS).map(|j| 0.1 * number(j, 3)).collect(),
        decoder_weight: weights(2),
        decoder_bias: (0..2 * WIDTH).map(|i| 0.1 * number(i, 4)).collect(),
        code_norm: CodeNorm::Sum,
        activation: Activation::Relu,
        normalizer: None,
        variant: Variant::SharedCode,
    }
}

/// The loss and its gradient, laid out as the parameters.
fn gradient(c: &Crosscoder, x: &[f32], loss: &Loss, precision: Precision) -> (f64, Vec<f64>) {
    let (d, both) = (WIDTH, 2 * WIDTH);
    let read = |value: f64| f64::from(precision.round(value as f32));
    let encoder = |c: &Crosscoder, place: usize, j: usize| f64::from(c.encoder_weight[place * LATENTS + j]);
    let at = |place: usize, j: usize| (place / d * LATENTS + j) * d + place % d;
    let decoder = |place: usize, j: usize| f64::from(c.decoder_weight[at(place, j)]);
    let norm = |m: usize, j: usize| (0..d).map(|i| decoder(m * d + i, j).powi(2)).sum::<f64>().sqrt();
    let scale = |j: usize| norm(0, j) + norm(1, j);
    let is_dense = matches!(loss, Loss::L1 { .. });
    let in_product = |value: f64| if is_dense { read(value) } else { value };

    let mut code = vec![[0f64; LATENTS]; ROWS];
    for (row, f) in code.iter_mut().enumerate() {
        for (j, f) in f.iter_mut().enumerate() {
            let sum: f64 = (0..both).map(|p| read(x[row * both + p].into()) * read(encoder(c, p, j))).sum();
            *f = (sum + f64::from(c.encoder_bias[j])).max(0.0);
        }
    }
    let mut weight = 0.0;
    match loss {
        Loss::L1 { weight: mu, .. } => weight = *mu,
        Loss::BatchTopK(top) | Loss::TopK(top) => {
            let mut all: Vec<(usize, usize)> = (0..ROWS * LATENTS).map(|t| (t / LATENTS, t % LATENTS)).collect();
            all.sort_by(|a, b| (code[b.0][b.1] * scale(b.1)).total_cmp(&(code[a.0][a.1] * scale(a.1))));
            all[ROWS * top.k as usize..].iter().for_each(|&(row, j)| code[row][j] = 0.0);
        }
    }
    let mut out = vec![0f64; 2 * both * LATENTS + LATENTS + both];
    let (encoder_bias, decoders) = (both * LATENTS, both * LATENTS + LATENTS);
    let decoder_bias = decoders + both * LATENTS;
    let count = (2 * ROWS) as f64;
    let mut total = 0.0;
    for (row, f) in code.iter().enumerate() {
        let mut upstream = vec![0f64; both];
        for m in 0..2 {
            let error: Vec<f64> = (m * d..(m + 1) * d)
                .map(|p| {
                    let sum: f64 = (0..LATENTS).map(|j| in_product(f[j]) * in_product(decoder(p, j))).sum();
                    f64::from(x[row * both + p]) - sum - f64::from(c.decoder_bias[p])
                })
                .collect();
            let size = error.iter().map(|e| e * e).sum::<f64>().sqrt();
            total += size / count;
            upstream[m * d..(m + 1) * d].iter_mut().zip(&error).for_each(|(u, e)| *u = -e / (size * count));
        }
        for p in 0..both {
            out[decoder_bias + p] += upstream[p];
        }
        for j in (0..LATENTS).filter(|&j| f[j] > 0.0) {
            let share = weight / ROWS as f64;
            total += share * f[j] * scale(j);
            let through: f64 = (0..both).map(|p| in_product(upstream[p]) * in_product(decoder(p, j))).sum();
            let flow = through + share * scale(j);
            out[encoder_bias + j] += flow;
            for p in 0..both {
                let m = p / d;
                out[p * LATENTS + j] += in_product(flow) * in_product(x[row * both + p].into());
                out[decoders + at(p, j)] +=
                    in_product(f[j]) * in_product(upstream[p]) + share * f[j] * decoder(p, j) / norm(m, j);
            }
        }
    }
    (total, out)
}

fn size(values: impl Iterator<Item = f64>) -> f64 {
    values.map(|v| v * v).sum::<f64>().sqrt()
}

/// Compares the first step of a trainer, taken to its device, with the definition; and sees that each precision is told from f32.
pub fn one_step_is_that_of_the_definition(device: impl Fn(Trainer) -> Trainer) {
    let batch = rows(ROWS, WIDTH, 5);
    for loss in [l1(0.3, Reconstruction::L2, CodeNorm::Sum), Loss::BatchTopK(top(5))] {
        for precision in ALL {
            let mut config = config(LATENTS, loss);
            config.train.clip = None;
            config.train.precision = precision;
            config.train.optimizer = AdamConfig {
                learning_rate: STEP * EPSILON,
                beta1: 0.0,
                beta2: 0.0,
                epsilon: EPSILON,
                warmup: 0,
                decay: 0,
            };
            let mut start = weights();
            if !matches!(loss, Loss::L1 { .. }) {
                start.decoder_bias = geometric_median(&batch, WIDTH, 2);
            }
            let mut trainer = device(Trainer::new(config, WIDTH, Some(&start)).unwrap());
            let report = trainer.step(&batch).unwrap();
            let after = parameters(&trainer.finish().unwrap());
            let followed: Vec<f64> = parameters(&start).iter().zip(&after).map(|(b, a)| (b - a) / STEP).collect();
            let (total, exact) = gradient(&start, &batch, &loss, precision);
            let off =
                |other: &[f64]| size(followed.iter().zip(other).map(|(a, b)| a - b)) / size(other.iter().copied());
            assert!((report.loss - total).abs() < 2e-6 * total, "{precision:?} {loss:?}: {} {total}", report.loss);
            assert!(off(&exact) < 2e-5, "{precision:?} {loss:?}: off by {:e}", off(&exact));
            if precision != Precision::F32 {
                let (_, in_f32) = gradient(&start, &batch, &loss, Precision::F32);
                let told = if precision == Precision::Bf16 { 5e-4 } else { 6e-5 };
                assert!(off(&in_f32) > told, "{precision:?} {loss:?} is not told from f32: {:e}", off(&in_f32));
            }
        }
    }
}

#[test]
fn a_step_in_each_precision_rounds_what_products_read_and_nothing_else() {
    one_step_is_that_of_the_definition(|trainer| trainer);
}
