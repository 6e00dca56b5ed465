//! `classify`: every latent's class by Delta_norm, and what it does on the validation rows.

use super::{Job, Made};
use crate::exec::frames::ROWS;
use crate::exec::{Result, rows};
use crate::lang::plan::spec::ClassifySpec;
use crate::ml::analysis::{ClassThresholds, Classes, classify};
use crate::ml::crosscoder::Crosscoder;
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

/// The ranges of the specification.
pub fn thresholds(spec: &ClassifySpec) -> ClassThresholds {
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
        .with("frequency", Column::real(classes.frequency.iter().copied()))?
        .with("max_activation", Column::real(classes.max_activation.iter().copied()))?
        .with("control_share", Column::Real(classes.control_share.clone()))?
        .with("dead", Column::truth(classes.dead.iter().copied()))?)
}
