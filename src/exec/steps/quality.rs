//! `quality`: reconstruction on the validation rows, per model and joint.

use super::{Job, Made};
use crate::exec::frames::ROWS;
use crate::exec::{Result, rows};
use crate::lang::plan::spec::QualitySpec;
use crate::ml::crosscoder::{Crosscoder, evaluate};
use crate::out::{Column, Frame};

/// Measures and writes a row for the base, the tuned model, and both.
///
/// # Errors
/// When the crosscoder or the rows cannot be read.
pub fn make(job: &Job<'_>, spec: &QualitySpec) -> Result<Made> {
    let of = job.input("of")?;
    let crosscoder = Crosscoder::load(&job.store.artifact(&job.plan.steps[of.0].id))?;
    let opened = rows::open(job, rows::behind(job.plan, of)?)?;
    let limit = (spec.tokens > 0).then_some(spec.tokens);
    let found = evaluate(&crosscoder, opened.validate.as_ref(), limit, job.watch)?;
    let models = [("base", found.base), ("tuned", found.tuned), ("joint", found.joint)];
    Frame::new()
        .with("model", Column::text(models.iter().map(|(model, _)| model)))?
        .with("fve", Column::real(models.iter().map(|(_, quality)| quality.fve)))?
        .with("mse", Column::real(models.iter().map(|(_, quality)| quality.mse)))?
        .with("l0", Column::real(models.iter().map(|_| found.l0)))?
        .with("l0_training", Column::real(models.iter().map(|_| found.l0_training)))?
        .with("dead", Column::real(models.iter().map(|_| found.dead)))?
        .write(&job.folder.join(ROWS))?;
    Ok(Made { tokens: found.tokens })
}
