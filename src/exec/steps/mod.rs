//! One file a kind: how its result is made and kept.

pub mod activations;
pub mod autointerp;
pub mod classify;
pub mod compare;
pub mod crosscoder;
pub mod examples;
pub mod expect;
pub mod layers;
pub mod model;
pub mod pair;
pub mod patch;
pub mod plot;
pub mod quality;
pub mod recover;
pub mod scaling;
pub mod steer;
pub mod table;
pub mod tokens;
pub mod twins;

use std::path::Path;
use std::sync::Arc;

use super::hub::Hub;
use super::{Error, Result, Store, rows, wiring};
use crate::lang::plan::spec::{ActivationsSource, ActivationsSpec};
use crate::lang::plan::{Plan, Spec, Step, StepIndex};
use crate::ml::Watch;
use crate::ml::cuda::Gpu;

/// A step to make: where from, where to, and who watches.
pub struct Job<'a> {
    pub plan: &'a Plan,
    pub store: &'a Store,
    pub step: &'a Step,
    /// Brings what the step reads of the hub.
    pub hub: &'a Hub,
    /// The work folder; checkpoints stand in it beside the result.
    pub folder: &'a Path,
    pub watch: &'a dyn Watch,
    /// Where models run that are tapped, crosscoders are trained and Latent Scaling is measured; `None` is the CPU.
    pub gpu: Option<&'a Arc<dyn Gpu>>,
}

/// A step that was made.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Made {
    /// Tokens that it processed.
    pub tokens: u64,
}

impl Job<'_> {
    /// The first input in this role.
    ///
    /// # Errors
    /// When the plan has none; a defect of the planner.
    pub fn input(&self, role: &str) -> Result<StepIndex> {
        wiring::input(self.step, role)
    }
}

/// Whether a step is computed on the GPU where there is one, or what it needs of models is.
pub fn runs_on_gpu(plan: &Plan, step: &Step) -> bool {
    match &step.spec {
        Spec::Crosscoder(crosscoder) => crosscoder.from.is_none(),
        Spec::Activations(activations) => is_of_models(activations),
        // Without models only rows are measured.
        Spec::Quality(_) => wiring::input(step, "of")
            .and_then(|of| rows::behind(plan, of))
            .and_then(|behind| rows::spec_of(&plan.steps[behind.0]))
            .is_ok_and(is_of_models),
        Spec::Scaling(_) | Spec::Patch(_) | Spec::Layers(_) => true,
        _ => false,
    }
}

fn is_of_models(activations: &ActivationsSpec) -> bool {
    matches!(activations.source, ActivationsSource::Models { .. })
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
        Spec::Tokens(spec) => tokens::make(job, spec),
        Spec::Twins(spec) => twins::make(job, spec),
        Spec::Compare(_) => compare::make(job),
        Spec::Autointerp(spec) => autointerp::make(job, spec),
        Spec::Layers(spec) => layers::make(job, spec),
        Spec::Patch(spec) => patch::make(job, spec),
        Spec::Examples(spec) => examples::make(job, spec),
        Spec::Steer(spec) => steer::make(job, spec),
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
