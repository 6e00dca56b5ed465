//! Training logs: CSV files that go on after an interruption as if there had been none.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use super::events::EventFile;
use super::{Evaluation, StepReport, Variant, tensor_file};
use crate::ml::{Error, Result};

/// Columns of `log.csv`.
pub const LOG_COLUMNS: &str = "step,tokens,loss,reconstruction,sparsity,auxk,l0,dead,threshold,k,lr,fve_base,fve_tuned";
/// Columns of the validation log.
pub const VALIDATION_COLUMNS: &str = "step,tokens,model,fve,mse,l0,dead";

/// A CSV file whose first column is the step, and the same as TensorBoard events in `tensorboard/` beside it, in a folder of the log's
/// name.
pub struct StepLog {
    path: PathBuf,
    file: File,
    events: EventFile,
}

impl StepLog {
    /// Opens a log for a training that has done `steps` steps: rows of later steps, which an interrupted run wrote after
    /// its last checkpoint, and a half-written last line are dropped.
    pub fn open(path: &Path, columns: &str, steps: u64) -> Result<Self> {
        let old = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(Error::file(path, error)),
        };
        let mut text = format!("{columns}\n");
        if old.starts_with(&text) {
            let rows = old.split_inclusive('\n').skip(1).filter(|row| row.ends_with('\n'));
            text.extend(rows.filter(|row| step_of(row).is_some_and(|step| step < steps)));
        }
        tensor_file::write_text(path, &text)?;
        let file = OpenOptions::new().append(true).open(path).map_err(|source| Error::file(path, source))?;
        let name = path.file_stem().unwrap_or_default();
        let events = path.with_file_name("tensorboard").join(if name == "log" { "train".as_ref() } else { name });
        let events = EventFile::open(&events, columns, &text[columns.len() + 1..])?;
        Ok(StepLog { path: path.to_path_buf(), file, events })
    }

    /// Adds the row of a step, with the FVE of its batch.
    pub fn step(&mut self, report: &StepReport, fve: [f64; 2]) -> Result<()> {
        let row = [
            report.step.to_string(),
            report.tokens.to_string(),
            number(report.loss),
            number(report.reconstruction),
            optional(report.sparsity),
            optional(report.auxk),
            number(report.l0),
            report.dead.to_string(),
            optional(report.threshold),
            report.k.map_or(String::new(), |k| k.to_string()),
            number(report.lr),
            number(fve[0]),
            number(fve[1]),
        ];
        self.write(&(row.join(",") + "\n"))
    }

    /// Adds the rows of a validation after a step.
    pub fn validation(&mut self, report: &StepReport, evaluation: &Evaluation, variant: Variant) -> Result<()> {
        let mut rows = String::new();
        for (model, quality) in evaluation.of(variant) {
            let numbers = [quality.fve, quality.mse, evaluation.l0, evaluation.dead].map(number).join(",");
            rows += &format!("{},{},{model},{numbers}\n", report.step, report.tokens);
        }
        self.write(&rows)
    }

    fn write(&mut self, text: &str) -> Result<()> {
        self.file.write_all(text.as_bytes()).map_err(|source| Error::file(&self.path, source))?;
        self.events.add(text)
    }
}

fn step_of(row: &str) -> Option<u64> {
    row.split(',').next()?.parse().ok()
}

/// The shortest text that reads back as the same f32; nothing when it is no number.
fn number(value: f64) -> String {
    if value.is_finite() { (value as f32).to_string() } else { String::new() }
}

fn optional(value: Option<f64>) -> String {
    value.map_or(String::new(), number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_after_the_checkpoint_and_half_rows_are_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.csv");
        std::fs::write(&path, "step,a\n0,1\n50,2\n100,3\n15").unwrap();
        let mut log = StepLog::open(&path, "step,a", 51).unwrap();
        log.write("100,9\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "step,a\n0,1\n50,2\n100,9\n");
        StepLog::open(&path, "step,b", 51).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "step,b\n");
    }
}
