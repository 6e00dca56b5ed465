use crate::lang::check;
use crate::lang::plan::draft::{At, Draft};
use crate::lang::plan::spec::{
    ActivationsSource, ActivationsSpec, Exclude, FileRef, Normalize, PortionSpec, Site, Spec, StoreAs,
};
use crate::lang::resolve::{Call, Node, Sink, Typed};

pub fn activations(at: &At, draft: &mut Draft, sink: &mut Sink) -> Option<Spec> {
    let source = source(at, draft, sink);
    let reads_text = at.fields.get("from").is_none() && !draft.facts.synthetic;
    let known = at.fields.get("from").is_some()
        || draft.inputs.first().is_some_and(|(_, id, _)| !at.resolution.get(*id).broken);
    let train = portions(at, "train", reads_text, known, draft, sink);
    let validate = portions(at, "validate", reads_text, known, draft, sink);
    let total =
        |portions: &Option<Vec<PortionSpec>>| portions.as_ref().map(|p| p.iter().map(|p| p.tokens).sum::<u64>());
    let limit = at.fields.whole("limit");
    draft.facts.train = total(&train).map(|t| limit.map_or(t, |l| t.min(l)));
    draft.facts.validate = total(&validate);
    draft.facts.normalize = match normalize(at) {
        None | Some(Normalize::None) => None,
        Some(Normalize::Rms(_)) => Some("rms"),
        Some(Normalize::PerModelScale) => Some("per_model_scale"),
    };
    if let (Some("none"), Some(ActivationsSource::Models { layer, .. })) = (at.fields.word("store"), &source) {
        draft.facts.streamed = Some(layer + 1);
    }
    check::corpora::enough_text(at, sink);
    check::corpora::leak(at, sink);
    Some(Spec::Activations(ActivationsSpec {
        source: source?,
        train: train?,
        validate: validate?,
        limit,
        normalize: normalize(at)?,
        store: match at.fields.word("store")? {
            "f32" => StoreAs::F32,
            "none" => StoreAs::None,
            _ => StoreAs::Bf16,
        },
    }))
}

fn source(at: &At, draft: &mut Draft, sink: &mut Sink) -> Option<ActivationsSource> {
    if !check::activations::one_source(at, sink) {
        return None;
    }
    if let Some(call) = at.fields.call("from") {
        check::activations::only_with_models(at, "activations harvested elsewhere", sink);
        if call.word == "cache" {
            return cache(at, call, draft, sink);
        }
        let node = call.get("path")?;
        let path = at.file(node, sink)?;
        let key = at.string(call.get("key")?, sink)?;
        match at.world.tensor_shape(&path.from, &path.path, &key) {
            Ok(shape) => {
                if !check::activations::shape(&shape, &key, node.span, sink) {
                    return None;
                }
                draft.facts.width = shape.last().copied();
            }
            Err(why) => {
                sink.push(check::files::missing("tensor", &path.path, &why, node.span));
                return None;
            }
        }
        return Some(ActivationsSource::Tensors { path, key });
    }
    let pair = at.input("of", "of", draft)?;
    draft.facts.width = pair.facts.width;
    draft.facts.synthetic = pair.facts.synthetic;
    draft.facts.model = pair.facts.model.clone();
    draft.facts.features = pair.facts.features;
    if pair.facts.synthetic {
        check::activations::only_with_models(at, "a synthetic pair", sink);
        return Some(ActivationsSource::Synthetic);
    }
    check::activations::layer(at, pair, sink);
    check::activations::context(at, pair, sink);
    Some(ActivationsSource::Models {
        layer: at.fields.whole("layer")?,
        site: site(at)?,
        context: at.fields.whole("context")?,
        skip: at.fields.whole("skip")?,
        exclude: at.fields.get("exclude")?.list()?.iter().map(exclude).collect::<Option<Vec<_>>>()?,
    })
}

/// The caches of both models.
fn cache(at: &At, call: &Call, draft: &mut Draft, sink: &mut Sink) -> Option<ActivationsSource> {
    let node = call.get("base")?;
    let base = at.file(node, sink)?;
    let tuned = at.file(call.get("tuned")?, sink)?;
    let facts = match at.world.cache(&base.from, &base.path, &tuned.path) {
        Ok(facts) => facts,
        Err(why) => {
            let there = [&base, &tuned].into_iter().all(|file| at.world.bytes(&file.from, &file.path).is_ok());
            let problem = if there { check::files::unusable } else { check::files::missing };
            sink.push(problem("activation cache", &base.path, &why, node.span));
            return None;
        }
    };
    draft.facts.width = Some(facts.width);
    check::activations::enough_rows(at, facts.rows, node.span, sink);
    let beside = facts.beside.into_iter().map(|path| FileRef { from: base.from.clone(), path }).collect();
    Some(ActivationsSource::Cache { base, tuned, beside })
}

fn exclude(node: &Node) -> Option<Exclude> {
    let call = node.call()?;
    Some(match call.word {
        "bos" => Exclude::Bos,
        "special" => Exclude::Special,
        _ => Exclude::NormAbove(call.get("times")?.number()?),
    })
}

fn normalize(at: &At) -> Option<Normalize> {
    let node = at.fields.get("normalize")?;
    Some(match &node.value {
        Typed::None => Normalize::None,
        Typed::Call(call) if call.word == "rms" => Normalize::Rms(call.get("target")?.number()?),
        _ => Normalize::PerModelScale,
    })
}

fn portions(
    at: &At,
    field: &'static str,
    reads_text: bool,
    known: bool,
    draft: &mut Draft,
    sink: &mut Sink,
) -> Option<Vec<PortionSpec>> {
    let nodes = at.fields.get(field)?.list()?;
    if known && !check::activations::portions(at, field, nodes, reads_text, sink) {
        return None;
    }
    let mut portions = Vec::new();
    for node in nodes {
        if let Typed::Portion { tokens, of } = &node.value {
            if let Some(step) = of {
                at.take(step, field, draft)?;
            }
            portions.push(PortionSpec { tokens: *tokens });
        }
    }
    Some(portions)
}

/// The place within a block.
pub(super) fn site(at: &At) -> Option<Site> {
    Some(match at.fields.word("site")? {
        "residual_pre" => Site::ResidualPre,
        "mlp_out" => Site::MlpOut,
        "attn_out" => Site::AttnOut,
        _ => Site::ResidualPost,
    })
}
