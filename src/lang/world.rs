//! What the language half asks of the outside. The command line answers from the disk, tests answer from memory.

use super::hub::{HubRef, HubWanted, Lock};
use super::plan::spec::Target;

/// Facts of a model that can be read without loading its weights.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelFacts {
    /// `model_type` of its config.json, such as `gemma2`.
    pub family: String,
    /// Residual width d.
    pub width: u64,
    /// Number of blocks.
    pub layers: u64,
    /// Number of token ids.
    pub vocabulary: u64,
    /// Longest context in tokens, where the config states one.
    pub context: Option<u64>,
    /// Content hash of tokenizer.json; of a GGUF file, of the vocabulary in its metadata, with `gguf ` before it.
    pub tokenizer: String,
    /// Parameters, from the sizes of the weight files.
    pub parameters: u64,
}

/// Facts of a crosscoder trained elsewhere that can be read without loading its weights.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CrosscoderFacts {
    /// Whose layout it is, such as `published` or `kissane` (docs/formats.md).
    pub layout: String,
    /// d.
    pub width: u64,
    /// D.
    pub latents: u64,
    /// It centres and scales its rows by numbers of its own.
    pub normalizes: bool,
    /// The `normalize` that files of this layout were trained with, where that is not `none`.
    pub expects: Option<String>,
    /// What is not in the file and is assumed, a sentence each.
    pub assumed: Vec<String>,
    /// Why it cannot be used as it is, such as a threshold that is missing; it can still be started from.
    pub unusable: Option<String>,
    /// It is an autoencoder of vectors of one model, or of the difference.
    pub autoencoder: bool,
    /// What an autoencoder reads, where its files say it.
    pub reads: Option<Target>,
    /// Names of the files beside a single file that say how it is read, such as `config.json`.
    pub beside: Vec<String>,
}

/// Facts of two activation caches that are read side by side.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CacheFacts {
    /// d.
    pub width: u64,
    /// Rows of each.
    pub rows: u64,
    /// Files outside of the two folders that belong to them (tokens one folder up), as seen from the file that wrote them.
    pub beside: Vec<String>,
}

/// The outside, as far as the language half may see it. Paths are as written, relative to the file that wrote them;
/// `from` is the path of that file. Every answer is `Err(sentence)` when the thing is missing or unreadable.
pub trait World {
    /// The text of an imported `.xd` file and the path under which its own relative paths are resolved.
    fn import(&self, from: &str, path: &str) -> Result<(String, String), String>;
    /// Facts of the model in a folder with config.json, tokenizer.json and safetensors.
    fn model(&self, from: &str, folder: &str) -> Result<ModelFacts, String>;
    /// Facts of the model in a GGUF file, from its header.
    fn gguf(&self, from: &str, file: &str) -> Result<ModelFacts, String>;
    /// Total size in bytes of the file, folder or glob.
    fn bytes(&self, from: &str, path: &str) -> Result<u64, String>;
    /// Content hash (blake3, hex) of the file, folder or glob: of names and contents in sorted order.
    fn hash(&self, from: &str, path: &str) -> Result<String, String>;
    /// Shape of one tensor of a safetensors file.
    fn tensor_shape(&self, from: &str, path: &str, key: &str) -> Result<Vec<u64>, String>;
    /// Facts of the crosscoder in a folder or file, in any layout that is known; `prefix` stands before the tensor names.
    fn crosscoder(&self, _from: &str, _path: &str, _prefix: &str) -> Result<CrosscoderFacts, String> {
        Err("no crosscoder can be read here".to_string())
    }
    /// Facts of the activation caches of both models in two folders.
    fn cache(&self, _from: &str, _base: &str, _tuned: &str) -> Result<CacheFacts, String> {
        Err("no activation cache can be read here".to_string())
    }
    /// Text of a corpus that is built into xd (`builtin("name")`): its names, for suggestions.
    fn builtins(&self) -> Vec<String> {
        Vec::new()
    }
    /// The lock file of the experiment; an empty one where there is none. `Err` when it is there and cannot be read.
    fn lock(&self) -> Result<Lock, String> {
        Ok(Lock::default())
    }
    /// The folder of this machine in which the files of a repository at a commit are, or will be once they are downloaded.
    fn hub_folder(&self, _wanted: &HubWanted, _commit: &str) -> Option<String> {
        None
    }
    /// Facts of a model of the hub, when what is pinned and already on this machine tells them. Never the network.
    fn hub_model(&self, _model: &HubRef) -> Option<ModelFacts> {
        None
    }
    /// Facts of a crosscoder of the hub, when what is pinned is on this machine.
    fn hub_crosscoder(&self, _crosscoder: &HubRef) -> Option<CrosscoderFacts> {
        None
    }
}
