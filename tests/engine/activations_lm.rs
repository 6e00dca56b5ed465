//! The harvest over real decoders: the fixtures' reference residuals come out of the shards.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use candle_core::{Device, Tensor};
use xd::ml::activations::{
    Bookmarks, Documents, Exclude, Harvest, Harvested, MarkedTexts, Pair, Portion, ReadAs, Residuals, Store,
    StreamedRows, Supply, Tap, Texts, Vocabulary,
};
use xd::ml::data::{Corpus, Shelf, Template, TokenSequence, Tokenizer};
use xd::ml::lm::{Decoder, Site};
use xd::ml::watch::Unwatched;
use xd::ml::{Progress, Result, RowInfo, Rows, TokenGroup, Watch};

use crate::activations::Formula;
use crate::lm::fixture;
use crate::support::{Lab, said};

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

/// A fixture whose tokenizer has one more token than the model has embeddings: Gemma 3's is for images.
fn with_image_token(folder: &Path) -> Tokenizer {
    let read = |name: &str| fs::read_to_string(fixture("gemma3").join(name)).unwrap();
    let mut description: serde_json::Value = serde_json::from_str(&read("tokenizer.json")).unwrap();
    let mut token = description["added_tokens"][3].clone();
    (token["id"], token["content"]) = (384.into(), "<image_soft_token>".into());
    description["added_tokens"].as_array_mut().unwrap().push(token);
    fs::write(folder.join("tokenizer.json"), description.to_string()).unwrap();
    fs::write(folder.join("tokenizer_config.json"), read("tokenizer_config.json")).unwrap();
    Tokenizer::load(folder).unwrap()
}

#[test]
fn an_id_without_an_embedding_is_refused_where_it_stands() {
    let folder = tempfile::tempdir().unwrap();
    let tokenizer = with_image_token(folder.path());
    let decoder = Decoder::load(fixture("gemma3")).unwrap();
    assert_eq!((tokenizer.vocabulary(), decoder.vocabulary()), (385, 384));
    let taps = [1, 2].map(|layer| Tap::new(&decoder, &tokenizer, layer, Site::ResidualPost).unwrap());
    let harvest = |base: &dyn Residuals, texts: &[&str], out: &str| {
        let path = folder.path().join("texts.jsonl");
        fs::write(&path, texts.iter().map(|t| serde_json::json!({ "text": t }).to_string() + "\n").collect::<String>())
            .unwrap();
        let corpus = Corpus::Jsonl { path, column: "text".into() };
        let texts = Texts { name: "pages".into(), corpus, tokenizer: &tokenizer, template: None };
        let train = vec![Portion { corpus: 0, tokens: 20 }];
        let harvest = Harvest { train, context: 16, store: Store::F32, ..Harvest::default() };
        harvest.run(&Pair::new(base, &taps[1]).unwrap(), &[&texts], &folder.path().join(out), &Unwatched)
    };
    let plain = "the quick brown fox jumps over the lazy dog";
    assert_eq!(harvest(&taps[0], &[plain, plain, plain], "plain").unwrap().train.count(), 20);

    let image = "a <image_soft_token> fox";
    let error = harvest(&taps[0], &[plain, image, plain], "image").unwrap_err().to_string();
    let ids = tokenizer.encode_text(image).unwrap().ids;
    let position = ids.iter().position(|id| *id == 384).unwrap();
    let wanted = format!("document 1 of `pages` has the token id 384 at position {position}, for which the base model");
    assert!(error.contains(&wanted), "{error}");
    // A base that reads another token there has nothing to refuse; the tuned model has.
    let other = ReadAs { model: &taps[0], replace: [(384, 5)].into() };
    let error = harvest(&other, &[plain, image, plain], "read-as").unwrap_err().to_string();
    assert!(error.contains("for which the tuned model"), "{error}");
    // What is beyond the context is never read.
    let late = format!("{plain} {plain} {plain} {image}");
    assert_eq!(harvest(&taps[0], &[plain, &late, plain], "late").unwrap().train.count(), 20);
}

#[test]
fn a_chat_that_the_template_refuses_is_named() {
    let models = Models::load();
    let folder = tempfile::tempdir().unwrap();
    let [_, corpus] = write_texts(folder.path());
    let source = "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system role') }}{% endif %}\
                  {{ m.content }}{% endfor %}";
    let template = Some(Template::Jinja { source: source.into(), control: Vec::new() });
    let path = folder.path().join("chat.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    let mut lines: Vec<&str> = text.lines().collect();
    lines[17] = r#"{"messages": [{"role": "system", "content": "be kind"}]}"#;
    fs::write(&path, lines.join("\n")).unwrap();
    let texts = Texts { name: "talk".into(), corpus, tokenizer: &models.tokenizer, template };
    for start in [0, 9] {
        let error = texts.read(start).unwrap().find_map(Result::err).unwrap().to_string();
        assert!(error.starts_with("chat template: document 17 of `talk`: no system role (line 1"), "{error}");
    }
}

/// Counts how often its one file is opened.
#[derive(Debug)]
struct Opened {
    names: Vec<String>,
    times: AtomicUsize,
}

impl Shelf for Opened {
    fn names(&self) -> &[String] {
        &self.names
    }

    fn file(&self, _: usize) -> Result<PathBuf> {
        self.times.fetch_add(1, Ordering::Relaxed);
        Ok(PathBuf::from(&self.names[0]))
    }
}

/// Two formulas over texts of one compressed file.
struct Compressed {
    tokenizer: Tokenizer,
    corpus: Corpus,
    bookmarks: Bookmarks,
}

impl Supply for Compressed {
    fn with(&self, work: &mut dyn FnMut(&Pair, &[&dyn Documents]) -> Result<()>) -> Result<()> {
        let texts = Texts { name: "t".into(), corpus: self.corpus.clone(), tokenizer: &self.tokenizer, template: None };
        let models = [1, 2].map(Formula::new);
        let marked = MarkedTexts { texts, bookmarks: &self.bookmarks };
        work(&Pair::new(&models[0], &models[1])?, &[&marked])
    }
}

/// A file was once opened for each block of a stream, and read from its start up to the block.
#[test]
fn blocks_that_follow_one_another_read_on_in_the_same_file() {
    let folder = tempfile::tempdir().unwrap();
    let name = folder.path().join("texts.jsonl.zst").display().to_string();
    let mut file = zstd::Encoder::new(fs::File::create(&name).unwrap(), 1).unwrap();
    for i in 0..3000 {
        writeln!(file, "{}", serde_json::json!({ "text": WORDS[i % 8].repeat(1 + i % 5) })).unwrap();
    }
    file.finish().unwrap();
    let opened = Arc::new(Opened { names: vec![name], times: AtomicUsize::new(0) });
    let times = || opened.times.swap(0, Ordering::Relaxed);
    let supply = Compressed {
        tokenizer: Tokenizer::load(fixture("gemma2")).unwrap(),
        corpus: Corpus::Shelf { files: opened.clone(), column: "text".into() },
        bookmarks: Bookmarks::default(),
    };
    let portion = |tokens| vec![Portion { corpus: 0, tokens }];
    let (train, validate) = (portion(6000), portion(500));
    let harvest = Harvest { train, validate, store: Store::F32, block: Some(100), ..Harvest::default() };
    let shards = folder.path().join("shards");
    supply.with(&mut |pair, corpora| harvest.run(pair, corpora, &shards, &Unwatched).map(|_| ())).unwrap();
    let stored = Harvested::open(&shards).unwrap();
    times();
    let out = folder.path().join("stream");
    supply.with(&mut |pair, corpora| harvest.survey_stream(pair, corpora, &out, false, &Unwatched)).unwrap();
    // The first window of each set, and its blocks.
    assert!(times() <= 4);
    let supply = Arc::new(supply);
    let streams = ["train", "validate"]
        .map(|set| StreamedRows::open(harvest.clone(), &out, set, supply.clone(), None, &Unwatched).unwrap());
    assert_eq!(streams[0].index().blocks.len(), 60);
    // Two epochs, with looks at the other set in between.
    for epoch in 0..2 {
        for start in (0..6000).step_by(100) {
            let mut values = [vec![0f32; 1000], vec![0f32; 1000]];
            for (rows, values) in [&streams[0] as &dyn Rows, &stored.train].into_iter().zip(&mut values) {
                rows.read(start, values).unwrap();
            }
            assert_eq!(values[0], values[1], "rows {start}.. of epoch {epoch}");
            streams[1].read(start % 500, &mut values[0]).unwrap();
            stored.validate.read(start % 500, &mut values[1]).unwrap();
            assert_eq!(values[0], values[1], "validation");
        }
    }
    let most = 2 + 60 / 5 * 2;
    assert!(times() <= most, "a file is opened once a pass, not once a block");
}

const MEMORY: &str = "XD_TEST_HARVEST";
/// Rows of the harvest whose memory is looked at; half of them of each corpus.
const MANY: u64 = 120_000;

/// Resident memory of this process now, in KiB.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// Looks at the memory while rows go by.
#[derive(Default)]
struct Memory {
    /// Keeps as much as the rows have in bf16, which a harvest must not.
    is_leaky: bool,
    /// After a quarter, and the last.
    seen: Mutex<[u64; 2]>,
    kept: Mutex<Vec<u8>>,
}

impl Watch for Memory {
    fn progress(&self, progress: &Progress) {
        if self.is_leaky {
            self.kept.lock().unwrap().resize(progress.done as usize * 512, 1);
        }
        let mut seen = self.seen.lock().unwrap();
        if progress.done < progress.total / 4 {
            seen[0] = resident();
        }
        seen[1] = resident();
    }

    fn note(&self, _: &str) {}
}

/// Harvests the embedded pair in a process of its own, whose memory nothing else fills.
#[test]
fn child_that_harvests_many_rows() {
    let Some(folder) = std::env::var_os(MEMORY).map(PathBuf::from) else { return };
    let organism = Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments/organism");
    let [base, tuned] = ["base", "chat"].map(|model| Decoder::load(organism.join(model)).unwrap());
    let tokenizer = Tokenizer::load(organism.join("chat")).unwrap();
    let texts = |name: &str, column: &str, template: Option<Template>| {
        let corpus = Corpus::Jsonl { path: organism.join("texts").join(name), column: column.into() };
        Texts { name: name.into(), corpus, tokenizer: &tokenizer, template }
    };
    let prose = texts("prose.jsonl", "text", None);
    let talk = texts("chat.jsonl", "messages", Some(Template::Tokenizer));
    let taps = [&base, &tuned].map(|decoder| Tap::new(decoder, &tokenizer, 3, Site::ResidualPost).unwrap());
    let train = [0, 1].map(|corpus| Portion { corpus, tokens: MANY / 2 }).to_vec();
    let harvest = Harvest { context: 256, train, block: Some(2048), ..Harvest::default() };
    assert_eq!(base.width(), 128);
    for is_leaky in [false, true] {
        let memory = Memory { is_leaky, ..Memory::default() };
        let out = folder.join(is_leaky.to_string());
        let done = harvest.run(&Pair::new(&taps[0], &taps[1]).unwrap(), &[&prose, &talk], &out, &memory).unwrap();
        assert_eq!((done.train.count(), done.train.index().shards.len() as u64), (MANY, MANY.div_ceil(2048)));
        let [quarter, end] = memory.seen.into_inner().unwrap();
        println!("{quarter} KiB after a quarter, {end} KiB at the end");
        // Three quarters of the rows are 45 MiB in bf16, and 90 MiB as they come out of the models.
        assert_eq!(end > quarter + (24 << 10), is_leaky, "{quarter} KiB after a quarter, {end} KiB at the end");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_harvest_needs_no_more_memory_the_longer_it_runs() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command.args(["activations_lm::child_that_harvests_many_rows", "--exact", "--nocapture"]);
    let output = command.env(MEMORY, folder.path()).env("RAYON_NUM_THREADS", "2").output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
}

#[test]
fn a_model_whose_taps_reach_nothing_is_refused_before_its_harvest() {
    let lab = Lab::new("");
    let (from, dead) = (fixture("llama"), lab.path().join("dead"));
    fs::create_dir(&dead).unwrap();
    for name in ["config.json", "tokenizer.json", "tokenizer_config.json"] {
        fs::copy(from.join(name), dead.join(name)).unwrap();
    }
    let mut tensors = candle_core::safetensors::load(from.join("model.safetensors"), &Device::Cpu).unwrap();
    let zero = tensors["model.norm.weight"].zeros_like().unwrap();
    tensors.insert("model.norm.weight".into(), zero);
    candle_core::safetensors::save(&tensors, dead.join("model.safetensors")).unwrap();
    let line = serde_json::json!({ "text": "the quick brown fox jumps over the lazy dog" }).to_string() + "\n";
    fs::write(lab.path().join("texts.jsonl"), line.repeat(20)).unwrap();
    lab.write(&format!(
        "xd 1\nmodel base = folder(\"{}\")\nmodel chat = folder(\"dead\")\npair two {{\n  base  = base\n  tuned = chat\n}}\n\
         corpus words = jsonl(\"texts.jsonl\", column = \"text\")\nactivations acts {{\n  of       = two\n  layer    = 1\n  context  = 64 tokens\n  \
         train    = [20 tokens of words]\n  validate = [20 tokens of words]\n}}\n",
        from.display()
    ));
    let output = lab.xd(&["run", "experiment.xd", "--out", "out", "--store", "store"]);
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    assert!(said(&output).contains("replacing the stream does not change the logits (layer 1"), "{}", said(&output));
}
