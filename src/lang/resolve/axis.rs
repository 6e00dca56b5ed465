//! The axes that a declaration writes itself: `for loss in [..], train.seed in 0..3`.

use crate::lang::diagnostic::{Code, Diagnostic};
use crate::lang::schema::{Kind, Type};
use crate::lang::source::Span;
use crate::lang::syntax::tree::{self, Quantity, Reference, Value, ValueKind};

use super::params::slice;
use super::reader::{Reader, dotted};
use super::scope::{DeclId, VALUE};

/// An axis: the declaration that writes it, and which of its axes it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AxisId {
    pub owner: DeclId,
    pub index: usize,
}

/// An axis as a declaration sees it, own or inherited.
#[derive(Clone, Debug)]
pub struct AxisView {
    pub id: AxisId,
    /// One label, or several when zipped. Inherited labels that clash carry the owner's name.
    pub labels: Vec<String>,
    /// For each value, the short name for each label.
    pub values: Vec<Vec<String>>,
}

/// An axis as written: fields and their values.
#[derive(Clone, Debug)]
pub struct OwnAxis {
    pub fields: Vec<(String, Span)>,
    /// For each value of the axis, one tree value for each field.
    pub values: Vec<Vec<Value>>,
    pub view: AxisView,
}

/// More values than this are taken for a mistake.
const MOST_VALUES: u64 = 10_000;

/// Reads the axes of a declaration; the flag is false when one of them could not be read.
pub fn own_axes(reader: &mut Reader, owner: DeclId, kind: &Kind) -> (Vec<OwnAxis>, bool) {
    let declared = reader.scope.get(owner).clone();
    let mut axes: Vec<OwnAxis> = Vec::new();
    let mut whole = true;
    for (index, axis) in declared.axes.iter().enumerate() {
        match own_axis(reader, AxisId { owner, index }, kind, axis, &axes) {
            Some(axis) => axes.push(axis),
            None => whole = false,
        }
    }
    (axes, whole)
}

fn own_axis(reader: &mut Reader, id: AxisId, kind: &Kind, axis: &tree::Axis, before: &[OwnAxis]) -> Option<OwnAxis> {
    let declared = reader.scope.get(id.owner).clone();
    let mut fields: Vec<(String, Span)> = Vec::new();
    let mut whole = true;
    for path in &axis.fields {
        let label = dotted(path);
        let form = declared.fields.iter().find(|w| w.path == VALUE);
        let known = match (&kind.value, form) {
            (Some(ty), Some(written)) => argument_of(ty, &written.value, &label),
            _ => kind.field(&label).is_some(),
        };
        if !known {
            whole = false;
            reader.sink.push(unknown_field(kind, &label, path.span, form.is_some()));
            continue;
        }
        let first = declared.fields.iter().find(|w| w.path == label).map(|w| w.path_span);
        let first = first.or_else(|| {
            before.iter().flat_map(|a| &a.fields).chain(&fields).find(|(l, _)| *l == label).map(|(_, s)| *s)
        });
        if let Some(first) = first {
            whole = false;
            reader.sink.push(
                Diagnostic::new(Code::SetTwice, path.span, format!("`{label}` is set by this axis and once more"))
                    .label("an axis sets it")
                    .related(first, "and so does this")
                    .help("keep the axis or the field, not both"),
            );
            continue;
        }
        fields.push((label, path.span));
    }
    let entries = entries(reader, &axis.values, fields.len().max(axis.fields.len()))?;
    if !whole {
        return None;
    }
    let mut values = Vec::new();
    let mut labels: Vec<Option<String>> = Vec::new();
    for (label, value) in entries {
        let row = match (&value.kind, fields.len()) {
            (ValueKind::Broken, _) => return None,
            (_, 1) => vec![value],
            (ValueKind::Tuple(parts), n) if parts.len() == n => parts.clone(),
            (_, n) => {
                reader.sink.push(
                    Diagnostic::new(Code::WrongType, value.span, format!("this axis fills {n} fields at a time"))
                        .label(format!("not a tuple of {n} values"))
                        .help(format!("write each entry as a tuple, `({})`", vec![".."; n].join(", "))),
                );
                return None;
            }
        };
        labels.push(label);
        values.push(row);
    }
    let view = AxisView {
        id,
        labels: fields.iter().map(|(l, _)| l.clone()).collect(),
        values: short_names(reader, &values, &labels),
    };
    for (i, names) in view.values.iter().enumerate() {
        if let Some(first) = view.values[..i].iter().position(|earlier| earlier == names) {
            let (span, earlier) = (values[i][0].span, values[first][0].span);
            reader.sink.push(
                Diagnostic::new(Code::DefinedTwice, span, format!("this axis holds `{}` twice", names.join(", ")))
                    .label("the same point again")
                    .related(earlier, "first here")
                    .help("each value of an axis makes one point; to tell two apart, give them labels: `[a = .., b = ..]`"),
            );
            return None;
        }
    }
    Some(OwnAxis { fields, values, view })
}

fn argument_of(ty: &Type, value: &Value, label: &str) -> bool {
    let ValueKind::Call { name, .. } = &value.kind else { return false };
    ty.variants().iter().any(|v| v.word == dotted(name) && v.argument(label).is_some())
}

fn unknown_field(kind: &Kind, label: &str, span: Span, short_form: bool) -> Diagnostic {
    let near = crate::lang::diagnostic::suggest(label, kind.fields.iter().map(|f| f.path));
    let by_last_word = kind.fields.iter().find(|f| f.word() == label).map(|f| f.path.to_string());
    let help = match by_last_word.or(near) {
        Some(near) => format!("did you mean `{near}`?"),
        None if short_form => "an axis of a short declaration names an argument of its value".to_string(),
        None => "an axis names a field of the same declaration, by its whole path: `train.seed in 0..3`".to_string(),
    };
    Diagnostic::new(Code::UnknownField, span, format!("`{label}` is not a field of {}", kind.word))
        .label("an axis over no field")
        .help(help)
}

/// The entries of a list, range or param that holds one, with their labels.
fn entries(reader: &mut Reader, value: &Value, fields: usize) -> Option<Vec<(Option<String>, Value)>> {
    match &value.kind {
        ValueKind::Broken => None,
        ValueKind::List(entries) if !entries.is_empty() => {
            Some(entries.iter().map(|e| (e.label.as_ref().map(|l| l.text.clone()), e.value.clone())).collect())
        }
        ValueKind::Range { start, end, inclusive } if fields == 1 => range(reader, value.span, start, end, *inclusive),
        ValueKind::Reference(reference) if reference.selectors.is_none() => {
            let found = reader.scope.lookup(reader.module, &reference.path.parts);
            let param = found
                .and_then(|(id, used)| reader.scope.params.get(&id).filter(|_| used == reference.path.parts.len()));
            match param {
                Some(param) if !matches!(param.value.kind, ValueKind::Reference(_)) => {
                    let held = param.value.clone();
                    entries(reader, &held, fields)
                }
                _ => not_values(reader, value),
            }
        }
        _ => not_values(reader, value),
    }
}

fn not_values<T>(reader: &mut Reader, value: &Value) -> Option<T> {
    reader.sink.push(
        Diagnostic::new(Code::WrongType, value.span, "an axis takes a list of values or a range")
            .label("not a list")
            .help("write `for loss in [l1(weight = 3e-2), topk(k = 32)]` or `for train.seed in 0..3`"),
    );
    None
}

fn range(
    reader: &mut Reader,
    span: Span,
    start: &Value,
    end: &Value,
    inclusive: bool,
) -> Option<Vec<(Option<String>, Value)>> {
    let whole = Type::Whole { low: 0, high: u64::MAX };
    let from = reader.read(&whole, start, "an end of this range");
    let to = reader.read(&whole, end, "an end of this range");
    let (from, to) = (from?.whole()?, to?.whole()?);
    let to = if inclusive { to + 1 } else { to };
    if to <= from || to - from > MOST_VALUES {
        let message = if to <= from {
            "this range holds no value".to_string()
        } else {
            format!("this range holds {} values", to - from)
        };
        reader.sink.push(
            Diagnostic::new(Code::OutOfRange, span, message)
                .label("an axis of this length")
                .help(format!("`0..3` holds 0, 1 and 2; an axis has between 1 and {MOST_VALUES} values")),
        );
        return None;
    }
    let number = |n: u64| Value {
        kind: ValueKind::Quantity(Quantity { value: n as f64, digits: n.to_string(), suffix: None, unit: None }),
        span,
    };
    Some((from..to).map(|n| (None, number(n))).collect())
}

/// The label, the name of the call, or the value as written; the whole call where two would have the same name.
fn short_names(reader: &Reader, rows: &[Vec<Value>], labels: &[Option<String>]) -> Vec<Vec<String>> {
    let columns = rows.first().map_or(0, Vec::len);
    let mut names: Vec<Vec<String>> = vec![Vec::new(); rows.len()];
    for column in 0..columns {
        let long: Vec<String> = rows.iter().map(|row| whole(reader, &row[column])).collect();
        let short: Vec<String> = rows
            .iter()
            .zip(labels)
            .map(|(row, label)| match (label, column) {
                (Some(label), 0) => label.clone(),
                _ => brief(reader, &row[column]),
            })
            .collect();
        for row in 0..rows.len() {
            let clash = (0..rows.len()).any(|other| short[other] == short[row] && long[other] != long[row]);
            names[row].push(if clash { long[row].clone() } else { short[row].clone() });
        }
    }
    names
}

fn whole(reader: &Reader, value: &Value) -> String {
    match &value.kind {
        ValueKind::Quantity(quantity) if quantity.unit.is_none() && quantity.suffix.is_none() => {
            quantity.digits.clone()
        }
        _ => slice(reader.sources, value.span),
    }
}

fn brief(reader: &Reader, value: &Value) -> String {
    match &value.kind {
        ValueKind::Call { name, .. } => dotted(name),
        ValueKind::Reference(Reference { path, selectors: None, member: None }) => dotted(path),
        ValueKind::Text(_) => whole(reader, value).trim_matches('"').to_string(),
        _ => whole(reader, value),
    }
}
