//! A crosscoder in autoencoders of SAELens, `cfg.json` and `sae_weights.safetensors` a folder: one that reads both models' activations side
//! by side, or a slice a model.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::Layout;
use super::kissane::models_first;
use super::weights_file::{WeightsFacts, WeightsFile};
use crate::ml::Result;
use crate::ml::crosscoder::{Activation, CodeNorm, Crosscoder, Variant};

/// Name of the file of tensors.
pub(super) const WEIGHTS: &str = "sae_weights.safetensors";
/// Name of the file of facts.
pub(super) const CONFIG: &str = "cfg.json";

/// What an autoencoder is of a crosscoder; a note in its metadata says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Joint,
    Base,
    Tuned,
}

impl Part {
    const ALL: [Part; 3] = [Part::Joint, Part::Base, Part::Tuned];

    pub(super) fn folder(self) -> &'static str {
        match self {
            Part::Joint => "joint",
            Part::Base => "base",
            Part::Tuned => "tuned",
        }
    }

    pub(super) fn note(self) -> &'static str {
        match self {
            Part::Joint => "both models' activations side by side, base first: the whole crosscoder",
            Part::Base => {
                "the base model's half of a crosscoder: its decoder is exact, its encoder lacks what the tuned model adds"
            }
            Part::Tuned => {
                "the tuned model's half of a crosscoder: its decoder is exact, its encoder lacks what the base model adds"
            }
        }
    }
}

/// `joint` in a folder that holds it.
pub(super) fn joint_in(folder: &Path) -> Option<PathBuf> {
    Some(folder.join(Part::Joint.folder())).filter(|joint| is_autoencoder(joint))
}

/// `base` and `tuned` in a folder that holds both and no `joint`.
pub(super) fn slices_in(folder: &Path) -> Option<[PathBuf; 2]> {
    let slices = [Part::Base, Part::Tuned].map(|part| folder.join(part.folder()));
    (joint_in(folder).is_none() && slices.iter().all(|slice| is_autoencoder(slice))).then_some(slices)
}

fn is_autoencoder(folder: &Path) -> bool {
    folder.join(CONFIG).is_file() && folder.join(WEIGHTS).is_file()
}

/// How an autoencoder keeps latents active.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Standard,
    JumpRelu,
    TopK(u64),
}

/// What `cfg.json` says that changes numbers.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Autoencoder {
    /// d_in, both models' where it is `joint`.
    pub width: usize,
    pub latents: usize,
    pub kind: Kind,
    /// `apply_b_dec_to_input`: p = (x - b_dec) W_enc + b_enc. True where it is not stated, as in SAELens.
    pub subtracts: bool,
    /// `rescale_acts_by_decoder_norm`: top-k ranks p_j ||d_j|| over the whole decoder row.
    pub rescales: bool,
    part: Option<Part>,
    norm: Option<CodeNorm>,
    hook: Option<String>,
}

impl Autoencoder {
    /// Reads `cfg.json` of any age, and refuses by name what the weights alone do not do.
    pub(super) fn of(file: &WeightsFile) -> Result<Self> {
        let (config, metadata) = (&file.config, &file.config["metadata"]);
        let either = |key: &str| if config[key].is_null() { &metadata[key] } else { &config[key] };
        let flag = |key: &str| config[key].as_bool();
        let [width, latents] = file.shape("W_enc")?;
        for (key, found) in [("d_in", width), ("d_sae", latents)] {
            if config[key].as_u64() != Some(found as u64) {
                return Err(file.bad(&format!("{CONFIG} says `{key}` = {}, and its `W_enc` has {found}", config[key])));
            }
        }
        let kind = kind(file)?;
        match &config["normalize_activations"] {
            Value::Null | Value::Bool(false) => {}
            Value::String(word) if word == "none" => {}
            Value::String(word) if word != "expected_average_only_in" => {
                return Err(file.bad(&format!(
                    "it has `normalize_activations = {word}`, which scales each row by itself; xd reads autoencoders of rows as they are"
                )));
            }
            _ => {
                return Err(file.bad(
                    "it has `normalize_activations = expected_average_only_in`, and its scale is not in the files: fold it in with SAELens \
                     (`fold_activation_norm_scaling_factor`) and save it again",
                ));
            }
        }
        if let Some(word) = config["reshape_activations"].as_str().filter(|word| *word != "none") {
            return Err(
                file.bad(&format!("it has `reshape_activations = {word}`; xd reads autoencoders of whole rows"))
            );
        }
        let hook = either("hook_name").as_str().or(either("hook_point").as_str()).map(str::to_string);
        if !either("hook_head_index").is_null() || hook.as_ref().is_some_and(|hook| hook.ends_with("hook_z")) {
            return Err(file
                .bad("it reads attention heads (`hook_z`, `hook_head_index`); xd reads rows of the residual stream"));
        }
        known_tensors(file, kind)?;
        let rescales = flag("rescale_acts_by_decoder_norm").unwrap_or(false) && matches!(kind, Kind::TopK(_));
        let norm = match &metadata["code_norm"] {
            Value::Null => None,
            stated => Some(
                serde_json::from_value(stated.clone())
                    .map_err(|_| file.bad(&format!("its code norm {stated} is not known")))?,
            ),
        };
        let note = metadata["crosscoder"].as_str();
        Ok(Autoencoder {
            width,
            latents,
            kind,
            subtracts: flag("apply_b_dec_to_input").unwrap_or(true),
            rescales,
            part: Part::ALL.into_iter().find(|part| note == Some(part.note())),
            norm,
            hook,
        })
    }

    /// What its selection ranks by, else what its metadata says, else an assumption.
    fn norm(&self, file: &WeightsFile, assumed: &mut Vec<String>) -> Result<CodeNorm> {
        let ranks = match (self.kind, self.rescales) {
            (Kind::TopK(_), true) => Some(CodeNorm::Concat),
            (Kind::TopK(_), false) => Some(CodeNorm::None),
            _ => None,
        };
        match (ranks, self.norm) {
            (Some(ranks), Some(stated)) if ranks != stated => Err(file.bad(&format!(
                "its metadata says the code norm `{}`, and its top-k ranks by `{}`",
                stated.word(),
                ranks.word()
            ))),
            (Some(norm), _) | (None, Some(norm)) => Ok(norm),
            (None, None) => {
                // SAELens weighs latents by the norm of the whole decoder row; what xd wrote before it kept the norm is mostly a sum.
                let norm = if self.part.is_none() { CodeNorm::Concat } else { CodeNorm::Sum };
                assumed.push(format!(
                    "the files do not say how decoder norms make one code norm: `{}` is assumed",
                    norm.word()
                ));
                Ok(norm)
            }
        }
    }
}

/// By `architecture`, and in files before SAELens 6 by `activation_fn`.
fn kind(file: &WeightsFile) -> Result<Kind> {
    let config = &file.config;
    let function = ["activation_fn", "activation_fn_str"].into_iter().find_map(|key| config[key].as_str());
    let architecture = match (config["architecture"].as_str().unwrap_or("standard"), function) {
        ("standard", Some("topk")) => "topk",
        (architecture, None | Some("relu")) | (architecture @ "topk", Some("topk")) => architecture,
        (_, Some(other)) => {
            return Err(file.bad(&format!("its activation `{other}` is not one that xd reads (relu, topk)")));
        }
    };
    match architecture {
        "standard" => Ok(Kind::Standard),
        "jumprelu" => Ok(Kind::JumpRelu),
        "topk" => match config["k"].as_u64().or(config["activation_fn_kwargs"]["k"].as_u64()) {
            Some(k) => Ok(Kind::TopK(k)),
            None => Err(file.bad(&format!("its {CONFIG} states no `k`"))),
        },
        other => Err(file.bad(&format!("its architecture is `{other}`; xd reads standard, jumprelu and topk"))),
    }
}

/// A tensor that the architecture has no place for would change what it computes.
fn known_tensors(file: &WeightsFile, kind: Kind) -> Result<()> {
    for name in file.tensors.names() {
        let tail = name.strip_prefix(&file.prefix).unwrap_or(&name);
        match tail {
            "W_enc" | "b_enc" | "W_dec" | "b_dec" => {}
            "threshold" if kind == Kind::JumpRelu => {}
            "scaling_factor" | "finetuning_scaling_factor" => {
                if file.tensors.floats(&name)?.is_none_or(|(_, values)| values.iter().any(|value| *value != 1.0)) {
                    return Err(file.bad(&format!(
                        "it scales features by `{name}`, which xd does not have: fold it into `W_dec` first"
                    )));
                }
            }
            _ => {
                return Err(
                    file.bad(&format!("it holds `{name}`, which xd does not know in an autoencoder of this kind"))
                );
            }
        }
    }
    Ok(())
}

/// What can be said without reading the matrices.
pub(super) fn facts(file: &WeightsFile) -> Result<WeightsFacts> {
    let whole = Autoencoder::of(file)?;
    let width = match &file.tuned {
        Some(tuned) => {
            pair(file, &whole, tuned)?;
            whole.width
        }
        None => joint(file, &whole)?,
    };
    let mut assumed = Vec::new();
    let norm = whole.norm(file, &mut assumed)?;
    let norm_assumed = !assumed.is_empty();
    if let Some(hook) = &whole.hook {
        assumed.push(format!("its {CONFIG} names the hook `{hook}`: activations are assumed to be from there"));
    }
    let activation = match whole.kind {
        Kind::Standard => Activation::Relu,
        Kind::JumpRelu => Activation::JumpRelu { thresholds: file.matrix("threshold", &[whole.latents])? },
        Kind::TopK(k) => Activation::TopK { k },
    };
    Ok(WeightsFacts {
        layout: Layout::Saelens,
        width,
        latents: whole.latents,
        norm,
        activation: Ok(activation),
        norm_assumed,
        normalizes: false,
        expects: None,
        assumed,
        autoencoder: false,
        reads: None,
    })
}

/// d of an autoencoder over both models' activations side by side; nothing else is taken for one.
fn joint(file: &WeightsFile, whole: &Autoencoder) -> Result<usize> {
    match whole.part {
        Some(Part::Joint) => {}
        Some(part) => {
            return Err(file.bad(&format!(
                "it is one model's half of a crosscoder (`{}`): name the folder that holds `base` and `tuned`",
                part.folder()
            )));
        }
        None if file.side_by_side => {}
        None => {
            return Err(file.bad(&format!(
                "it is an autoencoder of SAELens over rows of width {}, and nothing says that they are two models' activations side by side. If \
                 they are, base first: `xd import PATH --side-by-side --out FOLDER`",
                whole.width
            )));
        }
    }
    match whole.width % 2 {
        0 => Ok(whole.width / 2),
        _ => Err(file.bad(&format!("its rows have the width {}, which two models cannot share", whole.width))),
    }
}

/// Slices of both models must be halves of one crosscoder.
fn pair(base: &WeightsFile, whole: &Autoencoder, tuned: &WeightsFile) -> Result<()> {
    if tuned.layout != Layout::Saelens {
        return Err(tuned.bad("it is no autoencoder of SAELens, as the slice of the base model is"));
    }
    let other = Autoencoder::of(tuned)?;
    for (file, slice, part) in [(base, whole, Part::Base), (tuned, &other, Part::Tuned)] {
        if slice.part != Some(part) {
            return Err(file.bad(&format!(
                "it does not say that it is the {} model's half of a crosscoder; two autoencoders of one model each are none",
                part.folder()
            )));
        }
        if slice.rescales {
            return Err(file.bad("it has `rescale_acts_by_decoder_norm`, and a slice lacks the other model's norms"));
        }
    }
    let facts = [
        ("d_in", whole.width.to_string(), other.width.to_string()),
        ("d_sae", whole.latents.to_string(), other.latents.to_string()),
        ("architecture", format!("{:?}", whole.kind), format!("{:?}", other.kind)),
        ("code_norm", format!("{:?}", whole.norm), format!("{:?}", other.norm)),
        ("hook_name", format!("{:?}", whole.hook), format!("{:?}", other.hook)),
    ];
    if let Some((name, one, two)) = facts.iter().find(|(_, one, two)| one != two) {
        return Err(differ(tuned, name, &format!("{one} in `base`, {two} in `tuned`")));
    }
    let shared: &[&str] = if whole.kind == Kind::JumpRelu { &["b_enc", "threshold"] } else { &["b_enc"] };
    for name in shared {
        let [one, two] = [base.matrix(name, &[whole.latents])?, tuned.matrix(name, &[whole.latents])?];
        if let Some(latent) = (0..whole.latents).find(|&latent| one[latent].to_bits() != two[latent].to_bits()) {
            return Err(differ(
                tuned,
                name,
                &format!("latent {latent} has {} in `base`, {} in `tuned`", one[latent], two[latent]),
            ));
        }
    }
    Ok(())
}

fn differ(file: &WeightsFile, name: &str, how: &str) -> crate::ml::Error {
    file.bad(&format!("the slices are no halves of one crosscoder, for their `{name}` differ: {how}"))
}

/// `W_enc` [2 d, D] is [2, d, D] as it lies, `W_dec` [D, 2 d] is [D, 2, d]. A b_dec that is subtracted from the rows goes into the bias: b_enc - b_dec W_enc.
pub(super) fn load(file: &WeightsFile, facts: &WeightsFacts) -> Result<Crosscoder> {
    let (d, latents) = (facts.width, facts.latents);
    let mut encoder_weight = Vec::new();
    let mut decoder_weight = Vec::new();
    let mut decoder_bias = Vec::new();
    let mut encoder_bias: Vec<f64> = file.matrix("b_enc", &[latents])?.into_iter().map(f64::from).collect();
    for part in [Some(file), file.tuned.as_deref()].into_iter().flatten() {
        let slice = Autoencoder::of(part)?;
        let encoder = part.matrix("W_enc", &[slice.width, latents])?;
        let bias = part.matrix("b_dec", &[slice.width])?;
        if slice.subtracts {
            for (row, &bias) in encoder.chunks(latents).zip(&bias) {
                let bias = f64::from(bias);
                encoder_bias.iter_mut().zip(row).for_each(|(sum, &weight)| *sum -= bias * f64::from(weight));
            }
        }
        encoder_weight.extend(encoder);
        decoder_weight.extend(part.matrix("W_dec", &[latents, slice.width])?);
        decoder_bias.extend(bias);
    }
    if file.tuned.is_none() {
        decoder_weight = models_first(&decoder_weight, latents, d);
    }
    Ok(Crosscoder {
        width: d,
        latents,
        encoder_weight,
        encoder_bias: encoder_bias.into_iter().map(|bias| bias as f32).collect(),
        decoder_weight,
        decoder_bias,
        code_norm: facts.norm,
        activation: Activation::Relu,
        normalizer: None,
        variant: Variant::SharedCode,
    })
}
