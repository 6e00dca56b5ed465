//! `experiments/paper.xd` is one file for five pairs, and asks for the models and texts of the one that it is set to alone.

use std::path::{Path, PathBuf};

use xd::lang::plan::spec::ActivationsSource;
use xd::lang::plan::{Plan, Spec};
use xd::lang::world::{ModelFacts, World};
use xd::lang::{Sources, analyse};

use crate::memory::{short, small_model};

/// The shipped experiments and their small files; the hub has pinned nothing, and a GGUF file is there or not.
struct Shipped {
    weights: bool,
}

fn experiments() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments")
}

/// `paper/../organism/base` as `organism/base`.
fn joined(from: &str, path: &str) -> String {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in path.split('/') {
        match part {
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

impl World for Shipped {
    fn import(&self, from: &str, path: &str) -> Result<(String, String), String> {
        let path = joined(from, path);
        let text = std::fs::read_to_string(experiments().join(&path)).map_err(|why| why.to_string())?;
        Ok((text, path))
    }

    fn model(&self, from: &str, folder: &str) -> Result<ModelFacts, String> {
        self.hash(from, folder).map(|_| small_model())
    }

    fn gguf(&self, _: &str, _: &str) -> Result<ModelFacts, String> {
        let facts =
            ModelFacts { family: "gemma3".into(), width: 640, layers: 18, vocabulary: 262_144, ..small_model() };
        if self.weights { Ok(facts) } else { Err("there is no such file".into()) }
    }

    fn bytes(&self, from: &str, path: &str) -> Result<u64, String> {
        self.hash(from, path).map(|_| 4_000_000)
    }

    fn hash(&self, from: &str, path: &str) -> Result<String, String> {
        let path = joined(from, path);
        let there = experiments().join(&path).exists() || path.ends_with(".gguf") && self.weights;
        if there { Ok(format!("hash of {path}")) } else { Err("there is no such file".into()) }
    }

    fn tensor_shape(&self, _: &str, _: &str, _: &str) -> Result<Vec<u64>, String> {
        Err("there is no such file".into())
    }
}

fn plan(world: &Shipped, sets: &[&str]) -> Result<Plan, String> {
    let text = std::fs::read_to_string(experiments().join("paper.xd")).expect("a shipped experiment");
    let mut sources = Sources::default();
    let file = sources.add("paper.xd", text.as_str());
    let sets: Vec<String> = sets.iter().map(|set| set.to_string()).collect();
    let analysis = analyse(world, &mut sources, file, &sets, false);
    let told = short(&analysis, &sources);
    analysis.plan.filter(|_| told.is_empty()).ok_or(told)
}

/// Each pair has the paper's steps, its own recipe and held-out chats, and nothing of another pair.
#[test]
fn every_pair_is_planned_from_one_file() {
    let kinds = |plan: &Plan, kind: &str| plan.steps.iter().filter(|step| step.kind == kind).count();
    for (pair, layer, seeds, hub) in [
        ("embedded", 3, 3, 0),
        ("gemma3_270m", 9, 3, 0),
        ("gemma2_2b", 13, 1, 6),
        ("llama32_1b", 8, 1, 6),
        ("llama31_8b", 16, 1, 6),
    ] {
        let recipe = format!("recipe={pair}");
        let plan = plan(&Shipped { weights: true }, &[&recipe]).unwrap_or_else(|told| panic!("{pair}: {told}"));
        let own = format!("{pair}.");
        let imported = |kind: &str| matches!(kind, "model" | "pair" | "corpus" | "activations" | "crosscoder");
        for step in plan.steps.iter().filter(|step| imported(step.kind)) {
            assert!(step.address.name.starts_with(&own), "{pair}: {}", step.address);
        }
        let references = plan.steps.iter().map(|step| step.spec.hub_refs().len()).sum::<usize>();
        assert_eq!(references, hub, "{pair}: two models and four splits");
        assert_eq!(kinds(&plan, "crosscoder"), 2 * seeds, "{pair}");
        for kind in ["classify", "scaling", "quality", "tokens", "twins", "examples", "patch"] {
            assert_eq!(kinds(&plan, kind), 2 * seeds, "{pair}: {kind}");
        }
        assert_eq!(kinds(&plan, "compare"), seeds, "{pair}");
        assert!(kinds(&plan, "table") >= 8 && kinds(&plan, "plot") >= 24, "{pair}");
        let mut checked = 0;
        for step in &plan.steps {
            match &step.spec {
                Spec::Activations(acts) => match &acts.source {
                    ActivationsSource::Models { layer: read, .. } => assert_eq!(*read, layer, "{pair}"),
                    other => panic!("{pair}: {other:?}"),
                },
                Spec::Scaling(scaling) => assert!(scaling.intervals > 0, "{pair}: no intervals"),
                Spec::Patch(_) => {
                    let prompts = step.inputs.iter().find(|input| input.role == "prompts").expect("a corpus");
                    let corpus = &plan.steps[prompts.step.0].address.name;
                    assert_eq!(*corpus, format!("{pair}.talk_validation"));
                }
                _ => continue,
            }
            checked += 1;
        }
        assert_eq!(checked, 1 + 4 * seeds, "{pair}: the activations, and two losses at each seed");
    }
}

/// A recipe that is imported and not used needs none of its files: the embedded pair runs before the Gemma weights are fetched.
#[test]
fn files_of_an_unused_recipe_need_not_be_there() {
    let without = Shipped { weights: false };
    let absent = plan(&without, &[]).unwrap_or_else(|told| panic!("{told}"));
    let present = plan(&Shipped { weights: true }, &[]).unwrap_or_else(|told| panic!("{told}"));
    let ids = |plan: &Plan| plan.steps.iter().map(|step| step.id.clone()).collect::<Vec<_>>();
    assert_eq!(ids(&absent), ids(&present));
    let told = plan(&without, &["recipe=gemma3_270m"]);
    assert!(told.as_ref().is_err_and(|told| told.contains("file_missing")), "{:?}", told.err());
}

/// Words of a command line; quotes hold words together.
fn words(line: &str) -> Vec<String> {
    let pieces = line.split('"').enumerate();
    pieces
        .flat_map(|(place, piece)| match place % 2 {
            1 => vec![piece.to_string()],
            _ => piece.split_whitespace().map(str::to_string).collect(),
        })
        .collect()
}

/// The commands of docs/findings.md are of files and params that are there.
#[test]
fn commands_of_the_findings_are_planned() {
    let docs = include_str!("../../docs/findings.md").replace("\\\n", " ");
    let commands: Vec<Vec<String>> =
        docs.lines().filter(|line| line.starts_with("xd run paper.xd")).map(words).collect();
    assert_eq!(commands.len(), 5);
    for command in commands {
        let sets: Vec<&str> = command[3..].iter().map(String::as_str).filter(|word| *word != "--set").collect();
        let planned = plan(&Shipped { weights: true }, &sets).unwrap_or_else(|told| panic!("{command:?}: {told}"));
        assert!(planned.steps.iter().any(|step| step.kind == "patch"), "{command:?}");
    }
}

/// Short enough to be read at a glance.
#[test]
fn it_has_under_60_lines() {
    let text = std::fs::read_to_string(experiments().join("paper.xd")).expect("a shipped experiment");
    assert!(text.lines().count() < 60, "{}", text.lines().count());
}
