//! The schema table is whole, and docs/reference.md is written out of it.

use std::collections::BTreeSet;
use std::path::PathBuf;

use xd::lang::schema::{Built, Default, Field, KINDS, explain, reference, words};

use crate::memory::{Memory, short};

/// The columns, kinds and losses that the language promises, whether built or not.
const PROMISED: &str = "param model pair corpus template activations loss crosscoder classify scaling patch quality tokens twins \
    examples steer recover compare table plot expect hf folder gguf pretrain finetune synthetic parquet jsonl text builtin tokenizer \
    jinja residual_post residual_pre mlp_out attn_out bos special norm_above bf16 tf32 f32 rms per_model_scale cache tensors transpose \
    shared_code decoupled dedicated sae adam norm local global l1 batch_topk topk jumprelu sparsity tanh_sparsity preactivation auxk \
    difference shared_sparsity l2 mse sum concat l0 l0_inference fve_base fve_tuned fve dead threshold latent class delta_norm \
    norm_base norm_tuned cosine frequency max_activation control_share beta_activation_base beta_error_tuned nu_activation \
    nu_reconstruction nu_error nu_error_low nu_error_high rank verdict active_tokens ce_clean ce_spliced ce_zero ce_recovered \
    kl_spliced planted found precision recall f1 mcc false_tuned_only histogram scatter line bar ecdf heatmap steps epochs prompts \
    train.batch train.length train.optimizer train.clip train.shuffle train.validate train.log train.seed train.precision \
    train.resample init.norm init.encoder init.same init.from base_only shared tuned_only fit targets intervals context limit skip \
    exclude store normalize where group columns sort save";

#[test]
fn every_promised_word_is_explained() {
    let missing: Vec<&str> = PROMISED.split_whitespace().filter(|word| explain(word).is_none()).collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert!(words().into_iter().all(|word| explain(word).is_some()));
    assert_eq!(explain("no_such_word"), None);
}

#[test]
fn pages_say_where_things_come_from() {
    let page = explain("nu_error").unwrap();
    assert!(page.contains("beta_error_base / beta_error_tuned") && page.contains("paper 2.3"), "{page}");
    let page = explain("batch_topk").unwrap();
    assert!(page.contains("codenorm") && page.contains("paper 2.2") && page.contains("threshold_from"), "{page}");
    let page = explain("train.batch").unwrap();
    assert!(page.contains("2048 tokens (published code)"), "{page}");
    assert!(explain("jumprelu").unwrap().contains("Not built yet"));
}

#[test]
fn the_table_is_tidy() {
    let mut kinds = BTreeSet::new();
    for kind in KINDS {
        assert!(kinds.insert(kind.word), "{} twice", kind.word);
        assert!(sentence(kind.doc), "{}", kind.word);
        let mut fields = BTreeSet::new();
        for field in kind.fields {
            assert!(fields.insert(field.path), "{}.{} twice", kind.word, field.path);
            tidy(kind.word, field);
        }
        let mut columns = BTreeSet::new();
        for column in kind.columns {
            assert!(columns.insert(column.name) && sentence(column.doc), "{}: {}", kind.word, column.name);
        }
        let value = kind.value.iter().flat_map(|ty| ty.variants());
        for variant in kind.fields.iter().flat_map(|f| f.ty.variants()).chain(value) {
            assert!(sentence(variant.doc), "{}: {}", kind.word, variant.word);
            variant.arguments.iter().for_each(|a| tidy(variant.word, a));
        }
    }
}

fn sentence(doc: &str) -> bool {
    doc.ends_with('.') && !doc.contains('\n')
}

fn tidy(owner: &str, field: &Field) {
    assert!(sentence(field.doc), "{owner}.{}: {}", field.path, field.doc);
    if let Default::Text { source, .. } | Default::ByLoss { source, .. } = field.default {
        assert!(!source.is_empty(), "{owner}.{} has a default without a source", field.path);
    }
}

/// Every default is read by the type of its field: the file that leaves everything out is planned with every built field.
#[test]
fn defaults_can_be_read() {
    let memory = Memory::organism();
    for text in [include_str!("real.xd"), include_str!("planted.xd")] {
        let (analysis, sources) = memory.analyse(text);
        let plan = analysis.plan.as_ref().unwrap_or_else(|| panic!("{}", short(&analysis, &sources)));
        for step in &plan.steps {
            let kind = KINDS.iter().find(|k| k.word == step.kind).unwrap();
            for field in kind.fields.iter().filter(|f| f.built == Built::Yes) {
                let defaulted = matches!(field.default, Default::Text { .. } | Default::ByLoss { .. });
                let shown = step.resolved.iter().find(|r| r.path == field.path);
                let short_form = step.resolved.iter().any(|r| r.path == "form");
                assert!(
                    !defaulted || short_form || shown.is_some_and(|r| !r.value.is_empty()),
                    "{} {}",
                    step.kind,
                    field.path
                );
            }
            assert!(step.resolved.iter().all(|r| !r.value.is_empty()), "{:?}", step.resolved);
        }
    }
}

/// The examples of the pages are right: put together with what they name, they have no errors.
#[test]
fn examples_are_right() {
    let prelude = "xd 1\nmodel base = folder(\"organism/base\")\nmodel chat = folder(\"organism/chat\")\npair organism {\n  base = base\n  tuned = chat\n}\ncorpus prose = text(\"other.txt\")\ncorpus talk = jsonl(\"organism/texts/chat.jsonl\", column = \"messages\", template = tokenizer)\nactivations acts {\n  of = organism\n  layer = 2\n  context = 256 tokens\n  train = [200K tokens of prose]\n  validate = [2K tokens of prose]\n}\npair toy = synthetic(width = 64)\nactivations planted {\n  of = toy\n  train = 1M tokens\n  validate = 10K tokens\n}\ncrosscoder cc for loss in [l1(weight = 3e-2), batch_topk(k = 32)] {\n  on = planted\n}\nclassify classes { of = cc }\nscaling nu { of = cc }\nquality fit { of = cc }\nrecover truth {\n  of = classes\n  against = toy\n}\n";
    // Steps that run the models on read a real pair.
    let real = prelude.replace("crosscoder cc for loss in [l1(weight = 3e-2), batch_topk(k = 32)] {\n  on = planted\n}", "crosscoder cc {\n  on = real\n  loss = batch_topk(k = 32)\n  train { batch = 64 tokens\n    optimizer = adam(warmup = 1 steps) }\n}\nactivations real {\n  of = organism\n  layer = 2\n  context = 256 tokens\n  train = [2K tokens of prose]\n  validate = [2K tokens of talk]\n}");
    let memory = Memory::organism()
        .with("texts/prose/*.txt", &"prose ".repeat(100_000))
        .with("texts/chat.jsonl", &"chat ".repeat(100_000));
    for kind in KINDS.iter().filter(|k| k.built == Built::Yes) {
        // Names that both declare belong to the example.
        let models = matches!(kind.word, "patch" | "tokens" | "examples" | "steer");
        let mut lines = if models { without(&real, "truth") } else { prelude.to_string() };
        // Truth is planted; the example of a crosscoder reads a real pair.
        if kind.word == "crosscoder" {
            lines = without(&lines, "truth");
        }
        for line in kind.example.lines() {
            let mut words = line.split_whitespace();
            if let (Some(word), Some(name)) = (words.next(), words.next())
                && KINDS.iter().any(|k| k.word == word)
            {
                lines = without(&lines, name);
            }
        }
        let (analysis, sources) = memory.analyse(&format!("{lines}{}\n", kind.example));
        assert!(!analysis.has_errors(), "{}:\n{}", kind.example, short(&analysis, &sources));
    }
}

/// The text without the declaration of this name.
fn without(text: &str, name: &str) -> String {
    let mut kept = String::new();
    let mut inside = false;
    for line in text.lines() {
        let declared = line.split_whitespace().nth(1) == Some(name) && !line.starts_with(' ');
        inside = declared && line.trim_end().ends_with('{') || inside && !line.starts_with('}');
        let closes =
            line.starts_with('}') && kept.lines().last().is_some_and(|l| !l.starts_with(' ') && !l.ends_with('{'));
        if !declared && !inside && !closes {
            kept += &format!("{line}\n");
        }
    }
    kept
}

#[test]
fn the_reference_is_up_to_date() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/reference.md");
    let written = reference();
    if std::env::var("INSTA_UPDATE").is_ok_and(|v| v == "always") {
        std::fs::create_dir_all(path.parent().expect("docs")).expect("a folder");
        std::fs::write(&path, &written).expect("the reference is written");
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        there == written,
        "docs/reference.md is out of date: run INSTA_UPDATE=always cargo test --no-default-features --test lang reference"
    );
}
