//! Pairs that cannot be compared, and planted pairs that contradict themselves.

use crate::lang::diagnostic::{Code, Diagnostic};
use crate::lang::plan::draft::{At, Draft};
use crate::lang::plan::spec::{Dtype, SyntheticSpec, TokenRef};
use crate::lang::resolve::{Call, Node, Sink};
use crate::lang::source::Span;
use crate::lang::world::ModelFacts;

/// Width, depth and tokenizer must agree.
pub fn mismatch(at: &At, base: &ModelFacts, tuned: &ModelFacts, sink: &mut Sink) {
    let place = |field: &str| at.fields.get(field).map_or(at.span(), |n| n.span);
    let (base_span, tuned_span): (Span, Span) = (place("base"), place("tuned"));
    let mut differ: Vec<(&str, String, String)> = Vec::new();
    if base.width != tuned.width {
        differ.push(("width", format!("width {}", base.width), format!("width {}", tuned.width)));
    }
    if base.layers != tuned.layers {
        differ.push(("depth", format!("{} layers", base.layers), format!("{} layers", tuned.layers)));
    }
    // What a GGUF file says of its vocabulary cannot be compared with a tokenizer.json without building both; the run does it.
    let comparable = base.tokenizer.starts_with("gguf ") == tuned.tokenizer.starts_with("gguf ");
    if comparable && base.tokenizer != tuned.tokenizer {
        differ.push(("tokenizer", "one tokenizer".to_string(), "another tokenizer".to_string()));
    }
    let Some((_, left, right)) = differ.first() else { return };
    let names: Vec<String> = differ.iter().map(|(name, _, _)| name.to_string()).collect();
    let joined = crate::lang::schema::join(&names, "and");
    let verb = if names.len() == 1 { "differs" } else { "differ" };
    sink.push(
        Diagnostic::new(
            Code::PairMismatch,
            tuned_span,
            format!("these two models cannot be paired: their {joined} {verb}"),
        )
        .label(right.clone())
        .related(base_span, left.clone())
        .help(
            "a crosscoder compares the same place of both models on the same tokens; take a base and its own fine-tune",
        ),
    );
}

/// Tokens that the base reads in place of others: pairs, each token once, ids that the models have.
pub fn read_as(at: &At, draft: &Draft, pairs: &[Node], sink: &mut Sink) -> Option<Vec<(TokenRef, TokenRef)>> {
    let mut found: Vec<(TokenRef, TokenRef)> = Vec::new();
    let mut whole = true;
    let mut report = |diagnostic: Diagnostic, sink: &mut Sink| {
        sink.push(diagnostic);
        whole = false;
    };
    let vocabulary = |facts: &Option<ModelFacts>| facts.as_ref().map(|facts| facts.vocabulary);
    for pair in pairs {
        let [from, to] = pair.list().unwrap_or_default() else {
            let count = pair.list().map_or(0, <[Node]>::len);
            report(
                Diagnostic::new(
                    Code::WrongType,
                    pair.span,
                    format!("a replacement is a pair of tokens, and this has {count}"),
                )
                .label("not a pair")
                .help("write `[from, to]`: the token of the text, then the one that the base model reads in its place"),
                sink,
            );
            continue;
        };
        for (node, model, size) in
            [(from, "tuned", vocabulary(&draft.facts.model)), (to, "base", vocabulary(&draft.facts.base))]
        {
            if let (Some(id), Some(size)) = (node.whole(), size)
                && id >= size
            {
                report(
                    Diagnostic::new(Code::OutOfRange, node.span, format!("the {model} model has no token {id}: its ids are 0 to {}", size.saturating_sub(1)))
                        .label("not in its vocabulary")
                        .help("ids are those of the model's tokenizer; a token may also be written by its text, such as `\"<|eot_id|>\"`"),
                    sink,
                );
            }
        }
        let (Some(from_token), Some(to_token)) = (token(at, from, sink), token(at, to, sink)) else { return None };
        if from_token == to_token {
            let message = "this token is replaced by itself".to_string();
            report(
                Diagnostic::new(Code::OutOfRange, pair.span, message)
                    .label("changes nothing")
                    .help("leave this pair out"),
                sink,
            );
        }
        if found.iter().any(|(known, _)| *known == from_token) {
            report(
                Diagnostic::new(Code::SetTwice, from.span, "this token is replaced twice")
                    .label("replaced again")
                    .help("keep one of the two pairs"),
                sink,
            );
        }
        found.push((from_token, to_token));
    }
    whole.then_some(found)
}

fn token(at: &At, node: &Node, sink: &mut Sink) -> Option<TokenRef> {
    match node.whole() {
        Some(id) => u32::try_from(id).ok().map(TokenRef::Id),
        None => at.string(node, sink).map(TokenRef::Text),
    }
}

/// The roundings of bf16 are hundreds of times those of f32: they would be taken for what tuning changed.
pub fn dtypes(at: &At, base: Dtype, tuned: Dtype, sink: &mut Sink) {
    let place = |field: &str| at.fields.get(field).map_or(at.span(), |n| n.span);
    let word = |dtype: Dtype| match dtype {
        Dtype::F32 => "computes in f32",
        Dtype::Bf16 => "computes in bf16",
    };
    let message = "these two models cannot be paired: one computes in bf16, the other in f32";
    sink.push(
        Diagnostic::new(Code::PairMismatch, place("tuned"), message)
            .label(word(tuned))
            .related(place("base"), word(base))
            .help(
                "roundings of one model alone would look like what tuning changed; give both the same `dtype` (models that are \
                 fine-tuned here take that of the model they start from)",
            ),
    );
}

/// Ranges and counts of a planted pair.
pub fn synthetic(spec: &SyntheticSpec, call: &Call, sink: &mut Sink) {
    let span = |name: &str| call.get(name).map_or(call.word_span, |n| n.span);
    let features = spec.shared + spec.weak + spec.base_only + spec.tuned_only;
    let mut report = |name: &str, message: String, help: &str| {
        sink.push(Diagnostic::new(Code::OutOfRange, span(name), message).label("out of range").help(help));
    };
    if features == 0 {
        report("shared", "this pair has no features".to_string(), "plant some: `shared = 176`");
        return;
    }
    if spec.active <= 0.0 || spec.active > features as f64 {
        report(
            "active",
            format!("{} of {features} features cannot be active at a time", spec.active),
            "between 0 and the number of features; published dictionaries have some percent",
        );
    }
    if spec.weak > 0 && spec.weak_ratio.0 < 0.2 {
        let message = format!(
            "a feature at {} of its strength in the base is tuned-only by the paper's own rule (Delta_norm > 0.9)",
            spec.weak_ratio.0
        );
        report(
            "weak_ratio",
            message,
            "plant weak shared features at ratios of 0.25 to 0.5, so that calling them tuned-only is an error and not a rounding",
        );
    }
    if 2 * spec.correlated > features {
        report(
            "correlated",
            format!("{} pairs need {} features, and there are {features}", spec.correlated, 2 * spec.correlated),
            "at most half as many pairs as features",
        );
    }
}

/// The truth must be that of the activations the crosscoder was trained on.
pub fn recover(at: &At, of: &Draft, against: &Draft, sink: &mut Sink) {
    let Some(node) = at.fields.get("against") else { return };
    let place = |field: &str| at.fields.get(field).map_or(at.span(), |n| n.span);
    if !against.facts.synthetic {
        sink.push(
            Diagnostic::new(Code::WrongKind, node.span, "a pair of real models has no truth to compare with")
                .label("not a synthetic pair")
                .help("recovery is measured against `pair toy = synthetic(..)`"),
        );
        return;
    }
    if let (Some(a), Some(b)) = (of.facts.width, against.facts.width)
        && (a != b || !of.facts.synthetic)
    {
        sink.push(
            Diagnostic::new(Code::PairMismatch, node.span, "the crosscoder was not trained on this pair")
                .label(format!("width {b}"))
                .related(
                    place("of"),
                    format!("trained on width {a}{}", if of.facts.synthetic { "" } else { ", from real models" }),
                )
                .help("name the pair whose activations it was trained on"),
        );
    }
}

/// `layers` of a synthetic pair, which has none.
pub fn has_models(at: &At, of: &Draft, sink: &mut Sink) -> bool {
    if !of.facts.synthetic {
        return true;
    }
    let span = at.fields.get("of").map_or(at.span(), |node| node.span);
    sink.push(
        Diagnostic::new(Code::WrongKind, span, "layers runs both models of a pair, and a synthetic pair has none")
            .label("no models")
            .help("name a pair of models: `pair organism { base = .., tuned = .. }`"),
    );
    false
}
