//! What is added to a model's stream to have a latent in it.

use crate::ml::crosscoder::{Crosscoder, Target};

/// v = m_j d_j / ||d_j||, `[d]`, on the scale of the model's stream (docs/method.md 6.4): m_j is the latent's largest f_j S_j, `most`, and d_j its
/// decoder vector in `model`. A crosscoder sees y = (x - mean) scale of its rows x, so v is divided by that `scale`, and by that of
/// a normaliser which the crosscoder brought along: in what it sees, the shift is m_j long. Zeros for a latent without a
/// decoder vector. The one vector of an autoencoder's latent is added to either model.
pub fn steering_vector(crosscoder: &Crosscoder, model: usize, latent: usize, most: f32, scale: f32) -> Vec<f32> {
    let from = crosscoder.variant.target().map_or(model, Target::model);
    let row = crosscoder.decoder_row(from, latent);
    let norm = row.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
    if norm == 0.0 {
        return vec![0.0; row.len()];
    }
    let factor = f64::from(most) / (norm * f64::from(crosscoder.norm_unit(model)) * f64::from(scale));
    row.iter().map(|x| (factor * f64::from(*x)) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ml::crosscoder::weights::FoldedNormalizer;
    use crate::ml::crosscoder::{Activation, CodeNorm, Variant};

    #[test]
    fn in_what_the_crosscoder_sees_the_shift_is_as_long_as_the_largest_activation() {
        let (d, latents) = (3, 2);
        let decoder: Vec<f32> = (0..2 * latents * d).map(|i| (i as f32 * 0.7).sin()).collect();
        let mut crosscoder = Crosscoder {
            width: d,
            latents,
            encoder_weight: vec![0.5; 2 * d * latents],
            encoder_bias: vec![0.0; latents],
            decoder_weight: decoder.clone(),
            decoder_bias: vec![0.0; 2 * d],
            code_norm: CodeNorm::Sum,
            activation: Activation::Relu,
            normalizer: None,
            variant: Variant::SharedCode,
        };
        let seen = |v: &[f32], scale: f32| v.iter().map(|x| f64::from(*x) * f64::from(scale)).collect::<Vec<f64>>();
        let check = |shift: &[f64], from: &[f32]| {
            let norm = from.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
            for (shift, d) in shift.iter().zip(from) {
                assert!((shift - 4.0 * f64::from(*d) / norm).abs() < 1e-5, "{shift}");
            }
        };
        let tuned = &decoder[(latents + 1) * d..][..d];
        check(&seen(&steering_vector(&crosscoder, 1, 1, 4.0, 1.0), 1.0), tuned);
        check(&seen(&steering_vector(&crosscoder, 1, 1, 4.0, 0.25), 0.25), tuned);
        let normalizer =
            FoldedNormalizer { mean: vec![1.0; 2 * d], std: vec![1.0; 2 * d], scale: [3.0, 0.5], target_rms: 1.0 };
        crosscoder.fold(normalizer);
        check(&seen(&steering_vector(&crosscoder, 1, 1, 4.0, 1.0), 0.5), tuned);
        crosscoder.decoder_weight[d..2 * d].fill(0.0);
        assert_eq!(steering_vector(&crosscoder, 0, 1, 4.0, 1.0), [0.0; 3]);
    }
}
