//! Weights trained elsewhere against the activations that they are to read.

use crate::lang::diagnostic::{Code, Diagnostic};
use crate::lang::plan::draft::At;
use crate::lang::plan::facts::Facts;
use crate::lang::resolve::Sink;
use crate::lang::source::Span;
use crate::lang::world::CrosscoderFacts;

/// What is known of weights, and where they are named; nothing when they are still on the hub.
pub struct Weights {
    pub latents: Option<u64>,
    pub facts: Option<(CrosscoderFacts, Span)>,
}

/// A crosscoder that is analysed as it is.
pub fn as_it_is(at: &At, weights: &Weights, on: &Facts, sink: &mut Sink) {
    let Some((facts, span)) = &weights.facts else { return };
    width(at, facts, *span, on, sink);
    let place = at.fields.get("on").map_or(at.span(), |node| node.span);
    if let Some(why) = &facts.unusable {
        sink.push(
            Diagnostic::new(Code::Unusable, *span, why.clone())
                .label("cannot be used as it is")
                .help("`xd import` takes what is missing as an option and writes a whole crosscoder; `xd explain unusable` says how"),
        );
    }
    if facts.normalizes
        && let Some(by) = on.normalize
    {
        sink.push(
            Diagnostic::new(Code::NormalizedTwice, *span, "these rows would be normalised twice")
                .label("normalises its rows by numbers of its own")
                .related(place, format!("already scaled by `{by}`"))
                .help("write `normalize = none` in the activations"),
        );
    }
    if let Some(expects) = &facts.expects
        && on.normalize != Some(expects)
    {
        sink.push(
            Diagnostic::new(
                Code::Assumed,
                *span,
                format!(
                    "crosscoders in this layout ({}) were trained on activations scaled by `{expects}`",
                    facts.layout
                ),
            )
            .label("assumed to read rows as they are")
            .related(place, format!("`normalize = {}`", on.normalize.unwrap_or("none")))
            .help(format!(
                "write `normalize = {expects}` in the activations, unless the scale was folded into the weights"
            )),
        );
    }
    for sentence in &facts.assumed {
        sink.push(
            Diagnostic::new(Code::Assumed, *span, sentence.clone())
                .label("not said in these files")
                .help("`xd import PATH --out FOLDER` writes it down once; `--norm` decides on another code norm"),
        );
    }
}

/// Weights that training starts from.
pub fn to_start_from(at: &At, weights: &Weights, own: &Facts, sink: &mut Sink) {
    let Some((facts, span)) = &weights.facts else { return };
    if width(at, facts, *span, own, sink)
        && let Some(latents) = own.latents.filter(|&latents| latents != facts.latents)
    {
        let place = at.fields.get("latents").map_or(at.span(), |node| node.span);
        sink.push(
            Diagnostic::new(
                Code::OutOfRange,
                place,
                format!("the weights to start from have {} latents", facts.latents),
            )
            .label(format!("{latents} latents"))
            .related(*span, format!("{} latents", facts.latents))
            .help(format!("write `latents = {}`", facts.latents)),
        );
    }
    if facts.normalizes {
        sink.push(
            Diagnostic::new(
                Code::Assumed,
                *span,
                "these weights normalise their rows; training starts from them on rows as they are",
            )
            .label("its mean and scale are folded into the weights")
            .help("nothing has to be done; the trained crosscoder reads the rows of `on`"),
        );
    }
}

fn width(at: &At, facts: &CrosscoderFacts, span: Span, on: &Facts, sink: &mut Sink) -> bool {
    let Some(width) = on.width.filter(|&width| width != facts.width) else { return true };
    let place = at.fields.get("on").map_or(at.span(), |node| node.span);
    sink.push(
        Diagnostic::new(Code::PairMismatch, span, "the crosscoder does not fit these activations")
            .label(format!("reads rows of width {}", facts.width))
            .related(place, format!("rows of width {width}"))
            .help("name activations of the pair and layer that it was trained on"),
    );
    false
}
