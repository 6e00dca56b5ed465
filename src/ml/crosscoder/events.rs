//! The same rows as TensorBoard events: `tensorboard --logdir runs/NAME/artifacts` shows them.
//!
//! An events file is a row of records `length (u64), crc of the length, event, crc of the event`, little endian; the crc is CRC-32C,
//! rotated by 15 and shifted by a constant. An event is a protocol buffer: wall time (1, always 0 here, so that the same
//! training writes the same bytes), step (2), and the file version (3) or a summary (5) of values with tag (1) and
//! number (2).

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use crc::{CRC_32_ISCSI, Crc};

use super::tensor_file;
use crate::ml::{Error, Result};

/// Name of the file in its folder; TensorBoard looks for `tfevents`.
pub const EVENTS: &str = "events.out.tfevents.0.xd";

const CASTAGNOLI: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);

/// An events file that grows with a CSV log.
pub struct EventFile {
    path: PathBuf,
    file: File,
    columns: Vec<String>,
}

impl EventFile {
    /// Starts the file of a log anew with the rows that the log holds already.
    pub fn open(folder: &Path, columns: &str, rows: &str) -> Result<Self> {
        std::fs::create_dir_all(folder).map_err(|source| Error::file(folder, source))?;
        let path = folder.join(EVENTS);
        let columns: Vec<String> = columns.split(',').map(str::to_string).collect();
        let mut bytes = record(&version());
        rows.lines().for_each(|row| bytes.extend(events(&columns, row)));
        tensor_file::write_bytes(&path, &bytes)?;
        let file = OpenOptions::new().append(true).open(&path).map_err(|source| Error::file(&path, source))?;
        Ok(EventFile { path, file, columns })
    }

    /// Adds rows of the log.
    pub fn add(&mut self, rows: &str) -> Result<()> {
        let bytes: Vec<u8> = rows.lines().flat_map(|row| events(&self.columns, row)).collect();
        self.file.write_all(&bytes).map_err(|source| Error::file(&self.path, source))
    }
}

/// One record with all numbers of a row. Its `step` is the event's; a word in it (a model) becomes part of the tags, as in
/// `fve_base`, but for `joint`.
fn events(columns: &[String], row: &str) -> Vec<u8> {
    let cells: Vec<(&str, &str)> = columns.iter().map(String::as_str).zip(row.split(',')).collect();
    let step = cells.iter().find(|(column, _)| *column == "step").and_then(|(_, cell)| cell.parse::<u64>().ok());
    let Some(step) = step else { return Vec::new() };
    let word = cells.iter().map(|(_, cell)| *cell).find(|cell| !cell.is_empty() && cell.parse::<f32>().is_err());
    let mut summary = Vec::new();
    for (column, cell) in cells {
        if let (Ok(number), false) = (cell.parse::<f32>(), column == "step") {
            let tag = match word {
                Some(word) if word != "joint" && column != "tokens" => format!("{column}_{word}"),
                _ => column.to_string(),
            };
            let mut value = bytes_field(1, tag.as_bytes());
            value.push(2 << 3 | 5);
            value.extend(number.to_le_bytes());
            summary.extend(bytes_field(1, &value));
        }
    }
    let mut event = vec![2 << 3];
    event.extend(varint(step));
    event.extend(bytes_field(5, &summary));
    record(&event)
}

fn version() -> Vec<u8> {
    bytes_field(3, b"brain.Event:2")
}

fn record(event: &[u8]) -> Vec<u8> {
    let length = (event.len() as u64).to_le_bytes();
    let mut bytes = length.to_vec();
    bytes.extend(masked_crc(&length).to_le_bytes());
    bytes.extend(event);
    bytes.extend(masked_crc(event).to_le_bytes());
    bytes
}

fn masked_crc(bytes: &[u8]) -> u32 {
    CASTAGNOLI.checksum(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// A field that holds bytes.
fn bytes_field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![number << 3 | 2];
    bytes.extend(varint(content.len() as u64));
    bytes.extend(content);
    bytes
}

/// Seven bits a byte, the lowest first; the top bit says that more follow.
fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Read back with `EventAccumulator` of tensorboard 2.21: loss 0.5 and l0 12 at step 300.
    #[test]
    fn bytes_are_those_that_tensorboard_reads() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = EventFile::open(folder.path(), "step,tokens,loss,k,l0", "").unwrap();
        file.add("300,600,0.5,,12\n").unwrap();
        let bytes = std::fs::read(folder.path().join(EVENTS)).unwrap();
        let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        let expected = concat!(
            "0f000000000000006d532b091a0d627261696e2e4576656e743a32fc985129",
            "2c00000000000000f4aecc4510ac022a270a0d0a06746f6b656e73150000164",
            "40a0b0a046c6f7373150000003f0a090a026c301500004041bfabefd4",
        );
        assert_eq!(hex, expected);
    }

    #[test]
    fn a_log_that_goes_on_has_the_bytes_of_one_that_was_never_cut() {
        let (whole, cut) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let columns = "step,model,fve";
        EventFile::open(whole.path(), columns, "").unwrap().add("0,base,0.5\n0,joint,0.25\n7,base,1e-3\n").unwrap();
        EventFile::open(cut.path(), columns, "0,base,0.5\n0,joint,0.25\n").unwrap().add("7,base,1e-3\n").unwrap();
        let read = |folder: &Path| std::fs::read(folder.join(EVENTS)).unwrap();
        assert_eq!(read(whole.path()), read(cut.path()));
        let text = String::from_utf8_lossy(&read(whole.path())).into_owned();
        assert!(text.contains("fve_base") && !text.contains("fve_joint"), "{text}");
    }
}
