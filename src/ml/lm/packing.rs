//! Documents packed into contexts of one length.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::ml::data::{Corpus, Document, Template, Tokenizer};
use crate::ml::{Error, Result, Watch};

/// So many tokens of a corpus, from its start.
#[derive(Clone, Debug, PartialEq)]
pub struct TextPortion {
    pub corpus: Corpus,
    /// Renders a corpus of chats.
    pub template: Option<Template>,
    pub tokens: u64,
}

/// Each context has one token more than the model sees at once: inputs are all but the last, targets all but the first.
pub(super) struct Contexts {
    pub train: Vec<Vec<u32>>,
    /// Each [`HELD_OUT`]th context of every portion; never trained on.
    pub held_out: Vec<Vec<u32>>,
}

/// One context in so many is held out.
const HELD_OUT: usize = 50;

/// Documents follow one another in one stream, each with its own BOS, cut into contexts of `context` tokens that share their
/// border token. Attention crosses documents within a context. A corpus that ends before its portion is full is reported.
pub(super) fn pack(
    portions: &[TextPortion],
    tokenizer: &Tokenizer,
    context: usize,
    watch: &dyn Watch,
) -> Result<Contexts> {
    let mut contexts = Contexts { train: Vec::new(), held_out: Vec::new() };
    for portion in portions {
        let stream = stream(portion, tokenizer)?;
        if (stream.len() as u64) < portion.tokens {
            let wanted = portion.tokens;
            watch.note(&format!(
                "the text has {} tokens, {wanted} were asked for; it is read again as needed",
                stream.len()
            ));
        }
        for (index, part) in cut(&stream, context).enumerate() {
            match index % HELD_OUT == HELD_OUT / 2 {
                true => contexts.held_out.push(part),
                false => contexts.train.push(part),
            }
        }
    }
    match contexts.train.is_empty() || contexts.held_out.is_empty() {
        true => {
            let problem = format!("the text gives fewer than {} contexts of {context} tokens", HELD_OUT / 2 + 1);
            Err(Error::invalid("pack contexts", problem))
        }
        false => Ok(contexts),
    }
}

/// All contexts of the portions, none held out.
pub(super) fn pack_all(portions: &[TextPortion], tokenizer: &Tokenizer, context: usize) -> Result<Vec<Vec<u32>>> {
    let mut contexts = Vec::new();
    for portion in portions {
        let stream = stream(portion, tokenizer)?;
        contexts.extend(cut(&stream, context));
    }
    Ok(contexts)
}

fn cut(stream: &[u32], context: usize) -> impl Iterator<Item = Vec<u32>> {
    (0..stream.len().saturating_sub(1) / context).map(move |i| stream[i * context..=(i + 1) * context].to_vec())
}

fn stream(portion: &TextPortion, tokenizer: &Tokenizer) -> Result<Vec<u32>> {
    let limit = portion.tokens as usize;
    let mut stream = Vec::new();
    for document in portion.corpus.documents()? {
        stream.extend(tokenizer.encode(&document?, portion.template.as_ref(), usize::MAX)?.ids);
        if stream.len() >= limit {
            stream.truncate(limit);
            break;
        }
    }
    Ok(stream)
}

/// Texts for the tokenizer: documents until there are 4 bytes a token of each portion; of chats the contents.
pub(super) fn plain_texts(portions: &[TextPortion]) -> Result<Vec<String>> {
    let mut texts = Vec::new();
    for portion in portions {
        let mut bytes = 0;
        for document in portion.corpus.documents()? {
            let parts = match document? {
                Document::Text(text) => vec![text],
                Document::Chat(messages) => messages.into_iter().map(|m| m.content).collect(),
            };
            bytes += parts.iter().map(String::len).sum::<usize>() as u64;
            texts.extend(parts);
            if bytes >= 4 * portion.tokens {
                break;
            }
        }
    }
    Ok(texts)
}

/// The contexts of step `step`: every pass goes through all `count` contexts in an order of its own, drawn from the seed.
pub(super) struct Order {
    count: usize,
    seed: u64,
    pass: u64,
    order: Vec<usize>,
}

impl Order {
    pub(super) fn new(count: usize, seed: u64) -> Self {
        let mut order = Self { count, seed, pass: u64::MAX, order: Vec::new() };
        order.shuffle(0);
        order
    }

    pub(super) fn batch(&mut self, step: u64, size: usize) -> Vec<usize> {
        (0..size as u64).map(|i| self.at(step * size as u64 + i)).collect()
    }

    fn at(&mut self, index: u64) -> usize {
        let pass = index / self.count as u64;
        if pass != self.pass {
            self.shuffle(pass);
        }
        self.order[(index % self.count as u64) as usize]
    }

    fn shuffle(&mut self, pass: u64) {
        let mut generator = ChaCha8Rng::seed_from_u64(self.seed);
        generator.set_stream(pass + 1);
        self.order = (0..self.count).collect();
        self.order.shuffle(&mut generator);
        self.pass = pass;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pass_sees_each_context_once_and_the_step_alone_decides() {
        let mut order = Order::new(10, 7);
        let steps: Vec<Vec<usize>> = (0..10).map(|s| order.batch(s, 4)).collect();
        let mut first: Vec<usize> = steps.concat()[..10].to_vec();
        let second = steps.concat()[10..20].to_vec();
        assert_ne!(first, second);
        first.sort_unstable();
        assert_eq!(first, (0..10).collect::<Vec<_>>());
        let mut later = Order::new(10, 7);
        assert_eq!(later.batch(5, 4), steps[5]);
        assert_ne!(Order::new(10, 8).batch(0, 10), order.batch(0, 10));
    }
}
