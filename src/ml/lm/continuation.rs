//! Sequences that grow token by token: what attention saw is kept, so that a new token costs one row, not the whole sequence.

use candle_core::Tensor;

use super::ops::Seen;
use super::{Decoder, Hook};
use crate::ml::{Error, Result};

/// B sequences of the same length T with the keys and values of every layer, after their positions turned them.
///
/// Logits are those of [`Decoder::run`] on the whole sequences up to the order of sums. A layer with a sliding window keeps
/// two windows of tokens at most; memory is 8 kv_heads n bytes a token, layer and sequence.
pub struct Continuation<'a> {
    decoder: &'a Decoder,
    /// T.
    tokens: usize,
    /// B.
    batch: usize,
    layers: Vec<Memory>,
}

/// Keys and values that a layer keeps.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory {
    window: Option<usize>,
    /// One a sequence, `[<= T, kv_heads * n]`.
    keys: Vec<Vec<f32>>,
    values: Vec<Vec<f32>>,
}

impl Memory {
    /// True before the first tokens.
    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Takes in keys and values `[B * new, width]`.
    pub(super) fn push(&mut self, keys: &Tensor, values: &Tensor, new: usize) -> Result<()> {
        let width = keys.dim(1)?;
        let batch = keys.dim(0)? / new;
        let most = self.window.map_or(usize::MAX, |window| 2 * window * width);
        for (kept, more) in [(&mut self.keys, keys), (&mut self.values, values)] {
            kept.resize(batch, Vec::new());
            let more = more.flatten_all()?.to_vec1::<f32>()?;
            for (kept, more) in kept.iter_mut().zip(more.chunks_exact(new * width)) {
                kept.extend_from_slice(more);
                if kept.len() > most {
                    kept.drain(..kept.len() - most / 2);
                }
            }
        }
        Ok(())
    }

    /// What the last token of each sequence looks at.
    pub(super) fn seen(&self, width: usize) -> Vec<Seen<'_>> {
        let from = |kept: &[f32]| self.window.map_or(0, |window| kept.len().saturating_sub(window * width));
        let pairs = self.keys.iter().zip(&self.values);
        pairs.map(|(keys, values)| Seen { keys: &keys[from(keys)..], values: &values[from(values)..] }).collect()
    }

    fn keep(&mut self, rows: &[usize]) {
        for kept in [&mut self.keys, &mut self.values] {
            *kept = rows.iter().map(|&row| std::mem::take(&mut kept[row])).collect();
        }
    }
}

impl<'a> Continuation<'a> {
    /// Nothing yet, of `batch` sequences.
    pub fn new(decoder: &'a Decoder, batch: usize) -> Self {
        let memory = |layer: &super::LayerShape| Memory { window: layer.window, ..Memory::default() };
        Continuation { decoder, tokens: 0, batch, layers: decoder.config().layers.iter().map(memory).collect() }
    }

    /// T.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// Adds `ids`, as many to each sequence (`[B, new]`, row-major): the first ones all at once, later ones one at a time. Logits of the
    /// last token of each, `[B, V]`. The hook sees every site of every layer, `[B, new, d]`, and may replace the stream there.
    ///
    /// # Errors
    /// Several tokens after the first ones, more than the model has positions for, or what the hook says.
    pub fn extend(&mut self, ids: &[u32], hook: &mut Hook) -> Result<Tensor> {
        let new = ids.len() / self.batch.max(1);
        if new == 0 || !ids.len().is_multiple_of(self.batch) || (self.tokens > 0 && new > 1) {
            let problem = format!("{} tokens for {} sequences of {}", ids.len(), self.batch, self.tokens);
            return Err(Error::invalid("continue sequences", problem));
        }
        let ids: Vec<&[u32]> = ids.chunks_exact(new).collect();
        let h = self.decoder.continued(&self.decoder.batch(&ids)?, self.tokens, &mut self.layers, hook)?;
        self.tokens += new;
        let last = h.narrow(1, new - 1, 1)?;
        Ok(self.decoder.unembed(&last)?.squeeze(1)?)
    }

    /// Goes on with these sequences only, in this order.
    pub fn keep(&mut self, rows: &[usize]) {
        self.layers.iter_mut().for_each(|memory| memory.keep(rows));
        self.batch = rows.len();
    }
}
