//! What the browser of latents shows of one crosscoder, filled in by whoever ran the experiment.

use std::cmp::{Ordering, Reverse};
use std::collections::BTreeMap;

use crate::out::frame::{Cell, Column};

/// Numbers in the page: at most so many for all crosscoders together. A crosscoder of the paper with every column has 3 million.
pub const NUMBERS: usize = 8_000_000;

/// Examples in the page: at most so many tokens for all crosscoders together. The rest stays in its file.
pub const EXAMPLE_TOKENS: usize = 1_000_000;

/// Steering samples of one crosscoder in the page.
pub const STEERING_SAMPLES: usize = 4_000;

/// The latents of one trained crosscoder.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReportLatents {
    /// Address of the crosscoder: `cc[loss = l1]`.
    pub name: String,
    /// The same for readers.
    pub title: String,
    /// The word for the tuned model.
    pub tuned: String,
    /// D: every column has so many cells.
    pub count: usize,
    pub columns: Vec<LatentColumn>,
    pub groups: Vec<TokenGroup>,
    pub twins: Vec<Twin>,
    /// Like latents of other crosscoders, one entry a comparison.
    pub matches: Vec<Matches>,
    /// In the order in which they are shown.
    pub steering: Vec<SteeringSample>,
    pub examples: Vec<ReportExample>,
    /// Upper edges of the bins, as shares of a latent's largest activation; may be empty.
    pub bins: Vec<f64>,
    /// Names by [`ReportExample::corpus`].
    pub corpora: Vec<String>,
    /// Files with all examples and samples, relative to the report.
    pub files: Vec<String>,
}

/// One number or word a latent.
#[derive(Clone, Debug, PartialEq)]
pub struct LatentColumn {
    pub name: String,
    pub label: String,
    pub unit: String,
    /// What it is, with its formula.
    pub doc: String,
    /// Where it is defined.
    pub source: String,
    /// Address of the step that measured it.
    pub step: String,
    /// Shown before the reader asks for more.
    pub main: bool,
    /// A line to draw where the number is judged by it.
    pub limit: Option<f64>,
    /// What words mean; words that are not here stand for themselves.
    pub words: Vec<Word>,
    /// Cell j is latent j.
    pub cells: Column,
}

/// A word of a column.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Word {
    pub word: String,
    pub label: String,
    /// In a sentence; may be empty.
    pub meaning: String,
}

/// Where the latents fire: one group of tokens.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TokenGroup {
    pub name: String,
    pub label: String,
    /// By latent: share of the group's tokens on which it fires, share of its firing that falls in the group, mean and
    /// largest activation there.
    pub frequency: Vec<Option<f64>>,
    pub share: Vec<Option<f64>>,
    pub mean: Vec<Option<f64>>,
    pub max: Vec<Option<f64>>,
}

/// A tuned-only and a base-only latent with the same direction.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Twin {
    pub tuned_latent: u32,
    pub base_latent: u32,
    pub cosine: Option<f64>,
    /// Share of the tokens with a high activation of one where the other is low.
    pub divergence: Option<f64>,
}

/// Latents and those of another crosscoder with the closest decoders.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Matches {
    /// Address of the other crosscoder.
    pub other: String,
    pub pairs: Vec<Match>,
}

/// A latent and one of the other crosscoder.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Match {
    pub latent: u32,
    pub other: u32,
    pub cosine: Option<f64>,
    /// Each is the best match of the other.
    pub mutual: bool,
}

/// What a model said with a latent added.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SteeringSample {
    pub latent: u32,
    pub strength: f64,
    pub prompt: String,
    pub text: String,
}

/// A text on which a latent fires.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReportExample {
    pub latent: u32,
    /// Of its largest activation in this text; the highest bin has the highest number.
    pub bin: u8,
    pub activation: f32,
    pub corpus: u16,
    pub sequence: u32,
    /// Index into `tokens` of the largest activation.
    pub peak: u32,
    /// Position of the first token in its sequence.
    pub start: u32,
    pub tokens: Vec<String>,
    /// One a token.
    pub activations: Vec<f32>,
}

impl ReportLatents {
    /// The column of this name.
    pub fn column(&self, name: &str) -> Option<&LatentColumn> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// Indices of the examples that go into the page, by latent, highest bin and largest activation first.
    ///
    /// Every latent gets the first example of its highest bin, then of the next bin, and so on through the bins before it gets a
    /// second one of any. Where even that is too much, the latents whose decoder norms differ most come first.
    pub fn chosen_examples(&self, most_tokens: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.examples.len()).collect();
        order.sort_by(|&a, &b| by_latent(&self.examples[a], &self.examples[b]));
        let mut in_bin: BTreeMap<(u32, u8), usize> = BTreeMap::new();
        let mut of_latent: BTreeMap<u32, Vec<(usize, Reverse<u8>, usize)>> = BTreeMap::new();
        for &at in &order {
            let example = &self.examples[at];
            let rank = in_bin.entry((example.latent, example.bin)).or_default();
            of_latent.entry(example.latent).or_default().push((*rank, Reverse(example.bin), at));
            *rank += 1;
        }
        let norms = self.column("delta_norm").map(|column| &column.cells);
        let difference = |latent: u32| {
            let delta = norms.and_then(|cells| cells.cell(latent as usize).number());
            delta.map_or(-1.0, |delta| (delta - 0.5).abs())
        };
        let mut turns: Vec<(usize, f64, usize)> = Vec::with_capacity(order.len());
        for (latent, mut queue) in of_latent {
            queue.sort_unstable();
            turns.extend(queue.iter().enumerate().map(|(turn, &(_, _, at))| (turn, difference(latent), at)));
        }
        turns.sort_by(|a, b| a.0.cmp(&b.0).then(b.1.total_cmp(&a.1)));
        let mut room = most_tokens;
        let mut chosen: Vec<usize> = turns
            .into_iter()
            .map(|(_, _, at)| at)
            .take_while(|&at| {
                let tokens = self.examples[at].tokens.len();
                let fits = tokens <= room;
                room = room.saturating_sub(tokens);
                fits
            })
            .collect();
        chosen.sort_by(|&a, &b| by_latent(&self.examples[a], &self.examples[b]));
        chosen
    }
}

fn by_latent(a: &ReportExample, b: &ReportExample) -> Ordering {
    a.latent.cmp(&b.latent).then(b.bin.cmp(&a.bin)).then(b.activation.total_cmp(&a.activation))
}

/// Cells of rows that name their latent, put at the latents' places. `None` when a latent is named twice or is not below `count`.
pub fn spread(count: usize, latents: &Column, cells: &Column) -> Option<Column> {
    let mut rows: Vec<Option<usize>> = vec![None; count];
    for (row, latent) in latents.cells().enumerate() {
        let Cell::Whole(latent) = latent else { return None };
        let place = rows.get_mut(usize::try_from(latent).ok()?)?;
        if place.replace(row).is_some() {
            return None;
        }
    }
    // A row outside of a column is an empty cell.
    let rows: Vec<usize> = rows.into_iter().map(|row| row.unwrap_or(usize::MAX)).collect();
    Some(cells.take(&rows))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example(latent: u32, bin: u8, activation: f32) -> ReportExample {
        ReportExample {
            latent,
            bin,
            activation,
            tokens: vec!["a".into(); 10],
            activations: vec![0.0; 10],
            ..ReportExample::default()
        }
    }

    #[test]
    fn every_latent_gets_one_example_before_any_gets_two() {
        let examples = vec![
            example(0, 9, 5.0),
            example(0, 9, 7.0),
            example(0, 2, 1.0),
            example(1, 9, 3.0),
            example(1, 9, 2.0),
            example(2, 4, 1.5),
        ];
        let latents = ReportLatents { count: 3, examples, ..ReportLatents::default() };
        let shown = |tokens| -> Vec<(u32, u8, f32)> {
            let chosen = latents.chosen_examples(tokens);
            chosen.iter().map(|&at| &latents.examples[at]).map(|e| (e.latent, e.bin, e.activation)).collect()
        };
        assert_eq!(shown(35), [(0, 9, 7.0), (1, 9, 3.0), (2, 4, 1.5)]);
        // The second turn of latent 0 is its next bin, that of latent 1 the second text of its only bin.
        assert_eq!(shown(50), [(0, 9, 7.0), (0, 2, 1.0), (1, 9, 3.0), (1, 9, 2.0), (2, 4, 1.5)]);
        assert_eq!(shown(60).len(), 6);
        assert_eq!(shown(9), []);
    }

    #[test]
    fn with_room_for_few_the_latents_far_from_shared_come_first() {
        let examples = vec![example(0, 0, 1.0), example(1, 0, 1.0), example(2, 0, 1.0)];
        let delta =
            LatentColumn { name: "delta_norm".into(), ..column(Column::Real(vec![Some(0.5), Some(0.98), None])) };
        let latents = ReportLatents { count: 3, examples, columns: vec![delta], ..ReportLatents::default() };
        assert_eq!(latents.chosen_examples(10), [1]);
        assert_eq!(latents.chosen_examples(20), [0, 1]);
    }

    fn column(cells: Column) -> LatentColumn {
        LatentColumn {
            name: "x".into(),
            label: "x".into(),
            unit: String::new(),
            doc: String::new(),
            source: String::new(),
            step: String::new(),
            main: true,
            limit: None,
            words: Vec::new(),
            cells,
        }
    }

    #[test]
    fn rows_go_to_the_places_of_their_latents() {
        let cells = Column::real([0.5, 0.25]);
        let spread_to = |latents: [i64; 2]| spread(4, &Column::whole(latents), &cells);
        assert_eq!(spread_to([3, 1]), Some(Column::Real(vec![None, Some(0.25), None, Some(0.5)])));
        assert_eq!(spread_to([1, 1]), None, "a latent stands twice");
        assert_eq!(spread_to([1, 4]), None, "there is no latent 4");
        assert_eq!(spread_to([-1, 0]), None);
    }
}
