//! Crosscoders in files: the published layout (docs/method.md 1.1).

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use super::tensor_file::{self, Tensor};
use super::{Activation, Autoencoder, CodeNorm, Crosscoder};
use crate::ml::Result;
use crate::ml::formats::autoencoder::{READS, target_word};
use crate::ml::formats::{Choices, WeightsFile};
use crate::ml::kernels::transposed;

/// Name of the weight file in a folder.
const WEIGHTS: &str = "model.safetensors";
/// Name of the file of constructor arguments.
const CONFIG: &str = "config.json";
/// Name of the file that tells the published loader which class it is.
const TRAINER: &str = "trainer_config.json";
/// Name of the tensor of thresholds on preactivations, one a latent, which no published class has.
pub(crate) const THRESHOLDS: &str = "thresholds";
/// Class of an autoencoder with a plain ReLU and the names of the published ones, which the published project has not.
pub(crate) const RELU_SAE: &str = "ReLUSAE";

impl CodeNorm {
    /// Its number in `code_normalization_id`.
    pub fn id(self) -> i64 {
        match self {
            CodeNorm::Sum => 1,
            CodeNorm::Concat => 2,
            CodeNorm::Mixed { .. } => 3,
            CodeNorm::None => 4,
        }
    }

    fn published(self) -> &'static str {
        match self {
            CodeNorm::Sum => "CROSSCODER",
            CodeNorm::Concat => "SAE",
            CodeNorm::Mixed { .. } => "MIXED",
            CodeNorm::None => "NONE",
        }
    }
}

impl Crosscoder {
    /// Writes `model.safetensors`, `config.json` and `trainer_config.json` into a folder that exists.
    pub fn save(&self, folder: &Path) -> Result<()> {
        if let Some(own) = Autoencoder::of(self) {
            return own.save(self.code_norm, &self.activation, folder);
        }
        let (d, latents) = (self.width, self.latents);
        let apart;
        let (weights, normalizer) = match self.normalizer {
            None => (self, None),
            Some(_) => {
                apart = self.unfolded();
                (&apart.0, apart.1.as_ref())
            }
        };
        let mut tensors = BTreeMap::from([
            ("encoder.weight", Tensor::f32(&[2, d, latents], &weights.encoder_weight)),
            ("encoder.bias", Tensor::f32(&[latents], &weights.encoder_bias)),
            ("decoder.weight", Tensor::f32(&[2, latents, d], &weights.decoder_weight)),
            ("decoder.bias", Tensor::f32(&[2, d], &weights.decoder_bias)),
            ("code_normalization_id", Tensor::i64(&[], &[self.code_norm.id()])),
        ]);
        let (class, k) = match &self.activation {
            &Activation::Relu => ("CrossCoder", None),
            &Activation::Threshold { k, threshold } => {
                tensors.insert("k", Tensor::i32_scalar(k as i32));
                tensors.insert("threshold", Tensor::f32_scalar(threshold));
                ("BatchTopKCrossCoder", Some(k))
            }
            &Activation::TopK { k } => {
                tensors.insert("k", Tensor::i32_scalar(k as i32));
                ("TopKCrossCoder", Some(k))
            }
            Activation::JumpRelu { thresholds } => {
                tensors.insert(THRESHOLDS, Tensor::f32(&[latents], thresholds));
                ("JumpReLUCrossCoder", None)
            }
        };
        if let Some(normalizer) = normalizer {
            tensors.insert("activation_mean", Tensor::f32(&[2, d], &normalizer.mean));
            tensors.insert("activation_std", Tensor::f32(&[2, d], &normalizer.std));
            tensors.insert("activation_global_scale", Tensor::f32(&[2], &normalizer.scale));
            tensors.insert("target_rms", Tensor::f32_scalar(normalizer.target_rms));
        }
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
        if let CodeNorm::Mixed { sae, cc } = self.code_norm {
            for config in [&mut config, &mut trainer] {
                config["code_normalization_alpha_sae"] = json!(sae);
                config["code_normalization_alpha_cc"] = json!(cc);
            }
        }
        if matches!(self.activation, Activation::JumpRelu { .. }) {
            config["activation"] = json!("jumprelu");
        }
        if let Some(k) = k {
            config["k"] = json!(k);
            trainer["k"] = json!(k);
        }
        let text = |value: &Value| serde_json::to_string_pretty(value).unwrap_or_default() + "\n";
        tensor_file::write_text(&folder.join(CONFIG), &text(&config))?;
        tensor_file::write_text(&folder.join(TRAINER), &text(&json!({ "trainer": trainer })))
    }

    /// Reads a folder or file in any layout that is known (docs/formats.md), written here or elsewhere. Shapes are trusted over
    /// `config.json`; missing and further keys are accepted.
    pub fn load(path: &Path) -> Result<Self> {
        WeightsFile::open(path, None)?.load(&Choices::default())
    }

    /// Reads one file in which the published names carry a prefix, such as `init.`.
    pub fn load_tensors(path: &Path, prefix: &str) -> Result<Self> {
        WeightsFile::open(path, Some(prefix))?.load(&Choices::default())
    }
}

impl Autoencoder {
    /// Tensors of the published classes: `encoder.weight` [D, d], `encoder.bias` [D], `decoder.weight` [d, D], `b_dec` [d], k and threshold. The names
    /// of the class, and what else a reader needs beside k, go with them. `columns` is the decoder by its columns.
    pub(crate) fn tensors<'a>(
        &'a self,
        columns: &'a [f32],
        norm: CodeNorm,
        activation: &'a Activation,
    ) -> (BTreeMap<&'static str, Tensor<'a>>, &'static str) {
        let (d, latents) = (self.width, self.latents());
        let mut tensors = BTreeMap::from([
            ("encoder.weight", Tensor::f32(&[latents, d], &self.encoder)),
            ("encoder.bias", Tensor::f32(&[latents], &self.encoder_bias)),
            ("decoder.weight", Tensor::f32(&[d, latents], columns)),
            ("b_dec", Tensor::f32(&[d], &self.bias)),
        ]);
        if norm != CodeNorm::None {
            tensors.insert("code_normalization_id", Tensor::i64(&[], &[norm.id()]));
        }
        let class = match activation {
            &Activation::Threshold { k, threshold } => {
                tensors.insert("k", Tensor::i32_scalar(k as i32));
                tensors.insert("threshold", Tensor::f32_scalar(threshold));
                "BatchTopKSAE"
            }
            &Activation::TopK { k } => {
                tensors.insert("k", Tensor::i32_scalar(k as i32));
                tensors.insert("threshold", Tensor::f32_scalar(-1.0));
                "AutoEncoderTopK"
            }
            Activation::JumpRelu { thresholds } => {
                tensors.insert(THRESHOLDS, Tensor::f32(&[latents], thresholds));
                "JumpReLUSAE"
            }
            Activation::Relu => RELU_SAE,
        };
        (tensors, class)
    }

    fn save(&self, norm: CodeNorm, activation: &Activation, folder: &Path) -> Result<()> {
        let (d, latents) = (self.width, self.latents());
        let columns = transposed(&self.decoder, latents, d);
        let (tensors, class) = self.tensors(&columns, norm, activation);
        tensor_file::write(&folder.join(WEIGHTS), &tensors, None)?;
        let mut config = json!({ "activation_dim": d, "dict_size": latents });
        if let &(Activation::Threshold { k, .. } | Activation::TopK { k }) = activation {
            config["k"] = json!(k);
        }
        let mut trainer = config.clone();
        trainer["dict_class"] = json!(class);
        trainer[READS] = json!(target_word(self.on));
        let text = |value: &Value| serde_json::to_string_pretty(value).unwrap_or_default() + "\n";
        tensor_file::write_text(&folder.join(CONFIG), &text(&config))?;
        tensor_file::write_text(&folder.join(TRAINER), &text(&json!({ "trainer": trainer })))
    }
}
