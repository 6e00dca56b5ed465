//! Text out of a model.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::Decoder;
use crate::ml::data::{Message, Template, Tokenizer};
use crate::ml::{Error, Result};

/// How the next token is drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// Logits are divided by this; 0 takes the likeliest token.
    pub temperature: f64,
    /// Only the likeliest so many tokens.
    pub top: usize,
    pub seed: u64,
}

/// Up to `count` tokens after `ids`, ending before any of `stop`. The whole context is run for each token: for small models.
pub fn generate(decoder: &Decoder, ids: &[u32], count: usize, stop: &[u32], sampling: Sampling) -> Result<Vec<u32>> {
    let mut generator = ChaCha8Rng::seed_from_u64(sampling.seed);
    let mut all = ids.to_vec();
    for _ in 0..count {
        let start = all.len().saturating_sub(decoder.config().context);
        let logits = decoder.logits(&decoder.batch(&[&all[start..]])?)?;
        let last = logits.narrow(1, all.len() - start - 1, 1)?.flatten_all()?.to_vec1::<f32>()?;
        let next = draw(&last, sampling, &mut generator);
        if stop.contains(&next) {
            break;
        }
        all.push(next);
    }
    Ok(all.split_off(ids.len()))
}

fn draw(logits: &[f32], sampling: Sampling, generator: &mut ChaCha8Rng) -> u32 {
    let mut order: Vec<usize> = (0..logits.len()).collect();
    order.sort_by(|a, b| logits[*b].total_cmp(&logits[*a]).then(a.cmp(b)));
    order.truncate(sampling.top.max(1));
    if sampling.temperature <= 0.0 {
        return order[0] as u32;
    }
    let weight = |i: usize| (f64::from(logits[i] - logits[order[0]]) / sampling.temperature).exp();
    let mut left = generator.random::<f64>() * order.iter().map(|i| weight(*i)).sum::<f64>();
    for i in &order {
        left -= weight(*i);
        if left < 0.0 {
            return *i as u32;
        }
    }
    order[0] as u32
}

/// What a model of Gemma's chat format answers to `messages`, as text.
pub fn reply(
    decoder: &Decoder,
    tokenizer: &Tokenizer,
    messages: &[Message],
    count: usize,
    sampling: Sampling,
) -> Result<String> {
    let need = |token: &str| {
        tokenizer.id(token).ok_or_else(|| Error::invalid("reply", format!("the tokenizer has no `{token}`")))
    };
    let end = need("<end_of_turn>")?;
    let mut ids = tokenizer.encode_chat(messages, &Template::Tokenizer)?.ids;
    ids.push(need("<start_of_turn>")?);
    let bos = tokenizer.bos();
    ids.extend(tokenizer.encode_text("model\n")?.ids.into_iter().filter(|id| Some(*id) != bos));
    let stop = [Some(end), tokenizer.eos()].into_iter().flatten().collect::<Vec<u32>>();
    tokenizer.decode(&generate(decoder, &ids, count, &stop, sampling)?)
}
