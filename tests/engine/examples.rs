//! Examples of latents: by brute force, in any order of the rows, with any number of threads; and text out of steered models.

use std::collections::{BTreeMap, BTreeSet};

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use xd::ml::analysis::examples::{self, ExamplesConfig, Kept, SequenceId, sample};
use xd::ml::analysis::largest_activations;
use xd::ml::crosscoder::{Activation, CodeNorm, Crosscoder, Variant};
use xd::ml::data::Tokenizer;
use xd::ml::watch::Unwatched;
use xd::ml::{MemoryRows, RowInfo, Rows};

use crate::support::{Lab, said};

const D: usize = 6;
const LATENTS: usize = 10;
const EDGES: [f64; 3] = [0.3, 0.7, 1.0];

fn crosscoder(activation: Activation) -> Crosscoder {
    let mut random = StdRng::seed_from_u64(3);
    let mut draw = |count: usize| (0..count).map(|_| random.random_range(-1.0f32..1.0)).collect::<Vec<f32>>();
    Crosscoder {
        width: D,
        latents: LATENTS,
        encoder_weight: draw(2 * D * LATENTS),
        // The last latent never fires.
        encoder_bias: draw(LATENTS - 1).into_iter().map(|b| b - 0.8).chain([-100.0]).collect(),
        decoder_weight: draw(2 * D * LATENTS),
        decoder_bias: draw(2 * D),
        code_norm: CodeNorm::Sum,
        activation,
        normalizer: None,
        variant: Variant::SharedCode,
    }
}

/// Sequences of two portions in two blocks, each shuffled; documents 4 and 5 of portion 1 have the tokens of document 2 of portion 0,
/// whose first two tokens have no rows.
fn rows(seed: u64) -> MemoryRows {
    let mut random = StdRng::seed_from_u64(11);
    let mut blocks: [Vec<(RowInfo, Vec<f32>)>; 2] = Default::default();
    let mut twin = Vec::new();
    for (corpus, sequence) in (0..2u16).flat_map(|corpus| (0..25u32).map(move |sequence| (corpus, sequence))) {
        let length = random.random_range(3..20u32);
        let mut own: Vec<(u32, u32, Vec<f32>)> = (2..length)
            .map(|at| (at, random.random_range(0..50), (0..2 * D).map(|_| random.random_range(-1.5f32..1.5)).collect()))
            .collect();
        match (corpus, sequence) {
            (0, 2) => twin = own.clone(),
            (1, 4 | 5) => own = twin.clone(),
            _ => {}
        }
        for (position, token, values) in own {
            let info = RowInfo { corpus, sequence, position, token, ..RowInfo::default() };
            // Some sequences go over the end of the first block.
            blocks[usize::from(sequence > 12 || sequence == 12 && position > 5)].push((info, values));
        }
    }
    let mut random = StdRng::seed_from_u64(seed);
    let mut all = MemoryRows { width: D, ..MemoryRows::default() };
    for mut block in blocks {
        block.shuffle(&mut random);
        for (info, values) in block {
            all.infos.push(info);
            all.values.extend(values);
        }
    }
    all
}

fn config(count: usize) -> ExamplesConfig {
    ExamplesConfig {
        latents: (0..LATENTS as u32).rev().collect(),
        portions: None,
        count,
        bins: EDGES.to_vec(),
        around: 3,
        seed: 42,
        largest: None,
    }
}

/// f_ij S_j by the formulas, in f64.
fn slow(crosscoder: &Crosscoder, row: &[f32]) -> Vec<f64> {
    let norm = |model: usize, j: usize| {
        crosscoder.decoder_row(model, j).iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt()
    };
    let value = |j: usize| {
        let weights =
            row.iter().enumerate().map(|(i, x)| f64::from(*x) * f64::from(crosscoder.encoder_weight[i * LATENTS + j]));
        let p = weights.sum::<f64>() + f64::from(crosscoder.encoder_bias[j]);
        let scaled = p.max(0.0) * (norm(0, j) + norm(1, j));
        match &crosscoder.activation {
            Activation::Threshold { threshold, .. } if scaled <= f64::from(*threshold) => 0.0,
            Activation::JumpRelu { thresholds } if p <= f64::from(thresholds[j]) => 0.0,
            _ => scaled,
        }
    };
    let mut values: Vec<f64> = (0..LATENTS).map(value).collect();
    if let Activation::TopK { k } = &crosscoder.activation {
        let mut order: Vec<usize> = (0..LATENTS).collect();
        order.sort_by(|a, b| values[*b].total_cmp(&values[*a]));
        order[*k as usize..].iter().for_each(|j| values[*j] = 0.0);
    }
    values
}

/// Every latent and sequence: bin, largest activation and where it is.
fn brute(crosscoder: &Crosscoder, rows: &MemoryRows, portions: &[u16]) -> BTreeMap<(u32, SequenceId), (u8, f64, u32)> {
    let mut texts: BTreeMap<SequenceId, Vec<(u32, u32)>> = BTreeMap::new();
    let mut most = vec![0.0f64; LATENTS];
    let mut found: BTreeMap<(u32, SequenceId), (u8, f64, u32)> = BTreeMap::new();
    for (info, row) in rows.infos.iter().zip(rows.values.chunks_exact(2 * D)) {
        let id = (info.corpus, info.sequence);
        texts.entry(id).or_default().push((info.position, info.token));
        for (j, value) in slow(crosscoder, row).into_iter().enumerate().filter(|(_, value)| *value > 0.0) {
            most[j] = most[j].max(value);
            let slot = found.entry((j as u32, id)).or_insert((0, value, info.position));
            if value > slot.1 {
                *slot = (0, value, info.position);
            }
        }
    }
    texts.values_mut().for_each(|text| text.sort_unstable());
    texts.retain(|id, _| portions.contains(&id.0));
    let mut seen = BTreeSet::new();
    texts.retain(|_, text| seen.insert(text.clone()));
    found.retain(|(_, id), _| texts.contains_key(id));
    for ((j, _), (bin, value, _)) in &mut found {
        let share = *value / most[*j as usize];
        *bin = EDGES.iter().position(|edge| share <= *edge + 1e-9).unwrap() as u8;
    }
    found
}

fn kinds() -> [Activation; 4] {
    let thresholds = (0..LATENTS).map(|j| 0.1 * j as f32).collect();
    [
        Activation::Relu,
        Activation::Threshold { k: 3, threshold: 0.6 },
        Activation::TopK { k: 2 },
        Activation::JumpRelu { thresholds },
    ]
}

fn sampled(crosscoder: &Crosscoder, rows: &MemoryRows, config: &ExamplesConfig) -> Vec<Kept> {
    sample(crosscoder, rows, config, &Unwatched).unwrap()
}

#[test]
fn with_room_for_all_every_sequence_is_an_example() {
    for kind in kinds() {
        let (crosscoder, rows) = (crosscoder(kind.clone()), rows(1));
        for portions in [vec![0, 1], vec![1]] {
            let expected = brute(&crosscoder, &rows, &portions);
            assert!(expected.len() > 100, "{}", expected.len());
            let config = ExamplesConfig { portions: Some(portions), ..config(1000) };
            let kept = sampled(&crosscoder, &rows, &config);
            assert_eq!(kept.len(), expected.len(), "{kind:?}");
            for kept in &kept {
                let (bin, value, position) = expected[&(kept.latent, kept.sequence)];
                assert_eq!((kept.bin, kept.position), (bin, position), "{kept:?}");
                assert!((f64::from(kept.activation) - value).abs() < 1e-5 * value.max(1.0), "{kept:?}, not {value}");
                // Neighbours within three tokens, and nothing of the others.
                for (row, info) in rows.values.chunks_exact(2 * D).zip(&rows.infos) {
                    if (info.corpus, info.sequence) == kept.sequence {
                        let wanted = slow(&crosscoder, row)[kept.latent as usize];
                        let found = kept.fires.iter().find(|fire| fire.0 == info.position).map_or(0.0, |fire| fire.1);
                        let inside = info.position.abs_diff(kept.position) <= 3;
                        let wanted = if inside { wanted } else { 0.0 };
                        assert!((f64::from(found) - wanted).abs() < 1e-5, "{info:?}: {found}, not {wanted}");
                    }
                }
            }
            let order = |kept: &Kept| (kept.latent, std::cmp::Reverse(kept.bin));
            assert!(kept.is_sorted_by_key(order));
            assert!(
                kept.chunk_by(|a, b| order(a) == order(b))
                    .all(|bin| bin.is_sorted_by(|a, b| a.activation >= b.activation))
            );
        }
    }
}

#[test]
fn a_draw_has_the_asked_number_and_does_not_depend_on_order_threads_or_other_latents() {
    let crosscoder = crosscoder(Activation::Relu);
    let expected = brute(&crosscoder, &rows(1), &[0, 1]);
    let kept = sampled(&crosscoder, &rows(1), &config(2));
    for latent in 0..LATENTS as u32 {
        for bin in 0..EDGES.len() as u8 {
            let there = expected.iter().filter(|((j, _), found)| *j == latent && found.0 == bin).count();
            let drawn = kept.iter().filter(|kept| (kept.latent, kept.bin) == (latent, bin)).count();
            assert_eq!(drawn, there.min(2), "latent {latent}, bin {bin}");
        }
    }
    assert_eq!(sampled(&crosscoder, &rows(2), &config(2)), kept, "rows in another order");
    for threads in [1, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        assert_eq!(pool.install(|| sampled(&crosscoder, &rows(1), &config(2))), kept, "{threads} threads");
    }
    let same = |kept: &[Kept]| kept.iter().map(|k| (k.latent, k.bin, k.sequence, k.position)).collect::<Vec<_>>();
    let some = sampled(&crosscoder, &rows(1), &ExamplesConfig { latents: vec![3, 7], ..config(2) });
    let of_all: Vec<Kept> = kept.iter().filter(|kept| [3, 7].contains(&kept.latent)).cloned().collect();
    assert_eq!(same(&some), same(&of_all), "beside fewer latents");
    assert_ne!(same(&sampled(&crosscoder, &rows(1), &ExamplesConfig { seed: 43, ..config(2) })), same(&kept));
    let largest = largest_activations(&crosscoder, &rows(1), &[3, 7, 9], &Unwatched).unwrap();
    assert_eq!(largest[&9], 0.0, "a latent that never fires");
    for latent in [3, 7] {
        let most = of_all.iter().find(|kept| kept.latent == latent).unwrap();
        assert!(largest[&latent] >= most.activation);
    }
}

/// Counts how often each row's activations are read.
struct Counted(MemoryRows, std::sync::atomic::AtomicU64);

impl Rows for Counted {
    fn width(&self) -> usize {
        self.0.width
    }

    fn count(&self) -> u64 {
        self.0.count()
    }

    fn read(&self, start: u64, out: &mut [f32]) -> xd::ml::Result<()> {
        self.1.fetch_add((out.len() / (2 * self.0.width)) as u64, std::sync::atomic::Ordering::Relaxed);
        self.0.read(start, out)
    }

    fn info(&self, start: u64, out: &mut [RowInfo]) -> xd::ml::Result<()> {
        self.0.info(start, out)
    }
}

#[test]
fn known_maxima_save_a_pass_over_the_activations() {
    let (crosscoder, counted) = (crosscoder(Activation::Relu), Counted(rows(1), 0.into()));
    let passes = || counted.1.swap(0, std::sync::atomic::Ordering::Relaxed) as f64 / counted.count() as f64;
    let kept = sample(&crosscoder, &counted, &config(2), &Unwatched).unwrap();
    assert_eq!(passes(), 2.0, "one for the maxima");
    let all: Vec<u32> = (0..LATENTS as u32).collect();
    let largest = largest_activations(&crosscoder, &counted, &all, &Unwatched).unwrap();
    assert_eq!(passes(), 1.0);
    let known = ExamplesConfig { largest: Some(largest), ..config(2) };
    assert_eq!(sample(&crosscoder, &counted, &known, &Unwatched).unwrap(), kept);
    assert_eq!(passes(), 1.0);
}

#[test]
fn every_sequence_is_drawn_as_often_as_any_other() {
    let (crosscoder, rows) = (crosscoder(Activation::Relu), rows(1));
    let there: Vec<SequenceId> = brute(&crosscoder, &rows, &[0, 1])
        .into_iter()
        .filter(|((latent, _), found)| *latent == 2 && found.0 == 1)
        .map(|((_, id), _)| id)
        .collect();
    let (draws, count) = (2000, 3);
    assert!(there.len() > 2 * count, "{there:?}");
    let mut drawn: BTreeMap<SequenceId, u32> = BTreeMap::new();
    for seed in 0..draws {
        let config = ExamplesConfig { latents: vec![2], seed, ..config(count) };
        for kept in sampled(&crosscoder, &rows, &config).iter().filter(|kept| kept.bin == 1) {
            *drawn.entry(kept.sequence).or_default() += 1;
        }
    }
    let wanted = draws as f64 * count as f64 / there.len() as f64;
    for id in &there {
        let times = f64::from(drawn.get(id).copied().unwrap_or(0));
        assert!((times - wanted).abs() < 5.0 * wanted.sqrt(), "{id:?} was drawn {times} times, {wanted} are expected");
    }
}

#[test]
fn rows_without_text_and_latents_that_are_not_there_are_refused() {
    let crosscoder = crosscoder(Activation::Relu);
    let error = |rows: &MemoryRows, latents: Vec<u32>| {
        sample(&crosscoder, rows, &ExamplesConfig { latents, ..config(2) }, &Unwatched).unwrap_err().to_string()
    };
    let bare = MemoryRows { infos: Vec::new(), ..rows(1) };
    assert!(error(&bare, vec![1]).contains("do not say from which place of which text"));
    let mut numberless = rows(1);
    numberless.infos.iter_mut().for_each(|info| info.token = 0);
    assert!(error(&numberless, vec![1]).contains("`tokens`, `sequence` and `position`"));
    assert!(error(&rows(1), vec![10]).contains("latent 10, but the crosscoder has the latents 0 to 9"));
}

#[test]
fn pieces_join_to_the_text_whatever_is_split() {
    let organism = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments/organism/chat");
    let text = "The naïve whale 🐋 said:\n\n “日本語” … and went — \u{FFFD} home.";
    let mut folders = vec![organism];
    folders.extend(["gemma2", "gpt2", "llama", "qwen2"].map(crate::lm::fixture));
    for folder in folders {
        let tokenizer = Tokenizer::load(&folder).unwrap();
        let ids = tokenizer.encode_text(text).unwrap().ids;
        let pieces = tokenizer.pieces(&ids).unwrap();
        assert_eq!(pieces.len(), ids.len());
        assert_eq!(pieces.concat(), tokenizer.decode(&ids).unwrap(), "{folder:?}");
        assert!(!pieces.concat().is_empty());
        // Cut anywhere, the whole characters are right.
        for end in 0..ids.len() {
            assert_eq!(tokenizer.pieces(&ids[..end]).unwrap().concat(), tokenizer.decode(&ids[..end]).unwrap());
        }
    }
    let bytes =
        Tokenizer::load(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments/organism/chat")).unwrap();
    let ids = bytes.encode_text("🐋").unwrap().ids;
    let pieces = bytes.pieces(&ids).unwrap();
    assert!(
        pieces.len() > 3 && pieces.last().unwrap() == "🐋" && pieces.iter().filter(|p| p.is_empty()).count() >= 3,
        "{pieces:?}"
    );
}

const EXPERIMENT: &str = r#"xd 1
model base = folder("ORGANISM/base")
model chat = folder("ORGANISM/chat")
pair made {
  base  = base
  tuned = chat
}
corpus prose = jsonl("ORGANISM/texts/prose_heldout.jsonl", column = "text")
corpus talk  = jsonl("ORGANISM/texts/chat_heldout.jsonl", column = "messages", template = tokenizer)
activations acts {
  of        = made
  layer     = 2
  context   = 64 tokens
  skip      = 1 tokens
  exclude   = [bos]
  train     = [2K tokens of prose, 2K tokens of talk]
  validate  = [600 tokens of prose, 900 tokens of talk]
  store     = f32
  normalize = per_model_scale
}
crosscoder cc {
  on      = acts
  latents = 48
  loss    = topk(k = 6)
  train {
    batch  = 200 tokens
    length = 4 epochs
    # Stored and streamed rows are then trained on in the same order.
    shuffle = none
  }
}
examples shown {
  of     = cc
  count  = 2
  around = 5 tokens
}
autointerp meanings {
  of     = cc
  scores = "delphi"
}
examples talked {
  of      = cc
  corpus  = talk
  latents = [1, 4, 9, 16]
}
steer voice {
  of       = cc
  latents  = top(2, by = classes.max_activation)
  strength = [0.01, 300]
  prompts  = ["hello there", "Who are you?"]
  length   = 12 tokens
}
steer base_voice {
  of          = cc
  latents     = [1, 4]
  strength    = -200
  prompts     = 2 prompts of talk
  model       = base
  at          = prompt
  length      = 8 tokens
  temperature = 0.8
}
classify classes { of = cc }
table texts { rows = shown }
table said { rows = [meanings, classes] }
table by_class {
  rows    = [meanings, classes]
  group   = dead
  columns = [dead, latents = count(), detection = mean(detection_total)]
}
table talks { rows = talked }
table voices { rows = voice }
table base_voices { rows = base_voice }
"#;

fn experiment() -> String {
    let organism = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments/organism").display().to_string();
    EXPERIMENT.replace("ORGANISM", &organism)
}

/// An experiment with what delphi would have written of latents 0 and 5.
fn lab(text: &str) -> Lab {
    let lab = Lab::new(text);
    let write = |folder: &str, latent: u32, text: &str| {
        let folder = lab.path().join("delphi").join(folder);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(format!("crosscoder_latent{latent}.txt")), text).unwrap();
    };
    for latent in [0, 5] {
        write("explanations", latent, &format!("\"What {latent} means, \\\"so\\\".\""));
        let records = r#"[{"activating":true,"correct":true,"distance":1},{"activating":true,"correct":true,"distance":2},
            {"activating":false,"correct":false,"distance":-1}]"#;
        write("scores/detection", latent, records);
    }
    lab
}

fn rows_of(lab: &Lab, table: &str) -> Vec<BTreeMap<String, String>> {
    let mut reader = csv::Reader::from_path(lab.path().join(format!("out/tables/{table}.csv"))).unwrap();
    let names = reader.headers().unwrap().clone();
    let row =
        |record: csv::StringRecord| names.iter().map(str::to_string).zip(record.iter().map(str::to_string)).collect();
    reader.records().map(|record| row(record.unwrap())).collect()
}

#[test]
fn an_experiment_shows_text_and_lets_models_speak() {
    let lab = lab(&experiment());
    let said = lab.run(&["--out", "out", "--threads", "2"]);
    assert!(said.contains("in the chat template of the tuned model"), "{said}");

    let found = examples::read(&lab.path().join("out/artifacts/shown")).unwrap();
    let texts = rows_of(&lab, "texts");
    assert!(found.len() > 40 && found.len() == texts.len(), "{} and {}", found.len(), texts.len());
    let tokenizer =
        Tokenizer::load(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments/organism/chat")).unwrap();
    let mut begins = 0;
    for (example, row) in found.iter().zip(&texts) {
        let peak = example.peak as usize;
        assert_eq!(example.tokens.len(), example.activations.len());
        assert_eq!(example.activations[peak], example.activation);
        assert!(example.activations.iter().all(|value| *value <= example.activation));
        assert!(peak <= 5 && example.tokens.len() - peak <= 6);
        assert_eq!(row["latent"], example.latent.to_string());
        assert_eq!(row["position"], (example.start + example.peak).to_string());
        assert_eq!(row["text"].replace(['«', '»'], ""), example.tokens.concat());
        assert!(row["text"].contains('«') && row["text"].contains('»'));
        // BOS has no row, and stands in the text.
        if example.start == 0 {
            assert!(example.tokens[0] == "<bos>" && example.activations[0] == 0.0, "{example:?}");
            begins += 1;
        }
    }
    assert!(found.iter().filter(|example| example.latent == 5).count() > 1, "several texts of one latent");
    let meanings = rows_of(&lab, "said");
    assert_eq!(meanings.iter().map(|row| row["latent"].as_str()).collect::<Vec<_>>(), ["0", "5"], "one row a latent");
    for row in &meanings {
        assert_eq!(row["explanation"], format!("What {} means, \"so\".", row["latent"]));
        let number = |name: &str| row[name].parse::<f64>().ok().map(|x| (x * 300.0).round() / 3.0);
        assert_eq!(number("detection"), Some(200.0 / 3.0));
        assert_eq!([number("detection_total"), number("detection_no_zero")], [Some(200.0 / 3.0), Some(100.0)]);
        assert_eq!(["detection_1", "detection_3", "detection_random"].map(number), [Some(100.0), None, Some(0.0)]);
    }
    let counted: usize = rows_of(&lab, "by_class").iter().map(|row| row["latents"].parse::<usize>().unwrap()).sum();
    assert_eq!(counted, 2, "a latent counts once, however many texts it has");
    assert!(begins > 0, "some example stands at the beginning of a document");
    // Whole sentences of the corpus, not only pieces of words.
    let heldout = std::fs::read_to_string(
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments/organism/texts/prose_heldout.jsonl"),
    )
    .unwrap();
    let documents: Vec<serde_json::Value> = heldout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for example in found.iter().filter(|example| example.corpus == 0) {
        let document = documents[example.sequence as usize]["text"].as_str().unwrap();
        let ids = tokenizer.encode_text(document).unwrap().ids;
        let text = tokenizer.decode(&ids).unwrap();
        assert!(text.contains(example.tokens.concat().as_str()), "{:?}", example.tokens);
    }
    let talked = examples::read(&lab.path().join("out/artifacts/talked")).unwrap();
    assert!(!talked.is_empty() && talked.iter().all(|example| example.corpus == 1));
    assert_eq!(talked.len(), rows_of(&lab, "talks").len());

    let voices = rows_of(&lab, "voices");
    assert_eq!(voices.len(), 2 * 2 * 3);
    for answers in voices.chunks(3) {
        let strengths: Vec<f64> = answers.iter().map(|row| row["strength"].parse().unwrap()).collect();
        assert_eq!(strengths, [0.0, 0.01, 300.0]);
        assert!(
            answers.iter().all(|row| row["latent"] == answers[0]["latent"] && row["prompt"] == answers[0]["prompt"])
        );
        assert_ne!(answers[0]["text"], answers[2]["text"], "300 times the largest activation is heard");
        assert!(!answers[0]["text"].contains("<end_of_turn>"));
    }
    let plain = |prompt: &str| {
        let of: BTreeSet<&str> = voices
            .iter()
            .filter(|row| row["prompt"] == prompt && row["strength"].parse::<f64>().unwrap() == 0.0)
            .map(|row| row["text"].as_str())
            .collect();
        assert_eq!(of.len(), 1, "{of:?}");
        of.into_iter().next().unwrap().to_string()
    };
    let decoder = xd::ml::lm::Decoder::load(tokenizer.folder()).unwrap();
    for prompt in ["hello there", "Who are you?"] {
        let message = xd::ml::data::Message { role: "user".into(), content: prompt.into() };
        let sampling = xd::ml::lm::Sampling { temperature: 0.0, seed: 1, stream: 0 };
        assert_eq!(plain(prompt), xd::ml::lm::reply(&decoder, &tokenizer, &[message], 12, sampling).unwrap());
    }
    let base = rows_of(&lab, "base_voices");
    assert_eq!(base.len(), 2 * 2 * 2);
    assert_eq!(base[0]["prompt"], "My computer would die!");

    // The same bytes with one thread, and with rows that are made when they are read.
    let store = |out: &str, more: &[&str]| lab.run(&[&["--out", out, "--store", out][..], more].concat());
    store("one", &["--threads", "1"]);
    assert_eq!(crate::support::differing(&lab.results("out"), &lab.results("one")), Vec::<String>::new());
    lab.write(&experiment().replace("store     = f32", "store     = none"));
    store("streamed", &[]);
    for table in ["texts", "said", "talks", "voices", "base_voices"] {
        let read = |out: &str| std::fs::read(lab.path().join(out).join(format!("tables/{table}.csv"))).unwrap();
        assert_eq!(read("out"), read("streamed"), "{table}");
    }

    // Activations that are not stored go out like stored ones, and every place of delphi's tokens is text.
    let export = |store: &str, out: &str| {
        let output = lab.xd(&["export", "experiment.xd", "cc", "--as", "delphi", "--store", store, "--out", out]);
        assert!(output.status.success(), "{}", crate::support::said(&output));
        std::fs::read(lab.path().join(out).join("crosscoder/0_47.safetensors")).unwrap()
    };
    let streamed = export("streamed", "streamed_cache");
    lab.write(&experiment());
    assert!(streamed == export("one", "stored_cache"), "the caches differ");
    let cache = lab.path().join("stored_cache/crosscoder/0_47.safetensors");
    let file = xd::ml::crosscoder::tensor_file::TensorFile::open(&cache).unwrap();
    let ids: Vec<u32> = file.integers("tokens").unwrap().unwrap().into_iter().map(|id| id as u32).collect();
    let bos = ids[0];
    let begins = ids.iter().filter(|id| **id == bos).count();
    assert!(begins > 5, "{begins} documents begin with {bos}");
    assert_eq!(tokenizer.pieces(&ids[..1]).unwrap(), ["<bos>"], "a token without a row");
}

#[test]
fn a_folder_that_is_not_delphis_says_so_before_anything_is_read() {
    let lab = lab(&experiment());
    std::fs::remove_dir_all(lab.path().join("delphi/explanations")).unwrap();
    std::fs::remove_dir_all(lab.path().join("delphi/scores")).unwrap();
    std::fs::write(lab.path().join("delphi/readme.txt"), "x").unwrap();
    let output = lab.xd(&["check", "experiment.xd"]);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(said(&output).contains("explanations") && said(&output).contains("results/NAME"), "{}", said(&output));
    std::fs::remove_dir_all(lab.path().join("delphi")).unwrap();
    let output = lab.xd(&["check", "experiment.xd"]);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
}

#[test]
fn tokens_of_a_tensor_file_are_shown_by_their_numbers() {
    let lab = Lab::new(
        r#"xd 1
activations acts {
  from     = tensors("rows.safetensors", key = "activations")
  train    = 400 tokens
  validate = 100 tokens
}
crosscoder cc {
  on      = acts
  latents = 12
  loss    = topk(k = 2)
  train {
    batch  = 50 tokens
    length = 2 epochs
  }
}
examples shown {
  of     = cc
  around = 2 tokens
}
table texts { rows = shown }
"#,
    );
    // Position 3 of every sequence is missing.
    let places = (0..125u32).flat_map(|sequence| [0, 1, 2, 4].map(move |position| (sequence, position)));
    let info =
        |(sequence, position)| RowInfo { sequence, position, token: 100 * sequence + position, ..RowInfo::default() };
    let infos: Vec<RowInfo> = places.map(info).collect();
    let values = (0..infos.len() * 2 * D).map(|i| ((i * 7919 % 1000) as f32 / 500.0 - 1.0).powi(3)).collect();
    let rows = MemoryRows { width: D, values, infos };
    xd::ml::activations::export_tensors(&rows, &lab.path().join("rows.safetensors")).unwrap();
    let said = lab.run(&["--out", "out"]);
    assert!(said.contains("tokens are shown by their numbers"), "{said}");
    let texts = rows_of(&lab, "texts");
    assert!(!texts.is_empty());
    for row in texts {
        let first = 100 * row["sequence"].parse::<u32>().unwrap();
        let spelled = |position: &u32| match position {
            3 => "…".to_string(),
            position => format!("⟨{}⟩", first + position),
        };
        let peak: u32 = row["position"].parse().unwrap();
        let window = peak.saturating_sub(2)..(peak + 3).min(5);
        let text: String =
            window.map(|at| if at == peak { format!("«{}»", spelled(&at)) } else { spelled(&at) }).collect();
        // A window does not begin or end with a token that is not known.
        assert_eq!(row["text"], text.trim_matches('…'));
    }
}
