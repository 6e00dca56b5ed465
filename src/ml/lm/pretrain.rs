//! A small language model from nothing.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{Device, Tensor};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::bpe::train_tokenizer;
use super::packing::{Counted, TextPortion, pack, plain_texts};
use super::save::{make_folder, save_config};
use super::train::{Plan, Trainable, Trained, train};
use super::{
    Activation, AttentionShape, Decoder, DecoderConfig, Dtype, Family, LayerShape, MlpShape, NormShape, Residual, Rope,
};
use crate::ml::data::Tokenizer;
use crate::ml::{Error, Result, Watch};

/// What to train: the Gemma-2 shape with an MLP of four times the width, half as many key heads as heads (where they divide),
/// and a sliding window of half the context on every second layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Pretrain {
    pub on: Vec<TextPortion>,
    pub layers: usize,
    /// d.
    pub width: usize,
    pub heads: usize,
    /// Ids of the tokenizer that is trained on the text, V.
    pub vocabulary: usize,
    /// Tokens a context.
    pub context: usize,
    /// Tokens to train on, in all; the text is repeated as needed.
    pub length: u64,
    /// Tokens a step.
    pub batch: u64,
    pub learning_rate: f64,
    pub seed: u64,
}

/// Trains and writes a model folder: `config.json`, `model.safetensors` (bf16), `tokenizer.json`, `tokenizer_config.json`,
/// `chat_template.jinja`, `losses.csv`. With a checkpoint folder, the same call goes on where it was stopped, to the same bits.
///
/// AdamW (0.9, 0.95; weight decay 0.1 on matrices), warm-up and cosine, gradients clipped to norm 1. The loss is on all tokens.
pub fn pretrain(spec: &Pretrain, output: &Path, checkpoint: Option<&Path>, watch: &dyn Watch) -> Result<Trained> {
    if spec.heads == 0 || !spec.width.is_multiple_of(2 * spec.heads) {
        let problem = format!("width {} does not divide into {} heads of even width", spec.width, spec.heads);
        return Err(Error::invalid("pretrain", problem));
    }
    if spec.layers == 0 || spec.context < 2 || spec.width == 0 {
        return Err(Error::invalid("pretrain", "layers, width and context must not be 0"));
    }
    make_folder(output)?;
    train_tokenizer(plain_texts(&spec.on)?, spec.vocabulary, output)?;
    let tokenizer = Tokenizer::load(output)?;
    let config = shape(spec);
    save_config(output, &config)?;
    train(Plan {
        start: initial(&config, spec.seed)?,
        trainable: Trainable::All,
        contexts: pack(&spec.on, &tokenizer, spec.context, Counted::All, watch)?,
        context: spec.context,
        length: spec.length,
        batch: spec.batch,
        learning_rate: spec.learning_rate,
        warmup: None,
        clip: 1.0,
        seed: spec.seed,
        store: Dtype::Bf16,
        identity: format!("{spec:?}"),
        output,
        checkpoint,
        watch,
        config,
    })
}

fn shape(spec: &Pretrain) -> DecoderConfig {
    let head = spec.width / spec.heads;
    let rope = Some(Rope::plain(head, 10_000.0));
    let window = |l: usize| (l % 2 == 0).then_some((spec.context / 2).max(1));
    DecoderConfig {
        family: Family::Gemma2,
        vocabulary: spec.vocabulary,
        width: spec.width,
        layers: (0..spec.layers).map(|l| LayerShape { window: window(l), rope }).collect(),
        attention: AttentionShape {
            heads: spec.heads,
            kv_heads: if spec.heads.is_multiple_of(2) { spec.heads / 2 } else { spec.heads },
            head,
            scale: (head as f64).powf(-0.5) as f32,
            cap: Some(50.0),
            head_norms: false,
            qkv_bias: false,
            out_bias: false,
        },
        mlp: MlpShape { inner: 4 * spec.width, gated: true, activation: Activation::GeluTanh, bias: false },
        norm: NormShape::Rms { epsilon: 1e-6, offset: 1.0 },
        post_norms: true,
        residual: Residual::Sequential,
        positions: None,
        embedding_scale: (spec.width as f32).sqrt(),
        logit_cap: Some(30.0),
        tied: true,
        context: spec.context,
    }
}

/// Normal with deviation 0.02 for the embedding and 1 / sqrt(inputs) for the other matrices; norms start at 0 (times 1 + w).
fn initial(config: &DecoderConfig, seed: u64) -> Result<BTreeMap<String, Tensor>> {
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    let draw = |(name, shape): (String, Vec<usize>)| -> Result<(String, Tensor)> {
        let count = shape.iter().product();
        let values: Vec<f32> = match shape.as_slice() {
            [_, inputs] => {
                let deviation = if name.contains("embed") { 0.02 } else { (*inputs as f64).powf(-0.5) };
                (0..count).map(|_| (deviation * normal(&mut generator)) as f32).collect()
            }
            _ => vec![0.0; count],
        };
        Ok((name, Tensor::from_vec(values, shape, &Device::Cpu)?))
    };
    Decoder::shapes(config).into_iter().map(draw).collect()
}

/// Box and Muller's transform.
fn normal(generator: &mut ChaCha8Rng) -> f64 {
    let (u, v): (f64, f64) = (1.0 - generator.random::<f64>(), generator.random());
    (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}
