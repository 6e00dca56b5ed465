//! `classify`: every latent's class by Delta_norm, and what it does on the validation rows.

use super::{Job, Made};
use crate::exec::frames::ROWS;
use crate::exec::wiring::input;
use crate::exec::{Error, Result, rows};
use crate::lang::plan::spec::ClassifySpec;
use crate::lang::plan::{Spec, StepIndex};
use crate::ml::analysis::vectors::decoder_norms;
use crate::ml::analysis::{ClassThresholds, Classes, LatentClass, classify, delta_norm};
use crate::ml::crosscoder::Crosscoder;
use crate::out::frame::Cell;
use crate::out::{Column, Frame};

/// Classifies and writes one row a latent.
///
/// # Errors
/// When the crosscoder or the rows cannot be read.
pub fn make(job: &Job<'_>, spec: &ClassifySpec) -> Result<Made> {
    let of = job.input("of")?;
    let crosscoder = Crosscoder::load(&job.store.artifact(&job.plan.steps[of.0].id))?;
    let opened = rows::open(job, rows::behind(job.plan, of)?)?;
    let classes = classify(&crosscoder, opened.validate.as_ref(), &thresholds(spec), job.watch)?;
    frame(&classes)?.write(&job.folder.join(ROWS))?;
    Ok(Made { tokens: classes.rows })
}

/// The crosscoder behind a step of kind `classify` and the classes that it says; behind a crosscoder itself, by the paper's ranges.
///
/// # Errors
/// When one of them cannot be read.
pub fn classed(job: &Job<'_>, index: StepIndex) -> Result<(Crosscoder, Vec<LatentClass>)> {
    let step = &job.plan.steps[index.0];
    let load = |index: StepIndex| Crosscoder::load(&job.store.artifact(&job.plan.steps[index.0].id));
    let Spec::Classify(_) = step.spec else {
        let crosscoder = load(index)?;
        let class = |j| {
            let [base, tuned] = decoder_norms(&crosscoder, j);
            ClassThresholds::default().class(delta_norm(base, tuned))
        };
        let classes = (0..crosscoder.latents).map(class).collect();
        return Ok((crosscoder, classes));
    };
    let crosscoder = load(input(step, "of")?)?;
    let classes = read(job, index)?.class;
    Ok((crosscoder, classes))
}

/// The classes that a step of kind `classify` found: `class` and `dead`, one a latent in their order; the rest is empty.
///
/// # Errors
/// When its rows cannot be read, or are not those of classes.
pub fn read(job: &Job<'_>, index: StepIndex) -> Result<Classes> {
    use LatentClass::{BaseOnly, Other, Shared, TunedOnly};
    let step = &job.plan.steps[index.0];
    let frame = Frame::read(&job.store.artifact(&step.id).join(ROWS))?;
    let odd = |cell: Cell<'_>| Error::Failed(format!("{}: `{cell}` is no class", step.address));
    let class = |cell: Cell<'_>| {
        let known = [BaseOnly, Shared, TunedOnly, Other].into_iter().find(|class| cell == Cell::Text(class.name()));
        known.ok_or_else(|| odd(cell))
    };
    let class: Result<Vec<LatentClass>> = frame.column("class")?.cells().map(class).collect();
    let dead = frame.column("dead")?.cells().map(|cell| cell == Cell::Truth(true)).collect();
    Ok(Classes { class: class?, dead, ..Classes::default() })
}

/// The ranges of the specification.
fn thresholds(spec: &ClassifySpec) -> ClassThresholds {
    ClassThresholds { base_only: spec.base_only, shared: spec.shared, tuned_only: spec.tuned_only }
}

fn frame(classes: &Classes) -> Result<Frame> {
    Ok(Frame::new()
        .with("latent", Column::whole(0..classes.class.len() as i64))?
        .with("class", Column::text(classes.class.iter().map(|c| c.name())))?
        .with("delta_norm", Column::Real(classes.delta_norm.clone()))?
        .with("norm_base", Column::real(classes.norm_base.iter().copied()))?
        .with("norm_tuned", Column::real(classes.norm_tuned.iter().copied()))?
        .with("cosine", Column::Real(classes.cosine.clone()))?
        .with("encoder_norm_base", Column::real(classes.encoder_norm_base.iter().copied()))?
        .with("encoder_norm_tuned", Column::real(classes.encoder_norm_tuned.iter().copied()))?
        .with("encoder_cosine", Column::Real(classes.encoder_cosine.clone()))?
        .with("frequency", Column::real(classes.frequency.iter().copied()))?
        .with("max_activation", Column::real(classes.max_activation.iter().copied()))?
        .with("mean_activation", Column::Real(classes.mean_activation.clone()))?
        .with("control_share", Column::Real(classes.control_share.clone()))?
        .with("dead", Column::truth(classes.dead.iter().copied()))?)
}
