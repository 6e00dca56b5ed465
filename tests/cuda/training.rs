//! Whole trainings on the emulated GPU.

use std::sync::Arc;

use crate::rows::{bits, config, l1, rows, top};
use xd::ml::crosscoder::*;
use xd::ml::cuda::Gpu;

use crate::emulator::emulator;

const WIDTH: usize = 20;

/// A training with its batches.
struct Case {
    name: &'static str,
    config: TrainerConfig,
    width: usize,
    steps: usize,
}

impl Case {
    fn batches(&self) -> Vec<Vec<f32>> {
        let size = self.config.train.batch as usize;
        rows(self.steps * size, self.width, 11).chunks(size * 2 * self.width).map(<[f32]>::to_vec).collect()
    }
}

/// Where it is trained.
#[derive(Clone, Copy)]
enum On<'a> {
    Cpu,
    Gpu(&'a Arc<dyn Gpu>),
    /// With near scores in f32.
    GpuInF32(&'a Arc<dyn Gpu>),
}

fn trained(config: &TrainerConfig, width: usize, batches: &[Vec<f32>], on: On) -> (Crosscoder, Vec<StepReport>) {
    let trainer = Trainer::new(config.clone(), width, None).unwrap();
    let mut trainer = match on {
        On::Cpu => trainer,
        On::Gpu(gpu) => trainer.on(gpu).unwrap(),
        On::GpuInF32(gpu) => trainer.on(gpu).unwrap().in_f32(),
    };
    let reports = batches.iter().map(|batch| trainer.step(batch).unwrap()).collect();
    (trainer.finish().unwrap(), reports)
}

fn farthest(a: &Crosscoder, b: &Crosscoder) -> f32 {
    let tensors = |c: &Crosscoder| {
        [&c.encoder_weight, &c.encoder_bias, &c.decoder_weight, &c.decoder_bias].map(Clone::clone).concat()
    };
    tensors(a).iter().zip(tensors(b)).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// Trainings of every kind, small.
fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut case = |name, steps, config| cases.push(Case { name, config, width: WIDTH, steps });
    let lively = TopK { dead_after: 200, anneal: Some((12, 20)), threshold_from: 5, ..top(4) };
    let mut all = config(150, Loss::BatchTopK(lively));
    all.train.optimizer.decay = 20;
    all.train.steps = 30;
    case("BatchTopK with AuxK, clip, anneal, warmup and decay", 30, all.clone());
    let mse = TopK { reconstruction: Reconstruction::Mse, norm: CodeNorm::Concat, aux: 0.0, ..lively };
    case("BatchTopK of squared errors", 10, config(150, Loss::BatchTopK(mse)));
    case("TopK", 25, config(150, Loss::TopK(TopK { norm: CodeNorm::None, ..lively })));
    let mixed = TopK { norm: CodeNorm::Mixed { sae: 0.3, cc: 0.7 }, ..lively };
    let mut resampled = config(150, Loss::TopK(mixed));
    resampled.train.resample = Some(14);
    case("TopK with resampling", 18, resampled);
    for (name, weight, norm, steps) in [
        ("L1, sum", 0.05, CodeNorm::Sum, 10),
        ("L1, concat", 0.05, CodeNorm::Concat, 10),
        ("L1 that becomes sparse", 2.0, CodeNorm::Sum, 60),
    ] {
        let mut dense = config(150, l1(weight, Reconstruction::L2, norm));
        dense.train.clip = Some(1.0);
        dense.train.optimizer.learning_rate = 5e-3;
        case(name, steps, dense);
    }
    for (name, target, is_batch) in [
        ("an autoencoder of the base", Target::Base, true),
        ("an autoencoder of the tuned model by row", Target::Tuned, false),
        ("an autoencoder of the difference", Target::Difference, true),
    ] {
        let own = TopK { reconstruction: Reconstruction::Mse, norm: CodeNorm::None, ..lively };
        let loss = if is_batch { Loss::BatchTopK(own) } else { Loss::TopK(own) };
        let mut sae = TrainerConfig { variant: Variant::Sae(target), ..config(150, loss) };
        sae.init.norm = Some(1.0);
        // The gradient of b_dec is the whole of it only without clipping.
        sae.train.clip = is_batch.then_some(1.0);
        case(name, 14, sae);
    }
    let mut sae = TrainerConfig { variant: Variant::Sae(Target::Tuned), ..config(150, Loss::BatchTopK(lively)) };
    sae.train.optimizer.learning_rate = 5e-3;
    case("an autoencoder with the loss of a crosscoder", 10, sae);
    for precision in [Precision::Tf32, Precision::Bf16] {
        let mut narrow = all.clone();
        narrow.train.precision = precision;
        case("BatchTopK of rounded numbers", 10, narrow);
        let mut dense = config(150, l1(0.05, Reconstruction::L2, CodeNorm::Sum));
        dense.train.precision = precision;
        case("L1 of rounded numbers", 8, dense);
    }
    cases
}

/// Rows wider than a block, several chunks of rows, more latents a row than a warp has lanes, counts that are multiples of nothing.
fn larger_cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut case = |name, width, steps, latents, loss, change: &dyn Fn(&mut TrainerConfig)| {
        let mut config = config(latents, loss);
        config.train.batch = 77;
        config.train.optimizer.learning_rate = 3e-3;
        config.train.optimizer.warmup = 2;
        change(&mut config);
        cases.push(Case { name, config, width, steps });
    };
    let lively = TopK { dead_after: 1, threshold_from: 2, ..top(35) };
    let aux = |norm| TopK { norm, aux: 0.5, ..lively };
    case("BatchTopK, none", 151, 5, 613, Loss::BatchTopK(aux(CodeNorm::None)), &|_| {});
    case("BatchTopK, mixed", 131, 4, 517, Loss::BatchTopK(aux(CodeNorm::Mixed { sae: 0.4, cc: 0.9 })), &|_| {});
    case("TopK, concat", 139, 4, 601, Loss::TopK(aux(CodeNorm::Concat)), &|config| config.train.clip = None);
    case("L1 that stays dense, clipped", 137, 5, 419, l1(0.02, Reconstruction::Mse, CodeNorm::Concat), &|config| {
        config.train.clip = Some(0.5);
    });
    let mixed = CodeNorm::Mixed { sae: 0.5, cc: 0.5 };
    case("L1 that becomes sparse, clipped", 130, 14, 421, l1(12.0, Reconstruction::L2, mixed), &|config| {
        config.train.clip = Some(2.0);
        config.train.optimizer.learning_rate = 2e-2;
    });
    case("an autoencoder", 271, 4, 613, Loss::BatchTopK(aux(CodeNorm::None)), &|config| {
        config.variant = Variant::Sae(Target::Difference);
    });
    case("rows of two spans", 801, 3, 70, Loss::BatchTopK(aux(CodeNorm::Sum)), &|config| {
        config.train.clip = Some(0.5);
    });
    cases
}

/// Compares a training on the emulated GPU with the CPU's.
fn follows(case: &Case, reports: &[StepReport], expected: &[StepReport]) {
    let (name, size) = (case.name, case.config.train.batch as f64);
    for (a, b) in reports.iter().zip(expected) {
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
        assert!((a.l0 - b.l0).abs() <= 2.0 / size && a.dead.abs_diff(b.dead) <= 1, "{name}: {a:?} {b:?}");
        assert_eq!((a.step, a.tokens, a.k, a.lr), (b.step, b.tokens, b.k, b.lr));
    }
}

crate::checks!(
    a_training_on_the_gpu_is_that_of_the_cpu_within_rounding_and_repeats_to_the_bit,
    a_training_scored_in_bf16_is_the_training_scored_in_f32_to_the_bit,
    larger_trainings_on_the_gpu_are_those_of_the_cpu_within_rounding,
    a_thousand_steps_of_batch_topk_stay_beside_those_of_the_cpu,
    a_thousand_steps_of_l1_stay_beside_those_of_the_cpu,
    batches_that_are_sent_ahead_change_no_bit,
);

fn a_training_on_the_gpu_is_that_of_the_cpu_within_rounding_and_repeats_to_the_bit(gpus: &[Arc<dyn Gpu>]) {
    let [first, second] = gpus else { return };
    for case in cases() {
        let (name, config, batches) = (case.name, &case.config, case.batches());
        let on = |batches: &[Vec<f32>], on| trained(config, WIDTH, batches, on);
        let (cpu, expected) = on(&batches, On::Cpu);
        let (gpu, reports) = on(&batches, On::Gpu(first));
        follows(&case, &reports, &expected);
        println!("{name}: weights differ by at most {:e}", farthest(&cpu, &gpu));
        assert!(farthest(&cpu, &gpu) < 1e-3, "{name}: {}", farthest(&cpu, &gpu));
        let some = &batches[..5];
        let (once, reports) = on(some, On::Gpu(first));
        let (again, repeated) = on(some, On::Gpu(second));
        assert_eq!(bits(&again), bits(&once), "{name}: threads and blocks in another order");
        assert_eq!(repeated, reports, "{name}");
    }
}

fn a_training_scored_in_bf16_is_the_training_scored_in_f32_to_the_bit(gpus: &[Arc<dyn Gpu>]) {
    let Some(gpu) = gpus.first() else { return };
    let exact =
        |case: &Case| !matches!(case.config.loss, Loss::L1 { .. }) && case.config.train.precision == Precision::F32;
    let larger = larger_cases().into_iter().step_by(5);
    for case in cases().into_iter().chain(larger).filter(exact) {
        let batches = &case.batches()[..if case.width > WIDTH { 2 } else { 7 }];
        let on = |on| trained(&case.config, case.width, batches, on);
        let (fast, reports) = on(On::Gpu(gpu));
        let (slow, expected) = on(On::GpuInF32(gpu));
        assert_eq!(bits(&fast), bits(&slow), "{}", case.name);
        assert_eq!(reports, expected, "{}", case.name);
    }
}

fn larger_trainings_on_the_gpu_are_those_of_the_cpu_within_rounding(gpus: &[Arc<dyn Gpu>]) {
    let Some(gpu) = gpus.first() else { return };
    for case in larger_cases() {
        let (name, batches) = (case.name, case.batches());
        let start = std::time::Instant::now();
        let (gpu, reports) = trained(&case.config, case.width, &batches, On::Gpu(gpu));
        let (cpu, expected) = trained(&case.config, case.width, &batches, On::Cpu);
        let last = &expected[case.steps - 1];
        println!("{name}: weights differ by at most {:e}, {:?}, {last:?}", farthest(&cpu, &gpu), start.elapsed());
        follows(&case, &reports, &expected);
        assert!(farthest(&cpu, &gpu) < 1e-3, "{name}: {}", farthest(&cpu, &gpu));
        // What the case is there for came about.
        let entries = last.l0 / case.config.latents as f64;
        match name {
            "L1 that stays dense, clipped" => assert!(entries > 0.15, "{last:?}"),
            "L1 that becomes sparse, clipped" => assert!(entries < 0.075 && expected[0].l0 > 100.0, "{last:?}"),
            "rows of two spans" => assert!(last.gradient_norm.is_some_and(|norm| norm > 0.5), "{last:?}"),
            _ => assert!(last.dead > 2 && last.auxk.is_some_and(|auxk| auxk > 0.0) && last.l0 > 32.0, "{last:?}"),
        }
    }
}

fn a_thousand_steps_of_batch_topk_stay_beside_those_of_the_cpu(gpus: &[Arc<dyn Gpu>]) {
    stays_beside(gpus, Loss::BatchTopK(TopK { dead_after: 200, ..top(3) }));
}

fn a_thousand_steps_of_l1_stay_beside_those_of_the_cpu(gpus: &[Arc<dyn Gpu>]) {
    stays_beside(gpus, l1(0.3, Reconstruction::L2, CodeNorm::Sum));
}

/// One rounding that turns a selection round parts two trainings; what they learn stays the same. The tolerances are those of bench/cuda.
fn stays_beside(gpus: &[Arc<dyn Gpu>], loss: Loss) {
    let Some(gpu) = gpus.first() else { return };
    let (width, steps) = (8, 1000);
    let mut config = config(64, loss);
    config.train.batch = 16;
    config.train.steps = steps as u64;
    config.train.optimizer.decay = 200;
    let all = rows(steps * 16, width, 11);
    let batches: Vec<Vec<f32>> = all.chunks(16 * 2 * width).map(<[f32]>::to_vec).collect();
    let (_, found) = trained(&config, width, &batches, On::Gpu(gpu));
    let (_, expected) = trained(&config, width, &batches, On::Cpu);
    let apart = |(a, b): (&StepReport, &StepReport)| (a.loss - b.loss).abs() / b.loss;
    let first = found.iter().zip(&expected).take(50).map(apart).fold(0.0, f64::max);
    let mean = |reports: &[StepReport]| reports[steps - 100..].iter().map(|report| report.loss).sum::<f64>() / 100.0;
    let last = (mean(&found) / mean(&expected) - 1.0).abs();
    println!("losses of the first 50 steps differ by {first:.1e} at most, the mean of the last 100 by {last:.1e}");
    assert!(mean(&expected) < 0.9 * expected[0].loss, "nothing is learnt");
    assert!(first <= 1e-3 && last <= 1e-2, "{first} {last}");
}

/// A driver may copy the next batch early or late, and the batch that was announced may not be the one that comes.
fn batches_that_are_sent_ahead_change_no_bit(gpus: &[Arc<dyn Gpu>]) {
    for gpu in gpus {
        for case in cases().into_iter().filter(|case| case.name.ends_with("decay") || case.name == "L1, sum") {
            let (name, plain) = (case.name, &case.batches()[..8]);
            let (expected, reports) = trained(&case.config, WIDTH, plain, On::Gpu(gpu));
            let batches: Vec<Arc<Vec<f32>>> = plain.iter().cloned().map(Arc::new).collect();
            let mut trainer = Trainer::new(case.config.clone(), WIDTH, None).unwrap().on(gpu).unwrap();
            for (number, batch) in batches.iter().enumerate() {
                let next = if number % 5 == 3 { number + 2 } else { number + 1 };
                trainer.expect(&batches[next % batches.len()]);
                assert_eq!(trainer.step(batch).unwrap(), reports[number], "{name}");
            }
            assert_eq!(bits(&trainer.finish().unwrap()), bits(&expected), "{name}");
        }
    }
}

#[test]
fn a_step_in_each_precision_is_that_of_its_definition() {
    let Some(gpu) = emulator(false) else { return };
    crate::narrow::one_step_is_that_of_the_definition(|trainer| trainer.on(&gpu).unwrap());
}

#[test]
fn numbers_that_are_none_in_a_batch_are_reported() {
    let Some(gpu) = emulator(false) else { return };
    for loss in [Loss::BatchTopK(top(4)), Loss::TopK(top(4))] {
        for bad in [f32::NAN, f32::INFINITY] {
            let mut trainer = Trainer::new(config(150, loss), WIDTH, None).unwrap().on(&gpu).unwrap();
            let mut batch = rows(32, WIDTH, 11);
            trainer.step(&batch).unwrap();
            batch[17] = bad;
            let problem = trainer.step(&batch).unwrap_err().to_string();
            assert!(problem.contains("at step 1 the loss is NaN"), "{bad} {loss:?}: {problem}");
        }
    }
}

#[test]
fn a_checkpoint_goes_on_to_the_same_bits_and_on_the_other_device() {
    let Some(gpu) = emulator(false) else { return };
    let case = cases().swap_remove(0);
    let (config, batches) = (case.config.clone(), &case.batches()[..24]);
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
