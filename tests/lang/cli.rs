//! The verbs that need no engine, run as a user runs them: what they print, what they write, how they end.

use std::path::Path;
use std::process::{Command, Output};

const GOOD: &str = "xd 1\n\npair toy = synthetic(width = 32)\n\nactivations acts {\n  of       = toy\n  train    = 40M tokens\n  validate = 100K tokens\n}\n\ncrosscoder cc {\n  on      = acts\n  latents = 8x\n  loss    = batch_topk(k = 8)\n}\n";

fn xd(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xd"));
    command.current_dir(folder).args(arguments).env_remove("NO_COLOR").env_remove("COLUMNS");
    command.output().expect("xd runs")
}

fn status(output: &Output) -> i32 {
    output.status.code().expect("ended by itself")
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).expect("written");
    }
    folder
}

#[test]
fn usage_errors_end_with_one() {
    let folder = folder(&[]);
    for arguments in [
        &["chekc"][..],
        &["check"],
        &["check", "--frmat", "json", "a.xd"],
        &["check", "nowhere.xd"],
        &["fmt", "nowhere.xd"],
        &["explain", "croscoder"],
        &["show", "nowhere.xd"],
        &[],
    ] {
        let output = xd(folder.path(), arguments);
        assert_eq!(status(&output), 1, "{arguments:?}");
        assert!(!err(&output).is_empty(), "{arguments:?} says why");
    }
    for arguments in [&["--help"][..], &["--version"], &["check", "--help"]] {
        let output = xd(folder.path(), arguments);
        assert_eq!(status(&output), 0, "{arguments:?}");
        assert!(!out(&output).is_empty(), "{arguments:?}");
    }
}

#[test]
fn check_says_fine_or_everything_that_is_wrong() {
    let bad = GOOD.replace("8x", "32 * 2304").replace("= toy", "= toi");
    let folder = folder(&[("good.xd", GOOD), ("bad.xd", &bad)]);
    let good = xd(folder.path(), &["check", "good.xd"]);
    assert_eq!((status(&good), out(&good).as_str(), err(&good).as_str()), (0, "good.xd is fine\n", ""));
    let both = xd(folder.path(), &["check", "good.xd", "bad.xd"]);
    assert_eq!(status(&both), 2);
    assert!(err(&both).contains("xd::unknown_name") && err(&both).contains("xd::unreadable"), "{}", err(&both));
    assert!(err(&both).ends_with("2 mistakes in bad.xd\n"), "{}", err(&both));
    assert!(!err(&both).contains('\u{1b}'), "no colours without a terminal");
}

#[test]
fn check_speaks_to_programs() {
    let folder = folder(&[("a.xd", &GOOD.replace("8x", "9y")), ("b.xd", &GOOD.replace("acts {", "acts ["))]);
    let short = xd(folder.path(), &["check", "--format", "short", "a.xd"]);
    assert_eq!(out(&short), "a.xd:13:14: error[bad_multiplier]: `y` is not a multiplier\n");
    let json = xd(folder.path(), &["check", "--format", "json", "a.xd", "b.xd"]);
    assert_eq!(status(&json), 2);
    let report: serde_json::Value = serde_json::from_str(&out(&json)).expect("JSON");
    let found = report["diagnostics"].as_array().expect("a list");
    let first = &found[0];
    assert_eq!(first["code"], "bad_multiplier");
    assert_eq!(first["severity"], "error");
    assert_eq!(first["file"], "a.xd");
    assert_eq!((first["line"].as_u64(), first["column"].as_u64()), (Some(13), Some(14)));
    assert_eq!((first["end_line"].as_u64(), first["end_column"].as_u64()), (Some(13), Some(15)));
    assert!(first["help"].is_string() && first["related"].is_array());
    assert!(found.iter().any(|d| d["file"] == "b.xd"));
}

#[test]
fn check_takes_params_and_asks_more_when_pedantic() {
    let text = GOOD.replace("pair toy", "param k = 8\npair toy").replace("k = 8)", "k = k)");
    let folder = folder(&[
        ("a.xd", &text),
        ("l1.xd", &(GOOD.replace("batch_topk(k = 8)", "l1(weight = 3e-2)") + "\nclassify classes { of = cc }\n")),
    ]);
    assert_eq!(status(&xd(folder.path(), &["check", "a.xd"])), 0);
    let set = xd(folder.path(), &["check", "--set", "k=500", "a.xd"]);
    assert_eq!(status(&set), 2);
    assert!(err(&set).contains("xd::k_too_large"), "{}", err(&set));
    let lax = xd(folder.path(), &["check", "l1.xd"]);
    assert_eq!(err(&lax), "");
    let pedantic = xd(folder.path(), &["check", "--pedantic", "l1.xd"]);
    assert_eq!(status(&pedantic), 0, "a hint is no mistake");
    assert!(err(&pedantic).contains("xd::l1_for_classes"), "{}", err(&pedantic));
}

#[test]
fn fmt_lays_out_in_place_and_checks() {
    let untidy = GOOD.replace("  latents = 8x", "latents=8x # wide");
    let folder = folder(&[("a.xd", &untidy), ("bad.xd", "xd 1\nparam k = 1 +\n")]);
    let check = xd(folder.path(), &["fmt", "--check", "a.xd"]);
    assert_eq!(status(&check), 2);
    assert_eq!(std::fs::read_to_string(folder.path().join("a.xd")).expect("read"), untidy);
    assert_eq!(status(&xd(folder.path(), &["fmt", "a.xd"])), 0);
    let tidy = std::fs::read_to_string(folder.path().join("a.xd")).expect("read");
    assert_eq!(tidy, GOOD.replace("8x", "8x  # wide"));
    assert_eq!(status(&xd(folder.path(), &["fmt", "--check", "a.xd"])), 0);
    let bad = xd(folder.path(), &["fmt", "bad.xd"]);
    assert_eq!(status(&bad), 2);
    assert!(err(&bad).contains("xd::unreadable"));
}

#[test]
fn show_names_the_origin_of_every_value() {
    let text = GOOD.replace("pair toy", "param k = 8\npair toy").replace("k = 8)", "k = k)");
    let folder = folder(&[("a.xd", &text)]);
    let shown = xd(folder.path(), &["show", "a.xd", "--set", "k=16"]);
    assert_eq!(status(&shown), 0, "{}", err(&shown));
    let lines: Vec<String> = out(&shown).lines().map(|l| l.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    for line in [
        "param k = 16 # --set; the file says 8",
        "crosscoder cc {",
        "latents = 8x # line 14",
        "loss.k = 16 # --set k",
        "width = 32 # line 4",
    ] {
        assert!(lines.iter().any(|l| l == line), "{line} is not in\n{}", out(&shown));
    }
    assert!(lines.iter().any(|l| l.starts_with("train.batch = 2048 tokens # default (")), "{}", out(&shown));
    let only = xd(folder.path(), &["show", "a.xd", "--only", "cc", "--format", "json"]);
    let json: serde_json::Value = serde_json::from_str(&out(&only)).expect("JSON");
    assert_eq!(json["steps"].as_array().map(Vec::len), Some(1));
    assert_eq!(json["steps"][0]["address"], "cc");
    let typo = xd(folder.path(), &["show", "a.xd", "--only", "act"]);
    assert_eq!(status(&typo), 1);
    assert!(err(&typo).contains("did you mean `acts`?"), "{}", err(&typo));
}

#[test]
fn explain_knows_codes_and_words() {
    let folder = folder(&[]);
    for word in ["misplaced_field", "xd::misplaced_field", "crosscoder", "batch_topk", "nu_error", "tokens"] {
        let page = xd(folder.path(), &["explain", word]);
        assert_eq!(status(&page), 0, "{word}");
        assert!(out(&page).lines().count() > 1, "{word}: {}", out(&page));
    }
    let typo = xd(folder.path(), &["explain", "misplaced_feild"]);
    assert!(err(&typo).contains("did you mean `misplaced_field`?"), "{}", err(&typo));
    let all = xd(folder.path(), &["explain"]);
    assert!(out(&all).lines().any(|l| l.trim() == "overlapping_classes"));
}

#[test]
fn new_writes_a_good_file_and_never_over_another() {
    let folder = folder(&[("taken.xd", "mine")]);
    let made = xd(folder.path(), &["new", "first"]);
    assert_eq!(status(&made), 0, "{}", err(&made));
    let check = xd(folder.path(), &["check", "first.xd"]);
    assert_eq!((status(&check), err(&check).as_str()), (0, ""), "{}", out(&check));
    let laid_out = xd(folder.path(), &["fmt", "--check", "first.xd"]);
    assert_eq!(status(&laid_out), 0, "the template is in canonical form");
    assert_eq!(status(&xd(folder.path(), &["new", "taken.xd"])), 1);
    assert_eq!(std::fs::read_to_string(folder.path().join("taken.xd")).expect("read"), "mine");
}

/// A hundred lines are read, resolved, checked and planned before a person has let go of the key.
#[test]
fn check_is_fast() {
    let folder = folder(&[]);
    assert_eq!(status(&xd(folder.path(), &["new", "a"])), 0);
    let times = (0..3).map(|_| {
        let begun = std::time::Instant::now();
        assert_eq!(status(&xd(folder.path(), &["check", "a.xd"])), 0);
        begun.elapsed()
    });
    let best = times.min().expect("three");
    // Fifty milliseconds in release; tests may run unoptimised on a busy machine.
    let limit = if cfg!(debug_assertions) { 500 } else { 50 };
    assert!(best.as_millis() < limit, "{best:?}");
}

#[test]
fn new_from_the_quickstart_finds_the_models() {
    if !Path::new(env!("CARGO_BIN_EXE_xd")).starts_with(env!("CARGO_MANIFEST_DIR")) {
        eprintln!("SKIPPED: the program was built outside of the repository, from where it does not see the models");
        return;
    }
    let folder = folder(&[]);
    let made = xd(folder.path(), &["new", "mine", "--from", "quickstart"]);
    assert_eq!(status(&made), 0, "{}", err(&made));
    let check = xd(folder.path(), &["check", "mine.xd"]);
    assert!(!err(&check).contains("file_missing"), "{}", err(&check));
    assert_ne!(status(&check), 2, "{}", err(&check));
}

/// What ships is without mistakes and in canonical form.
#[test]
fn shipped_experiments_are_good() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut any = false;
    for entry in std::fs::read_dir(root.join("experiments")).expect("experiments") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|e| e == "xd") {
            any = true;
            let path = path.display().to_string();
            let check = xd(root, &["check", "--format", "short", &path]);
            // Weights that may not be committed are fetched by a script; without them only their absence is to be reported.
            let absent = |line: &str| line.contains("error[file_missing]") && line.contains(".gguf`");
            let said = format!("{}{}", out(&check), err(&check));
            if status(&check) != 0 {
                let errors: Vec<&str> = said.lines().filter(|line| line.contains("error[")).collect();
                assert!(!errors.is_empty() && errors.iter().all(|line| absent(line)), "{said}");
            }
            assert_eq!(status(&xd(root, &["fmt", "--check", &path])), 0, "{path} is not in canonical form");
        }
    }
    assert!(any);
}

/// The examples in the README are without mistakes; their paths are those of `experiments/`.
#[test]
fn the_readme_shows_good_files() {
    use xd::cli::world::FileWorld;
    use xd::lang::{Sources, analyse};
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = std::fs::read_to_string(root.join("README.md")).expect("README.md");
    let examples: Vec<&str> = readme.split("```").filter(|block| block.trim_start().starts_with("xd 1")).collect();
    assert!(!examples.is_empty());
    for example in examples {
        let mut sources = Sources::default();
        let place = root.join("experiments/readme.xd").display().to_string();
        let file = sources.add(place, example.trim_start());
        let found = analyse(&FileWorld::new(), &mut sources, file, &[], false);
        assert_eq!(found.diagnostics, [], "{example}");
    }
}
