//! `compare`: the latents of two crosscoders, matched by their decoders.

use super::{Job, Made, classify};
use crate::exec::Result;
use crate::exec::frames::ROWS;
use crate::ml::analysis::{BestMatch, Directions, LatentClass, compare};
use crate::out::{Column, Frame};

/// Matches and writes one row a latent of `a`.
///
/// # Errors
/// When a crosscoder or its classes cannot be read.
pub fn make(job: &Job<'_>) -> Result<Made> {
    // A crosscoder is dropped before the other one is read: its directions are a third of it.
    let side = |role| {
        let (crosscoder, classes) = classify::classed(job, job.input(role)?)?;
        Ok::<_, crate::exec::Error>((Directions::of(&crosscoder), classes))
    };
    let (a, classes_a) = side("a")?;
    let (b, classes_b) = side("b")?;
    let matches = compare(&a, &b, job.watch)?;
    frame(&matches, &classes_a, &classes_b)?.write(&job.folder.join(ROWS))?;
    Ok(Made::default())
}

fn frame(matches: &[BestMatch], a: &[LatentClass], b: &[LatentClass]) -> Result<Frame> {
    let class_b = |found: &BestMatch| found.latent.map(|k| b[k as usize].name().into());
    Ok(Frame::new()
        .with("latent_a", Column::whole(0..matches.len() as i64))?
        .with("latent_b", Column::Whole(matches.iter().map(|m| m.latent.map(i64::from)).collect()))?
        .with("cosine", Column::Real(matches.iter().map(|m| m.cosine).collect()))?
        .with("mutual", Column::truth(matches.iter().map(|m| m.mutual)))?
        .with("class_a", Column::text(a.iter().map(|class| class.name())))?
        .with("class_b", Column::Text(matches.iter().map(class_b).collect()))?)
}
