//! Weights in the forms in which they are published, and broken ones.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use serde_json::{Value, json};
use xd::ml::lm::{Decoder, DecoderConfig, Dtype, Weights};

use crate::lm::{assert_close, distance, expected, fixture};

fn tensors(family: &str) -> BTreeMap<String, Tensor> {
    let file = fixture(family).join("model.safetensors");
    candle_core::safetensors::load(file, &Device::Cpu).unwrap().into_iter().collect()
}

/// A model folder with the fixture's configuration, changed, and these tensors.
fn folder(family: &str, tensors: &BTreeMap<String, Tensor>, change: impl Fn(&mut Value)) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    config(family, folder.path(), change);
    let tensors: HashMap<String, Tensor> = tensors.clone().into_iter().collect();
    candle_core::safetensors::save(&tensors, folder.path().join("model.safetensors")).unwrap();
    folder
}

fn config(family: &str, folder: &Path, change: impl Fn(&mut Value)) {
    let text = std::fs::read_to_string(fixture(family).join("config.json")).unwrap();
    let mut value: Value = serde_json::from_str(&text).unwrap();
    change(&mut value);
    std::fs::write(folder.join("config.json"), value.to_string()).unwrap();
}

fn renamed(family: &str, rename: impl Fn(&str) -> String) -> BTreeMap<String, Tensor> {
    tensors(family).into_iter().map(|(name, tensor)| (rename(&name), tensor)).collect()
}

fn assert_same(folder: &Path, family: &str, what: &str) {
    let expected = expected(family);
    let logits = Decoder::load(folder).unwrap().logits(&expected["ids"]).unwrap();
    assert_close(&logits, &expected["logits"], what);
}

#[test]
fn names_with_other_prefixes_are_found() {
    // GPT-2 as it was first published: no prefix, and the causal mask beside the weights.
    let mut old = renamed("gpt2", |name| name.trim_start_matches("transformer.").to_string());
    for layer in 0..4 {
        let mask = Tensor::ones((1, 1, 256, 256), DType::U8, &Device::Cpu).unwrap();
        old.insert(format!("h.{layer}.attn.bias"), mask);
    }
    assert_same(folder("gpt2", &old, |_| ()).path(), "gpt2", "old gpt2");
    // The body alone, saved without a head.
    let body = renamed("llama", |name| name.trim_start_matches("model.").to_string());
    assert_same(folder("llama", &body, |_| ()).path(), "llama", "body of llama");
    // A model that also sees, in the older and the newer naming.
    for (from, to) in [("model.", "language_model.model."), ("model.", "model.language_model.")] {
        let mut seeing = renamed("gemma3", |name| name.replacen(from, to, 1));
        let patch = Tensor::zeros((2, 3), DType::F32, &Device::Cpu).unwrap();
        seeing.insert("vision_tower.vision_model.embeddings.patch_embedding.weight".into(), patch);
        let nested = |value: &mut Value| *value = json!({ "model_type": "gemma3", "text_config": value.take() });
        assert_same(folder("gemma3", &seeing, nested).path(), "gemma3", to);
    }
    let mut twice = tensors("llama");
    twice.insert("other.embed_tokens.weight".into(), twice["model.embed_tokens.weight"].clone());
    let error = Decoder::load(folder("llama", &twice, |_| ()).path()).err().unwrap().to_string();
    assert!(error.contains("could both be the embedding"), "{error}");
}

#[test]
fn the_file_says_whether_there_is_a_head() {
    let expected = expected("llama");
    let ids = &expected["ids"];
    let embedding = tensors("llama")["model.embed_tokens.weight"].clone();
    // Said to be untied, but no head is there: the embedding serves.
    let untied = folder("llama", &tensors("llama"), |c| c["tie_word_embeddings"] = false.into());
    assert_same(untied.path(), "llama", "no head");
    // Said to be tied, and the embedding is there a second time: nothing is kept twice.
    let mut both = tensors("llama");
    both.insert("lm_head.weight".into(), embedding.clone());
    let both = folder("llama", &both, |_| ());
    assert_same(both.path(), "llama", "both");
    let config = DecoderConfig::load(both.path()).unwrap();
    assert!(Weights::load(both.path(), &config, Dtype::F32).unwrap().tied());
    // Said to be tied, but with a head of its own: it is used, as transformers does.
    let mut other = tensors("llama");
    other.insert("lm_head.weight".into(), embedding.affine(2.0, 0.0).unwrap());
    let other = Decoder::load(folder("llama", &other, |_| ()).path()).unwrap();
    assert!(!other.config().tied);
    assert_close(&other.logits(ids).unwrap(), &expected["logits"].affine(2.0, 0.0).unwrap(), "own head");
}

#[test]
fn shards_of_three_number_formats_are_read() {
    let expected = expected("llama");
    let new = tempfile::tempdir().unwrap();
    config("llama", new.path(), |c| c["tie_word_embeddings"] = false.into());
    let mut all = tensors("llama");
    all.insert("lm_head.weight".into(), all["model.embed_tokens.weight"].affine(2.0, 0.0).unwrap());
    let mut shards = [HashMap::new(), HashMap::new()];
    let mut map = serde_json::Map::new();
    for (index, (name, tensor)) in all.iter().enumerate() {
        let dtype = if name.contains("norm") { DType::F32 } else { [DType::BF16, DType::F16][index % 2] };
        map.insert(name.clone(), format!("model-{}.safetensors", index % 2).into());
        shards[index % 2].insert(name.clone(), tensor.to_dtype(dtype).unwrap());
    }
    for (index, shard) in shards.iter().enumerate() {
        candle_core::safetensors::save(shard, new.path().join(format!("model-{index}.safetensors"))).unwrap();
    }
    let index = new.path().join("model.safetensors.index.json");
    std::fs::write(&index, json!({ "weight_map": map }).to_string()).unwrap();
    let got = Decoder::load(new.path()).unwrap().logits(&expected["ids"]).unwrap();
    let distance = distance(&got, &expected["logits"].affine(2.0, 0.0).unwrap());
    assert!(distance < 0.2, "bf16 and f16 weights: {distance}");
    assert!(distance > 1e-5, "the weights were not rounded");

    let error = || Decoder::load(new.path()).err().unwrap().to_string();
    std::fs::rename(new.path().join("model-1.safetensors"), new.path().join("away")).unwrap();
    assert!(error().contains("names the shard model-1.safetensors, which is not in"), "{}", error());
    std::fs::rename(new.path().join("away"), new.path().join("model-1.safetensors")).unwrap();
    let one_shard = json!({ "weight_map": { "model.embed_tokens.weight": "model-0.safetensors" } });
    std::fs::write(&index, one_shard.to_string()).unwrap();
    assert!(error().contains("there is no tensor `"), "{}", error());
    std::fs::write(&index, "{}").unwrap();
    assert!(error().contains("no `weight_map`"), "{}", error());
    std::fs::remove_file(&index).unwrap();
    assert!(error().contains("there is no model.safetensors in"), "{}", error());
    std::fs::write(new.path().join("pytorch_model.bin"), "").unwrap();
    assert!(error().contains("safe_serialization=True"), "{}", error());
}

#[test]
fn broken_files_are_named() {
    let whole = folder("llama", &tensors("llama"), |_| ());
    let file = whole.path().join("model.safetensors");
    let bytes = std::fs::read(&file).unwrap();
    let error = |bytes: &[u8]| {
        std::fs::write(&file, bytes).unwrap();
        Decoder::load(whole.path()).err().unwrap().to_string()
    };
    let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    for broken in [&bytes[..0], &bytes[..5], &bytes[..header / 2], &bytes[..header + 100], &bytes[..bytes.len() - 4]] {
        let error = error(broken);
        assert!(error.contains("model.safetensors cannot be read as safetensors (was it copied whole?)"), "{error}");
    }
    let html = error(b"<!doctype html><html><body>Not found</body></html>");
    assert!(html.contains("cannot be read as safetensors"), "{html}");
    // A header that points beyond the data.
    let mut wrong = bytes.clone();
    let text = String::from_utf8(bytes[8..header].to_vec()).unwrap();
    let longer = text.replacen("[384,48]", "[999,48]", 1);
    assert_ne!(text, longer);
    wrong[8..header].copy_from_slice(longer.as_bytes());
    assert!(error(&wrong).contains("cannot be read as safetensors"), "{}", error(&wrong));
}

#[test]
fn tensors_that_do_not_fit_the_configuration_are_named() {
    let error = |family: &str, tensors: &BTreeMap<String, Tensor>| {
        Decoder::load(folder(family, tensors, |_| ()).path()).err().unwrap().to_string()
    };
    let mut missing = tensors("qwen3");
    missing.remove("model.layers.2.self_attn.q_norm.weight");
    let message = error("qwen3", &missing);
    assert!(message.contains("there is no tensor `model.layers.2.self_attn.q_norm.weight`"), "{message}");
    let mut shape = tensors("gpt2");
    let turned = shape["transformer.h.1.attn.c_attn.weight"].t().unwrap().contiguous().unwrap();
    shape.insert("transformer.h.1.attn.c_attn.weight".into(), turned);
    let message = error("gpt2", &shape);
    assert!(
        message.contains("`transformer.h.1.attn.c_attn.weight` has shape [144, 48], config.json says [48, 144]"),
        "{message}"
    );
    let mut integers = tensors("llama");
    let norm = integers["model.norm.weight"].to_dtype(DType::U8).unwrap();
    integers.insert("model.norm.weight".into(), norm);
    assert!(error("llama", &integers).contains("bf16, f16 and f32 can be read"));
    let message = error("gpt_neox", &tensors("llama"));
    assert!(message.contains("there is no tensor `embed_in.weight`"), "{message}");
}

#[test]
fn what_is_published_again_is_what_was_read() {
    for family in ["gemma2", "gemma3", "gpt2", "gpt_neox", "llama", "llama_untied", "mistral", "qwen2", "qwen3"] {
        let config = DecoderConfig::load(fixture(family)).unwrap();
        let weights = Weights::load(&fixture(family), &config, Dtype::F32).unwrap();
        let (published, was) = (weights.published(&config).unwrap(), tensors(family));
        assert_eq!(published.keys().collect::<Vec<_>>(), was.keys().collect::<Vec<_>>(), "{family}");
        for (name, tensor) in published {
            let values = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            assert_eq!(tensor.dims(), was[&name].dims(), "{family} {name}");
            assert_eq!(values(&tensor), values(&was[&name]), "{family} {name}");
        }
    }
}
