//! Which numbers of a row are read and written: both models by one code, or one sparse autoencoder (docs/method.md 1.1, 1.7).

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::ml::{BASE, TUNED};

/// The shape of a crosscoder. Both read rows `[2, d]` and have weights for both models; those of an autoencoder are 0 where it neither reads
/// nor writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Variant {
    /// One code for both models: the paper's crosscoder.
    #[default]
    SharedCode,
    /// A sparse autoencoder of vectors `[d]`.
    Sae(Target),
}

/// What an autoencoder reads and reconstructs, of a row (h^base, h^tuned).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// h^base.
    Base,
    /// h^tuned.
    Tuned,
    /// h^tuned - h^base.
    Difference,
}

impl Target {
    /// As users name it.
    pub fn word(self) -> &'static str {
        match self {
            Target::Base => "base",
            Target::Tuned => "tuned",
            Target::Difference => "difference",
        }
    }

    /// The model that the decoder writes to: of the difference that is the tuned one, whose rows are those of the base plus what it writes.
    pub fn model(self) -> usize {
        match self {
            Target::Base => BASE,
            Target::Tuned | Target::Difference => TUNED,
        }
    }

    /// What stands before the encoder in the half of a model: h^tuned - h^base has -1 and 1.
    pub fn sign(self, model: usize) -> f32 {
        match (self, model) {
            (Target::Difference, BASE) => -1.0,
            _ if model == self.model() => 1.0,
            _ => 0.0,
        }
    }

    /// Its vector of a row `[2, d]`.
    fn of_row(self, row: &[f32], out: &mut [f32]) {
        let (base, tuned) = row.split_at(out.len());
        match self {
            Target::Base => out.copy_from_slice(base),
            Target::Tuned => out.copy_from_slice(tuned),
            Target::Difference => out.iter_mut().zip(tuned.iter().zip(base)).for_each(|(o, (t, b))| *o = t - b),
        }
    }
}

impl Variant {
    /// What it reads, of an autoencoder.
    pub fn target(self) -> Option<Target> {
        match self {
            Variant::SharedCode => None,
            Variant::Sae(target) => Some(target),
        }
    }

    /// Numbers of a row that training sees: 2d, or d of an autoencoder.
    pub fn row(self, width: usize) -> usize {
        match self {
            Variant::SharedCode => 2 * width,
            Variant::Sae(_) => width,
        }
    }

    /// What training sees of rows `[B, 2, d]`: `[B, row]`.
    pub fn seen(self, rows: &[f32], width: usize) -> Cow<'_, [f32]> {
        let Variant::Sae(target) = self else { return Cow::Borrowed(rows) };
        let mut seen = vec![0.0; rows.len() / 2];
        seen.chunks_exact_mut(width).zip(rows.chunks_exact(2 * width)).for_each(|(out, row)| target.of_row(row, out));
        Cow::Owned(seen)
    }

    /// What is to be reconstructed of rows `[B, 2, d]`, in their layout: an autoencoder's target in the half of its model, zeros in the other.
    pub fn targets(self, rows: &[f32], width: usize) -> Cow<'_, [f32]> {
        match self {
            Variant::SharedCode => Cow::Borrowed(rows),
            Variant::Sae(_) => self.spread(self.seen(rows, width), width),
        }
    }

    /// Vectors `[B, row]` in the layout of rows `[B, 2, d]`.
    pub fn spread<'a>(self, vectors: Cow<'a, [f32]>, width: usize) -> Cow<'a, [f32]> {
        let Variant::Sae(target) = self else { return vectors };
        let mut rows = vec![0.0; 2 * vectors.len()];
        let place = target.model() * width;
        rows.chunks_exact_mut(2 * width)
            .zip(vectors.chunks_exact(width))
            .for_each(|(row, vector)| row[place..place + width].copy_from_slice(vector));
        Cow::Owned(rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_taken_out_of_rows_and_put_back_into_its_half() {
        let rows = [1.0, 2.0, 10.0, 20.0, 3.0, 4.0, 30.0, 50.0];
        let seen = |target| Variant::Sae(target).seen(&rows, 2).into_owned();
        assert_eq!(seen(Target::Base), [1.0, 2.0, 3.0, 4.0]);
        assert_eq!(seen(Target::Tuned), [10.0, 20.0, 30.0, 50.0]);
        assert_eq!(seen(Target::Difference), [9.0, 18.0, 27.0, 46.0]);
        let targets = |target| Variant::Sae(target).targets(&rows, 2).into_owned();
        assert_eq!(targets(Target::Base), [1.0, 2.0, 0.0, 0.0, 3.0, 4.0, 0.0, 0.0]);
        assert_eq!(targets(Target::Difference), [0.0, 0.0, 9.0, 18.0, 0.0, 0.0, 27.0, 46.0]);
        assert_eq!(*Variant::SharedCode.targets(&rows, 2), rows);
    }
}
