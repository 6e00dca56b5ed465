use crate::lang::check;
use crate::lang::plan::draft::{At, Draft};
use crate::lang::plan::spec::{PairSpec, Spec, SyntheticSpec};
use crate::lang::resolve::{Call, Sink, VALUE};

pub fn pair(at: &At, draft: &mut Draft, sink: &mut Sink) -> Option<Spec> {
    draft.facts.synthetic = at.scope.get(at.id).fields.iter().any(|w| w.path == VALUE);
    if let Some(call) = at.fields.call(VALUE) {
        draft.facts.width = call.get("width").and_then(|n| n.whole());
        let spec = synthetic(call);
        draft.facts.features = spec.as_ref().map(|s| s.shared + s.weak + s.base_only + s.tuned_only);
        if let Some(spec) = &spec {
            check::pairs::synthetic(spec, call, sink);
        }
        return Some(Spec::Pair(PairSpec::Synthetic(spec?)));
    }
    let base = at.input("base", "base", draft).map(|d| d.facts.clone()).unwrap_or_default();
    let tuned = at.input("tuned", "tuned", draft).map(|d| d.facts.clone()).unwrap_or_default();
    if let (Some(base), Some(tuned)) = (base.dtype, tuned.dtype)
        && base != tuned
    {
        check::pairs::dtypes(at, base, tuned, sink);
    }
    draft.facts.base = base.model;
    draft.facts.model = tuned.model;
    draft.facts.width = draft.facts.model.as_ref().or(draft.facts.base.as_ref()).map(|m| m.width);
    if let (Some(base), Some(tuned)) = (&draft.facts.base, &draft.facts.model) {
        check::pairs::mismatch(at, base, tuned, sink);
    }
    let label = at.string(at.fields.get("label")?, sink)?;
    let read_as = match at.fields.call("read_as") {
        Some(call) => check::pairs::read_as(at, draft, call.get("pairs")?.list()?, sink)?,
        None if at.fields.broken.contains("read_as") => return None,
        None => Vec::new(),
    };
    (draft.inputs.len() == 2).then_some(Spec::Pair(PairSpec::Models { label, read_as }))
}

fn synthetic(call: &Call) -> Option<SyntheticSpec> {
    let whole = |name: &str| call.get(name)?.whole();
    let number = |name: &str| call.get(name)?.number();
    let bounds = |name: &str| call.get(name)?.bounds();
    Some(SyntheticSpec {
        width: whole("width")?,
        shared: whole("shared")?,
        weak: whole("weak")?,
        weak_ratio: bounds("weak_ratio")?,
        ratio: bounds("ratio")?,
        base_only: whole("base_only")?,
        tuned_only: whole("tuned_only")?,
        active: number("active")?,
        tail: number("tail")?,
        frequency: bounds("frequency")?,
        scale: number("scale")?,
        magnitude: bounds("magnitude")?,
        turn: number("turn")?,
        correlated: whole("correlated")?,
        correlation: number("correlation")?,
        noise: number("noise")?,
        seed: whole("seed")?,
    })
}
