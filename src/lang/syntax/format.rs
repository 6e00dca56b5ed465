//! The canonical layout of a file. Comments stay, the tree does not change, and a second pass changes nothing.
//!
//! - two spaces a level; one field a line; the `=` of a block's fields stand under each other;
//! - a nested block of one field that was written on one line stays on one line when it fits;
//! - lists, tuples, arguments and selectors stand on one line, or, where that would pass 100 columns or a comment stands
//!   inside, one entry a line with a comma after each, the `=` of arguments under each other;
//! - comments behind code stand under each other in neighbouring lines; at most one empty line anywhere, and one around every
//!   declaration with a block.

use pest::Parser as _;
use pest::iterators::Pair;

use super::parser::{Grammar, Rule, parse};
use crate::lang::diagnostic::{Code, Diagnostic, Severity};
use crate::lang::source::{FileId, Span};

/// Lines longer than this are broken inside their brackets.
const WIDEST: usize = 100;

/// The text in canonical layout, or what keeps it from being read.
pub fn fmt(text: &str) -> Result<String, Vec<Diagnostic>> {
    let (_, found) = parse(FileId(0), text);
    let errors: Vec<Diagnostic> =
        found.into_iter().filter(|d| d.severity == Severity::Error && d.code != Code::NewerEdition).collect();
    if !errors.is_empty() {
        return Err(errors);
    }
    let unreadable = || vec![Diagnostic::new(Code::Unreadable, Span::new(FileId(0), 0, 0), "this cannot be read")];
    let file = Grammar::parse(Rule::file, text).ok().and_then(|mut pairs| pairs.next()).ok_or_else(unreadable)?;
    let mut layout = Layout { text, lines: Vec::new() };
    layout.file(file);
    Ok(layout.finish())
}

/// One line of the result; the comment behind its code is set apart until all lines are known.
#[derive(Default)]
struct Line {
    code: String,
    comment: Option<String>,
}

/// A part of a value: text that stays together, or a bracket that can be broken over lines.
enum Part {
    Text(String),
    Group { open: &'static str, entries: Vec<Item>, close: &'static str },
}

/// What stands inside a bracket.
enum Item {
    /// `label = value`, or a value alone.
    Entry { label: Option<String>, code: Vec<Part> },
    /// `beside`: it stands on the line of the entry before it.
    Comment { text: String, beside: bool },
}

struct Layout<'t> {
    text: &'t str,
    lines: Vec<Line>,
}

impl<'t> Layout<'t> {
    fn finish(self) -> String {
        let mut out = String::new();
        let mut at = 0;
        while at < self.lines.len() {
            // Neighbours with comments behind code share a column.
            let end = at + self.lines[at..].iter().take_while(|l| l.comment.is_some() && !l.code.is_empty()).count();
            let column = self.lines[at..end].iter().map(|l| columns(&l.code)).max().unwrap_or(0);
            for line in &self.lines[at..end.max(at + 1)] {
                out += &line.code;
                if let Some(comment) = &line.comment {
                    out += &" ".repeat((column - columns(&line.code).min(column)) + 2);
                    out += comment;
                }
                out.push('\n');
            }
            at = end.max(at + 1);
        }
        out
    }

    // -- lines -------------------------------------------------------------------------------------------------------

    fn file(&mut self, file: Pair<'t, Rule>) {
        let pairs: Vec<Pair<'t, Rule>> = file.into_inner().filter(|p| p.as_rule() != Rule::EOI).collect();
        let apart = self.apart(&pairs);
        for (i, pair) in pairs.iter().enumerate() {
            let first = self.lines.is_empty();
            match pair.as_rule() {
                Rule::comment => self.comment(pair, 0, !first && apart[i]),
                _ => {
                    if !first && apart[i] {
                        self.lines.push(Line::default());
                    }
                    self.item(pair.clone());
                }
            }
        }
    }

    /// Which items have an empty line before them: those that had one, and declarations with a block of several lines with what surrounds
    /// them.
    fn apart(&self, pairs: &[Pair<'t, Rule>]) -> Vec<bool> {
        let mut apart: Vec<bool> = pairs.iter().map(|p| self.empty_line_before(p)).collect();
        let block = |p: &Pair<'t, Rule>| {
            p.as_rule() == Rule::declaration
                && p.clone().into_inner().any(|q| q.as_rule() == Rule::block)
                && self.lines_of(p.clone()) > 1
        };
        for i in 0..pairs.len() {
            if !block(&pairs[i]) {
                continue;
            }
            // The comments right above belong to it.
            let mut head = i;
            while head > 0 && !apart[head] && pairs[head - 1].as_rule() == Rule::comment && self.alone(&pairs[head - 1])
            {
                head -= 1;
            }
            apart[head] = true;
            let next = (i + 1..pairs.len()).find(|n| pairs[*n].as_rule() != Rule::comment || self.alone(&pairs[*n]));
            if let Some(next) = next {
                apart[next] = true;
            }
        }
        apart
    }

    /// How many lines a declaration takes.
    fn lines_of(&self, pair: Pair<'t, Rule>) -> usize {
        let mut alone = Layout { text: self.text, lines: Vec::new() };
        alone.item(pair);
        alone.lines.len()
    }

    fn item(&mut self, pair: Pair<'t, Rule>) {
        let mut code = Vec::new();
        let mut block = None;
        match pair.as_rule() {
            Rule::edition => {
                let number = pair.into_inner().find(|p| p.as_rule() == Rule::edition_number);
                code.push(Part::Text(format!("xd {}", number.map_or("1", |p| p.as_str()))));
            }
            Rule::import => {
                let mut words =
                    pair.into_inner().filter(|p| matches!(p.as_rule(), Rule::text | Rule::name)).map(|p| p.as_str());
                let (path, alias) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
                code.push(Part::Text(format!("use {path} as {alias}")));
            }
            _ => {
                for part in pair.into_inner() {
                    match part.as_rule() {
                        Rule::kind => code.push(Part::Text(part.as_str().to_string())),
                        Rule::name => code.push(Part::Text(format!(" {}", part.as_str()))),
                        Rule::axes => self.axes(part, &mut code),
                        Rule::value => {
                            code.push(Part::Text(" = ".to_string()));
                            self.value(part, &mut code);
                        }
                        Rule::block => block = Some(part),
                        _ => {}
                    }
                }
            }
        }
        match block {
            Some(block) => self.block(code, block, 0),
            None => self.code(code, 0),
        }
    }

    fn axes(&mut self, pair: Pair<'t, Rule>, code: &mut Vec<Part>) {
        let mut first = true;
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::axis => {
                    code.push(Part::Text(if first { " for ".into() } else { ", ".into() }));
                    first = false;
                    for part in part.into_inner() {
                        match part.as_rule() {
                            Rule::path => code.push(Part::Text(part.as_str().to_string())),
                            Rule::zip => {
                                let paths: Vec<&str> = part.into_inner().map(|p| p.as_str()).collect();
                                code.push(Part::Text(format!("({})", paths.join(", "))));
                            }
                            Rule::operand => {
                                code.push(Part::Text(" in ".into()));
                                self.operand(part, code);
                            }
                            _ => {}
                        }
                    }
                }
                // A comment between two axes would break the head: it moves above the declaration.
                Rule::comment => {
                    let text = comment_text(part.as_str()).replacen("##", "#", 1);
                    self.lines.push(Line { code: text, comment: None });
                }
                _ => {}
            }
        }
    }

    fn comment(&mut self, pair: &Pair<'t, Rule>, indent: usize, apart: bool) {
        let text = comment_text(pair.as_str());
        if !self.alone(pair)
            && let Some(last) = self.lines.last_mut().filter(|l| l.comment.is_none() && !l.code.is_empty())
        {
            last.comment = Some(text);
            return;
        }
        if apart {
            self.lines.push(Line::default());
        }
        self.lines.push(Line { code: format!("{}{text}", " ".repeat(indent)), comment: None });
    }

    /// `head {`, the fields, `}`; on one line where it was on one and has one field.
    fn block(&mut self, mut head: Vec<Part>, block: Pair<'t, Rule>, indent: usize) {
        let one_line = !block.as_str().contains('\n');
        let pairs: Vec<Pair<'t, Rule>> = block.into_inner().collect();
        if pairs.is_empty() {
            head.push(Part::Text(" {}".into()));
            return self.code(head, indent);
        }
        if one_line && let Some(line) = self.one_line(&head, &pairs, indent) {
            self.lines.push(line);
            return;
        }
        head.push(Part::Text(" {".into()));
        self.code(head, indent);
        let inner = indent + 2;
        let width = pairs.iter().filter_map(|p| self.path_of_value(p)).map(columns).max().unwrap_or(0);
        for (i, pair) in pairs.iter().enumerate() {
            let apart = i > 0 && self.empty_line_before(pair);
            if pair.as_rule() == Rule::comment {
                self.comment(pair, inner, apart);
                continue;
            }
            if apart {
                self.lines.push(Line::default());
            }
            self.field(pair.clone(), inner, width);
        }
        self.lines.push(Line { code: format!("{}}}", " ".repeat(indent)), comment: None });
    }

    fn one_line(&self, head: &[Part], pairs: &[Pair<'t, Rule>], indent: usize) -> Option<Line> {
        let [field] = pairs else { return None };
        let mut code = flat(head)?;
        code += " { ";
        let mut ends = 1;
        let mut field = field.clone();
        loop {
            let mut parts = field.into_inner();
            code += parts.next()?.as_str();
            let body = parts.find(|p| matches!(p.as_rule(), Rule::value | Rule::block))?;
            if body.as_rule() == Rule::value {
                let mut value = Vec::new();
                self.value(body, &mut value);
                code += " = ";
                code += &flat(&value)?;
                break;
            }
            code += " { ";
            ends += 1;
            let mut inner = body.into_inner();
            field = inner.next()?;
            if inner.next().is_some() {
                return None;
            }
        }
        code += &" }".repeat(ends);
        let code = format!("{}{code}", " ".repeat(indent));
        (columns(&code) <= WIDEST).then_some(Line { code, comment: None })
    }

    fn path_of_value(&self, pair: &Pair<'t, Rule>) -> Option<&'t str> {
        let mut parts = pair.clone().into_inner();
        let path = parts.next().filter(|p| p.as_rule() == Rule::path)?;
        parts.any(|p| p.as_rule() == Rule::value).then(|| path.as_str())
    }

    fn field(&mut self, pair: Pair<'t, Rule>, indent: usize, width: usize) {
        let mut path = "";
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::path => path = part.as_str(),
                Rule::value => {
                    let mut code = vec![Part::Text(format!("{path:width$} = "))];
                    self.value(part, &mut code);
                    self.code(code, indent);
                }
                Rule::block => self.block(vec![Part::Text(path.to_string())], part, indent),
                _ => {}
            }
        }
    }

    // -- values ------------------------------------------------------------------------------------------------------

    fn value(&self, pair: Pair<'t, Rule>, code: &mut Vec<Part>) {
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::operator => code.push(Part::Text(format!(" {} ", part.as_str()))),
                _ => self.operand(part, code),
            }
        }
    }

    fn operand(&self, pair: Pair<'t, Rule>, code: &mut Vec<Part>) {
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::range => code.push(Part::Text(part.as_str().to_string())),
                Rule::of_word => code.push(Part::Text(" of ".into())),
                _ => self.term(part, code),
            }
        }
    }

    fn term(&self, pair: Pair<'t, Rule>, code: &mut Vec<Part>) {
        match pair.as_rule() {
            Rule::list => code.push(self.group("[", pair, "]")),
            Rule::tuple | Rule::arguments => code.push(self.group("(", pair, ")")),
            Rule::selectors => code.push(self.group("[", pair, "]")),
            Rule::call | Rule::reference => pair.into_inner().for_each(|part| self.term(part, code)),
            Rule::quantity => {
                let mut typed = String::new();
                for part in pair.into_inner() {
                    if part.as_rule() == Rule::unit {
                        typed.push(' ');
                    }
                    typed += part.as_str();
                }
                code.push(Part::Text(typed));
            }
            _ => code.push(Part::Text(pair.as_str().to_string())),
        }
    }

    fn group(&self, open: &'static str, pair: Pair<'t, Rule>, close: &'static str) -> Part {
        let mut entries = Vec::new();
        for part in pair.into_inner() {
            if part.as_rule() == Rule::comment {
                let beside = !self.alone(&part) && matches!(entries.last(), Some(Item::Entry { .. }));
                entries.push(Item::Comment { text: comment_text(part.as_str()), beside });
                continue;
            }
            let mut code = Vec::new();
            let mut label = None;
            for part in part.into_inner() {
                match part.as_rule() {
                    Rule::label | Rule::path => label = Some(part.as_str().to_string()),
                    Rule::value => self.value(part, &mut code),
                    Rule::operand => self.operand(part, &mut code),
                    _ => {}
                }
            }
            entries.push(Item::Entry { label, code });
        }
        Part::Group { open, entries, close }
    }

    // -- breaking ----------------------------------------------------------------------------------------------------

    /// Writes code, on one line where it fits.
    fn code(&mut self, parts: Vec<Part>, indent: usize) {
        self.lines.push(Line { code: " ".repeat(indent), comment: None });
        self.parts(&parts, indent, 0);
    }

    /// Writes parts at the end of the last line; `after` columns must stay free behind them.
    fn parts(&mut self, parts: &[Part], indent: usize, after: usize) {
        for (i, part) in parts.iter().enumerate() {
            match part {
                Part::Text(text) => self.write(text),
                Part::Group { open, entries, close } => {
                    let rest = flat_width(&parts[i + 1..]) + after;
                    match flat(std::slice::from_ref(part))
                        .filter(|flat| self.column() + columns(flat) + rest <= WIDEST || entries.is_empty())
                    {
                        Some(flat) => self.write(&flat),
                        None => self.broken(open, entries, close, indent),
                    }
                }
            }
        }
    }

    fn broken(&mut self, open: &str, entries: &[Item], close: &str, indent: usize) {
        self.write(open);
        let inner = indent + 2;
        let width = shared_width(entries);
        for item in entries {
            match item {
                Item::Entry { label, code } => {
                    let label = label.as_ref().map_or(String::new(), |label| format!("{label:width$} = "));
                    self.lines.push(Line { code: " ".repeat(inner) + &label, comment: None });
                    self.parts(code, inner, 1);
                    self.write(",");
                }
                Item::Comment { text, beside } => {
                    match self.lines.last_mut().filter(|l| *beside && l.comment.is_none()) {
                        Some(line) => line.comment = Some(text.clone()),
                        None => self.lines.push(Line { code: format!("{}{text}", " ".repeat(inner)), comment: None }),
                    }
                }
            }
        }
        self.lines.push(Line { code: format!("{}{close}", " ".repeat(indent)), comment: None });
    }

    fn write(&mut self, text: &str) {
        if let Some(line) = self.lines.last_mut() {
            line.code += text;
        }
    }

    fn column(&self) -> usize {
        self.lines.last().map_or(0, |l| columns(&l.code))
    }

    // -- the text as typed -------------------------------------------------------------------------------------------

    /// Nothing but blanks before it on its line.
    fn alone(&self, pair: &Pair<'t, Rule>) -> bool {
        let before = &self.text[..pair.as_span().start()];
        let line = before.rsplit(['\n', '\r']).next().unwrap_or("");
        line.trim_start_matches('\u{FEFF}').trim().is_empty()
    }

    fn empty_line_before(&self, pair: &Pair<'t, Rule>) -> bool {
        let before = self.text[..pair.as_span().start()].trim_end_matches([' ', '\t']);
        let gap = &before[before.trim_end_matches([' ', '\t', '\n', '\r']).len()..];
        gap.replace("\r\n", "\n").matches(['\n', '\r']).count() > 1
    }
}

fn comment_text(typed: &str) -> String {
    typed.trim_end().to_string()
}

fn columns(text: &str) -> usize {
    text.chars().count()
}

/// The width of the labels of a broken bracket; entries without one stand at the margin.
fn shared_width(entries: &[Item]) -> usize {
    let label = |item: &Item| match item {
        Item::Entry { label: Some(label), .. } => Some(columns(label)),
        _ => None,
    };
    entries.iter().filter_map(label).max().unwrap_or(0)
}

/// Everything on one line; `None` when a comment forbids it.
fn flat(parts: &[Part]) -> Option<String> {
    let mut out = String::new();
    for part in parts {
        match part {
            Part::Text(text) => out += text,
            Part::Group { open, entries, close } => {
                out += open;
                for (i, item) in entries.iter().enumerate() {
                    let Item::Entry { label, code } = item else { return None };
                    out += if i > 0 { ", " } else { "" };
                    if let Some(label) = label {
                        out += &format!("{label} = ");
                    }
                    out += &flat(code)?;
                }
                out += close;
            }
        }
    }
    Some(out)
}

/// Columns of what follows a bracket, up to where it could be broken in its turn.
fn flat_width(parts: &[Part]) -> usize {
    let mut width = 0;
    for part in parts {
        match part {
            Part::Text(text) => width += columns(text),
            Part::Group { .. } => return width + 1,
        }
    }
    width
}
