//! One file a kind: how its result is made and kept.

pub mod activations;
pub mod classify;
pub mod crosscoder;
pub mod expect;
pub mod model;
pub mod pair;
pub mod plot;
pub mod quality;
pub mod recover;
pub mod scaling;
pub mod table;

use std::path::{Path, PathBuf};

use super::{Error, Result, Store};
use crate::lang::plan::{Plan, Spec, Step, StepIndex};
use crate::ml::Watch;

/// A step to make: where from, where to, and who watches.
pub struct Job<'a> {
    pub plan: &'a Plan,
    pub store: &'a Store,
    pub step: &'a Step,
    /// The work folder; checkpoints stand in it beside the result.
    pub folder: &'a Path,
    pub watch: &'a dyn Watch,
}

/// A step that was made.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Made {
    /// Tokens that it processed.
    pub tokens: u64,
}

/// What tables, plots and expectations read.
pub struct Results<'a> {
    pub plan: &'a Plan,
    pub store: &'a Store,
    /// By step: whether it is done.
    pub available: &'a [bool],
}

impl Job<'_> {
    /// The first input in this role.
    ///
    /// # Errors
    /// When the plan has none; a defect of the planner.
    pub fn input(&self, role: &str) -> Result<StepIndex> {
        input(self.step, role)
    }
}

/// The first input of a step in this role.
///
/// # Errors
/// When the plan has none; a defect of the planner.
pub fn input(step: &Step, role: &str) -> Result<StepIndex> {
    step.inputs
        .iter()
        .find(|input| input.role == role)
        .map(|input| input.step)
        .ok_or_else(|| Error::Failed(format!("{}: the plan gives it no input `{role}`", step.address)))
}

/// All inputs of a step in this role, in order.
pub fn inputs(step: &Step, role: &str) -> Vec<StepIndex> {
    step.inputs.iter().filter(|input| input.role == role).map(|input| input.step).collect()
}

/// Makes the steps of a group (several only for crosscoders that train side by side), a result each.
pub fn make(jobs: &[Job<'_>]) -> Vec<Result<Made>> {
    match jobs {
        [job] if !matches!(job.step.spec, Spec::Crosscoder(_)) => vec![make_one(job)],
        jobs => crosscoder::make(jobs),
    }
}

fn make_one(job: &Job<'_>) -> Result<Made> {
    match &job.step.spec {
        Spec::Model(spec) => model::make(job, spec),
        Spec::Pair(spec) => pair::make(job, spec),
        Spec::Activations(spec) => activations::make(job, spec),
        Spec::Classify(spec) => classify::make(job, spec),
        Spec::Scaling(spec) => scaling::make(job, spec),
        Spec::Quality(spec) => quality::make(job, spec),
        Spec::Recover(spec) => recover::make(job, spec),
        Spec::Crosscoder(_)
        | Spec::Corpus(_)
        | Spec::Template(_)
        | Spec::Table(_)
        | Spec::Plot(_)
        | Spec::Expect(_) => {
            Err(Error::Failed(format!("{}: a {} is not made on its own", job.step.address, job.step.kind)))
        }
    }
}

/// The path of a file that the experiment names, relative to the `.xd` file that wrote it.
pub fn path_of(file: &crate::lang::plan::spec::FileRef) -> PathBuf {
    let base = Path::new(&file.from).parent().unwrap_or(Path::new(""));
    base.join(&file.path)
}
