//! Runs the program in folders of its own.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A folder with an experiment in it.
pub struct Lab {
    dir: tempfile::TempDir,
}

impl Lab {
    /// A folder that holds `experiment.xd` with this text.
    pub fn new(text: &str) -> Lab {
        let lab = Lab { dir: tempfile::tempdir().unwrap() };
        lab.write(text);
        lab
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Replaces the experiment.
    pub fn write(&self, text: &str) {
        std::fs::write(self.path().join("experiment.xd"), text).unwrap();
    }

    /// `xd ARGUMENTS`, in the folder.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xd"));
        command.args(arguments).current_dir(self.path()).env_remove("XD_STORE").env("NO_COLOR", "1");
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs to the end.
    pub fn xd(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// `xd run experiment.xd` that must end with status 0; returns what it printed.
    pub fn run(&self, more: &[&str]) -> String {
        let mut arguments = vec!["run", "experiment.xd"];
        arguments.extend(more);
        let output = self.xd(&arguments);
        assert!(output.status.success(), "{}", said(&output));
        said(&output)
    }

    /// Tables, plots and crosscoder weights of `runs/<out>` by name.
    pub fn results(&self, out: &str) -> Vec<(PathBuf, Vec<u8>)> {
        let root = self.path().join(out);
        let mut files = Vec::new();
        for folder in ["tables", "plots", "artifacts"] {
            collect(&root.join(folder), &mut files);
        }
        files
            .into_iter()
            .filter(|path| path.file_name().is_some_and(|name| name != "step.json"))
            .map(|path| (path.strip_prefix(&root).unwrap().to_path_buf(), std::fs::read(&path).unwrap()))
            .collect()
    }

    /// Steps of the manifest as (address, cached, state).
    pub fn steps(&self, out: &str) -> Vec<(String, bool, String)> {
        let text = std::fs::read_to_string(self.path().join(out).join("manifest.json")).unwrap();
        let manifest: serde_json::Value = serde_json::from_str(&text).unwrap();
        let steps = manifest["steps"].as_array().unwrap();
        steps
            .iter()
            .map(|step| {
                let word = |name: &str| step[name].as_str().unwrap().to_string();
                (word("address"), step["cached"].as_bool().unwrap(), word("state"))
            })
            .collect()
    }
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    let mut entries: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() { collect(&path, files) } else { files.push(path) }
    }
}

/// Everything a run printed.
pub fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Names of the files that differ.
pub fn differing(left: &[(PathBuf, Vec<u8>)], right: &[(PathBuf, Vec<u8>)]) -> Vec<String> {
    let names = |side: &[(PathBuf, Vec<u8>)]| side.iter().map(|(path, _)| path.clone()).collect::<Vec<_>>();
    assert_eq!(names(left), names(right));
    left.iter().zip(right).filter(|(l, r)| l.1 != r.1).map(|(l, _)| l.0.display().to_string()).collect()
}

/// Reads a table of a run as rows of words, without its header.
pub fn table(lab: &Lab, path: &str) -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(lab.path().join(path)).unwrap();
    text.lines().skip(1).map(|line| line.split(',').map(str::to_string).collect()).collect()
}
