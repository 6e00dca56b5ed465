//! What a step will take: simple counts, one formula a kind.

use super::Cost;
use super::facts::Facts;
use super::spec::{
    ActivationsSource, ActivationsSpec, CrosscoderSpec, Exclude, HowMany, Insert, Latents, Loss, ModelSpec, Normalize,
    PatchSpec, Spec, SteerPrompts, SteerSpec, StoreAs, Trainable,
};

/// The cost of a step; `own` are its facts, `reads` those of the step it reads first.
pub fn cost(spec: &Spec, own: &Facts, reads: Option<&Facts>) -> Cost {
    let sized = match spec {
        Spec::Model(ModelSpec::Finetune { .. }) => own.model.is_some(),
        Spec::Activations(_)
        | Spec::Crosscoder(_)
        | Spec::Classify(_)
        | Spec::Scaling(_)
        | Spec::Quality(_)
        | Spec::Patch(_)
        | Spec::Tokens(_)
        | Spec::Twins(_)
        | Spec::Examples(_)
        | Spec::Steer(_)
        | Spec::Compare(_) => own.width.is_some(),
        _ => true,
    };
    let counted = counted(spec, own, reads);
    if sized { counted } else { Cost { tokens: counted.tokens, unknown: true, ..Cost::default() } }
}

fn counted(spec: &Spec, own: &Facts, reads: Option<&Facts>) -> Cost {
    match spec {
        Spec::Model(ModelSpec::Pretrain { length, batch, .. }) => trained_model(own, *length, *batch, true),
        Spec::Model(ModelSpec::Finetune { length, batch, weights, .. }) => {
            trained_model(own, *length, *batch, *weights == Trainable::All)
        }
        Spec::Activations(spec) => activations(spec, own),
        Spec::Crosscoder(spec) => crosscoder(spec, own, reads),
        Spec::Classify(_) => encoded(own, own.validate.unwrap_or(0)),
        Spec::Scaling(spec) => encoded(own, spec.tokens.min(own.train.unwrap_or(spec.tokens))),
        Spec::Quality(spec) => {
            let held_out = own.validate.unwrap_or(0);
            let encoded = encoded(own, if spec.tokens == 0 { held_out } else { spec.tokens.min(held_out) });
            spliced(encoded, own, spec.spliced.min(held_out))
        }
        Spec::Tokens(_) | Spec::Twins(_) => encoded(own, own.validate.unwrap_or(0)),
        // Once to know the largest activations, once to keep the text.
        Spec::Examples(_) => encoded(own, 2 * own.validate.unwrap_or(0)),
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
        flops: (6.0 * moving as f64 + 4.0 * still as f64) * length as f64,
        disk_bytes: 4 * parameters,
        memory_bytes: 16 * moving + 4 * still + 4 * batch * 34 * model.width * model.layers + LOGITS_BYTES,
        unknown: false,
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
            Cost { tokens: rows, flops, disk_bytes, memory_bytes: 4 * 4 * model.parameters, unknown: false }
        }
        // Two directions of width d for each active feature; the share that is active is some percent.
        ActivationsSource::Synthetic => {
            let features = own.features.unwrap_or(0);
            Cost {
                tokens: rows,
                flops: 0.2 * features as f64 * width as f64 * rows as f64,
                disk_bytes,
                memory_bytes: 8 * features * width,
                unknown: false,
            }
        }
        ActivationsSource::Cache { .. } => Cost { tokens: rows, ..Cost::default() },
        ActivationsSource::Tensors { .. } => Cost { tokens: rows, disk_bytes, ..Cost::default() },
    }
}

/// Flops of a row of both models, run over so many blocks, in those of a whole step, which reach half of the device's speed. The
/// products (2 a parameter) run at nine tenths of it; norms, activations and attention take as long as 1,700 flops for each
/// coordinate of each block (fitted to the measurements in docs/performance.md).
fn harvested(own: &Facts, blocks: u64) -> f64 {
    let Some(model) = &own.model else { return 0.0 };
    let parameters = model.parameters.saturating_sub(model.vocabulary * model.width) as f64;
    let products = 2.0 * parameters * blocks as f64 / model.layers.max(1) as f64;
    2.0 * (products * 0.5 / 0.9 + 1700.0 * (model.width * blocks) as f64)
}

/// Adds what reading so many rows takes where they are not stored: the models run again, and the mixing buffer.
fn streamed(cost: Cost, own: &Facts, rows: u64) -> Cost {
    let Some(blocks) = own.streamed else { return cost };
    let weights = own.model.as_ref().map_or(0, |model| 16 * model.parameters);
    let buffer = (8 * own.width.unwrap_or(0) * own.train.unwrap_or(0).min(1 << 18)).min(1 << 30);
    Cost {
        flops: cost.flops + harvested(own, blocks) * rows as f64,
        memory_bytes: cost.memory_bytes + weights + buffer,
        ..cost
    }
}

/// Encode 4 d D flops a token. L1 is dense: decode as much again, and twice all of it backward. Top-k decodes and goes back
/// through k latents only. Weights, gradients and two moments in f32, and the scores of a batch.
fn crosscoder(spec: &CrosscoderSpec, own: &Facts, _reads: Option<&Facts>) -> Cost {
    let (width, latents) = (own.width.unwrap_or(0), spec.latents);
    let weights = 4 * width * latents + latents + 2 * width;
    if spec.from.is_some() {
        return Cost { memory_bytes: 4 * weights, disk_bytes: 4 * weights, ..encoded(own, own.validate.unwrap_or(0)) };
    }
    let tokens = spec.train.steps * spec.train.batch;
    let dense = 4.0 * width as f64 * latents as f64;
    let per_token = match &spec.loss {
        Loss::L1 { .. } => 6.0 * dense,
        Loss::BatchTopK(top) | Loss::TopK(top) => dense + 20.0 * width as f64 * top.k as f64,
    };
    let cost = Cost {
        tokens,
        flops: per_token * tokens as f64,
        disk_bytes: 4 * weights,
        memory_bytes: 16 * weights + 4 * spec.train.batch * latents,
        unknown: false,
    };
    streamed(cost, own, tokens)
}

/// One pass of the encoder over `tokens`.
fn encoded(own: &Facts, tokens: u64) -> Cost {
    let (width, latents) = (own.width.unwrap_or(0), own.latents.unwrap_or(0));
    let cost = Cost {
        tokens,
        flops: 4.0 * width as f64 * latents as f64 * tokens as f64,
        disk_bytes: 0,
        memory_bytes: 4 * (4 * width * latents),
        unknown: false,
    };
    streamed(cost, own, tokens)
}

/// Tokens that a conversation is taken to have, where nobody has counted.
const CONVERSATION: u64 = 256;

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
    let heads = 2.0 * (model.vocabulary * model.width) as f64 * (entries + 2) as f64;
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
    let runs = 4.0 * (harvested(own, model.layers) + 4.0 * (model.vocabulary * model.width) as f64);
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
    let flops = own
        .model
        .as_ref()
        .map_or(0.0, |model| 0.5 * harvested(own, model.layers) + 2.0 * (model.vocabulary * model.width) as f64);
    let memory_bytes = own.model.as_ref().map_or(0, |model| 8 * model.parameters);
    let rows = encoded(own, own.validate.unwrap_or(0));
    let memory_bytes = memory_bytes.max(rows.memory_bytes);
    Cost { tokens, flops: rows.flops + flops * tokens as f64, disk_bytes: 0, memory_bytes, unknown: false }
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
        flops: 4.0 * width as f64 * latents as f64 * latents as f64,
        disk_bytes: 0,
        memory_bytes: 16 * width * latents,
        unknown: false,
    }
}
