//! What dense products read (docs/method.md 1.8).

use std::borrow::Cow;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// The numbers that dense products read: the encoder's, and all of a dense step of L1. Sums, weights, losses, the sparse parts of a step
/// and Adam are in f32 (or more) in each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// As they are.
    #[default]
    F32,
    /// Rounded to 10 bits of mantissa, halves away from 0 (as `cvt.rna.tf32`).
    Tf32,
    /// Rounded to 7 bits of mantissa, halves to the even one.
    Bf16,
}

/// Numbers that one thread rounds at a time.
const CHUNK: usize = 1 << 14;

/// Bits that are rounded as they are: of infinities, and of what is no number, which stays none.
fn kept(bits: u32) -> Option<u32> {
    const INFINITE: u32 = 0x7f80_0000;
    let quiet = if bits & 0x7fff_ffff > INFINITE { 0x0040_0000 } else { 0 };
    (bits & INFINITE == INFINITE).then_some(bits | quiet)
}

impl Precision {
    /// A number as a product reads it. What is larger than the largest such number becomes infinite.
    pub fn round(self, value: f32) -> f32 {
        let bits = value.to_bits();
        f32::from_bits(match self {
            Precision::F32 => bits,
            Precision::Tf32 => kept(bits).unwrap_or_else(|| bits + 0x1000) & 0xffff_e000,
            Precision::Bf16 => kept(bits).unwrap_or_else(|| bits + 0x7fff + (bits >> 16 & 1)) & 0xffff_0000,
        })
    }

    /// Numbers as a product reads them.
    pub fn read(self, values: &[f32]) -> Cow<'_, [f32]> {
        if self == Precision::F32 {
            return Cow::Borrowed(values);
        }
        let mut out = vec![0.0; values.len()];
        out.par_chunks_mut(CHUNK)
            .zip(values.par_chunks(CHUNK))
            .for_each(|(out, values)| out.iter_mut().zip(values).for_each(|(o, &v)| *o = self.round(v)));
        Cow::Owned(out)
    }

    /// The named rows of a matrix `[n, depth]`, as a product reads them.
    pub fn read_rows(self, values: &[f32], depth: usize, named: &[u32]) -> Vec<f32> {
        let mut out = vec![0.0; named.len() * depth];
        out.par_chunks_mut(depth).zip(named).for_each(|(out, &row)| {
            let row = &values[row as usize * depth..][..depth];
            out.iter_mut().zip(row).for_each(|(o, &v)| *o = self.round(v));
        });
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The nearest multiple of the spacing at a number, in f64.
    fn reference(value: f32, mantissa: i32, is_even: bool) -> f64 {
        let x = f64::from(value);
        if x == 0.0 || !x.is_finite() {
            return x;
        }
        let exponent = x.abs().log2().floor().max(-126.0) as i32;
        let spacing = 2f64.powi(exponent - mantissa);
        let steps = x / spacing;
        let rounded = if is_even { steps.round_ties_even() } else { steps.round() };
        rounded * spacing
    }

    #[test]
    fn numbers_become_the_nearest_of_fewer_bits() {
        let mut values = vec![0.0f32, -0.0, 1.0, f32::MIN_POSITIVE, 1e-40, 1e-45, 3.0e38, f32::INFINITY];
        for exponent in -149..120 {
            for k in 0..64u32 {
                let value = (1.0 + k as f32 * 0.015_734_1) * 2f32.powi(exponent);
                // Halves between two neighbours of either format, and the numbers beside them.
                for cut in [0x1000u32, 0x8000] {
                    let bits = value.to_bits() & !(2 * cut - 1) | cut;
                    values.extend([bits - 1, bits, bits + 1].map(f32::from_bits));
                }
                values.push(value);
            }
        }
        for value in values {
            for value in [value, -value] {
                let (tf32, bf16) = (Precision::Tf32.round(value), Precision::Bf16.round(value));
                assert_eq!(f64::from(tf32), reference(value, 10, false), "{value:e}");
                assert_eq!(f64::from(bf16), reference(value, 7, true), "{value:e}");
                assert_eq!(bf16.to_bits(), half::bf16::from_f32(value).to_f32().to_bits(), "{value:e}");
                assert_eq!(Precision::F32.round(value).to_bits(), value.to_bits());
            }
        }
        assert_eq!(Precision::Bf16.round(f32::MAX), f32::INFINITY);
        assert_eq!(Precision::Tf32.round(f32::MAX), f32::INFINITY);
        for bits in [0x7f80_0001, 0x7fff_ffff, 0xffff_ffff, 0x7fc0_0000] {
            let none = f32::from_bits(bits);
            assert!(Precision::Tf32.round(none).is_nan() && Precision::Bf16.round(none).is_nan(), "{bits:x}");
        }
    }
}
