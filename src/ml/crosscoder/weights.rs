//! The weights of a crosscoder, in the published layout (method.md 1.1).

/// How the two decoder norms make one code norm S_j (method.md 1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CodeNorm {
    /// ||d_base|| + ||d_tuned||.
    Sum,
    /// sqrt(||d_base||^2 + ||d_tuned||^2).
    Concat,
    /// 1.
    None,
}

/// What turns preactivations into the code when the crosscoder is used (not while it is trained).
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// f = ReLU(p): L1 crosscoders.
    Relu,
    /// f = ReLU(p) [ReLU(p) S > threshold]: BatchTopK; a negative threshold (unset) is a plain ReLU.
    Threshold { k: u64, threshold: f32 },
    /// The k largest ReLU(p) S of each row.
    TopK { k: u64 },
}

/// A crosscoder of two models. All matrices row-major f32.
#[derive(Clone, Debug, PartialEq)]
pub struct Crosscoder {
    /// d.
    pub width: usize,
    /// D.
    pub latents: usize,
    /// `[2, d, D]`.
    pub encoder_weight: Vec<f32>,
    /// `[D]`.
    pub encoder_bias: Vec<f32>,
    /// `[2, D, d]`.
    pub decoder_weight: Vec<f32>,
    /// `[2, d]`.
    pub decoder_bias: Vec<f32>,
    pub code_norm: CodeNorm,
    pub activation: Activation,
}
