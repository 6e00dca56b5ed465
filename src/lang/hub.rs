//! Repositories of the Hugging Face hub as a file names them, and what the lock file pins of them.
//!
//! A name and a branch say nothing that lasts: what is behind them changes. The lock file beside the experiment
//! ([`Lock`]) writes down the commit and the sizes and hashes of the files that are read, and the keys of steps are made of
//! those hashes.

mod lock;

use serde::{Deserialize, Serialize};

pub use lock::{Entry, Lock, LockProblem};

/// What a file asks of the hub: which repository, which revision, and what of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct HubWanted {
    pub repository: Repository,
    /// `google/gemma-2-2b`.
    pub id: String,
    /// Branch, tag or commit as written; `None` is the default branch.
    pub revision: Option<String>,
    #[serde(flatten)]
    pub part: HubPart,
}

/// The two sorts of repository that xd reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Repository {
    Model,
    Dataset,
}

/// Which files of a repository are read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "part", rename_all = "snake_case")]
pub enum HubPart {
    /// Configuration, tokenizer and safetensors of a language model.
    Model,
    /// The files of a crosscoder, in the root or in a folder of the repository.
    Crosscoder { folder: Option<String> },
    /// The files of a split of a data set.
    Split {
        /// The part of the data set that its authors named; `None` is the default one.
        config: Option<String>,
        split: String,
        /// Only so many files, the first ones.
        first: Option<u64>,
    },
}

/// A commit, and the files of it that are read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HubPin {
    /// 40 hex digits.
    pub commit: String,
    /// In the order in which they are read.
    pub files: Vec<HubFile>,
}

/// A file of a repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HubFile {
    /// Within the repository, with slashes.
    pub path: String,
    pub bytes: u64,
    /// Of its contents, 64 hex digits.
    pub sha256: String,
}

/// A hub reference within a specification.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HubRef {
    #[serde(flatten)]
    pub wanted: HubWanted,
    /// What the lock file says; `None` until a run has asked the hub.
    pub pin: Option<HubPin>,
    /// The folder of this machine in which the pinned files are, or will be once they are downloaded. Part of no key.
    #[serde(skip)]
    pub folder: Option<String>,
}

impl Repository {
    /// What stands before the id in addresses of the hub: nothing, or `datasets/`.
    pub fn prefix(self) -> &'static str {
        match self {
            Repository::Model => "",
            Repository::Dataset => "datasets/",
        }
    }

    /// The plural that begins the names of cache folders and addresses of the API.
    pub fn plural(self) -> &'static str {
        match self {
            Repository::Model => "models",
            Repository::Dataset => "datasets",
        }
    }

    /// In a sentence: `model`, `data set`.
    pub fn noun(self) -> &'static str {
        match self {
            Repository::Model => "model",
            Repository::Dataset => "data set",
        }
    }
}

impl HubWanted {
    /// The revision that is asked for: the written one, or `main`.
    pub fn revision(&self) -> &str {
        self.revision.as_deref().unwrap_or("main")
    }

    /// The folder of the cache that the Python library shares: `models--google--gemma-2-2b`.
    pub fn cache_folder(&self) -> String {
        format!("{}--{}", self.repository.plural(), self.id.replace('/', "--"))
    }
}

impl HubPin {
    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|f| f.bytes).sum()
    }

    /// One hash of names and contents of all files, in hex: what a key holds. The commit and the name of the repository
    /// are not in it, so a renamed repository, or a commit that only touched its README, trains nothing again.
    pub fn content(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        for file in &self.files {
            for part in [&file.path, &file.sha256] {
                hasher.update(&(part.len() as u64).to_le_bytes());
                hasher.update(part.as_bytes());
            }
        }
        hasher.finalize().to_hex().to_string()
    }
}

/// True for a path that stays within a folder: relative, with no step upwards.
pub fn is_inside(path: &str) -> bool {
    !path.is_empty() && !path.contains('\\') && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
}
