//! The metadata of a file in the words of `config.json`, so that a decoder is built from it like from a model folder.

use serde_json::{Map, Value as Json, json};

use super::{GgufFile, Value};

/// Rotary base of the windowed layers of Gemma 3, which most files leave out.
const GEMMA3_LOCAL_BASE: f64 = 10_000.0;
/// Gemma 3's windowed layers to a full one, which most files leave out: five to one.
const GEMMA3_PERIOD: u64 = 6;
/// Gemma 2's soft caps, which old files leave out.
const GEMMA2_CAPS: (f64, f64) = (50.0, 30.0);
/// Layers of the 27B sizes, whose attention is scaled by width / heads instead of the width of a head; nothing in the file
/// says so (llama.cpp goes by the number of layers, too).
const GEMMA2_27B: u64 = 46;
const GEMMA3_27B: u64 = 62;

/// The model's shape as `config.json` has it, with `model_type` and the published names.
///
/// What llama.cpp knows by heart and files omit is filled in: the rotary base and the pattern of windows of Gemma 3, the
/// attention scale of both Gemmas, the parameters of Llama 3's rope scaling (from the factors that the file stores).
///
/// # Errors
/// A sentence, when the family is not known or something is missing.
pub fn config(file: &GgufFile) -> Result<Json, String> {
    let architecture = file.architecture()?;
    let keys = Keys { file, architecture };
    let family: fn(&Keys) -> Result<Fields, String> = match architecture {
        "gemma2" => gemma2,
        "gemma3" => gemma3,
        "llama" => llama,
        "qwen2" | "qwen3" => qwen,
        other => {
            return Err(format!(
                "models of the architecture `{other}` are not read from GGUF; there is gemma2, gemma3, llama, qwen2 and qwen3"
            ));
        }
    };
    let mut config = keys.common()?;
    config.extend(family(&keys)?);
    for (ours, theirs) in [("bos_token_id", "bos"), ("eos_token_id", "eos"), ("pad_token_id", "padding")] {
        let id = file.get(&format!("tokenizer.ggml.{theirs}_token_id")).and_then(Value::whole);
        config.insert(ours.into(), id.map_or(Json::Null, Json::from));
    }
    Ok(Json::Object(config))
}

type Fields = Map<String, Json>;

/// Looks up `ARCHITECTURE.key`.
struct Keys<'a> {
    file: &'a GgufFile,
    architecture: &'a str,
}

impl Keys<'_> {
    fn get(&self, key: &str) -> Option<&Value> {
        self.file.get(&format!("{}.{key}", self.architecture))
    }

    /// A whole number; where the file gives one a layer, all must be the same.
    fn whole(&self, key: &str) -> Result<Option<u64>, String> {
        let wrong = || format!("its `{}.{key}` is no whole number", self.architecture);
        match self.get(key) {
            None => Ok(None),
            Some(Value::List(list)) => match list.split_first() {
                Some((first, rest)) if rest.iter().all(|v| v == first) => first.whole().map(Some).ok_or_else(wrong),
                _ => Err(format!(
                    "its `{}.{key}` differs from layer to layer, which is not built yet",
                    self.architecture
                )),
            },
            Some(value) => value.whole().map(Some).ok_or_else(wrong),
        }
    }

    fn need(&self, key: &str) -> Result<u64, String> {
        self.whole(key)?.ok_or_else(|| format!("it has no `{}.{key}`", self.architecture))
    }

    /// The shortest decimal that gives the same f32, so that 1e-6 stays 1e-6.
    fn number(&self, key: &str) -> Option<f64> {
        let value = self.get(key)?.number()?;
        (value as f32).to_string().parse().ok()
    }

    fn heads(&self) -> Result<u64, String> {
        match self.need("attention.head_count")? {
            0 => Err(format!("its `{}.attention.head_count` is 0", self.architecture)),
            heads => Ok(heads),
        }
    }

    fn head(&self) -> Result<u64, String> {
        Ok(match self.whole("attention.key_length")? {
            Some(head) => head,
            None => self.need("embedding_length")? / self.heads()?,
        })
    }

    /// What all families have.
    fn common(&self) -> Result<Fields, String> {
        let embedding = self.file.tensors().get("token_embd.weight").ok_or("it has no tensor `token_embd.weight`")?;
        let heads = self.heads()?;
        let (key, value) = (self.head()?, self.whole("attention.value_length")?);
        if value.is_some_and(|v| v != key) {
            return Err("its keys and values differ in length, which is not built yet".into());
        }
        if self.whole("rope.dimension_count")?.is_some_and(|n| n != key) {
            return Err("its rope turns only a part of each head, which is not built yet".into());
        }
        let mut fields = object(json!({
            "vocab_size": embedding.shape.first(),
            "hidden_size": self.need("embedding_length")?,
            "intermediate_size": self.need("feed_forward_length")?,
            "num_hidden_layers": self.need("block_count")?,
            "num_attention_heads": heads,
            "num_key_value_heads": self.whole("attention.head_count_kv")?.unwrap_or(heads),
            "head_dim": key,
            "rms_norm_eps": self.number("attention.layer_norm_rms_epsilon").ok_or("it has no epsilon of its norms")?,
            "tie_word_embeddings": !self.file.tensors().contains_key("output.weight"),
            "attention_dropout": 0.0,
        }));
        if let Some(context) = self.whole("context_length")? {
            fields.insert("max_position_embeddings".into(), context.into());
        }
        Ok(fields)
    }

    /// Base and scaling of the rotary positions.
    fn rope(&self, fields: &mut Fields, base: f64) -> Result<(), String> {
        fields.insert("rope_theta".into(), self.number("rope.freq_base").unwrap_or(base).into());
        let kind = self.get("rope.scaling.type").and_then(Value::text).unwrap_or("none");
        let scaling = match kind {
            "none" => self.llama3()?,
            "linear" => {
                let factor = self.number("rope.scaling.factor").ok_or("its linear rope scaling has no factor")?;
                Some(json!({ "rope_type": "linear", "factor": factor }))
            }
            other => return Err(format!("its rope scaling `{other}` is not built yet")),
        };
        if let Some(scaling) = scaling {
            fields.insert("rope_scaling".into(), scaling);
        }
        Ok(())
    }

    /// Llama 3.1's scaling is stored as one divisor a frequency; its four parameters are found from them and must give them back.
    fn llama3(&self) -> Result<Option<Json>, String> {
        if !self.file.tensors().contains_key("rope_freqs.weight") {
            return Ok(None);
        }
        let stored = self.file.f32s("rope_freqs.weight")?;
        let head = self.head()?;
        let theta = self.number("rope.freq_base").unwrap_or(10_000.0);
        let factor = f64::from(stored.iter().copied().fold(1.0, f32::max));
        let (low, high) = (1.0, 4.0);
        let wavelength = |i: usize| std::f64::consts::TAU * theta.powf(2.0 * i as f64 / head as f64);
        let expected = |i: usize, context: f64| {
            let kept = ((context / wavelength(i) - low) / (high - low)).clamp(0.0, 1.0);
            1.0 / ((1.0 - kept) / factor + kept)
        };
        // A divisor between 1 and the factor stands on the ramp, and says how often its wave turns in the context.
        let ramp = stored.iter().map(|f| f64::from(*f)).enumerate().find(|(_, f)| *f > 1.001 && *f < 0.999 * factor);
        let found = ramp.map(|(i, f)| {
            let kept = (1.0 / f - 1.0 / factor) / (1.0 - 1.0 / factor);
            ((low + kept * (high - low)) * wavelength(i)).round()
        });
        for context in found.into_iter().chain([8192.0]) {
            let fits = |(i, f): (usize, &f32)| (f64::from(*f) / expected(i, context) - 1.0).abs() < 1e-3;
            if stored.len() as u64 == head / 2 && stored.iter().enumerate().all(fits) {
                return Ok(Some(json!({
                    "rope_type": "llama3", "factor": factor, "low_freq_factor": low, "high_freq_factor": high,
                    "original_max_position_embeddings": context as u64,
                })));
            }
        }
        Err("the factors in its tensor `rope_freqs.weight` are not those of Llama 3's rope scaling".into())
    }
}

fn object(value: Json) -> Fields {
    match value {
        Json::Object(map) => map,
        _ => Map::new(),
    }
}

fn scalar(keys: &Keys, layers_of_27b: u64) -> Result<u64, String> {
    match keys.need("block_count")? == layers_of_27b {
        true => Ok(keys.need("embedding_length")? / keys.heads()?),
        false => keys.head(),
    }
}

fn gemma2(keys: &Keys) -> Result<Fields, String> {
    let mut fields = object(json!({
        "architectures": ["Gemma2ForCausalLM"],
        "model_type": "gemma2",
        "hidden_activation": "gelu_pytorch_tanh",
        "query_pre_attn_scalar": scalar(keys, GEMMA2_27B)?,
        "attn_logit_softcapping": keys.number("attn_logit_softcapping").unwrap_or(GEMMA2_CAPS.0),
        "final_logit_softcapping": keys.number("final_logit_softcapping").unwrap_or(GEMMA2_CAPS.1),
        "sliding_window": keys.need("attention.sliding_window")?,
        "attention_bias": false,
    }));
    let kinds: Vec<&str> = (0..keys.need("block_count")?).map(|l| layer_type(l % 2 == 0)).collect();
    fields.insert("layer_types".into(), kinds.into());
    keys.rope(&mut fields, 10_000.0)?;
    Ok(fields)
}

fn gemma3(keys: &Keys) -> Result<Fields, String> {
    let layers = keys.need("block_count")?;
    let kinds: Vec<&str> = match keys.get("attention.sliding_window_pattern") {
        Some(Value::List(list)) if list.len() as u64 == layers => {
            let windows: Option<Vec<bool>> = list.iter().map(Value::truth).collect();
            let windows = windows.ok_or("its `gemma3.attention.sliding_window_pattern` is broken")?;
            windows.into_iter().map(layer_type).collect()
        }
        other => {
            let period = other.and_then(Value::whole).unwrap_or(GEMMA3_PERIOD).max(1);
            (0..layers).map(|l| layer_type((l + 1) % period != 0)).collect()
        }
    };
    let mut fields = object(json!({
        "architectures": ["Gemma3ForCausalLM"],
        "model_type": "gemma3_text",
        "hidden_activation": "gelu_pytorch_tanh",
        "query_pre_attn_scalar": scalar(keys, GEMMA3_27B)?,
        "attn_logit_softcapping": null,
        "final_logit_softcapping": keys.number("final_logit_softcapping"),
        "sliding_window": keys.need("attention.sliding_window")?,
        "layer_types": kinds,
        "rope_local_base_freq": keys.number("rope.freq_base_swa").unwrap_or(GEMMA3_LOCAL_BASE),
        "attention_bias": false,
    }));
    keys.rope(&mut fields, 1_000_000.0)?;
    Ok(fields)
}

fn layer_type(window: bool) -> &'static str {
    if window { "sliding_attention" } else { "full_attention" }
}

/// Llama, and Mistral, which llama.cpp takes for the same.
fn llama(keys: &Keys) -> Result<Fields, String> {
    if keys.whole("expert_count")?.is_some_and(|n| n > 0) {
        return Err("it is a mixture of experts, which is not built yet".into());
    }
    let bias = keys.file.tensors().contains_key("blk.0.attn_q.bias");
    let mut fields = match keys.whole("attention.sliding_window")? {
        Some(window) if window > 0 => object(json!({
            "architectures": ["MistralForCausalLM"], "model_type": "mistral", "sliding_window": window,
        })),
        _ => object(json!({ "architectures": ["LlamaForCausalLM"], "model_type": "llama", "mlp_bias": false })),
    };
    fields.insert("hidden_act".into(), "silu".into());
    fields.insert("attention_bias".into(), bias.into());
    keys.rope(&mut fields, 10_000.0)?;
    Ok(fields)
}

fn qwen(keys: &Keys) -> Result<Fields, String> {
    let (class, bias) = match keys.architecture {
        "qwen2" => ("Qwen2ForCausalLM", true),
        _ => ("Qwen3ForCausalLM", false),
    };
    let mut fields = object(json!({
        "architectures": [class],
        "model_type": keys.architecture,
        "hidden_act": "silu",
        "attention_bias": bias,
        "use_sliding_window": false,
    }));
    keys.rope(&mut fields, 1_000_000.0)?;
    Ok(fields)
}
