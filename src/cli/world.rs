//! The [`World`] as the disk answers it: imports, facts of models, sizes and content hashes.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{hub_cache, model_facts};
use crate::gguf::GgufFile;
use crate::hash_cache::{self, HashCache};
use crate::lang::hub::{HubPin, HubRef, HubWanted, Lock};
#[cfg(feature = "engine")]
use crate::lang::world::{CacheFacts, CrosscoderFacts};
use crate::lang::world::{ModelFacts, World};

/// A safetensors header longer than this is not one.
const LONGEST_HEADER: u64 = 100_000_000;
/// Hashes of files of so many bytes are remembered.
const LARGE: u64 = 32 << 20;

/// The texts that the engine ships, named here too because files are checked without the engine; a test compares the two.
const BUILTINS: &[&str] = &["chat", "prose"];

/// Answers from the disk; paths are relative to the file that wrote them.
#[derive(Debug, Default)]
pub struct FileWorld {
    hashes: HashCache,
    /// The lock file, and what it says once it was read.
    lock: Option<PathBuf>,
    locked: OnceCell<Result<Lock, String>>,
}

impl FileWorld {
    /// A world that remembers the hashes of large files in the user's cache.
    pub fn new() -> Self {
        FileWorld {
            hashes: HashCache::at(hash_cache::folder().map(|folder| folder.join("hashes.json")), LARGE),
            ..FileWorld::default()
        }
    }

    /// The same, around an experiment: with its lock file.
    pub fn of(experiment: &Path) -> Self {
        FileWorld { lock: Some(lock_path(experiment)), ..FileWorld::new() }
    }

    /// The same with this in place of the lock file.
    pub fn with_lock(experiment: &Path, lock: Lock) -> Self {
        FileWorld { locked: OnceCell::from(Ok(lock)), ..FileWorld::of(experiment) }
    }

    fn hash_file(&self, path: &Path) -> Result<blake3::Hash, String> {
        let hex = self.hashes.hash(path, || hash_file(path).map(|hash| hash.to_hex().to_string()))?;
        // A spoiled memory costs time only.
        blake3::Hash::from_hex(&hex).or_else(|_| hash_file(path))
    }
}

impl World for FileWorld {
    fn import(&self, from: &str, path: &str) -> Result<(String, String), String> {
        let place = beside(from, path);
        let text = std::fs::read_to_string(&place).map_err(|e| reason(&e))?;
        Ok((text, place.display().to_string()))
    }

    fn model(&self, from: &str, folder: &str) -> Result<ModelFacts, String> {
        model_facts::of_folder(&beside(from, folder))
    }

    fn gguf(&self, from: &str, file: &str) -> Result<ModelFacts, String> {
        let path = beside(from, file);
        if path.is_dir() {
            return Err("it is a folder; write `folder(\"path\")` for models in the Hugging Face layout".into());
        }
        let file = GgufFile::open(&path)?;
        let config = crate::gguf::config(&file)?;
        let number = |key: &str| config.get(key).and_then(Value::as_u64).ok_or_else(|| format!("it has no `{key}`"));
        Ok(ModelFacts {
            family: config["model_type"].as_str().unwrap_or_default().to_string(),
            width: number("hidden_size")?,
            layers: number("num_hidden_layers")?,
            vocabulary: number("vocab_size")?,
            context: number("max_position_embeddings").ok(),
            tokenizer: format!("gguf {}", vocabulary_hash(&file)),
            parameters: file.parameters(),
        })
    }

    fn bytes(&self, from: &str, path: &str) -> Result<u64, String> {
        let mut total = 0;
        for file in files(&beside(from, path))? {
            total += std::fs::metadata(&file).map_err(|e| format!("{}: {}", file.display(), reason(&e)))?.len();
        }
        Ok(total)
    }

    fn hash(&self, from: &str, path: &str) -> Result<String, String> {
        let place = beside(from, path);
        let found = files(&place)?;
        if found == [place.clone()] {
            return self.hash_file(&place).map(|h| h.to_hex().to_string());
        }
        let root = if place.is_dir() { place } else { place.parent().map(Path::to_path_buf).unwrap_or_default() };
        let mut hasher = blake3::Hasher::new();
        for file in found {
            let name = file.strip_prefix(&root).unwrap_or(&file).to_string_lossy().replace('\\', "/");
            hasher.update(&(name.len() as u64).to_le_bytes());
            hasher.update(name.as_bytes());
            hasher.update(self.hash_file(&file)?.as_bytes());
        }
        Ok(hasher.finalize().to_hex().to_string())
    }

    fn lock(&self) -> Result<Lock, String> {
        let read = || match &self.lock {
            Some(path) => match std::fs::read_to_string(path) {
                Ok(text) => Lock::parse(&text).map_err(|why| format!("{}: {why}", path.display())),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Lock::default()),
                Err(error) => Err(format!("{}: {}", path.display(), reason(&error))),
            },
            None => Ok(Lock::default()),
        };
        self.locked.get_or_init(read).clone()
    }

    fn hub_folder(&self, wanted: &HubWanted, commit: &str) -> Option<String> {
        let folder = hub_cache::root().join(wanted.cache_folder()).join("snapshots").join(commit);
        Some(folder.display().to_string())
    }

    fn hub_model(&self, model: &HubRef) -> Option<ModelFacts> {
        let folder = PathBuf::from(model.folder.as_ref()?);
        let pin = model.pin.as_ref()?;
        model_facts::facts(&folder, |config| Ok((hub_parameters(&folder, pin, config), None))).ok()
    }

    #[cfg(feature = "engine")]
    fn hub_crosscoder(&self, crosscoder: &HubRef) -> Option<CrosscoderFacts> {
        let folder = crate::exec::hub::folder(crosscoder).ok()?;
        super::format_facts::crosscoder(&folder, None).ok()
    }

    fn builtins(&self) -> Vec<String> {
        BUILTINS.iter().map(|name| name.to_string()).collect()
    }

    #[cfg(feature = "engine")]
    fn crosscoder(&self, from: &str, path: &str, prefix: &str) -> Result<CrosscoderFacts, String> {
        super::format_facts::crosscoder(&beside(from, path), Some(prefix).filter(|prefix| !prefix.is_empty()))
    }

    #[cfg(feature = "engine")]
    fn cache(&self, from: &str, base: &str, tuned: &str) -> Result<CacheFacts, String> {
        super::format_facts::cache((base, &beside(from, base)), (tuned, &beside(from, tuned)))
    }

    fn tensor_shape(&self, from: &str, path: &str, key: &str) -> Result<Vec<u64>, String> {
        let shapes = shapes(&beside(from, path))?;
        shapes.get(key).cloned().ok_or_else(|| {
            let keys: Vec<&str> = shapes.keys().map(String::as_str).collect();
            match crate::lang::diagnostic::suggest(key, &keys) {
                Some(near) => format!("it holds no tensor `{key}`, but one named `{near}`"),
                None => format!("it holds no tensor `{key}`; its tensors are {}", list(&keys)),
            }
        })
    }
}

/// The lock file of an experiment: `NAME.lock` beside `NAME.xd`.
pub fn lock_path(experiment: &Path) -> PathBuf {
    experiment.with_extension("lock")
}

/// `path` as seen from the folder of the file `from`.
pub fn beside(from: &str, path: &str) -> PathBuf {
    let folder = Path::new(from).parent().unwrap_or(Path::new(""));
    folder.join(path)
}

/// Why a file could not be opened, in plain words.
pub fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".into(),
        io::ErrorKind::PermissionDenied => "it may not be read or written by this user".into(),
        io::ErrorKind::InvalidData => "it is not a text in UTF-8".into(),
        io::ErrorKind::IsADirectory => "it is a folder".into(),
        _ => error.to_string(),
    }
}

/// The file, the files of the folder and of those inside it, or those that the pattern fits; sorted, hidden ones left out.
pub fn files(place: &Path) -> Result<Vec<PathBuf>, String> {
    let mut found = Vec::new();
    if place.is_dir() {
        walk(place, &mut found)?;
    } else if place.exists() {
        found.push(place.to_path_buf());
    } else {
        let pattern = place.to_string_lossy();
        if !pattern.contains(['*', '?', '[']) {
            return Err("there is no such file or folder".into());
        }
        let matches = glob::glob(&pattern).map_err(|e| format!("the pattern cannot be read: {}", e.msg))?;
        for path in matches {
            let path = path.map_err(|e| reason(e.error()))?;
            if path.is_file() {
                found.push(path);
            }
        }
        if found.is_empty() {
            return Err("no file fits this pattern".into());
        }
    }
    found.sort();
    Ok(found)
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) -> Result<(), String> {
    let entries = std::fs::read_dir(folder).map_err(|e| format!("{}: {}", folder.display(), reason(&e)))?;
    for entry in entries {
        let entry = entry.map_err(|e| reason(&e))?;
        if entry.file_name().to_string_lossy().starts_with('.') {
            continue;
        }
        let path = entry.path();
        if path.is_dir() {
            walk(&path, found)?;
        } else {
            found.push(path);
        }
    }
    Ok(())
}

/// Shards of an activation cache are known by their length and by so many blocks of this size, evenly spread: a cache of
/// terabytes cannot be read before every run.
const SHARD_BLOCKS: u64 = 64;
const SHARD_BLOCK: u64 = 256 << 10;

/// Hash of everything in the metadata that decides ids.
fn vocabulary_hash(file: &GgufFile) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    for (key, value) in file.metadata().iter().filter(|(key, _)| key.starts_with("tokenizer.ggml.")) {
        hasher.update(key.as_bytes());
        value.feed(&mut |bytes| {
            hasher.update(bytes);
        });
    }
    hasher.finalize()
}

fn hash_file(path: &Path) -> Result<blake3::Hash, String> {
    let wrong = |e: io::Error| format!("{}: {}", path.display(), reason(&e));
    let length = std::fs::metadata(path).map_err(wrong)?.len();
    if path.extension().is_some_and(|ending| ending == "memmap") && length > SHARD_BLOCKS * SHARD_BLOCK {
        return hash_blocks(path, length).map_err(wrong);
    }
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(File::open(path).map_err(wrong)?).map_err(wrong)?;
    Ok(hasher.finalize())
}

/// Of the length and of blocks, the first and the last among them.
fn hash_blocks(path: &Path, length: u64) -> io::Result<blake3::Hash> {
    let mut file = File::open(path)?;
    let mut hasher = blake3::Hasher::new();
    hasher.update(&length.to_le_bytes());
    let mut block = vec![0; SHARD_BLOCK as usize];
    for index in 0..SHARD_BLOCKS {
        let place = (length - SHARD_BLOCK) as u128 * u128::from(index) / u128::from(SHARD_BLOCKS - 1);
        file.seek(SeekFrom::Start(place as u64))?;
        file.read_exact(&mut block)?;
        hasher.update(&block);
    }
    Ok(hasher.finalize())
}

/// A JSON file.
pub fn read_json(path: &Path) -> Result<Value, String> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_string();
    let text = std::fs::read_to_string(path).map_err(|e| format!("{name}: {}", reason(&e)))?;
    serde_json::from_str(&text).map_err(|e| format!("{name} cannot be read: {e}"))
}

/// Name and shape of every tensor of a safetensors file: eight bytes of length, then a JSON header.
pub fn shapes(path: &Path) -> Result<BTreeMap<String, Vec<u64>>, String> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_string();
    let wrong = |e: io::Error| format!("{name}: {}", reason(&e));
    let broken = || format!("{name} is not a safetensors file");
    let mut file = File::open(path).map_err(wrong)?;
    let mut length = [0u8; 8];
    file.read_exact(&mut length).map_err(|_| broken())?;
    let length = u64::from_le_bytes(length);
    let size = file.metadata().map_err(wrong)?.len();
    if length > LONGEST_HEADER || length + 8 > size {
        return Err(broken());
    }
    let mut header = vec![0u8; length as usize];
    file.read_exact(&mut header).map_err(|_| broken())?;
    let header: BTreeMap<String, Value> = serde_json::from_slice(&header).map_err(|_| broken())?;
    let mut shapes = BTreeMap::new();
    for (key, tensor) in header {
        if key == "__metadata__" {
            continue;
        }
        let shape = tensor.get("shape").and_then(Value::as_array).ok_or_else(broken)?;
        let shape: Option<Vec<u64>> = shape.iter().map(Value::as_u64).collect();
        shapes.insert(key, shape.ok_or_else(broken)?);
    }
    Ok(shapes)
}

/// Number of parameters of a model of the hub: from the headers of its weights, or while they are not here from their sizes.
fn hub_parameters(folder: &Path, pin: &HubPin, config: &Value) -> u64 {
    let weights = || pin.files.iter().filter(|f| f.path.ends_with(".safetensors"));
    let counted: Option<u64> = weights()
        .map(|file| {
            let shapes = shapes(&folder.join(&file.path)).ok()?;
            Some(shapes.values().map(|shape| shape.iter().fold(1u64, |a, b| a.saturating_mul(*b))).sum::<u64>())
        })
        .sum();
    let text = config.get("text_config").filter(|t| t.is_object()).unwrap_or(config);
    let dtype = ["dtype", "torch_dtype"].iter().find_map(|key| text.get(key).or(config.get(key))?.as_str());
    let size = if matches!(dtype, Some("bfloat16" | "float16")) { 2 } else { 4 };
    counted.unwrap_or_else(|| weights().map(|file| file.bytes / size).sum())
}

/// The first few names of a list.
fn list(names: &[&str]) -> String {
    const SHOWN: usize = 5;
    let shown = names.iter().take(SHOWN).map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ");
    match names.len() {
        0 => "none".into(),
        n if n > SHOWN => format!("{shown} and {} more", n - SHOWN),
        _ => shown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "engine")]
    #[test]
    fn builtins_are_those_of_the_engine() {
        assert_eq!(FileWorld::new().builtins(), crate::ml::data::builtin_names());
    }

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().expect("a folder")
    }

    fn write(folder: &Path, name: &str, bytes: &[u8]) {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        std::fs::write(path, bytes).expect("written");
    }

    fn tensors(header: &str) -> Vec<u8> {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(header.as_bytes());
        bytes
    }

    fn from(folder: &Path) -> String {
        folder.join("a.xd").display().to_string()
    }

    #[test]
    fn imports_are_relative_to_the_file() {
        let folder = folder();
        write(folder.path(), "lib/b.xd", b"xd 1\n");
        let (text, path) = FileWorld::new().import(&from(folder.path()), "lib/b.xd").expect("read");
        assert_eq!(text, "xd 1\n");
        assert!(path.ends_with("lib/b.xd"));
        assert_eq!(FileWorld::new().import(&from(folder.path()), "c.xd"), Err("there is no such file".into()));
    }

    #[test]
    fn facts_come_from_config_and_headers() {
        let folder = folder();
        let config =
            r#"{"model_type": "gemma3", "text_config": {"hidden_size": 8, "num_hidden_layers": 2, "vocab_size": 50}}"#;
        write(folder.path(), "m/config.json", config.as_bytes());
        write(folder.path(), "m/tokenizer.json", b"{}");
        let one =
            r#"{"__metadata__": {"format": "pt"}, "a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}}"#;
        let two = r#"{"b": {"dtype": "F32", "shape": [5], "data_offsets": [0, 20]}, "c": {"dtype": "F32", "shape": [], "data_offsets": [20, 24]}}"#;
        write(folder.path(), "m/model-1.safetensors", &tensors(one));
        write(folder.path(), "m/model-2.safetensors", &tensors(two));
        let facts = FileWorld::new().model(&from(folder.path()), "m").expect("facts");
        assert_eq!((facts.family.as_str(), facts.width, facts.layers, facts.vocabulary), ("gemma3", 8, 2, 50));
        assert_eq!(facts.context, None);
        assert_eq!(facts.parameters, 12);
        assert_eq!(facts.tokenizer, blake3::hash(b"{}").to_hex().to_string());
    }

    #[test]
    fn what_is_missing_is_said() {
        let folder = folder();
        let world = FileWorld::new();
        let from = from(folder.path());
        assert_eq!(world.model(&from, "m"), Err("there is no such folder".into()));
        write(folder.path(), "m/config.json", b"{\"hidden_size\": 3}");
        assert_eq!(world.model(&from, "m"), Err("its config.json has no `model_type`".into()));
        write(folder.path(), "m/config.json", b"{");
        assert!(world.model(&from, "m").is_err_and(|e| e.starts_with("config.json cannot be read")));
        write(folder.path(), "w.safetensors", &u64::MAX.to_le_bytes());
        assert_eq!(
            world.tensor_shape(&from, "w.safetensors", "a"),
            Err("w.safetensors is not a safetensors file".into())
        );
        assert_eq!(world.bytes(&from, "x/*.txt"), Err("no file fits this pattern".into()));
    }

    #[test]
    fn shapes_are_read_without_the_data() {
        let folder = folder();
        let header = r#"{"activations": {"dtype": "BF16", "shape": [100, 2, 8], "data_offsets": [0, 3200]}}"#;
        write(folder.path(), "w.safetensors", &tensors(header));
        let world = FileWorld::new();
        assert_eq!(world.tensor_shape(&from(folder.path()), "w.safetensors", "activations"), Ok(vec![100, 2, 8]));
        let near = world.tensor_shape(&from(folder.path()), "w.safetensors", "activation");
        assert_eq!(near, Err("it holds no tensor `activation`, but one named `activations`".into()));
    }

    #[test]
    fn a_large_shard_is_known_by_blocks() {
        let folder = folder();
        let path = folder.path().join("shard_0.memmap");
        let file = File::create(&path).expect("made");
        file.set_len(3 * SHARD_BLOCKS * SHARD_BLOCK).expect("sparse");
        let zeros = hash_file(&path).expect("hashed");
        let change = |place: u64| {
            use std::io::Write;
            let mut file = File::options().write(true).open(&path).expect("opened");
            file.seek(SeekFrom::Start(place)).expect("there");
            file.write_all(b"x").expect("written");
            hash_file(&path).expect("hashed")
        };
        let end = change(3 * SHARD_BLOCKS * SHARD_BLOCK - 1);
        assert_ne!(end, zeros);
        assert_ne!(change(0), end);
    }

    #[test]
    fn hashes_follow_names_and_contents() {
        let folder = folder();
        let world = FileWorld::new();
        let from = from(folder.path());
        write(folder.path(), "t/a.txt", b"one");
        write(folder.path(), "t/b.txt", b"two");
        let whole = world.hash(&from, "t").expect("hashed");
        assert_eq!(world.hash(&from, "t/*.txt").as_ref(), Ok(&whole));
        assert_eq!(world.hash(&from, "t/a.txt"), Ok(blake3::hash(b"one").to_hex().to_string()));
        assert_eq!(world.bytes(&from, "t"), Ok(6));
        write(folder.path(), "t/.hidden", b"x");
        assert_eq!(world.hash(&from, "t").as_ref(), Ok(&whole));
        write(folder.path(), "t/b.txt", b"tw0");
        let changed = world.hash(&from, "t").expect("hashed");
        assert_ne!(changed, whole);
        std::fs::rename(folder.path().join("t/b.txt"), folder.path().join("t/c.txt")).expect("renamed");
        assert_ne!(world.hash(&from, "t").expect("hashed"), changed);
    }
}
