//! The report in a browser: `tests/browser/check.mjs` drives a page of 73,728 latents, and that of a real run.
//!
//! It needs Chromium, Node and `npm ci` in `tests/browser` (`.ci/browser` brings them); without, it says so and is skipped,
//! unless `XD_BROWSER=required`. `XD_BROWSER_KEEP=folder` keeps pages and screenshots.

use std::path::{Path, PathBuf};
use std::process::Command;

use xd::out::Column;
use xd::out::report::{
    self, Cost, Definition, Expectation, Fact, LatentColumn, LatentStep, ReportData, ReportExample, ReportLatents,
    Script, SteeringSample, TokenGroup, Twin, Word,
};

use crate::support::Lab;

const LATENTS: usize = 73_728;

/// Numbers in [0, 1) that are the same every time (splitmix64).
struct Draws(u64);

impl Draws {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (bits ^ bits >> 31) as f64 / 2f64.powi(64)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() * end as f64) as usize
    }
}

fn column(name: &str, label: &str, cells: Column) -> LatentColumn {
    LatentColumn {
        name: name.into(),
        label: label.into(),
        unit: String::new(),
        doc: format!("What {name} is."),
        source: "paper 2.3".into(),
        step: "nu[loss = l1]".into(),
        main: true,
        limit: None,
        words: Vec::new(),
        cells,
    }
}

fn word(word: &str, label: &str) -> Word {
    Word { word: word.into(), label: label.into(), meaning: format!("This is what {label} means.") }
}

/// As large as the crosscoders of the paper, with everything that steps can say of a latent.
fn large() -> ReportLatents {
    let mut draws = Draws(1);
    let mut real = |holes: f64, low: f64, high: f64| -> Column {
        let cells = (0..LATENTS).map(|_| {
            let filled = draws.next() >= holes;
            let x = low + (high - low) * draws.next();
            filled.then_some(x)
        });
        Column::Real(cells.collect())
    };
    let delta = real(0.01, 0.0, 1.0);
    let class = |delta: Option<f64>| match delta {
        Some(x) if x > 0.9 => "tuned_only",
        Some(x) if x < 0.1 => "base_only",
        Some(x) if (0.4..=0.6).contains(&x) => "shared",
        _ => "other",
    };
    let Column::Real(deltas) = &delta else { unreachable!("made so above") };
    let classes: Vec<&str> = deltas.iter().map(|delta| class(*delta)).collect();
    let mut class = column("class", "class", Column::text(&classes));
    class.words = vec![
        word("tuned_only", "chat only"),
        word("base_only", "base only"),
        word("shared", "shared"),
        word("other", "other"),
    ];
    let verdicts = ["specific", "shrinkage", "decoupling", "both", "inactive"];
    let mut verdict = column("verdict", "verdict", Column::text((0..LATENTS).map(|j| verdicts[j * 7 % 5])));
    verdict.words = verdicts.iter().map(|v| word(v, v)).collect();
    let mut columns = vec![class, verdict, column("delta_norm", "Δnorm", delta)];
    for (name, label, limit) in [
        ("nu_reconstruction", "ν reconstruction", Some(0.5)),
        ("nu_error", "ν error", Some(0.2)),
        ("nu_activation", "ν activation", None),
    ] {
        let middle = real(0.05, -0.3, 1.7);
        let bound = |by: f64| match &middle {
            Column::Real(cells) => Column::Real(cells.iter().map(|x| x.map(|x| x + by)).collect()),
            other => other.clone(),
        };
        let ends = [(format!("{name}_low"), bound(-0.1)), (format!("{name}_high"), bound(0.15))];
        columns.push(LatentColumn { limit, ..column(name, label, middle) });
        columns.extend(ends.map(|(name, cells)| LatentColumn { main: false, ..column(&name, &name, cells) }));
    }
    columns.push(column("frequency", "firing frequency", real(0.0, 1e-6, 0.2)));
    columns.push(column("max_activation", "largest activation", real(0.0, 0.0, 90.0)));
    columns.push(column("cosine", "cosine of the two decoders", real(0.0, -1.0, 1.0)));
    columns.push(column("norm_base", "decoder norm, base", real(0.0, 0.0, 1.2)));
    columns.push(column("norm_tuned", "decoder norm, chat", real(0.0, 0.0, 1.2)));
    columns.push(column("dead", "dead latents", Column::truth((0..LATENTS).map(|j| j % 97 == 0))));
    columns.push(column(
        "active_tokens",
        "active tokens",
        Column::whole((0..LATENTS as i64).map(|j| j * 677 % 50_000_000)),
    ));
    for target in ["activation", "activation_no_bias", "reconstruction", "error"] {
        for model in ["base", "tuned"] {
            let name = format!("beta_{target}_{model}");
            columns.push(LatentColumn { main: false, ..column(&name, &name, real(0.05, -1.0, 2.0)) });
        }
    }
    for extra in 0..16 {
        let name = format!("extra_{extra}");
        columns.push(LatentColumn { main: false, ..column(&name, &name, real(0.5, 0.0, 1e-3)) });
    }
    let groups = ["control", "non-control", "bos", "user", "assistant"];
    let groups = groups.map(|name| {
        let mut numbers = |high: f64| -> Vec<Option<f64>> {
            match real(0.0, 0.0, high) {
                Column::Real(cells) => cells,
                _ => Vec::new(),
            }
        };
        TokenGroup {
            step: 0,
            name: name.into(),
            label: name.into(),
            frequency: numbers(0.2),
            share: numbers(1.0),
            mean: numbers(9.0),
            max: numbers(90.0),
        }
    });
    ReportLatents {
        name: "cc[loss = l1]".into(),
        title: "cc, L1".into(),
        tuned: "chat".into(),
        count: LATENTS,
        columns,
        groups: groups.into(),
        twins: (0..200)
            .map(|k| Twin {
                step: 0,
                tuned_latent: 3 * k,
                base_latent: 3 * k + 1,
                cosine: Some(0.93),
                divergence: None,
            })
            .collect(),
        matches: vec![report::Matches {
            other: "cc[loss = batch_topk, train.seed = 1]".into(),
            pairs: (0..60)
                .map(|j| report::Match { latent: j, other: j % 7, cosine: Some(0.8), mutual: j % 2 == 0 })
                .collect(),
        }],
        steering: steering(),
        examples: examples(),
        steps: vec![
            LatentStep { address: "where".into(), ..LatentStep::default() },
            LatentStep { address: "top".into(), bins: vec![0.25, 0.5, 0.75, 1.0], examples: 60_000 },
            LatentStep { address: "voice".into(), ..LatentStep::default() },
            LatentStep { address: "loud_voice".into(), ..LatentStep::default() },
        ],
        corpora: vec!["prose".into(), "talk".into()],
        files: vec!["artifacts/top[loss=l1]/examples.parquet".into()],
    }
}

fn steering() -> Vec<SteeringSample> {
    let prompts =
        ["What is the capital of France?", "Tell me a story.", "مرحبا، كيف حالك؟", "a <b> & \"c\"", "Fifth", "Sixth"];
    let sample = |k: usize| SteeringSample {
        step: (k % 3 == 2 && k / 18 == 6) as u16 + 2,
        latent: (k / 18 * 5) as u32,
        strength: (k % 3) as f64,
        prompt: prompts[k / 3 % 6].into(),
        text: format!("The answer is\nnumber {k}, and it goes on for a while so that lines must be broken somewhere."),
    };
    (0..180).map(sample).collect()
}

/// 60,000 texts, more than the page takes.
fn examples() -> Vec<ReportExample> {
    let mut draws = Draws(2);
    let words = [
        " the",
        " user",
        " asked",
        "\n",
        " for",
        " help",
        " with",
        " Rust",
        ",",
        " and",
        "<eos>",
        " model",
        " answered",
        ".",
        "مرحبا",
        " \"quote\"",
        " a&b",
    ];
    let mut example = |k: usize| {
        let latent = (k / 12 * 5) as u32;
        let bin = 3 - (k % 12 / 3) as u8;
        let activation = f32::from(bin + 1) * 5.0 + draws.next() as f32 * 4.0;
        let peak = 30 + draws.below(10);
        let token = |at: usize| {
            if at == peak { format!(" peak{latent}") } else { words[(k * 31 + at * 7) % words.len()].into() }
        };
        let tokens: Vec<String> = (0..64).map(token).collect();
        let near = |at: usize| (3.0 - at.abs_diff(peak) as f32).max(0.0) / 3.0;
        ReportExample {
            step: 1,
            latent,
            bin,
            activation,
            corpus: (k % 2) as u16,
            sequence: k as u32,
            peak: peak as u32,
            start: 100,
            activations: (0..64).map(|at| near(at) * activation).collect(),
            tokens,
        }
    };
    (0..60_000).map(&mut example).collect()
}

/// A small crosscoder, to change to.
fn small() -> ReportLatents {
    ReportLatents {
        name: "cc[loss = batch_topk, train.seed = 1]".into(),
        title: "cc, BatchTopK, seed = 1".into(),
        tuned: "chat".into(),
        count: 7,
        columns: vec![
            column("class", "class", Column::text(["shared"; 7])),
            column("frequency", "firing frequency", Column::real((0..7).map(|j| f64::from(j) / 100.0))),
            column("explanation", "explanation", Column::text((0..7).map(|j| format!("fires on the word number {j}")))),
        ],
        ..ReportLatents::default()
    }
}

fn large_page() -> ReportData {
    let claim = |passed: bool| Expectation {
        name: if passed { "found" } else { "missed" }.into(),
        doc: "What was expected.".into(),
        text: "min(fit.fve) > 0.8".into(),
        passed,
        measured: if passed { "0.86 > 0.8" } else { "0.7 > 0.8" }.into(),
    };
    ReportData {
        title: "A page as large as the paper's crosscoders".into(),
        doc: "Made for the test in a browser.".into(),
        file: "large.xd".into(),
        summary: vec![Fact::new("device", "none")],
        expectations: vec![claim(true), claim(false)],
        latents: vec![large(), small()],
        definitions: vec![
            Definition {
                column: "delta_norm".into(),
                label: "Δnorm".into(),
                text: "A ratio.".into(),
                ..Definition::default()
            },
            Definition {
                column: "frequency".into(),
                label: "frequency".into(),
                text: "A share.".into(),
                browser_only: true,
                ..Definition::default()
            },
        ],
        costs: vec![Cost { step: "cc".into(), predicted_seconds: 10.0, measured_seconds: 13.0, ..Cost::default() }],
        scripts: vec![Script { file: "large.xd".into(), text: "xd 1\n".into() }],
        ..ReportData::default()
    }
}

const REAL: &str = r#"xd 1

## The embedded pair, small. It runs in seconds.
pair organism {
  base  = folder("ORGANISM/base")
  tuned = folder("ORGANISM/chat")
  label = "chat"
}
corpus prose = jsonl("ORGANISM/texts/prose_heldout.jsonl", column = "text")
corpus talk  = jsonl("ORGANISM/texts/chat_heldout.jsonl", column = "messages", template = tokenizer)
activations acts {
  of       = organism
  layer    = 3
  context  = 64 tokens
  train    = [2K tokens of prose, 2K tokens of talk]
  validate = [1K tokens of prose, 1K tokens of talk]
  exclude  = [bos]
}
crosscoder cc for loss in [l1(weight = 0.05), batch_topk(k = 4, dead_after = 5K tokens)] {
  on      = acts
  latents = 64
  train {
    batch     = 256 tokens
    length    = 4 epochs
    optimizer = adam(lr = 3e-3, warmup = 10 steps)
  }
}
classify classes { of = cc }
scaling nu {
  of        = cc
  tokens    = 4K tokens
  intervals = 20
}
twins doubles {
  of     = classes
  cosine = 0.1
}
tokens where_it_fires { of = cc }
tokens in_talk {
  of     = cc
  corpus = talk
  groups = [control, user, assistant]
}
examples shown {
  of     = cc
  count  = 2
  around = 20 tokens
}
examples talked {
  of     = cc
  corpus = talk
  count  = 1
  bins   = [50%, 100%]
}
steer voice {
  of       = cc
  latents  = top(2, by = classes.max_activation)
  strength = 2
  prompts  = "hello there"
  length   = 8 tokens
}
steer base_voice {
  of       = cc
  latents  = top(2, by = classes.max_activation)
  strength = 2
  prompts  = "hello there"
  model    = base
  length   = 8 tokens
}
compare both {
  a = cc[loss = l1]
  b = cc[loss = batch_topk]
}
## Every latent.
table all {
  rows    = [classes, nu]
  columns = [loss, latent, class, delta_norm, nu_error, verdict]
}
## Decoder norms.
plot norms {
  data  = classes
  mark  = histogram
  x     = delta_norm
  color = class
  facet = loss
  save  = "norms.svg"
}
## There are latents.
expect some = count(classes.dead == false) > 0
"#;

fn found(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
}

/// `$CHROMIUM`, or one of the usual names on the path.
fn chromium() -> Option<PathBuf> {
    let named = std::env::var_os("CHROMIUM").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path);
    let known =
        folders.flat_map(|folder| ["chromium", "chromium-browser", "google-chrome"].map(|name| folder.join(name)));
    named.into_iter().chain(known).find(|program| program.is_file())
}

#[test]
fn the_report_works_in_a_browser() {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser");
    let browser = chromium();
    let missing = match &browser {
        None => "Chromium",
        Some(_) if !found("node") => "Node",
        Some(_) if !scripts.join("node_modules").is_dir() => "`npm ci` in tests/browser",
        Some(_) => "",
    };
    if !missing.is_empty() {
        assert!(std::env::var_os("XD_BROWSER").is_none(), "XD_BROWSER is set, and {missing} is missing");
        eprintln!(
            "SKIPPED: the report was not tried in a browser: {missing} is missing; .ci/browser brings what it needs"
        );
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    let folder = std::env::var_os("XD_BROWSER_KEEP").map_or_else(|| temp.path().to_path_buf(), PathBuf::from);
    std::fs::create_dir_all(&folder).unwrap();
    let large = folder.join("large.html");
    report::write(&large_page(), &large).unwrap();
    let organism = Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments/organism").display().to_string();
    let lab = Lab::new(&REAL.replace("ORGANISM", &organism));
    lab.run(&["--out", "out"]);
    let real = folder.join("real.html");
    std::fs::copy(lab.path().join("out/report.html"), &real).unwrap();
    let status = Command::new("node")
        .arg(scripts.join("check.mjs"))
        .args([&large, &real, &folder])
        .env("CHROMIUM", browser.unwrap_or_default())
        .status()
        .unwrap();
    assert!(status.success(), "see above; XD_BROWSER_KEEP=folder keeps pages and screenshots");
}
