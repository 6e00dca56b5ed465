//! Columns, conditions and aggregates that do not fit.

use crate::lang::diagnostic::{Code, Diagnostic, suggest};
use crate::lang::schema::{article, join};
use crate::lang::source::Span;
use crate::lang::syntax::tree::Operator;

fn quoted<S: AsRef<str>>(words: &[S]) -> Vec<String> {
    words.iter().map(|w| format!("`{}`", w.as_ref())).collect()
}

/// `nu_eror`.
pub fn unknown_column(
    column: &str,
    steps: &[String],
    known: &[String],
    elsewhere: Option<String>,
    span: Span,
) -> Diagnostic {
    let help = match (suggest(column, known), elsewhere) {
        (Some(near), _) => format!("did you mean `{near}`?"),
        (None, Some(owner)) => format!("`{owner}` has such a column: name it among the rows to join it"),
        (None, None) => format!("there are {}", known.join(", ")),
    };
    let verb = if steps.len() == 1 { "has" } else { "have" };
    Diagnostic::new(
        Code::UnknownColumn,
        span,
        format!("{} {verb} no column called `{column}`", join(&quoted(steps), "and")),
    )
    .label("unknown column")
    .help(help)
}

/// A column of a step that is not among the rows.
pub fn step_not_asked(name: &str, steps: &[String], span: Span) -> Diagnostic {
    let mut all: Vec<&str> = steps.iter().map(String::as_str).collect();
    all.push(name);
    Diagnostic::new(Code::UnknownColumn, span, format!("`{name}` is not among the rows here"))
        .label("a column of another step")
        .help(format!("to join it write `[{}]`", all.join(", ")))
}

/// Something else where a column belongs.
pub fn not_a_column(span: Span) -> Diagnostic {
    Diagnostic::new(Code::WrongType, span, "a column is named by its word")
        .label("not a column")
        .help("write it as in `delta_norm` or `classes.delta_norm`")
}

/// A column of words or truths where a number belongs.
pub fn not_a_number(column: &str, what: &str, span: Span) -> Diagnostic {
    Diagnostic::new(Code::WrongType, span, format!("{what} takes numbers, and `{column}` holds words"))
        .label("not a column of numbers")
        .help(format!("count its rows instead, as in `share({column} == ..)`, or take another column"))
}

/// Something else where a condition belongs.
pub fn not_a_condition(span: Span) -> Diagnostic {
    Diagnostic::new(Code::WrongType, span, "a condition compares a column with a constant")
        .label("not a comparison")
        .help("write it as in `nu_error < 0.2`, `class == tuned_only` or `dead == false`")
}

/// `log(x) < 2`.
pub fn function_in_condition(name: &str, span: Span) -> Diagnostic {
    Diagnostic::new(Code::UnknownVariant, span, format!("a condition has no function called `{name}`"))
        .label("a function")
        .help("a condition compares a column, or `abs(column)`, with a constant; there is no arithmetic, so that what a run does can be read off the file")
}

/// `class < shared`.
pub fn no_order(column: &str, operator: Operator, span: Span) -> Diagnostic {
    Diagnostic::new(Code::WrongType, span, format!("`{column}` holds words, which have no order"))
        .label(format!("`{}` needs numbers", operator.symbol()))
        .help("compare with `==` or `!=`")
}

/// `class == tuned_onyl`.
pub fn unknown_word(column: &str, word: &str, words: &[&str], span: Span) -> Diagnostic {
    let help = match suggest(word, words) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("`{column}` is {}", join(&quoted(words), "or")),
    };
    Diagnostic::new(Code::UnknownVariant, span, format!("`{column}` is never `{word}`"))
        .label("unknown word")
        .help(help)
}

/// `loss == l2`.
pub fn unknown_axis_value(label: &str, value: &str, names: &[&str], span: Span) -> Diagnostic {
    let help = match suggest(value, names) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("the values of `{label}` are {}", join(&quoted(names), "and")),
    };
    Diagnostic::new(Code::UnknownPoint, span, format!("no point has {label} = {value}"))
        .label("no such value on this axis")
        .help(help)
}

/// `nu_error < small`.
pub fn number_wanted(column: &str, span: Span) -> Diagnostic {
    Diagnostic::new(Code::WrongType, span, format!("`{column}` is compared with a number"))
        .label("not a number")
        .help(format!("write it as in `{column} < 0.2`; two columns cannot be compared in a condition"))
}

/// `total(x)`.
pub fn unknown_aggregate(word: &str, words: &[&str], span: Span) -> Diagnostic {
    let help = match suggest(word, words) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!(
            "the aggregates are {}; there is no other arithmetic, so that what a run does can be read off the file",
            words.join(" ")
        ),
    };
    Diagnostic::new(Code::UnknownVariant, span, format!("there is no aggregate called `{word}`"))
        .label("unknown aggregate")
        .help(help)
}

/// A second argument, or one with a name that nothing reads.
pub fn too_many_arguments(word: &str, span: Span) -> Diagnostic {
    Diagnostic::new(Code::UnknownArgument, span, format!("`{word}` takes one column or condition"))
        .label("nothing reads this")
        .help("in an expectation `where = ..` may follow, to keep some rows only, and `over = ..`, for the mean over an axis")
}

/// `share(nu_error)`.
pub fn condition_wanted(word: &str, span: Span) -> Diagnostic {
    Diagnostic::new(Code::WrongType, span, format!("`{word}` counts the rows that meet a condition"))
        .label("not a condition")
        .help(format!("write it as in `{word}(class == tuned_only)`; in an expectation with the step, `{word}(classes.class == tuned_only)`"))
}

/// `mean()`.
pub fn column_wanted(word: &str, span: Span) -> Diagnostic {
    Diagnostic::new(Code::WrongType, span, format!("`{word}` reduces a column of numbers"))
        .label("no column")
        .help(format!("write it as in `{word}(nu_error)`; in an expectation with the step, `{word}(nu.nu_error)`"))
}

/// A plain column in a grouped table.
pub fn not_grouped(column: &str, span: Span) -> Diagnostic {
    Diagnostic::new(Code::WrongType, span, format!("`{column}` has many values in a group"))
        .label("not in `group`")
        .help(format!("add it to `group`, or reduce it: `mean({column})`"))
}

/// `sort = [mean(x)]` without such a column.
pub fn sort_by_call(name: &str, text: &str, span: Span) -> Diagnostic {
    Diagnostic::new(Code::UnknownColumn, span, format!("the table has no column `{text}`"))
        .label("not a column of this table")
        .help(format!("sort by `descending(column)`, or add `{name}(..)` to `columns`"))
}

/// Sorting a grouped table by a column that the groups have lost.
pub fn sort_by_lost(column: &str, span: Span) -> Diagnostic {
    Diagnostic::new(Code::UnknownColumn, span, format!("a grouped table has no column `{column}` left to sort by"))
        .label("lost in the groups")
        .help(format!("sort by a column that is shown, such as `mean({column})` when `columns` holds it"))
}

/// `over = class`.
pub fn not_an_axis(word: &str, axes: &[String], span: Span) -> Diagnostic {
    let help = match (suggest(word, axes), axes) {
        (Some(near), _) => format!("did you mean `{near}`?"),
        (None, []) => "sweep the crosscoder, `crosscoder .. for train.seed in 0..3`, and name that axis".to_string(),
        (None, axes) => format!("the axes that are open here are {}", join(&quoted(axes), "and")),
    };
    Diagnostic::new(
        Code::UnknownColumn,
        span,
        format!("`over` takes the axes of a sweep, and `{word}` is none that is open here"),
    )
    .label("not an open axis")
    .help(help)
}

/// `group = train.seed` and `over = train.seed`.
pub fn grouped_and_over(axis: &str, span: Span) -> Diagnostic {
    Diagnostic::new(Code::SetTwice, span, format!("`{axis}` is in `group`, so there is one value of it in each row"))
        .label("nothing to average over")
        .help(format!("take `{axis}` out of `group` and `columns`, or leave `over` out"))
}

/// `over` an axis with one value.
pub fn one_value(axis: &str, span: Span) -> Diagnostic {
    Diagnostic::new(Code::OutOfRange, span, format!("`{axis}` has one value here, and one value has no interval"))
        .label("one value")
        .help(format!("train several, as in `for {axis} in 0..3`, or leave `over` out"))
}

/// `over` on one side only.
pub fn one_side_over(axes: &str, span: Span) -> Diagnostic {
    Diagnostic::new(
        Code::ComparesDifferentPoints,
        span,
        "both sides of a paired comparison are taken over the same axes",
    )
    .label("the other side is not")
    .help(format!("write `over = {axes}` in the aggregates of both sides, or compare with a number"))
}

/// `==` between means.
pub fn no_interval_of_equality(operator: Operator, span: Span) -> Diagnostic {
    Diagnostic::new(Code::WrongType, span, "an interval can show that one side is larger, never that both are equal")
        .label(format!("`{}` between means over an axis", operator.symbol()))
        .help("use `<`, `<=`, `>` or `>=`, or leave `over` out to compare the numbers as they are")
}

/// A header that a table over axes adds by itself.
pub fn header_taken(name: &str, span: Span) -> Diagnostic {
    Diagnostic::new(Code::DefinedTwice, span, format!("two columns are called `{name}`"))
        .label("a table with `over` adds a column of this name")
        .help("give this one another header: `[other = ..]`")
}

/// A unit in an expectation.
pub fn unit_in_expectation(span: Span) -> Diagnostic {
    Diagnostic::new(Code::WrongUnit, span, "a side of an expectation is a plain number, a share or a column")
        .label("wrong unit")
        .help("write `0.95` or `95%`")
}

/// Something else where an operand belongs.
pub fn not_an_operand(span: Span) -> Diagnostic {
    Diagnostic::new(Code::WrongType, span, "an expectation compares numbers and columns")
        .label("neither")
        .help("a side is a number, `name[axis = value].column`, or an aggregate such as `mean(name.column)`")
}

/// `expect x = classes > 3`.
pub fn which_column(name: &str, columns: &[&str], span: Span) -> Diagnostic {
    Diagnostic::new(Code::UnknownColumn, span, format!("which column of `{name}`?"))
        .label("a whole step")
        .help(format!("its columns are {}", columns.join(", ")))
}

/// A step without rows.
pub fn no_rows(name: &str, kind: &str, span: Span, place: Span) -> Diagnostic {
    Diagnostic::new(Code::WrongKind, span, format!("`{name}` has no columns: it is {} {kind}", article(kind)))
        .label("no columns")
        .related(place, "declared here")
        .help("columns come from crosscoder, classify, scaling, quality, recover and synthetic pairs")
}

/// Sides over different points.
pub fn compares_different_points(
    left: &[String],
    right: &[String],
    span: Span,
    left_span: Span,
    right_span: Span,
) -> Diagnostic {
    let words = |labels: &[String]| {
        if labels.is_empty() { "one point".to_string() } else { format!("a value for each {}", labels.join(" and ")) }
    };
    let extra: Vec<&String> =
        left.iter().filter(|l| !right.contains(l)).chain(right.iter().filter(|r| !left.contains(r))).collect();
    let axis = extra.first().map_or("loss", |l| l.as_str());
    Diagnostic::new(Code::ComparesDifferentPoints, span, "the two sides are about different points")
        .label("which point with which?")
        .related(left_span, words(left))
        .related(right_span, words(right))
        .help(format!("fix the axis, as in `[{axis} = ..]`, or reduce over it, as in `mean(..)`"))
}
