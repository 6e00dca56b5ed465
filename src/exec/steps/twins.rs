//! `twins`: tuned-only and base-only latents with the same direction, and how their activations diverge.

use super::{Job, Made, classify};
use crate::exec::frames::ROWS;
use crate::exec::{Result, rows};
use crate::lang::plan::spec::TwinsSpec;
use crate::ml::analysis::{TwinPair, Twins, TwinsConfig, twins};
use crate::out::{Column, Frame};

/// Rows by bucket of every pair, beside the pairs: the published tables.
pub const BUCKETS: &str = "buckets.csv";

/// Finds the pairs and writes one row a pair, twins first, and their counts by bucket.
///
/// # Errors
/// When the crosscoder, its classes or the rows cannot be read.
pub fn make(job: &Job<'_>, spec: &TwinsSpec) -> Result<Made> {
    let of = job.input("of")?;
    let (crosscoder, classes) = classify::classed(job, of)?;
    let opened = rows::open(job, rows::behind(job.plan, of)?)?;
    let config = TwinsConfig { cosine: spec.cosine, seed: spec.seed };
    let found = twins(&crosscoder, &classes, opened.validate.as_ref(), &config, job.watch)?;
    let word = |random: bool| if random { "random" } else { "twin" };
    let pairs: Vec<(&str, &TwinPair)> = [(&found.twins, false), (&found.random, true)]
        .into_iter()
        .flat_map(|(pairs, random)| pairs.iter().map(move |pair| (word(random), pair)))
        .collect();
    if let Some(remark) = silent(&found) {
        job.watch.note(&remark);
    }
    frame(&pairs)?.write(&job.folder.join(ROWS))?;
    buckets(&pairs)?.write(&job.folder.join(BUCKETS))?;
    Ok(Made { tokens: found.rows })
}

/// Pairs of which nothing can be said, where there are some.
fn silent(found: &Twins) -> Option<String> {
    let count = |pairs: &[TwinPair]| pairs.iter().filter(|pair| pair.buckets.is_none()).count();
    let (twins, random) = (count(&found.twins), count(&found.random));
    (twins + random > 0).then(|| {
        format!(
            "{twins} of {} twins and {random} of {} random pairs have no divergence: one of the two never fires on the held-out rows",
            found.twins.len(),
            found.random.len()
        )
    })
}

/// By pair, scale and both buckets, 0 to 4: a of the tuned-only latent, b of the base-only one.
fn buckets(pairs: &[(&str, &TwinPair)]) -> Result<Frame> {
    let mut rows = Vec::new();
    for (word, pair) in pairs {
        for (scale, counts) in [("larger", &pair.buckets), ("own", &pair.buckets_relative)] {
            for (a, counts) in counts.iter().flatten().enumerate() {
                rows.extend(counts.iter().enumerate().map(|(b, count)| (*word, *pair, scale, a, b, *count)));
            }
        }
    }
    Ok(Frame::new()
        .with("pair", Column::text(rows.iter().map(|row| row.0)))?
        .with("tuned_latent", Column::whole(rows.iter().map(|row| i64::from(row.1.tuned))))?
        .with("base_latent", Column::whole(rows.iter().map(|row| i64::from(row.1.base))))?
        .with("scale", Column::text(rows.iter().map(|row| row.2)))?
        .with("a", Column::whole(rows.iter().map(|row| row.3 as i64)))?
        .with("b", Column::whole(rows.iter().map(|row| row.4 as i64)))?
        .with("count", Column::whole(rows.iter().map(|row| row.5 as i64)))?)
}

fn frame(pairs: &[(&str, &TwinPair)]) -> Result<Frame> {
    Ok(Frame::new()
        .with("pair", Column::text(pairs.iter().map(|(word, _)| word)))?
        .with("tuned_latent", Column::whole(pairs.iter().map(|(_, pair)| i64::from(pair.tuned))))?
        .with("base_latent", Column::whole(pairs.iter().map(|(_, pair)| i64::from(pair.base))))?
        .with("cosine", Column::Real(pairs.iter().map(|(_, pair)| pair.cosine).collect()))?
        .with("divergence", Column::Real(pairs.iter().map(|(_, pair)| pair.divergence()).collect()))?
        .with(
            "divergence_relative",
            Column::Real(pairs.iter().map(|(_, pair)| pair.divergence_relative()).collect()),
        )?)
}
