//! Cuts a quoted string into its pieces: `"delta-norm-L{depth}.svg"`.

use super::tree::{Name, Path, Piece};
use crate::lang::diagnostic::{Code, Diagnostic};
use crate::lang::source::Span;

/// The pieces of a string as typed, quotes included. `span` is the place of the whole string.
///
/// `{{` and `}}` stand for braces; `\"`, `\\`, `\n` and `\t` are the escapes.
pub fn pieces(typed: &str, span: Span) -> Result<Vec<Piece>, Diagnostic> {
    let inside = typed.get(1..typed.len().saturating_sub(1)).unwrap_or("");
    let place = |from: usize, to: usize| Span::new(span.file, span.start + 1 + from, span.start + 1 + to);
    let mut pieces = Vec::new();
    let mut literal = String::new();
    let mut chars = inside.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some((_, c @ ('"' | '\\'))) => literal.push(c),
                Some((_, 'n')) => literal.push('\n'),
                Some((_, 't')) => literal.push('\t'),
                Some((end, c)) => {
                    let end = end + c.len_utf8();
                    return Err(Diagnostic::new(
                        Code::Unreadable,
                        place(at, end),
                        format!("`\\{c}` means nothing in a string"),
                    )
                    .label("unknown escape")
                    .help("the escapes are `\\\"`, `\\\\`, `\\n` and `\\t`; in a path write `/`, or `\\\\` for a backslash"));
                }
                None => literal.push('\\'),
            },
            '{' if chars.next_if(|(_, c)| *c == '{').is_some() => literal.push('{'),
            '}' if chars.next_if(|(_, c)| *c == '}').is_some() => literal.push('}'),
            '}' => {
                return Err(Diagnostic::new(
                    Code::Unreadable,
                    place(at, at + 1),
                    "this `}` closes nothing in the string",
                )
                .label("no `{` before it")
                .help("`{name}` inserts a param or an axis; write `}}` for the character itself"));
            }
            '{' => {
                let start = at + 1;
                let Some(length) = inside[start..].find(['}', '{']).filter(|n| inside[start + n..].starts_with('}'))
                else {
                    return Err(Diagnostic::new(
                        Code::Unclosed,
                        place(at, at + 1),
                        "this `{` is not closed in the string",
                    )
                    .label("opened here")
                    .help("`{name}` inserts a param or an axis; write `{{` for the character itself"));
                };
                let path = insert(&inside[start..start + length], place(start, start + length))?;
                if !literal.is_empty() {
                    pieces.push(Piece::Literal(std::mem::take(&mut literal)));
                }
                pieces.push(Piece::Insert(path));
                while chars.next_if(|(n, _)| *n <= start + length).is_some() {}
            }
            c => literal.push(c),
        }
    }
    if !literal.is_empty() || pieces.is_empty() {
        pieces.push(Piece::Literal(literal));
    }
    Ok(pieces)
}

/// `train.seed` between braces.
fn insert(typed: &str, span: Span) -> Result<Path, Diagnostic> {
    let word = |w: &str| {
        !w.is_empty()
            && !w.starts_with(|c: char| c.is_ascii_digit())
            && w.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    let trimmed = typed.trim();
    if !trimmed.split('.').all(word) {
        let around = Span::new(span.file, span.start - 1, span.end + 1);
        return Err(Diagnostic::new(
            Code::Unreadable,
            around,
            format!("`{{{typed}}}` is not the name of a param or an axis"),
        )
        .label("only a name can stand here")
        .help(
            "write `{depth}` or `{train.seed}`; nothing is computed in a string. For a brace itself write `{{` or `}}`",
        ));
    }
    let mut start = span.start + (typed.len() - typed.trim_start().len());
    let whole = Span::new(span.file, start, start + trimmed.len());
    let mut parts = Vec::new();
    for part in trimmed.split('.') {
        parts.push(Name { text: part.to_string(), span: Span::new(span.file, start, start + part.len()) });
        start += part.len() + 1;
    }
    Ok(Path { parts, span: whole })
}
