//! The harvest, over models whose residuals are a formula: every row can be predicted.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use half::bf16;
use proptest::prelude::*;
use xd::ml::activations::{
    Documents, Exclude, Harvest, Harvested, Pair, Portion, Residuals, ShardRows, Statistics, Store, Vocabulary,
};
use xd::ml::data::TokenSequence;
use xd::ml::watch::Unwatched;
use xd::ml::{Error, Progress, Result, RowInfo, Rows, TokenGroup, Watch};

const WIDTH: usize = 5;
const BOS: u32 = 0;

/// Residuals that depend on all ids so far; those of BOS are `sink` times as long.
pub struct Formula {
    model: u64,
    width: usize,
    sink: f32,
    vocabulary: Vocabulary,
}

impl Formula {
    pub fn new(model: u64) -> Self {
        let vocabulary = Vocabulary { hash: "h".into(), bos: Some(BOS), special: [BOS, 3].into() };
        Formula { model, width: WIDTH, sink: 1.0, vocabulary }
    }

    /// The residual `[d]` after `ids`.
    fn at(&self, ids: &[u32]) -> Vec<f32> {
        let hash =
            ids.iter().fold(self.model + 17, |hash, &id| (hash ^ u64::from(id)).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let scale = if ids[ids.len() - 1] == BOS { self.sink } else { 1.0 };
        (0..self.width as u32)
            .map(|i| scale * (1.0 + (hash.rotate_left(7 * i) >> 40) as f32 / (1 << 24) as f32))
            .collect()
    }
}

impl Residuals for Formula {
    fn width(&self) -> usize {
        self.width
    }

    fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    fn residuals(&self, ids: &[u32], batch: usize) -> Result<Vec<f32>> {
        let rows = ids.chunks(ids.len() / batch);
        Ok(rows.flat_map(|row| (0..row.len()).flat_map(|t| self.at(&row[..=t])).collect::<Vec<f32>>()).collect())
    }
}

pub struct Texts {
    name: String,
    pub documents: Vec<TokenSequence>,
}

impl Texts {
    /// Documents of these lengths that begin with BOS; now and then one is empty.
    fn new(name: &str, seed: u32, lengths: &[usize]) -> Self {
        let document = |(number, &length): (usize, &usize)| {
            let id = |t: usize| if t == 0 { BOS } else { 1 + (seed + 31 * number as u32 + 7 * t as u32) % 97 };
            let group = |t: usize| if t == 0 { TokenGroup::Bos } else { TokenGroup::User };
            TokenSequence { ids: (0..length).map(id).collect(), groups: (0..length).map(group).collect() }
        };
        Texts { name: name.into(), documents: lengths.iter().enumerate().map(document).collect() }
    }

    /// `documents` documents of 1 to 40 tokens.
    pub fn many(name: &str, seed: u32, documents: usize) -> Self {
        let lengths: Vec<usize> = (0..documents).map(|i| (i * 7919 + seed as usize * 13) % 41).collect();
        Texts::new(name, seed, &lengths)
    }
}

impl Documents for Texts {
    fn name(&self) -> &str {
        &self.name
    }

    fn read(&self, start: u64) -> Result<Box<dyn Iterator<Item = Result<TokenSequence>> + '_>> {
        Ok(Box::new(self.documents[start as usize..].iter().cloned().map(Ok)))
    }
}

/// What the filter leaves of one corpus, in order.
fn eligible(harvest: &Harvest, texts: &Texts, portion: u16) -> Vec<RowInfo> {
    let mut rows = Vec::new();
    for (number, document) in texts.documents.iter().enumerate() {
        for (t, (&token, &group)) in document.ids.iter().zip(&document.groups).enumerate().take(harvest.context) {
            let bos = token == BOS
                && (harvest.exclude.contains(&Exclude::Bos) || harvest.exclude.contains(&Exclude::Special));
            let special = token == 3 && harvest.exclude.contains(&Exclude::Special);
            if (t as u64) < harvest.skip || bos || special {
                continue;
            }
            rows.push(RowInfo { corpus: portion, sequence: number as u32, position: t as u32, token, group });
        }
    }
    rows
}

/// What both sets of one corpus must hold.
fn expected(harvest: &Harvest, texts: &Texts, portion: u16, validate: u64, train: u64) -> [Vec<RowInfo>; 2] {
    let rows = eligible(harvest, texts, portion);
    let first = rows[..validate as usize].to_vec();
    let free = first.last().map_or(0, |row| row.sequence + 1);
    let second = rows.into_iter().filter(|row| row.sequence >= free).take(train as usize).collect();
    [first, second]
}

pub fn read(rows: &dyn Rows) -> (Vec<f32>, Vec<RowInfo>) {
    let mut values = vec![0.0; rows.count() as usize * 2 * rows.width()];
    let mut infos = vec![RowInfo::default(); rows.count() as usize];
    rows.read(0, &mut values).unwrap();
    rows.info(0, &mut infos).unwrap();
    (values, infos)
}

/// Every row's values are the formula's at its document and position.
fn check_values(rows: &ShardRows, models: [&Formula; 2], corpora: &[&Texts], store: Store) {
    let (values, infos) = read(rows);
    for (row, info) in values.chunks(2 * WIDTH).zip(&infos) {
        let ids = &corpora[usize::from(info.corpus)].documents[info.sequence as usize].ids;
        let round = |x: f32| if store == Store::Bf16 { bf16::from_f32(x).to_f32() } else { x };
        let both = models.iter().flat_map(|model| model.at(&ids[..=info.position as usize])).map(round);
        assert_eq!(row, both.collect::<Vec<f32>>(), "{info:?}");
        assert_eq!(ids[info.position as usize], info.token);
    }
}

/// Every file of a folder and its bytes.
pub fn bytes(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            files.extend(bytes(&path).into_iter().map(|(file, bytes)| (format!("{name}/{file}"), bytes)));
        } else {
            files.insert(name, fs::read(&path).unwrap());
        }
    }
    files
}

/// The mix of two corpora that most tests use.
pub fn mixed() -> Harvest {
    let portion = |corpus, tokens| Portion { corpus, tokens };
    Harvest {
        context: 30,
        train: vec![portion(0, 2000), portion(1, 1000)],
        validate: vec![portion(0, 150), portion(1, 150)],
        block: Some(256),
        ..Harvest::default()
    }
}

pub fn run(harvest: &Harvest, corpora: [&Texts; 2], folder: &Path, watch: &dyn Watch) -> Result<Harvested> {
    let [base, tuned] = [1, 2].map(Formula::new);
    let corpora = corpora.map(|texts| texts as &dyn Documents);
    harvest.run(&Pair::new(&base, &tuned)?, &corpora, folder, watch)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn every_row_appears_once_with_its_values(
        lengths in prop::collection::vec(0usize..60, 30..80),
        context in 5usize..70,
        skip in 0u64..4,
        block in 1usize..300,
        exclude in prop::sample::select(vec![vec![], vec![Exclude::Bos], vec![Exclude::Special]]),
        store in prop::sample::select(vec![Store::Bf16, Store::F32]),
        shares in (0.0f64..0.4, 0.1f64..1.0),
        seed in 0u64..3,
    ) {
        let texts = [Texts::new("a", 5, &lengths), Texts::new("b", 9, &lengths[..lengths.len() / 2])];
        let mut harvest = Harvest { context, skip, exclude, store, seed, block: Some(block), ..Harvest::default() };
        let mut wanted = [Vec::new(), Vec::new()];
        for (corpus, texts) in texts.iter().enumerate() {
            let all = eligible(&harvest, texts, corpus as u16).len() as f64;
            let validate = (all * shares.0) as u64;
            let [first, rest] = expected(&harvest, texts, corpus as u16, validate, u64::MAX >> 1);
            let train = ((rest.len() as f64 * shares.1) as u64).max(1).min(rest.len() as u64);
            prop_assume!(train > 0);
            harvest.validate.push(Portion { corpus, tokens: validate });
            harvest.train.push(Portion { corpus, tokens: train });
            wanted[0].extend(first);
            wanted[1].extend(&rest[..train as usize]);
        }
        let folder = tempfile::tempdir().unwrap();
        let done = run(&harvest, [&texts[0], &texts[1]], folder.path(), &Unwatched).unwrap();
        for (rows, wanted) in [&done.validate, &done.train].into_iter().zip(wanted) {
            let mut found = read(rows).1;
            prop_assert!(rows.blocks().all(|rows| rows.end - rows.start <= block as u64));
            found.sort();
            prop_assert_eq!(found, { let mut wanted = wanted; wanted.sort(); wanted });
            check_values(rows, [&Formula::new(1), &Formula::new(2)], &[&texts[0], &texts[1]], store);
            rows.verify().unwrap();
        }
    }
}

#[test]
fn training_never_sees_a_document_of_validation() {
    let folder = tempfile::tempdir().unwrap();
    let texts = [Texts::many("a", 1, 200), Texts::many("b", 2, 120)];
    let done = run(&mixed(), [&texts[0], &texts[1]], folder.path(), &Unwatched).unwrap();
    let documents = |rows: &ShardRows| -> BTreeSet<(u16, u32)> {
        read(rows).1.iter().map(|info| (info.corpus, info.sequence)).collect()
    };
    let (train, validate) = (documents(&done.train), documents(&done.validate));
    assert!(train.is_disjoint(&validate));
    for corpus in 0..2 {
        let last = validate.iter().filter(|document| document.0 == corpus).max();
        let first = train.iter().find(|document| document.0 == corpus);
        assert!(last < first, "validation takes the documents before those for training");
    }
}

#[test]
fn validation_stays_the_same_when_training_grows() {
    let texts = [Texts::many("a", 1, 200), Texts::many("b", 2, 120)];
    let of = |tokens| {
        let folder = tempfile::tempdir().unwrap();
        let train = vec![Portion { corpus: 0, tokens }];
        read(&run(&Harvest { train, ..mixed() }, [&texts[0], &texts[1]], folder.path(), &Unwatched).unwrap().validate)
    };
    assert_eq!(of(10), of(2000));
}

#[test]
fn every_block_has_the_mix_of_the_portions_in_a_random_order() {
    let folder = tempfile::tempdir().unwrap();
    let texts = [Texts::many("a", 1, 200), Texts::many("b", 2, 120)];
    let done = run(&mixed(), [&texts[0], &texts[1]], folder.path(), &Unwatched).unwrap();
    let infos = read(&done.train).1;
    assert_eq!(done.train.blocks().count(), 3000usize.div_ceil(256));
    for block in done.train.blocks() {
        let rows = &infos[block.start as usize..block.end as usize];
        let second = rows.iter().filter(|info| info.corpus == 1).count();
        assert!(second.abs_diff(rows.len() / 3) <= 2, "{second} of {}", rows.len());
        let neighbours = rows.windows(2).filter(|pair| pair[0].position + 1 == pair[1].position).count();
        assert!(neighbours * 5 < rows.len(), "{neighbours} of {} rows follow their neighbour", rows.len());
    }
    assert_eq!(done.train.index().portions, [2000, 1000]);
    assert_eq!(done.train.index().corpora, ["a", "b"]);
}

#[test]
fn the_limit_keeps_the_mix() {
    let folder = tempfile::tempdir().unwrap();
    let texts = [Texts::many("a", 1, 200), Texts::many("b", 2, 120)];
    let harvest = Harvest { limit: Some(300), ..mixed() };
    let done = run(&harvest, [&texts[0], &texts[1]], folder.path(), &Unwatched).unwrap();
    assert_eq!(done.train.index().portions, [200, 100]);
    assert_eq!(done.validate.count(), 300);
}

#[test]
fn a_bos_of_id_0_is_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let texts = [Texts::many("a", 1, 200), Texts::many("b", 2, 120)];
    let with = |exclude: Vec<Exclude>, name: &str| {
        let harvest = Harvest { exclude, ..mixed() };
        let done = run(&harvest, [&texts[0], &texts[1]], &folder.path().join(name), &Unwatched).unwrap();
        read(&done.train).1.iter().filter(|info| info.token == BOS).count()
    };
    assert!(with(vec![], "all") > 50);
    assert_eq!(with(vec![Exclude::Bos], "no bos"), 0);
}

/// Keeps the notes; stops when it has been asked so many times.
pub struct Recorder {
    notes: Mutex<Vec<String>>,
    asked: AtomicUsize,
    patience: usize,
    last: Mutex<Progress>,
}

impl Recorder {
    pub fn new(patience: usize) -> Self {
        Recorder { notes: Mutex::default(), asked: AtomicUsize::new(0), patience, last: Mutex::default() }
    }
}

impl Watch for Recorder {
    fn progress(&self, progress: &Progress) {
        *self.last.lock().unwrap() = progress.clone();
    }

    fn stop(&self) -> bool {
        self.asked.fetch_add(1, Ordering::SeqCst) >= self.patience
    }

    fn note(&self, text: &str) {
        self.notes.lock().unwrap().push(text.into());
    }
}

#[test]
fn sinks_are_told_and_norm_above_leaves_them_out() {
    let texts = [Texts::many("a", 1, 200), Texts::many("b", 2, 120)];
    let tuned = Formula { sink: 40.0, ..Formula::new(2) };
    let base = Formula::new(1);
    let pair = Pair::new(&base, &tuned).unwrap();
    let corpora = [&texts[0] as &dyn Documents, &texts[1]];
    let folder = tempfile::tempdir().unwrap();

    let watch = Recorder::new(usize::MAX);
    let done = mixed().run(&pair, &corpora, &folder.path().join("all"), &watch).unwrap();
    let norms = &done.train.index().norms;
    let bos = read(&done.train).1.iter().filter(|info| info.token == BOS).count() as u64;
    assert_eq!((norms.sinks, norms.sinks_at_bos, norms.tokens.len()), (bos, bos, 1));
    assert_eq!((norms.tokens[0].token, norms.positions[0].position), (BOS, 0));
    let notes = watch.notes.lock().unwrap();
    assert!(notes.iter().any(|note| note.starts_with("train: ") && note.contains("exclude = [bos]")), "{notes:?}");
    assert_eq!(*watch.last.lock().unwrap(), Progress { done: 3300, total: 3300, loss: None });

    let watch = Recorder::new(usize::MAX);
    let harvest = Harvest { exclude: vec![Exclude::NormAbove(10.0)], ..mixed() };
    let done = harvest.run(&pair, &corpora, &folder.path().join("short"), &watch).unwrap();
    assert!(read(&done.train).1.iter().all(|info| info.token != BOS));
    assert_eq!(done.train.count(), 3000);
    assert_eq!(done.train.index().norms.sinks, 0);
    let notes = watch.notes.lock().unwrap();
    assert!(notes.iter().all(|note| note.contains("of padding")), "{notes:?}");
}

#[test]
fn the_index_has_the_statistics_of_the_stored_rows() {
    let folder = tempfile::tempdir().unwrap();
    let texts = [Texts::many("a", 1, 200), Texts::many("b", 2, 120)];
    let done = run(&mixed(), [&texts[0], &texts[1]], folder.path(), &Unwatched).unwrap();
    let index = done.train.index();
    let again = Statistics::over(&done.train).unwrap();
    assert_eq!(index.statistics.rows, again.rows);
    let close = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 1e-9 * b.abs());
    assert!(close(&index.statistics.mean, &again.mean) && close(&index.statistics.squares, &again.squares));
    assert!((index.norms.models[0].mean - again.norm[0]).abs() < 1e-6);
    let tokens: BTreeSet<u32> = read(&done.train).1.iter().map(|info| info.token).collect();
    assert_eq!(index.distinct_tokens, tokens.len() as u64);
    let documents: BTreeSet<(u16, u32)> = read(&done.train).1.iter().map(|info| (info.corpus, info.sequence)).collect();
    assert_eq!(index.documents.iter().sum::<u64>(), documents.len() as u64);
}

#[test]
fn the_same_bytes_on_one_two_and_three_threads() {
    let texts = [Texts::many("a", 1, 200), Texts::many("b", 2, 120)];
    let with = |threads| {
        let folder = tempfile::tempdir().unwrap();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| run(&mixed(), [&texts[0], &texts[1]], folder.path(), &Unwatched)).unwrap();
        bytes(folder.path())
    };
    let one = with(1);
    assert!(one.contains_key("train/shard-00000.rows") && one.contains_key("validate/index.json"));
    assert!(one == with(2) && one == with(3));
}

/// A run that is stopped again and again, with `damage` done to the folder after the first stop.
fn interrupted(patience: usize, damage: impl Fn(&Path)) -> (BTreeMap<String, Vec<u8>>, usize, Vec<String>) {
    let texts = [Texts::many("a", 1, 200), Texts::many("b", 2, 120)];
    let folder = tempfile::tempdir().unwrap();
    let harvest = Harvest { exclude: vec![Exclude::NormAbove(1.2)], ..mixed() };
    let mut notes = Vec::new();
    for attempt in 0.. {
        // Patience grows, so that damage that starts it again cannot keep it from the end.
        let watch = Recorder::new(patience + attempt / 4);
        let ended = run(&harvest, [&texts[0], &texts[1]], folder.path(), &watch);
        notes.extend(watch.notes.into_inner().unwrap());
        match ended {
            Err(Error::Interrupted) if attempt == 0 => damage(folder.path()),
            Err(Error::Interrupted) => {}
            Err(error) => panic!("{error}"),
            Ok(_) => return (bytes(folder.path()), attempt, notes),
        }
    }
    unreachable!()
}

#[test]
fn a_stopped_harvest_goes_on_to_the_same_bytes() {
    let (whole, stops, _) = interrupted(usize::MAX >> 1, |_| {});
    assert_eq!(stops, 0);
    let mut most = 0;
    for patience in 1..25 {
        let (bytes, stops, notes) = interrupted(patience, |_| {});
        assert!(bytes == whole, "stopped after {patience} questions");
        assert!(notes.iter().all(|note| !note.contains("damaged")), "{notes:?}");
        most = most.max(stops);
    }
    assert!(most >= 3, "stopped {most} times at most");
}

#[test]
fn damaged_progress_starts_again_to_the_same_bytes() {
    let (whole, ..) = interrupted(usize::MAX >> 1, |_| {});
    let mut restarts = 0;
    for file in [
        "train/shard-00000.rows",
        "train/shard-00001.info",
        "train/journal.rows",
        "validate/index.json",
        "progress.json",
    ] {
        for patience in [6, 9, 12, 15] {
            let (bytes, _, notes) = interrupted(patience, |folder| {
                let path = folder.join(file);
                if let Ok(bytes) = fs::read(&path) {
                    fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
                }
            });
            restarts += notes.iter().filter(|note| note.contains("damaged")).count();
            assert!(bytes == whole, "{file} cut after {patience} questions");
        }
    }
    assert!(restarts > 0, "some of the cuts must have been noticed");
    let mut flipped = 0;
    for patience in (9..60).step_by(5) {
        let (bytes, _, notes) = interrupted(patience, |folder| {
            let Ok(text) = fs::read_to_string(folder.join("progress.json")) else { return };
            let state: serde_json::Value = serde_json::from_str(&text).unwrap();
            let set = if state["set"] == 1 { "train" } else { "validate" };
            let Some(last) = state["shards"].as_array().unwrap().len().checked_sub(1) else { return };
            let path = folder.join(format!("{set}/shard-{last:05}.rows"));
            let mut bytes = fs::read(&path).unwrap();
            bytes[5] ^= 1;
            fs::write(&path, &bytes).unwrap();
        });
        flipped += notes.iter().filter(|note| note.contains("damaged")).count();
        assert!(bytes == whole, "a bit of the last shard turned after {patience} questions");
    }
    assert!(flipped > 0, "some of the turned bits must have been noticed");
}

#[test]
fn a_finished_harvest_is_opened_and_another_one_is_not_overwritten() {
    let texts = [Texts::many("a", 1, 200), Texts::many("b", 2, 120)];
    let folder = tempfile::tempdir().unwrap();
    run(&mixed(), [&texts[0], &texts[1]], folder.path(), &Unwatched).unwrap();
    let before = bytes(folder.path());
    run(&mixed(), [&texts[0], &texts[1]], folder.path(), &Recorder::new(0)).unwrap();
    let other = Harvest { seed: 7, ..mixed() };
    let error = run(&other, [&texts[0], &texts[1]], folder.path(), &Unwatched).unwrap_err().to_string();
    assert!(error.contains("other settings"), "{error}");
    assert!(bytes(folder.path()) == before);
}

#[test]
fn a_changed_shard_is_noticed() {
    let texts = [Texts::many("a", 1, 200), Texts::many("b", 2, 120)];
    for (file, at) in [("shard-00002.rows", 100), ("shard-00002.info", 40)] {
        let folder = tempfile::tempdir().unwrap();
        run(&mixed(), [&texts[0], &texts[1]], folder.path(), &Unwatched).unwrap();
        let path = folder.path().join("train").join(file);
        let mut bytes = fs::read(&path).unwrap();
        bytes[at] ^= 1;
        fs::write(&path, &bytes).unwrap();
        let rows = ShardRows::open(&folder.path().join("train")).unwrap();
        let mut row = vec![0.0; 2 * WIDTH];
        rows.read(511, &mut row).unwrap();
        let error = rows.read(512, &mut row).unwrap_err().to_string();
        assert!(error.contains("shard-00002") && error.contains("checksum"), "{error}");
        assert!(rows.info(700, &mut [RowInfo::default()]).is_err());
        assert!(rows.verify().is_err());

        bytes.pop();
        fs::write(&path, &bytes).unwrap();
        let error = ShardRows::open(&folder.path().join("train")).unwrap_err().to_string();
        assert!(error.contains(file) && error.contains("the index says"), "{error}");
    }
}

/// Puts a folder where a shard must go.
struct Saboteur<'a>(&'a Path);

impl Watch for Saboteur<'_> {
    fn progress(&self, _: &Progress) {
        fs::create_dir_all(self.0.join("train/shard-00001.info/occupied")).unwrap();
    }

    fn note(&self, _: &str) {}
}

#[test]
fn an_error_of_the_writing_in_the_background_ends_the_harvest() {
    let texts = [Texts::many("a", 1, 200), Texts::many("b", 2, 120)];
    let folder = tempfile::tempdir().unwrap();
    let harvest = Harvest { validate: vec![portion_of(0, 150)], ..mixed() };
    fs::create_dir_all(folder.path().join("train")).unwrap();
    let error = run(&harvest, [&texts[0], &texts[1]], folder.path(), &Saboteur(folder.path())).unwrap_err().to_string();
    assert!(error.contains("shard-00001.info"), "{error}");
    // Once the place is free, it goes on to what an undisturbed harvest writes.
    fs::remove_dir_all(folder.path().join("train/shard-00001.info")).unwrap();
    run(&harvest, [&texts[0], &texts[1]], folder.path(), &Unwatched).unwrap();
    let whole = tempfile::tempdir().unwrap();
    run(&harvest, [&texts[0], &texts[1]], whole.path(), &Unwatched).unwrap();
    assert!(bytes(folder.path()) == bytes(whole.path()));
}

fn portion_of(corpus: usize, tokens: u64) -> Portion {
    Portion { corpus, tokens }
}

#[test]
fn reads_cross_shards() {
    let texts = [Texts::many("a", 1, 200), Texts::many("b", 2, 120)];
    let folder = tempfile::tempdir().unwrap();
    let rows = run(&mixed(), [&texts[0], &texts[1]], folder.path(), &Unwatched).unwrap().train;
    let (values, infos) = read(&rows);
    for (start, count) in [(0, 1), (255, 2), (200, 800), (2999, 1), (3000, 0)] {
        let mut part = vec![0.0; count * 2 * WIDTH];
        let mut origins = vec![RowInfo::default(); count];
        rows.read(start as u64, &mut part).unwrap();
        rows.info(start as u64, &mut origins).unwrap();
        assert_eq!(part, values[start * 2 * WIDTH..(start + count) * 2 * WIDTH]);
        assert_eq!(origins, infos[start..start + count]);
    }
    let error = rows.read(2999, &mut vec![0.0; 4 * WIDTH]).unwrap_err().to_string();
    assert!(error.contains("rows 2999..3001 of 3000"), "{error}");
    assert!(rows.read(0, &mut [0.0; 3]).is_err());
}

#[test]
fn too_little_text_says_how_much_there_is_and_what_to_write() {
    let texts = [Texts::new("prose", 1, &[40; 20]), Texts::many("b", 2, 120)];
    let folder = tempfile::tempdir().unwrap();
    let error = run(&mixed(), [&texts[0], &texts[1]], folder.path(), &Unwatched).unwrap_err().to_string();
    assert!(error.contains("`prose` has 600 usable tokens in 20 documents"), "{error}");
    assert!(error.contains("at most `450 tokens of prose` under train"), "{error}");
    assert!(error.contains("200 tokens are beyond the context of 30"), "{error}");
    let train = vec![Portion { corpus: 0, tokens: 450 }];
    let harvest = Harvest { train, ..mixed() };
    assert_eq!(run(&harvest, [&texts[0], &texts[1]], folder.path(), &Unwatched).unwrap().train.count(), 450);

    let harvest = Harvest { exclude: vec![Exclude::NormAbove(0.1)], ..mixed() };
    let texts = [Texts::many("a", 1, 200), Texts::many("b", 2, 120)];
    let folder = tempfile::tempdir().unwrap();
    let error = run(&harvest, [&texts[0], &texts[1]], folder.path(), &Unwatched).unwrap_err().to_string();
    assert!(error.contains("`a` ends after 0 of the 150 tokens") && error.contains("norm_above"), "{error}");
}

#[test]
fn settings_that_cannot_be_are_refused() {
    let texts = [Texts::many("a", 1, 200), Texts::many("b", 2, 120)];
    let folder = tempfile::tempdir().unwrap();
    let portion = |corpus, tokens| Portion { corpus, tokens };
    for (harvest, words) in [
        (Harvest { train: vec![portion(0, 5), portion(0, 6)], ..mixed() }, "train names `a` twice"),
        (Harvest { train: vec![portion(2, 5)], ..mixed() }, "corpus 2 of 2"),
        (Harvest { train: vec![], ..mixed() }, "nothing to train on"),
        (Harvest { limit: Some(0), ..mixed() }, "nothing to train on"),
        (Harvest { skip: 30, ..mixed() }, "skip = 30"),
        (Harvest { exclude: vec![Exclude::NormAbove(0.0)], ..mixed() }, "norm_above(0x)"),
        (Harvest { block: Some(0), ..mixed() }, "blocks of 0 rows"),
    ] {
        let error = run(&harvest, [&texts[0], &texts[1]], folder.path(), &Unwatched).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn models_that_do_not_fit_are_refused() {
    let base = Formula::new(1);
    let mut tuned = Formula::new(2);
    tuned.vocabulary.hash = "other".into();
    let error = Pair::new(&base, &tuned).err().unwrap().to_string();
    assert!(error.contains("the tokenizers differ: base h, tuned other"), "{error}");
    let tuned = Formula { width: 6, ..Formula::new(2) };
    let error = Pair::new(&base, &tuned).err().unwrap().to_string();
    assert!(error.contains("base d = 5, tuned d = 6"), "{error}");
}

#[test]
fn residuals_that_are_no_numbers_are_named() {
    let texts = Texts::many("a", 1, 200);
    let base = Formula::new(1);
    let tuned = Formula { sink: f32::NAN, ..Formula::new(2) };
    let harvest = Harvest { train: vec![Portion { corpus: 0, tokens: 100 }], validate: vec![], ..mixed() };
    let folder = tempfile::tempdir().unwrap();
    let pair = Pair::new(&base, &tuned).unwrap();
    let error = harvest.run(&pair, &[&texts], folder.path(), &Unwatched).unwrap_err().to_string();
    assert!(
        error.contains("the tuned model gives NaN or infinity at document") && error.contains("position 0"),
        "{error}"
    );
}

/// A model that takes its time, so that there is a middle in which to kill it.
struct Slow(Formula);

impl Residuals for Slow {
    fn width(&self) -> usize {
        self.0.width()
    }

    fn vocabulary(&self) -> &Vocabulary {
        self.0.vocabulary()
    }

    fn residuals(&self, ids: &[u32], batch: usize) -> Result<Vec<f32>> {
        std::thread::sleep(std::time::Duration::from_millis(10));
        self.0.residuals(ids, batch)
    }
}

const FOLDER: &str = "XD_TEST_HARVEST_FOLDER";

/// What the killed process does. Does nothing unless the test below asks for it.
#[test]
fn child_that_is_killed() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    slow(Path::new(&folder));
}

fn slow(folder: &Path) {
    let texts = [Texts::many("a", 1, 6000), Texts::many("b", 2, 3600)];
    let portion = |corpus, tokens| Portion { corpus, tokens };
    let train = vec![portion(0, 60_000), portion(1, 30_000)];
    let harvest = Harvest { train, block: Some(1024), ..mixed() };
    let (base, tuned) = (Slow(Formula::new(1)), Slow(Formula::new(2)));
    let corpora = [&texts[0] as &dyn Documents, &texts[1]];
    harvest.run(&Pair::new(&base, &tuned).unwrap(), &corpora, folder, &Unwatched).unwrap();
}

#[test]
fn a_killed_harvest_goes_on_to_the_same_bytes() {
    let whole = tempfile::tempdir().unwrap();
    let began = std::time::Instant::now();
    slow(whole.path());
    let time = began.elapsed();
    let folder = tempfile::tempdir().unwrap();
    let program = std::env::current_exe().unwrap();
    let mut half_done = 0;
    for share in [0.2, 0.5, 0.35, 0.6, 0.1] {
        let mut command = std::process::Command::new(&program);
        command.args(["activations::child_that_is_killed", "--exact"]).env(FOLDER, folder.path());
        let mut child = command.stdout(std::process::Stdio::null()).spawn().unwrap();
        std::thread::sleep(time.mul_f64(share));
        child.kill().unwrap();
        child.wait().unwrap();
        let shards = folder.path().join("train/shard-00000.rows").exists();
        half_done += usize::from(shards && folder.path().join("progress.json").exists());
    }
    assert!(half_done > 0, "none of the kills came in the middle");
    slow(folder.path());
    assert!(bytes(folder.path()) == bytes(whole.path()));
}
