//! The figures of the paper, as `paper(..)` declares them, with seeded rows of their usual shape in place of a run. `XD_GALLERY=folder cargo
//! test --release --test engine gallery` writes them as SVG and PNG, at the width of a page and of a column, for people to look at.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use xd::cli::world::FileWorld;
use xd::exec::frames::Results;
use xd::exec::steps::plot;
use xd::exec::store::Store;
use xd::lang::plan::spec::PlotWidth;
use xd::lang::plan::{Plan, Spec, Step};
use xd::lang::schema::tokens::BUCKET_WORDS;
use xd::lang::schema::{Column as Known, KINDS};
use xd::lang::{Sources, analyse};
use xd::out::{Column, Frame};

const EXPERIMENT: &str = r#"xd 1

model base = folder("organism/base")
model chat = folder("organism/chat")
pair organism { base = base
  tuned = chat
  label = "chat" }
corpus prose = jsonl("organism/texts/prose.jsonl", column = "text")
corpus talk = jsonl("organism/texts/chat.jsonl", column = "messages", template = tokenizer)
activations acts {
  of       = organism
  layer    = 3
  context  = 256 tokens
  train    = [10K tokens of prose, 10K tokens of talk]
  validate = [1K tokens of prose, 1K tokens of talk]
}
crosscoder cc for loss in [l1(weight = 0.06), batch_topk(k = 8)], train.seed in 0..3 { on = acts }
classify classes { of = cc }
scaling nu { of = cc }
tokens where_it_fires { of = cc
  groups = [control, non_control] }
twins doubles { of = classes }
compare matches { a = classes[loss = l1]
  b = classes[loss = batch_topk] }
patch causal { of = cc
  insert = paper(classes, nu)
  positions = [all, first(10)] }
autointerp explained { of = cc
  scores = "SCORES" }
layers depth { of = organism
  prompts = 16 prompts of talk
  layers = [0, 1, 2, 3] }

plot figures = paper(cc, classes, nu, where_it_fires, doubles, matches, causal, explained, depth)
"#;

/// Latents of a crosscoder.
const LATENTS: usize = 2000;
/// Layers of the seeded sweep, more than the small pair has.
const LAYERS: i64 = 26;

/// Roughly normal.
fn normal(random: &mut ChaCha8Rng) -> f64 {
    (0..12).map(|_| random.random::<f64>()).sum::<f64>() - 6.0
}

fn class(delta: f64) -> &'static str {
    match delta {
        d if d < 0.1 => "base_only",
        d if d > 0.9 => "tuned_only",
        d if (0.4..0.6).contains(&d) => "shared",
        _ => "other",
    }
}

/// Columns by name, of the type that the schema gives them.
#[derive(Default)]
struct Rows {
    real: Vec<(&'static str, Vec<Option<f64>>)>,
    text: Vec<(&'static str, Vec<String>)>,
    truth: Vec<(&'static str, Vec<bool>)>,
}

impl Rows {
    fn real(&mut self, name: &'static str, cell: impl Into<Option<f64>>) {
        push(&mut self.real, name, cell.into());
    }

    fn text(&mut self, name: &'static str, cell: impl Into<String>) {
        push(&mut self.text, name, cell.into());
    }

    fn truth(&mut self, name: &'static str, cell: bool) {
        push(&mut self.truth, name, cell);
    }

    fn frame(self, known: &[Known]) -> Frame {
        let mut frame = Frame::new();
        for (name, cells) in self.text {
            frame.push(name, Column::text(cells)).unwrap();
        }
        for (name, cells) in self.truth {
            frame.push(name, Column::truth(cells)).unwrap();
        }
        for (name, cells) in self.real {
            frame.push(name, Column::Real(cells)).unwrap();
        }
        for name in frame.names() {
            assert!(known.iter().any(|column| column.name == name), "no step has a column {name}");
        }
        frame
    }
}

fn push<T>(columns: &mut Vec<(&'static str, Vec<T>)>, name: &'static str, cell: T) {
    match columns.iter_mut().find(|(known, _)| *known == name) {
        Some((_, cells)) => cells.push(cell),
        None => columns.push((name, vec![cell])),
    }
}

/// What the seeded rows depend on.
struct Point {
    l1: bool,
    seed: u64,
}

impl Point {
    fn of(step: &Step) -> Self {
        let value = |axis: &str| step.address.point.iter().find(|(known, _)| known == axis).map(|(_, value)| value);
        Point {
            l1: value("loss").is_none_or(|loss| loss.starts_with("l1")),
            seed: value("train.seed").and_then(|seed| seed.parse().ok()).unwrap_or(0),
        }
    }

    fn random(&self, stream: u64) -> ChaCha8Rng {
        ChaCha8Rng::seed_from_u64(100 * stream + 10 * self.seed + u64::from(self.l1))
    }

    /// delta_norm of every latent, the same for each step.
    fn deltas(&self) -> Vec<f64> {
        let mut random = self.random(1);
        let (tuned, base) = if self.l1 { (0.043, 0.063) } else { (0.012, 0.018) };
        let delta = |_| match random.random::<f64>() {
            k if k < tuned => 1.0 - (0.03 * normal(&mut random)).abs().min(0.0999) * if self.l1 { 0.5 } else { 1.0 },
            k if k < base => (0.03 * normal(&mut random)).abs().min(0.0999),
            k if k < 0.8 => (0.5 + 0.035 * normal(&mut random)).clamp(0.4001, 0.5999),
            k if k < 0.95 => (0.62 + 0.12 * normal(&mut random).abs()).min(0.899),
            _ => (0.38 - 0.1 * normal(&mut random).abs()).max(0.101),
        };
        (0..LATENTS).map(delta).collect()
    }

    fn classes(&self) -> Rows {
        let (mut rows, mut random) = (Rows::default(), self.random(2));
        for (latent, delta) in self.deltas().into_iter().enumerate() {
            let class = class(delta);
            let cosine = match class {
                "shared" => 0.93 + 0.04 * normal(&mut random),
                "other" => 0.6 + 0.2 * normal(&mut random),
                _ => 0.15 + 0.25 * normal(&mut random),
            };
            let template = class == "tuned_only" && random.random::<f64>() < 0.4;
            let control =
                if template { 0.5 + 0.5 * random.random::<f64>() } else { 0.3 * random.random::<f64>().powi(3) };
            let norm = 1.0 + 0.1 * normal(&mut random).abs();
            rows.real("latent", latent as f64);
            rows.text("class", class);
            rows.truth("dead", latent % 41 == 5);
            rows.real("delta_norm", delta);
            rows.real("norm_base", norm * (1.0 - delta).min(delta * 0.9 + 0.1) / delta.max(0.5));
            rows.real("norm_tuned", norm * delta.min(0.5) * 2.0);
            rows.real("cosine", cosine.clamp(-1.0, 1.0));
            rows.real("encoder_cosine", (cosine - 0.1 + 0.05 * normal(&mut random)).clamp(-1.0, 1.0));
            rows.real("encoder_norm_base", 0.4 + 0.1 * normal(&mut random).abs());
            rows.real("encoder_norm_tuned", 0.5 + 0.1 * normal(&mut random).abs());
            rows.real("frequency", 10f64.powf(-3.6 + 0.7 * normal(&mut random)));
            rows.real("control_share", control);
        }
        rows
    }

    fn scaling(&self) -> Rows {
        let (mut rows, mut random) = (Rows::default(), self.random(3));
        for (latent, delta) in self.deltas().into_iter().enumerate() {
            let (error, reconstruction) = match (class(delta), self.l1) {
                ("tuned_only", true) => (0.28 + 0.13 * normal(&mut random), 0.3 + 0.25 * normal(&mut random)),
                ("tuned_only", false) => (0.02 + 0.03 * normal(&mut random), 0.1 + 0.08 * normal(&mut random)),
                _ => (0.82 + 0.12 * normal(&mut random), 0.9 + 0.1 * normal(&mut random)),
            };
            let (of_error, of_rest) = (1.0 + 0.1 * normal(&mut random), 0.8 + 0.3 * normal(&mut random));
            let live = |cell: f64| (latent % 41 != 5).then_some(cell);
            rows.real("latent", latent as f64);
            rows.real("nu_error", live(error));
            rows.real("nu_reconstruction", live(reconstruction));
            rows.real("nu_activation", live(0.5 * (error + reconstruction)));
            rows.real("rank", live((error + reconstruction) * LATENTS as f64 * 0.5 + 40.0 * normal(&mut random)));
            rows.real("beta_error_base", live(error * of_error));
            rows.real("beta_error_tuned", live(of_error));
            rows.real("beta_reconstruction_base", live(reconstruction * of_rest));
            rows.real("beta_reconstruction_tuned", live(of_rest));
        }
        rows
    }

    fn tokens(&self) -> Rows {
        let (mut rows, mut random) = (Rows::default(), self.random(4));
        for latent in 0..LATENTS {
            let r: f64 = random.random();
            let control = if latent % 3 == 0 { r.sqrt() } else { r.powi(4) };
            for (group, share) in [("control", control), ("non_control", 1.0 - control)] {
                rows.real("latent", latent as f64);
                rows.text("group", group);
                rows.real("share", share);
                rows.real("frequency", (10f64.powf(-3.0 + 0.8 * normal(&mut random)) * (share + 0.02)).min(1.0));
            }
        }
        rows
    }

    fn buckets(&self) -> Rows {
        let (mut rows, mut random) = (Rows::default(), self.random(10));
        for latent in 0..LATENTS {
            for group in ["control", "non_control"] {
                for (bucket, scale) in BUCKET_WORDS.iter().zip([1.0, 0.5, 0.2, 0.1]) {
                    let share: f64 = random.random::<f64>().powf(if latent % 3 == 0 { 0.5 } else { 3.0 });
                    rows.real("latent", latent as f64);
                    rows.text("group", group);
                    rows.text("bucket", *bucket);
                    rows.real("share", if group == "control" { share } else { 1.0 - share });
                    rows.real("frequency", scale * 10f64.powf(-3.0 + 0.6 * normal(&mut random)).min(1.0));
                }
            }
        }
        rows
    }

    fn twins(&self) -> Rows {
        let (mut rows, mut random) = (Rows::default(), self.random(5));
        for i in 0..if self.l1 { 218 } else { 16 } {
            let twin = i % 2 == 0;
            let value = if twin { 0.58 + 0.24 * normal(&mut random) } else { 0.97 + 0.03 * normal(&mut random) };
            rows.text("pair", if twin { "twin" } else { "random" });
            rows.real("divergence", value.clamp(0.0, 1.0));
        }
        rows
    }

    fn patch(&self) -> Rows {
        let inserts =
            ["nothing", "everything", "error", "template", "scaling_best", "scaling_worst", "norm_best", "norm_worst"];
        let means: [f64; 16] = match self.l1 {
            true => [0.48, 0.2, 0.31, 0.42, 0.26, 0.3, 0.24, 0.24, 1.69, 0.37, 0.9, 1.2, 0.66, 0.88, 0.62, 0.74],
            false => [0.48, 0.2, 0.28, 0.42, 0.23, 0.27, 0.23, 0.27, 1.69, 0.37, 0.76, 1.2, 0.83, 1.55, 0.85, 1.59],
        };
        let (mut rows, mut random) = (Rows::default(), self.random(6));
        for (place, mean) in means.into_iter().enumerate() {
            rows.text("insert", inserts[place % 8]);
            rows.text("positions", ["all", "first(10)"][place / 8]);
            rows.text("metric", "kl");
            rows.real("mean", mean * (1.0 + 0.03 * normal(&mut random)));
            rows.real("ci95_prompts", 0.004 + 0.02 * mean);
        }
        rows
    }

    fn explained(&self) -> Rows {
        let (mut rows, mut random) = (Rows::default(), self.random(7));
        for latent in 0..LATENTS {
            let score = 0.76 + 0.09 * normal(&mut random) + if self.l1 { 0.0 } else { 0.06 };
            rows.real("latent", latent as f64);
            rows.real("detection_total", (latent % 9 == 0).then_some(score.clamp(0.0, 1.0)));
        }
        rows
    }

    fn log(&self) -> Rows {
        let (mut rows, mut random) = (Rows::default(), self.random(8));
        for t in 0..160 {
            let (t, noise) = (f64::from(t), 0.01 * normal(&mut random));
            let left = (-t / if self.l1 { 33.0 } else { 25.0 }).exp();
            rows.real("step", 50.0 * t);
            rows.real("tokens", 50.0 * 2048.0 * t);
            rows.real("loss", (900.0 * left + if self.l1 { 60.0 } else { 9.0 }) * (1.0 + 3.0 * noise));
            rows.real("fve_base", (0.8 * (1.0 - left) + noise).min(1.0));
            rows.real("fve_tuned", (0.82 * (1.0 - left) + noise).min(1.0));
            rows.real("l0", if self.l1 { 2.0 + 600.0 * left + 20.0 * noise.abs() } else { 100.0 });
            rows.real(
                "dead",
                (if self.l1 { 200.0 } else { 40.0 } * (1.0 - left) * (1.0 + 5.0 * noise)).max(0.0).round(),
            );
            let threshold = if t < 20.0 { -1.0 } else { 2.0 + 6.0 * (1.0 - left) + noise };
            rows.real("threshold", (!self.l1).then_some(threshold));
        }
        rows
    }

    fn compared(&self) -> Rows {
        let (mut rows, mut random) = (Rows::default(), self.random(9));
        let of =
            |p: usize| ["shared", "shared", "shared", "shared", "other", "other", "tuned_only", "base_only"][p % 8];
        for i in 0..LATENTS {
            let (first, same) = (of(i), random.random::<f64>() < 0.7);
            let cosine = if same { 0.85 + 0.1 * normal(&mut random) } else { 0.3 + 0.15 * normal(&mut random) };
            rows.text("class_a", first);
            rows.text("class_b", if same { first } else { of(random.random_range(0..8)) });
            rows.real("cosine", cosine.clamp(0.0, 1.0));
            rows.truth("mutual", same || random.random::<f64>() < 0.2);
        }
        rows
    }

    fn layers(&self) -> Rows {
        let mut rows = Rows::default();
        for layer in 0..LAYERS {
            let depth = layer as f64 / (LAYERS - 1) as f64;
            let mut row = |measure: &str, group: &str, mean: f64| {
                rows.real("layer", layer as f64);
                rows.text("measure", measure);
                rows.text("group", group);
                rows.real("mean", mean);
                rows.real("ci95_prompts", 0.05 * mean);
            };
            row("kl", "all", 0.05 + 0.5 * depth.powi(2));
            row("kl", "first(10)", 0.1 + 2.4 * depth * (1.0 - 0.4 * depth));
            for (group, scale) in [("control", 1.6), ("non_control", 0.8), ("user", 0.7), ("assistant", 0.9)] {
                row("difference", group, scale * (4.0 + 90.0 * depth.powi(2)));
                row("relative", group, scale * (0.05 + 0.3 * depth));
            }
        }
        rows
    }
}

/// As a training writes its log: one line of names.
fn plain(frame: &Frame) -> String {
    let names: Vec<&str> = frame.names().collect();
    let cells = |row: usize| {
        names.iter().map(move |name| frame.cell(row, name).number().map_or(String::new(), |x| x.to_string()))
    };
    let rows = (0..frame.rows()).map(|row| cells(row).collect::<Vec<_>>().join(",") + "\n");
    names.join(",") + "\n" + &rows.collect::<String>()
}

/// The rows of every step, where a run would have left them.
fn fill(plan: &Plan, store: &Store) {
    for step in &plan.steps {
        let point = Point::of(step);
        let kind = KINDS.iter().find(|kind| kind.word == step.kind).unwrap();
        let write = |file: &str, frame: Frame| {
            let folder = store.artifact(&step.id);
            std::fs::create_dir_all(&folder).unwrap();
            frame.write(&folder.join(file)).unwrap();
        };
        let rows = match step.kind {
            "crosscoder" => {
                let log = kind.part("log").unwrap();
                let folder = store.artifact(&step.id);
                std::fs::create_dir_all(&folder).unwrap();
                std::fs::write(folder.join(log.file), plain(&point.log().frame(log.columns))).unwrap();
                continue;
            }
            "classify" => point.classes(),
            "scaling" => point.scaling(),
            "tokens" => {
                let buckets = kind.part("buckets").unwrap();
                write(buckets.file, point.buckets().frame(buckets.columns));
                point.tokens()
            }
            "twins" => point.twins(),
            "compare" => point.compared(),
            "patch" => point.patch(),
            "autointerp" => point.explained(),
            "layers" => point.layers(),
            _ => continue,
        };
        write("rows.csv", rows.frame(kind.columns));
    }
}

#[test]
fn every_figure_of_the_paper_is_drawn_at_both_widths() {
    let experiment = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments/gallery.xd");
    let folder = tempfile::tempdir().unwrap();
    let scores = folder.path().join("scores.json");
    std::fs::write(
        &scores,
        r#"{"0": {"0": {"TP": 0, "TN": 4, "FP": 1, "FN": 0}, "1": {"TP": 3, "TN": 0, "FP": 0, "FN": 1}}}"#,
    )
    .unwrap();
    let mut sources = Sources::default();
    let text = EXPERIMENT.replace("SCORES", &scores.display().to_string());
    let file = sources.add(experiment.display().to_string(), text);
    let analysis = analyse(&FileWorld::default(), &mut sources, file, &[], false);
    let plan = analysis.plan.unwrap_or_else(|| panic!("{:#?}", analysis.diagnostics));
    let store = Store::open(folder.path()).unwrap();
    fill(&plan, &store);
    let results = Results { plan: &plan, store: &store, available: &vec![true; plan.steps.len()] };
    let gallery = std::env::var_os("XD_GALLERY").map(std::path::PathBuf::from);
    let declared = include_str!("../../src/lang/schema/paper.xd").matches("\nplot ").count();
    let mut figures = 0;
    for step in &plan.steps {
        let Spec::Plot(spec) = &step.spec else { continue };
        figures += 1;
        for (width, ending) in [(PlotWidth::Page, ""), (PlotWidth::Column, "-column")] {
            let mut spec = spec.clone();
            spec.width = width;
            spec.save += ending;
            let name = spec.save.clone();
            if gallery.is_none() {
                spec.save += ".svg";
            }
            let out = gallery.as_deref().unwrap_or(folder.path());
            let (paths, inline) = plot::write(&results, step, &spec, out).unwrap_or_else(|e| panic!("{name}: {e}"));
            let svg = std::fs::read_to_string(&paths[0]).unwrap();
            plot::write(&results, step, &spec, out).unwrap();
            assert!(svg == std::fs::read_to_string(&paths[0]).unwrap(), "{name}: other bytes");
            assert!(!svg.contains("NaN") && !svg.contains("inf\"") && !inline.contains("NaN"), "{name}");
            assert!(svg.len() < 1_500_000, "{name}: {} bytes", svg.len());
            assert!(
                ![">no rows<", ">no latents<", ">no means<", ">no pairs<"].iter().any(|said| svg.contains(said)),
                "{name} is empty"
            );
            let wide: f64 = svg.split("width=\"").nth(1).and_then(|s| s.split('"').next()?.parse().ok()).unwrap();
            assert!(width == PlotWidth::Page || (315.0..=323.0).contains(&wide), "{name}: {wide}");
        }
    }
    assert_eq!(figures, declared, "every figure of paper.xd, and nothing else");
}
