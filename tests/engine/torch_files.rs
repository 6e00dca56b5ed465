//! Files of `torch.save`: those that real torch wrote (tests/fixtures/torch/make.py), damaged ones, and our own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use xd::ml::crosscoder::tensor_file::{Tensor, TensorFile};
use xd::ml::formats::{NamedTensors, TorchFile, write_torch, write_torch_tensor};

use crate::allocations::largest;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/torch").join(name)
}

/// All tensors of the safetensors file of the same name are in the `.pt` file, with the same shapes and numbers.
fn same(name: &str) {
    let torch = TorchFile::open(&fixture(&format!("{name}.pt"))).unwrap();
    let expected = TensorFile::open(&fixture(&format!("{name}.safetensors"))).unwrap();
    for key in expected.names() {
        let place = if key == "_" { "" } else { key.as_str() };
        let shape = NamedTensors::shape(&expected, &key).unwrap();
        assert_eq!(torch.shape(place).as_ref(), Some(&shape), "{name}: {key}");
        if let Ok(floats) = NamedTensors::floats(&expected, &key) {
            assert_eq!(torch.floats(place).unwrap(), floats, "{name}: {key}");
        } else if let Ok(integers) = NamedTensors::integers(&expected, &key) {
            assert_eq!(torch.integers(place).unwrap(), integers, "{name}: {key}");
        }
    }
}

#[test]
fn files_of_real_torch_give_the_numbers_that_torch_gives() {
    ["tokens", "kinds", "kinds_older", "views", "nested", "module", "parameter"].into_iter().for_each(same);
    let kinds = TorchFile::open(&fixture("kinds.pt")).unwrap();
    assert_eq!(kinds.integers("i16").unwrap(), Some(vec![-300]));
    assert_eq!(kinds.integers("i8").unwrap(), Some(vec![-3]));
    assert_eq!(kinds.integers("u8").unwrap(), Some(vec![200]));
    assert_eq!(kinds.integers("bool").unwrap(), Some(vec![1, 0]));
    assert!(TorchFile::open(&fixture("tokens.pt")).unwrap().is_bare());
    let nested = TorchFile::open(&fixture("nested.pt")).unwrap();
    assert_eq!(nested.integers("step").unwrap(), Some(vec![12]));
    assert_eq!(nested.floats("rate").unwrap(), Some((vec![], vec![0.5])));
}

#[test]
fn a_file_that_would_run_something_is_refused_by_name() {
    let error = TorchFile::open(&fixture("evil.pt")).unwrap_err().to_string();
    assert!(error.contains("this file would run `posix.system`"), "{error}");
    assert!(!Path::new("/tmp/xd_was_here").exists());
}

#[test]
fn a_file_of_a_big_endian_machine_is_refused() {
    let error = TorchFile::open(&fixture("big_endian.pt")).unwrap_err().to_string();
    assert!(error.contains("big-endian"), "{error}");
}

#[test]
fn what_is_no_file_of_torch_is_said_to_be_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.pt");
    for bytes in [&b""[..], b"PK", b"hello", b"\x80\x02K\x01.", b"\x80\x02N."] {
        std::fs::write(&path, bytes).unwrap();
        let error = TorchFile::open(&path).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("x.pt"), "{error}");
    }
}

/// Opens bytes as a file and reads everything in it; gives the largest allocation.
fn read_all(path: &Path, bytes: &[u8]) -> usize {
    std::fs::write(path, bytes).unwrap();
    let ((), size) = largest(|| {
        let Ok(file) = TorchFile::open(path) else { return };
        for name in file.names() {
            let _ = file.floats(&name);
            let _ = file.integers(&name);
        }
    });
    size
}

/// Files of at most 5 kB may repeat numbers up to 2^20 times eight bytes, and nothing more.
const ENOUGH: usize = 16 << 20;

fn any_fixture() -> impl Strategy<Value = Vec<u8>> {
    let names = ["tokens", "kinds", "kinds_older", "views", "nested", "module", "evil"];
    prop::sample::select(names.to_vec()).prop_map(|name| std::fs::read(fixture(&format!("{name}.pt"))).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, rng_seed: proptest::test_runner::RngSeed::Fixed(1), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_damaged_file_neither_panics_nor_asks_for_much_memory(
        mut bytes in any_fixture(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        end in prop::option::weighted(0.3, any::<prop::sample::Index>()),
    ) {
        let folder = tempfile::tempdir().unwrap();
        for (place, value) in changes {
            let place = place.index(bytes.len());
            bytes[place] = value;
        }
        if let Some(end) = end {
            bytes.truncate(end.index(bytes.len()));
        }
        prop_assert!(read_all(&folder.path().join("x.pt"), &bytes) < ENOUGH);
    }

    /// Half of the changes of the test above hit names and sums of the archive; these hit the program itself.
    #[test]
    fn any_program_ends_in_an_error_or_a_value(
        mut program in prop::collection::vec(prop::sample::select(INSTRUCTIONS.to_vec()), 0..200),
        noise in prop::collection::vec(any::<u8>(), 0..20),
    ) {
        program.extend(noise);
        let ((), size) = largest(|| drop(xd::ml::formats::pickle::Pickle::read(&program)));
        prop_assert!(size < ENOUGH);
    }
}

const INSTRUCTIONS: &[u8] =
    b".(012NJKMGXtl}d])aesuqrhjcQRb\x80\x81\x85\x86\x87\x88\x89\x8a\x8b\x8c\x8d\x93\x94\x95\x00\x01\xff";

#[test]
fn a_short_program_cannot_make_a_large_value() {
    // A list of ten lists of ten lists ..: 10^30 values along all paths, 300 on paper.
    let mut program = vec![0x80, 2, b']'];
    for _ in 0..30 {
        program.extend(b"q\x00](");
        program.extend(b"h\x00".repeat(10));
        program.push(b'e');
    }
    program.push(b'.');
    let pickle = xd::ml::formats::pickle::Pickle::read(&program).unwrap();
    assert!(pickle.nodes.len() < 100);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.pt");
    let mut zip = zip::ZipWriter::new(std::fs::File::create(&path).unwrap());
    let stored = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    zip.start_file("x/data.pkl", stored).unwrap();
    std::io::Write::write_all(&mut zip, &program).unwrap();
    zip.finish().unwrap();
    let error = TorchFile::open(&path).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("more values"), "{error}");
}

#[test]
fn what_is_written_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.pt");
    let values: Vec<f32> = (0..24).map(|i| i as f32 / 7.0).collect();
    let tensors = BTreeMap::from([
        ("a.weight", Tensor::f32(&[2, 3, 4], &values)),
        ("k", Tensor::i32_scalar(7)),
        ("tokens", Tensor::i64(&[3], &[1, -2, 1 << 40])),
    ]);
    write_torch(&path, &tensors).unwrap();
    let file = TorchFile::open(&path).unwrap();
    assert_eq!(file.names(), ["a.weight", "k", "tokens"]);
    assert_eq!(file.floats("a.weight").unwrap(), Some((vec![2, 3, 4], values.clone())));
    assert_eq!(file.integers("k").unwrap(), Some(vec![7]));
    write_torch_tensor(&path, &tensors["tokens"]).unwrap();
    assert_eq!(TorchFile::open(&path).unwrap().integers("").unwrap(), Some(vec![1, -2, 1 << 40]));
}
