//! Latents of another crosscoder, prompts without a chat, models that are not there.

use crate::lang::diagnostic::{Code, Diagnostic};
use crate::lang::plan::draft::{At, Draft};
use crate::lang::plan::spec::{FileRef, Metric, PositionSpec, TokenGroupSpec};
use crate::lang::resolve::{DeclId, Node, Sink, StepRef, Typed};

/// Numbers of latents that the crosscoder has, each once. False when one is wrong.
pub fn numbers(nodes: &[Node], latents: Option<u64>, sink: &mut Sink) -> bool {
    let mut whole = true;
    for (place, node) in nodes.iter().enumerate() {
        let Some(number) = node.whole() else { continue };
        if let Some(latents) = latents.filter(|&latents| latents > 0 && number >= latents) {
            let message = format!("there is no latent {number}: this crosscoder has the latents 0 to {}", latents - 1);
            sink.push(
                Diagnostic::new(Code::OutOfRange, node.span, message)
                    .label("no such latent")
                    .help("latents count from 0; their numbers stand in the column `latent` of tables"),
            );
            whole = false;
        } else if let Some(first) = nodes[..place].iter().find(|n| n.whole() == Some(number)) {
            sink.push(
                Diagnostic::new(Code::SetTwice, node.span, format!("latent {number} is named twice"))
                    .label("again")
                    .related(first.span, "first named here")
                    .help("keep one of the two"),
            );
            whole = false;
        }
    }
    whole
}

/// `nu` measures `cc[loss = l1]`, and this step is about another crosscoder.
pub fn another_crosscoder(at: &At, step: &StepRef, own: (DeclId, usize), other: (DeclId, usize)) -> Diagnostic {
    let name = |(id, index): (DeclId, usize)| {
        let declared = at.scope.get(id);
        let point = at.resolution.get(id).points.get(index);
        let labels: Vec<String> =
            point.iter().flat_map(|p| p.labels.iter().map(|(axis, value)| format!("{axis} = {value}"))).collect();
        if labels.is_empty() { declared.name.clone() } else { format!("{}[{}]", declared.name, labels.join(", ")) }
    };
    let measured = &at.scope.get(step.target).name;
    let message = format!("`{measured}` measures `{}`, and this is about `{}`", name(other), name(own));
    Diagnostic::new(Code::ComparesDifferentPoints, step.span, message)
        .label("latents of another crosscoder")
        .help("latents are numbered within their crosscoder; name a step of the same one, with the same point")
}

/// The corpus is not among those of the held-out rows.
pub fn not_held_out(at: &At, node: &Node, corpus: DeclId, activations: DeclId) -> Diagnostic {
    let (corpus, activations) = (&at.scope.get(corpus).name, at.scope.get(activations));
    let message = format!("`{}` holds no held-out rows of `{corpus}`", activations.name);
    Diagnostic::new(Code::WrongKind, node.span, message)
        .label("not in `validate`")
        .related(activations.name_span, "these are the activations")
        .help(format!(
            "add `20K tokens of {corpus}` to its `validate`, or leave `corpus` out to read all held-out rows"
        ))
}

/// The models of the pair are there to be run. False when they are not.
pub fn has_models(at: &At, of: &Draft, what: &str, sink: &mut Sink) -> bool {
    if of.facts.width.is_none() || runs_models(at, of) {
        return true;
    }
    let why = if of.facts.synthetic { "of a synthetic pair" } else { "that were harvested elsewhere" };
    let span = at.fields.get("of").map_or(at.span(), |node| node.span);
    sink.push(
        Diagnostic::new(Code::WrongKind, span, format!("{what}, and this crosscoder reads activations {why}"))
            .label("no models")
            .help("take a crosscoder on activations of a pair of models: `activations acts { of = pair .. }`"),
    );
    false
}

/// The rows have text.
pub fn has_text(at: &At, of: &Draft, what: &str, sink: &mut Sink) {
    if !of.facts.synthetic {
        return;
    }
    let span = at.fields.get("of").map_or(at.span(), |node| node.span);
    sink.push(
        Diagnostic::new(Code::WrongKind, span, format!("{what}, and a synthetic pair has none"))
            .label("no text")
            .help("take a crosscoder on activations of a pair of models"),
    );
}

/// Activations of models, not of a dictionary and not out of a file.
fn runs_models(at: &At, of: &Draft) -> bool {
    let Some((_, on, point)) = of.inputs.iter().find(|(role, ..)| *role == "on") else { return true };
    let Some(activations) = at.drafts[on.0].get(*point) else { return true };
    !activations.facts.synthetic && activations.inputs.iter().any(|(role, ..)| *role == "of")
}

/// Prompts out of text that is no chat.
pub fn no_chat(at: &At, node: &Node, corpus: DeclId) -> Diagnostic {
    let corpus = at.scope.get(corpus);
    Diagnostic::new(
        Code::WrongKind,
        node.span,
        format!("prompts are conversations, and `{}` is no chat corpus", corpus.name),
    )
    .label("plain text")
    .related(corpus.name_span, "declared without a template")
    .help("name a corpus with a `template`, whose column holds messages")
}

/// No corpus is named, and the activations have no chat to take prompts from.
pub fn whose_prompts(at: &At, node: &Node, activations: DeclId) -> Diagnostic {
    let activations = at.scope.get(activations);
    let message = format!("prompts of what? `{}` holds no held-out chat", activations.name);
    Diagnostic::new(Code::MissingField, node.span, message)
        .label("no corpus")
        .related(activations.name_span, "these are the activations")
        .help("name a chat corpus: `prompts = 512 prompts of talk`")
}

/// True where prompts name their corpus.
pub fn names_a_corpus(node: &Node) -> bool {
    !matches!(&node.value, Typed::Prompts { of: None, .. })
}

/// Prompts without a corpus, beside a pair, which has none either.
pub fn prompts_of_a_pair(node: &Node) -> Diagnostic {
    Diagnostic::new(Code::MissingField, node.span, "prompts of what? A pair has no texts of its own")
        .label("no corpus")
        .help("name a chat corpus: `prompts = 512 prompts of talk`")
}

/// Edges of bins ascend within (0, 1], and the last one is 100%.
pub fn bins(at: &At, sink: &mut Sink) -> bool {
    let Some(node) = at.fields.get("bins") else { return false };
    let edges: Vec<f64> = node.list().unwrap_or_default().iter().filter_map(Node::number).collect();
    let ascends = edges.windows(2).all(|pair| pair[0] < pair[1]) && edges.first().is_some_and(|first| *first > 0.0);
    if ascends && edges.last() == Some(&1.0) && edges.len() <= 100 {
        return true;
    }
    sink.push(
        Diagnostic::new(
            Code::OutOfRange,
            node.span,
            "the edges of the bins must ascend, and the last one must be 100%",
        )
        .label("not ascending to 100%")
        .help("write upper edges such as `[25%, 50%, 75%, 95%, 100%]`; at most 100"),
    );
    false
}

/// A folder that a run of delphi made, or a JSON of counts. False when it is there and holds neither explanations nor scores.
pub fn delphi(at: &At, folder: &FileRef, node: &Node, sink: &mut Sink) -> bool {
    let there = |path: &str| at.world.bytes(&folder.from, path).is_ok();
    let within = |inside: &str| there(&format!("{}/{inside}", folder.path.trim_end_matches('/')));
    // That there is no such folder is said of every path.
    let is_json = folder.path.ends_with(".json");
    let inside = ["explanations", "scores/detection", "scores/fuzz"];
    if !there(&folder.path) || is_json || inside.into_iter().any(within) {
        return true;
    }
    let message = format!("`{}` holds no results of delphi", folder.path);
    sink.push(
        Diagnostic::new(Code::Unusable, node.span, message)
            .label("no `explanations`, `scores/detection` or `scores/fuzz` in it")
            .help("give the folder of one run of delphi, such as `results/NAME`, or a JSON of counts by latent and quantile"),
    );
    false
}

/// Crosscoders of different widths have no common directions.
pub fn same_width(at: &At, a: &Draft, b: &Draft, sink: &mut Sink) {
    let (Some(left), Some(right)) = (a.facts.width, b.facts.width) else { return };
    if left == right {
        return;
    }
    let place = |field: &str| at.fields.get(field).map_or(at.span(), |node| node.span);
    sink.push(
        Diagnostic::new(Code::WrongKind, place("b"), "crosscoders of different widths cannot be compared")
            .label(format!("width {right}"))
            .related(place("a"), format!("width {left}"))
            .help("compare crosscoders that were trained on activations of the same pair"),
    );
}

/// The paper's setups stand alone.
pub fn paper_among_others(node: &Node) -> Diagnostic {
    Diagnostic::new(
        Code::WrongType,
        node.span,
        "`paper` stands for the whole list, and here it is one entry of several",
    )
    .label("among others")
    .help("write `insert = paper(classes, nu)` alone, or write out its setups: `xd explain paper`")
}

/// Each set of positions once.
pub fn distinct_positions(at: &At, positions: Vec<PositionSpec>, sink: &mut Sink) -> Option<Vec<PositionSpec>> {
    distinct(at, "positions", positions, sink)
}

/// Each layer once.
pub fn distinct_layers(at: &At, layers: Vec<u64>, sink: &mut Sink) -> Option<Vec<u64>> {
    distinct(at, "layers", layers, sink)
}

/// Each metric once.
pub fn distinct_metrics(at: &At, metrics: Vec<Metric>, sink: &mut Sink) -> Option<Vec<Metric>> {
    distinct(at, "metric", metrics, sink)
}

/// Each strength once.
pub fn distinct_strengths(at: &At, strengths: Vec<f64>, sink: &mut Sink) -> Option<Vec<f64>> {
    distinct(at, "strength", strengths, sink)
}

/// Each group once.
pub fn distinct_groups(at: &At, groups: Vec<TokenGroupSpec>, sink: &mut Sink) -> Option<Vec<TokenGroupSpec>> {
    distinct(at, "groups", groups, sink)
}

fn distinct<T: PartialEq>(at: &At, field: &str, values: Vec<T>, sink: &mut Sink) -> Option<Vec<T>> {
    let again = (0..values.len()).find(|&place| values[..place].contains(&values[place]));
    let Some(again) = again else { return Some(values) };
    let node = at.fields.get(field).and_then(|node| node.list()?.get(again));
    sink.push(
        Diagnostic::new(Code::SetTwice, node.map_or(at.span(), |n| n.span), format!("`{field}` names this twice"))
            .label("again")
            .help("keep one of the two"),
    );
    None
}
