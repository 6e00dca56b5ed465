//! Params: the value of the file, or the one that `--set` gives.

use crate::lang::diagnostic::{Code, Diagnostic, suggest};
use crate::lang::plan::ParamValue;
use crate::lang::source::{FileId, Sources, Span};
use crate::lang::syntax;
use crate::lang::syntax::tree::{Body, Suffix, Value, ValueKind};

use super::scope::{DeclId, ParamInForce, Scope, VALUE};
use super::sink::Sink;

/// Fills [`Scope::params`]; every wrong `--set` is reported in a text of its own.
pub fn put_in_force(scope: &mut Scope, sources: &mut Sources, sets: &[String], sink: &mut Sink) {
    for index in 0..scope.declared.len() {
        let declared = &scope.declared[index];
        if declared.kind.is_none_or(|k| k.word != "param") {
            continue;
        }
        let Some(written) = declared.fields.iter().find(|w| w.path == VALUE) else { continue };
        let text = slice(sources, written.value.span);
        let param = ParamInForce {
            value: written.value.clone(),
            default: text.clone(),
            text,
            module: declared.module,
            set: false,
        };
        scope.params.insert(DeclId(index), param);
    }
    for set in sets {
        change(scope, sources, set, sink);
    }
}

/// The params of the asked file, in its order, as the help and the report show them.
pub fn values(scope: &Scope) -> Vec<ParamValue> {
    scope
        .params
        .iter()
        .map(|(id, param)| ParamValue {
            name: scope.get(*id).name.clone(),
            value: param.text.clone(),
            default: param.default.clone(),
            set: param.set,
            docs: scope.get(*id).docs.clone(),
        })
        .collect()
}

fn change(scope: &mut Scope, sources: &mut Sources, set: &str, sink: &mut Sink) {
    let (name, typed) = set.split_once('=').unwrap_or((set, ""));
    let (name, typed) = (name.trim(), typed.trim());
    // The text that is read and shown: a whole file with one declaration, so that every place in it exists.
    let head = format!("param {} = ", name.rsplit('.').next().unwrap_or(name));
    let file = sources.add("--set", format!("{head}{typed}"));
    let name_span = Span::new(file, 6, head.len() - 3);
    let value_span = Span::new(file, head.len(), head.len() + typed.len());
    if !set.contains('=') || typed.is_empty() {
        sink.push(
            Diagnostic::new(Code::Unreadable, name_span, format!("`--set {set}` does not say which value"))
                .label("a param needs a value")
                .help(format!("write `--set {name}=VALUE`")),
        );
        return;
    }
    let Some(id) = scope.names.get(name).copied().filter(|id| scope.params.contains_key(id)) else {
        sink.push(unknown(scope, name, name_span));
        return;
    };
    let Some(value) = parse(file, &sources.get(file).text, sink) else { return };
    if let Some(problem) = no_import(scope, id, &value, typed, name) {
        sink.push(problem);
        return;
    }
    let Some(param) = scope.params.get_mut(&id) else { return };
    if let Some(problem) = differs(&param.value, &value, &param.default, name) {
        let place = scope.declared[id.0].name_span;
        sink.push(Diagnostic { span: value_span, ..problem }.related(place, "declared here, with its default"));
        return;
    }
    param.value = value;
    param.text = typed.to_string();
    param.module = 0;
    param.set = true;
}

/// A value that is no import, for a param that stands for one.
fn no_import(scope: &Scope, id: DeclId, value: &Value, typed: &str, name: &str) -> Option<Diagnostic> {
    let own = scope.get(id).name.rsplit('.').next().unwrap_or_default();
    scope.opened(scope.get(id).module, own)?;
    let ValueKind::Reference(reference) = &value.kind else { return None };
    if scope.import(0, &reference.path.parts).is_some() {
        return None;
    }
    let imports: Vec<&str> = scope.modules[0].aliases.keys().map(String::as_str).collect();
    let help = match suggest(typed, imports.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("the imports are {}", imports.join(" ")),
    };
    let message = format!("`{name}` stands for an import, and none is called `{typed}`");
    let declared = scope.get(id).name_span;
    Some(
        Diagnostic::new(Code::UnknownName, value.span, message)
            .label("no import")
            .related(declared, "declared here")
            .help(help),
    )
}

fn unknown(scope: &Scope, name: &str, span: Span) -> Diagnostic {
    if let Some(id) = scope.names.get(name) {
        let declared = scope.get(*id);
        let kind = declared.kind.map_or("declaration", |k| k.word);
        return Diagnostic::new(Code::WrongKind, span, format!("`{name}` is a {kind}, not a param"))
            .label("only params can be set")
            .related(declared.name_span, "declared here")
            .help("declare a param, use it in the field, and set that");
    }
    let names: Vec<&str> = scope.params.keys().map(|id| scope.get(*id).name.as_str()).collect();
    let help = match suggest(name, &names) {
        Some(near) => format!("did you mean `{near}`?"),
        None if names.is_empty() => "this file declares no params".to_string(),
        None => format!("the params of this file are {}", names.join(" ")),
    };
    Diagnostic::new(Code::UnknownName, span, format!("there is no param called `{name}`"))
        .label("unknown param")
        .help(help)
}

fn parse(file: FileId, text: &str, sink: &mut Sink) -> Option<Value> {
    let (tree, found) = syntax::parse(file, text);
    let mut wrong = false;
    for diagnostic in found.into_iter().filter(|d| d.code != Code::MissingEdition) {
        wrong = true;
        sink.push(diagnostic);
    }
    match tree.declarations.into_iter().next()?.body {
        Body::Value(value) if !wrong && !matches!(value.kind, ValueKind::Broken) => Some(value),
        _ => None,
    }
}

/// How the new value differs in type from the default, if it does. The span is filled in by the caller.
fn differs(default: &Value, new: &Value, default_text: &str, name: &str) -> Option<Diagnostic> {
    let span = new.span;
    let help = format!("its default is `{default_text}`; a param keeps the type of its default");
    match (&default.kind, &new.kind) {
        (ValueKind::Reference(word), _) if word.path.parts.len() == 1 && word.path.parts[0].text == "none" => None,
        (ValueKind::Quantity(old), ValueKind::Quantity(new)) => {
            let form = |q: &crate::lang::syntax::tree::Quantity| match q.suffix {
                Some(Suffix::Times) => Some("x".to_string()),
                _ => q.unit.as_ref().map(|u| u.text.clone()),
            };
            // A share may be set as 0.2 or 20%.
            match (form(old), form(new)) {
                (a, b) if a == b => None,
                (Some(unit), None) => Some(
                    Diagnostic::new(Code::MissingUnit, span, format!("`{name}` is a number of `{unit}`"))
                        .label("no unit")
                        .help(help),
                ),
                (Some(unit), Some(_)) => Some(
                    Diagnostic::new(Code::WrongUnit, span, format!("`{name}` is a number of `{unit}`"))
                        .label("another unit")
                        .help(help),
                ),
                (None, _) => Some(
                    Diagnostic::new(Code::WrongUnit, span, format!("`{name}` is a number without a unit"))
                        .label("unit")
                        .help(help),
                ),
            }
        }
        (old, new) if form(old) == form(new) => None,
        (old, new) => Some(
            Diagnostic::new(Code::WrongType, span, format!("`{name}` is {}, and this is {}", form(old), form(new)))
                .label(form(new))
                .help(help),
        ),
    }
}

/// The form of a value in words; forms that can stand for each other share one.
pub fn form(kind: &ValueKind) -> &'static str {
    match kind {
        ValueKind::Quantity(_) => "a number",
        ValueKind::Text(_) => "a string",
        ValueKind::Reference(_) | ValueKind::Call { .. } => "a name",
        ValueKind::List(_) => "a list",
        ValueKind::Tuple(_) => "a tuple",
        ValueKind::Range { .. } => "a range",
        ValueKind::Portion { .. } => "a portion",
        ValueKind::Comparison { .. } => "a comparison",
        ValueKind::Broken => "unreadable",
    }
}

/// The text of a place, with runs of white space made one space.
pub fn slice(sources: &Sources, span: Span) -> String {
    let text = &sources.get(span.file).text;
    let piece = text.get(span.start..span.end).unwrap_or("");
    let mut lines: Vec<&str> = Vec::new();
    for line in piece.lines() {
        let line = match line.find('#') {
            Some(at) if !line[..at].contains('"') => &line[..at],
            _ => line,
        };
        lines.push(line.trim());
    }
    let joined = lines.join(" ");
    if joined.contains('"') {
        joined.trim().to_string()
    } else {
        joined.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}
