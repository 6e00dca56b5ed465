//! `pair`: of a synthetic one, the planted features as a table.

use super::{Job, Made};
use crate::exec::frames::ROWS;
use crate::exec::{Result, rows};
use crate::lang::plan::spec::PairSpec;
use crate::out::{Column, Frame};

/// Writes the truth: one row a planted feature.
///
/// # Errors
/// When the numbers make no dictionary, or the rows cannot be written.
pub fn make(job: &Job<'_>, _: &PairSpec) -> Result<Made> {
    let dictionary = rows::dictionary(job.step)?;
    let features = &dictionary.features;
    Frame::new()
        .with("feature", Column::whole(0..features.len() as i64))?
        .with("class", Column::text(features.iter().map(|f| f.class.name())))?
        .with("norm_base", Column::real(features.iter().map(|f| f.norms[0])))?
        .with("norm_tuned", Column::real(features.iter().map(|f| f.norms[1])))?
        .with("delta_norm", Column::Real(features.iter().map(|f| f.delta_norm()).collect()))?
        .with("cosine", Column::Real(features.iter().map(|f| f.cosine).collect()))?
        .with("frequency", Column::real(features.iter().map(|f| f.frequency)))?
        .write(&job.folder.join(ROWS))?;
    Ok(Made::default())
}
