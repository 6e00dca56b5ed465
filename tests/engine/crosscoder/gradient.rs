//! Loss and gradient of every term against finite differences of the slow reference.

use super::reference::{Shape, parameters};
use super::rows::{config, l1, rows, top};
use xd::ml::crosscoder::*;

const SHAPE: Shape = Shape { width: 4, latents: 40 };

/// Adam without memory and with a huge epsilon takes steps of `STEP` times the gradient.
const STEP: f64 = 1e3;
const EPSILON: f64 = 1e6;

fn plain(loss: Loss) -> TrainerConfig {
    let mut config = config(SHAPE.latents, loss);
    config.train.clip = None;
    config.train.optimizer =
        AdamConfig { learning_rate: STEP * EPSILON, beta1: 0.0, beta2: 0.0, epsilon: EPSILON, warmup: 0, decay: 0 };
    config
}

/// A crosscoder with unequal decoder norms and biases.
fn weights(encoder_bias: f32) -> Crosscoder {
    let number = |i: usize, seed: usize| (((i * 7919 + seed * 104_729) % 1009) as f32 / 504.5 - 1.0) * 0.6;
    let weights = |seed| (0..2 * SHAPE.width * SHAPE.latents).map(|i| number(i, seed)).collect::<Vec<_>>();
    Crosscoder {
        width: SHAPE.width,
        latents: SHAPE.latents,
        encoder_weight: weights(1),
        encoder_bias: (0..SHAPE.latents).map(|j| encoder_bias + 0.1 * number(j, 3)).collect(),
        decoder_weight: weights(2),
        decoder_bias: (0..2 * SHAPE.width).map(|i| 0.1 * number(i, 4)).collect(),
        code_norm: CodeNorm::Sum,
        activation: Activation::Relu,
        normalizer: None,
        variant: Variant::SharedCode,
    }
}

/// The gradient that the trainer follows at its first step, and that step's report.
fn followed(config: TrainerConfig, start: &Crosscoder, x: &[f32]) -> (Vec<f64>, StepReport) {
    let topk = !matches!(config.loss, Loss::L1 { .. });
    let mut trainer = Trainer::new(config, start.width, Some(start)).unwrap();
    let report = trainer.step(x).unwrap();
    let before = parameters(&if topk { centred(start, x) } else { start.clone() });
    let after = parameters(&trainer.finish().unwrap());
    (before.iter().zip(&after).map(|(b, a)| (b - a) / STEP).collect(), report)
}

/// What a top-k training makes of its start before the first step.
fn centred(start: &Crosscoder, x: &[f32]) -> Crosscoder {
    Crosscoder { decoder_bias: geometric_median(x, start.width, 2), ..start.clone() }
}

fn size(values: impl Iterator<Item = f64>) -> f64 {
    values.map(|v| v * v).sum::<f64>().sqrt()
}

fn agrees(loss: Loss, start: &Crosscoder, dead: bool) -> StepReport {
    let x = rows(24, SHAPE.width, 5);
    let (found, report) = followed(plain(loss), start, &x);
    let base = if matches!(loss, Loss::L1 { .. }) { start.clone() } else { centred(start, &x) };
    let p = parameters(&base);
    let expected = SHAPE.loss(&p, &x, &loss, dead, None);
    for (what, found, expected) in [
        ("loss", report.loss, expected.total),
        ("reconstruction", report.reconstruction, expected.reconstruction),
        ("sparsity", report.sparsity.unwrap_or(0.0), expected.sparsity),
        ("auxk", report.auxk.unwrap_or(0.0), expected.auxk),
        ("l0", report.l0, expected.active as f64 / 24.0),
    ] {
        assert!((found - expected).abs() <= 1e-5 * expected.abs(), "{loss:?} {what}: {found} {expected}");
    }
    let gradient = SHAPE.gradient(&p, &x, &loss, dead);
    let mut start = 0;
    for (end, tensor) in SHAPE.ends().into_iter().zip(["encoder", "encoder bias", "decoder", "decoder bias"]) {
        let off = size((start..end).map(|i| found[i] - gradient[i]));
        let whole = size(gradient[start..end].iter().copied());
        assert!(whole > 0.0 && off <= 1e-4 * whole, "{loss:?} {tensor}: off by {off} of {whole}");
        start = end;
    }
    report
}

#[test]
fn l1_with_every_norm_and_reconstruction_sparse_and_dense() {
    for norm in [CodeNorm::Sum, CodeNorm::Concat, CodeNorm::None, CodeNorm::Mixed { sae: 0.7, cc: 0.2 }] {
        for reconstruction in [Reconstruction::L2, Reconstruction::Mse] {
            let dense = agrees(l1(0.3, reconstruction, norm), &weights(0.0), false);
            assert!(dense.l0 > 0.2 * SHAPE.latents as f64, "many are active");
            let sparse = agrees(l1(0.3, reconstruction, norm), &weights(-3.2), false);
            assert!(sparse.l0 < 0.08 * SHAPE.latents as f64 && sparse.l0 > 0.1, "few are active: {}", sparse.l0);
        }
    }
}

#[test]
fn batch_topk_and_topk_with_every_norm_and_reconstruction() {
    for norm in [CodeNorm::Sum, CodeNorm::Concat, CodeNorm::None, CodeNorm::Mixed { sae: 0.7, cc: 0.2 }] {
        for reconstruction in [Reconstruction::L2, Reconstruction::Mse] {
            let top = TopK { norm, reconstruction, ..top(3) };
            agrees(Loss::BatchTopK(top), &weights(0.0), false);
            agrees(Loss::TopK(top), &weights(0.0), false);
        }
    }
}

#[test]
fn auxk_is_in_the_loss_and_in_the_gradient() {
    let with = TopK { dead_after: 24, aux: 0.7, ..top(1) };
    for make in [Loss::BatchTopK as fn(TopK) -> Loss, Loss::TopK] {
        let report = agrees(make(with), &weights(0.0), true);
        assert!(report.dead > 3 && report.auxk.unwrap() > 0.0);
        assert!((report.loss - report.reconstruction - 0.7 * report.auxk.unwrap()).abs() < 1e-9);

        let x = rows(24, SHAPE.width, 5);
        let (followed_with, _) = followed(plain(make(with)), &weights(0.0), &x);
        let (without, report) = followed(plain(make(TopK { aux: 0.0, ..with })), &weights(0.0), &x);
        assert_eq!(report.auxk, Some(0.0));
        let moved = |gradient: &[f64]| {
            let decoder = |j: usize| SHAPE.ends()[1] + j * SHAPE.width;
            (0..SHAPE.latents).filter(|&j| gradient[decoder(j)..decoder(j + 1)].iter().any(|&g| g != 0.0)).count()
        };
        assert_eq!(moved(&without) as u64, SHAPE.latents as u64 - report.dead);
        assert!(moved(&followed_with) > moved(&without));
    }
}

/// One latent, one dimension, two rows: everything by hand.
#[test]
fn loss_by_hand() {
    let one = Crosscoder {
        width: 1,
        latents: 1,
        encoder_weight: vec![1.0, 0.5],
        encoder_bias: vec![-1.0],
        decoder_weight: vec![0.5, -0.25],
        decoder_bias: vec![0.0, 1.0],
        code_norm: CodeNorm::Sum,
        activation: Activation::Relu,
        normalizer: None,
        variant: Variant::SharedCode,
    };
    // Row (3, 2): p = 3 + 1 - 1 = 3, f = 3, hhat = (1.5, 0.25), eps = (1.5, 1.75). Row (0, 0): p < 0, eps = (0, -1).
    let x = [3.0, 2.0, 0.0, 0.0];
    for (reconstruction, term) in
        [(Reconstruction::L2, (1.5 + 1.75 + 1.0) / 4.0), (Reconstruction::Mse, (2.25 + 3.0625 + 1.0) / 4.0)]
    {
        let loss = l1(0.1, reconstruction, CodeNorm::Sum);
        let report = Trainer::new(config(1, loss), 1, Some(&one)).unwrap().step(&x).unwrap();
        let sparsity = 3.0 * (0.5 + 0.25) / 2.0;
        assert!((report.reconstruction - term).abs() < 1e-6);
        assert!((report.sparsity.unwrap() - sparsity).abs() < 1e-6);
        assert!((report.loss - (term + 0.1 * sparsity)).abs() < 1e-6);
        assert_eq!(report.l0, 0.5);
    }
}

#[test]
fn two_half_batches_average_to_one_batch() {
    let x = rows(40, SHAPE.width, 9);
    let (first, second) = x.split_at(x.len() / 2);
    for bias in [0.0, -3.2] {
        let start = weights(bias);
        let run = |x: &[f32]| followed(plain(l1(0.3, Reconstruction::L2, CodeNorm::Sum)), &start, x);
        let ((whole, report), (a, ra), (b, rb)) = (run(&x), run(first), run(second));
        assert!((report.loss - (ra.loss + rb.loss) / 2.0).abs() < 1e-6);
        let off = size((0..whole.len()).map(|i| whole[i] - (a[i] + b[i]) / 2.0));
        assert!(off < 1e-5 * size(whole.iter().copied()), "{off}");
    }
}

#[test]
fn clipping_bounds_the_global_norm() {
    let x = rows(24, SHAPE.width, 5);
    for loss in [Loss::BatchTopK(top(3)), l1(0.3, Reconstruction::L2, CodeNorm::Sum)] {
        let (free, report) = followed(plain(loss), &weights(0.0), &x);
        assert_eq!(report.gradient_norm, None);
        let mut config = plain(loss);
        config.train.clip = Some(0.05);
        let (clipped, report) = followed(config, &weights(0.0), &x);
        let norm = size(free.iter().copied());
        assert!((report.gradient_norm.unwrap() - norm).abs() < 1e-4 * norm);
        assert!((size(clipped.iter().copied()) - 0.05).abs() < 1e-5);
        let off = size(free.iter().zip(&clipped).map(|(f, c)| f / norm * 0.05 - c));
        assert!(off < 1e-4 * 0.05, "{off}");
    }
}

#[test]
fn a_perfect_reconstruction_has_no_gradient_and_no_nan() {
    let mut start = weights(0.0);
    start.decoder_weight.fill(0.0);
    start.decoder_bias.fill(0.5);
    let x = vec![0.5; 6 * 2 * SHAPE.width];
    let (gradient, report) = followed(plain(l1(0.1, Reconstruction::L2, CodeNorm::Sum)), &start, &x);
    assert_eq!(report.reconstruction, 0.0);
    assert!(gradient.iter().all(|&g| g == 0.0));
}

/// At step s of a warm-up of 4 the loss and the step are those of weight s / 4 of the whole.
#[test]
fn l1_weight_warms_up() {
    let x = rows(24, SHAPE.width, 5);
    let mse = |weight, warmup| Loss::L1 { weight, warmup, reconstruction: Reconstruction::Mse, norm: CodeNorm::Sum };
    let slow = |loss| {
        let mut config = plain(loss);
        config.train.optimizer.learning_rate = 1e-3 * EPSILON;
        config
    };
    let mut warming = Trainer::new(slow(mse(0.4, 4)), SHAPE.width, Some(&weights(0.0))).unwrap();
    for step in 0..6 {
        let start = warming.crosscoder().unwrap();
        let report = warming.step(&x).unwrap();
        let mut plainly = Trainer::new(slow(mse(0.1 * step.min(4) as f64, 0)), SHAPE.width, Some(&start)).unwrap();
        let expected = plainly.step(&x).unwrap();
        assert_eq!((report.loss, report.sparsity), (expected.loss, expected.sparsity), "step {step}");
        assert_eq!(parameters(&warming.crosscoder().unwrap()), parameters(&plainly.finish().unwrap()), "step {step}");
    }
}
