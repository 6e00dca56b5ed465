//! What means nothing for a crosscoder that is an autoencoder (`variant = sae(..)`), and what to write instead.

use crate::lang::diagnostic::{Code, Diagnostic};
use crate::lang::plan::Origin;
use crate::lang::plan::draft::{At, Draft};
use crate::lang::plan::facts::Facts;
use crate::lang::plan::spec::{Role, Target, Variant};
use crate::lang::resolve::{Node, Sink, Typed};
use crate::lang::source::Span;

use super::weights::Weights;

/// Losses and starts that the published autoencoders do not have. False when there is one.
pub fn training(at: &At, variant: Variant, draft: &Draft, sink: &mut Sink) -> bool {
    let Variant::Sae(target) = variant else { return true };
    let variant = at.fields.get("variant").map_or(at.span(), |node| node.span);
    let mut problems = Vec::new();
    if let Some(loss) = at.fields.get("loss")
        && loss.call().is_some_and(|call| call.word == "l1")
    {
        problems.push(
            Diagnostic::new(Code::NotForSae, loss.span, "an autoencoder is not trained with `l1`")
                .label("no such autoencoder is published with this method")
                .help("write `loss = batch_topk(k = 100)`, as the published SAEs and diff-SAEs, or `topk(k = ..)`"),
        );
    }
    let norm = at.fields.call("loss").and_then(|call| call.get("norm"));
    if let Some(norm) = norm.filter(|n| !matches!(n.origin, Origin::Default(_)) && n.word() != Some("none")) {
        problems.push(
            Diagnostic::new(Code::NotForSae, norm.span, "decoder vectors of an autoencoder have norm 1")
                .label("no norm to rank by")
                .help("leave `norm` out: f itself is ranked and compared with the threshold"),
        );
    }
    if let Some(span) = at.is_written("init.same") {
        problems.push(
            Diagnostic::new(Code::NotForSae, span, "an autoencoder has one encoder")
                .label("nothing reads this")
                .help("leave `init.same` out"),
        );
    }
    if at.fields.get("train.resample").is_some_and(|node| node.whole().is_some()) {
        let span = at.fields.get("train.resample").map_or(at.span(), |node| node.span);
        problems.push(
            Diagnostic::new(Code::NotForSae, span, "dead latents of an autoencoder are not resampled")
                .label("only of crosscoders")
                .help("leave it out: AuxK (`aux`) brings dead latents back"),
        );
    }
    if target == Target::Difference && draft.facts.normalize == Some("per_model_scale") {
        let on = at.fields.get("on").map_or(at.span(), |node| node.span);
        problems.push(
            Diagnostic::new(Code::NotForSae, on, "the difference of two models that are scaled differently")
                .label("each model has its own scale (`normalize = per_model_scale`)")
                .help("write `normalize = none` or `rms(1.0)` (one scale for both) in these activations"),
        );
    }
    let fine = problems.is_empty();
    problems.into_iter().for_each(|problem| sink.push(problem.related(variant, "an autoencoder")));
    fine
}

/// Weights trained elsewhere: what an autoencoder reads, by its files or by `variant`.
pub fn as_it_is(at: &At, written: Option<Variant>, weights: &Weights, sink: &mut Sink) -> Option<Variant> {
    let written = written.filter(|_| at.is_written("variant").is_some());
    let Some((facts, span)) = &weights.facts else { return Some(written.unwrap_or_default()) };
    let problem = match (facts.autoencoder, written, facts.reads) {
        (false, Some(Variant::Sae(_)), _) => {
            Diagnostic::new(Code::Unusable, at.is_written("variant")?, "these weights are a crosscoder of two models")
                .label("no autoencoder")
                .related(*span, "trained elsewhere")
                .help("leave `variant` out")
        }
        (false, ..) => return Some(Variant::SharedCode),
        (true, None | Some(Variant::SharedCode), None) => Diagnostic::new(
            Code::Unusable,
            *span,
            "these weights are a sparse autoencoder, and the files do not say of what",
        )
        .label("of the base, the tuned model, or the difference?")
        .help("write `variant = sae(on = tuned)`, `sae(on = base)` or `sae(on = difference)` (tuned - base) beside it"),
        (true, Some(Variant::Sae(target)), Some(reads)) if target != reads => {
            let message = format!("these weights are an autoencoder of {}", words(reads));
            Diagnostic::new(Code::Unusable, at.is_written("variant")?, message)
                .label("says otherwise")
                .related(*span, "as its files say")
                .help(format!("write `variant = sae(on = {})`, or leave it out", word(reads)))
        }
        (true, Some(variant @ Variant::Sae(_)), _) => return Some(variant),
        (true, _, Some(reads)) => return Some(Variant::Sae(reads)),
    };
    sink.push(problem);
    None
}

/// Weights that training starts from have the shape of what is trained. False when they have not.
pub fn to_start_from(variant: Variant, weights: &Weights, sink: &mut Sink) -> bool {
    let Some((facts, span)) = &weights.facts else { return true };
    let (wanted, found) = match variant {
        Variant::SharedCode if facts.autoencoder => ("a crosscoder of two models", "an autoencoder"),
        Variant::Sae(_) if !facts.autoencoder => ("an autoencoder", "a crosscoder of two models"),
        _ => return true,
    };
    sink.push(
        Diagnostic::new(Code::Unusable, *span, format!("{wanted} cannot start from {found}"))
            .label(found)
            .help("name weights of the same `variant`, or leave `init.from` out"),
    );
    false
}

/// A step that compares what latents write in both models. False of an autoencoder, with `instead` as the next step.
pub fn two_decoders(at: &At, of: Option<&Draft>, what: &str, instead: &str, sink: &mut Sink) -> bool {
    let Some(target) = of.and_then(|of| of.facts.sae) else { return true };
    let span = at.fields.get("of").map_or(at.span(), |node| node.span);
    sink.push(refused(span, what, target).help(instead.to_string()));
    false
}

/// The refusal of a step that needs decoders of both models.
fn refused(span: Span, what: &str, target: Target) -> Diagnostic {
    Diagnostic::new(Code::NotForSae, span, format!("{what}, and an autoencoder has one decoder"))
        .label(format!("an autoencoder of {}", words(target)))
}

/// Latent Scaling fits the vector that a latent writes, to the activations alone. False when something else is asked for.
pub fn scaling(at: &At, facts: &Facts, sink: &mut Sink) -> bool {
    let Some(target) = facts.sae else { return true };
    if let Some(span) = at.is_written("specific") {
        sink.push(
            refused(span, "`specific` is about the base's reconstruction and error", target)
                .help("leave it out, and choose latents by their ratio: `threshold(abs(nu.nu_activation) < 0.3)`"),
        );
        return false;
    }
    let own = if target == Target::Base { "base" } else { "tuned" };
    if at.fields.word("fit").is_none_or(|fit| fit == own || fit == "both") {
        return true;
    }
    let span = at.fields.get("fit").map_or(at.span(), |node| node.span);
    sink.push(
        refused(
            span,
            &format!("`fit = {}` names a decoder that is not there", at.fields.word("fit").unwrap_or("tuned")),
            target,
        )
        .help(format!("write `fit = {own}`: it is the vector that its latents write")),
    );
    false
}

/// The first entry of `insert` with one of these words.
fn entry<'a>(at: &At<'a>, words: &[&str]) -> Option<&'a Node> {
    let Typed::Entries(entries) = &at.fields.get("insert")?.value else { return None };
    entries.iter().map(|(_, node)| node).find(|node| node.call().is_some_and(|call| words.contains(&call.word)))
}

/// Only an autoencoder's decoder bias is put in. False for that of a crosscoder.
pub fn bias(at: &At, facts: &Facts, sink: &mut Sink) -> bool {
    let Some(node) = entry(at, &["add_with_bias"]).filter(|_| facts.sae.is_none()) else { return true };
    sink.push(
        Diagnostic::new(Code::WrongKind, node.span, "decoder biases of a crosscoder are not exchanged")
            .label("only of an autoencoder")
            .help("write `add(..)`, or take a crosscoder with `variant = sae(..)`"),
    );
    false
}

/// Latents put in with `add` are what the decoder of the other model writes. False when that is nothing.
pub fn added(at: &At, facts: &Facts, into: Role, sink: &mut Sink) -> bool {
    let Some(target) = facts.sae else { return true };
    let writes = if target == Target::Base { Role::Base } else { Role::Tuned };
    let entry = entry(at, &["add", "add_with_bias"]);
    let mode = at.fields.get("mode").filter(|node| node.word() == Some("add"));
    let Some(node) = entry.or(mode).filter(|_| into == writes) else { return true };
    let other = if into == Role::Base { "tuned" } else { "base" };
    let place = at.fields.get("into").map_or(at.span(), |node| node.span);
    sink.push(
        refused(node.span, "`add` puts in what the other model's decoder writes", target)
            .related(place, "these activations are patched")
            .help(format!("write `into = {other}` to add latents, or `mode = replace` to take them out")),
    );
    false
}

fn word(target: Target) -> &'static str {
    match target {
        Target::Base => "base",
        Target::Tuned => "tuned",
        Target::Difference => "difference",
    }
}

fn words(target: Target) -> &'static str {
    match target {
        Target::Base => "the base",
        Target::Tuned => "the tuned model",
        Target::Difference => "the difference (tuned - base)",
    }
}
