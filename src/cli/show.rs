//! `xd show FILE`: every value in force and where it came from.

use std::path::PathBuf;
use std::process::ExitCode;

use super::report_diagnostics::report;
use super::world::FileWorld;
use super::{Format, Status, read};
use crate::lang::plan::{Origin, Plan, ResolvedField, Step};
use crate::lang::source::Sources;
use crate::lang::{analyse, diagnostic::Severity};

/// Show every value in force and where it came from: the file, a default, an axis, --set
#[derive(clap::Args)]
pub struct Args {
    /// The file to show
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Show only declarations of this name
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// Change a param, as for run: --set k=50
    #[arg(long, value_name = "PARAM=VALUE")]
    set: Vec<String>,
    /// How to report; `json` prints the resolved fields as data
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Prints the resolved file.
pub fn run(args: Args) -> ExitCode {
    let shown = args.file.display().to_string();
    let text = match read(&args.file) {
        Ok(text) => text,
        Err(status) => return status.into(),
    };
    let mut sources = Sources::default();
    let file = sources.add(&shown, text);
    let analysis = analyse(&FileWorld::of(&args.file), &mut sources, file, &args.set, false);
    let Some(plan) = analysis.plan.as_ref().filter(|_| !analysis.has_errors()) else {
        report(&analysis.diagnostics, &sources, &shown, args.format);
        return Status::Invalid.into();
    };
    if args.only.as_ref().is_some_and(|name| !plan.steps.iter().any(|s| &s.address.name == name)) {
        let name = args.only.unwrap_or_default();
        tell!("xd: {shown} declares nothing named `{name}`");
        if let Some(near) = crate::lang::diagnostic::suggest(&name, plan.steps.iter().map(|s| s.address.name.as_str()))
        {
            tell!("did you mean `{near}`?");
        }
        return Status::Usage.into();
    }
    let warnings: Vec<_> = analysis.diagnostics.iter().filter(|d| d.severity == Severity::Warning).cloned().collect();
    match args.format {
        Format::Json => say!("{}", as_json(plan, args.only.as_deref(), &sources)),
        format => {
            say_part!("{}", as_text(plan, args.only.as_deref(), &sources));
            report(&warnings, &sources, &shown, format);
        }
    }
    Status::Fine.into()
}

fn chosen<'p>(plan: &'p Plan, only: Option<&'p str>) -> impl Iterator<Item = &'p Step> {
    plan.steps.iter().filter(move |s| only.is_none_or(|name| s.address.name == name))
}

/// The file as it is understood, one block a step, each value with its origin in a comment.
pub fn as_text(plan: &Plan, only: Option<&str>, sources: &Sources) -> String {
    let mut out = format!("xd {}\n", plan.edition);
    if only.is_none() {
        for param in &plan.params {
            let origin = if param.set { format!("--set; the file says {}", param.default) } else { "written".into() };
            out += &format!("\nparam {} = {}  # {origin}", param.name, param.value);
        }
        if !plan.params.is_empty() {
            out.push('\n');
        }
    }
    for step in chosen(plan, only) {
        out += &format!("\n{} {} {{\n", step.kind, step.address);
        let path = widest(&step.resolved, |f| &f.path);
        let value = widest(&step.resolved, |f| &f.value);
        for field in &step.resolved {
            let line = format!("  {:path$} = {:value$}  # {}", field.path, field.value, origin(&field.origin, sources));
            out += line.trim_end();
            out.push('\n');
        }
        out += "}\n";
    }
    out
}

/// The longest of the usual ones: one very long value does not push every comment away.
fn widest(fields: &[ResolvedField], part: impl Fn(&ResolvedField) -> &String) -> usize {
    fields.iter().map(|f| part(f).chars().count()).filter(|n| *n <= 48).max().unwrap_or(0)
}

fn origin(origin: &Origin, sources: &Sources) -> String {
    match origin {
        Origin::Written(span) => format!("line {}", place(*span, sources)),
        Origin::Default(source) if source.is_empty() => "default".into(),
        Origin::Default(source) => format!("default ({source})"),
        Origin::Axis => "axis".into(),
        Origin::Set(name) => format!("--set {name}"),
        Origin::Lock => "lock file".into(),
    }
}

fn place(span: crate::lang::Span, sources: &Sources) -> String {
    let (line, _) = sources.position(span.file, span.start);
    if span.file.0 == 0 { line.to_string() } else { format!("{line} of {}", sources.get(span.file).path) }
}

fn as_json(plan: &Plan, only: Option<&str>, sources: &Sources) -> String {
    let steps: Vec<serde_json::Value> = chosen(plan, only)
        .map(|step| {
            let fields: Vec<serde_json::Value> = step
                .resolved
                .iter()
                .map(|f| serde_json::json!({ "field": f.path, "value": f.value, "origin": origin(&f.origin, sources) }))
                .collect();
            serde_json::json!({
                "address": step.address.to_string(), "kind": step.kind, "id": step.id, "docs": step.docs, "fields": fields,
            })
        })
        .collect();
    let shown =
        serde_json::json!({ "edition": plan.edition, "docs": plan.docs, "params": plan.params, "steps": steps });
    serde_json::to_string_pretty(&shown).unwrap_or_default()
}
