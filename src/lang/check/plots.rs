//! Plots that ask for something senseless: fields that their mark does not read, axes that cannot be drawn so.

use crate::lang::diagnostic::{Code, Diagnostic};
use crate::lang::plan::draft::At;
use crate::lang::plan::spec::{ColumnRef, Horizontal, LineAt, LineAxis, Mark, Quantity};
use crate::lang::resolve::Sink;
use crate::lang::resolve::plot::{Plain, Ranges, Read, ReadX};
use crate::lang::schema::join;
use crate::lang::source::Span;

/// How a mark is written.
pub fn word(mark: Mark) -> &'static str {
    match mark {
        Mark::Bar => "bar",
        Mark::Ecdf => "ecdf",
        Mark::Gradient => "gradient",
        Mark::Heatmap => "heatmap",
        Mark::Histogram => "histogram",
        Mark::Line => "line",
        Mark::Scatter => "scatter",
    }
}

fn with_article(mark: Mark) -> String {
    match mark {
        Mark::Ecdf => "an ecdf".to_string(),
        _ => format!("a {}", word(mark)),
    }
}

/// Marks that read a field; fields that are not here are read by all marks of rows.
const READERS: &[(&str, &[Mark])] = &[
    ("bins", &[Mark::Histogram, Mark::Scatter]),
    ("count", &[Mark::Bar, Mark::Ecdf, Mark::Histogram]),
    ("inset", &[Mark::Ecdf, Mark::Histogram]),
    ("marginal", &[Mark::Scatter]),
    ("highlight", &[Mark::Histogram]),
    ("error", &[Mark::Bar, Mark::Line]),
    ("correlation", &[Mark::Scatter]),
];

/// What a plot of no rows has no use for.
const OF_ROWS: &[&str] = &[
    "data",
    "where",
    "keep",
    "x",
    "y",
    "color",
    "facet",
    "over",
    "bins",
    "count",
    "range",
    "inset",
    "marginal",
    "highlight",
    "error",
    "correlation",
    "lines",
    "scale",
];

/// Fields that the mark does not read, and fields that it lacks. True when the mark can be drawn as far as this tells.
pub fn fields_of_the_mark(at: &At, mark: Mark, sink: &mut Sink) -> bool {
    if mark == Mark::Gradient {
        for field in OF_ROWS {
            if let Some(node) = at.fields.get(field) {
                sink.push(
                    misplaced(node.span, "a gradient draws the fields of two penalties, and no rows".to_string())
                        .help(format!("leave `{field}` out, or choose a mark of rows, such as `scatter`")),
                );
                return false;
            }
        }
        return true;
    }
    let missing: Vec<&str> =
        ["data", "x"].into_iter().filter(|f| at.fields.get(f).is_none() && at.fields.broken.is_empty()).collect();
    if !missing.is_empty() {
        sink.push(lacks(at, mark, &missing));
        return false;
    }
    for (field, marks) in READERS {
        if let Some(node) = at.fields.get(field)
            && !marks.contains(&mark)
        {
            sink.push(not_read(field, mark, marks, node.span));
        }
    }
    y(at, mark, sink);
    if let Some(bins) = at.fields.get("bins")
        && mark == Mark::Scatter
        && at.fields.get("marginal").is_none()
    {
        sink.push(
            misplaced(bins.span, "a scatter has bins in its margins only".to_string())
                .help("add `marginal = histogram`, or use `mark = histogram`"),
        );
    }
    if let Some(error) = at.fields.get("error")
        && mark == Mark::Bar
        && at.fields.get("y").is_none()
    {
        sink.push(
            misplaced(error.span, "a bar without y counts rows, and a count has no error".to_string())
                .help("write `y = ..` with the column that the error belongs to"),
        );
    }
    if let Some(node) = at.fields.get("count") {
        count(at, mark, node.span, sink);
    }
    if let (Some(inset), Some((low, high))) = (at.fields.get("inset"), bounds(at, "inset"))
        && low >= high
    {
        sink.push(empty_range(inset.span));
    }
    true
}

fn bounds(at: &At, field: &str) -> Option<(f64, f64)> {
    match at.fields.get(field)?.value {
        crate::lang::resolve::Typed::Bounds(low, high) => Some((low, high)),
        _ => None,
    }
}

fn count(at: &At, mark: Mark, span: Span, sink: &mut Sink) {
    match (mark, at.fields.word("count")) {
        (Mark::Bar, _) if at.fields.get("y").is_some() => sink.push(
            misplaced(span, "a bar with y shows the mean of y, and counts nothing".to_string())
                .help("leave out `count` or `y`"),
        ),
        (Mark::Bar | Mark::Ecdf, Some("density")) => sink.push(
            Diagnostic::new(Code::UnknownVariant, span, format!("{} has no density", with_article(mark)))
                .label("only of bins")
                .help("use `count = share` or `count = rows`; a histogram has densities"),
        ),
        _ => {}
    }
}

/// Marks with and without a vertical axis.
fn y(at: &At, mark: Mark, sink: &mut Sink) {
    let word = word(mark);
    let counts = match mark {
        Mark::Histogram | Mark::Ecdf => true,
        Mark::Scatter | Mark::Line | Mark::Heatmap => false,
        Mark::Bar | Mark::Gradient => return,
    };
    match at.fields.get("y") {
        Some(y) if counts => sink.push(
            misplaced(y.span, format!("{} has no y: it counts the rows of each x", with_article(mark)))
                .help("leave it out, or use `mark = scatter`"),
        ),
        None if !counts && at.fields.broken.is_empty() => sink.push(
            Diagnostic::new(Code::MissingField, at.span(), format!("the plot `{}` needs `y`", at.name()))
                .label(format!("a {word} of what over x?"))
                .help("write `y = ..` with a column, or use `mark = histogram`"),
        ),
        _ => {}
    }
}

/// Axes whose cells the mark cannot place; `true` for numbers, also of an axis.
pub fn axes(at: &At, mark: Mark, x: Option<&ReadX>, y: Option<&Read>, sink: &mut Sink) {
    if let Some(x) = x {
        let several = matches!(x.x, crate::lang::plan::spec::Horizontal::Several(_));
        let overlay = matches!(mark, Mark::Histogram | Mark::Ecdf);
        if several && !overlay {
            sink.push(
                Diagnostic::new(Code::WrongType, x.span, format!("{} has one column on x", with_article(mark)))
                    .label("several columns")
                    .help("columns are laid over one another in a histogram or an ecdf; here choose one"),
            );
        } else if several && let Some(color) = at.fields.get("color") {
            sink.push(
                misplaced(color.span, "the columns of x are the colours of this plot".to_string())
                    .help("leave out `color`, or draw one column; `facet = ..` gives a panel a value"),
            );
        } else if matches!(mark, Mark::Histogram | Mark::Ecdf | Mark::Line) && !x.numbers {
            sink.push(words_on_an_axis("x", mark, x.span));
        }
    }
    if let Some(y) = y
        && matches!(mark, Mark::Line | Mark::Bar)
        && !y.numbers
    {
        sink.push(words_on_an_axis("y", mark, y.span));
    }
}

/// `x = class` in a histogram.
fn words_on_an_axis(axis: &str, mark: Mark, span: Span) -> Diagnostic {
    let help = match (axis, mark) {
        ("x", Mark::Line) => "use `mark = bar`, or another column",
        ("x", _) => "use `mark = bar`, which counts the rows of each word",
        _ => "choose a column of numbers; without y a bar counts its rows",
    };
    Diagnostic::new(
        Code::WrongType,
        span,
        format!("`{axis}` of {} takes numbers, and this column holds none", with_article(mark)),
    )
    .label("not a column of numbers")
    .help(help)
}

/// Everything that is said about the axes of words, where nothing lies between two words.
pub fn of_numbers_only(
    mark: Mark,
    numbers: (bool, bool),
    ranges: Ranges,
    log: (Option<Span>, Option<Span>),
    lines: &[(LineAxis, LineAt, Span)],
    at: &At,
    sink: &mut Sink,
) {
    let words = |axis: LineAxis| match axis {
        LineAxis::X => mark == Mark::Bar || !numbers.0,
        LineAxis::Y => !numbers.1,
    };
    let name = |axis: LineAxis| if axis == LineAxis::X { "x" } else { "y" };
    let mut told: Vec<(&str, Span)> = Vec::new();
    let range = at.fields.get("range").map(|n| n.span);
    for (axis, found) in [(LineAxis::X, ranges.0), (LineAxis::Y, ranges.1)] {
        if let (Some(_), Some(span)) = (found, range.filter(|_| words(axis))) {
            told.push((name(axis), span));
        }
    }
    for (axis, found) in [(LineAxis::X, log.0), (LineAxis::Y, log.1)] {
        told.extend(found.filter(|_| words(axis)).map(|span| (name(axis), span)));
    }
    for (axis, _, span) in lines {
        if words(*axis) {
            told.push((name(*axis), *span));
        }
    }
    for field in ["marginal", "correlation"] {
        let axis = [LineAxis::X, LineAxis::Y].into_iter().find(|axis| words(*axis));
        if let (Mark::Scatter, Some(node), Some(axis)) = (mark, at.fields.get(field), axis) {
            told.push((name(axis), node.span));
        }
    }
    for (axis, span) in told {
        sink.push(
            misplaced(span, format!("{axis} is an axis of words here, with nothing between them"))
                .help("this needs a column of numbers on that axis"),
        );
    }
    for (axis, line, span) in lines {
        let drawn = match axis {
            LineAxis::X => matches!(mark, Mark::Histogram | Mark::Ecdf | Mark::Scatter),
            LineAxis::Y => mark == Mark::Scatter,
        };
        let word = match line {
            LineAt::Value(_) => continue,
            LineAt::Mean => "mean",
            LineAt::Median => "median",
        };
        if !drawn && !words(*axis) {
            sink.push(
                misplaced(*span, format!("{} does not say of which rows the {word} of {} is", with_article(mark), name(*axis)))
                    .help("means and medians stand on x of a histogram, ecdf or scatter, and on y of a scatter; elsewhere write a number"),
            );
        }
    }
    if let (Some(low), Some(span)) = (ranges.0.map(|r| r.0), range)
        && log.0.is_some()
        && low <= 0.0
    {
        sink.push(log_from_zero("x", span));
    } else if let (Some(low), Some(span)) = (ranges.1.map(|r| r.0), range)
        && log.1.is_some()
        && low <= 0.0
    {
        sink.push(log_from_zero("y", span));
    }
    if log.0.is_some()
        && let (Some(inset), Some((low, _))) = (at.fields.get("inset"), bounds(at, "inset"))
        && low <= 0.0
    {
        sink.push(log_from_zero("x", inset.span));
    }
}

/// The colour of a heatmap is a number, or true and false.
pub fn color(mark: Mark, color: Option<&Plain>, at: &At, sink: &mut Sink) {
    if let (Mark::Heatmap, Some(Plain { column, words: true }), Some(node)) = (mark, color, at.fields.get("color")) {
        let message = format!("the colour of a heatmap is a number, and `{}` holds words", column.column);
        sink.push(
            Diagnostic::new(Code::WrongType, node.span, message)
                .label("not a column of numbers")
                .help("leave it out to count rows, or draw one panel a word with `facet`"),
        );
    }
}

fn misplaced(span: Span, message: String) -> Diagnostic {
    Diagnostic::new(Code::MisplacedField, span, message).label("nothing reads this")
}

fn not_read(field: &str, mark: Mark, marks: &[Mark], span: Span) -> Diagnostic {
    let words: Vec<String> = marks.iter().map(|m| format!("`{}`", word(*m))).collect();
    let whose = join(&words, "and");
    misplaced(span, format!("{} has no `{field}`", with_article(mark)))
        .help(format!("`{field}` belongs to {whose}: choose such a mark, or leave it out"))
}

fn lacks(at: &At, mark: Mark, missing: &[&str]) -> Diagnostic {
    let names: Vec<String> = missing.iter().map(|m| format!("`{m}`")).collect();
    let lines: Vec<&str> = missing
        .iter()
        .map(|m| match *m {
            "data" => "`data = ..` with the steps whose rows are drawn",
            _ => "`x = ..` with a column of them",
        })
        .collect();
    Diagnostic::new(
        Code::MissingField,
        at.span(),
        format!("the plot `{}` needs {}: {} draws rows", at.name(), join(&names, "and"), with_article(mark)),
    )
    .label(format!("{} missing", join(&names, "and")))
    .help(format!("write {}", lines.join(", and ")))
}

/// What a plot draws on x and y, in colours and in panels.
pub type Drawn<'r> = (Option<&'r ReadX>, Option<&'r Read>, Option<&'r Plain>, Option<&'r ColumnRef>);

/// `over` an axis that the figure shows: each of its values stands alone there.
pub fn over(at: &At, over: &[String], (x, y, color, facet): Drawn<'_>, sink: &mut Sink) {
    let Some(node) = at.fields.get("over") else { return };
    let column = |quantity: &'_ Quantity| match quantity {
        Quantity::Column { column } => Some(column.column.clone()),
        _ => None,
    };
    let x = x.and_then(|read| match &read.x {
        Horizontal::One(quantity) => column(quantity),
        Horizontal::Several(_) => None,
    });
    let shown = [
        ("x", x),
        ("y", y.and_then(|read| column(&read.quantity))),
        ("color", color.map(|plain| plain.column.column.clone())),
        ("facet", facet.map(|column| column.column.clone())),
    ];
    for (field, column) in shown {
        let Some(axis) = column.filter(|column| over.contains(column)) else { continue };
        sink.push(
            Diagnostic::new(
                Code::SetTwice,
                node.span,
                format!("`{axis}` is the figure's `{field}`, so its values are drawn apart"),
            )
            .label("nothing to average over")
            .help(format!("take `{axis}` out of `{field}`, or leave `over` out")),
        );
    }
}

/// `inset = 0.9..0.9`.
pub fn empty_range(span: Span) -> Diagnostic {
    Diagnostic::new(Code::OutOfRange, span, "the range is empty")
        .label("from here to here")
        .help("the first number is smaller than the second, as in `0.9..1.0`")
}

fn log_from_zero(axis: &str, span: Span) -> Diagnostic {
    Diagnostic::new(Code::OutOfRange, span, format!("{axis} is logarithmic, and begins at or below 0"))
        .label("0 has no logarithm")
        .help("begin above 0, as in `1e-6..1`")
}

/// A label that is neither x nor y.
pub fn not_an_axis(field: &str, example: &str, span: Span) -> Diagnostic {
    Diagnostic::new(Code::UnknownArgument, span, format!("the entries of `{field}` belong to x or y"))
        .label("neither x nor y")
        .help(format!("write it as in `{field} = [{example}]`"))
}

/// `range = [x = 0..1, x = 0..2]`.
pub fn axis_twice(field: &str, span: Span, first: Span) -> Diagnostic {
    Diagnostic::new(Code::SetTwice, span, format!("`{field}` has this axis twice"))
        .label("set again")
        .related(first, "first set here")
        .help("keep one of the two")
}

/// `scale = [y = ln]`.
pub fn unknown_scale(word: &str, span: Span) -> Diagnostic {
    Diagnostic::new(Code::UnknownVariant, span, format!("there is no scale called `{word}`"))
        .label("unknown word")
        .help("a scale is `log` or `linear`")
}

/// `x = log(frequency)`.
pub fn unknown_quantity(word: &str, path: &str, span: Span) -> Diagnostic {
    let help = if word.starts_with("log") || word == "ln" {
        format!("for a logarithmic axis write `scale = [{path} = log]`")
    } else {
        "there are `abs(column)`, `largest(a, b)` and `rank(column)`; there is no other arithmetic, so that what a run does can be read off the file".to_string()
    };
    Diagnostic::new(Code::UnknownVariant, span, format!("`{path}` has no form called `{word}`"))
        .label("unknown form")
        .help(help)
}

/// `abs(a, b)`, `rank()`, `largest(a)`.
pub fn arguments_of_a_quantity(word: &str, span: Span) -> Diagnostic {
    let (takes, example) = match word {
        "largest" => {
            ("takes two or more columns, each plain or in `abs`", "largest(abs(nu_error), abs(nu_reconstruction))")
        }
        "rank" => ("takes one column, plain or in `descending`", "rank(descending(delta_norm))"),
        _ => ("takes one column", "abs(nu_error)"),
    };
    Diagnostic::new(Code::WrongType, span, format!("`{word}` {takes}"))
        .label("something else")
        .help(format!("write it as in `{example}`"))
}

/// `abs(of = nu_error)`.
pub fn labelled_argument(word: &str, span: Span) -> Diagnostic {
    Diagnostic::new(Code::UnknownArgument, span, format!("the columns of `{word}` have no names"))
        .label("nothing reads this")
        .help(format!("write `{word}(..)` with columns alone"))
}

/// `x = [nu_error]`.
pub fn few_columns(span: Span) -> Diagnostic {
    Diagnostic::new(Code::WrongType, span, "a list on x lays several columns over one another")
        .label("fewer than two")
        .help("write one column without brackets, or `[a, b]`")
}

/// `keep = top(100, by = nu_error)`.
pub fn unknown_keep(word: &str, span: Span) -> Diagnostic {
    Diagnostic::new(Code::UnknownVariant, span, format!("`keep` has no form called `{word}`"))
        .label("unknown form")
        .help("write `lowest(100, by = nu_error)` or `highest(100, by = nu_error)`")
}

/// A third argument.
pub fn argument_of_keep(word: &str, span: Span) -> Diagnostic {
    Diagnostic::new(Code::UnknownArgument, span, format!("`{word}` takes a count, and `by` with a column"))
        .label("nothing reads this")
        .help(format!("write `{word}(100, by = nu_error)`"))
}

/// `lowest(100)`.
pub fn keep_lacks(word: &str, span: Span) -> Diagnostic {
    Diagnostic::new(Code::MissingField, span, format!("`{word}` needs a count, and `by` with a column"))
        .label("how many, by what?")
        .help(format!("write `{word}(100, by = nu_error)`"))
}
