//! Where in a block a stream is read or replaced.
//!
//! In every family the block adds two things to the stream: `residual_post = residual_pre + attn_out + mlp_out`. Where attention
//! and MLP follow one another, the MLP reads `residual_pre + attn_out`; where they stand side by side (GPT-NeoX with
//! `use_parallel_residual`), both read `residual_pre`, and replacing `attn_out` leaves `mlp_out` as it is.

/// A place of block l.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Site {
    /// The residual stream before block l.
    ResidualPre,
    /// What attention adds to the stream (after the norm that follows it, where a family has one).
    AttnOut,
    /// What the MLP adds to the stream (after the norm that follows it, where a family has one).
    MlpOut,
    /// The residual stream after block l.
    ResidualPost,
}
