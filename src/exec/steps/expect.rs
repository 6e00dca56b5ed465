//! `expect`: a comparison that must hold at every open point.

use std::collections::BTreeMap;

use crate::exec::frames::{self, Results};
use crate::exec::manifest::{Difference, ExpectationEntry};
use crate::exec::wiring::inputs;
use crate::exec::{Error, Result};
use crate::lang::plan::Step;
use crate::lang::plan::spec::{ExpectSpec, Operand};
use crate::lang::syntax::tree::Operator;
use crate::out::Frame;
use crate::out::interval::mean_interval;
use crate::out::number::short;

/// Values of axes.
type Point = Vec<(String, String)>;
/// Values of one side by open point.
type Side = BTreeMap<Point, Vec<Option<f64>>>;

/// Compares both sides.
///
/// # Errors
/// When rows cannot be read, or the sides do not have the same points.
pub fn evaluate(results: &Results<'_>, step: &Step, spec: &ExpectSpec) -> Result<ExpectationEntry> {
    let paired = paired(results, step, spec)?;
    if spec.by_interval {
        let paired = paired.ok_or_else(|| Error::Failed("there is nothing to average over".to_string()))?;
        return Ok(decided(step, spec, &paired));
    }
    let left = side(results, step, "left", &spec.left)?;
    let right = side(results, step, "right", &spec.right)?;
    let mut worst: Option<Compared> = None;
    let mut count = 0;
    for (point, left, right) in pairs(&left, &right)? {
        count += 1;
        let compared = Compared::new(point, left, right, spec.operator);
        if worst.as_ref().is_none_or(|w| compared.margin < w.margin) {
            worst = Some(compared);
        }
    }
    let worst = worst.ok_or_else(|| Error::Failed("there are no rows to compare".to_string()))?;
    let difference = paired.and_then(|paired| difference(spec, &paired));
    let mut detail = worst.detail(spec.operator, count);
    if let Some(difference) = &difference {
        detail.push_str(&format!("; {}", said(difference)));
    }
    Ok(ExpectationEntry {
        name: step.address.to_string(),
        passed: worst.margin >= 0.0 && worst.holds,
        text: spec.text.clone(),
        left: worst.left,
        right: worst.right,
        detail,
        difference,
    })
}

/// Both sides at each value of the axes along which they are paired; `None` without such axes, and where a side has no single value at one.
fn paired(results: &Results<'_>, step: &Step, spec: &ExpectSpec) -> Result<Option<Vec<Pair>>> {
    if spec.pairs.is_empty() {
        return Ok(None);
    }
    let left = side_along(results, step, "left", &spec.left, &spec.pairs)?;
    let right = side_along(results, step, "right", &spec.right, &spec.pairs)?;
    if left.values().chain(right.values()).any(|values| values.len() != 1) {
        return Ok(None);
    }
    Ok(Some(pairs(&left, &right)?))
}

/// Mean of left - right and its interval (docs/method.md 8); `None` where a value is missing.
fn difference(spec: &ExpectSpec, pairs: &[Pair]) -> Option<Difference> {
    let differences: Option<Vec<f64>> = pairs.iter().map(|(_, left, right)| Some((*left)? - (*right)?)).collect();
    let found = mean_interval(&differences?)?;
    let over = spec.pairs.clone();
    Some(Difference { mean: found.mean, ci95: found.ci95, pairs: found.count, over, decided: spec.by_interval })
}

fn said(difference: &Difference) -> String {
    let interval = difference.ci95.map(|half| format!(" ± {} (95%)", short(half))).unwrap_or_default();
    let over = difference.over.join(", ");
    format!("mean difference {}{interval} over {} pairs of {over}", short(difference.mean), difference.pairs)
}

/// Passes when the 95% interval of the mean difference lies on the side of 0 that the comparison says.
fn decided(step: &Step, spec: &ExpectSpec, pairs: &[Pair]) -> ExpectationEntry {
    let difference = difference(spec, pairs);
    let interval = difference.as_ref().and_then(|d| Some((d.mean - d.ci95?, d.mean + d.ci95?)));
    let passed = interval.is_some_and(|(low, high)| match spec.operator {
        Operator::Greater => low > 0.0,
        Operator::GreaterEqual => low >= 0.0,
        Operator::Less => high < 0.0,
        Operator::LessEqual => high <= 0.0,
        // Refused by the check.
        Operator::Equal | Operator::NotEqual => false,
    });
    let mean = |side: fn(&Pair) -> Option<f64>| {
        let values: Option<Vec<f64>> = pairs.iter().map(side).collect();
        Some(mean_interval(&values?)?.mean)
    };
    let (left, right) = (mean(|pair| pair.1), mean(|pair| pair.2));
    let missing = pairs.iter().find(|(_, left, right)| left.is_none() || right.is_none());
    let detail = match (&difference, missing) {
        (Some(found), _) => {
            let show = |value: Option<f64>| value.map(short).unwrap_or_default();
            format!("{} {} {}; {}", show(left), spec.operator.symbol(), show(right), said(found))
        }
        (None, Some((point, ..))) => format!("one side has no value{}", at(point)),
        (None, None) => "there are no pairs".to_string(),
    };
    let (name, text) = (step.address.to_string(), spec.text.clone());
    ExpectationEntry { name, passed, text, left, right, detail, difference }
}

/// ` at train.seed = 0`.
fn at(point: &Point) -> String {
    let at: Vec<String> = point.iter().map(|(axis, value)| format!("{axis} = {value}")).collect();
    if at.is_empty() { String::new() } else { format!(" at {}", at.join(", ")) }
}

/// One comparison at one point.
struct Compared {
    point: Point,
    left: Option<f64>,
    right: Option<f64>,
    holds: bool,
    /// How far it is from failing; negative when it fails, minus infinity when a side is empty.
    margin: f64,
}

impl Compared {
    fn new(point: Point, left: Option<f64>, right: Option<f64>, operator: Operator) -> Self {
        let (holds, margin) = match (left, right) {
            (Some(l), Some(r)) => {
                let holds = holds(operator, l, r);
                let distance = match operator {
                    Operator::Less | Operator::LessEqual => r - l,
                    Operator::Greater | Operator::GreaterEqual => l - r,
                    Operator::Equal | Operator::NotEqual => (l - r).abs(),
                };
                (holds, if holds { distance.abs() } else { -distance.abs() - f64::MIN_POSITIVE })
            }
            _ => (false, f64::NEG_INFINITY),
        };
        Compared { point, left, right, holds, margin }
    }

    fn detail(&self, operator: Operator, count: usize) -> String {
        let show = |value: Option<f64>| value.map(short).unwrap_or_else(|| "nothing".to_string());
        let sides = format!("{} {} {}", show(self.left), operator.symbol(), show(self.right));
        if self.point.is_empty() && count == 1 {
            return sides;
        }
        let at = at(&self.point);
        let which = if self.holds { "closest of" } else { "worst of" };
        format!("{sides}{at}, {which} {count}")
    }
}

fn holds(operator: Operator, left: f64, right: f64) -> bool {
    frames::operator(operator).holds(&left, &right)
}

/// The values of one side, at every open point.
fn side(results: &Results<'_>, step: &Step, role: &str, operand: &Operand) -> Result<Side> {
    let Operand::Column { steps, over, .. } = operand else { return side_at(results, step, role, operand, &[]) };
    let open = points(&frames::joined(results, steps, &inputs(step, role))?, over)?;
    side_at(results, step, role, operand, &open)
}

/// The values of one side at each value of some axes, also of those where its steps have no rows.
fn side_along(results: &Results<'_>, step: &Step, role: &str, operand: &Operand, axes: &[String]) -> Result<Side> {
    let Operand::Column { steps, point, filter, .. } = operand else {
        return side_at(results, step, role, operand, &[]);
    };
    let all = frames::points(results, steps, &inputs(step, role))?;
    let mut conditions: Vec<_> = point.iter().map(|(axis, value)| frames::selection(&all, axis, value)).collect();
    let of_axes = filter.iter().filter(|condition| condition.column.step.is_none());
    conditions.extend(of_axes.map(|condition| frames::condition(&all, condition)));
    let all = all.filter(&conditions)?;
    let mut open: Vec<Point> = Vec::new();
    for row in 0..all.rows() {
        let point = axes.iter().map(|axis| (axis.clone(), all.cell(row, axis).to_string())).collect();
        if !open.contains(&point) {
            open.push(point);
        }
    }
    side_at(results, step, role, operand, &open)
}

/// The values of one side at some points.
fn side_at(results: &Results<'_>, step: &Step, role: &str, operand: &Operand, open: &[Point]) -> Result<Side> {
    let (steps, point, column, condition, filter, aggregate) = match operand {
        Operand::Number { value } => return Ok(BTreeMap::from([(Vec::new(), vec![Some(*value)])])),
        Operand::Column { steps, point, column, condition, filter, aggregate, .. } => {
            (steps, point, column, condition, filter, aggregate)
        }
    };
    let all = frames::joined(results, steps, &inputs(step, role))?;
    let mut conditions: Vec<_> = point.iter().map(|(axis, value)| frames::selection(&all, axis, value)).collect();
    conditions.extend(filter.iter().map(|c| frames::condition(&all, c)));
    let mut side = Side::new();
    for point in open {
        let mut here = conditions.clone();
        here.extend(point.iter().map(|(axis, value)| frames::selection(&all, axis, value)));
        let rows = all.filter(&here)?;
        let values = match (aggregate, column) {
            (Some(aggregate), _) => {
                let aggregate = frames::aggregate(&rows, *aggregate, column.as_ref(), condition.as_ref())?;
                vec![rows.reduce(&aggregate)?]
            }
            (None, Some(column)) => {
                let column = rows.column(&frames::name_of(&rows, column))?;
                column.cells().map(|cell| cell.number()).collect()
            }
            (None, None) => return Err(Error::Failed("the comparison names no column".to_string())),
        };
        side.insert(point.clone(), values);
    }
    Ok(side)
}

/// The values of the open axes that occur.
fn points(frame: &Frame, over: &[String]) -> Result<Vec<Point>> {
    let mut points = vec![Vec::new()];
    for axis in over {
        let values: Vec<String> = frame.column(axis)?.distinct().iter().map(ToString::to_string).collect();
        points = points
            .into_iter()
            .flat_map(|point: Point| {
                values.iter().map(move |value| {
                    let mut point = point.clone();
                    point.push((axis.clone(), value.clone()));
                    point
                })
            })
            .collect();
    }
    Ok(points)
}

/// One point and the values of both sides there.
type Pair = (Point, Option<f64>, Option<f64>);

/// Values of both sides point by point and row by row; a side without open points stands beside each point of the other.
fn pairs(left: &Side, right: &Side) -> Result<Vec<Pair>> {
    let closed = |side: &Side| side.len() == 1 && side.keys().next().is_some_and(Vec::is_empty);
    let points: Vec<Point> =
        if closed(left) { right.keys().cloned().collect() } else { left.keys().cloned().collect() };
    let mut pairs = Vec::new();
    for point in points {
        let at = |side: &Side| if closed(side) { side.get(&Vec::new()).cloned() } else { side.get(&point).cloned() };
        let (Some(l), Some(r)) = (at(left), at(right)) else {
            return Err(Error::Failed(format!("one side has no point {point:?}")));
        };
        match (l.len(), r.len()) {
            (a, b) if a == b => pairs.extend(l.into_iter().zip(r).map(|(l, r)| (point.clone(), l, r))),
            (_, 1) => pairs.extend(l.into_iter().map(|l| (point.clone(), l, r[0]))),
            (1, _) => pairs.extend(r.into_iter().map(|r| (point.clone(), l[0], r))),
            (a, b) => {
                return Err(Error::Failed(format!("{a} rows on the left and {b} on the right cannot be compared")));
            }
        }
    }
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(seed: &str) -> Point {
        vec![("train.seed".to_string(), seed.to_string())]
    }

    #[test]
    fn a_number_stands_beside_every_point() {
        let left = Side::from([(point("0"), vec![Some(0.99)]), (point("1"), vec![Some(0.93)])]);
        let right = Side::from([(Vec::new(), vec![Some(0.95)])]);
        let pairs = pairs(&left, &right).unwrap();
        assert_eq!(pairs, [(point("0"), Some(0.99), Some(0.95)), (point("1"), Some(0.93), Some(0.95))]);
    }

    #[test]
    fn an_empty_side_never_passes() {
        let compared = Compared::new(Vec::new(), None, Some(0.0), Operator::NotEqual);
        assert!(!compared.holds);
        assert_eq!(compared.margin, f64::NEG_INFINITY);
    }

    #[test]
    fn the_margin_is_negative_when_it_fails() {
        let fails = Compared::new(Vec::new(), Some(0.95), Some(0.95), Operator::Greater);
        assert!(!fails.holds && fails.margin < 0.0);
        let holds = Compared::new(Vec::new(), Some(0.95), Some(0.95), Operator::GreaterEqual);
        assert!(holds.holds && holds.margin >= 0.0);
    }
}
