//! Every mark with rows like those of real experiments. `XD_GALLERY=folder cargo test --release --lib gallery` writes them as
//! SVG and PNG for people to look at.

use std::sync::Arc;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{At, ColumnStyle, Correlation, Count, Dress, ErrorBar, Figure, Labels, Line, Mark, Over, Side, Width};
use crate::out::frame::{Column, Frame};

/// Latents of two losses: class, Δnorm, ν, frequency; some cells empty, some ν far out.
fn latents(count: usize) -> Frame {
    latents_of(count, 7)
}

fn latents_of(count: usize, seed: u64) -> Frame {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let (mut loss, mut latent, mut class, mut delta, mut nu_e, mut nu_r, mut frequency) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for name in ["l1", "batch_topk"] {
        for i in 0..count {
            let kind: f64 = random.random();
            let noise = (0..6).map(|_| random.random::<f64>() - 0.5).sum::<f64>() / 3.0;
            let d: f64 = match kind {
                k if k < 0.72 => (0.5 + noise * 0.09).clamp(0.0, 1.0),
                k if k < 0.86 => random.random(),
                k if k < 0.94 => (1.0 - (noise * 0.09).abs()).clamp(0.0, 1.0),
                _ => (noise * 0.07).abs().clamp(0.0, 1.0),
            };
            let c = match d {
                d if d < 0.1 => "base_only",
                d if d > 0.9 => "tuned_only",
                d if (0.4..0.6).contains(&d) => "shared",
                _ => "other",
            };
            let shift = if name == "l1" { 0.45 } else { 0.05 };
            let spread = if c == "tuned_only" { 0.12 } else { 0.3 };
            let centre = if c == "tuned_only" { shift } else { 0.85 };
            let far = if i % 211 == 210 { 40.0 } else { 0.0 };
            loss.push(name);
            latent.push(i as i64);
            class.push(Some(Arc::from(c)));
            delta.push(Some(d));
            nu_e.push((i % 17 != 3).then(|| centre + noise * spread * 2.0 + far));
            nu_r.push((i % 17 != 3).then(|| centre * 0.8 + random.random::<f64>() * spread - 0.05));
            frequency.push(Some(10f64.powf(-5.0 + 3.5 * random.random::<f64>() + noise)));
        }
    }
    Frame::new()
        .with("loss", Column::text(loss))
        .and_then(|f| f.with("latent", Column::whole(latent)))
        .and_then(|f| f.with("class", Column::Text(class)))
        .and_then(|f| f.with("delta_norm", Column::Real(delta)))
        .and_then(|f| f.with("nu_error", Column::Real(nu_e)))
        .and_then(|f| f.with("nu_reconstruction", Column::Real(nu_r)))
        .and_then(|f| f.with("frequency", Column::Real(frequency)))
        .unwrap()
}

/// A training log of several points.
fn log() -> Frame {
    let mut random = ChaCha8Rng::seed_from_u64(3);
    let points = [
        ("l1", "0"),
        ("l1", "1"),
        ("batch_topk(k = 32, aux = 0.03125)", "0"),
        ("batch_topk(k = 32, aux = 0.03125)", "1"),
        ("batch_topk(k = 100, aux = 0.03125, dead_after = 10M tokens)", "0"),
    ];
    let (mut loss, mut seed, mut step, mut fve, mut value) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (i, (name, s)) in points.iter().enumerate() {
        for t in 0..160 {
            let progress = 1.0 - (-(t as f64) / (25.0 + 8.0 * i as f64)).exp();
            loss.push(*name);
            seed.push(*s);
            step.push(t * 50);
            fve.push(progress * (0.78 + 0.04 * i as f64) + 0.012 * random.random::<f64>());
            value.push(900.0 * (-(t as f64) / 20.0).exp() + 4.0 + random.random::<f64>());
        }
    }
    Frame::new()
        .with("loss", Column::text(loss))
        .and_then(|f| f.with("train.seed", Column::text(seed)))
        .and_then(|f| f.with("step", Column::whole(step)))
        .and_then(|f| f.with("fve", Column::real(fve)))
        .and_then(|f| f.with("reconstruction", Column::real(value)))
        .unwrap()
}

/// `recover` rows: loss x seed x class.
fn recovered() -> Frame {
    let (mut loss, mut seed, mut class, mut precision) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (l, base) in [("l1", 0.42), ("batch_topk", 0.97), ("topk", 0.91)] {
        for s in 0..4 {
            for (k, c) in ["tuned_only", "base_only", "shared"].iter().enumerate() {
                loss.push(l);
                seed.push(s.to_string());
                class.push(*c);
                let value: f64 = base + 0.03 * f64::from(s) - 0.05 * k as f64;
                precision.push((s != 3 || k != 1).then_some(value.min(1.0)));
            }
        }
    }
    Frame::new()
        .with("loss", Column::text(loss))
        .and_then(|f| f.with("train.seed", Column::text(seed)))
        .and_then(|f| f.with("class", Column::text(class)))
        .and_then(|f| f.with("precision", Column::Real(precision)))
        .unwrap()
}

fn sweep() -> Frame {
    let (mut weight, mut width, mut value, mut gap) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (i, w) in ["l1(weight = 1e-2)", "l1(weight = 3e-2)", "l1(weight = 1e-1)", "batch_topk"].iter().enumerate() {
        for (j, d) in [512, 1024, 2048, 4096, 8192].iter().enumerate() {
            weight.push(*w);
            width.push(i64::from(*d));
            value.push(0.62 + 0.05 * j as f64 + 0.03 * i as f64);
            gap.push(0.1 * i as f64 - 0.08 * j as f64);
        }
    }
    Frame::new()
        .with("loss", Column::text(weight))
        .and_then(|f| f.with("latents", Column::whole(width)))
        .and_then(|f| f.with("fve", Column::real(value)))
        .and_then(|f| f.with("gap", Column::real(gap)))
        .unwrap()
}

fn figure(name: &str, title: &str, mark: Mark, x: &str) -> Figure {
    let mut labels = Labels::standard();
    labels.rows = "latents".to_owned();
    labels.set_value("tuned_only", "chat only");
    Figure {
        title: title.to_owned(),
        caption: "Relative difference of the decoder norms of each latent. Dashed lines bound the classes: below 0.1 a latent \
                  belongs to the base model alone, above 0.9 to the chat model alone."
            .to_owned(),
        labels,
        ..Figure::new(name, mark, x)
    }
}

fn line(side: Side, value: f64, label: &str) -> Line {
    Line { label: (!label.is_empty()).then(|| label.to_owned()), ..Line::new(side, value) }
}

pub fn all() -> Vec<(Figure, Frame)> {
    let of = |text: &str| Some(text.to_owned());
    let classes = [line(Side::X, 0.1, ""), line(Side::X, 0.9, "")];
    let nu = "How much of what a chat-only latent explains would also help the base model";
    vec![
        (
            Figure {
                color: of("class"),
                facet: of("loss"),
                lines: classes.to_vec(),
                log_y: true,
                ..figure(
                    "delta",
                    "What is new in the chat model: decoder norms of both crosscoders",
                    Mark::Histogram,
                    "delta_norm",
                )
            },
            latents(4000),
        ),
        (
            Figure { color: of("class"), ..figure("delta-one", "Decoder norms", Mark::Histogram, "delta_norm") },
            latents(300),
        ),
        (
            Figure {
                color: of("loss"),
                lines: vec![
                    line(Side::X, 0.2, "specific below 0.2"),
                    line(Side::X, 0.3, "looser 0.3"),
                    line(Side::X, 0.9, ""),
                ],
                ..figure("nu-histogram", nu, Mark::Histogram, "nu_error")
            },
            latents(1500),
        ),
        (
            Figure {
                log_x: true,
                color: of("class"),
                ..figure("frequency", "Firing frequency", Mark::Histogram, "frequency")
            },
            latents(1500),
        ),
        (
            Figure {
                y: of("nu_reconstruction"),
                color: of("class"),
                facet: of("loss"),
                lines: vec![line(Side::X, 0.2, "ν error < 0.2"), line(Side::Y, 0.5, "ν reconstruction < 0.5")],
                ..figure("nu", nu, Mark::Scatter, "nu_error")
            },
            latents(400),
        ),
        (
            Figure {
                y: of("nu_reconstruction"),
                color: of("class"),
                ..figure("cloud", "Seventy thousand latents", Mark::Scatter, "delta_norm")
            },
            latents(35_000),
        ),
        (
            Figure {
                y: of("nu_error"),
                color: of("frequency"),
                log_x: true,
                ..figure("tinted", "Frequency against ν error", Mark::Scatter, "frequency")
            },
            latents(300),
        ),
        (
            Figure {
                y: of("nu_error"),
                color: of("class"),
                ..figure("strip", "A strip a class", Mark::Scatter, "class")
            },
            latents(300),
        ),
        (Figure { y: of("fve"), color: of("loss"), ..figure("training", "Training", Mark::Line, "step") }, log()),
        (
            Figure {
                y: of("reconstruction"),
                color: of("train.seed"),
                facet: of("loss"),
                log_y: true,
                ..figure("training-facets", "Training by loss", Mark::Line, "step")
            },
            log(),
        ),
        (
            Figure {
                y: of("fve"),
                color: of("loss"),
                log_x: true,
                ..figure("sweep-line", "Wider dictionaries explain more", Mark::Line, "latents")
            },
            sweep(),
        ),
        (
            Figure {
                y: of("precision"),
                color: of("loss"),
                lines: vec![line(Side::Y, 0.95, "expected")],
                ..figure("recovered", "Planted features found again", Mark::Bar, "class")
            },
            recovered(),
        ),
        (
            Figure {
                color: of("class"),
                facet: of("loss"),
                ..figure("counts", "Latents by class", Mark::Bar, "class")
            },
            latents(900),
        ),
        (Figure { y: of("fve"), ..figure("long-names", "Long names", Mark::Bar, "loss") }, log()),
        (
            Figure {
                color: of("loss"),
                lines: vec![line(Side::X, 0.2, "")],
                ..figure("ecdf", nu, Mark::Ecdf, "nu_error")
            },
            latents(1200),
        ),
        (
            Figure {
                y: of("latents"),
                color: of("fve"),
                ..figure("grid", "Explained variance over the sweep", Mark::Heatmap, "loss")
            },
            sweep(),
        ),
        (
            Figure { y: of("latents"), color: of("gap"), ..figure("gap", "Signed difference", Mark::Heatmap, "loss") },
            sweep(),
        ),
        (
            Figure {
                y: of("nu_error"),
                facet: of("loss"),
                ..figure("density", "Where the latents are", Mark::Heatmap, "delta_norm")
            },
            latents(6000),
        ),
        (
            Figure {
                color: of("class"),
                y: of("nu_error"),
                ..figure("empty", "Nothing is left", Mark::Scatter, "delta_norm")
            },
            latents(10).limit(0),
        ),
        (Figure { facet: of("latent"), ..figure("many", "Many panels", Mark::Histogram, "nu_reconstruction") }, {
            let frame = latents(11);
            Frame::concat(&vec![frame; 12]).unwrap()
        }),
        (
            Figure {
                y: of("precision"),
                caption: String::new(),
                ..figure("few", "Three rows", Mark::Line, "train.seed")
            },
            recovered().limit(4),
        ),
    ]
}

/// What goes wrong in figures: one row, many colours, long names, all below zero.
fn edges() -> Vec<(Figure, Frame)> {
    let of = |text: &str| Some(text.to_owned());
    let one = latents(1).limit(1);
    let plain =
        |name: &str, mark: Mark, x: &str| Figure { caption: String::new(), ..figure(name, "At the edge", mark, x) };
    let marks = [Mark::Bar, Mark::Ecdf, Mark::Histogram, Mark::Line, Mark::Scatter, Mark::Heatmap];
    let mut all: Vec<(Figure, Frame)> = marks
        .into_iter()
        .map(|mark| {
            let named = plain(&format!("one-{}", mark.noun().to_lowercase().replace(' ', "-")), mark, "delta_norm");
            let y = (!matches!(mark, Mark::Ecdf | Mark::Histogram)).then(|| "nu_error".to_owned());
            (Figure { y, ..named }, one.clone())
        })
        .collect();
    let mut many = Frame::new();
    let (mut corpus, mut step, mut loss) = (Vec::new(), Vec::new(), Vec::new());
    for group in 0..12 {
        for at in 0..30i64 {
            corpus.push(format!("corpus_{}", (b'a' + group) as char));
            step.push(at * 100);
            loss.push(-(f64::from(group) + 2.0) * (1.0 - (-(at as f64) / 8.0).exp()));
        }
    }
    many.push("corpus", Column::text(corpus)).unwrap();
    many.push("step", Column::whole(step)).unwrap();
    many.push("change", Column::real(loss)).unwrap();
    let twelve = Figure { y: of("change"), color: of("corpus"), ..plain("twelve-lines", Mark::Line, "step") };
    let bars = Figure { y: of("change"), color: of("corpus"), ..plain("twelve-bars", Mark::Bar, "corpus") };
    all.push((Figure { width: Width::Column, name: "twelve-lines-column".into(), ..twelve.clone() }, many.clone()));
    all.push((twelve, many.clone()));
    all.push((bars, many));
    let long = Figure { facet: of("loss"), y: of("fve"), ..plain("long-facets-column", Mark::Line, "step") };
    all.push((Figure { width: Width::Column, ..long }, log()));
    all
}

/// Latents of three seeds, averaged by every mark that can be.
fn over_seeds() -> Vec<(Figure, Frame)> {
    let of = |seed: u64| {
        let frame = latents_of(700, seed);
        let column = Column::text(vec![seed.to_string(); frame.rows()]);
        frame.with("train.seed", column).unwrap()
    };
    let rows = Frame::concat(&[of(0), of(1), of(2)]).unwrap();
    let over = Some(Over { column: "train.seed".to_owned(), label: "seeds".to_owned(), count: 3 });
    let plain = |name: &str, mark, x: &str| Figure {
        over: over.clone(),
        color: Some("class".to_owned()),
        facet: Some("loss".to_owned()),
        ..figure(name, "A mean over seeds", mark, x)
    };
    let y = |name: &str| Some(name.to_owned());
    [
        Figure {
            log_y: true,
            bins: Some(50),
            inset: Some((0.9, 1.0)),
            ..plain("seeds-histogram", Mark::Histogram, "delta_norm")
        },
        Figure { log_x: true, count: Some(Count::Share), ..plain("seeds-shares", Mark::Histogram, "frequency") },
        Figure { log_x: true, ..plain("seeds-ecdf", Mark::Ecdf, "frequency") },
        Figure { y: y("nu_reconstruction"), ..plain("seeds-bars", Mark::Bar, "class") },
        plain("seeds-counts", Mark::Bar, "class"),
        Figure { color: None, y: y("class"), ..plain("seeds-cells", Mark::Heatmap, "class") },
        Figure {
            y: y("nu_reconstruction"),
            correlation: Some(Correlation::Pearson),
            range_x: Some((0.0, 1.1)),
            range_y: Some((0.0, 1.1)),
            marginal: true,
            ..plain("seeds-scatter", Mark::Scatter, "nu_error")
        },
    ]
    .map(|figure| (figure, rows.clone()))
    .to_vec()
}

#[test]
fn every_mark_draws_the_same_bytes_twice_and_makes_a_png() {
    let folder = std::env::var_os("XD_GALLERY").map(std::path::PathBuf::from);
    for (figure, frame) in [all(), edges(), over_seeds()].concat() {
        let first = figure.svg(&frame, Dress::Alone).unwrap();
        let second = figure.svg(&frame, Dress::Alone).unwrap();
        assert!(first == second, "{}", figure.name);
        assert!(!first.contains("NaN") && !first.contains("inf\""), "{}", figure.name);
        assert!(first.len() < 1_200_000, "{}: {} bytes", figure.name, first.len());
        let png = figure.png(&frame).unwrap();
        assert!(png.starts_with(b"\x89PNG"), "{}", figure.name);
        if let Some(folder) = &folder {
            std::fs::create_dir_all(folder).unwrap();
            std::fs::write(folder.join(format!("{}.png", figure.name)), png).unwrap();
            std::fs::write(folder.join(format!("{}.svg", figure.name)), first).unwrap();
        }
    }
}

/// Three seeds of two, one and no rows near 0.1, and of three each at 0.9; y rises with x in two of them and falls in one.
fn seeds() -> Frame {
    let seed = ["0", "0", "1", "0", "0", "0", "1", "1", "1", "2", "2", "2"];
    let x = [0.1, 0.12, 0.1, 0.9, 0.91, 0.92, 0.9, 0.91, 0.92, 0.9, 0.91, 0.92];
    let y = [0.0, 0.1, 0.0, 1.0, 1.1, 1.2, 1.0, 1.1, 1.2, 0.3, 0.2, 0.1];
    let frame = Frame::new().with("train.seed", Column::text(seed)).and_then(|f| f.with("x", Column::real(x)));
    let frame = frame.and_then(|f| f.with("y", Column::real(y)));
    frame.and_then(|f| f.with("class", Column::text(["shared"; 12]))).unwrap()
}

/// Seeds were thrown together in every figure: bars summed, correlations pooled, intervals were lost.
#[test]
fn seeds_are_averaged_and_never_thrown_together() {
    let over = Some(Over { column: "train.seed".to_owned(), label: "seeds".to_owned(), count: 3 });
    let plain = |mark, x: &str| Figure { over: over.clone(), ..figure("seeds", "Seeds", mark, x) };
    let svg = |figure: &Figure| figure.svg(&seeds(), Dress::Alone).unwrap();

    let histogram = svg(&Figure { bins: Some(2), range_x: Some((0.0, 1.0)), ..plain(Mark::Histogram, "x") });
    assert!(histogram.contains("heights and n: mean over 3 seeds; bands: their range"), "{histogram}");
    // Twelve rows are four a seed; the highest bin has three in each, so the axis ends below 4.
    assert!(histogram.contains(">n = 4<") && !histogram.contains(">6</text>"), "{histogram}");

    let stairs = svg(&plain(Mark::Ecdf, "x"));
    assert!(stairs.contains("lines and n: mean over 3 seeds; bands: their range"), "{stairs}");

    let y = || Some("y".to_owned());
    let bars = svg(&Figure { y: y(), ..plain(Mark::Bar, "class") });
    assert!(bars.contains("bars: mean and 95% t-interval over 3 seeds"), "{bars}");
    let counts = svg(&plain(Mark::Bar, "class"));
    assert!(counts.contains("95% t-interval over 3 seeds"), "{counts}");
    let cells = svg(&Figure { y: Some("class".to_owned()), ..plain(Mark::Heatmap, "class") });
    assert!(cells.contains("each cell: mean over 3 seeds") && cells.contains(">4</text>"), "{cells}");

    let correlation = Some(Correlation::Pearson);
    let dots = svg(&Figure { y: y(), correlation, ..plain(Mark::Scatter, "x") });
    let of = |seed: &str| {
        let frame = seeds();
        let (x, y) = (frame.numbers("x").unwrap(), frame.numbers("y").unwrap());
        let rows = (0..frame.rows()).filter(|row| frame.cell(*row, "train.seed").to_string() == seed);
        let pairs: Vec<(f64, f64)> = rows.map(|row| (x[row].unwrap(), y[row].unwrap())).collect();
        super::correlation::pearson(&pairs).unwrap()
    };
    let mean = (of("0") + of("1") + of("2")) / 3.0;
    assert!(dots.contains(&format!("r = {mean:.2} ± ")) && dots.contains("(3 seeds)"), "{mean} {dots}");
    assert!(!dots.contains(", p "), "no p of rows of several seeds");
}

#[test]
fn a_label_may_hold_any_letters() {
    let mut figure = figure("odd", "<b>&\u{0}\"", Mark::Histogram, "delta_norm");
    figure.labels.set_column("delta_norm", ColumnStyle::new("a < b & c"));
    let svg = figure.svg(&latents(20), Dress::Inline).unwrap();
    assert!(svg.contains("a &lt; b &amp; c") && !svg.contains('\u{0}'));
    assert!(figure.png(&latents(20)).is_ok());
}

/// What marks draw for a few rows, element by element.
#[test]
fn small_figures_have_this_structure() {
    let frame = recovered().limit(5);
    let bars = Figure {
        y: Some("precision".into()),
        color: Some("class".into()),
        lines: vec![line(Side::Y, 0.95, "expected")],
        ..figure("bars", "Found again", Mark::Bar, "train.seed")
    };
    insta::assert_snapshot!("bars", bars.svg(&frame, Dress::Inline).unwrap());
    let bins = Figure {
        lines: vec![line(Side::X, 0.42, "")],
        log_y: true,
        ..figure("bins", "Precision", Mark::Histogram, "precision")
    };
    insta::assert_snapshot!("bins", bins.svg(&frame, Dress::Inline).unwrap());
}

/// What the fields of single marks add, element by element.
#[test]
fn insets_margins_errors_and_fields_have_this_structure() {
    let frame = recovered().limit(9);
    let shown = |name: &str, figure: Figure| insta::assert_snapshot!(name, figure.svg(&frame, Dress::Inline).unwrap());
    let histogram = figure("inset", "Precision", Mark::Histogram, "precision");
    shown(
        "inset",
        Figure {
            color: Some("class".into()),
            bins: Some(10),
            count: Some(Count::Share),
            inset: Some((0.4, 0.5)),
            lines: vec![Line { side: Side::X, at: At::Mean, label: None }],
            ..histogram
        },
    );
    shown(
        "margins",
        Figure {
            y: Some("precision".into()),
            color: Some("class".into()),
            marginal: true,
            bins: Some(4),
            correlation: Some(Correlation::Pearson),
            range_x: Some((0.3, 0.44)),
            range_y: Some((0.3, 0.5)),
            ..figure("margins", "Precision", Mark::Scatter, "precision")
        },
    );
    let errors = figure("errors", "Precision", Mark::Bar, "class");
    shown("errors", Figure { y: Some("precision".into()), error: Some(ErrorBar::Interval), ..errors });
    shown("gradient", Figure { width: Width::Column, ..figure("gradient", "Two penalties", Mark::Gradient, "") });
}

#[test]
fn a_column_that_is_not_there_and_a_mark_without_its_y_are_errors() {
    let frame = recovered();
    let message = |figure: Figure| figure.svg(&frame, Dress::Inline).unwrap_err().to_string();
    let known = "there is no column `nu` (there are: loss, train.seed, class, precision)";
    assert_eq!(message(Figure::new("a", Mark::Ecdf, "nu")), known);
    let needs = "a scatter plot needs a column for y";
    assert_eq!(message(Figure::new("a", Mark::Scatter, "precision")), needs);
}

mod anything {
    use super::*;
    use proptest::prelude::*;

    fn column(rows: usize) -> impl Strategy<Value = Column> {
        let number = prop_oneof![
            4 => -2.0..2.0f64,
            1 => Just(0.0),
            1 => prop::num::f64::ANY.prop_filter("no NaN", |x| !x.is_nan()),
        ];
        let cells = |n: BoxedStrategy<f64>| prop::collection::vec(prop::option::weighted(0.9, n), rows);
        prop_oneof![
            cells(number.boxed()).prop_map(Column::Real),
            cells((0.0..0.3).boxed()).prop_map(Column::Real),
            cells((0.5..0.500_001).boxed()).prop_map(Column::Real),
            prop::collection::vec(prop::option::weighted(0.9, any::<i64>()), rows).prop_map(Column::Whole),
            prop::collection::vec(prop::option::weighted(0.9, 0..3i64), rows).prop_map(Column::Whole),
            prop::collection::vec(any::<bool>(), rows).prop_map(Column::truth),
            prop::collection::vec("(shared|tuned_only|[a-z_(, ]{0,60})", rows).prop_map(Column::text),
        ]
    }

    fn rows() -> impl Strategy<Value = Frame> {
        (0usize..70).prop_flat_map(|n| {
            (column(n), column(n), column(n), column(n)).prop_map(|(x, y, color, facet)| Frame {
                columns: vec![
                    ("delta_norm".into(), x),
                    ("y".into(), y),
                    ("color".into(), color),
                    ("facet".into(), facet),
                ],
            })
        })
    }

    /// Fields that only some marks read; ranges are never empty.
    fn more() -> impl Strategy<Value = Figure> {
        let range = || prop::option::weighted(0.3, (-2.0..1.0f64, 0.001..2.0f64).prop_map(|(l, wide)| (l, l + wide)));
        let count = prop::option::of(prop_oneof![Just(Count::Rows), Just(Count::Share), Just(Count::Density)]);
        let error = prop::option::of(prop_oneof![
            Just(ErrorBar::Interval),
            Just(ErrorBar::Half("y".to_owned())),
            Just(ErrorBar::Ends("y".to_owned(), "delta_norm".to_owned())),
        ]);
        let at = prop_oneof![Just(At::Mean), Just(At::Median)];
        let statistic = prop::option::of((any::<bool>(), at));
        (range(), range(), range(), count, error, statistic, prop::option::of(1usize..120), any::<[bool; 5]>())
            .prop_map(|(range_x, range_y, inset, count, error, statistic, bins, flags)| Figure {
                range_x,
                range_y,
                inset,
                count,
                error,
                bins,
                marginal: flags[0],
                highlight: flags[1].then(|| "color".to_owned()),
                correlation: flags[2].then_some(if flags[3] { Correlation::Pearson } else { Correlation::Spearman }),
                width: if flags[4] { Width::Column } else { Width::Page },
                lines: statistic
                    .map(|(x, at)| Line { side: if x { Side::X } else { Side::Y }, at, label: None })
                    .into_iter()
                    .collect(),
                ..figure("any", "Any", Mark::Gradient, "delta_norm")
            })
    }

    fn figures() -> impl Strategy<Value = Figure> {
        let marks = [Mark::Bar, Mark::Ecdf, Mark::Gradient, Mark::Heatmap, Mark::Histogram, Mark::Line, Mark::Scatter];
        let line = (any::<bool>(), -1.0..2.0f64);
        (0..marks.len(), any::<[bool; 7]>(), prop::collection::vec(line, 0..4), more()).prop_map(
            move |(mark, flags, lines, more)| Figure {
                mark: marks[mark],
                x: if flags[5] { "delta_norm" } else { "y" }.to_owned(),
                y: flags[0].then(|| "y".to_owned()),
                color: flags[1].then(|| "color".to_owned()),
                facet: flags[2].then(|| "facet".to_owned()),
                log_x: flags[3],
                log_y: flags[4],
                over: flags[6].then(|| Over { column: "facet".to_owned(), label: "seeds".to_owned(), count: 3 }),
                lines: lines.into_iter().map(|(x, value)| line_at(x, value)).chain(more.lines.clone()).collect(),
                ..more
            },
        )
    }

    fn line_at(x: bool, value: f64) -> Line {
        line(if x { Side::X } else { Side::Y }, value, "")
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]
        #[test]
        fn any_rows_are_a_readable_figure_or_a_named_error(frame in rows(), figure in figures()) {
            match figure.svg(&frame, Dress::Inline) {
                Ok(svg) => {
                    prop_assert!(!svg.contains("NaN") && !svg.contains("inf\""), "{svg}");
                    prop_assert!(resvg::usvg::Tree::from_str(&svg, &resvg::usvg::Options::default()).is_ok());
                    prop_assert!(svg.len() < 2_000_000);
                }
                Err(error) => prop_assert!(error.to_string().contains("needs"), "{error}"),
            }
        }
    }
}
