//! Where activations come from, and which fields that leaves without meaning.

use crate::lang::diagnostic::{Code, Diagnostic};
use crate::lang::plan::draft::{At, Draft};
use crate::lang::resolve::{Node, Sink, Typed};
use crate::lang::source::Span;
use crate::lang::world::ModelFacts;

/// `of` or `from`, one of them.
pub fn one_source(at: &At, sink: &mut Sink) -> bool {
    let broken = |field: &str| at.fields.broken.contains(field);
    match (at.fields.get("of"), at.fields.get("from")) {
        (Some(of), Some(from)) => {
            sink.push(
                Diagnostic::new(
                    Code::MisplacedField,
                    from.span,
                    "activations are harvested from a pair or read from elsewhere, not both",
                )
                .label("read from elsewhere")
                .related(of.span, "harvested from a pair")
                .help("keep `of` or `from`"),
            );
            false
        }
        (None, None) if broken("of") || broken("from") || at.scope.get(at.id).unreadable => false,
        (None, None) => {
            // A misspelled field may have been meant.
            if at.fields.broken.is_empty() {
                sink.push(
                    Diagnostic::new(Code::MissingField, at.span(), format!("the activations `{}` need `of`", at.name()))
                        .label("of which pair?")
                        .help("write `of = ..` with the name of a pair, or `from = tensors(\"file.safetensors\")` for rows harvested elsewhere"),
                );
            }
            false
        }
        _ => true,
    }
}

/// Fields that mean something for models only.
pub fn only_with_models(at: &At, what: &str, sink: &mut Sink) {
    for field in ["layer", "site", "context", "skip", "exclude"] {
        if let Some(span) = at.is_written(field) {
            sink.push(
                Diagnostic::new(
                    Code::MisplacedField,
                    span,
                    format!("`{field}` means nothing here: {what} has no {}", subject(field)),
                )
                .label("nothing reads this")
                .help("leave it out"),
            );
        }
    }
}

fn subject(field: &str) -> &'static str {
    match field {
        "layer" | "site" => "layers",
        "exclude" => "special tokens",
        _ => "sequences",
    }
}

/// `layer` must be written for models and exist in them.
pub fn layer(at: &At, pair: &Draft, sink: &mut Sink) {
    let Some(node) = at.fields.get("layer") else {
        if at.fields.broken.is_empty() && !at.scope.get(at.id).unreadable {
            let range = pair
                .facts
                .model
                .as_ref()
                .map_or(String::new(), |m| format!(", from 0 to {}", m.layers.saturating_sub(1)));
            sink.push(
                Diagnostic::new(Code::MissingField, at.span(), format!("the activations `{}` need `layer`", at.name()))
                    .label("of which layer?")
                    .help(format!("write `layer = ..`{range}; the paper reads the middle of the model")),
            );
        }
        return;
    };
    let (Some(layer), Some(model)) = (node.whole(), &pair.facts.model) else { return };
    if layer >= model.layers {
        sink.push(no_layer(at, node.span, layer, model));
    }
}

fn no_layer(at: &At, span: Span, layer: u64, model: &ModelFacts) -> Diagnostic {
    let pair_span = at.fields.get("of").map_or(at.span(), |n| n.span);
    Diagnostic::new(Code::LayerOutOfRange, span, format!("these models have no layer {layer}"))
        .label("no such layer")
        .related(pair_span, format!("{} layers", model.layers))
        .help(format!("layers count from 0: take one from 0 to {}", model.layers.saturating_sub(1)))
}

/// Every one of `layers` exists in the models.
pub fn layers(at: &At, layers: &[u64], model: Option<&ModelFacts>, sink: &mut Sink) -> bool {
    let (Some(model), Some(node)) = (model, at.fields.get("layers")) else { return true };
    let Some(layer) = layers.iter().find(|layer| **layer >= model.layers) else { return true };
    sink.push(no_layer(at, node.span, *layer, model));
    false
}

/// `context` must not be longer than what the models were trained on.
pub fn context(at: &At, pair: &Draft, sink: &mut Sink) {
    let Some(written) = at.is_written("context") else { return };
    let (Some(context), Some(model)) = (at.fields.whole("context"), &pair.facts.model) else { return };
    within_models(context, model.context, written, sink);
    if let (Some(skip), Some(place)) = (at.fields.whole("skip"), at.is_written("skip"))
        && skip >= context
    {
        sink.push(
            Diagnostic::new(Code::OutOfRange, place, format!("skipping {skip} of {context} tokens leaves nothing"))
                .label("the whole sequence")
                .help("skip fewer tokens, or read longer sequences"),
        );
    }
}

/// Sequences of `context` tokens, of models that read at most `longest`.
pub fn within_models(context: u64, longest: Option<u64>, span: Span, sink: &mut Sink) {
    if let Some(longest) = longest.filter(|longest| context > *longest) {
        sink.push(
            Diagnostic::new(Code::OutOfRange, span, format!("these models read at most {longest} tokens at a time"))
                .label("longer than their context")
                .help(format!("write `context = {longest} tokens` or less")),
        );
    }
}

/// Portions name a corpus where text is read, and none where no text is read.
pub fn portions(at: &At, field: &str, nodes: &[Node], reads_text: bool, sink: &mut Sink) -> bool {
    let mut fine = true;
    if nodes.is_empty() {
        let span = at.fields.get(field).map_or(at.span(), |n| n.span);
        sink.push(
            Diagnostic::new(Code::OutOfRange, span, format!("`{field}` holds no portion"))
                .label("empty")
                .help("write `[50M tokens of fineweb]`"),
        );
        return false;
    }
    for node in nodes {
        let Typed::Portion { of, .. } = &node.value else { continue };
        match (of, reads_text) {
            (None, true) => {
                fine = false;
                sink.push(of_which_corpus(node));
            }
            (Some(step), false) => {
                fine = false;
                sink.push(
                    Diagnostic::new(Code::WrongType, node.span, "no text is read here")
                        .label("nothing reads this corpus")
                        .related(step.span, "the corpus")
                        .help(format!("write the amount alone: `{field} = 2M tokens`")),
                );
            }
            _ => {}
        }
    }
    if fine && !reads_text && nodes.len() > 1 {
        fine = false;
        sink.push(
            Diagnostic::new(Code::WrongType, nodes[1].span, "without text there is one portion")
                .label("a second portion")
                .help(format!("write the sum alone: `{field} = 2M tokens`")),
        );
    }
    fine
}

/// `200K tokens` where text is read.
pub fn of_which_corpus(node: &Node) -> Diagnostic {
    Diagnostic::new(Code::WrongType, node.span, "these tokens need a text")
        .label("of which corpus?")
        .help(format!("write `{} of ..` with the name of a corpus", node.text))
}

/// `train` and `validate` together must not ask for more rows than there are.
pub fn enough_rows(at: &At, rows: u64, source: Span, sink: &mut Sink) {
    let amount = |field: &str| match at.fields.get(field)?.list()? {
        [node] => match &node.value {
            Typed::Portion { tokens, of: None } => Some((*tokens, node.span)),
            _ => None,
        },
        _ => None,
    };
    let (Some((train, span)), Some((validate, _))) = (amount("train"), amount("validate")) else { return };
    let train = at.fields.whole("limit").map_or(train, |limit| limit.min(train));
    if train.saturating_add(validate) > rows {
        sink.push(
            Diagnostic::new(
                Code::OutOfRange,
                span,
                format!("the caches hold {rows} rows, fewer than train and validate ask for"),
            )
            .label(format!("{train} for training, {validate} for validation"))
            .related(source, format!("{rows} rows"))
            .help(format!(
                "write at most `train = {} tokens`; validation takes the last rows",
                rows.saturating_sub(validate)
            )),
        );
    }
}

/// A tensor of rows must be [rows, 2, d].
pub fn shape(shape: &[u64], key: &str, span: Span, sink: &mut Sink) -> bool {
    if matches!(shape, [_, 2, _]) {
        return true;
    }
    sink.push(
        Diagnostic::new(Code::WrongType, span, format!("the tensor `{key}` has the shape {shape:?}"))
            .label("not [rows, 2, d]")
            .help("rows harvested elsewhere are one tensor of shape [rows, 2, d], base first"),
    );
    false
}
