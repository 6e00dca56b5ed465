//! The figures of the paper (its plots, as docs/plots.md declares them) with seeded rows of their shape. `XD_GALLERY=folder cargo test
//! --release --lib paper` writes them as SVG and PNG, at the width of a page and of a column, for people to look at.

use std::sync::Arc;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{ColumnStyle, Correlation, Count, Dress, ErrorBar, Figure, Labels, Line, Mark, Side, Width, derived};
use crate::out::frame::{self, Column, Frame};

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

/// Latents of both crosscoders: what `[classes, nu]` gives.
fn latents(count: usize) -> Frame {
    let mut random = ChaCha8Rng::seed_from_u64(11);
    let mut text: [Vec<Arc<str>>; 3] = Default::default();
    let names = [
        "delta_norm",
        "nu_error",
        "nu_reconstruction",
        "frequency",
        "cosine",
        "control_share",
        "rank",
        "beta_error_base",
        "beta_error_tuned",
        "beta_reconstruction_base",
        "beta_reconstruction_tuned",
    ];
    let mut real: Vec<Vec<Option<f64>>> = vec![Vec::new(); names.len()];
    for loss in ["l1", "batch_topk"] {
        let l1 = loss == "l1";
        for i in 0..count {
            let kind: f64 = random.random();
            let (tuned, base) = if l1 { (0.043, 0.063) } else { (0.006, 0.008) };
            let delta = match kind {
                k if k < tuned => 1.0 - (0.03 * normal(&mut random)).abs().min(0.0999) * if l1 { 0.5 } else { 1.0 },
                k if k < base => (0.03 * normal(&mut random)).abs().min(0.0999),
                k if k < 0.8 => (0.5 + 0.035 * normal(&mut random)).clamp(0.4001, 0.5999),
                k if k < 0.95 => (0.62 + 0.12 * normal(&mut random).abs()).min(0.899),
                _ => (0.38 - 0.1 * normal(&mut random).abs()).max(0.101),
            };
            let class = class(delta);
            let (error, reconstruction) = match (class, l1) {
                ("tuned_only", true) => (0.28 + 0.13 * normal(&mut random), 0.3 + 0.25 * normal(&mut random)),
                ("tuned_only", false) => (0.02 + 0.03 * normal(&mut random), 0.1 + 0.08 * normal(&mut random)),
                _ => (0.82 + 0.12 * normal(&mut random), 0.9 + 0.1 * normal(&mut random)),
            };
            let frequency = 10f64.powf(-3.6 + 0.7 * normal(&mut random));
            let cosine = match class {
                "shared" => 0.93 + 0.04 * normal(&mut random),
                "other" => 0.6 + 0.2 * normal(&mut random),
                _ => 0.15 + 0.25 * normal(&mut random),
            };
            let control = if class == "tuned_only" && random.random::<f64>() < 0.4 {
                0.5 + 0.5 * random.random::<f64>()
            } else {
                0.3 * random.random::<f64>().powi(3)
            };
            let live = i % 41 != 5;
            let (tuned_e, tuned_r) = (1.0 + 0.1 * normal(&mut random), 0.8 + 0.3 * normal(&mut random));
            let cells = [
                Some(delta),
                live.then_some(error),
                live.then_some(reconstruction),
                Some(frequency),
                Some(cosine.clamp(-1.0, 1.0)),
                Some(control),
                live.then_some((error + reconstruction) * count as f64 * 0.5 + 40.0 * normal(&mut random)),
                live.then_some(error * tuned_e),
                live.then_some(tuned_e),
                live.then_some(reconstruction * tuned_r),
                live.then_some(tuned_r),
            ];
            real.iter_mut().zip(cells).for_each(|(column, cell)| column.push(cell));
            let specific = if live && error < 0.2 && reconstruction < 0.5 { "specific" } else { "shrinkage" };
            text.iter_mut().zip([loss, class, specific]).for_each(|(column, cell)| column.push(Arc::from(cell)));
        }
    }
    let mut frame = Frame::new();
    for (name, column) in ["loss", "class", "verdict"].into_iter().zip(text) {
        frame.push(name, Column::text(column)).unwrap();
    }
    for (name, column) in names.into_iter().zip(real) {
        frame.push(name, Column::Real(column)).unwrap();
    }
    frame
}

/// Rows of `patch`.
fn patched() -> Frame {
    let inserts = ["nothing", "everything", "error", "nu_best", "nu_worst", "delta_best", "delta_worst"];
    let means = [
        [0.482, 0.197, 0.31, 0.262, 0.301, 0.241, 0.242, 1.69, 0.372, 0.9, 0.66, 0.88, 0.619, 0.74],
        [0.482, 0.199, 0.28, 0.228, 0.27, 0.23, 0.267, 1.69, 0.37, 0.76, 0.83, 1.55, 0.845, 1.59],
    ];
    let mut frame: [Vec<&str>; 3] = Default::default();
    let (mut mean, mut ci) = (Vec::new(), Vec::new());
    for (loss, means) in ["l1", "batch_topk"].iter().zip(means) {
        for (p, positions) in ["all", "first(10)"].iter().enumerate() {
            for (i, insert) in inserts.iter().enumerate() {
                frame[0].push(loss);
                frame[1].push(positions);
                frame[2].push(insert);
                mean.push(means[p * 7 + i]);
                ci.push(0.004 + 0.02 * means[p * 7 + i]);
            }
        }
    }
    let [loss, positions, insert] = frame;
    Frame::new()
        .with("loss", Column::text(loss))
        .and_then(|f| f.with("positions", Column::text(positions)))
        .and_then(|f| f.with("insert", Column::text(insert)))
        .and_then(|f| f.with("mean", Column::real(mean)))
        .and_then(|f| f.with("ci95", Column::real(ci)))
        .unwrap()
}

/// Rows of `twins`.
fn twins() -> Frame {
    let mut random = ChaCha8Rng::seed_from_u64(5);
    let (mut pair, mut divergence) = (Vec::new(), Vec::new());
    for i in 0..218 {
        let twin = i < 109;
        pair.push(if twin { "twin" } else { "random" });
        let value = if twin { 0.58 + 0.24 * normal(&mut random) } else { 0.97 + 0.03 * normal(&mut random) };
        divergence.push(value.clamp(0.0, 1.0));
    }
    Frame::new().with("pair", Column::text(pair)).and_then(|f| f.with("divergence", Column::real(divergence))).unwrap()
}

/// Rows of `tokens`.
fn tokens() -> Frame {
    let mut random = ChaCha8Rng::seed_from_u64(6);
    let (mut group, mut frequency, mut share) = (Vec::new(), Vec::new(), Vec::new());
    for latent in 0..1500 {
        let control = if latent % 3 == 0 { random.random::<f64>().sqrt() } else { random.random::<f64>().powi(4) };
        for (name, part) in
            [("control", control), ("user", (1.0 - control) * 0.4), ("assistant", (1.0 - control) * 0.6)]
        {
            group.push(name);
            share.push(part);
            frequency.push((10f64.powf(-3.0 + 0.8 * normal(&mut random)) * (part + 0.02)).min(1.0));
        }
    }
    Frame::new()
        .with("group", Column::text(group))
        .and_then(|f| f.with("frequency", Column::real(frequency)))
        .and_then(|f| f.with("share", Column::real(share)))
        .unwrap()
}

/// Rows of `compare`.
fn compared() -> Frame {
    let mut random = ChaCha8Rng::seed_from_u64(8);
    let (mut a, mut b, mut cosine) = (Vec::new(), Vec::new(), Vec::new());
    for i in 0..6000 {
        let of =
            |p: usize| ["shared", "shared", "shared", "shared", "other", "other", "tuned_only", "base_only"][p % 8];
        let (first, same) = (of(i), random.random::<f64>() < 0.7);
        a.push(first);
        b.push(if same { first } else { of(random.random_range(0..8)) });
        cosine.push(
            (if same { 0.85 + 0.1 * normal(&mut random) } else { 0.3 + 0.15 * normal(&mut random) }).clamp(0.0, 1.0),
        );
    }
    Frame::new()
        .with("class_a", Column::text(a))
        .and_then(|f| f.with("class_b", Column::text(b)))
        .and_then(|f| f.with("cosine", Column::real(cosine)))
        .unwrap()
}

/// Detection scores: loss x bin x latent.
fn scores() -> Frame {
    let mut random = ChaCha8Rng::seed_from_u64(9);
    let (mut loss, mut bin, mut detection, mut rank) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (name, level) in [("l1", 0.74), ("batch_topk", 0.81)] {
        for b in 0..4i64 {
            for latent in 0..120 {
                loss.push(name);
                bin.push(b);
                detection.push((level + 0.03 * b as f64 + 0.09 * normal(&mut random)).clamp(0.0, 1.0));
                rank.push(f64::from(latent) * 20.0 + 300.0 * random.random::<f64>());
            }
        }
    }
    Frame::new()
        .with("loss", Column::text(loss))
        .and_then(|f| f.with("bin", Column::whole(bin)))
        .and_then(|f| f.with("detection", Column::real(detection)))
        .and_then(|f| f.with("rank", Column::real(rank)))
        .unwrap()
}

/// Rows of `patch` over a sweep of layers.
fn layers() -> Frame {
    let (mut loss, mut layer, mut mean, mut ci) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (i, name) in ["nothing", "everything"].iter().enumerate() {
        for at in (1..26).step_by(3) {
            let depth = f64::from(at) / 25.0;
            loss.push(*name);
            layer.push(at.to_string());
            mean.push((0.1 + 2.4 * depth * (1.0 - 0.4 * depth)) * if i == 0 { 1.0 } else { 0.45 });
            ci.push(0.04 + 0.05 * depth);
        }
    }
    Frame::new()
        .with("insert", Column::text(loss))
        .and_then(|f| f.with("layer", Column::text(layer)))
        .and_then(|f| f.with("mean", Column::real(mean)))
        .and_then(|f| f.with("ci95", Column::real(ci)))
        .unwrap()
}

fn figure(name: &str, title: &str, rows: &str, mark: Mark, x: &str) -> Figure {
    let mut labels = Labels::standard();
    labels.rows = rows.to_owned();
    labels.set_value("tuned_only", "chat only");
    labels.set_value("tuned", "chat");
    for (insert, shown) in [
        ("nothing", "None"),
        ("everything", "All"),
        ("error", "Error"),
        ("nu_best", "Latent Scaling, best"),
        ("nu_worst", "Latent Scaling, worst"),
        ("delta_best", "Δnorm, best"),
        ("delta_worst", "Δnorm, worst"),
    ] {
        labels.set_value(insert, shown);
    }
    Figure { title: title.to_owned(), labels, ..Figure::new(name, mark, x) }
}

fn only(frame: &Frame, column: &str, words: &[&str]) -> Frame {
    let keep: Vec<usize> =
        (0..frame.rows()).filter(|row| words.contains(&frame.cell(*row, column).to_string().as_str())).collect();
    frame.take(&keep)
}

fn of(text: &str) -> Option<String> {
    Some(text.to_owned())
}

/// Figures about decoder norms and classes.
fn norms() -> Vec<(Figure, Frame)> {
    let all = latents(9000);
    let mut marked = all.clone();
    let specific: Vec<bool> = all.column("verdict").unwrap().cells().map(|c| c.to_string() == "specific").collect();
    marked.push("=highlight", Column::truth(specific)).unwrap();
    let mut norm = Figure {
        color: of("class"),
        facet: of("loss"),
        bins: Some(100),
        inset: Some((0.9, 1.0)),
        highlight: of("=highlight"),
        caption: "Relative difference of decoder norms. The inset enlarges the right end.".into(),
        ..figure("decoder_norm_diff", "What is new in the chat model", "latents", Mark::Histogram, "delta_norm")
    };
    norm.labels.set_column("=highlight", derived::plain("ν error < 0.2 and ν reconstruction < 0.5"));
    let one = Figure { facet: None, log_y: true, name: "decoder_norm_diff_log".into(), ..norm.clone() };
    vec![
        (norm, marked.clone()),
        (one, only(&marked, "loss", &["l1"])),
        (
            Figure {
                color: of("class"),
                bins: Some(20),
                count: Some(Count::Share),
                ..figure("decoder_cos_sim", "Directions of the two decoders", "latents", Mark::Histogram, "cosine")
            },
            only(&all, "loss", &["l1"]),
        ),
        (
            Figure {
                color: of("class"),
                log_x: true,
                log_y: true,
                ..figure(
                    "latent_frequency_histogram",
                    "How often latents fire",
                    "latents",
                    Mark::Histogram,
                    "frequency",
                )
            },
            only(&all, "loss", &["batch_topk"]),
        ),
    ]
}

/// Figures about Latent Scaling.
fn scaling() -> Vec<(Figure, Frame)> {
    let all = latents(9000);
    let two = only(&all, "class", &["tuned_only", "shared"]);
    let small = two.take(
        &(0..two.rows())
            .filter(|r| r % 5 == 0 || two.cell(*r, "class").to_string() == "tuned_only")
            .collect::<Vec<_>>(),
    );
    let tuned = only(&all, "class", &["tuned_only"]);
    let bounds = vec![Line::new(Side::X, 0.2), Line::new(Side::Y, 0.5)];
    let mut template = tuned.clone();
    let high: Vec<bool> = tuned.column("control_share").unwrap().cells().map(|c| c.number().unwrap() > 0.5).collect();
    template.push("=highlight", Column::truth(high)).unwrap();
    let mut on_template = Figure {
        bins: Some(50),
        range_x: Some((-0.1, 1.1)),
        highlight: of("=highlight"),
        facet: of("loss"),
        ..figure("beta_ratios_template_perc", "Latents of the chat template", "latents", Mark::Histogram, "nu_error")
    };
    on_template.labels.set_column("=highlight", derived::plain("share of control tokens > 0.5"));

    let betas = tuned
        .stacked(
            &[
                ("base".into(), tuned.numbers("beta_error_base").unwrap()),
                ("tuned".into(), tuned.numbers("beta_error_tuned").unwrap()),
            ],
            "=x",
            "=series",
        )
        .unwrap();
    let mut beta = Figure {
        color: of("=series"),
        bins: Some(50),
        count: Some(Count::Density),
        facet: of("loss"),
        ..figure("beta_error_distribution", "How well latents fit the error", "latents", Mark::Histogram, "=x")
    };
    beta.labels.set_column("=x", ColumnStyle::new("β error"));
    beta.labels.set_column("=series", derived::plain("column"));

    let absolute = |name: &str| tuned.numbers(name).unwrap().into_iter().map(|x| x.map(f64::abs)).collect::<Vec<_>>();
    let largest = frame::largest(&[absolute("nu_error"), absolute("nu_reconstruction")]).unwrap();
    let threshold_rows = tuned.clone().with("=x", Column::Real(largest)).unwrap();
    let mut threshold = Figure {
        color: of("loss"),
        count: Some(Count::Rows),
        range_x: Some((0.0, 1.0)),
        log_y: true,
        ..figure("latents_vs_threshold", "Latents that stay under a threshold", "latents", Mark::Ecdf, "=x")
    };
    let nu = |name: &str| derived::absolute(threshold.labels.column(name));
    threshold.labels.set_column("=x", derived::largest(&[nu("nu_error"), nu("nu_reconstruction")]));

    let within = ["loss".to_owned()];
    let ranks = tuned.rank("delta_norm", true, &within).unwrap();
    let ranked = tuned.clone().with("=x", Column::Real(ranks)).unwrap();
    let low = ranked.take(&ranked.extremes("nu_error", 50, false, &within).unwrap());
    let mut rank = Figure {
        color: of("loss"),
        ..figure("low_nu_rank_distribution", "Where the most specific latents stand", "latents", Mark::Ecdf, "=x")
    };
    rank.labels.set_column("=x", derived::rank(&rank.labels.column("delta_norm"), true));

    vec![
        (
            Figure {
                y: of("nu_reconstruction"),
                color: of("class"),
                facet: of("loss"),
                marginal: true,
                bins: Some(50),
                range_x: Some((0.0, 1.1)),
                range_y: Some((0.0, 1.1)),
                lines: bounds,
                ..figure(
                    "error_vs_reconstruction",
                    "Two ways in which a chat-only latent is not",
                    "latents",
                    Mark::Scatter,
                    "nu_error",
                )
            },
            small,
        ),
        (
            Figure {
                color: of("class"),
                bins: Some(100),
                range_x: Some((-0.2, 1.4)),
                count: Some(Count::Share),
                ..figure("error_ratio", "ν of chat-only and of shared latents", "latents", Mark::Histogram, "nu_error")
            },
            two,
        ),
        (beta, betas),
        (on_template, template),
        (
            Figure {
                y: of("nu_error"),
                color: of("class"),
                log_x: true,
                correlation: Some(Correlation::Pearson),
                ..figure("freq_vs_beta_ratio", "Frequency and ν", "latents", Mark::Scatter, "frequency")
            },
            latents(700),
        ),
        (rank, low),
        (threshold, threshold_rows),
        (
            Figure {
                y: of("rank"),
                color: of("loss"),
                correlation: Some(Correlation::Spearman),
                ..figure(
                    "rank_sum_vs_norm",
                    "Both rankings of specific latents",
                    "latents",
                    Mark::Scatter,
                    "delta_norm",
                )
            },
            tuned,
        ),
    ]
}

/// Figures about what latents do.
fn effects() -> Vec<(Figure, Frame)> {
    let kl = Figure {
        y: of("mean"),
        color: of("loss"),
        error: Some(ErrorBar::Half("ci95".into())),
        ..figure("all_kl_both_models", "How much chat behaviour comes back", "rows", Mark::Bar, "insert")
    };
    vec![
        (kl.clone(), only(&patched(), "positions", &["all"])),
        (Figure { facet: of("positions"), name: "kl_by_positions".into(), ..kl }, patched()),
        (
            Figure {
                color: of("pair"),
                bins: Some(15),
                lines: vec![Line { side: Side::X, at: super::At::Mean, label: None }],
                ..figure(
                    "twin_activation_divergence",
                    "Twins fire in different places",
                    "pairs",
                    Mark::Histogram,
                    "divergence",
                )
            },
            twins(),
        ),
        (
            Figure {
                y: of("mean"),
                color: of("insert"),
                error: Some(ErrorBar::Half("ci95".into())),
                ..figure("layer_sweep", "Where the models differ", "rows", Mark::Line, "layer")
            },
            layers(),
        ),
        (
            Figure {
                y: of("detection"),
                color: of("loss"),
                error: Some(ErrorBar::Interval),
                range_y: Some((0.5, 1.0)),
                ..figure("autointerp", "How well explanations predict latents", "latents", Mark::Bar, "bin")
            },
            scores(),
        ),
        (
            Figure {
                y: of("detection"),
                color: of("loss"),
                correlation: Some(Correlation::Pearson),
                ..figure(
                    "rank_sum_vs_detection",
                    "Specific latents are explained as well",
                    "latents",
                    Mark::Scatter,
                    "rank",
                )
            },
            scores(),
        ),
        (
            Figure {
                color: of("group"),
                log_x: true,
                log_y: true,
                facet: of("group"),
                ..figure("ctrl_frequency_dist", "Frequency by group of tokens", "rows", Mark::Histogram, "frequency")
            },
            tokens(),
        ),
        (
            Figure {
                log_y: true,
                ..figure("ctrl_percentage_dist", "Share on control tokens", "latents", Mark::Histogram, "share")
            },
            only(&tokens(), "group", &["control"]),
        ),
        (
            Figure {
                y: of("class_b"),
                ..figure("overlap", "Classes in two crosscoders", "latents", Mark::Heatmap, "class_a")
            },
            compared(),
        ),
        (
            Figure {
                color: of("class_a"),
                inset: Some((0.9, 1.0)),
                ..figure("max_cosine", "Best match in the other crosscoder", "latents", Mark::Ecdf, "cosine")
            },
            compared(),
        ),
        (
            figure("decoder_gradient", "Why L1 shrinks a base norm to exactly 0", "rows", Mark::Gradient, ""),
            Frame::new(),
        ),
    ]
}

fn all() -> Vec<(Figure, Frame)> {
    [norms(), scaling(), effects()].concat()
}

#[test]
fn every_figure_of_the_paper_at_both_widths() {
    let folder = std::env::var_os("XD_GALLERY").map(std::path::PathBuf::from);
    for (figure, frame) in all() {
        for (width, ending) in [(Width::Page, ""), (Width::Column, "-column")] {
            let figure = Figure { width, ..figure.clone() };
            let name = format!("{}{ending}", figure.name);
            let svg = figure.svg(&frame, Dress::Alone).unwrap();
            assert!(svg == figure.svg(&frame, Dress::Alone).unwrap(), "{name}: other bytes");
            assert!(!svg.contains("NaN") && !svg.contains("inf\""), "{name}");
            assert!(svg.len() < 1_500_000, "{name}: {} bytes", svg.len());
            let wide: f64 = svg.split("width=\"").nth(1).and_then(|s| s.split('"').next()?.parse().ok()).unwrap();
            assert!(width == Width::Page || (315.0..=323.0).contains(&wide), "{name}: {wide}");
            if let Some(folder) = &folder {
                std::fs::create_dir_all(folder).unwrap();
                std::fs::write(folder.join(format!("{name}.png")), figure.png(&frame).unwrap()).unwrap();
                std::fs::write(folder.join(format!("{name}.svg")), figure.svg(&frame, Dress::Inline).unwrap()).unwrap();
            }
        }
    }
}
