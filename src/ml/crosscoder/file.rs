//! Crosscoders in files: the published layout (docs/method.md 1.1).

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use super::tensor_file::{self, Tensor, TensorFile};
use super::{Activation, CodeNorm, Crosscoder};
use crate::ml::{Error, Result};

/// Name of the weight file in a folder.
const WEIGHTS: &str = "model.safetensors";
/// Name of the file of constructor arguments.
const CONFIG: &str = "config.json";
/// Name of the file that tells the published loader which class it is.
const TRAINER: &str = "trainer_config.json";

impl CodeNorm {
    fn id(self) -> i64 {
        match self {
            CodeNorm::Sum => 1,
            CodeNorm::Concat => 2,
            CodeNorm::None => 4,
        }
    }

    fn published(self) -> &'static str {
        match self {
            CodeNorm::Sum => "CROSSCODER",
            CodeNorm::Concat => "SAE",
            CodeNorm::None => "NONE",
        }
    }

    fn from_published(word: &str) -> Option<Self> {
        [CodeNorm::Sum, CodeNorm::Concat, CodeNorm::None]
            .into_iter()
            .find(|norm| norm.published().eq_ignore_ascii_case(word) || norm.id().to_string() == word)
    }
}

impl Crosscoder {
    /// Writes `model.safetensors`, `config.json` and `trainer_config.json` into a folder that exists.
    pub fn save(&self, folder: &Path) -> Result<()> {
        let (d, latents) = (self.width, self.latents);
        let mut tensors = BTreeMap::from([
            ("encoder.weight", Tensor::f32(&[2, d, latents], &self.encoder_weight)),
            ("encoder.bias", Tensor::f32(&[latents], &self.encoder_bias)),
            ("decoder.weight", Tensor::f32(&[2, latents, d], &self.decoder_weight)),
            ("decoder.bias", Tensor::f32(&[2, d], &self.decoder_bias)),
            ("code_normalization_id", Tensor::i64(&[], &[self.code_norm.id()])),
        ]);
        let (class, k) = match self.activation {
            Activation::Relu => ("CrossCoder", None),
            Activation::Threshold { k, threshold } => {
                tensors.insert("k", Tensor::i32_scalar(k as i32));
                tensors.insert("threshold", Tensor::f32_scalar(threshold));
                ("BatchTopKCrossCoder", Some(k))
            }
            Activation::TopK { k } => {
                tensors.insert("k", Tensor::i32_scalar(k as i32));
                ("TopKCrossCoder", Some(k))
            }
        };
        tensor_file::write(&folder.join(WEIGHTS), &tensors, None)?;
        let mut config = json!({
            "activation_dim": d,
            "dict_size": latents,
            "num_layers": 2,
            "num_decoder_layers": 2,
            "encoder_layers": null,
            "same_init_for_all_layers": false,
            "norm_init_scale": null,
            "init_with_transpose": true,
            "code_normalization": self.code_norm.published(),
        });
        let mut trainer = json!({
            "dict_class": class,
            "activation_dim": d,
            "dict_size": latents,
            "code_normalization": self.code_norm.published(),
        });
        if let Some(k) = k {
            config["k"] = json!(k);
            trainer["k"] = json!(k);
        }
        let text = |value: &Value| serde_json::to_string_pretty(value).unwrap_or_default() + "\n";
        tensor_file::write_text(&folder.join(CONFIG), &text(&config))?;
        tensor_file::write_text(&folder.join(TRAINER), &text(&json!({ "trainer": trainer })))
    }

    /// Reads a folder in the published layout, written here or by the Python projects. Shapes are trusted over
    /// `config.json`; missing and further keys are accepted.
    pub fn load(folder: &Path) -> Result<Self> {
        let config = read_json(&folder.join(CONFIG))?;
        let trainer = read_json(&folder.join(TRAINER))?;
        let class = trainer["trainer"]["dict_class"].as_str().map(str::to_string);
        read(&TensorFile::open(&folder.join(WEIGHTS))?, "", &config, class.as_deref())
    }

    /// Reads one safetensors file in which the published names carry a prefix, such as `init.`.
    pub fn load_tensors(path: &Path, prefix: &str) -> Result<Self> {
        read(&TensorFile::open(path)?, prefix, &Value::Null, None)
    }
}

/// The JSON of a file, or null when there is no such file.
fn read_json(path: &Path) -> Result<Value> {
    match std::fs::read_to_string(path) {
        Ok(text) => serde_json::from_str(&text)
            .map_err(|error| Error::invalid("read weights", format!("{}: {error}", path.display()))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Value::Null),
        Err(error) => Err(Error::file(path, error)),
    }
}

fn read(file: &TensorFile, prefix: &str, config: &Value, class: Option<&str>) -> Result<Crosscoder> {
    let compiled = file.tensors()?.names().iter().any(|name| **name == format!("{prefix}_orig_mod.encoder.weight"));
    let name = |tail: &str| format!("{prefix}{}{tail}", if compiled { "_orig_mod." } else { "" });
    let (shape, encoder_weight) = file.matrix(&name("encoder.weight"), &[Some(2), None, None])?;
    let (width, latents) = (shape[1], shape[2]);
    let (_, encoder_bias) = file.matrix(&name("encoder.bias"), &[Some(latents)])?;
    let (_, decoder_weight) = file.matrix(&name("decoder.weight"), &[Some(2), Some(latents), Some(width)])?;
    let (_, decoder_bias) = file.matrix(&name("decoder.bias"), &[Some(2), Some(width)])?;
    refuse_normaliser(file, &name)?;

    let code_norm = match (file.integers(&name("code_normalization_id"))?, config["code_normalization"].as_str()) {
        (Some(ids), _) => CodeNorm::from_published(&ids.first().copied().unwrap_or(1).to_string())
            .ok_or_else(|| file.bad(&format!("code normalisation {ids:?} is not built (1, 2 and 4 are)")))?,
        (None, Some(word)) => CodeNorm::from_published(word)
            .ok_or_else(|| file.bad(&format!("code normalisation `{word}` is not built")))?,
        (None, None) => CodeNorm::Sum,
    };
    let k = match file.integers(&name("k"))? {
        Some(k) => k.first().copied().unwrap_or(0).max(0) as u64,
        None => config["k"].as_u64().unwrap_or(0),
    };
    let activation = match file.floats(&name("threshold"))? {
        Some((_, values)) => match values[..] {
            [threshold] => Activation::Threshold { k, threshold },
            _ => return Err(file.bad("a threshold a model (decoupled) is not built")),
        },
        None if class == Some("BatchTopKCrossCoder") => {
            return Err(file.bad("it is a BatchTopK crosscoder without its `threshold`"));
        }
        None if k > 0 => Activation::TopK { k },
        None => Activation::Relu,
    };
    Ok(Crosscoder { width, latents, encoder_weight, encoder_bias, decoder_weight, decoder_bias, code_norm, activation })
}

/// Files of mid-2025 on may carry a normaliser of the activations; only the neutral one can be ignored.
fn refuse_normaliser(file: &TensorFile, name: &impl Fn(&str) -> String) -> Result<()> {
    if let Some((_, mean)) = file.floats(&name("activation_mean"))?
        && mean.iter().any(|value| !value.is_nan())
    {
        return Err(file.bad("it normalises activations by its own mean and deviation, which is not built"));
    }
    Ok(())
}
