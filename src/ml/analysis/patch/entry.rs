//! What a patch puts in.

use crate::ml::analysis::TappedPair;
use crate::ml::crosscoder::SparseCode;
use crate::ml::{Error, Result, TokenGroup};

/// One thing that is put in (docs/method.md 5.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// h^into.
    Nothing,
    /// All latents.
    Everything,
    /// h^other + sum over all j of f_j (d_j^into - d_j^other).
    Error,
    /// h^other at control tokens, h^into elsewhere.
    Template,
    /// Some latents.
    Latents(Vec<u32>),
    /// Some latents, put in their own way whatever the others are.
    LatentsBy(Mode, Vec<u32>),
}

impl Entry {
    /// The latents that were chosen, where some were.
    pub fn chosen(&self) -> Option<&[u32]> {
        match self {
            Entry::Latents(chosen) | Entry::LatentsBy(_, chosen) => Some(chosen),
            _ => None,
        }
    }
}

/// How latents are put in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// f_j (d_j^other - d_j^into).
    Replace,
    /// f_j d_j^other.
    Add,
    /// f_j d_j, and the decoder bias of an autoencoder, at every position.
    AddWithBias,
}

/// An [`Entry`] with the latents marked.
pub(super) enum Prepared {
    Nothing,
    Error,
    Template,
    /// Whether a latent is put in, `[D]` (`None` is all), and how where it is not as the others.
    Latents(Option<Vec<bool>>, Option<Mode>),
}

impl Prepared {
    /// Errors: a latent that the crosscoder does not have.
    pub fn new(entry: &Entry, latents: usize) -> Result<Self> {
        Ok(match entry {
            Entry::Nothing => Prepared::Nothing,
            Entry::Error => Prepared::Error,
            Entry::Template => Prepared::Template,
            Entry::Everything => Prepared::Latents(None, None),
            Entry::Latents(chosen) => Prepared::Latents(Some(marked(chosen, latents)?), None),
            Entry::LatentsBy(mode, chosen) => Prepared::Latents(Some(marked(chosen, latents)?), Some(*mode)),
        })
    }
}

fn marked(chosen: &[u32], latents: usize) -> Result<Vec<bool>> {
    let mut marked = vec![false; latents];
    for &latent in chosen {
        let Some(slot) = marked.get_mut(latent as usize) else {
            let problem = format!("latent {latent} of a crosscoder of {latents}");
            return Err(Error::invalid("patch", problem));
        };
        *slot = true;
    }
    Ok(marked)
}

/// A text with both models' streams `[T, d]` and the code of every position.
pub(super) struct Streams<'a> {
    pub into: &'a [f32],
    pub other: &'a [f32],
    /// Of several texts; this one begins at row `first`.
    pub code: &'a SparseCode,
    pub first: usize,
    pub groups: &'a [TokenGroup],
}

impl Streams<'_> {
    /// The patched stream `[T, d]`, at every position of the text:
    ///
    /// ```text
    /// h_S = h^into + sum over j in S of f_j (d_j^other / s^other - d_j^into / s^into)
    /// ```
    ///
    /// with s the scale of the normaliser (1 without); what it takes off before, and the decoder biases, are never exchanged
    /// (docs/method.md 5.1).
    pub fn patched(&self, entry: &Prepared, pair: &TappedPair, into: usize, mode: Mode) -> Vec<f32> {
        let width = pair.crosscoder.width;
        match entry {
            Prepared::Nothing => self.into.to_vec(),
            Prepared::Template => {
                let mut stream = self.into.to_vec();
                for (position, _) in self.groups.iter().enumerate().filter(|(_, group)| group.is_control()) {
                    let place = position * width..(position + 1) * width;
                    stream[place.clone()].copy_from_slice(&self.other[place]);
                }
                stream
            }
            Prepared::Error => self.changed(self.other, None, |latents, values, row| {
                pair.write(into, latents, values, 1.0, row);
                pair.write(1 - into, latents, values, -1.0, row);
            }),
            Prepared::Latents(chosen, own) => {
                let mode = own.unwrap_or(mode);
                let mut stream = self.changed(self.into, chosen.as_deref(), |latents, values, row| {
                    pair.write(1 - into, latents, values, 1.0, row);
                    if mode == Mode::Replace {
                        pair.write(into, latents, values, -1.0, row);
                    }
                });
                if mode == Mode::AddWithBias {
                    let bias = pair.bias();
                    stream.chunks_exact_mut(width).for_each(|row| row.iter_mut().zip(&bias).for_each(|(h, b)| *h += b));
                }
                stream
            }
        }
    }

    /// `stream` with `change` made to each row by its active latents, of those that are chosen.
    fn changed(
        &self,
        stream: &[f32],
        chosen: Option<&[bool]>,
        change: impl Fn(&[u32], &[f32], &mut [f32]),
    ) -> Vec<f32> {
        let mut stream = stream.to_vec();
        let width = stream.len() / self.groups.len().max(1);
        for (position, row) in stream.chunks_exact_mut(width.max(1)).enumerate() {
            let (latents, values) = self.code.row(self.first + position);
            match chosen {
                None => change(latents, values, row),
                Some(chosen) => {
                    let kept = latents.iter().zip(values).filter(|(latent, _)| chosen[**latent as usize]);
                    let (latents, values): (Vec<u32>, Vec<f32>) = kept.unzip();
                    if !latents.is_empty() {
                        change(&latents, &values, row);
                    }
                }
            }
        }
        stream
    }
}
