//! A small world in memory: two models that fit, two that do not, some text. Only imports are read from the disk.

use std::path::Path;

use xd::lang::World;
use xd::lang::hub::{Entry, HubFile, HubPart, HubPin, HubWanted, Lock, Repository};
use xd::lang::world::{CrosscoderFacts, ModelFacts};

/// What the wrong files can refer to. `folder` is where imports are looked up.
pub struct SmallWorld {
    pub folder: &'static str,
}

impl World for SmallWorld {
    fn import(&self, from: &str, path: &str) -> Result<(String, String), String> {
        let mut parts: Vec<&str> = Path::new(from).parent().and_then(Path::to_str).unwrap_or("").split('/').collect();
        parts.retain(|p| !p.is_empty());
        for part in path.split('/') {
            match part {
                ".." => drop(parts.pop()),
                part => parts.push(part),
            }
        }
        let path = parts.join("/");
        let text = std::fs::read_to_string(Path::new(self.folder).join(&path));
        text.map(|text| (text, path)).map_err(|_| "there is no such file".to_string())
    }

    fn model(&self, _: &str, folder: &str) -> Result<ModelFacts, String> {
        let (width, tokenizer) = match folder {
            "models/base" | "models/chat" => (2304, "one"),
            "models/wide" => (3584, "one"),
            "models/other_tokenizer" => (2304, "two"),
            _ => return Err("there is no such folder".into()),
        };
        Ok(ModelFacts {
            family: "gemma2".into(),
            width,
            layers: 26,
            vocabulary: 256_000,
            context: Some(8192),
            tokenizer: tokenizer.into(),
            parameters: 2_614_341_888,
        })
    }

    fn gguf(&self, from: &str, file: &str) -> Result<ModelFacts, String> {
        match file {
            "models/base.gguf" => Ok(ModelFacts { tokenizer: "gguf one".into(), ..self.model(from, "models/base")? }),
            "models/cut.gguf" => Err("it is cut off: tensor `a` ends at byte 9, the file at byte 8".into()),
            _ => Err("there is no such file".into()),
        }
    }

    fn bytes(&self, _: &str, path: &str) -> Result<u64, String> {
        match path {
            "weights/normalizing" | "weights/no_threshold" | "weights/2024" | "weights/wide" => Ok(2_720_000_000),
            "delphi_results" | "delphi_results/scores/simulation" | "results/NAME" | "results/NAME/explanations" => {
                Ok(1000)
            }
            "texts/web.jsonl" | "texts/heldout.jsonl" | "texts/talk.jsonl" => Ok(200_000_000),
            "templates/plain.jinja" => Ok(2_000),
            _ => Err("there is no such file".into()),
        }
    }

    fn hash(&self, from: &str, path: &str) -> Result<String, String> {
        let known = self.bytes(from, path).is_ok() || self.model(from, path).is_ok() || self.gguf(from, path).is_ok();
        if known { Ok(format!("hash of {path}")) } else { Err("there is no such file or folder".into()) }
    }

    fn crosscoder(&self, _: &str, path: &str, _: &str) -> Result<CrosscoderFacts, String> {
        let facts = CrosscoderFacts { layout: "published".into(), width: 2304, latents: 73_728, ..Default::default() };
        match path {
            "weights/normalizing" => Ok(CrosscoderFacts { normalizes: true, ..facts }),
            "weights/no_threshold" => Ok(CrosscoderFacts {
                unusable: Some("it is a BatchTopK crosscoder without its `threshold`".into()),
                ..facts
            }),
            "weights/2024" => Ok(CrosscoderFacts {
                assumed: vec!["the files do not say how decoder norms make one code norm: `sum` is assumed".into()],
                ..facts
            }),
            "weights/wide" => Ok(CrosscoderFacts { width: 3584, ..facts }),
            _ => Err("there is no such file or folder".into()),
        }
    }

    fn lock(&self) -> Result<Lock, String> {
        let file = HubFile { path: "config.json".into(), bytes: 3, sha256: "ab".repeat(32) };
        let pin = HubPin { commit: "0123456789".repeat(4), files: vec![file] };
        let wanted = HubWanted {
            repository: Repository::Model,
            id: "google/gemma-2-2b-it".into(),
            revision: Some("v1".into()),
            part: HubPart::Model,
        };
        let mut lock = Lock::default();
        lock.set(Entry { wanted, pin });
        Ok(lock)
    }

    fn tensor_shape(&self, _: &str, _: &str, _: &str) -> Result<Vec<u64>, String> {
        Err("there is no such file".into())
    }
}
