//! What the steps of a plan take of a card's memory, before anything is run.

use super::status::Status;
use super::steps::{crosscoder, runs_on_gpu};
use super::wiring::input;
use super::{Store, models, rows};
use crate::lang::plan::spec::{ActivationsSource, Loss, ScalingSpec};
use crate::lang::plan::{Plan, Spec, Step, StepIndex};
use crate::ml::crosscoder::{Activation, TrainerConfig};
use crate::ml::cuda::PACE;
use crate::ml::cuda::memory::{self, LIBRARIES, ScalingSizes};
use crate::ml::lm::{DecoderConfig, ROWS};

/// A step, or the points of a sweep that train side by side, and the memory that it takes at its peak.
#[derive(Clone, Debug, PartialEq)]
pub struct CardNeed {
    /// Places in [`Plan::steps`]; the first one stands for all.
    pub steps: Vec<usize>,
    /// With [`LIBRARIES`].
    pub bytes: u64,
    /// Of trainings: what would fit instead is found by asking again.
    trainings: Vec<(TrainerConfig, usize)>,
}

/// Of each step that is to do and runs on a card, with units for narrow numbers or without, in the order of the plan; those whose sizes
/// are not known yet are left out.
pub fn needs(plan: &Plan, store: &Store, statuses: &[Status], has_narrow: bool) -> Vec<CardNeed> {
    let is_to_do =
        |index: usize| matches!(statuses[index], Status::ToDo { .. }) && runs_on_gpu(plan, &plan.steps[index]);
    let mut found: Vec<CardNeed> = Vec::new();
    for (index, step) in plan.steps.iter().enumerate().filter(|(index, _)| is_to_do(*index)) {
        if found.iter().any(|need| need.steps.contains(&index)) {
            continue;
        }
        match &step.spec {
            Spec::Crosscoder(_) => {
                let beside = crosscoder::companions(plan, index).into_iter().filter(|&other| is_to_do(other));
                let steps: Vec<usize> = [index].into_iter().chain(beside).collect();
                let trainings: Vec<_> = steps.iter().filter_map(|&member| training(&plan.steps[member])).collect();
                if trainings.len() == steps.len() {
                    found.push(CardNeed { steps, bytes: together(&trainings), trainings });
                }
            }
            spec => {
                let bytes = match spec {
                    Spec::Scaling(spec) => scaling(plan, step, spec),
                    _ => of_models(plan, store, StepIndex(index), has_narrow),
                };
                let trainings = Vec::new();
                found.extend(bytes.map(|bytes| CardNeed { steps: vec![index], bytes: LIBRARIES + bytes, trainings }));
            }
        }
    }
    found
}

impl CardNeed {
    /// What would fit into so many bytes; of a training a smaller batch if one of at least 128 rows does, else fewer latents, else fewer points at a time.
    pub fn advice(&self, plan: &Plan, free: u64) -> String {
        let fits = |change: &dyn Fn(&mut TrainerConfig)| {
            let mut trainings = self.trainings.clone();
            trainings.iter_mut().for_each(|(config, _)| change(config));
            together(&trainings) <= free
        };
        let Some((first, _)) = self.trainings.first() else {
            return match plan.steps[self.steps[0]].spec {
                Spec::Scaling(_) => {
                    "measure the latents of a class (`latents = ..`), or without `intervals`".to_string()
                }
                _ => "models with `dtype = bf16` take half; without `--device` they run on the CPU".to_string(),
            };
        };
        let halves = (1..).map(|i| first.train.batch >> i).take_while(|&batch| batch >= 128);
        let mut smaller = halves.filter(|&batch| fits(&|config| config.train.batch = config.train.batch.min(batch)));
        if let Some(batch) = smaller.next() {
            return format!("`train.batch = {batch}` would fit");
        }
        let sixteenths = (1..16).rev().map(|part| first.latents / 16 * part);
        let mut fewer = sixteenths.filter(|&latents| fits(&|config| config.latents = config.latents.min(latents)));
        let fewer = fewer.next().map(|latents| format!("`latents = {latents}` would fit"));
        let largest = self.trainings.iter().map(|training| together(std::slice::from_ref(training))).max();
        let alone = (self.steps.len() > 1 && largest.is_some_and(|largest| largest <= free)).then(|| {
            format!("of the {} points that train side by side each could have a file of its own", self.steps.len())
        });
        let all: Vec<String> = fewer.into_iter().chain(alone).collect();
        if all.is_empty() { "take a card with more memory".to_string() } else { all.join("; or ") }
    }
}

fn together(trainings: &[(TrainerConfig, usize)]) -> u64 {
    LIBRARIES + trainings.iter().map(|(config, width)| memory::training(config, *width).bytes()).sum::<u64>()
}

fn training(step: &Step) -> Option<(TrainerConfig, usize)> {
    match &step.spec {
        Spec::Crosscoder(spec) => Some((crosscoder::config(spec), step.width? as usize)),
        _ => None,
    }
}

fn scaling(plan: &Plan, step: &Step, spec: &ScalingSpec) -> Option<u64> {
    let Spec::Crosscoder(of) = &plan.steps[input(step, "of").ok()?.0].spec else { return None };
    let latents = of.latents as usize;
    let activation = match &of.loss {
        Loss::L1 { .. } => Activation::Relu,
        Loss::BatchTopK(top) => Activation::Threshold { k: top.k, threshold: 0.0 },
        Loss::TopK(top) => Activation::TopK { k: top.k },
    };
    let sizes = ScalingSizes {
        width: step.width? as usize,
        latents,
        measured: latents,
        by_group: spec.intervals > 0,
        thresholds: false,
        rows: spec.tokens,
        active: memory::active(&activation, latents),
    };
    Some(memory::scaling(sizes).bytes())
}

/// Of a step that runs the models of a pair, both of them; `None` where their files are not there yet.
fn of_models(plan: &Plan, store: &Store, index: StepIndex, has_narrow: bool) -> Option<u64> {
    let step = &plan.steps[index.0];
    let (pair, context) = match &step.spec {
        Spec::Layers(layers) => (input(step, "of").ok()?, layers.context),
        spec => {
            let activations = &plan.steps[rows::behind(plan, index).ok()?.0];
            let ActivationsSource::Models { context, .. } = rows::spec_of(activations).ok()?.source else {
                return None;
            };
            let longest = if let Spec::Patch(patch) = spec { patch.context } else { context };
            (input(activations, "of").ok()?, longest)
        }
    };
    let goes_on = !matches!(step.spec, Spec::Activations(_));
    let tokens = (context as usize).max(PACE.tokens);
    let of = |role| {
        let model = input(&plan.steps[pair.0], role).ok()?;
        let config = DecoderConfig::load(models::folder(plan, store, model).ok()?).ok()?;
        let logits = goes_on.then(|| PACE.logits.min(ROWS * config.vocabulary));
        let dtype = models::dtype(plan, model);
        Some(memory::model(&config, dtype, has_narrow, tokens, context as usize, logits).bytes())
    };
    Some(of("base")? + of("tuned")?)
}
