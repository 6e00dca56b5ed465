//! Scores found in bf16 are those of f32, to the bit, through whole trainings and encodings.

use super::rows::{config, rows, top};
use xd::ml::crosscoder::*;

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// Trains with and without bf16 on these batches and compares every report and every weight.
fn same_training(config: &TrainerConfig, width: usize, batches: &[&[f32]], steps: usize) -> Crosscoder {
    let mut fast = Trainer::new(config.clone(), width, None).unwrap();
    let mut slow = Trainer::new(config.clone(), width, None).unwrap().in_f32();
    for step in 0..steps {
        let batch = batches[step % batches.len()];
        let (a, b) = (fast.step(batch).unwrap(), slow.step(batch).unwrap());
        assert_eq!(a.loss.to_bits(), b.loss.to_bits(), "step {step}: {a:?} {b:?}");
        assert_eq!(a.threshold.map(f64::to_bits), b.threshold.map(f64::to_bits), "step {step}");
        assert_eq!((a.l0, a.dead), (b.l0, b.dead), "step {step}");
    }
    let (fast, slow) = (fast.finish().unwrap(), slow.finish().unwrap());
    assert_eq!(bits(&fast.encoder_weight), bits(&slow.encoder_weight));
    assert_eq!(bits(&fast.decoder_weight), bits(&slow.decoder_weight));
    fast
}

#[test]
fn a_training_scored_in_bf16_is_the_training_in_f32() {
    let width = 24;
    let x = rows(64 * 5, width, 3);
    let batches: Vec<&[f32]> = x.chunks(64 * 2 * width).collect();
    let auxiliary = TopK { dead_after: 256, anneal: Some((12, 20)), ..top(4) };
    same_training(&config(200, Loss::BatchTopK(auxiliary)), width, &batches, 60);
    let mut resampled = config(200, Loss::BatchTopK(top(4)));
    resampled.train.resample = Some(10);
    same_training(&resampled, width, &batches, 40);
}

#[test]
fn batches_that_differ_much_from_one_another_are_scored_as_in_f32() {
    let width = 16;
    let mut x = rows(48 * 4, width, 5);
    for (i, batch) in x.chunks_mut(48 * 2 * width).enumerate() {
        batch.iter_mut().for_each(|value| *value *= [1.0, 0.01, 30.0, 0.0][i]);
    }
    let batches: Vec<&[f32]> = x.chunks(48 * 2 * width).collect();
    same_training(&config(130, Loss::BatchTopK(top(3))), width, &batches, 24);
}

#[test]
fn codes_of_a_threshold_are_those_of_f32_however_rows_are_cut() {
    let width = 20;
    let x = rows(320, width, 7);
    let batches: Vec<&[f32]> = x.chunks(64 * 2 * width).collect();
    let crosscoder = same_training(&config(150, Loss::BatchTopK(top(5))), width, &batches, 50);
    let exact = crosscoder.encoder().in_f32().encode(&x);
    assert!(exact.values.len() > 100, "{}", exact.values.len());
    assert_eq!(crosscoder.encode(&x), exact);
    let mut encoder = crosscoder.encoder();
    let mut cut = SparseCode { offsets: vec![0], ..SparseCode::default() };
    x.chunks(2 * width * 37).for_each(|rows| cut.append(encoder.encode(rows)));
    assert_eq!(cut, exact);
}
