//! Rows of finished steps as frames: every available point of a name, its axes as words in front, several names joined.

use std::collections::BTreeSet;

use super::{Error, Result, Store};
use crate::lang::plan::spec::{self, ColumnRef};
use crate::lang::plan::{Plan, Step, StepIndex};
use crate::lang::schema::{self, ColumnType, KINDS, Part};
use crate::lang::syntax::tree;
use crate::out::frame::{Aggregate, Condition, Constant, Operator};
use crate::out::{Column, Frame};

/// What tables, plots and expectations read.
pub struct Results<'a> {
    pub plan: &'a Plan,
    pub store: &'a Store,
    /// By step: whether it is done.
    pub available: &'a [bool],
}

/// The file in an artifact that holds its rows.
pub const ROWS: &str = "rows.csv";

/// Rows of several declarations joined on the axes that they share and on `latent`, and where they share neither, side by
/// side. `names` in the order written; `inputs` are the points of all of them.
///
/// # Errors
/// When rows cannot be read, or none of the points is available.
pub fn joined(results: &Results<'_>, names: &[String], inputs: &[StepIndex]) -> Result<Frame> {
    join(results, names, inputs, |step, part| {
        let path = results.store.artifact(&step.id).join(part.map_or(ROWS, |part| part.file));
        Ok(match part.filter(|part| part.plain) {
            Some(part) => Frame::read_plain(&path, part.columns.iter().map(empty).collect())?,
            None => Frame::read(&path)?,
        })
    })
}

/// The points behind [`joined`], a row each with their axes, also of those whose steps have no rows.
///
/// # Errors
/// When none of the points is available.
pub fn points(results: &Results<'_>, names: &[String], inputs: &[StepIndex]) -> Result<Frame> {
    join(results, names, inputs, |_, _| Ok(Frame::new().with(POINT, Column::whole([0]))?))
}

/// A column that no step has.
const POINT: &str = "=point";

fn join(
    results: &Results<'_>,
    names: &[String],
    inputs: &[StepIndex],
    rows: impl Fn(&Step, Option<&Part>) -> Result<Frame>,
) -> Result<Frame> {
    let mut frame: Option<(Frame, BTreeSet<String>)> = None;
    for name in names {
        let (more, axes) = of_name(results, name, inputs, &rows)?;
        frame = Some(match frame {
            None => (more, axes),
            Some((frame, seen)) => {
                let mut keys: Vec<&str> = seen.intersection(&axes).map(String::as_str).collect();
                if frame.get("latent").is_some() && more.get("latent").is_some() {
                    keys.push("latent");
                }
                let joined = frame.join(&more, &keys, name)?;
                (joined, seen.union(&axes).cloned().collect())
            }
        });
    }
    frame.map(|(frame, _)| frame).ok_or_else(|| Error::Failed("nothing is named to read rows from".to_string()))
}

/// The declaration behind a name of rows, and which of its other rows they are: `cc.log` is the log of `cc`.
fn owner_of<'n>(plan: &Plan, name: &'n str, inputs: &[StepIndex]) -> (&'n str, Option<&'static Part>) {
    let of = |owner: &str| inputs.iter().map(|index| &plan.steps[index.0]).find(|step| step.address.name == owner);
    let part = |(owner, word): (&'n str, &str)| {
        let kind = of(owner)?.kind;
        Some((owner, Some(KINDS.iter().find(|known| known.word == kind)?.part(word)?)))
    };
    match of(name) {
        Some(_) => (name, None),
        None => name.rsplit_once('.').and_then(part).unwrap_or((name, None)),
    }
}

/// A column of the schema without cells.
fn empty(column: &schema::Column) -> (&'static str, Column) {
    let cells = match column.ty {
        ColumnType::Real => Column::Real(Vec::new()),
        ColumnType::Whole => Column::Whole(Vec::new()),
        ColumnType::Truth => Column::Truth(Vec::new()),
        ColumnType::Words(_) => Column::Text(Vec::new()),
    };
    (column.name, cells)
}

/// Rows of one declaration over its available points, axes in front; and the labels of its axes.
fn of_name(
    results: &Results<'_>,
    name: &str,
    inputs: &[StepIndex],
    rows: impl Fn(&Step, Option<&Part>) -> Result<Frame>,
) -> Result<(Frame, BTreeSet<String>)> {
    let (owner, part) = owner_of(results.plan, name, inputs);
    let points: BTreeSet<StepIndex> = inputs
        .iter()
        .copied()
        .filter(|index| results.plan.steps[index.0].address.name == owner && results.available[index.0])
        .collect();
    let mut frames = Vec::new();
    let mut axes = BTreeSet::new();
    for index in points {
        let step = &results.plan.steps[index.0];
        axes.extend(step.address.point.iter().map(|(axis, _)| axis.clone()));
        frames.push(with_axes(rows(step, part)?, step, name)?);
    }
    if frames.is_empty() {
        return Err(Error::Failed(format!("no point of {name} has rows")));
    }
    Ok((Frame::concat(&frames)?, axes))
}

/// Rows of one step with its axes in front. A column that is called like an axis (`loss` of a crosscoder swept over `loss`)
/// keeps its qualified name only. `name` is what the rows are called.
fn with_axes(mut frame: Frame, step: &Step, name: &str) -> Result<Frame> {
    for (axis, _) in &step.address.point {
        if frame.get(axis).is_some() {
            frame = frame.rename(axis, &format!("{name}.{axis}"))?;
        }
    }
    let constants: Vec<(&str, &str)> = step.address.point.iter().map(|(a, v)| (a.as_str(), v.as_str())).collect();
    Ok(frame.with_constants(&constants)?)
}

/// The name that a column has in a joined frame: `step.column` where two steps own a `column`, else `column`.
pub fn name_of(frame: &Frame, column: &ColumnRef) -> String {
    if let Some(step) = &column.step {
        let qualified = format!("{step}.{}", column.column);
        if frame.get(&qualified).is_some() {
            return qualified;
        }
    }
    column.column.clone()
}

/// A comparison of the language as one of frames.
pub fn condition(frame: &Frame, condition: &spec::Condition) -> Condition {
    let name = name_of(frame, &condition.column);
    let value = match &condition.value {
        spec::Constant::Number(number) => Constant::Number(*number),
        spec::Constant::Truth(truth) => Constant::Truth(*truth),
        spec::Constant::Word(word) => constant(frame, &name, word),
    };
    let made = Condition::new(name, operator(condition.operator), value);
    if condition.absolute { made.of_absolute() } else { made }
}

/// `axis = value` of an address as a comparison.
pub fn selection(frame: &Frame, column: &str, value: &str) -> Condition {
    Condition::new(column, Operator::Equal, constant(frame, column, value))
}

/// A word as a constant of the column's type.
fn constant(frame: &Frame, column: &str, word: &str) -> Constant {
    match (frame.get(column), word.parse::<bool>(), word.parse::<f64>()) {
        (Some(Column::Truth(_)), Ok(truth), _) => Constant::Truth(truth),
        (Some(Column::Whole(_) | Column::Real(_)), _, Ok(number)) => Constant::Number(number),
        _ => Constant::Word(word.to_string()),
    }
}

/// The comparison operator of frames.
pub fn operator(operator: tree::Operator) -> Operator {
    match operator {
        tree::Operator::Less => Operator::Less,
        tree::Operator::LessEqual => Operator::LessEqual,
        tree::Operator::Greater => Operator::Greater,
        tree::Operator::GreaterEqual => Operator::GreaterEqual,
        tree::Operator::Equal => Operator::Equal,
        tree::Operator::NotEqual => Operator::NotEqual,
    }
}

/// An aggregate of the language over a column or a condition.
///
/// # Errors
/// When the column or condition that it needs is missing.
pub fn aggregate(
    frame: &Frame,
    aggregate: spec::Aggregate,
    column: Option<&ColumnRef>,
    when: Option<&spec::Condition>,
) -> Result<Aggregate> {
    let name = || {
        column
            .map(|column| name_of(frame, column))
            .ok_or_else(|| Error::Failed(format!("{aggregate:?} needs a column").to_lowercase()))
    };
    let when = when.map(|when| condition(frame, when));
    Ok(match aggregate {
        spec::Aggregate::Mean => Aggregate::Mean(name()?),
        spec::Aggregate::Median => Aggregate::Median(name()?),
        spec::Aggregate::Min => Aggregate::Min(name()?),
        spec::Aggregate::Max => Aggregate::Max(name()?),
        spec::Aggregate::Count => Aggregate::Count(when),
        spec::Aggregate::Share => match when {
            Some(when) => Aggregate::Share(when),
            // The share of rows where a yes/no column says yes.
            None => Aggregate::Share(Condition::new(name()?, Operator::Equal, Constant::Truth(true))),
        },
    })
}
