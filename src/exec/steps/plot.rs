//! `plot`: rows of steps, filtered, as a figure.

use std::path::{Path, PathBuf};

use crate::exec::Result;
use crate::exec::frames::{self, Results};
use crate::exec::store::write_whole;
use crate::exec::wiring::inputs;
use crate::lang::plan::spec::{self, ColumnRef, LineAxis, PairSpec, PlotSpec};
use crate::lang::plan::{Plan, Spec, Step, StepIndex};
use crate::out::Frame;
use crate::out::plot::{Dress, Figure, Labels, Line, Mark, Side};

/// Writes the figure below `out`; returns its path and the SVG for the report.
///
/// # Errors
/// When rows cannot be read, the figure cannot be drawn, or the file cannot be written.
pub fn write(results: &Results<'_>, step: &Step, spec: &PlotSpec, out: &Path) -> Result<(PathBuf, String)> {
    let all = frames::joined(results, &spec.data, &inputs(step, "data"))?;
    let conditions: Vec<_> = spec.filter.iter().map(|c| frames::condition(&all, c)).collect();
    let frame = all.filter(&conditions)?;
    let figure = figure(results.plan, step, spec, &frame);
    let path = out.join("plots").join(&spec.save);
    let is_png = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("png"));
    let bytes = if is_png { figure.png(&frame)? } else { figure.svg(&frame, Dress::Alone)?.into_bytes() };
    write_whole(&path, &bytes)?;
    Ok((path, figure.svg(&frame, Dress::Inline)?))
}

fn figure(plan: &Plan, step: &Step, spec: &PlotSpec, frame: &Frame) -> Figure {
    let name = |column: &ColumnRef| frames::name_of(frame, column);
    let (title, caption) = title_and_caption(step);
    Figure {
        name: step.address.name.replace('.', "-"),
        title,
        caption,
        mark: mark(spec.mark),
        x: name(&spec.x),
        y: spec.y.as_ref().map(name),
        color: spec.color.as_ref().map(name),
        facet: spec.facet.as_ref().map(name),
        lines: spec
            .lines
            .iter()
            .map(|(axis, value)| Line {
                side: match axis {
                    LineAxis::X => Side::X,
                    LineAxis::Y => Side::Y,
                },
                value: *value,
                label: None,
            })
            .collect(),
        log_x: spec.log_x,
        log_y: spec.log_y,
        labels: labels(plan, step),
    }
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
    if step.inputs.iter().all(|input| matches!(plan.steps[input.step.0].spec, Spec::Classify(_) | Spec::Scaling(_))) {
        labels.rows = "latents".to_string();
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
    }
}

#[cfg(test)]
mod tests {
    use super::first_sentence;

    #[test]
    fn a_title_is_the_first_sentence() {
        let parted = first_sentence("What did tuning add\nto a model? A base and\nits chat version.");
        assert_eq!(parted, ("What did tuning add to a model?".into(), "A base and its chat version.".into()));
        assert_eq!(first_sentence("Decoder norms."), ("Decoder norms".into(), String::new()));
    }
}
