//! The committed pair of models: their losses are what the README says.
//!
//! `XD_BLESS=1 cargo test --release --test engine lm_organism` measures the table anew after the models were made anew.

use std::path::{Path, PathBuf};

use xd::ml::data::{Corpus, Template, Tokenizer};
use xd::ml::lm::{Decoder, Site, TextPortion, check_taps, heldout_loss};

fn organism() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments/organism")
}

/// The first `tokens` of a held-out text.
fn portion(text: &str, tokens: u64) -> TextPortion {
    let path = organism().join("texts").join(format!("{text}_heldout.jsonl"));
    let chat = text == "chat";
    let column = if chat { "messages" } else { "text" }.to_string();
    TextPortion { corpus: Corpus::Jsonl { path, column }, template: chat.then_some(Template::Tokenizer), tokens }
}

fn loss(model: &str, text: &str, tokens: u64) -> f64 {
    let folder = organism().join(model);
    let (decoder, tokenizer) = (Decoder::load(&folder).unwrap(), Tokenizer::load(&folder).unwrap());
    heldout_loss(&decoder, &tokenizer, &[portion(text, tokens)], 256).unwrap()
}

/// Rows (model, text, tokens, loss) of `heldout.csv`; `tokens` is empty for the whole text.
fn rows() -> Vec<(String, String, Option<u64>, f64)> {
    let text = std::fs::read_to_string(organism().join("heldout.csv")).unwrap();
    text.lines()
        .skip(1)
        .map(|line| {
            let cells: Vec<&str> = line.split(',').collect();
            (cells[0].into(), cells[1].into(), cells[2].parse().ok(), cells[3].parse().unwrap())
        })
        .collect()
}

fn bless() {
    let mut csv = String::from("model,text,tokens,loss\n");
    for tokens in [Some(10_240), None] {
        for (model, text) in [("base", "prose"), ("base", "chat"), ("chat", "prose"), ("chat", "chat")] {
            let cell = tokens.map_or(String::new(), |t: u64| t.to_string());
            csv += &format!("{model},{text},{cell},{:.4}\n", loss(model, text, tokens.unwrap_or(u64::MAX)));
        }
    }
    std::fs::write(organism().join("heldout.csv"), csv).unwrap();
}

#[test]
fn the_committed_weights_have_the_committed_losses() {
    if std::env::var("XD_BLESS").is_ok() {
        bless();
    }
    let mut checked = 0;
    for (model, text, tokens, want) in rows() {
        if let Some(tokens) = tokens {
            let got = loss(&model, &text, tokens);
            assert!((got - want).abs() < 2e-3, "{model} on {text}: {got}, heldout.csv says {want}");
            checked += 1;
        }
    }
    assert_eq!(checked, 4);
    let readme = std::fs::read_to_string(organism().join("README.md")).unwrap();
    for (model, text, _, want) in rows().into_iter().filter(|r| r.2.is_none()) {
        assert!(readme.contains(&format!("{want:.4}")), "README.md does not state {want:.4} ({model} on {text})");
    }
}

#[test]
fn the_fine_tune_chats() {
    let whole = |model: &str, text: &str| {
        rows().into_iter().find(|r| r.0 == model && r.1 == text && r.2.is_none()).map(|r| r.3).unwrap()
    };
    assert!(whole("base", "chat") - whole("chat", "chat") > 0.8, "held-out chat loss must fall clearly");
    assert!(whole("base", "prose") < 4.5, "the base has learned its prose");
}

#[test]
fn the_pair_can_be_compared() {
    let [base, chat] = ["base", "chat"].map(|model| organism().join(model));
    let (a, b) = (Tokenizer::load(&base).unwrap(), Tokenizer::load(&chat).unwrap());
    assert_eq!(a.fingerprint(), b.fingerprint());
    let sizes = [&base, &chat].map(|f| std::fs::metadata(f.join("model.safetensors")).unwrap().len());
    assert!(sizes.iter().sum::<u64>() <= 6_000_000, "{sizes:?}");
    for folder in [&base, &chat] {
        let decoder = Decoder::load(folder).unwrap();
        assert_eq!((decoder.width(), decoder.layers(), decoder.vocabulary()), (128, 4, a.vocabulary()));
        check_taps(&decoder, 2, Site::ResidualPost).unwrap();
    }
}
