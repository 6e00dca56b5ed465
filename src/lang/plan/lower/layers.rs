//! `layers`: the models of a pair, compared at each layer.

use super::patch::{position, prompts};
use crate::lang::check;
use crate::lang::plan::draft::{At, Draft};
use crate::lang::plan::spec::{LayersSpec, PositionSpec, Spec};
use crate::lang::resolve::Sink;

/// Longest conversation where nothing is written.
const CONTEXT: u64 = 1024;

pub fn layers(at: &At, draft: &mut Draft, sink: &mut Sink) -> Option<Spec> {
    let of = at.input("of", "of", draft);
    draft.facts = of.map(|d| d.facts.clone()).unwrap_or_default();
    let models = of.is_none_or(|of| check::pairs::has_models(at, of, sink));
    let prompts = match at.fields.get("prompts") {
        Some(node) if !check::latents::names_a_corpus(node) => {
            sink.push(check::latents::prompts_of_a_pair(node));
            None
        }
        _ => prompts(at, None, draft, sink),
    };
    let model = draft.facts.model.as_ref();
    let layers: Vec<u64> = match at.fields.get("layers") {
        Some(node) => node.list()?.iter().map(|node| node.whole()).collect::<Option<_>>()?,
        None => Vec::new(),
    };
    let exist = check::activations::layers(at, &layers, model, sink);
    let layers = check::latents::distinct_layers(at, layers, sink);
    let longest = model.and_then(|model| model.context);
    let context = match at.fields.get("context") {
        Some(node) => {
            check::activations::within_models(node.whole()?, longest, node.span, sink);
            node.whole()?
        }
        None => longest.map_or(CONTEXT, |longest| longest.min(CONTEXT)),
    };
    let positions: Option<Vec<PositionSpec>> = at.fields.get("positions")?.list()?.iter().map(position).collect();
    let positions = check::latents::distinct_positions(at, positions?, sink)?;
    let site = super::activations::site(at)?;
    of?;
    (models && exist).then_some(())?;
    Some(Spec::Layers(LayersSpec { prompts: prompts?, context, layers: layers?, site, positions }))
}
