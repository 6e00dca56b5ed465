//! `expect`: a comparison that must hold at every open point.

use std::collections::BTreeMap;

use crate::exec::frames::{self, Results};
use crate::exec::manifest::ExpectationEntry;
use crate::exec::wiring::inputs;
use crate::exec::{Error, Result};
use crate::lang::plan::Step;
use crate::lang::plan::spec::{ExpectSpec, Operand};
use crate::lang::syntax::tree::Operator;
use crate::out::Frame;

/// Values of one side by open point.
type Side = BTreeMap<Vec<(String, String)>, Vec<Option<f64>>>;

/// Compares both sides.
///
/// # Errors
/// When rows cannot be read, or the sides do not have the same points.
pub fn evaluate(results: &Results<'_>, step: &Step, spec: &ExpectSpec) -> Result<ExpectationEntry> {
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
    Ok(ExpectationEntry {
        name: step.address.to_string(),
        passed: worst.margin >= 0.0 && worst.holds,
        text: spec.text.clone(),
        left: worst.left,
        right: worst.right,
        detail: worst.detail(spec.operator, count),
    })
}

/// One comparison at one point.
struct Compared {
    point: Vec<(String, String)>,
    left: Option<f64>,
    right: Option<f64>,
    holds: bool,
    /// How far it is from failing; negative when it fails, minus infinity when a side is empty.
    margin: f64,
}

impl Compared {
    fn new(point: Vec<(String, String)>, left: Option<f64>, right: Option<f64>, operator: Operator) -> Self {
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
        let show = |value: Option<f64>| value.map(crate::out::number::short).unwrap_or_else(|| "nothing".to_string());
        let sides = format!("{} {} {}", show(self.left), operator.symbol(), show(self.right));
        if self.point.is_empty() && count == 1 {
            return sides;
        }
        let at: Vec<String> = self.point.iter().map(|(axis, value)| format!("{axis} = {value}")).collect();
        let at = if at.is_empty() { String::new() } else { format!(" at {}", at.join(", ")) };
        let which = if self.holds { "closest of" } else { "worst of" };
        format!("{sides}{at}, {which} {count}")
    }
}

fn holds(operator: Operator, left: f64, right: f64) -> bool {
    frames::operator(operator).holds(&left, &right)
}

/// The values of one side, at every open point.
fn side(results: &Results<'_>, step: &Step, role: &str, operand: &Operand) -> Result<Side> {
    let (steps, point, column, condition, filter, aggregate, over) = match operand {
        Operand::Number { value } => return Ok(BTreeMap::from([(Vec::new(), vec![Some(*value)])])),
        Operand::Column { steps, point, column, condition, filter, aggregate, over } => {
            (steps, point, column, condition, filter, aggregate, over)
        }
    };
    let all = frames::joined(results, steps, &inputs(step, role))?;
    let mut conditions: Vec<_> = point.iter().map(|(axis, value)| frames::selection(&all, axis, value)).collect();
    conditions.extend(filter.iter().map(|c| frames::condition(&all, c)));
    let open = points(&all, over)?;
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
        side.insert(point, values);
    }
    Ok(side)
}

/// The values of the open axes that occur.
fn points(frame: &Frame, over: &[String]) -> Result<Vec<Vec<(String, String)>>> {
    let mut points = vec![Vec::new()];
    for axis in over {
        let values: Vec<String> = frame.column(axis)?.distinct().iter().map(ToString::to_string).collect();
        points = points
            .into_iter()
            .flat_map(|point: Vec<(String, String)>| {
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
type Pair = (Vec<(String, String)>, Option<f64>, Option<f64>);

/// Values of both sides point by point and row by row; a side without open points stands beside each point of the other.
fn pairs(left: &Side, right: &Side) -> Result<Vec<Pair>> {
    let closed = |side: &Side| side.len() == 1 && side.keys().next().is_some_and(Vec::is_empty);
    let points: Vec<Vec<(String, String)>> =
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

    fn point(seed: &str) -> Vec<(String, String)> {
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
