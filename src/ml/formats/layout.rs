//! The layouts of crosscoders on disk (docs/formats.md).

/// Whose files they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// `encoder.weight` [2, d, D] and so on, with config.json: the paper's project, and xd's own.
    Published,
    /// `W_enc` [2, d, D], `W_dec` [D, 2, d]: Kissane et al., with cfg.json.
    Kissane,
    /// `_W_enc_XiDiL` [2, 1, d, D] and so on: crosscode, with model_cfg.yaml.
    Crosscode,
    /// `W_enc` [2 d, D] over both models side by side, or a slice [d, D] of each: autoencoders of SAELens, with cfg.json.
    Saelens,
}

impl Layout {
    /// As the user names it.
    pub fn word(self) -> &'static str {
        match self {
            Layout::Published => "published",
            Layout::Kissane => "kissane",
            Layout::Crosscode => "crosscode",
            Layout::Saelens => "saelens",
        }
    }
}
