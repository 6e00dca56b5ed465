//! Which files of a data set make a split, by the conventions of the hub.
//!
//! First what the head of the README says (`configs`, with `data_files`), then names: `data/SPLIT-00000-of-00003.parquet`, then words such
//! as `train` and `test` among the folders, and among the file names for splits that no folder tells; and where no name tells, every
//! file is the split `train`.

use std::collections::BTreeMap;

use glob::{MatchOptions, Pattern};
use yaml_rust2::{Yaml, YamlLoader};

use super::listing::RemoteFile;
use super::problem::{Place, Result, list};
use super::select::unsuitable;
use crate::exec::limits;
use crate::lang::diagnostic::suggest;

/// A lock file with more lines than this is not for people.
const MOST: usize = 2000;
/// Formats that are read, the preferred ones first.
const FORMATS: &[&[&str]] = &[&["parquet"], &["jsonl", "ndjson"], &["json"], &["csv", "tsv"], &["txt"]];
const PACKED: &[&str] = &[".gz", ".zst"];
/// Words that name a split, and the split.
const WORDS: &[(&str, &str)] = &[
    ("train", "train"),
    ("training", "train"),
    ("validation", "validation"),
    ("valid", "validation"),
    ("val", "validation"),
    ("dev", "validation"),
    ("test", "test"),
    ("testing", "test"),
    ("eval", "test"),
    ("evaluation", "test"),
];

/// What of a data set is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    pub config: Option<&'a str>,
    pub split: &'a str,
    pub first: Option<u64>,
}

/// Files by split.
type Splits = BTreeMap<String, Vec<RemoteFile>>;

/// The files of a split, in the order of reading. `None`: the repository has no file that xd reads under this config, and the hub's
/// own conversion to Parquet is to be asked.
pub fn files(all: &[RemoteFile], readme: Option<&str>, asked: Asked, place: &Place) -> Result<Option<Vec<RemoteFile>>> {
    let configs = readme.map(configs).unwrap_or_default();
    let splits = if configs.is_empty() {
        match asked.config {
            None | Some("default") => infer(all, ""),
            Some(_) => return Ok(None),
        }
    } else {
        let names: Vec<String> = configs.iter().map(|c| c.name.clone()).collect();
        let config = match asked.config {
            Some(name) => configs.iter().find(|c| c.name == name).ok_or_else(|| {
                let help = match suggest(name, &names) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("it has {}", list(&names)),
                };
                unsuitable(place, format!("it has no config `{name}`"), help)
            })?,
            None => {
                let is_default = |c: &&Config| c.default || c.name == "default" || configs.len() == 1;
                configs.iter().find(is_default).ok_or_else(|| {
                    let help = format!("write `config = \"{}\"`, or another of {}", names[0], list(&names));
                    unsuitable(place, "it has several configs and none is the default", help)
                })?
            }
        };
        config.splits(all)
    };
    if splits.is_empty() {
        return Ok(None);
    }
    choose(splits, asked, place).map(Some)
}

/// The files of a split in the branch that the hub converts data sets to: `CONFIG/SPLIT/0000.parquet`, or older
/// `CONFIG/NAME-SPLIT-00000-of-00002.parquet`. With a remark when only a part was converted.
pub fn converted(all: &[RemoteFile], asked: Asked, place: &Place) -> Result<(Vec<RemoteFile>, Option<String>)> {
    let mut configs: BTreeMap<String, Splits> = BTreeMap::new();
    for file in all.iter().filter(|f| f.path.ends_with(".parquet")) {
        let parts: Vec<&str> = file.path.split('/').collect();
        let split = match parts.as_slice() {
            [_, split, _] => Some(split.to_string()),
            [_, name] => shard_of(name).map(|stem| stem.rsplit('-').next().unwrap_or(stem).to_string()),
            _ => None,
        };
        if let Some(split) = split {
            configs.entry(parts[0].to_string()).or_default().entry(split).or_default().push(file.clone());
        }
    }
    let names: Vec<String> = configs.keys().cloned().collect();
    let config = asked.config.unwrap_or("default");
    let splits = match configs.remove(config) {
        Some(splits) => splits,
        None if asked.config.is_none() && configs.len() == 1 => configs.into_values().next().unwrap_or_default(),
        None if names.is_empty() => {
            let help = "xd reads parquet, jsonl, json, csv and txt, also gz and zst; download it and convert it to one of them";
            return Err(unsuitable(place, "it has no files in a format that xd reads", help));
        }
        None => {
            let help = format!("write `config = ..`, one of {}", list(&names));
            return Err(unsuitable(place, format!("it has no config `{config}`"), help));
        }
    };
    let partial = format!("partial-{}", asked.split);
    match splits.get(&partial) {
        Some(files) if !splits.contains_key(asked.split) => {
            let remark = format!(
                "the hub has converted only the first {} of the split `{}`",
                limits::bytes(files.iter().map(|f| f.bytes).sum()),
                asked.split
            );
            let asked = Asked { split: &partial, ..asked };
            Ok((choose(splits.clone(), asked, place)?, Some(remark)))
        }
        _ => Ok((choose(splits, asked, place)?, None)),
    }
}

fn choose(mut splits: Splits, asked: Asked, place: &Place) -> Result<Vec<RemoteFile>> {
    let names: Vec<String> = splits.keys().cloned().collect();
    let Some(files) = splits.remove(asked.split) else {
        let help = match suggest(asked.split, &names) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("it has {}", list(&names)),
        };
        return Err(unsuitable(place, format!("it has no split `{}`", asked.split), help));
    };
    let mut files = of_one_format(files);
    if let Some(first) = asked.first {
        files.truncate(usize::try_from(first).unwrap_or(usize::MAX));
    }
    if files.len() > MOST {
        let size = limits::bytes(files.iter().map(|f| f.bytes).sum());
        let help =
            "write `files = 10` for the first ten, or the `config` of a sample; each file is named in the lock file"
                .to_string();
        return Err(unsuitable(place, format!("its split `{}` has {} files, {size}", asked.split, files.len()), help));
    }
    Ok(files)
}

/// The place of its format in [`FORMATS`].
fn format(file: &RemoteFile) -> Option<usize> {
    let name = file.name().to_lowercase();
    let name = PACKED.iter().find_map(|packed| name.strip_suffix(packed)).unwrap_or(&name);
    let ending = name.rsplit_once('.')?.1;
    FORMATS.iter().position(|endings| endings.contains(&ending))
}

/// Those of the commonest format, and of equally common ones the preferred.
fn of_one_format(files: Vec<RemoteFile>) -> Vec<RemoteFile> {
    let mut counts = vec![0usize; FORMATS.len()];
    files.iter().filter_map(format).for_each(|f| counts[f] += 1);
    let most = counts.iter().max().copied().unwrap_or(0);
    let common = counts.iter().position(|&c| c == most);
    files.into_iter().filter(|f| format(f) == common).collect()
}

/// True for files that hold data: of a known format, not hidden, and not the description of the repository.
fn is_data(file: &RemoteFile) -> bool {
    let hidden = file.path.split('/').any(|part| part.starts_with('.') || part.starts_with("__"));
    let described = ["dataset_infos.json", "dataset_info.json", "config.json", "license.txt", "requirements.txt"];
    !hidden && format(file).is_some() && !described.contains(&file.name().to_lowercase().as_str())
}

/// Splits told by names, within a folder (empty: the whole repository).
fn infer(all: &[RemoteFile], folder: &str) -> Splits {
    let inner = |file: &RemoteFile| -> Option<String> {
        if folder.is_empty() {
            Some(file.path.clone())
        } else {
            file.path.strip_prefix(folder)?.strip_prefix('/').map(str::to_string)
        }
    };
    let data: Vec<(String, &RemoteFile)> =
        all.iter().filter(|f| is_data(f)).filter_map(|f| Some((inner(f)?, f))).collect();
    let by = |name: &dyn Fn(&str) -> Option<String>| -> Splits {
        let mut splits = Splits::new();
        for (path, file) in &data {
            if let Some(split) = name(path) {
                splits.entry(split).or_default().push((*file).clone());
            }
        }
        splits
    };
    let sharded = |path: &str| {
        let name = path.strip_prefix("data/").unwrap_or(path);
        shard_of(name).filter(|stem| !stem.contains('/') && path.starts_with("data/")).map(str::to_string)
    };
    let in_folders = |path: &str| path.rsplit_once('/').and_then(|(folders, _)| word_in(folders));
    let in_name = |path: &str| word_in(path.rsplit('/').next().unwrap_or(path));
    let splits = by(&sharded);
    if !splits.is_empty() {
        return splits;
    }
    let mut splits = by(&in_folders);
    // `train/00.jsonl` and beside it `val.jsonl`: names tell the splits that no folder tells.
    let outside = |path: &str| if in_folders(path).is_none() { in_name(path) } else { None };
    for (split, files) in by(&outside) {
        splits.entry(split).or_insert(files);
    }
    if splits.is_empty() { by(&|_| Some("train".to_string())) } else { splits }
}

/// `train` of `train-00000-of-00003.parquet`.
fn shard_of(name: &str) -> Option<&str> {
    let (stem, rest) = name.split_once("-of-")?;
    let (stem, number) = stem.rsplit_once('-')?;
    let digits = |text: &str| text.len() >= 5 && text.bytes().all(|b| b.is_ascii_digit());
    let total: String = rest.chars().take_while(char::is_ascii_digit).collect();
    (digits(number) && digits(&total)).then_some(stem)
}

/// The split that a word of a path names.
fn word_in(text: &str) -> Option<String> {
    let text = text.to_lowercase();
    let mut words = text.split(|c: char| !c.is_ascii_alphabetic());
    words.find_map(|word| WORDS.iter().find(|(w, _)| *w == word)).map(|(_, split)| split.to_string())
}

/// A named part of a data set, as the README says.
#[derive(Clone, Debug, PartialEq)]
struct Config {
    name: String,
    default: bool,
    /// Folder that the patterns are within.
    folder: String,
    /// Split and its patterns; empty where names tell.
    patterns: Vec<(String, Vec<String>)>,
}

impl Config {
    fn splits(&self, all: &[RemoteFile]) -> Splits {
        if self.patterns.is_empty() {
            return infer(all, &self.folder);
        }
        let mut splits = Splits::new();
        for (split, patterns) in &self.patterns {
            let files = splits.entry(split.clone()).or_default();
            for pattern in patterns {
                for file in matching(all, &self.folder, pattern) {
                    if !files.contains(file) {
                        files.push(file.clone());
                    }
                }
            }
        }
        splits.retain(|_, files| files.iter().any(|f| format(f).is_some()));
        splits
    }
}

/// The files that a pattern or path means; a folder means all data in it.
fn matching<'a>(all: &'a [RemoteFile], folder: &str, pattern: &str) -> Vec<&'a RemoteFile> {
    let pattern = pattern.trim_start_matches("./");
    let pattern = if folder.is_empty() { pattern.to_string() } else { format!("{folder}/{pattern}") };
    let options =
        MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };
    let glob = Pattern::new(&pattern).ok();
    let inside = format!("{}/", pattern.trim_end_matches('/'));
    let fits = |file: &&RemoteFile| {
        file.path == pattern
            || glob.as_ref().is_some_and(|glob| glob.matches_with(&file.path, options))
            || file.path.starts_with(&inside) && is_data(file)
    };
    all.iter().filter(fits).collect()
}

/// The configs that the head of a README names; none when it has no head or says nothing about them.
fn configs(readme: &str) -> Vec<Config> {
    let Some(head) = head(readme) else { return Vec::new() };
    let Some(yaml) =
        YamlLoader::load_from_str(head).ok().and_then(|mut docs| (!docs.is_empty()).then(|| docs.remove(0)))
    else {
        return Vec::new();
    };
    let entries = yaml["configs"].as_vec().cloned().unwrap_or_default();
    entries.iter().map(config).collect()
}

/// The YAML between the two lines `---` at the head.
fn head(readme: &str) -> Option<&str> {
    let readme = readme.trim_start_matches('\u{feff}');
    let rest = readme.strip_prefix("---\n").or_else(|| readme.strip_prefix("---\r\n"))?;
    let mut end = 0;
    for line in rest.split_inclusive('\n') {
        if line.trim_end() == "---" {
            return Some(&rest[..end]);
        }
        end += line.len();
    }
    None
}

fn config(yaml: &Yaml) -> Config {
    let text = |yaml: &Yaml| yaml.as_str().map(str::to_string).or_else(|| yaml.as_i64().map(|n| n.to_string()));
    let texts = |yaml: &Yaml| -> Vec<String> {
        match yaml.as_vec() {
            Some(many) => many.iter().filter_map(text).collect(),
            None => text(yaml).into_iter().collect(),
        }
    };
    let files = &yaml["data_files"];
    let mut patterns = Vec::new();
    match files {
        Yaml::Hash(map) => {
            patterns.extend(map.iter().filter_map(|(split, files)| Some((text(split)?, texts(files)))));
        }
        Yaml::Array(entries) if entries.iter().any(|e| !e["split"].is_badvalue()) => {
            patterns.extend(entries.iter().filter_map(|e| Some((text(&e["split"])?, texts(&e["path"])))));
        }
        Yaml::BadValue | Yaml::Null => {}
        other => patterns.push(("train".to_string(), texts(other))),
    }
    Config {
        name: text(&yaml["config_name"]).unwrap_or_else(|| "default".to_string()),
        default: yaml["default"].as_bool().unwrap_or(false),
        folder: text(&yaml["data_dir"]).unwrap_or_default().trim_matches('/').to_string(),
        patterns,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lang::hub::Repository;

    fn place() -> Place {
        Place {
            repository: Repository::Dataset,
            id: "org/d".into(),
            page: "https://hub/datasets/org/d".into(),
            token: None,
        }
    }

    fn listing(paths: &[&str]) -> Vec<RemoteFile> {
        let mut files: Vec<RemoteFile> =
            paths.iter().map(|p| RemoteFile { path: p.to_string(), bytes: 10, sha256: None }).collect();
        files.sort_by(|a, b| a.path.cmp(&b.path));
        files
    }

    fn asked<'a>(config: Option<&'a str>, split: &'a str) -> Asked<'a> {
        Asked { config, split, first: None }
    }

    fn names(paths: &[&str], readme: Option<&str>, asked: Asked) -> Vec<String> {
        let found = files(&listing(paths), readme, asked, &place()).unwrap().unwrap();
        found.into_iter().map(|f| f.path).collect()
    }

    fn problem(paths: &[&str], readme: Option<&str>, asked: Asked) -> String {
        files(&listing(paths), readme, asked, &place()).unwrap_err().to_string()
    }

    #[test]
    fn shards_of_any_name_in_the_folder_data() {
        let paths = [
            "README.md",
            "data/test_sft-00000-of-00001.parquet",
            "data/train_sft-00000-of-00002.parquet",
            "data/train_sft-00001-of-00002.parquet",
            "extra.jsonl",
        ];
        let found = names(&paths, None, asked(None, "train_sft"));
        assert_eq!(found, ["data/train_sft-00000-of-00002.parquet", "data/train_sft-00001-of-00002.parquet"]);
        let said = problem(&paths, None, asked(None, "train"));
        assert!(said.contains("no split `train`") && said.contains("train_sft"), "{said}");
    }

    #[test]
    fn words_of_folders_come_before_words_of_names() {
        let paths = ["my-train/a.csv", "my-train/test.csv", "dev/b.csv"];
        assert_eq!(names(&paths, None, asked(None, "train")), ["my-train/a.csv", "my-train/test.csv"]);
        assert_eq!(names(&paths, None, asked(None, "validation")), ["dev/b.csv"]);
        let paths = ["train/00.jsonl.zst", "train/01.jsonl.zst", "train.jsonl", "val.jsonl.zst"];
        assert_eq!(names(&paths, None, asked(None, "train")), ["train/00.jsonl.zst", "train/01.jsonl.zst"]);
        assert_eq!(names(&paths, None, asked(None, "validation")), ["val.jsonl.zst"]);
        let paths = ["corpus_train.jsonl", "corpus_eval.jsonl", "notes.md"];
        assert_eq!(names(&paths, None, asked(None, "train")), ["corpus_train.jsonl"]);
        assert_eq!(names(&paths, None, asked(None, "test")), ["corpus_eval.jsonl"]);
        assert_eq!(
            names(&["strain.txt", "a.txt"], None, asked(None, "train")),
            ["a.txt", "strain.txt"],
            "no word tells"
        );
    }

    #[test]
    fn the_commonest_format_is_taken_and_descriptions_are_left_out() {
        let paths = ["dataset_infos.json", "LICENSE.txt", ".hidden/x.txt", "a.jsonl.zst", "b.jsonl.gz", "c.csv"];
        assert_eq!(names(&paths, None, asked(None, "train")), ["a.jsonl.zst", "b.jsonl.gz"]);
        assert_eq!(files(&listing(&["load.py", "x.arrow"]), None, asked(None, "train"), &place()), Ok(None));
    }

    #[test]
    fn the_readme_says_more_than_names() {
        let readme = "---\nlicense: mit\nconfigs:\n- config_name: default\n  data_files:\n  - split: train\n    path: data/*/*.parquet\n- config_name: sample-10BT\n  data_files:\n  - split: train\n    path: sample/10BT/*\n---\n# Text\n";
        let paths =
            ["data/CC-1/0.parquet", "data/CC-2/0.parquet", "sample/10BT/0.parquet", "sample/10BT/deep/1.parquet"];
        assert_eq!(names(&paths, Some(readme), asked(None, "train")), ["data/CC-1/0.parquet", "data/CC-2/0.parquet"]);
        assert_eq!(names(&paths, Some(readme), asked(Some("sample-10BT"), "train")), ["sample/10BT/0.parquet"]);
        let said = problem(&paths, Some(readme), asked(Some("sample-10B"), "train"));
        assert!(said.contains("did you mean `sample-10BT`"), "{said}");
        let first = Asked { first: Some(1), ..asked(None, "train") };
        assert_eq!(names(&paths, Some(readme), first), ["data/CC-1/0.parquet"]);
    }

    #[test]
    fn every_way_of_writing_data_files() {
        let paths = ["a.jsonl", "b.jsonl", "x/held-out.jsonl", "x/train.jsonl"];
        let read = |yaml: &str, split: &str| {
            names(&paths, Some(&format!("---\r\nconfigs:\r\n- {yaml}\r\n---\r\n")), asked(None, split))
        };
        assert_eq!(read("{config_name: c, data_files: a.jsonl}", "train"), ["a.jsonl"]);
        assert_eq!(read("{config_name: c, data_files: [b.jsonl, a.jsonl]}", "train"), ["b.jsonl", "a.jsonl"]);
        assert_eq!(read("{config_name: c, data_files: {test: '[ab].jsonl'}}", "test"), ["a.jsonl", "b.jsonl"]);
        assert_eq!(
            read("{config_name: c, data_files: [{split: held, path: ['x/held*']}]}", "held"),
            ["x/held-out.jsonl"]
        );
        assert_eq!(read("{config_name: c, data_dir: x}", "train"), ["x/train.jsonl"]);
        assert_eq!(read("{config_name: c, data_files: '**/*.jsonl'}", "train"), paths);
        let two = "---\nconfigs:\n- {config_name: one, data_files: a.jsonl}\n- {config_name: two, data_files: b.jsonl}\n---\n";
        assert!(problem(&paths, Some(two), asked(None, "train")).contains("config = \"one\""));
    }

    #[test]
    fn the_conversion_of_the_hub() {
        let find = |paths: &[&str], asked: Asked| {
            let (files, remark) = converted(&listing(paths), asked, &place()).unwrap();
            (files.into_iter().map(|f| f.path).collect::<Vec<_>>(), remark.is_some())
        };
        let new = ["default/train/0000.parquet", "default/train/0001.parquet", "default/test/0000.parquet"];
        assert_eq!(
            find(&new, asked(None, "train")),
            (vec!["default/train/0000.parquet".to_string(), "default/train/0001.parquet".to_string()], false)
        );
        let old = ["plain/my-set-train-00000-of-00001.parquet", "plain/my-set-test-00000-of-00001.parquet"];
        assert_eq!(
            find(&old, asked(None, "test")),
            (vec!["plain/my-set-test-00000-of-00001.parquet".to_string()], false)
        );
        assert_eq!(find(&["en/partial-train/0000.parquet"], asked(Some("en"), "train")).1, true);
        let two = converted(&listing(&["de/train/0.parquet", "en/train/0.parquet"]), asked(None, "train"), &place());
        assert!(two.unwrap_err().help().contains("`de`, `en`"));
    }

    #[test]
    fn a_split_of_very_many_files_is_not_pinned_unseen() {
        let paths: Vec<String> = (0..2001).map(|i| format!("data/train-{i:05}-of-02001.parquet")).collect();
        let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
        let said = problem(&paths, None, asked(None, "train"));
        assert!(said.contains("2001 files") && said.contains("files = 10"), "{said}");
        let first = Asked { first: Some(3), ..asked(None, "train") };
        assert_eq!(names(&paths, None, first).len(), 3);
    }
}
