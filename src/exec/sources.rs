//! The models and texts behind activations, loaded once: what a harvest reads, and what a stream goes on reading.

use super::hub::Hub;
use super::models::{self, Text};
use super::wiring::{input, inputs};
use super::{Error, Result, Store};
use crate::lang::plan::spec::{self, ActivationsSource, ActivationsSpec, PortionSpec};
use crate::lang::plan::{Plan, Step, StepIndex};
use crate::ml;
use crate::ml::activations::{Documents, Exclude, Harvest, Pair, Portion, ReadAs, Supply, Tap, Texts};
use crate::ml::data::Tokenizer;
use crate::ml::lm::{Decoder, Site, check_taps};

/// A pair of models, tapped at one place, and corpora.
pub struct Sources {
    /// What is harvested of them.
    pub harvest: Harvest,
    decoders: [Decoder; 2],
    tokenizers: [Tokenizer; 2],
    replace: std::collections::BTreeMap<u32, u32>,
    texts: Vec<Text>,
    layer: usize,
    site: Site,
}

impl Sources {
    /// Loads what an activations step reads, and checks the taps.
    ///
    /// # Errors
    /// When the activations are not those of models, or a model or corpus cannot be read.
    pub fn open(plan: &Plan, store: &Store, hub: &Hub, step: &Step, spec: &ActivationsSpec) -> Result<Self> {
        let ActivationsSource::Models { layer, site, context, skip, exclude } = &spec.source else {
            return Err(Error::Failed(format!("{}: only activations of models are harvested", step.address)));
        };
        let pair = &plan.steps[input(step, "of")?.0];
        let (base, tuned) = (input(pair, "base")?, input(pair, "tuned")?);
        let (layer, site) = (*layer as usize, models::site(*site));
        let tokenizers = [models::tokenizer(plan, store, base)?, models::tokenizer(plan, store, tuned)?];
        let replace = models::read_as(pair, &tokenizers[0], &tokenizers[1])?;
        let decoders = [models::decoder(plan, store, base)?, models::decoder(plan, store, tuned)?];
        for decoder in &decoders {
            check_taps(decoder, layer, site)?;
        }
        let (texts, train, validate) = portions(plan, hub, step, spec)?;
        let harvest = Harvest {
            context: *context as usize,
            skip: *skip,
            exclude: exclude.iter().map(excluded).collect(),
            train,
            validate,
            limit: spec.limit,
            store: match spec.store {
                spec::StoreAs::Bf16 => ml::activations::Store::Bf16,
                spec::StoreAs::F32 | spec::StoreAs::None => ml::activations::Store::F32,
            },
            ..Harvest::default()
        };
        Ok(Sources { harvest, decoders, tokenizers, replace, texts, layer, site })
    }
}

impl Supply for Sources {
    fn with(&self, work: &mut dyn FnMut(&Pair, &[&dyn Documents]) -> ml::Result<()>) -> ml::Result<()> {
        let tap = |m: usize| Tap::new(&self.decoders[m], &self.tokenizers[m], self.layer, self.site);
        let (base, tuned) = (tap(0)?, tap(1)?);
        let base = ReadAs { model: &base, replace: self.replace.clone() };
        // The tuned model's tokenizer renders chats: the base often has no template.
        let texts = |Text { name, corpus, template }: &Text| Texts {
            name: name.clone(),
            corpus: corpus.clone(),
            tokenizer: &self.tokenizers[1],
            template: template.clone(),
        };
        let texts: Vec<Texts<'_>> = self.texts.iter().map(texts).collect();
        let corpora: Vec<&dyn Documents> = texts.iter().map(|texts| texts as &dyn Documents).collect();
        work(&Pair::new(&base, &tuned)?, &corpora)
    }
}

fn excluded(exclude: &spec::Exclude) -> Exclude {
    match exclude {
        spec::Exclude::Bos => Exclude::Bos,
        spec::Exclude::Special => Exclude::Special,
        spec::Exclude::NormAbove(factor) => Exclude::NormAbove(*factor),
    }
}

/// The corpora of both lists, each once, and the portions that point into them.
fn portions(
    plan: &Plan,
    hub: &Hub,
    step: &Step,
    spec: &ActivationsSpec,
) -> Result<(Vec<Text>, Vec<Portion>, Vec<Portion>)> {
    let mut known: Vec<StepIndex> = Vec::new();
    let mut list = |role: &str, portions: &[PortionSpec]| -> Vec<Portion> {
        inputs(step, role)
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
    let texts = known.into_iter().map(|corpus| models::text(plan, hub, corpus)).collect::<Result<_>>()?;
    Ok((texts, train, validate))
}
