//! Means over seeds with intervals, in tables and expectations, against the numbers of each seed.

use xd::student::student_975;

use crate::support::{Lab, differing, said, table};

const SEEDS: &str = r#"xd 1
pair toy = synthetic(width = 16, shared = 20, weak = 4, base_only = 3, tuned_only = 3, active = 4, correlated = 2, seed = 7)
activations acts {
  of       = toy
  train    = 20K tokens
  validate = 2K tokens
}
crosscoder cc for loss in [l1(weight = 0.1), batch_topk(k = 4, dead_after = 5K tokens, threshold_from = 50 steps)], train.seed in 0..3 {
  on      = acts
  latents = 64
  train {
    batch     = 256 tokens
    length    = 2 epochs
    optimizer = adam(lr = 3e-3, warmup = 20 steps)
  }
}
classify classes { of = cc }
quality fit { of = cc }
twins strict {
  of     = classes
  cosine = 1.0
}
table each {
  rows    = fit
  columns = [loss, train.seed, model, fve]
}
table means {
  rows    = fit
  group   = [loss, model]
  over    = train.seed
  columns = [loss, model, fve = mean(fve), good = share(fve > 0.5)]
  sort    = [loss, model]
}
table each_class {
  rows    = classes
  group   = [loss, train.seed, class]
  columns = [loss, train.seed, class, count()]
}
table classes_over_seeds {
  rows    = classes
  group   = [loss, class]
  over    = train.seed
  columns = [loss, class, latents = count(), frequency = mean(frequency)]
}
table first_two {
  rows    = fit
  where   = [train.seed != 2, model == base]
  group   = loss
  over    = [train.seed]
  columns = [loss, fve = mean(fve)]
}
expect up     = mean(fit[loss = l1, model = base].fve, over = train.seed) > mean(fit[loss = batch_topk, model = base].fve, over = train.seed)
expect down   = mean(fit[loss = l1, model = base].fve, over = train.seed) < mean(fit[loss = batch_topk, model = base].fve, over = train.seed)
expect sound  = mean(fit[loss = l1, model = base].fve, over = train.seed) > -1
expect plain  = mean(fit[loss = l1, model = base].fve) > mean(fit[loss = batch_topk, model = base].fve)
expect each_seed = fit[loss = l1, model = base].fve > fit[loss = batch_topk, model = base].fve
expect no_twins = count(strict[loss = l1].pair == twin, over = train.seed) <= 0
"#;

/// Mean and half the width of its interval.
fn interval(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / (n - 1.0);
    (mean, student_975(values.len() as u32 - 1) * (variance / n).sqrt())
}

#[test]
fn tables_and_expectations_over_seeds() {
    let lab = Lab::new(SEEDS);
    let output = lab.xd(&["run", "experiment.xd", "--out", "out", "--threads", "2"]);
    // One of the two sides does not win.
    assert_eq!(output.status.code(), Some(4), "{}", said(&output));
    lab.xd(&["run", "experiment.xd", "--out", "again", "--store", "other", "--threads", "1"]);
    assert_eq!(differing(&lab.results("out"), &lab.results("again")), Vec::<String>::new());

    let number = |cell: &str| cell.parse::<f64>().unwrap_or(f64::NAN);
    let near = |cell: &str, expected: f64| {
        assert!((number(cell) - expected).abs() < 1e-5 * (1.0 + expected.abs()), "{cell}, not {expected}");
    };
    let each = table(&lab, "out/tables/each.csv");
    let of = |loss: &str, model: &str| -> Vec<f64> {
        each.iter().filter(|row| row[0] == loss && row[2] == model).map(|row| number(&row[3])).collect()
    };
    let header = std::fs::read_to_string(lab.path().join("out/tables/means.csv")).unwrap();
    assert!(header.starts_with("loss,model,fve,fve_ci95,good,good_ci95,n\n"), "{header}");
    let means = table(&lab, "out/tables/means.csv");
    assert_eq!(means.len(), 6);
    for row in &means {
        let values = of(&row[0], &row[1]);
        let (mean, half) = interval(&values);
        near(&row[2], mean);
        near(&row[3], half);
        let good: Vec<f64> = values.iter().map(|fve| f64::from(u8::from(*fve > 0.5))).collect();
        near(&row[4], interval(&good).0);
        assert_eq!(row[6], "3");
    }
    // A class that a seed lacks counts 0 there.
    let each_class = table(&lab, "out/tables/each_class.csv");
    for row in table(&lab, "out/tables/classes_over_seeds.csv") {
        let count = |seed: &str| {
            let found = each_class.iter().find(|r| r[0] == row[0] && r[1] == seed && r[2] == row[1]);
            found.map_or(0.0, |r| number(&r[3]))
        };
        let (mean, half) = interval(&["0", "1", "2"].map(count));
        near(&row[2], mean);
        near(&row[3], half);
    }
    for row in table(&lab, "out/tables/first_two.csv") {
        let (mean, half) = interval(&of(&row[0], "base")[..2]);
        near(&row[1], mean);
        near(&row[2], half);
        assert_eq!(row[3], "2");
    }

    let (l1, topk) = (of("l1", "base"), of("batch_topk", "base"));
    let differences: Vec<f64> = l1.iter().zip(&topk).map(|(a, b)| a - b).collect();
    let (mean, half) = interval(&differences);
    let text = std::fs::read_to_string(lab.path().join("out/manifest.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_str(&text).unwrap();
    let expectation = |name: &str| {
        let all = manifest["expectations"].as_array().unwrap();
        all.iter().find(|e| e["name"] == name).unwrap().clone()
    };
    for (name, holds, decided) in [
        ("up", mean - half > 0.0, true),
        ("down", mean + half < 0.0, true),
        ("plain", interval(&l1).0 > interval(&topk).0, false),
        ("each_seed", differences.iter().all(|d| *d > 0.0), false),
    ] {
        let entry = expectation(name);
        assert_eq!(entry["passed"], holds, "{entry}");
        let found = &entry["difference"];
        assert!((found["mean"].as_f64().unwrap() - mean).abs() < 1e-5, "{entry}");
        assert!((found["ci95"].as_f64().unwrap() - half).abs() < 1e-4 * (1.0 + half), "{entry}");
        assert_eq!((found["pairs"].as_u64(), found["decided"].as_bool()), (Some(3), Some(decided)));
        assert_eq!(found["over"][0], "train.seed");
        assert!(entry["detail"].as_str().unwrap().contains("over 3 pairs of train.seed"), "{entry}");
    }
    let sound = expectation("sound");
    assert_eq!((sound["passed"].as_bool(), sound["right"].as_f64()), (Some(true), Some(-1.0)));
    // Steps without a single row count 0 at each seed.
    let none = expectation("no_twins");
    assert_eq!((none["passed"].as_bool(), none["left"].as_f64()), (Some(true), Some(0.0)), "{none}");
    assert!(said(&output).contains("mean difference"), "{}", said(&output));
    let report = std::fs::read_to_string(lab.path().join("out/report.html")).unwrap();
    assert!(report.contains("(95%) over 3 pairs of train.seed"));
}
