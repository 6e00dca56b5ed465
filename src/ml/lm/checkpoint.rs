//! A training that was cut off goes on from here, to the same bits.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::Device;
use serde::{Deserialize, Serialize};

use super::adam::Moments;
use super::save::write_file;
use crate::ml::{Error, Result};

/// A row of `losses.csv`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LossRow {
    /// Updates made.
    pub step: u64,
    /// Tokens trained on.
    pub tokens: u64,
    /// Mean training loss since the row before, in nats a token; none at step 0.
    pub loss: Option<f64>,
    /// Loss on the held-out contexts.
    pub held_out: Option<f64>,
}

#[derive(Serialize, Deserialize)]
struct State {
    /// What is being trained: another one's checkpoint is not taken.
    identity: String,
    step: u64,
    running: (f64, u64),
    rows: Vec<LossRow>,
}

/// Everything that the rest of the training depends on.
#[derive(Default)]
pub(super) struct Checkpoint {
    pub step: u64,
    /// Sum and count of the losses since the last row.
    pub running: (f64, u64),
    pub rows: Vec<LossRow>,
    pub parameters: BTreeMap<String, Vec<f32>>,
    pub moments: BTreeMap<String, Moments>,
}

const FILE: &str = "training.safetensors";

impl Checkpoint {
    /// Writes it into `folder` in one piece.
    pub(super) fn save(&self, folder: &Path, identity: &str) -> Result<()> {
        let state =
            State { identity: identity.into(), step: self.step, running: self.running, rows: self.rows.clone() };
        let state = serde_json::to_string(&state).map_err(|e| Error::invalid("save checkpoint", e.to_string()))?;
        let mut parts: Vec<(String, Vec<u8>)> = Vec::new();
        for (name, values) in &self.parameters {
            let Some(moments) = self.moments.get(name) else { continue };
            for (prefix, values) in [("parameter", values), ("first", &moments.first), ("second", &moments.second)] {
                parts.push((format!("{prefix}:{name}"), values.iter().flat_map(|v| v.to_le_bytes()).collect()));
            }
        }
        let mut views = Vec::new();
        for (name, bytes) in &parts {
            let view = safetensors::tensor::TensorView::new(safetensors::Dtype::F32, vec![bytes.len() / 4], bytes)?;
            views.push((name.as_str(), view));
        }
        let metadata = std::collections::HashMap::from([("state".to_string(), state)]);
        write_file(&folder.join(FILE), &safetensors::serialize(views, Some(metadata))?)
    }

    /// The checkpoint in `folder`, if there is one of this training.
    pub(super) fn load(folder: &Path, identity: &str) -> Result<Option<Self>> {
        let path = folder.join(FILE);
        if !path.is_file() {
            return Ok(None);
        }
        let bytes = std::fs::read(&path).map_err(|e| Error::file(&path, e))?;
        let (_, metadata) = safetensors::SafeTensors::read_metadata(&bytes)?;
        let state = metadata.metadata().as_ref().and_then(|m| m.get("state").cloned()).unwrap_or_default();
        let state: State = serde_json::from_str(&state)
            .map_err(|e| Error::invalid("load checkpoint", format!("{}: {e}", path.display())))?;
        if state.identity != identity {
            return Ok(None);
        }
        let (mut parameters, mut moments) = (BTreeMap::new(), BTreeMap::<String, Moments>::new());
        for (name, tensor) in candle_core::safetensors::load_buffer(&bytes, &Device::Cpu)? {
            let values = tensor.to_vec1::<f32>()?;
            match name.split_once(':') {
                Some(("parameter", name)) => drop(parameters.insert(name.to_string(), values)),
                Some(("first", name)) => moments.entry(name.to_string()).or_default().first = values,
                Some(("second", name)) => moments.entry(name.to_string()).or_default().second = values,
                _ => {
                    return Err(Error::invalid(
                        "load checkpoint",
                        format!("{}: unknown tensor {name}", path.display()),
                    ));
                }
            }
        }
        Ok(Some(Self { step: state.step, running: state.running, rows: state.rows, parameters, moments }))
    }

    /// Removes what [`Checkpoint::save`] wrote.
    pub(super) fn remove(folder: &Path) -> Result<()> {
        let path = folder.join(FILE);
        match std::fs::remove_file(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::file(&path, e)),
            _ => Ok(()),
        }
    }
}
