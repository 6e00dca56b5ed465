//! Every way to begin: models made from text, tensors from elsewhere, crosscoders trained elsewhere.

use std::path::Path;

use crate::support::{Lab, said, table};

/// The texts of the embedded pair.
fn texts() -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments/organism/texts").display().to_string()
}

#[test]
fn models_made_from_text_are_diffed() {
    let file = r#"xd 1
corpus prose = jsonl("TEXTS/prose_heldout.jsonl", column = "text")
corpus talk  = jsonl("TEXTS/chat_heldout.jsonl", column = "messages", template = tokenizer)
model base = pretrain(
  on         = [20K tokens of prose],
  layers     = 2,
  width      = 16,
  heads      = 2,
  vocabulary = 300,
  context    = 32 tokens,
  length     = 8K tokens,
  batch      = 256 tokens,
  seed       = 3,
)
model chat = finetune(from = base, on = [20K tokens of talk], context = 32 tokens, length = 4K tokens, batch = 256 tokens, seed = 4)
pair made {
  base  = base
  tuned = chat
  label = "chat"
}
activations acts {
  of       = made
  layer    = 1
  context  = 32 tokens
  skip     = 1 tokens
  train    = [6K tokens of prose, 6K tokens of talk]
  validate = [1K tokens of prose, 1K tokens of talk]
  exclude  = [bos, norm_above(100x)]
  store    = f32
  normalize = per_model_scale
}
crosscoder cc {
  on      = acts
  latents = 64
  loss    = topk(k = 4, dead_after = 2K tokens)
  train {
    batch     = 128 tokens
    length    = 2 epochs
    optimizer = adam(lr = 3e-3, warmup = 10 steps)
  }
}
classify classes { of = cc }
scaling nu {
  of        = cc
  latents   = classes.shared
  control   = classes.other
  fit       = both
  tokens    = 5K tokens
  intervals = 50
}
table nus {
  rows    = nu
  columns = [latent, nu_error, nu_error_low, nu_error_high, verdict]
}
table groups {
  rows    = classes
  columns = [latent, frequency, control_share]
}
"#;
    let lab = Lab::new(&file.replace("TEXTS", &texts()));
    lab.run(&["--out", "out"]);
    let steps = lab.steps("out");
    assert!(steps.iter().all(|(_, _, state)| state == "done"), "{steps:?}");
    for name in ["base", "chat"] {
        let folder = lab.path().join("out/artifacts").join(name);
        for file in ["config.json", "model.safetensors", "tokenizer.json", "losses.csv"] {
            assert!(folder.join(file).is_file(), "{name}/{file}");
        }
    }
    // Some latent fires on control tokens of the chat template, and intervals hold their value.
    assert!(
        table(&lab, "out/tables/groups.csv").iter().any(|row| row[2].parse::<f64>().is_ok_and(|share| share > 0.0))
    );
    let measured: Vec<Vec<f64>> = table(&lab, "out/tables/nus.csv")
        .iter()
        .filter_map(|row| row[1..4].iter().map(|cell| cell.parse().ok()).collect())
        .collect();
    assert!(measured.len() > 5, "{measured:?}");
    let inside = measured.iter().filter(|row| row[1] <= row[0] && row[0] <= row[2]).count();
    assert!(inside * 10 >= measured.len() * 8, "{inside} of {} values are in their interval", measured.len());
}

#[test]
fn a_pair_computes_in_bf16_where_its_file_says_so() {
    let organism = Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments/organism").display().to_string();
    let chain = |dtype: &str| {
        r#"
model DTYPE_base = folder("ORGANISM/base", dtype = DTYPE)
model DTYPE_chat = folder("ORGANISM/chat", dtype = DTYPE)
pair DTYPE_pair {
  base  = DTYPE_base
  tuned = DTYPE_chat
}
activations DTYPE_acts {
  of       = DTYPE_pair
  layer    = 2
  context  = 64 tokens
  train    = [3K tokens of prose]
  validate = [500 tokens of prose]
  store    = f32
}
crosscoder DTYPE_cc {
  on      = DTYPE_acts
  latents = 64
  loss    = topk(k = 4)
  train {
    batch  = 256 tokens
    length = 2 epochs
  }
}
table DTYPE_rows {
  rows    = DTYPE_cc
  columns = [loss]
}
"#
        .replace("DTYPE", dtype)
        .replace("ORGANISM", &organism)
    };
    let corpus = format!("corpus prose = jsonl(\"{}/prose_heldout.jsonl\", column = \"text\")\n", texts());
    let lab = Lab::new(&format!("xd 1\n{corpus}{}{}", chain("f32"), chain("bf16")));
    lab.run(&["--out", "out"]);
    let loss = |name: &str| table(&lab, &format!("out/tables/{name}.csv"))[0][0].parse::<f64>().unwrap();
    let (full, half) = (loss("f32_rows"), loss("bf16_rows"));
    assert!(full != half && (full / half - 1.0).abs() < 0.02, "loss {full} in f32, {half} in bf16");
}

#[test]
fn tensors_and_a_crosscoder_from_elsewhere_are_analysed() {
    let lab = Lab::new("xd 1\n");
    let values: Vec<f32> = (0..3000 * 2 * 6).map(|i| ((i * 7919 % 1000) as f32 / 500.0 - 1.0).powi(3)).collect();
    let rows = xd::ml::MemoryRows { width: 6, values, infos: Vec::new() };
    xd::ml::activations::export_tensors(&rows, &lab.path().join("rows.safetensors")).unwrap();
    let first = r#"xd 1
activations acts {
  from     = tensors("rows.safetensors", key = "activations")
  train    = 2500 tokens
  validate = 500 tokens
  normalize = rms(10)
}
crosscoder cc {
  on      = acts
  latents = 24
  loss    = batch_topk(k = 3, threshold_from = 5 steps)
  train {
    batch     = 100 tokens
    length    = 2 epochs
    optimizer = adam(lr = 1e-2, warmup = 5 steps)
  }
}
quality fit { of = cc }
table q { rows = fit }
"#;
    lab.write(first);
    lab.run(&["--out", "out"]);
    let trained = table(&lab, "out/tables/q.csv");
    assert_eq!(trained.len(), 3);
    // The published layout is read back: the same rows give the same numbers.
    let from = lab.path().join("out/artifacts/cc").canonicalize().unwrap();
    let second = first[..first.find("crosscoder").unwrap()].to_string()
        + &format!("crosscoder cc {{\n  on   = acts\n  from = folder({:?})\n}}\n", from.display().to_string())
        + &first[first.find("quality").unwrap()..];
    lab.write(&second);
    lab.run(&["--out", "again"]);
    assert_eq!(table(&lab, "again/tables/q.csv"), trained);
    // A file with too few rows says how many it has.
    lab.write(&first.replace("2500 tokens", "2900 tokens"));
    let output = lab.xd(&["run", "experiment.xd"]);
    assert!(!output.status.success());
    assert!(said(&output).contains("3000 rows") || said(&output).contains("3,000"), "{}", said(&output));
}
