//! From a name and a revision to a commit and files with hashes.

use std::path::Path;

use super::download::{Download, snapshot};
use super::listing::RemoteFile;
use super::problem::{Place, Problem, Result};
use super::select::{self, unsuitable};
use super::{Hub, client, splits};
use crate::lang::hub::{HubFile, HubPart, HubPin, HubWanted};

/// The branch to which the hub converts data sets.
const CONVERTED: &str = "refs/convert/parquet";

/// What was found for a reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pinned {
    pub pin: HubPin,
    /// Remarks for the user: renamed, converted, from the cache.
    pub notes: Vec<String>,
}

/// Where the files of a repository at a commit are looked up: on the hub, or in the cache when the network may not be used.
struct Source<'a> {
    hub: &'a Hub,
    wanted: &'a HubWanted,
    place: Place,
    commit: String,
    files: Vec<RemoteFile>,
}

/// Asks the hub (or, offline, the cache) what a reference is now.
pub fn pin(hub: &Hub, wanted: &HubWanted) -> Result<Pinned> {
    let mut notes = Vec::new();
    let source = Source::open(hub, wanted, wanted.revision(), &mut notes)?;
    let (source, files) = source.select(&mut notes)?;
    let files = files.iter().map(|file| source.pinned(file)).collect::<Result<Vec<HubFile>>>()?;
    Ok(Pinned { pin: HubPin { commit: source.commit, files }, notes })
}

impl<'a> Source<'a> {
    fn open(hub: &'a Hub, wanted: &'a HubWanted, revision: &str, notes: &mut Vec<String>) -> Result<Self> {
        let place = Place::of(wanted, hub.settings());
        if hub.settings().offline {
            let absent = || hub.offline(wanted, revision, None);
            let commit = cached_commit(&hub.settings().cache, wanted, revision).ok_or_else(absent)?;
            let folder = snapshot(&hub.settings().cache, wanted, &commit);
            let mut files = Vec::new();
            walk(&folder, "", &mut files).map_err(|_| absent())?;
            files.sort_by(|a, b| a.path.cmp(&b.path));
            notes.push(format!(
                "{}: offline; pinned as the cache has it, commit {}",
                wanted.id,
                super::problem::short(&commit)
            ));
            return Ok(Source { hub, wanted, place, commit, files });
        }
        let client = hub.client()?;
        let stop = || hub.traffic().stopped();
        let info = client.info(wanted, revision, &stop)?;
        if info.id != wanted.id {
            notes.push(format!("`{}` is called `{}` on the hub now; better write that", wanted.id, info.id));
        }
        let files = client.tree(wanted, &info.commit, &stop)?;
        remember_ref(&hub.settings().cache, wanted, revision, &info.commit)?;
        Ok(Source { hub, wanted, place, commit: info.commit, files })
    }

    /// The files that are read; of another commit when the hub's own conversion of a data set is taken.
    fn select(self, notes: &mut Vec<String>) -> Result<(Self, Vec<RemoteFile>)> {
        let wanted = self.wanted;
        let found = match &wanted.part {
            HubPart::Model => select::model(&self.files, &self.place, &mut |file| self.read(file)),
            HubPart::Crosscoder { folder } => select::crosscoder(&self.files, folder.as_deref(), &self.place),
            HubPart::Split { config, split, first } => {
                let asked = splits::Asked { config: config.as_deref(), split, first: *first };
                let readme = match self.files.iter().find(|f| f.path == "README.md") {
                    Some(file) => Some(String::from_utf8_lossy(&self.read(file)?).into_owned()),
                    None => None,
                };
                match splits::files(&self.files, readme.as_deref(), asked, &self.place) {
                    Ok(None) => return self.converted(asked, notes),
                    Ok(Some(files)) => Ok(files),
                    Err(problem) => Err(problem),
                }
            }
        };
        match found {
            Ok(files) => {
                self.check_shards(&files)?;
                Ok((self, files))
            }
            Err(problem) => Err(self.as_offline(problem)),
        }
    }

    fn converted(self, asked: splits::Asked, notes: &mut Vec<String>) -> Result<(Self, Vec<RemoteFile>)> {
        let nothing = || {
            let help = "xd reads parquet, jsonl, json, csv and txt, also gz and zst; download it and convert it to one of them";
            self.as_offline(unsuitable(&self.place, "it has no files in a format that xd reads", help))
        };
        if self.wanted.revision.is_some() {
            return Err(nothing());
        }
        let other = match Source::open(self.hub, self.wanted, CONVERTED, notes) {
            Ok(other) => other,
            Err(Problem::NoRevision { .. } | Problem::Missing(_) | Problem::Offline { .. }) => return Err(nothing()),
            Err(problem) => return Err(problem),
        };
        let (files, remark) = splits::converted(&other.files, asked, &other.place)?;
        notes.extend(remark.map(|remark| format!("{}: {remark}", self.wanted.id)));
        notes.push(format!("{}: read as the hub has converted it to Parquet ({CONVERTED})", self.wanted.id));
        Ok((other, files))
    }

    /// The bytes of a small file, which then is in the cache.
    fn read(&self, file: &RemoteFile) -> Result<Vec<u8>> {
        self.pinned(file)?;
        let path = snapshot(&self.hub.settings().cache, self.wanted, &self.commit).join(&file.path);
        std::fs::read(&path).map_err(|e| Problem::file(&path, &e))
    }

    /// With its hash: the one that the hub lists for large files; others are small, and are fetched.
    fn pinned(&self, file: &RemoteFile) -> Result<HubFile> {
        let expected = |sha256: String| HubFile { path: file.path.clone(), bytes: file.bytes, sha256 };
        let pointer = snapshot(&self.hub.settings().cache, self.wanted, &self.commit).join(&file.path);
        if let Some(sha256) = &file.sha256 {
            return Ok(expected(sha256.clone()));
        }
        if std::fs::metadata(&pointer).is_ok_and(|facts| facts.len() == file.bytes) {
            let sha256 = self.hub.sha256(&pointer).map_err(|e| Problem::file(&pointer, &e))?;
            return Ok(expected(sha256));
        }
        self.hub.fetch(self.wanted, &self.commit, &expected(String::new()), false)
    }

    /// Offline, what a repository lacks is what the cache lacks.
    fn as_offline(&self, problem: Problem) -> Problem {
        match problem {
            Problem::Unsuitable { absent, .. } if self.hub.settings().offline => {
                self.hub.offline(self.wanted, &self.commit, absent.as_deref())
            }
            other => other,
        }
    }

    /// A cache may hold a few shards of many: `train-00001-of-00003` is to have two more beside it.
    fn check_shards(&self, files: &[RemoteFile]) -> Result<()> {
        let limited = matches!(self.wanted.part, HubPart::Split { first: Some(_), .. });
        if !self.hub.settings().offline || limited {
            return Ok(());
        }
        for file in files {
            for sibling in shards_beside(&file.path) {
                if !files.iter().any(|f| f.path == sibling) {
                    return Err(self.hub.offline(self.wanted, &self.commit, Some(&sibling)));
                }
            }
        }
        Ok(())
    }
}

/// The paths of all shards of which this is one; none when it is no shard.
fn shards_beside(path: &str) -> Vec<String> {
    let parts = || {
        let (stem, rest) = path.rsplit_once("-of-")?;
        let (stem, number) = stem.rsplit_once('-')?;
        let total: String = rest.chars().take_while(char::is_ascii_digit).collect();
        let (width, tail) = (number.len(), &rest[total.len()..]);
        let count: usize = total.parse().ok().filter(|_| number.bytes().all(|b| b.is_ascii_digit()))?;
        // Counted from 0 in data sets and from 1 in weights.
        let first = usize::from(number.parse::<usize>().ok()? == count || path.ends_with(".safetensors"));
        Some((first..first + count).map(|i| format!("{stem}-{i:0width$}-of-{total}{tail}")).collect())
    };
    parts().unwrap_or_default()
}

/// The commit that the cache remembers for a revision.
fn cached_commit(cache: &Path, wanted: &HubWanted, revision: &str) -> Option<String> {
    let is_commit = |text: &str| text.len() == 40 && text.bytes().all(|b| b.is_ascii_hexdigit());
    if is_commit(revision) {
        return Some(revision.to_string());
    }
    let path = cache.join(wanted.cache_folder()).join("refs").join(revision);
    let commit = std::fs::read_to_string(path).ok()?.trim().to_string();
    is_commit(&commit).then_some(commit)
}

/// Notes the commit of a branch or tag as the Python library does, so that it finds the files offline.
fn remember_ref(cache: &Path, wanted: &HubWanted, revision: &str, commit: &str) -> Result<()> {
    if revision == commit || cached_commit(cache, wanted, revision).as_deref() == Some(commit) {
        return Ok(());
    }
    let repo = hf_hub::Cache::new(cache.to_path_buf()).repo(client::repo(wanted, revision));
    let path = cache.join(wanted.cache_folder()).join("refs").join(revision);
    repo.create_ref(commit).map_err(|e| Problem::file(path, &e))
}

/// The files of a snapshot; links are followed.
fn walk(folder: &Path, prefix: &str, files: &mut Vec<RemoteFile>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
        // A link whose content is gone is no file.
        let Ok(facts) = std::fs::metadata(entry.path()) else { continue };
        if facts.is_dir() {
            walk(&entry.path(), &path, files)?;
        } else {
            files.push(RemoteFile { path, bytes: facts.len(), sha256: None });
        }
    }
    Ok(())
}

impl Hub {
    /// Fetches one file; `pinned` when the lock file names it.
    pub(super) fn fetch(&self, wanted: &HubWanted, commit: &str, file: &HubFile, pinned: bool) -> Result<HubFile> {
        let place = Place::of(wanted, self.settings());
        let download = Download {
            client: self.client()?,
            traffic: self.traffic(),
            wanted,
            place: &place,
            cache: &self.settings().cache,
            commit,
            path: &file.path,
            expected: Some(file),
            pinned,
        };
        if !pinned {
            self.traffic().expect(file.bytes);
        }
        self.traffic().now(Some(&file.path));
        let result = download.run();
        self.traffic().now(None);
        result
    }

    pub(super) fn offline(&self, wanted: &HubWanted, revision: &str, file: Option<&str>) -> Problem {
        Problem::Offline {
            place: Place::of(wanted, self.settings()),
            revision: revision.to_string(),
            file: file.map(str::to_string),
            cache: self.settings().cache.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_know_their_siblings() {
        let names = shards_beside("data/train-00001-of-00002.parquet");
        assert_eq!(names, ["data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet"]);
        let names = shards_beside("model-00001-of-00002.safetensors");
        assert_eq!(names, ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]);
        assert!(shards_beside("plain.parquet").is_empty());
    }
}
