//! Insertions in strings.

use crate::lang::diagnostic::{Code, Diagnostic, suggest};
use crate::lang::source::Span;

/// `"norm-{dept}.svg"`.
pub fn unknown_insertion(label: &str, axes: &[&str], params: &[&str], span: Span) -> Diagnostic {
    let known: Vec<&str> = params.iter().chain(axes).copied().collect();
    let help = match suggest(label, &known) {
        Some(near) => format!("did you mean `{{{near}}}`?"),
        None if known.is_empty() => {
            "only params and axes can be inserted, and there are none here; `{{` writes a brace".to_string()
        }
        None => format!("only params and axes can be inserted: {}; `{{{{` writes a brace", known.join(", ")),
    };
    Diagnostic::new(Code::UnknownName, span, format!("`{label}` is no param and no axis of this declaration"))
        .label("cannot be inserted")
        .help(help)
}
