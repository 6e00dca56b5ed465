//! `twins`: tuned-only and base-only latents with the same direction, and how their activations diverge.

use super::{Job, Made, classify};
use crate::exec::frames::ROWS;
use crate::exec::{Result, rows};
use crate::lang::plan::spec::TwinsSpec;
use crate::ml::analysis::{TwinPair, TwinsConfig, twins};
use crate::out::{Column, Frame};

/// Finds the pairs and writes one row a pair, twins first.
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
    frame(&pairs)?.write(&job.folder.join(ROWS))?;
    Ok(Made { tokens: found.rows })
}

fn frame(pairs: &[(&str, &TwinPair)]) -> Result<Frame> {
    Ok(Frame::new()
        .with("pair", Column::text(pairs.iter().map(|(word, _)| word)))?
        .with("tuned_latent", Column::whole(pairs.iter().map(|(_, pair)| i64::from(pair.tuned))))?
        .with("base_latent", Column::whole(pairs.iter().map(|(_, pair)| i64::from(pair.base))))?
        .with("cosine", Column::Real(pairs.iter().map(|(_, pair)| pair.cosine).collect()))?
        .with("divergence", Column::Real(pairs.iter().map(|(_, pair)| pair.divergence).collect()))?
        .with("divergence_relative", Column::Real(pairs.iter().map(|(_, pair)| pair.divergence_relative).collect()))?)
}
