//! The files that a plan reads, with their hashes, for the manifest and the report.

use std::collections::BTreeSet;

use super::manifest::InputFile;
use super::wiring::path_of;
use crate::lang::plan::spec::{ActivationsSource, CorpusSource, FileRef, ModelSpec, TemplateSpec, WeightsRef};
use crate::lang::plan::{Plan, Spec};
use crate::lang::world::World;

/// Every file, folder and glob that the plan's steps read, in order of path.
pub fn of(plan: &Plan, world: &dyn World) -> Vec<InputFile> {
    let files: BTreeSet<(String, String)> =
        plan.steps.iter().flat_map(|step| refs(&step.spec)).map(|file| (file.from, file.path)).collect();
    let mut inputs: Vec<InputFile> = files
        .into_iter()
        .map(|(from, path)| {
            let hash = world.hash(&from, &path).unwrap_or_else(|problem| problem);
            let path = path_of(&FileRef { from, path }).display().to_string();
            InputFile { path, hash }
        })
        .collect();
    for (_, hub) in plan.steps.iter().flat_map(|step| step.spec.hub_refs()) {
        if let Some(pin) = &hub.pin {
            let path = format!("hf:{}{}@{}", hub.wanted.repository.prefix(), hub.wanted.id, pin.commit);
            inputs.push(InputFile { path, hash: pin.content() });
        }
    }
    inputs.sort();
    inputs.dedup();
    inputs
}

fn refs(spec: &Spec) -> Vec<FileRef> {
    match spec {
        Spec::Model(ModelSpec::Folder { path, .. } | ModelSpec::Gguf { path, .. }) => vec![path.clone()],
        Spec::Corpus(corpus) => {
            let mut files = match &corpus.source {
                CorpusSource::Jsonl { path, .. }
                | CorpusSource::Json { path, .. }
                | CorpusSource::Csv { path, .. }
                | CorpusSource::Parquet { path, .. }
                | CorpusSource::Text { path } => vec![path.clone()],
                CorpusSource::Builtin { .. } | CorpusSource::Hub { .. } => Vec::new(),
            };
            if let Some(TemplateSpec::Jinja { path, .. }) = &corpus.template {
                files.push(path.clone());
            }
            files
        }
        Spec::Template(TemplateSpec::Jinja { path, .. }) => vec![path.clone()],
        Spec::Activations(activations) => match &activations.source {
            ActivationsSource::Tensors { path, .. } => vec![path.clone()],
            ActivationsSource::Cache { base, tuned, beside } => {
                [base, tuned].into_iter().chain(beside).cloned().collect()
            }
            _ => Vec::new(),
        },
        Spec::Crosscoder(crosscoder) => {
            [&crosscoder.from, &crosscoder.init.from].into_iter().flatten().flat_map(weights_files).collect()
        }
        Spec::Autointerp(autointerp) => autointerp.scores.iter().cloned().collect(),
        _ => Vec::new(),
    }
}

fn weights_files(weights: &WeightsRef) -> Vec<FileRef> {
    match weights {
        WeightsRef::Folder { path, beside } => [path].into_iter().chain(beside).cloned().collect(),
        WeightsRef::Tensors { path, .. } => vec![path.clone()],
        WeightsRef::Hub { .. } => Vec::new(),
    }
}
