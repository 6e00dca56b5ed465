//! Which files of a repository make a model or a crosscoder.

use std::collections::BTreeSet;

use super::listing::RemoteFile;
use super::problem::{Place, Problem, Result, list};

/// What a model folder is read from besides its weights: the configuration, which must be there, and the tokenizer.
const DESCRIPTION: &[&str] = &[
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
];
/// Of these there must be one each.
const NEEDED: &[&str] = &["config.json", "tokenizer.json"];
const WHOLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// True for a file that tells the facts of a model or crosscoder without its weights.
pub fn is_description(path: &str) -> bool {
    [".json", ".yaml", ".yml", ".jinja"].iter().any(|ending| path.ends_with(ending))
}

/// Reads a small file of the repository.
pub type Read<'a> = &'a mut dyn FnMut(&RemoteFile) -> Result<Vec<u8>>;

/// The files of a language model: configuration, tokenizer, and `model.safetensors` or the shards that its index names.
pub fn model(files: &[RemoteFile], place: &Place, read: Read) -> Result<Vec<RemoteFile>> {
    let find = |name: &str| files.iter().find(|f| f.path == name);
    let weights = match (find(WHOLE), find(INDEX)) {
        (Some(whole), _) => vec![whole.clone()],
        (None, Some(index)) => {
            let mut found = vec![index.clone()];
            for shard in shards(&read(index)?, place)? {
                let missing = || {
                    let help = "the upload may be unfinished; an earlier revision may be whole";
                    absent(&shard, unsuitable(place, format!("its index names `{shard}`, which is not there"), help))
                };
                found.push(find(&shard).ok_or_else(missing)?.clone());
            }
            found
        }
        (None, None) => return Err(absent(WHOLE, no_weights(files, place))),
    };
    for name in NEEDED {
        if find(name).is_none() {
            let help = match *name {
                "tokenizer.json" => {
                    "it has only a tokenizer that other libraries read; another upload of the model, or another revision, may have tokenizer.json"
                }
                _ => "is it a language model? name the repository with the model's own weights",
            };
            return Err(absent(name, unsuitable(place, format!("it has no `{name}`"), help)));
        }
    }
    let mut wanted: Vec<RemoteFile> = DESCRIPTION.iter().filter_map(|name| find(name)).cloned().collect();
    wanted.extend(weights);
    wanted.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(wanted)
}

/// The shards that an index names, each once, in order.
fn shards(index: &[u8], place: &Place) -> Result<BTreeSet<String>> {
    let broken = || unsuitable(place, format!("its `{INDEX}` cannot be read"), "another revision may be whole");
    let value: serde_json::Value = serde_json::from_slice(index).map_err(|_| broken())?;
    let map = value.get("weight_map").and_then(|m| m.as_object()).ok_or_else(broken)?;
    map.values().map(|v| v.as_str().map(str::to_string).ok_or_else(broken)).collect()
}

fn no_weights(files: &[RemoteFile], place: &Place) -> Problem {
    let ending = |ending: &str| files.iter().find(|f| f.path.ends_with(ending)).map(|f| f.path.clone());
    let help = if let Some(file) = ending("adapter_model.safetensors") {
        format!("it is an adapter (`{file}`): merge it into its base model and name the result")
    } else if let Some(file) = ending(".gguf") {
        format!("it has `{file}`: download it and write `gguf(\"{file}\")`")
    } else if let Some(file) = ending(".bin").or_else(|| ending(".pt")) {
        format!(
            "it has `{file}`, which may run code when it is read; `revision = \"refs/pr/1\"` of many older models has safetensors, see {}/discussions",
            place.page
        )
    } else {
        "name a repository with the weights of a language model".to_string()
    };
    unsuitable(place, format!("it has no weights in `{WHOLE}` or shards of it"), help)
}

/// The files of a crosscoder in a folder of the repository: its descriptions, and its weights, as safetensors where it has both.
pub fn crosscoder(files: &[RemoteFile], folder: Option<&str>, place: &Place) -> Result<Vec<RemoteFile>> {
    let folder = folder.unwrap_or("").trim_matches('/');
    let here: Vec<&RemoteFile> = files.iter().filter(|f| f.folder() == folder).collect();
    let endings = |file: &RemoteFile, endings: &[&str]| endings.iter().any(|e| file.path.ends_with(e));
    let safe: Vec<&RemoteFile> = here.iter().filter(|f| endings(f, &[".safetensors"])).copied().collect();
    let pickled = || here.iter().filter(|f| endings(f, &[".pt", ".pth", ".bin"])).copied().collect();
    let weights: Vec<&RemoteFile> = if safe.is_empty() { pickled() } else { safe };
    if weights.is_empty() {
        let is_weights = |f: &&RemoteFile| endings(f, &[".safetensors", ".pt", ".pth", ".bin"]);
        let others: BTreeSet<String> = files.iter().filter(is_weights).map(|f| f.folder().to_string()).collect();
        let others: Vec<String> = others.into_iter().filter(|f| !f.is_empty()).collect();
        let (place_name, help) = (
            if folder.is_empty() {
                "its root has no weights".to_string()
            } else {
                format!("its folder `{folder}` has no weights")
            },
            match others.as_slice() {
                [] => "a crosscoder has weights in safetensors or .pt; is this the right repository?".to_string(),
                [one] => format!("write `folder = \"{one}\"`"),
                many => format!("write `folder = ..`, one of {}", list(many)),
            },
        );
        return Err(unsuitable(place, place_name, help));
    }
    let mut wanted: Vec<RemoteFile> =
        here.iter().filter(|f| endings(f, &[".json", ".yaml", ".yml"])).copied().chain(weights).cloned().collect();
    wanted.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(wanted)
}

/// A repository whose files are not what is wanted.
pub fn unsuitable(place: &Place, what: impl AsRef<str>, help: impl Into<String>) -> Problem {
    Problem::Unsuitable {
        place: place.clone(),
        message: format!("`{}` cannot be read: {}", place.id, what.as_ref()),
        help: help.into(),
        absent: None,
    }
}

/// The problem, with the file that is not there.
fn absent(path: &str, problem: Problem) -> Problem {
    match problem {
        Problem::Unsuitable { place, message, help, .. } => {
            Problem::Unsuitable { place, message, help, absent: Some(path.to_string()) }
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lang::hub::Repository;

    fn place() -> Place {
        Place { repository: Repository::Model, id: "org/x".into(), page: "https://hub/org/x".into(), token: None }
    }

    fn files(paths: &[&str]) -> Vec<RemoteFile> {
        paths.iter().map(|p| RemoteFile { path: p.to_string(), bytes: 1, sha256: None }).collect()
    }

    fn names(found: Result<Vec<RemoteFile>>) -> Vec<String> {
        found.unwrap().into_iter().map(|f| f.path).collect()
    }

    fn unread(_: &RemoteFile) -> Result<Vec<u8>> {
        panic!("nothing has to be read")
    }

    #[test]
    fn a_model_is_its_description_and_its_weights() {
        let all = files(&[
            ".gitattributes",
            "README.md",
            "config.json",
            "model.safetensors",
            "original/a.safetensors",
            "pytorch_model.bin",
            "tokenizer.json",
        ]);
        assert_eq!(names(model(&all, &place(), &mut unread)), ["config.json", "model.safetensors", "tokenizer.json"]);
        let sharded = files(&[
            "config.json",
            "model-1.safetensors",
            "model-2.safetensors",
            "model-3.safetensors",
            INDEX,
            "tokenizer.json",
        ]);
        let mut index = |_: &RemoteFile| {
            Ok(br#"{"weight_map": {"a": "model-2.safetensors", "b": "model-1.safetensors", "c": "model-2.safetensors"}}"#.to_vec())
        };
        let found = names(model(&sharded, &place(), &mut index));
        assert_eq!(found, ["config.json", "model-1.safetensors", "model-2.safetensors", INDEX, "tokenizer.json"]);
        let mut absent = |_: &RemoteFile| Ok(br#"{"weight_map": {"a": "gone.safetensors"}}"#.to_vec());
        assert!(model(&sharded, &place(), &mut absent).unwrap_err().message().contains("gone.safetensors"));
    }

    #[test]
    fn what_a_repository_has_instead_is_said() {
        let help = |paths: &[&str]| model(&files(paths), &place(), &mut unread).unwrap_err().to_string();
        assert!(help(&["config.json", "tokenizer.json", "pytorch_model.bin"]).contains("refs/pr/1"));
        assert!(help(&["m-q4.gguf"]).contains("gguf(\"m-q4.gguf\")"));
        assert!(help(&["adapter_config.json", "adapter_model.safetensors"]).contains("adapter"));
        assert!(help(&["config.json", "model.safetensors", "spiece.model"]).contains("tokenizer.json"));
    }

    #[test]
    fn a_crosscoder_is_a_folder() {
        let all = files(&["README.md", "config.json", "model.safetensors", "trainer_config.json", "model.pt"]);
        assert_eq!(
            names(crosscoder(&all, None, &place())),
            ["config.json", "model.safetensors", "trainer_config.json"]
        );
        let inner = files(&["README.md", "blocks.14/cc_weights.pt", "blocks.14/cfg.json"]);
        assert_eq!(
            names(crosscoder(&inner, Some("blocks.14"), &place())),
            ["blocks.14/cc_weights.pt", "blocks.14/cfg.json"]
        );
        let error = crosscoder(&inner, None, &place()).unwrap_err();
        assert_eq!(error.help(), "write `folder = \"blocks.14\"`");
    }
}
