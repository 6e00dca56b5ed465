//! `manifest.json`: what was run, from what, and what came out.

use serde::{Deserialize, Serialize};

use crate::lang::plan::ParamValue;

/// The whole file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    pub file: String,
    pub xd_version: String,
    pub edition: u32,
    pub device: String,
    pub params: Vec<ParamValue>,
    /// The resolved file: every value with its origin.
    pub resolved: String,
    pub inputs: Vec<InputFile>,
    pub steps: Vec<StepEntry>,
    pub expectations: Vec<ExpectationEntry>,
}

/// A file, folder or glob that was read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct InputFile {
    pub path: String,
    /// blake3 of the contents.
    pub hash: String,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepEntry {
    pub address: String,
    pub kind: String,
    pub id: String,
    pub cached: bool,
    /// `done`, `failed`, `skipped`.
    pub state: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Seconds that its making took (also when it was made by an earlier run).
    pub seconds: f64,
    pub tokens: u64,
    pub tokens_per_second: f64,
    /// Where it was computed, in this run or in the one that made it: `cpu`, or a card. Empty where nothing is kept, and for results
    /// of versions that did not write it down.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub device: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub artifact: Option<String>,
    pub predicted: Amounts,
    pub measured: Amounts,
}

/// What a step takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Amounts {
    pub seconds: f64,
    pub disk_bytes: u64,
    /// Predicted: of the step. Measured: the largest resident memory of the whole process while the step was made, what it held before
    /// among it; 0 where it is not known.
    pub memory_bytes: u64,
}

/// One expectation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExpectationEntry {
    pub name: String,
    pub passed: bool,
    /// The comparison as written.
    pub text: String,
    /// Both sides at the point that decided: the first that failed, or the tightest.
    pub left: Option<f64>,
    pub right: Option<f64>,
    /// In words, when there is more than one point or something is missing.
    pub detail: String,
    /// Of both sides, where they run along the same seeds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub difference: Option<Difference>,
}

/// Left minus right at each value of some axes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    pub mean: f64,
    /// Half the width of its 95% interval.
    pub ci95: Option<f64>,
    pub pairs: usize,
    /// Labels of the axes.
    pub over: Vec<String>,
    /// Whether the interval decided.
    pub decided: bool,
}
