//! One typo, one message: each word of a real file misspelled, and what comes of it.

use std::collections::BTreeSet;

use xd::lang::diagnostic::{Code, Severity};

use crate::memory::{Memory, short};

/// Places of the words of a text that mean something: not in comments or strings.
fn words(text: &str) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let code = line.split('#').next().unwrap_or("");
        let mut start = None;
        let mut quoted = false;
        for (i, c) in code.char_indices().chain([(code.len(), ' ')]) {
            if c == '"' {
                quoted = !quoted;
            }
            let part = !quoted && (c.is_ascii_alphanumeric() || c == '_');
            match (start, part) {
                (None, true) => start = Some(i),
                (Some(s), false) => {
                    if code[s..].starts_with(|c: char| c.is_ascii_alphabetic()) {
                        found.push((at + s, at + i));
                    }
                    start = None;
                }
                _ => {}
            }
        }
        at += line.len();
    }
    found
}

/// Structural words and multipliers are the grammar's business.
fn is_structural(word: &str) -> bool {
    matches!(word, "xd" | "use" | "as" | "for" | "in" | "of" | "x")
}

fn misspell(word: &str) -> String {
    let mut letters: Vec<char> = word.chars().collect();
    let middle = letters.len() / 2;
    letters.insert(middle, 'q');
    letters.into_iter().collect()
}

#[test]
fn a_misspelled_word_is_one_error_in_its_line() {
    let memory = Memory::organism();
    for text in [include_str!("real.xd"), include_str!("planted.xd")] {
        let declared: BTreeSet<&str> = text
            .lines()
            .filter(|l| !l.starts_with([' ', '#', '}']))
            .filter_map(|l| l.split_whitespace().nth(1))
            .collect();
        let mut odd = String::new();
        for (start, end) in words(text) {
            let word = &text[start..end];
            let line = text[..start].matches('\n').count() + 1;
            let head = text[..start].rsplit('\n').next().unwrap_or("");
            // The name in a declaration may be anything; what refers to it is then wrong.
            let declares = declared.contains(word) && head.split_whitespace().count() == 1 && !head.starts_with(' ');
            if is_structural(word) || declares || line == 1 {
                continue;
            }
            let typo = format!("{}{}{}", &text[..start], misspell(word), &text[end..]);
            let (analysis, sources) = memory.analyse(&typo);
            let errors: Vec<_> = analysis.diagnostics.iter().filter(|d| d.severity == Severity::Error).collect();
            let here = errors.iter().all(|d| sources.position(d.span.file, d.span.start).0 == line);
            if errors.len() != 1 || !here || errors.len() != analysis.diagnostics.len() {
                odd += &format!("line {line}: `{word}` as `{}`\n{}\n", misspell(word), short(&analysis, &sources));
            }
        }
        assert!(odd.is_empty(), "{odd}");
    }
}

#[test]
fn a_renamed_declaration_breaks_only_what_names_it() {
    let memory = Memory::organism();
    let text = include_str!("planted.xd");
    for line in text.lines().filter(|l| !l.starts_with([' ', '#', '}'])) {
        let mut parts = line.split_whitespace();
        let (Some(kind), Some(name)) = (parts.next(), parts.next()) else { continue };
        if kind == "xd" {
            continue;
        }
        let renamed = text.replacen(&format!("{kind} {name}"), &format!("{kind} {}", misspell(name)), 1);
        let (analysis, sources) = memory.analyse(&renamed);
        for d in &analysis.diagnostics {
            let allowed = matches!(d.code, Code::UnknownName | Code::Unused);
            assert!(allowed, "{name} renamed:\n{}", short(&analysis, &sources));
        }
        let uses = text
            .lines()
            .filter(|l| *l != line && l.split(|c: char| !c.is_alphanumeric() && c != '_').any(|w| w == name));
        let errors = analysis.diagnostics.iter().filter(|d| d.code == Code::UnknownName).count();
        assert!(errors <= 2 * uses.count(), "{name} renamed:\n{}", short(&analysis, &sources));
    }
}

#[test]
fn a_missing_line_is_one_error_at_most() {
    let memory = Memory::organism();
    let text = include_str!("planted.xd");
    for (index, line) in text.lines().enumerate() {
        if !line.starts_with(' ') || line.trim_end().ends_with('{') || line.trim() == "}" {
            continue;
        }
        let shortened: String =
            text.lines().enumerate().filter(|(i, _)| *i != index).map(|(_, l)| format!("{l}\n")).collect();
        let (analysis, sources) = memory.analyse(&shortened);
        let errors = analysis.diagnostics.iter().filter(|d| d.severity == Severity::Error).count();
        assert!(errors <= 1, "without `{}`:\n{}", line.trim(), short(&analysis, &sources));
    }
}
