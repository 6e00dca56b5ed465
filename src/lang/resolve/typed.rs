//! Values after their type has been checked.

use crate::lang::plan::Origin;
use crate::lang::plan::spec::FileRef;
use crate::lang::schema::{Field, Part, Unit};
use crate::lang::source::Span;
use crate::lang::syntax::tree;

use super::scope::DeclId;

/// A value with its place and its origin.
#[derive(Clone, Debug)]
pub struct Node {
    pub value: Typed,
    /// Where it was written; the name of the declaration for a default.
    pub span: Span,
    pub origin: Origin,
    /// As written, in the syntax of the language.
    pub text: String,
}

/// What was meant.
#[derive(Clone, Debug)]
pub enum Typed {
    None,
    Number(f64),
    Whole(u64),
    Truth(bool),
    Word(&'static str),
    Amount {
        value: f64,
        unit: Unit,
    },
    Bounds(f64, f64),
    Text(Template),
    /// The path, and the file it is relative to.
    Path(Template, String),
    Step(StepRef),
    /// `classes.tuned_only`.
    Class(StepRef, String),
    /// `nu.rank`.
    LatentColumn(StepRef, &'static str),
    /// `abs(nu.nu_error) < 0.2`.
    LatentTest {
        step: StepRef,
        column: &'static str,
        absolute: bool,
        operator: tree::Operator,
        value: f64,
    },
    /// Entries with their keys: the label, or what the entry is called.
    Entries(Vec<(String, Node)>),
    Prompts {
        count: u64,
        of: Option<StepRef>,
    },
    List(Vec<Node>),
    Tuple(Vec<Node>),
    Call(Call),
    Portion {
        tokens: u64,
        of: Option<StepRef>,
    },
    Rows(Vec<StepRef>),
    /// Part of a query, read later against the columns of its rows.
    Raw(tree::Value),
}

/// A form with all its arguments, defaults filled in.
#[derive(Clone, Debug)]
pub struct Call {
    pub word: &'static str,
    pub word_span: Span,
    pub arguments: Vec<(&'static Field, Node)>,
    /// Some argument is missing or wrong; it has been reported.
    pub broken: bool,
}

impl Call {
    /// The argument of this name.
    pub fn get(&self, name: &str) -> Option<&Node> {
        self.arguments.iter().find(|(field, _)| field.path == name).map(|(_, node)| node)
    }
}

/// A declaration that is read, at all its points or some.
#[derive(Clone, Debug)]
pub struct StepRef {
    pub target: DeclId,
    pub selectors: Vec<Selector>,
    /// Its other rows of this name, `cc.log`; `None` for its own.
    pub part: Option<&'static Part>,
    /// The address as written.
    pub span: Span,
}

/// `loss = l1` in an address, as text.
#[derive(Clone, Debug)]
pub struct Selector {
    pub label: String,
    /// The short name as written: `l1`, `0`.
    pub value: String,
    pub span: Span,
    pub value_span: Span,
}

/// A string whose axes are not filled in yet.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Template {
    pub pieces: Vec<TemplatePiece>,
}

/// Literal text, or the label of an axis.
#[derive(Clone, Debug, PartialEq)]
pub enum TemplatePiece {
    Literal(String),
    Axis(String, Span),
}

impl Template {
    /// A string without insertions.
    pub fn literal(text: impl Into<String>) -> Self {
        Template { pieces: vec![TemplatePiece::Literal(text.into())] }
    }

    /// The labels that it inserts.
    pub fn inserts(&self) -> impl Iterator<Item = (&str, Span)> {
        self.pieces.iter().filter_map(|piece| match piece {
            TemplatePiece::Axis(label, span) => Some((label.as_str(), *span)),
            TemplatePiece::Literal(_) => None,
        })
    }

    /// The text at a point; `Err` holds the insertion that is no axis of it.
    pub fn render(&self, point: &[(String, String)]) -> Result<String, (String, Span)> {
        let mut text = String::new();
        for piece in &self.pieces {
            match piece {
                TemplatePiece::Literal(literal) => text += literal,
                TemplatePiece::Axis(label, span) => match point.iter().find(|(axis, _)| axis == label) {
                    Some((_, value)) => text += value,
                    None => return Err((label.clone(), *span)),
                },
            }
        }
        Ok(text)
    }
}

impl Node {
    /// Every declaration that the value names.
    pub fn refs<'n>(&'n self, found: &mut Vec<&'n StepRef>) {
        match &self.value {
            Typed::Step(step)
            | Typed::Class(step, _)
            | Typed::LatentColumn(step, _)
            | Typed::LatentTest { step, .. } => found.push(step),
            Typed::Portion { of: Some(step), .. } | Typed::Prompts { of: Some(step), .. } => found.push(step),
            Typed::Entries(entries) => entries.iter().for_each(|(_, n)| n.refs(found)),
            Typed::Rows(steps) => found.extend(steps),
            Typed::List(nodes) | Typed::Tuple(nodes) => nodes.iter().for_each(|n| n.refs(found)),
            Typed::Call(call) => call.arguments.iter().for_each(|(_, n)| n.refs(found)),
            _ => {}
        }
    }

    /// The file reference at a point, when the value is a path.
    pub fn file(&self, point: &[(String, String)]) -> Option<FileRef> {
        match &self.value {
            Typed::Path(template, from) => Some(FileRef { from: from.clone(), path: template.render(point).ok()? }),
            _ => None,
        }
    }

    /// The text at a point, when the value is a string.
    pub fn string(&self, point: &[(String, String)]) -> Option<String> {
        match &self.value {
            Typed::Text(template) => template.render(point).ok(),
            _ => None,
        }
    }

    /// The number, whatever its unit.
    pub fn number(&self) -> Option<f64> {
        match self.value {
            Typed::Number(value) | Typed::Amount { value, .. } => Some(value),
            Typed::Whole(value) => Some(value as f64),
            _ => None,
        }
    }

    /// The whole number, whatever its unit.
    pub fn whole(&self) -> Option<u64> {
        match self.value {
            Typed::Whole(value) => Some(value),
            Typed::Amount { value, .. } => Some(value.round() as u64),
            _ => None,
        }
    }

    /// The word.
    pub fn word(&self) -> Option<&'static str> {
        match self.value {
            Typed::Word(word) => Some(word),
            _ => None,
        }
    }

    /// `true` or `false`.
    pub fn truth(&self) -> Option<bool> {
        match self.value {
            Typed::Truth(truth) => Some(truth),
            _ => None,
        }
    }

    /// The ends of a range.
    pub fn bounds(&self) -> Option<(f64, f64)> {
        match self.value {
            Typed::Bounds(low, high) => Some((low, high)),
            _ => None,
        }
    }

    /// The form.
    pub fn call(&self) -> Option<&Call> {
        match &self.value {
            Typed::Call(call) => Some(call),
            _ => None,
        }
    }

    /// The entries of a list.
    pub fn list(&self) -> Option<&[Node]> {
        match &self.value {
            Typed::List(nodes) => Some(nodes),
            _ => None,
        }
    }
}
