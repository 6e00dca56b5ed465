//! `activations`: both models over the same tokens, stopped after the layer, rows shuffled into shards, or surveyed where nothing is
//! stored.

use super::{Job, Made};
use crate::exec::sources::Sources;
use crate::exec::{Error, Result};
use crate::lang::plan::spec::{ActivationsSpec, Normalize, StoreAs};
use crate::ml;
use crate::ml::Rows;
use crate::ml::activations::{Harvested, StreamIndex, Supply};

/// Harvests into the job's folder; with `store = none`, finds where the blocks of the stream begin.
///
/// # Errors
/// When a model or corpus cannot be read, or the corpus has too few tokens.
pub fn make(job: &Job<'_>, spec: &ActivationsSpec) -> Result<Made> {
    let sources = Sources::open(job.plan, job.store, job.hub, job.gpu, job.step, spec)?;
    if spec.store == StoreAs::None {
        let scales = spec.normalize != Normalize::None;
        sources
            .with(&mut |pair, corpora| sources.harvest.survey_stream(pair, corpora, job.folder, scales, job.watch))?;
        let rows = |set: &str| Ok::<_, Error>(StreamIndex::read(&job.folder.join(set))?.rows);
        return Ok(Made { tokens: rows("train")? + rows("validate")? });
    }
    let mut harvested: Option<Harvested> = None;
    sources.with(&mut |pair, corpora| -> ml::Result<()> {
        harvested = Some(sources.harvest.run(pair, corpora, job.folder, job.watch)?);
        Ok(())
    })?;
    Ok(Made { tokens: harvested.map_or(0, |done| done.train.count() + done.validate.count()) })
}
