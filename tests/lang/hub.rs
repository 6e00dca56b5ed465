//! Hub references in the language half: what is known without the network, keys of contents, and the lock file.

use xd::lang::analyse;
use xd::lang::hub::{Entry, HubFile, HubPart, HubPin, HubWanted, Lock, Repository};
use xd::lang::plan::{Origin, Plan};
use xd::lang::source::Sources;
use xd::lang::world::{CrosscoderFacts, ModelFacts, World};

use crate::memory::{Memory, short, small_model};

const FILE: &str = "xd 1
pair gemma {
  base  = hf(\"org/base\")
  tuned = hf(\"org/chat\", revision = \"v1\")
}
corpus web = hf(\"org/web\", split = \"test\", files = 2)
activations acts {
  of       = gemma
  layer    = 3
  context  = 256 tokens
  train    = [200K tokens of web]
  validate = [10K tokens of web]
}
crosscoder cc {
  on      = acts
  latents = 16x
  loss    = batch_topk(k = 100, threshold_from = 10 steps)
  train.optimizer = adam(warmup = 10 steps)
}
crosscoder published {
  on   = acts
  from = hf(\"org/cc\", folder = \"l13\")
}
classify classes { of = cc }
classify others { of = published }
";

fn wanted(repository: Repository, id: &str, revision: Option<&str>, part: HubPart) -> HubWanted {
    HubWanted { repository, id: id.to_string(), revision: revision.map(str::to_string), part }
}

fn pin(content: &str, commit: char) -> HubPin {
    let sha256 = blake3::hash(content.as_bytes()).to_hex().to_string();
    let files = vec![HubFile { path: "model.safetensors".to_string(), bytes: 1000, sha256 }];
    HubPin { commit: commit.to_string().repeat(40), files }
}

/// Everything that [`FILE`] names, pinned.
fn locked() -> Memory {
    let mut memory = Memory::organism();
    let split = HubPart::Split { config: None, split: "test".to_string(), first: Some(2) };
    let folder = HubPart::Crosscoder { folder: Some("l13".to_string()) };
    for (wanted, content) in [
        (wanted(Repository::Model, "org/base", None, HubPart::Model), "base"),
        (wanted(Repository::Model, "org/chat", Some("v1"), HubPart::Model), "chat"),
        (wanted(Repository::Dataset, "org/web", None, split), "web"),
        (wanted(Repository::Model, "org/cc", None, folder), "cc"),
    ] {
        memory.lock.set(Entry { wanted, pin: pin(content, 'a') });
    }
    memory
}

fn described(mut memory: Memory) -> Memory {
    for id in ["org/base", "org/chat"] {
        memory.hub_models.insert(id.to_string(), small_model());
    }
    let facts = CrosscoderFacts { width: 128, latents: 512, ..CrosscoderFacts::default() };
    memory.hub_crosscoders.insert("org/cc".to_string(), facts);
    memory
}

fn id(plan: &Plan, name: &str) -> String {
    plan.steps.iter().find(|s| s.address.name == name).unwrap_or_else(|| panic!("{name} is not planned")).id.clone()
}

#[test]
fn nothing_is_known_and_nothing_is_wrong() {
    // Neither a lock nor a cache: the checks that need facts are passed over, the plan is there.
    let plan = Memory::organism().plan(FILE);
    assert_eq!(plan.steps.iter().flat_map(|s| s.spec.hub_refs()).count(), 4);
    assert!(plan.steps.iter().flat_map(|s| s.spec.hub_refs()).all(|(_, hub)| hub.pin.is_none()));
    let plan = locked().plan(FILE);
    assert!(
        plan.steps.iter().flat_map(|s| s.spec.hub_refs()).all(|(_, hub)| hub.pin.is_some() && hub.folder.is_some())
    );
}

#[test]
fn facts_are_used_once_they_are_here() {
    let said = |text: &str| {
        let (analysis, sources) = described(locked()).analyse(text);
        short(&analysis, &sources)
    };
    assert_eq!(said(FILE), "");
    assert!(said(&FILE.replace("layer    = 3", "layer    = 4")).contains("layer_out_of_range"));
    assert!(said(&FILE.replace("k = 100", "k = 3000")).contains("k_too_large"));
    let mut memory = described(locked());
    let wide = ModelFacts { width: 256, ..small_model() };
    memory.hub_models.insert("org/chat".to_string(), wide);
    let (analysis, sources) = memory.analyse(FILE);
    assert!(short(&analysis, &sources).contains("pair_mismatch"));
    let plan = described(locked()).plan(FILE);
    let xd::lang::plan::Spec::Crosscoder(spec) = &plan.steps.iter().find(|s| s.address.name == "cc").unwrap().spec
    else {
        panic!("cc is a crosscoder")
    };
    assert_eq!(spec.latents, 16 * 128);
}

#[test]
fn keys_are_of_contents_and_not_of_names() {
    let before = described(locked()).plan(FILE);
    // The repositories move, the branch is another, the commit is another: the same files.
    let mut moved = described(Memory::organism());
    moved.hub_models.insert("new/base".to_string(), small_model());
    for entry in locked().lock.entries() {
        let mut entry = entry.clone();
        entry.wanted.id = entry.wanted.id.replace("org/base", "new/base");
        entry.wanted.revision = entry.wanted.revision.map(|_| "v2".to_string());
        entry.pin.commit = "b".repeat(40);
        moved.lock.set(entry);
    }
    let after = moved.plan(&FILE.replace("org/base", "new/base").replace("v1", "v2"));
    for name in ["web", "acts", "cc", "published", "classes", "others"] {
        assert_eq!(id(&before, name), id(&after, name), "{name}");
    }
    // Another content under the same name.
    let mut changed = described(locked());
    let entry = changed.lock.entries().iter().find(|e| e.wanted.id == "org/chat").unwrap().clone();
    changed.lock.set(Entry { pin: pin("another chat", 'a'), ..entry });
    let after = changed.plan(FILE);
    assert_eq!(id(&before, "web"), id(&after, "web"));
    for name in ["acts", "cc", "published"] {
        assert_ne!(id(&before, name), id(&after, name), "{name}");
    }
}

#[test]
fn the_pinned_commit_is_shown_with_its_origin() {
    let plan = locked().plan(FILE);
    let fields = |name: &str| &plan.steps.iter().find(|s| s.address.name == name).unwrap().resolved;
    let commit = fields("web").iter().find(|f| f.path == "commit").unwrap();
    assert_eq!((commit.value.as_str(), &commit.origin), ("a".repeat(40).as_str(), &Origin::Lock));
    assert!(fields("published").iter().any(|f| f.path == "from.commit"));
    assert!(Memory::organism().plan(FILE).steps.iter().all(|s| s.resolved.iter().all(|f| f.origin != Origin::Lock)));
}

#[test]
fn a_revision_that_the_lock_does_not_know_differs() {
    let other = FILE.replace("revision = \"v1\"", "revision = \"v2\"");
    let (analysis, sources) = locked().analyse(&other);
    let said = short(&analysis, &sources);
    assert!(said.contains("lock_differs") && said.contains("`v2`") && said.contains("`v1`"), "{said}");
    assert_eq!(said.matches("lock_differs").count(), 1, "{said}");
    // Two revisions of one model side by side: the second one is only not pinned yet.
    let both = FILE.replace("base  = hf(\"org/base\")", "base  = hf(\"org/chat\", revision = \"v2\")");
    let (analysis, sources) = locked().analyse(&both);
    assert_eq!(short(&analysis, &sources), "");
}

/// A world whose lock file is what the function says.
struct WithLock<F>(Memory, F);

impl<F: Fn() -> Result<Lock, String>> World for WithLock<F> {
    fn import(&self, from: &str, path: &str) -> Result<(String, String), String> {
        self.0.import(from, path)
    }
    fn model(&self, from: &str, folder: &str) -> Result<ModelFacts, String> {
        self.0.model(from, folder)
    }
    fn gguf(&self, from: &str, file: &str) -> Result<ModelFacts, String> {
        self.0.gguf(from, file)
    }
    fn bytes(&self, from: &str, path: &str) -> Result<u64, String> {
        self.0.bytes(from, path)
    }
    fn hash(&self, from: &str, path: &str) -> Result<String, String> {
        self.0.hash(from, path)
    }
    fn tensor_shape(&self, from: &str, path: &str, key: &str) -> Result<Vec<u64>, String> {
        self.0.tensor_shape(from, path, key)
    }
    fn lock(&self) -> Result<Lock, String> {
        (self.1)()
    }
}

#[test]
fn a_file_without_hub_references_has_no_lock_file() {
    let world = WithLock(Memory::organism(), || panic!("a file without hub references has no lock file"));
    let mut sources = Sources::default();
    let file = sources.add("test.xd", include_str!("real.xd"));
    let analysis = analyse(&world, &mut sources, file, &[], true);
    assert!(analysis.plan.is_some());
}

#[test]
fn a_lock_file_that_cannot_be_read_is_said_once() {
    let damaged = || Err("test.lock: it cannot be read as a lock file: line 3".to_string());
    let mut sources = Sources::default();
    let file = sources.add("test.xd", FILE);
    let analysis = analyse(&WithLock(Memory::organism(), damaged), &mut sources, file, &[], false);
    let said = short(&analysis, &sources);
    assert_eq!(said.matches("lock_differs").count(), 1, "{said}");
    assert!(said.contains("test.lock"), "{said}");
}
