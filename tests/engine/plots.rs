//! Plots of a run: what they say is what the rows of its tables give.

use std::collections::BTreeMap;

use crate::support::Lab;

const FILE: &str = r#"xd 1

pair toy = synthetic(width = 16, shared = 20, weak = 4, base_only = 3, tuned_only = 3, active = 4, correlated = 2, seed = 7)

activations acts {
  of       = toy
  train    = 40K tokens
  validate = 4K tokens
}

crosscoder cc for loss in [l1(weight = 0.1), topk(k = 4)], train.seed in 0..2 {
  on      = acts
  latents = 64
  train {
    batch     = 256 tokens
    length    = 2 epochs
    optimizer = adam(lr = 3e-3, warmup = 20 steps)
  }
}

classify classes { of = cc }

scaling nu {
  of     = cc
  tokens = 20K tokens
}

table rows {
  rows    = [nu, classes]
  columns = [loss, train.seed, latent, nu_error, nu_reconstruction, delta_norm, verdict, beta_error_base]
}

table logged {
  rows    = cc.log
  columns = [loss, train.seed, step, cc.log.loss, l0, fve_base]
}

plot curve {
  data  = cc.log
  where = step >= 50
  mark  = line
  x     = step
  y     = cc.log.loss
  color = loss
  over  = train.seed
}

plot ranks {
  data  = [nu, classes]
  mark  = ecdf
  x     = rank(descending(delta_norm))
  color = loss
  keep  = lowest(5, by = nu_error)
}

plot thresholds {
  data  = nu
  mark  = ecdf
  x     = largest(abs(nu_error), abs(nu_reconstruction))
  color = loss
  count = rows
  scale = [y = log]
}

plot betas {
  data  = nu
  mark  = histogram
  x     = [base = beta_error_base, tuned = beta_error_tuned]
  bins  = 30
  count = density
  range = [x = 0..0.5]
}

plot marked {
  data      = [nu, classes]
  mark      = histogram
  x         = delta_norm
  color     = class
  facet     = loss
  bins      = 100
  inset     = 0.9..1.0
  highlight = [abs(nu_error) < 0.2, verdict == specific]
}

plot averaged {
  data  = classes
  mark  = histogram
  x     = delta_norm
  color = class
  facet = loss
  over  = train.seed
}

plot dots {
  data        = [nu, classes]
  where       = loss == l1
  mark        = scatter
  x           = nu_error
  y           = nu_reconstruction
  marginal    = histogram
  correlation = pearson
  range       = [x = 0..0.9, y = 0..0.9]
  lines       = [x = mean]
}

plot means {
  data  = nu
  mark  = line
  x     = train.seed
  y     = nu_error
  color = loss
  error = interval
  width = column
}

## Why L1 shrinks a base norm to exactly 0.
plot fields {
  mark = gradient
  save = "fields.png"
}
"#;

/// `table rows`: loss, then the cells by header.
fn table(lab: &Lab) -> Vec<BTreeMap<String, String>> {
    let text = std::fs::read_to_string(lab.path().join("out/tables/rows.csv")).unwrap();
    let mut lines = text.lines();
    let header: Vec<&str> = lines.next().unwrap().split(',').collect();
    let row = |line: &str| header.iter().map(|h| (*h).to_owned()).zip(line.split(',').map(str::to_owned)).collect();
    lines.map(row).collect()
}

fn number(row: &BTreeMap<String, String>, column: &str) -> Option<f64> {
    row[column].parse().ok()
}

#[test]
fn figures_say_what_their_rows_give() {
    let lab = Lab::new(FILE);
    lab.run(&["--out", "out"]);
    let svg = |name: &str| std::fs::read_to_string(lab.path().join(format!("out/plots/{name}.svg"))).unwrap();
    let rows = table(&lab);
    let means = svg("means");
    let l1: Vec<_> = rows.iter().filter(|r| r["loss"] == "l1").collect();
    assert_eq!(rows.len(), 256);

    // Rows behind a step are those of its file, with its axes in front.
    let logged = std::fs::read_to_string(lab.path().join("out/tables/logged.csv")).unwrap();
    let mut of_files = Vec::new();
    for loss in ["l1", "topk"] {
        for seed in 0..2 {
            let log = lab.path().join(format!("out/artifacts/cc[loss={loss},train.seed={seed}]/log.csv"));
            let log = std::fs::read_to_string(&log).unwrap_or_else(|e| panic!("{}: {e}", log.display()));
            for line in log.lines().skip(1) {
                let cells: Vec<f64> = line.split(',').map(|cell| cell.parse().unwrap_or(f64::NAN)).collect();
                of_files.push((loss, seed, [0, 2, 6, 11].map(|column| cells[column])));
            }
        }
    }
    assert_eq!(logged.lines().count(), of_files.len() + 1);
    for (line, (loss, seed, cells)) in logged.lines().skip(1).zip(of_files) {
        let written: Vec<&str> = line.split(',').collect();
        assert_eq!((written[0], written[1]), (loss, &*seed.to_string()));
        for (found, cell) in written[2..].iter().zip(cells) {
            let found: f64 = found.parse().unwrap();
            assert!((found - cell).abs() <= 1e-4 * cell.abs().max(1e-3), "{line}: {cell}");
        }
    }
    let curve = svg("curve");
    assert!(
        curve.contains("lines and shaded: mean and 95% t-interval over 2 seeds")
            || curve.contains("lines and bars: mean")
    );
    assert!(
        curve.contains(">loss<")
            && std::fs::read(lab.path().join("out/plots/curve.png")).unwrap().starts_with(b"\x89PNG")
    );

    // Five latents of each of the four points.
    let ranks = svg("ranks");
    assert!(ranks.contains("; 20 rows.") || ranks.contains("; 20 latents."), "{ranks}");
    assert!(ranks.contains("rank by Δnorm (1 = highest)"));

    let thresholds = svg("thresholds");
    assert!(thresholds.contains("larger of |ν error| and |ν reconstruction| (β base / β tuned)"));
    assert!(thresholds.contains("latents at or below"));

    let betas = svg("betas");
    let live: Vec<f64> = rows.iter().filter_map(|r| number(r, "beta_error_base")).collect();
    let outside = live.iter().filter(|x| !(0.0..=0.5).contains(*x)).count();
    assert!(betas.contains(">base</text>") && betas.contains(">tuned</text>") && betas.contains(">density</text>"));
    assert!(betas.contains(">β error</text>"), "the words that both columns begin with");
    assert!(outside > 0 && betas.contains("outside of the range not shown"));

    let marked = svg("marked");
    assert!(marked.contains("filled: |ν error| &lt; 0.2 and verdict = specific") && marked.contains("-inset-1"));

    // Two seeds of 64 latents: n is a mean, and where they are thrown together the note says so.
    let averaged = svg("averaged");
    assert!(averaged.contains("heights and n: mean over 2 seeds") && averaged.contains(">n = 64<"), "{averaged}");
    assert!(marked.contains("2 seeds together") && marked.contains(">n = 128<"), "{marked}");
    assert!(!averaged.contains("together") && !means.contains("together"));

    // Pearson's r as the rows give it, over rows inside and outside of the range.
    let pairs: Vec<(f64, f64)> =
        l1.iter().filter_map(|r| Some((number(r, "nu_error")?, number(r, "nu_reconstruction")?))).collect();
    let n = pairs.len() as f64;
    let (mx, my) = (pairs.iter().map(|p| p.0).sum::<f64>() / n, pairs.iter().map(|p| p.1).sum::<f64>() / n);
    let sum = |f: fn(f64, f64) -> f64| pairs.iter().map(|p| f(p.0 - mx, p.1 - my)).sum::<f64>();
    let r = sum(|x, y| x * y) / (sum(|x, _| x * x) * sum(|_, y| y * y)).sqrt();
    let dots = svg("dots");
    assert!(dots.contains(&format!("r = {}, p ", format!("{r:.2}").replace('-', "−"))), "{r}");
    let beyond = pairs.iter().filter(|p| [p.0, p.1].iter().any(|v| !(0.0..=0.9).contains(v))).count();
    assert!(beyond > 0 && dots.contains(&format!(">{beyond} latents outside of the range not shown")), "{beyond}");
    assert!(mx < 0.0, "{mx}");
    let mean = format!("mean {} of ν error lies outside of the axis", format!("{mx:.3}").replace('-', "−"));
    assert!(dots.contains(&mean), "{mean}");

    assert!(means.contains("bars: 95% interval of the mean"));
    let wide: f64 = means.split("width=\"").nth(1).and_then(|s| s.split('"').next()?.parse().ok()).unwrap();
    assert!((315.0..=323.0).contains(&wide), "85 mm, not {wide}");
    let png = std::fs::read(lab.path().join("out/plots/fields.png")).unwrap();
    assert!(png.starts_with(b"\x89PNG"));
    let report = std::fs::read_to_string(lab.path().join("out/report.html")).unwrap();
    assert!(report.contains("pull on ||d base||") && report.contains("Why L1 shrinks a base norm to exactly 0"));
}
