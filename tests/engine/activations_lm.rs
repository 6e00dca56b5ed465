//! The harvest over real decoders: the fixtures' reference residuals come out of the shards.

use std::fs;
use std::path::Path;

use candle_core::{Device, Tensor};
use xd::ml::activations::{
    Documents, Exclude, Harvest, Harvested, Pair, Portion, ReadAs, Store, Tap, Texts, Vocabulary,
};
use xd::ml::data::{Corpus, Template, TokenSequence, Tokenizer};
use xd::ml::lm::{Decoder, Site};
use xd::ml::watch::Unwatched;
use xd::ml::{Result, RowInfo, Rows, TokenGroup};

use crate::lm::fixture;

/// Documents that are ids already.
struct Ids(Vec<TokenSequence>);

impl Documents for Ids {
    fn name(&self) -> &str {
        "ids"
    }

    fn read(&self, start: u64) -> Result<Box<dyn Iterator<Item = Result<TokenSequence>> + '_>> {
        Ok(Box::new(self.0[start as usize..].iter().cloned().map(Ok)))
    }
}

fn rows(rows: &dyn Rows) -> Vec<(Vec<f32>, RowInfo)> {
    let mut values = vec![0.0; rows.count() as usize * 2 * rows.width()];
    let mut infos = vec![RowInfo::default(); rows.count() as usize];
    rows.read(0, &mut values).unwrap();
    rows.info(0, &mut infos).unwrap();
    values.chunks(2 * rows.width()).map(<[f32]>::to_vec).zip(infos).collect()
}

/// Largest difference, in units of `scale`.
fn distance(got: &[f32], want: &[f32], scale: f32) -> f32 {
    got.iter().zip(want).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) / scale
}

/// Root mean square of `[T, d]`.
fn scale(rows: &[Vec<f32>]) -> f32 {
    let count: usize = rows.iter().map(Vec::len).sum();
    (rows.iter().flatten().map(|x| x * x).sum::<f32>() / count as f32).sqrt()
}

#[test]
fn rows_are_the_reference_residuals() {
    for family in ["gemma2", "gemma3", "llama"] {
        let decoder = Decoder::load(fixture(family)).unwrap();
        let tokenizer = Tokenizer::load(fixture(family)).unwrap();
        let expected =
            candle_core::safetensors::load(fixture(family).join("expected.safetensors"), &Device::Cpu).unwrap();
        let ids: Vec<Vec<u32>> = expected["ids"].to_dtype(candle_core::DType::U32).unwrap().to_vec2().unwrap();
        let groups = vec![TokenGroup::Text; ids[0].len()];
        let documents = Ids(ids.iter().map(|ids| TokenSequence { ids: ids.clone(), groups: groups.clone() }).collect());
        // Two layers of one model stand for two models: both have references.
        let taps = [0, 1].map(|layer| Tap::new(&decoder, &tokenizer, layer, Site::ResidualPost).unwrap());
        let folder = tempfile::tempdir().unwrap();
        let tokens = (ids.len() * ids[0].len()) as u64;
        let harvest = Harvest {
            train: vec![Portion { corpus: 0, tokens }],
            store: Store::F32,
            block: Some(20),
            ..Harvest::default()
        };
        let blocks = decoder.blocks_run();
        let done =
            harvest.run(&Pair::new(&taps[0], &taps[1]).unwrap(), &[&documents], folder.path(), &Unwatched).unwrap();
        assert_eq!(decoder.blocks_run() - blocks, 1 + 2, "nothing after the layer is run");
        let reference: Vec<Vec<Vec<Vec<f32>>>> =
            (0..2).map(|layer| expected[&format!("residual_post_{layer}")].to_vec3().unwrap()).collect();
        assert_eq!(done.train.count(), tokens);
        for (row, info) in rows(&done.train) {
            let width = row.len() / 2;
            for (layer, reference) in reference.iter().enumerate() {
                let reference = &reference[info.sequence as usize];
                let want = &reference[info.position as usize];
                let distance = distance(&row[layer * width..(layer + 1) * width], want, scale(reference));
                assert!(distance < 1e-4, "{family} layer {layer} {info:?}: {distance}");
            }
            assert_eq!(ids[info.sequence as usize][info.position as usize], info.token);
        }
    }
}

const WORDS: [&str; 8] = ["the", "quick", "brown", "fox", "jumps", "over", "a", "lazy dog."];

/// Prose and chat of many lengths.
fn write_texts(folder: &Path) -> [Corpus; 2] {
    let text = |n: usize| (0..n).map(|i| WORDS[(i * i + n) % 8]).collect::<Vec<_>>().join(" ");
    let prose = (0..60).map(|i| serde_json::json!({ "text": text(3 + (i * 17) % 40) }).to_string() + "\n");
    let chat = (0..60).map(|i| {
        let turn = |role: &str, n: usize| serde_json::json!({ "role": role, "content": text(n) });
        let turns = [turn("user", 2 + i % 9), turn("assistant", 3 + (i * 7) % 23)];
        serde_json::json!({ "messages": turns }).to_string() + "\n"
    });
    fs::write(folder.join("prose.jsonl"), prose.collect::<String>()).unwrap();
    fs::write(folder.join("chat.jsonl"), chat.collect::<String>()).unwrap();
    [("prose.jsonl", "text"), ("chat.jsonl", "messages")]
        .map(|(file, column)| Corpus::Jsonl { path: folder.join(file), column: column.into() })
}

struct Models {
    decoder: Decoder,
    tokenizer: Tokenizer,
}

impl Models {
    fn load() -> Self {
        Models {
            decoder: Decoder::load(fixture("gemma2")).unwrap(),
            tokenizer: Tokenizer::load(fixture("gemma2")).unwrap(),
        }
    }

    fn harvest(&self, harvest: &Harvest, texts: &Path, folder: &Path) -> Harvested {
        let [prose, chat] = write_texts(texts);
        let prose = Texts { name: "prose".into(), corpus: prose, tokenizer: &self.tokenizer, template: None };
        let template = Some(Template::Tokenizer);
        let chat = Texts { name: "chat".into(), corpus: chat, tokenizer: &self.tokenizer, template };
        let taps = [0, 2].map(|layer| Tap::new(&self.decoder, &self.tokenizer, layer, Site::ResidualPost).unwrap());
        let pair = Pair::new(&taps[0], &taps[1]).unwrap();
        harvest.run(&pair, &[&prose, &chat], folder, &Unwatched).unwrap()
    }
}

fn settings() -> Harvest {
    let portion = |corpus, tokens| Portion { corpus, tokens };
    Harvest {
        context: 40,
        exclude: vec![Exclude::Bos],
        train: vec![portion(0, 600), portion(1, 600)],
        validate: vec![portion(0, 100), portion(1, 100)],
        store: Store::F32,
        block: Some(500),
        ..Harvest::default()
    }
}

#[test]
fn batches_and_padding_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let models = Models::load();
    let done = models.harvest(&settings(), folder.path(), &folder.path().join("out"));
    let vocabulary = Vocabulary::of(&models.tokenizer);
    let mut checked = 0;
    let corpora = write_texts(folder.path());
    let templates = [None, Some(Template::Tokenizer)];
    for (row, info) in rows(&done.train).into_iter().step_by(37) {
        let corpus = usize::from(info.corpus);
        let document = corpora[corpus].documents().unwrap().nth(info.sequence as usize).unwrap().unwrap();
        let alone = models.tokenizer.encode(&document, templates[corpus].as_ref(), 40).unwrap();
        assert_eq!((alone.ids[info.position as usize], alone.groups[info.position as usize]), (info.token, info.group));
        let ids = Tensor::from_slice(&alone.ids, (1, alone.len()), &Device::Cpu).unwrap();
        for (model, layer) in [0, 2].into_iter().enumerate() {
            let want: Vec<Vec<Vec<f32>>> =
                models.decoder.residual(&ids, layer, Site::ResidualPost).unwrap().to_vec3().unwrap();
            let width = row.len() / 2;
            let got = &row[model * width..(model + 1) * width];
            assert!(distance(got, &want[0][info.position as usize], scale(&want[0])) < 1e-5, "{info:?}");
        }
        assert_ne!(Some(info.token), vocabulary.bos);
        checked += 1;
    }
    assert!(checked > 20);
    let groups: std::collections::BTreeSet<TokenGroup> = rows(&done.train).iter().map(|(_, info)| info.group).collect();
    use TokenGroup::{Assistant, AssistantEnd, Control, Text, User};
    assert_eq!(groups.into_iter().collect::<Vec<_>>(), [Text, Control, User, Assistant, AssistantEnd]);
}

#[test]
fn a_base_that_reads_other_tokens_stays_aligned() {
    let models = Models::load();
    let folder = tempfile::tempdir().unwrap();
    let [_, chat] = write_texts(folder.path());
    let template = Some(Template::Tokenizer);
    let texts =
        Texts { name: "chat".into(), corpus: chat.clone(), tokenizer: &models.tokenizer, template: template.clone() };
    let [base, tuned] =
        [0, 2].map(|layer| Tap::new(&models.decoder, &models.tokenizer, layer, Site::ResidualPost).unwrap());
    let [turn, end, word] =
        ["<start_of_turn>", "<end_of_turn>", "\n"].map(|text| models.tokenizer.token(text).unwrap());
    let base = ReadAs { model: &base, replace: [(turn, word), (end, turn)].into() };
    let pair = Pair::new(&base, &tuned).unwrap();
    let harvest =
        Harvest { skip: 3, train: vec![Portion { corpus: 0, tokens: 700 }], store: Store::F32, ..Harvest::default() };
    let done = harvest.run(&pair, &[&texts], &folder.path().join("out"), &Unwatched).unwrap();

    let (mut changed, mut marks, mut firsts) = (0, 0, 0);
    for (row, info) in rows(&done.train) {
        let document = chat.documents().unwrap().nth(info.sequence as usize).unwrap().unwrap();
        let text = models.tokenizer.encode(&document, template.as_ref(), 1024).unwrap();
        assert!(info.position >= 3, "the first tokens of each sequence are not stored");
        assert_eq!(text.ids[info.position as usize], info.token, "stored tokens are those of the text");
        firsts += u32::from(info.position == 3);
        let swap = |id: &u32| {
            if *id == turn {
                word
            } else if *id == end {
                turn
            } else {
                *id
            }
        };
        let read: Vec<u32> = text.ids.iter().map(swap).collect();
        let residual = |ids: &[u32], layer| {
            let ids = Tensor::from_slice(ids, (1, ids.len()), &Device::Cpu).unwrap();
            let all: Vec<Vec<Vec<f32>>> =
                models.decoder.residual(&ids, layer, Site::ResidualPost).unwrap().to_vec3().unwrap();
            all[0][info.position as usize].clone()
        };
        let width = row.len() / 2;
        let (as_read, as_text) = (residual(&read, 0), residual(&text.ids, 0));
        assert!(distance(&row[..width], &as_read, 1.0) < 1e-4, "the base read the replaced tokens: {info:?}");
        changed += u32::from(distance(&as_read, &as_text, 1.0) > 1e-2);
        assert!(
            distance(&row[width..], &residual(&text.ids, 2), 1.0) < 1e-4,
            "the tuned model read the text: {info:?}"
        );
        marks += u32::from(info.token == turn || info.token == end);
    }
    assert!(changed > 300, "the replacement changes what the base computes: {changed}");
    assert!(marks > 40 && firsts > 10, "{marks} {firsts}");
}

#[test]
fn a_text_is_one_token_or_refused() {
    let models = Models::load();
    let error = models.tokenizer.token("the quick brown fox").unwrap_err().to_string();
    assert!(error.contains("tokens (") && error.contains("write the id"), "{error}");
    assert!(models.tokenizer.token("").is_err());
}

#[test]
fn the_same_bytes_on_one_and_two_threads() {
    let models = Models::load();
    let with = |threads| {
        let folder = tempfile::tempdir().unwrap();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let out = folder.path().join("out");
        pool.install(|| models.harvest(&settings(), folder.path(), &out));
        ["train/shard-00000.rows", "train/shard-00002.info", "train/index.json", "validate/shard-00000.rows"]
            .map(|file| fs::read(out.join(file)).unwrap())
    };
    assert!(with(1) == with(2));
}

#[test]
fn a_layer_that_is_not_there_is_refused() {
    let models = Models::load();
    let layers = models.decoder.layers();
    let error = Tap::new(&models.decoder, &models.tokenizer, layers, Site::ResidualPost).err().unwrap().to_string();
    assert!(error.contains(&format!("layers 0 to {}", layers - 1)), "{error}");
}
