//! Latent Scaling on the emulated GPU.

use std::sync::Arc;

use xd::ml::crosscoder::*;
use xd::ml::cuda::Gpu;
use xd::ml::scaling::{Fit, Scaling, ScalingConfig, scale, scale_on};
use xd::ml::watch::Unwatched;
use xd::ml::{MemoryRows, RowInfo};

use crate::rows::{config, l1, rows, top};

const WIDTH: usize = 20;

/// A crosscoder after a few steps, with this activation for use.
fn crosscoder(loss: Loss, activation: Option<Activation>) -> Crosscoder {
    let mut trainer = Trainer::new(config(150, loss), WIDTH, None).unwrap();
    for batch in rows(64 * 30, WIDTH, 11).chunks(64 * 2 * WIDTH) {
        trainer.step(batch).unwrap();
    }
    let crosscoder = trainer.finish().unwrap();
    let own = crosscoder.activation.clone();
    Crosscoder { activation: activation.unwrap_or(own), ..crosscoder }
}

fn near(a: Option<f64>, b: Option<f64>, within: f64, what: &str) {
    assert_eq!(a.is_some(), b.is_some(), "{what}");
    if let (Some(a), Some(b)) = (a, b) {
        assert!((a - b).abs() <= within * b.abs().max(1.0), "{what}: {a} {b}");
    }
}

fn compare(found: &Scaling, expected: &Scaling, what: &str) {
    assert_eq!(found.latent, expected.latent, "{what}");
    assert_eq!(found.active_tokens, expected.active_tokens, "{what}");
    assert_eq!((&found.direction, &found.control, found.rows), (&expected.direction, &expected.control, expected.rows));
    for i in 0..found.latent.len() {
        let what = format!("{what}, latent {}", found.latent[i]);
        let betas = |s: &Scaling| s.betas[i].map(|b| [b.activation, b.activation_no_bias, b.reconstruction, b.error]);
        match (betas(found), betas(expected)) {
            (Some(a), Some(b)) => {
                a.as_flattened().iter().zip(b.as_flattened()).for_each(|(a, b)| near(Some(*a), Some(*b), 1e-4, &what));
            }
            (a, b) => assert_eq!(a, b, "{what}"),
        }
        let intervals = |s: &Scaling| s.intervals[i].and_then(|i| i.error).map(|i| i.high - i.low);
        // A ratio whose denominator is drawn near 0 makes more of a rounding.
        near(intervals(found), intervals(expected), 1e-2, &what);
    }
}

crate::checks!(sums_on_the_gpu_are_those_of_the_cpu_for_every_activation,);

fn sums_on_the_gpu_are_those_of_the_cpu_for_every_activation(gpus: &[Arc<dyn Gpu>]) {
    let [first, second] = gpus else { return };
    let values = rows(300, WIDTH, 5);
    let infos = (0..300).map(|i| RowInfo { sequence: i / 20, position: i % 20, ..RowInfo::default() }).collect();
    let data = MemoryRows { width: WIDTH, values, infos };
    let each = (0..150).map(|j| j as f32 * 0.002 - 0.05).collect();
    let cases = [
        ("threshold", Loss::BatchTopK(top(6)), None),
        ("no threshold yet", Loss::BatchTopK(top(6)), Some(Activation::Threshold { k: 6, threshold: -1.0 })),
        ("k a row", Loss::TopK(top(6)), None),
        ("ReLU", l1(0.05, Reconstruction::L2, CodeNorm::Sum), None),
        ("JumpReLU", l1(0.05, Reconstruction::L2, CodeNorm::Sum), Some(Activation::JumpRelu { thresholds: each })),
    ];
    for (name, loss, activation) in cases {
        let cc = crosscoder(loss, activation);
        let some = ScalingConfig {
            latents: Some((0..150).filter(|j| j % 4 == 1).collect()),
            control: vec![0, 2],
            fit: Fit::Both,
            tokens: 290,
            intervals: 40,
            ..ScalingConfig::default()
        };
        for config in [ScalingConfig::default(), some] {
            let expected = scale(&cc, &data, &config, &Unwatched).unwrap();
            assert!(expected.active_tokens.iter().sum::<u64>() > 400, "{name}: hardly anything fires");
            let found = scale_on(Some(first), &cc, &data, &config, &Unwatched).unwrap();
            compare(&found, &expected, name);
            let again = scale_on(Some(second), &cc, &data, &config, &Unwatched).unwrap();
            assert_eq!(again, found, "{name}: threads and blocks in another order");
        }
    }
}
