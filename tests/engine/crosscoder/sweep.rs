//! Training as a whole: resume, threads, sweeps, logs, files, evaluation.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::rows::{bits, config, l1, rows, top};
use xd::ml::crosscoder::*;
use xd::ml::watch::{Progress, Unwatched, Watch};
use xd::ml::{Error, MemoryRows, Rows};

const WIDTH: usize = 12;

fn data(count: usize) -> MemoryRows {
    MemoryRows { width: WIDTH, values: rows(count, WIDTH, 1), infos: Vec::new() }
}

fn losses() -> Vec<Loss> {
    let dead = TopK { dead_after: 320, anneal: Some((8, 40)), ..top(3) };
    vec![
        l1(0.05, Reconstruction::L2, CodeNorm::Sum),
        l1(0.02, Reconstruction::Mse, CodeNorm::Concat),
        Loss::BatchTopK(dead),
        Loss::TopK(dead),
    ]
}

/// Stops once so many tokens are done.
struct StopAt {
    tokens: u64,
    done: AtomicU64,
}

impl Watch for StopAt {
    fn progress(&self, progress: &Progress) {
        self.done.store(progress.done, Ordering::SeqCst);
    }

    fn stop(&self) -> bool {
        self.done.load(Ordering::SeqCst) >= self.tokens
    }

    fn note(&self, _: &str) {}
}

fn train(config: TrainerConfig, rows: &dyn Rows) -> Crosscoder {
    let mut points = [SweepPoint::new(Trainer::new(config, rows.width(), None).unwrap())];
    train_sweep(rows, &mut points, None, Pace::default(), &Unwatched).unwrap();
    let [point] = points;
    assert!(point.failure.is_none(), "{:?}", point.failure);
    point.trainer.finish().unwrap()
}

fn text(folder: &Path, name: &str) -> String {
    std::fs::read_to_string(folder.join(name)).unwrap()
}

#[test]
fn two_hundred_steps_equal_one_hundred_killed_and_resumed() {
    let data = data(700);
    for loss in losses() {
        for shuffle in [Shuffle::Local, Shuffle::Global] {
            let mut config = config(48, loss);
            (config.train.shuffle, config.train.validate, config.train.resample) = (shuffle, 50, Some(60));
            let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
            let open = |folder: &Path| SweepPoint::open(config.clone(), WIDTH, None, folder).unwrap();
            let run = |point: &mut SweepPoint, watch: &dyn Watch| {
                train_sweep(&data, std::slice::from_mut(point), Some(&data), Pace::default(), watch)
            };
            let mut whole = open(folders[0].path());
            run(&mut whole, &Unwatched).unwrap();

            let mut first = open(folders[1].path());
            let stop = StopAt { tokens: 100 * 32, done: AtomicU64::new(0) };
            assert!(matches!(run(&mut first, &stop), Err(Error::Interrupted)));
            assert_eq!(first.trainer.steps_done(), 100);
            // The kill comes later: steps and log rows after the checkpoint are lost.
            let kept = std::fs::read(folders[1].path().join(sweep::CHECKPOINT)).unwrap();
            let later = StopAt { tokens: 123 * 32, done: AtomicU64::new(0) };
            assert!(run(&mut first, &later).is_err());
            std::fs::write(folders[1].path().join(sweep::CHECKPOINT), kept).unwrap();
            drop(first);

            let mut second = open(folders[1].path());
            assert_eq!(second.trainer.steps_done(), 100);
            run(&mut second, &Unwatched).unwrap();
            assert_eq!(whole.trainer.last(), second.trainer.last());
            assert_eq!(
                bits(&whole.trainer.finish().unwrap()),
                bits(&second.trainer.finish().unwrap()),
                "{loss:?} {shuffle:?}"
            );
            for name in [sweep::LOG, sweep::VALIDATION] {
                assert_eq!(text(folders[0].path(), name), text(folders[1].path(), name));
            }
            let log = text(folders[0].path(), sweep::LOG);
            assert_eq!(log.lines().count(), 1 + 20 + 1, "0, 10, .. 190 and the last step\n{log}");
            assert_eq!(text(folders[0].path(), sweep::VALIDATION).lines().count(), 1 + 4 * 3);
        }
    }
}

#[test]
fn another_configuration_does_not_resume() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoint");
    let config = config(16, Loss::BatchTopK(top(2)));
    Trainer::new(config.clone(), WIDTH, None).unwrap().checkpoint(&path).unwrap();
    let mut other = config.clone();
    other.train.log = 1;
    assert!(Trainer::resume(other, WIDTH, &path).is_ok(), "what is logged changes nothing");
    let mut other = config.clone();
    other.train.optimizer.learning_rate *= 2.0;
    assert!(matches!(Trainer::resume(other, WIDTH, &path), Err(Error::Invalid { .. })));
    assert!(Trainer::resume(config, WIDTH + 1, &path).is_err());
}

#[test]
fn one_thread_and_more_give_the_same_bits() {
    // Enough latents and rows for several tiles and the sampled bound.
    let data = data(2000);
    for loss in losses() {
        let mut config = config(700, loss);
        (config.train.batch, config.train.steps) = (600, 12);
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let crosscoder = train(config.clone(), &data);
                let evaluation = evaluate(&crosscoder, &data, None, &Unwatched).unwrap();
                (bits(&crosscoder), crosscoder.encode(&data.values), evaluation)
            })
        };
        let one = run(1);
        assert!(one == run(2) && one == run(5), "{loss:?}");
    }
}

#[test]
fn logging_and_validation_change_nothing() {
    let data = data(700);
    for loss in losses() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = config(48, loss);
        (config.train.log, config.train.validate) = (1, 7);
        let mut point = SweepPoint::open(config.clone(), WIDTH, None, folder.path()).unwrap();
        let pace = Pace { checkpoint_every: Duration::ZERO };
        train_sweep(&data, std::slice::from_mut(&mut point), Some(&data), pace, &Unwatched).unwrap();
        assert_eq!(text(folder.path(), sweep::LOG).lines().count(), 201);
        (config.train.log, config.train.validate) = (0, 0);
        assert_eq!(bits(&point.trainer.finish().unwrap()), bits(&train(config, &data)), "{loss:?}");
    }
}

#[test]
fn points_of_a_sweep_do_not_know_of_one_another_and_one_may_fail() {
    let data = data(700);
    let mut configs: Vec<TrainerConfig> = losses().into_iter().map(|loss| config(48, loss)).collect();
    configs[1].train.seed = 11;
    configs[2].train.batch = 50;
    configs[3].train.shuffle = Shuffle::Global;
    let mut wild = config(48, l1(0.05, Reconstruction::Mse, CodeNorm::Sum));
    wild.train.optimizer.learning_rate = 1e25;
    configs.insert(1, wild);
    let open = |config: &TrainerConfig| SweepPoint::new(Trainer::new(config.clone(), WIDTH, None).unwrap());
    let mut points: Vec<SweepPoint> = configs.iter().map(open).collect();
    train_sweep(&data, &mut points, None, Pace::default(), &Unwatched).unwrap();
    for (index, (point, config)) in points.into_iter().zip(configs).enumerate() {
        if index == 1 {
            let failure = point.failure.unwrap().to_string();
            assert!(failure.contains("not a finite number"), "{failure}");
            assert!(point.trainer.steps_done() < 200);
            continue;
        }
        assert!(point.failure.is_none() && point.trainer.is_done());
        assert_eq!(bits(&point.trainer.finish().unwrap()), bits(&train(config, &data)));
    }
}

#[test]
fn blocks_are_read_once_for_all_points() {
    struct Counted(MemoryRows, AtomicU64);
    impl Rows for Counted {
        fn width(&self) -> usize {
            self.0.width()
        }
        fn count(&self) -> u64 {
            self.0.count()
        }
        fn read(&self, start: u64, out: &mut [f32]) -> xd::ml::Result<()> {
            self.1.fetch_add(out.len() as u64 / (2 * WIDTH as u64), Ordering::SeqCst);
            self.0.read(start, out)
        }
        fn info(&self, start: u64, out: &mut [xd::ml::RowInfo]) -> xd::ml::Result<()> {
            self.0.info(start, out)
        }
    }
    let data = Counted(data(640), AtomicU64::new(0));
    let mut points: Vec<SweepPoint> = losses()
        .into_iter()
        .map(|loss| SweepPoint::new(Trainer::new(config(16, loss), WIDTH, None).unwrap()))
        .collect();
    train_sweep(&data, &mut points, None, Pace::default(), &Unwatched).unwrap();
    assert_eq!(data.1.load(Ordering::SeqCst), 640, "ten epochs of one block by four points");
}

#[test]
fn training_learns() {
    let data = data(4000);
    for loss in losses() {
        let mut config = config(96, loss);
        (config.train.steps, config.train.optimizer.learning_rate) = (600, 3e-3);
        let before =
            evaluate(&Trainer::new(config.clone(), WIDTH, None).unwrap().finish().unwrap(), &data, None, &Unwatched);
        let after = evaluate(&train(config, &data), &data, None, &Unwatched).unwrap();
        assert!(after.joint.fve > 0.6 && after.joint.mse < before.unwrap().joint.mse / 2.0, "{loss:?} {after:?}");
    }
}

#[test]
fn the_inference_threshold_keeps_about_k_latents() {
    let data = data(4000);
    let mut config = config(96, Loss::BatchTopK(top(4)));
    (config.train.steps, config.train.optimizer.learning_rate) = (600, 3e-3);
    let evaluation = evaluate(&train(config, &data), &data, None, &Unwatched).unwrap();
    assert!((evaluation.l0_training - 4.0).abs() < 1e-9);
    assert!((evaluation.l0 - 4.0).abs() < 0.8, "{evaluation:?}");
}

#[test]
fn fewer_positive_scores_than_places() {
    let data = data(64);
    let mut config = config(8, Loss::BatchTopK(TopK { dead_after: 32, ..top(7) }));
    config.train.steps = 1;
    let mut start = Trainer::new(config.clone(), WIDTH, None).unwrap().finish().unwrap();
    start.encoder_bias.fill(-2.0);
    let positives = {
        let relu = Crosscoder { activation: Activation::Relu, ..start.clone() };
        relu.encode(&data.values[..32 * 2 * WIDTH]).values.len()
    };
    assert!(positives < 32 * 7);
    let mut trainer = Trainer::new(config.clone(), WIDTH, Some(&start)).unwrap();
    let report = trainer.step(&data.values[..32 * 2 * WIDTH]).unwrap();
    assert_eq!(report.l0, positives as f64 / 32.0);
    start.encoder_bias.fill(-1e6);
    let report = Trainer::new(config, WIDTH, Some(&start)).unwrap().step(&data.values).unwrap();
    assert_eq!((report.l0, report.dead), (0.0, 8));
    assert!(report.loss.is_finite());
}

#[test]
fn saved_and_loaded_it_gives_the_same_code() {
    let data = data(300);
    for loss in losses() {
        let mut config = config(48, loss);
        config.train.steps = 60;
        let crosscoder = train(config, &data);
        let folder = tempfile::tempdir().unwrap();
        crosscoder.save(folder.path()).unwrap();
        let loaded = Crosscoder::load(folder.path()).unwrap();
        assert_eq!(loaded, crosscoder);
        let code = loaded.encode(&data.values);
        assert!(!code.values.is_empty());
        assert_eq!(code, crosscoder.encode(&data.values));
        assert_eq!(loaded.decode(&code), crosscoder.decode(&code));
        if let Activation::Threshold { threshold, .. } = loaded.activation {
            assert!(threshold > 0.0);
            let norms = loaded.code_norms();
            let scores = code.latents.iter().zip(&code.values).map(|(&j, f)| f * norms[j as usize]);
            assert!(scores.fold(f32::INFINITY, f32::min) > threshold);
            assert!(
                code.values.len()
                    < Crosscoder { activation: Activation::Relu, ..loaded }.encode(&data.values).values.len()
            );
        }
    }
}

#[test]
fn a_batch_topk_file_without_threshold_and_foreign_shapes_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let crosscoder = Trainer::new(config(8, Loss::BatchTopK(top(2))), WIDTH, None).unwrap().finish().unwrap();
    crosscoder.save(folder.path()).unwrap();
    let relu = Crosscoder { activation: Activation::Relu, ..crosscoder.clone() };
    let other = tempfile::tempdir().unwrap();
    relu.save(other.path()).unwrap();
    std::fs::copy(other.path().join("model.safetensors"), folder.path().join("model.safetensors")).unwrap();
    let error = Crosscoder::load(folder.path()).unwrap_err().to_string();
    assert!(error.contains("threshold"), "{error}");
    let error = Crosscoder::load_tensors(&other.path().join("model.safetensors"), "init.").unwrap_err().to_string();
    assert!(error.contains("init.encoder.weight"), "{error}");
    std::fs::write(other.path().join("model.safetensors"), b"nothing").unwrap();
    assert!(Crosscoder::load(other.path()).is_err());
}

#[test]
fn encode_and_decode_equal_their_definitions() {
    let data = data(40);
    let mut config = config(30, Loss::BatchTopK(top(3)));
    (config.init.encoder, config.init.same) = (InitEncoder::Independent, false);
    let mut crosscoder = Trainer::new(config, WIDTH, None).unwrap().finish().unwrap();
    crosscoder.encoder_bias.iter_mut().enumerate().for_each(|(j, bias)| *bias = 0.01 * j as f32);
    crosscoder.decoder_bias.fill(0.25);
    let norms = crosscoder.code_norms();
    for activation in [
        Activation::Relu,
        Activation::Threshold { k: 3, threshold: 0.4 },
        Activation::TopK { k: 3 },
        Activation::JumpRelu { thresholds: (0..30).map(|j| j as f32 * 0.03 - 0.1).collect() },
    ] {
        crosscoder.activation = activation.clone();
        let code = crosscoder.encode(&data.values);
        let decoded = crosscoder.decode(&code);
        for row in 0..40 {
            let x = &data.values[row * 2 * WIDTH..(row + 1) * 2 * WIDTH];
            let value = |j: usize| {
                let sum: f64 = (0..2 * WIDTH).map(|i| x[i] as f64 * crosscoder.encoder_weight[i * 30 + j] as f64).sum();
                (sum + crosscoder.encoder_bias[j] as f64).max(0.0)
            };
            let score = |j: usize| value(j) * norms[j] as f64;
            let mut active: Vec<usize> = (0..30).filter(|&j| value(j) > 0.0).collect();
            match &activation {
                Activation::Relu => (),
                Activation::Threshold { threshold, .. } => active.retain(|&j| score(j) > *threshold as f64),
                Activation::JumpRelu { thresholds } => active.retain(|&j| value(j) > thresholds[j] as f64),
                Activation::TopK { k } => {
                    active.sort_by(|&a, &b| score(b).total_cmp(&score(a)));
                    active.truncate(*k as usize);
                    active.sort_unstable();
                }
            }
            let (latents, values) = code.row(row);
            assert_eq!(latents.iter().map(|&j| j as usize).collect::<Vec<_>>(), active);
            for (&j, &f) in latents.iter().zip(values) {
                assert!((f as f64 - value(j as usize)).abs() < 1e-5);
            }
            for model in 0..2 {
                for i in 0..WIDTH {
                    let sum: f64 = active
                        .iter()
                        .map(|&j| value(j) * crosscoder.decoder_weight[(model * 30 + j) * WIDTH + i] as f64)
                        .sum();
                    assert!((decoded[(row * 2 + model) * WIDTH + i] as f64 - sum - 0.25).abs() < 1e-5);
                }
            }
        }
    }
}

#[test]
fn evaluation_is_global_over_the_set() {
    let mut data = data(3000);
    // A common offset, so that a variance about zero would show; more rows than one portion.
    data.values.iter_mut().for_each(|value| *value += 5.0);
    let mut config = config(48, Loss::BatchTopK(top(3)));
    config.train.steps = 100;
    let crosscoder = train(config, &data);
    let found = evaluate(&crosscoder, &data, Some(2900), &Unwatched).unwrap();
    assert_eq!(found.tokens, 2900);
    let x = &data.values[..2900 * 2 * WIDTH];
    let code = crosscoder.encode(x);
    let decoded = crosscoder.decode(&code);
    let (mut over, mut under) = ([0f64; 2], [0f64; 2]);
    let mut square = [0f64; 2];
    for c in 0..2 * WIDTH {
        let variance = |value: &dyn Fn(usize) -> f64| {
            let mean = (0..2900).map(value).sum::<f64>() / 2900.0;
            (0..2900).map(|row| (value(row) - mean).powi(2)).sum::<f64>() / 2899.0
        };
        let eps = |row: usize| x[row * 2 * WIDTH + c] as f64 - decoded[row * 2 * WIDTH + c] as f64;
        over[c / WIDTH] += variance(&eps);
        under[c / WIDTH] += variance(&|row| x[row * 2 * WIDTH + c] as f64);
        square[c / WIDTH] += (0..2900).map(|row| eps(row).powi(2)).sum::<f64>() / 2900.0;
    }
    let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-6 * b.abs().max(1.0), "{a} {b}");
    close(found.base.fve, 1.0 - over[0] / under[0]);
    close(found.tuned.fve, 1.0 - over[1] / under[1]);
    close(found.joint.fve, 1.0 - (over[0] + over[1]) / (under[0] + under[1]));
    close(found.base.mse, square[0]);
    close(found.tuned.mse, square[1]);
    close(found.joint.mse, (square[0] + square[1]) / 2.0);
    close(found.l0, code.values.len() as f64 / 2900.0);
    let fired: std::collections::BTreeSet<u32> = code.latents.iter().copied().collect();
    close(found.dead, 1.0 - fired.len() as f64 / 48.0);
}

#[test]
fn initial_weights_have_the_asked_norm_and_ties() {
    for (same, encoder) in
        [(true, InitEncoder::Transpose), (false, InitEncoder::Transpose), (true, InitEncoder::Independent)]
    {
        let mut config = config(20, l1(0.1, Reconstruction::L2, CodeNorm::Sum));
        config.init = Init { norm: Some(0.3), encoder, same };
        let crosscoder = Trainer::new(config.clone(), WIDTH, None).unwrap().finish().unwrap();
        let column = |m: usize, j: usize| -> Vec<f32> {
            (0..WIDTH).map(|i| crosscoder.encoder_weight[(m * WIDTH + i) * 20 + j]).collect()
        };
        for j in 0..20 {
            for m in 0..2 {
                for vector in [&column(m, j)[..], crosscoder.decoder_row(m, j)] {
                    let norm = vector.iter().map(|v| (v * v) as f64).sum::<f64>().sqrt();
                    assert!((norm - 0.3).abs() < 1e-6);
                }
                assert_eq!(column(m, j) == crosscoder.decoder_row(m, j), encoder == InitEncoder::Transpose);
            }
            assert_eq!(column(0, j) == column(1, j), same);
        }
        config.train.seed += 1;
        let other = Trainer::new(config, WIDTH, None).unwrap().finish().unwrap();
        assert_ne!(other.encoder_weight, crosscoder.encoder_weight);
    }
}

#[test]
fn resampling_revives_latents_that_never_fire() {
    let data = data(640);
    let mut config = config(24, l1(0.05, Reconstruction::L2, CodeNorm::Sum));
    (config.train.resample, config.train.steps) = (Some(20), 20);
    let mut start = Trainer::new(config.clone(), WIDTH, None).unwrap().finish().unwrap();
    start.encoder_bias[..6].fill(-1e6);
    let mut points = [SweepPoint::new(Trainer::new(config, WIDTH, Some(&start)).unwrap())];
    train_sweep(&data, &mut points, None, Pace::default(), &Unwatched).unwrap();
    let [point] = points;
    let crosscoder = point.trainer.finish().unwrap();
    assert_eq!(crosscoder.encoder_bias[..6], [0.0; 6]);
    let [base, tuned] = crosscoder.decoder_norms();
    assert!((0..6).all(|j| (base[j] - 1.0).abs() < 1e-5 && (tuned[j] - 1.0).abs() < 1e-5));
    let fired = |c: &Crosscoder| c.encode(&data.values).latents.iter().filter(|&&j| j < 6).count();
    assert_eq!(fired(&start), 0);
    assert!(fired(&crosscoder) > 0);
}

#[test]
fn what_cannot_be_trained_is_an_error() {
    let data = data(64);
    let config = config(8, Loss::TopK(top(2)));
    assert!(Trainer::new(TrainerConfig { latents: 0, ..config.clone() }, WIDTH, None).is_err());
    let start = Trainer::new(config.clone(), WIDTH, None).unwrap().finish().unwrap();
    assert!(Trainer::new(TrainerConfig { latents: 9, ..config.clone() }, WIDTH, Some(&start)).is_err());
    let mut trainer = Trainer::new(config.clone(), WIDTH, None).unwrap();
    assert!(trainer.step(&data.values[..WIDTH]).is_err());
    assert!(trainer.step(&[f32::NAN; 2 * WIDTH]).is_err());
    let mut points = [SweepPoint::new(Trainer::new(config, WIDTH + 1, None).unwrap())];
    assert!(train_sweep(&data, &mut points, None, Pace::default(), &Unwatched).is_err());
}
