//! `xd import` and `xd export` as a user runs them.

use std::path::Path;

use crate::support::{Lab, said};

const FILE: &str = r#"xd 1
pair toy = synthetic(width = 16, shared = 20, weak = 4, base_only = 3, tuned_only = 3, active = 4, correlated = 2, seed = 7)
activations acts {
  of        = toy
  train     = 20K tokens
  validate  = 2K tokens
  normalize = rms(10)
}
crosscoder cc for loss in [l1(weight = 0.1), batch_topk(k = 4, dead_after = 5K tokens, threshold_from = 20 steps), topk(k = 4)] {
  on      = acts
  latents = 64
  train {
    batch     = 256 tokens
    length    = 100 steps
    optimizer = adam(lr = 3e-3, warmup = 10 steps)
  }
}
classify classes { of = cc }
scaling nu {
  of      = cc
  latents = classes.tuned_only
  tokens  = 5K tokens
}
table counts {
  rows    = [classes, nu]
  group   = [loss, class]
  columns = [loss, class, count()]
}
table fit {
  rows    = cc
  columns = [loss, fve]
}
"#;

fn fixture(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name).display().to_string()
}

#[track_caller]
fn ends(lab: &Lab, status: i32, arguments: &[&str]) -> String {
    let output = lab.xd(arguments);
    assert_eq!(output.status.code(), Some(status), "{arguments:?}: {}", said(&output));
    said(&output)
}

#[test]
fn results_go_out_and_come_back() {
    let lab = Lab::new(FILE);
    let export = |status, rest: &[&str]| ends(&lab, status, &[&["export", "experiment.xd"], rest].concat());
    assert!(export(3, &["acts", "--as", "published", "--out", "x"]).contains("goes out as tensors or cache"));
    assert!(
        export(3, &["cc[loss = l1]", "--as", "published", "--out", "x"]).contains("xd run experiment.xd --only cc")
    );
    lab.run(&[]);

    assert!(
        export(1, &["cc", "--as", "published", "--out", "x"]).contains("several points: name one of cc[loss = l1]")
    );
    assert!(export(1, &["classs", "--as", "latent_df", "--out", "x"]).contains("no step `classs`"));
    for (loss, format) in [
        ("l1", "published"),
        ("l1", "torch"),
        ("l1", "kissane"),
        ("l1", "crosscode"),
        ("l1", "saelens"),
        ("l1", "tensors"),
        ("batch_topk", "published"),
        ("batch_topk", "torch"),
        ("batch_topk", "crosscode"),
        ("batch_topk", "saelens"),
        ("topk", "saelens"),
    ] {
        let out = format!("out/{loss}-{format}");
        std::fs::create_dir_all(lab.path().join("out")).unwrap();
        let said = export(0, &[&format!("cc[loss={loss}]"), "--as", format, "--out", &out]);
        assert!(format == "tensors" || said.contains("features differ by"), "{said}");
        assert!(lab.path().join(&out).exists());
    }
    let said = export(3, &["cc[loss=batch_topk]", "--as", "kissane", "--out", "out/lost"]);
    assert!(said.contains("no place for a threshold") && said.contains("--lossy"), "{said}");
    assert!(!lab.path().join("out/lost").exists());
    assert!(export(0, &["cc[loss=batch_topk]", "--as", "kissane", "--out", "out/lost", "--lossy"]).contains("lost"));
    let json = export(0, &["cc[loss=l1]", "--as", "kissane", "--out", "out/k", "--format", "json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert!(json["exported"]["probe"]["features"].as_f64().unwrap() < 1e-5, "{json}");

    // A checkpoint of Python's and back into the language.
    let said = ends(&lab, 0, &["import", "out/batch_topk-torch", "--out", "back"]);
    assert!(said.contains("published layout, width 16, 64 latents, code norm sum, threshold"), "{said}");
    assert!(said.contains("normalises its rows by its own mean and scale"), "{said}");

    // Tables.
    let table = export(0, &["nu[loss=l1]", "--as", "latent_df", "--out", "out/latent_df.csv"]);
    assert!(table.contains("64 latents"), "{table}");
    let said = ends(&lab, 0, &["import", "out/latent_df.csv", "--out", "out/rows.csv"]);
    assert!(said.contains("class delta_norm"), "{said}");
    let text = std::fs::read_to_string(lab.path().join("out/rows.csv")).unwrap();
    assert!(text.lines().count() == 65 && text.starts_with("latent,class,delta_norm,"), "{text}");

    // Activations, as tensors and as the published cache; both train the same crosscoder, for they hold the same rows.
    let said = export(0, &["acts", "--as", "tensors", "--out", "out/acts.safetensors"]);
    assert!(said.contains("20000 rows") && said.contains("`normalize` is to be written again"), "{said}");
    export(0, &["acts", "--as", "cache", "--out", "out/cache"]);
    export(0, &["acts", "--as", "cache", "--out", "out/bf16", "--bf16", "--part", "validate"]);
    let again = |from: &str| {
        let file = format!(
            "xd 1\nactivations acts {{\n  from     = {from}\n  train    = 15K tokens\n  validate = 2K tokens\n}}\ncrosscoder cc {{\n  on   = acts\n  from = folder(\"back\")\n}}\ntable t {{\n  rows    = cc\n  columns = [fve, l0]\n}}\n"
        );
        std::fs::write(lab.path().join("again.xd"), file).unwrap();
        ends(&lab, 0, &["run", "again.xd", "--store", ".other"]);
        std::fs::read_to_string(lab.path().join("runs/again/tables/t.csv")).unwrap()
    };
    let rows = again("tensors(\"out/acts.safetensors\")");
    // The crosscoder was trained on rows of `normalize = rms(10)` and came back to rows as they are: it explains them as well.
    let fve = |text: &str, line: &str, column: usize| -> f64 {
        let line = text.lines().rfind(|l| l.starts_with(line)).unwrap();
        line.split(',').nth(column).unwrap().parse().unwrap()
    };
    let before = std::fs::read_to_string(lab.path().join("runs/experiment/tables/fit.csv")).unwrap();
    let (before, after) = (fve(&before, "batch_topk", 1), fve(&rows, "", 0));
    assert!((before - after).abs() < 0.03 && after > 0.2, "{before} {after}");
    assert_eq!(rows, again("cache(\"out/cache/base\", \"out/cache/tuned/xd_out\")"));
}

#[test]
fn files_of_other_projects_come_in() {
    let lab = Lab::new(FILE);
    let import = |status, path: &str, rest: &[&str]| {
        ends(&lab, status, &[&["import", &fixture(path), "--out", "made"], rest].concat())
    };
    for path in [
        "weights/l1_2024",
        "weights/checkpoint_20000.pt",
        "weights/normalizing",
        "weights/kissane",
        "weights/crosscode_topk",
    ] {
        let said = import(0, path, &[]);
        assert!(said.contains("features differ by") && lab.path().join("made/model.safetensors").exists(), "{said}");
        std::fs::remove_dir_all(lab.path().join("made")).unwrap();
    }
    assert!(import(0, "weights/l1_2024", &[]).contains("`sum` (CROSSCODER) is assumed"));
    assert!(!import(0, "weights/l1_2024", &["--norm", "concat"]).contains("assumed"));
    assert!(import(1, "weights/checkpoint_20000.pt", &["--norm", "concat"]).contains("the files say `sum`"));
    assert!(import(1, "weights/checkpoint_20000.pt", &["--threshold", "1"]).contains("a threshold of its own, 1.7"));
    let said = import(3, "weights/no_threshold", &[]);
    assert!(said.contains("without its `threshold`") && said.contains("--threshold NUMBER"), "{said}");
    assert!(import(0, "weights/no_threshold", &["--threshold", "1.7"]).contains("threshold 1.7 (k = 4)"));
    assert!(import(3, "torch/evil.pt", &[]).contains("would run `posix.system`"));
    assert!(import(1, "weights/nothing", &[]).contains("no such file or folder"));
}
