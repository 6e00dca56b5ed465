//! What a plot asks of its rows: quantities on axes, ranges, error bars, reference lines.

use crate::lang::check::plots as problems;
use crate::lang::diagnostic::{Code, Diagnostic};
use crate::lang::plan::spec::{ColumnRef, ErrorBar, Horizontal, Keep, LineAt, LineAxis, Quantity, Series};
use crate::lang::schema::{Query, Type};
use crate::lang::source::Span;
use crate::lang::syntax::tree::{Entry, Name, Value, ValueKind};

use super::fields::Fields;
use super::params::slice;
use super::query::{NUMBER, Question, is_number, is_words};
use super::reader::dotted;
use super::typed::{Node, Typed};

/// Both ends of the two axes.
pub type Ranges = (Option<(f64, f64)>, Option<(f64, f64)>);

/// A quantity, and whether its cells are numbers.
pub struct Read {
    pub quantity: Quantity,
    pub numbers: bool,
    pub span: Span,
}

/// A column that colours or divides.
pub struct Plain {
    pub column: ColumnRef,
    /// Neither numbers nor truths.
    pub words: bool,
}

/// What `x` holds: one quantity or several.
pub struct ReadX {
    pub x: Horizontal,
    /// Of the one quantity; several are always numbers.
    pub numbers: bool,
    pub span: Span,
}

fn raw<'f>(fields: &'f Fields, path: &str) -> Option<&'f Value> {
    match fields.get(path)? {
        Node { value: Typed::Raw(value), .. } => Some(value),
        _ => None,
    }
}

impl Question<'_, '_> {
    /// A column of numbers, as a call or another field names it.
    fn numbers(&mut self, value: &Value, what: &str) -> Option<ColumnRef> {
        let (column, meaning) = self.column(value)?;
        if !is_number(meaning) && !self.numeric_axis(&column, meaning) {
            self.reader.sink.push(crate::lang::check::columns::not_a_number(&column.column, what, value.span));
            return None;
        }
        Some(column)
    }

    /// A column, or a form of one.
    fn quantity(&mut self, value: &Value, path: &str) -> Option<Read> {
        let ValueKind::Call { name, arguments } = &value.kind else {
            let (column, meaning) = self.column(value)?;
            let numbers = is_number(meaning) || self.numeric_axis(&column, meaning);
            return Some(Read { quantity: Quantity::Column { column }, numbers, span: value.span });
        };
        let word = dotted(name);
        if let Some(label) = arguments.iter().find_map(|a| a.label.as_ref()) {
            self.reader.sink.push(problems::labelled_argument(&word, label.span));
            return None;
        }
        let quantity = match (word.as_str(), arguments.as_slice()) {
            ("abs", [one]) => Quantity::Absolute { column: self.numbers(&one.value, "`abs`")? },
            ("rank", [one]) => self.rank(&one.value)?,
            ("largest", [_, _, ..]) => {
                let mut of = Vec::new();
                for argument in arguments {
                    of.push(self.part_of_largest(&argument.value)?);
                }
                Quantity::Largest { of }
            }
            ("abs" | "rank" | "largest", _) => {
                self.reader.sink.push(problems::arguments_of_a_quantity(&word, value.span));
                return None;
            }
            _ => {
                self.reader.sink.push(problems::unknown_quantity(&word, path, name.span));
                return None;
            }
        };
        Some(Read { quantity, numbers: true, span: value.span })
    }

    fn rank(&mut self, value: &Value) -> Option<Quantity> {
        match &value.kind {
            ValueKind::Call { name, arguments }
                if matches!(dotted(name).as_str(), "descending" | "ascending") && arguments.len() == 1 =>
            {
                let column = self.numbers(&arguments[0].value, "`rank`")?;
                Some(Quantity::Rank { column, descending: dotted(name) == "descending" })
            }
            ValueKind::Call { .. } => {
                self.reader.sink.push(problems::arguments_of_a_quantity("rank", value.span));
                None
            }
            _ => Some(Quantity::Rank { column: self.numbers(value, "`rank`")?, descending: false }),
        }
    }

    fn part_of_largest(&mut self, value: &Value) -> Option<Quantity> {
        match &value.kind {
            ValueKind::Call { name, arguments } if dotted(name) == "abs" && arguments.len() == 1 => {
                Some(Quantity::Absolute { column: self.numbers(&arguments[0].value, "`abs`")? })
            }
            ValueKind::Call { .. } => {
                self.reader.sink.push(problems::arguments_of_a_quantity("largest", value.span));
                None
            }
            _ => Some(Quantity::Column { column: self.numbers(value, "`largest`")? }),
        }
    }

    /// `x`: a quantity, or several columns over one another.
    pub fn x(&mut self, fields: &Fields) -> Option<ReadX> {
        let value = raw(fields, "x")?;
        let ValueKind::List(entries) = &value.kind else {
            let read = self.quantity(value, "x")?;
            return Some(ReadX { x: Horizontal::One(read.quantity), numbers: read.numbers, span: value.span });
        };
        if entries.len() < 2 {
            self.reader.sink.push(problems::few_columns(value.span));
            return None;
        }
        let mut series: Vec<Series> = Vec::new();
        for entry in entries {
            let read = self.quantity(&entry.value, "x")?;
            if !read.numbers {
                let text = slice(self.reader.sources, entry.value.span).to_string();
                let place = entry.value.span;
                self.reader.sink.push(crate::lang::check::columns::not_a_number(
                    &text,
                    "a column laid over others",
                    place,
                ));
                return None;
            }
            let written = || slice(self.reader.sources, entry.value.span).to_string();
            let label = entry.label.as_ref().map_or_else(written, |l| l.text.clone());
            if series.iter().any(|s| s.label == label) {
                self.reader.sink.push(
                    Diagnostic::new(
                        Code::DefinedTwice,
                        entry.value.span,
                        format!("two columns of x are called `{label}`"),
                    )
                    .label("the same name")
                    .help("give one of them another: `x = [first = .., second = ..]`"),
                );
                return None;
            }
            series.push(Series { label, quantity: read.quantity });
        }
        Some(ReadX { x: Horizontal::Several(series), numbers: true, span: value.span })
    }

    /// `y`.
    pub fn y(&mut self, fields: &Fields) -> Option<Read> {
        let value = raw(fields, "y")?;
        self.quantity(value, "y")
    }

    /// A column of any cells.
    pub fn plain_column(&mut self, fields: &Fields, path: &str) -> Option<Plain> {
        let (column, meaning) = self.column(raw(fields, path)?)?;
        Some(Plain { column, words: is_words(meaning) })
    }

    /// Entries labelled `x` or `y`, each once.
    fn of_axes<'v>(&mut self, value: &'v Value, field: &str, example: &str) -> Vec<(LineAxis, Span, &'v Value)> {
        let ValueKind::List(entries) = &value.kind else { return Vec::new() };
        let mut found: Vec<(LineAxis, Span, &'v Value)> = Vec::new();
        for Entry { label, value } in entries {
            let axis = match label.as_ref().map(|l| l.text.as_str()) {
                Some("x") => LineAxis::X,
                Some("y") => LineAxis::Y,
                None if matches!(value.kind, ValueKind::Broken) => continue,
                _ => {
                    let span = label.as_ref().map_or(value.span, |l| l.span);
                    self.reader.sink.push(problems::not_an_axis(field, example, span));
                    continue;
                }
            };
            let place = label.as_ref().map_or(value.span, |l: &Name| l.span);
            if let Some((_, first, _)) = found.iter().find(|(known, ..)| *known == axis) {
                self.reader.sink.push(problems::axis_twice(field, place, *first));
                continue;
            }
            found.push((axis, place, value));
        }
        found
    }

    /// `range`: the ends of x and of y.
    pub fn ranges(&mut self, fields: &Fields) -> Ranges {
        let Some(value) = raw(fields, "range") else { return (None, None) };
        if !matches!(value.kind, ValueKind::List(_)) {
            self.reader.wrong_type::<()>(&Type::Query(Query::Ranges), value, "`range`");
        }
        let mut ranges = (None, None);
        for (axis, _, value) in self.of_axes(value, "range", "x = 0..1.1") {
            let ty = Type::Bounds { low: f64::NEG_INFINITY, high: f64::INFINITY };
            let Some(Typed::Bounds(low, high)) = self.reader.read(&ty, value, "an entry of `range`").map(|n| n.value)
            else {
                continue;
            };
            if low >= high {
                self.reader.sink.push(problems::empty_range(value.span));
                continue;
            }
            match axis {
                LineAxis::X => ranges.0 = Some((low, high)),
                LineAxis::Y => ranges.1 = Some((low, high)),
            }
        }
        ranges
    }

    /// `keep`.
    pub fn keep(&mut self, fields: &Fields) -> Option<Keep> {
        let value = raw(fields, "keep")?;
        let ValueKind::Call { name, arguments } = &value.kind else {
            self.reader.wrong_type::<()>(&Type::Query(Query::Keep), value, "`keep`");
            return None;
        };
        let word = dotted(name);
        if !matches!(word.as_str(), "lowest" | "highest") {
            self.reader.sink.push(problems::unknown_keep(&word, name.span));
            return None;
        }
        let (mut count, mut by) = (None, None);
        for Entry { label, value } in arguments {
            match label.as_ref().map(|l| l.text.as_str()) {
                None if count.is_none() => count = Some(value),
                Some("by") if by.is_none() => by = Some(value),
                _ => {
                    let span = label.as_ref().map_or(value.span, |l| l.span);
                    self.reader.sink.push(problems::argument_of_keep(&word, span));
                    return None;
                }
            }
        }
        let (Some(count), Some(by)) = (count, by) else {
            self.reader.sink.push(problems::keep_lacks(&word, value.span));
            return None;
        };
        let whole = Type::Whole { low: 1, high: u64::MAX };
        let count = self.reader.read(&whole, count, &format!("`{word}`")).and_then(|n| n.whole());
        let by = self.numbers(by, &format!("`{word}`"));
        Some(Keep { count: count?, by: by?, highest: word == "highest" })
    }

    /// `error`.
    pub fn error_bar(&mut self, fields: &Fields) -> Option<ErrorBar> {
        let value = raw(fields, "error")?;
        match &value.kind {
            ValueKind::Tuple(ends) if ends.len() == 2 => {
                let (low, high) = (self.numbers(&ends[0], "`error`"), self.numbers(&ends[1], "`error`"));
                Some(ErrorBar::Ends { low: low?, high: high? })
            }
            ValueKind::Reference(reference)
                if dotted(&reference.path) == "interval" && reference.selectors.is_none() =>
            {
                Some(ErrorBar::Interval)
            }
            ValueKind::Reference(_) => Some(ErrorBar::Half { column: self.numbers(value, "`error`")? }),
            _ => self.reader.wrong_type(&Type::Query(Query::Error), value, "`error`"),
        }
    }

    /// `lines`: numbers on x, or on the axis of their label; with the place of each.
    pub fn lines(&mut self, fields: &Fields) -> Vec<(LineAxis, LineAt, Span)> {
        let Some(value) = raw(fields, "lines") else { return Vec::new() };
        let entries: Vec<Entry> = match &value.kind {
            ValueKind::List(entries) => entries.clone(),
            _ => vec![Entry { label: None, value: value.clone() }],
        };
        let mut lines = Vec::new();
        for entry in &entries {
            let axis = match entry.label.as_ref().map(|l| l.text.as_str()) {
                None | Some("x") => LineAxis::X,
                Some("y") => LineAxis::Y,
                Some(_) => {
                    let span = entry.label.as_ref().map_or(entry.value.span, |l| l.span);
                    self.reader.sink.push(problems::not_an_axis("lines", "x = 0.9", span));
                    continue;
                }
            };
            let word = match &entry.value.kind {
                // A param of this name goes first.
                ValueKind::Reference(reference)
                    if self.reader.scope.lookup(self.reader.module, &reference.path.parts).is_none() =>
                {
                    dotted(&reference.path)
                }
                _ => String::new(),
            };
            let at = match word.as_str() {
                "mean" => Some(LineAt::Mean),
                "median" => Some(LineAt::Median),
                _ => {
                    let read = self.reader.read(&NUMBER, &entry.value, "an entry of `lines`");
                    read.and_then(|n| n.number()).map(LineAt::Value)
                }
            };
            lines.extend(at.map(|at| (axis, at, entry.value.span)));
        }
        lines
    }

    /// `scale`: for x and for y, where they are logarithmic.
    pub fn scale(&mut self, fields: &Fields) -> (Option<Span>, Option<Span>) {
        let Some(value) = raw(fields, "scale") else { return (None, None) };
        let mut log = (None, None);
        if !matches!(value.kind, ValueKind::List(_)) {
            self.reader.wrong_type::<()>(&Type::Query(Query::Scale), value, "`scale`");
        }
        for (axis, _, value) in self.of_axes(value, "scale", "y = log") {
            let word = match &value.kind {
                ValueKind::Reference(reference) => dotted(&reference.path),
                ValueKind::Broken => continue,
                _ => String::new(),
            };
            if !matches!(word.as_str(), "log" | "linear") {
                self.reader.sink.push(problems::unknown_scale(&word, value.span));
                continue;
            }
            if word == "log" {
                match axis {
                    LineAxis::X => log.0 = Some(value.span),
                    LineAxis::Y => log.1 = Some(value.span),
                }
            }
        }
        log
    }
}
