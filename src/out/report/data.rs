//! What a report shows, filled in by whoever ran the experiment.

use serde::Serialize;

use super::latents::ReportLatents;
use crate::out::frame::{Cell, Column, Frame};
use crate::out::number;
use crate::out::plot::Labels;

/// Everything on the page. Empty lists leave their sections out.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ReportData {
    /// The experiment's title: the first line of its doc comment, or the file's stem.
    pub title: String,
    /// The rest of the doc comment; blank lines part paragraphs, backticks mark code.
    pub doc: String,
    /// The `.xd` file as given.
    pub file: String,
    /// Short facts under the title: device, time, tokens.
    pub summary: Vec<Fact>,
    /// Warnings and remarks of the run, such as the norm report of a harvest.
    pub notes: Vec<Note>,
    pub expectations: Vec<Expectation>,
    pub figures: Vec<ReportFigure>,
    pub tables: Vec<ReportTable>,
    /// One entry a trained crosscoder whose latents were looked at; packed on their own.
    #[serde(skip)]
    pub latents: Vec<ReportLatents>,
    /// The columns that figures and tables show.
    pub definitions: Vec<Definition>,
    /// One entry a trained crosscoder: the loss in force, written out.
    pub losses: Vec<LossInForce>,
    pub params: Vec<Param>,
    pub declarations: Vec<Declaration>,
    pub steps: Vec<Step>,
    /// One entry a step that was predicted to cost something, or did.
    pub costs: Vec<Cost>,
    pub inputs: Vec<Input>,
    /// xd, the edition, libraries, the machine.
    pub versions: Vec<Fact>,
    /// Source of the experiment, the main file first.
    pub scripts: Vec<Script>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Fact {
    pub name: String,
    pub value: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Note {
    /// Drawn in a warning's colours.
    pub warning: bool,
    /// Address of the step it is about; may be empty.
    pub step: String,
    pub text: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Expectation {
    pub name: String,
    pub doc: String,
    /// The comparison as written.
    pub text: String,
    pub passed: bool,
    /// The measured values of both sides, as shown to people: `0.823 > 0.8`.
    pub measured: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ReportFigure {
    pub name: String,
    pub title: String,
    pub caption: String,
    /// Drawn with [`Dress::Inline`](crate::out::plot::Dress::Inline).
    pub svg: String,
    /// The figure as files, relative to the report; may be empty.
    pub files: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ReportTable {
    pub name: String,
    pub title: String,
    pub caption: String,
    /// The whole table as CSV, relative to the report; may be empty.
    pub file: String,
    pub columns: Vec<TableHeader>,
    pub rows: Vec<Vec<TableCell>>,
    /// Rows of the CSV file; `rows` may be only the first of them.
    pub total: usize,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TableHeader {
    pub name: String,
    pub label: String,
    /// Aligned to the right.
    pub number: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TableCell {
    pub text: String,
    /// What sorting compares: the number in full, or the words.
    pub sort: String,
    /// Address of the crosscoder whose latent this is; empty for anything else.
    pub crosscoder: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Definition {
    pub column: String,
    pub label: String,
    /// What it is, with its formula.
    pub text: String,
    pub unit: String,
    /// Where it is defined: paper section or code.
    pub source: String,
    /// Only the browser of latents shows it.
    pub browser_only: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LossInForce {
    pub step: String,
    pub text: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Param {
    pub name: String,
    pub value: String,
    /// `written` or `--set`.
    pub origin: String,
    pub doc: String,
}

/// One declaration of the file with every value in force.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Declaration {
    pub kind: String,
    pub name: String,
    pub doc: String,
    pub fields: Vec<Field>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Field {
    pub name: String,
    pub value: String,
    /// Where the value comes from: `written`, `default`, a param, an axis.
    pub origin: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Step {
    pub address: String,
    pub kind: String,
    pub id: String,
    pub cached: bool,
    /// Of this run; for a cached step of the run that made it, if known.
    pub seconds: Option<f64>,
    pub tokens: Option<u64>,
    /// Relative path of the artifact; may be empty.
    pub artifact: String,
    /// Why it failed; empty when it did not.
    pub error: String,
}

/// What a step was predicted to take, and what it took.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Cost {
    pub step: String,
    /// It was made by an earlier run, perhaps on another machine.
    pub cached: bool,
    pub predicted_seconds: f64,
    pub measured_seconds: f64,
    pub predicted_bytes: u64,
    pub measured_bytes: u64,
    pub predicted_memory: u64,
    /// Largest resident memory of the whole process meanwhile; 0 where it is not known.
    pub measured_memory: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Input {
    /// Path or id as written.
    pub path: String,
    /// blake3 of the content.
    pub hash: String,
    pub bytes: Option<u64>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Script {
    pub file: String,
    pub text: String,
}

impl Fact {
    pub fn new(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { name: name.into(), value: value.into() }
    }
}

impl ReportTable {
    /// The first `most` rows of a frame, with labels for columns and cells. Title, caption and file are left to the caller.
    pub fn new(name: impl Into<String>, frame: &Frame, labels: &Labels, most: usize) -> Self {
        let shown = frame.rows().min(most);
        let header = |(name, column): &(String, Column)| TableHeader {
            name: name.clone(),
            label: labels.column(name).label,
            number: !column.is_categorical(),
        };
        let columns: Vec<Vec<TableCell>> =
            frame.columns.iter().map(|(_, column)| cells(column, shown, labels)).collect();
        Self {
            name: name.into(),
            columns: frame.columns.iter().map(header).collect(),
            rows: (0..shown).map(|row| columns.iter().map(|cells| cells[row].clone()).collect()).collect(),
            total: frame.rows(),
            ..Self::default()
        }
    }
}

fn cells(column: &Column, rows: usize, labels: &Labels) -> Vec<TableCell> {
    let places = decimals(column, rows);
    let cell = |cell: Cell<'_>| match cell {
        Cell::Empty => TableCell::default(),
        Cell::Real(x) => {
            let text = places.map_or_else(|| number::significant(x, 4), |p| number::fixed(x, p));
            TableCell { text: text.replace('-', "−"), sort: x.to_string(), ..TableCell::default() }
        }
        Cell::Whole(n) => {
            TableCell { text: n.to_string().replace('-', "−"), sort: n.to_string(), ..TableCell::default() }
        }
        Cell::Text(text) => TableCell { text: labels.value(text), sort: text.to_owned(), ..TableCell::default() },
        Cell::Truth(t) => {
            TableCell { text: if t { "yes" } else { "no" }.to_owned(), sort: t.to_string(), ..TableCell::default() }
        }
    };
    (0..rows).map(|row| cell(column.cell(row))).collect()
}

/// The same decimals all down a column: four digits of its largest number, where the smallest keeps two of its own.
fn decimals(column: &Column, rows: usize) -> Option<usize> {
    let Column::Real(cells) = column else { return None };
    let sizes = || cells.iter().take(rows).flatten().map(|x| x.abs()).filter(|x| *x > 0.0);
    let (largest, smallest) = (sizes().fold(0.0, f64::max), sizes().fold(f64::INFINITY, f64::min));
    if !(1e-3..1e6).contains(&largest) {
        return None;
    }
    let most = (3 - largest.log10().floor() as i32).clamp(0, 6);
    let shows_smallest = smallest >= 10f64.powi(1 - most);
    let needed = |x: f64| number::significant(x, 4).split_once('.').map_or(0, |(_, decimals)| decimals.len());
    shows_smallest.then(|| sizes().map(needed).max().unwrap_or(0).min(most as usize))
}
