//! Whole trainings on the emulated GPU.

use std::sync::Arc;

use crate::rows::{bits, config, l1, rows, top};
use xd::ml::crosscoder::*;
use xd::ml::cuda::Gpu;

use crate::emulator::emulator;

const WIDTH: usize = 20;

fn batches(count: usize, size: usize) -> Vec<Vec<f32>> {
    rows(count * size, WIDTH, 11).chunks(size * 2 * WIDTH).map(<[f32]>::to_vec).collect()
}

fn trained(config: &TrainerConfig, batches: &[Vec<f32>], gpu: Option<&Arc<dyn Gpu>>) -> (Crosscoder, Vec<StepReport>) {
    let mut trainer = Trainer::new(config.clone(), WIDTH, None).unwrap();
    if let Some(gpu) = gpu {
        trainer = trainer.on(gpu).unwrap();
    }
    let reports = batches.iter().map(|batch| trainer.step(batch).unwrap()).collect();
    (trainer.finish().unwrap(), reports)
}

fn farthest(a: &Crosscoder, b: &Crosscoder) -> f32 {
    let tensors = |c: &Crosscoder| {
        [&c.encoder_weight, &c.encoder_bias, &c.decoder_weight, &c.decoder_bias].map(Clone::clone).concat()
    };
    tensors(a).iter().zip(tensors(b)).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// Trainings of every kind.
fn cases() -> Vec<(&'static str, TrainerConfig)> {
    let mut cases = Vec::new();
    let lively = TopK { dead_after: 200, anneal: Some((12, 20)), threshold_from: 5, ..top(4) };
    let mut all = config(150, Loss::BatchTopK(lively));
    all.train.optimizer.decay = 20;
    all.train.steps = 60;
    cases.push(("BatchTopK with AuxK, clip, anneal, warmup and decay", all));
    let mse = TopK { reconstruction: Reconstruction::Mse, norm: CodeNorm::Concat, aux: 0.0, ..lively };
    cases.push(("BatchTopK of squared errors", config(150, Loss::BatchTopK(mse))));
    cases.push(("TopK", config(150, Loss::TopK(TopK { norm: CodeNorm::None, ..lively }))));
    let mixed = TopK { norm: CodeNorm::Mixed { sae: 0.3, cc: 0.7 }, ..lively };
    let mut resampled = config(150, Loss::TopK(mixed));
    resampled.train.resample = Some(14);
    cases.push(("TopK with resampling", resampled));
    for (name, weight, norm) in [
        ("L1, sum", 0.05, CodeNorm::Sum),
        ("L1, concat", 0.05, CodeNorm::Concat),
        ("L1 that becomes sparse", 2.0, CodeNorm::Sum),
    ] {
        let mut dense = config(150, l1(weight, Reconstruction::L2, norm));
        dense.train.clip = Some(1.0);
        dense.train.optimizer.learning_rate = 5e-3;
        cases.push((name, dense));
    }
    cases
}

mod emulated {
    crate::checks!(
        [false, true].into_iter().filter_map(crate::emulator::emulator).collect::<Vec<_>>(),
        training:
        a_training_on_the_gpu_is_that_of_the_cpu_within_rounding_and_repeats_to_the_bit,
        batches_that_are_sent_ahead_change_no_bit,
    );
}

pub fn a_training_on_the_gpu_is_that_of_the_cpu_within_rounding_and_repeats_to_the_bit(gpus: &[Arc<dyn Gpu>]) {
    let [first, second] = gpus else { return };
    let batches = batches(60, 32);
    for (name, config) in cases() {
        let long = ["BatchTopK with AuxK, clip, anneal, warmup and decay", "TopK", "L1 that becomes sparse"];
        let batches = &batches[..if long.contains(&name) { 60 } else { 25 }];
        let (cpu, expected) = trained(&config, batches, None);
        let (gpu, reports) = trained(&config, batches, Some(first));
        for (a, b) in reports.iter().zip(&expected) {
            let near = |a: f64, b: f64| (a - b).abs() <= 2e-4 * b.abs().max(1e-3);
            let pairs = [
                (Some(a.loss), Some(b.loss)),
                (Some(a.reconstruction), Some(b.reconstruction)),
                (a.sparsity, b.sparsity),
                (a.auxk, b.auxk),
                (a.threshold, b.threshold),
                (a.gradient_norm, b.gradient_norm),
            ];
            for (a, b) in pairs {
                assert!(a.is_some() == b.is_some() && near(a.unwrap_or(0.0), b.unwrap_or(0.0)), "{name}: {a:?} {b:?}");
            }
            assert!((a.l0 - b.l0).abs() <= 2.0 / 32.0 && a.dead.abs_diff(b.dead) <= 1, "{name}: {a:?} {b:?}");
            assert_eq!((a.step, a.tokens, a.k, a.lr), (b.step, b.tokens, b.k, b.lr));
        }
        println!("{name}: weights differ by at most {:e}", farthest(&cpu, &gpu));
        assert!(farthest(&cpu, &gpu) < 1e-3, "{name}: {}", farthest(&cpu, &gpu));
        let some = &batches[..15];
        let (once, reports) = trained(&config, some, Some(first));
        let (again, repeated) = trained(&config, some, Some(second));
        assert_eq!(bits(&again), bits(&once), "{name}: threads and blocks in another order");
        assert_eq!(repeated, reports, "{name}");
    }
}

#[test]
fn a_checkpoint_goes_on_to_the_same_bits_and_on_the_other_device() {
    let Some(gpu) = emulator(false) else { return };
    let config = cases().swap_remove(0).1;
    let batches = batches(24, 32);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoint.safetensors");
    let mut whole = Trainer::new(config.clone(), WIDTH, None).unwrap().on(&gpu).unwrap();
    for (step, batch) in batches.iter().enumerate() {
        if step == 12 {
            whole.checkpoint(&path).unwrap();
        }
        whole.step(batch).unwrap();
    }
    let mut resumed = Trainer::resume(config.clone(), WIDTH, &path).unwrap().on(&gpu).unwrap();
    let mut on_cpu = Trainer::resume(config, WIDTH, &path).unwrap();
    for batch in &batches[12..] {
        resumed.step(batch).unwrap();
        on_cpu.step(batch).unwrap();
    }
    let whole = whole.finish().unwrap();
    assert_eq!(bits(&resumed.finish().unwrap()), bits(&whole));
    assert!(farthest(&on_cpu.finish().unwrap(), &whole) < 1e-4);
}

/// A driver may copy the next batch early or late, and the batch that was announced may not be the one that comes.
pub fn batches_that_are_sent_ahead_change_no_bit(gpus: &[Arc<dyn Gpu>]) {
    let batches: Vec<Arc<Vec<f32>>> = batches(8, 32).into_iter().map(Arc::new).collect();
    for gpu in gpus {
        for (name, config) in cases().into_iter().filter(|(name, _)| name.ends_with("decay") || *name == "L1, sum") {
            let plain: Vec<Vec<f32>> = batches.iter().map(|batch| batch.to_vec()).collect();
            let (expected, reports) = trained(&config, &plain, Some(gpu));
            let mut trainer = Trainer::new(config, WIDTH, None).unwrap().on(gpu).unwrap();
            for (number, batch) in batches.iter().enumerate() {
                let next = if number % 5 == 3 { number + 2 } else { number + 1 };
                trainer.expect(&batches[next % batches.len()]);
                assert_eq!(trainer.step(batch).unwrap(), reports[number], "{name}");
            }
            assert_eq!(bits(&trainer.finish().unwrap()), bits(&expected), "{name}");
        }
    }
}
