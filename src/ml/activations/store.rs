//! How values are kept on disk.

use half::bf16;
use serde::{Deserialize, Serialize};

/// Number format of stored activations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Store {
    /// Rounded to the nearest bf16, ties to even: half the size, 3 significant digits.
    #[default]
    Bf16,
    F32,
}

impl Store {
    /// Bytes of one number.
    pub fn size(self) -> usize {
        match self {
            Store::Bf16 => 2,
            Store::F32 => 4,
        }
    }

    /// Appends `values` to `out`, little endian.
    pub(super) fn encode(self, values: &[f32], out: &mut Vec<u8>) {
        let start = out.len();
        out.resize(start + values.len() * self.size(), 0);
        let bytes = &mut out[start..];
        match self {
            Store::Bf16 => {
                for (slot, &value) in bytes.chunks_exact_mut(2).zip(values) {
                    slot.copy_from_slice(&bf16::from_f32(value).to_le_bytes());
                }
            }
            Store::F32 => {
                for (slot, &value) in bytes.chunks_exact_mut(4).zip(values) {
                    slot.copy_from_slice(&value.to_le_bytes());
                }
            }
        }
    }

    /// Reads `bytes` into `out`; their lengths agree.
    pub(super) fn decode(self, bytes: &[u8], out: &mut [f32]) {
        match self {
            Store::Bf16 => {
                for (value, bits) in out.iter_mut().zip(bytes.chunks_exact(2)) {
                    *value = f32::from_bits((u16::from_le_bytes([bits[0], bits[1]]) as u32) << 16);
                }
            }
            Store::F32 => {
                for (value, bits) in out.iter_mut().zip(bytes.chunks_exact(4)) {
                    *value = f32::from_le_bytes([bits[0], bits[1], bits[2], bits[3]]);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f32_comes_back_to_the_bit_and_bf16_to_its_rounding() {
        let values = [0.0, -0.0, 1.0, -1.5, 3.140625, 1e-30, 6.5e4, 1.0039062];
        for store in [Store::F32, Store::Bf16] {
            let mut bytes = vec![7];
            store.encode(&values, &mut bytes);
            assert_eq!(bytes.len(), 1 + values.len() * store.size());
            let mut back = [0.0; 8];
            store.decode(&bytes[1..], &mut back);
            for (value, back) in values.iter().zip(back) {
                let expected = if store == Store::F32 { *value } else { bf16::from_f32(*value).to_f32() };
                assert_eq!(expected.to_bits(), back.to_bits());
            }
        }
    }
}
