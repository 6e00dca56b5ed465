//! `plot figures = paper(classes, nu, ..)` becomes the paper's figures, each a declaration of its own; tables and claims (of `expect`) likewise.
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
use crate::lang::source::{Sources, Span};
use crate::lang::syntax;
use crate::lang::syntax::tree::{Axis, Entry, Reference, ValueKind};

/// What a name of `paper.xd` stands for, as it is written; `None` where it is not given.
type Meanings = BTreeMap<&'static str, Option<String>>;

impl Scope {
    /// Replaces every `paper(..)` by the declarations that it means. Params must be in force.
    pub(super) fn write_out_papers(&mut self, sources: &mut Sources, sink: &mut Sink) {
        let is_paper = |declared: &Declared| {
            let value = || declared.fields.iter().find(|w| w.path == VALUE).map(|w| &w.value.kind);
            match declared.kind.map(|k| k.word) {
                Some("plot" | "table") => value().is_some(),
                Some("expect") => matches!(value(), Some(ValueKind::Call { name, .. }) if dotted(name) == "paper"),
                _ => false,
            }
        };
        for index in 0..self.declared.len() {
            let declared = self.declared[index].clone();
            let Some(kind) = declared.kind.filter(|_| is_paper(&declared)) else { continue };
            let given = self.given(DeclId(index), sources, sink);
            self.declared[index].kind = None;
            let Some(given) = given else { continue };
            let text = written_out(kind.word, &given);
            let file = sources.add(format!("{} of the paper", declared.name), text.as_str());
            let (tree, problems) = syntax::parse(file, &text);
            problems.into_iter().for_each(|problem| sink.push(problem));
            if tree.declarations.is_empty() {
                let message = format!("the paper has no {} of these steps alone", noun(kind.word));
                let help = match kind.word {
                    "expect" => {
                        "its claims compare `l1` with `batch_topk`, of `classify` and `scaling` steps with an axis `loss`, and insertions of a `patch`"
                    }
                    _ => "name more steps: `paper(classes, nu)` of a `classify` and a `scaling` step is a start",
                };
                sink.push(Diagnostic::new(Code::NothingToDo, declared.name_span, message).label("nothing").help(help));
            } else {
                report_unused(kind.word, &given, sink);
            }
            for mut part in tree.declarations {
                let own = &declared.name[self.modules[declared.module].prefix.len()..];
                part.name.text = format!("{own}.{}", part.name.text);
                self.declare(declared.module, &part, sink);
            }
        }
    }

    /// The steps and arguments of a `paper(..)`; `None` has been reported.
    fn given(&self, id: DeclId, sources: &Sources, sink: &mut Sink) -> Option<Given> {
        let declared = self.get(id);
        let own = declared.kind?.word;
        let value = &declared.fields.iter().find(|w| w.path == VALUE)?.value;
        let node = self.reader(id, sources, sink).read(&Type::Variant(PAPER), value, &format!("this {own}"))?;
        let call = node.call().filter(|call| !call.broken)?;
        let ValueKind::Call { arguments, .. } = &value.kind else { return None };
        let effective = call.get("effective").and_then(|node| node.whole()).filter(|_| own == "plot");
        if let (Some(node), "table" | "expect") = (call.get("effective"), own) {
            let message = format!("the paper's {}s have no `effective`", noun(own));
            let help = format!("{}s are about the latents of a class as they are; leave it out", noun(own));
            sink.push(Diagnostic::new(Code::UnknownArgument, node.span, message).label("of plots only").help(help));
            return None;
        }
        let mut given = Given { steps: Vec::new(), effective };
        for (node, written) in call.get("steps")?.list()?.iter().zip(references(arguments)) {
            let Typed::Step(step) = &node.value else { return None };
            let kind = self.get(step.target).kind?.word;
            let name = NAMES.iter().find(|(word, _)| *word == kind)?.1;
            if given.steps.iter().any(|step| step.name == name) {
                let message = format!("the paper's {}s take one {kind} step, and this is another", noun(own));
                sink.push(
                    Diagnostic::new(Code::SetTwice, node.span, message)
                        .label(format!("{} {kind} again", article(kind)))
                        .help(format!("write another `{own}` for it")),
                );
                return None;
            }
            if self.has_no_scores(step.target) {
                continue;
            }
            let text = slice(sources, written.path.span, node.span);
            let open = self.open_axes(step);
            if let Some(axis) = open.iter().find(|axis| !axis.iter().any(|label| is_known(label))) {
                let axis = axis.join(", ");
                let message = format!("the paper's {}s have no place for the axis `{axis}` of `{text}`", noun(own));
                let help = format!("take one point, `{text}[{axis} = ..]`, or write {own}s of your own");
                sink.push(Diagnostic::new(Code::WrongKind, node.span, message).label("several points").help(help));
                return None;
            }
            given.steps.push(GivenStep {
                name,
                kind,
                text,
                span: node.span,
                losses: self.losses(step),
                inserts: self.inserts(step.target),
                axes: open.into_iter().flatten().collect(),
            });
        }
        Some(given)
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

    /// True for `autointerp` with `scores = none`: nobody has scored yet, and nothing is drawn of it.
    fn has_no_scores(&self, id: DeclId) -> bool {
        let scores = self.get(id).fields.iter().find(|w| w.path == "scores");
        scores.is_some_and(|written| self.is_none(&written.value.kind, self.get(id).module, self.params.len()))
    }

    /// True for the word `none`, also through params.
    fn is_none(&self, value: &ValueKind, module: usize, deep: usize) -> bool {
        let ValueKind::Reference(reference) = value else { return false };
        match self.lookup(module, &reference.path.parts).and_then(|(id, _)| self.params.get(&id)) {
            Some(param) => deep > 0 && self.is_none(&param.value.kind, param.module, deep - 1),
            None => dotted(&reference.path) == "none",
        }
    }

    /// Names of what a `patch` puts in; `None` for another step, and for the paper's setups, which are all there.
    fn inserts(&self, id: DeclId) -> Option<Vec<String>> {
        let declared = self.get(id);
        declared.kind.filter(|kind| kind.word == "patch")?;
        match declared.fields.iter().find(|w| w.path == "insert").map(|w| &w.value.kind) {
            Some(ValueKind::Call { name, .. }) if dotted(name) == "paper" => None,
            Some(ValueKind::List(entries)) => {
                let name =
                    |entry: &Entry| entry.label.as_ref().map(|l| l.text.clone()).or_else(|| word(&entry.value.kind));
                Some(entries.iter().filter_map(name).collect())
            }
            // A param may hold anything; what is not there would be a mistake in a text that nobody wrote.
            _ => Some(Vec::new()),
        }
    }

    /// The words of the values of an open axis `loss`.
    fn losses(&self, step: &StepRef) -> Vec<String> {
        let fixed = step.selectors.iter().map(|s| s.label.clone()).collect();
        let mut losses = Vec::new();
        self.visit_axes(step.target, fixed, self.declared.len(), &mut |axis| {
            let Some(place) = axis.fields.iter().position(|field| dotted(field) == "loss") else { return };
            let ValueKind::List(entries) = &axis.values.kind else { return };
            if losses.is_empty() {
                losses.extend(entries.iter().filter_map(|entry| match &entry.value.kind {
                    ValueKind::Tuple(values) => word(&values.get(place)?.kind),
                    kind => word(kind),
                }));
            }
        });
        losses
    }

    /// Axes of the crosscoders behind a step that no bracket on the way fixes; those of a zip stand together.
    fn open_axes(&self, step: &StepRef) -> Vec<Vec<String>> {
        let mut open = Vec::new();
        let fixed = step.selectors.iter().map(|s| s.label.clone()).collect();
        self.gather_axes(step.target, fixed, self.declared.len(), &mut open);
        open
    }

    fn gather_axes(&self, at: DeclId, fixed: Vec<String>, deep: usize, open: &mut Vec<Vec<String>>) {
        self.visit_axes(at, fixed, deep, &mut |axis| {
            let labels: Vec<String> = axis.fields.iter().map(dotted).collect();
            if !open.contains(&labels) {
                open.push(labels);
            }
        });
    }

    /// Shows the axes that no bracket on the way fixes, once each on a way.
    fn visit_axes(&self, at: DeclId, mut fixed: Vec<String>, deep: usize, seen: &mut dyn FnMut(&Axis)) {
        let declared = self.get(at);
        if deep == 0 {
            return;
        }
        if let Some(param) = self.params.get(&at) {
            return self.follow(&param.value.kind, param.module, &fixed, deep, seen);
        }
        for axis in &declared.axes {
            let labels: Vec<String> = axis.fields.iter().map(dotted).collect();
            if !labels.iter().any(|label| fixed.contains(label)) {
                fixed.extend(labels);
                seen(axis);
            }
        }
        if declared.kind.is_some_and(|k| k.word == "crosscoder") {
            return;
        }
        for written in declared.fields.iter().filter(|w| matches!(w.path.as_str(), "of" | "a" | "b")) {
            self.follow(&written.value.kind, declared.module, &fixed, deep, seen);
        }
    }

    fn follow(&self, value: &ValueKind, module: usize, fixed: &[String], deep: usize, seen: &mut dyn FnMut(&Axis)) {
        let ValueKind::Reference(reference) = value else { return };
        let Some((next, _)) = self.lookup(module, &reference.path.parts) else { return };
        let here = reference.selectors.iter().flatten().map(|s| dotted(&s.path));
        self.visit_axes(next, fixed.iter().cloned().chain(here).collect(), deep - 1, seen);
    }
}

/// What a `paper(..)` was given.
struct Given {
    steps: Vec<GivenStep>,
    /// So many latents of the highest delta_norm stand for the tuned-only ones.
    effective: Option<u64>,
}

struct GivenStep {
    /// As `paper.xd` calls it.
    name: &'static str,
    kind: &'static str,
    /// As it is written.
    text: String,
    span: Span,
    /// Labels of its open axes.
    axes: Vec<String>,
    /// Words of the losses of an open axis `loss`.
    losses: Vec<String>,
    /// What a `patch` with a list of its own puts in.
    inserts: Option<Vec<String>>,
}

impl Given {
    /// What the names mean in one declaration, whose axes are those of the steps that it reads.
    fn meanings(&self, part: &str) -> Meanings {
        let mut meanings: Meanings = NAMES.iter().chain(AXES).map(|(_, name)| (*name, None)).collect();
        for step in &self.steps {
            meanings.insert(step.name, Some(step.text.clone()));
        }
        let read: Vec<&GivenStep> = self.steps.iter().filter(|step| reads(part, step.name)).collect();
        for (axis, name) in AXES {
            let there = !read.is_empty() && read.iter().all(|step| step.axes.iter().any(|known| known == axis));
            meanings.insert(name, there.then(|| axis.to_string()));
        }
        meanings
    }

    /// True unless a claim is about a loss that the crosscoders were not trained with (or with several of one word), or about an insertion that
    /// was not made.
    fn can_be_claimed(&self, part: &str) -> bool {
        let words = |mark: &'static str| part.split(mark).skip(1).map(|rest| rest.split(|c: char| !is_word(c)).next());
        let steps = || self.steps.iter().filter(|step| reads(part, step.name));
        let once = |losses: &[String], word: &str| losses.iter().filter(|loss| *loss == word).count() == 1;
        words("by_loss = ").flatten().all(|word| steps().all(|step| once(&step.losses, word)))
            && words("insert == ").flatten().all(|word| {
                steps().all(|step| step.inserts.as_ref().is_none_or(|names| names.iter().any(|name| name == word)))
            })
    }
}

/// What a declaration of a kind is called.
fn noun(kind: &str) -> &str {
    if kind == "expect" { "claim" } else { kind }
}

/// The word of a form or a reference.
fn word(kind: &ValueKind) -> Option<String> {
    match kind {
        ValueKind::Call { name, .. } => Some(dotted(name)),
        ValueKind::Reference(reference) => Some(dotted(&reference.path)),
        _ => None,
    }
}

fn is_known(label: &str) -> bool {
    AXES.iter().any(|(axis, _)| *axis == label)
}

/// Parts of `paper.xd` that are declarations of a kind.
fn parts(kind: &str) -> impl Iterator<Item = &'static str> {
    let head = format!("{kind} ");
    TEXT.split("\n\n").filter(move |part| part.lines().any(|line| line.starts_with(&head)))
}

/// True when a declaration reads the rows of a step.
fn reads(part: &str, name: &str) -> bool {
    if is_claim(part) {
        let lines = part.lines().filter(|line| !line.starts_with('#'));
        let mut words = lines.flat_map(|line| line.split(|c: char| !is_word(c)));
        return words.any(|word| word.split('.').next() == Some(name));
    }
    let rows = part.lines().filter_map(|line| line.split_once('='));
    let mut rows = rows.filter(|(field, _)| matches!(field.trim(), "rows" | "data"));
    rows.any(|(_, steps)| steps.split(|c: char| !is_word(c)).any(|word| word.split('.').next() == Some(name)))
}

/// True for a declaration of `expect`.
fn is_claim(part: &str) -> bool {
    part.lines().any(|line| line.starts_with("expect "))
}

/// A step that none of the paper's declarations of this kind reads is a mistake.
fn report_unused(kind: &str, given: &Given, sink: &mut Sink) {
    let all: Vec<&str> = given.steps.iter().map(|step| step.name).collect();
    let whole = |part: &str| NAMES.iter().all(|(_, name)| all.contains(name) || !reads(part, name));
    for step in &given.steps {
        if !parts(kind).any(|part| reads(part, step.name) && whole(part)) {
            let others: Vec<&str> = parts(kind)
                .filter(|part| reads(part, step.name))
                .flat_map(|part| NAMES.iter().filter(move |(_, name)| reads(part, name)).map(|(kind, _)| *kind))
                .filter(|kind| *kind != step.kind)
                .collect();
            let help = match others.first() {
                Some(other) => format!("they stand beside {} {other} step: name it too", article(other)),
                None => format!("leave `{}` out", step.text),
            };
            let message = format!("no {} of the paper is made of `{}` here", noun(kind), step.text);
            sink.push(Diagnostic::new(Code::UnknownArgument, step.span, message).label("nothing reads it").help(help));
        }
    }
}

/// The declarations of a kind with their names replaced.
fn written_out(kind: &str, given: &Given) -> String {
    let mut text = String::from("xd 1\n");
    for part in parts(kind).filter(|part| given.can_be_claimed(part)) {
        let meanings = given.meanings(part);
        let part = match given.effective {
            Some(count) => with_effective(part, count),
            None => part.to_string(),
        };
        let lines: Option<Vec<Option<String>>> =
            part.lines().map(|line| replaced(line, &meanings, kind == "expect")).collect();
        if let Some(lines) = lines {
            text += "\n";
            lines.into_iter().flatten().for_each(|line| text += &(line + "\n"));
        }
    }
    text
}

/// A figure of the tuned-only latents as one of the `count` latents of the highest delta_norm: the published "effective" tuned-only latents
/// (docs/method.md 3). A figure that keeps latents of its own choice stays as it is.
fn with_effective(part: &str, count: u64) -> String {
    const CLASS: &str = "where = [class == tuned_only, dead == false]";
    let line = part.lines().find(|line| line.split_whitespace().eq(CLASS.split_whitespace()));
    let (Some(line), false) = (line, part.lines().any(|line| line.trim_start().starts_with("keep "))) else {
        return part.to_string();
    };
    let kept = format!("  where = dead == false\n  keep = highest({count}, by = classes.delta_norm)");
    let words = format!("the {count} latents of the highest delta_norm");
    let told = part.lines().map(|own| match own.strip_prefix("## ") {
        Some(doc) => {
            let doc = doc.replace("tuned-only latents", &words);
            let (first, rest) = doc.split_at(doc.chars().next().map_or(0, char::len_utf8));
            format!("## {}{rest}", first.to_uppercase())
        }
        None if own == line => kept.clone(),
        None => own.to_string(),
    });
    told.collect::<Vec<_>>().join("\n")
}

/// A line with its names replaced. The outer `None`: it names a step that is not given, or claims something of an axis that is not there. The
/// inner one: nothing is left but axes that are not there.
fn replaced(line: &str, meanings: &Meanings, claim: bool) -> Option<Option<String>> {
    if line.starts_with('#') {
        return Some(Some(line.to_string()));
    }
    let (field, _) = line.split_once('=').unwrap_or((line, ""));
    let rows = matches!(field.trim(), "rows" | "data");
    // Brackets belong to a step as it is given; conditions and columns name it without.
    let mut whole = rows || claim;
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
            whole = match claim {
                true if word == "where" => false,
                true => whole || rest[..start].contains(')'),
                false => rows,
            };
            text += &rest[..start];
            rest = &rest[end..];
            let (head, tail) = word.split_once('.').map_or((word, None), |(head, tail)| (head, Some(tail)));
            let axis = AXES.iter().any(|(_, name)| *name == head);
            match (meanings.get(head), tail) {
                (None, _) => text += word,
                (Some(None), _) if axis && !claim => {
                    gone += 1;
                    rest = rest.strip_prefix(", ").unwrap_or(rest);
                }
                (Some(None), _) => return None,
                (Some(Some(meaning)), None) if axis => text += meaning,
                (Some(Some(meaning)), tail) => {
                    let bare = meaning.split('[').next().unwrap_or(meaning);
                    match rest.strip_prefix('[') {
                        Some(own) if whole && meaning.ends_with(']') => {
                            text += &format!("{}, ", &meaning[..meaning.len() - 1]);
                            rest = own;
                        }
                        _ => text += if whole { meaning } else { bare },
                    }
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
fn slice(sources: &Sources, path: Span, whole: Span) -> String {
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
        let one = |line: &str| replaced(line, &all, false);
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
        let claim = |line: &str| replaced(line, &all, true);
        let joined = "  kinds[loss = l1, train.seed = 0].class == shared, where = kinds.dead == false) > 2".to_string();
        assert_eq!(
            claim("  classes[by_seed = 0].class == shared, where = classes.dead == false) > 2"),
            Some(Some(joined))
        );
        let max = "  max(kinds[loss = l1].delta_norm) > mean(ratios.rank),".to_string();
        assert_eq!(claim("  max(classes.delta_norm) > mean(nu.rank),"), Some(Some(max)));
        assert_eq!(claim("  classes[by_loss = l1].dead,"), None);
    }

    /// Everything in `paper.xd` can be read when every step and axis is there.
    #[test]
    fn the_paper_can_be_read() {
        let axes: Vec<(&'static str, &str)> = AXES.iter().map(|(axis, name)| (*name, *axis)).collect();
        let axes: Vec<String> = axes.into_iter().map(|(_, axis)| axis.to_string()).collect();
        let step = |&(kind, name): &(&'static str, &'static str)| {
            let span = Span::new(Sources::default().add("", ""), 0, 0);
            let losses = vec!["l1".to_string(), "batch_topk".to_string()];
            GivenStep { name, kind, text: name.to_string(), span, axes: axes.clone(), losses, inserts: None }
        };
        let given = Given { steps: NAMES.iter().map(step).collect(), effective: None };
        let written: usize = ["plot", "table", "expect"]
            .iter()
            .map(|kind| {
                let text = written_out(kind, &given);
                let mut sources = Sources::default();
                let file = sources.add("paper", text.as_str());
                let (tree, problems) = syntax::parse(file, &text);
                assert!(problems.is_empty(), "{text}\n{problems:?}");
                tree.declarations.len()
            })
            .sum();
        assert_eq!(syntax::fmt(TEXT).ok().as_deref(), Some(TEXT), "paper.xd is laid out by xd fmt");
        assert_eq!(
            written,
            ["plot", "table", "expect"].map(|kind| TEXT.matches(&format!("\n{kind} ")).count()).iter().sum::<usize>()
        );
    }
}
