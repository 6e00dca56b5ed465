//! What delphi found: `explanations/{module}_latent{n}.txt`, `scores/detection/..` and `scores/fuzz/..` of its results.
//!
//! An explanation is a JSON string. A score is a JSON list of the texts that the scorer was shown: `activating` says whether the latent
//! fires on it, `correct` whether the scorer said so too (`null` where its answer could not be read), and `distance` the quantile of its
//! activation where it fires; where it does not, -1 for a random text (or one of delphi's FAISS constructor) and another negative number for one of a
//! neighbouring latent.
//!
//! The published project keeps the counts of all latents in one JSON, `{latent: {quantile: {TP, TN, FP, FN}}}`, with the quantiles 0 for
//! random and -1 for similar texts.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use crate::ml::{Error, Result};

/// What is known of a latent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Interpretation {
    pub explanation: Option<Arc<str>>,
    pub detection: Score,
    pub fuzz: Score,
}

/// Which texts a scorer was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TextGroup {
    /// The latent is silent on them.
    Random,
    /// So it is on these, which are like those on which it fires.
    Similar,
    /// It fires on them; from 1.
    Quantile(u32),
}

/// How often the scorer said so and how often that was right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Confusion {
    pub tp: u64,
    pub tn: u64,
    pub fp: u64,
    pub fn_: u64,
}

impl Confusion {
    fn all(self) -> u64 {
        self.tp + self.tn + self.fp + self.fn_
    }

    /// (TP + TN) / (TP + TN + FP + FN).
    fn accuracy(self) -> Option<f64> {
        share(self.tp + self.tn, self.all())
    }

    fn plus(self, other: Confusion) -> Confusion {
        let (tp, tn, fp) = (self.tp + other.tp, self.tn + other.tn, self.fp + other.fp);
        Confusion { tp, tn, fp, fn_: self.fn_ + other.fn_ }
    }
}

fn share(part: u64, all: u64) -> Option<f64> {
    (all > 0).then(|| part as f64 / all as f64)
}

/// A score of one latent: its counts by group of texts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Score(BTreeMap<TextGroup, Confusion>);

impl Score {
    /// Texts with an answer.
    pub fn answered(&self) -> u64 {
        self.whole().all()
    }

    /// Over all texts with an answer.
    pub fn accuracy(&self) -> Option<f64> {
        self.whole().accuracy()
    }

    /// (TP / (TP + FN) + TN / (TN + FP)) / 2; only where there are texts of both kinds.
    pub fn balanced(&self) -> Option<f64> {
        let Confusion { tp, tn, fp, fn_ } = self.whole();
        let both = share(tp, tp + fn_).zip(share(tn, tn + fp));
        both.map(|(fires, silent)| (fires + silent) / 2.0)
    }

    /// Accuracy on one group of texts.
    pub fn of(&self, group: TextGroup) -> Option<f64> {
        self.0.get(&group)?.accuracy()
    }

    /// Mean over the quantiles and one kind of texts on which the latent is silent (docs/method.md 6.2).
    pub fn total(&self, silent: TextGroup) -> Option<f64> {
        self.of(silent)?;
        self.mean(|group| group == silent || matches!(group, TextGroup::Quantile(_)))
    }

    /// Mean over the quantiles.
    pub fn of_quantiles(&self) -> Option<f64> {
        self.mean(|group| matches!(group, TextGroup::Quantile(_)))
    }

    fn mean(&self, is_in: impl Fn(TextGroup) -> bool) -> Option<f64> {
        let of = self.0.iter().filter(|(group, _)| is_in(**group));
        let accuracies: Vec<f64> = of.filter_map(|(_, counts)| counts.accuracy()).collect();
        (!accuracies.is_empty()).then(|| accuracies.iter().sum::<f64>() / accuracies.len() as f64)
    }

    fn whole(&self) -> Confusion {
        self.0.values().fold(Confusion::default(), |sum, counts| sum.plus(*counts))
    }

    fn count(&mut self, group: TextGroup, counts: Confusion) {
        let slot = self.0.entry(group).or_default();
        *slot = slot.plus(counts);
    }

    /// Quantiles that begin with 0 begin with 1.
    fn counted_from_one(self) -> Score {
        let one_more = |group| match group {
            TextGroup::Quantile(quantile) => TextGroup::Quantile(quantile + 1),
            other => other,
        };
        Score(self.0.into_iter().map(|(group, counts)| (one_more(group), counts)).collect())
    }
}

/// The module that `xd export --as delphi` writes.
const MODULE: &str = "crosscoder";

/// What a folder of results, or a JSON of counts, says of the latents of a crosscoder that has so many.
///
/// # Errors
/// It holds no results, results of several modules, of latents that are not there, or damaged ones.
pub fn read(folder: &Path, latents: usize) -> Result<BTreeMap<u32, Interpretation>> {
    if folder.is_file() {
        return counts(folder, latents);
    }
    let explanations = files(&folder.join("explanations"))?;
    let [detection, fuzz] = ["detection", "fuzz"].map(|score| files(&folder.join("scores").join(score)));
    let (detection, fuzz) = (detection?, fuzz?);
    if explanations.is_empty() && detection.is_empty() && fuzz.is_empty() {
        let problem = "there is no `explanations/MODULE_latentN.txt`, `scores/detection/MODULE_latentN.txt` or `scores/fuzz/..` in it; give the folder \
                       that a run of delphi made, such as `results/NAME`";
        return Err(wrong(folder, problem));
    }
    let mut found: BTreeMap<u32, Interpretation> = BTreeMap::new();
    let module = module(folder, explanations.iter().chain(&detection).chain(&fuzz))?;
    for (latent, path) in of_module(&explanations, &module) {
        check(latent, latents, path)?;
        let Value::String(text) = json(path)? else {
            return Err(wrong(path, "it holds no explanation, which is a JSON string"));
        };
        found.entry(latent).or_default().explanation = Some(Arc::from(text.trim()));
    }
    for (files, slot) in [(&detection, detection_of as Slot), (&fuzz, fuzz_of as Slot)] {
        for (latent, score) in scores(files, &module, latents)? {
            *slot(found.entry(latent).or_default()) = score;
        }
    }
    Ok(found)
}

/// Which score of a latent.
type Slot = fn(&mut Interpretation) -> &mut Score;

fn detection_of(found: &mut Interpretation) -> &mut Score {
    &mut found.detection
}

fn fuzz_of(found: &mut Interpretation) -> &mut Score {
    &mut found.fuzz
}

/// One kind of score of all latents. delphi counts quantiles from 0 or from 1, the same for all.
fn scores(files: &Files, module: &str, latents: usize) -> Result<BTreeMap<u32, Score>> {
    let mut found: BTreeMap<u32, Score> = BTreeMap::new();
    for (latent, path) in of_module(files, module) {
        check(latent, latents, path)?;
        let score = records(&json(path)?).ok_or_else(|| {
            wrong(path, "it holds no score, which is a JSON list of records with `activating` and `correct`")
        })?;
        found.insert(latent, score);
    }
    if found.values().any(|score| score.0.contains_key(&TextGroup::Quantile(0))) {
        return Ok(found.into_iter().map(|(latent, score)| (latent, score.counted_from_one())).collect());
    }
    Ok(found)
}

/// The published counts of the detection score.
fn counts(path: &Path, latents: usize) -> Result<BTreeMap<u32, Interpretation>> {
    let odd = || wrong(path, "it holds no counts, which are a JSON `{latent: {quantile: {TP, TN, FP, FN}}}`");
    let all = json(path)?;
    let mut found = BTreeMap::new();
    for (latent, quantiles) in all.as_object().filter(|all| !all.is_empty()).ok_or_else(odd)? {
        let latent: u32 = latent.parse().map_err(|_| odd())?;
        check(latent, latents, path)?;
        let mut detection = Score::default();
        for (quantile, counts) in quantiles.as_object().ok_or_else(odd)? {
            let group = match quantile.parse::<i64>().map_err(|_| odd())? {
                -1 => TextGroup::Similar,
                0 => TextGroup::Random,
                quantile => TextGroup::Quantile(u32::try_from(quantile).map_err(|_| odd())?),
            };
            let of = |name: &str| counts.get(name).and_then(Value::as_u64).ok_or_else(odd);
            detection.count(group, Confusion { tp: of("TP")?, tn: of("TN")?, fp: of("FP")?, fn_: of("FN")? });
        }
        found.insert(latent, Interpretation { detection, ..Interpretation::default() });
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

/// A list of records. `None`: this is no score.
fn records(records: &Value) -> Option<Score> {
    let mut score = Score::default();
    for record in records.as_array()? {
        let (activating, correct) = (record.get("activating")?.as_bool()?, record.get("correct")?);
        if correct.is_null() {
            continue;
        }
        let distance = record.get("distance").and_then(Value::as_f64);
        let mut counts = Confusion::default();
        match (activating, correct.as_bool()?) {
            (true, true) => counts.tp = 1,
            (true, false) => counts.fn_ = 1,
            (false, true) => counts.tn = 1,
            (false, false) => counts.fp = 1,
        }
        score.count(group_of(activating, distance), counts);
    }
    Some(score)
}

fn group_of(activating: bool, distance: Option<f64>) -> TextGroup {
    match (activating, distance) {
        // Old records have no quantiles: all texts are of one.
        (true, distance) => TextGroup::Quantile(distance.unwrap_or(1.0).max(0.0) as u32),
        (false, None | Some(-1.0)) => TextGroup::Random,
        (false, Some(_)) => TextGroup::Similar,
    }
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

    fn record(activating: bool, distance: &str, correct: &str) -> String {
        format!(
            "{{\"str_tokens\":[\"a\"],\"distance\":{distance},\"activating\":{activating},\"prediction\":1,\"correct\":{correct}}}"
        )
    }

    fn list(records: &[(bool, &str, &str)]) -> String {
        let all: Vec<String> =
            records.iter().map(|(fires, distance, correct)| record(*fires, distance, correct)).collect();
        format!("[{}]", all.join(","))
    }

    /// One number a latent stood in every row of its examples, so a mean by bin counted it several times.
    #[test]
    fn accuracies_are_counted_by_quantile_and_by_kind_of_silent_text() {
        let seven = list(&[
            (true, "1", "true"),
            (true, "1", "false"),
            (true, "2.0", "true"),
            (true, "2", "null"),
            (true, "3", "false"),
            (false, "-1.0", "true"),
            (false, "-1", "true"),
            (false, "-1", "false"),
            (false, "-0.31", "false"),
            (false, "-0.2", "true"),
        ]);
        let folder = results(&[
            ("explanations/crosscoder_latent7.txt", "\"The word \\\"no\\\". \""),
            ("explanations/crosscoder_latent8.txt", "\"only explained\""),
            ("explanations/notes.md", "x"),
            ("scores/detection/crosscoder_latent7.txt", &seven),
            ("scores/detection/crosscoder_latent9.txt", &list(&[(true, "1", "true")])),
            ("scores/detection/crosscoder_latent11.txt", "[]"),
            ("scores/fuzz/crosscoder_latent7.txt", &list(&[(true, "1", "true"), (false, "-1", "false")])),
        ]);
        let found = read(folder.path(), 12).unwrap();
        assert_eq!(found.keys().copied().collect::<Vec<u32>>(), [7, 8, 9, 11]);
        let seven = &found[&7];
        assert_eq!(seven.explanation.as_deref(), Some("The word \"no\"."));
        let score = &seven.detection;
        assert_eq!((score.answered(), score.accuracy()), (9, Some(5.0 / 9.0)));
        assert_eq!(score.balanced(), Some((2.0 / 4.0 + 3.0 / 5.0) / 2.0));
        let quantiles = [1, 2, 3, 4].map(|quantile| score.of(TextGroup::Quantile(quantile)));
        assert_eq!(quantiles, [Some(0.5), Some(1.0), Some(0.0), None]);
        assert_eq!((score.of(TextGroup::Random), score.of(TextGroup::Similar)), (Some(2.0 / 3.0), Some(0.5)));
        assert_eq!(score.of_quantiles(), Some(0.5));
        assert!((score.total(TextGroup::Random).unwrap() - (0.5 + 1.0 + 0.0 + 2.0 / 3.0) / 4.0).abs() < 1e-12);
        assert_eq!(score.total(TextGroup::Similar), Some(0.5));
        assert_eq!((seven.fuzz.accuracy(), seven.fuzz.balanced()), (Some(0.5), Some(0.5)));
        assert_eq!((found[&9].detection.accuracy(), found[&9].detection.balanced()), (Some(1.0), None));
        assert_eq!(found[&9].detection.total(TextGroup::Random), None, "no random texts");
        assert_eq!(found[&11], Interpretation::default());
        let error = read(folder.path(), 10).unwrap_err().to_string();
        assert!(error.contains("latent11") && error.contains("10 latents"), "{error}");
    }

    #[test]
    fn quantiles_from_zero_count_from_one() {
        let folder = results(&[
            ("scores/detection/a_latent1.txt", &list(&[(true, "0", "true"), (true, "1", "false")])),
            ("scores/detection/a_latent2.txt", &list(&[(true, "2", "true")])),
        ]);
        let found = read(folder.path(), 10).unwrap();
        let of = |latent: u32, quantile| found[&latent].detection.of(TextGroup::Quantile(quantile));
        assert_eq!([of(1, 1), of(1, 2), of(2, 3), of(2, 2)], [Some(1.0), Some(0.0), Some(1.0), None]);
    }

    #[test]
    fn published_counts_are_read() {
        let text = r#"{"5": {"-1": {"TP":0,"TN":1,"FP":3,"FN":0}, "0": {"TP":0,"TN":9,"FP":1,"FN":0}, "2": {"TP":1,"TN":0,"FP":0,"FN":1}}}"#;
        let folder = results(&[("scores.json", text), ("other.json", "{\"5\": {\"x\": {}}}")]);
        let found = read(&folder.path().join("scores.json"), 10).unwrap();
        let score = &found[&5].detection;
        assert_eq!([TextGroup::Random, TextGroup::Similar].map(|group| score.of(group)), [Some(0.9), Some(0.25)]);
        assert_eq!((score.total(TextGroup::Random), score.of_quantiles()), (Some(0.7), Some(0.5)));
        assert!(read(&folder.path().join("other.json"), 10).unwrap_err().to_string().contains("{TP, TN, FP, FN}"));
        assert!(read(&folder.path().join("scores.json"), 5).unwrap_err().to_string().contains("5 latents"));
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
        assert!(says(&[("scores/detection/a_latent1.txt", "[{\"correct\":true}]")]).contains("no score"));
    }
}
