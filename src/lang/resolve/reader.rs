//! Values read by the types of the schema; every way in which one does not fit has its own message.

use crate::lang::diagnostic::{Code, Diagnostic, suggest};
use crate::lang::plan::Origin;
use crate::lang::schema::{Built, CLASSES, Default, Field, Query, Type, Unit, Variant, Word, article, join};
use crate::lang::source::{FileId, Sources, Span};
use crate::lang::syntax;
use crate::lang::syntax::tree::{self, Entry, Piece, Quantity, Reference, Suffix, Value, ValueKind};

use super::params::{form, slice};
use super::query;
use super::scope::{DeclId, Scope};
use super::sink::Sink;
use super::typed::{Call, Node, Selector, StepRef, Template, TemplatePiece, Typed};

/// Reads the values of one declaration.
pub struct Reader<'r> {
    pub scope: &'r Scope,
    pub sources: &'r Sources,
    pub sink: &'r mut Sink,
    /// Module whose names are seen.
    pub module: usize,
    /// The declaration that is read, which cannot read itself.
    pub own: DeclId,
    /// Where messages point instead of the value: for defaults and the values of params.
    pub at: Option<Span>,
    /// The origin of what is read.
    pub origin: Option<Origin>,
    /// Where a param that is being read is declared.
    pub through: Option<Span>,
    /// Arguments of the outermost form that an axis fills: name, value.
    pub filled: Vec<(String, Value)>,
    /// The text of the default that is read.
    pub literal: Option<&'static str>,
}

impl Reader<'_> {
    /// Reads `value` as `ty`; `what` names the field in messages, such as `` `train.batch` ``. `None` has been reported.
    pub fn read(&mut self, ty: &Type, value: &Value, what: &str) -> Option<Node> {
        if matches!(value.kind, ValueKind::Broken) {
            return None;
        }
        if let Some(node) = self.param(ty, value, what) {
            return node;
        }
        let typed = self.typed(ty, value, what)?;
        Some(self.node(typed, value))
    }

    /// The default of a field, read like any other value but placed at `at`.
    pub fn default(&mut self, field: &Field, loss: Option<&str>, at: Span) -> Option<Node> {
        let (text, source) = match field.default {
            Default::Text { text, source } => (text, source),
            Default::ByLoss { l1, topk, source } => (if loss? == "l1" { l1 } else { topk }, source),
            Default::Required | Default::Absent(_) => return None,
        };
        self.default_text(field, text, source, at)
    }

    /// A text that holds where a field was not written, and where it comes from.
    pub fn default_text(&mut self, field: &Field, text: &'static str, source: &str, at: Span) -> Option<Node> {
        let value = literal(text)?;
        let mut inner = Reader {
            scope: self.scope,
            sources: self.sources,
            sink: &mut *self.sink,
            module: self.module,
            own: self.own,
            at: Some(at),
            origin: Some(Origin::Default(source.to_string())),
            through: None,
            filled: Vec::new(),
            literal: Some(text),
        };
        let mut node = inner.read(&field.ty, &value, field.path)?;
        node.text = text.to_string();
        Some(node)
    }

    fn node(&self, value: Typed, written: &Value) -> Node {
        let span = self.span(written.span);
        let origin = self.origin.clone().unwrap_or(Origin::Written(span));
        let text = match (written.span.file == DEFAULTS, self.literal) {
            (true, Some(text)) => {
                let start = written.span.start.saturating_sub(HEAD.len());
                text.get(start..written.span.end.saturating_sub(HEAD.len())).unwrap_or(text).to_string()
            }
            (true, None) => String::new(),
            _ => slice(self.sources, written.span),
        };
        Node { value, span, origin, text }
    }

    pub(super) fn span(&self, span: Span) -> Span {
        self.at.unwrap_or(span)
    }

    pub(super) fn report(&mut self, diagnostic: Diagnostic) {
        let diagnostic = match self.through {
            Some(param) => diagnostic.related(param, "the value of this param"),
            None => diagnostic,
        };
        self.sink.push(diagnostic);
    }

    // -- params ------------------------------------------------------------------------------------------------------

    /// When the value is the name of a param: what the param holds, read as `ty`.
    fn param(&mut self, ty: &Type, value: &Value, what: &str) -> Option<Option<Node>> {
        let ValueKind::Reference(reference) = &value.kind else { return None };
        if reference.selectors.is_some() || matches!(ty, Type::Query(_)) && !matches!(ty, Type::Query(Query::Rows)) {
            return None;
        }
        let parts = &reference.path.parts;
        if let [word] = parts.as_slice() {
            let choice =
                ty.words().iter().any(|w| w.word == word.text) || ty.variants().iter().any(|v| v.word == word.text);
            if choice
                || matches!(ty, Type::OrNone(_)) && word.text == "none"
                || matches!(ty, Type::Class { all: true } | Type::Latents) && word.text == "all"
            {
                return None;
            }
        }
        let (id, used) = self.scope.lookup(self.module, parts)?;
        let declared = self.scope.get(id);
        if declared.kind.is_none_or(|k| k.word != "param") {
            return None;
        }
        let member = (used < parts.len()).then(|| {
            let span = parts[used].span.to(parts[parts.len() - 1].span);
            tree::Path { parts: parts[used..].to_vec(), span }
        });
        let takes_parts = matches!(ty, Type::Query(Query::Rows));
        let param = self.scope.params.get(&id)?;
        if let Some(member) = member.as_ref().filter(|_| !takes_parts) {
            self.report_part_of_param(id, member);
            return Some(None);
        }
        if self.through == Some(declared.name_span) {
            let own = Diagnostic::new(
                Code::StepCycle,
                self.span(value.span),
                format!("the param `{}` is defined by itself", declared.name),
            )
            .label("this closes the circle")
            .help("give it a value");
            self.sink.push(own);
            return Some(None);
        }
        let origin = if param.set { Some(Origin::Set(declared.name.clone())) } else { self.origin.clone() };
        let at = self.span(value.span);
        let text = param.text.clone();
        let mut inner = Reader {
            scope: self.scope,
            sources: self.sources,
            sink: &mut *self.sink,
            module: param.module,
            own: self.own,
            at: Some(at),
            origin,
            through: Some(declared.name_span),
            filled: Vec::new(),
            literal: None,
        };
        let Some(mut node) = inner.read(ty, &param.value, what) else { return Some(None) };
        if let (Some(member), Typed::Rows(steps)) = (&member, &mut node.value) {
            let named: Option<Vec<StepRef>> =
                std::mem::take(steps).into_iter().map(|step| self.part(step, Some(member), what)).collect();
            let Some(named) = named else { return Some(None) };
            *steps = named;
        }
        Some(Some(Node { text, ..node }))
    }

    /// `recipe.cc` where the param `recipe` stands for no import.
    fn report_part_of_param(&mut self, id: DeclId, part: &tree::Path) {
        let (name, value) = (&self.scope.get(id).name, &self.scope.params[&id]);
        let imports: Vec<&str> = self.scope.modules[value.module].aliases.keys().map(String::as_str).collect();
        let help = match suggest(&value.text, imports.iter().copied()) {
            Some(near) => format!("its value is `{}`; did you mean the import `{near}`?", value.text),
            None => format!("its value is `{}`; only a param that stands for an import has names in it", value.text),
        };
        let message = format!("the param `{name}` has no `{}`", dotted(part));
        let span = self.span(part.span);
        let declared = self.scope.get(id).name_span;
        self.report(
            Diagnostic::new(Code::UnknownName, span, message)
                .label("unknown name")
                .related(declared, "the param")
                .help(help),
        );
    }

    // -- types -------------------------------------------------------------------------------------------------------

    fn typed(&mut self, ty: &Type, value: &Value, what: &str) -> Option<Typed> {
        match ty {
            Type::Number { low, high } => self.number(value, *low, *high, ty, what).map(Typed::Number),
            Type::Whole { low, high } => self.whole(value, *low, *high, ty, what).map(Typed::Whole),
            Type::Share => self.share(value, ty, what).map(Typed::Number),
            Type::Amount { units, low } => self.amount(value, units, *low, ty, what),
            Type::Truth => match self.bare_word(value) {
                Some("true") => Some(Typed::Truth(true)),
                Some("false") => Some(Typed::Truth(false)),
                _ => self.wrong_type(ty, value, what),
            },
            Type::Word(words) => self.word(value, words, ty, what).map(Typed::Word),
            Type::Text => Some(Typed::Text(self.template(value, ty, what)?)),
            Type::Path => {
                let from = self.sources.get(self.scope.modules[self.module].file).path.clone();
                Some(Typed::Path(self.template(value, ty, what)?, from))
            }
            Type::Token => match &value.kind {
                ValueKind::Text(_) => Some(Typed::Text(self.template(value, ty, what)?)),
                _ => self.whole(value, 0, u64::from(u32::MAX), ty, what).map(Typed::Whole),
            },
            Type::Bounds { low, high } => self.bounds(value, *low, *high, ty, what),
            Type::Step(kinds) => self.step(value, kinds, what, ty).map(Typed::Step),
            Type::StepOr(kinds, forms) => self.step_or(value, kinds, forms, ty, what),
            Type::Variant(forms) => self.variant(value, forms, ty, what).map(Typed::Call),
            Type::Class { all } => self.class(value, *all, ty, what),
            Type::Latents | Type::LatentsOr(_) => self.latents(value, ty, what),
            Type::LatentColumn => self.latent_column(value, ty, what),
            Type::LatentTest => self.latent_test(value, ty, what),
            Type::HowMany => self.how_many(value, ty, what),
            Type::Entries(inner) => self.entries(value, inner, what),
            Type::OneOrMore(inner) => self.one_or_more(value, inner, ty, what),
            Type::Prompts { texts } => self.prompts(value, *texts, ty, what),
            Type::OrNone(inner) => match self.bare_word(value) {
                Some("none") => Some(Typed::None),
                _ => match self.typed(inner, value, what) {
                    Some(typed) => Some(typed),
                    None => None,
                },
            },
            Type::List(inner) => self.list(value, inner, ty, what).map(Typed::List),
            Type::Tuple(parts) => self.tuple(value, parts, ty, what).map(Typed::Tuple),
            Type::Portion => self.portion(value, ty, what),
            Type::Query(Query::Rows) => self.rows(value, what).map(Typed::Rows),
            Type::Query(Query::Limits) => query::limits(self, value, what),
            Type::Query(_) | Type::Any => Some(Typed::Raw(value.clone())),
        }
    }

    /// Reports that the form of the value is not one of the type.
    pub fn wrong_type<T>(&mut self, ty: &Type, value: &Value, what: &str) -> Option<T> {
        if matches!(value.kind, ValueKind::Broken) || self.names_the_unknown(value) {
            return None;
        }
        let mut help = format!("{what} takes {}", ty.describe());
        if let (ValueKind::Text(text), true) = (&value.kind, !ty.words().is_empty() || !ty.variants().is_empty())
            && let [Piece::Literal(word)] = text.pieces.as_slice()
        {
            help = format!("words of the language stand without quotes: `{word}`");
        } else if let (ValueKind::Reference(r), true) = (&value.kind, matches!(ty, Type::Text | Type::Path)) {
            help = format!("put it in quotes: `\"{}\"`", dotted(&r.path));
        }
        let found = form(&value.kind);
        self.report(
            Diagnostic::new(Code::WrongType, self.span(value.span), format!("{what} takes {}", ty.describe()))
                .label(format!("this is {found}"))
                .help(help),
        );
        None
    }

    /// The value is the name of a declaration whose kind is not known, which has been reported.
    fn names_the_unknown(&self, value: &Value) -> bool {
        let ValueKind::Reference(reference) = &value.kind else { return false };
        let found = self.scope.lookup(self.module, &reference.path.parts);
        found.is_some_and(|(id, _)| self.scope.get(id).kind.is_none())
    }

    fn quantity<'v>(&mut self, value: &'v Value, ty: &Type, what: &str) -> Option<&'v Quantity> {
        if let ValueKind::Reference(reference) = &value.kind
            && reference.selectors.is_none()
        {
            return self.not_a_number(value, reference, ty, what);
        }
        match &value.kind {
            ValueKind::Quantity(quantity) => Some(quantity),
            _ => self.wrong_type(ty, value, what),
        }
    }

    /// A word where a number belongs: most often a mistyped param.
    fn not_a_number<T>(&mut self, value: &Value, reference: &Reference, ty: &Type, what: &str) -> Option<T> {
        let word = dotted(&reference.path);
        if self.scope.may_be_hidden(self.module, &reference.path.parts) {
            return None;
        }
        if self.scope.lookup(self.module, &reference.path.parts).is_some()
            || matches!(word.as_str(), "none" | "true" | "false")
        {
            return self.wrong_type(ty, value, what);
        }
        let help = match self.scope.suggest(self.module, &word, &["param"]) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("{what} takes {}", ty.describe()),
        };
        self.report(
            Diagnostic::new(Code::UnknownName, self.span(value.span), format!("there is no param called `{word}`"))
                .label("unknown name")
                .help(help),
        );
        None
    }

    /// A number without any unit or suffix that means one.
    fn plain(&mut self, quantity: &Quantity, value: &Value, ty: &Type, what: &str) -> Option<f64> {
        let sign = match (&quantity.unit, quantity.suffix) {
            (Some(unit), _) => format!("the unit `{}`", unit.text),
            (None, Some(Suffix::Times)) => "a multiple".to_string(),
            (None, Some(Suffix::Percent)) => "a percentage".to_string(),
            _ => return Some(quantity.value),
        };
        self.report(
            Diagnostic::new(
                Code::WrongUnit,
                self.span(value.span),
                format!("{what} takes {}, not {sign}", ty.describe()),
            )
            .label("wrong unit")
            .help(format!("write {what} as {}", ty.describe())),
        );
        None
    }

    pub(super) fn out_of_range<T>(&mut self, value: &Value, ty: &Type, what: &str, limit: &str) -> Option<T> {
        self.report(
            Diagnostic::new(Code::OutOfRange, self.span(value.span), format!("{what} {limit}"))
                .label("out of range")
                .help(format!("{what} takes {}", ty.describe())),
        );
        None
    }

    fn number(&mut self, value: &Value, low: f64, high: f64, ty: &Type, what: &str) -> Option<f64> {
        let quantity = self.quantity(value, ty, what)?;
        let number = self.plain(quantity, value, ty, what)?;
        if number < low {
            return self.out_of_range(value, ty, what, &format!("must not be under {low}"));
        }
        if number > high {
            return self.out_of_range(value, ty, what, &format!("must not be over {high}"));
        }
        Some(number)
    }

    pub(super) fn whole(&mut self, value: &Value, low: u64, high: u64, ty: &Type, what: &str) -> Option<u64> {
        let quantity = self.quantity(value, ty, what)?;
        let number = self.plain(quantity, value, ty, what)?;
        if number < low as f64 {
            return self.out_of_range(value, ty, what, &format!("must not be under {low}"));
        }
        if number.fract() != 0.0 {
            self.report(
                Diagnostic::new(
                    Code::WrongType,
                    self.span(value.span),
                    format!("{what} is a count, and {number} is not a whole number"),
                )
                .label("not whole")
                .help(format!("{what} takes {}", ty.describe())),
            );
            return None;
        }
        if number > high as f64 || number >= 2f64.powi(53) {
            let high = if high == u64::MAX { "2^53".to_string() } else { high.to_string() };
            return self.out_of_range(value, ty, what, &format!("must not be over {high}"));
        }
        Some(number as u64)
    }

    pub(super) fn share(&mut self, value: &Value, ty: &Type, what: &str) -> Option<f64> {
        let quantity = self.quantity(value, ty, what)?;
        let number = match quantity.suffix {
            Some(Suffix::Percent) if quantity.unit.is_none() => quantity.value,
            _ => self.plain(quantity, value, ty, what)?,
        };
        if !(0.0..=1.0).contains(&number) {
            return self.out_of_range(value, ty, what, "is a share, from 0% to 100%");
        }
        Some(number)
    }

    fn amount(&mut self, value: &Value, units: &[Unit], low: f64, ty: &Type, what: &str) -> Option<Typed> {
        let quantity = self.quantity(value, ty, what)?;
        let place = self.span(value.span);
        let unit = match (&quantity.unit, quantity.suffix) {
            (Some(name), _) => match Unit::of_word(&name.text) {
                Some(unit) => unit,
                None => {
                    let help = match suggest(&name.text, Unit::WORDS.iter().map(|u| u.word())) {
                        Some(near) => format!("did you mean `{near}`?"),
                        None => format!("{what} takes {}", ty.describe()),
                    };
                    let span = self.at.unwrap_or(name.span);
                    self.report(
                        Diagnostic::new(Code::UnknownUnit, span, format!("there is no unit called `{}`", name.text))
                            .label("unknown unit")
                            .help(help),
                    );
                    return None;
                }
            },
            (None, Some(Suffix::Times)) => Unit::Times,
            (None, Some(Suffix::Percent)) => {
                self.plain(quantity, value, ty, what)?;
                return None;
            }
            (None, _) => Unit::Bare,
        };
        if !units.contains(&unit) {
            let digits = short(quantity.value);
            let examples: Vec<String> = units.iter().map(|u| format!("`{}`", u.example(&digits))).collect();
            let (code, message, label) = match unit {
                Unit::Bare => (Code::MissingUnit, format!("{what} needs a unit"), "a number of what?"),
                _ => (Code::WrongUnit, format!("{what} is not counted in {}", unit_words(unit)), "wrong unit"),
            };
            self.report(
                Diagnostic::new(code, place, message).label(label).help(format!("write {}", join(&examples, "or"))),
            );
            return None;
        }
        let number = quantity.value;
        if number < low || number == 0.0 && matches!(unit, Unit::Epochs | Unit::Times) {
            return self.out_of_range(
                value,
                ty,
                what,
                &if low > 0.0 { format!("must be at least {low}") } else { "must be over 0".to_string() },
            );
        }
        if matches!(unit, Unit::Tokens | Unit::Steps | Unit::Prompts | Unit::Bare) && number.fract() != 0.0 {
            self.report(
                Diagnostic::new(
                    Code::WrongType,
                    place,
                    format!("{what} is a count, and {number} is not a whole number"),
                )
                .label("not whole")
                .help(format!("write `{}`", unit.example(&short(number.ceil())))),
            );
            return None;
        }
        Some(Typed::Amount { value: number, unit })
    }

    fn bounds(&mut self, value: &Value, low: f64, high: f64, ty: &Type, what: &str) -> Option<Typed> {
        let ValueKind::Range { start, end, .. } = &value.kind else { return self.wrong_type(ty, value, what) };
        let number = Type::Number { low: f64::NEG_INFINITY, high: f64::INFINITY };
        let start_node = self.read(&number, start, what);
        let end_node = self.read(&number, end, what);
        let (from, to) = (start_node?.number()?, end_node?.number()?);
        if from < low || to > high {
            return self.out_of_range(value, ty, what, &format!("must lie within {low} and {high}"));
        }
        if from > to {
            return self.out_of_range(value, ty, what, "runs backwards");
        }
        Some(Typed::Bounds(from, to))
    }

    // -- words and forms ---------------------------------------------------------------------------------------------

    /// The word, when the value is one bare word.
    pub(super) fn bare_word<'v>(&self, value: &'v Value) -> Option<&'v str> {
        match &value.kind {
            ValueKind::Reference(Reference { path, selectors: None, member: None }) => match path.parts.as_slice() {
                [one] => Some(&one.text),
                _ => None,
            },
            _ => None,
        }
    }

    fn word(&mut self, value: &Value, words: &'static [Word], ty: &Type, what: &str) -> Option<&'static str> {
        let Some(typed) = self.bare_word(value) else { return self.wrong_type(ty, value, what) };
        match words.iter().find(|w| w.word == typed) {
            Some(word) => self.built(&word.built, word.word, value.span).then_some(word.word),
            None => self.unknown_variant(typed, words.iter().map(|w| w.word).collect(), value.span, what),
        }
    }

    fn built(&mut self, built: &Built, word: &str, span: Span) -> bool {
        let Built::NotYet(meanwhile) = built else { return true };
        let span = self.span(span);
        self.report(
            Diagnostic::new(
                Code::NotBuiltYet,
                span,
                format!("`{word}` belongs to the language, but this version of xd cannot do it yet"),
            )
            .label("not built yet")
            .help(*meanwhile),
        );
        false
    }

    fn unknown_variant<T>(&mut self, typed: &str, choices: Vec<&str>, span: Span, what: &str) -> Option<T> {
        let quoted: Vec<String> = choices.iter().map(|c| format!("`{c}`")).collect();
        let help = match suggest(typed, choices) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("{what} takes {}", join(&quoted, "or")),
        };
        let span = self.span(span);
        self.report(
            Diagnostic::new(Code::UnknownVariant, span, format!("{what} has no choice called `{typed}`"))
                .label("unknown word")
                .help(help),
        );
        None
    }

    pub(super) fn variant(&mut self, value: &Value, forms: &'static [Variant], ty: &Type, what: &str) -> Option<Call> {
        let (name, span, entries): (String, Span, &[Entry]) = match &value.kind {
            ValueKind::Call { name, arguments } => (dotted(name), name.span, arguments),
            ValueKind::Reference(Reference { path, selectors: None, member: None }) => (dotted(path), path.span, &[]),
            _ => return self.wrong_type(ty, value, what),
        };
        let Some(variant) = forms.iter().find(|f| f.word == name) else {
            let mut choices: Vec<&str> = forms.iter().map(|f| f.word).collect();
            if matches!(ty, Type::OrNone(_)) {
                choices.push("none");
            }
            return self.unknown_variant(&name, choices, span, what);
        };
        if !self.built(&variant.built, variant.word, span) {
            return None;
        }
        let filled = std::mem::take(&mut self.filled);
        let mut call = Call { word: variant.word, word_span: self.span(span), arguments: Vec::new(), broken: false };
        self.arguments(variant, forms, entries, &filled, value.span, &mut call);
        Some(call)
    }

    fn arguments(
        &mut self,
        variant: &'static Variant,
        forms: &'static [Variant],
        entries: &[Entry],
        filled: &[(String, Value)],
        whole: Span,
        call: &mut Call,
    ) {
        let mut written: Vec<(&'static Field, Option<&Value>, Span)> = Vec::new();
        let gathered = gather(variant, entries);
        let entries = gathered.as_deref().unwrap_or(entries);
        let mut positional = variant.arguments.iter().filter(|a| a.positional);
        let mut seen_broken = false;
        for entry in entries {
            let field = match &entry.label {
                Some(label) => match variant.argument(&label.text) {
                    Some(field) => field,
                    None => {
                        call.broken = true;
                        // Most likely a required one misspelled: one typo, one message.
                        seen_broken = true;
                        self.unknown_argument(variant, forms, &label.text, label.span);
                        continue;
                    }
                },
                None if matches!(entry.value.kind, ValueKind::Broken) => {
                    call.broken = true;
                    seen_broken = true;
                    continue;
                }
                None => match positional.next() {
                    Some(field) => field,
                    None => {
                        call.broken = true;
                        // What the nameless value was meant for is not known, so nothing is called missing.
                        seen_broken = true;
                        self.nameless(variant, entry.value.span);
                        continue;
                    }
                },
            };
            let place = entry.label.as_ref().map_or(entry.value.span, |l| l.span);
            if let Some((_, _, first)) = written.iter().find(|(f, _, _)| f.path == field.path) {
                let (first, place) = (*first, self.span(place));
                call.broken = true;
                self.report(
                    Diagnostic::new(Code::SetTwice, place, format!("`{}` is set twice", field.path))
                        .label("set again")
                        .related(first, "first set here")
                        .help("keep one of the two"),
                );
                continue;
            }
            written.push((field, Some(&entry.value), place));
        }
        for field in variant.arguments {
            let what = format!("`{}`", field.path);
            let by_axis = filled.iter().find(|(name, _)| name == field.path).map(|(_, value)| value);
            let found = written.iter().find(|(f, _, _)| f.path == field.path);
            let value = by_axis.or(found.and_then(|(_, value, _)| *value));
            let Some(value) = value else {
                if let Default::Required = field.default {
                    call.broken = true;
                    if !seen_broken {
                        self.missing_argument(variant, field, whole);
                    }
                } else if let Some(node) = self.default(field, None, self.span(whole)) {
                    call.arguments.push((field, node));
                }
                continue;
            };
            if !self.built(&field.built, field.path, value.span) {
                call.broken = true;
                continue;
            }
            match self.read(&field.ty, value, &what) {
                Some(mut node) => {
                    if by_axis.is_some() {
                        node.origin = Origin::Axis;
                    }
                    call.arguments.push((field, node));
                }
                None => call.broken = true,
            }
        }
    }

    fn missing_argument(&mut self, variant: &Variant, field: &Field, span: Span) {
        let span = self.span(span);
        let example = format!("`{}({} = ..)`", variant.word, field.path);
        self.report(
            Diagnostic::new(Code::MissingField, span, format!("`{}` needs `{}`", variant.word, field.path))
                .label(format!("`{}` is missing", field.path))
                .help(format!("write {example}: {} It takes {}", field.doc, field.ty.describe())),
        );
    }

    fn nameless(&mut self, variant: &Variant, span: Span) {
        let span = self.span(span);
        let names: Vec<String> = variant.arguments.iter().map(|a| format!("`{}`", a.path)).collect();
        let help = match variant.arguments {
            [] => format!("write `{}` alone", variant.word),
            [first, ..] => {
                format!("its arguments are {}; write `{}({} = ..)`", join(&names, "and"), variant.word, first.path)
            }
        };
        let message = match variant.arguments {
            [] => format!("`{}` takes no arguments", variant.word),
            _ => format!("the arguments of `{}` are written with their names", variant.word),
        };
        self.report(Diagnostic::new(Code::UnknownArgument, span, message).label("which argument is this?").help(help));
    }

    fn unknown_argument(&mut self, variant: &Variant, forms: &[Variant], name: &str, span: Span) {
        let span = self.span(span);
        let owners: Vec<String> =
            forms.iter().filter(|f| f.argument(name).is_some()).map(|f| format!("`{}`", f.word)).collect();
        let names: Vec<&str> = variant.arguments.iter().map(|a| a.path).collect();
        let help = if let Some(near) = suggest(name, &names) {
            format!("did you mean `{near}`?")
        } else if !owners.is_empty() {
            format!("`{name}` is an argument of {}", join(&owners, "and"))
        } else if names.is_empty() {
            format!("`{}` takes no arguments", variant.word)
        } else {
            format!("`{}` takes {}", variant.word, names.join(", "))
        };
        self.report(
            Diagnostic::new(Code::UnknownArgument, span, format!("`{}` has no argument called `{name}`", variant.word))
                .label("unknown argument")
                .help(help),
        );
    }

    // -- names -------------------------------------------------------------------------------------------------------

    fn step_or(
        &mut self,
        value: &Value,
        kinds: &[&str],
        forms: &'static [Variant],
        ty: &Type,
        what: &str,
    ) -> Option<Typed> {
        let name = match &value.kind {
            ValueKind::Reference(reference) => {
                let plain = reference.selectors.is_none() && reference.member.is_none();
                let declared = self.scope.lookup(self.module, &reference.path.parts);
                let form = plain && forms.iter().any(|f| f.word == dotted(&reference.path));
                if declared.is_some() && !form || !plain {
                    return self.step(value, kinds, what, ty).map(Typed::Step);
                }
                if form {
                    return self.variant(value, forms, ty, what).map(Typed::Call);
                }
                dotted(&reference.path)
            }
            ValueKind::Call { .. } => return self.variant(value, forms, ty, what).map(Typed::Call),
            _ => return self.wrong_type(ty, value, what),
        };
        // Neither a name nor a form: suggest from both.
        if let ValueKind::Reference(reference) = &value.kind
            && self.scope.may_be_hidden(self.module, &reference.path.parts)
        {
            return None;
        }
        let near =
            suggest(&name, forms.iter().map(|f| f.word)).or_else(|| self.scope.suggest(self.module, &name, kinds));
        let help = match near {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("{what} takes {}", ty.describe()),
        };
        let span = self.span(value.span);
        self.report(
            Diagnostic::new(Code::UnknownName, span, format!("there is nothing called `{name}`"))
                .label("unknown name")
                .help(help),
        );
        None
    }

    fn step(&mut self, value: &Value, kinds: &[&str], what: &str, ty: &Type) -> Option<StepRef> {
        let ValueKind::Reference(reference) = &value.kind else { return self.wrong_type(ty, value, what) };
        let (step, member) = self.address(reference, value.span, kinds)?;
        if let Some(member) = member {
            let span = self.span(member.span);
            let name = self.scope.get(step.target).name.clone();
            self.report(
                Diagnostic::new(Code::WrongKind, span, format!("{what} takes a whole step, not a column of it"))
                    .label("a column or class")
                    .help(format!("write `{name}`")),
            );
            return None;
        }
        let declared = self.scope.get(step.target);
        let kind = declared.kind?;
        if !kinds.contains(&kind.word) {
            let wanted: Vec<String> = kinds.iter().map(|k| format!("{} `{k}`", article(k))).collect();
            let wanted = join(&wanted, "or");
            let near: Vec<&str> = self
                .scope
                .names
                .iter()
                .filter(|(_, id)| self.scope.get(**id).kind.is_some_and(|k| kinds.contains(&k.word)))
                .map(|(name, _)| name.as_str())
                .collect();
            let help = match near.as_slice() {
                [] => format!("declare {} and name it here", wanted),
                names => {
                    format!("{what} can be {}", join(&names.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>(), "or"))
                }
            };
            let span = self.span(value.span);
            let place = declared.name_span;
            let message =
                format!("{what} takes {wanted}, and `{}` is {} {}", declared.name, article(kind.word), kind.word);
            self.report(
                Diagnostic::new(Code::WrongKind, span, message)
                    .label(format!("{} {}", article(kind.word), kind.word))
                    .related(place, "declared here")
                    .help(help),
            );
            return None;
        }
        Some(step)
    }

    /// The declaration that a dotted word with brackets names, and what follows its name.
    pub fn address(
        &mut self,
        reference: &Reference,
        span: Span,
        kinds: &[&str],
    ) -> Option<(StepRef, Option<tree::Path>)> {
        let parts = &reference.path.parts;
        let Some((target, used)) = self.scope.lookup(self.module, parts) else {
            if self.scope.may_be_hidden(self.module, parts) {
                return None;
            }
            let word = dotted(&reference.path);
            if let Some(import) = self.scope.import(self.module, parts) {
                let names = self.scope.of_kinds(&import, kinds);
                let help = match (&names[..], kinds) {
                    ([], [kind, ..]) => format!("it declares no {kind}"),
                    ([], []) => "name one of its declarations".to_string(),
                    (names, _) => format!("name what it declares: `{word}.{}`", names.join(&format!("`, `{word}."))),
                };
                let span = self.span(reference.path.span);
                let message = format!("`{word}` is an import, not a declaration");
                self.report(Diagnostic::new(Code::UnknownName, span, message).label("a whole file").help(help));
                return None;
            }
            let head = parts.first().map_or("", |p| p.text.as_str());
            let near =
                self.scope.suggest(self.module, &word, kinds).or_else(|| self.scope.suggest(self.module, head, kinds));
            let help = match near {
                Some(near) => format!("did you mean `{near}`?"),
                None if kinds.is_empty() => "declare it, or check its spelling".to_string(),
                None => format!("declare it: `{} {head} ..`", kinds[0]),
            };
            let span = self.span(reference.path.span);
            self.report(
                Diagnostic::new(Code::UnknownName, span, format!("there is nothing called `{word}`"))
                    .label("unknown name")
                    .help(help),
            );
            return None;
        };
        if target == self.own {
            let name = self.scope.get(target).name.clone();
            let span = self.span(span);
            self.report(
                Diagnostic::new(Code::StepCycle, span, format!("`{name}` reads itself"))
                    .label("itself")
                    .help("name the step that it should read"),
            );
            return None;
        }
        let mut selectors = Vec::new();
        for selector in reference.selectors.iter().flatten() {
            if matches!(selector.value.kind, ValueKind::Broken) {
                return None;
            }
            selectors.push(Selector {
                label: dotted(&selector.path),
                value: selected(self.scope, self.sources, self.module, &selector.value),
                span: self.span(selector.path.span),
                value_span: self.span(selector.value.span),
            });
        }
        let rest = &parts[used..];
        let member = match (&reference.member, rest) {
            (Some(member), []) => Some(member.clone()),
            (None, [first, ..]) => {
                let last = rest.last().unwrap_or(first);
                Some(tree::Path { parts: rest.to_vec(), span: first.span.to(last.span) })
            }
            (None, []) => None,
            (Some(_), [first, ..]) => {
                let span = self.span(first.span);
                self.report(
                    Diagnostic::new(Code::UnknownName, span, "brackets belong directly behind the name of a step")
                        .label("not a step")
                        .help("write `name[axis = value].column`"),
                );
                return None;
            }
        };
        Some((StepRef { target, selectors, part: None, span: self.span(span) }, member))
    }

    pub(super) fn class(&mut self, value: &Value, all: bool, ty: &Type, what: &str) -> Option<Typed> {
        if all && self.bare_word(value) == Some("all") {
            return Some(Typed::Word("all"));
        }
        let ValueKind::Reference(reference) = &value.kind else { return self.wrong_type(ty, value, what) };
        let (step, member) = self.address(reference, value.span, &["classify"])?;
        let declared = self.scope.get(step.target);
        let kind = declared.kind?;
        if kind.word != "classify" {
            let (span, place) = (self.span(value.span), declared.name_span);
            let message = format!(
                "{what} takes a class of latents, and `{}` is {} {}",
                declared.name,
                article(kind.word),
                kind.word
            );
            self.report(
                Diagnostic::new(Code::WrongKind, span, message)
                    .label(format!("{} {}", article(kind.word), kind.word))
                    .related(place, "declared here")
                    .help("declare `classify classes { of = .. }` and write `classes.tuned_only`"),
            );
            return None;
        }
        let name = declared.name.clone();
        let Some(member) = member else {
            let span = self.span(value.span);
            self.report(
                Diagnostic::new(Code::WrongType, span, format!("{what} takes one class of `{name}`"))
                    .label("which class?")
                    .help(format!("write `{name}.tuned_only`, or another of {}", CLASSES.join(" "))),
            );
            return None;
        };
        let word = dotted(&member);
        match CLASSES.iter().find(|c| **c == word) {
            Some(class) => Some(Typed::Class(step, class.to_string())),
            None => self.unknown_variant(&word, CLASSES.to_vec(), member.span, &format!("`{name}`")),
        }
    }

    /// The rows of a step that `member` names behind it, `cc.log`; its own without one.
    fn part(&mut self, step: StepRef, member: Option<&tree::Path>, what: &str) -> Option<StepRef> {
        let Some(member) = member else { return Some(step) };
        let declared = self.scope.get(step.target);
        let (kind, name) = (declared.kind?, declared.name.clone());
        let span = self.span(member.span);
        let Some(part) = kind.part(&dotted(member)) else {
            let words: Vec<String> = kind.parts.iter().map(|part| format!("`{name}.{}`", part.word)).collect();
            let also = if words.is_empty() { String::new() } else { format!(" (or {})", join(&words, "or")) };
            self.report(
                Diagnostic::new(Code::WrongKind, span, format!("{what} takes whole steps, not a column or class"))
                    .label("a column or class")
                    .help(format!("write `{name}`{also} here, and choose with `where` and `columns`")),
            );
            return None;
        };
        if let Some(from) = declared.fields.iter().find(|written| written.path == "from") {
            let (message, place) = (format!("`{name}` was not trained here"), from.value.span);
            self.report(
                Diagnostic::new(Code::WrongKind, span, message)
                    .label(format!("it has no {}", part.word))
                    .related(place, "its weights come from here")
                    .help(format!("leave `{name}.{}` out, or name a crosscoder that this file trains", part.word)),
            );
            return None;
        }
        Some(StepRef { part: Some(part), ..step })
    }

    fn rows(&mut self, value: &Value, what: &str) -> Option<Vec<StepRef>> {
        let values: Vec<&Value> = match &value.kind {
            ValueKind::List(entries) => entries.iter().map(|e| &e.value).collect(),
            _ => vec![value],
        };
        let mut steps: Vec<StepRef> = Vec::new();
        let mut whole = true;
        for value in values {
            if matches!(value.kind, ValueKind::Broken) {
                whole = false;
                continue;
            }
            let ValueKind::Reference(reference) = &value.kind else {
                let ty = Type::Query(Query::Rows);
                self.wrong_type::<()>(&ty, value, what);
                whole = false;
                continue;
            };
            let Some((step, member)) = self.address(reference, value.span, ROWS_KINDS) else {
                whole = false;
                continue;
            };
            let declared = self.scope.get(step.target);
            let Some(kind) = declared.kind else {
                whole = false;
                continue;
            };
            if !query::has_rows(self.scope, step.target) {
                let (span, place) = (self.span(value.span), declared.name_span);
                let message = format!("`{}` has no rows: it is {} {}", declared.name, article(kind.word), kind.word);
                self.report(
                    Diagnostic::new(Code::WrongKind, span, message)
                        .label("no rows")
                        .related(place, "declared here")
                        .help(
                            "rows come from crosscoder, classify, scaling, quality, recover, patch, layers, tokens, twins, examples, steer, compare \
                             and synthetic pairs",
                        ),
                );
                whole = false;
                continue;
            }
            match self.part(step, member.as_ref(), what) {
                Some(step) => steps.push(step),
                None => whole = false,
            }
        }
        if steps.is_empty() && whole {
            let ty = Type::Query(Query::Rows);
            return self.wrong_type(&ty, value, what);
        }
        whole.then_some(steps)
    }

    // -- compounds ---------------------------------------------------------------------------------------------------

    pub(super) fn list(&mut self, value: &Value, inner: &Type, ty: &Type, what: &str) -> Option<Vec<Node>> {
        let entries = match &value.kind {
            ValueKind::List(entries) => entries,
            ValueKind::Quantity(_) | ValueKind::Portion { .. } if matches!(inner, Type::Portion) => {
                return self.read(inner, value, what).map(|node| vec![node]);
            }
            _ => return self.wrong_type(ty, value, what),
        };
        let mut nodes = Vec::new();
        let mut whole = true;
        for entry in entries {
            if let Some(label) = &entry.label {
                whole = false;
                let span = self.span(label.span);
                self.report(
                    Diagnostic::new(Code::UnknownArgument, span, format!("the entries of {what} have no labels"))
                        .label("a label")
                        .help(format!("{what} takes {}", ty.describe())),
                );
                continue;
            }
            match self.read(inner, &entry.value, &format!("an entry of {what}")) {
                Some(node) => nodes.push(node),
                None => whole = false,
            }
        }
        whole.then_some(nodes)
    }

    fn tuple(&mut self, value: &Value, parts: &[Type], ty: &Type, what: &str) -> Option<Vec<Node>> {
        let ValueKind::Tuple(values) = &value.kind else { return self.wrong_type(ty, value, what) };
        if values.len() != parts.len() {
            return self.wrong_type(ty, value, what);
        }
        let nodes: Vec<Option<Node>> =
            parts.iter().zip(values).map(|(part, value)| self.read(part, value, what)).collect();
        nodes.into_iter().collect()
    }

    fn portion(&mut self, value: &Value, ty: &Type, what: &str) -> Option<Typed> {
        let tokens = Type::Amount { units: &[Unit::Tokens], low: 1.0 };
        match &value.kind {
            ValueKind::Portion { amount, of } => {
                let amount = self.read(&tokens, amount, what);
                let of = self.read(&Type::Step(&["corpus"]), of, what);
                let Typed::Step(of) = of?.value else { return None };
                Some(Typed::Portion { tokens: amount?.whole()?, of: Some(of) })
            }
            ValueKind::Quantity(_) => {
                let amount = self.read(&tokens, value, what)?;
                Some(Typed::Portion { tokens: amount.whole()?, of: None })
            }
            _ => self.wrong_type(ty, value, what),
        }
    }

    // -- strings -----------------------------------------------------------------------------------------------------

    fn template(&mut self, value: &Value, ty: &Type, what: &str) -> Option<Template> {
        let ValueKind::Text(text) = &value.kind else { return self.wrong_type(ty, value, what) };
        let mut template = Template::default();
        for piece in &text.pieces {
            match piece {
                Piece::Literal(literal) => template.pieces.push(TemplatePiece::Literal(literal.clone())),
                Piece::Insert(path) => match self.inserted(path) {
                    Some(text) => template.pieces.push(TemplatePiece::Literal(text)),
                    None => template.pieces.push(TemplatePiece::Axis(dotted(path), self.span(path.span))),
                },
            }
        }
        Some(template)
    }

    /// The text of a param, without the quotes of a string.
    fn inserted(&self, path: &tree::Path) -> Option<String> {
        let (id, used) = self.scope.lookup(self.module, &path.parts)?;
        let param = self.scope.params.get(&id).filter(|_| used == path.parts.len())?;
        let text = param.text.trim();
        Some(text.strip_prefix('"').and_then(|t| t.strip_suffix('"')).unwrap_or(text).to_string())
    }
}

/// The value of a selector as text; a param stands for its value.
pub fn selected(scope: &Scope, sources: &Sources, module: usize, value: &Value) -> String {
    if let ValueKind::Reference(reference) = &value.kind
        && reference.selectors.is_none()
        && let Some((id, used)) = scope.lookup(module, &reference.path.parts)
        && used == reference.path.parts.len()
        && let Some(param) = scope.params.get(&id)
    {
        return param.text.clone();
    }
    match &value.kind {
        ValueKind::Text(text) => match text.pieces.as_slice() {
            [Piece::Literal(literal)] => literal.clone(),
            _ => slice(sources, value.span),
        },
        _ => slice(sources, value.span),
    }
}

/// Kinds whose rows are asked most.
const ROWS_KINDS: &[&str] =
    &["classify", "scaling", "quality", "crosscoder", "recover", "patch", "layers", "tokens", "twins", "compare"];

/// The file id of values that stand in the schema and in no text.
const DEFAULTS: FileId = FileId(u32::MAX);

/// What stands before a default when it is parsed.
const HEAD: &str = "xd 1\nparam x = ";

/// The tree of a default.
fn literal(text: &str) -> Option<Value> {
    let (tree, _) = syntax::parse(DEFAULTS, &format!("{HEAD}{text}\n"));
    match tree.declarations.into_iter().next()?.body {
        tree::Body::Value(value) => Some(value),
        tree::Body::Fields(_) => None,
    }
}

/// A dotted word as written.
pub fn dotted(path: &tree::Path) -> String {
    let words: Vec<&str> = path.parts.iter().map(|p| p.text.as_str()).collect();
    words.join(".")
}

/// A number with a multiplier where that is shorter: `50M`.
pub fn short(number: f64) -> String {
    for (size, letter) in [(1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "K")] {
        let scaled = number / size;
        if scaled >= 1.0 && (scaled * 10.0).fract() == 0.0 {
            return format!("{scaled}{letter}");
        }
    }
    format!("{number}")
}

fn unit_words(unit: Unit) -> &'static str {
    match unit {
        Unit::Times => "multiples",
        other => other.word(),
    }
}

/// The arguments, with the nameless ones that are entries of a list put into it. `None`: the form has no such list.
fn gather(variant: &Variant, entries: &[Entry]) -> Option<Vec<Entry>> {
    let rest = variant.arguments.iter().filter(|a| a.positional).position(|a| a.rest)?;
    let (named, nameless): (Vec<Entry>, Vec<Entry>) = entries.iter().cloned().partition(|e| e.label.is_some());
    let mut gathered: Vec<Entry> = nameless.iter().take(rest).cloned().collect();
    if let [first, .., last] | [first @ last] = &nameless[rest.min(nameless.len())..] {
        let span = Span { end: last.value.span.end, ..first.value.span };
        let kind = ValueKind::List(nameless[rest..].to_vec());
        gathered.push(Entry { label: None, value: Value { kind, span } });
    }
    gathered.extend(named);
    Some(gathered)
}
