//! What a run is told besides its plan.

use std::path::PathBuf;
use std::sync::Arc;

use super::hub::Hub;
use super::manifest::InputFile;
use crate::ml::cuda::Gpu;

/// Where a run reads and writes.
#[derive(Clone, Debug)]
pub struct Options {
    /// The file as named by the user.
    pub file: String,
    /// Name of the index in the store and of the run folder: the file's stem.
    pub experiment: String,
    /// `runs/<stem>` or `--out`.
    pub out: PathBuf,
    /// Only the step of this name, and what it needs.
    pub only: Option<String>,
    /// The resolved file, for the manifest and the report.
    pub resolved: String,
    /// Path and text of the file and of all its imports, for the report.
    pub sources: Vec<(String, String)>,
    /// Warnings of the check, for the report.
    pub warnings: Vec<String>,
    /// Files read with their hashes.
    pub inputs: Vec<InputFile>,
    /// Brings what the plan pins of the hub and this machine lacks.
    pub hub: Hub,
    /// Where tapped models run, crosscoders are trained and Latent Scaling is measured; without it on the CPU, as all else.
    pub gpu: Option<Arc<dyn Gpu>>,
}
