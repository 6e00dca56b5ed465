//! What went wrong on a line that the grammar could not read, in words that teach.
//!
//! The line is parsed a second time, alone and strictly; the furthest place the parser reached is where the mistake is.
//! What stands there tells which habit of another language led to it.

use std::ops::Range;

use pest::Parser as _;
use pest::error::InputLocation;
use pest::iterators::Pair;

use super::brackets::HOLE;
use super::habit::*;
use super::parser::{Grammar, Rule};
use super::reader::*;
use super::tree::{Name, Path, Suffix};
use crate::lang::diagnostic::{Code, Diagnostic};
use crate::lang::source::Span;

/// What the broken piece was meant to be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Place {
    Edition,
    Import,
    Declaration,
    Field,
    Entry,
    Selector,
}

impl Place {
    fn rule(self) -> Rule {
        match self {
            Place::Edition => Rule::only_edition,
            Place::Import => Rule::only_import,
            Place::Declaration => Rule::only_declaration,
            Place::Field => Rule::only_field,
            Place::Entry => Rule::only_entry,
            Place::Selector => Rule::only_selector,
        }
    }

    pub(super) fn form(self) -> &'static str {
        match self {
            Place::Edition => "the first line is `xd 1`",
            Place::Import => "an import is `use \"lib/chat.xd\" as chat`",
            Place::Declaration => "a declaration is `kind name = value`, or `kind name { .. }` with one field a line",
            Place::Field => "a field is `name = value`, one a line, or `name { .. }`",
            Place::Entry => "entries are values with commas between them; a name is given as `name = value`",
            Place::Selector => "points are chosen by axis: `cc[loss = l1, train.seed = 0]`",
        }
    }
}

/// A mistake with its place inside the broken piece.
pub struct Found {
    pub from: usize,
    pub to: usize,
    pub code: Code,
    pub message: String,
    pub label: String,
    pub help: Option<String>,
}

impl Found {
    pub(super) fn new(
        range: Range<usize>,
        message: impl Into<String>,
        label: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        Found {
            from: range.start,
            to: range.end,
            code: Code::Unreadable,
            message: message.into(),
            label: label.into(),
            help: Some(help.into()),
        }
    }
}

/// What a line at the top of the file was meant to be.
pub fn item_place(typed: &str) -> Place {
    match words(typed).0 {
        "xd" => Place::Edition,
        "use" => Place::Import,
        _ => Place::Declaration,
    }
}

/// The places of kind and name, when a broken declaration still begins with them.
pub fn head(typed: &str) -> Option<(Range<usize>, Range<usize>)> {
    let (kind, name) = words(typed);
    if kind.is_empty() || name.is_empty() || structural(name) || foreign_statement(kind).is_some() {
        return None;
    }
    let start = typed[kind.len()..].find(|c| c != ' ' && c != '\t')? + kind.len();
    Some((0..kind.len(), start..start + name.len()))
}

/// The block that a broken declaration opens, read leniently.
pub fn block(typed: &str) -> Option<Pair<'_, Rule>> {
    Grammar::parse(Rule::block, typed).ok()?.next()
}

/// The number as typed with its suffix applied; `None` when it is not finite. `50M` is 5e7 and `50%` is 0.5, exactly.
pub fn number(digits: &str, suffix: Option<Suffix>) -> Option<f64> {
    let plain = digits.replace('_', "");
    let shift = match suffix {
        Some(Suffix::Thousand) => 3,
        Some(Suffix::Million) => 6,
        Some(Suffix::Billion) => 9,
        Some(Suffix::Trillion) => 12,
        Some(Suffix::Percent) => -2,
        Some(Suffix::Times) | None => 0,
    };
    let value = match plain.split_once(['e', 'E']) {
        None => format!("{plain}e{shift}").parse::<f64>(),
        Some((mantissa, exponent)) => {
            let exponent = exponent.parse::<i64>().ok()?.checked_add(shift)?;
            format!("{mantissa}e{exponent}").parse()
        }
    };
    value.ok().filter(|v| v.is_finite())
}

/// A word glued to a number that is no multiplier.
pub fn glued_word(digits: &str, word: &str, span: Span, has_unit: bool) -> Diagnostic {
    let known = |m: &str| format!("multipliers are `K`, `M`, `B` and `T`, in upper case: {digits}{m}");
    let begins = word.chars().next().unwrap_or(' ');
    let units = ["tokens", "token", "steps", "step", "epochs", "epoch", "prompts", "prompt"];
    let help = if let Some(unit) = units.iter().find(|u| word.ends_with(**u)) {
        let multiplier = word[..word.len() - unit.len()].to_uppercase();
        let plural = if unit.ends_with('s') { unit.to_string() } else { format!("{unit}s") };
        format!("put a space before the unit: `{digits}{multiplier} {plural}`")
    } else {
        match (word, begins) {
            ("k" | "m" | "b" | "t", _) => known(&word.to_uppercase()),
            ("g" | "G" | "bn" | "Bn", _) => format!("a billion is `B`: {digits}B"),
            ("mm" | "mil" | "mln", _) => format!("a million is `M`: {digits}M"),
            ("X", _) => format!("times the width is a lower-case `x`: {digits}x"),
            ("e" | "E", _) => format!("an exponent needs its digits: {digits}e-4"),
            (_, 'x' | 'o') if digits == "0" => "numbers are written in base ten".to_string(),
            ("s" | "h" | "min" | "ms", _) => "lengths are counted in tokens, steps or epochs, not in time".to_string(),
            _ => {
                "glued to a number stand `K`, `M`, `B`, `T`, `x` (times the width) or `%`; a unit follows after a space"
                    .to_string()
            }
        }
    };
    let unit = if has_unit { " before the unit" } else { "" };
    Diagnostic::new(Code::BadMultiplier, span, format!("`{word}` is not a multiplier"))
        .label(format!("glued to {digits}{unit}"))
        .help(help)
}

/// Whether the piece begins with a statement of another language.
pub fn is_foreign(typed: &str) -> bool {
    foreign_statement(word(typed)).is_some()
}

/// `if x { .. }` and the like, which have the shape of a declaration.
pub fn foreign_kind(kind: &Name) -> Option<Diagnostic> {
    let help = foreign_statement(&kind.text)?;
    let message = format!("`{}` is a word of another language", kind.text);
    Some(Diagnostic::new(Code::Unreadable, kind.span, message).label("not part of xd").help(help))
}

/// `None`, `True` and the like, which are words of other languages.
pub fn foreign_word(path: &Path) -> Option<Diagnostic> {
    let [name] = path.parts.as_slice() else { return None };
    let word = name.text.as_str();
    let (message, help) = match word {
        "None" | "null" | "nil" | "NULL" | "Null" => (
            format!("`{word}` is not a value of xd"),
            "leave the line out to keep the default, or write `none` where the field takes it",
        ),
        "True" | "TRUE" => (format!("`{word}` is written in lower case"), "write `true`"),
        "False" | "FALSE" => (format!("`{word}` is written in lower case"), "write `false`"),
        "inf" | "nan" | "NaN" | "Infinity" => {
            (format!("`{word}` is not a value of xd"), "numbers are finite; write the bound that you mean")
        }
        _ => return None,
    };
    Some(Diagnostic::new(Code::Unreadable, name.span, message).label("a word of another language").help(help))
}

/// Why the piece cannot be read. `None` when the reason has been reported already.
pub fn explain(typed: &str, place: Place) -> Option<Found> {
    if typed.as_bytes().contains(&HOLE) {
        return None;
    }
    let at = furthest(typed, place);
    let found = comment_of_another_language(typed, at)
        .or_else(|| empty_brackets(typed, at, place))
        .or_else(|| axis(typed, at, place))
        .or_else(|| statement(typed, place))
        .or_else(|| edition(typed, place))
        .or_else(|| head_of_declaration(typed, at, place))
        .or_else(|| selector(typed, place))
        .or_else(|| punctuation(typed, at, place))
        .or_else(|| arithmetic(typed, at))
        .or_else(|| quotes(typed, at))
        .or_else(|| look_alike(typed, at))
        .or_else(|| condition(typed, at))
        .or_else(|| number_form(typed, at))
        .or_else(|| nothing_left(typed, at, place))
        .or_else(|| reserved(typed, at))
        .or_else(|| side_by_side(typed, at, place))
        .unwrap_or_else(|| unexpected(typed, at, place));
    Some(found)
}

/// The furthest place that the strict parser reached.
fn furthest(typed: &str, place: Place) -> usize {
    match Grammar::parse(place.rule(), typed) {
        Ok(_) => 0,
        Err(error) => match error.location {
            InputLocation::Pos(at) | InputLocation::Span((at, _)) => {
                let gap = typed[at..].len() - typed[at..].trim_start_matches([' ', '\t']).len();
                at + gap
            }
        },
    }
}
