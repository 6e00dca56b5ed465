//! `crosscoder`: training, points that share the data side by side, or weights trained elsewhere.

use std::path::PathBuf;

use super::{Job, Made};
use crate::exec::frames::ROWS;
use crate::exec::wiring::{input, path_of};
use crate::exec::{Error, Result, hub, rows};
use crate::lang::hub::HubRef;
use crate::lang::plan::spec::{self, CrosscoderSpec, WeightsRef};
use crate::lang::plan::{Plan, Spec, StepIndex};
use crate::ml::crosscoder::sweep::CHECKPOINT;
use crate::ml::crosscoder::{
    Activation, AdamConfig, CodeNorm, Crosscoder, Evaluation, Init, InitEncoder, Loss, Pace, Precision, Reconstruction,
    Shuffle, SweepPoint, Target, TopK, Train, TrainerConfig, Variant, evaluate, train_sweep,
};
use crate::ml::formats::{Choices, WeightsFile};
use crate::ml::{Progress, Watch};
use crate::out::{Column, Frame};

/// Steps of the plan that read the same rows in the same order as this one, and so train beside it.
pub fn companions(plan: &Plan, index: usize) -> Vec<usize> {
    let Some(key) = company(plan, index) else { return Vec::new() };
    (index + 1..plan.steps.len()).filter(|&other| company(plan, other).as_ref() == Some(&key)).collect()
}

/// What points that train side by side have in common: the rows and the block order.
fn company(plan: &Plan, index: usize) -> Option<(usize, spec::Shuffle)> {
    let step = &plan.steps[index];
    match &step.spec {
        Spec::Crosscoder(spec) if spec.from.is_none() => Some((input(step, "on").ok()?.0, spec.train.shuffle))
            .filter(|(_, shuffle)| *shuffle != spec::Shuffle::Global),
        _ => None,
    }
}

/// Trains (or loads) each job's crosscoder, a result each.
pub fn make(jobs: &[Job<'_>]) -> Vec<Result<Made>> {
    match train(jobs) {
        Ok(results) => results,
        // What stops all of them is said by each.
        Err(Error::Interrupted) => jobs.iter().map(|_| Err(Error::Interrupted)).collect(),
        Err(error) => jobs.iter().map(|_| Err(Error::Failed(error.to_string()))).collect(),
    }
}

fn train(jobs: &[Job<'_>]) -> Result<Vec<Result<Made>>> {
    let first = &jobs[0];
    let opened = rows::open(first, first.input("on")?)?;
    let spec = crosscoder_spec(first)?;
    if let Some(from) = &spec.from {
        let crosscoder = load(first, from, variant(spec.variant).target())?;
        let evaluation = evaluate(&crosscoder, opened.validate.as_ref(), None, first.watch)?;
        save(first, &crosscoder, &evaluation, None, 0)?;
        return Ok(vec![Ok(Made::default())]);
    }
    let mut points = Vec::new();
    for job in jobs {
        let spec = crosscoder_spec(job)?;
        let reads = variant(spec.variant).target();
        let from = spec.init.from.as_ref().map(|from| load_to_start_from(job, from, reads)).transpose()?;
        let point = SweepPoint::open(config(spec), opened.train.width(), from.as_ref(), job.folder)?;
        points.push(match job.gpu.filter(|_| super::runs_on_gpu(job.plan, job.step)) {
            Some(gpu) => point.on(gpu)?,
            None => point,
        });
    }
    let together = Together { jobs };
    train_sweep(opened.train.as_ref(), &mut points, Some(opened.validate.as_ref()), Pace::default(), &together)?;
    Ok(jobs
        .iter()
        .zip(points)
        .map(|(job, point)| {
            if let Some(failure) = point.failure {
                return Err(failure.into());
            }
            let loss = point.trainer.last().map(|last| last.loss);
            let tokens = point.trainer.tokens();
            if let fallbacks @ 1.. = point.trainer.fallbacks() {
                job.watch
                    .note(&format!("{fallbacks} steps were scored in f32: in bf16 too many latents were near the top"));
            }
            let crosscoder = point.trainer.finish()?;
            let evaluation = evaluate(&crosscoder, opened.validate.as_ref(), None, &crate::ml::watch::Unwatched)?;
            save(job, &crosscoder, &evaluation, loss, tokens)?;
            Ok(Made { tokens })
        })
        .collect())
}

fn crosscoder_spec<'a>(job: &Job<'a>) -> Result<&'a CrosscoderSpec> {
    match &job.step.spec {
        Spec::Crosscoder(spec) => Ok(spec),
        _ => Err(Error::Failed(format!("{} is no crosscoder", job.step.address))),
    }
}

/// The variant of a crosscoder, or of that behind its classes.
pub(super) fn variant_of(job: &Job<'_>, index: StepIndex) -> Variant {
    let step = &job.plan.steps[index.0];
    match &step.spec {
        Spec::Crosscoder(spec) => variant(spec.variant),
        _ => input(step, "of").map_or(Variant::SharedCode, |of| variant_of(job, of)),
    }
}

/// Each point of a common training has a line of its own.
struct Together<'a> {
    jobs: &'a [Job<'a>],
}

impl Watch for Together<'_> {
    fn progress(&self, _: &Progress) {}

    fn point(&self, index: usize, progress: &Progress) {
        self.jobs[index].watch.progress(progress);
    }

    fn stop(&self) -> bool {
        self.jobs[0].watch.stop()
    }

    fn note(&self, text: &str) {
        self.jobs[0].watch.note(text);
    }
}

/// Weights that the file names; an autoencoder's read `reads`.
fn load(job: &Job<'_>, weights: &WeightsRef, reads: Option<Target>) -> Result<Crosscoder> {
    Ok(open(job, weights, reads)?.load(&Choices::default())?)
}

fn open(job: &Job<'_>, weights: &WeightsRef, reads: Option<Target>) -> Result<WeightsFile> {
    let file = match weights {
        WeightsRef::Folder { path, .. } => WeightsFile::open(&path_of(path), None)?,
        WeightsRef::Tensors { path, prefix } => WeightsFile::open(&path_of(path), Some(prefix))?,
        WeightsRef::Hub { repository } => WeightsFile::open(&brought(job, repository)?, None)?,
    };
    Ok(match reads {
        Some(target) => file.reading(target)?,
        None => file,
    })
}

/// The folder of a crosscoder of the hub, once its files are here.
fn brought(job: &Job<'_>, repository: &HubRef) -> Result<PathBuf> {
    job.hub.bring(repository, job.watch)?;
    hub::folder(repository)
}

/// Weights that training starts from; what only their use needs, such as a threshold, may be missing.
fn load_to_start_from(job: &Job<'_>, weights: &WeightsRef, reads: Option<Target>) -> Result<Crosscoder> {
    Ok(open(job, weights, reads)?.load_to_start_from()?)
}

/// The published files and one row of numbers; the checkpoint goes.
fn save(job: &Job<'_>, crosscoder: &Crosscoder, evaluation: &Evaluation, loss: Option<f64>, tokens: u64) -> Result<()> {
    crosscoder.save(job.folder)?;
    let threshold = match &crosscoder.activation {
        &Activation::Threshold { threshold, .. } => Some(f64::from(threshold)),
        Activation::Relu | Activation::TopK { .. } | Activation::JumpRelu { .. } => None,
    };
    let [fve_base, fve_tuned] = evaluation.fve_by_model(crosscoder.variant);
    Frame::new()
        .with("l0", Column::real([evaluation.l0_training]))?
        .with("l0_inference", Column::real([evaluation.l0]))?
        .with("fve_base", Column::Real(vec![fve_base]))?
        .with("fve_tuned", Column::Real(vec![fve_tuned]))?
        .with("fve", Column::real([evaluation.joint.fve]))?
        .with("loss", Column::Real(vec![loss]))?
        .with("dead", Column::real([evaluation.dead]))?
        .with("threshold", Column::Real(vec![threshold]))?
        .with("tokens", Column::whole([tokens as i64]))?
        .write(&job.folder.join(ROWS))?;
    let checkpoint = job.folder.join(CHECKPOINT);
    if checkpoint.exists() {
        std::fs::remove_file(&checkpoint).map_err(|e| Error::file(&checkpoint, e))?;
    }
    Ok(())
}

/// How a crosscoder is trained, as `ml` wants it.
pub fn config(spec: &CrosscoderSpec) -> TrainerConfig {
    let train = &spec.train;
    TrainerConfig {
        latents: spec.latents as usize,
        variant: variant(spec.variant),
        loss: loss(&spec.loss),
        init: Init {
            norm: spec.init.norm,
            encoder: match spec.init.encoder {
                spec::InitEncoder::Transpose => InitEncoder::Transpose,
                spec::InitEncoder::Independent => InitEncoder::Independent,
            },
            same: spec.init.same,
        },
        train: Train {
            batch: train.batch,
            steps: train.steps,
            optimizer: AdamConfig {
                learning_rate: train.optimizer.learning_rate,
                beta1: train.optimizer.beta1,
                beta2: train.optimizer.beta2,
                epsilon: train.optimizer.epsilon,
                warmup: train.optimizer.warmup,
                decay: train.optimizer.decay,
            },
            clip: train.clip,
            shuffle: match train.shuffle {
                spec::Shuffle::Local => Shuffle::Local,
                spec::Shuffle::Global => Shuffle::Global,
                spec::Shuffle::None => Shuffle::None,
            },
            validate: train.validate,
            log: train.log,
            seed: train.seed,
            precision: match train.precision {
                spec::Precision::F32 => Precision::F32,
                spec::Precision::Tf32 => Precision::Tf32,
                spec::Precision::Bf16 => Precision::Bf16,
            },
            resample: train.resample,
        },
    }
}

fn variant(variant: spec::Variant) -> Variant {
    match variant {
        spec::Variant::SharedCode => Variant::SharedCode,
        spec::Variant::Sae(spec::Target::Base) => Variant::Sae(Target::Base),
        spec::Variant::Sae(spec::Target::Tuned) => Variant::Sae(Target::Tuned),
        spec::Variant::Sae(spec::Target::Difference) => Variant::Sae(Target::Difference),
    }
}

fn loss(loss: &spec::Loss) -> Loss {
    let top = |top: &spec::TopKLoss| TopK {
        k: top.k,
        aux: top.aux,
        dead_after: top.dead_after,
        threshold_from: top.threshold_from,
        anneal: top.anneal,
        reconstruction: reconstruction(top.reconstruction),
        norm: norm(top.norm),
    };
    match loss {
        spec::Loss::L1 { weight, warmup, reconstruction: r, norm: n } => {
            Loss::L1 { weight: *weight, warmup: *warmup, reconstruction: reconstruction(*r), norm: norm(*n) }
        }
        spec::Loss::BatchTopK(loss) => Loss::BatchTopK(top(loss)),
        spec::Loss::TopK(loss) => Loss::TopK(top(loss)),
    }
}

fn reconstruction(reconstruction: spec::Reconstruction) -> Reconstruction {
    match reconstruction {
        spec::Reconstruction::L2 => Reconstruction::L2,
        spec::Reconstruction::Mse => Reconstruction::Mse,
    }
}

fn norm(norm: spec::CodeNorm) -> CodeNorm {
    match norm {
        spec::CodeNorm::Sum => CodeNorm::Sum,
        spec::CodeNorm::Concat => CodeNorm::Concat,
        spec::CodeNorm::None => CodeNorm::None,
    }
}
