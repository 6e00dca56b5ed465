//! One side of `tests/interop/gguf_gemma3.py`: what xd makes of a real file, written for the other side to compare.

use std::collections::HashMap;
use std::path::PathBuf;

use candle_core::{Device, Tensor};
use xd::ml::data::{Document, Tokenizer};
use xd::ml::lm::{Decoder, Site};

/// Reads `texts.json` in the folder `XD_GGUF_WORK` and the model `XD_GGUF`; writes `xd.safetensors` beside the texts: for text i
/// `ids_i`, `residual_post_i_LAYER` and `logits_i`.
#[test]
#[ignore = "needs a real GGUF file: run tests/interop/gguf_gemma3.py"]
fn dump() {
    let (model, work) = (PathBuf::from(std::env::var("XD_GGUF").unwrap()), std::env::var("XD_GGUF_WORK").unwrap());
    let work = PathBuf::from(work);
    let texts: Vec<String> = serde_json::from_str(&std::fs::read_to_string(work.join("texts.json")).unwrap()).unwrap();
    let start = std::time::Instant::now();
    let tokenizer = Tokenizer::load(&model).unwrap();
    println!("tokenizer: {:.1} s", start.elapsed().as_secs_f64());
    let start = std::time::Instant::now();
    let decoder = Decoder::load(&model).unwrap();
    println!("weights: {:.1} s", start.elapsed().as_secs_f64());
    let mut tensors = HashMap::new();
    for (i, text) in texts.into_iter().enumerate() {
        let ids = tokenizer.encode(&Document::Text(text), None, usize::MAX).unwrap().ids;
        let stored: Vec<i64> = ids.iter().map(|id| i64::from(*id)).collect();
        tensors.insert(format!("ids_{i}"), Tensor::new(stored, &Device::Cpu).unwrap());
        let start = std::time::Instant::now();
        let logits = decoder
            .run(&decoder.batch(&[&ids]).unwrap(), &mut |layer, site, h| {
                if site == Site::ResidualPost {
                    tensors.insert(format!("residual_post_{i}_{layer}"), h.squeeze(0)?);
                }
                Ok(None)
            })
            .unwrap();
        println!("text {i}: {} tokens in {:.2} s", ids.len(), start.elapsed().as_secs_f64());
        tensors.insert(format!("logits_{i}"), logits.squeeze(0).unwrap());
    }
    candle_core::safetensors::save(&tensors, work.join("xd.safetensors")).unwrap();
}
