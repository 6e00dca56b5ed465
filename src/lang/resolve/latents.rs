//! Latents as they are chosen: classes, lists, forms; and the lists of entries and prompts of the steps that use them.

use super::query::has_latents;
use super::reader::{Reader, dotted};
use super::typed::{Node, StepRef, Typed};
use crate::lang::diagnostic::{Code, Diagnostic, suggest};
use crate::lang::schema::{Column, ColumnType, Type, Unit, Variant, article};
use crate::lang::syntax::tree::{Entry, Reference, Value, ValueKind};

/// Kinds whose rows are one a latent.
const MEASURES: &[&str] = &["classify", "scaling"];

impl Reader<'_> {
    pub(super) fn latents(&mut self, value: &Value, ty: &Type, what: &str) -> Option<Typed> {
        let (all, forms) = (matches!(ty, Type::Latents), ty.variants());
        match &value.kind {
            ValueKind::List(entries) => {
                let number = Type::Whole { low: 0, high: u64::from(u32::MAX) };
                let nodes: Vec<Option<Node>> =
                    entries.iter().map(|e| self.read(&number, &e.value, &format!("an entry of {what}"))).collect();
                if nodes.is_empty() {
                    return self.wrong_type(ty, value, what);
                }
                nodes.into_iter().collect::<Option<Vec<Node>>>().map(Typed::List)
            }
            ValueKind::Call { .. } => self.variant(value, forms, ty, what).map(Typed::Call),
            ValueKind::Reference(reference) => {
                let word = self.bare_word(value);
                if all && word == Some("all") {
                    return Some(Typed::Word("all"));
                }
                let declared = self.scope.lookup(self.module, &reference.path.parts).is_some();
                match word {
                    Some(_) if declared => self.class(value, all, ty, what),
                    // A word that is no name: a form, or a misspelled one.
                    Some(word)
                        if forms.iter().any(|f| f.word == word) || suggest(word, words(forms, all)).is_some() =>
                    {
                        self.variant(value, forms, ty, what).map(Typed::Call)
                    }
                    _ => self.class(value, all, ty, what),
                }
            }
            _ => self.wrong_type(ty, value, what),
        }
    }

    pub(super) fn latent_column(&mut self, value: &Value, ty: &Type, what: &str) -> Option<Typed> {
        let ValueKind::Reference(reference) = &value.kind else { return self.wrong_type(ty, value, what) };
        let (step, column) = self.measured(reference, value, what)?;
        Some(Typed::LatentColumn(step, column))
    }

    pub(super) fn latent_test(&mut self, value: &Value, ty: &Type, what: &str) -> Option<Typed> {
        let ValueKind::Comparison { left, operator, right, .. } = &value.kind else {
            return self.wrong_type(ty, value, what);
        };
        let (inner, absolute): (&Value, bool) = match &left.kind {
            ValueKind::Call { name, arguments } if dotted(name) == "abs" && arguments.len() == 1 => {
                (&arguments[0].value, true)
            }
            _ => (left, false),
        };
        let ValueKind::Reference(reference) = &inner.kind else { return self.wrong_type(ty, inner, what) };
        let found = self.measured(reference, inner, what);
        let number = Type::Number { low: f64::NEG_INFINITY, high: f64::INFINITY };
        let value = self.read(&number, right, what)?.number()?;
        let (step, column) = found?;
        Some(Typed::LatentTest { step, column, absolute, operator: *operator, value })
    }

    /// The step and the numeric column of a dotted word such as `nu.rank`.
    fn measured(&mut self, reference: &Reference, value: &Value, what: &str) -> Option<(StepRef, &'static str)> {
        let (step, member) = self.address(reference, value.span, MEASURES)?;
        let declared = self.scope.get(step.target);
        let (kind, name, place) = (declared.kind?, declared.name.clone(), declared.name_span);
        if !has_latents(kind) {
            let message = format!("{what} needs a row a latent, and `{name}` is {} {}", article(kind.word), kind.word);
            let diagnostic = Diagnostic::new(Code::WrongKind, self.span(value.span), message)
                .label(format!("{} {}", article(kind.word), kind.word))
                .related(place, "declared here")
                .help("name a column of a `classify` or `scaling` step, such as `nu.rank` or `classes.delta_norm`");
            self.report(diagnostic);
            return None;
        }
        let numeric: Vec<&'static Column> = kind
            .columns
            .iter()
            .filter(|c| matches!(c.ty, ColumnType::Real | ColumnType::Whole) && c.name != "latent")
            .collect();
        let Some(member) = member else {
            let names: Vec<&str> = numeric.iter().map(|c| c.name).collect();
            let diagnostic =
                Diagnostic::new(Code::WrongType, self.span(value.span), format!("{what} takes one column of `{name}`"))
                    .label("which column?")
                    .help(format!(
                        "write `{name}.{}`, or another of {}",
                        names.first().unwrap_or(&""),
                        names.join(" ")
                    ));
            self.report(diagnostic);
            return None;
        };
        let word = dotted(&member);
        if let Some(column) = numeric.iter().find(|c| c.name == word) {
            return Some((step, column.name));
        }
        let help = match suggest(&word, numeric.iter().map(|c| c.name)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("its numbers are {}", numeric.iter().map(|c| c.name).collect::<Vec<_>>().join(" ")),
        };
        let message = match kind.column(&word) {
            Some(_) => format!("`{name}.{word}` holds no numbers to order latents by"),
            None => format!("`{name}` has no column called `{word}`"),
        };
        let diagnostic =
            Diagnostic::new(Code::UnknownColumn, self.span(member.span), message).label("no such number").help(help);
        self.report(diagnostic);
        None
    }

    pub(super) fn how_many(&mut self, value: &Value, ty: &Type, what: &str) -> Option<Typed> {
        use crate::lang::syntax::tree::Suffix;
        if let ValueKind::Quantity(quantity) = &value.kind
            && quantity.suffix == Some(Suffix::Percent)
        {
            let share = self.share(value, ty, what)?;
            if share == 0.0 {
                return self.out_of_range(value, ty, what, "must be over 0%");
            }
            return Some(Typed::Number(share));
        }
        self.whole(value, 1, u64::from(u32::MAX), ty, what).map(Typed::Whole)
    }

    /// Entries with keys: their labels, or what they are called. A value that is no list is its one entry; so is a list of numbers
    /// where latents are meant.
    pub(super) fn entries(&mut self, value: &Value, inner: &Type, what: &str) -> Option<Typed> {
        let single = [Entry { label: None, value: value.clone() }];
        let entries: &[Entry] = match &value.kind {
            ValueKind::List(entries) => entries,
            _ => &single,
        };
        let mut found: Vec<(String, Node)> = Vec::new();
        let mut whole = !entries.is_empty();
        if !whole {
            let message = format!("{what} is empty");
            let diagnostic = Diagnostic::new(Code::WrongType, self.span(value.span), message)
                .label("nothing in it")
                .help(format!("each entry takes {}", inner.describe()));
            self.report(diagnostic);
        }
        for entry in entries {
            let Some(node) = self.read(inner, &entry.value, &format!("an entry of {what}")) else {
                whole = false;
                continue;
            };
            let (key, place) = match &entry.label {
                Some(label) => (label.text.clone(), label.span),
                None => (key(&node), entry.value.span),
            };
            if found.iter().any(|(known, _)| *known == key) {
                let span = self.span(place);
                self.report(
                    Diagnostic::new(Code::DefinedTwice, span, format!("two entries of {what} are called `{key}`"))
                        .label("the same name")
                        .help(format!("label one of them: `other = {}`", node.text)),
                );
                whole = false;
                continue;
            }
            found.push((key, node));
        }
        whole.then_some(Typed::Entries(found))
    }

    pub(super) fn one_or_more(&mut self, value: &Value, inner: &Type, ty: &Type, what: &str) -> Option<Typed> {
        if let ValueKind::List(entries) = &value.kind {
            if entries.is_empty() {
                return self.wrong_type(ty, value, what);
            }
            return self.list(value, inner, ty, what).map(Typed::List);
        }
        Some(Typed::List(vec![self.read(inner, value, what)?]))
    }

    pub(super) fn prompts(&mut self, value: &Value, texts: bool, ty: &Type, what: &str) -> Option<Typed> {
        let count = Type::Amount { units: &[Unit::Prompts], low: 1.0 };
        match &value.kind {
            ValueKind::Portion { amount, of } => {
                let amount = self.read(&count, amount, what);
                let of = self.read(&Type::Step(&["corpus"]), of, what);
                let Typed::Step(of) = of?.value else { return None };
                Some(Typed::Prompts { count: amount?.whole()?, of: Some(of) })
            }
            ValueKind::Quantity(_) => {
                Some(Typed::Prompts { count: self.read(&count, value, what)?.whole()?, of: None })
            }
            ValueKind::List(_) | ValueKind::Text(_) if texts => self.one_or_more(value, &Type::Text, ty, what),
            _ => self.wrong_type(ty, value, what),
        }
    }
}

fn words(forms: &'static [Variant], all: bool) -> Vec<&'static str> {
    forms.iter().map(|f| f.word).chain(all.then_some("all")).collect()
}

/// What an entry without a label is called.
fn key(node: &Node) -> String {
    match &node.value {
        Typed::Call(call) => call.word.to_string(),
        Typed::Word(word) => word.to_string(),
        Typed::Class(_, class) => class.clone(),
        _ => node.text.clone(),
    }
}
