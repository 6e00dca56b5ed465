//! `plot`: what is drawn of which rows, and how.

use crate::lang::check::plots as check;
use crate::lang::plan::draft::{At, Draft};
use crate::lang::plan::spec::{Correlation, Count, FIGURE_ENDINGS, Mark, PlotSpec, PlotWidth, Spec};
use crate::lang::resolve::query::Question;
use crate::lang::resolve::{Sink, Typed};

use super::questions::{reader, rows, save};

pub fn plot(at: &At, draft: &mut Draft, sink: &mut Sink) -> Option<Spec> {
    // An unknown mark is told already; what else is wrong with the rows is told too.
    let mark = mark(at);
    let drawable = mark.is_some_and(|mark| check::fields_of_the_mark(at, mark, sink));
    let width = if at.fields.word("width") == Some("column") { PlotWidth::Column } else { PlotWidth::Page };
    if mark == Some(Mark::Gradient) {
        let save = save(at, None, FIGURE_ENDINGS, sink)?;
        return drawable.then(|| Spec::Plot(PlotSpec { save, width, ..empty(Mark::Gradient) }));
    }
    let rows = rows(at, "data", "data", draft)?;
    let mut reader = reader(at, sink);
    let mut question = Question { reader: &mut reader, resolution: at.resolution, rows };
    let filter = question.conditions(at.fields, "where");
    let keep = question.keep(at.fields);
    let x = question.x(at.fields);
    let y = question.y(at.fields);
    let color = question.plain_column(at.fields, "color");
    let facet = question.plain_column(at.fields, "facet").map(|c| c.column);
    let over = question.over(at.fields, &[]);
    let (range_x, range_y) = question.ranges(at.fields);
    let highlight = question.conditions(at.fields, "highlight");
    let error = question.error_bar(at.fields);
    let lines = question.lines(at.fields);
    let log = question.scale(at.fields);
    let data = question.names();
    if let Some(mark) = mark {
        check::axes(at, mark, x.as_ref(), y.as_ref(), sink);
        let numbers = (x.as_ref().is_none_or(|x| x.numbers), y.as_ref().is_none_or(|y| y.numbers));
        check::of_numbers_only(mark, numbers, (range_x, range_y), log, &lines, at, sink);
        check::color(mark, color.as_ref(), at, sink);
        check::over(at, &over, (x.as_ref(), y.as_ref(), color.as_ref(), facet.as_ref()), sink);
    }
    let save = save(at, None, FIGURE_ENDINGS, sink)?;
    let whole = at.fields.broken.is_empty() && at.fields.get("keep").is_some() == keep.is_some();
    (drawable && whole).then_some(())?;
    Some(Spec::Plot(PlotSpec {
        data,
        filter,
        keep,
        x: Some(x?.x),
        y: y.map(|y| y.quantity),
        color: color.map(|c| c.column),
        facet,
        over,
        bins: at.fields.whole("bins"),
        count: count(at),
        range_x,
        range_y,
        inset: bounds(at, "inset"),
        marginal: at.fields.get("marginal").is_some(),
        highlight,
        error,
        correlation: correlation(at),
        lines: lines.into_iter().map(|(axis, line, _)| (axis, line)).collect(),
        log_x: log.0.is_some(),
        log_y: log.1.is_some(),
        width,
        save,
        mark: mark?,
    }))
}

fn empty(mark: Mark) -> PlotSpec {
    PlotSpec {
        data: Vec::new(),
        filter: Vec::new(),
        keep: None,
        mark,
        x: None,
        y: None,
        color: None,
        facet: None,
        over: Vec::new(),
        bins: None,
        count: None,
        range_x: None,
        range_y: None,
        inset: None,
        marginal: false,
        highlight: Vec::new(),
        error: None,
        correlation: None,
        lines: Vec::new(),
        log_x: false,
        log_y: false,
        width: PlotWidth::Page,
        save: String::new(),
    }
}

fn mark(at: &At) -> Option<Mark> {
    match at.fields.word("mark")? {
        "histogram" => Some(Mark::Histogram),
        "scatter" => Some(Mark::Scatter),
        "line" => Some(Mark::Line),
        "bar" => Some(Mark::Bar),
        "ecdf" => Some(Mark::Ecdf),
        "heatmap" => Some(Mark::Heatmap),
        "gradient" => Some(Mark::Gradient),
        _ => None,
    }
}

fn count(at: &At) -> Option<Count> {
    match at.fields.word("count")? {
        "share" => Some(Count::Share),
        "density" => Some(Count::Density),
        _ => Some(Count::Rows),
    }
}

fn correlation(at: &At) -> Option<Correlation> {
    match at.fields.word("correlation")? {
        "spearman" => Some(Correlation::Spearman),
        _ => Some(Correlation::Pearson),
    }
}

fn bounds(at: &At, field: &str) -> Option<(f64, f64)> {
    match at.fields.get(field)?.value {
        Typed::Bounds(low, high) => Some((low, high)),
        _ => None,
    }
}
