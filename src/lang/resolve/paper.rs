//! `plot figures = paper(classes, nu, ..)` becomes the paper's figures, each a declaration of its own; tables likewise.
//!
//! They are written in the language, in `src/lang/schema/paper.xd`. Its names of steps are replaced by those that are given, its names of axes
//! by the axes that the crosscoder has; a declaration whose steps are not all given is left out, and so is what names an axis that is not
//! there. What comes out is a text, read like any other.

use std::collections::BTreeMap;

use super::reader::{Reader, dotted};
use super::scope::{DeclId, Declared, Scope, VALUE};
use super::sink::Sink;
use super::typed::{StepRef, Typed};
use crate::lang::diagnostic::{Code, Diagnostic};
use crate::lang::schema::paper::{AXES, NAMES, PAPER, TEXT};
use crate::lang::schema::{Type, article};
use crate::lang::source::Sources;
use crate::lang::syntax;
use crate::lang::syntax::tree::{Entry, Reference, ValueKind};

/// What a name of `paper.xd` stands for, as it is written; `None` where it is not given.
type Meanings = BTreeMap<&'static str, Option<String>>;

impl Scope {
    /// Replaces every `paper(..)` by the declarations that it means. Params must be in force.
    pub(super) fn write_out_papers(&mut self, sources: &mut Sources, sink: &mut Sink) {
        let is_paper = |declared: &Declared| {
            let kind = declared.kind.is_some_and(|k| matches!(k.word, "plot" | "table"));
            kind && declared.fields.iter().any(|w| w.path == VALUE)
        };
        for index in 0..self.declared.len() {
            let declared = self.declared[index].clone();
            let Some(kind) = declared.kind.filter(|_| is_paper(&declared)) else { continue };
            let meanings = self.meanings(DeclId(index), sources, sink);
            self.declared[index].kind = None;
            let Some(meanings) = meanings else { continue };
            let text = written_out(kind.word, &meanings);
            let file = sources.add(format!("{} of the paper", declared.name), text.as_str());
            let (tree, problems) = syntax::parse(file, &text);
            problems.into_iter().for_each(|problem| sink.push(problem));
            if tree.declarations.is_empty() {
                let message = format!("the paper has no {} of these steps alone", kind.word);
                let help = "name more steps: `paper(classes, nu)` of a `classify` and a `scaling` step is a start";
                sink.push(Diagnostic::new(Code::NothingToDo, declared.name_span, message).label("nothing").help(help));
            }
            for mut part in tree.declarations {
                let own = &declared.name[self.modules[declared.module].prefix.len()..];
                part.name.text = format!("{own}.{}", part.name.text);
                self.declare(declared.module, &part, sink);
            }
        }
    }

    /// What the names of `paper.xd` stand for; `None` has been reported.
    fn meanings(&self, id: DeclId, sources: &Sources, sink: &mut Sink) -> Option<Meanings> {
        let declared = self.get(id);
        let own = declared.kind?.word;
        let value = &declared.fields.iter().find(|w| w.path == VALUE)?.value;
        let node = self.reader(id, sources, sink).read(&Type::Variant(PAPER), value, &format!("this {own}"))?;
        let call = node.call().filter(|call| !call.broken)?;
        let ValueKind::Call { arguments, .. } = &value.kind else { return None };
        let mut meanings: Meanings = NAMES.iter().chain(AXES).map(|(_, name)| (*name, None)).collect();
        let mut axes: Option<Vec<String>> = None;
        for (node, written) in call.get("steps")?.list()?.iter().zip(references(arguments)) {
            let Typed::Step(step) = &node.value else { return None };
            let kind = self.get(step.target).kind?.word;
            let name = NAMES.iter().find(|(word, _)| *word == kind)?.1;
            if let Some(Some(_)) = meanings.get(name) {
                let message = format!("the paper's {own}s take one {kind} step, and this is another");
                sink.push(
                    Diagnostic::new(Code::SetTwice, node.span, message)
                        .label(format!("{} {kind} again", article(kind)))
                        .help(format!("write another `{own}` for it")),
                );
                return None;
            }
            meanings.insert(name, Some(slice(sources, written.path.span, node.span)));
            if kind != "compare" {
                let open = self.open_axes(step);
                axes = Some(match axes {
                    Some(known) => known.into_iter().filter(|axis| open.contains(axis)).collect(),
                    None => open,
                });
            }
        }
        for (axis, name) in AXES {
            let there = axes.as_ref().is_some_and(|open| open.iter().any(|known| known == axis));
            meanings.insert(name, there.then(|| axis.to_string()));
        }
        Some(meanings)
    }

    fn reader<'r>(&'r self, id: DeclId, sources: &'r Sources, sink: &'r mut Sink) -> Reader<'r> {
        Reader {
            scope: self,
            sources,
            sink,
            module: self.get(id).module,
            own: id,
            at: None,
            origin: None,
            through: None,
            filled: Vec::new(),
            literal: None,
        }
    }

    /// Labels of the axes of the crosscoder behind a step that no bracket on the way fixes.
    fn open_axes(&self, step: &StepRef) -> Vec<String> {
        let mut fixed: Vec<String> = step.selectors.iter().map(|s| s.label.clone()).collect();
        let mut at = step.target;
        for _ in 0..self.declared.len() {
            let declared = self.get(at);
            let of = declared.fields.iter().find(|w| w.path == "of").map(|w| &w.value.kind);
            let Some(ValueKind::Reference(reference)) =
                of.filter(|_| declared.kind.is_some_and(|k| k.word != "crosscoder"))
            else {
                break;
            };
            fixed.extend(reference.selectors.iter().flatten().map(|s| dotted(&s.path)));
            let Some((next, _)) = self.lookup(declared.module, &reference.path.parts) else { break };
            at = next;
        }
        let axes = self.get(at).axes.iter().flat_map(|axis| &axis.fields).map(dotted);
        axes.filter(|axis| !fixed.contains(axis)).collect()
    }
}

/// The declarations of a kind with their names replaced.
fn written_out(kind: &str, meanings: &Meanings) -> String {
    let mut text = String::from("xd 1\n");
    for part in TEXT.split("\n\n").filter(|part| part.lines().any(|line| line.starts_with(&format!("{kind} ")))) {
        let lines: Option<Vec<Option<String>>> = part.lines().map(|line| replaced(line, meanings)).collect();
        if let Some(lines) = lines {
            text += "\n";
            lines.into_iter().flatten().for_each(|line| text += &(line + "\n"));
        }
    }
    text
}

/// A line with its names replaced. The outer `None`: it names a step that is not given. The inner one: nothing is left but axes that
/// are not there.
fn replaced(line: &str, meanings: &Meanings) -> Option<Option<String>> {
    if line.starts_with('#') {
        return Some(Some(line.to_string()));
    }
    let (field, _) = line.split_once('=').unwrap_or((line, ""));
    let whole = matches!(field.trim(), "rows" | "data");
    let mut text = String::new();
    let mut gone = 0;
    // Every second piece stands between quotes.
    for (place, piece) in line.split('"').enumerate() {
        if place % 2 == 1 {
            text += &format!("\"{piece}\"");
            continue;
        }
        let mut rest = piece;
        while let Some(start) = rest.find(|c: char| c.is_ascii_lowercase()) {
            let end = rest[start..].find(|c: char| !is_word(c)).map_or(rest.len(), |end| start + end);
            let word = &rest[start..end];
            text += &rest[..start];
            rest = &rest[end..];
            let (head, tail) = word.split_once('.').map_or((word, None), |(head, tail)| (head, Some(tail)));
            let axis = AXES.iter().any(|(_, name)| *name == head);
            match (meanings.get(head), tail) {
                (None, _) => text += word,
                (Some(None), _) if axis => {
                    gone += 1;
                    rest = rest.strip_prefix(", ").unwrap_or(rest);
                }
                (Some(None), _) => return None,
                (Some(Some(meaning)), None) if whole || axis => text += meaning,
                (Some(Some(meaning)), tail) => {
                    text += meaning.split('[').next().unwrap_or(meaning);
                    tail.into_iter().for_each(|tail| text += &format!(".{tail}"));
                }
            }
        }
        text += rest;
    }
    let text = text.replace(", ]", "]");
    let empty = |text: &str| text.ends_with("= ") || text.ends_with("= []") || text.trim().trim_matches(',').is_empty();
    Some((gone == 0 || !empty(&text)).then_some(text))
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '.'
}

/// A reference as it is written.
fn slice(sources: &Sources, path: crate::lang::source::Span, whole: crate::lang::source::Span) -> String {
    let text = &sources.get(path.file).text;
    text.get(path.start..whole.end.max(path.end)).unwrap_or_default().to_string()
}

/// The references among the arguments, also within `steps = [..]`.
fn references(arguments: &[Entry]) -> Vec<&Reference> {
    let mut found = Vec::new();
    for entry in arguments {
        match &entry.value.kind {
            ValueKind::Reference(reference) => found.push(reference),
            ValueKind::List(entries) => found.extend(references(entries)),
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meanings(given: &[(&'static str, &str)]) -> Meanings {
        let mut all: Meanings = NAMES.iter().chain(AXES).map(|(_, name)| (*name, None)).collect();
        given.iter().for_each(|(name, meaning)| drop(all.insert(name, Some(meaning.to_string()))));
        all
    }

    #[test]
    fn names_are_replaced_and_absent_axes_left_out() {
        let all = meanings(&[("classes", "kinds[loss = l1]"), ("nu", "ratios"), ("by_seed", "train.seed")]);
        let one = |line: &str| replaced(line, &all);
        assert_eq!(one("  data  = [classes, nu]"), Some(Some("  data  = [kinds[loss = l1], ratios]".into())));
        assert_eq!(one("  where = classes.class == shared"), Some(Some("  where = kinds.class == shared".into())));
        assert_eq!(one("  group = [by_loss, by_seed, class]"), Some(Some("  group = [train.seed, class]".into())));
        assert_eq!(one("  group = [class, by_loss]"), Some(Some("  group = [class]".into())));
        assert_eq!(one("  facet = by_loss"), Some(None));
        assert_eq!(one("  group = [by_loss]"), Some(None));
        assert_eq!(one("    by_loss,"), Some(None));
        assert_eq!(one("    by_seed,"), Some(Some("    train.seed,".into())));
        assert_eq!(one("  save  = \"classes.svg\""), Some(Some("  save  = \"classes.svg\"".into())));
        assert_eq!(one("  data  = causal"), None);
    }

    /// Everything in `paper.xd` can be read when every step and axis is there.
    #[test]
    fn the_paper_can_be_read() {
        let all: Vec<(&'static str, &str)> = NAMES.iter().map(|(_, name)| (*name, *name)).collect();
        let axes: Vec<(&'static str, &str)> = AXES.iter().map(|(axis, name)| (*name, *axis)).collect();
        let all = meanings(&[all, axes].concat());
        let written: usize = ["plot", "table"]
            .iter()
            .map(|kind| {
                let text = written_out(kind, &all);
                let mut sources = Sources::default();
                let file = sources.add("paper", text.as_str());
                let (tree, problems) = syntax::parse(file, &text);
                assert!(problems.is_empty(), "{text}\n{problems:?}");
                tree.declarations.len()
            })
            .sum();
        assert_eq!(syntax::fmt(TEXT).ok().as_deref(), Some(TEXT), "paper.xd is laid out by xd fmt");
        assert_eq!(written, TEXT.matches("\nplot ").count() + TEXT.matches("\ntable ").count());
    }
}
