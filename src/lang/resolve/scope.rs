//! The flat scope: every declaration of every module by its name, with its fields laid flat.

use std::collections::BTreeMap;

use crate::lang::diagnostic::{Code, Diagnostic, suggest};
use crate::lang::schema::{self, Kind, Type};
use crate::lang::source::{Sources, Span};
use crate::lang::syntax::tree::{self, Body, Value, ValueKind};

use super::modules::Module;
use super::params;
use super::reader::dotted;
use super::sink::Sink;

/// Index of a declaration in [`Scope::declared`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeclId(pub usize);

/// A declaration as written, fields laid flat.
#[derive(Clone, Debug)]
pub struct Declared {
    /// Qualified: `chat.gemma` for an imported one.
    pub name: String,
    pub name_span: Span,
    pub module: usize,
    /// `None` when the kind is unknown or not built; then nothing of it is judged.
    pub kind: Option<&'static Kind>,
    pub docs: Option<String>,
    pub axes: Vec<tree::Axis>,
    /// `train.batch` and its value; the path `=` is the value of the short form.
    pub fields: Vec<Written>,
    pub span: Span,
    /// The head or a line could not be read, so a field may be there that nobody saw.
    pub unreadable: bool,
    /// Made out of a form written in place of a name, such as `base = folder("..")` in a pair.
    pub in_place: bool,
}

/// A field as written.
#[derive(Clone, Debug)]
pub struct Written {
    pub path: String,
    pub path_span: Span,
    pub value: Value,
}

/// The value that a param has in this run.
#[derive(Clone, Debug)]
pub struct ParamInForce {
    pub value: Value,
    /// As written, for interpolation and the report.
    pub text: String,
    pub default: String,
    /// Module in whose names it is read.
    pub module: usize,
    pub set: bool,
}

/// All names of an experiment.
#[derive(Debug)]
pub struct Scope {
    pub modules: Vec<Module>,
    pub declared: Vec<Declared>,
    pub names: BTreeMap<String, DeclId>,
    pub params: BTreeMap<DeclId, ParamInForce>,
}

/// The path of the value of a short form.
pub const VALUE: &str = "=";

impl Scope {
    /// Gathers the declarations of all modules and puts the params in force.
    pub fn build(modules: Vec<Module>, sources: &mut Sources, sets: &[String], sink: &mut Sink) -> Scope {
        let mut scope = Scope { modules, declared: Vec::new(), names: BTreeMap::new(), params: BTreeMap::new() };
        for module in 0..scope.modules.len() {
            let declarations = scope.modules[module].tree.declarations.clone();
            for declaration in &declarations {
                scope.declare(module, declaration, sink);
            }
        }
        params::put_in_force(&mut scope, sources, sets, sink);
        scope.lift_models_of_params();
        scope.write_out_papers(sources, sink);
        scope
    }

    pub(super) fn declare(&mut self, module: usize, declaration: &tree::Declaration, sink: &mut Sink) {
        let name = format!("{}{}", self.modules[module].prefix, declaration.name.text);
        let mut declared = Declared {
            name: name.clone(),
            name_span: declaration.name.span,
            module,
            kind: known_kind(declaration, sink),
            docs: declaration.docs.clone(),
            axes: declaration.axes.clone(),
            fields: Vec::new(),
            span: declaration.span,
            unreadable: false,
            in_place: false,
        };
        match &declaration.body {
            Body::Value(value) => {
                declared.unreadable = matches!(value.kind, ValueKind::Broken);
                if !declared.unreadable {
                    let path_span = declaration.name.span;
                    declared.fields.push(Written { path: VALUE.to_string(), path_span, value: value.clone() });
                }
            }
            Body::Fields(fields) => flatten("", fields, &mut declared, sink),
        }
        if let Some(alias) = self.modules[module].aliases.get(&declaration.name.text) {
            sink.push(
                Diagnostic::new(
                    Code::DefinedTwice,
                    declaration.name.span,
                    format!("`{}` is the name of an import", declaration.name.text),
                )
                .label("the same name again")
                .related(*alias, "imported here")
                .help("rename one of them; all names of a file share one scope"),
            );
        }
        if let Some(first) = self.names.get(&name) {
            sink.push(
                Diagnostic::new(
                    Code::DefinedTwice,
                    declaration.name.span,
                    format!("`{}` is declared twice", declaration.name.text),
                )
                .label("declared again")
                .related(self.declared[first.0].name_span, "first declared here")
                .help("rename one of them; all names of a file share one scope, whatever their kind"),
            );
            declared.kind = None;
            declared.name = format!("{name} (again)");
            self.declared.push(declared);
            return;
        }
        self.lift_models(&mut declared);
        self.names.insert(name, DeclId(self.declared.len()));
        self.declared.push(declared);
    }

    /// `base = start` in a pair, where `start` is a param that holds `folder("..")`, becomes a model of its own too. Params must be in
    /// force.
    pub fn lift_models_of_params(&mut self) {
        for index in 0..self.declared.len() {
            let mut declared = self.declared[index].clone();
            self.lift(&mut declared, |scope, module, reference, forms| {
                let Some((id, used)) = scope.lookup(module, &reference.path.parts) else { return false };
                let param = scope.params.get(&id).filter(|_| used == reference.path.parts.len());
                param.is_some_and(|param| is_form(&param.value.kind, forms))
            });
            self.declared[index] = declared;
        }
    }

    /// `base = folder("..")` in a pair becomes a model of its own, named `pair.base`.
    fn lift_models(&mut self, declared: &mut Declared) {
        self.lift(declared, |_, _, _, _| false);
    }

    /// Lifts forms, and the references that `holds_form` says hold one.
    fn lift(
        &mut self,
        declared: &mut Declared,
        holds_form: impl Fn(&Scope, usize, &tree::Reference, &[schema::Variant]) -> bool,
    ) {
        let Some(kind) = declared.kind else { return };
        for written in &mut declared.fields {
            let Some(field) = kind.field(&written.path) else { continue };
            let Type::StepOr(kinds, forms) = field.ty else { continue };
            if kinds != ["model"] {
                continue;
            }
            let lifted = match &written.value.kind {
                ValueKind::Reference(r) if holds_form(self, declared.module, r, forms) => true,
                value => is_form(value, forms),
            };
            if !lifted {
                continue;
            }
            let name = format!("{}.{}", declared.name, written.path);
            let span = written.value.span;
            let value = std::mem::replace(
                &mut written.value,
                Value {
                    kind: ValueKind::Reference(tree::Reference {
                        path: tree::Path {
                            parts: name[self.modules[declared.module].prefix.len()..]
                                .split('.')
                                .map(|p| tree::Name { text: p.to_string(), span })
                                .collect(),
                            span,
                        },
                        selectors: None,
                        member: None,
                    }),
                    span,
                },
            );
            self.names.insert(name.clone(), DeclId(self.declared.len()));
            self.declared.push(Declared {
                name,
                name_span: span,
                module: declared.module,
                kind: schema::kind("model"),
                docs: None,
                axes: Vec::new(),
                fields: vec![Written { path: VALUE.to_string(), path_span: span, value }],
                span,
                unreadable: false,
                in_place: true,
            });
        }
    }

    /// The declaration with this id.
    pub fn get(&self, id: DeclId) -> &Declared {
        &self.declared[id.0]
    }

    /// The longest beginning of a dotted word that is a declaration seen from `module`, and how many parts it has. A param that stands for an
    /// import opens it: with `param recipe = embedded`, `recipe.cc` is `embedded.cc`.
    pub fn lookup(&self, module: usize, parts: &[tree::Name]) -> Option<(DeclId, usize)> {
        let words: Vec<&str> = parts.iter().map(|p| p.text.as_str()).collect();
        if let [first, rest @ ..] = &words[..]
            && !rest.is_empty()
            && let Some(prefix) = self.opened(module, first)
        {
            return self.longest(&prefix, rest).map(|(id, used)| (id, used + 1));
        }
        self.longest(&self.modules[module].prefix, &words)
    }

    fn longest(&self, prefix: &str, words: &[&str]) -> Option<(DeclId, usize)> {
        let named = |n: usize| self.names.get(&format!("{prefix}{}", words[..n].join(".")));
        (1..=words.len()).rev().find_map(|n| named(n).map(|id| (*id, n)))
    }

    /// The prefix of the import that a param stands for.
    pub fn opened(&self, module: usize, param: &str) -> Option<String> {
        let mut at = self.names.get(&format!("{}{param}", self.modules[module].prefix))?;
        for _ in 0..self.params.len() {
            let param = self.params.get(at)?;
            let ValueKind::Reference(reference) = &param.value.kind else { return None };
            let written = format!("{}{}", self.modules[param.module].prefix, dotted(&reference.path));
            let prefix = format!("{written}.");
            if reference.selectors.is_none() && self.modules.iter().any(|m| m.prefix == prefix) {
                return Some(prefix);
            }
            at = self.names.get(&written)?;
        }
        None
    }

    /// The prefix of the import that this dotted word names.
    pub fn import(&self, module: usize, parts: &[tree::Name]) -> Option<String> {
        let words: Vec<&str> = parts.iter().map(|p| p.text.as_str()).collect();
        let prefix = format!("{}{}.", self.modules[module].prefix, words.join("."));
        self.modules.iter().any(|m| m.prefix == prefix).then_some(prefix)
    }

    /// Names of an import's own declarations of these kinds.
    pub fn of_kinds(&self, prefix: &str, kinds: &[&str]) -> Vec<&str> {
        let own = self.names.iter().filter_map(|(name, id)| Some((name.strip_prefix(prefix)?, id)));
        own.filter(|(name, id)| !name.contains('.') && self.get(**id).kind.is_some_and(|k| kinds.contains(&k.word)))
            .map(|(name, _)| name)
            .collect()
    }

    /// True when the dotted word may be a name of an import that could not be read.
    pub fn may_be_hidden(&self, module: usize, parts: &[tree::Name]) -> bool {
        self.modules[module].incomplete
            && parts.first().is_some_and(|p| self.modules[module].aliases.contains_key(&p.text))
    }

    /// The name that was most likely meant: of one of these kinds first, of any kind else.
    pub fn suggest(&self, module: usize, word: &str, kinds: &[&str]) -> Option<String> {
        let prefix = &self.modules[module].prefix;
        let visible = |of_kind: bool| -> Vec<String> {
            let fits = |id: &DeclId| !of_kind || self.get(*id).kind.is_some_and(|k| kinds.contains(&k.word));
            let fitting = || self.names.iter().filter(|(_, id)| fits(id)).map(|(name, _)| name);
            let own = fitting().filter_map(|name| name.strip_prefix(prefix.as_str())).map(str::to_string);
            // `recipe.cc` for a word that begins with the param `recipe`.
            let opened = word.split_once('.').and_then(|(head, _)| Some((head, self.opened(module, head)?)));
            let through = opened.iter().flat_map(|(head, import)| {
                fitting().filter_map(move |name| Some(format!("{head}.{}", name.strip_prefix(import.as_str())?)))
            });
            own.chain(through).collect()
        };
        suggest(word, visible(true)).or_else(|| suggest(word, visible(false)))
    }
}

fn known_kind(declaration: &tree::Declaration, sink: &mut Sink) -> Option<&'static Kind> {
    let word = &declaration.kind;
    let Some(kind) = schema::kind(&word.text) else {
        let names = schema::KINDS.iter().map(|k| k.word);
        let help = match suggest(&word.text, names.clone()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("the kinds are {}", names.collect::<Vec<_>>().join(" ")),
        };
        sink.push(
            Diagnostic::new(
                Code::UnknownKind,
                word.span,
                format!("there is no kind of declaration called `{}`", word.text),
            )
            .label("unknown kind")
            .help(help),
        );
        return None;
    };
    if let schema::Built::NotYet(meanwhile) = kind.built {
        sink.push(
            Diagnostic::new(
                Code::NotBuiltYet,
                word.span,
                format!("`{}` belongs to the language, but this version of xd cannot do it yet", kind.word),
            )
            .label("not built yet")
            .help(meanwhile),
        );
        return None;
    }
    Some(kind)
}

fn flatten(prefix: &str, fields: &[tree::Field], declared: &mut Declared, sink: &mut Sink) {
    for field in fields {
        let words: Vec<&str> = field.path.parts.iter().map(|p| p.text.as_str()).collect();
        let path = if prefix.is_empty() { words.join(".") } else { format!("{prefix}.{}", words.join(".")) };
        match &field.body {
            Body::Fields(inner) => {
                let unknown = declared.kind.is_some_and(|k| !k.is_block(&path));
                if unknown {
                    // One message for the block; what stands in it is not judged.
                    let value = Value { kind: ValueKind::Broken, span: field.span };
                    declared.fields.push(Written { path: format!("{path}{BLOCK}"), path_span: field.path.span, value });
                } else {
                    flatten(&path, inner, declared, sink);
                }
            }
            Body::Value(value) => {
                if let Some(first) = declared.fields.iter().find(|w| w.path == path) {
                    sink.push(
                        Diagnostic::new(Code::SetTwice, field.path.span, format!("`{path}` is set twice"))
                            .label("set again")
                            .related(first.path_span, "first set here")
                            .help("keep one of the two; nothing is overridden in silence"),
                    );
                    continue;
                }
                declared.fields.push(Written { path, path_span: field.path.span, value: value.clone() });
            }
        }
    }
}

/// Marks a block that is no block of its kind.
pub const BLOCK: &str = " {}";

/// True for a call, and for a word that is a form without arguments.
fn is_form(value: &ValueKind, forms: &[schema::Variant]) -> bool {
    match value {
        ValueKind::Call { .. } => true,
        ValueKind::Reference(r) => r.path.parts.len() == 1 && forms.iter().any(|f| f.word == r.path.parts[0].text),
        _ => false,
    }
}
