//! `plot`: rows of steps, filtered, as a figure.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::exec::Result;
use crate::exec::frames::{self, Results};
use crate::exec::store::write_whole;
use crate::exec::wiring::inputs;
use crate::lang::plan::spec::{self, ColumnRef, Horizontal, LineAt, LineAxis, PairSpec, PlotSpec, Quantity, Series};
use crate::lang::plan::{Input, Plan, Spec, Step, StepIndex};
use crate::lang::syntax::tree::Operator;
use crate::out::plot::{
    At, Correlation, Count, Dress, ErrorBar, Figure, Labels, Line, Mark, Over, Side, Width, derived,
};
use crate::out::{Column, Frame, frame};

/// Names that no column of the language has.
const X: &str = "=x";
const Y: &str = "=y";
const SERIES: &str = "=series";
const HIGHLIGHT: &str = "=highlight";
const OVER: &str = "=over";

/// Writes the figure's files below `out`; returns their paths and the SVG for the report.
///
/// # Errors
/// When rows cannot be read, the figure cannot be drawn, or a file cannot be written.
pub fn write(results: &Results<'_>, step: &Step, spec: &PlotSpec, out: &Path) -> Result<(Vec<PathBuf>, String)> {
    let (figure, frame) = drawn(results, step, spec)?;
    let mut paths = Vec::new();
    for name in spec.files() {
        let path = out.join("plots").join(&name);
        let bytes = match name.ends_with(".png") {
            true => figure.png(&frame)?,
            false => figure.svg(&frame, Dress::Alone)?.into_bytes(),
        };
        write_whole(&path, &bytes)?;
        paths.push(path);
    }
    Ok((paths, figure.svg(&frame, Dress::Inline)?))
}

/// The figure and its rows: filtered, with the columns that the axes ask for; ranks are taken before `keep`.
fn drawn(results: &Results<'_>, step: &Step, spec: &PlotSpec) -> Result<(Figure, Frame)> {
    let labels = labels(results.plan, step);
    let (title, caption) = title_and_caption(step);
    let mut figure = Figure {
        title: for_readers(&title, &labels),
        caption: for_readers(&caption, &labels),
        width: match spec.width {
            spec::PlotWidth::Page => Width::Page,
            spec::PlotWidth::Column => Width::Column,
        },
        labels,
        ..Figure::new(step.address.name.replace('.', "-"), mark(spec.mark), X)
    };
    let Some(x) = &spec.x else { return Ok((figure, Frame::new())) };
    name_the_metric(results.plan, step, spec, &mut figure.labels);
    name_the_measure(results.plan, step, spec, &mut figure.labels);
    if spec.data.iter().any(|name| name.ends_with(".log")) {
        figure.labels.set_column("dead", derived::plain("dead latents"));
    }
    let counted = |input: &Input| matches!(results.plan.steps[input.step.0].spec, Spec::Tokens(_) | Spec::Classify(_));
    if chosen(spec, "group").is_some() && step.inputs.iter().all(counted) {
        figure.labels.rows = "latents".to_string();
    }
    let data = inputs(step, "data");
    let all = frames::joined(results, &spec.data, &data)?;
    let conditions: Vec<_> = spec.filter.iter().map(|c| frames::condition(&all, c)).collect();
    let mut frame = all.filter(&conditions)?;
    let points = axes(results.plan, &data, &frame);
    style(&mut figure, spec, &frame);
    over(&mut figure, spec, &runs_made(results, spec, &data)?, &mut frame)?;

    if !spec.highlight.is_empty() {
        let conditions: Vec<_> = spec.highlight.iter().map(|c| frames::condition(&frame, c)).collect();
        let mut holds = vec![true; frame.rows()];
        for condition in &conditions {
            holds.iter_mut().zip(condition.test(&frame)?).for_each(|(all, one)| *all &= one);
        }
        frame.push(HIGHLIGHT, Column::truth(holds))?;
        let said: Vec<String> = spec.highlight.iter().map(|c| said(c, &figure.labels, &frame)).collect();
        figure.labels.set_column(HIGHLIGHT, derived::plain(&said.join(" and ")));
        figure.highlight = Some(HIGHLIGHT.to_string());
    }
    if let Some(y) = &spec.y {
        figure.y = Some(axis(&mut frame, &mut figure.labels, y, Y, &points)?);
    }
    let mut laid: Vec<(String, String)> = Vec::new();
    match x {
        Horizontal::One(x) => figure.x = axis(&mut frame, &mut figure.labels, x, X, &points)?,
        Horizontal::Several(series) => {
            for (i, one) in series.iter().enumerate() {
                let cells = cells(&frame, &one.quantity, &points)?;
                frame.push(format!("{X}{i}"), Column::Real(cells))?;
                laid.push((one.label.clone(), format!("{X}{i}")));
            }
            overlay(&mut figure, series, &frame);
        }
    }
    if let Some(keep) = &spec.keep {
        let by = frames::name_of(&frame, &keep.by);
        let count = usize::try_from(keep.count).unwrap_or(usize::MAX);
        frame = frame.take(&frame.extremes(&by, count, keep.highest, &points)?);
    }
    if !laid.is_empty() {
        let columns: Result<Vec<_>> =
            laid.into_iter().map(|(label, name)| Ok((label, frame.numbers(&name)?))).collect();
        frame = frame.stacked(&columns?, X, SERIES)?;
    }
    figure.remark = together(&figure, &frame, &points, &spec.over);
    Ok((figure, frame))
}

/// The points that were measured and that `where` leaves, with their axes.
fn runs_made(results: &Results<'_>, spec: &PlotSpec, data: &[StepIndex]) -> Result<Frame> {
    let points = frames::points(results, &spec.data, data)?;
    let of_axes = |condition: &&spec::Condition| condition.column.step.is_none();
    let conditions: Vec<_> = spec.filter.iter().filter(of_axes).map(|c| frames::condition(&points, c)).collect();
    Ok(points.filter(&conditions)?)
}

/// Cells of several columns as one key.
fn keys(frame: &Frame, columns: &[&str]) -> Vec<String> {
    let key = |row: usize| columns.iter().map(|name| frame.cell(row, name).to_string()).collect::<Vec<_>>().join(", ");
    (0..frame.rows()).map(key).collect()
}

/// The runs that the figure averages over; one run alone has nothing to average.
fn over(figure: &mut Figure, spec: &PlotSpec, made: &Frame, frame: &mut Frame) -> Result<()> {
    let axes: Vec<&str> = spec.over.iter().map(String::as_str).filter(|axis| made.get(axis).is_some()).collect();
    let count = keys(made, &axes).into_iter().collect::<BTreeSet<_>>().len();
    if axes.is_empty() || count < 2 {
        return Ok(());
    }
    frame.push(OVER, Column::text(keys(frame, &axes)))?;
    figure.over = Some(Over { column: OVER.to_string(), label: plural(&axes), count });
    Ok(())
}

/// Several values of axes: `seeds`.
fn plural(axes: &[&str]) -> String {
    match axes {
        [axis] if axis.rsplit('.').next() == Some("seed") => "seeds".to_string(),
        _ => format!("values of {}", axes.join(" and ")),
    }
}

/// Axes of whose values the figure shows neither one nor each: `3 seeds together`.
fn together(figure: &Figure, frame: &Frame, points: &[String], over: &[String]) -> Option<String> {
    let fields = [Some(&figure.x), figure.y.as_ref(), figure.color.as_ref(), figure.facet.as_ref()];
    let drawn = |axis: &&String| fields.iter().flatten().any(|field| field == axis) || over.contains(axis);
    let shown: Vec<&str> = points.iter().filter(drawn).map(String::as_str).collect();
    let different = |columns: &[&str]| keys(frame, columns).into_iter().collect::<BTreeSet<_>>().len();
    let apart = different(&shown);
    let said = points.iter().filter(|axis| !drawn(axis)).filter_map(|axis| {
        let with_it: Vec<&str> = shown.iter().copied().chain([axis.as_str()]).collect();
        let count = different(&[axis]);
        (different(&with_it) > apart).then(|| format!("{count} {} together", plural(&[axis])))
    });
    let said = said.collect::<Vec<_>>().join(", ");
    (!said.is_empty()).then_some(said)
}

/// The value that `where` asks of a column of words.
fn chosen<'s>(spec: &'s PlotSpec, column: &str) -> Option<&'s str> {
    spec.filter.iter().find_map(|c| match &c.value {
        spec::Constant::Word(word) if c.column.column == column && c.operator == Operator::Equal => Some(word.as_str()),
        _ => None,
    })
}

/// The mean of `layers` is called by the measure, where `where` leaves one.
fn name_the_measure(plan: &Plan, step: &Step, spec: &PlotSpec, labels: &mut Labels) {
    let of_layers = step.inputs.iter().any(|input| matches!(plan.steps[input.step.0].spec, Spec::Layers(_)));
    let Some(measure) = chosen(spec, "measure").filter(|_| of_layers) else { return };
    let (base, tuned) = (labels.value("base"), labels.value("tuned"));
    let (name, unit) = match measure {
        "kl" => (format!("KL to the {tuned} model"), "nats per token"),
        "difference" => (format!("distance of {tuned} from {base}"), "norm of the difference"),
        "relative" => (format!("distance of {tuned} from {base}, relative to {base}"), ""),
        "cosine" => (format!("cosine of {base} and {tuned}"), ""),
        "norm_base" => (format!("norm of {base}"), ""),
        _ => (format!("norm of {tuned}"), ""),
    };
    labels.set_column("mean", derived::plain(&name).unit(unit));
}

/// The mean of a patch is called by the metric, where `where` or the patch leaves one.
fn name_the_metric(plan: &Plan, step: &Step, spec: &PlotSpec, labels: &mut Labels) {
    let patches = step.inputs.iter().filter_map(|input| match &plan.steps[input.step.0].spec {
        Spec::Patch(patch) => Some(patch),
        _ => None,
    });
    let chosen = chosen(spec, "metric");
    let mut names: Vec<(String, &str)> = Vec::new();
    for patch in patches {
        let finish = match patch.finish {
            spec::Role::Base => labels.value("base"),
            spec::Role::Tuned => labels.value("tuned"),
        };
        for metric in &patch.metrics {
            let (word, name, unit) = match metric {
                spec::Metric::Kl => ("kl", format!("KL to the {finish} model"), "nats per token"),
                spec::Metric::KlBase => ("kl_base", "KL to the base model".to_string(), "nats per token"),
                spec::Metric::KlTuned => {
                    ("kl_tuned", format!("KL to the {} model", labels.value("tuned")), "nats per token")
                }
                spec::Metric::Loss => ("loss", "cross entropy".to_string(), "nats per token"),
                spec::Metric::LossArgmax => {
                    ("loss_argmax", "cross entropy of the likeliest".to_string(), "nats per token")
                }
                spec::Metric::Agreement => ("agreement", "agreement".to_string(), "share of tokens"),
            };
            if chosen.is_none_or(|chosen| chosen == word) && !names.contains(&(name.clone(), unit)) {
                names.push((name, unit));
            }
        }
    }
    if let [(name, unit)] = names.as_slice() {
        labels.set_column("mean", derived::plain(name).unit(*unit));
    }
}

/// Several columns on x are the colours of the figure.
fn overlay(figure: &mut Figure, series: &[Series], frame: &Frame) {
    let names: Vec<String> = series.iter().map(|s| style_of(frame, &figure.labels, &s.quantity).label).collect();
    for one in series {
        if !figure.labels.values.contains_key(&one.label) {
            let shown = figure.labels.column(&one.label).label;
            figure.labels.set_value(one.label.clone(), shown);
        }
    }
    figure.labels.set_column(X, derived::overlaid(&names));
    figure.labels.set_column(SERIES, derived::plain("column"));
    figure.color = Some(SERIES.to_string());
}

/// What needs no new columns.
fn style(figure: &mut Figure, spec: &PlotSpec, frame: &Frame) {
    let name = |column: &ColumnRef| frames::name_of(frame, column);
    figure.color = spec.color.as_ref().map(name);
    figure.facet = spec.facet.as_ref().map(name);
    figure.bins = spec.bins.map(|n| usize::try_from(n).unwrap_or(usize::MAX));
    figure.count = spec.count.map(|count| match count {
        spec::Count::Rows => Count::Rows,
        spec::Count::Share => Count::Share,
        spec::Count::Density => Count::Density,
    });
    (figure.range_x, figure.range_y, figure.inset) = (spec.range_x, spec.range_y, spec.inset);
    figure.marginal = spec.marginal;
    figure.error = spec.error.as_ref().map(|error| match error {
        spec::ErrorBar::Half { column } => ErrorBar::Half(name(column)),
        spec::ErrorBar::Ends { low, high } => ErrorBar::Ends(name(low), name(high)),
        spec::ErrorBar::Interval => ErrorBar::Interval,
    });
    figure.correlation = spec.correlation.map(|correlation| match correlation {
        spec::Correlation::Pearson => Correlation::Pearson,
        spec::Correlation::Spearman => Correlation::Spearman,
    });
    figure.lines = spec.lines.iter().map(line).collect();
    (figure.log_x, figure.log_y) = (spec.log_x, spec.log_y);
}

fn line((axis, at): &(LineAxis, LineAt)) -> Line {
    Line {
        side: match axis {
            LineAxis::X => Side::X,
            LineAxis::Y => Side::Y,
        },
        at: match at {
            LineAt::Value(value) => At::Value(*value),
            LineAt::Mean => At::Mean,
            LineAt::Median => At::Median,
        },
        label: None,
    }
}

/// A condition for readers.
fn said(condition: &spec::Condition, labels: &Labels, frame: &Frame) -> String {
    let column = labels.column(&frames::name_of(frame, &condition.column)).label;
    let column = if condition.absolute { format!("|{column}|") } else { column };
    let value = match &condition.value {
        spec::Constant::Number(number) => crate::out::number::short(*number).replace('-', "−"),
        spec::Constant::Truth(truth) => truth.to_string(),
        spec::Constant::Word(word) => labels.value(word),
    };
    let sign = match condition.operator.symbol() {
        "==" => "=",
        "!=" => "≠",
        "<=" => "≤",
        ">=" => "≥",
        sign => sign,
    };
    format!("{column} {sign} {value}")
}

/// The axes that tell one point of the rows from another.
fn axes(plan: &Plan, data: &[StepIndex], frame: &Frame) -> Vec<String> {
    let mut axes: Vec<String> = Vec::new();
    for (axis, _) in data.iter().flat_map(|index| &plan.steps[index.0].address.point) {
        if !axes.contains(axis) && frame.get(axis).is_some() {
            axes.push(axis.clone());
        }
    }
    axes
}

/// The name of the column that an axis shows; a derived one is added to the frame as `name`.
fn axis(frame: &mut Frame, labels: &mut Labels, quantity: &Quantity, name: &str, points: &[String]) -> Result<String> {
    if let Quantity::Column { column } = quantity {
        return Ok(frames::name_of(frame, column));
    }
    labels.set_column(name, style_of(frame, labels, quantity));
    let cells = cells(frame, quantity, points)?;
    frame.push(name, Column::Real(cells))?;
    Ok(name.to_string())
}

fn cells(frame: &Frame, quantity: &Quantity, points: &[String]) -> Result<Vec<Option<f64>>> {
    let name = |column: &ColumnRef| frames::name_of(frame, column);
    Ok(match quantity {
        Quantity::Column { column } => frame.numbers(&name(column))?,
        Quantity::Absolute { column } => {
            frame.numbers(&name(column))?.into_iter().map(|cell| cell.map(f64::abs)).collect()
        }
        Quantity::Largest { of } => {
            let columns: Result<Vec<_>> = of.iter().map(|one| cells(frame, one, points)).collect();
            frame::largest(&columns?)?
        }
        Quantity::Rank { column, descending } => frame.rank(&name(column), *descending, points)?,
    })
}

fn style_of(frame: &Frame, labels: &Labels, quantity: &Quantity) -> crate::out::plot::ColumnStyle {
    let style = |column: &ColumnRef| labels.column(&frames::name_of(frame, column));
    match quantity {
        Quantity::Column { column } => style(column),
        Quantity::Absolute { column } => derived::absolute(style(column)),
        Quantity::Largest { of } => {
            let parts: Vec<_> = of.iter().map(|one| style_of(frame, labels, one)).collect();
            derived::largest(&parts)
        }
        Quantity::Rank { column, descending } => derived::rank(&style(column), *descending),
    }
}

/// Words of the language as the axes and the legend have them: `tuned-only` is `chat-only`, `nu_error` is `ν error`.
pub fn for_readers(text: &str, labels: &Labels) -> String {
    let word = labels.value("tuned_only").replace(' ', "-");
    let capital: String = word.chars().take(1).flat_map(char::to_uppercase).chain(word.chars().skip(1)).collect();
    let text = text.replace("tuned-only", &word).replace("Tuned-only", &capital);
    let columns = ["nu_activation", "nu_error", "nu_reconstruction", "delta_norm"];
    columns.iter().fold(text, |text, name| text.replace(name, &labels.column(name).label))
}

/// The first sentence of the doc comment, and the rest of it; without one, the name in words.
pub fn title_and_caption(step: &Step) -> (String, String) {
    match step.docs.as_deref().map(str::trim).filter(|docs| !docs.is_empty()) {
        Some(docs) => first_sentence(docs),
        None => (step.address.name.replace('_', " "), String::new()),
    }
}

/// A text on one line, parted after its first sentence; the title loses its full stop and keeps a question mark.
pub fn first_sentence(text: &str) -> (String, String) {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let end = [". ", "? ", "! "].iter().filter_map(|mark| text.find(mark)).min();
    let (title, rest) = end.map_or((text.as_str(), ""), |end| (&text[..end + 1], &text[end + 2..]));
    (title.trim_end_matches('.').to_string(), rest.to_string())
}

/// Names for readers; the tuned model is called by the label of the pair behind the rows.
pub fn labels(plan: &Plan, step: &Step) -> Labels {
    let mut labels = Labels::standard();
    let word = step.inputs.iter().find_map(|input| pair_label(plan, input.step)).unwrap_or_else(|| "tuned".to_string());
    let all = |of: fn(&Spec) -> bool| step.inputs.iter().all(|input| of(&plan.steps[input.step.0].spec));
    if all(|spec| matches!(spec, Spec::Classify(_) | Spec::Scaling(_) | Spec::Autointerp(_) | Spec::Compare(_))) {
        labels.rows = "latents".to_string();
    } else if all(|spec| matches!(spec, Spec::Twins(_))) {
        labels.rows = "pairs".to_string();
    } else if all(|spec| matches!(spec, Spec::Layers(_))) {
        labels.rows = "means".to_string();
    }
    labels.values.insert("tuned_only".to_string(), format!("{word} only"));
    labels.values.insert("tuned".to_string(), word);
    labels
}

fn pair_label(plan: &Plan, index: StepIndex) -> Option<String> {
    let step = &plan.steps[index.0];
    match &step.spec {
        Spec::Pair(PairSpec::Models { label, .. }) => Some(label.clone()),
        _ => step.inputs.iter().find_map(|input| pair_label(plan, input.step)),
    }
}

fn mark(mark: spec::Mark) -> Mark {
    match mark {
        spec::Mark::Histogram => Mark::Histogram,
        spec::Mark::Scatter => Mark::Scatter,
        spec::Mark::Line => Mark::Line,
        spec::Mark::Bar => Mark::Bar,
        spec::Mark::Ecdf => Mark::Ecdf,
        spec::Mark::Heatmap => Mark::Heatmap,
        spec::Mark::Gradient => Mark::Gradient,
    }
}

#[cfg(test)]
mod tests {
    use super::{Labels, first_sentence, for_readers};

    #[test]
    fn a_title_is_the_first_sentence() {
        let parted = first_sentence("What did tuning add\nto a model? A base and\nits chat version.");
        assert_eq!(parted, ("What did tuning add to a model?".into(), "A base and its chat version.".into()));
        assert_eq!(first_sentence("Decoder norms."), ("Decoder norms".into(), String::new()));
    }

    #[test]
    fn titles_have_the_words_of_the_legend() {
        let mut labels = Labels::standard();
        labels.set_value("tuned_only", "chat only");
        let title = for_readers("nu_error of tuned-only latents, by delta_norm. Tuned-only ones", &labels);
        assert_eq!(title, "ν error of chat-only latents, by Δnorm. Chat-only ones");
    }
}
