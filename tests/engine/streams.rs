//! `store = none`: rows that are harvested when they are read are those of f32 shards, in whatever order they are asked for.

use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;
use xd::ml::activations::{
    Documents, Exclude, Harvest, Pair, Portion, Statistics, Store, StreamIndex, StreamedRows, Supply,
};
use xd::ml::crosscoder::{Crosscoder, Loss, Pace, Shuffle, SweepPoint, Train, Trainer, TrainerConfig, train_sweep};
use xd::ml::watch::Unwatched;
use xd::ml::{Error, MemoryRows, Result, RowInfo, Rows, Watch};

use crate::activations::{Formula, Recorder, Texts, bytes, mixed, read, run};
use crate::crosscoder::rows::{config, top};
use crate::support::{Lab, differing, said};

/// Two formulas over two texts.
struct Toy {
    models: [Formula; 2],
    texts: [Texts; 2],
}

impl Toy {
    fn new() -> Self {
        Toy { models: [1, 2].map(Formula::new), texts: [Texts::many("a", 1, 200), Texts::many("b", 2, 120)] }
    }
}

impl Supply for Toy {
    fn with(&self, work: &mut dyn FnMut(&Pair, &[&dyn Documents]) -> Result<()>) -> Result<()> {
        let corpora = self.texts.each_ref().map(|texts| texts as &dyn Documents);
        work(&Pair::new(&self.models[0], &self.models[1])?, &corpora)
    }
}

fn survey(harvest: &Harvest, toy: &Toy, folder: &Path, statistics: bool, watch: &dyn Watch) -> Result<()> {
    toy.with(&mut |pair, corpora| harvest.survey_stream(pair, corpora, folder, statistics, watch))
}

fn stream<'a>(harvest: &Harvest, toy: Toy, folder: &Path, set: &str, watch: &'a dyn Watch) -> StreamedRows<'a> {
    StreamedRows::open(harvest.clone(), folder, set, Arc::new(toy), Some(folder.join("refills.csv")), watch).unwrap()
}

/// Settings that leave rows out in every way.
fn harvests() -> Vec<Harvest> {
    let f32 = Harvest { store: Store::F32, ..mixed() };
    vec![
        f32.clone(),
        Harvest { skip: 2, exclude: vec![Exclude::Bos], limit: Some(1700), ..f32.clone() },
        Harvest { exclude: vec![Exclude::NormAbove(1.2)], block: Some(300), ..f32 },
    ]
}

#[test]
fn a_stream_has_the_rows_of_f32_shards() {
    for harvest in harvests() {
        let (folder, shards) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let toy = Toy::new();
        let done = run(&harvest, [&toy.texts[0], &toy.texts[1]], shards.path(), &Unwatched).unwrap();
        survey(&harvest, &toy, folder.path(), true, &Unwatched).unwrap();
        for (set, stored) in [("train", &done.train), ("validate", &done.validate)] {
            let rows = stream(&harvest, Toy::new(), folder.path(), set, &Unwatched);
            assert_eq!((rows.count(), rows.width()), (stored.count(), stored.width()));
            assert!(read(&rows) == read(stored), "{set} of {harvest:?}");
            // A second pass harvests again, and finds the same.
            let before = rows.work().0;
            assert!(read(&rows) == read(stored));
            assert!(rows.index().blocks.len() == 1 || rows.work().0 > before);
        }
        let index = StreamIndex::read(&folder.path().join("train")).unwrap();
        assert_eq!(index.statistics, done.train.index().statistics, "what scales the rows is the same to the bit");
        assert_eq!(index.longest.is_some(), !harvest.exclude.is_empty() && harvest.skip == 0);
        let log = std::fs::read_to_string(folder.path().join("refills.csv")).unwrap();
        assert!(log.starts_with("set,refill,block,rows,distinct_tokens\ntrain,1,0,"), "{log}");
    }
}

#[test]
fn without_scaling_the_models_are_not_run_to_survey() {
    let folder = tempfile::tempdir().unwrap();
    let mut toy = Toy::new();
    // Any row of it would be an error.
    toy.models[0] = Formula::new(7);
    let harvest = Harvest { store: Store::F32, ..mixed() };
    survey(&harvest, &toy, folder.path(), false, &Unwatched).unwrap();
    let index = StreamIndex::read(&folder.path().join("train")).unwrap();
    assert_eq!((index.rows, index.statistics.rows, index.blocks.len()), (3000, 0, 12));
    // The tokens of the blocks differ: the buffer does not hold the same rows again and again.
    let mut origins: Vec<&str> = index.blocks.iter().map(|block| block.origins.as_str()).collect();
    origins.sort_unstable();
    origins.dedup();
    assert_eq!(origins.len(), 12);
    assert!(index.blocks.iter().all(|block| block.distinct_tokens > 40 && block.rows > 0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn a_cursor_anywhere_reads_the_same(reads in prop::collection::vec((0u64..3000, 0usize..700), 1..8)) {
        let (folder, shards) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let harvest = Harvest { store: Store::F32, ..mixed() };
        let toy = Toy::new();
        let stored = run(&harvest, [&toy.texts[0], &toy.texts[1]], shards.path(), &Unwatched).unwrap().train;
        survey(&harvest, &toy, folder.path(), false, &Unwatched).unwrap();
        let rows = stream(&harvest, toy, folder.path(), "train", &Unwatched);
        for (start, count) in reads {
            let count = count.min((3000 - start) as usize);
            let mut values = [vec![0f32; count * 2 * rows.width()], vec![0f32; count * 2 * rows.width()]];
            let mut infos = [vec![RowInfo::default(); count], vec![RowInfo::default(); count]];
            rows.read(start, &mut values[0]).unwrap();
            stored.read(start, &mut values[1]).unwrap();
            rows.info(start, &mut infos[0]).unwrap();
            stored.info(start, &mut infos[1]).unwrap();
            prop_assert_eq!(&values[0], &values[1]);
            prop_assert_eq!(&infos[0], &infos[1]);
        }
    }
}

#[test]
fn a_stopped_survey_goes_on_to_the_same_bytes() {
    for harvest in harvests() {
        let of = |patience: usize| {
            let folder = tempfile::tempdir().unwrap();
            for attempt in 0.. {
                match survey(&harvest, &Toy::new(), folder.path(), true, &Recorder::new(patience + attempt)) {
                    Err(Error::Interrupted) => {}
                    ended => {
                        ended.unwrap();
                        break;
                    }
                }
            }
            bytes(folder.path())
        };
        let whole = of(usize::MAX >> 1);
        for patience in [1, 3, 8] {
            assert!(of(patience) == whole, "stopped after {patience} questions");
        }
    }
}

#[test]
fn texts_that_changed_are_noticed_at_the_refill() {
    let folder = tempfile::tempdir().unwrap();
    let harvest = Harvest { store: Store::F32, ..mixed() };
    survey(&harvest, &Toy::new(), folder.path(), false, &Unwatched).unwrap();
    let mut values = vec![0f32; 10];
    let mut changed = Toy::new();
    // A document in the middle of the training rows.
    let document = changed.texts[0].documents[60..].iter_mut().find(|document| document.ids.len() > 10).unwrap();
    document.ids[7] = 96;
    let rows = stream(&harvest, changed, folder.path(), "train", &Unwatched);
    let failed = (0..3000).step_by(256).filter_map(|row| rows.read(row, &mut values).err()).collect::<Vec<_>>();
    assert!(failed.iter().any(|error| error.to_string().contains("the texts have changed")), "{failed:?}");

    let mut short = Toy::new();
    short.texts[1].documents.truncate(20);
    let rows = stream(&harvest, short, folder.path(), "train", &Unwatched);
    let error = rows.read(2900, &mut values).unwrap_err().to_string();
    assert!(error.contains("`b` ends after"), "{error}");

    let other = Harvest { seed: 3, ..harvest };
    let error =
        StreamedRows::open(other, folder.path(), "train", Arc::new(Toy::new()), None, &Unwatched).err().unwrap();
    assert!(error.to_string().contains("other settings"), "{error}");
}

#[test]
fn the_buffer_does_not_grow() {
    let folder = tempfile::tempdir().unwrap();
    let portion = |corpus, tokens| Portion { corpus, tokens };
    let train = vec![portion(0, 100_000), portion(1, 50_000)];
    let harvest = Harvest { store: Store::F32, train, block: Some(2048), ..mixed() };
    let long = || Toy { texts: [Texts::many("a", 1, 12_000), Texts::many("b", 2, 8_000)], ..Toy::new() };
    survey(&harvest, &long(), folder.path(), false, &Unwatched).unwrap();
    let rows = stream(&harvest, long(), folder.path(), "train", &Unwatched);
    let mut values = vec![0f32; 2048 * 10];
    let mut most = 0;
    for start in (0..rows.count() - 2048).step_by(2048) {
        rows.read(start, &mut values).unwrap();
        let (refills, held) = rows.work();
        assert!(refills <= start / 2048 + 1);
        if start < 20_000 {
            most = most.max(held);
        }
        // Windows end with a document, so their sizes differ a little.
        assert!(held <= most + most / 10, "{held} bytes at row {start}, {most} at the beginning");
    }
    assert!(rows.work().0 >= 70, "{} refills", rows.work().0);
    // Two windows of 16,384 tokens and a block, each a number of five for two models.
    assert!(most < 2 * (2 * 17_000 * 70 + 2048 * 70), "{most}");
}

fn trained(rows: &dyn Rows, threads: usize) -> Crosscoder {
    let of = |loss: Loss| TrainerConfig {
        // In the order of the rows: a shuffle reaches further where they are stored.
        train: Train { steps: 150, batch: 64, shuffle: Shuffle::None, ..config(24, loss).train },
        ..config(24, loss)
    };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    pool.install(|| {
        let point = |k| SweepPoint::new(Trainer::new(of(Loss::TopK(top(k))), rows.width(), None).unwrap());
        let mut points = [point(2), point(3)];
        train_sweep(rows, &mut points, None, Pace::default(), &Unwatched).unwrap();
        let [_, point] = points;
        point.trainer.finish().unwrap()
    })
}

#[test]
fn training_on_a_stream_is_training_on_shards() {
    let (folder, shards) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let harvest = Harvest { store: Store::F32, ..mixed() };
    let toy = Toy::new();
    let stored = run(&harvest, [&toy.texts[0], &toy.texts[1]], shards.path(), &Unwatched).unwrap().train;
    survey(&harvest, &toy, folder.path(), false, &Unwatched).unwrap();
    let expected = trained(&stored, 2);
    for threads in [1, 3] {
        let rows = stream(&harvest, Toy::new(), folder.path(), "train", &Unwatched);
        let got = trained(&rows, threads);
        assert_eq!(got.encoder_weight, expected.encoder_weight, "{threads} threads");
        assert_eq!(got.decoder_weight, expected.decoder_weight);
        // Both points of the sweep took their batches from one stream.
        let epochs = rows.work().0.div_ceil(rows.index().blocks.len() as u64);
        assert!(epochs <= 150 * 64 / 3000 + 1, "{} refills", rows.work().0);
    }
    assert_eq!(Statistics::over(&stored).unwrap().rows, 3000);
}

/// What is gathered from all over the shards are the rows that were asked for, on any number of threads.
#[test]
fn training_on_shuffled_shards_is_training_on_their_rows() {
    /// Rows in memory, read in the order in which stored ones are.
    struct Stored(MemoryRows);
    impl Rows for Stored {
        fn width(&self) -> usize {
            self.0.width()
        }
        fn count(&self) -> u64 {
            self.0.count()
        }
        fn read(&self, start: u64, out: &mut [f32]) -> Result<()> {
            self.0.read(start, out)
        }
        fn info(&self, start: u64, out: &mut [RowInfo]) -> Result<()> {
            self.0.info(start, out)
        }
        fn is_stored(&self) -> bool {
            true
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let harvest = Harvest { store: Store::F32, ..mixed() };
    let toy = Toy::new();
    let shards = run(&harvest, [&toy.texts[0], &toy.texts[1]], folder.path(), &Unwatched).unwrap().train;
    assert!(shards.blocks().count() > 4);
    let mut values = vec![0f32; 3000 * 2 * shards.width()];
    shards.read(0, &mut values).unwrap();
    let memory = MemoryRows { width: shards.width(), values, infos: Vec::new() };
    let weights = |rows: &dyn Rows, shuffle, seed, threads| {
        let of = |k| {
            let mut config = config(24, Loss::TopK(top(k)));
            config.train = Train { steps: 150, batch: 64, shuffle, seed, ..config.train };
            SweepPoint::new(Trainer::new(config, rows.width(), None).unwrap())
        };
        let mut points = [of(2), of(3)];
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| train_sweep(rows, &mut points, None, Pace::default(), &Unwatched)).unwrap();
        points.map(|point| point.trainer.finish().unwrap().encoder_weight)
    };
    for shuffle in [Shuffle::Local, Shuffle::Global] {
        let expected = weights(&Stored(memory.clone()), shuffle, 7, 1);
        assert!(weights(&shards, shuffle, 7, 1) == expected && weights(&shards, shuffle, 7, 3) == expected);
        assert!(weights(&shards, shuffle, 8, 2) != expected);
    }
    // Rows that are not stored are shuffled in a smaller way.
    assert!(weights(&memory, Shuffle::Local, 7, 2) != weights(&shards, Shuffle::Local, 7, 2));
}

/// The embedded pair, streamed.
fn embedded(store: &str) -> String {
    let organism = Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments/organism").display().to_string();
    r#"xd 1
model base = folder("ORGANISM/base")
model chat = folder("ORGANISM/chat")
pair organism {
  base  = base
  tuned = chat
}
corpus prose = jsonl("ORGANISM/texts/prose.jsonl", column = "text")
corpus talk = jsonl("ORGANISM/texts/chat.jsonl", column = "messages", template = tokenizer)
activations acts {
  of        = organism
  layer     = 1
  context   = 256 tokens
  train     = [6K tokens of prose, 6K tokens of talk]
  validate  = [1K tokens of prose, 1K tokens of talk]
  exclude   = [bos]
  store     = STORE
  normalize = rms(10)
}
crosscoder cc for loss in [l1(weight = 0.06), batch_topk(k = 8, dead_after = 5K tokens, threshold_from = 50 steps)] {
  on      = acts
  latents = 2x
  train {
    batch     = 256 tokens
    length    = 3 epochs
    shuffle   = none
    optimizer = adam(lr = 3e-3, warmup = 20 steps)
  }
}
classify classes { of = cc }
scaling nu {
  of     = cc
  tokens = 5K tokens
}
quality fit { of = cc }
table counts {
  rows    = [classes, nu]
  group   = [loss, class]
  columns = [loss, class, count(), mean(nu_error)]
}
table fits { rows = fit }
"#
    .replace("ORGANISM", &organism)
    .replace("STORE", store)
}

/// Everything but the log of refills, which tells how often a run was stopped.
fn results(lab: &Lab, out: &str) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    lab.results(out).into_iter().filter(|(path, _)| !path.ends_with("refills.csv")).collect()
}

#[test]
fn a_streamed_experiment_gives_the_bytes_of_a_stored_one_also_when_it_is_killed() {
    let lab = Lab::new(&embedded("none"));
    let began = std::time::Instant::now();
    lab.run(&["--threads", "2", "--store", "whole", "--out", "streamed"]);
    let time = began.elapsed();
    lab.run(&["--threads", "1", "--store", "one", "--out", "one-thread"]);
    let whole = results(&lab, "streamed");
    assert!(whole.len() > 10, "{whole:?}");
    assert_eq!(differing(&whole, &results(&lab, "one-thread")), Vec::<String>::new());
    for (number, share) in [0.4, 0.6, 0.8].into_iter().enumerate() {
        let (store, out) = (format!("store-{number}"), format!("out-{number}"));
        let arguments = ["run", "experiment.xd", "--threads", "2", "--store", &store, "--out", &out];
        let mut child = lab.command(&arguments).spawn().unwrap();
        std::thread::sleep(time.mul_f64(share));
        child.kill().unwrap();
        child.wait().unwrap();
        lab.run(&["--threads", "2", "--store", &store, "--out", &out]);
        assert_eq!(differing(&whole, &results(&lab, &out)), Vec::<String>::new(), "killed after {share} of {time:?}");
    }
    let shards = |folder: &str| {
        let found = |folder: &Path| std::fs::read_dir(folder).unwrap().count();
        found(&lab.path().join(folder).join("artifacts/acts/train"))
    };
    assert_eq!(shards("streamed"), 1, "only stream.json");
    lab.write(&embedded("f32"));
    lab.run(&["--threads", "2", "--store", "whole", "--out", "stored"]);
    let analyses = |out: &str| -> Vec<(std::path::PathBuf, Vec<u8>)> {
        results(&lab, out).into_iter().filter(|(path, _)| !path.starts_with("artifacts/acts")).collect()
    };
    assert_eq!(differing(&analyses("streamed"), &analyses("stored")), Vec::<String>::new());
    lab.write(&embedded("none").replace("shuffle   = none", "shuffle   = global"));
    let refused = said(&lab.xd(&["check", "experiment.xd"]));
    assert!(refused.contains("cannot be shuffled as a whole"), "{refused}");
}
