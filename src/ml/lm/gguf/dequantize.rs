//! Numbers out of blocks.

use std::borrow::Cow;

use candle_core::Device;
use candle_core::quantized::{GgmlDType, QStorage, QTensor};
use half::{bf16, f16};

use crate::gguf::TensorType;

/// The values of a stored tensor, as llama.cpp's `to_float` gives them (candle's blocks are a translation of it, and a test
/// holds them to the reference of the Python package `gguf`, bit by bit).
pub(super) fn dequantize(kind: TensorType, bytes: &[u8], count: usize) -> Result<Vec<f32>, String> {
    let expected = count as u64 / kind.block() * kind.block_bytes();
    if bytes.len() as u64 != expected {
        return Err(format!("{} bytes for {count} values of {}", bytes.len(), kind.name()));
    }
    let pairs = || bytes.chunks_exact(2).map(|b| [b[0], b[1]]);
    let quantized = match kind {
        TensorType::F32 => {
            return Ok(bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect());
        }
        TensorType::F16 => return Ok(pairs().map(|b| f16::from_le_bytes(b).to_f32()).collect()),
        TensorType::Bf16 => return Ok(pairs().map(|b| bf16::from_le_bytes(b).to_f32()).collect()),
        TensorType::Q2K => GgmlDType::Q2K,
        TensorType::Q3K => GgmlDType::Q3K,
        TensorType::Q4K => GgmlDType::Q4K,
        TensorType::Q4_0 => GgmlDType::Q4_0,
        TensorType::Q4_1 => GgmlDType::Q4_1,
        TensorType::Q5K => GgmlDType::Q5K,
        TensorType::Q5_0 => GgmlDType::Q5_0,
        TensorType::Q5_1 => GgmlDType::Q5_1,
        TensorType::Q6K => GgmlDType::Q6K,
        TensorType::Q8_0 => GgmlDType::Q8_0,
    };
    let floats = || -> candle_core::Result<Vec<f32>> {
        // candle casts the bytes to blocks, whose numbers are 2 bytes: it insists on an even address.
        let even = bytes.as_ptr().align_offset(align_of::<u16>()) == 0;
        let bytes = if even { Cow::Borrowed(bytes) } else { Cow::Owned(bytes.to_vec()) };
        let storage = QStorage::from_data(bytes, &Device::Cpu, quantized)?;
        QTensor::new(storage, count)?.dequantize(&Device::Cpu)?.to_vec1::<f32>()
    };
    floats().map_err(|e| format!("{}: {e}", kind.name()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gguf::GgufFile;

    #[test]
    fn every_format_equals_the_reference_bit_by_bit() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/gguf");
        let file = GgufFile::open(&folder.join("types.gguf")).unwrap();
        let expected = candle_core::safetensors::load(folder.join("types.safetensors"), &Device::Cpu).unwrap();
        assert_eq!(file.tensors().len(), 13);
        for tensor in file.tensors().values() {
            let got = dequantize(tensor.kind, &file.bytes(tensor).unwrap(), tensor.count() as usize).unwrap();
            let want = expected[&tensor.name].flatten_all().unwrap().to_vec1::<f32>().unwrap();
            let bits = |values: &[f32]| values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            let zero = |values: &[f32]| values.iter().map(|x| x + 0.0).collect::<Vec<_>>();
            assert_eq!(bits(&zero(&got)), bits(&zero(&want)), "{}", tensor.name);
        }
    }

    #[test]
    fn a_wrong_number_of_bytes_is_an_error() {
        assert!(dequantize(TensorType::Q4_0, &[0; 17], 32).is_err());
        assert_eq!(dequantize(TensorType::Q4_0, &[0; 18], 32), Ok(vec![0.0; 32]));
        assert_eq!(dequantize(TensorType::Bf16, &[0x80, 0x3f], 1), Ok(vec![1.0]));
    }
}
