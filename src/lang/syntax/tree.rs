//! The tree of one file: what was typed, with spans; no meaning yet.

use crate::lang::source::Span;

/// A word with its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Name {
    pub text: String,
    pub span: Span,
}

/// A file: the edition line, imports and declarations in the order of the text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct File {
    /// The `##` lines at the head, when an empty line or the edition line parts them from the first declaration.
    pub docs: Option<String>,
    /// `xd 1`; `None` where the line is missing (the parser warns of that itself).
    pub edition: Option<Edition>,
    pub uses: Vec<Use>,
    pub declarations: Vec<Declaration>,
}

/// `xd 1`.
#[derive(Clone, Debug, PartialEq)]
pub struct Edition {
    pub number: u32,
    pub span: Span,
}

/// `use "lib/chat.xd" as chat`.
#[derive(Clone, Debug, PartialEq)]
pub struct Use {
    pub path: Text,
    pub alias: Name,
    pub span: Span,
}

/// `kind name [for axes] ( = value | { fields } )`.
///
/// A declaration whose head could not be read has no axes and the body `Value(Broken)`: its name is taken, and nothing else
/// of it is known, so nothing that refers to it can be judged.
#[derive(Clone, Debug, PartialEq)]
pub struct Declaration {
    /// The `##` lines above it, joined by newlines, without the marks.
    pub docs: Option<String>,
    pub kind: Name,
    pub name: Name,
    pub axes: Vec<Axis>,
    pub body: Body,
    pub span: Span,
}

/// What follows the name.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    Value(Value),
    Fields(Vec<Field>),
}

/// One axis: `loss in [..]`, or the zip `(loss, init.norm) in [(..), ..]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    /// One path, or several when zipped.
    pub fields: Vec<Path>,
    pub values: Value,
    pub span: Span,
}

/// A dotted word: `train.batch`, `nu.rank`.
#[derive(Clone, Debug, PartialEq)]
pub struct Path {
    pub parts: Vec<Name>,
    pub span: Span,
}

/// `path = value`, or `path { fields }`. A field that could not be read is here with the value `Broken`.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    pub path: Path,
    pub body: Body,
    pub span: Span,
}

/// A value with its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Value {
    pub kind: ValueKind,
    pub span: Span,
}

/// The forms a value can take.
#[derive(Clone, Debug, PartialEq)]
pub enum ValueKind {
    /// `50M tokens`, `1e-4`, `32x`, `50%`, `true` is a reference.
    Quantity(Quantity),
    /// `"delta-norm-L{depth}.svg"`.
    Text(Text),
    /// `acts`, `chat.gemma`, `cc[loss = l1, train.seed = 0]`, `truth[loss = l1].recall`.
    Reference(Reference),
    /// `l1(weight = 3e-2)`; the name may be dotted.
    Call { name: Path, arguments: Vec<Entry> },
    /// `[nothing, best = top(50%)]`.
    List(Vec<Entry>),
    /// `(l1, 0.3)`.
    Tuple(Vec<Value>),
    /// `0..3`, `0.4..=0.6`.
    Range { start: Box<Value>, end: Box<Value>, inclusive: bool },
    /// `50M tokens of fineweb`.
    Portion { amount: Box<Value>, of: Box<Value> },
    /// `a < b`; one comparison, never a chain.
    Comparison { left: Box<Value>, operator: Operator, operator_span: Span, right: Box<Value> },
    /// Something unreadable that has been reported already; checks pass over it in silence.
    Broken,
}

/// An entry of a list or an argument of a call, labelled or not.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub label: Option<Name>,
    pub value: Value,
}

/// A number as written.
#[derive(Clone, Debug, PartialEq)]
pub struct Quantity {
    /// The value with the multiplier applied: `50M` is 5e7, `50%` is 0.5, `32x` is 32.
    pub value: f64,
    /// The digits as typed, without multiplier, suffix and unit.
    pub digits: String,
    pub suffix: Option<Suffix>,
    pub unit: Option<Name>,
}

/// What is glued to the digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suffix {
    Thousand,
    Million,
    Billion,
    Trillion,
    /// `32x`: times the width.
    Times,
    Percent,
}

/// A quoted string: literal pieces and `{param}` pieces.
#[derive(Clone, Debug, PartialEq)]
pub struct Text {
    pub pieces: Vec<Piece>,
    pub span: Span,
}

/// A piece of a string.
#[derive(Clone, Debug, PartialEq)]
pub enum Piece {
    Literal(String),
    /// `{depth}` or `{train.seed}`: a param or an axis.
    Insert(Path),
}

/// A name with optional selectors and members: `cc[loss = l1].l0`.
#[derive(Clone, Debug, PartialEq)]
pub struct Reference {
    /// Everything before the bracket; without a bracket, the whole dotted word.
    pub path: Path,
    /// `[loss = l1, train.seed = 0]`; `None` without brackets.
    pub selectors: Option<Vec<Selector>>,
    /// What follows the bracket: `.recall`.
    pub member: Option<Path>,
}

/// `loss = l1` in an address.
#[derive(Clone, Debug, PartialEq)]
pub struct Selector {
    pub path: Path,
    pub value: Value,
}

/// Comparison operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Operator {
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    Equal,
    NotEqual,
}

impl Operator {
    /// The operator as typed.
    pub fn symbol(self) -> &'static str {
        match self {
            Operator::Less => "<",
            Operator::LessEqual => "<=",
            Operator::Greater => ">",
            Operator::GreaterEqual => ">=",
            Operator::Equal => "==",
            Operator::NotEqual => "!=",
        }
    }
}
