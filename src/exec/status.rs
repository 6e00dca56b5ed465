//! What is in the store, what is to do, and why.

use std::collections::BTreeMap;

use serde_json::Value;

use super::hub;
use super::store::{Remembered, Store};
use crate::lang::plan::{Plan, Spec, Step, spec};

/// Where a step stands.
#[derive(Clone, Debug, PartialEq)]
pub enum Status {
    /// Nothing to make: a folder, a corpus, a name for two models.
    Nothing,
    /// Files of the hub that are not on this machine: so many bytes, `None` while nothing is pinned. Models come as a whole
    /// before the first step that reads them, files of a corpus when they are first read.
    Download { bytes: Option<u64> },
    /// A model or corpus of the hub that is not all on this machine, and that no step to do reads.
    Away,
    /// In the store.
    Cached { seconds: f64 },
    /// To do, with the reason.
    ToDo { why: String },
    /// Made at every run: tables, plots, expectations.
    Always,
}

/// Whether this step's result is kept in the store.
pub fn is_stored(spec: &Spec) -> bool {
    match spec {
        Spec::Model(model) => {
            use spec::ModelSpec::{Folder, Gguf, Hub};
            !matches!(model, Folder { .. } | Gguf { .. } | Hub { .. })
        }
        Spec::Pair(pair) => matches!(pair, spec::PairSpec::Synthetic(_)),
        Spec::Activations(activations) => matches!(activations.source, spec::ActivationsSource::Models { .. }),
        Spec::Corpus(_) | Spec::Template(_) | Spec::Table(_) | Spec::Plot(_) | Spec::Expect(_) => false,
        Spec::Crosscoder(_)
        | Spec::Classify(_)
        | Spec::Scaling(_)
        | Spec::Quality(_)
        | Spec::Recover(_)
        | Spec::Layers(_)
        | Spec::Patch(_)
        | Spec::Tokens(_)
        | Spec::Twins(_)
        | Spec::Examples(_)
        | Spec::Steer(_)
        | Spec::Autointerp(_)
        | Spec::Compare(_) => true,
    }
}

/// Where every step of the plan stands, in the order of its steps.
///
/// # Errors
/// When a record of the store cannot be read.
pub fn status(plan: &Plan, store: &Store, experiment: &str) -> super::Result<Vec<Status>> {
    let index = store.index(experiment);
    let found: super::Result<Vec<Status>> =
        plan.steps.iter().map(|step| status_of(plan, step, store, &index)).collect();
    let mut found = found?;
    for at in 0..found.len() {
        if matches!(found[at], Status::Download { .. }) && !is_read(plan, &found, at) {
            found[at] = Status::Away;
        }
    }
    Ok(found)
}

/// True for a model or corpus that is read by a step that is to be made.
pub fn is_read(plan: &Plan, statuses: &[Status], read: usize) -> bool {
    let to_do = |reader: &usize| matches!(statuses[*reader], Status::ToDo { .. });
    (0..plan.steps.len()).filter(to_do).any(|reader| reads(plan, reader, read))
}

/// Whether making a step opens the files of another one. What is in the store stands for what it was made from, but only
/// steps that train and measure on stored rows are known never to go back to the models.
fn reads(plan: &Plan, reader: usize, other: usize) -> bool {
    let step = &plan.steps[reader];
    let rows_only = matches!(
        step.spec,
        Spec::Crosscoder(_)
            | Spec::Classify(_)
            | Spec::Scaling(_)
            | Spec::Recover(_)
            | Spec::Tokens(_)
            | Spec::Twins(_)
            | Spec::Autointerp(_)
            | Spec::Compare(_)
    );
    step.inputs
        .iter()
        .map(|input| input.step.0)
        .any(|input| input == other || !(rows_only && is_stored(&plan.steps[input].spec)) && reads(plan, input, other))
}

fn status_of(plan: &Plan, step: &Step, store: &Store, index: &BTreeMap<String, Remembered>) -> super::Result<Status> {
    if matches!(step.spec, Spec::Table(_) | Spec::Plot(_) | Spec::Expect(_)) {
        return Ok(Status::Always);
    }
    if !is_stored(&step.spec) {
        return Ok(match step.spec.hub_refs().first().map(|(_, hub)| hub::missing(hub)) {
            Some(bytes) if bytes != Some(0) => Status::Download { bytes },
            _ => Status::Nothing,
        });
    }
    if let Some(record) = store.record(&step.id)? {
        return Ok(Status::Cached { seconds: record.seconds });
    }
    let why = if store.begun(&step.id) {
        "begun and interrupted; goes on from its last checkpoint".to_string()
    } else {
        why(plan, step, index.get(&step.address.to_string()))
    };
    Ok(Status::ToDo { why })
}

/// The reason in words: what differs from the last time this address was made.
fn why(plan: &Plan, step: &Step, before: Option<&Remembered>) -> String {
    let Some(before) = before else { return "not done yet".to_string() };
    if before.id == step.id {
        return "no longer in the store".to_string();
    }
    let now = serde_json::to_value(&step.spec).unwrap_or(Value::Null);
    let mut changes = Vec::new();
    differences("", &before.spec, &now, &mut changes);
    if !changes.is_empty() {
        return changes.join("; ");
    }
    let inputs = inputs_by_address(plan, step);
    for (address, id) in &inputs {
        match before.inputs.get(address) {
            Some(old) if old == id => {}
            Some(_) => return format!("its input {address} changed"),
            None => return format!("it reads {address}, which it did not before"),
        }
    }
    "a file that it reads changed, or xd computes it in a new way".to_string()
}

/// Ids of a step's inputs by their addresses.
pub fn inputs_by_address(plan: &Plan, step: &Step) -> BTreeMap<String, String> {
    step.inputs
        .iter()
        .map(|input| {
            let input = &plan.steps[input.step.0];
            (input.address.to_string(), input.id.clone())
        })
        .collect()
}

/// Leaves that differ between two JSON values, as `train.batch 2048 -> 1024`.
fn differences(path: &str, before: &Value, now: &Value, changes: &mut Vec<String>) {
    match (before, now) {
        (Value::Object(a), Value::Object(b)) => {
            let keys: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for key in keys {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                differences(
                    &path,
                    a.get(key.as_str()).unwrap_or(&Value::Null),
                    b.get(key.as_str()).unwrap_or(&Value::Null),
                    changes,
                );
            }
        }
        (a, b) if a != b => changes.push(format!("{path} {} -> {}", short(a), short(b))),
        _ => {}
    }
}

fn short(value: &Value) -> String {
    match value {
        Value::Null => "none".to_string(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_change_is_named_by_its_path() {
        let mut changes = Vec::new();
        let before = json!({"latents": 2048, "loss": {"form": "l1", "weight": 0.1}});
        let now = json!({"latents": 4096, "loss": {"form": "l1", "weight": 0.2}});
        differences("", &before, &now, &mut changes);
        assert_eq!(changes, ["latents 2048 -> 4096", "loss.weight 0.1 -> 0.2"]);
    }
}
