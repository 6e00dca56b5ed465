//! A file as the bytes that were written into it before it was compressed.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

use crate::ml::{Error, Result};

const BUFFER: usize = 256 << 10;

/// Text, decompressed as the name (`.gz`, `.zst`) says, without a byte order mark.
pub fn opened(path: &Path) -> Result<Box<dyn BufRead + Send>> {
    let file = File::open(path).map_err(|e| Error::file(path, e))?;
    let plain: Box<dyn Read + Send> = match path.extension().and_then(|e| e.to_str()) {
        Some("gz") => Box::new(MultiGzDecoder::new(BufReader::with_capacity(BUFFER, file))),
        Some("zst") => Box::new(zstd::Decoder::new(file).map_err(|e| Error::file(path, e))?),
        _ => Box::new(file),
    };
    let mut reader = BufReader::with_capacity(BUFFER, plain);
    if reader.fill_buf().map_err(|e| damaged(path, &e))?.starts_with(b"\xef\xbb\xbf") {
        reader.consume(3);
    }
    Ok(Box::new(reader))
}

/// A file that ends or breaks while it is read.
pub fn damaged(path: &Path, error: &std::io::Error) -> Error {
    let compressed = matches!(path.extension().and_then(|e| e.to_str()), Some("gz" | "zst"));
    let problem = match compressed {
        true => format!("{}: damaged or incomplete ({error}); fetch or compress it again", path.display()),
        false => format!("{}: {error}", path.display()),
    };
    Error::invalid("read text", problem)
}
