//! Steps that run the models on: `patch` and `steer`.

use super::latents::{chosen, crosscoder_of, measured};
use crate::lang::check;
use crate::lang::plan::draft::{At, Draft};
use crate::lang::plan::spec::{
    ActivationsSource, ActivationsSpec, HowMany, Insert, InsertSpec, LatentColumn, Latents, Metric, PatchMode,
    PatchSpec, PositionSpec, Role, Spec, SteerPrompts, SteerSpec,
};
use crate::lang::resolve::{Call, DeclId, Node, Sink, Typed};

pub fn patch(at: &At, draft: &mut Draft, sink: &mut Sink) -> Option<Spec> {
    let of = at.input("of", "of", draft);
    draft.facts = of.map(|d| d.facts.clone()).unwrap_or_default();
    let crosscoder = crosscoder_of(draft);
    let models = of.is_none_or(|of| check::latents::has_models(at, of, "patch runs both models on", sink));
    let prompts = models.then(|| prompts(at, crosscoder, draft, sink)).flatten();
    if prompts.is_some() {
        held_out(at, crosscoder, draft, sink);
    }
    let context = models.then(|| context(at, crosscoder, sink)).flatten();
    let mut insert = Vec::new();
    let mut whole = true;
    if let Some(Typed::Entries(entries)) = at.fields.get("insert").map(|node| &node.value) {
        for (label, node) in entries {
            if let Some(call) = node.call().filter(|call| call.word == "paper") {
                match paper(at, call, node, entries.len(), crosscoder, draft, sink) {
                    Some(setups) => insert.extend(setups),
                    None => whole = false,
                }
                continue;
            }
            match what(at, node, crosscoder, draft, sink) {
                Some(what) => insert.push(InsertSpec { label: label.clone(), what }),
                None => whole = false,
            }
        }
    }
    let positions: Option<Vec<PositionSpec>> = at.fields.get("positions")?.list()?.iter().map(position).collect();
    let positions = check::latents::distinct_positions(at, positions?, sink)?;
    let metrics = at.fields.get("metric")?.list()?.iter().map(|node| match node.word()? {
        "kl" => Some(Metric::Kl),
        "kl_base" => Some(Metric::KlBase),
        "kl_tuned" => Some(Metric::KlTuned),
        "loss" => Some(Metric::Loss),
        "loss_argmax" => Some(Metric::LossArgmax),
        _ => Some(Metric::Agreement),
    });
    let metrics = metrics.collect::<Option<Vec<Metric>>>()?;
    let metrics = check::latents::distinct_metrics(at, metrics, sink)?;
    let role = |field: &str| self::role(at, field);
    if let (Some(of), Some(into)) = (of, role("into")) {
        check::autoencoders::bias(at, &of.facts, sink).then_some(())?;
        check::autoencoders::added(at, &of.facts, into, sink).then_some(())?;
    }
    of?;
    (whole && models).then_some(())?;
    Some(Spec::Patch(PatchSpec {
        into: role("into")?,
        finish: role("finish")?,
        prompts: prompts?,
        context: context?,
        insert,
        mode: if at.fields.word("mode")? == "add" { PatchMode::Add } else { PatchMode::Replace },
        positions,
        metrics,
        seed: at.fields.whole("seed")?,
    }))
}

/// The activations that the crosscoder reads.
fn activations(at: &At, crosscoder: Option<(DeclId, usize)>) -> Option<(DeclId, usize)> {
    let (id, index) = crosscoder?;
    let inputs = &at.drafts[id.0].get(index)?.inputs;
    inputs.iter().find(|(role, ..)| *role == "on").map(|(_, id, index)| (*id, *index))
}

/// Warns of conversations that the crosscoder was trained on.
fn held_out(at: &At, crosscoder: Option<(DeclId, usize)>, draft: &Draft, sink: &mut Sink) {
    let corpus = draft.inputs.iter().find(|(role, ..)| *role == "prompts").map(|(_, id, index)| (*id, *index));
    if let (Some(node), Some(corpus), Some(on)) = (at.fields.get("prompts"), corpus, activations(at, crosscoder)) {
        check::corpora::trained_prompts(at, node, corpus, on, sink);
    }
}

/// As written, else that of the activations, but no more than the models read at a time.
fn context(at: &At, crosscoder: Option<(DeclId, usize)>, sink: &mut Sink) -> Option<u64> {
    let (id, index) = activations(at, crosscoder)?;
    let read = at.drafts[id.0].get(index)?;
    let longest = read.facts.model.as_ref().and_then(|model| model.context);
    if let Some(node) = at.fields.get("context") {
        let context = node.whole()?;
        check::activations::within_models(context, longest, node.span, sink);
        return Some(context);
    }
    match &read.spec {
        Some(Spec::Activations(ActivationsSpec { source: ActivationsSource::Models { context, .. }, .. })) => {
            Some(longest.map_or(*context, |longest| longest.min(*context)))
        }
        _ => None,
    }
}

/// The paper's setups (docs/method.md 5.2), and random latents beside them.
fn paper(
    at: &At,
    call: &Call,
    node: &Node,
    entries: usize,
    crosscoder: Option<(DeclId, usize)>,
    draft: &mut Draft,
    sink: &mut Sink,
) -> Option<Vec<InsertSpec>> {
    if entries > 1 {
        sink.push(check::latents::paper_among_others(node));
        return None;
    }
    let mut step = |name: &str| match &call.get(name)?.value {
        Typed::Step(step) => measured(at, step, crosscoder, draft, sink),
        _ => None,
    };
    let (classes, scaling) = (step("classes"), step("scaling"));
    let of = match call.get("of") {
        Some(node) => chosen(at, node, crosscoder, draft, sink)?,
        None => Latents::Class { input: classes?, class: "tuned_only".to_string() },
    };
    let (classes, scaling) = (classes?, scaling?);
    // Filtered once, so that both orders divide the same latents.
    let of = of.measured(classes, scaling);
    let half = |column: &str, input: usize, last: bool| {
        let by = LatentColumn { input, column: column.to_string() };
        Insert::Latents(Latents::Ordered { last, amount: HowMany::Share(0.5), by, of: Box::new(of.clone()) })
    };
    let setups = [
        ("nothing", Insert::Nothing),
        ("everything", Insert::Everything),
        ("error", Insert::Error),
        ("template", Insert::Template),
        ("scaling_best", half("rank", scaling, false)),
        ("scaling_worst", half("rank", scaling, true)),
        ("norm_best", half("delta_norm", classes, false)),
        ("norm_worst", half("delta_norm", classes, true)),
    ];
    Some(setups.map(|(label, what)| InsertSpec { label: label.to_string(), what }).to_vec())
}

fn role(at: &At, field: &str) -> Option<Role> {
    Some(if at.fields.word(field)? == "base" { Role::Base } else { Role::Tuned })
}

fn what(
    at: &At,
    node: &Node,
    crosscoder: Option<(DeclId, usize)>,
    draft: &mut Draft,
    sink: &mut Sink,
) -> Option<Insert> {
    match node.call().map(|call| call.word) {
        Some("nothing") => Some(Insert::Nothing),
        Some("everything") => Some(Insert::Everything),
        Some("error") => Some(Insert::Error),
        Some("template") => Some(Insert::Template),
        Some(word @ ("add" | "add_with_bias" | "replace")) => {
            let mode = match word {
                "add" => PatchMode::Add,
                "add_with_bias" => PatchMode::AddWithBias,
                _ => PatchMode::Replace,
            };
            let latents = chosen(at, node.call()?.get("latents")?, crosscoder, draft, sink)?;
            Some(Insert::By { mode, latents })
        }
        _ => Some(Insert::Latents(chosen(at, node, crosscoder, draft, sink)?)),
    }
}

pub(super) fn position(node: &Node) -> Option<PositionSpec> {
    let call = node.call()?;
    let tokens = || call.get("tokens")?.whole();
    Some(match call.word {
        "first" => PositionSpec::First(tokens()?),
        "rest" => PositionSpec::Rest(tokens()?),
        "template" => PositionSpec::Template,
        _ => PositionSpec::All,
    })
}

/// How many conversations; their corpus becomes the input `prompts`.
pub(super) fn prompts(at: &At, crosscoder: Option<(DeclId, usize)>, draft: &mut Draft, sink: &mut Sink) -> Option<u64> {
    let node = at.fields.get("prompts")?;
    let Typed::Prompts { count, of } = &node.value else { return None };
    match of {
        Some(step) => {
            let (id, index, corpus) = at.step(step)?;
            if !corpus.facts.chat && !at.resolution.get(id).broken {
                sink.push(check::latents::no_chat(at, node, id));
                return None;
            }
            draft.inputs.push(("prompts", id, index));
        }
        None => {
            let (id, index) = crosscoder?;
            let (_, on, place) = at.drafts[id.0].get(index)?.inputs.iter().find(|(role, ..)| *role == "on")?;
            let read = &at.drafts[on.0].get(*place)?.inputs;
            let chat = read
                .iter()
                .filter(|(role, ..)| *role == "validate")
                .find(|(_, id, index)| at.drafts[id.0].get(*index).is_some_and(|corpus| corpus.facts.chat));
            let Some((_, id, index)) = chat else {
                sink.push(check::latents::whose_prompts(at, node, *on));
                return None;
            };
            draft.inputs.push(("prompts", *id, *index));
        }
    }
    Some(*count)
}

pub fn steer(at: &At, draft: &mut Draft, sink: &mut Sink) -> Option<Spec> {
    let of = at.input("of", "of", draft);
    draft.facts = of.map(|d| d.facts.clone()).unwrap_or_default();
    let crosscoder = crosscoder_of(draft);
    let models = of.is_none_or(|of| check::latents::has_models(at, of, "steer lets a model speak", sink));
    let latents = chosen(at, at.fields.get("latents")?, crosscoder, draft, sink);
    let strength: Option<Vec<f64>> = at.fields.get("strength")?.list()?.iter().map(Node::number).collect();
    let node = at.fields.get("prompts")?;
    let prompts = match &node.value {
        Typed::List(nodes) => {
            let texts: Option<Vec<String>> = nodes.iter().map(|node| at.string(node, sink)).collect();
            SteerPrompts::Texts(texts?)
        }
        _ if models => SteerPrompts::Corpus(prompts(at, crosscoder, draft, sink)?),
        _ => return None,
    };
    of?;
    models.then_some(())?;
    let strength = check::latents::distinct_strengths(at, strength?, sink)?;
    let strength: Vec<f64> = strength.into_iter().filter(|s| *s != 0.0).collect();
    Some(Spec::Steer(SteerSpec {
        latents: latents?,
        strength,
        prompts,
        model: role(at, "model")?,
        prompt_only: at.fields.word("at")? == "prompt",
        length: at.fields.whole("length")?,
        temperature: at.fields.number("temperature")?,
        seed: at.fields.whole("seed")?,
    }))
}
