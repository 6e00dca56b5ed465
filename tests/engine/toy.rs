//! Small crosscoders and rows for tests, and the slow obvious way to use them.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use xd::ml::crosscoder::{Activation, CodeNorm, Crosscoder, Variant};
use xd::ml::{MemoryRows, RowInfo};

pub fn random(count: usize, rng: &mut ChaCha8Rng) -> Vec<f32> {
    (0..count).map(|_| rng.random::<f32>() * 2.0 - 1.0).collect()
}

/// A crosscoder with random weights, encoder and decoder unrelated.
pub fn crosscoder(width: usize, latents: usize, activation: Activation, seed: u64) -> Crosscoder {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    Crosscoder {
        width,
        latents,
        encoder_weight: random(2 * width * latents, &mut rng),
        encoder_bias: random(latents, &mut rng).iter().map(|b| b - 1.0).collect(),
        decoder_weight: random(2 * latents * width, &mut rng),
        decoder_bias: random(2 * width, &mut rng),
        code_norm: CodeNorm::Sum,
        activation,
        normalizer: None,
        variant: Variant::SharedCode,
    }
}

/// Random rows, `per_sequence` of them from each sequence.
pub fn rows(width: usize, count: usize, per_sequence: u32, seed: u64) -> MemoryRows {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let values = random(count * 2 * width, &mut rng).iter().map(|v| v + 0.3).collect();
    let info = |row: u32| RowInfo { sequence: row / per_sequence, position: row % per_sequence, ..RowInfo::default() };
    MemoryRows { width, values, infos: (0..count as u32).map(info).collect() }
}

/// S_j.
pub fn code_norm(cc: &Crosscoder, j: usize) -> f64 {
    (0..2).map(|m| decoder(cc, m, j).iter().map(|v| v * v).sum::<f64>().sqrt()).sum()
}

/// d_j^m in f64.
pub fn decoder(cc: &Crosscoder, m: usize, j: usize) -> Vec<f64> {
    let at = (m * cc.latents + j) * cc.width;
    cc.decoder_weight[at..at + cc.width].iter().map(|&v| v as f64).collect()
}

/// f of one row `[2, d]`, dense, in f64.
pub fn encode(cc: &Crosscoder, row: &[f32]) -> Vec<f64> {
    let mut f: Vec<f64> = (0..cc.latents)
        .map(|j| {
            let dot = (0..2 * cc.width).map(|i| row[i] as f64 * cc.encoder_weight[i * cc.latents + j] as f64);
            (dot.sum::<f64>() + cc.encoder_bias[j] as f64).max(0.0)
        })
        .collect();
    let scaled: Vec<f64> = f.iter().enumerate().map(|(j, f)| f * code_norm(cc, j)).collect();
    match &cc.activation {
        Activation::Relu => {}
        Activation::Threshold { threshold, .. } => {
            f.iter_mut().zip(&scaled).filter(|(_, s)| **s <= *threshold as f64).for_each(|(f, _)| *f = 0.0)
        }
        Activation::TopK { k } => {
            let mut order: Vec<usize> = (0..cc.latents).collect();
            order.sort_by(|&a, &b| scaled[b].total_cmp(&scaled[a]));
            order[*k as usize..].iter().for_each(|&j| f[j] = 0.0);
        }
        Activation::JumpRelu { thresholds } => {
            f.iter_mut().zip(thresholds).filter(|(f, t)| **f <= **t as f64).for_each(|(f, _)| *f = 0.0)
        }
    }
    f
}

/// hhat of one row, `[2][d]`.
pub fn decode(cc: &Crosscoder, f: &[f64]) -> [Vec<f64>; 2] {
    [0, 1].map(|m| {
        let mut out: Vec<f64> = cc.decoder_bias[m * cc.width..(m + 1) * cc.width].iter().map(|&b| b as f64).collect();
        for (j, f) in f.iter().enumerate().filter(|(_, f)| **f > 0.0) {
            out.iter_mut().zip(decoder(cc, m, j)).for_each(|(o, d)| *o += f * d);
        }
        out
    })
}
