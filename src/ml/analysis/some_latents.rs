//! The code of some latents only.

use std::borrow::Cow;

use super::pass::Pass;
use crate::ml::crosscoder::{Activation, Crosscoder};
use crate::ml::{Error, Result, RowInfo, Rows, Watch};

/// No latent that was asked for.
const NONE: u32 = u32::MAX;

/// A crosscoder of which some latents are looked at. Where the others decide nothing (every activation but TopK), only these are
/// computed.
pub struct SomeLatents<'a> {
    crosscoder: Cow<'a, Crosscoder>,
    /// Ascending.
    latents: Vec<u32>,
    /// Place of each latent of `crosscoder` among them.
    places: Vec<u32>,
    /// S of each latent of `crosscoder`.
    norms: Vec<f32>,
}

/// Rows of a pass, and the f_j S_j of them.
pub struct Chunk<'a> {
    pub infos: &'a [RowInfo],
    /// Row by row: place of the latent among those asked for, and f_j S_j > 0.
    pub fires: Vec<Vec<(u32, f32)>>,
}

impl<'a> SomeLatents<'a> {
    /// Latents in any order, each once or more often.
    ///
    /// # Errors
    /// The crosscoder lacks one of them.
    pub fn new(crosscoder: &'a Crosscoder, latents: &[u32]) -> Result<Self> {
        let mut latents = latents.to_vec();
        latents.sort_unstable();
        latents.dedup();
        if let Some(last) = latents.last().filter(|&&last| last as usize >= crosscoder.latents) {
            let problem = format!("latent {last}, but the crosscoder has the latents 0 to {}", crosscoder.latents - 1);
            return Err(Error::invalid("look at latents", problem));
        }
        let whole = latents.len() == crosscoder.latents || matches!(crosscoder.activation, Activation::TopK { .. });
        let crosscoder = if whole { Cow::Borrowed(crosscoder) } else { Cow::Owned(part(crosscoder, &latents)) };
        let mut places = vec![NONE; crosscoder.latents];
        for (place, &latent) in latents.iter().enumerate() {
            places[if whole { latent as usize } else { place }] = place as u32;
        }
        let norms = crosscoder.code_norms();
        Ok(SomeLatents { crosscoder, latents, places, norms })
    }

    /// The latents, ascending.
    pub fn latents(&self) -> &[u32] {
        &self.latents
    }

    /// Shows the rows of some portions (`None`: of all) in their order, a chunk at a time.
    ///
    /// # Errors
    /// Rows cannot be read, or are of another width.
    pub fn pass(
        &self,
        rows: &dyn Rows,
        portions: Option<&[u16]>,
        watch: &dyn Watch,
        mut see: impl FnMut(&Chunk<'_>),
    ) -> Result<()> {
        // Nothing to see, and a crosscoder without latents has no code.
        if self.latents.is_empty() {
            return Ok(());
        }
        let pass = Pass { name: "look at latents", crosscoder: &self.crosscoder, rows, portions, watch };
        pass.run(|infos, code| {
            let fires = (0..infos.len()).map(|row| self.scaled(code.row(row))).collect();
            see(&Chunk { infos, fires });
        })?;
        Ok(())
    }

    fn scaled(&self, (latents, values): (&[u32], &[f32])) -> Vec<(u32, f32)> {
        let asked = latents.iter().zip(values).filter(|(j, _)| self.places[**j as usize] != NONE);
        asked.map(|(&j, &f)| (self.places[j as usize], f * self.norms[j as usize])).collect()
    }
}

/// m_j, the largest f_j S_j of each latent over all rows; 0 where it never fires.
///
/// # Errors
/// As [`SomeLatents::new`] and [`SomeLatents::pass`].
pub fn largest_activations(
    crosscoder: &Crosscoder,
    rows: &dyn Rows,
    latents: &[u32],
    watch: &dyn Watch,
) -> Result<std::collections::BTreeMap<u32, f32>> {
    let some = SomeLatents::new(crosscoder, latents)?;
    let mut largest = vec![0f32; some.latents.len()];
    some.pass(rows, None, watch, |chunk| raise(&mut largest, chunk))?;
    Ok(some.latents.iter().copied().zip(largest).collect())
}

/// Takes the activations of a chunk into the largest ones so far.
pub(super) fn raise(largest: &mut [f32], chunk: &Chunk<'_>) {
    for &(place, value) in chunk.fires.iter().flatten() {
        let slot = &mut largest[place as usize];
        *slot = slot.max(value);
    }
}

/// The same crosscoder with these latents only.
fn part(of: &Crosscoder, latents: &[u32]) -> Crosscoder {
    let columns = of.encoder_weight.chunks_exact(of.latents);
    let encoder_weight = columns.flat_map(|row| latents.iter().map(|&j| row[j as usize])).collect();
    let decoder = |model| latents.iter().flat_map(move |&j| of.decoder_row(model, j as usize).iter().copied());
    Crosscoder {
        width: of.width,
        latents: latents.len(),
        encoder_weight,
        encoder_bias: latents.iter().map(|&j| of.encoder_bias[j as usize]).collect(),
        decoder_weight: decoder(0).chain(decoder(1)).collect(),
        decoder_bias: of.decoder_bias.clone(),
        code_norm: of.code_norm,
        activation: match &of.activation {
            Activation::JumpRelu { thresholds } => {
                Activation::JumpRelu { thresholds: latents.iter().map(|&j| thresholds[j as usize]).collect() }
            }
            other => other.clone(),
        },
        normalizer: of.normalizer.clone(),
        variant: of.variant,
    }
}
