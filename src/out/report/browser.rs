//! Latents as the browser of the page reads them: an index as JSON, and columns packed.

use minijinja::Value;
use serde::Serialize;

use super::latents::{EXAMPLE_TOKENS, LatentColumn, Matches, NUMBERS, ReportLatents, STEERING_SAMPLES, SteeringSample};
use super::pack::{PackedColumn, Packer, Words};
use crate::out::error::Result;
use crate::out::plot::palette;

/// What the template shows of one crosscoder before a script reads the rest.
pub fn entries(latents: &[ReportLatents]) -> Result<Vec<Value>> {
    let kept = keep(latents, NUMBERS);
    let with_examples = latents.iter().zip(&kept).filter(|(l, kept)| kept.is_some() && !l.examples.is_empty()).count();
    let tokens = EXAMPLE_TOKENS / with_examples.max(1);
    let entry = |(latents, kept): (&ReportLatents, &Option<Kept>)| {
        let packed = kept.as_ref().map(|kept| packed(latents, kept, tokens)).transpose()?;
        Ok(minijinja::context! {
            name => latents.name,
            title => latents.title,
            count => latents.count,
            packed => packed.map(Value::from_safe_string),
        })
    };
    latents.iter().zip(&kept).map(entry).collect()
}

/// What of a crosscoder goes into the page.
#[derive(Clone, Debug, PartialEq)]
struct Kept {
    /// One a column.
    columns: Vec<bool>,
    groups: bool,
}

/// The main columns of every crosscoder first, in order, then token groups, then what else there is room for. `None` for a
/// crosscoder whose main columns do not fit.
fn keep(latents: &[ReportLatents], numbers: usize) -> Vec<Option<Kept>> {
    let mut room = numbers;
    let mut fits = |count: usize| {
        let fits = count <= room;
        room -= if fits { count } else { 0 };
        fits
    };
    let mut kept: Vec<Option<Kept>> = latents
        .iter()
        .map(|l| {
            let columns: Vec<bool> = l.columns.iter().map(|column| column.main).collect();
            let count = l.count * columns.iter().filter(|main| **main).count();
            fits(count).then_some(Kept { columns, groups: false })
        })
        .collect();
    for (latents, kept) in latents.iter().zip(&mut kept) {
        if let Some(kept) = kept {
            kept.groups = fits(latents.count * 4 * latents.groups.len());
        }
    }
    for (latents, kept) in latents.iter().zip(&mut kept) {
        for column in kept.iter_mut().flat_map(|kept| &mut kept.columns).filter(|column| !**column) {
            *column = fits(latents.count);
        }
    }
    kept
}

/// One crosscoder, with examples of at most so many tokens.
fn packed(latents: &ReportLatents, kept: &Kept, example_tokens: usize) -> Result<String> {
    let mut packer = Packer::default();
    let index = index(latents, kept, example_tokens, &mut packer);
    packer.finish(index)
}

fn index<'a>(latents: &'a ReportLatents, kept: &Kept, example_tokens: usize, packer: &mut Packer) -> Index<'a> {
    let (shown, left): (Vec<_>, Vec<_>) = latents.columns.iter().zip(&kept.columns).partition(|(_, kept)| **kept);
    Index {
        name: &latents.name,
        title: &latents.title,
        tuned: &latents.tuned,
        count: latents.count,
        columns: shown.into_iter().map(|(column, _)| column_index(column, packer)).collect(),
        left_out: left.into_iter().map(|(column, _)| column.name.as_str()).collect(),
        groups: latents
            .groups
            .iter()
            .filter(|_| kept.groups)
            .map(|group| GroupIndex {
                step: group.step,
                name: &group.name,
                label: &group.label,
                frequency: packer.optional(&group.frequency),
                share: packer.optional(&group.share),
                mean: packer.optional(&group.mean),
                max: packer.optional(&group.max),
            })
            .collect(),
        groups_left_out: if kept.groups { 0 } else { latents.groups.len() },
        steps: latents.steps.iter().map(|step| StepIndex { address: &step.address, bins: &step.bins }).collect(),
        twins: latents.twins.iter().map(|t| (t.tuned_latent, t.base_latent, t.cosine, t.divergence, t.step)).collect(),
        matches: latents.matches.iter().map(|matches| match_index(matches, packer)).collect(),
        steering: steering(&latents.steering),
        steering_total: latents.steering.len(),
        examples: examples(latents, example_tokens, packer),
        files: &latents.files,
    }
}

#[derive(Serialize)]
struct Index<'a> {
    name: &'a str,
    title: &'a str,
    tuned: &'a str,
    count: usize,
    columns: Vec<ColumnIndex<'a>>,
    /// Columns that the page has no room for.
    left_out: Vec<&'a str>,
    groups: Vec<GroupIndex<'a>>,
    /// Token groups that the page has no room for.
    groups_left_out: usize,
    steps: Vec<StepIndex<'a>>,
    twins: Vec<(u32, u32, Option<f64>, Option<f64>, u16)>,
    matches: Vec<MatchIndex<'a>>,
    steering: Vec<(u32, f64, &'a str, &'a str, u16)>,
    steering_total: usize,
    examples: ExampleIndex<'a>,
    files: &'a [String],
}

#[derive(Serialize)]
struct ColumnIndex<'a> {
    name: &'a str,
    label: &'a str,
    unit: &'a str,
    doc: &'a str,
    source: &'a str,
    step: &'a str,
    main: bool,
    limit: Option<f64>,
    kind: &'static str,
    part: usize,
    words: Vec<WordIndex>,
}

#[derive(Serialize)]
struct WordIndex {
    word: String,
    label: String,
    meaning: String,
    /// As in figures; empty for words that have none.
    color: String,
}

#[derive(Serialize)]
struct StepIndex<'a> {
    address: &'a str,
    bins: &'a [f64],
}

#[derive(Serialize)]
struct GroupIndex<'a> {
    step: u16,
    name: &'a str,
    label: &'a str,
    frequency: usize,
    share: usize,
    mean: usize,
    max: usize,
}

#[derive(Serialize)]
struct MatchIndex<'a> {
    name: &'a str,
    latent: usize,
    other: usize,
    cosine: usize,
    mutual: usize,
}

/// Examples lie in columns, too; `tokens` and `activations` one after the other, `length` of them each.
#[derive(Serialize)]
struct ExampleIndex<'a> {
    total: usize,
    shown: usize,
    corpora: &'a [String],
    words: Vec<String>,
    step: usize,
    latent: usize,
    bin: usize,
    activation: usize,
    corpus: usize,
    sequence: usize,
    peak: usize,
    start: usize,
    length: usize,
    tokens: usize,
    activations: usize,
}

fn column_index<'a>(column: &'a LatentColumn, packer: &mut Packer) -> ColumnIndex<'a> {
    let PackedColumn { kind, part, words } = packer.column(&column.cells);
    let word = |word: String| {
        let known = column.words.iter().find(|known| known.word == word);
        WordIndex {
            label: known.map_or_else(|| word.clone(), |known| known.label.clone()),
            meaning: known.map(|known| known.meaning.clone()).unwrap_or_default(),
            color: palette::own(&word).map(|color| color.to_string()).unwrap_or_default(),
            word,
        }
    };
    ColumnIndex {
        name: &column.name,
        label: &column.label,
        unit: &column.unit,
        doc: &column.doc,
        source: &column.source,
        step: &column.step,
        main: column.main,
        limit: column.limit,
        kind,
        part,
        words: words.into_iter().map(word).collect(),
    }
}

fn match_index<'a>(matches: &'a Matches, packer: &mut Packer) -> MatchIndex<'a> {
    let pairs = &matches.pairs;
    let cosine: Vec<Option<f64>> = pairs.iter().map(|pair| pair.cosine).collect();
    MatchIndex {
        name: &matches.other,
        latent: packer.u32(pairs.iter().map(|pair| pair.latent)),
        other: packer.u32(pairs.iter().map(|pair| pair.other)),
        cosine: packer.optional(&cosine),
        mutual: packer.u32(pairs.iter().map(|pair| u32::from(pair.mutual))),
    }
}

fn steering(samples: &[SteeringSample]) -> Vec<(u32, f64, &str, &str, u16)> {
    samples.iter().take(STEERING_SAMPLES).map(|s| (s.latent, s.strength, &*s.prompt, &*s.text, s.step)).collect()
}

fn examples<'a>(latents: &'a ReportLatents, most_tokens: usize, packer: &mut Packer) -> ExampleIndex<'a> {
    let chosen = latents.chosen_examples(most_tokens);
    let total: usize = latents.steps.iter().map(|step| step.examples).sum();
    let mut words = Words::default();
    let tokens: Vec<u32> = chosen.iter().flat_map(|e| &e.tokens).map(|token| words.number(token)).collect();
    // A text has an activation a token, whatever was given.
    let activations =
        chosen.iter().flat_map(|e| (0..e.tokens.len()).map(|at| e.activations.get(at).copied().unwrap_or(0.0)));
    ExampleIndex {
        total: total.max(latents.examples.len()),
        shown: chosen.len(),
        corpora: &latents.corpora,
        words: words.list,
        step: packer.u32(chosen.iter().map(|e| u32::from(e.step))),
        latent: packer.u32(chosen.iter().map(|e| e.latent)),
        bin: packer.u32(chosen.iter().map(|e| u32::from(e.bin))),
        activation: packer.f32(chosen.iter().map(|e| e.activation)),
        corpus: packer.u32(chosen.iter().map(|e| u32::from(e.corpus))),
        sequence: packer.u32(chosen.iter().map(|e| e.sequence)),
        peak: packer.u32(chosen.iter().map(|e| e.peak)),
        start: packer.u32(chosen.iter().map(|e| e.start)),
        length: packer.u32(chosen.iter().map(|e| e.tokens.len() as u32)),
        tokens: packer.u32(tokens),
        activations: packer.f32(activations),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::out::frame::Column;
    use crate::out::report::TokenGroup;

    fn crosscoder(mains: &[bool]) -> ReportLatents {
        let column = |(at, main): (usize, &bool)| LatentColumn {
            name: format!("column {at}"),
            label: String::new(),
            unit: String::new(),
            doc: String::new(),
            source: String::new(),
            step: String::new(),
            main: *main,
            limit: None,
            words: Vec::new(),
            cells: Column::real([0.0; 10]),
        };
        ReportLatents { count: 10, columns: mains.iter().enumerate().map(column).collect(), ..ReportLatents::default() }
    }

    /// The page said nothing of them.
    #[test]
    fn token_groups_without_room_are_told() {
        let none = vec![None; 10];
        let group = TokenGroup {
            frequency: none.clone(),
            share: none.clone(),
            mean: none.clone(),
            max: none,
            ..TokenGroup::default()
        };
        let latents = [ReportLatents { groups: vec![group], ..crosscoder(&[true]) }];
        let told = |numbers: usize| {
            let kept = keep(&latents, numbers).remove(0).expect("its main column fits");
            serde_json::to_value(index(&latents[0], &kept, 0, &mut Packer::default())).expect("JSON")
        };
        assert_eq!(
            (told(50)["groups_left_out"].as_u64(), told(50)["groups"].as_array().map(Vec::len)),
            (Some(0), Some(1))
        );
        assert_eq!(
            (told(49)["groups_left_out"].as_u64(), told(49)["groups"].as_array().map(Vec::len)),
            (Some(1), Some(0))
        );
    }

    #[test]
    fn main_columns_of_all_come_before_the_rest_of_any() {
        let latents = [crosscoder(&[true, false, false]), crosscoder(&[false, true])];
        let columns = |numbers: usize| -> Vec<Option<Vec<bool>>> {
            keep(&latents, numbers).into_iter().map(|kept| kept.map(|kept| kept.columns)).collect()
        };
        assert_eq!(columns(50), [Some(vec![true; 3]), Some(vec![true; 2])]);
        assert_eq!(columns(39), [Some(vec![true, true, false]), Some(vec![false, true])]);
        assert_eq!(columns(19), [Some(vec![true, false, false]), None]);
    }
}
