//! Where in a block a stream is read or replaced.

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
