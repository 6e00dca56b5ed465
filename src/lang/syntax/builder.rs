//! From the grammar's pairs to the tree.

use pest::iterators::Pair;

use super::brackets::Balanced;
use super::mistake::{self, Place};
use super::parser::{EDITION, Rule};
use super::reader;
use super::text;
use super::tree::*;
use crate::lang::diagnostic::{Code, Diagnostic};
use crate::lang::source::{FileId, Span};

/// Walks the pairs of one file and collects what is wrong with them.
pub(super) struct Builder<'t> {
    file: FileId,
    balanced: &'t Balanced,
    diagnostics: Vec<Diagnostic>,
    /// `##` lines that wait for their declaration, with the end of the last one.
    docs: Vec<String>,
    docs_end: usize,
}

impl<'t> Builder<'t> {
    pub fn new(file: FileId, balanced: &'t Balanced) -> Self {
        Builder { file, balanced, diagnostics: Vec::new(), docs: Vec::new(), docs_end: 0 }
    }

    /// The whole file.
    pub fn file(mut self, pair: Pair<'t, Rule>) -> (File, Vec<Diagnostic>) {
        let mut tree = File::default();
        let mut begun = false;
        for pair in pair.into_inner() {
            let start = pair.as_span().start();
            if pair.as_rule() != Rule::EOI && pair.as_rule() != Rule::comment || !self.docs_go_on(start) {
                self.settle_file_docs(&mut tree, &pair, start);
            }
            match pair.as_rule() {
                Rule::comment => self.comment(&pair),
                Rule::edition => self.edition(&mut tree, pair, begun),
                Rule::import => tree.uses.extend(self.import(pair)),
                Rule::declaration => {
                    let docs = self.take_docs();
                    let declaration = self.declaration(pair, docs);
                    match mistake::foreign_kind(&declaration.kind) {
                        Some(diagnostic) => self.diagnostics.push(diagnostic),
                        None => tree.declarations.push(declaration),
                    }
                }
                Rule::broken_item => self.broken_item(&mut tree, pair),
                _ => continue,
            }
            begun |= tree.edition.is_some() || !tree.uses.is_empty() || !tree.declarations.is_empty();
        }
        if tree.edition.is_none() && !self.diagnostics.iter().any(|d| d.code == Code::NewerEdition) {
            let first = self.first_content();
            self.diagnostics.push(
                Diagnostic::new(
                    Code::MissingEdition,
                    first,
                    "this file does not say which edition of the language it is written in",
                )
                .help(format!("begin it with the line `xd {EDITION}`")),
            );
        }
        (tree, self.diagnostics)
    }

    // -- docs --------------------------------------------------------------------------------------------------------

    fn comment(&mut self, pair: &Pair<'t, Rule>) {
        let span = pair.as_span();
        let alone = self.balanced.text[..span.start()]
            .rsplit('\n')
            .next()
            .unwrap_or("")
            .trim_start_matches('\u{FEFF}')
            .trim()
            .is_empty();
        if let Some(line) = span.as_str().strip_prefix("##").filter(|_| alone) {
            self.docs.push(line.strip_prefix(' ').unwrap_or(line).trim_end().to_string());
            self.docs_end = span.end();
        }
    }

    /// No empty line between the last `##` line and this place.
    fn docs_go_on(&self, start: usize) -> bool {
        !self.docs.is_empty() && self.balanced.text[self.docs_end..start].matches('\n').count() < 2
    }

    /// The first `##` block belongs to the file when an empty line or the edition line follows it.
    fn settle_file_docs(&mut self, tree: &mut File, next: &Pair<'t, Rule>, start: usize) {
        let at_head = tree.uses.is_empty() && tree.declarations.is_empty() && tree.docs.is_none();
        let apart = !self.docs_go_on(start) || next.as_rule() == Rule::edition;
        if at_head && apart && !self.docs.is_empty() {
            tree.docs = self.take_docs();
        }
    }

    fn take_docs(&mut self) -> Option<String> {
        let docs = std::mem::take(&mut self.docs);
        (!docs.is_empty()).then(|| docs.join("\n"))
    }

    // -- items -------------------------------------------------------------------------------------------------------

    fn edition(&mut self, tree: &mut File, pair: Pair<'t, Rule>, begun: bool) {
        let span = self.span(&pair);
        let digits = pair.into_inner().find(|p| p.as_rule() == Rule::edition_number);
        let number = digits.and_then(|p| p.as_str().parse::<u32>().ok()).unwrap_or(u32::MAX);
        if let Some(first) = &tree.edition {
            self.diagnostics.push(
                Diagnostic::new(Code::SetTwice, span, "the edition is set twice")
                    .label("second edition line")
                    .related(first.span, "first set here")
                    .help("keep one line, at the top of the file"),
            );
            return;
        }
        if begun {
            self.diagnostics.push(
                Diagnostic::new(Code::Unreadable, span, "the edition line must be the first of the file")
                    .label("too late")
                    .help("move it above everything but comments"),
            );
        }
        if number > EDITION {
            self.diagnostics.push(
                Diagnostic::new(
                    Code::NewerEdition,
                    span,
                    format!("this file is written in an edition that this xd does not know (it knows {EDITION})"),
                )
                .label("newer than this program")
                .help("install a newer xd, or ask the author for a file of edition 1"),
            );
        } else if number == 0 {
            self.diagnostics.push(
                Diagnostic::new(Code::Unreadable, span, "there is no edition 0")
                    .label("editions count from 1")
                    .help("write `xd 1`"),
            );
        }
        tree.edition = Some(Edition { number, span });
    }

    fn import(&mut self, pair: Pair<'t, Rule>) -> Option<Use> {
        let span = self.span(&pair);
        let mut path = None;
        let mut alias = None;
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::text => path = self.text(&part),
                Rule::name => alias = Some(self.name(&part)),
                _ => {}
            }
        }
        Some(Use { path: path?, alias: alias?, span })
    }

    fn declaration(&mut self, pair: Pair<'t, Rule>, docs: Option<String>) -> Declaration {
        let span = self.span(&pair);
        let nothing = Name { text: String::new(), span };
        let mut tree = Declaration {
            docs,
            kind: nothing.clone(),
            name: nothing,
            axes: Vec::new(),
            body: Body::Fields(Vec::new()),
            span,
        };
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::kind => tree.kind = self.name(&part),
                Rule::name => tree.name = self.name(&part),
                Rule::axes => {
                    tree.axes = part.into_inner().filter(|p| p.as_rule() == Rule::axis).map(|p| self.axis(p)).collect()
                }
                Rule::value => tree.body = Body::Value(self.value(part)),
                Rule::block => tree.body = Body::Fields(self.block(part)),
                _ => {}
            }
        }
        tree
    }

    fn axis(&mut self, pair: Pair<'t, Rule>) -> Axis {
        let span = self.span(&pair);
        let mut axis = Axis { fields: Vec::new(), values: Value { kind: ValueKind::Broken, span }, span };
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::path => axis.fields.push(self.path(part)),
                Rule::zip => axis.fields.extend(part.into_inner().map(|p| self.path(p)).collect::<Vec<_>>()),
                Rule::operand => axis.values = self.operand(part),
                _ => {}
            }
        }
        axis
    }

    /// A line that is no declaration: reported, and kept as far as its first two words can be read.
    fn broken_item(&mut self, tree: &mut File, pair: Pair<'t, Rule>) {
        let span = self.span(&pair);
        let typed = pair.as_str();
        let docs = self.take_docs();
        self.report(&pair, mistake::item_place(typed));
        if typed.starts_with("xd") && reader::words(typed).0 == "xd" {
            tree.edition.get_or_insert(Edition { number: EDITION, span });
            return;
        }
        let start = pair.as_span().start();
        if let Some((kind, name)) = mistake::head(typed) {
            let word = |range: std::ops::Range<usize>| Name {
                text: typed[range.clone()].to_string(),
                span: self.place(start + range.start, start + range.end),
            };
            let (kind, name) = (word(kind), word(name));
            if kind.text == "use" {
                return;
            }
            tree.declarations.push(Declaration {
                docs,
                kind,
                name,
                axes: Vec::new(),
                body: Body::Value(Value { kind: ValueKind::Broken, span }),
                span,
            });
        }
        if let Some(block) = typed.find('{').filter(|_| !mistake::is_foreign(typed)) {
            self.inner_mistakes(&self.balanced.text[start + block..start + typed.len()], start + block);
        }
    }

    /// Reports the mistakes inside the block of a declaration whose head is broken.
    fn inner_mistakes(&mut self, typed: &'t str, start: usize) {
        let Some(pair) = mistake::block(typed) else { return };
        let mut inner = Builder::new(self.file, self.balanced);
        inner.shifted_block(pair, start);
        self.diagnostics.append(&mut inner.diagnostics);
    }

    fn shifted_block(&mut self, pair: Pair<'t, Rule>, start: usize) {
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::broken_field => {
                    let at = start + part.as_span().start();
                    let found = mistake::explain(part.as_str(), Place::Field);
                    self.push_mistake(found, at, part.as_str().len());
                }
                Rule::field | Rule::block => self.shifted_block(part, start),
                _ => {}
            }
        }
    }

    // -- blocks and values -------------------------------------------------------------------------------------------

    fn block(&mut self, pair: Pair<'t, Rule>) -> Vec<Field> {
        let mut fields = Vec::new();
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::field => fields.push(self.field(part)),
                Rule::broken_field => fields.extend(self.broken_field(part)),
                _ => {}
            }
        }
        fields
    }

    fn field(&mut self, pair: Pair<'t, Rule>) -> Field {
        let span = self.span(&pair);
        let mut field = Field {
            path: Path { parts: Vec::new(), span },
            body: Body::Value(Value { kind: ValueKind::Broken, span }),
            span,
        };
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::path => field.path = self.path(part),
                Rule::value => field.body = Body::Value(self.value(part)),
                Rule::block => field.body = Body::Fields(self.block(part)),
                _ => {}
            }
        }
        field
    }

    fn broken_field(&mut self, pair: Pair<'t, Rule>) -> Option<Field> {
        self.report(&pair, Place::Field);
        let span = self.span(&pair);
        let typed = pair.as_str();
        let start = pair.as_span().start();
        let mut parts = Vec::new();
        let mut at = 0;
        for word in reader::leading_path(typed).split('.') {
            if word.is_empty() {
                return None;
            }
            parts.push(Name { text: word.to_string(), span: self.place(start + at, start + at + word.len()) });
            at += word.len() + 1;
        }
        let path = Path { parts, span: self.place(start, start + at - 1) };
        Some(Field { path, body: Body::Value(Value { kind: ValueKind::Broken, span }), span })
    }

    fn value(&mut self, pair: Pair<'t, Rule>) -> Value {
        let span = self.span(&pair);
        let mut parts = pair.into_inner();
        let Some(left) = parts.next().map(|p| self.operand(p)) else { return broken(span) };
        match (parts.next(), parts.next()) {
            (Some(sign), Some(right)) => {
                let operator = match sign.as_str() {
                    "<" => Operator::Less,
                    "<=" => Operator::LessEqual,
                    ">" => Operator::Greater,
                    ">=" => Operator::GreaterEqual,
                    "==" => Operator::Equal,
                    _ => Operator::NotEqual,
                };
                let operator_span = self.span(&sign);
                let right = Box::new(self.operand(right));
                Value { kind: ValueKind::Comparison { left: Box::new(left), operator, operator_span, right }, span }
            }
            _ => left,
        }
    }

    fn operand(&mut self, pair: Pair<'t, Rule>) -> Value {
        let span = self.span(&pair);
        let mut parts = pair.into_inner();
        let Some(first) = parts.next().map(|p| self.term(p)) else { return broken(span) };
        let (Some(joint), Some(second)) = (parts.next(), parts.next()) else { return first };
        let second = Box::new(self.term(second));
        let first = Box::new(first);
        let kind = match joint.as_rule() {
            Rule::range => ValueKind::Range { start: first, end: second, inclusive: joint.as_str() == "..=" },
            _ => ValueKind::Portion { amount: first, of: second },
        };
        Value { kind, span }
    }

    fn term(&mut self, pair: Pair<'t, Rule>) -> Value {
        let span = self.span(&pair);
        let kind = match pair.as_rule() {
            Rule::quantity => self.quantity(pair).map(ValueKind::Quantity),
            Rule::text => self.text(&pair).map(ValueKind::Text),
            Rule::list => Some(ValueKind::List(self.entries(pair))),
            Rule::tuple => Some(ValueKind::Tuple(self.tuple(pair))),
            Rule::call => self.call(pair),
            Rule::reference => self.reference(pair).map(ValueKind::Reference),
            _ => None,
        };
        Value { kind: kind.unwrap_or(ValueKind::Broken), span }
    }

    fn entries(&mut self, pair: Pair<'t, Rule>) -> Vec<Entry> {
        pair.into_inner().filter(|p| p.as_rule() == Rule::entry).map(|p| self.entry(p)).collect()
    }

    fn entry(&mut self, pair: Pair<'t, Rule>) -> Entry {
        let span = self.span(&pair);
        let mut entry = Entry { label: None, value: broken(span) };
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::label => entry.label = Some(self.name(&part)),
                Rule::value => entry.value = self.value(part),
                Rule::broken_entry => {
                    self.report(&part, Place::Entry);
                    let typed = part.as_str();
                    let word = reader::leading_path(typed);
                    if !word.is_empty()
                        && !word.contains('.')
                        && typed[word.len()..].trim_start().starts_with(['=', ':'])
                    {
                        let start = part.as_span().start();
                        entry.label =
                            Some(Name { text: word.to_string(), span: self.place(start, start + word.len()) });
                    }
                }
                _ => {}
            }
        }
        entry
    }

    fn tuple(&mut self, pair: Pair<'t, Rule>) -> Vec<Value> {
        let mut values = Vec::new();
        for entry in self.entries(pair) {
            if let Some(label) = entry.label {
                self.diagnostics.push(
                    Diagnostic::new(Code::Unreadable, label.span, "the values of a tuple have no names")
                        .label("a name inside a tuple")
                        .help("a tuple is told by position, `(l1, 0.3)`; arguments with names follow a word, `l1(weight = 0.3)`"),
                );
            }
            values.push(entry.value);
        }
        values
    }

    fn call(&mut self, pair: Pair<'t, Rule>) -> Option<ValueKind> {
        let mut parts = pair.into_inner();
        let name = self.path(parts.next()?);
        let arguments = self.entries(parts.next()?);
        Some(ValueKind::Call { name, arguments })
    }

    fn reference(&mut self, pair: Pair<'t, Rule>) -> Option<Reference> {
        let mut parts = pair.into_inner();
        let path = self.path(parts.next()?);
        if let Some(diagnostic) = mistake::foreign_word(&path) {
            self.diagnostics.push(diagnostic);
            return None;
        }
        let mut reference = Reference { path, selectors: None, member: None };
        for part in parts {
            match part.as_rule() {
                Rule::selectors => {
                    let selectors = part.into_inner().filter(|p| p.as_rule() == Rule::selector);
                    reference.selectors = Some(selectors.map(|p| self.selector(p)).collect::<Option<Vec<_>>>()?);
                }
                Rule::member => reference.member = part.into_inner().next().map(|p| self.path(p)),
                _ => {}
            }
        }
        Some(reference)
    }

    fn selector(&mut self, pair: Pair<'t, Rule>) -> Option<Selector> {
        let mut path = None;
        let mut value = None;
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::path => path = Some(self.path(part)),
                Rule::operand => value = Some(self.operand(part)),
                Rule::broken_entry => self.report(&part, Place::Selector),
                _ => {}
            }
        }
        Some(Selector { path: path?, value: value? })
    }

    // -- leaves ------------------------------------------------------------------------------------------------------

    fn quantity(&mut self, pair: Pair<'t, Rule>) -> Option<Quantity> {
        let whole = self.span(&pair);
        let mut digits = String::new();
        let mut glued = None;
        let mut unit = None;
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::number => digits = part.as_str().to_string(),
                Rule::glued => glued = Some((part.as_str(), self.span(&part))),
                Rule::unit => unit = Some(self.name(&part)),
                _ => {}
            }
        }
        let suffix = match glued {
            None => None,
            Some(("K", _)) => Some(Suffix::Thousand),
            Some(("M", _)) => Some(Suffix::Million),
            Some(("B", _)) => Some(Suffix::Billion),
            Some(("T", _)) => Some(Suffix::Trillion),
            Some(("x", _)) => Some(Suffix::Times),
            Some(("%", _)) => Some(Suffix::Percent),
            Some((word, span)) => {
                self.diagnostics.push(mistake::glued_word(&digits, word, span, unit.is_some()));
                return None;
            }
        };
        let Some(value) = mistake::number(&digits, suffix) else {
            self.diagnostics.push(
                Diagnostic::new(Code::OutOfRange, whole, format!("`{digits}` is larger than any number xd can hold"))
                    .label("not a finite number")
                    .help("the largest is about 1e308; perhaps the sign of the exponent is missing: `1e-4`"),
            );
            return None;
        };
        Some(Quantity { value, digits, suffix, unit })
    }

    fn text(&mut self, pair: &Pair<'t, Rule>) -> Option<Text> {
        let span = self.span(pair);
        match text::pieces(pair.as_str(), span) {
            Ok(pieces) => Some(Text { pieces, span }),
            Err(diagnostic) => {
                self.diagnostics.push(diagnostic);
                None
            }
        }
    }

    fn path(&mut self, pair: Pair<'t, Rule>) -> Path {
        let span = self.span(&pair);
        Path { parts: pair.into_inner().map(|p| self.name(&p)).collect(), span }
    }

    fn name(&self, pair: &Pair<'t, Rule>) -> Name {
        Name { text: pair.as_str().to_string(), span: self.span(pair) }
    }

    // -- places ------------------------------------------------------------------------------------------------------

    fn span(&self, pair: &Pair<'t, Rule>) -> Span {
        // A rule that tries something after itself ends behind the spaces that it skipped.
        let span = pair.as_span();
        self.place(span.start(), span.start() + span.as_str().trim_end().len())
    }

    fn place(&self, start: usize, end: usize) -> Span {
        Span::new(self.file, self.balanced.original(start), self.balanced.original(end))
    }

    fn first_content(&self) -> Span {
        let text = &self.balanced.text;
        let start = text.find(|c: char| !c.is_whitespace() && c != '\u{FEFF}').unwrap_or(0);
        let end = text[start..].find(['\n', '\r']).map_or(text.len(), |n| start + n);
        self.place(start, end)
    }

    /// Parses a broken piece a second time to say where and why it went wrong.
    fn report(&mut self, pair: &Pair<'t, Rule>, place: Place) {
        let found = mistake::explain(pair.as_str(), place);
        self.push_mistake(found, pair.as_span().start(), pair.as_str().len());
    }

    fn push_mistake(&mut self, found: Option<mistake::Found>, start: usize, length: usize) {
        let Some(found) = found else { return };
        let (from, to) = (found.from.min(length), found.to.min(length));
        let mut diagnostic = Diagnostic::new(found.code, self.place(start + from, start + to), found.message);
        diagnostic.label = found.label;
        diagnostic.help = found.help;
        self.diagnostics.push(diagnostic);
    }
}

fn broken(span: Span) -> Value {
    Value { kind: ValueKind::Broken, span }
}
