//! Crosscoders that cannot be trained as written.

use crate::lang::diagnostic::{Code, Diagnostic};
use crate::lang::plan::draft::{At, Draft};
use crate::lang::plan::spec::Train;
use crate::lang::resolve::{Sink, Typed};

/// `loss`, or `from` and nothing of the training.
pub fn source(at: &At, sink: &mut Sink) {
    let Some(from) = at.fields.get("from") else {
        let broken = |field: &str| at.fields.broken.contains(field);
        let resolved = at.resolution.get(at.id);
        let own_axes = at.scope.get(at.id).axes.len();
        let axes_read = resolved.axes.iter().filter(|a| a.id.owner == at.id).count() == own_axes;
        let silent =
            broken("loss") || broken("from") || at.scope.get(at.id).unreadable || has_unknown_field(at) || !axes_read;
        if at.fields.get("loss").is_none() && !silent {
            sink.push(
                Diagnostic::new(Code::MissingField, at.span(), format!("the crosscoder `{}` needs a `loss`", at.name()))
                    .label("trained with which loss?")
                    .help("write `loss = batch_topk(k = 100)` or `loss = l1(weight = 4.1e-2)`, or compare both: `for loss in [..]`"),
            );
        }
        return;
    };
    for (path, node) in &at.fields.nodes {
        let training = *path == "loss" || *path == "latents" || path.starts_with("train.") || path.starts_with("init.");
        if training && at.is_written(path).is_some() {
            sink.push(
                Diagnostic::new(
                    Code::MisplacedField,
                    node.span,
                    format!("`{path}` means nothing for a crosscoder that was trained elsewhere"),
                )
                .label("nothing reads this")
                .related(from.span, "trained elsewhere")
                .help("leave it out; to train on from these weights use `init.from` instead of `from`"),
            );
        }
    }
}

fn has_unknown_field(at: &At) -> bool {
    let kind = at.scope.get(at.id).kind;
    at.fields.broken.iter().any(|path| kind.is_some_and(|k| k.field(path).is_none()))
}

/// k and its annealing must fit into the latents.
pub fn k(at: &At, latents: Option<u64>, width: Option<u64>, sink: &mut Sink) {
    let (Some(latents), Some(loss), Some(node)) = (latents, at.fields.call("loss"), at.fields.get("latents")) else {
        return;
    };
    let size = match (&node.value, width) {
        (Typed::Amount { value, unit: crate::lang::schema::Unit::Times }, Some(width)) => {
            format!("{value} x {width} = {latents} latents")
        }
        _ => format!("{latents} latents"),
    };
    let mut numbers = Vec::new();
    if let Some(k) = loss.get("k") {
        numbers.push(k);
    }
    if let Some(Typed::Tuple(parts)) = loss.get("anneal").map(|n| &n.value) {
        numbers.extend(parts.first());
    }
    for number in numbers {
        let Some(k) = number.whole().filter(|k| *k > latents) else { continue };
        sink.push(
            Diagnostic::new(
                Code::KTooLarge,
                number.span,
                format!("{k} active latents a token are more than there are"),
            )
            .label("larger than the dictionary")
            .related(node.span, size)
            .help(format!("k must be at most {latents}; the paper keeps 100 of 73,728 active")),
        );
        return;
    }
}

/// A shuffle over all rows reads them one by one, and those of a stream are not there.
pub fn shuffle(at: &At, draft: &Draft, sink: &mut Sink) {
    let Some(node) = at.fields.get("train.shuffle") else { return };
    if draft.facts.streamed.is_none() || at.fields.word("train.shuffle") != Some("global") {
        return;
    }
    let on = at.fields.get("on").map_or(at.span(), |n| n.span);
    sink.push(
        Diagnostic::new(
            Code::OutOfRange,
            node.span,
            "rows that are not stored cannot be shuffled as a whole".to_string(),
        )
        .label("would harvest a block for every row")
        .related(on, "these activations have `store = none`")
        .help("write `shuffle = local`: the mixing buffer is shuffled as a whole, and stretches of 64 MiB of it are read in another order in every epoch; or `store = bf16`"),
    );
}

/// Training that is over before it has begun.
pub fn training(at: &At, train: &Train, draft: &Draft, sink: &mut Sink) {
    if let Some(rows) = draft.facts.train
        && train.batch > rows
    {
        let span = at.fields.get("train.batch").map_or(at.span(), |n| n.span);
        let on = at.fields.get("on").map_or(at.span(), |n| n.span);
        sink.push(
            Diagnostic::new(
                Code::OutOfRange,
                span,
                format!("a batch of {} tokens is more than all the training rows", train.batch),
            )
            .label("larger than the data")
            .related(on, format!("{rows} rows"))
            .help("take a smaller batch, or more tokens for training"),
        );
        return;
    }
    let warmup = train.optimizer.warmup;
    if warmup * 2 > train.steps && at.fields.is_whole() {
        let optimizer = at.fields.call("train.optimizer");
        let span = optimizer.and_then(|c| c.get("warmup")).map_or(at.span(), |n| n.span);
        let written = at.is_written("train.optimizer").is_some();
        let length = at.fields.get("train.length").map_or(at.span(), |n| n.span);
        let default = if written { "" } else { " (the paper's default)" };
        sink.push(
            Diagnostic::new(
                Code::WarmupTooLong,
                span,
                format!(
                    "the learning rate warms up over {warmup} steps{default}, and the whole training has {}",
                    train.steps
                ),
            )
            .label("more than half of the training")
            .related(length, format!("{} steps of {} tokens", train.steps, train.batch))
            .help(format!(
                "write `optimizer = adam(warmup = {} steps)` in `train`, or train longer",
                (train.steps / 20).max(1)
            )),
        );
    }
}
