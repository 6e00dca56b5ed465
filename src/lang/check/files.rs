//! Files that are not there.

use crate::lang::diagnostic::{Code, Diagnostic, suggest};
use crate::lang::source::Span;

/// A path that leads nowhere, or to something else.
pub fn missing(what: &str, path: &str, why: &str, span: Span) -> Diagnostic {
    Diagnostic::new(Code::FileMissing, span, format!("there is no {what} at `{path}`: {why}"))
        .label("cannot be read")
        .help("paths are relative to the file that writes them")
}

/// Files that are there and cannot be used.
pub fn unusable(what: &str, path: &str, why: &str, span: Span) -> Diagnostic {
    Diagnostic::new(Code::Unusable, span, format!("the {what} at `{path}` cannot be used: {why}"))
        .label("cannot be used")
        .help("docs/formats.md tells what is read of other projects' files, and what is not")
}

/// `builtin("shakespere")`.
pub fn unknown_builtin(name: &str, known: &[String], span: Span) -> Diagnostic {
    let help = match suggest(name, known) {
        Some(near) => format!("did you mean `{near}`?"),
        None if known.is_empty() => "this version of xd ships no text; use `text(\"file.txt\")`".to_string(),
        None => format!("xd ships {}", known.join(", ")),
    };
    Diagnostic::new(Code::UnknownName, span, format!("xd ships no text called `{name}`"))
        .label("unknown text")
        .help(help)
}
