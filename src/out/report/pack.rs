//! Columns of numbers as text inside of the page: little endian, byte by byte, deflated, base64.
//!
//! ```text
//! zlib( length of the JSON: u32 | JSON with the list of parts | parts one after the other )
//! part = byte 0 of all its numbers, then byte 1 of all, ..: like bytes stand together and deflate better
//! ```

use std::io::Write;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use serde::Serialize;

use crate::out::base64::base64;
use crate::out::error::{Error, Result};
use crate::out::frame::{Cell, Column};

/// A list of equal numbers, and how the page reads it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
struct Part {
    /// `u8`, `u16`, `u32`, `i32`, `f32`, `f64`.
    #[serde(rename = "type")]
    kind: &'static str,
    length: usize,
}

/// Collects parts; each is named by its number.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Packer {
    parts: Vec<Part>,
    bytes: Vec<u8>,
}

/// A column as the page reads it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PackedColumn {
    /// `real`, `whole`, `words`, `truth`.
    pub kind: &'static str,
    /// Number of the part. Empty cells are NaN, the least number of `i32`, or the greatest of an unsigned type.
    pub part: usize,
    /// The words by their number, in order of first appearance.
    pub words: Vec<String>,
}

impl Packer {
    fn put<const W: usize>(&mut self, kind: &'static str, numbers: &[[u8; W]]) -> usize {
        for byte in 0..W {
            self.bytes.extend(numbers.iter().map(|number| number[byte]));
        }
        self.parts.push(Part { kind, length: numbers.len() });
        self.parts.len() - 1
    }

    /// Single precision; the page shows four digits.
    pub fn f32(&mut self, numbers: impl IntoIterator<Item = f32>) -> usize {
        let bytes: Vec<_> = numbers.into_iter().map(f32::to_le_bytes).collect();
        self.put("f32", &bytes)
    }

    /// Numbers with holes.
    pub fn optional(&mut self, numbers: &[Option<f64>]) -> usize {
        self.f32(numbers.iter().map(|x| x.map_or(f32::NAN, |x| x as f32)))
    }

    pub fn u32(&mut self, numbers: impl IntoIterator<Item = u32>) -> usize {
        let bytes: Vec<_> = numbers.into_iter().map(u32::to_le_bytes).collect();
        self.put("u32", &bytes)
    }

    /// A column in the smallest type that holds it.
    pub fn column(&mut self, column: &Column) -> PackedColumn {
        let (kind, part, words) = match column {
            Column::Real(cells) => ("real", self.optional(cells), Vec::new()),
            Column::Whole(cells) => ("whole", self.whole(cells), Vec::new()),
            Column::Truth(cells) => {
                let bytes: Vec<_> = cells.iter().map(|t| [t.map_or(u8::MAX, u8::from)]).collect();
                ("truth", self.put("u8", &bytes), Vec::new())
            }
            Column::Text(_) => {
                let (part, words) = self.words(column);
                ("words", part, words)
            }
        };
        PackedColumn { kind, part, words }
    }

    fn whole(&mut self, cells: &[Option<i64>]) -> usize {
        let small = |n: i64| i32::try_from(n).ok().filter(|n| *n != i32::MIN);
        if cells.iter().flatten().all(|&n| small(n).is_some()) {
            let bytes: Vec<_> =
                cells.iter().map(|cell| cell.and_then(small).unwrap_or(i32::MIN).to_le_bytes()).collect();
            return self.put("i32", &bytes);
        }
        let bytes: Vec<_> = cells.iter().map(|cell| cell.map_or(f64::NAN, |n| n as f64).to_le_bytes()).collect();
        self.put("f64", &bytes)
    }

    fn words(&mut self, column: &Column) -> (usize, Vec<String>) {
        let mut words: Words = Words::default();
        let numbers: Vec<Option<u32>> = column
            .cells()
            .map(|cell| match cell {
                Cell::Text(word) => Some(words.number(word)),
                _ => None,
            })
            .collect();
        let words = words.list;
        let part = if words.len() < usize::from(u8::MAX) {
            let bytes: Vec<_> = numbers.iter().map(|n| [n.map_or(u8::MAX, |n| n as u8)]).collect();
            self.put("u8", &bytes)
        } else {
            self.u32(numbers.iter().map(|n| n.unwrap_or(u32::MAX)))
        };
        (part, words)
    }

    /// Everything as text, with this index in front.
    ///
    /// # Errors
    /// When the index cannot be written as JSON.
    pub fn finish(self, index: impl Serialize) -> Result<String> {
        #[derive(Serialize)]
        struct Whole<'p, I> {
            parts: &'p [Part],
            index: I,
        }
        let failed = |reason: String| Error::Template(format!("the latents could not be packed: {reason}"));
        let json =
            serde_json::to_vec(&Whole { parts: &self.parts, index }).map_err(|error| failed(error.to_string()))?;
        let length = u32::try_from(json.len()).map_err(|error| failed(error.to_string()))?;
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::new(6));
        let written = zlib.write_all(&length.to_le_bytes()).and_then(|()| zlib.write_all(&json));
        let packed = written.and_then(|()| zlib.write_all(&self.bytes)).and_then(|()| zlib.finish());
        Ok(base64(&packed.map_err(|error| failed(error.to_string()))?))
    }
}

/// Different words, numbered in order of first appearance.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Words {
    numbers: std::collections::BTreeMap<String, u32>,
    pub list: Vec<String>,
}

impl Words {
    pub fn number(&mut self, word: &str) -> u32 {
        if let Some(&number) = self.numbers.get(word) {
            return number;
        }
        let number = self.list.len() as u32;
        self.numbers.insert(word.to_owned(), number);
        self.list.push(word.to_owned());
        number
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    /// What the page does, once more.
    fn unpack(text: &str) -> (serde_json::Value, Vec<u8>) {
        let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut bits = 0_u32;
        let mut count = 0;
        let mut packed = Vec::new();
        for letter in text.trim_end_matches('=').chars() {
            bits = bits << 6 | alphabet.find(letter).unwrap() as u32;
            count += 6;
            if count >= 8 {
                count -= 8;
                packed.push((bits >> count) as u8);
                bits &= (1 << count) - 1;
            }
        }
        let mut bytes = Vec::new();
        flate2::read::ZlibDecoder::new(&packed[..]).read_to_end(&mut bytes).unwrap();
        let length = u32::from_le_bytes(bytes[..4].try_into().unwrap()) as usize;
        (serde_json::from_slice(&bytes[4..4 + length]).unwrap(), bytes[4 + length..].to_vec())
    }

    #[test]
    fn columns_lie_byte_by_byte_in_the_smallest_type() {
        let mut packer = Packer::default();
        let real = packer.column(&Column::Real(vec![Some(1.0), None, Some(-2.5)]));
        let whole = packer.column(&Column::Whole(vec![Some(258), None, Some(-1)]));
        let large = packer.column(&Column::Whole(vec![Some(1 << 40)]));
        let truth = packer.column(&Column::Truth(vec![Some(true), None, Some(false)]));
        let words = packer.column(&Column::Text(vec![Some("b".into()), None, Some("a".into()), Some("b".into())]));
        assert_eq!([real.part, whole.part, large.part, truth.part, words.part], [0, 1, 2, 3, 4]);
        assert_eq!(words.words, ["b", "a"]);
        let (json, bytes) = unpack(&packer.finish("</script>").unwrap());
        assert_eq!(json["index"], "</script>");
        let parts = serde_json::json!([
            {"type": "f32", "length": 3}, {"type": "i32", "length": 3}, {"type": "f64", "length": 1},
            {"type": "u8", "length": 3}, {"type": "u8", "length": 4},
        ]);
        assert_eq!(json["parts"], parts);
        let number = |k: usize| f32::from_le_bytes([bytes[k], bytes[3 + k], bytes[6 + k], bytes[9 + k]]);
        assert!(number(0) == 1.0 && number(1).is_nan() && number(2) == -2.5);
        let number = |k: usize| i32::from_le_bytes([bytes[12 + k], bytes[15 + k], bytes[18 + k], bytes[21 + k]]);
        assert_eq!([number(0), number(1), number(2)], [258, i32::MIN, -1]);
        assert_eq!(f64::from_le_bytes(bytes[24..32].try_into().unwrap()), (1_u64 << 40) as f64);
        assert_eq!(bytes[32..], [1, 255, 0, 0, 255, 1, 0]);
    }

    #[test]
    fn many_words_take_four_bytes_each() {
        let mut packer = Packer::default();
        let cells = (0..255).map(|n| n.to_string()).collect::<Vec<_>>();
        packer.column(&Column::text(&cells[..254]));
        packer.column(&Column::text(&cells));
        assert_eq!(packer.parts.iter().map(|part| part.kind).collect::<Vec<_>>(), ["u8", "u32"]);
    }
}
