//! How steps hang together and where their files are, read off the plan.

use std::path::{Path, PathBuf};

use super::{Error, Result};
use crate::lang::plan::{Step, StepIndex};

/// The first input of a step in this role.
///
/// # Errors
/// When the plan has none; a defect of the planner.
pub fn input(step: &Step, role: &str) -> Result<StepIndex> {
    step.inputs
        .iter()
        .find(|input| input.role == role)
        .map(|input| input.step)
        .ok_or_else(|| Error::Failed(format!("{}: the plan gives it no input `{role}`", step.address)))
}

/// All inputs of a step in this role, in order.
pub fn inputs(step: &Step, role: &str) -> Vec<StepIndex> {
    step.inputs.iter().filter(|input| input.role == role).map(|input| input.step).collect()
}

/// The address as a file name: `cc[loss=l1,train.seed=0]`.
pub fn file_name(step: &Step) -> String {
    step.address.to_string().replace(" = ", "=").replace(", ", ",").replace(['/', '"'], "_")
}

/// The path of a file that the experiment names, relative to the `.xd` file that wrote it.
pub fn path_of(file: &crate::lang::plan::spec::FileRef) -> PathBuf {
    let base = Path::new(&file.from).parent().unwrap_or(Path::new(""));
    base.join(&file.path)
}
