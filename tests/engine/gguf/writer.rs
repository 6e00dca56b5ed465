//! Writes model folders as GGUF the way llama.cpp's converter does, in f32.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{Device, Tensor};
use serde_json::Value as Json;
use xd::gguf::Value;
use xd::ml::lm::{DecoderConfig, Dtype, Weights};

/// A file to be written.
pub struct Model {
    pub metadata: BTreeMap<String, Value>,
    pub tensors: BTreeMap<String, Tensor>,
}

const NAMES: &[(&str, &str)] = &[
    ("attention_norm", "attn_norm"),
    ("attention_post_norm", "post_attention_norm"),
    ("down", "ffn_down"),
    ("gate", "ffn_gate"),
    ("k", "attn_k"),
    ("k_norm", "attn_k_norm"),
    ("mlp_norm", "ffn_norm"),
    ("mlp_post_norm", "post_ffw_norm"),
    ("o", "attn_output"),
    ("q", "attn_q"),
    ("q_norm", "attn_q_norm"),
    ("up", "ffn_up"),
    ("v", "attn_v"),
];

/// Converts a model folder.
pub fn convert(folder: &Path, path: &Path) {
    model(folder).write(path);
}

fn read(folder: &Path, name: &str) -> Json {
    serde_json::from_str(&std::fs::read_to_string(folder.join(name)).unwrap()).unwrap()
}

/// What the converter makes of a model folder.
pub fn model(folder: &Path) -> Model {
    let config = read(folder, "config.json");
    let kind = config["model_type"].as_str().unwrap();
    let architecture = kind.trim_end_matches("_text");
    let gemma = architecture.starts_with("gemma");
    let mut metadata = BTreeMap::from([("general.architecture".to_string(), Value::Text(architecture.into()))]);
    shape(&config, architecture, &mut metadata);
    vocabulary(&read(folder, "tokenizer.json"), gemma, &mut metadata);
    let mut tensors = BTreeMap::new();
    let shapes = DecoderConfig::load(folder).unwrap();
    let (heads, kv_heads) = (shapes.attention.heads, shapes.attention.kv_heads);
    for (name, tensor) in Weights::load(folder, &shapes, Dtype::F32).unwrap().parts() {
        let tensor = if gemma && name.ends_with("norm.weight") { (tensor + 1.0).unwrap() } else { tensor.clone() };
        let tensor = match name {
            n if architecture == "llama" && n.ends_with(".q.weight") => interleaved(&tensor, heads),
            n if architecture == "llama" && n.ends_with(".k.weight") => interleaved(&tensor, kv_heads),
            _ => tensor,
        };
        tensors.insert(stored_name(name), tensor);
    }
    if let Some(factors) = llama3(&config) {
        tensors.insert("rope_freqs.weight".into(), factors);
    }
    Model { metadata, tensors }
}

fn shape(config: &Json, architecture: &str, metadata: &mut BTreeMap<String, Value>) {
    let mut put = |key: &str, value: Value| metadata.insert(format!("{architecture}.{key}"), value);
    let whole = |key: &str| config[key].as_u64().map(Value::Unsigned);
    for (ours, theirs) in [
        ("hidden_size", "embedding_length"),
        ("num_hidden_layers", "block_count"),
        ("intermediate_size", "feed_forward_length"),
        ("num_attention_heads", "attention.head_count"),
        ("num_key_value_heads", "attention.head_count_kv"),
        ("head_dim", "attention.key_length"),
        ("max_position_embeddings", "context_length"),
    ] {
        if let Some(value) = whole(ours) {
            put(theirs, value);
        }
    }
    put("attention.layer_norm_rms_epsilon", Value::Float(config["rms_norm_eps"].as_f64().unwrap()));
    if architecture.starts_with("gemma") {
        put("attention.sliding_window", whole("sliding_window").unwrap());
    }
    for (ours, theirs) in
        [("attn_logit_softcapping", "attn_logit_softcapping"), ("final_logit_softcapping", "final_logit_softcapping")]
    {
        if let Some(cap) = config[ours].as_f64() {
            put(theirs, Value::Float(cap));
        }
    }
    let rope = &config["rope_parameters"];
    let theta = rope["rope_theta"].as_f64().or(rope["full_attention"]["rope_theta"].as_f64()).unwrap();
    put("rope.freq_base", Value::Float(theta));
}

fn vocabulary(tokenizer: &Json, gemma: bool, metadata: &mut BTreeMap<String, Value>) {
    let vocab = tokenizer["model"]["vocab"].as_object().unwrap();
    let mut tokens: Vec<(&String, u64)> = vocab.iter().map(|(t, id)| (t, id.as_u64().unwrap())).collect();
    tokens.sort_by_key(|(_, id)| *id);
    let added: Vec<u64> =
        tokenizer["added_tokens"].as_array().unwrap().iter().map(|t| t["id"].as_u64().unwrap()).collect();
    let merge = |m: &Json| match m.as_array() {
        Some(pair) => format!("{} {}", pair[0].as_str().unwrap(), pair[1].as_str().unwrap()),
        None => m.as_str().unwrap().to_string(),
    };
    let merges = tokenizer["model"]["merges"].as_array().unwrap().iter().map(|m| Value::Text(merge(m))).collect();
    let mut put = |key: &str, value: Value| metadata.insert(format!("tokenizer.ggml.{key}"), value);
    put("model", Value::Text("gpt2".into()));
    put("pre", Value::Text("gpt-2".into()));
    put("tokens", Value::List(tokens.iter().map(|(t, _)| Value::Text(t.to_string())).collect()));
    let kinds = tokens.iter().map(|(_, id)| Value::Signed(if added.contains(id) { 3 } else { 1 }));
    put("token_type", Value::List(kinds.collect()));
    put("merges", Value::List(merges));
    put("bos_token_id", Value::Unsigned(0));
    put("eos_token_id", Value::Unsigned(1));
    put("add_bos_token", Value::Truth(true));
    assert!(gemma || added.contains(&0));
}

/// The rows of each head from halves to neighbours.
fn interleaved(tensor: &Tensor, heads: usize) -> Tensor {
    let (rows, width) = tensor.dims2().unwrap();
    let shape = (heads, 2, rows / heads / 2, width);
    tensor.reshape(shape).unwrap().transpose(1, 2).unwrap().contiguous().unwrap().reshape((rows, width)).unwrap()
}

/// The divisors of Llama 3's frequencies.
fn llama3(config: &Json) -> Option<Tensor> {
    let rope = &config["rope_parameters"];
    let number = |key: &str| rope[key].as_f64();
    if rope["rope_type"] != "llama3" {
        return None;
    }
    let (factor, low, high) = (number("factor")?, number("low_freq_factor")?, number("high_freq_factor")?);
    let (context, theta) = (number("original_max_position_embeddings")?, number("rope_theta")?);
    let head = config["head_dim"].as_u64()?;
    let divisor = |i: u64| {
        let wavelength = 2.0 * std::f64::consts::PI * theta.powf(2.0 * i as f64 / head as f64);
        if wavelength < context / high {
            return 1.0;
        }
        if wavelength > context / low {
            return factor as f32;
        }
        let smooth = (context / wavelength - low) / (high - low);
        (1.0 / ((1.0 - smooth) / factor + smooth)) as f32
    };
    Some(Tensor::from_vec((0..head / 2).map(divisor).collect::<Vec<f32>>(), head as usize / 2, &Device::Cpu).unwrap())
}

fn stored_name(name: &str) -> String {
    let whole = [
        ("embedding.weight", "token_embd.weight"),
        ("norm.weight", "output_norm.weight"),
        ("head.weight", "output.weight"),
    ];
    if let Some((_, stored)) = whole.iter().find(|(part, _)| *part == name) {
        return stored.to_string();
    }
    let (layer, part) = name.strip_prefix("layers.").unwrap().split_once('.').unwrap();
    let (part, what) = part.split_once('.').unwrap();
    let stored = NAMES.iter().find(|(published, _)| *published == part).unwrap().1;
    format!("blk.{layer}.{stored}.{what}")
}

impl Model {
    /// Version 3, tensors at multiples of 32 bytes.
    pub fn write(&self, path: &Path) {
        let mut out = b"GGUF".to_vec();
        out.extend(3u32.to_le_bytes());
        out.extend((self.tensors.len() as u64).to_le_bytes());
        out.extend((self.metadata.len() as u64).to_le_bytes());
        for (key, value) in &self.metadata {
            text(&mut out, key);
            out.extend(kind(value).to_le_bytes());
            put(&mut out, value);
        }
        let mut at = 0u64;
        for (name, tensor) in &self.tensors {
            text(&mut out, name);
            out.extend((tensor.rank() as u32).to_le_bytes());
            for size in tensor.dims().iter().rev() {
                out.extend((*size as u64).to_le_bytes());
            }
            out.extend(0u32.to_le_bytes());
            out.extend(at.to_le_bytes());
            at = (at + 4 * tensor.elem_count() as u64).div_ceil(32) * 32;
        }
        for tensor in self.tensors.values() {
            out.resize(out.len().div_ceil(32) * 32, 0);
            let values = tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            out.extend(values.iter().flat_map(|v| v.to_le_bytes()));
        }
        std::fs::write(path, out).unwrap();
    }
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

fn kind(value: &Value) -> u32 {
    match value {
        Value::Unsigned(_) => 4,
        Value::Signed(_) => 5,
        Value::Float(_) => 6,
        Value::Truth(_) => 7,
        Value::Text(_) => 8,
        Value::List(_) => 9,
    }
}

fn put(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Unsigned(n) => out.extend((*n as u32).to_le_bytes()),
        Value::Signed(n) => out.extend((*n as i32).to_le_bytes()),
        Value::Float(x) => out.extend((*x as f32).to_le_bytes()),
        Value::Truth(t) => out.push(u8::from(*t)),
        Value::Text(t) => text(out, t),
        Value::List(values) => {
            out.extend(values.first().map_or(8, kind).to_le_bytes());
            out.extend((values.len() as u64).to_le_bytes());
            values.iter().for_each(|v| put(out, v));
        }
    }
}
