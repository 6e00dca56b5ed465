//! What the steps of a run say about every latent, gathered for the browser of latents: a list of columns a crosscoder.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::exec::Result;
use crate::exec::frames::ROWS;
use crate::exec::manifest::Manifest;
use crate::exec::steps::plot::labels;
use crate::exec::wiring::{file_name, input, inputs};
use crate::lang::plan::spec::{ClassifySpec, ScalingSpec};
use crate::lang::plan::{Input, Plan, Spec, Step, StepIndex};
use crate::lang::schema;
use crate::ml::analysis::examples::{self, Example};
use crate::out::frame::Cell;
use crate::out::number::short;
use crate::out::plot::Labels;
use crate::out::report::{
    EXAMPLE_TOKENS, EXAMPLES_OF_LATENT, ExampleChoice, LatentColumn, LatentStep, Match, Matches, ReportExample,
    ReportLatents, SteeringSample, TokenGroup, Twin, Word, spread,
};
use crate::out::{Column, Frame};

/// Columns that are shown before the reader asks for more, in this order; the others follow.
const MAIN: [&str; 16] = [
    "class",
    "verdict",
    "explanation",
    "detection_total",
    "detection",
    "delta_norm",
    "nu_reconstruction",
    "nu_error",
    "frequency",
    "max_activation",
    "cosine",
    "control_share",
    "dead",
    "norm_base",
    "norm_tuned",
    "rank",
];

/// One entry a crosscoder that some step of the run looked at, latent by latent.
///
/// # Errors
/// When rows cannot be read.
pub fn latents(plan: &Plan, manifest: &Manifest, out: &Path) -> Result<Vec<ReportLatents>> {
    let mut all = Vec::new();
    let shown = plan.steps.iter().filter(|step| step.kind == "examples");
    let with_texts: BTreeSet<StepIndex> = shown.filter_map(|step| crosscoder_in(plan, step, "of")).collect();
    let tokens = EXAMPLE_TOKENS / with_texts.len().max(1);
    for (index, step) in plan.steps.iter().enumerate() {
        let Spec::Crosscoder(spec) = &step.spec else { continue };
        let readers: Vec<Reader<'_>> =
            plan.steps.iter().filter_map(|reader| Reader::new(plan, reader, StepIndex(index), manifest, out)).collect();
        let frames = readers.iter().map(Reader::frame).collect::<Result<Vec<_>>>()?;
        let mut found = gather(plan, StepIndex(index), spec.latents as usize, &readers, &frames);
        texts(plan, &mut found, &readers, tokens)?;
        if !found.columns.is_empty() || !found.examples.is_empty() || !found.steering.is_empty() {
            all.push(found);
        }
    }
    Ok(all)
}

/// A finished step that reads a crosscoder.
struct Reader<'a> {
    step: &'a Step,
    artifact: PathBuf,
    /// Its folder, relative to the report.
    folder: String,
    labels: Labels,
}

impl<'a> Reader<'a> {
    fn new(plan: &Plan, step: &'a Step, crosscoder: StepIndex, manifest: &Manifest, out: &Path) -> Option<Self> {
        let reads = ["of", "a", "b"].iter().any(|role| crosscoder_in(plan, step, role) == Some(crosscoder));
        let address = step.address.to_string();
        let entry = manifest.steps.iter().find(|entry| reads && entry.address == address && entry.state == "done")?;
        let folder = format!("artifacts/{}", file_name(step));
        let linked = out.join(&folder);
        let artifact = entry.artifact.as_ref().map_or(linked, PathBuf::from);
        artifact.is_dir().then(|| Reader { step, artifact, folder, labels: labels(plan, step) })
    }

    /// Its rows; none where it keeps none.
    fn frame(&self) -> Result<Frame> {
        let path = self.artifact.join(ROWS);
        if !path.is_file() {
            return Ok(Frame::new());
        }
        Ok(Frame::read(&path)?)
    }
}

fn gather(plan: &Plan, index: StepIndex, latents: usize, readers: &[Reader<'_>], frames: &[Frame]) -> ReportLatents {
    let crosscoder = &plan.steps[index.0];
    let mut found = ReportLatents {
        name: crosscoder.address.to_string(),
        title: title(crosscoder, readers),
        tuned: readers.first().map_or_else(|| "tuned".to_string(), |reader| reader.labels.value("tuned")),
        count: frames.iter().map(largest_latent).fold(latents, usize::max),
        ..ReportLatents::default()
    };
    for (reader, frame) in readers.iter().zip(frames) {
        match reader.step.kind {
            "tokens" => {
                let step = speaker(&mut found, reader);
                found.groups.extend(groups(found.count, step, &reader.labels, frame));
            }
            "twins" => {
                let step = speaker(&mut found, reader);
                found.twins.extend(twins(step, frame));
            }
            "compare" => found.matches.extend(self::matches(plan, reader, index, frame)),
            "steer" => {
                let step = speaker(&mut found, reader);
                found.steering.extend(steering(step, frame));
                found.files.push(format!("{}/{ROWS}", reader.folder));
            }
            // Their texts come out of their own file.
            "examples" => {}
            _ => columns(&mut found, reader, frame),
        }
    }
    let place = |name: &str| MAIN.iter().position(|main| *main == name).unwrap_or(MAIN.len());
    found.columns.sort_by_key(|column| place(&column.name));
    found
}

/// Puts a step among those that speak of more than numbers; its place there.
fn speaker(found: &mut ReportLatents, reader: &Reader<'_>) -> u16 {
    found.steps.push(LatentStep { address: reader.step.address.to_string(), ..LatentStep::default() });
    u16::try_from(found.steps.len() - 1).unwrap_or(u16::MAX)
}

/// The crosscoder that a step reads in this role, directly or through its classes.
fn crosscoder_in(plan: &Plan, step: &Step, role: &str) -> Option<StepIndex> {
    let index = input(step, role).ok()?;
    let step = &plan.steps[index.0];
    if matches!(step.spec, Spec::Crosscoder(_)) { Some(index) } else { crosscoder_in(plan, step, "of") }
}

/// Address of the crosscoder whose latent a row of a table names: the only one whose point agrees with the row's axes. `None`
/// where several do.
pub fn crosscoder_of_row(plan: &Plan, table: &Step, frame: &Frame, row: usize) -> Option<String> {
    let fits = |(axis, value): &(String, String)| match frame.cell(row, axis) {
        Cell::Empty => true,
        cell => cell.to_string() == *value,
    };
    let behind = |input: &Input| {
        let step = &plan.steps[input.step.0];
        let crosscoder = crosscoder_in(plan, step, "of")?;
        plan.steps[input.step.0].address.point.iter().all(fits).then_some(crosscoder)
    };
    let found: BTreeSet<StepIndex> = table.inputs.iter().filter_map(behind).collect();
    let mut found = found.into_iter();
    match (found.next(), found.next()) {
        (Some(index), None) => Some(plan.steps[index.0].address.to_string()),
        _ => None,
    }
}

/// `cc, L1, seed = 0`.
fn title(crosscoder: &Step, readers: &[Reader<'_>]) -> String {
    let labels = readers.first().map(|reader| reader.labels.clone()).unwrap_or_else(Labels::standard);
    let point = crosscoder.address.point.iter().map(|(axis, value)| labels.point(axis, value));
    std::iter::once(crosscoder.address.name.clone()).chain(point).collect::<Vec<_>>().join(", ")
}

/// One more than the largest latent that a frame names.
fn largest_latent(frame: &Frame) -> usize {
    let numbers = frame.get("latent").into_iter().flat_map(Column::cells);
    numbers.filter_map(Cell::number).fold(0.0, |largest: f64, latent| largest.max(latent + 1.0)) as usize
}

/// Every column of rows that name each latent once.
fn columns(found: &mut ReportLatents, reader: &Reader<'_>, frame: &Frame) {
    let Some(latents) = frame.get("latent") else { return };
    for (name, cells) in frame.columns.iter().filter(|(name, _)| name != "latent") {
        let Some(cells) = spread(found.count, latents, cells) else { return };
        if reader.step.kind == "autointerp" && cells.cells().all(|cell| cell == Cell::Empty) {
            continue;
        }
        push(found, reader, name, cells);
    }
}

/// Adds a column; a second step that measures the same, such as another `classify` of one crosscoder, adds its address.
fn push(found: &mut ReportLatents, reader: &Reader<'_>, name: &str, cells: Column) {
    let address = reader.step.address.to_string();
    let style = reader.labels.column(name);
    let known = schema::kind(reader.step.kind).and_then(|kind| kind.column(name));
    let repeated = found.column(name).is_some();
    found.columns.push(LatentColumn {
        name: if repeated { format!("{address}.{name}") } else { name.to_string() },
        label: if repeated { format!("{} ({address})", style.label) } else { style.label },
        unit: if style.unit.is_empty() { known.map_or("", |c| c.unit).to_string() } else { style.unit },
        doc: known.map_or("", |c| c.doc).to_string(),
        source: known.map_or("", |c| c.section).to_string(),
        step: address,
        main: MAIN.contains(&name) && !repeated,
        limit: limit(&reader.step.spec, name),
        words: words(reader, name, &cells),
        cells,
    });
}

/// Texts on which latents fire, out of the files of every step that collected some: of at most so many tokens together, read one
/// after another, so that millions of rows take no memory.
fn texts(plan: &Plan, found: &mut ReportLatents, readers: &[Reader<'_>], most_tokens: usize) -> Result<()> {
    let mut choice = ExampleChoice::new(most_tokens, EXAMPLES_OF_LATENT);
    for reader in readers {
        let Spec::Examples(spec) = &reader.step.spec else { continue };
        if !reader.artifact.join(examples::NAME).is_file() {
            continue;
        }
        let step = speaker(found, reader);
        let (mut total, mut of_latent) = (0, Vec::<ReportExample>::new());
        examples::visit(&reader.artifact, &mut |example| {
            total += 1;
            if of_latent.last().is_some_and(|last| last.latent != example.latent) {
                choice.offer(found.difference(of_latent[0].latent), std::mem::take(&mut of_latent));
            }
            of_latent.push(shown(step, example));
        })?;
        if let Some(last) = of_latent.first() {
            choice.offer(found.difference(last.latent), of_latent);
        }
        found.steps[usize::from(step)].bins.clone_from(&spec.bins);
        found.steps[usize::from(step)].examples = total;
        found.files.push(format!("{}/{}", reader.folder, examples::NAME));
        found.corpora = corpora(plan, reader.step);
    }
    found.examples = choice.finish();
    Ok(())
}

fn shown(step: u16, example: Example) -> ReportExample {
    let Example { latent, bin, activation, corpus, sequence, peak, start, tokens, activations } = example;
    ReportExample { step, latent, bin, activation, corpus, sequence, peak, start, tokens, activations }
}

/// Names of the corpora of the held-out rows, in the order of the portions.
fn corpora(plan: &Plan, step: &Step) -> Vec<String> {
    let Some(crosscoder) = crosscoder_in(plan, step, "of") else { return Vec::new() };
    let Ok(activations) = input(&plan.steps[crosscoder.0], "on") else { return Vec::new() };
    let portions = inputs(&plan.steps[activations.0], "validate");
    portions.into_iter().map(|corpus| plan.steps[corpus.0].address.to_string()).collect()
}

/// Where a ratio stops being low.
fn limit(spec: &Spec, column: &str) -> Option<f64> {
    match (spec, column) {
        (Spec::Scaling(spec), "nu_reconstruction") => Some(spec.nu_reconstruction),
        (Spec::Scaling(spec), "nu_error") => Some(spec.nu_error),
        _ => None,
    }
}

/// Words of a column with what they mean.
fn words(reader: &Reader<'_>, column: &str, cells: &Column) -> Vec<Word> {
    if !matches!(cells, Column::Text(_)) {
        return Vec::new();
    }
    let tuned = reader.labels.value("tuned");
    let meaning = |word: &str| match (&reader.step.spec, column) {
        (Spec::Classify(spec), "class") => class_meaning(spec, word, &tuned),
        (Spec::Scaling(spec), "verdict") => verdict_meaning(spec, word),
        _ => String::new(),
    };
    let word = |cell: Cell<'_>| match cell {
        Cell::Text(word) => {
            Some(Word { word: word.to_string(), label: reader.labels.value(word), meaning: meaning(word) })
        }
        _ => None,
    };
    cells.distinct().into_iter().filter_map(word).collect()
}

/// Delta_norm = x means that one norm is 2 x or 2 (1 - x) of the other.
fn class_meaning(spec: &ClassifySpec, class: &str, tuned: &str) -> String {
    let percent = |share: f64| short(100.0 * share);
    match class {
        "base_only" => format!(
            "Base only: Δnorm is below {}, so its {tuned} decoder has less than {} % of the norm of its base decoder.",
            short(spec.base_only.1),
            percent(2.0 * spec.base_only.1)
        ),
        "tuned_only" => format!(
            "Only {tuned}: Δnorm is over {}, so its base decoder has less than {} % of the norm of its {tuned} decoder.",
            short(spec.tuned_only.0),
            percent(2.0 * (1.0 - spec.tuned_only.0))
        ),
        "shared" => format!(
            "Shared: Δnorm is within {} and {}, so its two decoders have like norms.",
            short(spec.shared.0),
            short(spec.shared.1)
        ),
        _ => "Other: Δnorm is in the range of no class.".to_string(),
    }
}

fn verdict_meaning(spec: &ScalingSpec, verdict: &str) -> String {
    let (reconstruction, error) = (short(spec.nu_reconstruction), short(spec.nu_error));
    match verdict {
        "specific" => format!(
            "Specific: the base model has this direction neither in its reconstruction (ν reconstruction < {reconstruction}) nor in its \
             error (ν error < {error})."
        ),
        "shrinkage" => format!(
            "Complete Shrinkage: the base model's error holds this direction (ν error ≥ {error}). The base has it; the loss shrank its \
             base decoder away."
        ),
        "decoupling" => format!(
            "Latent Decoupling: other latents write this direction in the base model (ν reconstruction ≥ {reconstruction})."
        ),
        "both" => format!(
            "Complete Shrinkage and Latent Decoupling: the base model has this direction in its error (ν error ≥ {error}) and in what \
             other latents write (ν reconstruction ≥ {reconstruction})."
        ),
        "inactive" => {
            "No verdict: it was not active on the tokens that were measured, or a ratio has no value.".to_string()
        }
        _ => String::new(),
    }
}

/// Rows `latent group frequency mean max share`, several a latent.
fn groups(count: usize, step: u16, labels: &Labels, frame: &Frame) -> Vec<TokenGroup> {
    let (Some(latents), Some(names)) = (frame.get("latent"), frame.get("group")) else { return Vec::new() };
    let group = |name: Cell<'_>| {
        let rows: Vec<usize> = (0..frame.rows()).filter(|&row| names.cell(row) == name).collect();
        let of_group = latents.take(&rows);
        let column = |column: &str| {
            let cells = frame.get(column).and_then(|cells| spread(count, &of_group, &cells.take(&rows)));
            cells.map_or_else(|| vec![None; count], |cells| cells.cells().map(Cell::number).collect())
        };
        TokenGroup {
            step,
            name: name.to_string(),
            label: labels.value(&name.to_string()).replace('_', "-"),
            frequency: column("frequency"),
            share: column("share"),
            mean: column("mean"),
            max: column("max"),
        }
    };
    names.distinct().into_iter().map(group).collect()
}

fn whole(cell: Cell<'_>) -> Option<u32> {
    match cell {
        Cell::Whole(n) => u32::try_from(n).ok(),
        _ => None,
    }
}

/// The pairs; those of the random baseline are no twins.
fn twins(step: u16, frame: &Frame) -> Vec<Twin> {
    let twin = |row: usize| {
        if frame.cell(row, "pair") == Cell::Text("random") {
            return None;
        }
        Some(Twin {
            step,
            tuned_latent: whole(frame.cell(row, "tuned_latent"))?,
            base_latent: whole(frame.cell(row, "base_latent"))?,
            cosine: frame.cell(row, "cosine").number(),
            divergence: frame.cell(row, "divergence").number(),
        })
    };
    (0..frame.rows()).filter_map(twin).collect()
}

/// Rows `latent_a latent_b cosine mutual`, seen from this crosscoder, which is one of the two or both.
fn matches(plan: &Plan, reader: &Reader<'_>, crosscoder: StepIndex, frame: &Frame) -> Vec<Matches> {
    let sides = [("a", "b", "latent_a", "latent_b"), ("b", "a", "latent_b", "latent_a")];
    let seen = sides.into_iter().filter(|(ours, ..)| crosscoder_in(plan, reader.step, ours) == Some(crosscoder));
    seen.filter_map(|(_, other, ours, theirs)| {
        let other = crosscoder_in(plan, reader.step, other)?;
        Some(Matches { other: plan.steps[other.0].address.to_string(), pairs: pairs(frame, ours, theirs) })
    })
    .collect()
}

fn pairs(frame: &Frame, ours: &str, theirs: &str) -> Vec<Match> {
    let pair = |row: usize| {
        Some(Match {
            latent: whole(frame.cell(row, ours))?,
            other: whole(frame.cell(row, theirs))?,
            cosine: frame.cell(row, "cosine").number(),
            mutual: frame.cell(row, "mutual") == Cell::Truth(true),
        })
    };
    (0..frame.rows()).filter_map(pair).collect()
}

fn steering(step: u16, frame: &Frame) -> Vec<SteeringSample> {
    let text = |row: usize, column: &str| match frame.cell(row, column) {
        Cell::Text(text) => Some(text.to_string()),
        _ => None,
    };
    let sample = |row: usize| {
        Some(SteeringSample {
            step,
            latent: whole(frame.cell(row, "latent"))?,
            strength: frame.cell(row, "strength").number()?,
            prompt: text(row, "prompt")?,
            text: text(row, "text").unwrap_or_default(),
        })
    };
    (0..frame.rows()).filter_map(sample).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_token_groups_become_a_list_of_latents_each() {
        let frame = Frame::new()
            .with("latent", Column::whole([2, 2, 0, 0]))
            .and_then(|f| f.with("group", Column::text(["control", "non_control", "control", "non_control"])))
            .and_then(|f| f.with("frequency", Column::real([0.5, 0.25, 0.125, 0.0])))
            .and_then(|f| f.with("share", Column::Real(vec![Some(0.75), Some(0.25), None, None])))
            .unwrap();
        let found = groups(3, 1, &Labels::standard(), &frame);
        assert_eq!(found.iter().map(|group| &*group.label).collect::<Vec<_>>(), ["control", "not control"]);
        assert_eq!(found[0].frequency, [Some(0.125), None, Some(0.5)]);
        assert_eq!(found[1].frequency, [Some(0.0), None, Some(0.25)]);
        assert_eq!(found[1].share, [None, None, Some(0.25)]);
        assert_eq!((found[0].step, found[1].step), (1, 1));
        assert_eq!(found[1].max, [None; 3], "a column that is not there");
    }

    #[test]
    fn twins_and_samples_are_read_row_by_row() {
        let frame = Frame::new()
            .with("pair", Column::text(["twin", "twin", "random"]))
            .and_then(|f| f.with("tuned_latent", Column::whole([7, 9, 7])))
            .and_then(|f| f.with("base_latent", Column::whole([1, 2, 2])))
            .and_then(|f| f.with("cosine", Column::real([0.95, 0.91, 0.1])))
            .and_then(|f| f.with("divergence", Column::Real(vec![None, Some(0.5), Some(1.0)])))
            .unwrap();
        let twin = |tuned_latent, base_latent, cosine, divergence| Twin {
            step: 2,
            tuned_latent,
            base_latent,
            cosine: Some(cosine),
            divergence,
        };
        assert_eq!(twins(2, &frame), [twin(7, 1, 0.95, None), twin(9, 2, 0.91, Some(0.5))]);
        let frame = Frame::new()
            .with("latent", Column::whole([4]))
            .and_then(|f| f.with("strength", Column::real([1.5])))
            .and_then(|f| f.with("prompt", Column::text(["Hi"])))
            .and_then(|f| f.with("text", Column::Text(vec![None])))
            .unwrap();
        let said = SteeringSample { step: 3, latent: 4, strength: 1.5, prompt: "Hi".into(), text: String::new() };
        assert_eq!(steering(3, &frame), [said]);
    }

    #[test]
    fn a_comparison_is_seen_from_both_sides() {
        let frame = Frame::new()
            .with("latent_a", Column::whole([0, 1]))
            .and_then(|f| f.with("latent_b", Column::Whole(vec![Some(5), None])))
            .and_then(|f| f.with("cosine", Column::real([0.9, f64::NAN])))
            .and_then(|f| f.with("mutual", Column::truth([true, false])))
            .unwrap();
        let pair = |latent, other| Match { latent, other, cosine: Some(0.9), mutual: true };
        assert_eq!(pairs(&frame, "latent_a", "latent_b"), [pair(0, 5)]);
        assert_eq!(pairs(&frame, "latent_b", "latent_a"), [pair(5, 0)]);
    }

    #[test]
    fn classes_say_what_their_range_means() {
        let spec = ClassifySpec { base_only: (0.0, 0.1), shared: (0.4, 0.6), tuned_only: (0.9, 1.0) };
        let said = class_meaning(&spec, "tuned_only", "chat");
        assert_eq!(
            said,
            "Only chat: Δnorm is over 0.9, so its base decoder has less than 20 % of the norm of its chat decoder."
        );
        assert!(
            class_meaning(&spec, "base_only", "chat")
                .contains("chat decoder has less than 20 % of the norm of its base")
        );
    }
}
