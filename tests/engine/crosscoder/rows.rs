//! Rows and configurations for the tests beside.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use xd::ml::crosscoder::*;

/// Rows `[count, 2, width]` of a few sparse directions and noise.
pub fn rows(count: usize, width: usize, seed: u64) -> Vec<f32> {
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    let features = 3 * width;
    let directions: Vec<f32> = (0..features * 2 * width).map(|_| generator.random_range(-1.0..1.0)).collect();
    let mut out = Vec::with_capacity(count * 2 * width);
    for _ in 0..count {
        let mut row: Vec<f32> = (0..2 * width).map(|_| generator.random_range(-0.1..0.1)).collect();
        for _ in 0..4 {
            let (feature, size) = (generator.random_range(0..features), generator.random_range(0.5..2.0));
            let direction = &directions[feature * 2 * width..(feature + 1) * 2 * width];
            row.iter_mut().zip(direction).for_each(|(x, d)| *x += size * d);
        }
        out.extend(row);
    }
    out
}

pub fn l1(weight: f64, reconstruction: Reconstruction, norm: CodeNorm) -> Loss {
    Loss::L1 { weight, warmup: 0, reconstruction, norm }
}

pub fn top(k: u64) -> TopK {
    TopK {
        k,
        aux: 1.0 / 32.0,
        dead_after: 10_000_000,
        threshold_from: 5,
        anneal: None,
        reconstruction: Reconstruction::L2,
        norm: CodeNorm::Sum,
    }
}

pub fn config(latents: usize, loss: Loss) -> TrainerConfig {
    TrainerConfig {
        latents,
        variant: Variant::SharedCode,
        loss,
        init: Init { norm: Some(0.5), encoder: InitEncoder::Transpose, same: true },
        train: Train {
            batch: 32,
            steps: 200,
            optimizer: AdamConfig {
                learning_rate: 1e-3,
                beta1: 0.9,
                beta2: 0.999,
                epsilon: 1e-8,
                warmup: 10,
                decay: 0,
            },
            clip: if matches!(loss, Loss::L1 { .. }) { None } else { Some(1.0) },
            shuffle: Shuffle::Local,
            validate: 0,
            log: 10,
            seed: 3,
            precision: Precision::F32,
            resample: None,
        },
    }
}

/// Bits of all weights.
pub fn bits(crosscoder: &Crosscoder) -> Vec<u32> {
    let tensors =
        [&crosscoder.encoder_weight, &crosscoder.encoder_bias, &crosscoder.decoder_weight, &crosscoder.decoder_bias];
    let threshold = match crosscoder.activation {
        Activation::Threshold { threshold, .. } => threshold,
        _ => 0.0,
    };
    tensors.into_iter().flatten().chain([&threshold]).map(|value| value.to_bits()).collect()
}
