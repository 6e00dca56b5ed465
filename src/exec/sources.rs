//! The models and texts behind activations, loaded once: what a harvest reads, and what a stream goes on reading.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::hub::Hub;
use super::models::{self, Text};
use super::wiring::{input, inputs};
use super::{Error, Result, Store};
use crate::lang::plan::spec::{self, ActivationsSource, ActivationsSpec, PortionSpec};
use crate::lang::plan::{Plan, Step, StepIndex};
use crate::ml;
use crate::ml::activations::{
    Bookmarks, Documents, Exclude, Harvest, MarkedTexts, Pair, Portion, ReadAs, Supply, Tap, Texts,
};
use crate::ml::cuda::Gpu;
use crate::ml::data::Tokenizer;
use crate::ml::lm::{LanguageModel, Site, check_taps_of};

/// The two models behind activations, and where they are tapped.
pub struct Tapped {
    /// `[base, tuned]`.
    pub decoders: [Box<dyn LanguageModel>; 2],
    pub tokenizers: [Tokenizer; 2],
    /// What the base reads in place of which tokens.
    pub replace: BTreeMap<u32, u32>,
    pub layer: usize,
    pub site: Site,
}

impl Tapped {
    /// Loads the models that an activations step reads, onto the GPU where there is one, and checks the taps.
    ///
    /// # Errors
    /// When the activations are not those of models, or a model cannot be read, or the tokenizers differ.
    pub fn open(
        plan: &Plan,
        store: &Store,
        gpu: Option<&Arc<dyn Gpu>>,
        step: &Step,
        spec: &ActivationsSpec,
    ) -> Result<Self> {
        let ActivationsSource::Models { layer, site, .. } = &spec.source else {
            return Err(Error::Failed(format!("{}: only activations of models have models to run", step.address)));
        };
        let pair = &plan.steps[input(step, "of")?.0];
        Self::of_pair(plan, store, gpu, pair, Some(*layer as usize), models::site(*site))
    }

    /// Loads the models of a pair, and checks the taps; at the last layer where none is given.
    ///
    /// # Errors
    /// When a model cannot be read, or the tokenizers differ.
    pub fn of_pair(
        plan: &Plan,
        store: &Store,
        gpu: Option<&Arc<dyn Gpu>>,
        pair: &Step,
        layer: Option<usize>,
        site: Site,
    ) -> Result<Self> {
        let (base, tuned) = (input(pair, "base")?, input(pair, "tuned")?);
        let tokenizers = [models::tokenizer(plan, store, base)?, models::tokenizer(plan, store, tuned)?];
        let replace = models::read_as(pair, &tokenizers[0], &tokenizers[1])?;
        let open = |model| models::language_model(plan, store, gpu, model);
        let decoders = [open(base)?, open(tuned)?];
        let layer = layer.unwrap_or(decoders[0].layers().saturating_sub(1));
        for decoder in &decoders {
            check_taps_of(decoder.as_ref(), layer, site)?;
        }
        let tapped = Tapped { decoders, tokenizers, replace, layer, site };
        Pair::new(&tapped.tap(0)?, &tapped.tap(1)?)?;
        Ok(tapped)
    }

    /// `[base, tuned]`.
    pub fn decoders(&self) -> [&dyn LanguageModel; 2] {
        [self.decoders[0].as_ref(), self.decoders[1].as_ref()]
    }

    /// A text as documents. The tuned model's tokenizer renders chats: the base often has no template.
    pub fn texts<'a>(&'a self, text: &Text) -> Texts<'a> {
        Texts {
            name: text.name.clone(),
            corpus: text.corpus.clone(),
            tokenizer: &self.tokenizers[1],
            template: text.template.clone(),
        }
    }

    fn tap(&self, model: usize) -> ml::Result<Tap<'_>> {
        Tap::new(self.decoders[model].as_ref(), &self.tokenizers[model], self.layer, self.site)
    }
}

/// A pair of models, tapped at one place, and corpora.
pub struct Sources {
    /// What is harvested of them.
    pub harvest: Harvest,
    tapped: Tapped,
    texts: Vec<Text>,
    /// One a text.
    bookmarks: Vec<Bookmarks>,
}

impl Sources {
    /// Loads what an activations step reads, the models onto the GPU where there is one, and checks the taps.
    ///
    /// # Errors
    /// When the activations are not those of models, or a model or corpus cannot be read.
    pub fn open(
        plan: &Plan,
        store: &Store,
        hub: &Hub,
        gpu: Option<&Arc<dyn Gpu>>,
        step: &Step,
        spec: &ActivationsSpec,
    ) -> Result<Self> {
        let ActivationsSource::Models { context, skip, exclude, .. } = &spec.source else {
            return Err(Error::Failed(format!("{}: only activations of models are harvested", step.address)));
        };
        let tapped = Tapped::open(plan, store, gpu, step, spec)?;
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
        let bookmarks = texts.iter().map(|_| Bookmarks::default()).collect();
        Ok(Sources { harvest, tapped, texts, bookmarks })
    }
}

impl Supply for Sources {
    fn with(&self, work: &mut dyn FnMut(&Pair, &[&dyn Documents]) -> ml::Result<()>) -> ml::Result<()> {
        let (base, tuned) = (self.tapped.tap(0)?, self.tapped.tap(1)?);
        let base = ReadAs { model: &base, replace: self.tapped.replace.clone() };
        let marked = |(text, bookmarks)| MarkedTexts { texts: self.tapped.texts(text), bookmarks };
        let texts: Vec<MarkedTexts<'_>> = self.texts.iter().zip(&self.bookmarks).map(marked).collect();
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
