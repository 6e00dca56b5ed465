//! Models, corpora and templates of a plan, opened for a harvest or for training.

use std::path::PathBuf;

use super::steps::{input, path_of};
use super::{Error, Result, Store};
use crate::lang::plan::spec::{self, CorpusSource, CorpusSpec, ModelSpec, TemplateSpec};
use crate::lang::plan::{Plan, Spec, StepIndex};
use crate::ml;
use crate::ml::activations::{Documents, Residuals, Vocabulary};
use crate::ml::data::{Corpus, Template, TokenSequence, Tokenizer};
use crate::ml::lm::{Decoder, Site};

/// The folder of a model: the one that the file names, or the artifact.
///
/// # Errors
/// When the step is no model.
pub fn folder(plan: &Plan, store: &Store, index: StepIndex) -> Result<PathBuf> {
    let step = &plan.steps[index.0];
    match &step.spec {
        Spec::Model(ModelSpec::Folder { path }) => Ok(path_of(path)),
        Spec::Model(_) => Ok(store.artifact(&step.id)),
        _ => Err(Error::Failed(format!("{} is no model", step.address))),
    }
}

/// A corpus of the plan.
pub struct Text {
    pub name: String,
    pub corpus: Corpus,
    pub template: Option<Template>,
}

/// The corpora that a step reads in a role, in order.
///
/// # Errors
/// When a template file cannot be read.
pub fn texts(plan: &Plan, index: StepIndex, role: &str) -> Result<Vec<Text>> {
    super::steps::inputs(&plan.steps[index.0], role).into_iter().map(|corpus| text(plan, corpus)).collect()
}

/// One corpus of the plan.
///
/// # Errors
/// When the step is no corpus, or its template file cannot be read.
pub fn text(plan: &Plan, index: StepIndex) -> Result<Text> {
    let step = &plan.steps[index.0];
    let Spec::Corpus(CorpusSpec { source, template }) = &step.spec else {
        return Err(Error::Failed(format!("{} is no corpus", step.address)));
    };
    let corpus = match source {
        CorpusSource::Jsonl { path, column } => Corpus::Jsonl { path: path_of(path), column: column.clone() },
        CorpusSource::Text { path } => Corpus::Text { path: path_of(path) },
        CorpusSource::Builtin { name } => Corpus::Builtin { name: name.clone() },
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

/// A corpus as a harvest reads it: tokenised for a pair, cut to the context.
pub struct Reading<'a> {
    pub text: Text,
    pub tokenizer: &'a Tokenizer,
    pub context: usize,
}

impl Documents for Reading<'_> {
    fn name(&self) -> &str {
        &self.text.name
    }

    fn read(&self, start: u64) -> ml::Result<Box<dyn Iterator<Item = ml::Result<TokenSequence>> + '_>> {
        let documents = self.text.corpus.documents()?.skip(start as usize);
        Ok(Box::new(
            documents.map(|document| self.tokenizer.encode(&document?, self.text.template.as_ref(), self.context)),
        ))
    }
}

/// A decoder run up to one place in its stream.
pub struct Tap {
    decoder: Decoder,
    vocabulary: Vocabulary,
    layer: usize,
    site: Site,
}

impl Tap {
    /// Loads the model of a folder and checks that the tap is where it should be.
    ///
    /// # Errors
    /// When the model cannot be read, or its taps are not what they should be.
    pub fn load(folder: &std::path::Path, tokenizer: &Tokenizer, layer: usize, site: Site) -> Result<Self> {
        let decoder = Decoder::load(folder)?;
        ml::lm::check_taps(&decoder, layer, site)?;
        let vocabulary = Vocabulary {
            hash: tokenizer.fingerprint().to_string(),
            bos: tokenizer.bos(),
            special: tokenizer.special().clone(),
        };
        Ok(Tap { decoder, vocabulary, layer, site })
    }
}

impl Residuals for Tap {
    fn width(&self) -> usize {
        self.decoder.width()
    }

    fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    fn residuals(&self, ids: &[u32], batch: usize) -> ml::Result<Vec<f32>> {
        let sequences: Vec<&[u32]> = ids.chunks(ids.len() / batch.max(1)).collect();
        let ids = self.decoder.batch(&sequences)?;
        Ok(self.decoder.residual(&ids, self.layer, self.site)?.flatten_all()?.to_vec1::<f32>()?)
    }
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
