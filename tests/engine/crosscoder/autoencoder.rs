//! Sparse autoencoders of one model and of the difference (docs/method.md 1.7), against a slow reading in f64 and what was planted.

use std::path::Path;

use super::rows::{bits, config, rows, top};
use xd::ml::crosscoder::*;
use xd::ml::formats::{ExportLayout, WeightsFile, export_crosscoder, lost, verify_export};
use xd::ml::synthetic::{Dictionary, Split, SyntheticConfig, SyntheticRows};
use xd::ml::watch::{Progress, Unwatched, Watch};
use xd::ml::{BASE, Error, MemoryRows, TUNED};

const TARGETS: [Target; 3] = [Target::Base, Target::Tuned, Target::Difference];

fn sae_top(k: u64) -> TopK {
    TopK { reconstruction: Reconstruction::Mse, norm: CodeNorm::None, ..top(k) }
}

fn sae(target: Target, latents: usize, loss: Loss) -> TrainerConfig {
    let config = config(latents, loss);
    TrainerConfig { variant: Variant::Sae(target), init: Init { norm: Some(1.0), ..config.init }, ..config }
}

/// Published parameters in f64: e `[D, d]`, b `[D]`, d `[D, d]`, b_dec `[d]`, one after the other.
struct Slow {
    d: usize,
    latents: usize,
    p: Vec<f64>,
    mean: Vec<f64>,
    square: Vec<f64>,
    idle: Vec<u64>,
    threshold: f64,
}

/// What is held fixed while a loss is differentiated.
struct Fixed {
    code: Vec<Vec<usize>>,
    auxiliary: Vec<Vec<usize>>,
    error: Vec<Vec<f64>>,
}

impl Slow {
    fn new(own: &Autoencoder) -> Self {
        let p: Vec<f64> = [&own.encoder, &own.encoder_bias, &own.decoder, &own.bias]
            .into_iter()
            .flatten()
            .map(|v| f64::from(*v))
            .collect();
        let zeros = vec![0.0; p.len()];
        let (d, latents) = (own.width, own.latents());
        Slow { d, latents, p, mean: zeros.clone(), square: zeros, idle: vec![0; latents], threshold: -1.0 }
    }

    fn decoder_at(&self, j: usize) -> usize {
        self.latents * (self.d + 1) + j * self.d
    }

    fn bias_at(&self) -> usize {
        self.latents * (2 * self.d + 1)
    }

    /// ReLU((x - b_dec) . e_j + b_j).
    fn relu(&self, p: &[f64], x: &[f64], j: usize) -> f64 {
        let at = self.bias_at();
        let along: f64 = (0..self.d).map(|i| (x[i] - p[at + i]) * p[j * self.d + i]).sum();
        (along + p[self.latents * self.d + j]).max(0.0)
    }

    fn decode(&self, p: &[f64], x: &[f64], code: &[usize]) -> Vec<f64> {
        let mut out = vec![0.0; self.d];
        for &j in code {
            let f = self.relu(p, x, j);
            (0..self.d).for_each(|i| out[i] += f * p[self.decoder_at(j) + i]);
        }
        out
    }

    /// mean ||x - xhat||^2, L_aux.
    fn terms(&self, p: &[f64], x: &[Vec<f64>], fixed: &Fixed) -> (f64, f64) {
        let rows = x.len() as f64;
        let (mut reconstruction, mut auxk) = (0.0, 0.0);
        let mean: Vec<f64> = (0..self.d).map(|i| fixed.error.iter().map(|e| e[i]).sum::<f64>() / rows).collect();
        let spread: f64 = fixed.error.iter().map(|e| (0..self.d).map(|i| (e[i] - mean[i]).powi(2)).sum::<f64>()).sum();
        for (row, x) in x.iter().enumerate() {
            let xhat = self.decode(p, x, &fixed.code[row]);
            reconstruction += (0..self.d).map(|i| (x[i] - xhat[i] - p[self.bias_at() + i]).powi(2)).sum::<f64>() / rows;
            let ehat = self.decode(p, x, &fixed.auxiliary[row]);
            auxk += (0..self.d).map(|i| (fixed.error[row][i] - ehat[i]).powi(2)).sum::<f64>() / spread;
        }
        (reconstruction, if fixed.auxiliary.iter().all(Vec::is_empty) { 0.0 } else { auxk })
    }

    /// One step as the published trainer takes it; loss, reconstruction, L_aux, dead latents.
    fn step(&mut self, x: &[Vec<f64>], step: u64, config: &TrainerConfig) -> (f64, f64, f64, usize) {
        let (Loss::BatchTopK(top) | Loss::TopK(top)) = config.loss else { panic!() };
        let whole_batch = matches!(config.loss, Loss::BatchTopK(_));
        let scores: Vec<Vec<f64>> =
            x.iter().map(|x| (0..self.latents).map(|j| self.relu(&self.p, x, j)).collect()).collect();
        let largest = |mut among: Vec<(usize, usize)>, keep: usize| {
            among.sort_by(|a, b| scores[b.0][b.1].total_cmp(&scores[a.0][a.1]));
            among.truncate(keep);
            among.retain(|(row, j)| scores[*row][*j] > 0.0);
            among
        };
        let all = |row: usize| (0..self.latents).map(move |j| (row, j));
        let kept: Vec<(usize, usize)> = if whole_batch {
            largest((0..x.len()).flat_map(all).collect(), x.len() * top.k as usize)
        } else {
            (0..x.len()).flat_map(|row| largest(all(row).collect(), top.k as usize)).collect()
        };
        let mut code = vec![Vec::new(); x.len()];
        kept.iter().for_each(|(row, j)| code[*row].push(*j));
        for (j, idle) in self.idle.iter_mut().enumerate() {
            *idle = if kept.iter().any(|(_, k)| *k == j) { 0 } else { *idle + x.len() as u64 };
        }
        let dead: Vec<usize> = (0..self.latents).filter(|j| self.idle[*j] >= top.dead_after).collect();
        let auxiliary = (0..x.len())
            .map(|row| {
                let among = dead.iter().map(|j| (row, *j)).collect();
                largest(among, (self.d / 2).min(dead.len())).into_iter().map(|(_, j)| j).collect()
            })
            .collect();
        let error = (0..x.len())
            .map(|row| {
                let xhat = self.decode(&self.p, &x[row], &code[row]);
                (0..self.d).map(|i| x[row][i] - xhat[i] - self.p[self.bias_at() + i]).collect()
            })
            .collect();
        let fixed = Fixed { code, auxiliary, error };
        let loss = |p: &[f64]| {
            let (reconstruction, auxk) = self.terms(p, x, &fixed);
            reconstruction + top.aux * auxk
        };
        let (reconstruction, auxk) = self.terms(&self.p, x, &fixed);
        let mut gradient: Vec<f64> = (0..self.p.len())
            .map(|place| {
                let at = |by: f64| {
                    let mut p = self.p.clone();
                    p[place] += by;
                    loss(&p)
                };
                (at(1e-6) - at(-1e-6)) / 2e-6
            })
            .collect();
        for j in 0..self.latents {
            let range = self.decoder_at(j)..self.decoder_at(j) + self.d;
            let along: f64 = range.clone().map(|i| gradient[i] * self.p[i]).sum();
            let square: f64 = range.clone().map(|i| self.p[i] * self.p[i]).sum();
            range.for_each(|i| gradient[i] -= along / square * self.p[i]);
        }
        let norm = gradient.iter().map(|g| g * g).sum::<f64>().sqrt();
        if let Some(bound) = config.train.clip {
            gradient.iter_mut().for_each(|g| *g *= (bound / (norm + 1e-6)).min(1.0));
        }
        let adam = config.train.optimizer;
        let rate = config.train.rate_at(step);
        for (place, g) in gradient.iter().enumerate() {
            self.mean[place] = adam.beta1 * self.mean[place] + (1.0 - adam.beta1) * g;
            self.square[place] = adam.beta2 * self.square[place] + (1.0 - adam.beta2) * g * g;
            let mean = self.mean[place] / (1.0 - adam.beta1.powi(step as i32 + 1));
            let square = self.square[place] / (1.0 - adam.beta2.powi(step as i32 + 1));
            self.p[place] -= rate * mean / (square.sqrt() + adam.epsilon);
        }
        for j in 0..self.latents {
            let range = self.decoder_at(j)..self.decoder_at(j) + self.d;
            let size = range.clone().map(|i| self.p[i] * self.p[i]).sum::<f64>().sqrt();
            range.for_each(|i| self.p[i] /= size);
        }
        if whole_batch && step > top.threshold_from {
            let least = kept.iter().map(|(row, j)| scores[*row][*j]).fold(f64::INFINITY, f64::min);
            self.threshold = if self.threshold < 0.0 { least } else { 0.999 * self.threshold + 0.001 * least };
        }
        (reconstruction + top.aux * auxk, reconstruction, auxk, dead.len())
    }
}

/// An autoencoder with decoder vectors of norm 1, unlike encoders, and some latents that hardly fire.
fn start(on: Target, width: usize, latents: usize) -> Autoencoder {
    let number = |i: usize, seed: usize| ((i * 7919 + seed * 104_729) % 1009) as f32 / 504.5 - 1.0;
    let mut decoder: Vec<f32> = (0..latents * width).map(|i| number(i, 2)).collect();
    for row in decoder.chunks_exact_mut(width) {
        let norm = row.iter().map(|v| v * v).sum::<f32>().sqrt();
        row.iter_mut().for_each(|v| *v /= norm);
    }
    let faint = |i: usize| if i / width >= latents - 4 { 0.05 } else { 0.7 };
    let encoder = (0..latents * width).map(|i| faint(i) * number(i, 1)).collect();
    let encoder_bias = (0..latents).map(|j| 0.1 * number(j, 3)).collect();
    Autoencoder { on, width, encoder, encoder_bias, decoder, bias: vec![0.0; width] }
}

/// Rows of one target, in f64.
fn seen(on: Target, batch: &[f32], d: usize) -> Vec<Vec<f64>> {
    let of = |row: &[f32], i: usize| match on {
        Target::Base => f64::from(row[i]),
        Target::Tuned => f64::from(row[d + i]),
        Target::Difference => f64::from(row[d + i]) - f64::from(row[i]),
    };
    batch.chunks_exact(2 * d).map(|row| (0..d).map(|i| of(row, i)).collect()).collect()
}

fn distance(found: &[f32], expected: &[f64]) -> f64 {
    let square = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>();
    let off = square(&mut found.iter().zip(expected).map(|(f, e)| f64::from(*f) - e));
    (off / square(&mut expected.iter().copied())).sqrt()
}

#[test]
fn four_steps_are_those_of_the_slow_trainer() {
    let (d, latents, batch) = (5, 14, 12);
    for (target, make) in TARGETS.into_iter().zip([Loss::BatchTopK as fn(TopK) -> Loss, Loss::TopK, Loss::BatchTopK]) {
        let top = TopK { aux: 0.7, dead_after: 2 * batch as u64, threshold_from: 0, ..sae_top(2) };
        let mut config = sae(target, latents, make(top));
        config.train.optimizer.warmup = 0;
        config.train.optimizer.learning_rate = 1e-2;
        let start = start(target, d, latents);
        let activation = match make(top) {
            Loss::TopK(_) => Activation::TopK { k: 2 },
            _ => Activation::Threshold { k: 2, threshold: -1.0 },
        };
        let mut trainer = Trainer::new(config.clone(), d, Some(&start.crosscoder(activation))).unwrap();
        let mut slow = Slow::new(&start);
        let mut with_aux = 0;
        for (step, rows) in rows(4 * batch, d, 11).chunks_exact(batch * 2 * d).enumerate() {
            let x = seen(target, rows, d);
            if step == 0 {
                let flat: Vec<f32> = x.iter().flatten().map(|v| *v as f32).collect();
                let at = slow.bias_at();
                let median = geometric_median(&flat, d, 1);
                median.iter().enumerate().for_each(|(i, m)| slow.p[at + i] = f64::from(*m));
            }
            let (loss, reconstruction, auxk, dead) = slow.step(&x, step as u64, &config);
            let report = trainer.step(rows).unwrap();
            let near = |what: &str, found: f64, expected: f64| {
                let off = (found - expected).abs();
                assert!(off <= 1e-4 * expected.abs(), "{target:?} step {step} {what}: {found}, slowly {expected}");
            };
            near("loss", report.loss, loss);
            near("reconstruction", report.reconstruction, reconstruction);
            near("auxk", report.auxk.unwrap(), auxk);
            assert_eq!(report.dead, dead as u64);
            if let Some(threshold) = report.threshold {
                near("threshold", threshold, slow.threshold);
            }
            with_aux += usize::from(auxk > 0.0);
        }
        assert!(with_aux > 0, "{target:?}: AuxK never had something to do");
        let own = Autoencoder::of(&trainer.finish().unwrap()).unwrap();
        let parts = [
            (&own.encoder, 0),
            (&own.encoder_bias, latents * d),
            (&own.decoder, latents * (d + 1)),
            (&own.bias, slow.bias_at()),
        ];
        for (found, at) in parts {
            let off = distance(found, &slow.p[at..at + found.len()]);
            assert!(off < 2e-3, "{target:?}: parameters at {at} are off by {off}");
        }
    }
}

#[test]
fn decoder_vectors_keep_norm_one_and_the_other_half_stays_zero() {
    let (d, latents) = (6, 30);
    for target in TARGETS {
        let mut trainer = Trainer::new(sae(target, latents, Loss::BatchTopK(sae_top(3))), d, None).unwrap();
        let x = rows(32 * 20, d, 4);
        for batch in x.chunks_exact(32 * 2 * d) {
            trainer.step(batch).unwrap();
        }
        let made = trainer.finish().unwrap();
        let (writes, other) = (target.model(), 1 - target.model());
        let norms = made.decoder_norms();
        assert!(norms[writes].iter().all(|norm| (norm - 1.0).abs() < 1e-6));
        assert!(norms[other].iter().all(|norm| *norm == 0.0));
        assert!(made.decoder_bias[other * d..][..d].iter().all(|b| *b == 0.0));
        let encoder = |model: usize| &made.encoder_weight[model * d * latents..][..d * latents];
        match target {
            Target::Difference => assert!(encoder(BASE).iter().zip(encoder(TUNED)).all(|(b, t)| *b == -*t)),
            _ => assert!(encoder(other).iter().all(|e| *e == 0.0)),
        }
    }
}

fn planted() -> (SyntheticRows, SyntheticRows) {
    let config = SyntheticConfig {
        width: 32,
        shared: 40,
        weak: 0,
        weak_ratio: (0.4, 0.5),
        ratio: (1.0, 1.0),
        base_only: 8,
        tuned_only: 8,
        active: 3.0,
        tail: 1.0,
        frequency: (0.02, 0.2),
        scale: 4.0,
        magnitude: (0.5, 2.0),
        turn: 0.0,
        correlated: 0,
        correlation: 0.0,
        noise: 0.03,
        seed: 5,
    };
    let dictionary = std::sync::Arc::new(Dictionary::new(&config).unwrap());
    let rows = |split, count| SyntheticRows::new(dictionary.clone(), split, count);
    (rows(Split::Train, 100_000), rows(Split::Validate, 4000))
}

/// Features of a model that some latent resembles with a cosine over 0.9, of those of a class.
fn found(own: &Autoencoder, dictionary: &Dictionary, model: usize, among: impl Fn(usize) -> bool) -> (usize, usize) {
    let cosine = |a: &[f32], b: &[f32]| {
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
        dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
    };
    let asked: Vec<usize> = (0..dictionary.features.len()).filter(|k| among(*k)).collect();
    let is_found =
        |k: &&usize| own.decoder.chunks(own.width).any(|row| cosine(row, dictionary.direction(model, **k)) > 0.9);
    (asked.iter().filter(is_found).count(), asked.len())
}

#[test]
fn planted_features_come_back_in_the_autoencoder_of_their_target() {
    let (train, validate) = planted();
    let dictionary = train.dictionary();
    let trained = |target: Target, k: u64| {
        let mut config =
            sae(target, 96, Loss::BatchTopK(TopK { dead_after: 10_000, threshold_from: 100, ..sae_top(k) }));
        (config.train.batch, config.train.steps) = (256, 780);
        config.train.optimizer.learning_rate = 4e-3;
        let mut points = [SweepPoint::new(Trainer::new(config, 32, None).unwrap())];
        train_sweep(&train, &mut points, None, Pace::default(), &Unwatched).unwrap();
        let [point] = points;
        point.trainer.finish().unwrap()
    };
    let norm = |model: usize, k: usize| dictionary.features[k].norms[model];
    for target in [Target::Tuned, Target::Base] {
        let (made, model) = (trained(target, 4), target.model());
        let own = Autoencoder::of(&made).unwrap();
        let (hits, all) = found(&own, dictionary, model, |k| norm(model, k) > 0.0);
        assert!(all == 48 && hits >= 42, "{target:?}: {hits} of {all}");
        let evaluation = evaluate(&made, &validate, None, &Unwatched).unwrap();
        assert!(evaluation.joint.fve > 0.9, "{target:?}: {evaluation:?}");
        assert_eq!(evaluation.fve_by_model(made.variant)[model], Some(evaluation.joint.fve));
        assert_eq!(evaluation.fve_by_model(made.variant)[1 - model], None);
        assert!((2.0..5.0).contains(&evaluation.l0), "three are active: {evaluation:?}");
    }
    // What both models have alike is not in the difference.
    let own = Autoencoder::of(&trained(Target::Difference, 1)).unwrap();
    let (hits, all) = found(&own, dictionary, TUNED, |k| norm(BASE, k) == 0.0);
    assert!(all == 8 && hits >= 7, "{hits} of {all}");
    let minus = Autoencoder { decoder: own.decoder.iter().map(|d| -d).collect(), ..own };
    let (hits, all) = found(&minus, dictionary, BASE, |k| norm(TUNED, k) == 0.0);
    assert!(all == 8 && hits >= 7, "{hits} of {all} with the other sign");
}

/// FVE, L0 and dead latents of a target by their definitions.
#[test]
fn an_evaluation_is_of_the_target() {
    let (d, latents) = (6, 20);
    let data = MemoryRows { width: d, values: rows(200, d, 8), infos: Vec::new() };
    for target in TARGETS {
        let own = start(target, d, latents);
        let own = Autoencoder { bias: (0..d).map(|i| 0.3 - 0.1 * i as f32).collect(), ..own };
        let slow = Slow::new(&own);
        let made = own.crosscoder(Activation::Threshold { k: 3, threshold: 0.4 });
        let x = seen(target, &data.values, d);
        let (mut errors, mut active, mut fired) = (Vec::new(), 0, vec![false; latents]);
        for x in &x {
            let code: Vec<usize> = (0..latents).filter(|j| slow.relu(&slow.p, x, *j) > 0.4).collect();
            active += code.len();
            code.iter().for_each(|j| fired[*j] = true);
            let xhat = slow.decode(&slow.p, x, &code);
            errors.push((0..d).map(|i| x[i] - xhat[i] - slow.p[slow.bias_at() + i]).collect::<Vec<f64>>());
        }
        let spread = |rows: &[Vec<f64>]| -> f64 {
            let mean = |i: usize| rows.iter().map(|r| r[i]).sum::<f64>() / rows.len() as f64;
            (0..d).map(|i| rows.iter().map(|r| (r[i] - mean(i)).powi(2)).sum::<f64>()).sum()
        };
        let mse = errors.iter().flatten().map(|e| e * e).sum::<f64>() / x.len() as f64;
        let evaluation = evaluate(&made, &data, None, &Unwatched).unwrap();
        let near = |found: f64, expected: f64| {
            assert!((found - expected).abs() < 1e-4 * expected.abs(), "{target:?}: {found}, slowly {expected}")
        };
        near(evaluation.joint.fve, 1.0 - spread(&errors) / spread(&x));
        near(evaluation.joint.mse, mse);
        assert_eq!(evaluation.l0, active as f64 / 200.0);
        assert_eq!(evaluation.dead, fired.iter().filter(|f| !**f).count() as f64 / latents as f64);
        assert_eq!(evaluation.of(made.variant), [(target.word(), evaluation.joint)]);
        // The mean that is put in the place of rows is that of the rows, whatever is read.
        let mean = |place: usize| data.values.chunks(2 * d).map(|row| f64::from(row[place])).sum::<f64>() / 200.0;
        assert!((0..2 * d).all(|place| (f64::from(evaluation.mean[place]) - mean(place)).abs() < 1e-5));
    }
}

/// Stops after so many tokens.
struct StopAt(u64, std::sync::atomic::AtomicU64);

impl Watch for StopAt {
    fn progress(&self, progress: &Progress) {
        self.1.store(progress.done, std::sync::atomic::Ordering::SeqCst);
    }

    fn stop(&self) -> bool {
        self.1.load(std::sync::atomic::Ordering::SeqCst) >= self.0
    }

    fn note(&self, _: &str) {}
}

#[test]
fn resumed_in_company_in_f32_and_on_any_threads_the_bits_are_the_same() {
    let d = 12;
    let data = MemoryRows { width: d, values: rows(500, d, 1), infos: Vec::new() };
    let config = |target| {
        let mut config = sae(target, 40, Loss::BatchTopK(TopK { dead_after: 320, ..sae_top(3) }));
        (config.train.steps, config.train.validate) = (60, 20);
        config
    };
    let train =
        |points: &mut [SweepPoint], watch: &dyn Watch| train_sweep(&data, points, Some(&data), Pace::default(), watch);
    for target in TARGETS {
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let open = |folder: &Path| SweepPoint::open(config(target), d, None, folder).unwrap();
        let mut whole =
            [open(folders[0].path()), SweepPoint::new(Trainer::new(config(Target::Base), d, None).unwrap())];
        let pool = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool(1).install(|| train(&mut whole, &Unwatched)).unwrap();
        let mut half = [open(folders[1].path())];
        let stop = StopAt(30 * 32, Default::default());
        assert!(matches!(pool(3).install(|| train(&mut half, &stop)), Err(Error::Interrupted)));
        let mut rest = [open(folders[1].path())];
        assert_eq!(rest[0].trainer.steps_done(), 30);
        pool(2).install(|| train(&mut rest, &Unwatched)).unwrap();
        for name in [sweep::LOG, sweep::VALIDATION] {
            let text = |folder: &Path| std::fs::read_to_string(folder.join(name)).unwrap();
            assert_eq!(text(folders[0].path()), text(folders[1].path()));
        }
        let validation = std::fs::read_to_string(folders[0].path().join(sweep::VALIDATION)).unwrap();
        assert!(validation.lines().skip(1).all(|row| row.contains(&format!(",{},", target.word()))), "{validation}");
        let log = std::fs::read_to_string(folders[0].path().join(sweep::LOG)).unwrap();
        for row in log.lines().skip(1) {
            let fve: Vec<&str> = row.split(',').rev().take(2).collect();
            assert_eq!(
                fve.iter().map(|cell| cell.is_empty()).collect::<Vec<_>>(),
                [target == Target::Base, target != Target::Base],
                "{row}"
            );
        }
        let [whole, _] = whole;
        let [rest] = rest;
        assert_eq!(bits(&whole.trainer.finish().unwrap()), bits(&rest.trainer.finish().unwrap()), "{target:?}");
    }
    let batches = rows(64 * 4, 24, 3);
    let fast = Trainer::new(sae(Target::Difference, 200, Loss::BatchTopK(sae_top(4))), 24, None).unwrap();
    let mut slow = Trainer::new(fast.config().clone(), 24, None).unwrap().in_f32();
    let mut fast = fast;
    for _ in 0..5 {
        for batch in batches.chunks_exact(64 * 48) {
            assert_eq!(fast.step(batch).unwrap(), slow.step(batch).unwrap());
        }
    }
    let made = fast.finish().unwrap();
    assert_eq!(bits(&made), bits(&slow.finish().unwrap()));
    assert_eq!(made.encode(&batches), made.encoder().in_f32().encode(&batches));
}

#[test]
fn files_of_an_autoencoder_are_the_published_ones_and_say_what_it_reads() {
    let (d, latents) = (6, 20);
    for target in TARGETS {
        let own = start(target, d, latents);
        let own = Autoencoder { bias: (0..d).map(|i| 0.3 - 0.1 * i as f32).collect(), ..own };
        let kinds = [
            Activation::Threshold { k: 3, threshold: 0.25 },
            Activation::TopK { k: 3 },
            Activation::Relu,
            Activation::JumpRelu { thresholds: (0..latents).map(|j| 0.01 * j as f32).collect() },
        ];
        for activation in kinds {
            let made = own.crosscoder(activation.clone());
            let folder = tempfile::tempdir().unwrap();
            made.save(folder.path()).unwrap();
            let back = Crosscoder::load(folder.path()).unwrap();
            assert_eq!((back.variant, &back.activation, back.code_norm), (made.variant, &activation, CodeNorm::None));
            let again = Autoencoder::of(&back).unwrap();
            assert_eq!((&again.encoder, &again.decoder, &again.bias), (&own.encoder, &own.decoder, &own.bias));
            assert!(again.encoder_bias.iter().zip(&own.encoder_bias).all(|(a, b)| (a - b).abs() < 1e-6));
            let tensors = tensor_file::TensorFile::open(&folder.path().join("model.safetensors")).unwrap();
            assert_eq!(tensors.floats("encoder.weight").unwrap().unwrap().0, [latents, d]);
            assert_eq!(tensors.floats("decoder.weight").unwrap().unwrap().0, [d, latents]);
            // Without the file that says it, somebody has to.
            let file = folder.path().join("model.safetensors");
            let alone = tempfile::tempdir().unwrap();
            std::fs::copy(&file, alone.path().join("model.safetensors")).unwrap();
            if matches!(activation, Activation::Threshold { .. }) {
                let open = || WeightsFile::open(alone.path(), None).unwrap();
                let error = open().load(&Default::default()).unwrap_err().to_string();
                assert!(error.contains("sae(on = tuned)") && error.contains("--reads"), "{error}");
                assert_eq!(open().reading(target).unwrap().load(&Default::default()).unwrap(), back);
                let other = if target == Target::Base { Target::Tuned } else { Target::Base };
                let error =
                    WeightsFile::open(folder.path(), None).unwrap().reading(other).map(|_| ()).unwrap_err().to_string();
                assert!(error.contains(&format!("reads `{}`", target.word())), "{error}");
            }
            for layout in [ExportLayout::Published, ExportLayout::Torch, ExportLayout::Saelens] {
                let out = folder.path().join(format!("{layout:?}"));
                export_crosscoder(&made, layout, &out).unwrap();
                let probe = verify_export(&made, layout, &out).unwrap();
                let fits = lost(&made, layout).is_empty();
                assert!(probe.agrees() || !fits, "{target:?} {activation:?} {layout:?}: {probe:?}");
                assert_eq!(
                    fits,
                    layout == ExportLayout::Saelens
                        || matches!(
                            (layout, &activation),
                            (_, Activation::Threshold { .. }) | (ExportLayout::Published, Activation::TopK { .. })
                        )
                );
            }
            assert!(!lost(&made, ExportLayout::Kissane).is_empty() && !lost(&made, ExportLayout::Crosscode).is_empty());
        }
    }
}

/// The codes of rows as they are, by weights that took the normaliser in, are those of normalised rows.
#[test]
fn a_normaliser_is_folded_into_an_autoencoder() {
    let (d, latents) = (6, 20);
    let raw = rows(50, d, 8);
    for target in TARGETS {
        let made = start(target, d, latents).crosscoder(Activation::Threshold { k: 3, threshold: 0.2 });
        let mean: Vec<f32> = (0..2 * d).map(|i| 0.1 * i as f32 - 0.4).collect();
        let by =
            weights::FoldedNormalizer { mean: mean.clone(), std: vec![1.0; 2 * d], scale: [0.5; 2], target_rms: 1.0 };
        let scaled: Vec<f32> = raw.iter().enumerate().map(|(i, x)| (x - mean[i % (2 * d)]) * 0.5).collect();
        let mut folded = made.clone();
        folded.fold(by);
        let (code, of_raw) = (made.encode(&scaled), folded.encode(&raw));
        assert_eq!(code.latents, of_raw.latents, "{target:?}");
        assert!(code.values.iter().zip(&of_raw.values).all(|(a, b)| (a - b).abs() < 1e-4));
        let (left, left_of_raw) = (made.errors(&scaled, &code), folded.errors(&raw, &of_raw));
        assert!(left.iter().zip(&left_of_raw).all(|(a, b)| (a / 0.5 - b).abs() < 1e-4), "{target:?}");
    }
}

#[test]
fn what_the_published_autoencoders_do_not_have_is_refused() {
    let l1 = Loss::L1 { weight: 0.1, warmup: 0, reconstruction: Reconstruction::Mse, norm: CodeNorm::None };
    assert!(Trainer::new(sae(Target::Tuned, 8, l1), 4, None).is_err());
    let mut resampled = sae(Target::Tuned, 8, Loss::TopK(sae_top(2)));
    resampled.train.resample = Some(10);
    assert!(Trainer::new(resampled, 4, None).is_err());
    let base = start(Target::Base, 4, 8).crosscoder(Activation::Relu);
    assert!(Trainer::new(sae(Target::Tuned, 8, Loss::TopK(sae_top(2))), 4, Some(&base)).is_err());
}
