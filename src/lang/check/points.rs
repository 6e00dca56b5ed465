//! Addresses that name no point.

use crate::lang::diagnostic::{Code, Diagnostic, suggest};
use crate::lang::resolve::{Declared, Selector};
use crate::lang::schema::ColumnType;

/// True when brackets of an expectation may select rows by this column.
pub fn is_text_column(declared: &Declared, label: &str) -> bool {
    let column = declared.kind.and_then(|k| k.column(label));
    column.is_some_and(|c| matches!(c.ty, ColumnType::Words(_) | ColumnType::Truth))
}

/// `cc[los = l1]`.
pub fn unknown_axis(declared: &Declared, selector: &Selector, labels: &[&str], columns: bool) -> Diagnostic {
    let name = &declared.name;
    let mut known: Vec<&str> = labels.to_vec();
    if columns && let Some(kind) = declared.kind {
        known.extend(kind.columns.iter().filter(|c| matches!(c.ty, ColumnType::Words(_))).map(|c| c.name));
    }
    let help = match suggest(&selector.label, &known).or_else(|| last_word(&selector.label, &known)) {
        Some(near) => format!("did you mean `{near}`?"),
        None if known.is_empty() => format!("`{name}` has no axes: write `{name}` alone"),
        None => format!("the axes of `{name}` are {}", known.join(", ")),
    };
    Diagnostic::new(Code::UnknownPoint, selector.span, format!("`{name}` has no axis called `{}`", selector.label))
        .label("unknown axis")
        .related(declared.name_span, "declared here")
        .help(help)
}

/// `cc[loss = l2]`. `written` is the value before params were filled in.
pub fn unknown_value(declared: &Declared, selector: &Selector, written: &str, names: &[&str]) -> Diagnostic {
    let help = match suggest(&selector.value, names) {
        _ if written != selector.value && names.contains(&written) => {
            let value = &selector.value;
            format!("`{written}` is a param here, and has the value {value}: give the param another name")
        }
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("the values of `{}` are {}", selector.label, names.join(", ")),
    };
    Diagnostic::new(
        Code::UnknownPoint,
        selector.value_span,
        format!("`{}` has no point with {} = {}", declared.name, selector.label, selector.value),
    )
    .label("no such value on this axis")
    .related(declared.name_span, "declared here")
    .help(help)
}

fn last_word(label: &str, known: &[&str]) -> Option<String> {
    known.iter().find(|k| k.rsplit('.').next() == Some(label)).map(|k| k.to_string())
}
