//! Chosen latents, and the steps that look at latents on held-out rows.

use crate::lang::check;
use crate::lang::plan::draft::{At, Draft};
use crate::lang::plan::spec::{
    AutointerpSpec, CompareSpec, ExamplesSpec, HowMany, LatentColumn, LatentTest, Latents, Spec, TokenGroupSpec,
    TokensSpec, TwinsSpec,
};
use crate::lang::resolve::{Call, DeclId, Node, Sink, StepRef, Typed};

/// The latents that a node chooses. The steps that it names become inputs of role `latents`; they must be about `crosscoder`.
pub fn chosen(
    at: &At,
    node: &Node,
    crosscoder: Option<(DeclId, usize)>,
    draft: &mut Draft,
    sink: &mut Sink,
) -> Option<Latents> {
    match &node.value {
        Typed::Word(_) => Some(Latents::All),
        Typed::Class(step, class) => {
            Some(Latents::Class { input: measured(at, step, crosscoder, draft, sink)?, class: class.clone() })
        }
        Typed::List(nodes) => {
            let latents: Option<Vec<u32>> = nodes.iter().map(|n| n.whole().map(|n| n as u32)).collect();
            check::latents::numbers(nodes, draft.facts.latents, sink).then_some(())?;
            Some(Latents::These { latents: latents? })
        }
        Typed::Call(call) => form(at, call, crosscoder, draft, sink),
        _ => None,
    }
}

fn form(
    at: &At,
    call: &Call,
    crosscoder: Option<(DeclId, usize)>,
    draft: &mut Draft,
    sink: &mut Sink,
) -> Option<Latents> {
    let of = || call.get("of");
    match call.word {
        "top" | "bottom" | "best" | "worst" => {
            let by = match &call.get("by")?.value {
                Typed::LatentColumn(step, column) => {
                    LatentColumn { input: measured(at, step, crosscoder, draft, sink)?, column: column.to_string() }
                }
                _ => return None,
            };
            Some(Latents::Ordered {
                last: matches!(call.word, "bottom" | "worst"),
                amount: how_many(call.get("amount")?)?,
                by,
                of: Box::new(chosen(at, of()?, crosscoder, draft, sink)?),
            })
        }
        "threshold" => {
            let mut tests = Vec::new();
            for node in call.get("tests")?.list()? {
                let Typed::LatentTest { step, column, absolute, operator, value } = &node.value else { return None };
                let input = measured(at, step, crosscoder, draft, sink)?;
                let column = LatentColumn { input, column: column.to_string() };
                tests.push(LatentTest { column, absolute: *absolute, operator: *operator, value: *value });
            }
            Some(Latents::Threshold { tests, of: Box::new(chosen(at, of()?, crosscoder, draft, sink)?) })
        }
        "random" => Some(Latents::Random {
            amount: how_many(call.get("amount")?)?,
            draws: call.get("seeds")?.whole()?,
            of: Box::new(chosen(at, of()?, crosscoder, draft, sink)?),
        }),
        _ => None,
    }
}

fn how_many(node: &Node) -> Option<HowMany> {
    match node.value {
        Typed::Whole(count) => Some(HowMany::Count(count)),
        Typed::Number(share) => Some(HowMany::Share(share)),
        _ => None,
    }
}

/// Notes a step as an input of role `latents`: its place among them.
pub fn measured(
    at: &At,
    step: &StepRef,
    crosscoder: Option<(DeclId, usize)>,
    draft: &mut Draft,
    sink: &mut Sink,
) -> Option<usize> {
    let (id, index, found) = at.step(step)?;
    if let (Some(own), Some(other)) = (crosscoder, crosscoder_of(found))
        && own != other
    {
        sink.push(check::latents::another_crosscoder(at, step, own, other));
        return None;
    }
    let mut among = draft.inputs.iter().filter(|(role, ..)| *role == "latents");
    if let Some(place) = among.position(|(_, d, i)| (*d, *i) == (id, index)) {
        return Some(place);
    }
    draft.inputs.push(("latents", id, index));
    Some(draft.inputs.iter().filter(|(role, ..)| *role == "latents").count() - 1)
}

/// The crosscoder that a step reads in role `of`.
pub fn crosscoder_of(draft: &Draft) -> Option<(DeclId, usize)> {
    draft.inputs.iter().find(|(role, ..)| *role == "of").map(|(_, id, index)| (*id, *index))
}

/// The validation portions of a corpus that a field names; the outer `None` is a mistake.
fn portions(at: &At, crosscoder: Option<(DeclId, usize)>, sink: &mut Sink) -> Option<Option<Vec<u16>>> {
    let Some(node) = at.fields.get("corpus") else {
        return Some(None).filter(|_| !at.fields.broken.contains("corpus"));
    };
    let Typed::Step(step) = &node.value else { return None };
    let (corpus, point, _) = at.step(step)?;
    let (id, index) = crosscoder?;
    let (_, on, place) = at.drafts[id.0].get(index)?.inputs.iter().find(|(role, ..)| *role == "on")?;
    let read = at.drafts[on.0].get(*place)?.inputs.iter().filter(|(role, ..)| *role == "validate");
    let found: Vec<u16> = read
        .enumerate()
        .filter(|(_, (_, id, index))| (*id, *index) == (corpus, point))
        .map(|(portion, _)| portion as u16)
        .collect();
    if found.is_empty() {
        sink.push(check::latents::not_held_out(at, node, corpus, *on));
        return None;
    }
    Some(Some(found))
}

pub fn tokens(at: &At, draft: &mut Draft, sink: &mut Sink) -> Option<Spec> {
    let of = at.input("of", "of", draft);
    draft.facts = of.map(|d| d.facts.clone()).unwrap_or_default();
    let portions = portions(at, crosscoder_of(draft), sink);
    let above = at.fields.number("above");
    of?;
    let groups = at.fields.get("groups")?.list()?.iter().map(|node| match node.word()? {
        "control" => Some(TokenGroupSpec::Control),
        "non_control" => Some(TokenGroupSpec::NonControl),
        "bos" => Some(TokenGroupSpec::Bos),
        "user" => Some(TokenGroupSpec::User),
        "assistant" => Some(TokenGroupSpec::Assistant),
        _ => Some(TokenGroupSpec::Text),
    });
    let groups = check::latents::distinct_groups(at, groups.collect::<Option<_>>()?, sink)?;
    Some(Spec::Tokens(TokensSpec { portions: portions?, groups, above: above? }))
}

pub fn twins(at: &At, draft: &mut Draft, sink: &mut Sink) -> Option<Spec> {
    let of = at.input("of", "of", draft);
    draft.facts = of.map(|d| d.facts.clone()).unwrap_or_default();
    let instead = "to hold two autoencoders against one another write `compare { a = .., b = .. }`";
    check::autoencoders::two_decoders(at, of, "twins are pairs of a tuned-only and a base-only latent", instead, sink)
        .then_some(())?;
    of?;
    Some(Spec::Twins(TwinsSpec { cosine: at.fields.number("cosine")?, seed: at.fields.whole("seed")? }))
}

pub fn examples(at: &At, draft: &mut Draft, sink: &mut Sink) -> Option<Spec> {
    let of = at.input("of", "of", draft);
    draft.facts = of.map(|d| d.facts.clone()).unwrap_or_default();
    let crosscoder = crosscoder_of(draft);
    if let (Some(of), Some(_)) = (of, crosscoder) {
        check::latents::has_text(at, of, "examples shows latents in their text", sink);
    }
    let portions = portions(at, crosscoder, sink);
    let latents = chosen(at, at.fields.get("latents")?, crosscoder, draft, sink);
    let bins: Option<Vec<f64>> = at.fields.get("bins")?.list()?.iter().map(Node::number).collect();
    let ascending = check::latents::bins(at, sink);
    of?;
    ascending.then_some(())?;
    Some(Spec::Examples(ExamplesSpec {
        latents: latents?,
        portions: portions?,
        count: at.fields.whole("count")?,
        bins: bins?,
        around: at.fields.whole("around")?,
        seed: at.fields.whole("seed")?,
    }))
}

pub fn autointerp(at: &At, draft: &mut Draft, sink: &mut Sink) -> Option<Spec> {
    let of = at.input("of", "of", draft);
    draft.facts = of.map(|d| d.facts.clone()).unwrap_or_default();
    let node = at.fields.get("scores")?;
    let scores = match node.value {
        Typed::None => None,
        _ => Some(at.file(node, sink)?),
    };
    if let Some(scores) = &scores {
        check::latents::delphi(at, scores, node, sink).then_some(())?;
    }
    of?;
    Some(Spec::Autointerp(AutointerpSpec { scores }))
}

pub fn compare(at: &At, draft: &mut Draft, sink: &mut Sink) -> Option<Spec> {
    let a = at.input("a", "a", draft);
    let b = at.input("b", "b", draft);
    draft.facts = a.map(|d| d.facts.clone()).unwrap_or_default();
    if let (Some(a), Some(b)) = (a, b) {
        check::latents::same_width(at, a, b, sink);
    }
    (a.is_some() && b.is_some()).then_some(Spec::Compare(CompareSpec {}))
}
