//! The resolved file: every step, every value in force, and where it came from.

use crate::lang::source::Sources;

use super::build::origin_words;
use super::{Input, Plan, Step};

/// The plan as text, one block a step: `path = value   # origin`.
pub fn show(plan: &Plan, sources: &Sources) -> String {
    let mut text = format!("xd {}\n", plan.edition);
    for param in &plan.params {
        let origin = if param.set { format!("--set, default {}", param.default) } else { "default".to_string() };
        text += &format!("\nparam {} = {}  # {origin}", param.name, param.value);
    }
    if !plan.params.is_empty() {
        text.push('\n');
    }
    for step in &plan.steps {
        text += &format!("\n{} {}  # {}\n", step.kind, step.address, &step.id[..12.min(step.id.len())]);
        text += &fields(step, sources);
        text += &inputs(plan, step);
    }
    text
}

fn fields(step: &Step, sources: &Sources) -> String {
    let path = step.resolved.iter().map(|f| f.path.chars().count()).max().unwrap_or(0);
    let value = step.resolved.iter().map(|f| f.value.chars().count()).max().unwrap_or(0).min(40);
    let mut text = String::new();
    for field in &step.resolved {
        let origin = origin_words(&field.origin, sources);
        text += &format!("  {:path$} = {:value$}  # {origin}\n", field.path, field.value);
    }
    text
}

fn inputs(plan: &Plan, step: &Step) -> String {
    let mut text = String::new();
    for Input { role, step } in &step.inputs {
        text += &format!("  # {role}: {}\n", plan.steps[step.0].address);
    }
    text
}
