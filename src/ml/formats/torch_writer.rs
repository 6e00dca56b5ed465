//! Writes files that `torch.load(.., weights_only=True)` reads.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use safetensors::{Dtype, View};
use zip::write::SimpleFileOptions;

use crate::ml::crosscoder::tensor_file::Tensor;
use crate::ml::{Error, Result};

/// Where storages begin in the archive, as torch aligns them.
const ALIGNMENT: u16 = 64;

/// A dict of tensors, as `torch.save(model.state_dict(), path)`.
///
/// # Errors
/// The file cannot be written.
pub fn write_torch(path: &Path, tensors: &BTreeMap<&str, Tensor>) -> Result<()> {
    let mut program = Program::new();
    program.global("collections", "OrderedDict");
    program.bytes.extend(b")R(");
    for (key, (name, tensor)) in tensors.iter().enumerate() {
        program.text(name);
        program.tensor(key, tensor);
    }
    program.bytes.extend(b"u.");
    archive(path, &program.bytes, &tensors.values().collect::<Vec<_>>())
}

/// One tensor, as `torch.save(tensor, path)`.
///
/// # Errors
/// The file cannot be written.
pub fn write_torch_tensor(path: &Path, tensor: &Tensor) -> Result<()> {
    let mut program = Program::new();
    program.tensor(0, tensor);
    program.bytes.push(b'.');
    archive(path, &program.bytes, &[tensor])
}

fn archive(path: &Path, program: &[u8], tensors: &[&Tensor]) -> Result<()> {
    let temporary = path.with_extension("pt.new");
    let file = |error| Error::file(path, error);
    let zipped = |error: zip::result::ZipError| Error::file(path, std::io::Error::other(error.to_string()));
    let out = BufWriter::new(File::create(&temporary).map_err(file)?);
    let mut archive = zip::ZipWriter::new(out);
    let options = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    let mut entry = |name: &str, bytes: &[u8]| -> Result<()> {
        let options = options.with_alignment(ALIGNMENT).large_file(bytes.len() as u64 >= u64::from(u32::MAX));
        archive.start_file(format!("archive/{name}"), options).map_err(zipped)?;
        archive.write_all(bytes).map_err(file)
    };
    entry("data.pkl", program)?;
    entry("byteorder", b"little")?;
    for (key, tensor) in tensors.iter().enumerate() {
        entry(&format!("data/{key}"), &tensor.data())?;
    }
    entry("version", b"3\n")?;
    let out = archive.finish().map_err(zipped)?;
    let out = out.into_inner().map_err(|error| file(error.into_error()))?;
    out.sync_all().and_then(|()| std::fs::rename(&temporary, path)).map_err(file)
}

/// A pickle of protocol 2.
struct Program {
    bytes: Vec<u8>,
}

impl Program {
    fn new() -> Self {
        Program { bytes: vec![0x80, 2] }
    }

    fn global(&mut self, module: &str, name: &str) {
        self.bytes.extend(format!("c{module}\n{name}\n").bytes());
    }

    fn text(&mut self, text: &str) {
        self.bytes.push(b'X');
        self.bytes.extend((text.len() as u32).to_le_bytes());
        self.bytes.extend(text.bytes());
    }

    fn whole(&mut self, value: usize) {
        self.bytes.extend([0x8a, 8]);
        self.bytes.extend((value as i64).to_le_bytes());
    }

    fn wholes(&mut self, values: &[usize]) {
        self.bytes.push(b'(');
        values.iter().for_each(|&value| self.whole(value));
        self.bytes.push(b't');
    }

    fn tensor(&mut self, key: usize, tensor: &Tensor) {
        let shape = tensor.shape();
        self.global("torch._utils", "_rebuild_tensor_v2");
        self.bytes.extend(b"((");
        self.text("storage");
        self.global("torch", storage(tensor.dtype()));
        self.text(&key.to_string());
        self.text("cpu");
        self.whole(shape.iter().product());
        self.bytes.extend(b"tQ");
        self.whole(0);
        self.wholes(shape);
        let mut strides = vec![1; shape.len()];
        for axis in (1..shape.len()).rev() {
            strides[axis - 1] = strides[axis] * shape[axis];
        }
        self.wholes(&strides);
        self.bytes.push(0x89);
        self.global("collections", "OrderedDict");
        self.bytes.extend(b")RtR");
    }
}

fn storage(dtype: Dtype) -> &'static str {
    match dtype {
        Dtype::F64 => "DoubleStorage",
        Dtype::F16 => "HalfStorage",
        Dtype::BF16 => "BFloat16Storage",
        Dtype::I64 => "LongStorage",
        Dtype::I32 => "IntStorage",
        Dtype::U8 => "ByteStorage",
        Dtype::BOOL => "BoolStorage",
        _ => "FloatStorage",
    }
}
