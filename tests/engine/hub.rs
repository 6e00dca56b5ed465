//! The hub from end to end: the program against a hub on a local socket.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::hub_server::{Asked, HubServer, Repo, TOKEN, git_hash, sha256};
use crate::support::{Lab, said};

const FILE: &str = r#"xd 1

pair organism {
  base  = hf("tiny/base")
  tuned = hf("tiny/chat")
}

corpus prose = hf("tiny/prose")

activations acts {
  of       = organism
  layer    = 1
  context  = 64 tokens
  train    = [9K tokens of prose]
  validate = [500 tokens of prose]
}

crosscoder cc {
  on      = acts
  latents = 1x
  loss    = batch_topk(k = 4, threshold_from = 5 steps)
  train {
    batch     = 64 tokens
    length    = 20 steps
    optimizer = adam(warmup = 5 steps)
  }
}

classify classes { of = cc }

table counts {
  rows    = classes
  group   = class
  columns = [class, count()]
}
"#;

fn organism(file: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments/organism").join(file)).unwrap()
}

fn model(folder: &str) -> Repo {
    let read = |name: &str| organism(&format!("{folder}/{name}"));
    Repo::new(&[
        ("README.md", b"# A model\n".to_vec()),
        (".gitattributes", b"*.safetensors filter=lfs\n".to_vec()),
        ("config.json", read("config.json")),
        ("tokenizer.json", read("tokenizer.json")),
        ("tokenizer_config.json", read("tokenizer_config.json")),
        ("model.safetensors", read("model.safetensors")),
    ])
}

/// The first lines of the held-out prose, in two files of the split train and one of test.
fn prose() -> Repo {
    let all = String::from_utf8(organism("texts/prose_heldout.jsonl")).unwrap();
    let lines: Vec<&str> = all.split_inclusive('\n').collect();
    let part = |from: usize, to: usize| lines[from..to].concat().into_bytes();
    Repo::new(&[
        ("README.md", b"---\nlicense: cc0-1.0\n---\n# Speeches\n".to_vec()),
        ("data/train-00000-of-00002.jsonl", part(0, 120)),
        ("data/train-00001-of-00002.jsonl", part(120, 240)),
        ("data/test-00000-of-00001.jsonl", part(240, 250)),
    ])
}

fn server() -> HubServer {
    let server = HubServer::start();
    server.put("models/tiny/base", model("base"));
    server.put("models/tiny/chat", model("chat"));
    server.put("datasets/tiny/prose", prose());
    server
}

/// A machine with an empty cache whose hub is the server.
struct Machine<'s> {
    lab: Lab,
    server: &'s HubServer,
    variables: Vec<(&'static str, String)>,
}

impl<'s> Machine<'s> {
    fn new(server: &'s HubServer, text: &str) -> Self {
        Machine { lab: Lab::new(text), server, variables: Vec::new() }
    }

    fn set(mut self, name: &'static str, value: &str) -> Self {
        self.variables.push((name, value.to_string()));
        self
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.lab.command(arguments);
        for name in [
            "HF_TOKEN",
            "HUGGING_FACE_HUB_TOKEN",
            "HF_TOKEN_PATH",
            "HF_HUB_OFFLINE",
            "TRANSFORMERS_OFFLINE",
            "HF_HUB_CACHE",
            "HUGGINGFACE_HUB_CACHE",
            "HTTP_PROXY",
            "http_proxy",
            "ALL_PROXY",
            "all_proxy",
        ] {
            command.env_remove(name);
        }
        command.env("HF_ENDPOINT", &self.server.address).env("HF_HOME", self.home());
        command.env("XDG_CACHE_HOME", self.lab.path().join("xdg")).env("HF_HUB_DOWNLOAD_TIMEOUT", "5");
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    fn xd(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn run(&self, more: &[&str]) -> String {
        let arguments: Vec<&str> = ["run", "experiment.xd"].iter().chain(more).copied().collect();
        let output = self.xd(&arguments);
        assert!(output.status.success(), "{}", said(&output));
        said(&output)
    }

    /// Runs a file that must be refused with this status; what was said.
    fn refused(&self, status: i32, more: &[&str]) -> String {
        let arguments: Vec<&str> = ["run", "experiment.xd"].iter().chain(more).copied().collect();
        let output = self.xd(&arguments);
        assert_eq!(output.status.code(), Some(status), "{}", said(&output));
        // As one line, so that the width of the terminal does not matter.
        said(&output).replace("│", " ").split_whitespace().collect::<Vec<_>>().join(" ")
    }

    fn home(&self) -> PathBuf {
        self.lab.path().join("hf")
    }

    fn cache(&self, folder: &str) -> PathBuf {
        self.home().join("hub").join(folder)
    }

    fn lock(&self) -> String {
        std::fs::read_to_string(self.lab.path().join("experiment.lock")).unwrap()
    }

    fn blob(&self, folder: &str, name: &str) -> PathBuf {
        self.cache(folder).join("blobs").join(name)
    }
}

fn downloads(server: &HubServer) -> Vec<String> {
    server.asked().into_iter().filter(|a| a.method == "GET" && !a.path.starts_with("/api/")).map(|a| a.path).collect()
}

#[test]
fn a_file_that_names_only_the_hub_runs_and_a_second_run_downloads_nothing() {
    let server = server();
    let machine = Machine::new(&server, FILE);
    // Nothing is known and nothing is asked before a run.
    assert!(machine.xd(&["check", "experiment.xd"]).status.success());
    let plan = said(&machine.xd(&["plan", "experiment.xd"]));
    assert!(plan.contains("not pinned yet"), "{plan}");
    assert_eq!(server.asked(), []);

    let said_first = machine.run(&[]);
    assert!(said_first.contains("pinned in experiment.lock"), "{said_first}");
    let fetched = downloads(&server);
    assert!(
        fetched.iter().any(|p| p == &format!("/cdn/{}", sha256(&organism("base/model.safetensors")))),
        "{fetched:?}"
    );
    assert!(!fetched.iter().any(|p| p.contains("test-00000") || p.contains(".gitattributes")), "{fetched:?}");
    let lock = machine.lock();
    assert!(
        lock.contains(&sha256(&organism("chat/model.safetensors"))) && lock.contains("data/train-00001-of-00002.jsonl")
    );

    // The cache is laid out as the Python library does it.
    let base = machine.cache("models--tiny--base");
    let commit = std::fs::read_to_string(base.join("refs/main")).unwrap();
    let config = base.join("snapshots").join(&commit).join("config.json");
    let etag = git_hash(&organism("base/config.json"));
    assert_eq!(std::fs::read_link(&config).unwrap(), PathBuf::from(format!("../../blobs/{etag}")));
    assert_eq!(std::fs::read(&config).unwrap(), organism("base/config.json"));
    assert!(!std::fs::read_dir(base.join("blobs")).unwrap().any(|e| e.unwrap().path().extension().is_some()));

    machine.run(&[]);
    assert_eq!(server.asked(), [], "the second run asks nothing at all");
    assert_eq!(machine.lock(), lock);
    let table = std::fs::read_to_string(machine.lab.path().join("runs/experiment/tables/counts.csv")).unwrap();
    assert!(table.starts_with("class,"), "{table}");
    let plan = said(&machine.xd(&["plan", "experiment.xd"]));
    assert!(plan.contains("0 to do") && !plan.contains("fetch"), "{plan}");
    let shown = said(&machine.xd(&["show", "experiment.xd"]));
    assert!(shown.contains(&commit) && shown.contains("# lock file"), "{shown}");
    let manifest = std::fs::read_to_string(machine.lab.path().join("runs/experiment/manifest.json")).unwrap();
    assert!(manifest.contains(&format!("hf:tiny/base@{commit}")), "{manifest}");
}

/// The hub sends to `/api/resolve-cache` for files that are not in large storage.
#[test]
fn small_files_come_from_where_the_hub_keeps_them() {
    for linked in [false, true] {
        let server = server();
        server.resolve_cache(linked);
        let machine = Machine::new(&server, FILE);
        machine.run(&[]);
        let asked = server.asked();
        let cached = |a: &&Asked| a.method == "GET" && a.path.starts_with("/api/resolve-cache/models/tiny/base/");
        assert!(asked.iter().filter(cached).any(|a| a.path.ends_with("/config.json")), "{asked:?}");
        let blob = machine.blob("models--tiny--base", &git_hash(&organism("base/config.json")));
        assert_eq!(std::fs::read(blob).unwrap(), organism("base/config.json"));
    }
}

#[test]
fn a_committed_lock_makes_the_same_run_on_another_machine() {
    let server = server();
    let first = Machine::new(&server, FILE);
    first.run(&[]);
    // The branch moves on, the lock file does not.
    server.change("models/tiny/base", |repo| {
        repo.commit("main", &[("model.safetensors", organism("chat/model.safetensors"))])
    });
    let second = Machine::new(&server, FILE);
    std::fs::copy(first.lab.path().join("experiment.lock"), second.lab.path().join("experiment.lock")).unwrap();
    let plan = said(&second.xd(&["plan", "experiment.xd"]));
    assert!(
        plan.contains("of the hub are not here yet") && plan.contains("of models and crosscoders to download"),
        "{plan}"
    );
    second.run(&[]);
    assert_eq!(first.lock(), second.lock());
    assert_eq!(first.lab.results("runs/experiment"), second.lab.results("runs/experiment"));
    // With the store kept and the models gone, nothing has to come again.
    std::fs::remove_dir_all(second.home()).unwrap();
    let plan = said(&second.xd(&["plan", "experiment.xd"]));
    assert!(plan.contains("no step to do reads it"), "{plan}");
    server.asked();
    second.run(&[]);
    let big = sha256(&organism("base/model.safetensors"));
    assert!(!downloads(&server).iter().any(|path| path.contains(&big)), "weights that no step reads stay away");
}

#[test]
fn a_renamed_repository_trains_nothing_again() {
    let server = server();
    let machine = Machine::new(&server, FILE);
    machine.run(&[]);
    server.rename("models/tiny/base", "models/small/base");
    // Its old name still works, and the new one is told.
    let again = Machine::new(&server, FILE);
    let said_again = again.run(&[]);
    assert!(said_again.contains("`tiny/base` is called `small/base` on the hub now"), "{said_again}");
    // The new name has the same contents: everything is in the store.
    machine.lab.write(&FILE.replace("tiny/base", "small/base"));
    let said_new = machine.run(&[]);
    assert!(said_new.contains("small/base"), "{said_new}");
    for (address, cached, _) in machine.lab.steps("runs/experiment") {
        assert!(cached || !["acts", "cc", "classes"].contains(&address.as_str()), "{address} was made again");
    }
}

#[test]
fn a_connection_that_breaks_is_gone_on_with() {
    let server = server();
    let machine = Machine::new(&server, FILE);
    let weights = organism("base/model.safetensors");
    // Broken twice within one run.
    server.cut("model.safetensors", &[1_000_000, 300_000]);
    machine.run(&[]);
    let ranges: Vec<String> = server
        .asked()
        .into_iter()
        .filter(|a| a.path == format!("/cdn/{}", sha256(&weights)))
        .filter_map(|a| a.range)
        .collect();
    assert_eq!(ranges, ["bytes=1000000-", "bytes=1300000-"]);

    // Broken for good: what came is kept, and the next run asks for the rest.
    let machine = Machine::new(&server, FILE);
    server.cut("model.safetensors", &[700_000, 0, 0, 0, 0, 0, 0, 0]);
    let said_broken = machine.refused(3, &[]);
    assert!(
        said_broken.contains("the connection broke after 700 kB of 2.5 MB of `model.safetensors`"),
        "{said_broken}"
    );
    assert!(said_broken.contains("what came is kept"), "{said_broken}");
    let partial = machine.blob("models--tiny--base", &format!("{}.incomplete", sha256(&weights)));
    assert_eq!(std::fs::metadata(&partial).unwrap().len(), 700_000);
    server.cut("model.safetensors", &[]);
    server.asked();
    let said_next = machine.run(&[]);
    assert!(said_next.contains("goes on after the 700 kB that are here"), "{said_next}");
    let ranges: Vec<String> = server.asked().into_iter().filter_map(|a| a.range).collect();
    assert_eq!(ranges, ["bytes=700000-"]);
    assert!(!partial.exists());
}

#[test]
fn a_server_without_ranges_and_a_leftover_of_another_file() {
    let server = server();
    let weights = organism("base/model.safetensors");
    let machine = Machine::new(&server, FILE);
    server.without_ranges("model.safetensors");
    server.cut("model.safetensors", &[500_000]);
    machine.run(&[]);
    // Bytes that are not of this file: found by the hash, thrown away, and fetched anew by the next run.
    let server = self::server();
    let machine = Machine::new(&server, FILE);
    let partial = machine.blob("models--tiny--base", &format!("{}.incomplete", sha256(&weights)));
    std::fs::create_dir_all(partial.parent().unwrap()).unwrap();
    std::fs::write(&partial, vec![7u8; 400_000]).unwrap();
    let said_wrong = machine.refused(3, &[]);
    assert!(said_wrong.contains("what came as `model.safetensors` is not that file"), "{said_wrong}");
    machine.run(&[]);
    // Longer than the file: begun anew at once.
    let machine = Machine::new(&server, FILE);
    let partial = machine.blob("models--tiny--base", &format!("{}.incomplete", sha256(&weights)));
    std::fs::create_dir_all(partial.parent().unwrap()).unwrap();
    std::fs::write(&partial, vec![7u8; weights.len() + 1]).unwrap();
    machine.run(&[]);
}

#[test]
fn wrong_content_is_never_kept() {
    let server = server();
    let machine = Machine::new(&server, FILE);
    server.spoil("model.safetensors", true);
    let said_wrong = machine.refused(3, &[]);
    assert!(said_wrong.contains("is not that file: sha256"), "{said_wrong}");
    assert!(!machine.blob("models--tiny--base", &sha256(&organism("base/model.safetensors"))).exists());
    // Also of small files, which git's hash names.
    let machine = Machine::new(&server, FILE);
    server.spoil("model.safetensors", false);
    server.spoil("config.json", true);
    let said_wrong = machine.refused(3, &[]);
    assert!(said_wrong.contains("what came as `config.json` is not that file: git's"), "{said_wrong}");
    server.spoil("config.json", false);
    machine.run(&[]);
}

#[test]
fn what_differs_from_the_lock_file_is_refused() {
    let server = server();
    let machine = Machine::new(&server, FILE);
    machine.run(&[]);
    let store = machine.lab.path().join(".xd");
    // In the cache: one byte is another, the size is the same.
    let weights = machine.blob("models--tiny--base", &sha256(&organism("base/model.safetensors")));
    let mut content = std::fs::read(&weights).unwrap();
    let last = content.len() - 1;
    content[last] ^= 1;
    std::fs::write(&weights, &content).unwrap();
    std::fs::remove_dir_all(&store).unwrap();
    let said_cache = machine.refused(3, &[]);
    assert!(
        said_cache.contains("in the cache") && said_cache.contains("is not the one that the lock file pins"),
        "{said_cache}"
    );
    assert!(said_cache.contains("--update-lock"), "{said_cache}");
    // On the hub: the lock file pins another hash of the same commit.
    std::fs::remove_dir_all(machine.home()).unwrap();
    let lock = machine.lock().replace(&sha256(&organism("base/model.safetensors")), &"12".repeat(32));
    std::fs::write(machine.lab.path().join("experiment.lock"), lock).unwrap();
    let said_hub = machine.refused(3, &[]);
    assert!(said_hub.contains("`model.safetensors` of `tiny/base` on the hub is not the one"), "{said_hub}");
    machine.run(&["--update-lock"]);
    assert!(machine.lock().contains(&sha256(&organism("base/model.safetensors"))));
    // Another revision than the pinned one.
    machine.lab.write(&FILE.replace("hf(\"tiny/base\")", "hf(\"tiny/base\", revision = \"v2\")"));
    let said_revision = machine.refused(2, &[]);
    assert!(said_revision.contains("xd::lock_differs") && said_revision.contains("`v2`"), "{said_revision}");
    server.change("models/tiny/base", |repo| repo.commit("v2", &[("README.md", b"# new\n".to_vec())]));
    machine.run(&["--update-lock"]);
    assert!(machine.lock().contains("\"revision\": \"v2\"") && !machine.lock().contains("\"revision\": \"main\""));
    for (address, cached, _) in machine.lab.steps("runs/experiment") {
        assert!(
            cached || !["acts", "cc", "classes"].contains(&address.as_str()),
            "{address}: only the README is another"
        );
    }
}

#[test]
fn gated_missing_private_and_other_refusals_say_what_to_do() {
    let server = server();
    server.change("models/tiny/base", |repo| repo.gated = true);
    let page = format!("{}/tiny/base", server.address);
    let machine = Machine::new(&server, FILE);
    let gated = machine.refused(2, &[]);
    assert!(gated.contains("xd::gated_model") && gated.contains("experiment.xd:4:"), "{gated}");
    assert!(gated.contains("`tiny/base` is gated, and no token was sent") && gated.contains(&page), "{gated}");
    assert!(gated.contains("accept its licence") && gated.contains("HF_TOKEN"), "{gated}");
    Machine::new(&server, FILE).set("HF_TOKEN", TOKEN).run(&[]);
    let asked = server.asked();
    assert!(asked.iter().filter(|a| a.path.starts_with("/cdn/")).all(|a| a.method == "GET"));

    let bad = Machine::new(&server, FILE).set("HF_TOKEN", "hf_old").refused(3, &[]);
    assert!(bad.contains("the hub does not accept the token in HF_TOKEN"), "{bad}");
    let file = FILE.replace("tiny/base", "tiny/bsae");
    let missing = Machine::new(&server, &file).refused(2, &[]);
    assert!(missing.contains("xd::hub_missing") && missing.contains("the hub shows no model `tiny/bsae`"), "{missing}");
    assert!(missing.contains("a private repository looks missing"), "{missing}");
    let file = FILE.replace("hf(\"tiny/prose\")", "hf(\"tiny/prose\", revision = \"mian\")");
    let machine = Machine::new(&server, &file).set("HF_TOKEN", TOKEN);
    let revision = machine.refused(2, &[]);
    assert!(
        revision.contains("`tiny/prose` has no branch, tag or commit `mian`")
            && revision.contains("did you mean `main`?"),
        "{revision}"
    );
    let file = FILE.replace("hf(\"tiny/prose\")", "hf(\"tiny/prose\", split = \"tset\")");
    let split = Machine::new(&server, &file).set("HF_TOKEN", TOKEN).refused(2, &[]);
    assert!(split.contains("it has no split `tset`") && split.contains("did you mean `test`?"), "{split}");
    server.change("datasets/tiny/prose", |repo| repo.private = true);
    let private = Machine::new(&server, &FILE.replace("tiny/base", "tiny/chat")).refused(2, &[]);
    assert!(private.contains("the hub shows no data set `tiny/prose`"), "{private}");
    // What can be read on a machine with mistakes in the file is not asked for.
    server.asked();
    let wrong = Machine::new(&server, &FILE.replace("layer    =", "layr     =")).refused(2, &[]);
    assert!(wrong.contains("xd::unknown_field"), "{wrong}");
    assert_eq!(server.asked(), []);
}

#[test]
fn facts_of_a_pinned_model_find_mistakes_before_its_weights_come() {
    let server = server();
    let machine = Machine::new(&server, &FILE.replace("layer    = 1", "layer    = 99"));
    let found = machine.refused(2, &[]);
    assert!(found.contains("xd::layer_out_of_range"), "{found}");
    assert!(!server.asked().iter().any(|a| a.path.contains(&sha256(&organism("base/model.safetensors")))));
    assert!(!machine.xd(&["check", "experiment.xd"]).status.success(), "the cache tells check as well");
}

#[test]
fn the_network_is_not_used_offline_nor_missed() {
    let server = server();
    let machine = Machine::new(&server, FILE);
    machine.run(&[]);
    // Everything is here: offline, with another address, it runs all the same.
    server.asked();
    let offline = Machine { lab: machine.lab, server: &server, variables: vec![("HF_HUB_OFFLINE", "1".into())] };
    std::fs::remove_dir_all(offline.lab.path().join(".xd")).unwrap();
    offline.run(&[]);
    // Without a lock file it pins what the cache has.
    let lock = offline.lock();
    std::fs::remove_file(offline.lab.path().join("experiment.lock")).unwrap();
    let said_cache = offline.run(&[]);
    assert!(said_cache.contains("pinned as the cache has it"), "{said_cache}");
    assert_eq!(offline.lock(), lock);
    // A file that is gone is named.
    let commit = std::fs::read_to_string(offline.cache("models--tiny--chat/refs/main")).unwrap();
    let gone = offline.cache("models--tiny--chat/snapshots").join(&commit).join("model.safetensors");
    std::fs::remove_file(&gone).unwrap();
    std::fs::remove_dir_all(offline.lab.path().join(".xd")).unwrap();
    let said_gone = offline.refused(3, &[]);
    assert!(said_gone.contains("`model.safetensors` of `tiny/chat` is not in the cache"), "{said_gone}");
    assert!(
        said_gone.contains(&format!("hf download tiny/chat 'model.safetensors' --revision {commit}")),
        "{said_gone}"
    );
    std::fs::remove_file(offline.lab.path().join("experiment.lock")).unwrap();
    let said_unpinned = offline.refused(3, &[]);
    assert!(said_unpinned.contains("`model.safetensors` of `tiny/chat` is not in the cache"), "{said_unpinned}");
    assert_eq!(server.asked(), []);
    let empty = Machine::new(&server, FILE).set("HF_HUB_OFFLINE", "1").refused(3, &[]);
    assert!(empty.contains("`tiny/base` at `main` is not in the cache") && empty.contains("HF_HUB_OFFLINE"), "{empty}");
    assert_eq!(server.asked(), []);
}

#[test]
fn endpoints_that_are_no_hub() {
    let server = server();
    let at = |endpoint: &str| Machine::new(&server, FILE).set("HF_ENDPOINT", endpoint).refused(3, &[]);
    let odd = at("huggingface.co");
    assert!(odd.contains("HF_ENDPOINT is `huggingface.co`, which is no address of a hub"), "{odd}");
    // A port that nobody listens at.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nobody = at(&format!("http://{free}"));
    assert!(nobody.contains("cannot be reached: it refuses the connection"), "{nobody}");
    // Busy for a moment is waited for, busy for long is said.
    server.fail(&[503, 429]);
    Machine::new(&server, FILE).run(&[]);
    server.fail(&[503; 8]);
    let busy = Machine::new(&server, FILE).refused(3, &[]);
    assert!(busy.contains("the hub answers 503"), "{busy}");
    server.fail(&[]);
    server.fail(&[204]);
    let no_hub = Machine::new(&server, FILE).refused(3, &[]);
    assert!(no_hub.contains("does not answer as a hub does"), "{no_hub}");
}

#[test]
fn a_file_without_the_hub_never_asks_it() {
    let server = server();
    let text = "xd 1\n\npair toy = synthetic(width = 16)\n\nactivations acts {\n  of       = toy\n  train    = 2K tokens\n  validate = 500 tokens\n}\n\ncrosscoder cc {\n  on      = acts\n  latents = 32\n  loss    = batch_topk(k = 4, threshold_from = 5 steps)\n  train {\n    batch     = 64 tokens\n    length    = 20 steps\n    optimizer = adam(warmup = 5 steps)\n  }\n}\n";
    let machine = Machine::new(&server, text).set("HF_TOKEN", TOKEN);
    machine.run(&[]);
    assert_eq!(server.asked(), []);
    assert!(!machine.lab.path().join("experiment.lock").exists() && !machine.home().exists());
    // Not even an address that is none is noticed.
    Machine::new(&server, text).set("HF_ENDPOINT", "nonsense").run(&[]);
}

#[test]
fn two_processes_fetch_a_file_once() {
    let server = server();
    server.slow(std::time::Duration::from_millis(20));
    let machine = Machine::new(&server, FILE);
    let start = |out: &str, store: &str| {
        machine.command(&["run", "experiment.xd", "--out", out, "--store", store]).spawn().unwrap()
    };
    let (first, second) = (start("a", "store-a"), start("b", "store-b"));
    for output in [first.wait_with_output().unwrap(), second.wait_with_output().unwrap()] {
        assert!(output.status.success(), "{}", said(&output));
    }
    let fetched = downloads(&server);
    for file in ["base/model.safetensors", "chat/model.safetensors"] {
        let path = format!("/cdn/{}", sha256(&organism(file)));
        assert_eq!(fetched.iter().filter(|p| **p == path).count(), 1, "{file} in {fetched:?}");
    }
}

#[test]
fn an_interrupt_keeps_what_came() {
    let server = server();
    server.slow(std::time::Duration::from_millis(200));
    let machine = Machine::new(&server, FILE);
    let child = machine.command(&["run", "experiment.xd"]).spawn().unwrap();
    let partial =
        machine.blob("models--tiny--base", &format!("{}.incomplete", sha256(&organism("base/model.safetensors"))));
    let start = std::time::Instant::now();
    while std::fs::metadata(&partial).map_or(0, |facts| facts.len()) < 300_000 {
        assert!(start.elapsed().as_secs() < 60, "the download begins");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    // SAFETY: the signal goes to the child that was just started.
    unsafe { libc::kill(child.id() as i32, libc::SIGINT) };
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    assert!(said(&output).contains("the same command goes on from here"), "{}", said(&output));
    let kept = std::fs::metadata(&partial).unwrap().len();
    assert!((300_000..2_000_000).contains(&kept), "{kept}");
    server.slow(std::time::Duration::ZERO);
    server.asked();
    machine.run(&[]);
    assert!(server.asked().iter().any(|a| a.range == Some(format!("bytes={kept}-"))));
}

#[test]
fn sharded_weights_and_the_parquet_conversion() {
    let server = server();
    // Two shards and an index, as large models come.
    let (one, two, index) = shards(&organism("base/model.safetensors"));
    let mut sharded = Repo::default();
    sharded.commit(
        "main",
        &[
            ("config.json", organism("base/config.json")),
            ("tokenizer.json", organism("base/tokenizer.json")),
            ("model-00001-of-00002.safetensors", one),
            ("model-00002-of-00002.safetensors", two),
            ("model.safetensors.index.json", index),
        ],
    );
    server.put("models/tiny/sharded", sharded);
    let whole = Machine::new(&server, FILE);
    whole.run(&[]);
    let machine = Machine::new(&server, &FILE.replace("tiny/base", "tiny/sharded"));
    machine.run(&[]);
    assert_eq!(whole.lab.results("runs/experiment"), machine.lab.results("runs/experiment"), "the same weights");
    // A data set of a format that xd does not read, converted by the hub.
    let mut odd = Repo::new(&[("load.py", b"# a script\n".to_vec())]);
    odd.commit("refs/convert/parquet", &[("default/train/0000.parquet", parquet_of_prose())]);
    server.put("datasets/tiny/odd", odd);
    let machine = Machine::new(&server, &FILE.replace("tiny/prose", "tiny/odd"));
    let said_odd = machine.run(&[]);
    assert!(said_odd.contains("as the hub has converted it to Parquet"), "{said_odd}");
    assert_eq!(whole.lab.results("runs/experiment"), machine.lab.results("runs/experiment"), "the same text");
}

/// The tensors of a safetensors file in two files, with their index.
fn shards(whole: &[u8]) -> (Vec<u8>, Vec<u8>, Vec<u8>) {
    let tensors = safetensors::SafeTensors::deserialize(whole).unwrap();
    let mut names = tensors.names();
    names.sort();
    let half = names.len() / 2;
    let part = |names: &[&str]| {
        let views = names.iter().map(|name| (name.to_string(), tensors.tensor(name).unwrap()));
        safetensors::serialize(views, None).unwrap()
    };
    let file =
        |i: usize| if i < half { "model-00001-of-00002.safetensors" } else { "model-00002-of-00002.safetensors" };
    let map: serde_json::Map<String, serde_json::Value> =
        names.iter().enumerate().map(|(i, name)| (name.to_string(), file(i).into())).collect();
    let index = serde_json::json!({"metadata": {"total_size": 1}, "weight_map": map}).to_string().into_bytes();
    (part(&names[..half]), part(&names[half..]), index)
}

/// The documents of the split train of [`prose`] as one Parquet file with a column `text`.
fn parquet_of_prose() -> Vec<u8> {
    use parquet::data_type::{ByteArray, ByteArrayType};
    let all = String::from_utf8(organism("texts/prose_heldout.jsonl")).unwrap();
    let texts: Vec<ByteArray> = all
        .lines()
        .take(240)
        .map(|line| {
            let value: serde_json::Value = serde_json::from_str(line).unwrap();
            ByteArray::from(value["text"].as_str().unwrap().as_bytes().to_vec())
        })
        .collect();
    let schema = parquet::schema::parser::parse_message_type("message rows { required binary text (UTF8); }").unwrap();
    let mut file = Vec::new();
    let mut writer =
        parquet::file::writer::SerializedFileWriter::new(&mut file, std::sync::Arc::new(schema), Default::default())
            .unwrap();
    let mut group = writer.next_row_group().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<ByteArrayType>().write_batch(&texts, None, None).unwrap();
    column.close().unwrap();
    group.close().unwrap();
    writer.close().unwrap();
    file
}

#[test]
fn corpora_come_file_by_file() {
    let server = server();
    // The first file is enough for what is asked.
    let text =
        FILE.replace("9K tokens of prose", "1K tokens of prose").replace("500 tokens of prose", "200 tokens of prose");
    let machine = Machine::new(&server, &text.replace("length    = 20 steps", "length    = 5 steps"));
    machine.run(&[]);
    let pinned = machine.lock();
    assert!(pinned.contains("train-00000-of-00002") && pinned.contains("train-00001-of-00002"));
    let snapshot = machine.cache("datasets--tiny--prose/snapshots");
    let commit = std::fs::read_dir(&snapshot).unwrap().next().unwrap().unwrap().path();
    assert!(commit.join("data/train-00000-of-00002.jsonl").exists());
    assert!(!commit.join("data/train-00001-of-00002.jsonl").exists(), "nobody read it");
    let plan = said(&machine.xd(&["plan", "experiment.xd"]));
    assert!(plan.contains("no step to do reads it") && !plan.contains("to download"), "{plan}");
    let limited = Machine::new(&server, &text.replace("hf(\"tiny/prose\")", "hf(\"tiny/prose\", files = 1)"));
    limited.run(&[]);
    assert!(!limited.lock().contains("train-00001-of-00002"));
}

#[test]
fn a_published_crosscoder_is_analysed_and_started_from() {
    let server = server();
    let machine = Machine::new(&server, FILE);
    machine.run(&[]);
    let trained = machine.lab.path().join("runs/experiment/artifacts/cc");
    let read = |name: &str| std::fs::read(trained.join(name)).unwrap();
    let files = [
        ("l1/config.json", read("config.json")),
        ("l1/model.safetensors", read("model.safetensors")),
        ("README.md", vec![b'#']),
    ];
    server.put("models/tiny/cc", Repo::new(&files));
    let text = format!(
        "{FILE}\ncrosscoder published {{\n  on   = acts\n  from = hf(\"tiny/cc\", folder = \"l1\")\n}}\n\ncrosscoder further {{\n  on        = acts\n  latents   = 1x\n  loss      = batch_topk(k = 4, threshold_from = 5 steps)\n  init.from = hf(\"tiny/cc\", folder = \"l1\")\n  train {{\n    batch     = 64 tokens\n    length    = 10 steps\n    optimizer = adam(warmup = 5 steps)\n  }}\n}}\n\nquality fit {{ of = published }}\nquality fit_further {{ of = further }}\n"
    );
    machine.lab.write(&text);
    machine.run(&[]);
    let published = machine.lab.path().join("runs/experiment/artifacts/published/rows.csv");
    let own = machine.lab.path().join("runs/experiment/artifacts/cc/rows.csv");
    let fve = |path: &Path| {
        let text = std::fs::read_to_string(path).unwrap();
        let (head, row) = text.split_once('\n').unwrap();
        let at = head.split(',').position(|c| c == "fve").unwrap();
        row.trim().split(',').nth(at).unwrap().to_string()
    };
    assert_eq!(fve(&published), fve(&own));
    machine.lab.write(&text.replace(", folder = \"l1\"", ""));
    let said_root = machine.refused(2, &[]);
    assert!(
        said_root.contains("its root has no weights") && said_root.contains("write `folder = \"l1\"`"),
        "{said_root}"
    );
}

#[test]
fn what_does_not_fit_on_the_disk_is_not_begun() {
    let server = server();
    server.inflate("model.safetensors", 1 << 60);
    let machine = Machine::new(&server, FILE);
    let full = machine.refused(2, &[]);
    assert!(full.contains("xd::disk_full") && full.contains("HF_HUB_CACHE"), "{full}");
    // The files of a corpus come when they are read, and are looked at then.
    let server = self::server();
    server.inflate("data/train-00000-of-00002.jsonl", 1 << 60);
    let full = Machine::new(&server, FILE).refused(3, &[]);
    assert!(full.contains("`data/train-00000-of-00002.jsonl` needs 1152921.5 TB"), "{full}");
    assert!(full.contains("make room"), "{full}");
}

#[test]
fn doctor_shows_the_hub() {
    let server = server();
    let machine = Machine::new(&server, FILE).set("HF_TOKEN", TOKEN);
    machine.run(&[]);
    server.asked();
    let told = said(&machine.xd(&["doctor"]));
    assert!(told.contains(&server.address) && told.contains("token from HF_TOKEN"), "{told}");
    assert!(told.contains(&machine.cache("").display().to_string().trim_end_matches('/').to_string()), "{told}");
    assert!(told.contains("3 repositories") && !told.contains(TOKEN), "{told}");
    let told = said(&machine.xd(&["doctor", "--format", "json"]));
    let value: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!((value["hub"]["offline"].as_bool(), value["hub"]["repositories"].as_u64()), (Some(false), Some(3)));
    assert_eq!(server.asked(), []);
}

/// Python with huggingface_hub against the cache of a machine; the lines it printed.
fn python(machine: &Machine, verb: &str) -> Vec<String> {
    let python =
        std::env::var("XD_PYTHON").expect("XD_PYTHON names a Python with huggingface_hub: run tests/interop/hub.sh");
    let mut command = Command::new(python);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/hub.py")).arg(verb);
    command.env("HF_ENDPOINT", &machine.server.address).env("HF_HOME", machine.home());
    for name in ["HF_TOKEN", "HF_TOKEN_PATH", "HF_HUB_OFFLINE", "HF_HUB_CACHE", "HTTP_PROXY", "http_proxy"] {
        command.env_remove(name);
    }
    let output = command.output().unwrap();
    eprint!("{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}", said(&output));
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_string).collect()
}

#[test]
#[ignore = "needs Python with huggingface_hub: tests/interop/hub.sh"]
fn python_reads_what_xd_fetched() {
    let server = server();
    server.elsewhere();
    let machine = Machine::new(&server, FILE);
    machine.run(&[]);
    server.asked();
    let lines = python(&machine, "read");
    assert!(
        lines.contains(&format!("tiny/chat model.safetensors {}", sha256(&organism("chat/model.safetensors")))),
        "{lines:?}"
    );
    assert_eq!(lines.len(), 11, "{lines:?}");
    let fetched: Vec<String> = downloads(&server);
    assert_eq!(fetched, Vec::<String>::new(), "it only asks whether they are the newest");
}

#[test]
#[ignore = "needs Python with huggingface_hub: tests/interop/hub.sh"]
fn python_fetched_what_xd_reads() {
    let server = server();
    // The Python library follows redirects within the hub and takes those to other hosts for large files.
    server.elsewhere();
    let machine = Machine::new(&server, FILE);
    let lines = python(&machine, "write");
    assert_eq!(lines.len(), 11, "{lines:?}");
    server.asked();
    machine.run(&[]);
    assert_eq!(downloads(&server), Vec::<String>::new());
    let offline = Machine {
        lab: Lab::new(FILE),
        server: &server,
        variables: vec![("HF_HUB_OFFLINE", "1".into()), ("HF_HOME", machine.home().display().to_string())],
    };
    server.asked();
    offline.run(&[]);
    assert_eq!(server.asked(), []);
    assert_eq!(machine.lock(), offline.lock(), "the cache pins what the hub pins");
}
