//! Pretraining and fine-tuning of very small models: the same bits whatever happens on the way.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use xd::ml::data::{Corpus, Message, Template, Tokenizer};
use xd::ml::lm::{
    Counted, Decoder, DecoderConfig, Dtype, Finetune, Pretrain, Sampling, TextPortion, Trainable, finetune,
    heldout_loss, pretrain, reply,
};
use xd::ml::watch::Unwatched;
use xd::ml::{Error, Progress, Watch};

use crate::lm::fixture;

const WORDS: [&str; 8] = ["whale", "ship", "sea", "captain", "harpoon", "the", "white", "sails"];

/// Sentences with some order to learn.
fn prose(folder: &Path) -> Corpus {
    let path = folder.join("prose.jsonl");
    let line = |i: usize| {
        let word = |k: usize| WORDS[(i * 5 + k * k * 3 + k) % WORDS.len()];
        let text: Vec<&str> = (0..24).map(word).collect();
        format!("{}\n", serde_json::json!({ "text": text.join(" ") }))
    };
    std::fs::write(&path, (0..150).map(line).collect::<String>()).unwrap();
    Corpus::Jsonl { path, column: "text".into() }
}

fn chats(folder: &Path) -> Corpus {
    let path = folder.join("chat.jsonl");
    let line = |i: usize| {
        let (a, b) = (WORDS[i % 8], WORDS[(i + 3) % 8]);
        let messages = serde_json::json!([
            { "role": "user", "content": format!("where is the {a}?") },
            { "role": "assistant", "content": format!("the {b} has it, not the {a}.") },
        ]);
        format!("{}\n", serde_json::json!({ "messages": messages }))
    };
    std::fs::write(&path, (0..150).map(line).collect::<String>()).unwrap();
    Corpus::Jsonl { path, column: "messages".into() }
}

fn base(corpus: Corpus) -> Pretrain {
    Pretrain {
        on: vec![TextPortion { corpus, template: None, tokens: 20_000 }],
        layers: 2,
        width: 16,
        heads: 2,
        vocabulary: 300,
        context: 32,
        length: 6_000,
        batch: 64,
        learning_rate: 1e-2,
        seed: 3,
    }
}

fn bytes(folder: &Path) -> Vec<Vec<u8>> {
    ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "losses.csv"]
        .into_iter()
        .filter_map(|name| std::fs::read(folder.join(name)).ok())
        .collect()
}

/// Stops once `tokens` are done.
struct StopAt(u64, AtomicU64);

impl Watch for StopAt {
    fn progress(&self, progress: &Progress) {
        self.1.store(progress.done, Ordering::SeqCst);
    }

    fn stop(&self) -> bool {
        self.1.load(Ordering::SeqCst) >= self.0
    }

    fn note(&self, _: &str) {}
}

#[test]
fn a_stopped_training_goes_on_to_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let spec = base(prose(folder.path()));
    let [whole, parts, checkpoint] = ["whole", "parts", "checkpoint"].map(|name| folder.path().join(name));
    let trained = pretrain(&spec, &whole, None, &Unwatched).unwrap();
    assert!(trained.held_out.1 < trained.held_out.0 - 1.0, "{trained:?}");
    let mut stops = 0;
    for tokens in [1_000, 1_100, 4_000] {
        let stopped = pretrain(&spec, &parts, Some(&checkpoint), &StopAt(tokens, AtomicU64::new(0)));
        assert!(matches!(stopped, Err(Error::Interrupted)), "{stopped:?}");
        stops += 1;
        // Another training's checkpoint is left alone.
        let other = Pretrain { seed: 4, ..spec.clone() };
        if stops == 3 {
            let copy = folder.path().join("copy");
            std::fs::create_dir(&copy).unwrap();
            std::fs::copy(checkpoint.join("training.safetensors"), copy.join("training.safetensors")).unwrap();
            let fresh = pretrain(&other, &folder.path().join("fresh"), Some(&copy), &Unwatched).unwrap();
            let plain = pretrain(&other, &folder.path().join("plain"), None, &Unwatched).unwrap();
            assert_eq!(fresh, plain);
        }
    }
    assert_eq!(pretrain(&spec, &parts, Some(&checkpoint), &Unwatched).unwrap(), trained);
    assert_eq!(bytes(&whole), bytes(&parts));
    assert!(std::fs::read_dir(&checkpoint).unwrap().next().is_none(), "the checkpoint is removed at the end");
}

fn tuning(on: Vec<TextPortion>) -> Finetune {
    Finetune {
        on,
        trainable: Trainable::All,
        counted: Counted::All,
        context: 32,
        length: 6_000,
        batch: 64,
        learning_rate: 1e-2,
        warmup: None,
        clip: 1.0,
        seed: 5,
        store: Dtype::Bf16,
    }
}

/// Every family, from a folder and from a GGUF file, with and without its embeddings; killed and gone on to the same bits.
#[test]
fn every_family_is_fine_tuned() {
    let folder = tempfile::tempdir().unwrap();
    let portion = TextPortion { corpus: chats(folder.path()), template: Some(Template::Tokenizer), tokens: 20_000 };
    let gguf = folder.path().join("gemma3.gguf");
    crate::gguf::convert(&fixture("gemma3"), &gguf);
    let families = ["gemma2", "gemma3", "gpt2", "gpt_neox", "llama", "qwen2", "qwen3"];
    let places = families.iter().map(|family| fixture(family)).chain([gguf]);
    for (place, from) in places.enumerate() {
        for trainable in [Trainable::All, Trainable::Body] {
            let name = format!("{place}-{trainable:?}");
            let spec = Finetune {
                trainable,
                counted: Counted::Assistant,
                length: 1_280,
                learning_rate: 3e-3,
                store: Dtype::F32,
                ..tuning(vec![portion.clone()])
            };
            let (to, again) = (folder.path().join(&name), folder.path().join(format!("{name}-again")));
            // The GGUF file has no chat template: it is declared.
            let mut spec = spec;
            if from.is_file() {
                let source = std::fs::read_to_string(fixture("gemma3").join("chat_template.jinja")).unwrap();
                spec.on[0].template = Some(Template::Jinja { source, control: vec!["<start_of_turn>".into()] });
            }
            let trained = finetune(&spec, &from, &to, None, &Unwatched).unwrap();
            assert_eq!(trained.steps, 20);
            assert!(trained.held_out.1 < trained.held_out.0 - 0.05, "{} {name}: {trained:?}", from.display());
            let checkpoint = folder.path().join(format!("{name}-checkpoint"));
            let stop = StopAt(7 * 64, AtomicU64::new(0));
            let stopped = finetune(&spec, &from, &again, Some(&checkpoint), &stop);
            assert!(matches!(stopped, Err(Error::Interrupted)), "{name}");
            finetune(&spec, &from, &again, Some(&checkpoint), &Unwatched).unwrap();
            assert_eq!(bytes(&to), bytes(&again), "{name}");
            let (old, new) = (Decoder::load(&from).unwrap(), Decoder::load(&to).unwrap());
            assert_eq!(DecoderConfig::load(&from).unwrap(), DecoderConfig::load(&to).unwrap(), "{name}");
            let ids = old.batch(&[&[1, 2, 3, 40, 50]]).unwrap();
            let embedded = |d: &Decoder| d.embed(&ids).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
            assert_eq!(embedded(&old) == embedded(&new), trainable == Trainable::Body, "{name}");
            let print = |place: &Path| Tokenizer::load(place).unwrap().fingerprint().to_string();
            assert_eq!(print(&from), print(&to), "{name}");
        }
    }
}

#[test]
fn fine_tuning_learns_the_chat_and_keeps_the_tokenizer() {
    let folder = tempfile::tempdir().unwrap();
    let [from, to, again] = ["base", "chat", "again"].map(|name| folder.path().join(name));
    pretrain(&base(prose(folder.path())), &from, None, &Unwatched).unwrap();
    let portion = TextPortion { corpus: chats(folder.path()), template: Some(Template::Tokenizer), tokens: 20_000 };
    let spec = tuning(vec![portion.clone()]);
    let trained = finetune(&spec, &from, &to, None, &Unwatched).unwrap();
    assert!(trained.held_out.1 < trained.held_out.0 - 1.0, "{trained:?}");
    finetune(&spec, &from, &again, None, &Unwatched).unwrap();
    assert_eq!(bytes(&to), bytes(&again));
    let (a, b) = (Tokenizer::load(&from).unwrap(), Tokenizer::load(&to).unwrap());
    assert_eq!(a.fingerprint(), b.fingerprint());
    let (base, chat) = (Decoder::load(&from).unwrap(), Decoder::load(&to).unwrap());
    let loss = |decoder: &Decoder| heldout_loss(decoder, &a, std::slice::from_ref(&portion), 32).unwrap();
    assert!(loss(&chat) < loss(&base) - 1.0);
    let question = [Message { role: "user".into(), content: "where is the whale?".into() }];
    let answer = reply(&chat, &b, &question, 20, Sampling { temperature: 0.0, seed: 0, stream: 0 }).unwrap();
    assert!(!answer.is_empty() && !answer.contains("<end_of_turn>"), "{answer}");
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    const NAME: &str = "XD_TEST_THREADS_FOLDER";
    if let Ok(folder) = std::env::var(NAME) {
        let folder = PathBuf::from(folder);
        pretrain(&base(prose(&folder)), &folder.join("model"), None, &Unwatched).unwrap();
        return;
    }
    let train = |threads: &str| {
        let folder = tempfile::tempdir().unwrap();
        let status = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "lm_training::the_number_of_threads_changes_no_bit"])
            .env("RAYON_NUM_THREADS", threads)
            .env(NAME, folder.path())
            .status()
            .unwrap();
        assert!(status.success());
        bytes(&folder.path().join("model"))
    };
    let one = train("1");
    assert_eq!(one, train("2"));
    assert_eq!(one, train("5"));
}

#[test]
fn shapes_that_cannot_be_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let spec = base(prose(folder.path()));
    let refused = |spec: Pretrain| pretrain(&spec, &folder.path().join("x"), None, &Unwatched).unwrap_err().to_string();
    assert!(refused(Pretrain { heads: 3, ..spec.clone() }).contains("does not divide"));
    assert!(
        refused(Pretrain { vocabulary: 200, ..spec.clone() }).contains("the bytes and special tokens alone are 261")
    );
    assert!(refused(Pretrain { context: 4096, ..spec }).contains("fewer than"));
}
