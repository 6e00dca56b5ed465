//! Training interrupted and taken up again, with the same bits.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::parameter::Parameter;
use super::state::State;
use super::tensor_file::{self, Tensor, TensorFile};
use super::trainer::Count;
use super::{StepReport, Train, Trainer, TrainerConfig};
use crate::ml::{Error, Result};

/// What is not a tensor.
#[derive(Serialize, Deserialize)]
struct Note {
    config: TrainerConfig,
    width: usize,
    step: u64,
    tokens: u64,
    /// Bits, because JSON is no place for f32.
    threshold: u32,
    last: Option<StepReport>,
}

/// A configuration without what changes no result.
fn essence(config: &TrainerConfig) -> TrainerConfig {
    TrainerConfig { train: Train { validate: 0, log: 0, ..config.train }, ..config.clone() }
}

impl Trainer {
    /// Writes everything that later steps depend on. A reader never sees half a file.
    pub fn checkpoint(&self, path: &Path) -> Result<()> {
        let (both, latents) = (self.row(), self.config.latents);
        let state = self.state()?;
        let count = &self.count;
        let note = Note {
            config: essence(&self.config),
            width: self.width,
            step: count.step,
            tokens: count.tokens,
            threshold: count.threshold.to_bits(),
            last: count.last.clone(),
        };
        let note = serde_json::to_string(&note).map_err(|error| Error::invalid("checkpoint", error.to_string()))?;
        let integers = |values: &[u64]| Tensor::i64(&[latents], &values.iter().map(|&v| v as i64).collect::<Vec<_>>());
        let mut tensors = BTreeMap::from([
            ("idle.tokens", integers(&state.idle_tokens)),
            ("idle.steps", integers(&state.idle_steps)),
        ]);
        let parameters = [
            (&NAMES[0], &state.encoder, vec![latents, both]),
            (&NAMES[1], &state.encoder_bias, vec![latents]),
            (&NAMES[2], &state.decoder, vec![latents, both]),
            (&NAMES[3], &state.decoder_bias, vec![both]),
        ];
        for (names, parameter, shape) in &parameters {
            for (name, values) in names.iter().zip([&parameter.value, &parameter.mean, &parameter.square]) {
                tensors.insert(name, Tensor::f32(shape, values));
            }
        }
        tensor_file::write(path, &tensors, Some(&note))
    }

    /// Goes on from a checkpoint of the same configuration.
    pub fn resume(config: TrainerConfig, width: usize, path: &Path) -> Result<Self> {
        let file = TensorFile::open(path)?;
        let note = file.note()?.ok_or_else(|| file.bad("it is no checkpoint"))?;
        let note: Note = serde_json::from_str(&note).map_err(|error| file.bad(&error.to_string()))?;
        if (&note.config, note.width) != (&essence(&config), width) {
            return Err(file.bad("the checkpoint was made with another configuration"));
        }
        let (both, latents) = (config.variant.row(width), config.latents);
        let parameter = |names: &[&str; 3], shape: &[usize]| -> Result<Parameter> {
            let shape: Vec<Option<usize>> = shape.iter().map(|&size| Some(size)).collect();
            let [value, mean, square] = names.map(|name| file.matrix(name, &shape).map(|(_, values)| values));
            Ok(Parameter { value: value?, mean: mean?, square: square? })
        };
        let integers = |name: &str| -> Result<Vec<u64>> {
            let values = file.integers(name)?.filter(|values| values.len() == latents);
            let values = values.ok_or_else(|| file.bad(&format!("`{name}` is not [{latents}]")))?;
            Ok(values.into_iter().map(|value| value as u64).collect())
        };
        let threshold = f32::from_bits(note.threshold);
        let count = Count { step: note.step, tokens: note.tokens, threshold, last: note.last };
        let state = State {
            encoder: parameter(&NAMES[0], &[latents, both])?,
            encoder_bias: parameter(&NAMES[1], &[latents])?,
            decoder: parameter(&NAMES[2], &[latents, both])?,
            decoder_bias: parameter(&NAMES[3], &[both])?,
            idle_tokens: integers("idle.tokens")?,
            idle_steps: integers("idle.steps")?,
        };
        Ok(Trainer::with_state(config, width, count, state))
    }
}

/// Value, first and second moment of each parameter.
const NAMES: [[&str; 3]; 4] = [
    ["encoder.weight", "encoder.weight.mean", "encoder.weight.square"],
    ["encoder.bias", "encoder.bias.mean", "encoder.bias.square"],
    ["decoder.weight", "decoder.weight.mean", "decoder.weight.square"],
    ["decoder.bias", "decoder.bias.mean", "decoder.bias.square"],
];
