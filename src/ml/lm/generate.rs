//! Text out of a model.

use candle_core::Tensor;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{Continuation, Decoder, Site};
use crate::ml::data::{Message, Template, Tokenizer};
use crate::ml::watch::Unwatched;
use crate::ml::{Error, Result, Watch};

/// How the next token is drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// Logits are divided by this; 0 takes the likeliest token.
    pub temperature: f64,
    pub seed: u64,
    /// Streams of random numbers of a seed.
    pub stream: u64,
}

/// What is added to the stream while a model speaks.
#[derive(Clone, Copy, Debug)]
pub struct Added<'a> {
    pub layer: usize,
    pub site: Site,
    /// `[d]` each; one answer is made with each of them.
    pub vectors: &'a [Vec<f32>],
    /// At the positions of the prompt only, not at those of the answer.
    pub prompt_only: bool,
}

/// Up to `count` tokens after `ids`, ending before any of `stop`, or where the model's context is full.
///
/// # Errors
/// The prompt alone fills the context, or holds a token that the model does not have.
pub fn generate(decoder: &Decoder, ids: &[u32], count: usize, stop: &[u32], sampling: Sampling) -> Result<Vec<u32>> {
    let nothing = vec![0.0; decoder.width()];
    let added = Added { layer: 0, site: Site::ResidualPre, vectors: &[nothing], prompt_only: true };
    let mut answers = generate_with(decoder, ids, &added, count, stop, sampling, &Unwatched)?;
    Ok(answers.swap_remove(0))
}

/// [`generate`], side by side with each of `added.vectors` in the stream. All answers draw with the same random numbers, so that where they
/// part, the vectors part them.
///
/// # Errors
/// As [`generate`], or when it is interrupted.
pub fn generate_with(
    decoder: &Decoder,
    ids: &[u32],
    added: &Added,
    count: usize,
    stop: &[u32],
    sampling: Sampling,
    watch: &dyn Watch,
) -> Result<Vec<Vec<u32>>> {
    let context = decoder.config().context;
    if ids.is_empty() || ids.len() >= context {
        let problem = format!("a prompt of {} tokens, for a model whose context has {context}", ids.len());
        return Err(Error::invalid("generate", problem));
    }
    let answers = added.vectors.len();
    let mut generators = vec![ChaCha8Rng::seed_from_u64(sampling.seed); answers];
    generators.iter_mut().for_each(|generator| generator.set_stream(sampling.stream));
    let mut told: Vec<Vec<u32>> = vec![Vec::new(); answers];
    // Answers that go on, in the order of the rows of the continuation.
    let mut open: Vec<usize> = (0..answers).collect();
    let mut continuation = Continuation::new(decoder, answers);
    let mut next: Vec<u32> = ids.repeat(answers);
    for token in 0..count {
        if watch.stop() {
            return Err(Error::Interrupted);
        }
        let adds = token == 0 || !added.prompt_only;
        let vectors: Vec<&[f32]> = open.iter().map(|&answer| added.vectors[answer].as_slice()).collect();
        let vectors = Tensor::new(vectors, &candle_core::Device::Cpu)?.unsqueeze(1)?;
        let logits = continuation.extend(&next, &mut |layer, site, h| {
            let here = adds && layer == added.layer && site == added.site;
            here.then(|| decoder.dtype().round(h.broadcast_add(&vectors)?)).transpose()
        })?;
        let logits = logits.to_vec2::<f32>()?;
        next.clear();
        let mut rows = Vec::new();
        for (row, logits) in logits.iter().enumerate() {
            let drawn = draw(logits, sampling, &mut generators[open[row]]);
            if !stop.contains(&drawn) {
                told[open[row]].push(drawn);
                next.push(drawn);
                rows.push(row);
            }
        }
        if rows.is_empty() || continuation.tokens() >= context {
            break;
        }
        if rows.len() < open.len() {
            continuation.keep(&rows);
            open = rows.iter().map(|&row| open[row]).collect();
        }
    }
    Ok(told)
}

/// The likeliest token, or one drawn from softmax(logits / temperature).
fn draw(logits: &[f32], sampling: Sampling, generator: &mut ChaCha8Rng) -> u32 {
    let best = (0..logits.len()).reduce(|best, i| if logits[i] > logits[best] { i } else { best }).unwrap_or(0);
    if sampling.temperature <= 0.0 {
        return best as u32;
    }
    let weight = |i: usize| (f64::from(logits[i] - logits[best]) / sampling.temperature).exp();
    let mut left = generator.random::<f64>() * (0..logits.len()).map(weight).sum::<f64>();
    for i in 0..logits.len() {
        left -= weight(i);
        if left < 0.0 {
            return i as u32;
        }
    }
    best as u32
}

/// What a model answers to `messages` in its own chat format, as text.
///
/// # Errors
/// The tokenizer has no chat template, or as [`generate`].
pub fn reply(
    decoder: &Decoder,
    tokenizer: &Tokenizer,
    messages: &[Message],
    count: usize,
    sampling: Sampling,
) -> Result<String> {
    let ids = tokenizer.encode_prompt(messages, &Template::Tokenizer)?;
    let stop = tokenizer.stops(Some(&Template::Tokenizer))?;
    tokenizer.decode(&generate(decoder, &ids, count, &stop, sampling)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_drawn_as_often_as_the_softmax_says() {
        let logits = [1.0f32, 3.0, -2.0, 2.5];
        let mut generator = ChaCha8Rng::seed_from_u64(1);
        let at = |temperature| Sampling { temperature, seed: 0, stream: 0 };
        assert_eq!(draw(&logits, at(0.0), &mut generator), 1);
        let mut counts = [0u32; 4];
        (0..40_000).for_each(|_| counts[draw(&logits, at(1.5), &mut generator) as usize] += 1);
        let total: f64 = logits.iter().map(|l| (f64::from(*l) / 1.5).exp()).sum();
        for (count, logit) in counts.iter().zip(logits) {
            let (share, wanted) = (f64::from(*count) / 40_000.0, (f64::from(logit) / 1.5).exp() / total);
            assert!((share - wanted).abs() < 0.01, "{share} of the draws, not {wanted}");
        }
    }
}
