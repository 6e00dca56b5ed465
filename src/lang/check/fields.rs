//! Fields that are unknown, misplaced or missing.

use crate::lang::diagnostic::{Code, Diagnostic, suggest};
use crate::lang::resolve::Declared;
use crate::lang::resolve::{VALUE, Written};
use crate::lang::schema::{Default, KINDS, Kind, Type, article, join};
use crate::lang::syntax::tree::ValueKind;

/// A short form where fields belong, or the other way round.
pub fn wrong_shape(kind: &Kind, declared: &Declared) -> Option<Diagnostic> {
    let short = declared.fields.iter().find(|w| w.path == VALUE);
    match (&kind.value, short) {
        (None, Some(written)) => Some(
            Diagnostic::new(
                Code::WrongType,
                written.value.span,
                format!("{} {} is written with fields in braces", article(kind.word), kind.word),
            )
            .label("a value")
            .help(format!("as in\n{}", kind.example)),
        ),
        (Some(ty), None) if kind.fields.is_empty() && !declared.unreadable => Some(
            Diagnostic::new(
                Code::WrongType,
                declared.name_span,
                format!("{} {} is written `{} name = ..`, without braces", article(kind.word), kind.word, kind.word),
            )
            .label("no value")
            .help(format!("it takes {}", ty.describe())),
        ),
        _ => None,
    }
}

/// A field that the kind does not have; `path` without the mark of a block.
pub fn unknown(kind: &Kind, declared: &Declared, written: &Written, path: &str) -> Diagnostic {
    let word = path.rsplit('.').next().unwrap_or(path);
    if kind.is_block(path) {
        let inner: Vec<&str> =
            kind.fields.iter().map(|f| f.path).filter(|p| p.starts_with(&format!("{path}."))).collect();
        return Diagnostic::new(
            Code::WrongType,
            written.path_span,
            format!("`{path}` is a block of fields, not a value"),
        )
        .label("a block")
        .help(format!("its fields are {}", inner.join(", ")));
    }
    if kind.field(path).is_some() {
        return Diagnostic::new(
            Code::WrongType,
            written.path_span,
            format!("`{path}` is a value, not a block of fields"),
        )
        .label("braces")
        .help(format!(
            "write `{path} = ..`; it takes {}",
            kind.field(path).map_or(String::new(), |f| f.ty.describe())
        ));
    }
    let label = format!("not a field of {}", kind.word);
    if let Some(misplaced) = argument_beside_its_form(kind, declared, word, written) {
        return misplaced;
    }
    // The whole path was shortened or lengthened: `batch` for `train.batch`.
    if let Some(field) = kind.fields.iter().find(|f| f.word() == word && f.path.contains('.') != path.contains('.')) {
        return Diagnostic::new(
            Code::MisplacedField,
            written.path_span,
            format!("`{path}` does not stand here: the field is `{}`", field.path),
        )
        .label(label)
        .help(match field.path.split_once('.') {
            Some((block, inner)) => format!("write `{} = ..`, or put `{inner} = ..` into `{block} {{ }}`", field.path),
            None => format!("write `{} = ..` outside of the block", field.path),
        });
    }
    let near = suggest(path, kind.fields.iter().map(|f| f.path)).or_else(|| {
        // The block is right and the word is not: `train.batsh`.
        let (block, _) = path.rsplit_once('.')?;
        let inner: Vec<&str> =
            kind.fields.iter().filter(|f| f.path.starts_with(&format!("{block}."))).map(|f| f.word()).collect();
        suggest(word, inner).map(|w| format!("{block}.{w}"))
    });
    if let Some(near) = near {
        return Diagnostic::new(
            Code::UnknownField,
            written.path_span,
            format!("`{path}` is not a field of {}", kind.word),
        )
        .label("unknown field")
        .help(format!("did you mean `{near}`?"));
    }
    let owners: Vec<String> =
        KINDS.iter().filter(|k| k.field(path).is_some()).map(|k| format!("`{}`", k.word)).collect();
    let fields: Vec<&str> = kind.fields.iter().map(|f| f.path).collect();
    let (code, message) = match owners.is_empty() {
        true => (Code::UnknownField, format!("`{path}` is not a field of {}", kind.word)),
        false => {
            (Code::MisplacedField, format!("`{path}` is a field of {}, not of {}", join(&owners, "and"), kind.word))
        }
    };
    Diagnostic::new(code, written.path_span, message)
        .label(if owners.is_empty() { "unknown field".to_string() } else { label })
        .help(format!("the fields of {} are {}", kind.word, fields.join(", ")))
}

/// `k = 100` beside `loss = l1(..)`: an argument of a form stands among the fields.
fn argument_beside_its_form(kind: &Kind, declared: &Declared, word: &str, written: &Written) -> Option<Diagnostic> {
    let (field, owner) = kind.fields.iter().find_map(|f| {
        let owner =
            f.ty.variants()
                .iter()
                .find(|v| v.argument(word).is_some() && v.built == crate::lang::schema::Built::Yes)?;
        Some((f, owner))
    })?;
    let owners: Vec<&str> = field.ty.variants().iter().filter(|v| v.argument(word).is_some()).map(|v| v.word).collect();
    let loss = field.path == "loss";
    let whose = match (loss, owner.word) {
        (true, "batch_topk") => "the BatchTopK loss".to_string(),
        (true, "l1") => "the L1 loss".to_string(),
        _ => format!("`{}`", owner.word),
    };
    let value = declared.fields.iter().find(|w| w.path == field.path).map(|w| &w.value);
    let in_axis =
        declared.axes.iter().find(|a| a.fields.iter().any(|p| p.parts.last().is_some_and(|n| n.text == field.word())));
    let forms: Vec<String> = match (value, in_axis) {
        (Some(value), _) => form_words(&value.kind),
        (None, Some(axis)) => form_words(&axis.values.kind),
        (None, None) => Vec::new(),
    };
    let written_value = match &written.value.kind {
        ValueKind::Quantity(q) => q.digits.clone(),
        _ => "..".to_string(),
    };
    let example = format!("`{} = {}({word} = {written_value})`", field.path, owner.word);
    let carries: Vec<&String> = forms.iter().filter(|f| owners.contains(&f.as_str())).collect();
    let purpose = if word == "k" { "to fix the number of active latents use" } else { "write" };
    let help = match (forms.as_slice(), carries.as_slice()) {
        ([], _) => format!("{purpose} {example}"),
        (_, []) => {
            format!("this {} is trained with {}, which has no {word}; {purpose} {example}", kind.word, quoted(&forms))
        }
        (_, [form, ..]) => format!("put it inside: `{} = {form}({word} = {written_value})`", field.path),
    };
    Some(
        Diagnostic::new(
            Code::MisplacedField,
            written.path_span,
            format!("`{word}` belongs to {whose}, not to the {}", kind.word),
        )
        .label(format!("not a field of {}", kind.word))
        .help(help),
    )
}

fn quoted(words: &[String]) -> String {
    join(&words.iter().map(|w| format!("`{w}`")).collect::<Vec<_>>(), "and")
}

fn form_words(kind: &ValueKind) -> Vec<String> {
    match kind {
        ValueKind::Call { name, .. } => vec![name.parts.iter().map(|p| p.text.as_str()).collect::<Vec<_>>().join(".")],
        ValueKind::Reference(reference) => reference.path.parts.iter().map(|p| p.text.clone()).collect(),
        ValueKind::List(entries) => entries.iter().flat_map(|e| form_words(&e.value.kind)).collect(),
        ValueKind::Tuple(values) => values.first().map_or(Vec::new(), |v| form_words(&v.kind)),
        _ => Vec::new(),
    }
}

/// Required fields that are not there.
pub fn missing(kind: &Kind, declared: &Declared, missing: &[&str]) -> Diagnostic {
    let names: Vec<String> = missing.iter().map(|m| format!("`{m}`")).collect();
    let lines: Vec<String> = missing
        .iter()
        .filter_map(|m| kind.field(m))
        .map(|f| format!("`{} = ..`: {} It takes {}", f.path, f.doc, f.ty.describe()))
        .collect();
    let alternative = match (&kind.value, missing.len()) {
        (Some(Type::Variant([form, ..])), n) if n > 1 => {
            format!("; or write `{} {} = {}(..)`", kind.word, declared.name, form.word)
        }
        _ => String::new(),
    };
    debug_assert!(missing.iter().all(|m| kind.field(m).is_some_and(|f| matches!(f.default, Default::Required))));
    Diagnostic::new(
        Code::MissingField,
        declared.name_span,
        format!("the {} `{}` needs {}", kind.word, declared.name, join(&names, "and")),
    )
    .label(format!("{} missing", join(&names, "and")))
    .help(format!("write {}{alternative}", lines.join("; ")))
}
