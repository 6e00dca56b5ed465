//! Whole runs of the program: caching, stopping, killing, going on, failing.

use std::time::{Duration, Instant};

use crate::support::{Lab, differing, said};

const TINY: &str = r#"xd 1

## Planted features, small enough for a test.
pair toy = synthetic(width = 16, shared = 20, weak = 4, base_only = 3, tuned_only = 3, active = 4, correlated = 2, seed = 7)

activations acts {
  of       = toy
  train    = 60K tokens
  validate = 4K tokens
}

crosscoder cc for loss in [l1(weight = 0.1), batch_topk(k = 4, dead_after = 5K tokens, threshold_from = 50 steps)], train.seed in 0..2 {
  on      = acts
  latents = 96
  train {
    batch     = 256 tokens
    length    = 3 epochs
    optimizer = adam(lr = 3e-3, warmup = 20 steps, decay = 20%)
  }
}

classify classes { of = cc }
scaling nu { of = cc, tokens = 20K tokens }
quality fit { of = cc }
recover truth { of = classes, against = toy }

## How the latents divide.
table counts {
  rows    = classes
  group   = [loss, train.seed, class]
  columns = [loss, train.seed, class, count(), mean(frequency)]
}

table recovery { rows = truth }

plot delta {
  data  = classes
  mark  = histogram
  x     = delta_norm
  color = class
  facet = loss
}

expect lives = min(fit.fve) > 0.3
"#;

fn tiny() -> String {
    // Fields stand on lines of their own.
    TINY.replace("{ of = cc, tokens = 20K tokens }", "{\n  of = cc\n  tokens = 20K tokens\n}")
        .replace("{ of = classes, against = toy }", "{\n  of = classes\n  against = toy\n}")
}

#[test]
fn the_same_file_gives_the_same_bytes_with_one_thread_and_with_two() {
    let lab = Lab::new(&tiny());
    lab.run(&["--threads", "2", "--store", "a", "--out", "out-a"]);
    lab.run(&["--threads", "1", "--store", "b", "--out", "out-b"]);
    lab.run(&["--threads", "2", "--store", "c", "--out", "out-c"]);
    let first = lab.results("out-a");
    assert!(first.len() > 12, "{first:?}");
    assert_eq!(differing(&first, &lab.results("out-b")), Vec::<String>::new());
    assert_eq!(differing(&first, &lab.results("out-c")), Vec::<String>::new());
}

#[test]
fn a_second_run_makes_nothing_and_a_change_makes_what_it_touches() {
    let lab = Lab::new(&tiny());
    lab.run(&["--out", "out"]);
    lab.run(&["--out", "out"]);
    let stored = |address: &str| ["toy", "cc", "classes", "nu", "fit", "truth"].iter().any(|n| address.starts_with(n));
    for (address, cached, _) in lab.steps("out") {
        assert!(cached || !stored(&address), "{address} was made again");
    }
    // Comments, names and layout change nothing.
    lab.write(
        &tiny()
            .replace("## How the latents divide.", "# another comment\n\n## Divided.")
            .replace("crosscoder cc", "crosscoder  cc"),
    );
    lab.run(&["--out", "out"]);
    assert!(lab.steps("out").iter().all(|(address, cached, _)| *cached || !stored(address)));
    // Another k makes the BatchTopK points again, and only those.
    lab.write(&tiny().replace("batch_topk(k = 4,", "batch_topk(k = 5,"));
    let plan = said(&lab.xd(&["plan", "experiment.xd"]));
    assert!(plan.contains("k 4 -> 5"), "{plan}");
    lab.run(&["--out", "out"]);
    for (address, cached, _) in lab.steps("out") {
        let made = !cached && stored(&address);
        assert_eq!(made, address.contains("batch_topk"), "{address}");
    }
}

#[test]
fn killed_at_five_moments_it_goes_on_to_the_same_bytes() {
    let lab = Lab::new(&tiny());
    let start = Instant::now();
    lab.run(&["--store", "whole", "--out", "whole-out"]);
    let whole = start.elapsed();
    // Moments spread over the run by a fixed rule, so that a failure can be repeated.
    for (i, share) in [0.13, 0.31, 0.47, 0.62, 0.83].into_iter().enumerate() {
        let (store, out) = (format!("store-{i}"), format!("out-{i}"));
        let mut child = lab.command(&["run", "experiment.xd", "--store", &store, "--out", &out]).spawn().unwrap();
        std::thread::sleep(whole.mul_f64(share));
        child.kill().unwrap();
        child.wait().unwrap();
        lab.run(&["--store", &store, "--out", &out]);
        let changed = differing(&lab.results("whole-out"), &lab.results(&out));
        assert_eq!(changed, Vec::<String>::new(), "killed after {share} of {whole:?}");
    }
}

#[test]
fn an_interrupt_saves_and_stops_with_status_3() {
    let long = tiny().replace("length    = 3 epochs", "length    = 400 epochs");
    let lab = Lab::new(&long);
    let child = lab.command(&["run", "experiment.xd", "--only", "cc"]).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(2500));
    // SAFETY: the signal goes to the child that was just started.
    unsafe { libc::kill(child.id() as i32, libc::SIGINT) };
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    assert!(said(&output).contains("the same command goes on from here"), "{}", said(&output));
    let plan = said(&lab.xd(&["plan", "experiment.xd"]));
    assert!(plan.contains("goes on from its last checkpoint"), "{plan}");
}

#[test]
fn two_runs_at_once_share_a_store() {
    let lab = Lab::new(&tiny());
    let start = |out: &str| lab.command(&["run", "experiment.xd", "--store", "one", "--out", out]).spawn().unwrap();
    let (first, second) = (start("out-1"), start("out-2"));
    for output in [first.wait_with_output().unwrap(), second.wait_with_output().unwrap()] {
        assert!(output.status.success(), "{}", said(&output));
    }
    assert_eq!(differing(&lab.results("out-1"), &lab.results("out-2")), Vec::<String>::new());
}

#[test]
fn an_expectation_that_fails_gives_status_4_and_says_both_sides() {
    let lab = Lab::new(&tiny().replace("min(fit.fve) > 0.3", "min(fit.fve) > 1.5"));
    let output = lab.xd(&["run", "experiment.xd"]);
    assert_eq!(output.status.code(), Some(4), "{}", said(&output));
    assert!(said(&output).contains("FAIL  lives: min(fit.fve) > 1.5"), "{}", said(&output));
}

#[test]
fn a_point_that_diverges_does_not_stop_the_others() {
    let lab = Lab::new(&tiny().replace("l1(weight = 0.1)", "l1(weight = 1e38)"));
    let output = lab.xd(&["run", "experiment.xd", "--out", "out"]);
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    for (address, _, state) in lab.steps("out") {
        if address.starts_with("cc[") {
            assert_eq!(state, if address.contains("l1") { "failed" } else { "done" }, "{address}");
        }
        if address.starts_with("classes[") {
            assert_eq!(state, if address.contains("l1") { "skipped" } else { "done" }, "{address}");
        }
    }
    assert!(said(&output).contains("experiment.xd:"), "the failure points into the file: {}", said(&output));
}

#[test]
fn only_makes_one_name_and_what_it_needs() {
    let lab = Lab::new(&tiny());
    lab.run(&["--only", "fit", "--out", "out"]);
    let names: std::collections::BTreeSet<String> =
        lab.steps("out").into_iter().map(|(address, ..)| address.split('[').next().unwrap().to_string()).collect();
    assert_eq!(names.into_iter().collect::<Vec<_>>(), ["acts", "cc", "fit", "toy"]);
}

#[test]
fn tables_of_an_earlier_version_of_the_file_go() {
    let lab = Lab::new(&tiny());
    lab.run(&["--out", "out"]);
    lab.write(&tiny().replace("table recovery { rows = truth }", ""));
    lab.run(&["--out", "out"]);
    let names: Vec<String> = lab.results("out").into_iter().map(|(path, _)| path.display().to_string()).collect();
    assert!(names.contains(&"tables/counts.csv".to_string()), "{names:?}");
    assert!(!names.contains(&"tables/recovery.csv".to_string()), "{names:?}");
}

#[test]
fn help_after_a_file_lists_its_params() {
    let lab = Lab::new(
        &tiny().replace("xd 1\n", "xd 1\n\n## Active latents a token.\nparam k = 4\n").replace("(k = 4", "(k = k"),
    );
    let said = lab.run(&["--help"]);
    assert!(said.contains("k = 4") && said.contains("Active latents a token."), "{said}");
    lab.run(&["--set", "k=3", "--out", "out"]);
    let manifest = std::fs::read_to_string(lab.path().join("out/manifest.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
    assert_eq!(manifest["params"][0]["value"], "3");
    assert_eq!(manifest["params"][0]["set"], true);
}
