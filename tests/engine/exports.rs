//! Crosscoders written for other projects: read back by each project's convention they give the same features.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use xd::ml::analysis::examples::{Tokens, sequences_of_rows, tokens_of_rows};
use xd::ml::analysis::{ClassThresholds, classify};
use xd::ml::crosscoder::tensor_file::TensorFile;
use xd::ml::crosscoder::weights::FoldedNormalizer;
use xd::ml::crosscoder::{Activation, CodeNorm, Crosscoder, SparseCode};
use xd::ml::formats::probe::probe_rows;
use xd::ml::formats::slow_crosscoder::SlowCrosscoder;
use xd::ml::formats::{
    Choices, DelphiCache, ExportLayout, WeightsFile, delphi, export_crosscoder, lost, slices_apart, verify_export,
    verify_import,
};
use xd::ml::watch::Unwatched;
use xd::ml::{MemoryRows, RowInfo, Rows, TokenGroup};

use crate::toy;

const LAYOUTS: [ExportLayout; 5] = [
    ExportLayout::Published,
    ExportLayout::Torch,
    ExportLayout::Kissane,
    ExportLayout::Crosscode,
    ExportLayout::Saelens,
];

fn batch() -> Activation {
    Activation::Threshold { k: 4, threshold: 1.3 }
}

fn kinds() -> Vec<Crosscoder> {
    let mut kinds = Vec::new();
    for (seed, norm) in [CodeNorm::Sum, CodeNorm::Concat, CodeNorm::None].into_iter().enumerate() {
        for activation in [
            Activation::Relu,
            Activation::Threshold { k: 4, threshold: 1.3 },
            Activation::Threshold { k: 4, threshold: -1.0 },
            Activation::TopK { k: 5 },
            Activation::JumpRelu { thresholds: (0..40).map(|j| 0.05 + j as f32 * 0.03).collect() },
        ] {
            kinds.push(Crosscoder { code_norm: norm, ..toy::crosscoder(6, 40, activation, seed as u64) });
        }
    }
    let mut normalizing = toy::crosscoder(6, 40, Activation::Threshold { k: 4, threshold: 1.3 }, 9);
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    normalizing.fold(FoldedNormalizer {
        mean: toy::random(12, &mut rng),
        std: vec![1.0; 12],
        scale: [0.7, 1.9],
        target_rms: 2.0,
    });
    kinds.push(normalizing);
    kinds.push(Crosscoder { code_norm: CodeNorm::Mixed { sae: 0.5, cc: 0.25 }, ..toy::crosscoder(6, 40, batch(), 11) });
    kinds
}

fn place(folder: &tempfile::TempDir, layout: ExportLayout) -> std::path::PathBuf {
    folder.path().join(if layout == ExportLayout::Torch { "x.pt" } else { "x" })
}

#[test]
fn what_loses_nothing_gives_the_same_features() {
    let mut exact = 0;
    for crosscoder in kinds() {
        for layout in LAYOUTS {
            let folder = tempfile::tempdir().unwrap();
            let out = place(&folder, layout);
            export_crosscoder(&crosscoder, layout, &out).unwrap();
            if !lost(&crosscoder, layout).is_empty() {
                continue;
            }
            exact += 1;
            let probe = verify_export(&crosscoder, layout, &out).unwrap();
            let what = (layout, &crosscoder.activation, crosscoder.code_norm);
            assert!(probe.agrees() && probe.features < 1e-5 && probe.reconstruction < 1e-5, "{what:?} {probe:?}");
            assert!(probe.active > 1.0, "an empty probe shows nothing: {what:?} {probe:?}");
            // And through xd's own reader, where it reads the layout.
            let back = Crosscoder::load(&out).unwrap();
            assert!(same(&back, &crosscoder), "{what:?}");
            let folded = layout == ExportLayout::Saelens && matches!(crosscoder.activation, Activation::TopK { .. });
            assert_eq!(back.code_norm, if folded { CodeNorm::None } else { crosscoder.code_norm }, "{what:?}");
            match layout {
                ExportLayout::Published | ExportLayout::Torch | ExportLayout::Kissane => {
                    assert_eq!(back.activation, crosscoder.activation, "{what:?}");
                }
                ExportLayout::Crosscode | ExportLayout::Saelens => {}
            }
            if layout == ExportLayout::Saelens {
                // The slices alone are the same crosscoder.
                std::fs::remove_dir_all(out.join("joint")).unwrap();
                assert_eq!(Crosscoder::load(&out).unwrap(), back, "{what:?}");
            }
        }
    }
    assert_eq!(exact, 42, "of 85 pairs, so many lose nothing");
}

/// Codes times code norms, and reconstructions, agree on rows that make latents fire.
fn same(one: &Crosscoder, other: &Crosscoder) -> bool {
    let x = probe_rows(other);
    let scores = |crosscoder: &Crosscoder, code: &SparseCode| {
        let (norms, mut scores) = (crosscoder.code_norms(), vec![0.0; code.rows() * crosscoder.latents]);
        for row in 0..code.rows() {
            let (latents, values) = code.row(row);
            for (&j, &value) in latents.iter().zip(values) {
                scores[row * crosscoder.latents + j as usize] = value * norms[j as usize];
            }
        }
        scores
    };
    let codes = [one.encode(&x), other.encode(&x)];
    let (scores, decoded) =
        ([scores(one, &codes[0]), scores(other, &codes[1])], [one.decode(&codes[0]), other.decode(&codes[1])]);
    let close = |[a, b]: &[Vec<f32>; 2]| {
        let largest = b.iter().map(|b| b.abs()).fold(0.0, f32::max);
        a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5 * largest)
    };
    close(&scores) && close(&decoded) && scores[1].iter().filter(|s| **s > 0.0).count() > 32
}

#[test]
fn what_would_be_lost_is_named() {
    let of = |activation, norm, layout| {
        lost(&Crosscoder { code_norm: norm, ..toy::crosscoder(4, 20, activation, 1) }, layout).join("; ")
    };
    let batch = Activation::Threshold { k: 3, threshold: 1.0 };
    assert!(of(batch.clone(), CodeNorm::Sum, ExportLayout::Kissane).contains("threshold"));
    assert!(of(Activation::Relu, CodeNorm::Concat, ExportLayout::Kissane).contains("`concat`"));
    assert!(of(Activation::TopK { k: 3 }, CodeNorm::Sum, ExportLayout::Published).contains("top-k"));
    assert!(of(Activation::TopK { k: 3 }, CodeNorm::Sum, ExportLayout::Crosscode).contains("code norm"));
    let mixed = CodeNorm::Mixed { sae: 0.5, cc: 0.25 };
    assert!(of(batch.clone(), mixed, ExportLayout::Torch).contains("stand in a config.json"));
    assert_eq!(of(batch.clone(), CodeNorm::Mixed { sae: 1.0, cc: 0.1 }, ExportLayout::Torch), "");
    assert!(of(batch.clone(), mixed, ExportLayout::Crosscode).contains("`mixed`"));
    let jump = |threshold| Activation::JumpRelu { thresholds: vec![threshold; 20] };
    assert!(of(jump(0.5), CodeNorm::Sum, ExportLayout::Published).contains("no class for a threshold a latent"));
    assert!(of(jump(0.5), CodeNorm::Sum, ExportLayout::Torch).contains("no class for a threshold a latent"));
    assert!(of(jump(0.5), CodeNorm::Sum, ExportLayout::Kissane).contains("threshold"));
    assert!(of(jump(-0.5), CodeNorm::Sum, ExportLayout::Crosscode).contains("latent 0 has no logarithm"));
    assert!(of(jump(0.5), CodeNorm::Concat, ExportLayout::Crosscode).contains("`concat`"));
    assert_eq!(of(jump(0.5), CodeNorm::Sum, ExportLayout::Crosscode), "");
    assert_eq!(of(jump(-0.5), CodeNorm::Concat, ExportLayout::Saelens), "");
    for layout in LAYOUTS {
        assert_eq!(of(Activation::Relu, CodeNorm::Sum, layout), "");
    }
}

/// A comparison that could not fail would be worth nothing.
#[test]
fn a_lost_threshold_or_another_norm_is_seen_by_the_probe() {
    let batch = Activation::Threshold { k: 4, threshold: 1.3 };
    let crosscoder = toy::crosscoder(6, 40, batch, 2);
    let folder = tempfile::tempdir().unwrap();
    export_crosscoder(&crosscoder, ExportLayout::Published, folder.path()).unwrap();
    let file = WeightsFile::open(folder.path(), None).unwrap();
    let agrees = |made: &Crosscoder| verify_import(&file, &Choices::default(), made).unwrap().agrees();
    assert!(agrees(&crosscoder));
    assert!(!agrees(&Crosscoder { activation: Activation::Relu, ..crosscoder.clone() }));
    assert!(!agrees(&Crosscoder { code_norm: CodeNorm::None, ..crosscoder.clone() }));
    let mut swapped = crosscoder.clone();
    swapped.decoder_weight.rotate_left(6 * 40);
    assert!(!agrees(&swapped));
    let mut scaled = crosscoder.clone();
    scaled.encoder_weight.iter_mut().for_each(|w| *w *= 1.001);
    assert!(!agrees(&scaled));
}

#[test]
fn slices_of_one_model_are_said_to_be_halves() {
    let crosscoder = toy::crosscoder(6, 40, Activation::Relu, 3);
    let folder = tempfile::tempdir().unwrap();
    export_crosscoder(&crosscoder, ExportLayout::Saelens, folder.path()).unwrap();
    let apart = slices_apart(&crosscoder, folder.path()).unwrap();
    assert!(apart.iter().all(|apart| *apart > 0.1), "{apart:?}");
}

fn texts_of(rows: &MemoryRows) -> Tokens {
    tokens_of_rows(rows, &sequences_of_rows(rows).unwrap()).unwrap()
}

/// delphi draws texts on which a latent is silent from every window of the flat list of tokens: places without a row were 0 in it, and
/// scored as text.
#[test]
fn documents_for_delphi_lie_end_to_end_without_padding() {
    let crosscoder = toy::crosscoder(5, 30, Activation::Relu, 4);
    let lengths = [7u32, 12, 3, 9, 12];
    let token = |document: u32, position: u32| 1000 + 100 * document + position;
    let mut rows = toy::rows(5, 38, 9, 5);
    // BOS of every document and the fifth token of each have no row; the last document was cut.
    let places = (0u32..5).flat_map(|d| (1..lengths[d as usize]).map(move |at| (d, at))).filter(|(_, at)| *at != 4);
    let places: Vec<(u32, u32)> = places.collect();
    rows.infos = places
        .iter()
        .map(|&(sequence, position)| {
            let token = token(sequence, position);
            RowInfo { sequence, position, token, group: TokenGroup::Text, ..RowInfo::default() }
        })
        .collect();
    assert!(rows.infos.len() <= 38);
    rows.values.truncate(rows.infos.len() * 10);
    rows.infos.reverse();
    let mut texts = Tokens::new();
    for (document, length) in (0u32..5).zip(lengths) {
        // The text goes on after the last row.
        texts.insert((0, document), (0..length + 6).map(|at| Some(token(document, at))).collect());
    }
    let folder = tempfile::tempdir().unwrap();
    let written = delphi::write_delphi(&crosscoder, &rows, &texts, folder.path(), "", &Unwatched).unwrap();
    let file = TensorFile::open(&folder.path().join("crosscoder/0_29.safetensors")).unwrap();
    let tokens = file.integers("tokens").unwrap().unwrap();
    let flat: Vec<i64> =
        (0u32..5).flat_map(|d| (0..lengths[d as usize]).map(move |at| i64::from(token(d, at)))).collect();
    assert_eq!(tokens, flat[..36], "43 tokens are three rows of 12");
    assert_eq!(written.dropped, 7);
    let (locations, activations) =
        (file.integers("locations").unwrap().unwrap(), file.floats("activations").unwrap().unwrap().1);
    assert!(activations.len() > 50);
    for (place, value) in locations.chunks(3).zip(activations) {
        let id = tokens[(12 * place[0] + place[1]) as usize];
        let row = rows.infos.iter().position(|info| i64::from(info.token) == id).expect("a token with a row");
        let latent = place[2] as usize;
        let expected =
            toy::encode(&crosscoder, &rows.values[row * 10..][..10])[latent] * toy::code_norm(&crosscoder, latent);
        assert!((f64::from(value) - expected).abs() < 1e-4, "{place:?}: {value} {expected}");
    }
    texts.insert((0, 1), vec![Some(1); 12]);
    let error =
        delphi::write_delphi(&crosscoder, &rows, &texts, folder.path(), "", &Unwatched).unwrap_err().to_string();
    assert!(error.contains("document 1") && error.contains("has changed"), "{error}");
}

#[test]
fn delphi_gets_every_activation_at_its_place() {
    for activation in [
        Activation::Relu,
        Activation::Threshold { k: 4, threshold: 1.3 },
        Activation::JumpRelu { thresholds: (0..30).map(|j| j as f32 * 0.02).collect() },
    ] {
        let crosscoder = toy::crosscoder(5, 30, activation, 4);
        let mut rows = toy::rows(5, 90, 9, 5);
        for (i, info) in rows.infos.iter_mut().enumerate() {
            (info.token, info.group) = (500 + i as u32, TokenGroup::Text);
        }
        let folder = tempfile::tempdir().unwrap();
        let texts = texts_of(&rows);
        let written =
            delphi::write_delphi(&crosscoder, &rows, &texts, folder.path(), "some/model", &Unwatched).unwrap();
        assert_eq!((written.rows, written.dropped), (90, 0));
        let count = written.activations;
        let file = TensorFile::open(&folder.path().join("crosscoder/0_29.safetensors")).unwrap();
        let locations = file.integers("locations").unwrap().unwrap();
        let (_, activations) = file.floats("activations").unwrap().unwrap();
        assert_eq!((locations.len(), activations.len()), (3 * count, count));
        assert!(count > 100);
        for (place, value) in locations.chunks(3).zip(activations) {
            let row = (place[0] * 9 + place[1]) as usize;
            let latent = place[2] as usize;
            let expected =
                toy::encode(&crosscoder, &rows.values[row * 10..][..10])[latent] * toy::code_norm(&crosscoder, latent);
            assert!((f64::from(value) - expected).abs() < 1e-4, "{place:?}: {value} {expected}");
        }
        assert_eq!(file.integers("tokens").unwrap().unwrap(), (500..590).collect::<Vec<i64>>());
        export_crosscoder(&crosscoder, ExportLayout::Published, &folder.path().join("cc")).unwrap();
        let slow = WeightsFile::open(&folder.path().join("cc"), None).unwrap();
        let slow = SlowCrosscoder::open(&slow, &Choices::default()).unwrap();
        assert!(delphi::verify_delphi(&slow, &crosscoder.code_norms(), &rows, &texts, folder.path()).unwrap() < 1e-5);
    }
}

#[test]
fn a_cache_for_delphi_comes_back_as_classify_counts() {
    for (activation, count) in [(Activation::Relu, 85), (Activation::Threshold { k: 4, threshold: 1.3 }, 90)] {
        let crosscoder = toy::crosscoder(5, 30, activation, 4);
        // The last of the sequences is shorter, and its tokens fill no row.
        let mut rows = toy::rows(5, count, 9, 5);
        rows.infos.iter_mut().for_each(|info| info.group = TokenGroup::Text);
        let folder = tempfile::tempdir().unwrap();
        let written =
            delphi::write_delphi(&crosscoder, &rows, &texts_of(&rows), folder.path(), "", &Unwatched).unwrap();
        let (kept, dropped) = (written.activations, count % 9);
        let count = count - dropped;
        assert_eq!((written.rows, written.dropped), (count, dropped));
        rows.infos.truncate(count);
        rows.values.truncate(count * 10);
        let classes = classify(&crosscoder, &rows, &ClassThresholds::default(), &Unwatched).unwrap();
        for place in [folder.path().to_path_buf(), folder.path().join("crosscoder")] {
            let counts = DelphiCache::open(&place).unwrap().count().unwrap();
            assert_eq!((counts.tokens, counts.asked, counts.negative), (count as u64, false, 0));
            assert_eq!(counts.latents.iter().map(|latent| latent.active).sum::<u64>(), kept as u64);
            for (j, latent) in counts.latents.iter().enumerate() {
                assert_eq!(latent.active as f64 / count as f64, classes.frequency[j], "latent {j}");
                assert!((f64::from(latent.largest) - classes.max_activation[j]).abs() < 1e-6, "latent {j}");
                let dense: Vec<f64> = (0..count)
                    .map(|row| {
                        toy::encode(&crosscoder, &rows.values[row * 10..][..10])[j] * toy::code_norm(&crosscoder, j)
                    })
                    .collect();
                assert!((latent.sum - dense.iter().sum::<f64>()).abs() < 1e-4, "latent {j}");
            }
        }
        let path = folder.path().join("crosscoder/config.json");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replace(&format!("\"n_rows\": {count}"), "\"n_rows\": 91")).unwrap();
        let error = DelphiCache::open(folder.path()).unwrap().count().unwrap_err().to_string();
        assert!(
            error.contains(&format!("`n_rows` = 91, and there are {} sequences of 9 tokens", count / 9)),
            "{error}"
        );
    }
}

#[test]
fn delphi_needs_text() {
    let crosscoder = toy::crosscoder(5, 30, Activation::Relu, 4);
    let textless = toy::rows(5, 20, 1, 5);
    assert_eq!(textless.count(), 20);
    let folder = tempfile::tempdir().unwrap();
    let texts = texts_of(&textless);
    let error =
        delphi::write_delphi(&crosscoder, &textless, &texts, folder.path(), "", &Unwatched).unwrap_err().to_string();
    assert!(error.contains("no text"), "{error}");
}
