use super::*;
use crate::out::frame::{Column, Frame};
use crate::out::plot::{Dress, Figure, Labels, Line, Mark, Side};

fn frame() -> Frame {
    Frame::new()
        .with("loss", Column::text(["l1", "l1", "batch_topk"]))
        .and_then(|f| f.with("class", Column::Text(vec![Some("shared".into()), Some("tuned_only".into()), None])))
        .and_then(|f| f.with("latent", Column::whole([3, 1207, 5])))
        .and_then(|f| f.with("nu_error", Column::Real(vec![Some(0.123_456), None, Some(-2.5)])))
        .unwrap()
}

fn small() -> ReportData {
    let mut table = ReportTable::new("specific", &frame(), &Labels::standard(), 2);
    table.title = "Specific latents".into();
    table.file = "tables/50% of <all>.csv".into();
    let mut figure = Figure::new("delta", Mark::Histogram, "nu_error");
    figure.title = "ν of all latents".into();
    figure.lines = vec![Line::new(Side::X, 0.2)];
    ReportData {
        title: "Quick <start>".into(),
        doc: "First `a < b` paragraph\nstill first.\n\nSecond with a lone ` tick.".into(),
        file: "experiments/quickstart.xd".into(),
        summary: vec![Fact::new("device", "cpu")],
        notes: vec![Note { warning: true, step: "acts".into(), text: "3 sink tokens".into() }],
        expectations: vec![
            Expectation { name: "better".into(), passed: true, measured: "0.97 > 0.42".into(), ..Default::default() },
            Expectation { name: "worse".into(), text: "a > b".into(), ..Default::default() },
        ],
        figures: vec![ReportFigure {
            name: "delta".into(),
            title: figure.title.clone(),
            caption: "A caption.".into(),
            svg: figure.svg(&frame(), Dress::Inline).unwrap(),
            files: vec!["plots/delta.svg".into()],
        }],
        tables: vec![table],
        definitions: vec![Definition { column: "nu_error".into(), label: "ν error".into(), ..Default::default() }],
        losses: vec![LossInForce { step: "cc[loss = l1]".into(), text: "l2 + 0.03 * sparsity".into() }],
        params: vec![Param { name: "k".into(), value: "100".into(), origin: "--set".into(), doc: "active".into() }],
        declarations: vec![Declaration {
            kind: "crosscoder".into(),
            name: "cc".into(),
            fields: vec![Field { name: "latents".into(), value: "8x".into(), origin: "written".into() }],
            ..Default::default()
        }],
        steps: vec![
            Step {
                address: "cc[loss = l1]".into(),
                kind: "crosscoder".into(),
                id: "ab".repeat(32),
                seconds: Some(75.4),
                tokens: Some(2_000_000),
                ..Default::default()
            },
            Step {
                address: "acts".into(),
                kind: "activations".into(),
                id: "cd".repeat(32),
                cached: true,
                ..Default::default()
            },
            Step {
                address: "nu".into(),
                kind: "scaling".into(),
                id: "ef".repeat(32),
                error: "disk full".into(),
                ..Default::default()
            },
        ],
        latents: Vec::new(),
        costs: vec![Cost {
            step: "cc[loss = l1]".into(),
            predicted_seconds: 60.0,
            measured_seconds: 75.4,
            ..Cost::default()
        }],
        inputs: vec![Input {
            path: "organism/base".into(),
            hash: "0123456789abcdef".repeat(4),
            bytes: Some(2_500_000),
        }],
        versions: vec![Fact::new("xd", "0.1.0")],
        scripts: vec![Script {
            file: "quickstart.xd".into(),
            text: "xd 1 # edition\n## Doc & more\nparam s = \"#\"\n".into(),
        }],
    }
}

/// The page without style, script, figure and blank lines.
fn skeleton(html: &str) -> String {
    let mut text = String::new();
    let mut inside = None;
    for line in html.lines().map(str::trim).filter(|l| !l.is_empty()) {
        for (open, close) in [("<style>", "</style>"), ("<script>", "</script>"), ("<svg", "</svg>")] {
            if inside.is_none() && line.contains(open) {
                inside = Some(close);
                text += &format!("{} …\n", &line[..line.find(open).unwrap_or(0) + open.len()]);
            }
        }
        match inside {
            Some(close) if line.contains(close) => {
                inside = None;
                text += &format!("… {}\n", &line[line.find(close).unwrap_or(0)..]);
            }
            Some(_) => {}
            None => text += &format!("{line}\n"),
        }
    }
    text
}

#[test]
fn the_page_has_every_section_escaped_and_in_order() {
    insta::assert_snapshot!(skeleton(&html(&small()).unwrap()));
}

#[test]
fn the_page_loads_nothing_and_is_the_same_twice() {
    let page = html(&small()).unwrap();
    assert!(page == html(&small()).unwrap());
    for outside in ["src=\"http", "href=\"http", "url(http", "@import", "<link"] {
        assert!(!page.contains(outside), "{outside}");
    }
}

#[test]
fn an_empty_run_is_a_page_too() {
    let page = html(&ReportData { title: "nothing".into(), ..ReportData::default() }).unwrap();
    assert!(page.contains("<h1>nothing</h1>") && !page.contains("<h2>"));
}

#[test]
fn times_and_sizes_are_readable() {
    assert_eq!(
        [0.001, 0.42, 12.34, 200.0, 7500.0].map(seconds),
        ["< 0.01 s", "0.42 s", "12.3 s", "3 min 20 s", "2 h 5 min"]
    );
    assert_eq!([12, 2_500_000].map(bytes), ["12 B", "2.5 MB"]);
}

#[test]
fn links_cannot_leave_the_folder_by_a_scheme() {
    assert_eq!(href("javascript:alert(1)"), "javascript%3Aalert%281%29");
}

/// A page as large as real ones, for people to look at: `XD_GALLERY=folder cargo test --release --lib gallery`.
#[test]
fn a_gallery_page_with_real_sizes_renders() {
    let mut data = small();
    data.title = "What does chat tuning add?".into();
    data.doc = "Two crosscoders on the embedded pair, trained on the same activations with the `l1` and the `batch_topk` loss. \
                The question is which of the latents that look chat-only are the chat model's own.\n\nThe base model read \
                public-domain prose; the chat model was tuned on human conversations."
        .into();
    data.summary = vec![
        Fact::new("pair", "organism-base → organism-chat"),
        Fact::new("device", "cpu, 2 threads"),
        Fact::new("time", "1 min 12 s"),
        Fact::new("tokens harvested", "1,048,576"),
    ];
    data.notes.push(Note { text: "1 of 12 steps came from the store.".into(), ..Note::default() });
    data.expectations[0].text = "truth[loss = batch_topk, class = tuned_only].precision >= 0.95".into();
    data.expectations[0].doc = "BatchTopK finds the planted features and invents none.".into();
    data.expectations[1] = Expectation {
        name: "l1_invents".into(),
        text: "share(nu[loss = l1].verdict == specific, where = classes.class == tuned_only) < 0.5".into(),
        measured: "0.62 < 0.5".into(),
        ..Expectation::default()
    };
    let gallery = crate::out::plot::gallery::all();
    let wanted = ["delta", "nu", "recovered", "density", "nu-histogram", "training"];
    data.figures = gallery
        .iter()
        .filter(|(figure, _)| wanted.contains(&figure.name.as_str()))
        .map(|(figure, frame)| ReportFigure {
            name: figure.name.clone(),
            title: figure.title.clone(),
            caption: figure.caption.clone(),
            svg: figure.svg(frame, Dress::Inline).unwrap(),
            files: vec![format!("plots/{0}.svg", figure.name), format!("plots/{0}.png", figure.name)],
        })
        .collect();
    let mut table = ReportTable::new("latents", &gallery[0].1, &gallery[0].0.labels, 50);
    table.title = "Every latent, by its norm difference".into();
    table.caption = "One row a latent and loss. The `nu` columns are empty where a latent never fired.".into();
    table.file = "tables/latents.csv".into();
    data.tables.push(table);
    data.definitions = [
        ("delta_norm", "Δnorm", "½ (1 + (‖d_tuned‖ − ‖d_base‖) / max(‖d_tuned‖, ‖d_base‖)): 0 when a latent writes to the base model alone, 0.5 when to both alike, 1 when to the tuned model alone.", "0 to 1", "paper section 2.2"),
        ("nu_error", "ν error", "How much of the latent's part in the base model's reconstruction error it would explain, relative to the tuned model: β_base / β_tuned.", "ratio", "paper section 3"),
    ]
    .map(|(column, label, text, unit, source)| Definition {
        column: column.into(),
        label: label.into(),
        text: text.into(),
        unit: unit.into(),
        source: source.into(),
        browser_only: false,
    })
    .to_vec();
    let script = "xd 1\n\n## What does chat tuning add?\n## Two crosscoders on the embedded pair.\nparam k = 32\n\npair organism { base = folder(\"organism/base\")  tuned = folder(\"organism/chat\")  label = \"chat\" }\n\ncrosscoder cc for loss in [l1(weight = 3e-2), batch_topk(k = k)] {\n  on      = acts   # the same activations for both\n  latents = 8x\n  train { batch = 512 tokens }\n}\n";
    data.scripts = vec![Script { file: "experiments/quickstart.xd".into(), text: script.into() }];
    let page = html(&data).unwrap();
    assert!(page.len() < 3_000_000, "{}", page.len());
    if let Some(folder) = std::env::var_os("XD_GALLERY") {
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(std::path::Path::new(&folder).join("report.html"), page).unwrap();
    }
}

fn latents(name: &str, count: usize) -> ReportLatents {
    let cells = Column::real((0..count).map(|j| j as f64));
    let column = LatentColumn {
        name: "frequency".into(),
        label: "frequency".into(),
        unit: String::new(),
        doc: String::new(),
        source: String::new(),
        step: "classes".into(),
        main: true,
        limit: None,
        words: Vec::new(),
        cells,
    };
    ReportLatents { name: name.into(), title: name.into(), count, columns: vec![column], ..ReportLatents::default() }
}

#[test]
fn latents_are_packed_and_what_is_too_large_is_named() {
    let mut data = small();
    data.latents = vec![latents("cc[loss = l1]", 5), latents("huge", NUMBERS), latents("cc[\"</script>\"]", 3)];
    let page = html(&data).unwrap();
    assert!(page.contains("<li><a href=\"#latents\">Latents</a></li>"));
    let packed = page.lines().filter(|line| line.contains("application/octet-stream")).count();
    assert_eq!(packed, 2);
    assert_eq!(page.matches("</script>").count(), 3, "nothing that is packed ends a script");
    assert!(
        page.contains("huge is not in this page, which would be too large. Its 8,000,000 latents are in the files")
    );
}

#[test]
fn costs_are_summed_and_compared() {
    let cost = |predicted_seconds, measured_seconds| Cost {
        step: "cc".into(),
        predicted_seconds,
        measured_seconds,
        measured_bytes: 1000,
        ..Cost::default()
    };
    let data = ReportData { costs: vec![cost(10.0, 5.0), cost(0.0, 25.0)], ..small() };
    let page = html(&data).unwrap();
    let section = &page[page.find("<section id=\"costs\">").unwrap()..];
    let text = &section[..section.find("</section>").unwrap()];
    assert!(text.contains(">0.5×</td>"), "{text}");
    assert!(
        text.contains(
            "<tfoot><tr><th scope=\"row\">all</th><td class=\"number\">10 s</td><td class=\"number\">30 s</td>"
        ),
        "{text}"
    );
    assert!(text.contains(">3×</td>") && text.contains("2 kB"), "{text}");
    assert!(text.contains("data-sort=\"\"></td>"), "nothing predicted, no ratio: {text}");
}
