//! The rows of an activations step, whatever made them: harvested shards, a synthetic pair, a tensor file.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use super::hub::Hub;
use super::sources::Sources;
use super::steps::Job;
use super::wiring::{input, path_of};
use super::{Error, Result, Store};
use crate::lang::plan::spec::{self, ActivationsSource, ActivationsSpec, PairSpec, SyntheticSpec};
use crate::lang::plan::{Plan, Spec, Step, StepIndex};
use crate::ml::activations::{
    Harvested, Normalize, Normalizer, Raw, Statistics, StreamIndex, StreamedRows, Supply, TensorRows, split_rows,
};
use crate::ml::crosscoder::weights::FoldedNormalizer;
use crate::ml::cuda::Gpu;
use crate::ml::formats::CacheRows;
use crate::ml::synthetic::{Dictionary, Split, SyntheticConfig, SyntheticRows};
use crate::ml::{Rows, Watch};

/// Training and validation rows, normalised as the step says.
pub struct Opened<'a> {
    pub train: Box<dyn Rows + 'a>,
    pub validate: Box<dyn Rows + 'a>,
}

/// Name of the log of a stream's refills, beside the result that was made of it.
pub const REFILLS: &str = "refills.csv";

/// The activations that a step reads in the role `of` (a crosscoder) or `on`, directly or through classes and crosscoders.
///
/// # Errors
/// When no activations stand behind the step.
pub fn behind(plan: &Plan, index: StepIndex) -> Result<StepIndex> {
    let step = &plan.steps[index.0];
    match step.spec {
        Spec::Activations(_) => Ok(index),
        Spec::Crosscoder(_) => input(step, "on"),
        Spec::Classify(_)
        | Spec::Scaling(_)
        | Spec::Quality(_)
        | Spec::Recover(_)
        | Spec::Patch(_)
        | Spec::Tokens(_)
        | Spec::Twins(_)
        | Spec::Examples(_)
        | Spec::Steer(_) => behind(plan, input(step, "of")?),
        _ => Err(Error::Failed(format!("no activations stand behind {}", step.address))),
    }
}

/// What rows need that are made when they are read.
pub struct Live<'a> {
    pub hub: &'a Hub,
    /// Where the models run; `None` is the CPU.
    pub gpu: Option<&'a Arc<dyn Gpu>>,
    pub watch: &'a dyn Watch,
    /// Where refills are told.
    pub log: Option<PathBuf>,
}

/// Opens the rows of an activations step for a job.
///
/// # Errors
/// When they are missing or damaged.
pub fn open<'a>(job: &Job<'a>, index: StepIndex) -> Result<Opened<'a>> {
    let spec = spec_of(&job.plan.steps[index.0])?;
    let live = Live { hub: job.hub, gpu: job.gpu, watch: job.watch, log: Some(job.folder.join(REFILLS)) };
    open_as(job.plan, job.store, index, spec, Some(&live))
}

/// The same rows without a job, normalised or as the models give them.
///
/// # Errors
/// When they are missing or damaged.
pub fn open_live<'a>(
    plan: &Plan,
    store: &Store,
    index: StepIndex,
    is_raw: bool,
    live: &Live<'a>,
) -> Result<Opened<'a>> {
    let spec = spec_of(&plan.steps[index.0])?;
    let normalize = if is_raw { spec::Normalize::None } else { spec.normalize };
    open_as(plan, store, index, &ActivationsSpec { normalize, ..spec.clone() }, Some(live))
}

/// The same rows as they were before they were normalised.
///
/// # Errors
/// When they are missing or damaged.
pub fn open_raw(plan: &Plan, store: &Store, index: StepIndex) -> Result<Opened<'static>> {
    let spec = spec_of(&plan.steps[index.0])?;
    open_as(plan, store, index, &ActivationsSpec { normalize: spec::Normalize::None, ..spec.clone() }, None)
}

/// How an activations step scales its rows, as a crosscoder keeps it; `None` where it does not.
///
/// # Errors
/// When rows are missing or damaged.
pub fn normalizer(plan: &Plan, store: &Store, index: StepIndex) -> Result<Option<FoldedNormalizer>> {
    let Some((fitted, statistics)) = fitted(plan, store, index)? else { return Ok(None) };
    let mean = match fitted.mean() {
        [] => vec![0.0; 2 * statistics.width()],
        mean => mean.to_vec(),
    };
    Ok(Some(FoldedNormalizer {
        mean,
        std: statistics.variance().iter().map(|variance| variance.sqrt() as f32).collect(),
        scale: fitted.scale(),
        target_rms: match normalize(spec_of(&plan.steps[index.0])?) {
            Normalize::Rms(target) => target as f32,
            _ => 1.0,
        },
    }))
}

/// How an activations step scales its rows of width `width`, to scale others alike.
///
/// # Errors
/// When rows are missing or damaged.
pub fn scaling(plan: &Plan, store: &Store, index: StepIndex, width: usize) -> Result<Normalizer> {
    match fitted(plan, store, index)? {
        Some((fitted, _)) => Ok(fitted),
        None => Ok(Normalizer::fit(Normalize::None, &Statistics::new(width))?),
    }
}

/// The normaliser and the statistics that it comes from; `None` where rows are not scaled.
fn fitted(plan: &Plan, store: &Store, index: StepIndex) -> Result<Option<(Normalizer, Statistics)>> {
    let step = &plan.steps[index.0];
    let spec = spec_of(step)?;
    let by = normalize(spec);
    let statistics = match (&spec.source, by) {
        (_, Normalize::None) => return Ok(None),
        (ActivationsSource::Models { .. }, _) if spec.store == spec::StoreAs::None => {
            StreamIndex::read(&store.artifact(&step.id).join("train"))?.statistics
        }
        (ActivationsSource::Models { .. }, _) => {
            Harvested::open(&store.artifact(&step.id))?.train.index().statistics.clone()
        }
        _ => Statistics::over(open_raw(plan, store, index)?.train.as_ref())?,
    };
    Ok(Some((Normalizer::fit(by, &statistics)?, statistics)))
}

/// The specification of the activations step at this place of the plan.
///
/// # Errors
/// When it is another kind.
pub fn spec_of(step: &Step) -> Result<&ActivationsSpec> {
    match &step.spec {
        Spec::Activations(spec) => Ok(spec),
        _ => Err(Error::Failed(format!("{} has no rows to train on", step.address))),
    }
}

fn open_as<'a>(
    plan: &Plan,
    store: &Store,
    index: StepIndex,
    spec: &ActivationsSpec,
    live: Option<&Live<'a>>,
) -> Result<Opened<'a>> {
    let step = &plan.steps[index.0];
    match &spec.source {
        ActivationsSource::Synthetic => {
            let dictionary = Arc::new(dictionary(&plan.steps[input(step, "of")?.0])?);
            let rows = |split, portions: &[spec::PortionSpec], limit: Option<u64>| {
                let asked: u64 = portions.iter().map(|p| p.tokens).sum();
                SyntheticRows::new(dictionary.clone(), split, asked.min(limit.unwrap_or(u64::MAX)))
            };
            normalized(spec, rows(Split::Train, &spec.train, spec.limit), rows(Split::Validate, &spec.validate, None))
        }
        ActivationsSource::Models { .. } if spec.store == spec::StoreAs::None => {
            let Some(live) = live else {
                let problem = "keeps no rows (`store = none`); write `store = f32` and run it to have them in files";
                return Err(Error::Failed(format!("{} {problem}", step.address)));
            };
            let sources = Sources::open(plan, store, live.hub, live.gpu, step, spec)?;
            let harvest = sources.harvest.clone();
            let sources: Arc<dyn Supply> = Arc::new(sources);
            let folder = store.artifact(&step.id);
            let rows =
                |set| StreamedRows::open(harvest.clone(), &folder, set, sources.clone(), live.log.clone(), live.watch);
            let (train, validate) = (rows("train")?, rows("validate")?);
            let normalizer = Normalizer::fit(normalize(spec), &train.index().statistics)?;
            Ok(Opened { train: Box::new(normalizer.wrap(train)?), validate: Box::new(normalizer.wrap(validate)?) })
        }
        ActivationsSource::Models { .. } => {
            let harvested = Harvested::open(&store.artifact(&step.id))?;
            let normalizer = Normalizer::fit(normalize(spec), &harvested.train.index().statistics)?;
            Ok(Opened {
                train: Box::new(normalizer.wrap(harvested.train)?),
                validate: Box::new(normalizer.wrap(harvested.validate)?),
            })
        }
        ActivationsSource::Tensors { path, key } => {
            let all = TensorRows::open(&path_of(path), key)?;
            let (train, validate) = divide(spec, all.count())?;
            normalized(spec, all.slice(train)?, all.slice(validate)?)
        }
        ActivationsSource::Cache { base, tuned, .. } => {
            let all = CacheRows::open(&path_of(base), &path_of(tuned))?;
            let (train, validate) = divide(spec, all.count())?;
            normalized(spec, all.slice(train)?, all.slice(validate)?)
        }
    }
}

/// Which rows of a file are for training and which for validation.
fn divide(spec: &ActivationsSpec, rows: u64) -> Result<(Range<u64>, Range<u64>)> {
    let count = |portions: &[spec::PortionSpec]| portions.iter().map(|p| p.tokens).sum::<u64>();
    Ok(split_rows(rows, count(&spec.train), count(&spec.validate), spec.limit)?)
}

/// Rows harvested elsewhere, scaled as the step says by statistics of the training rows.
fn normalized<R: Raw + 'static>(spec: &ActivationsSpec, train: R, validate: R) -> Result<Opened<'static>> {
    let statistics = match normalize(spec) {
        Normalize::None => Statistics::new(train.width()),
        _ => Statistics::over(&train)?,
    };
    let normalizer = Normalizer::fit(normalize(spec), &statistics)?;
    Ok(Opened { train: Box::new(normalizer.wrap(train)?), validate: Box::new(normalizer.wrap(validate)?) })
}

fn normalize(spec: &ActivationsSpec) -> Normalize {
    match spec.normalize {
        spec::Normalize::None => Normalize::None,
        spec::Normalize::Rms(target) => Normalize::Rms(target),
        spec::Normalize::PerModelScale => Normalize::PerModelScale,
    }
}

/// The planted features of a synthetic pair.
///
/// # Errors
/// When the step is no synthetic pair, or its numbers make no dictionary.
pub fn dictionary(step: &Step) -> Result<Dictionary> {
    match &step.spec {
        Spec::Pair(PairSpec::Synthetic(spec)) => Ok(Dictionary::new(&synthetic(spec))?),
        _ => Err(Error::Failed(format!("{} is not a synthetic pair", step.address))),
    }
}

fn synthetic(spec: &SyntheticSpec) -> SyntheticConfig {
    SyntheticConfig {
        width: spec.width,
        shared: spec.shared,
        weak: spec.weak,
        weak_ratio: spec.weak_ratio,
        ratio: spec.ratio,
        base_only: spec.base_only,
        tuned_only: spec.tuned_only,
        active: spec.active,
        tail: spec.tail,
        frequency: spec.frequency,
        scale: spec.scale,
        magnitude: spec.magnitude,
        turn: spec.turn,
        correlated: spec.correlated,
        correlation: spec.correlation,
        noise: spec.noise,
        seed: spec.seed,
    }
}
