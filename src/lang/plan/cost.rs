//! What a step will take: simple counts, one formula a kind.

use super::facts::Facts;
use super::spec::{
    ActivationsSource, ActivationsSpec, CrosscoderSpec, Exclude, HowMany, Insert, Latents, LayersSpec, Loss, ModelSpec,
    Normalize, PatchSpec, ScalingSpec, Spec, SteerPrompts, SteerSpec, StoreAs, Trainable,
};
use super::{Cost, effort};
use crate::lang::world::ModelFacts;

/// The cost of a step; `own` are its facts.
pub fn cost(spec: &Spec, own: &Facts) -> Cost {
    let sized = match spec {
        Spec::Model(ModelSpec::Finetune { .. }) => own.model.is_some(),
        Spec::Activations(_)
        | Spec::Crosscoder(_)
        | Spec::Classify(_)
        | Spec::Scaling(_)
        | Spec::Quality(_)
        | Spec::Layers(_)
        | Spec::Patch(_)
        | Spec::Tokens(_)
        | Spec::Twins(_)
        | Spec::Examples(_)
        | Spec::Steer(_)
        | Spec::Compare(_) => own.width.is_some(),
        _ => true,
    };
    let counted = counted(spec, own);
    if sized { counted } else { Cost { tokens: counted.tokens, unknown: true, ..Cost::default() } }
}

fn counted(spec: &Spec, own: &Facts) -> Cost {
    match spec {
        Spec::Model(ModelSpec::Pretrain { length, batch, .. }) => trained_model(own, *length, *batch, true),
        Spec::Model(ModelSpec::Finetune { length, batch, weights, .. }) => {
            trained_model(own, *length, *batch, *weights == Trainable::All)
        }
        Spec::Activations(spec) => activations(spec, own),
        Spec::Crosscoder(spec) => crosscoder(spec, own),
        Spec::Classify(_) => encoded(own, own.validate.unwrap_or(0)),
        Spec::Scaling(spec) => scaled(spec, own),
        Spec::Quality(spec) => {
            let held_out = own.validate.unwrap_or(0);
            let encoded = encoded(own, if spec.tokens == 0 { held_out } else { spec.tokens.min(held_out) });
            spliced(encoded, own, spec.spliced.min(held_out))
        }
        Spec::Twins(_) => encoded(own, own.validate.unwrap_or(0)),
        // Once to know the largest activations, and once for their buckets.
        Spec::Tokens(_) => encoded(own, 2 * own.validate.unwrap_or(0)),
        // Once to know the largest activations, where no classes tell them, and once to keep the text.
        Spec::Examples(_) => encoded(own, 2 * own.validate.unwrap_or(0)),
        Spec::Layers(spec) => compared_layers(spec, own),
        Spec::Patch(spec) => patched(spec, own),
        Spec::Steer(spec) => steered(spec, own),
        Spec::Compare(_) => compared(own),
        _ => Cost::default(),
    }
}

/// Logits that the head's loss has at once, about (in f32).
const LOGITS_BYTES: u64 = 128 << 20;

/// 6 flops a parameter and token, 4 for a head that is not trained (its embedding is only looked up); weights in f32, and
/// gradients and two moments of those that move; 34 d L values a token of the batch for the backward pass.
fn trained_model(own: &Facts, length: u64, batch: u64, all: bool) -> Cost {
    let Some(model) = &own.model else { return Cost { tokens: length, ..Cost::default() } };
    let parameters = model.parameters;
    let still = if all { 0 } else { parameters.min(model.vocabulary * model.width) };
    let moving = parameters - still;
    Cost {
        tokens: length,
        flops: (6.0 * moving as f64 + 4.0 * still as f64) * length as f64 / effort::MODEL,
        disk_bytes: 4 * parameters,
        memory_bytes: 16 * moving + 4 * still + 4 * batch * 34 * model.width * model.layers + LOGITS_BYTES,
        ..Cost::default()
    }
}

/// Forward passes of both models up to the layer; rows of both models on disk, unless nothing is stored.
fn activations(spec: &ActivationsSpec, own: &Facts) -> Cost {
    let rows = own.train.unwrap_or(0) + own.validate.unwrap_or(0);
    let width = own.width.unwrap_or(0);
    let number = match spec.store {
        StoreAs::Bf16 => 2,
        StoreAs::F32 => 4,
        StoreAs::None => 0,
    };
    let disk_bytes = rows * 2 * width * number;
    match &spec.source {
        ActivationsSource::Models { layer, exclude, .. } => {
            let Some(model) = &own.model else { return Cost { tokens: rows, disk_bytes, ..Cost::default() } };
            // A stream is surveyed without the models, unless every row must be seen to know what is kept or how it is scaled.
            let sees_all = spec.store != StoreAs::None
                || exclude.iter().any(|reason| matches!(reason, Exclude::NormAbove(_)))
                || spec.normalize != Normalize::None;
            let flops = if sees_all { harvested(own, layer + 1) * rows as f64 } else { 0.0 };
            // The weights of the blocks are kept twice, as they were read and laid out for products.
            Cost { tokens: rows, flops, disk_bytes, memory_bytes: 4 * 4 * model.parameters, ..Cost::default() }
        }
        // Drawn whenever they are read.
        ActivationsSource::Synthetic => {
            Cost { tokens: rows, memory_bytes: 8 * own.features.unwrap_or(0) * width, ..Cost::default() }
        }
        ActivationsSource::Cache { .. } => Cost { tokens: rows, ..Cost::default() },
        ActivationsSource::Tensors { .. } => Cost { tokens: rows, disk_bytes, ..Cost::default() },
    }
}

/// Flops of a row of both models, run over so many blocks: the products, 2 a parameter, and what stands between them.
fn harvested(own: &Facts, blocks: u64) -> f64 {
    let Some(model) = &own.model else { return 0.0 };
    let parameters = model.parameters.saturating_sub(model.vocabulary * model.width) as f64;
    let products = 2.0 * parameters * blocks as f64 / model.layers.max(1) as f64;
    2.0 * (products / effort::HARVEST + effort::COORDINATE * (model.width * blocks) as f64)
}

/// Flops of the head for a row of one model.
fn head(model: &ModelFacts) -> f64 {
    2.0 * (model.vocabulary * model.width) as f64 / effort::MODEL
}

/// Flops that a row of a synthetic pair takes to draw; 0 of any other.
fn synthetic(own: &Facts) -> f64 {
    let numbers = own.features.unwrap_or(0) + own.width.unwrap_or(0);
    if own.synthetic { effort::SYNTHETIC * numbers as f64 } else { 0.0 }
}

/// Adds what reading so many rows takes where they are not stored: they are drawn, or the models run again, and a mixing buffer.
fn read(cost: Cost, own: &Facts, rows: u64) -> Cost {
    let cost = Cost { flops: cost.flops + synthetic(own) * rows as f64, ..cost };
    let Some(blocks) = own.streamed else { return cost };
    let weights = own.model.as_ref().map_or(0, |model| 16 * model.parameters);
    let buffer = (8 * own.width.unwrap_or(0) * own.train.unwrap_or(0).min(1 << 18)).min(1 << 30);
    Cost {
        flops: cost.flops + harvested(own, blocks) * rows as f64,
        memory_bytes: cost.memory_bytes + weights + buffer,
        ..cost
    }
}

/// Half of the numbers of a row that are encoded: d, and d / 2 of an autoencoder.
fn half_row(own: &Facts) -> u64 {
    let width = own.width.unwrap_or(0);
    if own.sae.is_some() { width / 2 } else { width }
}

/// Training as [`effort`] counts it, and an evaluation of the held-out rows at the end and as often as `validate` says. Latents that AuxK
/// revives are not known beforehand and not counted. In memory: weights, gradients and two moments in f32, and the scores of a batch.
fn crosscoder(spec: &CrosscoderSpec, own: &Facts) -> Cost {
    let (width, latents) = (half_row(own), spec.latents);
    let weights = 4 * width * latents + latents + 2 * width;
    let held_out = own.validate.unwrap_or(0);
    if spec.from.is_some() {
        return Cost { memory_bytes: 4 * weights, disk_bytes: 4 * weights, ..encoded(own, held_out) };
    }
    let (steps, tokens) = (spec.train.steps as f64, spec.train.steps * spec.train.batch);
    let (d, latents, rows) = (width as f64, latents as f64, tokens as f64);
    let encode = 4.0 * d * latents * rows;
    let update = effort::WEIGHTS * 96.0 * d * latents * steps;
    let (flops, bytes) = match &spec.loss {
        Loss::L1 { .. } => (effort::L1 * encode, update),
        Loss::BatchTopK(top) | Loss::TopK(top) => {
            let entries = 32.0 * d * top.k as f64 * rows;
            (effort::ENCODE * encode, effort::SCORES * 4.0 * latents * rows + effort::ENTRIES * entries + update)
        }
    };
    let validations = 1 + spec.train.steps.checked_div(spec.train.validate).unwrap_or(0);
    let validation = encoded(own, held_out * validations);
    let cost = Cost {
        tokens,
        flops: flops + effort::STEP * steps,
        bytes,
        disk_bytes: 4 * weights,
        memory_bytes: 16 * weights + 4 * spec.train.batch * spec.latents,
        unknown: false,
    };
    let cost = read(cost, own, tokens);
    Cost { flops: cost.flops + validation.flops, bytes: cost.bytes + validation.bytes, ..cost }
}

/// One pass of the encoder over `tokens`, with what an analysis does there.
fn encoded(own: &Facts, tokens: u64) -> Cost {
    let (width, latents) = (half_row(own), own.latents.unwrap_or(0));
    let row = effort::PASS * 4.0 * (width * latents) as f64 + effort::ROW * 2.0 * width as f64;
    let cost = Cost {
        tokens,
        flops: row * tokens as f64,
        bytes: effort::ENTRIES * 32.0 * (width * active(own)) as f64 * tokens as f64,
        memory_bytes: 4 * (4 * width * latents),
        ..Cost::default()
    };
    read(cost, own, tokens)
}

/// Active latents a token of the crosscoder that is read.
fn active(own: &Facts) -> u64 {
    own.k.unwrap_or(effort::L1_ACTIVE)
}

/// A pass, and the intervals of every latent: its sums of at most so many groups of sequences, drawn again.
fn scaled(spec: &ScalingSpec, own: &Facts) -> Cost {
    let tokens = spec.tokens.min(own.train.unwrap_or(spec.tokens));
    let latents = own.latents.unwrap_or(0).max(1) as f64;
    let groups = effort::GROUPS.min(tokens as f64 * active(own) as f64 / latents);
    let pass = encoded(own, tokens);
    let entries = 32.0 * (half_row(own) * active(own)) as f64 * tokens as f64;
    Cost {
        flops: pass.flops + effort::INTERVALS * spec.intervals as f64 * latents * groups,
        bytes: pass.bytes + (effort::TARGETS - effort::ENTRIES) * entries,
        ..pass
    }
}

/// Tokens that a conversation is taken to have, where nobody has counted.
const CONVERSATION: u64 = 256;

/// Both models at each layer, and the tuned model on from there.
fn compared_layers(spec: &LayersSpec, own: &Facts) -> Cost {
    let Some(model) = &own.model else {
        return Cost { tokens: spec.prompts * spec.context.min(CONVERSATION), ..Cost::default() };
    };
    let layers = if spec.layers.is_empty() { model.layers } else { spec.layers.len() as u64 };
    let tokens = spec.prompts * spec.context.min(CONVERSATION) * layers;
    // At each layer the tuned model is run to its end twice, the base up to there: over all of them half of it.
    let runs = harvested(own, model.layers) * 1.25;
    Cost {
        tokens,
        flops: (runs + 2.0 * head(model)) * tokens as f64,
        memory_bytes: 16 * model.parameters + LOGITS_BYTES,
        ..Cost::default()
    }
}

/// Both models up to the layer, the code, and for each entry the finishing model's upper blocks and head.
fn patched(spec: &PatchSpec, own: &Facts) -> Cost {
    let tokens = spec.prompts * spec.context.min(CONVERSATION);
    let Some(model) = &own.model else { return Cost { tokens, ..encoded(own, tokens) } };
    let entries: u64 = spec
        .insert
        .iter()
        .map(|entry| match &entry.what {
            Insert::Latents(Latents::Random { draws, .. })
            | Insert::By { latents: Latents::Random { draws, .. }, .. } => *draws,
            _ => 1,
        })
        .sum();
    // The clean models are run to their ends as well.
    let runs = harvested(own, model.layers) + 0.5 * harvested(own, model.layers) * entries as f64;
    let heads = head(model) * (entries + 2) as f64;
    let encoded = encoded(own, tokens);
    Cost {
        flops: encoded.flops + (runs + heads) * tokens as f64,
        memory_bytes: encoded.memory_bytes + 16 * model.parameters + LOGITS_BYTES,
        ..encoded
    }
}

/// Beside an encoding: both models to their ends, clean and with three things in place.
fn spliced(encoded: Cost, own: &Facts, tokens: u64) -> Cost {
    let Some(model) = own.model.as_ref().filter(|_| tokens > 0) else { return encoded };
    let runs = 4.0 * (harvested(own, model.layers) + 2.0 * head(model));
    Cost {
        flops: encoded.flops + runs * tokens as f64,
        memory_bytes: encoded.memory_bytes + 16 * model.parameters + LOGITS_BYTES,
        ..encoded
    }
}

/// One pass over the held-out rows for the largest activations; one row of the model a token of each answer: for each prompt one answer
/// without a latent, and one a latent and strength.
fn steered(spec: &SteerSpec, own: &Facts) -> Cost {
    let prompts = match &spec.prompts {
        SteerPrompts::Texts(texts) => texts.len() as u64,
        SteerPrompts::Corpus(count) => *count,
    };
    let latents = chosen(&spec.latents, own.latents.unwrap_or(0));
    let tokens = (latents * spec.strength.len() as u64 + 1) * prompts * spec.length;
    let flops = own.model.as_ref().map_or(0.0, |model| 0.5 * harvested(own, model.layers) + head(model));
    let memory_bytes = own.model.as_ref().map_or(0, |model| 8 * model.parameters);
    let rows = encoded(own, own.validate.unwrap_or(0));
    let memory_bytes = memory_bytes.max(rows.memory_bytes);
    Cost { tokens, flops: rows.flops + flops * tokens as f64, memory_bytes, ..Cost::default() }
}

/// At most how many latents are chosen of so many.
fn chosen(latents: &Latents, all: u64) -> u64 {
    let amount = |amount: &HowMany, of: u64| match amount {
        HowMany::Count(count) => (*count).min(of),
        HowMany::Share(share) => (share * of as f64) as u64,
    };
    match latents {
        Latents::All | Latents::Class { .. } => all,
        Latents::These { latents } => latents.len() as u64,
        Latents::Threshold { of, .. } => chosen(of, all),
        Latents::Ordered { amount: count, of, .. } => amount(count, chosen(of, all)),
        Latents::Random { amount: count, draws, of } => draws * amount(count, chosen(of, all)),
    }
}

/// One product of both decoders, 2 d wide.
fn compared(own: &Facts) -> Cost {
    let (width, latents) = (own.width.unwrap_or(0), own.latents.unwrap_or(0));
    Cost {
        tokens: 0,
        flops: 4.0 * width as f64 * latents as f64 * latents as f64 / effort::MODEL,
        memory_bytes: 16 * width * latents,
        ..Cost::default()
    }
}
