//! Tables, plots and expectations: questions to the rows of steps, read against their columns.

use std::collections::BTreeSet;

use crate::lang::check::columns as problems;
use crate::lang::diagnostic::{Code, Diagnostic};
use crate::lang::plan::spec::{Aggregate, ColumnRef, Condition, Constant, Operand, TableColumn};
use crate::lang::schema::{Built, Column, ColumnType, Kind, Type};
use crate::lang::source::{Sources, Span};
use crate::lang::syntax::tree::{self, Entry, Operator, Reference, Suffix, Value, ValueKind};

use super::fields::Fields;
use super::params::slice;
use super::point::{same, selected};
use super::reader::{Reader, dotted, selected as selected_text};
use super::resolver::Resolution;
use super::scope::{DeclId, Scope, VALUE};
use super::typed::{Node, Selector, StepRef, Typed};

/// The aggregates by their words.
const AGGREGATES: &[(&str, Aggregate)] = &[
    ("mean", Aggregate::Mean),
    ("median", Aggregate::Median),
    ("min", Aggregate::Min),
    ("max", Aggregate::Max),
    ("share", Aggregate::Share),
    ("count", Aggregate::Count),
];

pub(super) const NUMBER: Type = Type::Number { low: f64::NEG_INFINITY, high: f64::INFINITY };

/// True when the steps of this declaration give rows.
pub fn has_rows(scope: &Scope, id: DeclId) -> bool {
    let declared = scope.get(id);
    let Some(kind) = declared.kind else { return false };
    let synthetic = || declared.fields.iter().any(|w| w.path == VALUE);
    !kind.columns.is_empty() && (kind.word != "pair" || synthetic())
}

/// True for kinds whose rows are one a latent, with numbers to order latents by.
pub fn has_latents(kind: &Kind) -> bool {
    matches!(kind.word, "classify" | "scaling")
}

/// `[nu_reconstruction < 0.5, nu_error < 0.2]`: both limits, as a tuple.
pub fn limits(reader: &mut Reader, value: &Value, what: &str) -> Option<Typed> {
    let ty = Type::Query(crate::lang::schema::Query::Limits);
    let values: Vec<&Value> = match &value.kind {
        ValueKind::List(entries) => entries.iter().map(|e| &e.value).collect(),
        ValueKind::Comparison { .. } => vec![value],
        _ => return reader.wrong_type(&ty, value, what),
    };
    let mut found: [Option<Node>; 2] = [None, None];
    let mut whole = true;
    for value in values {
        let ValueKind::Comparison { left, operator: Operator::Less, right, .. } = &value.kind else {
            return reader.wrong_type(&ty, value, what);
        };
        let name = match &left.kind {
            ValueKind::Reference(reference) => dotted(&reference.path),
            _ => return reader.wrong_type(&ty, left, what),
        };
        let Some(slot) = ["nu_reconstruction", "nu_error"].iter().position(|n| *n == name) else {
            let near = crate::lang::diagnostic::suggest(&name, ["nu_reconstruction", "nu_error"]);
            let help = near.map_or("the limits are on nu_reconstruction and nu_error".to_string(), |n| {
                format!("did you mean `{n}`?")
            });
            reader.sink.push(
                Diagnostic::new(Code::UnknownColumn, left.span, format!("{what} has no limit on `{name}`"))
                    .label("unknown column")
                    .help(help),
            );
            whole = false;
            continue;
        };
        match reader.read(&Type::Number { low: 0.0, high: f64::INFINITY }, right, what) {
            Some(node) if found[slot].is_none() => found[slot] = Some(node),
            Some(node) => {
                let first = found[slot].as_ref().map_or(node.span, |n| n.span);
                reader.sink.push(
                    Diagnostic::new(Code::SetTwice, node.span, format!("the limit on `{name}` is set twice"))
                        .label("set again")
                        .related(first, "first set here")
                        .help("keep one of the two"),
                );
                whole = false;
            }
            None => whole = false,
        }
    }
    if !whole {
        return None;
    }
    let [Some(reconstruction), Some(error)] = found else { return reader.wrong_type(&ty, value, what) };
    Some(Typed::Tuple(vec![reconstruction, error]))
}

/// The steps that an expectation names.
pub fn expect_refs(scope: &Scope, sources: &Sources, module: usize, fields: &Fields) -> Vec<StepRef> {
    let Some(Node { value: Typed::Raw(value), .. }) = fields.get(VALUE) else { return Vec::new() };
    let mut found = Vec::new();
    if let ValueKind::Comparison { left, right, .. } = &value.kind {
        gather(scope, sources, module, left, &mut found);
        gather(scope, sources, module, right, &mut found);
    }
    found
}

/// Walks an operand; the right side of an inner comparison holds words, not names.
fn gather(scope: &Scope, sources: &Sources, module: usize, value: &Value, found: &mut Vec<StepRef>) {
    match &value.kind {
        ValueKind::Reference(reference) => {
            if let Some((target, _)) = scope.lookup(module, &reference.path.parts)
                && scope.get(target).kind.is_none_or(|k| k.word != "param")
            {
                let selectors = reference.selectors.iter().flatten();
                let selectors = selectors.map(|s| Selector {
                    label: dotted(&s.path),
                    value: selected_text(scope, sources, module, &s.value),
                    span: s.path.span,
                    value_span: s.value.span,
                });
                found.push(StepRef { target, selectors: selectors.collect(), part: None, span: value.span });
            }
        }
        ValueKind::Call { arguments, .. } => {
            // What stands after `over` are axes.
            let values = arguments.iter().filter(|e| e.label.as_ref().is_none_or(|label| label.text != "over"));
            values.for_each(|e| gather(scope, sources, module, &e.value, found))
        }
        ValueKind::List(entries) => entries.iter().for_each(|e| gather(scope, sources, module, &e.value, found)),
        ValueKind::Comparison { left, .. } => gather(scope, sources, module, left, found),
        _ => {}
    }
}

/// What a column name means.
#[derive(Clone, Copy, Debug)]
pub(super) enum Meaning {
    Axis,
    Column(&'static Column),
}

/// A question to some steps.
pub struct Question<'q, 'r> {
    pub reader: &'q mut Reader<'r>,
    pub resolution: &'q Resolution,
    /// The steps asked, in the order in which they are written.
    pub rows: Vec<StepRef>,
}

impl Question<'_, '_> {
    /// What rows of a step are called: `cc`, `cc.log`.
    fn name(&self, step: &StepRef) -> String {
        let name = &self.scope().get(step.target).name;
        step.part.map_or_else(|| name.clone(), |part| format!("{name}.{}", part.word))
    }

    /// Columns of the rows of a step.
    fn columns_of(&self, step: &StepRef) -> &'static [Column] {
        match step.part {
            Some(part) => part.columns,
            None => self.scope().get(step.target).kind.map_or(&[], |kind| kind.columns),
        }
    }

    /// Names of the steps, each once.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for step in &self.rows {
            let name = self.name(step);
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    fn scope(&self) -> &Scope {
        self.reader.scope
    }

    /// Every label of an axis and every column that may be named.
    fn known(&self) -> Vec<String> {
        let mut known: Vec<String> = Vec::new();
        for step in &self.rows {
            let axes = &self.resolution.get(step.target).axes;
            known.extend(axes.iter().flat_map(|a| a.labels.iter().cloned()));
            known.extend(self.columns_of(step).iter().map(|c| c.name.to_string()));
        }
        known.dedup();
        known
    }

    fn is_axis(&self, label: &str) -> bool {
        self.rows
            .iter()
            .any(|step| self.resolution.get(step.target).axes.iter().any(|a| a.labels.iter().any(|l| l == label)))
    }

    // -- columns -----------------------------------------------------------------------------------------------------

    /// The column of a reference without brackets.
    pub(super) fn column(&mut self, value: &Value) -> Option<(ColumnRef, Meaning)> {
        let ValueKind::Reference(reference) = &value.kind else {
            if !matches!(value.kind, ValueKind::Broken) {
                self.reader.sink.push(problems::not_a_column(value.span));
            }
            return None;
        };
        if reference.selectors.is_some() {
            self.reader.sink.push(
                Diagnostic::new(Code::WrongType, value.span, "columns are named without brackets here")
                    .label("brackets")
                    .help("choose the points where the rows are named, or with `where`"),
            );
            return None;
        }
        self.named(&reference.path.parts, reference.path.span)
    }

    fn named(&mut self, parts: &[tree::Name], span: Span) -> Option<(ColumnRef, Meaning)> {
        let words: Vec<&str> = parts.iter().map(|p| p.text.as_str()).collect();
        let whole = words.join(".");
        if self.is_axis(&whole) {
            return Some((ColumnRef { step: None, column: whole }, Meaning::Axis));
        }
        if let Some((id, used)) = self.meant(parts)
            && used < parts.len()
            && self.rows.iter().any(|s| s.target == id)
        {
            return self.qualified(id, &words[used..].join("."), parts[used].span.to(parts[parts.len() - 1].span));
        }
        for step in self.rows.clone() {
            if let Some(column) = self.columns_of(&step).iter().find(|column| column.name == whole) {
                let name = self.name(&step);
                return self
                    .built(column, span)
                    .then_some((ColumnRef { step: Some(name), column: whole }, Meaning::Column(column)));
            }
        }
        if self.rows.iter().any(|s| self.resolution.get(s.target).axes_unknown) {
            return None;
        }
        let foreign = self.scope().lookup(self.reader.module, parts).filter(|(_, used)| *used < parts.len());
        let diagnostic = match foreign {
            Some((id, _)) => {
                let name = self.scope().get(id).name.clone();
                problems::step_not_asked(&name, &self.names(), span)
            }
            None => problems::unknown_column(&whole, &self.names(), &self.known(), self.elsewhere(&whole), span),
        };
        self.reader.sink.push(diagnostic);
        None
    }

    /// The declaration that the first of these words name, a step for a param that holds one, and how many words that are.
    fn meant(&self, parts: &[tree::Name]) -> Option<(DeclId, usize)> {
        let (id, used) = self.scope().lookup(self.reader.module, parts)?;
        let Some(param) = self.scope().params.get(&id) else { return Some((id, used)) };
        let ValueKind::Reference(reference) = &param.value.kind else { return Some((id, used)) };
        self.scope().lookup(param.module, &reference.path.parts).map(|(id, _)| (id, used))
    }

    /// A column of the other rows of a step, `log.loss`; `None` where those are not asked.
    fn of_part(&mut self, id: DeclId, column: &str, span: Span) -> Option<Option<(ColumnRef, Meaning)>> {
        let parts: Vec<StepRef> = self.rows.iter().filter(|s| s.target == id && s.part.is_some()).cloned().collect();
        for step in &parts {
            let word = step.part?.word;
            let Some(own) = column.strip_prefix(word).and_then(|rest| rest.strip_prefix('.')) else { continue };
            let name = self.name(step);
            return Some(match self.columns_of(step).iter().find(|known| known.name == own) {
                Some(found) => {
                    let reference = ColumnRef { step: Some(name), column: own.to_string() };
                    self.built(found, span).then_some((reference, Meaning::Column(found)))
                }
                None => {
                    let known: Vec<String> = self.columns_of(step).iter().map(|c| c.name.to_string()).collect();
                    self.reader.sink.push(problems::unknown_column(own, &[name], &known, None, span));
                    None
                }
            });
        }
        let only_parts = self.rows.iter().filter(|s| s.target == id).all(|s| s.part.is_some());
        let is_axis = self.resolution.get(id).axes.iter().any(|a| a.labels.iter().any(|l| l == column));
        if parts.is_empty() || !only_parts || is_axis {
            return None;
        }
        let names: Vec<String> = parts.iter().map(|step| self.name(step)).collect();
        let known = self.known();
        self.reader.sink.push(problems::unknown_column(column, &names, &known, None, span));
        Some(None)
    }

    fn qualified(&mut self, id: DeclId, column: &str, span: Span) -> Option<(ColumnRef, Meaning)> {
        if let Some(found) = self.of_part(id, column, span) {
            return found;
        }
        let declared = self.scope().get(id);
        let name = declared.name.clone();
        if let Some(found) = declared.kind.and_then(|k| k.column(column)) {
            let reference = ColumnRef { step: Some(name), column: column.to_string() };
            return self.built(found, span).then_some((reference, Meaning::Column(found)));
        }
        let target = self.resolution.get(id);
        if target.axes.iter().any(|a| a.labels.iter().any(|l| l == column)) {
            return Some((ColumnRef { step: None, column: column.to_string() }, Meaning::Axis));
        }
        if !target.broken {
            let known: Vec<String> =
                declared.kind.iter().flat_map(|k| k.columns.iter().map(|c| c.name.to_string())).collect();
            let elsewhere = self.elsewhere(column);
            self.reader.sink.push(problems::unknown_column(column, &[name], &known, elsewhere, span));
        }
        None
    }

    /// A declared step that has such a column although it is not asked.
    fn elsewhere(&self, column: &str) -> Option<String> {
        let scope = self.scope();
        let owner = scope
            .names
            .values()
            .find(|id| has_rows(scope, **id) && scope.get(**id).kind.is_some_and(|k| k.column(column).is_some()))?;
        Some(scope.get(*owner).name.clone())
    }

    fn built(&mut self, column: &Column, span: Span) -> bool {
        let Built::NotYet(meanwhile) = column.built else { return true };
        self.reader.sink.push(
            Diagnostic::new(
                Code::NotBuiltYet,
                span,
                format!(
                    "the column `{}` belongs to the language, but this version of xd cannot fill it yet",
                    column.name
                ),
            )
            .label("not built yet")
            .help(meanwhile),
        );
        false
    }

    /// The column of a field such as `x`.
    pub fn field_column(&mut self, fields: &Fields, path: &str, numeric: bool) -> Option<ColumnRef> {
        let Some(Node { value: Typed::Raw(value), .. }) = fields.get(path) else { return None };
        let (column, meaning) = self.column(value)?;
        if numeric && !is_number(meaning) && !self.numeric_axis(&column, meaning) {
            self.reader.sink.push(problems::not_a_number(&column.column, &format!("`{path}`"), value.span));
            return None;
        }
        Some(column)
    }

    /// True for an axis all of whose values are numbers.
    pub(super) fn numeric_axis(&self, column: &ColumnRef, meaning: Meaning) -> bool {
        matches!(meaning, Meaning::Axis)
            && self.rows.iter().any(|step| {
                self.resolution.get(step.target).axes.iter().any(|axis| {
                    let at = axis.labels.iter().position(|l| *l == column.column);
                    at.is_some_and(|at| axis.values.iter().all(|names| names[at].parse::<f64>().is_ok()))
                })
            })
    }

    // -- conditions --------------------------------------------------------------------------------------------------

    /// The conditions of a field such as `where`.
    pub fn conditions(&mut self, fields: &Fields, path: &str) -> Vec<Condition> {
        let Some(Node { value: Typed::Raw(value), .. }) = fields.get(path) else { return Vec::new() };
        self.condition_list(value)
    }

    fn condition_list(&mut self, value: &Value) -> Vec<Condition> {
        match &value.kind {
            ValueKind::List(entries) => entries.iter().filter_map(|e| self.condition(&e.value)).collect(),
            _ => self.condition(value).into_iter().collect(),
        }
    }

    fn condition(&mut self, value: &Value) -> Option<Condition> {
        let ValueKind::Comparison { left, operator, operator_span, right } = &value.kind else {
            if !matches!(value.kind, ValueKind::Broken) {
                self.reader.sink.push(problems::not_a_condition(value.span));
            }
            return None;
        };
        let (inner, absolute) = match &left.kind {
            ValueKind::Call { name, arguments } if dotted(name) == "abs" && arguments.len() == 1 => {
                (&arguments[0].value, true)
            }
            _ => (&**left, false),
        };
        let (column, meaning) = self.condition_column(inner)?;
        let value = self.constant(&column, meaning, *operator, *operator_span, right)?;
        if absolute && !is_number(meaning) {
            self.reader.sink.push(problems::not_a_number(&column.column, "`abs`", inner.span));
            return None;
        }
        Some(Condition { column, operator: *operator, value, absolute })
    }

    fn condition_column(&mut self, value: &Value) -> Option<(ColumnRef, Meaning)> {
        if let ValueKind::Quantity(_) | ValueKind::Text(_) = value.kind {
            self.reader.sink.push(
                Diagnostic::new(Code::WrongType, value.span, "a condition has its column on the left")
                    .label("not a column")
                    .help("write `nu_error < 0.2`, not `0.2 > nu_error`"),
            );
            return None;
        }
        if let ValueKind::Call { name, .. } = &value.kind {
            self.reader.sink.push(problems::function_in_condition(&dotted(name), value.span));
            return None;
        }
        self.column(value)
    }

    fn constant(
        &mut self,
        column: &ColumnRef,
        meaning: Meaning,
        operator: Operator,
        place: Span,
        right: &Value,
    ) -> Option<Constant> {
        if matches!(right.kind, ValueKind::Broken) {
            return None;
        }
        let ordered = !matches!(operator, Operator::Equal | Operator::NotEqual);
        let text = slice(self.reader.sources, right.span).trim_matches('"').to_string();
        match meaning {
            Meaning::Column(Column { ty: ColumnType::Real | ColumnType::Whole, .. }) => {
                self.constant_number(column, right)
            }
            _ if ordered => {
                self.reader.sink.push(problems::no_order(&column.column, operator, place));
                None
            }
            Meaning::Column(Column { ty: ColumnType::Truth, .. }) => match text.as_str() {
                "true" => Some(Constant::Truth(true)),
                "false" => Some(Constant::Truth(false)),
                _ => {
                    self.reader.sink.push(problems::unknown_word(
                        &column.column,
                        &text,
                        &["true", "false"],
                        right.span,
                    ));
                    None
                }
            },
            Meaning::Column(Column { ty: ColumnType::Words(words), .. }) => {
                let text = self.param_text(right).unwrap_or(text);
                match words.is_empty() || words.contains(&text.as_str()) {
                    true => Some(Constant::Word(text)),
                    false => {
                        self.reader.sink.push(problems::unknown_word(&column.column, &text, words, right.span));
                        None
                    }
                }
            }
            _ => {
                let text = self.param_text(right).unwrap_or(text);
                self.axis_value(&column.column, &text, right.span)
            }
        }
    }

    fn constant_number(&mut self, column: &ColumnRef, right: &Value) -> Option<Constant> {
        match &right.kind {
            ValueKind::Quantity(q)
                if q.unit.as_ref().is_none_or(|u| u.text == "tokens") && q.suffix != Some(Suffix::Times) =>
            {
                Some(Constant::Number(q.value))
            }
            ValueKind::Reference(reference) => {
                let param = self
                    .scope()
                    .lookup(self.reader.module, &reference.path.parts)
                    .is_some_and(|(id, _)| self.scope().params.contains_key(&id));
                if param {
                    return self
                        .reader
                        .read(&NUMBER, right, &format!("`{}`", column.column))?
                        .number()
                        .map(Constant::Number);
                }
                self.reader.sink.push(problems::number_wanted(&column.column, right.span));
                None
            }
            _ => {
                self.reader.sink.push(problems::number_wanted(&column.column, right.span));
                None
            }
        }
    }

    fn param_text(&self, value: &Value) -> Option<String> {
        let ValueKind::Reference(reference) = &value.kind else { return None };
        let (id, used) = self.scope().lookup(self.reader.module, &reference.path.parts)?;
        let param = self.scope().params.get(&id).filter(|_| used == reference.path.parts.len())?;
        Some(param.text.trim_matches('"').to_string())
    }

    fn axis_value(&mut self, label: &str, text: &str, span: Span) -> Option<Constant> {
        let mut names: Vec<String> = Vec::new();
        for step in &self.rows {
            for axis in &self.resolution.get(step.target).axes {
                if let Some(at) = axis.labels.iter().position(|l| l == label) {
                    names.extend(axis.values.iter().map(|v| v[at].clone()));
                }
            }
        }
        if let Some(name) = names.iter().find(|n| same(n, text)) {
            return Some(Constant::Word(name.clone()));
        }
        if self.rows.iter().any(|s| self.resolution.get(s.target).axes_unknown) {
            return None;
        }
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        self.reader.sink.push(problems::unknown_axis_value(label, text, &names, span));
        None
    }

    // -- tables ------------------------------------------------------------------------------------------------------

    /// `columns`, against `group`.
    pub fn table_columns(&mut self, fields: &Fields, group: &[ColumnRef]) -> Vec<TableColumn> {
        let Some(Node { value: Typed::Raw(value), .. }) = fields.get("columns") else { return Vec::new() };
        let single;
        let entries: &[Entry] = match &value.kind {
            ValueKind::List(entries) => entries,
            _ => {
                single = [Entry { label: None, value: value.clone() }];
                &single
            }
        };
        let mut columns: Vec<TableColumn> = Vec::new();
        let mut places: Vec<(String, Span)> = Vec::new();
        let aggregates = entries.iter().any(|e| matches!(e.value.kind, ValueKind::Call { .. }));
        let written = match fields.get("group").map(|n| &n.value) {
            Some(Typed::Raw(Value { kind: ValueKind::List(entries), .. })) => entries.len(),
            other => usize::from(other.is_some()),
        };
        let group_is_whole = fields.broken.is_empty() && group.len() == written;
        for entry in entries {
            let Some(column) = self.table_column(entry) else { continue };
            let name = header(&column).to_string();
            if let Some((_, first)) = places.iter().find(|(known, _)| *known == name) {
                self.reader.sink.push(
                    Diagnostic::new(Code::DefinedTwice, entry.value.span, format!("two columns are called `{name}`"))
                        .label("the same header")
                        .related(*first, "first here")
                        .help("give one of them another header: `[other = ..]`"),
                );
                continue;
            }
            if let TableColumn::Plain { column, .. } = &column
                && (aggregates || fields.get("group").is_some())
                && group_is_whole
                && !group.contains(column)
            {
                self.reader.sink.push(problems::not_grouped(&column.column, entry.value.span));
                continue;
            }
            places.push((name, entry.value.span));
            columns.push(column);
        }
        columns
    }

    fn table_column(&mut self, entry: &Entry) -> Option<TableColumn> {
        let written = slice(self.reader.sources, entry.value.span);
        let name = entry.label.as_ref().map_or(written, |l| l.text.clone());
        let ValueKind::Call { name: word, arguments } = &entry.value.kind else {
            let (column, _) = self.column(&entry.value)?;
            return Some(TableColumn::Plain { name, column });
        };
        let aggregate = self.aggregate(&dotted(word), word.span)?;
        let argument = match arguments.as_slice() {
            [] => None,
            [one] if one.label.is_none() => Some(&one.value),
            [_, extra, ..] | [extra] => {
                self.reader.sink.push(problems::too_many_arguments(&dotted(word), extra.value.span));
                return None;
            }
        };
        let (column, condition) = self.reduced(aggregate, &dotted(word), argument, entry.value.span)?;
        Some(TableColumn::Aggregate { name, aggregate, column, condition })
    }

    fn aggregate(&mut self, word: &str, span: Span) -> Option<Aggregate> {
        if let Some((_, aggregate)) = AGGREGATES.iter().find(|(name, _)| *name == word) {
            return Some(*aggregate);
        }
        let words: Vec<&str> = AGGREGATES.iter().map(|(name, _)| *name).collect();
        self.reader.sink.push(problems::unknown_aggregate(word, &words, span));
        None
    }

    /// What an aggregate reduces: a column, or for `share` and `count` a condition.
    fn reduced(
        &mut self,
        aggregate: Aggregate,
        word: &str,
        argument: Option<&Value>,
        span: Span,
    ) -> Option<(Option<ColumnRef>, Option<Condition>)> {
        match (aggregate, argument) {
            (Aggregate::Count, None) => Some((None, None)),
            (Aggregate::Count | Aggregate::Share, Some(value))
                if matches!(value.kind, ValueKind::Comparison { .. }) =>
            {
                Some((None, Some(self.condition(value)?)))
            }
            (Aggregate::Count | Aggregate::Share, Some(Value { kind: ValueKind::Broken, .. })) => None,
            (Aggregate::Count | Aggregate::Share, _) => {
                self.reader.sink.push(problems::condition_wanted(word, argument.map_or(span, |v| v.span)));
                None
            }
            (_, None) => {
                self.reader.sink.push(problems::column_wanted(word, span));
                None
            }
            (_, Some(value)) => {
                let (column, meaning) = self.column(value)?;
                if !is_number(meaning) {
                    self.reader.sink.push(problems::not_a_number(&column.column, &format!("`{word}`"), value.span));
                    return None;
                }
                Some((Some(column), None))
            }
        }
    }

    /// `group`: one column or several.
    pub fn group(&mut self, fields: &Fields) -> Vec<ColumnRef> {
        let Some(Node { value: Typed::Raw(value), .. }) = fields.get("group") else { return Vec::new() };
        listed(value).into_iter().filter_map(|v| self.column(v)).map(|(column, _)| column).collect()
    }

    /// `over` of a table: axes of its rows that are not in `group`; `none` is no axis.
    pub fn over(&mut self, fields: &Fields, group: &[ColumnRef]) -> Vec<String> {
        let Some(Node { value: Typed::Raw(value), text, .. }) = fields.get("over") else { return Vec::new() };
        if text == "none" {
            return Vec::new();
        }
        let mut axes = Vec::new();
        for value in listed(value) {
            let Some((column, meaning)) = self.column(value) else { continue };
            if !matches!(meaning, Meaning::Axis) {
                self.reader.sink.push(problems::not_an_axis(&column.column, &self.axes(), value.span));
            } else if group.contains(&column) {
                self.reader.sink.push(problems::grouped_and_over(&column.column, value.span));
            } else if !axes.contains(&column.column) {
                axes.push(column.column);
            }
        }
        axes
    }

    /// Axes of seeds that the rows have several values of, which neither `group` nor `where` names: numbers of one crosscoder are not
    /// thrown together with those of its repetitions.
    pub fn seeds(&self, group: &[ColumnRef], filter: &[Condition]) -> Vec<String> {
        let mut seeds: Vec<String> = Vec::new();
        for step in &self.rows {
            let points = &self.resolution.get(step.target).points;
            for (axis, labels) in self.open_axes(step) {
                let several = points
                    .iter()
                    .filter(|point| selected(step, point))
                    .filter_map(|point| point.coordinates.get(&axis))
                    .collect::<std::collections::BTreeSet<_>>();
                let named = |label: &String| {
                    let is = |column: &ColumnRef| column.step.is_none() && column.column == *label;
                    group.iter().any(is) || filter.iter().any(|condition| is(&condition.column))
                };
                let Some(seed) = labels.iter().find(|label| label.rsplit('.').next() == Some("seed")) else { continue };
                if several.len() > 1 && !labels.iter().any(named) && !seeds.contains(seed) {
                    seeds.push(seed.clone());
                }
            }
        }
        seeds
    }

    /// Labels of the axes of the rows.
    fn axes(&self) -> Vec<String> {
        let axes = self.rows.iter().flat_map(|step| &self.resolution.get(step.target).axes);
        let mut labels: Vec<String> = axes.flat_map(|axis| axis.labels.iter().cloned()).collect();
        labels.dedup();
        labels
    }

    /// `sort`: columns, or headers of the table, ascending unless they say otherwise.
    pub fn sort(&mut self, fields: &Fields, columns: &[TableColumn]) -> Vec<(ColumnRef, bool)> {
        let Some(Node { value: Typed::Raw(value), .. }) = fields.get("sort") else { return Vec::new() };
        let values: Vec<&Value> = match &value.kind {
            ValueKind::List(entries) => entries.iter().map(|e| &e.value).collect(),
            _ => vec![value],
        };
        values.into_iter().filter_map(|v| self.sort_key(v, columns, false)).collect()
    }

    fn sort_key(&mut self, value: &Value, columns: &[TableColumn], descending: bool) -> Option<(ColumnRef, bool)> {
        let text = slice(self.reader.sources, value.span);
        let reduced = columns.iter().any(|c| matches!(c, TableColumn::Aggregate { .. }));
        if let Some(column) = columns.iter().find(|c| header(c) == text) {
            let column = match column {
                TableColumn::Plain { column, .. } => column.clone(),
                TableColumn::Aggregate { name, .. } => ColumnRef { step: None, column: name.clone() },
            };
            return Some((column, descending));
        }
        match &value.kind {
            ValueKind::Call { name, arguments }
                if matches!(dotted(name).as_str(), "descending" | "ascending") && arguments.len() == 1 =>
            {
                self.sort_key(&arguments[0].value, columns, dotted(name) == "descending")
            }
            ValueKind::Call { name, .. } => {
                self.reader.sink.push(problems::sort_by_call(&dotted(name), &text, value.span));
                None
            }
            _ => {
                let (column, _) = self.column(value)?;
                let shown =
                    columns.iter().any(|c| matches!(c, TableColumn::Plain { column: known, .. } if *known == column));
                if reduced && !shown {
                    self.reader.sink.push(problems::sort_by_lost(&column.column, value.span));
                    return None;
                }
                Some((column, descending))
            }
        }
    }

    // -- expectations ------------------------------------------------------------------------------------------------

    /// One side of an expectation, with the address that it is about.
    pub fn operand(&mut self, value: &Value) -> Option<(Operand, Vec<StepRef>)> {
        match &value.kind {
            ValueKind::Broken => None,
            ValueKind::Quantity(quantity) => match (&quantity.unit, quantity.suffix) {
                (None, suffix) if suffix != Some(Suffix::Times) => {
                    Some((Operand::Number { value: quantity.value }, Vec::new()))
                }
                (Some(unit), _) if unit.text == "tokens" => {
                    Some((Operand::Number { value: quantity.value }, Vec::new()))
                }
                _ => {
                    self.reader.sink.push(problems::unit_in_expectation(value.span));
                    None
                }
            },
            ValueKind::Reference(reference) => {
                let found = self.scope().lookup(self.reader.module, &reference.path.parts);
                if found.is_some_and(|(id, _)| self.scope().params.contains_key(&id)) {
                    let number = self.reader.read(&NUMBER, value, "a side of an expectation")?.number()?;
                    return Some((Operand::Number { value: number }, Vec::new()));
                }
                let (step, column, meaning) = self.subject(reference, value.span)?;
                if !is_number(meaning) {
                    self.reader.sink.push(problems::not_a_number(
                        &column.column,
                        "a side of an expectation",
                        value.span,
                    ));
                    return None;
                }
                let filter = self.selected_rows(&step)?;
                Some(self.column_operand(step, Some(column), None, filter, None))
            }
            ValueKind::Call { name, arguments } => self.aggregated(&dotted(name), name.span, arguments, value.span),
            _ => {
                self.reader.sink.push(problems::not_an_operand(value.span));
                None
            }
        }
    }

    fn aggregated(
        &mut self,
        word: &str,
        place: Span,
        arguments: &[Entry],
        span: Span,
    ) -> Option<(Operand, Vec<StepRef>)> {
        let aggregate = self.aggregate(word, place)?;
        let mut subject: Option<&Value> = None;
        let mut restriction: Option<&Value> = None;
        let mut over: Option<&Value> = None;
        for entry in arguments {
            match entry.label.as_ref().map(|l| l.text.as_str()) {
                None if subject.is_none() => subject = Some(&entry.value),
                Some("where") if restriction.is_none() => restriction = Some(&entry.value),
                Some("over") if over.is_none() => over = Some(&entry.value),
                _ => {
                    let span = entry.label.as_ref().map_or(entry.value.span, |l| l.span);
                    self.reader.sink.push(problems::too_many_arguments(word, span));
                    return None;
                }
            }
        }
        let Some(subject) = subject else {
            self.reader.sink.push(match aggregate {
                Aggregate::Count | Aggregate::Share => problems::condition_wanted(word, span),
                _ => problems::column_wanted(word, span),
            });
            return None;
        };
        let (step, column, condition) = self.aggregate_subject(aggregate, word, subject)?;
        let mut filter = self.selected_rows(&step)?;
        if let Some(restriction) = restriction {
            filter.extend(self.restriction(&step, restriction)?);
        }
        let along = match over {
            Some(value) => self.along(&step, value)?,
            None => Vec::new(),
        };
        let (mut operand, refs) = self.column_operand(step, column, condition, filter, Some(aggregate));
        if let Operand::Column { mean_over, .. } = &mut operand {
            *mean_over = along;
        }
        Some((operand, refs))
    }

    /// `over = train.seed` in an aggregate: axes of the step with several values, not fixed in its brackets.
    fn along(&mut self, step: &StepRef, value: &Value) -> Option<Vec<String>> {
        let open = self.open_axes(step);
        let labels: Vec<String> = open.iter().flat_map(|(_, labels)| labels.clone()).collect();
        let mut along: Vec<String> = Vec::new();
        for value in listed(value) {
            let word = match &value.kind {
                ValueKind::Reference(reference) if reference.selectors.is_none() => dotted(&reference.path),
                ValueKind::Broken => return None,
                _ => {
                    self.reader.sink.push(problems::not_an_axis("this", &labels, value.span));
                    return None;
                }
            };
            let target = self.resolution.get(step.target);
            if !labels.contains(&word) {
                if !target.axes_unknown && !target.broken {
                    self.reader.sink.push(problems::not_an_axis(&word, &labels, value.span));
                }
                return None;
            }
            let several = target.axes.iter().any(|axis| {
                let values = target.points.iter().filter(|p| selected(step, p));
                let values: BTreeSet<_> = values.filter_map(|p| p.coordinates.get(&axis.id)).collect();
                axis.labels.contains(&word) && values.len() > 1
            });
            if !several {
                self.reader.sink.push(problems::one_value(&word, value.span));
                return None;
            }
            if !along.contains(&word) {
                along.push(word);
            }
        }
        Some(along)
    }

    fn aggregate_subject(
        &mut self,
        aggregate: Aggregate,
        word: &str,
        subject: &Value,
    ) -> Option<(StepRef, Option<ColumnRef>, Option<Condition>)> {
        match (&subject.kind, aggregate) {
            (ValueKind::Broken, _) => None,
            (ValueKind::Comparison { left, operator, operator_span, right }, Aggregate::Count | Aggregate::Share) => {
                let (inner, absolute) = match &left.kind {
                    ValueKind::Call { name, arguments } if dotted(name) == "abs" && arguments.len() == 1 => {
                        (&arguments[0].value, true)
                    }
                    _ => (&**left, false),
                };
                let ValueKind::Reference(reference) = &inner.kind else {
                    self.reader.sink.push(problems::condition_wanted(word, inner.span));
                    return None;
                };
                let (step, column, meaning) = self.subject(reference, inner.span)?;
                self.rows = vec![step.clone()];
                let value = self.constant(&column, meaning, *operator, *operator_span, right)?;
                Some((step, None, Some(Condition { column, operator: *operator, value, absolute })))
            }
            (ValueKind::Reference(reference), Aggregate::Count) => {
                let (step, member) = self.reader.address(reference, subject.span, &["classify", "scaling"])?;
                match member {
                    None => Some((step, None, None)),
                    Some(member) => {
                        self.reader.sink.push(problems::condition_wanted(word, member.span));
                        None
                    }
                }
            }
            (_, Aggregate::Count | Aggregate::Share) => {
                self.reader.sink.push(problems::condition_wanted(word, subject.span));
                None
            }
            (ValueKind::Reference(reference), _) => {
                let (step, column, meaning) = self.subject(reference, subject.span)?;
                if !is_number(meaning) {
                    self.reader.sink.push(problems::not_a_number(&column.column, &format!("`{word}`"), subject.span));
                    return None;
                }
                Some((step, Some(column), None))
            }
            _ => {
                self.reader.sink.push(problems::column_wanted(word, subject.span));
                None
            }
        }
    }

    /// `truth[loss = l1].recall`: the address and its column.
    fn subject(&mut self, reference: &Reference, span: Span) -> Option<(StepRef, ColumnRef, Meaning)> {
        let (step, member) =
            self.reader.address(reference, span, &["classify", "scaling", "quality", "recover", "crosscoder"])?;
        let declared = self.scope().get(step.target);
        let (kind, name, place) = (declared.kind?, declared.name.clone(), declared.name_span);
        if !has_rows(self.scope(), step.target) {
            self.reader.sink.push(problems::no_rows(&name, kind.word, span, place));
            return None;
        }
        let Some(member) = member else {
            let columns: Vec<&str> = kind.columns.iter().map(|c| c.name).collect();
            self.reader.sink.push(problems::which_column(&name, &columns, span));
            return None;
        };
        let (column, meaning) = self.qualified(step.target, &dotted(&member), member.span)?;
        Some((step, column, meaning))
    }

    /// Selectors on text columns, as conditions; those on axes are no conditions.
    fn selected_rows(&mut self, step: &StepRef) -> Option<Vec<Condition>> {
        let axes = self.resolution.get(step.target).axes.clone();
        let declared = self.scope().get(step.target);
        let (kind, name) = (declared.kind?, declared.name.clone());
        let mut conditions = Vec::new();
        for selector in &step.selectors {
            if axes.iter().any(|a| a.labels.contains(&selector.label)) {
                continue;
            }
            let column = kind.column(&selector.label)?;
            let value = match column.ty {
                ColumnType::Words(words) if words.contains(&selector.value.as_str()) => {
                    Constant::Word(selector.value.clone())
                }
                ColumnType::Words(words) => {
                    self.reader.sink.push(problems::unknown_word(
                        column.name,
                        &selector.value,
                        words,
                        selector.value_span,
                    ));
                    return None;
                }
                ColumnType::Truth if matches!(selector.value.as_str(), "true" | "false") => {
                    Constant::Truth(selector.value == "true")
                }
                _ => {
                    self.reader.sink.push(problems::unknown_word(
                        column.name,
                        &selector.value,
                        &["true", "false"],
                        selector.value_span,
                    ));
                    return None;
                }
            };
            let column = ColumnRef { step: Some(name.clone()), column: selector.label.clone() };
            conditions.push(Condition { column, operator: Operator::Equal, value, absolute: false });
        }
        Some(conditions)
    }

    /// `where = classes.class == tuned_only` in an aggregate: columns of the subject or of any step named with its column.
    fn restriction(&mut self, step: &StepRef, value: &Value) -> Option<Vec<Condition>> {
        let mut found = Vec::new();
        gather(self.reader.scope, self.reader.sources, self.reader.module, value, &mut found);
        self.rows = vec![step.clone()];
        if found.iter().any(|other| self.scope().get(other.target).kind.is_none()) {
            return None;
        }
        for other in found {
            if other.target != step.target && has_rows(self.scope(), other.target) {
                self.rows.push(other);
            }
        }
        let entries = match &value.kind {
            ValueKind::List(entries) => entries.len(),
            _ => 1,
        };
        let conditions = self.condition_list(value);
        (conditions.len() == entries).then_some(conditions)
    }

    fn column_operand(
        &mut self,
        step: StepRef,
        column: Option<ColumnRef>,
        condition: Option<Condition>,
        filter: Vec<Condition>,
        aggregate: Option<Aggregate>,
    ) -> (Operand, Vec<StepRef>) {
        let scope = self.reader.scope;
        let target = self.resolution.get(step.target);
        let name = scope.get(step.target).name.clone();
        let mut steps = vec![name];
        let mut refs = vec![step.clone()];
        for condition in &filter {
            if let Some(other) = &condition.column.step
                && !steps.contains(other)
            {
                steps.push(other.clone());
                if let Some(id) = scope.names.get(other) {
                    refs.push(StepRef { target: *id, part: None, ..step.clone() });
                }
            }
        }
        let mut point = Vec::new();
        for selector in &step.selectors {
            for axis in &target.axes {
                if let Some(at) = axis.labels.iter().position(|l| *l == selector.label)
                    && let Some(names) = axis.values.iter().find(|names| same(&names[at], &selector.value))
                {
                    point.push((selector.label.clone(), names[at].clone()));
                }
            }
        }
        let over = match aggregate {
            Some(_) => Vec::new(),
            None => self.open_axes(&step).into_iter().flat_map(|(_, labels)| labels).collect(),
        };
        let mean_over = Vec::new();
        (Operand::Column { steps, point, column, condition, filter, aggregate, over, mean_over }, refs)
    }

    /// The axes of a step that its selectors leave open.
    pub fn open_axes(&self, step: &StepRef) -> Vec<(super::axis::AxisId, Vec<String>)> {
        let target = self.resolution.get(step.target);
        let mut open = Vec::new();
        for axis in &target.axes {
            let named = step.selectors.iter().any(|s| axis.labels.contains(&s.label));
            let mut values: Vec<usize> = target
                .points
                .iter()
                .filter(|p| selected(step, p))
                .filter_map(|p| p.coordinates.get(&axis.id).copied())
                .collect();
            values.sort_unstable();
            values.dedup();
            if !(named && values.len() <= 1) {
                open.push((axis.id, axis.labels.clone()));
            }
        }
        open
    }
}

/// The entries of a list, or one value alone.
fn listed(value: &Value) -> Vec<&Value> {
    match &value.kind {
        ValueKind::List(entries) => entries.iter().map(|e| &e.value).collect(),
        _ => vec![value],
    }
}

pub(super) fn is_words(meaning: Meaning) -> bool {
    !matches!(meaning, Meaning::Column(Column { ty: ColumnType::Real | ColumnType::Whole | ColumnType::Truth, .. }))
}

pub(super) fn is_number(meaning: Meaning) -> bool {
    matches!(meaning, Meaning::Column(Column { ty: ColumnType::Real | ColumnType::Whole, .. }))
}

fn header(column: &TableColumn) -> &str {
    match column {
        TableColumn::Plain { name, .. } | TableColumn::Aggregate { name, .. } => name,
    }
}
