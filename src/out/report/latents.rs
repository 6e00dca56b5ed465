//! What the browser of latents shows of one crosscoder, filled in by whoever ran the experiment.

use std::collections::BTreeMap;

use super::example_choice::ExampleChoice;
use crate::out::frame::{Cell, Column};

/// Numbers in the page: at most so many for all crosscoders together. A crosscoder of the paper with every column has 3 million.
pub const NUMBERS: usize = 8_000_000;

/// Examples in the page: at most so many tokens for all crosscoders together. The rest stays in its file.
pub const EXAMPLE_TOKENS: usize = 1_000_000;

/// Examples of one latent in the page that one step collected.
pub const EXAMPLES_OF_LATENT: usize = 50;

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
    /// The steps that speak of token groups, twins, texts and steering; each of those says which one by its place here.
    pub steps: Vec<LatentStep>,
    /// Names by [`ReportExample::corpus`].
    pub corpora: Vec<String>,
    /// Files with all examples and samples, relative to the report.
    pub files: Vec<String>,
}

/// A step that says of latents more than a number or a word.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LatentStep {
    pub address: String,
    /// Upper edges of the bins of its examples, as shares of a latent's largest activation; may be empty.
    pub bins: Vec<f64>,
    /// Examples that it collected. [`ReportLatents::examples`] may have fewer of them.
    pub examples: usize,
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
    /// Place in [`ReportLatents::steps`].
    pub step: u16,
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
    /// Place in [`ReportLatents::steps`].
    pub step: u16,
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
    /// Place in [`ReportLatents::steps`].
    pub step: u16,
    pub latent: u32,
    pub strength: f64,
    pub prompt: String,
    pub text: String,
}

/// A text on which a latent fires.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReportExample {
    /// Place in [`ReportLatents::steps`].
    pub step: u16,
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

    /// How far a latent is from shared, |Delta_norm - 0.5|; -1 where that is not known.
    pub fn difference(&self, latent: u32) -> f64 {
        let cell = self.column("delta_norm").map(|column| column.cells.cell(latent as usize));
        cell.and_then(Cell::number).map_or(-1.0, |delta| (delta - 0.5).abs())
    }

    /// The examples that go into the page, as [`ExampleChoice`] says.
    pub fn chosen_examples(&self, most_tokens: usize) -> Vec<&ReportExample> {
        let mut latents: BTreeMap<(u32, u16), Vec<&ReportExample>> = BTreeMap::new();
        for example in &self.examples {
            latents.entry((example.latent, example.step)).or_default().push(example);
        }
        let mut choice = ExampleChoice::new(most_tokens, EXAMPLES_OF_LATENT);
        for ((latent, _), examples) in latents {
            choice.offer(self.difference(latent), examples);
        }
        choice.finish()
    }
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
