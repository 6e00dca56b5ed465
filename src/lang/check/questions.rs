//! Tables, plots and expectations that ask for something senseless.

use crate::lang::diagnostic::{Code, Diagnostic};
use crate::lang::plan::draft::At;
use crate::lang::plan::spec::{Operand, TableColumn};
use crate::lang::resolve::Sink;
use crate::lang::source::Span;

/// `group` without `columns` would have nothing to show of a group.
pub fn group_without_columns(at: &At, sink: &mut Sink) {
    if at.fields.get("columns").is_some() || !at.fields.broken.is_empty() {
        return;
    }
    if let Some(group) = at.fields.get("group") {
        sink.push(
            Diagnostic::new(Code::MissingField, group.span, "a grouped table must say what it shows of each group")
                .label("grouped")
                .help("write `columns = [.., count(), mean(..)]` with the columns of `group` and aggregates"),
        );
    }
}

/// `over` averages aggregates; without one it would change nothing. Names that it adds are free.
pub fn over_of_the_table(at: &At, columns: &[TableColumn], means: bool, sink: &mut Sink) {
    let over = at.fields.get("over").filter(|over| over.text != "none");
    if !means && over.is_none() {
        return;
    }
    let aggregate = |column| match column {
        &TableColumn::Aggregate { ref name, .. } => Some(name.as_str()),
        TableColumn::Plain { .. } => None,
    };
    let aggregates: Vec<&str> = columns.iter().filter_map(aggregate).collect();
    if let Some(over) = over.filter(|_| aggregates.is_empty() && at.fields.broken.is_empty()) {
        sink.push(
            Diagnostic::new(
                Code::MissingField,
                over.span,
                "a table over an axis shows means of aggregates, and has none",
            )
            .label("nothing to average")
            .help("write `columns = [.., mean(..)]` with aggregates, and the other columns in `group`"),
        );
    }
    let Some(place) = at.fields.get("columns").or(over).map(|node| node.span) else { return };
    let added: Vec<String> = aggregates.iter().map(|name| format!("{name}_ci95")).chain(["n".to_string()]).collect();
    for column in columns {
        let (TableColumn::Plain { name, .. } | TableColumn::Aggregate { name, .. }) = column;
        if added.contains(name) {
            sink.push(super::columns::header_taken(name, place));
        }
    }
}

/// File names within `tables/` and `plots/`. A `bare` one has no ending and stands for all that are allowed.
pub fn file_name(name: &str, bare: bool, allowed: &[&str], span: Span, sink: &mut Sink) -> bool {
    let parted = name.rsplit_once('.');
    let forms: Vec<String> = allowed.iter().map(|e| format!("`.{e}`")).collect();
    let forms = crate::lang::schema::join(&forms, "or");
    if !parted.map_or(bare && !name.is_empty(), |(_, ending)| allowed.contains(&ending)) {
        let (stem, for_all) =
            (parted.map_or(name, |(stem, _)| stem), if bare { ", or no ending for both" } else { "" });
        sink.push(
            Diagnostic::new(Code::OutOfRange, span, format!("the file name must end in {forms}"))
                .label("another ending")
                .help(format!("write `save = \"{stem}.{}\"`{for_all}", allowed[0])),
        );
        return false;
    }
    if name.contains('/') || name.contains('\\') || name.starts_with('.') {
        sink.push(
            Diagnostic::new(Code::OutOfRange, span, "a result is saved by name, in the folder of the run")
                .label("a path")
                .help("write the file name alone, and choose the folder with `xd run --out DIR`"),
        );
        return false;
    }
    true
}

/// `expect x = cc.l0`.
pub fn not_a_comparison(span: Span) -> Diagnostic {
    Diagnostic::new(Code::WrongType, span, "an expectation is a comparison")
        .label("not a comparison")
        .help("write it as in `mean(fit.fve) > 0.8`")
}

/// Two numbers prove nothing.
pub fn compares_numbers(left: &Operand, right: &Operand, span: Span, sink: &mut Sink) {
    if let (Operand::Number { .. }, Operand::Number { .. }) = (left, right) {
        sink.push(
            Diagnostic::new(Code::WrongType, span, "this compares two numbers, and no result")
                .label("always the same")
                .help("one side names a column: `mean(fit.fve) > 0.8`"),
        );
    }
}
