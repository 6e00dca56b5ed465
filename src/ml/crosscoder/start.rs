//! Weights before the first step (docs/method.md 1.1).

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::autoencoder::to_unit_norm;
use super::{Activation, Autoencoder, Crosscoder, InitEncoder, Loss, TrainerConfig, Variant};
use crate::ml::kernels::squared_norm;

/// Streams of the seeded generator, one a purpose.
const ENCODER_STREAM: u64 = 1;
const DECODER_STREAM: u64 = 2;

/// Kaiming-uniform weights (torch's `kaiming_uniform_` bounds: fan-in is every dimension but the first), every column of
/// each model scaled to `init.norm`; the decoder is the transpose or a draw of its own; biases 0. An autoencoder has one draw, and decoder
/// vectors of norm 1 whatever `init.norm` is.
pub fn start(config: &TrainerConfig, width: usize) -> Crosscoder {
    let (d, latents, init) = (width, config.latents, config.init);
    let fan_in = |same: usize, both: usize| if init.same { same } else { both } as f64;
    let columns = draw(config, ENCODER_STREAM, d, fan_in(latents, d * latents));
    let rows = match init.encoder {
        InitEncoder::Transpose => columns.clone(),
        InitEncoder::Independent => draw(config, DECODER_STREAM, d, fan_in(d, d * latents)),
    };
    let activation = match config.loss {
        Loss::L1 { .. } => Activation::Relu,
        Loss::BatchTopK(top) => Activation::Threshold { k: top.k, threshold: -1.0 },
        Loss::TopK(top) => Activation::TopK { k: top.k },
    };
    if let Variant::Sae(on) = config.variant {
        let one = d * latents;
        let mut decoder = rows[..one].to_vec();
        decoder.chunks_exact_mut(d).for_each(to_unit_norm);
        let (encoder, encoder_bias) = (columns[..one].to_vec(), vec![0.0; latents]);
        return Autoencoder { on, width, encoder, encoder_bias, decoder, bias: vec![0.0; d] }.crosscoder(activation);
    }
    let mut encoder_weight = vec![0.0; 2 * d * latents];
    for model in 0..2 {
        for latent in 0..latents {
            for i in 0..d {
                encoder_weight[(model * d + i) * latents + latent] = columns[(model * latents + latent) * d + i];
            }
        }
    }
    Crosscoder {
        width,
        latents,
        encoder_weight,
        encoder_bias: vec![0.0; latents],
        decoder_weight: rows,
        decoder_bias: vec![0.0; 2 * d],
        code_norm: config.loss.norm(),
        activation,
        normalizer: None,
        variant: Variant::SharedCode,
    }
}

/// One vector a model and latent, `[2, D, d]`.
fn draw(config: &TrainerConfig, stream: u64, d: usize, fan_in: f64) -> Vec<f32> {
    let mut generator = ChaCha8Rng::seed_from_u64(config.train.seed);
    generator.set_stream(stream);
    let bound = (6.0 / fan_in).sqrt() as f32;
    let one = config.latents * d;
    let drawn = if config.init.same { one } else { 2 * one };
    let mut rows: Vec<f32> = (0..drawn).map(|_| (2.0 * generator.random::<f32>() - 1.0) * bound).collect();
    if let Some(norm) = config.init.norm {
        for row in rows.chunks_mut(d) {
            let size = squared_norm(row).sqrt();
            if size > 0.0 {
                row.iter_mut().for_each(|value| *value *= norm as f32 / size);
            }
        }
    }
    if config.init.same {
        rows.extend_from_within(..);
    }
    rows
}
