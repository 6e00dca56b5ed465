//! `tokens`: on which groups of tokens every latent fires.

use super::{Job, Made};
use crate::exec::frames::ROWS;
use crate::exec::{Result, rows};
use crate::lang::plan::spec::{TokenGroupSpec, TokensSpec};
use crate::lang::schema::tokens::BUCKET_WORDS;
use crate::ml::analysis::{BUCKETS, CountedGroup, GroupCount, TokensConfig, tokens};
use crate::ml::crosscoder::Crosscoder;
use crate::out::{Column, Frame};

/// Rows by bucket of activation, beside the others.
const BY_BUCKET: &str = "buckets.csv";

/// Counts and writes one row a latent and group, and one a latent, group and bucket.
///
/// # Errors
/// When the crosscoder or the rows cannot be read.
pub fn make(job: &Job<'_>, spec: &TokensSpec) -> Result<Made> {
    let of = job.input("of")?;
    let crosscoder = Crosscoder::load(&job.store.artifact(&job.plan.steps[of.0].id))?;
    let opened = rows::open(job, rows::behind(job.plan, of)?)?;
    let config = TokensConfig {
        groups: spec.groups.iter().copied().map(group).collect(),
        portions: spec.portions.clone(),
        above: spec.above,
    };
    let counts = tokens(&crosscoder, opened.validate.as_ref(), &config, job.watch)?;
    frame(&config.groups, &counts.counts, 1)?.write(&job.folder.join(ROWS))?;
    frame(&config.groups, &counts.buckets, BUCKETS)?.write(&job.folder.join(BY_BUCKET))?;
    Ok(Made { tokens: counts.rows })
}

fn group(spec: TokenGroupSpec) -> CountedGroup {
    match spec {
        TokenGroupSpec::Control => CountedGroup::Control,
        TokenGroupSpec::NonControl => CountedGroup::NonControl,
        TokenGroupSpec::Bos => CountedGroup::Bos,
        TokenGroupSpec::User => CountedGroup::User,
        TokenGroupSpec::Assistant => CountedGroup::Assistant,
        TokenGroupSpec::Text => CountedGroup::Text,
    }
}

/// Rows by latent, group and, where there are several, bucket.
fn frame(groups: &[CountedGroup], counts: &[GroupCount], buckets: usize) -> Result<Frame> {
    let each = groups.len().max(1) * buckets;
    let mut frame = Frame::new()
        .with("latent", Column::whole((0..counts.len()).map(|row| (row / each) as i64)))?
        .with("group", Column::text((0..counts.len()).map(|row| groups[row / buckets % groups.len()].name())))?;
    if buckets > 1 {
        frame = frame.with("bucket", Column::text((0..counts.len()).map(|row| BUCKET_WORDS[row % buckets])))?;
    }
    Ok(frame
        .with("count", Column::whole(counts.iter().map(|c| c.count as i64)))?
        .with("frequency", Column::Real(counts.iter().map(|c| c.frequency).collect()))?
        .with("share", Column::Real(counts.iter().map(|c| c.share).collect()))?
        .with("mean", Column::Real(counts.iter().map(|c| c.mean).collect()))?
        .with("max", Column::Real(counts.iter().map(|c| c.max).collect()))?)
}
