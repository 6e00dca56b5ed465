//! Values to specifications, one file a kind; the checks that need facts of the inputs run here.

mod activations;
mod analyses;
mod corpus;
mod crosscoder;
mod hub;
mod latents;
mod layers;
mod model;
mod pair;
mod patch;
mod plot;
mod questions;

use crate::lang::resolve::Sink;

use super::draft::{At, Draft};

/// The draft of a declaration at a point. Everything that can be judged is judged, also when the rest is broken.
pub fn lower(at: &At, kind: &str, sink: &mut Sink) -> Draft {
    let mut draft = Draft::default();
    draft.spec = match kind {
        "model" => model::model(at, &mut draft, sink),
        "pair" => pair::pair(at, &mut draft, sink),
        "corpus" => corpus::corpus(at, &mut draft, sink),
        "template" => corpus::template_declaration(at, sink),
        "activations" => activations::activations(at, &mut draft, sink),
        "crosscoder" => crosscoder::crosscoder(at, &mut draft, sink),
        "classify" => analyses::classify(at, &mut draft, sink),
        "scaling" => analyses::scaling(at, &mut draft, sink),
        "quality" => analyses::quality(at, &mut draft),
        "recover" => analyses::recover(at, &mut draft, sink),
        "layers" => layers::layers(at, &mut draft, sink),
        "patch" => patch::patch(at, &mut draft, sink),
        "tokens" => latents::tokens(at, &mut draft, sink),
        "twins" => latents::twins(at, &mut draft, sink),
        "examples" => latents::examples(at, &mut draft, sink),
        "steer" => patch::steer(at, &mut draft, sink),
        "autointerp" => latents::autointerp(at, &mut draft, sink),
        "compare" => latents::compare(at, &mut draft, sink),
        "table" => questions::table(at, &mut draft, sink),
        "plot" => plot::plot(at, &mut draft, sink),
        "expect" => questions::expect(at, &mut draft, sink),
        _ => None,
    };
    if !at.fields.is_whole() {
        draft.spec = None;
    }
    draft
}
