//! Latent Scaling against its definition.

use xd::ml::crosscoder::{Activation, Autoencoder, CodeNorm, Crosscoder, Target, Variant};
use xd::ml::scaling::{Betas, Direction, Fit, Interval, ScalingConfig, Verdict, control_sample, scale};
use xd::ml::watch::Unwatched;
use xd::ml::{MemoryRows, RowInfo, Rows};

use crate::toy;

/// One beta by its definition: (sum f d.y) / (||d||^2 sum f^2), over all rows.
fn beta(d: &[f64], f: &[f64], y: impl Fn(usize) -> Vec<f64>) -> f64 {
    let (mut over, mut under) = (0.0, 0.0);
    for (i, f) in f.iter().enumerate() {
        over += f * d.iter().zip(y(i)).map(|(d, y)| d * y).sum::<f64>();
        under += f * f;
    }
    over / (under * d.iter().map(|d| d * d).sum::<f64>())
}

/// `[activation, no bias, reconstruction, leave-one-out error][model]` of latent j, naively.
fn naive(cc: &Crosscoder, rows: &MemoryRows, j: usize, fitted: usize) -> [[f64; 2]; 4] {
    let row = |i: usize| &rows.values[i * 2 * cc.width..(i + 1) * 2 * cc.width];
    let codes: Vec<Vec<f64>> = (0..rows.count() as usize).map(|i| toy::encode(cc, row(i))).collect();
    let f: Vec<f64> = codes.iter().map(|code| code[j]).collect();
    let d = toy::decoder(cc, fitted, j);
    let h =
        |i: usize, m: usize| row(i)[m * cc.width..(m + 1) * cc.width].iter().map(|&v| v as f64).collect::<Vec<f64>>();
    let minus = |a: Vec<f64>, b: &[f64]| a.iter().zip(b).map(|(a, b)| a - b).collect::<Vec<f64>>();
    let without = |i: usize, m: usize| {
        let mut others = codes[i].clone();
        others[j] = 0.0;
        toy::decode(cc, &others)[m].clone()
    };
    let bias =
        |m: usize| cc.decoder_bias[m * cc.width..(m + 1) * cc.width].iter().map(|&b| b as f64).collect::<Vec<_>>();
    [
        [0, 1].map(|m| beta(&d, &f, |i| h(i, m))),
        [0, 1].map(|m| beta(&d, &f, |i| minus(h(i, m), &bias(m)))),
        [0, 1].map(|m| beta(&d, &f, |i| toy::decode(cc, &codes[i])[m].clone())),
        [0, 1].map(|m| beta(&d, &f, |i| minus(h(i, m), &without(i, m)))),
    ]
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-4 * (1.0 + b.abs())
}

#[test]
fn every_target_of_every_latent_equals_the_leave_one_out_definition() {
    let rows = toy::rows(10, 300, 7, 1);
    for (activation, seed) in [
        (Activation::Relu, 2),
        (Activation::Threshold { k: 5, threshold: 2.0 }, 3),
        (Activation::TopK { k: 4 }, 4),
        (Activation::JumpRelu { thresholds: (0..24).map(|j| j as f32 * 0.05).collect() }, 5),
    ] {
        let cc = toy::crosscoder(10, 24, activation.clone(), seed);
        for (fit, fitted) in [(Fit::Tuned, 1), (Fit::Base, 0)] {
            let config = ScalingConfig { fit, ..ScalingConfig::default() };
            let scaling = scale(&cc, &rows, &config, &Unwatched).unwrap();
            assert_eq!(scaling.latent, (0..24).collect::<Vec<u32>>());
            let mut measured = 0;
            for j in 0..24 {
                let Some(betas) = scaling.betas[j] else {
                    assert_eq!((scaling.active_tokens[j], scaling.verdict[j]), (0, Verdict::Inactive));
                    continue;
                };
                measured += 1;
                let want = naive(&cc, &rows, j, fitted);
                let got = [betas.activation, betas.activation_no_bias, betas.reconstruction, betas.error];
                for (got, want) in got.iter().flatten().zip(want.iter().flatten()) {
                    assert!(close(*got, *want), "{activation:?} {fit:?} latent {j}: {got} for {want}");
                }
                let (over, under) = (1 - fitted, fitted);
                assert_eq!(scaling.nus[j].error, Some(betas.error[over] / betas.error[under]));
                assert_eq!(
                    scaling.nus[j].reconstruction,
                    Some(betas.reconstruction[over] / betas.reconstruction[under])
                );
            }
            assert!(measured > 15, "only {measured} latents fire: the test says too little");
        }
    }
}

/// Its one vector is fitted to the activations of both models, and there is nothing else to say (docs/method.md 1.7).
#[test]
fn of_an_autoencoder_only_the_activations_are_measured() {
    let (d, latents) = (10, 24);
    let rows = toy::rows(d, 300, 7, 1);
    let of = toy::crosscoder(d, latents, Activation::Relu, 2);
    for (on, fit) in [(Target::Base, Fit::Base), (Target::Tuned, Fit::Tuned), (Target::Difference, Fit::Both)] {
        let own = Autoencoder {
            on,
            width: d,
            encoder: of.encoder_weight[..d * latents].to_vec(),
            encoder_bias: of.encoder_bias.clone(),
            decoder: of.decoder_weight[..d * latents].to_vec(),
            bias: of.decoder_bias[..d].to_vec(),
        };
        let made = own.crosscoder(Activation::Relu);
        let scaling =
            scale(&made, &rows, &ScalingConfig { fit, intervals: 20, ..ScalingConfig::default() }, &Unwatched).unwrap();
        let writes = on.model();
        let mut measured = 0;
        for j in 0..latents {
            let Some(betas) = scaling.betas[j] else { continue };
            measured += 1;
            let [want, ..] = naive(&made, &rows, j, writes);
            assert!((0..2).all(|m| close(betas.activation[m], want[m])), "{on:?} {j}: {betas:?} for {want:?}");
            assert!([betas.activation_no_bias, betas.reconstruction, betas.error].iter().flatten().all(|b| b.is_nan()));
            let nus = scaling.nus[j];
            assert!(close(nus.activation.unwrap(), want[1 - writes] / want[writes]));
            assert_eq!((nus.activation_no_bias, nus.reconstruction, nus.error), (None, None, None));
            let intervals = scaling.intervals[j].unwrap();
            assert!(intervals.activation.is_some() && intervals.error.is_none() && intervals.reconstruction.is_none());
            assert_eq!((scaling.rank[j], scaling.within_shared[j]), (None, None));
            assert_eq!(scaling.verdict[j].name(), "");
        }
        assert!(measured > 15, "only {measured} latents fire: the test says too little");
    }
}

/// The published code's own check: orthogonal latents, data = beta f d plus something orthogonal to all of them.
#[test]
fn orthogonal_latents_return_the_planted_betas() {
    let (width, latents) = (12, 5);
    let betas = [[0.25f32, 1.5], [-0.75, 0.5], [0.0, 2.0], [1.0, 1.0], [3.0, -1.0]];
    let mut cc = Crosscoder {
        width,
        latents,
        encoder_weight: vec![0.0; 2 * width * latents],
        encoder_bias: vec![0.0; latents],
        decoder_weight: vec![0.0; 2 * latents * width],
        decoder_bias: vec![0.0; 2 * width],
        code_norm: CodeNorm::Sum,
        activation: Activation::Relu,
        normalizer: None,
        variant: Variant::SharedCode,
    };
    // Latent j reads coordinate 6 + j of the base, where nothing else is written, and writes coordinate j of both models.
    for j in 0..latents {
        cc.encoder_weight[(6 + j) * latents + j] = 1.0;
        for m in 0..2 {
            cc.decoder_weight[(m * latents + j) * width + j] = 1.0 + j as f32;
        }
    }
    let mut rows = toy::rows(width, 200, 1, 9);
    for row in rows.values.chunks_exact_mut(2 * width) {
        let f: Vec<f32> = (0..latents).map(|j| row[6 + j].max(0.0)).collect();
        for m in 0..2 {
            for j in 0..latents {
                row[m * width + j] = betas[j][m] * f[j] * (1.0 + j as f32);
            }
        }
    }
    let scaling = scale(&cc, &rows, &ScalingConfig::default(), &Unwatched).unwrap();
    for (j, want) in betas.iter().enumerate() {
        let got = scaling.betas[j].unwrap();
        for m in 0..2 {
            // Alone on its coordinate: activation and leave-one-out error both are beta f d, the reconstruction is f d.
            assert!((got.activation[m] - want[m] as f64).abs() < 1e-6, "latent {j}: {got:?}");
            assert!((got.error[m] - want[m] as f64).abs() < 1e-6, "latent {j}: {got:?}");
            assert!((got.reconstruction[m] - 1.0).abs() < 1e-6, "latent {j}: {got:?}");
        }
    }
}

/// Five latents that each read coordinate j of the tuned model; base and tuned decoders on coordinate j as given.
fn artefacts() -> (Crosscoder, MemoryRows) {
    let (width, latents) = (8, 4);
    let mut cc = Crosscoder {
        width,
        latents,
        encoder_weight: vec![0.0; 2 * width * latents],
        encoder_bias: vec![0.0; latents],
        decoder_weight: vec![0.0; 2 * latents * width],
        decoder_bias: vec![0.0; 2 * width],
        code_norm: CodeNorm::Sum,
        activation: Activation::Relu,
        normalizer: None,
        variant: Variant::SharedCode,
    };
    let mut latent = |j: usize, reads: usize, writes: usize, norms: [f32; 2]| {
        cc.encoder_weight[(width + reads) * latents + j] = 1.0;
        for m in 0..2 {
            cc.decoder_weight[(m * latents + j) * width + writes] = norms[m];
        }
    };
    latent(0, 0, 0, [0.0, 1.0]); // really tuned-only: the base has nothing at coordinate 0
    latent(1, 1, 1, [0.0, 1.0]); // shrunk: the base has it, and no latent writes it there
    latent(2, 2, 2, [0.0, 1.0]); // decoupled: latent 3 writes it in the base
    latent(3, 2, 2, [1.0, 0.0]);
    let mut rows = toy::rows(width, 300, 3, 5);
    for row in rows.values.chunks_exact_mut(2 * width) {
        for i in 0..width {
            let shared = row[width + i].max(0.0);
            row[width + i] = shared;
            row[i] = if i == 1 || i == 2 { shared } else { 0.0 };
        }
    }
    (cc, rows)
}

#[test]
fn the_two_artefacts_have_their_verdicts() {
    let (cc, rows) = artefacts();
    let config = ScalingConfig { fit: Fit::Both, intervals: 200, ..ScalingConfig::default() };
    let scaling = scale(&cc, &rows, &config, &Unwatched).unwrap();
    assert_eq!(scaling.verdict, [Verdict::Specific, Verdict::Shrinkage, Verdict::Decoupling, Verdict::Decoupling]);
    assert_eq!(scaling.direction, [Direction::Tuned, Direction::Tuned, Direction::Tuned, Direction::Base]);
    assert!((scaling.nus[1].error.unwrap() - 1.0).abs() < 1e-6);
    assert!((scaling.nus[2].reconstruction.unwrap() - 1.0).abs() < 1e-6);
    assert_eq!(scaling.rank[0].unwrap(), scaling.rank.iter().flatten().copied().fold(f64::MAX, f64::min));
    assert_eq!(scaling.rows, 300);
}

#[test]
fn intervals_are_those_of_a_bootstrap_over_sequences() {
    let rows = toy::rows(10, 3000, 30, 11);
    let cc = toy::crosscoder(10, 16, Activation::TopK { k: 4 }, 12);
    let config = ScalingConfig { intervals: 2000, ..ScalingConfig::default() };
    let scaling = scale(&cc, &rows, &config, &Unwatched).unwrap();
    let mut compared = 0;
    for j in 0..16 {
        let (Some(nu), true) = (scaling.nus[j].reconstruction, scaling.active_tokens[j] > 300) else { continue };
        let Interval { low, high } = scaling.intervals[j].unwrap().reconstruction.unwrap();
        assert!(low <= nu && nu <= high, "latent {j}: {nu} outside {low}..{high}");
        let Interval { low: slow_low, high: slow_high } = slow_interval(&cc, &rows, j);
        let (width, slow_width) = (high - low, slow_high - slow_low);
        assert!((width / slow_width - 1.0).abs() < 0.25, "latent {j}: {low}..{high} for {slow_low}..{slow_high}");
        compared += 1;
    }
    assert!(compared >= 5, "{compared} latents compared");
}

/// The 100 sequences themselves, drawn again 2000 times.
fn slow_interval(cc: &Crosscoder, rows: &MemoryRows, j: usize) -> Interval {
    use rand::{Rng, SeedableRng};
    let d = toy::decoder(cc, 1, j);
    let mut sums = [[0.0f64; 2]; 100];
    for i in 0..rows.count() as usize {
        let f = toy::encode(cc, &rows.values[i * 2 * cc.width..(i + 1) * 2 * cc.width]);
        let hhat = toy::decode(cc, &f);
        for m in 0..2 {
            sums[rows.infos[i].sequence as usize][m] += f[j] * d.iter().zip(&hhat[m]).map(|(d, h)| d * h).sum::<f64>();
        }
    }
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(99);
    let mut nus: Vec<f64> = (0..2000)
        .map(|_| {
            let drawn: Vec<[f64; 2]> = (0..100).map(|_| sums[rng.random_range(0..100)]).collect();
            drawn.iter().map(|s| s[0]).sum::<f64>() / drawn.iter().map(|s| s[1]).sum::<f64>()
        })
        .collect();
    nus.sort_by(f64::total_cmp);
    Interval { low: nus[50], high: nus[1949] }
}

#[test]
fn neither_threads_nor_intervals_nor_the_selection_change_a_number() {
    let rows = toy::rows(33, 9000, 11, 21);
    let cc = toy::crosscoder(33, 40, Activation::Threshold { k: 8, threshold: 12.0 }, 22);
    let all = |threads: usize, config: &ScalingConfig| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| scale(&cc, &rows, config, &Unwatched).unwrap())
    };
    let plain = ScalingConfig::default();
    let one = all(1, &plain);
    assert!(one.betas.iter().flatten().count() > 20);
    assert_eq!(one, all(2, &plain));
    let with_intervals = ScalingConfig { intervals: 50, ..plain.clone() };
    let two = all(2, &with_intervals);
    assert_eq!(two, all(1, &with_intervals));
    assert_eq!(one.betas, two.betas);
    let chosen = ScalingConfig { latents: Some(vec![7, 3]), control: vec![20, 3], ..plain };
    let some = all(2, &chosen);
    assert_eq!(
        (some.latent.as_slice(), some.control.as_slice()),
        ([3, 7, 20].as_slice(), [false, false, true].as_slice())
    );
    assert_eq!(some.betas, [3, 7, 20].map(|j| one.betas[j]));
    assert_eq!(some.rank[2], None);
    assert_eq!(some.rank.iter().flatten().sum::<f64>(), 6.0);
}

#[test]
fn only_the_first_tokens_count() {
    let rows = toy::rows(10, 500, 5, 31);
    let cc = toy::crosscoder(10, 24, Activation::Relu, 32);
    let first = MemoryRows { width: 10, values: rows.values[..123 * 20].to_vec(), infos: rows.infos[..123].to_vec() };
    let limited = ScalingConfig { tokens: 123, ..ScalingConfig::default() };
    let all = scale(&cc, &first, &ScalingConfig::default(), &Unwatched).unwrap();
    assert_eq!(scale(&cc, &rows, &limited, &Unwatched).unwrap(), all);
    assert_eq!(all.rows, 123);
}

#[test]
fn what_cannot_be_measured_is_an_error() {
    let cc = toy::crosscoder(10, 24, Activation::Relu, 32);
    let wrong_width = toy::rows(11, 5, 5, 31);
    assert!(scale(&cc, &wrong_width, &ScalingConfig::default(), &Unwatched).is_err());
    let config = ScalingConfig { latents: Some(vec![24]), ..ScalingConfig::default() };
    let message = scale(&cc, &toy::rows(10, 5, 5, 31), &config, &Unwatched).unwrap_err().to_string();
    assert_eq!(message, "latent scaling: latent 24 of 24");
}

#[test]
fn the_control_is_a_seeded_sample() {
    let candidates: Vec<u32> = (100..200).collect();
    let sample = control_sample(&candidates, 10, 1);
    assert_eq!(sample.len(), 10);
    assert!(sample.is_sorted() && sample.iter().all(|j| candidates.contains(j)));
    assert_eq!(sample, control_sample(&candidates, 10, 1));
    assert_ne!(sample, control_sample(&candidates, 10, 2));
    assert_eq!(control_sample(&candidates, 500, 1), candidates);
}

#[test]
fn rows_without_origins_are_sequences_of_their_own() {
    let rows = MemoryRows { infos: Vec::new(), ..toy::rows(10, 400, 1, 41) };
    let mut info = [RowInfo::default()];
    rows.info(17, &mut info).unwrap();
    assert_eq!(info[0].sequence, 17);
    let cc = toy::crosscoder(10, 8, Activation::Relu, 42);
    let config = ScalingConfig { intervals: 100, ..ScalingConfig::default() };
    let scaling = scale(&cc, &rows, &config, &Unwatched).unwrap();
    assert!(scaling.intervals.iter().flatten().any(|i| i.error.is_some_and(|i| i.low < i.high)));
}

/// The published leave-one-out betas of five trained crosscoders on their probe rows.
#[test]
fn betas_equal_those_of_the_published_code() {
    for name in ["batch_topk", "batch_topk_anneal", "batch_topk_dead", "l1_l2norm", "l1_mse"] {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/crosscoder");
        let path = folder.join(format!("{name}.safetensors"));
        let cc = Crosscoder::load_tensors(&path, "final.").unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let data = |key: &str| tensors.tensor(key).unwrap().data().to_vec();
        let f64s = |key: &str| -> Vec<f64> {
            data(key).chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect()
        };
        let probe =
            data("probe.activations").chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
        let rows = MemoryRows { width: cc.width, values: probe, infos: Vec::new() };
        let scaling = scale(&cc, &rows, &ScalingConfig::default(), &Unwatched).unwrap();
        let mut compared = 0;
        for (m, model) in ["base", "tuned"].into_iter().enumerate() {
            for (target, pick) in [
                ("activation", (|b| b.activation) as fn(&Betas) -> [f64; 2]),
                ("reconstruction", |b| b.reconstruction),
                ("error", |b| b.error),
            ] {
                for (j, want) in f64s(&format!("probe.beta_{target}_{model}")).into_iter().enumerate() {
                    match &scaling.betas[j] {
                        Some(betas) => {
                            let got = pick(betas)[m];
                            assert!(close(got, want), "{name} {target} {model} latent {j}: {got} for {want}");
                            compared += 1;
                        }
                        None => assert!(want.is_nan(), "{name} {target} {model} latent {j}: nothing for {want}"),
                    }
                }
            }
        }
        assert!(compared > 6 * 40, "{name}: only {compared} betas compared");
    }
}
