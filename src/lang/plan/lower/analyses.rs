use crate::lang::check;
use crate::lang::plan::draft::{At, Draft};
use crate::lang::plan::spec::{ClassifySpec, Fit, QualitySpec, RecoverSpec, ScalingSpec, Spec};
use crate::lang::resolve::{Sink, Typed};

pub fn classify(at: &At, draft: &mut Draft, sink: &mut Sink) -> Option<Spec> {
    let of = at.input("of", "of", draft);
    draft.facts = of.map(|d| d.facts.clone()).unwrap_or_default();
    check::classes::overlapping(at, sink);
    let instead = "the share of tokens on which its latents fire stands in `tokens`; `scaling` tells by `nu_activation` how much of a latent the base has";
    check::autoencoders::two_decoders(at, of, "classes compare the decoder norms of both models", instead, sink)
        .then_some(())?;
    of?;
    let bounds = |name: &str| at.fields.get(name)?.bounds();
    Some(Spec::Classify(ClassifySpec {
        base_only: bounds("base_only")?,
        shared: bounds("shared")?,
        tuned_only: bounds("tuned_only")?,
    }))
}

pub fn scaling(at: &At, draft: &mut Draft, sink: &mut Sink) -> Option<Spec> {
    let of = at.input("of", "of", draft);
    draft.facts = of.map(|d| d.facts.clone()).unwrap_or_default();
    check::autoencoders::scaling(at, &draft.facts, sink).then_some(())?;
    let latents = class(at, "latents", draft);
    let control = class(at, "control", draft);
    of?;
    let Typed::Tuple(limits) = &at.fields.get("specific")?.value else { return None };
    Some(Spec::Scaling(ScalingSpec {
        latents: latents?,
        control: control?,
        fit: match at.fields.word("fit")? {
            "base" => Fit::Base,
            "both" => Fit::Both,
            _ => Fit::Tuned,
        },
        tokens: at.fields.whole("tokens")?,
        nu_reconstruction: limits.first()?.number()?,
        nu_error: limits.get(1)?.number()?,
        intervals: at.fields.whole("intervals")?,
        seed: at.fields.whole("seed")?,
    }))
}

/// The class that a field selects by; `None` inside when it takes all. The outer `None` is a mistake.
fn class(at: &At, field: &'static str, draft: &mut Draft) -> Option<Option<String>> {
    match at.fields.get(field).map(|n| &n.value) {
        None => Some(None).filter(|_| !at.fields.broken.contains(field)),
        Some(Typed::Class(step, class)) => {
            at.take(step, field, draft)?;
            Some(Some(class.clone()))
        }
        Some(_) => Some(None),
    }
}

pub fn quality(at: &At, draft: &mut Draft) -> Option<Spec> {
    let of = at.input("of", "of", draft);
    draft.facts = of.map(|d| d.facts.clone()).unwrap_or_default();
    of?;
    Some(Spec::Quality(QualitySpec {
        tokens: at.fields.whole("tokens").unwrap_or(0),
        spliced: at.fields.whole("spliced")?,
    }))
}

pub fn recover(at: &At, draft: &mut Draft, sink: &mut Sink) -> Option<Spec> {
    let of = at.input("of", "of", draft);
    let against = at.input("against", "against", draft);
    draft.facts = of.map(|d| d.facts.clone()).unwrap_or_default();
    if let (Some(of), Some(against)) = (of, against) {
        check::pairs::recover(at, of, against, sink);
    }
    if at.fields.get("verdict").is_some() {
        at.input("verdict", "verdict", draft)?;
    }
    (of.is_some() && against.is_some() && !at.fields.broken.contains("verdict")).then_some(())?;
    Some(Spec::Recover(RecoverSpec { cosine: at.fields.number("cosine")? }))
}
