//! From text to tree, with every syntax mistake of the file.

use pest::Parser as _;

use super::brackets::{Balanced, balance};
use super::builder::Builder;
use super::tree::File;
use crate::lang::diagnostic::{Code, Diagnostic};
use crate::lang::source::{FileId, Span};

/// The newest edition of the language that this program reads.
pub const EDITION: u32 = 1;

/// The grammar; the file is made to be read.
#[derive(pest_derive::Parser)]
#[grammar = "../grammar/xd.pest"]
pub(super) struct Grammar;

/// Reads a file. Never fails: what cannot be read is reported and stands in the tree as `Broken`, so that the checks
/// after this one pass over it in silence. The edition line is checked here too.
pub fn parse(file: FileId, text: &str) -> (File, Vec<Diagnostic>) {
    let mut balanced = match balance(file, text) {
        Ok(balanced) => balanced,
        Err(diagnostic) => return (File::default(), vec![diagnostic]),
    };
    let found = std::mem::take(&mut balanced.diagnostics);
    let (tree, mut diagnostics) = read(file, &balanced);
    diagnostics.extend(found);
    diagnostics.sort_by_key(|d| (d.span.start, d.span.end));
    (tree, diagnostics)
}

fn read(file: FileId, balanced: &Balanced) -> (File, Vec<Diagnostic>) {
    match Grammar::parse(Rule::file, &balanced.text) {
        Ok(mut pairs) => match pairs.next() {
            Some(pair) => Builder::new(file, balanced).file(pair),
            None => (File::default(), Vec::new()),
        },
        // The catch-all rules read anything whose brackets match, so this is a place that was not thought of.
        Err(error) => {
            let at = match error.location {
                pest::error::InputLocation::Pos(at) | pest::error::InputLocation::Span((at, _)) => {
                    balanced.original(at)
                }
            };
            let span = Span::new(file, at, at);
            (File::default(), vec![Diagnostic::new(Code::Unreadable, span, "this cannot be read from here on")])
        }
    }
}
