//! A world in memory: one small organism of two models and its texts.

use std::collections::BTreeMap;

use xd::lang::hub::{HubRef, HubWanted, Lock};
use xd::lang::plan::Plan;
use xd::lang::plan::spec::Target;
use xd::lang::world::{CacheFacts, CrosscoderFacts, ModelFacts, World};
use xd::lang::{Analysis, Sources, analyse};

/// Files by path, models by folder.
#[derive(Clone, Default)]
pub struct Memory {
    pub texts: BTreeMap<String, String>,
    pub models: BTreeMap<String, ModelFacts>,
    pub tensors: BTreeMap<(String, String), Vec<u64>>,
    /// What is pinned of the hub.
    pub lock: Lock,
    /// Models and crosscoders of the hub whose files are on this machine, by id.
    pub hub_models: BTreeMap<String, ModelFacts>,
    pub hub_crosscoders: BTreeMap<String, CrosscoderFacts>,
    /// Sizes that replace the length of a text.
    pub sizes: BTreeMap<String, u64>,
}

/// A Gemma-like model of width 128 with 4 layers.
pub fn small_model() -> ModelFacts {
    ModelFacts {
        family: "gemma2".to_string(),
        width: 128,
        layers: 4,
        vocabulary: 2048,
        context: Some(512),
        tokenizer: "tokenizer-a".to_string(),
        parameters: 1_250_000,
    }
}

impl Memory {
    /// `organism/base`, `organism/chat` and their texts, a megabyte each.
    pub fn organism() -> Self {
        let mut memory = Memory::default();
        for (folder, content) in [("organism/base", "base weights"), ("organism/chat", "chat weights")] {
            memory.models.insert(folder.to_string(), small_model());
            memory.texts.insert(folder.to_string(), content.to_string());
        }
        for (path, content) in [
            ("organism/texts/prose/*.txt", "prose"),
            ("organism/texts/chat.jsonl", "chat"),
            ("other.txt", "another text"),
            ("web.parquet", "pages"),
            ("more.parquet", "more pages"),
            ("gemma.jinja", "{{ messages }}"),
            ("llama.jinja", "{{ other }}"),
            ("rows.safetensors", "rows"),
            ("more.safetensors", "more rows"),
            ("trained/model.safetensors", "weights"),
            ("trained", "weights and config"),
            ("cache/base", "shards"),
            ("cache/tuned", "tuned shards"),
            ("cache/other", "other shards"),
            ("cache/tokens.pt", "tokens"),
            ("delphi", "what latents mean"),
            ("delphi/explanations", "what they mean"),
            ("results/NAME", "what latents mean"),
            ("results/NAME/explanations", "what they mean"),
            ("delphi_again", "what latents mean, again"),
            ("delphi_again/scores/detection", "whether it is so"),
        ] {
            memory.texts.insert(path.to_string(), content.to_string());
            memory.sizes.insert(path.to_string(), 1_000_000);
        }
        for key in ["activations", "rows"] {
            memory.tensors.insert(("rows.safetensors".to_string(), key.to_string()), vec![50_000, 2, 64]);
            memory.tensors.insert(("more.safetensors".to_string(), key.to_string()), vec![50_000, 2, 64]);
        }
        for folder in ["normalizing", "kissane", "old", "no_threshold", "sae", "sae_of_tuned"] {
            memory.texts.insert(folder.to_string(), folder.to_string());
            memory.tensors.insert((folder.to_string(), "encoder.bias".to_string()), vec![512]);
        }
        for file in ["trained/model.safetensors", "rows.safetensors", "more.safetensors"] {
            for prefix in ["", "init."] {
                memory.tensors.insert((file.to_string(), format!("{prefix}encoder.bias")), vec![2048]);
            }
        }
        memory
    }

    /// With one more text.
    pub fn with(mut self, path: &str, text: &str) -> Self {
        self.texts.insert(path.to_string(), text.to_string());
        self
    }

    /// Analyses one text as `test.xd`.
    pub fn analyse(&self, text: &str) -> (Analysis, Sources) {
        self.analyse_with(text, &[], false)
    }

    /// Analyses one text with params set, and lints when `pedantic`.
    pub fn analyse_with(&self, text: &str, sets: &[&str], pedantic: bool) -> (Analysis, Sources) {
        let mut sources = Sources::default();
        let file = sources.add("test.xd", text);
        let sets: Vec<String> = sets.iter().map(|s| s.to_string()).collect();
        (analyse(self, &mut sources, file, &sets, pedantic), sources)
    }

    /// The plan of a text that must be without errors and warnings.
    #[track_caller]
    pub fn plan(&self, text: &str) -> Plan {
        self.plan_with(text, &[])
    }

    /// The same with params set.
    #[track_caller]
    pub fn plan_with(&self, text: &str, sets: &[&str]) -> Plan {
        let (analysis, sources) = self.analyse_with(text, sets, false);
        assert!(analysis.diagnostics.is_empty(), "{}", short(&analysis, &sources));
        analysis.plan.expect("a file without mistakes has a plan")
    }
}

/// One line a mistake: `line:column code: message | help`.
pub fn short(analysis: &Analysis, sources: &Sources) -> String {
    let mut text = String::new();
    for d in &analysis.diagnostics {
        let (line, column) = sources.position(d.span.file, d.span.start);
        let (_, end) = sources.position(d.span.file, d.span.end);
        let path = &sources.get(d.span.file).path;
        let path = if path == "test.xd" { String::new() } else { format!("{path}:") };
        text += &format!("{path}{line}:{column}-{end} {}: {}\n", d.code.slug(), d.message);
        if !d.label.is_empty() {
            text += &format!("    here: {}\n", d.label);
        }
        for (span, words) in &d.related {
            let (line, column) = sources.position(span.file, span.start);
            let path = &sources.get(span.file).path;
            let path = if path == "test.xd" { String::new() } else { format!("{path}:") };
            text += &format!("    {path}{line}:{column}: {words}\n");
        }
        if let Some(help) = &d.help {
            text += &format!("    help: {help}\n");
        }
    }
    text
}

impl World for Memory {
    fn import(&self, _from: &str, path: &str) -> Result<(String, String), String> {
        let text = self.texts.get(path).ok_or("there is no such file")?;
        Ok((text.clone(), path.to_string()))
    }

    fn model(&self, _from: &str, folder: &str) -> Result<ModelFacts, String> {
        self.models.get(folder).cloned().ok_or_else(|| "there is no such folder".to_string())
    }

    fn gguf(&self, from: &str, file: &str) -> Result<ModelFacts, String> {
        self.model(from, file)
    }

    fn bytes(&self, _from: &str, path: &str) -> Result<u64, String> {
        let text = self.texts.get(path).ok_or("there is no such file")?;
        Ok(self.sizes.get(path).copied().unwrap_or(text.len() as u64))
    }

    fn hash(&self, _from: &str, path: &str) -> Result<String, String> {
        let text = self.texts.get(path).ok_or("there is no such file")?;
        Ok(blake3::hash(text.as_bytes()).to_hex().to_string())
    }

    fn tensor_shape(&self, _from: &str, path: &str, key: &str) -> Result<Vec<u64>, String> {
        let shape = self.tensors.get(&(path.to_string(), key.to_string()));
        shape.cloned().ok_or_else(|| format!("it has no tensor `{key}`"))
    }

    /// Crosscoders of width 64: those whose `encoder.bias` is among the tensors. A folder's name says what is odd about it.
    fn crosscoder(&self, _from: &str, path: &str, prefix: &str) -> Result<CrosscoderFacts, String> {
        let key = |file: String| self.tensors.get(&(file, format!("{prefix}encoder.bias")));
        let latents = key(format!("{path}/model.safetensors")).or_else(|| key(path.to_string()));
        let latents = latents.ok_or("there is no such file")?;
        Ok(CrosscoderFacts {
            layout: "published".to_string(),
            width: 64,
            latents: latents[0],
            normalizes: path.contains("normalizing"),
            expects: path.contains("kissane").then(|| "per_model_scale".to_string()),
            assumed: if path == "old" { vec!["the files do not say it".to_string()] } else { Vec::new() },
            autoencoder: path.contains("sae"),
            reads: path.contains("sae_of_tuned").then_some(Target::Tuned),
            beside: Vec::new(),
            unusable: path.contains("no_threshold").then(|| "it has no threshold".to_string()),
        })
    }

    fn cache(&self, _from: &str, base: &str, tuned: &str) -> Result<CacheFacts, String> {
        match (self.texts.contains_key(base), self.texts.contains_key(tuned)) {
            (true, true) if base == tuned => Err("the base has 9 rows, the tuned model 8".to_string()),
            (true, true) => Ok(CacheFacts { width: 64, rows: 50_000, beside: vec!["cache/tokens.pt".to_string()] }),
            _ => Err("there is no such folder".to_string()),
        }
    }

    fn lock(&self) -> Result<Lock, String> {
        Ok(self.lock.clone())
    }

    fn hub_folder(&self, wanted: &HubWanted, commit: &str) -> Option<String> {
        Some(format!("cache/{}/snapshots/{commit}", wanted.cache_folder()))
    }

    fn hub_model(&self, model: &HubRef) -> Option<ModelFacts> {
        model.pin.as_ref().and_then(|_| self.hub_models.get(&model.wanted.id).cloned())
    }

    fn hub_crosscoder(&self, crosscoder: &HubRef) -> Option<CrosscoderFacts> {
        crosscoder.pin.as_ref().and_then(|_| self.hub_crosscoders.get(&crosscoder.wanted.id).cloned())
    }

    fn builtins(&self) -> Vec<String> {
        vec!["alice".to_string(), "chatter".to_string()]
    }
}
