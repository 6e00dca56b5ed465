//! Small readers of a piece of text, for messages: words, paths, the ends of things.

pub(super) fn word(text: &str) -> &str {
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        return "";
    }
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    &text[..end]
}

pub(super) fn structural(word: &str) -> bool {
    matches!(word, "xd" | "use" | "as" | "for" | "in" | "of")
}

/// The end of the word, number, string or sign that begins at `at`.
pub(super) fn token_end(typed: &str, at: usize) -> usize {
    let rest = &typed[at..];
    let Some(first) = rest.chars().next() else { return typed.len().max(at) };
    if first == '"' {
        return rest[1..].find('"').map_or(at + 1, |n| at + n + 2);
    }
    if first.is_ascii_alphanumeric() || first == '_' {
        return rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '.').map_or(typed.len(), |n| at + n);
    }
    at + first.len_utf8()
}

/// The end of the line on which `at` stands.
pub(super) fn first_line(typed: &str, at: usize) -> usize {
    at + first_line_text(&typed[at..]).len()
}

pub(super) fn first_line_text(text: &str) -> &str {
    text.lines().next().unwrap_or("").trim_end()
}

/// What stands before a sign, as far as it can be a name.
pub(super) fn last_words(before: &str) -> &str {
    let before = before.trim_end();
    let start = before.rfind(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '.').map_or(0, |n| n + 1);
    before.get(start..).unwrap_or("")
}

/// Where the call or bracket begins whose inside, without its closer, this text ends with.
pub(super) fn opening(inside: &str) -> usize {
    let mut open = 1;
    for (at, c) in inside.char_indices().rev() {
        match c {
            ')' | ']' => open += 1,
            '(' | '[' => open -= 1,
            _ => {}
        }
        if open == 0 {
            return at - last_words(&inside[..at]).len().min(at);
        }
    }
    0
}

/// How many brackets are open at the end of the text, strings left aside.
pub(super) fn depth(text: &str) -> i32 {
    let mut depth = 0;
    let mut quoted = false;
    for c in text.chars() {
        match c {
            '"' => quoted = !quoted,
            '(' | '[' if !quoted => depth += 1,
            ')' | ']' if !quoted => depth -= 1,
            _ => {}
        }
    }
    depth
}

/// The first two words, where there are two.
pub(super) fn words(typed: &str) -> (&str, &str) {
    let first = word(typed);
    let rest = typed[first.len()..].trim_start_matches([' ', '\t']);
    (first, word(rest))
}

/// `train.batch` at the beginning of the piece, or nothing.
pub(super) fn leading_path(typed: &str) -> &str {
    let mut end = word(typed).len();
    while end > 0 && typed[end..].starts_with('.') {
        let next = word(&typed[end + 1..]).len();
        if next == 0 {
            break;
        }
        end += 1 + next;
    }
    &typed[..end]
}
