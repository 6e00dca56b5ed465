//! Next-token loss of a decoder on a text.

use candle_core::DType;

use super::Decoder;
use super::head_loss::row_losses;
use super::packing::{Context, Counted, TextPortion, pack_all};
use crate::ml::Result;
use crate::ml::data::Tokenizer;

/// Contexts that run at once.
const BATCH: usize = 8;

/// Mean loss in nats over the targets of `contexts` that count; each has one token more than the model sees.
pub(super) fn token_loss(decoder: &Decoder, contexts: &[Context]) -> Result<f64> {
    let (mut total, mut count) = (0.0, 0usize);
    for batch in contexts.chunks(BATCH) {
        let inputs: Vec<&[u32]> = batch.iter().map(|c| c.inputs()).collect();
        let mut h = decoder.embed(&decoder.batch(&inputs)?)?;
        for l in 0..decoder.layers() {
            h = decoder.block(l, &h)?;
        }
        let (rows, targets) = Context::targets(batch.iter());
        if targets.is_empty() {
            continue;
        }
        let rows = candle_core::Tensor::from_vec(rows, targets.len(), &candle_core::Device::Cpu)?;
        let x = decoder.before_head(&h)?.index_select(&rows, 0)?;
        let head = decoder.head().to_dtype(DType::F32)?;
        let losses = row_losses(&x, &head, &targets, decoder.config().logit_cap)?;
        total += losses.iter().sum::<f64>();
        count += losses.len();
    }
    Ok(total / count.max(1) as f64)
}

/// Mean loss in nats a token on the portions' text, packed into contexts of `context` tokens as in training; of chats all tokens
/// count.
pub fn heldout_loss(decoder: &Decoder, tokenizer: &Tokenizer, portions: &[TextPortion], context: usize) -> Result<f64> {
    token_loss(decoder, &pack_all(portions, tokenizer, context, Counted::All)?)
}
