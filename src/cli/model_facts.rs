//! What can be known of a model folder without loading it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::world::{files, read_json, reason, shapes};
use crate::lang::world::ModelFacts;

/// The `model_type`s that the engine computes, named here too because files are checked without the engine; a test compares
/// the two.
const MODEL_TYPES: &[&str] =
    &["gemma2", "gemma3", "gemma3_text", "gpt2", "gpt_neox", "llama", "mistral", "qwen2", "qwen3"];

/// Names of one number in the configurations of different families.
const WIDTH: &[&str] = &["hidden_size", "n_embd"];
const LAYERS: &[&str] = &["num_hidden_layers", "n_layer"];
const CONTEXT: &[&str] = &["max_position_embeddings", "n_positions", "n_ctx"];

/// Facts of the model in a folder with config.json, tokenizer.json and safetensors.
///
/// # Errors
/// A sentence, when a file is missing or cannot be read, or the model is of no type that is known here.
pub fn of_folder(folder: &Path) -> Result<ModelFacts, String> {
    if !folder.is_dir() {
        return Err(if folder.exists() { "it is not a folder".into() } else { "there is no such folder".into() });
    }
    facts(folder, |_| weights(folder))
}

/// Facts of the model in a folder; `weights` counts its parameters and the rows of its embedding, given the configuration.
///
/// # Errors
/// As [`of_folder`].
pub fn facts(
    folder: &Path,
    weights: impl FnOnce(&Value) -> Result<(u64, Option<u64>), String>,
) -> Result<ModelFacts, String> {
    let config = read_json(&folder.join("config.json"))?;
    let family = config.get("model_type").and_then(Value::as_str).ok_or("its config.json has no `model_type`")?;
    if !MODEL_TYPES.contains(&family) {
        return Err(format!("models of type `{family}` are not known; there is {}", MODEL_TYPES.join(", ")));
    }
    // Models that also see keep the language model's numbers in a part of their own.
    let text = config.get("text_config").filter(|t| t.is_object()).unwrap_or(&config);
    let number = |names: &[&str]| {
        let found = names.iter().find_map(|name| text.get(name).or_else(|| config.get(name)).and_then(Value::as_u64));
        found.ok_or_else(|| format!("its config.json has no number `{}`", names[0]))
    };
    let tokenizer =
        std::fs::read(folder.join("tokenizer.json")).map_err(|e| format!("tokenizer.json: {}", reason(&e)))?;
    let (parameters, embedding) = weights(&config)?;
    Ok(ModelFacts {
        family: family.to_string(),
        width: number(WIDTH)?,
        layers: number(LAYERS)?,
        vocabulary: number(&["vocab_size"]).or_else(|missing| embedding.ok_or(missing))?,
        context: number(CONTEXT).ok(),
        tokenizer: blake3::hash(&tokenizer).to_hex().to_string(),
        parameters,
    })
}

/// Number of parameters, and rows of the embedding, from the headers of the weight files. The masks that old GPT-2 and GPT-NeoX
/// files keep beside their weights are not counted.
fn weights(folder: &Path) -> Result<(u64, Option<u64>), String> {
    const EMBEDDINGS: [&str; 3] = ["embed_tokens.weight", "wte.weight", "embed_in.weight"];
    let (mut total, mut embedding) = (0u64, None);
    for file in weight_files(folder)? {
        for (name, shape) in shapes(&file)? {
            if EMBEDDINGS.iter().any(|e| name.ends_with(e)) {
                embedding = shape.first().copied();
            }
            if shape.len() <= 2 {
                total = total.saturating_add(shape.iter().fold(1u64, |a, b| a.saturating_mul(*b)));
            }
        }
    }
    Ok((total, embedding))
}

/// `model.safetensors`, or the shards of its index, or whatever safetensors there are.
fn weight_files(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let whole = folder.join("model.safetensors");
    if whole.is_file() {
        return Ok(vec![whole]);
    }
    let index = folder.join("model.safetensors.index.json");
    if index.is_file() {
        let map = read_json(&index)?;
        let map = map.get("weight_map").and_then(Value::as_object).ok_or("its index has no `weight_map`")?;
        let shards: BTreeSet<&str> = map.values().filter_map(Value::as_str).collect();
        if let Some(lost) = shards.iter().find(|s| !folder.join(s).is_file()) {
            return Err(format!("its index names the shard {lost}, which is not there"));
        }
        return Ok(shards.into_iter().map(|s| folder.join(s)).collect());
    }
    let found: Vec<PathBuf> =
        files(folder)?.into_iter().filter(|f| f.extension().is_some_and(|e| e == "safetensors")).collect();
    if found.is_empty() { Err("it holds no weights (model.safetensors)".into()) } else { Ok(found) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "engine")]
    #[test]
    fn model_types_are_those_of_the_engine() {
        assert_eq!(MODEL_TYPES, crate::ml::lm::Family::model_types());
    }

    fn fixture(family: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/lm").join(family)
    }

    #[test]
    fn facts_of_every_family() {
        let facts = [
            ("gemma2", 4, 48, 139_056),
            ("gemma3", 7, 48, 186_704),
            ("gpt2", 4, 48, 143_904),
            ("gpt_neox", 4, 48, 112_800),
            ("llama", 4, 48, 111_024),
            ("qwen2", 4, 48, 111_408),
            ("qwen3", 4, 48, 157_296),
        ];
        for (family, layers, width, parameters) in facts {
            let found = of_folder(&fixture(family)).expect(family);
            assert_eq!((found.layers, found.width, found.vocabulary), (layers, width, 384), "{family}");
            assert_eq!((found.context, found.parameters), (Some(256), parameters), "{family}");
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        let folder = tempfile::tempdir().expect("a folder");
        let place = folder.path();
        let write = |name: &str, text: &str| std::fs::write(place.join(name), text).expect("written");
        let why = || of_folder(place).expect_err("an error");
        write("config.json", r#"{"model_type": "mamba"}"#);
        assert!(why().starts_with("models of type `mamba` are not known; there is gemma2, gemma3,"), "{}", why());
        write("config.json", r#"{"model_type": "gpt2", "n_embd": 8, "vocab_size": 3}"#);
        write("tokenizer.json", "{}");
        assert_eq!(why(), "it holds no weights (model.safetensors)");
        write("model.safetensors.index.json", r#"{"weight_map": {"wte.weight": "model-1.safetensors"}}"#);
        assert_eq!(why(), "its index names the shard model-1.safetensors, which is not there");
        std::fs::copy(fixture("gpt2").join("model.safetensors"), place.join("model-1.safetensors")).expect("copied");
        assert_eq!(why(), "its config.json has no number `num_hidden_layers`");
        std::fs::copy(fixture("gpt2").join("model.safetensors"), place.join("consolidated.safetensors"))
            .expect("copied");
        write("config.json", r#"{"model_type": "gpt2", "n_embd": 8, "n_layer": 4}"#);
        let facts = of_folder(place).expect("facts");
        assert_eq!((facts.vocabulary, facts.context, facts.parameters), (384, None, 143_904));
    }
}
