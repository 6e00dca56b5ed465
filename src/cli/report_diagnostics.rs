//! Prints diagnostics in the format that was asked for.

use std::io::IsTerminal;

use super::Format;
use crate::lang::diagnostic::Diagnostic;
use crate::lang::diagnostic::render::{self, Paper};
use crate::lang::source::Sources;

/// Prints every diagnostic of one file and, for people, a summary: mistakes to standard error, JSON to standard output.
pub fn report(diagnostics: &[Diagnostic], sources: &Sources, path: &str, format: Format) {
    match format {
        Format::Human => {
            let paper = paper();
            for diagnostic in diagnostics {
                tell!("{}", render::human(diagnostic, sources, paper));
            }
            if !diagnostics.is_empty() {
                tell!("{}", render::summary(diagnostics, path));
            }
        }
        Format::Short => {
            for diagnostic in diagnostics {
                say!("{}", render::short(diagnostic, sources));
            }
        }
        Format::Json => say!("{}", render::json([(diagnostics, sources)])),
    }
}

/// Colour only where a person reads it and has not asked for none.
fn paper() -> Paper {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
    let terminal = std::io::stderr().is_terminal();
    let dumb = std::env::var_os("TERM").is_some_and(|v| v == "dumb");
    let measured = || terminal_size::terminal_size_of(std::io::stderr()).map(|(width, _)| usize::from(width.0));
    let told = std::env::var("COLUMNS").ok().and_then(|w| w.parse().ok());
    let width = told.or_else(measured).unwrap_or(Paper::PLAIN.width);
    Paper { colour: terminal && !refused && !dumb, width }
}
