//! Text that is not enough, and text that is drawn twice.

use std::collections::BTreeMap;

use crate::lang::diagnostic::{Code, Diagnostic};
use crate::lang::plan::draft::At;
use crate::lang::plan::spec::{CorpusSource, CorpusSpec, FileRef, Spec};
use crate::lang::resolve::{DeclId, Node, Sink, StepRef, Typed};
use crate::lang::source::Span;

struct Drawn<'a> {
    step: &'a StepRef,
    tokens: u64,
    span: Span,
    id: DeclId,
    index: usize,
}

fn drawn<'a>(at: &At<'a>, field: &str) -> Vec<Drawn<'a>> {
    of_nodes(at, at.fields.get(field).and_then(|n| n.list()).unwrap_or(&[]))
}

fn of_nodes<'a>(at: &At<'a>, nodes: &'a [Node]) -> Vec<Drawn<'a>> {
    let mut found = Vec::new();
    for node in nodes {
        if let Typed::Portion { tokens, of: Some(step) } = &node.value
            && let Some((id, index, _)) = at.step(step)
        {
            found.push(Drawn { step, tokens: *tokens, span: node.span, id, index });
        }
    }
    found
}

/// Portions of activations: see [`enough`].
pub fn enough_text(at: &At, sink: &mut Sink) {
    let mut portions = drawn(at, "train");
    portions.extend(drawn(at, "validate"));
    enough(at, portions, sink);
}

/// Portions that a model is trained on: see [`enough`].
pub fn enough_text_for_model<'a>(at: &At<'a>, nodes: &'a [Node], sink: &mut Sink) {
    enough(at, of_nodes(at, nodes), sink);
}

/// Every token is at least one byte of text, so more tokens than bytes cannot be had. Only this is certain.
fn enough(at: &At, portions: Vec<Drawn>, sink: &mut Sink) {
    let mut asked: BTreeMap<(DeclId, usize), (u64, Vec<Span>)> = BTreeMap::new();
    for portion in portions {
        let entry = asked.entry((portion.id, portion.index)).or_default();
        entry.0 += portion.tokens;
        entry.1.push(portion.span);
    }
    for ((id, index), (tokens, spans)) in asked {
        let Some(bytes) = at.drafts[id.0].get(index).and_then(|d| d.facts.bytes) else { continue };
        if tokens <= bytes {
            continue;
        }
        let name = &at.scope.get(id).name;
        let most = match bytes {
            0..=9_999 => bytes.to_string(),
            10_000..=9_999_999 => format!("{}K", bytes / 1000),
            _ => format!("{}M", bytes / 1_000_000),
        };
        let mut problem = Diagnostic::new(
            Code::NotEnoughText,
            spans[0],
            format!("`{name}` cannot give {tokens} tokens: it has only {bytes} bytes of text"),
        )
        .label("more tokens than bytes")
        .help(format!("a token is about four bytes of English, and never less than one; take far fewer than {most} tokens, or more text"));
        for span in &spans[1..] {
            problem = problem.related(*span, "drawn from the same text");
        }
        sink.push(problem);
    }
}

/// Train and validate portions of one corpus are kept apart by documents; of two corpora over the same text they are not.
pub fn leak(at: &At, sink: &mut Sink) {
    for train in drawn(at, "train") {
        for validate in drawn(at, "validate") {
            if train.id == validate.id {
                continue;
            }
            let source = |portion: &Drawn| source(at, portion.id, portion.index);
            let (Some(a), Some(b)) = (source(&train), source(&validate)) else { continue };
            if !same_text(at, &a, &b) {
                continue;
            }
            let (left, right) = (&at.scope.get(train.id).name, &at.scope.get(validate.id).name);
            sink.push(
                Diagnostic::new(
                    Code::Leak,
                    validate.step.span,
                    format!("`{right}` reads the same text as `{left}`, which is trained on"),
                )
                .label("held out, but seen in training")
                .related(train.step.span, "trained on here")
                .help(format!(
                    "draw both from one corpus (`{left}`), whose documents are then kept apart, or take other files"
                )),
            );
        }
    }
}

/// Conversations of a corpus that the activations (at this point) train on and hold nothing out of, or of another corpus over the same text.
pub fn trained_prompts(
    at: &At,
    node: &Node,
    (corpus, index): (DeclId, usize),
    (activations, point): (DeclId, usize),
    sink: &mut Sink,
) {
    let Some(read) = at.drafts[activations.0].get(point) else { return };
    let holds =
        |wanted: &str| read.inputs.iter().any(|(role, id, at)| *role == wanted && (*id, *at) == (corpus, index));
    if holds("validate") {
        return;
    }
    let own = source(at, corpus, index);
    let is_same = |id: DeclId, index: usize| matches!((&own, source(at, id, index)), (Some(own), Some(other)) if same_text(at, own, &other));
    let trained = read.inputs.iter().filter(|(role, ..)| *role == "train");
    let Some((_, train, _)) =
        trained.into_iter().find(|(_, id, at)| (*id, *at) == (corpus, index) || is_same(*id, *at))
    else {
        return;
    };
    let (name, activations) = (&at.scope.get(corpus).name, at.scope.get(activations));
    let (message, help) = match *train == corpus {
        true => (
            format!("`{}` trains on `{name}` and holds nothing of it out", activations.name),
            format!("add `20K tokens of {name}` to its `validate`, or take a corpus that is not trained on"),
        ),
        false => (
            format!("`{name}` reads the same text as `{}`, which is trained on", at.scope.get(*train).name),
            format!(
                "take `{}`, whose conversations for training and validation are kept apart, or other files",
                at.scope.get(*train).name
            ),
        ),
    };
    sink.push(
        Diagnostic::new(Code::Leak, node.span, message)
            .label("measured on text of the training")
            .related(activations.name_span, "these are the activations")
            .help(help),
    );
}

fn source(at: &At, id: DeclId, index: usize) -> Option<CorpusSource> {
    match &at.drafts[id.0].get(index)?.spec {
        Some(Spec::Corpus(CorpusSpec { source, .. })) => Some(source.clone()),
        _ => None,
    }
}

fn same_text(at: &At, a: &CorpusSource, b: &CorpusSource) -> bool {
    match (a, b) {
        (CorpusSource::Builtin { name: a }, CorpusSource::Builtin { name: b }) => a == b,
        (CorpusSource::Text { path: a }, CorpusSource::Text { path: b }) => {
            same_files(at, a, b) || covers(a, b) || covers(b, a)
        }
        _ => match (records(a), records(b)) {
            (Some((a, x)), Some((b, y))) => x == y && (same_files(at, a, b) || covers(a, b) || covers(b, a)),
            _ => false,
        },
    }
}

/// Files and column of a source that has columns.
fn records(source: &CorpusSource) -> Option<(&FileRef, &str)> {
    match source {
        CorpusSource::Jsonl { path, column }
        | CorpusSource::Json { path, column, .. }
        | CorpusSource::Csv { path, column }
        | CorpusSource::Parquet { path, column } => Some((path, column)),
        CorpusSource::Text { .. } | CorpusSource::Builtin { .. } | CorpusSource::Hub { .. } => None,
    }
}

fn same_files(at: &At, a: &FileRef, b: &FileRef) -> bool {
    a == b || matches!((at.world.hash(&a.from, &a.path), at.world.hash(&b.from, &b.path)), (Ok(x), Ok(y)) if x == y)
}

/// `texts/*.txt` covers `texts/a.txt`, and the folder `texts` covers both.
fn covers(a: &FileRef, b: &FileRef) -> bool {
    if a.from != b.from {
        return false;
    }
    let folder = b.path.strip_prefix(a.path.trim_end_matches('/')).is_some_and(|rest| rest.starts_with('/'));
    folder || a.path.contains('*') && !b.path.contains('*') && glob(&a.path, &b.path)
}

/// `*` stands for any characters but a slash.
fn glob(pattern: &str, path: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == path,
        Some((head, tail)) => path.strip_prefix(head).is_some_and(|rest| {
            let end = rest.find('/').unwrap_or(rest.len());
            (0..=end).filter(|i| rest.is_char_boundary(*i)).any(|i| glob(tail, &rest[i..]))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::glob;

    #[test]
    fn stars_stop_at_slashes() {
        assert!(glob("texts/*.txt", "texts/a.txt"));
        assert!(!glob("texts/*.txt", "texts/deep/a.txt"));
        assert!(!glob("texts/*.txt", "texts/a.md"));
        assert!(glob("*/a-*.txt", "texts/a-1.txt"));
    }
}
