//! Diagnostics as text: for people, one line each, or JSON.

use std::fmt;

use miette::{
    GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteError, MietteSpanContents, SourceCode, SourceSpan,
    SpanContents,
};
use serde::Serialize;

use super::{Diagnostic, Severity};
use crate::lang::source::{FileId, Sources, Span};

/// How a person reads: with or without colour, and how wide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paper {
    pub colour: bool,
    /// Columns of the terminal.
    pub width: usize,
}

impl Paper {
    /// No colour, 100 columns: files, pipes and snapshots.
    pub const PLAIN: Paper = Paper { colour: false, width: 100 };
}

/// One diagnostic with its place in the text drawn: code, message, carets, the other places, help.
pub fn human(diagnostic: &Diagnostic, sources: &Sources, paper: Paper) -> String {
    let theme = if paper.colour { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
    let handler = GraphicalReportHandler::new_themed(theme)
        .with_links(false)
        .with_width(paper.width.clamp(40, 120))
        .with_context_lines(1)
        .with_break_words(false);
    let mut out = String::new();
    // Writing to a string does not fail; should miette refuse a span, the short form still says everything.
    if handler.render_report(&mut out, &Shown::new(diagnostic, sources)).is_err() {
        return short(diagnostic, sources) + "\n";
    }
    let lines: Vec<&str> = out.lines().map(str::trim_end).collect();
    lines.join("\n").trim_end().to_string() + "\n"
}

/// `file:line:column: severity[code]: message`.
pub fn short(diagnostic: &Diagnostic, sources: &Sources) -> String {
    let (line, column) = sources.position(diagnostic.span.file, diagnostic.span.start);
    let file = &sources.get(diagnostic.span.file).path;
    let severity = severity(diagnostic.severity);
    format!("{file}:{line}:{column}: {severity}[{}]: {}", diagnostic.code.slug(), diagnostic.message)
}

/// `{"diagnostics": [..]}` of several files, each with its own sources; lines and columns from 1, ends excluded.
pub fn json<'d>(files: impl IntoIterator<Item = (&'d [Diagnostic], &'d Sources)>) -> String {
    let of = |(found, sources): (&'d [Diagnostic], &'d Sources)| found.iter().map(move |d| Record::new(d, sources));
    let diagnostics = files.into_iter().flat_map(of).collect();
    serde_json::to_string_pretty(&Report { diagnostics }).unwrap_or_default()
}

/// `3 mistakes, 1 warning in cc.xd`.
pub fn summary(diagnostics: &[Diagnostic], path: &str) -> String {
    let count = |severity| diagnostics.iter().filter(|d| d.severity == severity).count();
    let mut parts = Vec::new();
    for (severity, one, many) in [
        (Severity::Error, "mistake", "mistakes"),
        (Severity::Warning, "warning", "warnings"),
        (Severity::Lint, "hint", "hints"),
    ] {
        match count(severity) {
            0 => {}
            1 => parts.push(format!("1 {one}")),
            n => parts.push(format!("{n} {many}")),
        }
    }
    if parts.is_empty() { format!("{path} is fine") } else { format!("{} in {path}", parts.join(", ")) }
}

fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Lint => "lint",
    }
}

// -- JSON ----------------------------------------------------------------------------------------------------------------

#[derive(Serialize)]
struct Report {
    diagnostics: Vec<Record>,
}

#[derive(Serialize)]
struct Record {
    code: &'static str,
    severity: &'static str,
    file: String,
    line: usize,
    column: usize,
    end_line: usize,
    end_column: usize,
    message: String,
    help: Option<String>,
    related: Vec<Related>,
}

#[derive(Serialize)]
struct Related {
    file: String,
    line: usize,
    column: usize,
    message: String,
}

impl Record {
    fn new(diagnostic: &Diagnostic, sources: &Sources) -> Self {
        let Span { file, start, end } = diagnostic.span;
        let (line, column) = sources.position(file, start);
        let (end_line, end_column) = sources.position(file, end);
        let related = |(span, message): &(Span, String)| {
            let (line, column) = sources.position(span.file, span.start);
            Related { file: sources.get(span.file).path.clone(), line, column, message: message.clone() }
        };
        Record {
            code: diagnostic.code.slug(),
            severity: severity(diagnostic.severity),
            file: sources.get(file).path.clone(),
            line,
            column,
            end_line,
            end_column,
            message: diagnostic.message.clone(),
            help: diagnostic.help.clone(),
            related: diagnostic.related.iter().map(related).collect(),
        }
    }
}

// -- for people ----------------------------------------------------------------------------------------------------------

/// What miette draws: one text with its labels.
#[derive(Debug)]
struct Shown<'d> {
    diagnostic: &'d Diagnostic,
    source: Text,
    labels: Vec<LabeledSpan>,
    elsewhere: Vec<Elsewhere>,
}

/// A label that stands in another file.
#[derive(Debug)]
struct Elsewhere {
    message: String,
    source: Text,
    labels: Vec<LabeledSpan>,
}

impl<'d> Shown<'d> {
    fn new(diagnostic: &'d Diagnostic, sources: &Sources) -> Self {
        let file = diagnostic.span.file;
        let (here, there): (Vec<_>, Vec<_>) = diagnostic.related.iter().partition(|(span, _)| span.file == file);
        // A label drawn around other labels is a knot; the inner ones say it better.
        let around =
            here.iter().any(|(span, _)| diagnostic.span.start <= span.start && span.end <= diagnostic.span.end);
        let mut labels = Vec::new();
        if !around {
            labels.push(label(diagnostic.span, &diagnostic.label, sources, true));
        }
        labels.extend(here.iter().map(|(span, words)| label(*span, words, sources, around)));
        let elsewhere = there
            .iter()
            .map(|(span, words)| Elsewhere {
                message: words.clone(),
                source: source(span.file, sources),
                labels: vec![label(*span, "", sources, true)],
            })
            .collect();
        Shown { diagnostic, source: source(file, sources), labels, elsewhere }
    }
}

/// Lines between two labels that are shown rather than left out.
const FEW: usize = 4;

/// A file as miette reads it.
#[derive(Debug)]
struct Text {
    path: String,
    text: String,
}

impl SourceCode for Text {
    /// The lines of a span and those around it. miette 7.6 counts an excerpt's lines from the start of the file, and therefore takes two
    /// labels far apart for one excerpt with everything between them; here they are the lines of the excerpt, and a few: what would
    /// leave out less than that stays whole.
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        before: usize,
        after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let read = self.text.read_span(span, before, after)?;
        let lines = read.data().iter().filter(|byte| **byte == b'\n').count() + FEW;
        let (data, at, path) = (read.data(), *read.span(), self.path.clone());
        Ok(Box::new(MietteSpanContents::new_named(path, data, at, read.line(), read.column(), lines)))
    }
}

fn source(file: FileId, sources: &Sources) -> Text {
    let source = sources.get(file);
    // Tabs would shift the carets.
    Text { path: source.path.clone(), text: source.text.replace('\t', " ") }
}

/// A label that stays on the line where its span begins: drawing a whole block says less than its first line.
fn label(span: Span, words: &str, sources: &Sources, primary: bool) -> LabeledSpan {
    let text = &sources.get(span.file).text;
    let start = span.start.min(text.len());
    let end = span.end.clamp(start, text.len());
    let line = text[start..end].find(['\n', '\r']).unwrap_or(end - start);
    let words = (!words.is_empty()).then(|| words.to_string());
    let length = text[start..start + line].trim_end().len();
    if primary {
        LabeledSpan::new_primary_with_span(words, (start, length))
    } else {
        LabeledSpan::new_with_span(words, (start, length))
    }
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.diagnostic.message)
    }
}

impl std::error::Error for Shown<'_> {}

impl miette::Diagnostic for Shown<'_> {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(format!("xd::{}", self.diagnostic.code.slug())))
    }

    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.diagnostic.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
            Severity::Lint => miette::Severity::Advice,
        })
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.diagnostic.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.source)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        Some(Box::new(self.labels.iter().cloned()))
    }

    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn miette::Diagnostic> + 'a>> {
        if self.elsewhere.is_empty() {
            return None;
        }
        Some(Box::new(self.elsewhere.iter().map(|e| e as &dyn miette::Diagnostic)))
    }
}

impl fmt::Display for Elsewhere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Elsewhere {}

impl miette::Diagnostic for Elsewhere {
    fn severity(&self) -> Option<miette::Severity> {
        Some(miette::Severity::Advice)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.source)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        Some(Box::new(self.labels.iter().cloned()))
    }
}
