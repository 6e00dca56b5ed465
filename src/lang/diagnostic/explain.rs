//! The page of every code: what it means, an example that is wrong and the right one. The pages stand in `explain.md`.

use super::Code;

const PAGES: &str = include_str!("explain.md");

/// The page of a code, its slug in the first line.
pub fn explain(code: Code) -> &'static str {
    let slug = code.slug();
    let of_code = |page: &&str| page.lines().next().is_some_and(|title| title.trim_start_matches("# ") == slug);
    PAGES.split("\n# ").find(of_code).map_or("", |page| page.trim_start_matches("# ").trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lang::source::FileId;
    use crate::lang::syntax::parse;

    #[test]
    fn every_code_has_a_page() {
        for code in Code::ALL {
            let page = explain(*code);
            assert!(page.starts_with(code.slug()), "{}", code.slug());
            assert!(page.contains("\nWrong") && page.contains("\nRight"), "{} shows no example", code.slug());
            let lines = page.lines().count();
            assert!((8..=45).contains(&lines), "{} has {lines} lines", code.slug());
        }
        let pages = PAGES.lines().filter(|l| l.starts_with("# ")).count();
        assert_eq!(pages, Code::ALL.len(), "a page without a code");
    }

    /// The right examples are good syntax: a whole declaration, or fields that stand in one.
    #[test]
    fn right_examples_can_be_read() {
        for code in Code::ALL {
            let page = explain(*code);
            let right = page.split("\nRight").nth(1).unwrap_or("");
            let lines: Vec<&str> = right.lines().filter_map(|l| l.strip_prefix("    ")).collect();
            let text = lines.join("\n");
            let readable = |text: &str| parse(FileId(0), text).1.is_empty();
            let whole = format!("xd 1\n{}\n", text.trim_start_matches("xd 1"));
            assert!(
                !text.is_empty() && (readable(&whole) || readable(&format!("xd 1\nkind name {{\n{text}\n}}\n"))),
                "{}:\n{text}",
                code.slug()
            );
        }
    }
}
