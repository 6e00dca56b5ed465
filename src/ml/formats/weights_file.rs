//! A crosscoder trained elsewhere: which layout it has, what its files say, and its weights.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::plain_yaml::read_yaml;
use super::{Layout, NamedTensors, TorchFile, autoencoder, crosscode, kissane, published, saelens};
use crate::ml::crosscoder::tensor_file::TensorFile;
use crate::ml::crosscoder::{Activation, CodeNorm, Crosscoder, Target};
use crate::ml::{Error, Result};

/// Files of weights that a folder is known by, in the order in which they are looked for.
const WEIGHTS: &[&str] =
    &["model.safetensors", "model_final.pt", "cc_weights.pt", "model.pt", "ae.pt", saelens::WEIGHTS];

/// What files leave open and the user decides.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Choices {
    /// The inference threshold on f_j S_j, where the files hold none.
    pub threshold: Option<f32>,
    /// The code norm, where the files name none.
    pub norm: Option<CodeNorm>,
}

/// What can be said of a crosscoder without reading its matrices.
#[derive(Clone, Debug, PartialEq)]
pub struct WeightsFacts {
    pub layout: Layout,
    /// d.
    pub width: usize,
    /// D.
    pub latents: usize,
    pub norm: CodeNorm,
    /// `Err` says what is missing for inference.
    pub activation: std::result::Result<Activation, String>,
    /// The code norm is in none of the files.
    pub norm_assumed: bool,
    /// It centres and scales its rows itself.
    pub normalizes: bool,
    /// The `normalize` that it was trained with, where that is not `none`.
    pub expects: Option<&'static str>,
    /// What is not in the files and was assumed, a sentence each.
    pub assumed: Vec<String>,
    /// It is an autoencoder of vectors `[d]`, and this is what it reads, where that is known.
    pub autoencoder: bool,
    pub reads: Option<Target>,
}

/// Files of a crosscoder, opened.
pub struct WeightsFile {
    pub layout: Layout,
    pub(super) tensors: Box<dyn NamedTensors + Send + Sync>,
    /// What stands before the names of the layout.
    pub(super) prefix: String,
    /// config.json, cfg.json or model_cfg.yaml; null when there is none.
    pub(super) config: Value,
    /// The `trainer` part of trainer_config.json, or of a config.json beside checkpoints; null when there is none.
    pub(super) trainer: Value,
    /// The files beside it that were read, in order.
    pub configs: Vec<PathBuf>,
    /// The slice of the tuned model beside that of the base model, where the crosscoder lies in two autoencoders.
    pub(super) tuned: Option<Box<WeightsFile>>,
    /// The user says that an autoencoder reads both models' activations side by side, base first.
    pub(super) side_by_side: bool,
    /// What an autoencoder reads, as the user says.
    pub(super) reads: Option<Target>,
}

impl WeightsFile {
    /// Looks at a folder or a file. `prefix`: what stands before the published names; then nothing beside the file is read.
    ///
    /// # Errors
    /// It is no crosscoder of two models, or one of a kind that is not known; the message says what was found.
    pub fn open(path: &Path, prefix: Option<&str>) -> Result<Self> {
        if let Some([base, tuned]) = saelens::slices_in(path).filter(|_| prefix.is_none()) {
            let mut opened = WeightsFile::open(&base, None)?;
            opened.tuned = Some(Box::new(WeightsFile::open(&tuned, None)?));
            return Ok(opened);
        }
        let path = &saelens::joint_in(path).filter(|_| prefix.is_none()).unwrap_or_else(|| path.to_path_buf());
        let file = if path.is_dir() { weights_in(path)? } else { path.to_path_buf() };
        let tensors = tensors(&file)?;
        let (layout, found) = recognise(tensors.as_ref(), prefix)?;
        let mut opened = WeightsFile {
            layout,
            tensors,
            prefix: found,
            config: Value::Null,
            trainer: Value::Null,
            configs: Vec::new(),
            tuned: None,
            side_by_side: false,
            reads: None,
        };
        if prefix.is_none() {
            opened.read_configs(&file)?;
        }
        Ok(opened)
    }

    /// The user says that this autoencoder reads both models' activations side by side, base first.
    ///
    /// # Errors
    /// It is no autoencoder.
    pub fn side_by_side(mut self) -> Result<Self> {
        if self.layout != Layout::Saelens || self.tuned.is_some() {
            return Err(self.bad("it is a crosscoder of two models and no autoencoder: leave `--side-by-side` out"));
        }
        self.side_by_side = true;
        Ok(self)
    }

    /// The user says what this autoencoder reads.
    ///
    /// # Errors
    /// It is no autoencoder of vectors of one model, or its files say that it reads something else.
    pub fn reading(mut self, target: Target) -> Result<Self> {
        if let Some(other) = autoencoder::reads(&self).filter(|other| *other != target) {
            return Err(self.bad(&format!("its files say that it reads `{}`, not `{}`", other.word(), target.word())));
        }
        self.reads = Some(target);
        if self.side_by_side || !self.is_autoencoder() {
            return Err(self.bad("it is a crosscoder of two models and no autoencoder of one vector"));
        }
        Ok(self)
    }

    /// True of one that reads a vector `[d]`.
    pub(super) fn is_autoencoder(&self) -> bool {
        autoencoder::is_published(self) || autoencoder::is_saelens(self)
    }

    fn read_configs(&mut self, file: &Path) -> Result<()> {
        let mut read = Vec::new();
        let mut beside = |name: &str| {
            let path = file.with_file_name(name);
            read.extend(path.is_file().then(|| path.clone()));
            path
        };
        match self.layout {
            Layout::Published => {
                self.config = json(&beside("config.json"))?;
                let trainer = json(&beside("trainer_config.json"))?;
                // Beside checkpoints the trainer's file is called config.json.
                let holder = if trainer.is_null() { &self.config } else { &trainer };
                self.trainer = holder["trainer"].clone();
            }
            Layout::Kissane => {
                let numbered = file.file_stem().map(|stem| format!("{}_cfg.json", stem.to_string_lossy()));
                self.config = json(&beside("cfg.json"))?;
                if let Some(name) = numbered.filter(|_| self.config.is_null()) {
                    self.config = json(&beside(&name))?;
                }
                // The same names; one matrix a model, and a config of another form.
                let dimensions = self.tensors.shape(&self.name("W_enc")).map_or(0, |shape| shape.len());
                if dimensions == 2 && !self.config["d_sae"].is_null() {
                    self.layout = Layout::Saelens;
                }
            }
            Layout::Saelens => {}
            Layout::Crosscode => {
                let path = beside("model_cfg.yaml");
                let text = std::fs::read_to_string(&path).map_err(|error| Error::file(&path, error))?;
                self.config = read_yaml(&text).ok_or_else(|| {
                    Error::invalid("read weights", format!("{}: it is not what crosscode writes", path.display()))
                })?;
            }
        }
        self.configs = read;
        Ok(())
    }

    /// What can be said without reading the matrices.
    ///
    /// # Errors
    /// Tensors are missing or do not fit together, or the crosscoder is of a kind that is not built.
    pub fn facts(&self) -> Result<WeightsFacts> {
        let facts = match self.layout {
            _ if self.is_autoencoder() => autoencoder::facts(self),
            Layout::Published => published::facts(self),
            Layout::Kissane => kissane::facts(self),
            Layout::Crosscode => crosscode::facts(self),
            Layout::Saelens => saelens::facts(self),
        }?;
        if facts.width == 0 || facts.latents == 0 {
            return Err(self.bad(&format!("it has {} latents of width {}", facts.latents, facts.width)));
        }
        match &facts.activation {
            Ok(Activation::TopK { k }) if !(1..=facts.latents as u64).contains(k) => {
                return Err(self.bad(&format!("its k is {k}, and it has {} latents", facts.latents)));
            }
            Ok(Activation::JumpRelu { thresholds }) if thresholds.len() != facts.latents => {
                return Err(self.bad(&format!("it has {} thresholds and {} latents", thresholds.len(), facts.latents)));
            }
            Ok(Activation::JumpRelu { thresholds }) => {
                if let Some(latent) = thresholds.iter().position(|threshold| threshold.is_nan()) {
                    return Err(self.bad(&format!("the threshold of latent {latent} is not a number")));
                }
            }
            _ => {}
        }
        Ok(facts)
    }

    /// The crosscoder, complete.
    ///
    /// # Errors
    /// As [`WeightsFile::facts`], and when something that inference needs is neither in the files nor in `choices`.
    pub fn load(&self, choices: &Choices) -> Result<Crosscoder> {
        let facts = self.facts()?;
        let mut crosscoder = match self.layout {
            _ if facts.autoencoder => autoencoder::load(self, &facts)?,
            Layout::Published => published::load(self, &facts)?,
            Layout::Kissane => kissane::load(self, &facts)?,
            Layout::Crosscode => crosscode::load(self, &facts)?,
            Layout::Saelens => saelens::load(self, &facts)?,
        };
        crosscoder.activation = self.activation(&facts, choices)?;
        crosscoder.code_norm = self.norm(&facts, choices);
        Ok(crosscoder)
    }

    /// Weights to start training from: what inference needs may be missing.
    ///
    /// # Errors
    /// As [`WeightsFile::facts`].
    pub fn load_to_start_from(&self) -> Result<Crosscoder> {
        let mut start = self.load(&Choices { threshold: Some(-1.0), norm: None })?;
        start.normalizer = None;
        Ok(start)
    }

    /// The activation in force.
    pub(super) fn activation(&self, facts: &WeightsFacts, choices: &Choices) -> Result<Activation> {
        match (&facts.activation, choices.threshold) {
            (Ok(activation), _) => Ok(activation.clone()),
            (Err(_), Some(threshold)) => Ok(Activation::Threshold { k: self.k()?.unwrap_or(0), threshold }),
            (Err(missing), None) => Err(self.bad(missing)),
        }
    }

    /// The code norm in force.
    pub(super) fn norm(&self, facts: &WeightsFacts, choices: &Choices) -> CodeNorm {
        if facts.norm_assumed { choices.norm.unwrap_or(facts.norm) } else { facts.norm }
    }

    /// The k of a top-k crosscoder, from the tensors or the config.
    pub(super) fn k(&self) -> Result<Option<u64>> {
        let own = match self.layout {
            Layout::Published => self.tensors.integers(&self.name("k"))?.and_then(|k| k.first().copied()),
            _ => None,
        };
        let stated = [&self.config["k"], &self.trainer["k"], &self.config["activation_fn"]["cfg"]["k_per_example"]];
        Ok(own.and_then(|k| u64::try_from(k).ok()).or_else(|| stated.into_iter().find_map(Value::as_u64)))
    }

    /// Name of a tensor in the file.
    pub(super) fn name(&self, tail: &str) -> String {
        format!("{}{tail}", self.prefix)
    }

    /// An error about these files.
    pub(super) fn bad(&self, problem: &str) -> Error {
        self.tensors.bad(problem)
    }

    /// Shape of a tensor that must be there, with this many dimensions.
    pub(super) fn shape<const N: usize>(&self, tail: &str) -> Result<[usize; N]> {
        let name = self.name(tail);
        let shape = self.tensors.shape(&name).ok_or_else(|| self.bad(&format!("there is no `{name}`")))?;
        <[usize; N]>::try_from(shape.clone())
            .map_err(|_| self.bad(&format!("`{name}` has shape {shape:?}, not {N} dimensions")))
    }

    /// A float tensor of exactly this shape.
    pub(super) fn matrix(&self, tail: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let shape: Vec<Option<usize>> = shape.iter().map(|&n| Some(n)).collect();
        Ok(self.tensors.matrix(&self.name(tail), &shape)?.1)
    }
}

/// Opens a file of tensors of either format, told apart by how it begins.
///
/// # Errors
/// It cannot be read, or is neither.
pub fn tensors(path: &Path) -> Result<Box<dyn NamedTensors + Send + Sync>> {
    let mut start = [0; 2];
    let mut file = File::open(path).map_err(|error| Error::file(path, error))?;
    let length = file.read(&mut start).map_err(|error| Error::file(path, error))?;
    if start[..length].starts_with(b"PK") || start[..length] == [0x80, 2] {
        return Ok(Box::new(TorchFile::open(path)?));
    }
    let file = TensorFile::open(path)?;
    file.tensors()?;
    Ok(Box::new(file))
}

/// The file of weights of a folder.
fn weights_in(folder: &Path) -> Result<PathBuf> {
    if let Some(known) = WEIGHTS.iter().map(|name| folder.join(name)).find(|path| path.is_file()) {
        return Ok(known);
    }
    let refuse = |problem: String| Err(Error::invalid("read weights", format!("{}: {problem}", folder.display())));
    let entries = std::fs::read_dir(folder).map_err(|error| Error::file(folder, error))?;
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|ending| ending == "pt" || ending == "safetensors"))
        .filter(|path| !path.file_name().is_some_and(|name| name.to_string_lossy().contains("eval_logs")))
        .collect();
    files.sort();
    match &files[..] {
        [one] => Ok(one.clone()),
        [] if folder.join("shard_0.memmap").is_file() => refuse(
            "it is an activation cache: name it in `activations`, `from = cache(\"base folder\", \"tuned folder\")`"
                .into(),
        ),
        [] => refuse("it holds no weights (model.safetensors, or a .pt)".into()),
        several => {
            let names: Vec<String> =
                several.iter().filter_map(|path| Some(path.file_name()?.to_string_lossy().to_string())).collect();
            refuse(format!("it holds several files of weights: name one of {}", names.join(", ")))
        }
    }
}

/// The layout by the names of the tensors, and what stands before them.
fn recognise(tensors: &(dyn NamedTensors + Send + Sync), prefix: Option<&str>) -> Result<(Layout, String)> {
    const MARKS: [(&str, Layout); 3] =
        [("encoder.weight", Layout::Published), ("_W_enc_XiDiL", Layout::Crosscode), ("W_enc", Layout::Kissane)];
    let names = tensors.names();
    if let Some(prefix) = prefix {
        let compiled = format!("{prefix}_orig_mod.");
        let found = [prefix, &compiled].into_iter().find(|p| names.contains(&format!("{p}encoder.weight")));
        return match found {
            Some(found) => Ok((Layout::Published, found.to_string())),
            None => Err(tensors.bad(&format!("there is no `{prefix}encoder.weight`; there are {}", some(&names)))),
        };
    }
    for (mark, layout) in MARKS {
        let found: Vec<&str> = names
            .iter()
            .filter_map(|name| name.strip_suffix(mark))
            .filter(|prefix| prefix.is_empty() || prefix.ends_with('.'))
            .collect();
        match &found[..] {
            [] => continue,
            [one] => return Ok((layout, one.to_string())),
            several => {
                return Err(tensors.bad(&format!(
                    "it holds several crosscoders: use `tensors(.., prefix = \"..\")` with one of {}",
                    several.iter().map(|p| format!("\"{p}\"")).collect::<Vec<_>>().join(", ")
                )));
            }
        }
    }
    Err(tensors.bad(&format!("it is no crosscoder in a layout that is known; its tensors are {}", some(&names))))
}

/// The first few names.
fn some(names: &[String]) -> String {
    const SHOWN: usize = 6;
    let shown = names.iter().take(SHOWN).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN { format!("{shown} and {} more", names.len() - SHOWN) } else { shown }
}

/// The JSON of a file, or null when there is no such file. Python writes NaN and Infinity, which are no JSON; they read as null.
fn json(path: &Path) -> Result<Value> {
    match std::fs::read_to_string(path) {
        Ok(text) => serde_json::from_str(&text)
            .or_else(|error| {
                serde_json::from_str(
                    &text.replace("-Infinity", "null").replace("Infinity", "null").replace("NaN", "null"),
                )
                .map_err(|_| error)
            })
            .map_err(|error| Error::invalid("read weights", format!("{}: {error}", path.display()))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Value::Null),
        Err(error) => Err(Error::file(path, error)),
    }
}
