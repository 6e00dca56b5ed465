//! A whole experiment with the emulated GPU: what is made there, and what of the CPU is kept.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use xd::cli::world::FileWorld;
use xd::exec::device::Device;
use xd::exec::hub::{Hub, Settings};
use xd::exec::manifest::Manifest;
use xd::exec::{Observer, Options, Store, executor};
use xd::lang::plan::Plan;
use xd::lang::{Sources, analyse};
use xd::ml::Progress;
use xd::ml::cuda::Gpu;

use crate::emulator::emulator;

const EXPERIMENT: &str = r#"xd 1

model base = folder("ORGANISM/base")
model chat = folder("ORGANISM/chat")
pair organism {
  base  = base
  tuned = chat
  label = "chat"
}
corpus prose = jsonl("ORGANISM/texts/prose_heldout.jsonl", column = "text")
corpus talk  = jsonl("ORGANISM/texts/chat_heldout.jsonl", column = "messages", template = tokenizer)
activations acts {
  of       = organism
  layer    = 1
  context  = 24 tokens
  train    = [300 tokens of prose, 300 tokens of talk]
  validate = [60 tokens of talk]
}
crosscoder cc {
  on      = acts
  latents = 64
  loss    = batch_topk(k = 8)
  train {
    batch  = 64 tokens
    length = 600 tokens
  }
}
quality fit {
  of      = cc
  spliced = 30 tokens
}
layers depth {
  of      = organism
  layers  = [1]
  prompts = 2 prompts of talk
  context = 32 tokens
}
patch causal {
  of        = cc
  prompts   = 2 prompts of talk
  context   = 32 tokens
  insert    = [nothing, everything, error]
  positions = [all, first(3)]
  metric    = [kl, kl_base, loss, agreement]
}
table effects {
  rows    = causal
  columns = [insert, positions, metric, mean, clean, count]
}
table quality {
  rows    = fit
  columns = [model, fve, ce_clean, ce_spliced, ce_zero, kl_spliced]
}
table apart {
  rows    = depth
  columns = [layer, measure, group, mean, count]
}
"#;
const TABLES: [&str; 3] = ["effects", "quality", "apart"];

/// Hears of failures only.
struct Loud;

impl Observer for Loud {
    fn started(&self, _: &str, _: &str, _: usize, _: usize) {}
    fn progress(&self, _: &str, _: &Progress) {}
    fn note(&self, _: &str, _: &str) {}
    fn finished(&self, _: &str, _: &str, _: bool, _: f64) {}
    fn failed(&self, address: &str, error: &str) {
        panic!("{address}: {error}");
    }
    fn skipped(&self, _: &str, _: &str) {}
}

fn plan(path: &Path) -> Plan {
    let mut sources = Sources::default();
    let id = sources.add("experiment.xd".to_string(), std::fs::read_to_string(path).unwrap());
    let analysis = analyse(&FileWorld::of(path), &mut sources, id, &[], false);
    analysis.plan.unwrap_or_else(|| panic!("{:?}", analysis.diagnostics))
}

fn run(plan: &Plan, folder: &Path, out: &str, gpu: Option<Arc<dyn Gpu>>) -> Manifest {
    let store = Store::open(folder.join("store")).unwrap();
    let options = Options {
        file: "experiment.xd".into(),
        experiment: "experiment".into(),
        out: folder.join(out),
        only: None,
        resolved: String::new(),
        sources: Vec::new(),
        warnings: Vec::new(),
        inputs: Vec::new(),
        hub: Hub::new(Settings::from_env(folder.join("hub"), None), None),
        gpu,
    };
    let device = Device { name: "cpu".into(), threads: 1, flops: 1e9, bandwidth: 1e9 };
    executor::run(plan, &store, &options, &device, &Loud).unwrap().manifest
}

fn table(path: &Path) -> Vec<BTreeMap<String, String>> {
    csv::Reader::from_path(path).unwrap().deserialize().map(|row| row.unwrap()).collect()
}

#[test]
fn a_run_with_a_gpu_makes_what_is_missing_there_and_keeps_what_the_cpu_made() {
    let Some(gpu) = emulator(false) else { return };
    let folder = tempfile::tempdir().unwrap();
    let organism = Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments/organism");
    let path = folder.path().join("experiment.xd");
    std::fs::write(&path, EXPERIMENT.replace("ORGANISM", &organism.display().to_string())).unwrap();
    let plan = plan(&path);
    let devices = |manifest: &Manifest| -> BTreeMap<String, (bool, String)> {
        manifest.steps.iter().map(|step| (step.address.clone(), (step.cached, step.device.clone()))).collect()
    };
    run(&plan, folder.path(), "cpu", None);
    let kept = devices(&run(&plan, folder.path(), "kept", Some(gpu.clone())));
    for name in ["acts", "cc", "fit", "depth", "causal"] {
        assert_eq!(kept[name], (true, "cpu".to_string()), "{name} is not made again");
    }
    let store = Store::open(folder.path().join("store")).unwrap();
    for step in plan.steps.iter().filter(|step| ["activations", "quality", "layers", "patch"].contains(&step.kind)) {
        std::fs::remove_dir_all(store.artifact(&step.id)).unwrap();
    }
    let made = devices(&run(&plan, folder.path(), "gpu", Some(gpu)));
    for name in ["acts", "fit", "depth", "causal"] {
        assert_eq!(made[name], (false, "emulator".to_string()), "{name}");
    }
    assert_eq!(made["cc"], (true, "cpu".to_string()));
    for name in TABLES {
        let read = |out: &str| table(&folder.path().join(format!("{out}/tables/{name}.csv")));
        let (found, wanted) = (read("gpu"), read("cpu"));
        assert!(found.len() == wanted.len() && !wanted.is_empty(), "{name}");
        for (a, b) in found.iter().zip(&wanted) {
            for (column, wanted) in b {
                let same = match (a[column].parse::<f64>(), wanted.parse::<f64>()) {
                    (Ok(a), Ok(b)) => (a - b).abs() <= 1e-4 * (1.0 + b.abs()),
                    _ => a[column] == *wanted,
                };
                assert!(same, "{name}, {column}: {a:?} {b:?}");
            }
        }
    }
}
