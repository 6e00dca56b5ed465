//! Next-token loss of a decoder on a text.

use super::Decoder;
use super::ops::token_losses;
use super::packing::{TextPortion, pack_all};
use crate::ml::Result;
use crate::ml::data::Tokenizer;

/// Contexts that run at once.
const BATCH: usize = 8;

/// Mean loss in nats over all targets of `contexts`; each has one token more than the model sees.
pub fn token_loss(decoder: &Decoder, contexts: &[Vec<u32>]) -> Result<f64> {
    let (mut total, mut count) = (0.0, 0usize);
    for batch in contexts.chunks(BATCH) {
        let inputs: Vec<&[u32]> = batch.iter().map(|c| &c[..c.len() - 1]).collect();
        let targets: Vec<u32> = batch.iter().flat_map(|c| c[1..].iter().copied()).collect();
        let logits = decoder.logits(&decoder.batch(&inputs)?)?;
        let losses = token_losses(&logits.flatten(0, 1)?, &targets)?;
        total += losses.iter().sum::<f64>();
        count += losses.len();
    }
    Ok(total / count.max(1) as f64)
}

/// Mean loss in nats a token on the portions' text, packed into contexts of `context` tokens as in training.
pub fn heldout_loss(decoder: &Decoder, tokenizer: &Tokenizer, portions: &[TextPortion], context: usize) -> Result<f64> {
    token_loss(decoder, &pack_all(portions, tokenizer, context)?)
}
