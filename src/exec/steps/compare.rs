//! `compare`: the latents of two crosscoders, matched by their decoders.

use super::{Job, Made, classify, crosscoder};
use crate::exec::Result;
use crate::exec::frames::ROWS;
use crate::ml::analysis::{BestMatch, Directions, LatentClass, compare};
use crate::ml::crosscoder::Target;
use crate::out::{Column, Frame};

/// Matches and writes one row a latent of `a`.
///
/// # Errors
/// When a crosscoder or its classes cannot be read.
pub fn make(job: &Job<'_>) -> Result<Made> {
    // A crosscoder is dropped before the other one is read: its directions are a third of it.
    let side = |role, model: Option<usize>| {
        let (crosscoder, classes) = classify::classed(job, job.input(role)?)?;
        let directions = match model {
            Some(model) => Directions::in_model(&crosscoder, model),
            None => Directions::of(&crosscoder),
        };
        // Classes compare the norms of two decoders.
        let classes = crosscoder.variant.target().is_none().then_some(classes);
        Ok::<_, crate::exec::Error>((directions, classes))
    };
    // An autoencoder has one decoder, and the other side is held against it in the same model, if it has both.
    let writes =
        |role| Ok::<_, crate::exec::Error>(crosscoder::variant_of(job, job.input(role)?).target().map(Target::model));
    let (model_a, model_b) = (writes("a")?, writes("b")?);
    let (a, classes_a) = side("a", model_a.or(model_b))?;
    let (b, classes_b) = side("b", model_b.or(model_a))?;
    let matches = compare(&a, &b, job.watch)?;
    frame(&matches, classes_a.as_deref(), classes_b.as_deref())?.write(&job.folder.join(ROWS))?;
    Ok(Made::default())
}

fn frame(matches: &[BestMatch], a: Option<&[LatentClass]>, b: Option<&[LatentClass]>) -> Result<Frame> {
    let class_a = |latent: usize| a.map(|classes| classes[latent].name().into());
    let class_b = |found: &BestMatch| Some(b?[found.latent? as usize].name().into());
    Ok(Frame::new()
        .with("latent_a", Column::whole(0..matches.len() as i64))?
        .with("latent_b", Column::Whole(matches.iter().map(|m| m.latent.map(i64::from)).collect()))?
        .with("cosine", Column::Real(matches.iter().map(|m| m.cosine).collect()))?
        .with("mutual", Column::truth(matches.iter().map(|m| m.mutual)))?
        .with("class_a", Column::Text((0..matches.len()).map(class_a).collect()))?
        .with("class_b", Column::Text(matches.iter().map(class_b).collect()))?)
}
