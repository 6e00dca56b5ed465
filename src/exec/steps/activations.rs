//! `activations`: both models over the same tokens, stopped after the layer, rows shuffled into shards.

use super::{Job, Made};
use crate::exec::models::{self, Text};
use crate::exec::wiring::{input, inputs};
use crate::exec::{Error, Result};
use crate::lang::plan::StepIndex;
use crate::lang::plan::spec::{self, ActivationsSource, ActivationsSpec, PortionSpec};
use crate::ml::Rows;
use crate::ml::activations::{Documents, Exclude, Harvest, Pair, Portion, ReadAs, Store, Tap, Texts};
use crate::ml::lm::check_taps;

/// Harvests into the job's folder.
///
/// # Errors
/// When a model or corpus cannot be read, or the corpus has too few tokens.
pub fn make(job: &Job<'_>, spec: &ActivationsSpec) -> Result<Made> {
    let ActivationsSource::Models { layer, site, context, skip, exclude } = &spec.source else {
        return Err(Error::Failed(format!("{}: only activations of models are harvested", job.step.address)));
    };
    let pair = &job.plan.steps[job.input("of")?.0];
    let (base, tuned) = (input(pair, "base")?, input(pair, "tuned")?);
    let (layer, site) = (*layer as usize, models::site(*site));
    let tokenizer = |model| models::tokenizer(job.plan, job.store, model);
    let decoder = |model| models::decoder(job.plan, job.store, model);
    let tokenizers = [tokenizer(base)?, tokenizer(tuned)?];
    let replace = models::read_as(pair, &tokenizers[0], &tokenizers[1])?;
    let decoders = [decoder(base)?, decoder(tuned)?];
    for decoder in &decoders {
        check_taps(decoder, layer, site)?;
    }
    let [base, tuned] = [0, 1].map(|m| Tap::new(&decoders[m], &tokenizers[m], layer, site));
    let (base, tuned) = (base?, tuned?);
    let base = ReadAs { model: &base, replace };
    let (texts, train, validate) = portions(job, spec)?;
    // The tuned model's tokenizer renders chats: the base often has no template.
    let texts: Vec<Texts<'_>> = texts
        .into_iter()
        .map(|Text { name, corpus, template }| Texts { name, corpus, tokenizer: &tokenizers[1], template })
        .collect();
    let corpora: Vec<&dyn Documents> = texts.iter().map(|texts| texts as &dyn Documents).collect();
    let harvest = Harvest {
        context: *context as usize,
        skip: *skip,
        exclude: exclude.iter().map(excluded).collect(),
        train,
        validate,
        limit: spec.limit,
        store: match spec.store {
            spec::StoreAs::Bf16 => Store::Bf16,
            spec::StoreAs::F32 => Store::F32,
        },
        ..Harvest::default()
    };
    let harvested = harvest.run(&Pair::new(&base, &tuned)?, &corpora, job.folder, job.watch)?;
    Ok(Made { tokens: harvested.train.count() + harvested.validate.count() })
}

fn excluded(exclude: &spec::Exclude) -> Exclude {
    match exclude {
        spec::Exclude::Bos => Exclude::Bos,
        spec::Exclude::Special => Exclude::Special,
        spec::Exclude::NormAbove(factor) => Exclude::NormAbove(*factor),
    }
}

/// The corpora of both lists, each once, and the portions that point into them.
fn portions(job: &Job<'_>, spec: &ActivationsSpec) -> Result<(Vec<Text>, Vec<Portion>, Vec<Portion>)> {
    let mut known: Vec<StepIndex> = Vec::new();
    let mut list = |role: &str, portions: &[PortionSpec]| -> Vec<Portion> {
        inputs(job.step, role)
            .into_iter()
            .zip(portions)
            .map(|(corpus, portion)| {
                let place = known.iter().position(|&k| k == corpus).unwrap_or_else(|| {
                    known.push(corpus);
                    known.len() - 1
                });
                Portion { corpus: place, tokens: portion.tokens }
            })
            .collect()
    };
    let train = list("train", &spec.train);
    let validate = list("validate", &spec.validate);
    let texts = known.into_iter().map(|corpus| models::text(job.plan, job.hub, corpus)).collect::<Result<_>>()?;
    Ok((texts, train, validate))
}
