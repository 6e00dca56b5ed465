//! The lock file: JSON, in a stable order, one file of a repository a line, meant to be committed.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{HubFile, HubPin, HubWanted};

/// The version of the format that is written here.
const VERSION: u64 = 1;

/// What is pinned for one experiment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lock {
    entries: Vec<Entry>,
}

/// What is pinned for one reference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    #[serde(flatten)]
    pub wanted: HubWanted,
    #[serde(flatten)]
    pub pin: HubPin,
}

impl Entry {
    /// True for the same files of the same repository, at whatever revision.
    fn is_of(&self, wanted: &HubWanted) -> bool {
        let own = &self.wanted;
        own.repository == wanted.repository && own.id == wanted.id && own.part == wanted.part
    }
}

/// Why a lock file does not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LockProblem {
    /// It pins the same files of the same repository at another revision, which the experiment no longer asks for.
    OtherRevision { locked: Option<String> },
    /// The revision that is asked for is a commit, and not the one that is pinned.
    OtherCommit { commit: String },
}

#[derive(Deserialize)]
struct Written {
    xd_lock: u64,
    hub: Vec<Entry>,
}

impl Lock {
    /// Reads the text of a lock file. `Err` is a sentence.
    pub fn parse(text: &str) -> Result<Lock, String> {
        let written: Written =
            serde_json::from_str(text).map_err(|e| format!("it cannot be read as a lock file: {e}"))?;
        if written.xd_lock != VERSION {
            return Err(format!(
                "it has version {} of the format and this version of xd knows {VERSION}",
                written.xd_lock
            ));
        }
        let mut lock = Lock::default();
        for entry in written.hub {
            check(&entry)?;
            lock.set(entry);
        }
        Ok(lock)
    }

    /// The text of the lock file: the same lock gives the same bytes.
    pub fn text(&self) -> String {
        let mut entries = Vec::new();
        for Entry { wanted, pin } in &self.entries {
            let mut lines = Vec::new();
            let fields = serde_json::to_value(wanted).unwrap_or_default();
            // In this order, whatever the order of the map.
            for name in ["repository", "id", "revision", "part", "folder", "config", "split", "first"] {
                if let Some(value) = fields.get(name).filter(|v| !v.is_null()) {
                    lines.push(format!("      {}: {value}", json!(name)));
                }
            }
            lines.push(format!("      \"commit\": {}", json!(pin.commit)));
            let files: Vec<String> = pin.files.iter().map(|f| format!("        {}", file(f))).collect();
            lines.push(format!("      \"files\": [\n{}\n      ]", files.join(",\n")));
            entries.push(format!("    {{\n{}\n    }}", lines.join(",\n")));
        }
        let hub = if entries.is_empty() { "[]".to_string() } else { format!("[\n{}\n  ]", entries.join(",\n")) };
        format!("{{\n  \"xd_lock\": {VERSION},\n  \"hub\": {hub}\n}}\n")
    }

    /// What is pinned, in a stable order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// What is pinned for a reference.
    pub fn pin(&self, wanted: &HubWanted) -> Option<&HubPin> {
        self.entries.iter().find(|e| e.wanted == *wanted).map(|e| &e.pin)
    }

    /// Pins a reference, in place of what was pinned for it.
    pub fn set(&mut self, entry: Entry) {
        self.entries.retain(|e| e.wanted != entry.wanted);
        let place = self.entries.partition_point(|e| e.wanted < entry.wanted);
        self.entries.insert(place, entry);
    }

    /// Forgets what is pinned of the same files of the same repositories, at any revision.
    pub fn forget<'w>(&mut self, all: impl Iterator<Item = &'w HubWanted>) {
        let all: Vec<&HubWanted> = all.collect();
        self.entries.retain(|entry| !all.iter().any(|wanted| entry.is_of(wanted)));
    }

    /// What speaks against the lock for one reference of an experiment that asks for `all`.
    pub fn problem(&self, wanted: &HubWanted, all: &[&HubWanted]) -> Option<LockProblem> {
        if let Some(pin) = self.pin(wanted) {
            let asked = wanted.revision.as_deref().filter(|r| is_commit(r))?;
            return (asked != pin.commit).then(|| LockProblem::OtherCommit { commit: pin.commit.clone() });
        }
        let other = self.entries.iter().find(|e| e.is_of(wanted) && !all.contains(&&e.wanted))?;
        Some(LockProblem::OtherRevision { locked: other.wanted.revision.clone() })
    }
}

/// `{"path": "config.json", "bytes": 600, "sha256": ".."}`, on one line.
fn file(file: &HubFile) -> String {
    format!("{{\"path\": {}, \"bytes\": {}, \"sha256\": {}}}", json!(file.path), file.bytes, json!(file.sha256))
}

/// True for 40 hex digits.
fn is_commit(revision: &str) -> bool {
    is_hex(revision, 40)
}

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// What a lock file must hold to be believed: paths that stay within the repository, and hashes that are hashes.
fn check(entry: &Entry) -> Result<(), String> {
    let id = &entry.wanted.id;
    if !is_commit(&entry.pin.commit) {
        return Err(format!("the commit of {id} is not 40 hex digits"));
    }
    for file in &entry.pin.files {
        if !super::is_inside(&file.path) {
            return Err(format!("`{}` of {id} is no path within a repository", file.path));
        }
        if !is_hex(&file.sha256, 64) {
            return Err(format!("the sha256 of `{}` of {id} is not 64 hex digits", file.path));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{HubPart, Repository};
    use super::*;

    fn wanted(id: &str, revision: Option<&str>) -> HubWanted {
        HubWanted {
            repository: Repository::Model,
            id: id.to_string(),
            revision: revision.map(str::to_string),
            part: HubPart::Model,
        }
    }

    fn entry(id: &str, revision: Option<&str>) -> Entry {
        let file = |path: &str| HubFile { path: path.to_string(), bytes: 3, sha256: "ab".repeat(32) };
        let files = vec![file("config.json"), file("model \"1\".safetensors")];
        Entry { wanted: wanted(id, revision), pin: HubPin { commit: "0f".repeat(20), files } }
    }

    #[test]
    fn what_is_written_is_read_and_the_order_is_stable() {
        let mut one = Lock::default();
        let split = HubPart::Split { config: None, split: "train".to_string(), first: Some(2) };
        let mut data = entry("org/data", None);
        data.wanted = HubWanted { repository: Repository::Dataset, part: split, ..data.wanted };
        let all = [entry("org/b", None), entry("org/a", Some("v1")), entry("org/a", None), data];
        all.iter().for_each(|e| one.set(e.clone()));
        let mut other = Lock::default();
        all.iter().rev().for_each(|e| other.set(e.clone()));
        assert_eq!(one.text(), other.text());
        assert_eq!(Lock::parse(&one.text()), Ok(one.clone()));
        assert_eq!(Lock::parse(&Lock::default().text()), Ok(Lock::default()));
        insta::assert_snapshot!(one.text(), @r#"
        {
          "xd_lock": 1,
          "hub": [
            {
              "repository": "model",
              "id": "org/a",
              "part": "model",
              "commit": "0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f",
              "files": [
                {"path": "config.json", "bytes": 3, "sha256": "abababababababababababababababababababababababababababababababab"},
                {"path": "model \"1\".safetensors", "bytes": 3, "sha256": "abababababababababababababababababababababababababababababababab"}
              ]
            },
            {
              "repository": "model",
              "id": "org/a",
              "revision": "v1",
              "part": "model",
              "commit": "0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f",
              "files": [
                {"path": "config.json", "bytes": 3, "sha256": "abababababababababababababababababababababababababababababababab"},
                {"path": "model \"1\".safetensors", "bytes": 3, "sha256": "abababababababababababababababababababababababababababababababab"}
              ]
            },
            {
              "repository": "model",
              "id": "org/b",
              "part": "model",
              "commit": "0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f",
              "files": [
                {"path": "config.json", "bytes": 3, "sha256": "abababababababababababababababababababababababababababababababab"},
                {"path": "model \"1\".safetensors", "bytes": 3, "sha256": "abababababababababababababababababababababababababababababababab"}
              ]
            },
            {
              "repository": "dataset",
              "id": "org/data",
              "part": "split",
              "split": "train",
              "first": 2,
              "commit": "0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f",
              "files": [
                {"path": "config.json", "bytes": 3, "sha256": "abababababababababababababababababababababababababababababababab"},
                {"path": "model \"1\".safetensors", "bytes": 3, "sha256": "abababababababababababababababababababababababababababababababab"}
              ]
            }
          ]
        }
        "#);
    }

    #[test]
    fn another_revision_differs_unless_the_experiment_asks_for_both() {
        let mut lock = Lock::default();
        lock.set(entry("org/a", Some("v1")));
        let (old, new) = (wanted("org/a", Some("v1")), wanted("org/a", Some("v2")));
        assert_eq!(lock.problem(&old, &[&old]), None);
        let problem = LockProblem::OtherRevision { locked: Some("v1".to_string()) };
        assert_eq!(lock.problem(&new, &[&new]), Some(problem));
        assert_eq!(lock.problem(&new, &[&old, &new]), None, "the new one is not pinned yet");
        assert_eq!(lock.problem(&wanted("org/b", None), &[]), None);
        let commit = "1".repeat(40);
        lock.set(entry("org/a", Some(&commit)));
        let asked = wanted("org/a", Some(&commit));
        assert_eq!(lock.problem(&asked, &[&asked]), Some(LockProblem::OtherCommit { commit: "0f".repeat(20) }));
    }

    #[test]
    fn a_lock_that_leads_out_of_the_cache_is_refused() {
        let mut lock = Lock::default();
        lock.set(entry("org/a", None));
        let text = lock.text();
        for (from, to, word) in [
            ("config.json", "../../config.json", "no path"),
            ("config.json", "/etc/passwd", "no path"),
            (&"ab".repeat(32), "abc", "sha256"),
            (&"0f".repeat(20), "main", "commit"),
            ("\"xd_lock\": 1", "\"xd_lock\": 9", "version 9"),
            ("{", "[", "cannot be read"),
        ] {
            let problem = Lock::parse(&text.replace(from, to)).unwrap_err();
            assert!(problem.contains(word), "{problem}");
        }
    }
}
