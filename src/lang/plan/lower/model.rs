use crate::lang::check;
use crate::lang::hub::{HubPart, Repository};
use crate::lang::plan::draft::{At, Draft};
use crate::lang::plan::spec::{Dtype, FileRef, LossOn, ModelSpec, PortionSpec, Spec, Trainable};
use crate::lang::resolve::{Call, Sink, Typed, VALUE};
use crate::lang::source::Span;
use crate::lang::world::ModelFacts;

pub fn model(at: &At, draft: &mut Draft, sink: &mut Sink) -> Option<Spec> {
    let call = at.fields.call(VALUE)?;
    let whole = |name: &str| call.get(name).and_then(|n| n.whole());
    match call.word {
        "folder" => {
            let node = call.get("path")?;
            let path = at.file(node, sink)?;
            let facts = at.world.model(&path.from, &path.path);
            known(facts, &path, check::models::FOLDER, node.span, draft, sink)?;
            draft.facts.dtype = Some(dtype(call));
            Some(Spec::Model(ModelSpec::Folder { path, dtype: dtype(call) }))
        }
        "hf" => {
            let repository = super::hub::reference(at, call, Repository::Model, HubPart::Model, sink)?;
            let facts = at.world.hub_model(&repository);
            draft.facts.width = facts.as_ref().map(|f| f.width);
            draft.facts.model = facts;
            draft.facts.dtype = Some(dtype(call));
            Some(Spec::Model(ModelSpec::Hub { repository, dtype: dtype(call) }))
        }
        "gguf" => {
            let node = call.get("file")?;
            let path = at.file(node, sink)?;
            let facts = at.world.gguf(&path.from, &path.path);
            known(facts, &path, check::models::GGUF, node.span, draft, sink)?;
            draft.facts.dtype = Some(dtype(call));
            Some(Spec::Model(ModelSpec::Gguf { path, dtype: dtype(call) }))
        }
        "pretrain" => {
            let on = portions(at, call, draft, sink);
            let (width, layers, vocabulary, context) =
                (whole("width"), whole("layers"), whole("vocabulary"), whole("context"));
            draft.facts.width = width;
            draft.facts.dtype = Some(Dtype::F32);
            if let (Some(width), Some(layers), Some(vocabulary)) = (width, layers, vocabulary) {
                draft.facts.model = Some(ModelFacts {
                    family: "gemma2".to_string(),
                    width,
                    layers,
                    vocabulary,
                    context,
                    tokenizer: format!("made by {}", at.name()),
                    // Embedding, four square projections and an MLP of 4 d with three matrices a block.
                    parameters: vocabulary * width + layers * 16 * width * width,
                });
            }
            check::models::heads(call, sink);
            Some(Spec::Model(ModelSpec::Pretrain {
                on: on?,
                layers: layers?,
                width: width?,
                heads: whole("heads")?,
                vocabulary: vocabulary?,
                context: context?,
                length: whole("length")?,
                batch: whole("batch")?,
                learning_rate: call.get("lr")?.number()?,
                seed: whole("seed")?,
            }))
        }
        "finetune" => {
            let from = match &call.get("from")?.value {
                Typed::Step(step) => at.take(step, "from", draft),
                _ => None,
            };
            draft.facts = from.map(|f| f.facts.clone()).unwrap_or_default();
            let on = portions(at, call, draft, sink);
            let word = |name: &str| call.get(name).and_then(|n| n.word());
            Some(Spec::Model(ModelSpec::Finetune {
                on: on?,
                weights: if word("weights")? == "body" { Trainable::Body } else { Trainable::All },
                loss_on: if word("loss_on")? == "all" { LossOn::All } else { LossOn::Assistant },
                context: whole("context")?,
                length: whole("length")?,
                batch: whole("batch")?,
                learning_rate: call.get("lr")?.number()?,
                warmup: whole("warmup"),
                clip: call.get("clip")?.number()?,
                seed: whole("seed")?,
                store: if word("store")? == "bf16" { Dtype::Bf16 } else { Dtype::F32 },
            }))
        }
        _ => None,
    }
}

fn dtype(call: &Call) -> Dtype {
    match call.get("dtype").and_then(|n| n.word()) {
        Some("bf16") => Dtype::Bf16,
        _ => Dtype::F32,
    }
}

/// Keeps the facts of a model that lies on the disk, or reports why there are none.
fn known(
    facts: Result<ModelFacts, String>,
    path: &FileRef,
    help: &str,
    span: Span,
    draft: &mut Draft,
    sink: &mut Sink,
) -> Option<()> {
    match facts {
        Ok(facts) => {
            draft.facts.width = Some(facts.width);
            draft.facts.model = Some(facts);
            Some(())
        }
        Err(why) => {
            sink.push(check::models::unusable(&path.path, &why, help, span));
            None
        }
    }
}

fn portions<'a>(at: &At<'a>, call: &'a Call, draft: &mut Draft, sink: &mut Sink) -> Option<Vec<PortionSpec>> {
    let nodes = call.get("on")?.list()?;
    check::corpora::enough_text_for_model(at, nodes, sink);
    let mut portions = Vec::new();
    for node in nodes {
        if let Typed::Portion { of: None, .. } = &node.value {
            sink.push(check::activations::of_which_corpus(node));
            return None;
        }
        if let Typed::Portion { tokens, of: Some(step) } = &node.value {
            at.take(step, "on", draft)?;
            portions.push(PortionSpec { tokens: *tokens });
        }
    }
    (!portions.is_empty()).then_some(portions)
}
