//! Documents packed into contexts of one length.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::ml::data::{Corpus, Document, Template, Tokenizer};
use crate::ml::{Error, Result, TokenGroup, Watch};

/// So many tokens of a corpus, from its start.
#[derive(Clone, Debug, PartialEq)]
pub struct TextPortion {
    pub corpus: Corpus,
    /// Renders a corpus of chats.
    pub template: Option<Template>,
    pub tokens: u64,
}

/// Tokens whose prediction is trained and measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// Every token.
    All,
    /// Of chats, what the assistant says and the token that ends it; of texts every token.
    Assistant,
}

/// One token more than the model sees at once: inputs are all but the last, targets all but the first.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Context {
    ids: Vec<u32>,
    /// Whether a token counts as a target.
    counted: Vec<bool>,
}

impl Context {
    pub(super) fn inputs(&self) -> &[u32] {
        &self.ids[..self.ids.len() - 1]
    }

    /// Rows of the batch (contexts one after the other) after which a token comes that counts, and these tokens.
    pub(super) fn targets<'a>(batch: impl Iterator<Item = &'a Context>) -> (Vec<u32>, Vec<u32>) {
        let (mut rows, mut targets, mut row) = (Vec::new(), Vec::new(), 0);
        for context in batch {
            for (id, counted) in context.ids.iter().zip(&context.counted).skip(1) {
                if *counted {
                    rows.push(row);
                    targets.push(*id);
                }
                row += 1;
            }
        }
        (rows, targets)
    }
}

/// Contexts of all portions.
pub(super) struct Contexts {
    pub train: Vec<Context>,
    /// Each [`HELD_OUT`]th context of every portion; never trained on.
    pub held_out: Vec<Context>,
}

/// One context in so many is held out.
const HELD_OUT: usize = 50;

/// Documents follow one another in one stream, each with its own BOS, cut into contexts of `context` tokens that share their
/// border token. Attention crosses documents within a context. A corpus that ends before its portion is full is reported.
pub(super) fn pack(
    portions: &[TextPortion],
    tokenizer: &Tokenizer,
    context: usize,
    counted: Counted,
    watch: &dyn Watch,
) -> Result<Contexts> {
    let mut contexts = Contexts { train: Vec::new(), held_out: Vec::new() };
    for portion in portions {
        let stream = Stream::of(portion, tokenizer, counted)?;
        if (stream.ids.len() as u64) < portion.tokens {
            let wanted = portion.tokens;
            watch.note(&format!(
                "the text has {} tokens, {wanted} were asked for; it is read again as needed",
                stream.ids.len()
            ));
        }
        for (index, part) in stream.cut(context).enumerate() {
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
pub(super) fn pack_all(
    portions: &[TextPortion],
    tokenizer: &Tokenizer,
    context: usize,
    counted: Counted,
) -> Result<Vec<Context>> {
    let mut contexts = Vec::new();
    for portion in portions {
        contexts.extend(Stream::of(portion, tokenizer, counted)?.cut(context));
    }
    Ok(contexts)
}

/// The tokens of a portion, one document after the other.
struct Stream {
    ids: Vec<u32>,
    counted: Vec<bool>,
}

impl Stream {
    fn of(portion: &TextPortion, tokenizer: &Tokenizer, counted: Counted) -> Result<Self> {
        let limit = portion.tokens as usize;
        let mut stream = Self { ids: Vec::new(), counted: Vec::new() };
        for document in portion.corpus.documents()? {
            let sequence = tokenizer.encode(&document?, portion.template.as_ref(), usize::MAX)?;
            stream.counted.extend(match (counted, &portion.template) {
                (Counted::Assistant, Some(_)) => spoken(&sequence.groups),
                _ => vec![true; sequence.ids.len()],
            });
            stream.ids.extend(sequence.ids);
            if stream.ids.len() >= limit {
                stream.ids.truncate(limit);
                stream.counted.truncate(limit);
                break;
            }
        }
        Ok(stream)
    }

    fn cut(&self, context: usize) -> impl Iterator<Item = Context> {
        (0..self.ids.len().saturating_sub(1) / context).map(move |i| {
            let range = i * context..(i + 1) * context + 1;
            Context { ids: self.ids[range.clone()].to_vec(), counted: self.counted[range].to_vec() }
        })
    }
}

/// The assistant's tokens and the control token that follows them.
fn spoken(groups: &[TokenGroup]) -> Vec<bool> {
    let is = |i: usize| groups[i] == TokenGroup::Assistant;
    let ends = |i: usize| i > 0 && is(i - 1) && groups[i] == TokenGroup::Control;
    (0..groups.len()).map(|i| groups[i].is_assistant() || ends(i)).collect()
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
    fn the_assistant_and_the_end_of_its_turn_count() {
        use TokenGroup::{Assistant as A, Bos as B, Control as C, User as U};
        let groups = [B, C, C, U, U, C, C, A, A, C, C, C, U];
        let counted: Vec<usize> = spoken(&groups).iter().enumerate().filter(|(_, c)| **c).map(|(i, _)| i).collect();
        assert_eq!(counted, [7, 8, 9]);
        let context = |ids: &[u32], counted: &[bool]| Context { ids: ids.to_vec(), counted: counted.to_vec() };
        let two = [context(&[1, 2, 3], &[true, false, true]), context(&[4, 5, 6], &[true, true, false])];
        assert_eq!(Context::targets(two.iter()), (vec![1, 2], vec![3, 5]));
        assert_eq!(two[1].inputs(), [4, 5]);
    }

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
