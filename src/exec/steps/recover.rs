//! `recover`: which planted features were found, and how they were classed.

use std::collections::BTreeSet;

use super::{Job, Made, classify};
use crate::exec::frames::ROWS;
use crate::exec::wiring::{input, inputs};
use crate::exec::{Result, rows};
use crate::lang::plan::spec::RecoverSpec;
use crate::ml::analysis::{ClassRecovery, recover_unflagged};
use crate::ml::crosscoder::Crosscoder;
use crate::out::frame::Cell;
use crate::out::{Column, Frame};

/// Matches latents with planted features and writes one row a class.
///
/// # Errors
/// When the crosscoder, its classes or its verdicts cannot be read.
pub fn make(job: &Job<'_>, spec: &RecoverSpec) -> Result<Made> {
    let of = job.input("of")?;
    let step = &job.plan.steps[of.0];
    let crosscoder = Crosscoder::load(&job.store.artifact(&job.plan.steps[input(step, "of")?.0].id))?;
    let classes = classify::read(job, of)?;
    let dictionary = rows::dictionary(&job.plan.steps[job.input("against")?.0])?;
    let recovery = recover_unflagged(&crosscoder, &classes, &dictionary, spec.cosine, &flagged(job)?)?;
    frame(&recovery.classes)?.write(&job.folder.join(ROWS))?;
    Ok(Made::default())
}

/// Latents that the scaling in role `verdict` measured and did not find specific; none without one.
fn flagged(job: &Job<'_>) -> Result<BTreeSet<u32>> {
    let mut flagged = BTreeSet::new();
    for index in inputs(job.step, "verdict") {
        let frame = Frame::read(&job.store.artifact(&job.plan.steps[index.0].id).join(ROWS))?;
        let (latents, verdicts) = (frame.column("latent")?, frame.column("verdict")?);
        for row in 0..frame.rows() {
            if let Cell::Whole(latent) = latents.cell(row)
                && verdicts.cell(row) != Cell::Text("specific")
            {
                flagged.insert(latent as u32);
            }
        }
    }
    Ok(flagged)
}

fn frame(classes: &[ClassRecovery]) -> Result<Frame> {
    Ok(Frame::new()
        .with("class", Column::text(classes.iter().map(|c| c.class.name())))?
        .with("planted", Column::whole(classes.iter().map(|c| c.planted as i64)))?
        .with("found", Column::whole(classes.iter().map(|c| c.found as i64)))?
        .with("precision", Column::Real(classes.iter().map(|c| c.precision).collect()))?
        .with("recall", Column::Real(classes.iter().map(|c| c.recall).collect()))?
        .with("f1", Column::Real(classes.iter().map(|c| c.f1).collect()))?
        .with("mcc", Column::Real(classes.iter().map(|c| c.mcc).collect()))?
        .with("false_tuned_only", Column::whole(classes.iter().map(|c| c.false_tuned_only as i64)))?)
}
