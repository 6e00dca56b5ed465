//! Models, corpora and templates of a plan, opened for a harvest or for training.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::hub::{self, Hub};
use super::wiring::{input, path_of};
use super::{Error, Result, Store};
use crate::lang::plan::spec::{self, CorpusSource, CorpusSpec, ModelSpec, PairSpec, TemplateSpec, TokenRef};
use crate::lang::plan::{Plan, Spec, Step, StepIndex};
use crate::ml::cuda::{Gpu, GpuDecoder};
use crate::ml::data::{Corpus, Template, Tokenizer};
use crate::ml::lm::{Decoder, Dtype, LanguageModel, Site};

/// Where a model lies: the folder or GGUF file that the experiment names, or the artifact.
///
/// # Errors
/// When the step is no model.
pub fn folder(plan: &Plan, store: &Store, index: StepIndex) -> Result<PathBuf> {
    let step = &plan.steps[index.0];
    match &step.spec {
        Spec::Model(ModelSpec::Folder { path, .. } | ModelSpec::Gguf { path, .. }) => Ok(path_of(path)),
        Spec::Model(ModelSpec::Hub { repository, .. }) => hub::folder(repository),
        Spec::Model(_) => Ok(store.artifact(&step.id)),
        _ => Err(Error::Failed(format!("{} is no model", step.address))),
    }
}

/// The decoder of a model step, ready to run.
///
/// # Errors
/// When the step is no model, or its files cannot be read.
pub fn decoder(plan: &Plan, store: &Store, index: StepIndex) -> Result<Decoder> {
    Ok(Decoder::open(folder(plan, store, index)?, dtype(plan, index))?)
}

/// The same to be run up to a place and on from there: on the GPU, where there is one.
///
/// # Errors
/// As [`decoder`], and when the GPU cannot hold it.
pub fn language_model(
    plan: &Plan,
    store: &Store,
    gpu: Option<&Arc<dyn Gpu>>,
    index: StepIndex,
) -> Result<Box<dyn LanguageModel>> {
    Ok(match gpu {
        Some(gpu) => Box::new(GpuDecoder::open(gpu, folder(plan, store, index)?, dtype(plan, index))?),
        None => Box::new(decoder(plan, store, index)?),
    })
}

/// The tokenizer of a model step.
///
/// # Errors
/// When the step is no model, or its files cannot be read.
pub fn tokenizer(plan: &Plan, store: &Store, index: StepIndex) -> Result<Tokenizer> {
    Ok(Tokenizer::load(folder(plan, store, index)?)?)
}

/// What a model step computes with: what its file says; a fine-tuned model, the same as the one that it started from.
pub fn dtype(plan: &Plan, index: StepIndex) -> Dtype {
    let step = &plan.steps[index.0];
    match &step.spec {
        Spec::Model(ModelSpec::Folder { dtype, .. } | ModelSpec::Gguf { dtype, .. } | ModelSpec::Hub { dtype, .. }) => {
            match dtype {
                spec::Dtype::F32 => Dtype::F32,
                spec::Dtype::Bf16 => Dtype::Bf16,
            }
        }
        Spec::Model(ModelSpec::Finetune { .. }) => {
            input(step, "from").map_or(Dtype::F32, |from| self::dtype(plan, from))
        }
        _ => Dtype::F32,
    }
}

/// A corpus of the plan.
pub struct Text {
    pub name: String,
    pub corpus: Corpus,
    pub template: Option<Template>,
}

/// One corpus of the plan.
///
/// # Errors
/// When the step is no corpus, or its template file cannot be read.
pub fn text(plan: &Plan, hub: &Hub, index: StepIndex) -> Result<Text> {
    let step = &plan.steps[index.0];
    let Spec::Corpus(CorpusSpec { source, template }) = &step.spec else {
        return Err(Error::Failed(format!("{} is no corpus", step.address)));
    };
    let corpus = match source {
        CorpusSource::Jsonl { path, column } => Corpus::Jsonl { path: path_of(path), column: column.clone() },
        CorpusSource::Json { path, column, list } => {
            Corpus::Json { path: path_of(path), column: column.clone(), list: list.clone() }
        }
        CorpusSource::Csv { path, column } => Corpus::Csv { path: path_of(path), column: column.clone() },
        CorpusSource::Parquet { path, column } => Corpus::Parquet { path: path_of(path), column: column.clone() },
        CorpusSource::Text { path } => Corpus::Text { path: path_of(path) },
        CorpusSource::Builtin { name } => Corpus::Builtin { name: name.clone() },
        CorpusSource::Hub { files, column } => Corpus::Shelf { files: hub.shelf(files)?, column: column.clone() },
    };
    let declared = match input(step, "template").map(|t| &plan.steps[t.0].spec) {
        Ok(Spec::Template(template)) => Some(template),
        _ => template.as_ref(),
    };
    Ok(Text { name: step.address.name.clone(), corpus, template: declared.map(self::template).transpose()? })
}

fn template(spec: &TemplateSpec) -> Result<Template> {
    match spec {
        TemplateSpec::Tokenizer => Ok(Template::Tokenizer),
        TemplateSpec::Jinja { path, control } => {
            let path = path_of(path);
            let source = std::fs::read_to_string(&path).map_err(|e| Error::file(&path, e))?;
            Ok(Template::Jinja { source, control: control.clone() })
        }
    }
}

/// What the base of a pair reads in place of which tokens of the text.
///
/// # Errors
/// When a text is not one token of its model.
pub fn read_as(pair: &Step, base: &Tokenizer, tuned: &Tokenizer) -> Result<BTreeMap<u32, u32>> {
    let Spec::Pair(PairSpec::Models { read_as, .. }) = &pair.spec else { return Ok(BTreeMap::new()) };
    let id = |token: &TokenRef, tokenizer: &Tokenizer| match token {
        TokenRef::Id(id) => Ok(*id),
        TokenRef::Text(text) => tokenizer.token(text),
    };
    let mut replace = BTreeMap::new();
    for (from, to) in read_as {
        let (from, to) = (id(from, tuned)?, id(to, base)?);
        if replace.insert(from, to).is_some_and(|other| other != to) {
            return Err(Error::Failed(format!("{}: read_as replaces token {from} twice", pair.address)));
        }
    }
    Ok(replace)
}

/// The site of the specification.
pub fn site(site: spec::Site) -> Site {
    match site {
        spec::Site::ResidualPre => Site::ResidualPre,
        spec::Site::ResidualPost => Site::ResidualPost,
        spec::Site::MlpOut => Site::MlpOut,
        spec::Site::AttnOut => Site::AttnOut,
    }
}
