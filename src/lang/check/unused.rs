//! Declarations that nothing reads, and files that ask for nothing.

use std::collections::BTreeSet;

use crate::lang::diagnostic::{Code, Diagnostic, suggest};
use crate::lang::resolve::{DeclId, Resolution, Scope, Sink, Typed};
use crate::lang::source::Span;
use crate::lang::syntax::tree::{Body, Field, Name, Piece, Text, Value, ValueKind};

/// Kinds that are results when nothing else reads them.
pub fn is_leaf(scope: &Scope, resolution: &Resolution, id: DeclId) -> bool {
    let Some(kind) = scope.get(id).kind else { return false };
    match kind.word {
        "table" | "plot" | "expect" | "classify" | "scaling" | "quality" | "recover" | "layers" | "patch" | "tokens" | "twins" | "examples" | "steer" | "autointerp" | "compare" | "crosscoder" | "activations" => true,
        // A model that is trained here is a result; a folder is not.
        "model" => resolution.get(id).combinations.iter().any(|fields| {
            matches!(fields.get(crate::lang::resolve::VALUE).map(|n| &n.value), Some(Typed::Call(call)) if call.word != "folder")
        }),
        _ => false,
    }
}

/// Everything that some other declaration names, wherever it stands in it.
pub fn read(scope: &Scope, resolution: &Resolution) -> BTreeSet<DeclId> {
    let mut read = BTreeSet::new();
    for index in 0..scope.declared.len() {
        for step in &resolution.get(DeclId(index)).refs {
            read.insert(step.target);
        }
    }
    // Words of values, also of broken ones: what might be meant is not called unused.
    for (index, declared) in scope.declared.iter().enumerate() {
        let mut words = Vec::new();
        declared.fields.iter().for_each(|w| gather(&w.value, &mut words));
        declared.axes.iter().for_each(|a| gather(&a.values, &mut words));
        for word in words {
            let head = scope.lookup(declared.module, &parts(&word)[..1]);
            let whole = scope.lookup(declared.module, &parts(&word));
            for id in head.into_iter().chain(whole).map(|(id, _)| id).filter(|id| *id != DeclId(index)) {
                if scope.params.contains_key(&id) || resolution.get(DeclId(index)).broken || declared.kind.is_none() {
                    read.insert(id);
                }
            }
        }
    }
    // A declaration whose kind is not known may read anything.
    for declared in scope.declared.iter().filter(|d| d.kind.is_none() || d.unreadable) {
        let tree = &scope.modules[declared.module].tree;
        let written = tree.declarations.iter().find(|d| d.name.span == declared.name_span);
        let mut words = Vec::new();
        match written.map(|d| &d.body) {
            Some(Body::Fields(fields)) => fields.iter().for_each(|f| gather_field(f, &mut words)),
            Some(Body::Value(value)) => gather(value, &mut words),
            None => {}
        }
        for word in words {
            if let Some((id, _)) = scope.lookup(declared.module, &parts(&word)) {
                read.insert(id);
            }
        }
    }
    read
}

/// Everything that the asked file names, directly or not, whether or not it can be read: all of its own declarations, and of imported
/// files what these lead to.
pub fn reached(scope: &Scope, resolution: &Resolution) -> BTreeSet<DeclId> {
    let own = |id: &DeclId| scope.get(*id).module == 0 && !scope.params.contains_key(id);
    let mut waiting: Vec<DeclId> = (0..scope.declared.len()).map(DeclId).filter(own).collect();
    let mut reached = BTreeSet::new();
    while let Some(id) = waiting.pop() {
        if reached.insert(id) {
            waiting.extend(resolution.get(id).refs.iter().map(|step| step.target));
            waiting.extend(named(scope, id));
        }
    }
    reached
}

/// Declarations whose names stand in the fields and axes of one, or in the value in force of a param.
fn named(scope: &Scope, id: DeclId) -> Vec<DeclId> {
    let declared = scope.get(id);
    let mut words = Vec::new();
    let module = match scope.params.get(&id) {
        Some(param) => {
            gather(&param.value, &mut words);
            param.module
        }
        None => {
            declared.fields.iter().for_each(|w| gather(&w.value, &mut words));
            declared.axes.iter().for_each(|a| gather(&a.values, &mut words));
            declared.module
        }
    };
    words.iter().filter_map(|word| scope.lookup(module, &parts(word))).map(|(id, _)| id).collect()
}

fn parts(word: &str) -> Vec<Name> {
    word.split('.').map(|part| Name { text: part.to_string(), span: Span::default() }).collect()
}

/// Warns of declarations of the asked file that nothing reads.
pub fn unused(scope: &Scope, resolution: &Resolution, sink: &mut Sink) {
    // Where a line could not be read, whatever it named may be what is called unused.
    let unreadable =
        scope.modules.iter().any(|m| m.incomplete) || scope.declared.iter().any(|d| d.unreadable || has_broken(d));
    let read = read(scope, resolution);
    let misspelled = misspelled(scope, resolution);
    for (index, declared) in scope.declared.iter().enumerate() {
        let id = DeclId(index);
        let Some(kind) = declared.kind else { continue };
        let own_name = declared.name.rsplit('.').next().unwrap_or(&declared.name);
        if declared.module != 0
            || declared.in_place
            || own_name.starts_with('_')
            || read.contains(&id)
            || is_leaf(scope, resolution, id)
        {
            continue;
        }
        if unreadable || resolution.get(id).broken && kind.word != "param" {
            continue;
        }
        let near =
            |word: &String| suggest(word, [own_name]).is_some() || strsim::damerau_levenshtein(word, own_name) <= 1;
        if misspelled.iter().any(near) {
            continue;
        }
        let help = match kind.word {
            "param" => format!("use it as a value, as in `k = {}`, or leave it out", declared.name),
            _ => format!("name it where it belongs, leave it out, or call it `_{}`", declared.name),
        };
        sink.push(
            Diagnostic::new(
                Code::Unused,
                declared.name_span,
                format!("nothing reads the {} `{}`", kind.word, declared.name),
            )
            .label("unused")
            .help(help),
        );
    }
}

/// Words of broken declarations: one of them may be the name of what seems unused.
fn misspelled(scope: &Scope, resolution: &Resolution) -> Vec<String> {
    let mut words = Vec::new();
    for (index, declared) in scope.declared.iter().enumerate() {
        let resolved = resolution.get(DeclId(index));
        if resolved.broken
            || resolved.axes_unknown
            || declared.kind.is_some_and(|k| matches!(k.word, "table" | "plot" | "expect"))
        {
            declared.fields.iter().for_each(|w| gather(&w.value, &mut words));
            declared.axes.iter().for_each(|a| gather(&a.values, &mut words));
        }
    }
    words
        .iter()
        .map(|w| w.split('.').next().unwrap_or(w).to_string())
        .filter(|w| !scope.names.contains_key(w))
        .collect()
}

fn has_broken(declared: &crate::lang::resolve::Declared) -> bool {
    declared.fields.iter().any(|w| matches!(w.value.kind, ValueKind::Broken))
}

/// Warns of a file that has no step to run.
pub fn nothing_to_do(scope: &Scope, resolution: &Resolution, sink: &mut Sink) {
    let root = &scope.modules[0];
    let any = (0..scope.declared.len()).any(|i| {
        scope.declared[i].module == 0 && (scope.declared[i].kind.is_none() || is_leaf(scope, resolution, DeclId(i)))
    });
    if any || root.incomplete && root.tree.declarations.is_empty() {
        return;
    }
    let end = root.tree.declarations.last().map(|d| d.name.span).or(root.tree.edition.as_ref().map(|e| e.span));
    let span = end.unwrap_or(Span::new(root.file, 0, 0));
    sink.push(
        Diagnostic::new(Code::NothingToDo, span, "this file asks for nothing: there is no step to run")
            .label("no step after this")
            .help("add what you want to know: a crosscoder and a `table`, `plot` or `expect` on its analyses"),
    );
}

fn gather_field(field: &Field, words: &mut Vec<String>) {
    match &field.body {
        Body::Value(value) => gather(value, words),
        Body::Fields(fields) => fields.iter().for_each(|f| gather_field(f, words)),
    }
}

fn gather(value: &Value, words: &mut Vec<String>) {
    match &value.kind {
        ValueKind::Reference(reference) => {
            words.push(dotted(&reference.path));
            for selector in reference.selectors.iter().flatten() {
                gather(&selector.value, words);
            }
        }
        ValueKind::Call { arguments, .. } => arguments.iter().for_each(|e| gather(&e.value, words)),
        ValueKind::List(entries) => entries.iter().for_each(|e| gather(&e.value, words)),
        ValueKind::Tuple(values) => values.iter().for_each(|v| gather(v, words)),
        ValueKind::Range { start, end, .. } => {
            gather(start, words);
            gather(end, words);
        }
        ValueKind::Portion { amount, of } => {
            gather(amount, words);
            gather(of, words);
        }
        ValueKind::Comparison { left, right, .. } => {
            gather(left, words);
            gather(right, words);
        }
        ValueKind::Text(text) => inserted(text, words),
        ValueKind::Quantity(_) | ValueKind::Broken => {}
    }
}

fn inserted(text: &Text, words: &mut Vec<String>) {
    for piece in &text.pieces {
        if let Piece::Insert(path) = piece {
            words.push(dotted(path));
        }
    }
}

fn dotted(path: &crate::lang::syntax::tree::Path) -> String {
    path.parts.iter().map(|p| p.text.as_str()).collect::<Vec<_>>().join(".")
}
