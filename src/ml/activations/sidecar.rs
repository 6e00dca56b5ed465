//! The record that goes with each row: 24 bytes, little endian.
//!
//! | bytes | what |
//! |---|---|
//! | 0..4 | token id |
//! | 4..8 | position in the sequence |
//! | 8..12 | document within its corpus |
//! | 12..14 | portion |
//! | 14 | token group |
//! | 15 | 0 |
//! | 16..24 | norms of the stored row, base then tuned, f32 |

use crate::ml::{Error, Result, RowInfo, TokenGroup};

/// Bytes of a record.
pub const RECORD: usize = 24;

/// Where a row comes from, and its norms.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Record {
    pub info: RowInfo,
    /// `[base, tuned]`.
    pub norms: [f32; 2],
}

impl Record {
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.info.token.to_le_bytes());
        out.extend_from_slice(&self.info.position.to_le_bytes());
        out.extend_from_slice(&self.info.sequence.to_le_bytes());
        out.extend_from_slice(&self.info.corpus.to_le_bytes());
        out.push(self.info.group as u8);
        out.push(0);
        out.extend_from_slice(&self.norms[0].to_le_bytes());
        out.extend_from_slice(&self.norms[1].to_le_bytes());
    }

    /// `bytes` has [`RECORD`] bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let word = |at: usize| [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
        let info = RowInfo {
            token: u32::from_le_bytes(word(0)),
            position: u32::from_le_bytes(word(4)),
            sequence: u32::from_le_bytes(word(8)),
            corpus: u16::from_le_bytes([bytes[12], bytes[13]]),
            group: group(bytes[14])?,
        };
        Ok(Record { info, norms: [f32::from_le_bytes(word(16)), f32::from_le_bytes(word(20))] })
    }
}

/// The group with this number.
pub fn group(number: u8) -> Result<TokenGroup> {
    use TokenGroup::*;
    [Text, Bos, Control, User, Assistant, Other, AssistantEnd]
        .into_iter()
        .find(|group| *group as u8 == number)
        .ok_or_else(|| Error::invalid("read sidecar", format!("there is no token group {number}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comes_back() {
        for group in 0..7 {
            let record = Record {
                info: RowInfo {
                    corpus: 513,
                    sequence: 70_000,
                    position: 1_023,
                    token: 262_143,
                    group: super::group(group).unwrap(),
                },
                norms: [1.5, -0.25],
            };
            let mut bytes = Vec::new();
            record.encode(&mut bytes);
            assert_eq!(bytes.len(), RECORD);
            assert_eq!(Record::decode(&bytes).unwrap(), record);
        }
    }

    #[test]
    fn an_unknown_group_is_refused() {
        assert!(Record::decode(&[9; RECORD]).is_err());
    }
}
