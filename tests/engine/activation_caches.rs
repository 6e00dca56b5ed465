//! Activation caches in the published format: those that real torch and numpy wrote (tests/fixtures/cache/make.py), and ours.

use std::path::{Path, PathBuf};

use xd::ml::crosscoder::tensor_file::TensorFile;
use xd::ml::formats::pickle::Dtype;
use xd::ml::formats::{CacheFolder, CacheRows, write_cache};
use xd::ml::{MemoryRows, RowInfo, Rows, TokenGroup};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/cache").join(name)
}

fn read(rows: &dyn Rows) -> (Vec<f32>, Vec<RowInfo>) {
    let mut values = vec![0.0; rows.count() as usize * 2 * rows.width()];
    let mut infos = vec![RowInfo::default(); rows.count() as usize];
    rows.read(0, &mut values).unwrap();
    rows.info(0, &mut infos).unwrap();
    (values, infos)
}

fn expected(numbers: &str) -> (Vec<f32>, Vec<RowInfo>) {
    let file = TensorFile::open(&fixture("expected.safetensors")).unwrap();
    let column = |name: &str| file.integers(name).unwrap().unwrap();
    let (tokens, sequence, position) = (column("tokens"), column("sequence"), column("position"));
    let infos = (0..tokens.len()).map(|i| RowInfo {
        corpus: 0,
        sequence: sequence[i] as u32,
        position: position[i] as u32,
        token: tokens[i] as u32,
        group: if position[i] == 0 { TokenGroup::Bos } else { TokenGroup::Text },
    });
    (file.floats(numbers).unwrap().unwrap().1, infos.collect())
}

#[test]
fn both_directory_styles_give_the_rows_of_python() {
    let newer = CacheRows::open(&fixture("newer/base/layer_13_out"), &fixture("newer/tuned/layer_13_out")).unwrap();
    assert_eq!(read(&newer), expected("bf16"));
    assert!(newer.tokens().replaced.is_empty());
    let older = CacheRows::open(&fixture("older/base"), &fixture("older/tuned")).unwrap();
    assert_eq!(read(&older), expected("f32"));
    assert_eq!(older.tokens().replaced, [(12, 33)]);
    // The folder above is enough when it holds one cache.
    let above = CacheRows::open(&fixture("newer/base"), &fixture("newer/tuned")).unwrap();
    assert_eq!(read(&above), read(&newer));
}

#[test]
fn rows_are_found_across_shards_of_any_length() {
    let rows = CacheRows::open(&fixture("older/base"), &fixture("older/tuned")).unwrap();
    let (values, infos) = read(&rows);
    for start in 0..23 {
        for count in 0..=(23 - start) {
            let mut some = vec![0.0; count * 8];
            rows.read(start as u64, &mut some).unwrap();
            assert_eq!(some, values[start * 8..(start + count) * 8]);
        }
    }
    let part = rows.slice(7..19).unwrap();
    assert_eq!(read(&part), (values[56..152].to_vec(), infos[7..19].to_vec()));
    assert!(part.read(11, &mut [0.0; 16]).is_err(), "the rows after it belong to nobody");
    assert!(part.read(u64::MAX, &mut [0.0; 8]).is_err());
}

#[test]
fn caches_of_other_texts_are_not_paired() {
    let error = CacheRows::open(&fixture("shifted"), &fixture("older/tuned")).unwrap_err().to_string();
    assert!(error.contains("not the same tokens: row 0 is the token"), "{error}");
}

#[test]
fn what_is_missing_or_cut_off_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let copy = || {
        for entry in std::fs::read_dir(fixture("older/base")).unwrap() {
            let path = entry.unwrap().path();
            std::fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
        }
    };
    let said = || CacheFolder::open(folder.path()).unwrap_err().to_string();
    let cut = |name: &str, bytes: usize| {
        let path = folder.path().join(name);
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(path, &whole[..bytes]).unwrap();
    };
    assert!(said().contains("no config.json"), "{}", said());
    copy();
    assert_eq!(CacheFolder::open(folder.path()).unwrap().rows(), 23);
    cut("shard_1.memmap", 60);
    assert!(said().contains("shard_1.memmap: it has 60 bytes"), "{}", said());
    copy();
    std::fs::remove_file(folder.path().join("shard_2.meta")).unwrap();
    assert!(said().contains("shard_2.meta"), "{}", said());
    copy();
    let change = |from: &str, to: &str| {
        let path = folder.path().join("config.json");
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from));
        std::fs::write(path, text.replace(from, to)).unwrap();
    };
    change("\"shard_count\": 3", "\"shard_count\": 2");
    assert!(said().contains("its shards hold 17 rows, and config.json says 23"), "{}", said());
    copy();
    change("\"shuffle_shards\": false", "\"shuffle_shards\": true");
    assert!(said().contains("shuffled"), "{}", said());
    copy();
    std::fs::remove_file(folder.path().join("tokens.pt")).unwrap();
    assert!(said().contains("`tokens.pt` is neither here nor one folder up"), "{}", said());
}

#[test]
fn what_is_written_comes_back_in_the_order_of_the_text() {
    let infos: Vec<RowInfo> = (0..50u32)
        .map(|i| RowInfo {
            corpus: 0,
            sequence: i / 7,
            position: i % 7,
            token: if i % 7 == 0 { 2 } else { 100 + i },
            group: TokenGroup::Text,
        })
        .collect();
    // As a harvest stores them: shuffled.
    let order: Vec<usize> = (0..50).map(|i| (i * 27 + 5) % 50).collect();
    let value = |i: usize, j: usize| ((8 * i + j) % 256) as f32 / 4.0;
    let shuffled = MemoryRows {
        width: 4,
        values: order.iter().flat_map(|&i| (0..8).map(move |j| value(i, j))).collect(),
        infos: order.iter().map(|&i| infos[i]).collect(),
    };
    let folder = tempfile::tempdir().unwrap();
    for dtype in [Dtype::F32, Dtype::Bf16] {
        write_cache(&shuffled, folder.path(), "layer_3_out", dtype, 20).unwrap();
        let back =
            CacheRows::open(&folder.path().join("base/layer_3_out"), &folder.path().join("tuned/layer_3_out")).unwrap();
        let (values, found) = read(&back);
        assert_eq!(values, (0..50).flat_map(|i| (0..8).map(move |j| value(i, j))).collect::<Vec<_>>());
        let places = |infos: &[RowInfo]| infos.iter().map(|i| (i.sequence, i.position, i.token)).collect::<Vec<_>>();
        assert_eq!(places(&found), places(&infos));
    }
}
