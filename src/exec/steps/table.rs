//! `table`: rows of steps, filtered, grouped, sorted, as a CSV file and as text for the terminal.

use std::path::{Path, PathBuf};

use crate::exec::Result;
use crate::exec::frames::{self, Results};
use crate::exec::store::write_whole;
use crate::exec::wiring::inputs;
use crate::lang::plan::Step;
use crate::lang::plan::spec::{self, TableColumn, TableSpec};
use crate::out::frame::{Aggregate, INTERVAL, VALUES};
use crate::out::{Frame, table};

/// Rows that the terminal shows of a table.
const SHOWN: usize = 24;

/// A table that was written.
#[derive(Clone, Debug)]
pub struct ShownTable {
    pub name: String,
    pub docs: Option<String>,
    pub path: PathBuf,
    pub text: String,
}

/// Writes the table below `out`, and returns it as shown and as a frame.
///
/// # Errors
/// When rows cannot be read or the file cannot be written.
pub fn write(results: &Results<'_>, step: &Step, spec: &TableSpec, out: &Path) -> Result<(ShownTable, Frame)> {
    let frame = make(results, step, spec)?;
    let path = out.join("tables").join(&spec.save);
    write_whole(&path, &table::csv(&frame))?;
    let text = table::text(&frame, SHOWN, &path.display().to_string());
    Ok((ShownTable { name: step.address.name.clone(), docs: step.docs.clone(), path, text }, frame))
}

fn make(results: &Results<'_>, step: &Step, spec: &TableSpec) -> Result<Frame> {
    let all = frames::joined(results, &spec.rows, &inputs(step, "rows"))?;
    let conditions: Vec<_> = spec.filter.iter().map(|c| frames::condition(&all, c)).collect();
    let rows = all.filter(&conditions)?;
    let aggregated = spec.columns.iter().any(|c| matches!(c, TableColumn::Aggregate { .. }));
    let shaped = if aggregated || !spec.group.is_empty() { grouped(results, step, &rows, spec)? } else { rows };
    let by: Vec<(String, bool)> = spec.sort.iter().map(|(c, down)| (frames::name_of(&shaped, c), *down)).collect();
    let by: Vec<(&str, bool)> = by.iter().map(|(name, down)| (name.as_str(), *down)).collect();
    let mut sorted = shaped.sort(&by)?;
    if let Some(limit) = spec.limit {
        sorted = sorted.limit(limit as usize);
    }
    selected(&sorted, spec)
}

/// One row a group, with every aggregate that the columns ask for.
fn grouped(results: &Results<'_>, step: &Step, rows: &Frame, spec: &TableSpec) -> Result<Frame> {
    let keys: Vec<String> = spec.group.iter().map(|c| frames::name_of(rows, c)).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let mut aggregates: Vec<(&str, Aggregate)> = Vec::new();
    for column in &spec.columns {
        if let TableColumn::Aggregate { name, aggregate, column, condition } = column {
            aggregates.push((name, frames::aggregate(rows, *aggregate, column.as_ref(), condition.as_ref())?));
        }
    }
    if spec.over.is_empty() {
        return Ok(rows.group(&keys, &aggregates)?);
    }
    let points = frames::points(results, &spec.rows, &inputs(step, "rows"))?;
    let of_axes = |condition: &&spec::Condition| condition.column.step.is_none();
    let conditions: Vec<_> = spec.filter.iter().filter(of_axes).map(|c| frames::condition(&points, c)).collect();
    let over: Vec<&str> = spec.over.iter().map(String::as_str).collect();
    Ok(rows.group_over(&keys, &over, &points.filter(&conditions)?, &aggregates)?)
}

fn selected(frame: &Frame, spec: &TableSpec) -> Result<Frame> {
    if spec.columns.is_empty() {
        return Ok(frame.clone());
    }
    let mut names: Vec<(String, String)> = Vec::new();
    for column in &spec.columns {
        match column {
            TableColumn::Plain { name, column } => names.push((frames::name_of(frame, column), name.clone())),
            TableColumn::Aggregate { name, .. } => {
                let interval = (!spec.over.is_empty()).then(|| format!("{name}{INTERVAL}"));
                names.extend([Some(name.clone()), interval].into_iter().flatten().map(|name| (name.clone(), name)));
            }
        }
    }
    if !spec.over.is_empty() {
        names.push((VALUES.to_string(), VALUES.to_string()));
    }
    let columns: Vec<(&str, &str)> = names.iter().map(|(from, to)| (from.as_str(), to.as_str())).collect();
    Ok(frame.select(&columns)?)
}
