//! Fills the report page from the plan, the manifest and what was shown.

mod latents;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::exec::Result;
use crate::exec::manifest::{Amounts, ExpectationEntry, Manifest, StepEntry};
use crate::exec::options::Options;
use crate::exec::status::is_stored;
use crate::exec::steps::plot::{first_sentence, for_readers, labels, title_and_caption};
use crate::exec::store::write_whole;
use crate::exec::wiring::file_name;
use crate::lang::plan::spec::{CodeNorm, Loss, Reconstruction, Target, TopKLoss, Variant};
use crate::lang::plan::{Origin, Plan, Spec, Step};
use crate::lang::schema;
use crate::out::report::{
    self, Cost, Declaration, Definition, Expectation, Fact, Field, Input, LossInForce, Note, Param, ReportData,
    ReportFigure, ReportLatents, ReportTable, Script,
};
use crate::out::{Frame, number};

/// Rows of a table that stand in the page; the rest is in the CSV file.
const ROWS: usize = 1000;

/// What the run showed: step index, file, content.
#[derive(Clone, Debug, Default)]
pub struct Shown {
    pub tables: Vec<(usize, PathBuf, Frame)>,
    /// With the SVG for the page.
    pub figures: Vec<(usize, Vec<PathBuf>, String)>,
}

/// Writes `report.html`.
///
/// # Errors
/// When the page cannot be made or written.
pub fn write(
    plan: &Plan,
    options: &Options,
    manifest: &Manifest,
    shown: &Shown,
    notes: &[(String, String)],
    out: &Path,
) -> Result<PathBuf> {
    let (title, doc) = title_and_doc(plan, options);
    let latents = latents::latents(plan, manifest, out)?;
    let data = ReportData {
        title,
        doc,
        file: options.file.clone(),
        summary: summary(manifest),
        notes: remarks(options, notes),
        expectations: manifest.expectations.iter().map(|e| expectation(plan, e)).collect(),
        figures: shown.figures.iter().map(|(index, paths, svg)| figure(plan, *index, paths, svg, out)).collect(),
        tables: shown
            .tables
            .iter()
            .map(|(index, path, frame)| table(plan, *index, path, frame, out, &latents))
            .collect(),
        definitions: definitions(plan, shown, &latents),
        latents,
        losses: plan.steps.iter().filter_map(loss).collect(),
        params: plan.params.iter().map(param).collect(),
        declarations: plan.steps.iter().map(declaration).collect(),
        steps: steps(plan, manifest),
        costs: manifest.steps.iter().filter_map(cost).collect(),
        inputs: manifest.inputs.iter().map(input).collect(),
        versions: vec![
            Fact::new("xd", manifest.xd_version.clone()),
            Fact::new("edition", manifest.edition.to_string()),
            Fact::new("device", manifest.device.clone()),
        ],
        scripts: options.sources.iter().map(|(file, text)| Script { file: file.clone(), text: text.clone() }).collect(),
    };
    let path = out.join("report.html");
    write_whole(&path, report::html(&data)?.as_bytes())?;
    Ok(path)
}

/// The first sentence of the file's doc comment and the rest; without one, the name of the file.
fn title_and_doc(plan: &Plan, options: &Options) -> (String, String) {
    match plan.docs.as_deref().map(str::trim).filter(|docs| !docs.is_empty()) {
        Some(docs) => first_sentence(docs),
        None => (options.experiment.clone(), String::new()),
    }
}

fn summary(manifest: &Manifest) -> Vec<Fact> {
    let made: f64 = manifest.steps.iter().map(|step| step.seconds).sum();
    let trained = manifest.steps.iter().filter(|step| step.kind == "crosscoder").count();
    let passed = manifest.expectations.iter().filter(|e| e.passed).count();
    let mut facts = vec![
        Fact::new("device", manifest.device.clone()),
        Fact::new("crosscoders", trained.to_string()),
        Fact::new("computing time", format!("{made:.1} s")),
    ];
    if !manifest.expectations.is_empty() {
        facts.push(Fact::new("claims", format!("{passed} of {} hold", manifest.expectations.len())));
    }
    facts
}

fn remarks(options: &Options, notes: &[(String, String)]) -> Vec<Note> {
    let warnings = options.warnings.iter().map(|text| Note { warning: true, step: String::new(), text: text.clone() });
    let notes = notes.iter().map(|(step, text)| Note { warning: false, step: step.clone(), text: text.clone() });
    warnings.chain(notes).collect()
}

fn expectation(plan: &Plan, entry: &ExpectationEntry) -> Expectation {
    let docs = plan.steps.iter().find(|s| s.address.to_string() == entry.name).and_then(|s| s.docs.clone());
    Expectation {
        name: entry.name.clone(),
        doc: docs.unwrap_or_default(),
        text: entry.text.clone(),
        passed: entry.passed,
        measured: entry.detail.replace('-', "−"),
    }
}

fn relative(path: &Path, out: &Path) -> String {
    path.strip_prefix(out).unwrap_or(path).display().to_string()
}

fn figure(plan: &Plan, index: usize, paths: &[PathBuf], svg: &str, out: &Path) -> ReportFigure {
    let step = &plan.steps[index];
    let labels = labels(plan, step);
    let (title, caption) = title_and_caption(step);
    let (title, caption) = (for_readers(&title, &labels), for_readers(&caption, &labels));
    let files = paths.iter().map(|path| relative(path, out)).collect();
    ReportFigure { name: step.address.name.clone(), title, caption, svg: svg.to_string(), files }
}

fn table(plan: &Plan, index: usize, path: &Path, frame: &Frame, out: &Path, latents: &[ReportLatents]) -> ReportTable {
    let step = &plan.steps[index];
    let (title, caption) = title_and_caption(step);
    let mut made = ReportTable::new(step.address.name.clone(), frame, &labels(plan, step), ROWS);
    if let Some(column) = made.columns.iter().position(|column| column.name == "latent") {
        for (row, cells) in made.rows.iter_mut().enumerate() {
            let crosscoder = latents::crosscoder_of_row(plan, step, frame, row);
            let known = crosscoder.filter(|address| latents.iter().any(|latents| latents.name == *address));
            cells[column].crosscoder = known.unwrap_or_default();
        }
    }
    with_intervals(ReportTable { title, caption, file: relative(path, out), ..made })
}

/// `mean ± ci` in one cell: the column X_ci95 goes into X, and stays a column of the file.
fn with_intervals(mut table: ReportTable) -> ReportTable {
    let names: Vec<String> = table.columns.iter().map(|column| column.name.clone()).collect();
    for (place, name) in names.iter().enumerate().rev() {
        let mean = name.strip_suffix(INTERVAL).and_then(|mean| names.iter().position(|name| name == mean));
        let Some(mean) = mean.filter(|mean| *mean < place) else { continue };
        table.columns.remove(place);
        table.columns[mean].label += " ± 95 %";
        for row in &mut table.rows {
            let interval = row.remove(place).text;
            if !interval.is_empty() {
                row[mean].text += &format!(" ± {interval}");
            }
        }
    }
    table
}

/// What `over` calls half the width of an interval.
const INTERVAL: &str = "_ci95";

/// The columns of the kinds that tables and figures read, as the schema defines them, and those of the latents.
fn definitions(plan: &Plan, shown: &Shown, latents: &[ReportLatents]) -> Vec<Definition> {
    let indices = shown.tables.iter().map(|(i, ..)| *i).chain(shown.figures.iter().map(|(i, ..)| *i));
    let mut seen = BTreeSet::new();
    let mut definitions = Vec::new();
    for index in indices {
        let step = &plan.steps[index];
        let labels = labels(plan, step);
        let written: BTreeSet<String> = words(step);
        for read in &step.inputs {
            let kind = plan.steps[read.step.0].kind;
            let of_kind = schema::KINDS.iter().filter(|k| k.word == kind);
            for column in of_kind.flat_map(|k| k.columns.iter().chain(k.parts.iter().flat_map(|part| part.columns))) {
                if written.contains(column.name) && seen.insert(column.name.to_string()) {
                    definitions.push(Definition {
                        column: column.name.to_string(),
                        label: labels.column(column.name).label,
                        text: column.doc.to_string(),
                        unit: column.unit.to_string(),
                        source: column.section.to_string(),
                        browser_only: false,
                    });
                }
            }
        }
    }
    for (index, _, frame) in &shown.tables {
        definitions.extend(of_table(&plan.steps[*index], frame, &mut seen));
    }
    for column in latents.iter().flat_map(|latents| &latents.columns) {
        if !column.doc.is_empty() && seen.insert(column.name.clone()) {
            definitions.push(Definition {
                column: column.name.clone(),
                label: column.label.clone(),
                text: column.doc.clone(),
                unit: column.unit.clone(),
                source: column.source.clone(),
                browser_only: true,
            });
        }
    }
    definitions
}

/// What the labels of a table mean that are no columns of a step: aggregates, and what `over` makes of them.
fn of_table(step: &Step, frame: &Frame, seen: &mut BTreeSet<String>) -> Vec<Definition> {
    let Spec::Table(spec) = &step.spec else { return Vec::new() };
    let written = |name: &str| {
        let columns = step.resolved.iter().find(|field| field.path == "columns")?;
        aggregate(&columns.value, name)
    };
    let over = spec.over.join(", ");
    let meaning = |name: &str| {
        if let Some(mean) = name.strip_suffix(INTERVAL).filter(|_| !over.is_empty()) {
            let text = format!("Half the width of the 95 % interval of the mean of `{mean}` over {over}: t s / √n.");
            return Some((text, "docs/method.md 8"));
        }
        if name == "n" && !over.is_empty() {
            let text = format!("The least number of values of {over} behind a mean of the row.");
            return Some((text, "docs/method.md 8"));
        }
        let mean = if over.is_empty() { String::new() } else { format!(", mean over {over}") };
        Some((format!("`{}` over the rows of a group{mean}.", written(name)?), ""))
    };
    let table = &step.address.name;
    let definition = |name: &str| {
        let (text, source) = meaning(name)?;
        // Two tables may call different things alike.
        seen.insert(format!("{table}.{name}")).then(|| Definition {
            column: format!("{table}.{name}"),
            label: name.to_string(),
            text,
            source: source.to_string(),
            ..Definition::default()
        })
    };
    frame.names().filter_map(definition).collect()
}

/// The aggregate that is called `name` in a list of columns as it is written: `share(..)` of `[loss, specific = share(..)]`.
fn aggregate(columns: &str, name: &str) -> Option<String> {
    let inside = columns.trim().trim_start_matches('[').trim_end_matches(']');
    let (mut depth, mut entries) = (0, vec![String::new()]);
    for c in inside.chars() {
        depth += i32::from(matches!(c, '(' | '[')) - i32::from(matches!(c, ')' | ']'));
        match entries.last_mut() {
            Some(last) if c != ',' || depth > 0 => last.push(c),
            _ => entries.push(String::new()),
        }
    }
    let labelled = entries.iter().find_map(|entry| {
        let (label, value) = entry.split_once(" = ")?;
        (label.trim() == name && value.contains('(')).then(|| value.trim().to_string())
    });
    labelled.or_else(|| entries.iter().map(|e| e.trim().to_string()).find(|e| e == name && e.contains('(')))
}

/// Words that a table or plot writes, as far as they can be names of columns.
fn words(step: &Step) -> BTreeSet<String> {
    let text: Vec<String> = step.resolved.iter().map(|field| field.value.clone()).collect();
    text.join(" ")
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| !word.is_empty())
        .map(str::to_string)
        .collect()
}

/// What a crosscoder minimises, written out.
fn loss(step: &Step) -> Option<LossInForce> {
    let Spec::Crosscoder(spec) = &step.spec else { return None };
    let text = match spec.variant {
        Variant::SharedCode => loss_in_words(&spec.loss),
        Variant::Sae(target) => of_autoencoder(target, &loss_in_words(&spec.loss)),
    };
    Some(LossInForce { step: step.address.to_string(), text })
}

/// The loss in force as a formula, such as `mean ||eps|| + 0.03 * mean sum f (||d_base|| + ||d_tuned||)`.
pub fn loss_in_words(loss: &Loss) -> String {
    match loss {
        Loss::L1 { weight, warmup, reconstruction: r, norm: n } => {
            let rise = if *warmup > 0 { format!("; the weight rises over {warmup} steps") } else { String::new() };
            let weight = number::short(*weight);
            format!("{} + {weight} · mean over rows of Σ f · {}{rise}", reconstruction(*r), norm(*n))
        }
        Loss::BatchTopK(top) => top_k(top, "the batch keeps its B·k largest"),
        Loss::TopK(top) => top_k(top, "each row keeps its k largest"),
    }
}

/// The same of an autoencoder, which has one error and ranks by f itself.
fn of_autoencoder(target: Target, loss: &str) -> String {
    let x = match target {
        Target::Base => "h_base",
        Target::Tuned => "h_tuned",
        Target::Difference => "h_tuned − h_base",
    };
    let loss = loss.replace("over rows and models of", "over rows of").replace("f · 1", "f");
    format!("{loss}; ε = x − x̂ of x = {x}, ‖d‖ = 1")
}

fn top_k(top: &TopKLoss, keeps: &str) -> String {
    let mut text = reconstruction(top.reconstruction).to_string();
    if top.aux > 0.0 {
        text.push_str(&format!(" + {} · AuxK (dead after {} tokens)", number::short(top.aux), top.dead_after));
    }
    text.push_str(&format!("; {keeps} f · {}, k = {}", norm(top.norm), top.k));
    if let Some((from, steps)) = top.anneal {
        text.push_str(&format!(", from {from} over {steps} steps"));
    }
    text
}

fn reconstruction(reconstruction: Reconstruction) -> &'static str {
    match reconstruction {
        Reconstruction::L2 => "mean over rows and models of ‖ε‖",
        Reconstruction::Mse => "mean over rows and models of ‖ε‖²",
    }
}

fn norm(norm: CodeNorm) -> &'static str {
    match norm {
        CodeNorm::Sum => "(‖d_base‖ + ‖d_tuned‖)",
        CodeNorm::Concat => "√(‖d_base‖² + ‖d_tuned‖²)",
        CodeNorm::None => "1",
    }
}

fn param(param: &crate::lang::plan::ParamValue) -> Param {
    Param {
        name: param.name.clone(),
        value: param.value.clone(),
        origin: if param.set { "--set" } else { "written" }.to_string(),
        doc: param.docs.clone().unwrap_or_default(),
    }
}

fn declaration(step: &Step) -> Declaration {
    let field = |field: &crate::lang::plan::ResolvedField| Field {
        name: field.path.clone(),
        value: field.value.clone(),
        origin: match &field.origin {
            Origin::Written(_) => "written".to_string(),
            Origin::Default(source) if source.is_empty() => "default".to_string(),
            Origin::Default(source) => format!("default, {source}"),
            Origin::Axis => "axis".to_string(),
            Origin::Set(name) => format!("--set {name}"),
            Origin::Lock => "lock file".to_string(),
        },
    };
    Declaration {
        kind: step.kind.to_string(),
        name: step.address.to_string(),
        doc: step.docs.clone().unwrap_or_default(),
        fields: step.resolved.iter().map(field).collect(),
    }
}

fn steps(plan: &Plan, manifest: &Manifest) -> Vec<report::Step> {
    manifest
        .steps
        .iter()
        .map(|entry| {
            let step = plan.steps.iter().find(|s| s.address.to_string() == entry.address);
            let stored = step.filter(|s| is_stored(&s.spec));
            report::Step {
                address: entry.address.clone(),
                kind: entry.kind.clone(),
                id: entry.id.clone(),
                cached: entry.cached,
                seconds: (entry.seconds > 0.0).then_some(entry.seconds),
                tokens: (entry.tokens > 0).then_some(entry.tokens),
                artifact: stored.map(|s| format!("artifacts/{}", file_name(s))).unwrap_or_default(),
                error: match (&entry.error, entry.state.as_str()) {
                    (Some(error), _) => error.clone(),
                    (None, "skipped") => "left out: an input failed".to_string(),
                    _ => String::new(),
                },
            }
        })
        .collect()
}

/// Predicted and measured, of a step that was done and takes anything.
fn cost(entry: &StepEntry) -> Option<Cost> {
    let takes = |amounts: &Amounts| amounts.seconds >= 0.01 || amounts.disk_bytes > 0;
    let counts = entry.state == "done" && (takes(&entry.predicted) || takes(&entry.measured));
    counts.then(|| Cost {
        step: entry.address.clone(),
        cached: entry.cached,
        predicted_seconds: entry.predicted.seconds,
        measured_seconds: entry.measured.seconds,
        predicted_bytes: entry.predicted.disk_bytes,
        measured_bytes: entry.measured.disk_bytes,
        predicted_memory: entry.predicted.memory_bytes,
        measured_memory: entry.measured.memory_bytes,
    })
}

fn input(file: &crate::exec::manifest::InputFile) -> Input {
    Input {
        path: file.path.clone(),
        hash: file.hash.clone(),
        bytes: std::fs::metadata(&file.path).ok().filter(|facts| facts.is_file()).map(|facts| facts.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::out::Column;
    use crate::out::plot::Labels;

    #[test]
    fn an_interval_stands_in_the_cell_of_its_mean() {
        let frame = Frame::new()
            .with("loss", Column::text(["l1", "top"]))
            .and_then(|f| f.with("fve", Column::real([0.5, 0.75])))
            .and_then(|f| f.with("fve_ci95", Column::Real(vec![Some(0.125), None])))
            .and_then(|f| f.with("n", Column::whole([3, 1])))
            .unwrap();
        let table = with_intervals(ReportTable::new("t", &frame, &Labels::standard(), 10));
        let names: Vec<&str> = table.columns.iter().map(|column| column.name.as_str()).collect();
        assert_eq!(names, ["loss", "fve", "n"]);
        let shown: Vec<&str> = table.rows.iter().map(|row| row[1].text.as_str()).collect();
        assert!(shown[0].contains(" ± 0.12") && !shown[1].contains('±'), "{shown:?}");
        assert_eq!(table.rows[0][1].sort, "0.5", "it sorts by the mean");
    }

    #[test]
    fn a_label_is_the_aggregate_that_was_written() {
        let columns = "[loss, specific = share(verdict == specific), m = mean(a, where = [b > 1, c < 2]), count()]";
        assert_eq!(aggregate(columns, "specific").as_deref(), Some("share(verdict == specific)"));
        assert_eq!(aggregate(columns, "m").as_deref(), Some("mean(a, where = [b > 1, c < 2])"));
        assert_eq!(aggregate(columns, "count()").as_deref(), Some("count()"));
        assert_eq!(aggregate(columns, "loss"), None);
    }
}
