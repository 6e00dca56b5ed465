//! Which examples of latents go into the page, chosen while they come: memory does not grow with what is left out.

use std::borrow::Borrow;
use std::cmp::{Ordering, Reverse};
use std::collections::BTreeMap;

use super::latents::ReportExample;

/// Turn, how little the decoder norms differ, latent, step: the smallest come first.
type Order = (usize, Reverse<u64>, u32, u16);

/// Takes in the examples of one latent after another and keeps those that come first, of at most so many tokens together.
///
/// Every latent gets the first example of its highest bin, then of the next bin, and so on through the bins before it gets a
/// second one of any. Where even that is too much, the latents whose decoder norms differ most come first.
pub struct ExampleChoice<T> {
    /// Tokens of all together.
    most_tokens: usize,
    /// Examples of a latent and step.
    each: usize,
    tokens: usize,
    kept: BTreeMap<Order, T>,
    /// The first that had no room: what comes after it has none either.
    bar: Option<Order>,
}

impl<T: Borrow<ReportExample>> ExampleChoice<T> {
    pub fn new(most_tokens: usize, each: usize) -> Self {
        ExampleChoice { most_tokens, each, tokens: 0, kept: BTreeMap::new(), bar: None }
    }

    /// All examples of one latent and step, in any order; `difference` is |Delta_norm - 0.5|, negative where it is not known.
    pub fn offer(&mut self, difference: f64, mut examples: Vec<T>) {
        examples.sort_by(|a, b| by_latent(a.borrow(), b.borrow()));
        let mut in_bin: BTreeMap<u8, usize> = BTreeMap::new();
        let mut queue: Vec<(usize, Reverse<u8>, T)> = Vec::new();
        for example in examples {
            let bin = example.borrow().bin;
            let rank = in_bin.entry(bin).or_default();
            queue.push((*rank, Reverse(bin), example));
            *rank += 1;
        }
        queue.sort_by_key(|(rank, bin, _)| (*rank, *bin));
        for (turn, (.., example)) in queue.into_iter().take(self.each).enumerate() {
            // The bits of numbers over 0 are in their order.
            let near = Reverse((difference.max(-1.0) + 1.0).to_bits());
            let ReportExample { latent, step, .. } = *example.borrow();
            self.take((turn, near, latent, step), example);
        }
    }

    fn take(&mut self, order: Order, example: T) {
        if self.bar.is_some_and(|bar| order > bar) {
            return;
        }
        self.tokens += example.borrow().tokens.len();
        self.kept.insert(order, example);
        while self.tokens > self.most_tokens {
            let Some((last, example)) = self.kept.pop_last() else { return };
            self.tokens -= example.borrow().tokens.len();
            self.bar = Some(last);
        }
    }

    /// The chosen ones by latent and step, highest bin and largest activation first.
    pub fn finish(self) -> Vec<T> {
        let mut chosen: Vec<T> = self.kept.into_values().collect();
        chosen.sort_by(|a, b| by_latent(a.borrow(), b.borrow()));
        chosen
    }
}

fn by_latent(a: &ReportExample, b: &ReportExample) -> Ordering {
    let first = a.latent.cmp(&b.latent).then(a.step.cmp(&b.step));
    first.then(b.bin.cmp(&a.bin)).then(b.activation.total_cmp(&a.activation))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example(latent: u32, bin: u8, activation: f32) -> ReportExample {
        let (tokens, activations) = (vec!["a".into(); 10], vec![0.0; 10]);
        ReportExample { latent, bin, activation, tokens, activations, ..ReportExample::default() }
    }

    fn chosen(latents: &[(f64, Vec<ReportExample>)], tokens: usize, each: usize) -> Vec<(u32, u8, f32)> {
        let mut choice = ExampleChoice::new(tokens, each);
        latents.iter().for_each(|(difference, examples)| choice.offer(*difference, examples.clone()));
        choice.finish().iter().map(|e| (e.latent, e.bin, e.activation)).collect()
    }

    #[test]
    fn every_latent_gets_one_example_before_any_gets_two() {
        let latents = [
            (-1.0, vec![example(0, 9, 5.0), example(0, 9, 7.0), example(0, 2, 1.0)]),
            (-1.0, vec![example(1, 9, 3.0), example(1, 9, 2.0)]),
            (-1.0, vec![example(2, 4, 1.5)]),
        ];
        let shown = |tokens| chosen(&latents, tokens, 9);
        assert_eq!(shown(35), [(0, 9, 7.0), (1, 9, 3.0), (2, 4, 1.5)]);
        // The second turn of latent 0 is its next bin, that of latent 1 the second text of its only bin.
        assert_eq!(shown(50), [(0, 9, 7.0), (0, 2, 1.0), (1, 9, 3.0), (1, 9, 2.0), (2, 4, 1.5)]);
        assert_eq!(shown(60).len(), 6);
        assert_eq!(shown(9), []);
        assert_eq!(chosen(&latents, 60, 1), [(0, 9, 7.0), (1, 9, 3.0), (2, 4, 1.5)], "one a latent at most");
    }

    #[test]
    fn with_room_for_few_the_latents_far_from_shared_come_first() {
        let latents = [(0.0, 0), (0.48, 1), (-1.0, 2)].map(|(difference, j)| (difference, vec![example(j, 0, 1.0)]));
        assert_eq!(chosen(&latents, 10, 9), [(1, 0, 1.0)]);
        assert_eq!(chosen(&latents, 20, 9), [(0, 0, 1.0), (1, 0, 1.0)]);
    }

    #[test]
    fn a_text_without_room_keeps_those_after_it_out() {
        let mut long = example(1, 0, 1.0);
        (long.tokens, long.activations) = (vec!["a".into(); 30], vec![0.0; 30]);
        let latents = [(0.1, vec![example(0, 0, 1.0)]), (0.3, vec![long]), (0.4, vec![example(2, 0, 1.0)])];
        assert_eq!(chosen(&latents, 35, 9), [(2, 0, 1.0)], "whatever the order in which they came");
    }
}
