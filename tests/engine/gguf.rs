//! GGUF: files of the reference writer, models of every family converted by a writer of our own, broken files.

mod real;
mod writer;

use std::path::{Path, PathBuf};

use candle_core::{DType, Device, IndexOp, Tensor};
use xd::gguf::{GgufFile, Value};
use xd::ml::data::{Document, Tokenizer};
use xd::ml::lm::{Decoder, DecoderConfig, Dtype, Weights};

pub use self::writer::convert;
use self::writer::model;
use crate::lm::fixture;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/gguf")
}

#[test]
fn values_of_every_type_are_read() {
    let file = GgufFile::open(&folder().join("types.gguf")).unwrap();
    let text = |t: &str| Value::Text(t.into());
    let want = [
        ("u8", Value::Unsigned(200)),
        ("i8", Value::Signed(-100)),
        ("u16", Value::Unsigned(60_000)),
        ("i16", Value::Signed(-30_000)),
        ("u32", Value::Unsigned(4_000_000_000)),
        ("i32", Value::Signed(-2_000_000_000)),
        ("u64", Value::Unsigned((1 << 63) + 1)),
        ("i64", Value::Signed(-(1 << 62))),
        ("f32", Value::Float(f64::from(1e-6f32))),
        ("f64", Value::Float(1e-300)),
        ("truth", Value::Truth(true)),
        ("text", text("Zürich\n")),
        ("list", Value::List([3, 1, 2].map(Value::Signed).to_vec())),
        ("texts", Value::List(["a", "", "ß"].map(text).to_vec())),
    ];
    for (key, value) in want {
        assert_eq!(file.get(&format!("test.{key}")), Some(&value), "{key}");
    }
    assert_eq!(file.architecture(), Ok("llama"));
    assert_eq!(file.tensors()["Q6_K"].shape, [3, 512]);
}

#[test]
fn ids_equal_those_of_transformers() {
    for name in ["sentencepiece", "gemma", "byte_level"] {
        let tokenizer = Tokenizer::load(folder().join(format!("{name}.gguf"))).unwrap();
        let rows = std::fs::read_to_string(folder().join(format!("{name}.json"))).unwrap();
        let rows: Vec<serde_json::Value> = serde_json::from_str(&rows).unwrap();
        assert_eq!(rows.len(), 9);
        for row in rows {
            let want: Vec<u32> = serde_json::from_value(row["ids"].clone()).unwrap();
            let text = row["text"].as_str().unwrap().to_string();
            let got = tokenizer.encode(&Document::Text(text.clone()), None, usize::MAX).unwrap().ids;
            if text.is_empty() {
                assert!(want.is_empty() && got.len() < 2, "{name}: {got:?}");
                continue;
            }
            // A text that begins with BOS itself does not get a second one.
            let bos = tokenizer.bos().unwrap();
            let want = if want[0] == bos { want } else { [&[bos], &want[..]].concat() };
            assert_eq!(got, want, "{name} {text}");
        }
    }
}

#[test]
fn the_chat_template_and_special_tokens_come_out_of_the_file() {
    let tokenizer = Tokenizer::load(folder().join("sentencepiece.gguf")).unwrap();
    assert!(tokenizer.has_template());
    assert_eq!((tokenizer.bos(), tokenizer.eos()), (Some(1), Some(2)));
    assert!(tokenizer.special().contains(&3), "<start> is control");
    assert!(!tokenizer.special().contains(&4), "<blank> is the user's");
    assert!(!Tokenizer::load(folder().join("byte_level.gguf")).unwrap().has_template());
}

const FAMILIES: [&str; 5] = ["gemma2", "gemma3", "llama", "qwen2", "qwen3"];

#[test]
fn a_converted_model_is_the_model() {
    for family in FAMILIES {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("model.gguf");
        convert(&fixture(family), &path);
        let want = DecoderConfig::load(fixture(family)).unwrap();
        let mut config = DecoderConfig::load(&path).unwrap();
        if family == "gemma2" {
            // The scale of attention is not in the file; llama.cpp knows that of the published sizes by heart.
            config.attention.scale = want.attention.scale;
        }
        assert_eq!(config, want, "{family}");
        let got = Weights::load(&path, &config, Dtype::F32).unwrap();
        let want = Weights::load(&fixture(family), &config, Dtype::F32).unwrap();
        let names = |w: &Weights| w.parts().keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&got), names(&want), "{family}");
        for (name, want) in want.parts() {
            let worst = worst(&got.parts()[name], want);
            // 1 + w was rounded to f32.
            let allowed = if name.ends_with("norm.weight") { 2e-7 } else { 0.0 };
            assert!(worst <= allowed, "{family} {name}: {worst}");
        }
        let expected =
            candle_core::safetensors::load(fixture(family).join("expected.safetensors"), &Device::Cpu).unwrap();
        let decoder = Decoder::new(config, &got).unwrap();
        let logits = decoder.logits(&expected["ids"].to_dtype(DType::U32).unwrap()).unwrap();
        let worst = worst(&logits, &expected["logits"]);
        assert!(worst < 1e-4, "{family} logits: {worst}");
        let text = Document::Text("Hello fox, it's 1234!\n\n  The lazy dog.".into());
        let ids = |place: &Path| Tokenizer::load(place).unwrap().encode(&text, None, 1024).unwrap().ids;
        assert_eq!(ids(&path).len(), ids(&fixture(family)).len(), "{family}");
        assert_eq!(ids(&path), ids(&fixture(family)), "{family}");
    }
}

fn worst(a: &Tensor, b: &Tensor) -> f32 {
    (a - b).unwrap().abs().unwrap().flatten_all().unwrap().max(0).unwrap().to_scalar().unwrap()
}

#[test]
fn rope_scaling_is_found_from_its_factors() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("model.gguf");
    let mut file = model(&fixture("llama"));
    let factors = file.tensors["rope_freqs.weight"].clone();
    let half = factors.dims()[0];
    file.tensors.insert("rope_freqs.weight".into(), Tensor::full(3f32, half, &Device::Cpu).unwrap());
    file.write(&path);
    let error = DecoderConfig::load(&path).unwrap_err().to_string();
    assert!(error.contains("model.gguf") && error.contains("rope_freqs.weight"), "{error}");
    file.tensors.remove("rope_freqs.weight");
    file.write(&path);
    assert_ne!(DecoderConfig::load(&path).unwrap(), DecoderConfig::load(fixture("llama")).unwrap());
    assert!(factors.i(0).unwrap().to_scalar::<f32>().unwrap() >= 1.0);
}

#[test]
fn what_is_not_read_is_refused_by_name() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("model.gguf");
    let refused = |key: &str, value: Value| {
        let mut file = model(&fixture("llama"));
        file.metadata.insert(key.into(), value);
        file.write(&path);
        match (DecoderConfig::load(&path), Tokenizer::load(&path)) {
            (Err(error), _) | (_, Err(error)) => error.to_string(),
            _ => panic!("{key} is not refused"),
        }
    };
    let text = |t: &str| Value::Text(t.into());
    assert!(refused("general.architecture", text("mamba")).contains("`mamba`"));
    assert!(refused("llama.rope.scaling.type", text("yarn")).contains("`yarn`"));
    assert!(refused("llama.expert_count", Value::Unsigned(8)).contains("mixture"));
    assert!(refused("llama.rope.dimension_count", Value::Unsigned(2)).contains("part of each head"));
    assert!(
        refused("llama.attention.head_count_kv", Value::List([1, 2].map(Value::Signed).to_vec())).contains("layer")
    );
    assert!(refused("tokenizer.ggml.model", text("rwkv")).contains("`rwkv`"));
    assert!(refused("tokenizer.ggml.pre", text("new")).contains("new"));
    assert!(refused("split.count", Value::Unsigned(3)).contains("one part"));
    assert!(refused("general.alignment", Value::Unsigned(0)).contains("alignment"));
    let mut file = model(&fixture("llama"));
    file.tensors.insert("blk.0.ssm_a".into(), Tensor::zeros(3, DType::F32, &Device::Cpu).unwrap());
    file.write(&path);
    let error = Decoder::load(&path).err().unwrap().to_string();
    assert!(error.contains("`blk.0.ssm_a`"), "{error}");
}

#[test]
fn a_file_cut_anywhere_is_an_error_that_says_so() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("cut.gguf");
    let whole = std::fs::read(folder().join("types.gguf")).unwrap();
    let error = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        GgufFile::open(&path).err()
    };
    let file = GgufFile::open(&folder().join("types.gguf")).unwrap();
    let end = file.tensors().values().map(|t| t.start + t.bytes).max().unwrap() as usize;
    for length in (0..end).step_by(7).chain([end - 1]) {
        let error = error(&whole[..length]).unwrap_or_else(|| panic!("{length} bytes are taken"));
        assert!(error.contains("cut off") || error.contains("not a GGUF file"), "{length}: {error}");
    }
    assert_eq!(error(&whole), None);
    let mut big_endian = whole.clone();
    big_endian[4..8].copy_from_slice(&3u32.to_be_bytes());
    assert!(error(&big_endian).unwrap().contains("big-endian"));
    let mut version = whole;
    version[4] = 9;
    assert!(error(&version).unwrap().contains("version 9"));
}

/// No byte of the header may make the reader panic, or set aside more than the file could fill.
#[test]
fn a_broken_header_never_panics() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("broken.gguf");
    let whole = std::fs::read(folder().join("types.gguf")).unwrap();
    let mut refused = 0;
    for at in 4..900.min(whole.len()) {
        for flip in [0xff, 0x80, 0x01] {
            let mut bytes = whole.clone();
            bytes[at] ^= flip;
            std::fs::write(&path, &bytes).unwrap();
            if let Ok(file) = GgufFile::open(&path) {
                for tensor in file.tensors().values() {
                    file.bytes(tensor).unwrap();
                }
                continue;
            }
            refused += 1;
        }
    }
    assert!(refused > 300, "{refused}");
}
