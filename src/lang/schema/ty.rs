//! Types of values. A type drives reading, the message when a value does not fit, and the reference.

use super::field::Built;
use super::latents;
use super::unit::Unit;
use super::variant::Variant;
use super::word::Word;

/// What a field or an argument takes.
#[derive(Clone, Copy, Debug)]
pub enum Type {
    /// A real number in `low..=high`.
    Number { low: f64, high: f64 },
    /// A whole number in `low..=high`, written without a unit.
    Whole { low: u64, high: u64 },
    /// A share of one: `20%` or `0.2`.
    Share,
    /// A number with one of these units, at least `low`.
    Amount { units: &'static [Unit], low: f64 },
    /// `true` or `false`.
    Truth,
    /// One of these bare words.
    Word(&'static [Word]),
    /// A quoted string.
    Text,
    /// The id of a token, or its text in quotes.
    Token,
    /// A quoted file, folder or glob, relative to the file that writes it.
    Path,
    /// A range of real numbers within `low..=high`: `0.9..1.0`.
    Bounds { low: f64, high: f64 },
    /// The name or address of a declaration of one of these kinds.
    Step(&'static [&'static str]),
    /// A name as in `Step`, or one of these forms written in place.
    StepOr(&'static [&'static str], &'static [Variant]),
    /// One of these forms.
    Variant(&'static [Variant]),
    /// `name.class` of a classify step; the word `all` where it is allowed.
    Class { all: bool },
    /// Latents of a crosscoder: `all`, a class, a list of their numbers, or a form of [`latents::FORMS`].
    Latents,
    /// The same without `all`, or one of these forms.
    LatentsOr(&'static [Variant]),
    /// `nu.rank`: a numeric column of a step that has a row a latent.
    LatentColumn,
    /// `classes.delta_norm > 0.7`: a comparison of such a column with a number.
    LatentTest,
    /// A count, or a share such as `50%`.
    HowMany,
    /// A list of these, whose entries may have labels; or one of them.
    Entries(&'static Type),
    /// A list of these, or one of them.
    OneOrMore(&'static Type),
    /// `512 prompts of talk`; where `texts` is allowed, also quoted texts.
    Prompts { texts: bool },
    /// `none`, or what the inner type says.
    OrNone(&'static Type),
    /// A list of these.
    List(&'static Type),
    /// So many of these in round brackets.
    Tuple(&'static [Type]),
    /// `50M tokens of fineweb`; without `of` where the activations need no text.
    Portion,
    /// Of tables, plots and expectations: read against the columns of the steps they name.
    Query(Query),
    /// Anything: the type of a param is the type of its default.
    Any,
}

/// The parts of a question to rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Query {
    /// A name, an address or a list of them.
    Rows,
    /// One comparison or a list; all must hold.
    Where,
    /// A list of columns and aggregates, labelled or not.
    Columns,
    /// A column or a list of columns.
    Group,
    /// A column, `descending(column)`, or a list.
    Sort,
    /// One column.
    Column,
    /// A column, `abs(column)`, `largest(..)` or `rank(..)`.
    Quantity,
    /// A quantity, or a list of columns with labels or without.
    Quantities,
    /// `[x = 0..1.1, y = 0..1]`.
    Ranges,
    /// `lowest(100, by = nu_error)`.
    Keep,
    /// `ci95`, `(nu_error_low, nu_error_high)`, `interval`.
    Error,
    /// `[0.1, 0.9]`, `[x = 0.9, y = 0.5]`.
    Lines,
    /// `[y = log]`.
    Scale,
    /// A comparison of two sides.
    Comparison,
    /// `[nu_reconstruction < 0.5, nu_error < 0.2]`.
    Limits,
}

impl Type {
    /// What may be written, in words that stand after "takes": `a number with the unit tokens`.
    pub fn describe(&self) -> String {
        match self {
            Type::Number { low, high } => match (low.is_finite(), high.is_finite()) {
                (true, true) => format!("a number from {} to {}", show(*low), show(*high)),
                (true, false) if *low == 0.0 => "a number of at least 0".to_string(),
                (true, false) => format!("a number of at least {}", show(*low)),
                _ => "a number".to_string(),
            },
            Type::Whole { low, high } => {
                if *high == u64::MAX {
                    format!("a whole number of at least {low}")
                } else {
                    format!("a whole number from {low} to {high}")
                }
            }
            Type::Share => "a share such as `20%`".to_string(),
            Type::Amount { units, .. } => {
                let words: Vec<String> = units
                    .iter()
                    .map(|u| match u {
                        Unit::Bare => "a plain count".to_string(),
                        Unit::Times => "a multiple such as `32x`".to_string(),
                        unit => format!("a number of `{}`", unit.word()),
                    })
                    .collect();
                join(&words, "or")
            }
            Type::Truth => "`true` or `false`".to_string(),
            Type::Word(words) => {
                let words: Vec<String> =
                    words.iter().filter(|w| w.built == Built::Yes).map(|w| format!("`{}`", w.word)).collect();
                join(&words, "or")
            }
            Type::Text => "a quoted string".to_string(),
            Type::Path => "a quoted path".to_string(),
            Type::Token => "a token id such as `128009`, or the text of a token in quotes".to_string(),
            Type::Bounds { low, high } if low.is_infinite() && high.is_infinite() => {
                "a range such as `0.9..1.0`".to_string()
            }
            Type::Bounds { low, high } => {
                format!("a range within {} and {}, such as `0.4..0.6`", show(*low), show(*high))
            }
            Type::Step(kinds) => format!("the name of {}", join(&articled(kinds), "or")),
            Type::StepOr(kinds, variants) => {
                let forms: Vec<String> = built(variants);
                format!("the name of {}, or {}", join(&articled(kinds), "or"), join(&forms, "or"))
            }
            Type::Variant(variants) => {
                let forms: Vec<String> = built(variants);
                join(&forms, "or")
            }
            Type::Class { all: true } => "`all`, or a class such as `classes.tuned_only`".to_string(),
            Type::Class { all: false } => "a class such as `classes.shared`".to_string(),
            Type::Latents | Type::LatentsOr(_) => {
                let all = if matches!(self, Type::Latents) { "`all`, " } else { "" };
                let forms: Vec<String> = built(self.variants());
                format!("{all}a class such as `classes.tuned_only`, latents such as `[12, 40]`, {}", join(&forms, "or"))
            }
            Type::LatentColumn => "a column of a row a latent, such as `nu.rank`".to_string(),
            Type::LatentTest => "a comparison such as `classes.delta_norm > 0.7`".to_string(),
            Type::HowMany => "a count such as `100`, or a share such as `50%`".to_string(),
            Type::Entries(inner) => format!("a list, labelled or not, each entry {}", inner.describe()),
            Type::OneOrMore(inner) => format!("{}, or a list of them", inner.describe()),
            Type::Prompts { texts: false } => "an amount such as `512 prompts of talk`".to_string(),
            Type::Prompts { texts: true } => {
                "quoted texts such as `[\"Hello!\"]`, or an amount such as `8 prompts of talk`".to_string()
            }
            Type::OrNone(inner) => format!("`none`, or {}", inner.describe()),
            Type::List(inner) => format!("a list, each entry {}", inner.describe()),
            Type::Tuple(parts) => {
                let parts: Vec<String> = parts.iter().map(Type::describe).collect();
                format!("({})", parts.join(", "))
            }
            Type::Portion => "a portion such as `50M tokens of fineweb`".to_string(),
            Type::Query(query) => match query {
                Query::Rows => "a name, an address or a list of them",
                Query::Where => "a comparison such as `nu_error < 0.2`, or a list of them",
                Query::Columns => "a list of columns and aggregates",
                Query::Group => "a column or a list of columns",
                Query::Sort => "a column, `descending(column)`, or a list of them",
                Query::Column => "a column",
                Query::Quantity => "a column, `abs(column)`, `largest(..)` or `rank(..)`",
                Query::Quantities => "a column, `abs(column)`, `largest(..)`, `rank(..)`, or a list of columns",
                Query::Ranges => "a list such as `[x = 0..1.1, y = 0..1]`",
                Query::Keep => "`lowest(100, by = column)` or `highest(100, by = column)`",
                Query::Error => "a column, two columns `(low, high)`, or `interval`",
                Query::Lines => "a list of numbers, `mean` or `median`, labelled `x =` or `y =` or not",
                Query::Scale => "a list such as `[y = log]`",
                Query::Limits => "a list such as `[nu_reconstruction < 0.5, nu_error < 0.2]`",
                Query::Comparison => "a comparison such as `mean(fit.fve) > 0.8`",
            }
            .to_string(),
            Type::Any => "any value".to_string(),
        }
    }

    /// The forms that this type knows, also inside lists and `none`.
    pub fn variants(&self) -> &'static [Variant] {
        match self {
            Type::Variant(variants) | Type::StepOr(_, variants) | Type::LatentsOr(variants) => variants,
            Type::Latents => latents::FORMS,
            Type::OrNone(inner) | Type::List(inner) | Type::Entries(inner) | Type::OneOrMore(inner) => inner.variants(),
            _ => &[],
        }
    }

    /// The words that this type knows, also inside lists and `none`.
    pub fn words(&self) -> &'static [Word] {
        match self {
            Type::Word(words) => words,
            Type::OrNone(inner) | Type::List(inner) | Type::Entries(inner) | Type::OneOrMore(inner) => inner.words(),
            _ => &[],
        }
    }
}

/// The forms that can be used, as they are written.
fn built(variants: &[Variant]) -> Vec<String> {
    variants.iter().filter(|v| v.built == Built::Yes).map(|v| format!("`{}`", form(v))).collect()
}

/// A form as it is written: `adam(..)`, or the bare word when nothing has to be said.
fn form(variant: &Variant) -> String {
    if variant.arguments.is_empty() { variant.word.to_string() } else { format!("{}(..)", variant.word) }
}

fn articled(words: &[&str]) -> Vec<String> {
    words.iter().map(|w| format!("{} `{w}`", article(w))).collect()
}

/// `a` or `an`; kinds in the plural take `some`.
pub fn article(word: &str) -> &'static str {
    match word {
        "activations" | "examples" | "layers" | "tokens" | "twins" => "some",
        _ if word.starts_with(['a', 'e', 'i', 'o', 'u']) => "an",
        _ => "a",
    }
}

/// `a`, `a or b`, `a, b or c`.
pub fn join(words: &[String], last: &str) -> String {
    match words {
        [] => String::new(),
        [one] => one.clone(),
        [most @ .., end] => format!("{} {last} {end}", most.join(", ")),
    }
}

fn show(number: f64) -> String {
    format!("{number}")
}
