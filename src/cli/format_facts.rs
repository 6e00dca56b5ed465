//! Facts of other projects' files for the language half, as the engine reads them.

use std::path::Path;

use crate::lang::plan::spec::Target;
use crate::lang::world::{CacheFacts, CrosscoderFacts};
use crate::ml::Error;
use crate::ml::formats::{CacheFolder, WeightsFile, cache_rows};

/// Of a crosscoder in a folder or file.
pub fn crosscoder(path: &Path, prefix: Option<&str>) -> Result<CrosscoderFacts, String> {
    let file = WeightsFile::open(path, prefix).map_err(sentence)?;
    let facts = file.facts().map_err(sentence)?;
    // A folder is hashed with all that is in it.
    let names = file.configs.iter().filter(|_| !path.is_dir()).filter_map(|config| config.file_name());
    Ok(CrosscoderFacts {
        layout: facts.layout.word().to_string(),
        width: facts.width as u64,
        latents: facts.latents as u64,
        normalizes: facts.normalizes,
        expects: facts.expects.map(str::to_string),
        assumed: facts.assumed,
        unusable: facts.activation.err(),
        autoencoder: facts.autoencoder,
        reads: facts.reads.map(|target| match target {
            crate::ml::crosscoder::Target::Base => Target::Base,
            crate::ml::crosscoder::Target::Tuned => Target::Tuned,
            crate::ml::crosscoder::Target::Difference => Target::Difference,
        }),
        beside: names.map(|name| name.to_string_lossy().to_string()).collect(),
    })
}

/// Of the caches of both models; each as written, and where it is.
pub fn cache(base: (&str, &Path), tuned: (&str, &Path)) -> Result<CacheFacts, String> {
    let open = |path: &Path| CacheFolder::open(path).map_err(sentence);
    let folders = [open(base.1)?, open(tuned.1)?];
    cache_rows::pair(&folders[0], &folders[1]).map_err(sentence)?;
    let mut beside = Vec::new();
    for (folder, (written, place)) in folders.iter().zip([base, tuned]) {
        let outside = [&folder.tokens, &folder.sequence_ranges].into_iter().flatten().filter(|p| !p.starts_with(place));
        let names = outside.filter_map(|path| path.file_name());
        beside.extend(names.map(|name| format!("{}/../{}", written.trim_end_matches('/'), name.to_string_lossy())));
    }
    Ok(CacheFacts { width: folders[0].width as u64, rows: folders[0].rows(), beside })
}

/// Without the words that a run would put before it.
fn sentence(error: Error) -> String {
    match error {
        Error::Invalid { problem, .. } => problem,
        Error::File { path, source } => format!("{path}: {}", super::world::reason(&source)),
        other => other.to_string(),
    }
}
