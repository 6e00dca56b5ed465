//! The grammar and its text: structural words only, and examples that hold.

use xd::lang::diagnostic::Severity;
use xd::lang::diagnostic::render;
use xd::lang::{Sources, analyse, syntax};

use crate::world::SmallWorld;

const GRAMMAR: &str = include_str!("../../grammar/xd.pest");
const README: &str = include_str!("../../grammar/README.md");
const PLOTS: &str = include_str!("../../docs/plots.md");

/// Words between quotes in the rules, comments left aside.
fn quoted_words() -> Vec<&'static str> {
    let mut words = Vec::new();
    for line in GRAMMAR.lines() {
        let code = line.split("//").next().unwrap_or("");
        words.extend(
            code.split('"').skip(1).step_by(2).filter(|w| w.len() > 1 && w.chars().all(|c| c.is_ascii_alphabetic())),
        );
    }
    words
}

#[test]
fn the_grammar_knows_structural_words_only() {
    let mut words = quoted_words();
    words.sort_unstable();
    words.dedup();
    assert_eq!(words, ["as", "for", "in", "of", "use", "xd"], "domain words belong to the schema");
}

#[test]
fn the_grammar_fits_on_a_page() {
    let rules = GRAMMAR.lines().filter(|l| !l.trim().is_empty() && !l.starts_with("//")).count();
    assert!(rules <= 90, "{rules} lines of rules");
    assert!(GRAMMAR.lines().all(|l| l.chars().count() <= 130), "a line is too wide to read");
}

#[test]
fn examples_of_the_reference_hold() {
    let mut any = false;
    for example in README.split("```xd\n").skip(1) {
        let text = example.split("```").next().unwrap_or("");
        let mut sources = Sources::default();
        let file = sources.add("README.xd", text);
        let analysis = analyse(&SmallWorld { folder: "" }, &mut sources, file, &[], false);
        let found: Vec<String> = analysis.diagnostics.iter().map(|d| render::short(d, &sources)).collect();
        assert!(found.is_empty(), "{found:#?}");
        assert!(analysis.plan.is_some());
        any = true;
    }
    assert!(any);
}

/// Every plot of docs/plots.md stands after the steps at its head.
#[test]
fn plots_of_the_paper_hold() {
    let blocks: Vec<&str> = PLOTS.split("```xd\n").skip(1).filter_map(|b| b.split("```").next()).collect();
    let [steps, plots @ ..] = blocks.as_slice() else { panic!("no steps") };
    assert!(plots.len() >= 18, "{}", plots.len());
    for plot in plots {
        let mut sources = Sources::default();
        let file = sources.add("plots.xd", format!("{steps}\n{plot}"));
        let analysis = analyse(&SmallWorld { folder: "" }, &mut sources, file, &[], false);
        let found: Vec<String> = analysis.diagnostics.iter().map(|d| render::short(d, &sources)).collect();
        assert!(found.is_empty(), "{plot}\n{found:#?}");
        assert!(analysis.plan.is_some_and(|plan| plan.steps.iter().any(|s| s.kind == "plot")));
    }
}

/// Every syntax mistake of a file is told, whatever stands around it.
#[test]
fn a_mistake_is_found_behind_any_other() {
    let mistakes = [
        "  a: 1",
        "  b = 2,",
        "  c = 3 * 4",
        "  d = 'x'",
        "  e = None",
        "  f = 5m",
        "  g = [1 2]",
        "  h = (1",
        "  i = \"x",
        "  j",
    ];
    let good = "  z = 1\n";
    for first in mistakes {
        for second in mistakes {
            let text = format!("xd 1\nkind name {{\n{first}\n{good}{second}\n{good}}}\n");
            let (_, found) = syntax::parse(xd::lang::FileId(0), &text);
            let errors = found.iter().filter(|d| d.severity == Severity::Error).count();
            assert_eq!(errors, 2, "{first:?} and {second:?}: {found:#?}");
        }
    }
}
