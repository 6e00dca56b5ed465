//! The corpus of wrong files: every message as a person sees it and as a program does.
//!
//! A file is named `CODE-what.xd` and raises that code and no other; `CODE-several.xd` may raise more.
//! Bless changed messages with `INSTA_UPDATE=always cargo test --no-default-features --test lang wrong`.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::OnceLock;

use xd::lang::diagnostic::render::{self, Paper};
use xd::lang::diagnostic::{Code, Diagnostic, Severity};
use xd::lang::{Sources, analyse};

use crate::world::SmallWorld;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/lang/wrong");

/// Codes that nothing built so far can raise.
const NOT_YET: &[Code] = &[
    // Only a run asks the hub: tests/engine/hub.rs has these.
    Code::GatedModel,
    Code::HubMissing,
    Code::HubUnreachable,
    // Declared losses are not built.
    Code::NoGradient,
];

struct Wrong {
    name: String,
    code: Code,
    sources: Sources,
    found: Vec<Diagnostic>,
}

/// Every wrong file, read once for all tests.
fn corpus() -> &'static [Wrong] {
    static CORPUS: OnceLock<Vec<Wrong>> = OnceLock::new();
    CORPUS.get_or_init(read_all)
}

fn read_all() -> Vec<Wrong> {
    let entries = std::fs::read_dir(FOLDER).expect("the folder of wrong files");
    let mut paths: Vec<PathBuf> = entries.map(|e| e.expect("an entry").path()).collect();
    paths.retain(|p| p.extension().is_some_and(|e| e == "xd"));
    paths.sort();
    paths.into_iter().map(read).collect()
}

fn read(path: PathBuf) -> Wrong {
    let name = path.file_stem().and_then(|s| s.to_str()).expect("a name").to_string();
    let slug = name.split('-').next().unwrap_or("");
    let code =
        Code::ALL.iter().find(|c| c.slug() == slug).unwrap_or_else(|| panic!("{name}: no code is called {slug}"));
    let mut sources = Sources::default();
    let text = std::fs::read_to_string(&path).expect("a text");
    let file = sources.add(format!("{name}.xd"), text);
    let pedantic = code.severity() == Severity::Lint;
    let analysis = analyse(&SmallWorld { folder: FOLDER }, &mut sources, file, &[], pedantic);
    Wrong { name, code: *code, sources, found: analysis.diagnostics }
}

#[test]
fn every_message() {
    for Wrong { name, sources, found, .. } in corpus() {
        let drawn: Vec<String> = found.iter().map(|d| render::human(d, sources, Paper::PLAIN)).collect();
        let summary = render::summary(found, &format!("{name}.xd"));
        let json = render::json([(found.as_slice(), sources)]);
        let shown = format!("{}\n{summary}\n\n{json}", drawn.join("\n"));
        insta::with_settings!({ snapshot_path => "wrong/messages", prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_snapshot!(name.as_str(), shown);
        });
    }
}

#[test]
fn one_typo_one_message() {
    let mut odd = Vec::new();
    for Wrong { name, code, found, .. } in corpus() {
        let codes: Vec<&str> = found.iter().map(|d| d.code.slug()).collect();
        let several = name.ends_with("-several") || name.contains("python");
        if !codes.contains(&code.slug()) || !several && codes.len() != 1 {
            odd.push(format!("{name}: {codes:?}"));
        }
    }
    assert!(odd.is_empty(), "{odd:#?}");
}

#[test]
fn every_code_has_a_wrong_file() {
    let raised: BTreeSet<Code> = corpus().iter().map(|w| w.code).collect();
    let missing: Vec<&str> =
        Code::ALL.iter().filter(|c| !raised.contains(c) && !NOT_YET.contains(c)).map(|c| c.slug()).collect();
    assert!(missing.is_empty(), "no wrong file raises {missing:?}");
}

#[test]
fn messages_are_in_the_tone_of_the_house() {
    for Wrong { name, found, .. } in corpus() {
        for diagnostic in found {
            let Diagnostic { message, help, label, .. } = diagnostic;
            assert!(!message.ends_with('.') && !label.ends_with('.'), "{name}: a message has no full stop: {message}");
            assert!(diagnostic.severity != Severity::Error || help.is_some(), "{name}: no help: {message}");
            for word in ["token `", "parse", "identifier", "syntax", "AST", "Some(", "None(", "expression"] {
                assert!(!message.contains(word), "{name}: a word of the compiler, {word}: {message}");
            }
        }
    }
}
