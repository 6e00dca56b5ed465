//! Writing model folders.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::Path;

use candle_core::Tensor;
use half::bf16;
use safetensors::tensor::TensorView;

use super::bpe::{BOS, EOS, PAD};
use super::{DecoderConfig, Dtype};
use crate::ml::{Error, Result};

/// Writes all bytes or nothing: a temporary file that reaches the disk, then a rename.
pub(super) fn write_file(path: &Path, bytes: &[u8]) -> Result<()> {
    let part = path.with_extension("part");
    let write = || -> std::io::Result<()> {
        let mut file = File::create(&part)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(|e| Error::file(&part, e))?;
    std::fs::rename(&part, path).map_err(|e| Error::file(path, e))
}

/// Makes a folder and its parents.
pub(super) fn make_folder(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).map_err(|e| Error::file(folder, e))
}

/// Writes `model.safetensors` in the given format.
pub(super) fn save_weights(folder: &Path, weights: &BTreeMap<String, Tensor>, store: Dtype) -> Result<()> {
    let mut bytes: Vec<(&String, &[usize], Vec<u8>)> = Vec::new();
    for (name, tensor) in weights {
        let values = tensor.flatten_all()?.to_vec1::<f32>()?;
        let own = match store {
            Dtype::F32 => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            Dtype::Bf16 => values.iter().flat_map(|v| bf16::from_f32(*v).to_le_bytes()).collect(),
        };
        bytes.push((name, tensor.dims(), own));
    }
    let format = match store {
        Dtype::F32 => safetensors::Dtype::F32,
        Dtype::Bf16 => safetensors::Dtype::BF16,
    };
    let mut views = Vec::new();
    for (name, shape, bytes) in &bytes {
        views.push((name.as_str(), TensorView::new(format, shape.to_vec(), bytes)?));
    }
    let metadata = std::collections::HashMap::from([("format".to_string(), "pt".to_string())]);
    write_file(&folder.join("model.safetensors"), &safetensors::serialize(views, Some(metadata))?)
}

/// Writes `config.json` for a Gemma-2 decoder made here, as transformers reads it.
pub(super) fn save_config(folder: &Path, config: &DecoderConfig) -> Result<()> {
    let window = config.layers.iter().find_map(|l| l.window);
    let kinds: Vec<&str> =
        config.layers.iter().map(|l| if l.window.is_some() { "sliding_attention" } else { "full_attention" }).collect();
    let json = serde_json::json!({
        "architectures": ["Gemma2ForCausalLM"],
        "model_type": "gemma2",
        "vocab_size": config.vocabulary,
        "hidden_size": config.width,
        "intermediate_size": config.mlp.inner,
        "num_hidden_layers": config.layers.len(),
        "num_attention_heads": config.attention.heads,
        "num_key_value_heads": config.attention.kv_heads,
        "head_dim": config.attention.head,
        "hidden_activation": "gelu_pytorch_tanh",
        "max_position_embeddings": config.context,
        "rms_norm_eps": 1e-6,
        "query_pre_attn_scalar": config.attention.head,
        "attn_logit_softcapping": config.attention.cap,
        "final_logit_softcapping": config.logit_cap,
        "sliding_window": window,
        "layer_types": kinds,
        "rope_theta": config.layers[0].rope.map(|rope| rope.theta),
        "attention_bias": false,
        "attention_dropout": 0.0,
        "tie_word_embeddings": true,
        "pad_token_id": PAD,
        "bos_token_id": BOS,
        "eos_token_id": EOS,
        "torch_dtype": "bfloat16",
    });
    write_file(&folder.join("config.json"), format!("{json:#}\n").as_bytes())
}
