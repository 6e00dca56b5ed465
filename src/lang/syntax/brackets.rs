//! Balances the brackets of a text before the grammar sees it, so that one forgotten bracket costs one message.
//!
//! A forgotten closer is inserted where it was most likely meant: at the end of the line for `(` and `[`, before the next
//! declaration for `{`. A closer too many is blanked out. A string without its second quote becomes a hole, which reads as a
//! broken value. [`Balanced::original`] maps a place of the balanced text back to the text as typed.

use crate::lang::diagnostic::{Code, Diagnostic};
use crate::lang::source::{FileId, Span};

/// Stands for text that was reported already; the grammar reads a run of it as one broken value.
pub const HOLE: u8 = 0x1A;
/// Brackets nested deeper than this are not read: no experiment needs them, and the parser's stack is finite.
const DEEPEST: usize = 48;

/// A text whose brackets match.
pub struct Balanced {
    pub text: String,
    pub diagnostics: Vec<Diagnostic>,
    /// Places (bytes of the typed text, ascending) where one byte was inserted.
    inserted: Vec<usize>,
}

impl Balanced {
    /// The place in the typed text of a place in the balanced one.
    pub fn original(&self, offset: usize) -> usize {
        let mut before = 0;
        for (i, at) in self.inserted.iter().enumerate() {
            if at + i < offset {
                before = i + 1;
            } else {
                break;
            }
        }
        offset - before
    }
}

/// An opening bracket that waits for its closer.
struct Open {
    bracket: u8,
    at: usize,
    /// Number of the line it stands in.
    line: usize,
    /// Blanks before the first word of that line.
    indent: usize,
    /// It was never typed, and that has been reported.
    inserted: bool,
}

struct Scan<'t> {
    file: FileId,
    text: &'t str,
    bytes: Vec<u8>,
    open: Vec<Open>,
    insertions: Vec<(usize, u8)>,
    diagnostics: Vec<Diagnostic>,
    line: usize,
    line_start: usize,
    indent: usize,
    /// Where a `{` was put in the place of a colon.
    untyped: Option<usize>,
}

/// Balances `text`; `Err` holds the one diagnostic of a text that cannot be read at all.
pub fn balance(file: FileId, text: &str) -> Result<Balanced, Diagnostic> {
    let mut scan = Scan {
        file,
        text,
        bytes: text.as_bytes().to_vec(),
        open: Vec::new(),
        insertions: Vec::new(),
        diagnostics: Vec::new(),
        line: 0,
        line_start: 0,
        indent: 0,
        untyped: None,
    };
    scan.run()?;
    Ok(scan.finish())
}

impl Scan<'_> {
    fn run(&mut self) -> Result<(), Diagnostic> {
        // The grammar's mark for a hole must not come from the file itself.
        for byte in &mut self.bytes {
            if *byte == HOLE {
                *byte = b'?';
            }
        }
        self.begin_line(0);
        let mut at = 0;
        while at < self.bytes.len() {
            match self.bytes[at] {
                b'\n' | b'\r' => {
                    self.begin_line(at + 1);
                    at += 1;
                }
                b'#' => at = self.line_end(at),
                b'/' if self.bytes.get(at + 1) == Some(&b'/') => at = self.line_end(at),
                b'"' => at = self.string(at),
                b'\'' => at = self.single_quote(at),
                bracket @ (b'(' | b'[' | b'{') => {
                    if bracket == b'{' {
                        self.close_before_block(at);
                    }
                    if self.open.len() == DEEPEST {
                        return Err(Diagnostic::new(
                            Code::Unreadable,
                            Span::new(self.file, at, at + 1),
                            "brackets are nested too deep to read",
                        )
                        .label(format!("the {}th bracket inside another", DEEPEST + 1))
                        .help("give the inner value a declaration of its own and refer to it by name"));
                    }
                    self.open.push(Open {
                        bracket,
                        at,
                        line: self.line,
                        indent: self.indent,
                        inserted: self.untyped == Some(at),
                    });
                    at += 1;
                }
                b')' | b']' | b'}' => {
                    self.close(at);
                    at += 1;
                }
                _ => at += 1,
            }
        }
        let end = self.bytes.len();
        self.close_all(end, true);
        Ok(())
    }

    /// Notes where a line begins; a declaration at its margin ends everything that is still open.
    fn begin_line(&mut self, start: usize) {
        self.line += 1;
        self.line_start = start;
        let rest = &self.bytes[start.min(self.bytes.len())..];
        self.indent = rest.iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
        if !self.open.is_empty() && begins_declaration(rest) {
            self.close_all(start, true);
        }
        if self.open.is_empty() {
            self.open_block(start);
        }
    }

    /// Opens the block of a head whose `{` was forgotten: indented fields follow it.
    fn open_block(&mut self, start: usize) {
        let end = self.content_end(start);
        if !lacks_brace(&self.bytes[start..end]) || !self.fields_follow(start) {
            return;
        }
        let colon = self.bytes[end - 1] == b':';
        let at = if colon { end - 1 } else { end };
        let message = if colon {
            "a block is opened by `{`, not by a colon"
        } else {
            "the block of this declaration is never opened"
        };
        self.diagnostics.push(
            Diagnostic::new(Code::Unclosed, Span::new(self.file, end - 1, end), message)
                .label("`{` is missing here")
                .help("fields stand in braces: `kind name {`, one field a line, and a `}` on a line of its own"),
        );
        if colon {
            self.bytes[at] = b'{';
            // The scan will come to it and open it.
            self.untyped = Some(at);
        } else {
            self.insertions.push((at, b'{'));
            self.open.push(Open { bracket: b'{', at, line: self.line, indent: self.indent, inserted: true });
        }
    }

    /// Whether the next line that says something is indented and reads as a field.
    fn fields_follow(&self, start: usize) -> bool {
        let mut at = self.line_end(start);
        while at < self.bytes.len() {
            at += 1;
            let line = &self.bytes[at.min(self.bytes.len())..self.content_end(at.min(self.bytes.len()))];
            let content = &line[blanks(line)..];
            if !content.is_empty() {
                return blanks(line) > 0 && (begins_field(line) || word(content) > 0 && content.contains(&b':'));
            }
            at = self.line_end(at.min(self.bytes.len()));
        }
        false
    }

    fn line_end(&self, from: usize) -> usize {
        self.bytes[from..].iter().position(|b| matches!(b, b'\n' | b'\r')).map_or(self.bytes.len(), |n| from + n)
    }

    /// The end of what is said on the line that holds `from`: before its comment and the blanks in front of it.
    fn content_end(&self, from: usize) -> usize {
        let end = self.line_end(from);
        let mut at = from;
        let mut last = from;
        while at < end {
            match self.bytes[at] {
                b'#' => break,
                b'"' => {
                    at += 1;
                    while at < end && self.bytes[at] != b'"' {
                        at += 1 + usize::from(self.bytes[at] == b'\\');
                    }
                    last = (at + 1).min(end);
                }
                b' ' | b'\t' => {}
                _ => last = at + 1,
            }
            at += 1;
        }
        last
    }

    /// Passes over a string; one that is not closed on its line becomes a hole.
    fn string(&mut self, start: usize) -> usize {
        let end = self.line_end(start);
        let mut at = start + 1;
        while at < end {
            match self.bytes[at] {
                b'"' => return at + 1,
                b'\\' => at += 2,
                _ => at += 1,
            }
        }
        let shown = self.content_end_of_string(start, end);
        self.diagnostics.push(
            Diagnostic::new(
                Code::Unclosed,
                Span::new(self.file, start, shown),
                "this string has no second quote on its line",
            )
            .label("opened here")
            .help("close it with `\"`; a string cannot go on over the line end"),
        );
        self.bytes[start..shown].fill(HOLE);
        // What was opened on the same line was most likely closed behind the missing quote.
        while let Some(open) = self.open.last() {
            if open.line != self.line {
                break;
            }
            let closer = closer(open.bracket);
            self.insertions.push((end, closer));
            self.open.pop();
        }
        end
    }

    fn content_end_of_string(&self, start: usize, end: usize) -> usize {
        let trimmed = self.text[start..end].trim_end().len();
        start + trimmed
    }

    /// Passes over `'..'` when it is closed on its line, as people from Python write strings.
    fn single_quote(&self, start: usize) -> usize {
        let end = self.line_end(start);
        let close = self.bytes[start + 1..end].iter().position(|b| *b == b'\'');
        close.map_or(start + 1, |n| start + n + 2)
    }

    fn close(&mut self, at: usize) {
        let bracket = self.bytes[at];
        // A `}` that stands under a line less indented than the last `{` closes that line's bracket, not the last one.
        if bracket == b'}' && self.bytes[self.line_start..at].iter().all(|b| matches!(b, b' ' | b'\t')) {
            let partner = self.open.iter().rposition(|o| o.bracket == b'{' && o.indent <= self.indent);
            if let Some(partner) = partner.filter(|p| self.open[*p].indent == self.indent) {
                self.close_down_to(partner + 1, at, false);
            }
        }
        match self.open.last() {
            Some(open) if closer(open.bracket) == bracket => {
                self.open.pop();
            }
            Some(_) => match self.open.iter().rposition(|o| closer(o.bracket) == bracket) {
                Some(partner) => {
                    self.close_down_to(partner + 1, at, false);
                    self.open.pop();
                }
                None if self.closed_later(at) => self.too_many(at),
                None => self.mismatch(at),
            },
            None => self.too_many(at),
        }
    }

    /// A `{` at the end of a line opens a block, and a block stands in no list: what the line left open ends before it.
    fn close_before_block(&mut self, at: usize) {
        if self.content_end(at) != at + 1 {
            return;
        }
        let keep = self.open.iter().rposition(|o| o.bracket == b'{' || o.line != self.line).map_or(0, |n| n + 1);
        self.close_down_to(keep, at, false);
    }

    /// A closer without an opener: reported and blanked out.
    fn too_many(&mut self, at: usize) {
        let bracket = self.bytes[at];
        let opener = match bracket {
            b')' => '(',
            b']' => '[',
            _ => '{',
        };
        self.diagnostics.push(
            Diagnostic::new(
                Code::Unreadable,
                Span::new(self.file, at, at + 1),
                format!("this `{}` closes nothing", bracket as char),
            )
            .label(format!("no `{opener}` is open here"))
            .help("remove it, or open its partner before it"),
        );
        self.bytes[at] = b' ';
    }

    /// Whether the bracket that is open finds its own closer after `at`: always for a block, else before the next field.
    fn closed_later(&self, at: usize) -> bool {
        let Some(open) = self.open.last().filter(|o| o.bracket != b'{') else { return true };
        let mut depth = 0;
        let mut here = at + 1;
        while here < self.bytes.len() {
            let byte = self.bytes[here];
            if byte == open.bracket {
                depth += 1;
            } else if byte == closer(open.bracket) {
                if depth == 0 {
                    return true;
                }
                depth -= 1;
            } else if byte == b'#' {
                here = self.line_end(here);
                continue;
            } else if matches!(byte, b'\n' | b'\r') {
                let rest = &self.bytes[here + 1..];
                if begins_declaration(rest) || begins_field(&self.bytes[here + 1..self.content_end(here + 1)]) {
                    return false;
                }
            } else if byte == b'}' {
                return false;
            }
            here += 1;
        }
        false
    }

    /// A closer of another kind than the bracket that is open.
    fn mismatch(&mut self, at: usize) {
        let typed = self.bytes[at] as char;
        let Some(open) = self.open.pop() else { return };
        let meant = closer(open.bracket);
        self.diagnostics.push(
            Diagnostic::new(
                Code::Unclosed,
                Span::new(self.file, at, at + 1),
                format!("`{}` is closed by `{typed}`", open.bracket as char),
            )
            .label(format!("should be `{}`", meant as char))
            .related(Span::new(self.file, open.at, open.at + 1), "opened here"),
        );
        self.bytes[at] = meant;
    }

    fn close_all(&mut self, before: usize, at_margin: bool) {
        self.close_down_to(0, before, at_margin);
    }

    /// Reports and closes everything that was opened after the first `keep` brackets.
    fn close_down_to(&mut self, keep: usize, before: usize, at_margin: bool) {
        while self.open.len() > keep {
            let Some(open) = self.open.pop() else { break };
            let place = match open.bracket {
                b'{' => self.after_last_content(before).max(open.at + 1),
                _ if open.line == self.line => before,
                _ => self.last_entry(open.at, before),
            };
            if !open.inserted {
                self.report(&open, at_margin);
            }
            if open.bracket == b'{' {
                self.insertions.push((place, b'\n'));
            }
            self.insertions.push((place, closer(open.bracket)));
        }
    }

    fn report(&mut self, open: &Open, at_margin: bool) {
        let what = match open.bracket {
            b'{' => "this block is never closed",
            b'[' => "this list is never closed",
            _ => "this parenthesis is never closed",
        };
        let help = match (open.bracket, at_margin) {
            (b'{', true) => "put a `}` on a line of its own after its last field".to_string(),
            (b'{', false) => "put its `}` under the line that opened it".to_string(),
            (bracket, _) => format!("close it with `{}`", closer(bracket) as char),
        };
        let span = Span::new(self.file, open.at, open.at + 1);
        self.diagnostics.push(Diagnostic::new(Code::Unclosed, span, what).label("opened here").help(help));
    }

    /// The end of the last line before `before` that is more than a comment, its own comment included.
    fn after_last_content(&self, before: usize) -> usize {
        let mut end = before;
        loop {
            let text = &self.bytes[..end];
            let trimmed = text.iter().rposition(|b| !b.is_ascii_whitespace()).map_or(0, |n| n + 1);
            let start = text[..trimmed].iter().rposition(|b| matches!(b, b'\n' | b'\r')).map_or(0, |n| n + 1);
            let first = text[start..trimmed].iter().find(|b| !b.is_ascii_whitespace());
            if first == Some(&b'#') && start > 0 {
                end = start;
            } else {
                return trimmed;
            }
        }
    }

    /// Where a list opened at `start` most likely ends: before the first following line that reads as a field.
    fn last_entry(&self, start: usize, before: usize) -> usize {
        let mut end = self.content_end(start);
        loop {
            let mut next = self.line_end(end);
            while next < before && matches!(self.bytes[next], b'\n' | b'\r') {
                next += 1;
            }
            if next >= before {
                return end.min(before);
            }
            let line = &self.bytes[next..self.content_end(next)];
            if begins_field(line) || line.iter().all(|b| b.is_ascii_whitespace() || matches!(b, b'}' | b')' | b']')) {
                return end;
            }
            end = self.content_end(next).max(next + 1);
        }
    }

    fn finish(mut self) -> Balanced {
        // Stable: closers inserted at one place stay in the order in which their brackets were closed, inner ones first.
        self.insertions.sort_by_key(|(at, _)| *at);
        let mut bytes = Vec::with_capacity(self.bytes.len() + self.insertions.len());
        let mut from = 0;
        for (at, byte) in &self.insertions {
            bytes.extend_from_slice(&self.bytes[from..*at]);
            bytes.push(*byte);
            from = *at;
        }
        bytes.extend_from_slice(&self.bytes[from..]);
        let text = String::from_utf8(bytes).unwrap_or_else(|broken| String::from_utf8_lossy(broken.as_bytes()).into());
        let inserted = self.insertions.iter().map(|(at, _)| *at).collect();
        Balanced { text, diagnostics: self.diagnostics, inserted }
    }
}

fn closer(bracket: u8) -> u8 {
    match bracket {
        b'(' => b')',
        b'[' => b']',
        _ => b'}',
    }
}

fn word(bytes: &[u8]) -> usize {
    match bytes.first() {
        Some(b) if b.is_ascii_alphabetic() || *b == b'_' => {
            bytes.iter().take_while(|b| b.is_ascii_alphanumeric() || **b == b'_').count()
        }
        _ => 0,
    }
}

fn blanks(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|b| matches!(b, b' ' | b'\t')).count()
}

/// `kind name =`, `kind name {`, `kind name for` or `use "` at the very margin: no field looks like this.
fn begins_declaration(line: &[u8]) -> bool {
    let kind = word(line);
    let gap = blanks(&line[kind..]);
    if kind == 0 || gap == 0 {
        return false;
    }
    let rest = &line[kind + gap..];
    if &line[..kind] == b"use" {
        return rest.first() == Some(&b'"');
    }
    let name = word(rest);
    if name == 0 {
        return false;
    }
    let rest = &rest[name..];
    let rest = &rest[blanks(rest)..];
    match rest.first() {
        Some(b'{') => true,
        Some(b'=') => rest.get(1) != Some(&b'='),
        _ => &rest[..word(rest)] == b"for",
    }
}

/// `kind name` or `kind name for axes` at the margin with nothing after it but perhaps a colon.
fn lacks_brace(line: &[u8]) -> bool {
    let kind = word(line);
    let gap = blanks(&line[kind..]);
    if kind == 0 || gap == 0 || word(&line[kind + gap..]) == 0 {
        return false;
    }
    let mut depth = 0i32;
    for byte in line {
        match byte {
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth -= 1,
            b'{' | b'}' | b'"' | b'\'' => return false,
            b'=' if depth == 0 => return false,
            _ => {}
        }
    }
    depth == 0
}

/// `path = ..` or `path {`, and no comma at the end, as a labelled entry of a list would have.
fn begins_field(line: &[u8]) -> bool {
    let line = &line[blanks(line)..];
    let path = line.iter().take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.')).count();
    let rest = &line[path..];
    let rest = &rest[blanks(rest)..];
    let opens = match rest.first() {
        Some(b'{') => true,
        Some(b'=') => rest.get(1) != Some(&b'='),
        _ => false,
    };
    word(line) > 0 && opens && line.last() != Some(&b',')
}
