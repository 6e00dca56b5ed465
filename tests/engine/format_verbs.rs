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
        "weights/crosscode_jumprelu",
        "weights/saelens/jumprelu",
        "weights/saelens/slices",
        "weights/saelens/standard",
        "weights/saelens/topk_rescaled",
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

/// Crosscoders with a threshold a latent, and autoencoders of SAELens: used by their names in a file, and out again.
#[test]
fn crosscoders_with_a_threshold_a_latent_go_round() {
    let file = format!(
        "xd 1\npair toy = synthetic(width = 6, shared = 8, base_only = 2, tuned_only = 2, active = 2, seed = 7)\nactivations acts {{\n  of       = \
         toy\n  train    = 2K tokens\n  validate = 1K tokens\n}}\ncrosscoder jump {{\n  on   = acts\n  from = folder(\"{}\")\n}}\ncrosscoder slices \
         {{\n  on   = acts\n  from = folder(\"{}\")\n}}\ntable t {{\n  rows    = jump\n  columns = [l0, threshold]\n}}\ntable s {{\n  rows    = slices\n  columns = [l0, threshold]\n}}\n",
        fixture("weights/crosscode_jumprelu"),
        fixture("weights/saelens/slices")
    );
    let lab = Lab::new(&file);
    lab.run(&[]);
    for table in ["t", "s"] {
        let text = std::fs::read_to_string(lab.path().join(format!("runs/experiment/tables/{table}.csv"))).unwrap();
        let row = text.lines().nth(1).unwrap().split_once(',').unwrap();
        assert!(row.0.parse::<f64>().unwrap() > 0.5 && row.1.is_empty(), "no one threshold: {text}");
    }
    let export = |status, name: &str, rest: &[&str]| {
        ends(&lab, status, &[&["export", "experiment.xd", name, "--out", "out", "--as"], rest].concat())
    };
    for kind in ["published", "torch", "kissane"] {
        let said = export(3, "jump", &[kind]);
        assert!(said.contains("would be lost") && said.contains("threshold") && said.contains("--lossy"), "{said}");
    }
    assert!(export(3, "slices", &["crosscode"]).contains("of latent 0 has no logarithm"));
    for (name, kind) in [("jump", "crosscode"), ("jump", "saelens"), ("slices", "saelens"), ("jump", "tensors")] {
        assert!(export(0, name, &[kind]).contains("wrote"));
        let out = lab.path().join("out");
        if out.is_dir() {
            let said = ends(&lab, 0, &["import", "out", "--out", "back"]);
            assert!(said.contains("code norm sum, a threshold a latent"), "{said}");
            std::fs::remove_dir_all(&out).unwrap();
        } else {
            std::fs::remove_file(&out).unwrap();
        }
    }
    let config = std::fs::read_to_string(lab.path().join("back/config.json")).unwrap();
    assert!(config.contains("\"activation\": \"jumprelu\""), "{config}");

    // Options that say what the files do not.
    let import = |status, path: &str, rest: &[&str]| {
        ends(&lab, status, &[&["import", &fixture(path), "--out", "made"], rest].concat())
    };
    assert!(import(3, "weights/saelens/foreign", &[]).contains("nothing says that they are two models' activations"));
    let said = import(0, "weights/saelens/foreign", &["--side-by-side"]);
    assert!(
        said.contains("saelens layout, width 6, 20 latents, code norm concat") && said.contains("is assumed"),
        "{said}"
    );
    let said = import(0, "weights/saelens/hook", &["--norm", "none"]);
    assert!(said.contains("hook `blocks.3.hook_resid_post`") && !said.contains("`sum` is assumed"), "{said}");
    assert!(import(1, "weights/kissane", &["--side-by-side"]).contains("leave `--side-by-side` out"));
    assert!(import(1, "weights/crosscode_jumprelu", &["--threshold", "1"]).contains("of its own for each latent"));
    assert!(import(0, "weights/saelens/topk_rescaled", &[]).contains("features of SAELens are f_j times that norm"));
}

/// A file of weights is known by what it holds and by the files beside it that say how it is read.
#[test]
fn a_config_beside_a_file_of_weights_is_in_its_key() {
    let lab = Lab::new(
        "xd 1\npair toy = synthetic(width = 6, shared = 8, base_only = 2, tuned_only = 2, active = 2, seed = 7)\nactivations acts {\n  of       = toy\n  \
         train    = 2K tokens\n  validate = 1K tokens\n}\ncrosscoder top {\n  on   = acts\n  from = folder(\"weights/model.pt\")\n}\ntable t {\n  rows    = top\n  \
         columns = [l0, dead]\n}\n",
    );
    std::fs::create_dir_all(lab.path().join("weights")).unwrap();
    let copy = |name: &str| std::fs::read(fixture(&format!("weights/crosscode_topk/{name}"))).unwrap();
    std::fs::write(lab.path().join("weights/model.pt"), copy("model.pt")).unwrap();
    let config = String::from_utf8(copy("model_cfg.yaml")).unwrap();
    let l0 = |k: u64| {
        let config = config.replace("k: 3", &format!("k: {k}"));
        std::fs::write(lab.path().join("weights/model_cfg.yaml"), config).unwrap();
        lab.run(&[]);
        let text = std::fs::read_to_string(lab.path().join("runs/experiment/tables/t.csv")).unwrap();
        text.lines().nth(1).unwrap().split(',').next().unwrap().parse::<f64>().unwrap()
    };
    let (three, one) = (l0(3), l0(1));
    assert!(one <= 1.0 && three > 1.5, "{three} {one}");
}

#[test]
fn latent_caches_of_delphi_become_tables() {
    let lab = Lab::new(FILE);
    let import = |status, path: &str, rest: &[&str]| {
        ends(&lab, status, &[&["import", path, "--out", "latents.csv"], rest].concat())
    };
    for (path, expected) in
        [("cache", "expected.csv"), ("cache/layers.3", "expected.csv"), ("asked", "expected_asked.csv")]
    {
        let said = import(0, &fixture(&format!("delphi/{path}")), &[]);
        assert!(said.contains("20 latents, 19 of them active on 96 tokens"), "{said}");
        assert_eq!(said.contains("1 activations below 0"), path != "asked", "{said}");
        assert_eq!(said.contains("that config.json asks for"), path == "asked", "{said}");
        let text = std::fs::read_to_string(lab.path().join("latents.csv")).unwrap();
        assert_eq!(text, std::fs::read_to_string(fixture(&format!("delphi/{expected}"))).unwrap());
    }
    let said = ends(&lab, 1, &["import", &fixture("delphi/cache"), "--out", "latents"]);
    assert!(said.contains("name a .csv file"), "{said}");
    assert!(import(1, &fixture("delphi/cache"), &["--threshold", "1"]).contains("leave the option out"));

    // Copies with one thing wrong.
    let copied = |from: &str| {
        let to = lab.path().join("copy");
        let _ = std::fs::remove_dir_all(&to);
        std::fs::create_dir_all(&to).unwrap();
        for entry in std::fs::read_dir(fixture(from)).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
        to
    };
    let to = copied("delphi/asked");
    std::fs::remove_file(to.join("6_12.safetensors")).unwrap();
    assert!(import(3, "copy", &[]).contains("latents from 6 on are expected here"));
    let to = copied("delphi/asked");
    std::fs::remove_file(to.join("config.json")).unwrap();
    assert!(import(3, "copy", &[]).contains("how many tokens were read is not known"));
    let to = copied("delphi/cache/layers.3");
    std::fs::rename(to.join("10_19.safetensors"), to.join("10_14.safetensors")).unwrap();
    assert!(import(3, "copy", &[]).contains("of 5 in this file"));
    std::fs::copy(to.join("10_14.safetensors"), to.join("15_24.safetensors")).unwrap();
    let bytes = std::fs::read(to.join("0_9.safetensors")).unwrap();
    std::fs::write(to.join("0_9.safetensors"), &bytes[..bytes.len() / 2]).unwrap();
    assert!(import(3, "copy", &[]).contains("0_9.safetensors"));
    let to = copied("delphi/cache/layers.3");
    std::fs::create_dir_all(to.join("a")).unwrap();
    for name in ["a", "b"] {
        std::fs::create_dir_all(lab.path().join("two").join(name)).unwrap();
        std::fs::copy(to.join("0_9.safetensors"), lab.path().join("two").join(name).join("0_9.safetensors")).unwrap();
    }
    assert!(import(3, "two", &[]).contains("several modules: name one of a, b"));
}
