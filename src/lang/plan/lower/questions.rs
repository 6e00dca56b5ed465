use std::collections::BTreeSet;

use crate::lang::check;
use crate::lang::plan::draft::{At, Draft};
use crate::lang::plan::spec::{ExpectSpec, Operand, Spec, TableColumn, TableSpec};
use crate::lang::resolve::query::Question;
use crate::lang::resolve::{Node, Reader, Resolved, Sink, StepRef, Typed, VALUE, matching};
use crate::lang::source::Span;
use crate::lang::syntax::tree::{Operator, ValueKind};

pub fn table(at: &At, draft: &mut Draft, sink: &mut Sink) -> Option<Spec> {
    let rows = rows(at, "rows", "rows", draft)?;
    let mut reader = reader(at, sink);
    let mut question = Question { reader: &mut reader, resolution: at.resolution, rows };
    let filter = question.conditions(at.fields, "where");
    let group = question.group(at.fields);
    let over = question.over(at.fields, &group);
    let columns = question.table_columns(at.fields, &group);
    let aggregated = columns.iter().any(|column| matches!(column, TableColumn::Aggregate { .. }));
    let over = match at.fields.get("over") {
        None if aggregated => question.seeds(&group, &filter),
        _ => over,
    };
    let sort = question.sort(at.fields, &columns);
    let names = question.names();
    check::questions::group_without_columns(at, sink);
    check::questions::over_of_the_table(at, &columns, !over.is_empty(), sink);
    let save = save(at, Some("csv"), &["csv"], sink)?;
    let limit = at.fields.whole("limit");
    Some(Spec::Table(TableSpec { rows: names, filter, group, over, columns, sort, limit, save }))
}

pub fn expect(at: &At, draft: &mut Draft, sink: &mut Sink) -> Option<Spec> {
    let Node { value: Typed::Raw(value), text, .. } = at.fields.get(VALUE)? else { return None };
    let ValueKind::Comparison { left, operator, operator_span, right } = &value.kind else {
        if !matches!(value.kind, ValueKind::Broken) {
            sink.push(check::questions::not_a_comparison(value.span));
        }
        return None;
    };
    let mut reader = reader(at, sink);
    let mut question = Question { reader: &mut reader, resolution: at.resolution, rows: Vec::new() };
    let left_side = question.operand(left);
    let right_side = question.operand(right);
    let ((left_operand, left_refs), (right_operand, right_refs)) = (left_side?, right_side?);
    let open = |operand: &Operand, refs: &[StepRef]| match (operand, refs.first()) {
        (Operand::Column { aggregate: None, .. }, Some(step)) => Some(question.open_axes(step)),
        _ => None,
    };
    if let (Some(a), Some(b)) = (open(&left_operand, &left_refs), open(&right_operand, &right_refs)) {
        let ids = |axes: &[(crate::lang::resolve::AxisId, Vec<String>)]| {
            axes.iter().map(|(id, _)| *id).collect::<BTreeSet<_>>()
        };
        if ids(&a) != ids(&b) {
            let labels = |axes: Vec<(_, Vec<String>)>| axes.into_iter().flat_map(|(_, l)| l).collect::<Vec<_>>();
            let problem =
                check::columns::compares_different_points(&labels(a), &labels(b), value.span, left.span, right.span);
            sink.push(problem);
            return None;
        }
    }
    let shared = shared_seeds(&question, &left_refs, &right_refs);
    let (pairs, by_interval) = match (mean_over(&left_operand), mean_over(&right_operand)) {
        (None, None) => (shared, false),
        (Some(axes), other) | (other, Some(axes)) => {
            let same = match other {
                Some(other) => axes.iter().all(|a| other.contains(a)) && other.iter().all(|a| axes.contains(a)),
                None => [&left_operand, &right_operand].iter().any(|side| matches!(side, Operand::Number { .. })),
            };
            if !same {
                let one = if mean_over(&left_operand).is_some() { left.span } else { right.span };
                sink.push(check::columns::one_side_over(&axes.join(", "), one));
                return None;
            }
            if matches!(operator, Operator::Equal | Operator::NotEqual) {
                sink.push(check::columns::no_interval_of_equality(*operator, *operator_span));
                return None;
            }
            (axes.to_vec(), true)
        }
    };
    check::questions::compares_numbers(&left_operand, &right_operand, value.span, sink);
    read_by(at, "left", &left_refs, draft);
    read_by(at, "right", &right_refs, draft);
    Some(Spec::Expect(ExpectSpec {
        left: left_operand,
        operator: *operator,
        right: right_operand,
        pairs,
        by_interval,
        text: one_line(text),
    }))
}

fn mean_over(operand: &Operand) -> Option<&[String]> {
    match operand {
        Operand::Column { mean_over, .. } if !mean_over.is_empty() => Some(mean_over),
        _ => None,
    }
}

/// Axes of seeds with several values that both sides leave open.
fn shared_seeds(question: &Question, left: &[StepRef], right: &[StepRef]) -> Vec<String> {
    let (Some(left), Some(right)) = (left.first(), right.first()) else { return Vec::new() };
    let other: Vec<_> = question.open_axes(right).into_iter().map(|(id, _)| id).collect();
    let target = question.resolution.get(left.target);
    let several = |id| target.axes.iter().any(|axis| axis.id == id && axis.values.len() > 1);
    let is_seed = |labels: &[String]| labels.iter().all(|label| label.rsplit('.').next() == Some("seed"));
    let open = question.open_axes(left).into_iter();
    open.filter(|(id, labels)| other.contains(id) && several(*id) && is_seed(labels)).flat_map(|(_, l)| l).collect()
}

pub(super) fn reader<'r>(at: &At<'r>, sink: &'r mut Sink) -> Reader<'r> {
    Reader {
        scope: at.scope,
        sources: at.sources,
        sink,
        module: at.scope.get(at.id).module,
        own: at.id,
        at: None,
        origin: None,
        through: None,
        filled: Vec::new(),
        literal: None,
    }
}

/// The steps of a field, all their points noted as inputs.
pub(super) fn rows(at: &At, field: &str, role: &'static str, draft: &mut Draft) -> Option<Vec<StepRef>> {
    let Node { value: Typed::Rows(steps), .. } = at.fields.get(field)? else { return None };
    for step in steps {
        let target = at.resolution.get(step.target);
        for index in matching(target, step, &at.point.coordinates) {
            if !draft.inputs.contains(&(role, step.target, index)) {
                draft.inputs.push((role, step.target, index));
            }
        }
    }
    Some(steps.clone())
}

/// The points of the first step that its selectors choose, and of the others those that share their axes with one of them.
fn read_by(at: &At, role: &'static str, refs: &[StepRef], draft: &mut Draft) {
    let Some(first) = refs.first() else { return };
    let main = at.resolution.get(first.target);
    let chosen = matching(main, first, &at.point.coordinates);
    for (position, step) in refs.iter().enumerate() {
        let target = at.resolution.get(step.target);
        let points = match position {
            0 => chosen.clone(),
            _ => (0..target.points.len()).filter(|&index| aligned(main, &chosen, target, index)).collect(),
        };
        for index in points {
            if !draft.inputs.contains(&(role, step.target, index)) {
                draft.inputs.push((role, step.target, index));
            }
        }
    }
}

fn aligned(main: &Resolved, chosen: &[usize], target: &Resolved, index: usize) -> bool {
    let other = &target.points[index].coordinates;
    chosen
        .iter()
        .any(|&c| main.points[c].coordinates.iter().all(|(axis, value)| other.get(axis).is_none_or(|v| v == value)))
}

/// The file name: as written, or the declaration's name. Without a `needed` ending it may have one of those `allowed`, or none.
pub(super) fn save(at: &At, needed: Option<&str>, allowed: &[&str], sink: &mut Sink) -> Option<String> {
    let Some(node) = at.fields.get("save") else {
        return Some(needed.map_or_else(|| at.name().to_string(), |ending| format!("{}.{ending}", at.name())));
    };
    let name = at.string(node, sink)?;
    let span: Span = node.span;
    check::questions::file_name(&name, needed.is_none(), allowed, span, sink).then_some(name)
}

/// A comparison that was broken over lines, as it reads on one.
fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words
        .join(" ")
        .replace("( ", "(")
        .replace("[ ", "[")
        .replace(", )", ")")
        .replace(", ]", "]")
        .replace(" )", ")")
        .replace(" ]", "]")
}
