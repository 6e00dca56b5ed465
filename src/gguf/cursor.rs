//! Reads little-endian numbers and texts, and never past the end: counts that a broken file makes up are found out before
//! memory is set aside for them.

use std::io::Read;

use super::Value;

/// Lists in lists in lists: no writer does that.
const DEEPEST: u32 = 3;

/// A reader that knows how many bytes are left.
pub(super) struct Cursor<R> {
    reader: R,
    /// Bytes read so far.
    pub at: u64,
    /// Bytes of the whole file.
    pub size: u64,
}

impl<R: Read> Cursor<R> {
    pub(super) fn new(reader: R, size: u64) -> Self {
        Self { reader, at: 0, size }
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), String> {
        self.reserve(bytes.len() as u64, 1)?;
        self.reader.read_exact(bytes).map_err(|e| format!("it cannot be read: {e}"))?;
        self.at += bytes.len() as u64;
        Ok(())
    }

    /// Fails when fewer than `count` things of `bytes` bytes each can follow.
    pub(super) fn reserve(&self, count: u64, bytes: u64) -> Result<(), String> {
        match count.checked_mul(bytes) {
            Some(needed) if needed <= self.size - self.at => Ok(()),
            _ => Err(format!("it is cut off or broken: it ends at byte {} within its header", self.size)),
        }
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    pub(super) fn magic(&mut self) -> Result<[u8; 4], String> {
        self.bytes()
    }

    pub(super) fn u32(&mut self) -> Result<u32, String> {
        self.bytes().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, String> {
        self.bytes().map(u64::from_le_bytes)
    }

    pub(super) fn text(&mut self) -> Result<String, String> {
        let length = self.u64()?;
        self.reserve(length, 1)?;
        let mut bytes = vec![0; length as usize];
        self.fill(&mut bytes)?;
        // Vocabularies hold tokens that are no whole characters; what is lost there is no token a text can have.
        Ok(String::from_utf8(bytes).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned()))
    }

    /// A value of the given type.
    pub(super) fn value(&mut self, kind: u32, depth: u32) -> Result<Value, String> {
        Ok(match kind {
            0 => Value::Unsigned(self.bytes::<1>()?[0].into()),
            1 => Value::Signed(i8::from_le_bytes(self.bytes()?).into()),
            2 => Value::Unsigned(u16::from_le_bytes(self.bytes()?).into()),
            3 => Value::Signed(i16::from_le_bytes(self.bytes()?).into()),
            4 => Value::Unsigned(self.u32()?.into()),
            5 => Value::Signed(i32::from_le_bytes(self.bytes()?).into()),
            6 => Value::Float(f32::from_le_bytes(self.bytes()?).into()),
            7 => Value::Truth(self.bytes::<1>()?[0] != 0),
            8 => Value::Text(self.text()?),
            9 if depth < DEEPEST => self.list(depth)?,
            10 => Value::Unsigned(self.u64()?),
            11 => Value::Signed(i64::from_le_bytes(self.bytes()?)),
            12 => Value::Float(f64::from_le_bytes(self.bytes()?)),
            other => return Err(format!("it is broken: a value of type {other} at byte {}", self.at)),
        })
    }

    fn list(&mut self, depth: u32) -> Result<Value, String> {
        let kind = self.u32()?;
        let count = self.u64()?;
        let smallest = match kind {
            0 | 1 | 7 => 1,
            2 | 3 => 2,
            4..=6 => 4,
            9 => 12,
            _ => 8,
        };
        self.reserve(count, smallest)?;
        (0..count).map(|_| self.value(kind, depth + 1)).collect::<Result<Vec<_>, _>>().map(Value::List)
    }
}
