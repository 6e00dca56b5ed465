//! A latent cache of delphi as a table, one row a latent.

use super::Result;
use crate::ml::formats::DelphiCounts;
use crate::out::{Column, Frame};

/// Columns as `classify` has them where it has them: `max_activation` of a latent that is never active is 0, and its `mean_activation` is empty.
///
/// # Errors
/// None that files can cause.
pub fn latent_counts(counts: &DelphiCounts) -> Result<Frame> {
    let latents = &counts.latents;
    let share = |active: u64| active as f64 / counts.tokens.max(1) as f64;
    let mean = latents.iter().map(|latent| (latent.active > 0).then(|| latent.sum / latent.active as f64));
    Ok(Frame::new()
        .with("latent", Column::whole(0..latents.len() as i64))?
        .with("active_tokens", Column::whole(latents.iter().map(|latent| latent.active as i64)))?
        .with("frequency", Column::real(latents.iter().map(|latent| share(latent.active))))?
        .with("max_activation", Column::real(latents.iter().map(|latent| f64::from(latent.largest))))?
        .with("mean_activation", Column::Real(mean.collect()))?)
}
