//! Crosscoders of other projects: what xd reads encodes as their convention does (tests/fixtures/weights/make.py, by formulas in torch).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use serde_json::json;
use xd::ml::crosscoder::tensor_file::{self, Tensor, TensorFile};
use xd::ml::crosscoder::{Activation, CodeNorm, Crosscoder};
use xd::ml::formats::{Choices, Layout, WeightsFile, write_torch};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/weights").join(name)
}

/// Largest difference of features and of the reconstruction from the expected ones.
fn differences(crosscoder: &Crosscoder, probe: &str) -> (f32, f32) {
    let file = TensorFile::open(&fixture(&format!("{probe}.probe.safetensors"))).unwrap();
    let tensor = |name: &str| file.floats(name).unwrap().unwrap().1;
    let (x, expected) = (tensor("x"), tensor("features"));
    let code = crosscoder.encode(&x);
    let mut features = vec![0.0; code.rows() * crosscoder.latents];
    for i in 0..code.rows() {
        let (latents, values) = code.row(i);
        for (&j, &value) in latents.iter().zip(values) {
            features[i * crosscoder.latents + j as usize] = value;
        }
    }
    assert!(expected.iter().filter(|value| **value > 0.0).count() > 20, "an empty probe shows nothing");
    let largest = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    (largest(&features, &expected), largest(&crosscoder.decode(&code), &tensor("reconstruction")))
}

#[track_caller]
fn same(path: &str, probe: &str) -> Crosscoder {
    let crosscoder = Crosscoder::load(&fixture(path)).unwrap();
    let (features, reconstruction) = differences(&crosscoder, probe);
    assert!(features < 1e-5 && reconstruction < 1e-5, "{path}: {features} {reconstruction}");
    // Once more through a folder of our own.
    let folder = tempfile::tempdir().unwrap();
    crosscoder.save(folder.path()).unwrap();
    let back = Crosscoder::load(folder.path()).unwrap();
    let (features, reconstruction) = differences(&back, probe);
    assert!(features < 1e-5 && reconstruction < 1e-5, "{path}, saved: {features} {reconstruction}");
    // What the published classes have no place for is in no other file.
    let text = std::fs::read_to_string(folder.path().join("config.json")).unwrap();
    let jump = matches!(crosscoder.activation, Activation::JumpRelu { .. });
    assert_eq!(text.contains("\"activation\""), jump, "{text}");
    let names = TensorFile::open(&folder.path().join("model.safetensors")).unwrap();
    assert_eq!(names.floats("thresholds").unwrap().is_some(), jump);
    assert_eq!((back.code_norm, &back.activation), (crosscoder.code_norm, &crosscoder.activation));
    crosscoder
}

#[test]
fn published_folders_of_every_age() {
    let l1 = same("l1_2024", "l1_2024");
    assert_eq!((l1.code_norm, l1.activation), (CodeNorm::Sum, Activation::Relu));
    let facts = WeightsFile::open(&fixture("l1_2024"), None).unwrap().facts().unwrap();
    assert!(facts.assumed[0].contains("`sum` (CROSSCODER) is assumed"), "{:?}", facts.assumed);
    let march = same("batch_topk_march_2025", "batch_topk_march_2025");
    assert_eq!(march.code_norm, CodeNorm::Concat, "from sparsity_loss_type");
    assert_eq!(march.activation, Activation::Threshold { k: 4, threshold: 1.7 });
    let checkpoint = same("checkpoint_20000.pt", "checkpoint_20000");
    assert_eq!(checkpoint.code_norm, CodeNorm::Sum);
    assert!(checkpoint.normalizer.is_none(), "NaN is off");
}

#[test]
fn a_mixed_code_norm_is_two_numbers() {
    let mixed = same("mixed", "mixed");
    assert_eq!(mixed.code_norm, CodeNorm::Mixed { sae: 0.5, cc: 0.25 });
    let older = same("mixed_older", "mixed");
    assert_eq!(older.code_norm, mixed.code_norm, "from sparsity_loss_alpha_sae and _cc");
    let file = WeightsFile::open(&fixture("mixed/model.safetensors"), Some("")).unwrap();
    let facts = file.facts().unwrap();
    assert_eq!(facts.norm, CodeNorm::Mixed { sae: 1.0, cc: 0.1 });
    assert!(facts.assumed.len() == 2 && facts.assumed[0].contains("`alpha_sae`"), "{:?}", facts.assumed);
    assert!(!facts.norm_assumed, "the kind of norm is in the file");
}

#[test]
fn a_normaliser_is_applied_once_and_norms_stay_on_its_scale() {
    let crosscoder = same("normalizing", "normalizing");
    assert!(WeightsFile::open(&fixture("normalizing"), None).unwrap().facts().unwrap().normalizes);
    let raw = TensorFile::open(&fixture("normalizing/model.safetensors"))
        .unwrap()
        .floats("decoder.weight")
        .unwrap()
        .unwrap()
        .1;
    let norms = crosscoder.decoder_norms();
    for (model, norms) in norms.iter().enumerate() {
        for (latent, norm) in norms.iter().enumerate() {
            let row = &raw[(model * 20 + latent) * 6..][..6];
            let expected = row.iter().map(|w| w * w).sum::<f32>().sqrt();
            assert!((norm - expected).abs() < 1e-5, "{norm} {expected}");
        }
    }
}

#[test]
fn layouts_of_other_projects() {
    same("kissane", "kissane");
    same("kissane/cc_weights.pt", "kissane");
    same("crosscode_relu", "crosscode_relu");
    let top = same("crosscode_topk", "crosscode_topk");
    assert_eq!(top.activation, Activation::TopK { k: 3 });
    let jump = same("crosscode_jumprelu", "crosscode_jumprelu");
    let Activation::JumpRelu { thresholds } = &jump.activation else { panic!("{:?}", jump.activation) };
    assert!(jump.code_norm == CodeNorm::Sum && (thresholds[0] - 0.05).abs() < 1e-6 && thresholds.len() == 20);
    let facts = |name: &str| WeightsFile::open(&fixture(name), None).unwrap().facts().unwrap();
    assert_eq!(facts("kissane").expects, Some("per_model_scale"));
    assert_eq!(facts("crosscode_relu").expects, None, "its scale is folded in");
    assert_eq!(facts("crosscode_relu").layout, Layout::Crosscode);
}

#[test]
fn autoencoders_of_saelens() {
    let standard = same("saelens/standard", "saelens_standard");
    assert_eq!((standard.code_norm, &standard.activation), (CodeNorm::Concat, &Activation::Relu));
    let jump = same("saelens/jumprelu/joint", "saelens_jumprelu");
    assert!(
        matches!(&jump.activation, Activation::JumpRelu { thresholds } if thresholds.len() == 20 && thresholds[0] < 0.0)
    );
    assert_eq!(same("saelens/jumprelu", "saelens_jumprelu"), jump, "the folder that holds `joint`");
    assert_eq!(same("saelens/slices", "saelens_jumprelu").activation, jump.activation);
    let top = same("saelens/topk", "saelens_topk");
    assert_eq!((top.code_norm, &top.activation), (CodeNorm::None, &Activation::TopK { k: 3 }));
    let rescaled = same("saelens/topk_rescaled", "saelens_topk_rescaled");
    assert_eq!(rescaled.code_norm, CodeNorm::Concat, "it ranks by the norms of whole decoder rows");
    let facts = |name: &str| WeightsFile::open(&fixture(name), None).unwrap().facts().unwrap();
    assert_eq!(facts("saelens/slices").layout, Layout::Saelens);
    let assumed = facts("saelens/hook").assumed;
    assert!(
        assumed[0].contains("`sum` is assumed") && assumed[1].contains("hook `blocks.3.hook_resid_post`"),
        "{assumed:?}"
    );

    // Autoencoders that do not say what they are: nothing is taken for a crosscoder in silence.
    let error = WeightsFile::open(&fixture("saelens/foreign"), None).unwrap().facts().unwrap_err().to_string();
    assert!(error.contains("over rows of width 12") && error.contains("--side-by-side"), "{error}");
    let said = WeightsFile::open(&fixture("saelens/foreign"), None).unwrap().side_by_side().unwrap();
    let (features, reconstruction) = differences(&said.load(&Choices::default()).unwrap(), "saelens_standard");
    assert!(features < 1e-5 && reconstruction < 1e-5, "{features} {reconstruction}");
    assert!(said.facts().unwrap().assumed[0].contains("`concat` is assumed"));
    let error =
        WeightsFile::open(&fixture("kissane"), None).unwrap().side_by_side().map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("leave `--side-by-side` out"), "{error}");
}

/// Files of SAELens with one thing changed: each is refused by the name of that thing.
#[test]
fn what_an_autoencoder_has_besides_is_refused_by_name() {
    let set = |path: &Path, key: &str, value: serde_json::Value| {
        let text = std::fs::read_to_string(path.join("cfg.json")).unwrap();
        let mut config: serde_json::Value = serde_json::from_str(&text).unwrap();
        config[key] = value;
        std::fs::write(path.join("cfg.json"), config.to_string()).unwrap();
    };
    let copied = |name: &str| {
        let folder = tempfile::tempdir().unwrap();
        for part in ["", "base", "tuned", "joint"] {
            let from = fixture(name).join(part);
            if !from.join("cfg.json").is_file() {
                continue;
            }
            std::fs::create_dir_all(folder.path().join(part)).unwrap();
            for file in ["cfg.json", "sae_weights.safetensors"] {
                std::fs::copy(from.join(file), folder.path().join(part).join(file)).unwrap();
            }
        }
        folder
    };
    let said = |path: &Path| Crosscoder::load(path).map(|_| ()).unwrap_err().to_string();
    for (key, value, words) in [
        ("normalize_activations", json!("layer_norm"), "normalize_activations = layer_norm"),
        ("normalize_activations", json!("expected_average_only_in"), "fold_activation_norm_scaling_factor"),
        ("normalize_activations", json!(true), "fold_activation_norm_scaling_factor"),
        ("reshape_activations", json!("hook_z"), "reshape_activations = hook_z"),
        ("hook_head_index", json!(3), "hook_head_index"),
        ("architecture", json!("gated"), "`gated`"),
        ("architecture", json!("jumprelu"), "no `threshold`"),
        ("activation_fn", json!("tanh-relu"), "`tanh-relu`"),
        ("activation_fn", json!("topk"), "no `k`"),
        ("d_in", json!(10), "`d_in` = 10"),
        ("d_sae", json!("many"), "`d_sae` = \"many\""),
        ("metadata", json!({ "crosscoder": "half of something" }), "--side-by-side"),
        ("metadata", json!({ "code_norm": "product" }), "code norm \"product\""),
    ] {
        let folder = copied("saelens/standard");
        set(folder.path(), key, value);
        assert!(said(folder.path()).contains(words), "{key}: {}", said(folder.path()));
    }
    let folder = copied("saelens/topk");
    set(folder.path(), "k", json!(21));
    assert!(said(folder.path()).contains("its k is 21"), "{}", said(folder.path()));

    // The slices of two models must be halves of one crosscoder.
    let slices = || copied("saelens/slices");
    let folder = slices();
    assert!(said(&folder.path().join("base")).contains("name the folder that holds `base` and `tuned`"));
    set(&folder.path().join("tuned"), "metadata", json!({}));
    assert!(said(folder.path()).contains("two autoencoders of one model each are none"), "{}", said(folder.path()));
    let folder = slices();
    set(&folder.path().join("tuned"), "architecture", json!("standard"));
    assert!(said(folder.path()).contains("threshold"), "{}", said(folder.path()));
    for name in ["b_enc", "threshold"] {
        let folder = slices();
        let path = folder.path().join("tuned/sae_weights.safetensors");
        let file = TensorFile::open(&path).unwrap();
        let mut tensors: Vec<(&str, Vec<usize>, Vec<f32>)> = ["W_enc", "b_enc", "W_dec", "b_dec", "threshold"]
            .into_iter()
            .map(|name| (name, file.floats(name).unwrap().unwrap()))
            .map(|(name, (shape, values))| (name, shape, values))
            .collect();
        tensors.iter_mut().find(|t| t.0 == name).unwrap().2[7] += 0.5;
        let written = tensors.iter().map(|(name, shape, values)| (*name, Tensor::f32(shape, values))).collect();
        tensor_file::write(&path, &written, None).unwrap();
        let said = said(folder.path());
        assert!(said.contains(&format!("their `{name}` differ: latent 7")), "{said}");
    }
}

#[test]
fn a_missing_threshold_is_demanded_and_never_a_relu() {
    for name in ["no_threshold", "crosscode_batch_topk"] {
        let file = WeightsFile::open(&fixture(name), None).unwrap();
        let error = file.load(&Choices::default()).unwrap_err().to_string();
        assert!(error.contains("--threshold NUMBER"), "{name}: {error}");
        let given = file.load(&Choices { threshold: Some(1.7), norm: None }).unwrap();
        assert!(matches!(given.activation, Activation::Threshold { threshold: 1.7, .. }));
        assert_eq!(file.load_to_start_from().unwrap().encoder_weight, given.encoder_weight);
    }
    let file = WeightsFile::open(&fixture("no_threshold"), None).unwrap();
    let (features, _) =
        differences(&file.load(&Choices { threshold: Some(1.7), norm: None }).unwrap(), "checkpoint_20000");
    assert!(features < 1e-5);
}

#[test]
fn what_xd_has_not_is_refused_by_name() {
    let said = |name: &str| {
        let file = WeightsFile::open(&fixture(name), None);
        file.and_then(|file| file.facts()).map(|_| ()).unwrap_err().to_string()
    };
    for (name, words) in [
        ("decoupled", "DECOUPLED"),
        ("crosscode_no_thresholds", "no `_activation_fn.log_threshold_L`"),
        ("../torch/nested.pt", "no crosscoder in a layout that is known"),
        ("../torch/evil.pt", "would run `posix.system`"),
        (".", "several files of weights"),
    ] {
        assert!(said(name).contains(words), "{name}: {}", said(name));
    }
}

/// A state dict of the published class for one vector: what it reads is for the user to say.
#[test]
fn a_published_autoencoder_is_read_once_it_is_known_of_what() {
    let open = || WeightsFile::open(&fixture("sae.pt"), None).unwrap();
    let facts = open().facts().unwrap();
    assert!(facts.autoencoder && facts.reads.is_none(), "{facts:?}");
    let error = open().load(&Choices::default()).unwrap_err().to_string();
    assert!(error.contains("sparse autoencoder of one vector") && error.contains("--reads tuned"), "{error}");
    let error = WeightsFile::open(&fixture("batch_topk_march_2025"), None)
        .unwrap()
        .reading(xd::ml::crosscoder::Target::Tuned)
        .map(|_| ())
        .unwrap_err()
        .to_string();
    assert!(error.contains("no autoencoder of one vector"), "{error}");
}

#[test]
fn a_prefix_chooses_among_crosscoders() {
    let reference = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/crosscoder");
    let file = std::fs::read_dir(reference)
        .unwrap()
        .map(|e| e.unwrap().path())
        .find(|p| p.extension().is_some_and(|e| e == "safetensors"));
    let file = file.expect("a reference of the trainer");
    let error = WeightsFile::open(&file, None).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("\"final.\", \"init.\""), "{error}");
    WeightsFile::open(&file, Some("init.")).unwrap().facts().unwrap();
    let error = WeightsFile::open(&file, Some("start.")).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("no `start.encoder.weight`"), "{error}");
}

/// Files as they lie beside one another in a training folder of the published project.
#[test]
fn a_checkpoint_takes_its_trainers_config_and_any_prefix() {
    let folder = tempfile::tempdir().unwrap();
    let source = TensorFile::open(&fixture("no_threshold/model.safetensors")).unwrap();
    let tensors: Vec<(String, Vec<usize>, Vec<f32>)> =
        ["encoder.weight", "encoder.bias", "decoder.weight", "decoder.bias"]
            .iter()
            .map(|name| {
                let (shape, values) = source.floats(name).unwrap().unwrap();
                (format!("state_dict.{name}"), shape, values)
            })
            .collect();
    let mut written: BTreeMap<&str, Tensor> =
        tensors.iter().map(|(name, shape, values)| (name.as_str(), Tensor::f32(shape, values))).collect();
    written.insert("state_dict.threshold", Tensor::f32_scalar(1.7));
    written.insert("state_dict.k", Tensor::i32_scalar(4));
    written.insert("step", Tensor::i64(&[], &[20_000]));
    write_torch(&folder.path().join("checkpoint_20000.pt"), &written).unwrap();
    std::fs::write(
        folder.path().join("config.json"),
        r#"{"trainer": {"dict_class": "BatchTopKCrossCoder", "code_normalization": "SAE", "target_rms": NaN}, "buffer": null}"#,
    )
    .unwrap();
    let crosscoder = Crosscoder::load(folder.path()).unwrap();
    assert_eq!(crosscoder.code_norm, CodeNorm::Concat);
    let (features, _) = differences(&crosscoder, "batch_topk_march_2025");
    assert!(features < 1e-5, "{features}");
    // A second checkpoint leaves the choice to the user.
    std::fs::copy(folder.path().join("checkpoint_20000.pt"), folder.path().join("checkpoint_40000.pt")).unwrap();
    let error = Crosscoder::load(folder.path()).unwrap_err().to_string();
    assert!(error.contains("name one of checkpoint_20000.pt, checkpoint_40000.pt"), "{error}");
    assert!(Crosscoder::load(&folder.path().join("checkpoint_40000.pt")).is_ok());
}

#[test]
fn an_activation_cache_is_told_from_weights() {
    let cache = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/cache/older/base");
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(cache.join("shard_0.memmap"), folder.path().join("shard_0.memmap")).unwrap();
    let error = Crosscoder::load(folder.path()).unwrap_err().to_string();
    assert!(error.contains("from = cache("), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, rng_seed: proptest::test_runner::RngSeed::Fixed(2), failure_persistence: None, ..ProptestConfig::default() })]

    /// Neither opening nor looking nor loading nor encoding panics, whatever the bytes.
    #[test]
    fn damaged_weights_are_errors_or_crosscoders(
        name in prop::sample::select(vec!["checkpoint_20000.pt", "kissane/cc_weights.pt", "normalizing/model.safetensors", "batch_topk_march_2025/model.safetensors", "crosscode_jumprelu/model.pt", "saelens/jumprelu/joint/sae_weights.safetensors"]),
        changes in prop::collection::vec((0.0f64..1.0, any::<u8>()), 1..8),
        near_the_start in any::<bool>(),
    ) {
        let mut bytes = std::fs::read(fixture(name)).unwrap();
        for (place, value) in changes {
            let among = if near_the_start { bytes.len().min(1200) } else { bytes.len() };
            let place = (place * among as f64) as usize;
            bytes[place] = value;
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(if name.ends_with("pt") { "model.pt" } else { "model.safetensors" });
        std::fs::write(&path, bytes).unwrap();
        for config in ["model_cfg.yaml", "cfg.json"] {
            if let Some(from) = Some(fixture(name).with_file_name(config)).filter(|from| from.is_file()) {
                std::fs::copy(from, folder.path().join(config)).unwrap();
            }
        }
        if let Ok(file) = WeightsFile::open(&path, None)
            && let Ok(crosscoder) = file.load(&Choices { threshold: Some(1.0), norm: None })
        {
            let x = vec![0.5; 4 * 2 * crosscoder.width];
            let code = crosscoder.encode(&x);
            prop_assert_eq!(crosscoder.decode(&code).len(), x.len());
        }
    }
}
