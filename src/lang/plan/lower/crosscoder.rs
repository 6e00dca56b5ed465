use crate::lang::check;
use crate::lang::check::weights::Weights;
use crate::lang::hub::{HubPart, Repository};
use crate::lang::plan::draft::{At, Draft};
use crate::lang::plan::spec::{
    Adam, CodeNorm, CrosscoderSpec, FileRef, Init, InitEncoder, Loss, Precision, Reconstruction, Shuffle, Spec, Target,
    TopKLoss, Train, Variant, WeightsRef,
};
use crate::lang::resolve::{Call, Sink, Typed};
use crate::lang::schema::Unit;

pub fn crosscoder(at: &At, draft: &mut Draft, sink: &mut Sink) -> Option<Spec> {
    let activations = at.input("on", "on", draft);
    draft.facts = activations.map(|a| a.facts.clone()).unwrap_or_default();
    check::crosscoders::source(at, sink);
    let variant = variant(at);
    if let Some(from) = at.fields.get("from") {
        let (from, facts) = weights(at, from.call()?, sink)?;
        let latents = facts.latents;
        draft.facts.latents = latents;
        let variant = check::autoencoders::as_it_is(at, variant, &facts, sink)?;
        note(variant, draft);
        check::weights::as_it_is(at, &facts, &draft.facts, sink);
        // Those of a crosscoder of the hub are known once its files are here.
        let latents = if matches!(from, WeightsRef::Hub { .. }) { Some(latents.unwrap_or(0)) } else { latents };
        return Some(Spec::Crosscoder(CrosscoderSpec { latents: latents?, variant, from: Some(from), ..untrained() }));
    }
    let variant = variant?;
    note(variant, draft);
    let latents = latents(at, draft);
    draft.facts.latents = latents;
    // A multiple of a width that nobody knows yet: the width of a model whose files are still on the hub.
    let latents = if draft.facts.width.is_none() { latents.or(Some(0)) } else { latents };
    let loss = at.fields.call("loss");
    draft.facts.loss = loss.map(|c| c.word);
    draft.facts.k = loss.and_then(|c| c.get("k")).and_then(|n| n.whole());
    check::crosscoders::k(at, draft.facts.latents, draft.facts.width, sink);
    let train = train(at, draft);
    check::crosscoders::shuffle(at, draft, sink);
    let trainable = check::autoencoders::training(at, variant, draft, sink);
    draft.facts.trained = train.as_ref().map(|t| t.steps * t.batch);
    if let Some(train) = &train {
        check::crosscoders::training(at, train, draft, sink);
    }
    trainable.then_some(())?;
    Some(Spec::Crosscoder(CrosscoderSpec {
        latents: latents?,
        variant,
        loss: self::loss(loss?)?,
        init: init(at, variant, draft, sink)?,
        from: None,
        train: train?,
    }))
}

fn variant(at: &At) -> Option<Variant> {
    let call = at.fields.call("variant")?;
    if call.word != "sae" {
        return Some(Variant::SharedCode);
    }
    Some(Variant::Sae(match call.get("on")?.word()? {
        "base" => Target::Base,
        "tuned" => Target::Tuned,
        _ => Target::Difference,
    }))
}

/// What the steps that read it must know.
fn note(variant: Variant, draft: &mut Draft) {
    if let Variant::Sae(target) = variant {
        draft.facts.sae = Some(target);
    }
}

fn latents(at: &At, draft: &Draft) -> Option<u64> {
    match at.fields.get("latents")?.value {
        Typed::Amount { value, unit: Unit::Times } => Some((value * draft.facts.width? as f64).round() as u64),
        Typed::Amount { value, .. } => Some(value as u64),
        _ => None,
    }
}

/// The weights, and what is known of them.
fn weights(at: &At, call: &Call, sink: &mut Sink) -> Option<(WeightsRef, Weights)> {
    if call.word == "hf" {
        let folder = super::hub::optional(call.get("folder").map(|n| at.string(n, sink)))?;
        let part = HubPart::Crosscoder { folder };
        let repository = super::hub::reference(at, call, Repository::Model, part, sink)?;
        let facts = at.world.hub_crosscoder(&repository);
        let span = call.get("id").map_or(at.span(), |node| node.span);
        let known = Weights { latents: facts.as_ref().map(|f| f.latents), facts: facts.map(|f| (f, span)) };
        return Some((WeightsRef::Hub { repository }, known));
    }
    let node = call.get("path")?;
    let path = at.file(node, sink)?;
    let prefix = match call.word {
        "folder" => String::new(),
        _ => at.string(call.get("prefix")?, sink)?,
    };
    let facts = match at.world.crosscoder(&path.from, &path.path, &prefix) {
        Ok(facts) => facts,
        Err(why) => {
            let there = at.world.bytes(&path.from, &path.path).is_ok();
            let problem = if there { check::files::unusable } else { check::files::missing };
            sink.push(problem("crosscoder", &path.path, &why, node.span));
            return None;
        }
    };
    let weights = match call.word {
        "folder" => {
            let folder = path.path.rfind('/').map_or("", |end| &path.path[..=end]);
            let beside = |name: &String| FileRef { from: path.from.clone(), path: format!("{folder}{name}") };
            WeightsRef::Folder { beside: facts.beside.iter().map(beside).collect(), path }
        }
        _ => WeightsRef::Tensors { path, prefix },
    };
    Some((weights, Weights { latents: Some(facts.latents), facts: Some((facts, node.span)) }))
}

fn loss(call: &Call) -> Option<Loss> {
    let number = |name: &str| call.get(name)?.number();
    let whole = |name: &str| call.get(name)?.whole();
    let reconstruction = match call.get("reconstruction")?.word()? {
        "mse" => Reconstruction::Mse,
        _ => Reconstruction::L2,
    };
    let norm = match call.get("norm")?.word()? {
        "concat" => CodeNorm::Concat,
        "none" => CodeNorm::None,
        _ => CodeNorm::Sum,
    };
    if call.word == "l1" {
        return Some(Loss::L1 { weight: number("weight")?, warmup: whole("warmup")?, reconstruction, norm });
    }
    let anneal = match &call.get("anneal")?.value {
        Typed::Tuple(parts) => Some((parts.first()?.whole()?, parts.get(1)?.whole()?)),
        _ => None,
    };
    let top = TopKLoss {
        k: whole("k")?,
        aux: number("aux")?,
        dead_after: whole("dead_after")?,
        threshold_from: whole("threshold_from")?,
        anneal,
        reconstruction,
        norm,
    };
    Some(if call.word == "topk" { Loss::TopK(top) } else { Loss::BatchTopK(top) })
}

fn init(at: &At, variant: Variant, draft: &Draft, sink: &mut Sink) -> Option<Init> {
    let from = match at.fields.call("init.from") {
        Some(call) => {
            let (from, facts) = weights(at, call, sink)?;
            check::weights::to_start_from(at, &facts, &draft.facts, sink);
            check::autoencoders::to_start_from(variant, &facts, sink).then_some(())?;
            Some(from)
        }
        None => None,
    };
    let norm = match &at.fields.get("init.norm")?.value {
        Typed::None => None,
        _ => Some(at.fields.number("init.norm")?),
    };
    Some(Init {
        norm,
        encoder: match at.fields.word("init.encoder")? {
            "independent" => InitEncoder::Independent,
            _ => InitEncoder::Transpose,
        },
        same: at.fields.get("init.same")?.truth()?,
        from,
    })
}

fn train(at: &At, draft: &Draft) -> Option<Train> {
    let batch = at.fields.whole("train.batch")?;
    let steps = match at.fields.get("train.length")?.value {
        Typed::Amount { value, unit: Unit::Steps } => value as u64,
        Typed::Amount { value, unit: Unit::Tokens } => value as u64 / batch,
        Typed::Amount { value, .. } => (value * draft.facts.train? as f64 / batch as f64).floor() as u64,
        _ => return None,
    }
    .max(1);
    let adam = at.fields.call("train.optimizer")?;
    let number = |name: &str| adam.get(name)?.number();
    let clip = match &at.fields.get("train.clip")?.value {
        Typed::Call(call) => Some(call.get("max")?.number()?),
        _ => None,
    };
    let resample = match at.fields.get("train.resample")?.value {
        Typed::Amount { value, .. } => Some(value as u64),
        _ => None,
    };
    Some(Train {
        batch,
        steps,
        optimizer: Adam {
            learning_rate: number("lr")?,
            beta1: number("beta1")?,
            beta2: number("beta2")?,
            epsilon: number("epsilon")?,
            warmup: adam.get("warmup")?.whole()?,
            decay: (number("decay")? * steps as f64).round() as u64,
        },
        clip,
        shuffle: match at.fields.word("train.shuffle")? {
            "global" => Shuffle::Global,
            "none" => Shuffle::None,
            _ => Shuffle::Local,
        },
        validate: at.fields.whole("train.validate")?,
        log: at.fields.whole("train.log")?,
        seed: at.fields.whole("train.seed")?,
        precision: match at.fields.word("train.precision")? {
            "tf32" => Precision::Tf32,
            "bf16" => Precision::Bf16,
            _ => Precision::F32,
        },
        resample,
    })
}

/// The parts that a crosscoder trained elsewhere does not use; they stay out of its key.
fn untrained() -> CrosscoderSpec {
    CrosscoderSpec {
        latents: 0,
        variant: Variant::SharedCode,
        loss: Loss::L1 { weight: 0.0, warmup: 0, reconstruction: Reconstruction::L2, norm: CodeNorm::Sum },
        init: Init { norm: None, encoder: InitEncoder::Transpose, same: true, from: None },
        from: None,
        train: Train {
            batch: 1,
            steps: 0,
            optimizer: Adam { learning_rate: 0.0, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, warmup: 0, decay: 0 },
            clip: None,
            shuffle: Shuffle::None,
            validate: 0,
            log: 1,
            seed: 0,
            precision: Precision::F32,
            resample: None,
        },
    }
}
