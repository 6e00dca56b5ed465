//! Every step of the published trainers.

use std::path::{Path, PathBuf};

use serde_json::Value;
use xd::ml::crosscoder::*;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/crosscoder")
}

fn tensor(name: &str, key: &str) -> Vec<f32> {
    let file = tensor_file::TensorFile::open(&folder().join(format!("{name}.safetensors"))).unwrap();
    file.floats(key).unwrap().unwrap().1
}

fn config(settings: &Value) -> TrainerConfig {
    let number = |key: &str| settings[key].as_u64();
    let loss = if settings["kind"] == "l1" {
        let mse = settings["mse"].as_bool().unwrap_or(false);
        Loss::L1 {
            weight: settings["mu"].as_f64().unwrap(),
            warmup: 0,
            reconstruction: if mse { Reconstruction::Mse } else { Reconstruction::L2 },
            norm: CodeNorm::Sum,
        }
    } else {
        Loss::BatchTopK(TopK {
            k: number("k").unwrap(),
            aux: 1.0 / 32.0,
            dead_after: number("dead_after").unwrap_or(10_000_000),
            threshold_from: number("threshold_start_step").unwrap(),
            anneal: number("anneal").map(|steps| (number("k_max").unwrap(), steps)),
            reconstruction: Reconstruction::L2,
            norm: CodeNorm::Sum,
        })
    };
    TrainerConfig {
        latents: number("latents").unwrap() as usize,
        variant: Variant::SharedCode,
        loss,
        init: Init { norm: None, encoder: InitEncoder::Transpose, same: true },
        train: Train {
            batch: number("batch").unwrap(),
            steps: number("steps").unwrap(),
            optimizer: AdamConfig {
                learning_rate: settings["lr"].as_f64().unwrap(),
                beta1: 0.9,
                beta2: 0.999,
                epsilon: 1e-8,
                warmup: number("warmup_steps").unwrap(),
                decay: 0,
            },
            clip: if settings["kind"] == "l1" { None } else { Some(1.0) },
            shuffle: Shuffle::None,
            validate: 0,
            log: 0,
            seed: 0,
            precision: Precision::F32,
            resample: None,
        },
    }
}

fn near(what: &str, found: f64, expected: f64, tolerance: f64) {
    assert!((found - expected).abs() <= tolerance * expected.abs().max(1e-6), "{what}: {found}, published {expected}");
}

fn near_norm(what: &str, found: &[f32], expected: &[f32], tolerance: f64) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let square = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>();
    let off = square(&mut found.iter().zip(expected).map(|(f, e)| *f as f64 - *e as f64)).sqrt();
    let size = square(&mut expected.iter().map(|e| *e as f64)).sqrt();
    assert!(off <= tolerance * size, "{what}: off by {off} of {size}");
}

fn follows(name: &str) {
    let text = std::fs::read_to_string(folder().join(format!("{name}.json"))).unwrap();
    let settings: Value = serde_json::from_str(&text).unwrap();
    let weights = folder().join(format!("{name}.safetensors"));
    let start = Crosscoder::load_tensors(&weights, "init.").unwrap();
    let mut trainer = Trainer::new(config(&settings), start.width, Some(&start)).unwrap();
    let rows = tensor(name, "activations");
    let size = settings["batch"].as_u64().unwrap() as usize * 2 * start.width;
    let published = settings["losses"].as_array().unwrap();
    assert_eq!(rows.len() / size, published.len());
    for (batch, expected) in rows.chunks(size).zip(published) {
        let report = trainer.step(batch).unwrap();
        let at = |key: &str| format!("{name} step {}: {key}", report.step);
        near(&at("loss"), report.loss, expected["loss"].as_f64().unwrap(), 1e-4);
        if let Some(sparsity) = expected["sparsity_loss"].as_f64() {
            near(&at("sparsity"), report.sparsity.unwrap(), sparsity, 1e-4);
            let key = if settings["mse"] == true { "mse_loss" } else { "l2_loss" };
            near(&at(key), report.reconstruction, expected[key].as_f64().unwrap(), 1e-4);
        } else {
            assert_eq!(report.k, expected["k"].as_u64(), "{}", at("k"));
            assert_eq!(Some(report.dead), expected["dead"].as_u64(), "{}", at("dead"));
            near(&at("threshold"), report.threshold.unwrap(), expected["threshold"].as_f64().unwrap(), 1e-4);
            assert_eq!(report.l0, report.k.unwrap() as f64, "{}", at("l0"));
        }
    }
    let found = trainer.finish().unwrap();
    let last = Crosscoder::load_tensors(&weights, "final.").unwrap();
    near_norm("encoder.weight", &found.encoder_weight, &last.encoder_weight, 1e-3);
    near_norm("encoder.bias", &found.encoder_bias, &last.encoder_bias, 1e-3);
    near_norm("decoder.weight", &found.decoder_weight, &last.decoder_weight, 1e-3);
    near_norm("decoder.bias", &found.decoder_bias, &last.decoder_bias, 1e-3);
    probe(name, &last);
}

/// Features and reconstruction of the given final weights.
fn probe(name: &str, crosscoder: &Crosscoder) {
    let code = crosscoder.encode(&tensor(name, "probe.activations"));
    let mut dense = vec![0f32; code.rows() * crosscoder.latents];
    for row in 0..code.rows() {
        let (latents, values) = code.row(row);
        for (&latent, &value) in latents.iter().zip(values) {
            dense[row * crosscoder.latents + latent as usize] = value;
        }
    }
    let features = tensor(name, "probe.features");
    assert!(features.iter().any(|&f| f > 0.0));
    near_norm("probe.features", &dense, &features, 1e-4);
    assert!(dense.iter().zip(&features).all(|(a, b)| (*a > 0.0) == (*b > 0.0)), "the same latents are active");
    near_norm("probe.reconstruction", &crosscoder.decode(&code), &tensor(name, "probe.reconstruction"), 1e-4);
}

#[test]
fn l1_with_unsquared_norm() {
    follows("l1_l2norm");
}

#[test]
fn l1_with_squared_norm() {
    follows("l1_mse");
}

#[test]
fn batch_topk() {
    follows("batch_topk");
}

#[test]
fn batch_topk_with_annealed_k() {
    follows("batch_topk_anneal");
}

#[test]
fn batch_topk_with_dead_latents() {
    follows("batch_topk_dead");
}
