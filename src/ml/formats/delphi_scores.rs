//! What delphi found: `explanations/{module}_latent{n}.txt` and `scores/detection/{module}_latent{n}.txt` of its results.
//!
//! An explanation is a JSON string. A score is a JSON list of the texts that the scorer was shown: `activating` says whether the latent
//! fires on it, `correct` whether the scorer said so too; `null` where its answer could not be read.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use crate::ml::{Error, Result};

/// What is known of a latent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Interpretation {
    pub explanation: Option<Arc<str>>,
    /// (TP + TN) / all texts with an answer.
    pub detection: Option<f64>,
    /// (TP / (TP + FN) + TN / (TN + FP)) / 2; only where there are texts of both kinds.
    pub balanced: Option<f64>,
}

/// The module that `xd export --as delphi` writes.
const MODULE: &str = "crosscoder";

/// What a folder of results says of the latents of a crosscoder that has so many.
///
/// # Errors
/// It holds no results, results of several modules, of latents that are not there, or damaged ones.
pub fn read(folder: &Path, latents: usize) -> Result<BTreeMap<u32, Interpretation>> {
    let explanations = files(&folder.join("explanations"))?;
    let scores = files(&folder.join("scores").join("detection"))?;
    if explanations.is_empty() && scores.is_empty() {
        let problem = "there is no `explanations/MODULE_latentN.txt` and no `scores/detection/MODULE_latentN.txt` in it; give the folder \
                       that a run of delphi made, such as `results/NAME`";
        return Err(wrong(folder, problem));
    }
    let mut found: BTreeMap<u32, Interpretation> = BTreeMap::new();
    let module = module(folder, explanations.iter().chain(&scores))?;
    for (latent, path) in of_module(&explanations, &module) {
        check(latent, latents, path)?;
        let Value::String(text) = json(path)? else {
            return Err(wrong(path, "it holds no explanation, which is a JSON string"));
        };
        found.entry(latent).or_default().explanation = Some(Arc::from(text.trim()));
    }
    for (latent, path) in of_module(&scores, &module) {
        check(latent, latents, path)?;
        let (detection, balanced) = accuracy(&json(path)?).ok_or_else(|| {
            wrong(path, "it holds no detection score, which is a JSON list of records with `activating` and `correct`")
        })?;
        let entry = found.entry(latent).or_default();
        (entry.detection, entry.balanced) = (detection, balanced);
    }
    Ok(found)
}

fn wrong(path: &Path, problem: &str) -> Error {
    Error::invalid("read delphi's results", format!("{}: {problem}", path.display()))
}

/// Module, latent and path of each file; none where there is no such folder.
type Files = Vec<(String, u32, PathBuf)>;

fn files(folder: &Path) -> Result<Files> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|error| Error::file(folder, error))? {
        let path = entry.map_err(|error| Error::file(folder, error))?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().to_string()).unwrap_or_default();
        let parts = name.strip_suffix(".txt").and_then(|stem| stem.rsplit_once("_latent"));
        if let Some((module, Ok(latent))) = parts.map(|(module, number)| (module, number.parse::<u32>())) {
            found.push((module.to_string(), latent, path));
        }
    }
    found.sort();
    Ok(found)
}

/// The one module, or that of xd's export.
fn module<'a>(folder: &Path, files: impl Iterator<Item = &'a (String, u32, PathBuf)>) -> Result<String> {
    let modules: BTreeSet<&str> = files.map(|(module, ..)| module.as_str()).collect();
    let only = modules.first().filter(|_| modules.len() == 1);
    match only.or_else(|| modules.get(MODULE)) {
        Some(module) => Ok(module.to_string()),
        None => {
            let names: Vec<&str> = modules.into_iter().collect();
            let problem = format!(
                "it has results of several modules ({}), and none is called `{MODULE}`: give a folder with those of this crosscoder only",
                names.join(", ")
            );
            Err(wrong(folder, &problem))
        }
    }
}

fn of_module<'a>(files: &'a Files, module: &str) -> impl Iterator<Item = (u32, &'a PathBuf)> {
    files.iter().filter(move |(of, ..)| of == module).map(|(_, latent, path)| (*latent, path))
}

fn check(latent: u32, latents: usize, path: &Path) -> Result<()> {
    match (latent as usize) < latents {
        true => Ok(()),
        false => Err(wrong(path, &format!("the crosscoder has {latents} latents: these are results of another one"))),
    }
}

fn json(path: &Path) -> Result<Value> {
    let bytes = std::fs::read(path).map_err(|error| Error::file(path, error))?;
    serde_json::from_slice(&bytes)
        .map_err(|error| wrong(path, &format!("it is no JSON ({error}); delphi may have been stopped")))
}

/// Accuracy, plain and balanced. `None`: this is no score.
fn accuracy(records: &Value) -> Option<(Option<f64>, Option<f64>)> {
    // [correct, all] of the texts on which the latent is silent, and of those on which it fires.
    let mut counts = [[0u64; 2]; 2];
    for record in records.as_array()? {
        let (activating, correct) = (record.get("activating")?.as_bool()?, record.get("correct")?);
        if correct.is_null() {
            continue;
        }
        let of = &mut counts[usize::from(activating)];
        of[0] += u64::from(correct.as_bool()?);
        of[1] += 1;
    }
    let share = |[correct, all]: [u64; 2]| (all > 0).then(|| correct as f64 / all as f64);
    let [silent, fires] = counts;
    let balanced = share(silent).zip(share(fires)).map(|(silent, fires)| (silent + fires) / 2.0);
    Some((share([silent[0] + fires[0], silent[1] + fires[1]]), balanced))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        folder
    }

    fn record(activating: bool, correct: &str) -> String {
        format!(
            "{{\"str_tokens\":[\"a\"],\"distance\":1,\"activating\":{activating},\"prediction\":1,\"probability\":null,\"correct\":{correct}}}"
        )
    }

    #[test]
    fn explanations_and_scores_are_counted_by_hand() {
        let records =
            [(true, "true"), (true, "true"), (true, "false"), (false, "true"), (false, "false"), (true, "null")];
        let list = records.map(|(activating, correct)| record(activating, correct)).join(",");
        let folder = results(&[
            ("explanations/crosscoder_latent7.txt", "\"The word \\\"no\\\". \""),
            ("explanations/notes.md", "x"),
            ("scores/detection/crosscoder_latent7.txt", &format!("[{list}]")),
            ("scores/detection/crosscoder_latent9.txt", &format!("[{}]", record(true, "true"))),
            ("scores/detection/crosscoder_latent11.txt", "[]"),
            ("scores/fuzz/crosscoder_latent7.txt", "[]"),
        ]);
        let found = read(folder.path(), 12).unwrap();
        assert_eq!(found.keys().copied().collect::<Vec<u32>>(), [7, 9, 11]);
        let seven = &found[&7];
        assert_eq!(seven.explanation.as_deref(), Some("The word \"no\"."));
        assert_eq!(seven.detection, Some(3.0 / 5.0));
        assert_eq!(seven.balanced, Some((2.0 / 3.0 + 1.0 / 2.0) / 2.0));
        assert_eq!((found[&9].detection, found[&9].balanced), (Some(1.0), None));
        assert_eq!(found[&11], Interpretation::default());
        let error = read(folder.path(), 10).unwrap_err().to_string();
        assert!(error.contains("latent11") && error.contains("10 latents"), "{error}");
    }

    #[test]
    fn another_folder_and_damaged_files_are_refused() {
        let says = |files: &[(&str, &str)]| read(results(files).path(), 10).unwrap_err().to_string();
        assert!(says(&[("readme.txt", "x")]).contains("results/NAME"));
        let both = [("explanations/a_latent1.txt", "\"x\""), ("explanations/b_latent1.txt", "\"y\"")];
        assert!(says(&both).contains("several modules (a, b)"));
        let named = results(&[both[0], ("explanations/crosscoder_latent1.txt", "\"mine\"")]);
        assert_eq!(read(named.path(), 10).unwrap()[&1].explanation.as_deref(), Some("mine"));
        assert!(says(&[("explanations/a_latent1.txt", "[1]")]).contains("no explanation"));
        assert!(says(&[("explanations/a_latent1.txt", "\"x")]).contains("no JSON"));
        assert!(says(&[("scores/detection/a_latent1.txt", "[{\"correct\":true}]")]).contains("no detection score"));
    }
}
