//! Walks the plan: makes what the store lacks, in an order in which every step stands after its inputs.
//!
//! Points of a sweep that read the same rows in the same order train side by side ([`steps::crosscoder::companions`]). A step
//! that fails does not stop the others; what needs it is skipped.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Instant;

use super::device::Device;
use super::frames::Results;
use super::manifest::{Amounts, ExpectationEntry, Manifest, StepEntry};
use super::options::Options;
use super::status::{Status, inputs_by_address, is_read, is_stored, status};
use super::steps::table::ShownTable;
use super::steps::{self, Made};
use super::store::{Record, Remembered, write_whole};
use super::wiring::file_name;
use super::{Error, Observer, Result, Store, limits};
use crate::lang::plan::spec::ModelSpec;
use crate::lang::plan::{Plan, Spec, Step, StepIndex};
use crate::ml::watch::Transfer;
use crate::ml::{Progress, Watch};

/// What came out.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub manifest: Manifest,
    /// Tables as the terminal shows them.
    pub tables: Vec<ShownTable>,
    pub figures: Vec<PathBuf>,
    pub report: Option<PathBuf>,
    /// Addresses that failed, with the span of their declaration.
    pub failures: Vec<Failure>,
}

/// A step that failed.
#[derive(Clone, Debug)]
pub struct Failure {
    pub step: StepIndex,
    pub message: String,
}

/// How far a step got.
#[derive(Clone, Debug)]
enum State {
    Waiting,
    Done { cached: bool, seconds: f64, tokens: u64, notes: Vec<String> },
    Failed { error: String },
    Skipped,
}

/// Runs a plan.
///
/// # Errors
/// [`Error::Interrupted`] when the user stopped it, and when the store or the run folder cannot be written. A failing
/// step is no error here: it stands in [`Outcome::failures`].
pub fn run(plan: &Plan, store: &Store, options: &Options, device: &Device, observer: &dyn Observer) -> Result<Outcome> {
    let mut run = Run::new(plan, store, options, device, observer)?;
    run.make_all()?;
    run.finish()
}

struct Run<'a> {
    plan: &'a Plan,
    store: &'a Store,
    options: &'a Options,
    device: &'a Device,
    observer: &'a dyn Observer,
    wanted: Vec<bool>,
    states: Vec<State>,
    status: Vec<Status>,
    failures: Vec<Failure>,
    number: usize,
    total: usize,
    /// Whether some step reads files of the hub, which may come while it is made.
    reads_hub: bool,
}

impl<'a> Run<'a> {
    fn new(
        plan: &'a Plan,
        store: &'a Store,
        options: &'a Options,
        device: &'a Device,
        observer: &'a dyn Observer,
    ) -> Result<Self> {
        let status = status(plan, store, &options.experiment)?;
        let wanted = wanted(plan, options.only.as_deref())?;
        let reads_hub = plan.steps.iter().any(|step| !step.spec.hub_refs().is_empty());
        let mut run = Run {
            plan,
            store,
            options,
            device,
            observer,
            states: vec![State::Waiting; plan.steps.len()],
            wanted,
            status,
            failures: Vec::new(),
            number: 0,
            total: 0,
            reads_hub,
        };
        run.total = (0..plan.steps.len()).filter(|&index| run.has_work(index)).count();
        Ok(run)
    }

    fn has_work(&self, index: usize) -> bool {
        match self.status[index] {
            Status::ToDo { .. } => self.wanted[index],
            Status::Download { .. } => self.is_read(index),
            _ => false,
        }
    }

    fn make_all(&mut self) -> Result<()> {
        for index in 0..self.plan.steps.len() {
            if self.observer.stop() {
                return Err(Error::Interrupted);
            }
            if !self.wanted[index] || !matches!(self.states[index], State::Waiting) {
                continue;
            }
            if self.skip_if_an_input_failed(index) {
                continue;
            }
            let step = &self.plan.steps[index];
            match self.status[index].clone() {
                Status::Download { .. } | Status::Nothing if self.is_read(index) => self.bring(index)?,
                Status::Nothing | Status::Always | Status::Away | Status::Download { .. } => {
                    self.states[index] = State::Done { cached: true, seconds: 0.0, tokens: 0, notes: Vec::new() }
                }
                Status::Cached { seconds } => {
                    let record = self.store.record(&step.id)?;
                    let (tokens, notes) = record.map(|r| (r.tokens, r.notes)).unwrap_or_default();
                    self.observer.finished(&step.address.to_string(), step.kind, true, seconds);
                    self.states[index] = State::Done { cached: true, seconds, tokens, notes };
                    self.remember(&[index])?;
                }
                Status::ToDo { .. } => self.make(index)?,
            }
        }
        Ok(())
    }

    fn skip_if_an_input_failed(&mut self, index: usize) -> bool {
        let step = &self.plan.steps[index];
        let gone = |state: &State| matches!(state, State::Failed { .. } | State::Skipped);
        let failed: Vec<usize> = step.inputs.iter().map(|i| i.step.0).filter(|&i| gone(&self.states[i])).collect();
        // A table or plot over many points shows the points that are there.
        let shows_the_rest = matches!(step.spec, Spec::Table(_) | Spec::Plot(_)) && failed.len() < step.inputs.len();
        if failed.is_empty() || shows_the_rest {
            return false;
        }
        let because = self.plan.steps[failed[0]].address.to_string();
        self.observer.skipped(&step.address.to_string(), &because);
        self.states[index] = State::Skipped;
        true
    }

    /// True for a model of the hub that is read by a step that is asked for and to be made.
    fn is_read(&self, index: usize) -> bool {
        matches!(self.plan.steps[index].spec, Spec::Model(ModelSpec::Hub { .. }))
            && self.wanted[index]
            && is_read(self.plan, &self.status, index)
    }

    /// Downloads a model of the hub; one that is here is compared with what is pinned.
    fn bring(&mut self, index: usize) -> Result<()> {
        let step = &self.plan.steps[index];
        let Some(&(_, reference)) = step.spec.hub_refs().first() else { return Ok(()) };
        let address = step.address.to_string();
        let comes = matches!(self.status[index], Status::Download { .. });
        if comes {
            self.number += 1;
            self.observer.started(&address, step.kind, self.number, self.total);
        }
        let watch = StepWatch { observer: self.observer, address: address.clone(), notes: Mutex::default() };
        let start = Instant::now();
        match self.options.hub.bring(reference, &watch).map_err(Error::from) {
            Ok(()) => {
                let seconds = start.elapsed().as_secs_f64();
                if comes {
                    self.observer.finished(&address, step.kind, false, seconds);
                }
                let notes = watch.into_notes();
                self.states[index] = State::Done { cached: false, seconds, tokens: 0, notes };
                Ok(())
            }
            Err(Error::Interrupted) => Err(Error::Interrupted),
            Err(error) => {
                self.fail(index, error.to_string());
                Ok(())
            }
        }
    }

    /// Makes a step, together with the points of its sweep that share its data.
    fn make(&mut self, index: usize) -> Result<()> {
        let mut group = vec![index];
        if matches!(self.plan.steps[index].spec, Spec::Crosscoder(_)) {
            group.extend(steps::crosscoder::companions(self.plan, index).into_iter().filter(|&other| {
                self.wanted[other]
                    && matches!(self.states[other], State::Waiting)
                    && matches!(self.status[other], Status::ToDo { .. })
            }));
        }
        self.number += group.len();
        let mut watches = Vec::new();
        let mut makings = Vec::new();
        for &member in &group {
            let step = &self.plan.steps[member];
            let address = step.address.to_string();
            self.observer.started(&address, step.kind, self.number, self.total);
            let waiting = || self.observer.note(&address, "another xd makes this step now; waiting for it");
            makings.push(self.store.begin(&step.id, waiting)?);
            watches.push(StepWatch { observer: self.observer, address: address.clone(), notes: Mutex::default() });
        }
        let jobs: Vec<steps::Job<'_>> = group
            .iter()
            .zip(&makings)
            .zip(&watches)
            .map(|((&member, making), watch)| steps::Job {
                plan: self.plan,
                store: self.store,
                step: &self.plan.steps[member],
                hub: &self.options.hub,
                folder: making.folder(),
                watch,
                gpu: self.options.gpu.as_ref(),
            })
            .collect();
        // Without a reset the peak would be that of the steps before.
        let is_fresh = limits::forget_peak_memory();
        let start = Instant::now();
        let results = match jobs.first().filter(|_| self.reads_hub) {
            Some(first) => self.options.hub.watched(first.watch, || steps::make(&jobs)),
            None => steps::make(&jobs),
        };
        let seconds = start.elapsed().as_secs_f64() / group.len() as f64;
        let memory_bytes = limits::peak_memory().filter(|_| is_fresh).unwrap_or(0);
        drop(jobs);
        let notes: Vec<Vec<String>> = watches.into_iter().map(StepWatch::into_notes).collect();
        let mut interrupted = false;
        for (((&member, making), result), notes) in group.iter().zip(makings).zip(results).zip(notes) {
            let step = &self.plan.steps[member];
            let address = step.address.to_string();
            match result {
                Ok(Made { tokens }) => {
                    making.finish(&Record {
                        id: step.id.clone(),
                        kind: step.kind.to_string(),
                        address: address.clone(),
                        seconds,
                        tokens,
                        memory_bytes,
                        notes: notes.clone(),
                        xd_version: env!("CARGO_PKG_VERSION").to_string(),
                        device: self.device_of(step),
                    })?;
                    self.observer.finished(&address, step.kind, false, seconds);
                    self.states[member] = State::Done { cached: false, seconds, tokens, notes };
                    self.remember(&[member])?;
                }
                Err(Error::Interrupted) => interrupted = true,
                Err(error) => self.fail(member, error.to_string()),
            }
        }
        if interrupted { Err(Error::Interrupted) } else { Ok(()) }
    }

    /// Where this run computes such a step.
    fn device_of(&self, step: &Step) -> String {
        let gpu = self.options.gpu.as_ref().filter(|_| steps::runs_on_gpu(self.plan, step));
        gpu.map_or("cpu", |gpu| gpu.name()).to_string()
    }

    fn fail(&mut self, index: usize, message: String) {
        self.observer.failed(&self.plan.steps[index].address.to_string(), &message);
        self.states[index] = State::Failed { error: message.clone() };
        self.failures.push(Failure { step: StepIndex(index), message });
    }

    fn remember(&self, indices: &[usize]) -> Result<()> {
        let mut index = self.store.index(&self.options.experiment);
        for &i in indices {
            let step = &self.plan.steps[i];
            let spec = serde_json::to_value(&step.spec).unwrap_or_default();
            let inputs = inputs_by_address(self.plan, step);
            index.insert(step.address.to_string(), Remembered { id: step.id.clone(), spec, inputs });
        }
        self.store.remember(&self.options.experiment, &index)
    }

    /// Tables, plots, expectations, the links to the store, the report and the manifest.
    fn finish(mut self) -> Result<Outcome> {
        let out = &self.options.out;
        std::fs::create_dir_all(out).map_err(|e| Error::file(out, e))?;
        let mut tables = Vec::new();
        let mut figures = Vec::new();
        let mut shown = super::report::Shown::default();
        let mut expectations = Vec::new();
        for index in 0..self.plan.steps.len() {
            if !self.wanted[index] || !matches!(self.states[index], State::Done { .. }) {
                continue;
            }
            let step = &self.plan.steps[index];
            let available = self.available();
            let results = Results { plan: self.plan, store: self.store, available: &available };
            match &step.spec {
                Spec::Table(spec) => match steps::table::write(&results, step, spec, out) {
                    Ok((table, frame)) => {
                        shown.tables.push((index, table.path.clone(), frame));
                        tables.push(table);
                    }
                    Err(error) => self.fail(index, error.to_string()),
                },
                Spec::Plot(spec) => match steps::plot::write(&results, step, spec, out) {
                    Ok((paths, svg)) => {
                        shown.figures.push((index, paths.clone(), svg));
                        figures.extend(paths);
                    }
                    Err(error) => self.fail(index, error.to_string()),
                },
                Spec::Expect(spec) => match steps::expect::evaluate(&results, step, spec) {
                    Ok(entry) => expectations.push(entry),
                    Err(error) => self.fail(index, error.to_string()),
                },
                _ => {}
            }
        }
        if self.options.only.is_none() && self.failures.is_empty() {
            let written = tables.iter().map(|table| table.path.clone()).chain(figures.iter().cloned()).collect();
            remove_stale(out, &written)?;
        }
        self.link_artifacts()?;
        let manifest = self.manifest(expectations);
        let text = serde_json::to_vec_pretty(&manifest).map_err(|e| Error::damaged(out, e))?;
        write_whole(&out.join("manifest.json"), &text)?;
        let report = super::report::write(self.plan, self.options, &manifest, &shown, &self.notes(), out)?;
        Ok(Outcome { manifest, tables, figures, report: Some(report), failures: self.failures })
    }

    /// Which steps have results.
    fn available(&self) -> Vec<bool> {
        self.states.iter().map(|state| matches!(state, State::Done { .. })).collect()
    }

    fn notes(&self) -> Vec<(String, String)> {
        let mut notes = Vec::new();
        for (step, state) in self.plan.steps.iter().zip(&self.states) {
            if let State::Done { notes: of_step, .. } = state {
                notes.extend(of_step.iter().map(|note| (step.address.to_string(), note.clone())));
            }
        }
        notes
    }

    fn link_artifacts(&self) -> Result<()> {
        let folder = self.options.out.join("artifacts");
        if folder.exists() {
            std::fs::remove_dir_all(&folder).map_err(|e| Error::file(&folder, e))?;
        }
        std::fs::create_dir_all(&folder).map_err(|e| Error::file(&folder, e))?;
        for (step, state) in self.plan.steps.iter().zip(&self.states) {
            if matches!(state, State::Done { .. }) && is_stored(&step.spec) {
                let link = folder.join(file_name(step));
                let target = self.store.artifact(&step.id);
                std::os::unix::fs::symlink(&target, &link).map_err(|e| Error::file(&link, e))?;
            }
        }
        Ok(())
    }

    fn manifest(&self, expectations: Vec<ExpectationEntry>) -> Manifest {
        let steps = (0..self.plan.steps.len()).filter(|&i| self.wanted[i]).map(|i| self.entry(i)).collect();
        Manifest {
            file: self.options.file.clone(),
            xd_version: env!("CARGO_PKG_VERSION").to_string(),
            edition: self.plan.edition,
            device: self.device.name.clone(),
            params: self.plan.params.clone(),
            resolved: self.options.resolved.clone(),
            inputs: self.options.inputs.clone(),
            steps,
            expectations,
        }
    }

    fn entry(&self, index: usize) -> StepEntry {
        let step = &self.plan.steps[index];
        let stored = is_stored(&step.spec);
        let artifact = stored.then(|| self.store.artifact(&step.id));
        let record = if stored { self.store.record(&step.id).ok().flatten() } else { None };
        let device = record.as_ref().map(|record| record.device.clone()).unwrap_or_default();
        let (state, error, cached, seconds, tokens) = match &self.states[index] {
            State::Done { cached, seconds, tokens, .. } => ("done", None, *cached && stored, *seconds, *tokens),
            State::Failed { error } => ("failed", Some(error.clone()), false, 0.0, 0),
            State::Skipped | State::Waiting => ("skipped", None, false, 0.0, 0),
        };
        StepEntry {
            address: step.address.to_string(),
            kind: step.kind.to_string(),
            id: step.id.clone(),
            cached,
            state: state.to_string(),
            error,
            seconds,
            tokens,
            device,
            tokens_per_second: if seconds > 0.0 { tokens as f64 / seconds } else { 0.0 },
            predicted: Amounts {
                seconds: self.device.seconds(&step.cost),
                disk_bytes: step.cost.disk_bytes,
                memory_bytes: step.cost.memory_bytes,
            },
            measured: Amounts {
                seconds,
                disk_bytes: artifact.as_deref().map(folder_bytes).unwrap_or(0),
                memory_bytes: record.map_or(0, |record| record.memory_bytes),
            },
            artifact: artifact.map(|path| path.display().to_string()),
        }
    }
}

/// The steps that are asked for: all, or one name with everything it needs.
fn wanted(plan: &Plan, only: Option<&str>) -> Result<Vec<bool>> {
    let Some(name) = only else { return Ok(vec![true; plan.steps.len()]) };
    let mut wanted: Vec<bool> = plan.steps.iter().map(|step| step.address.name == name).collect();
    if !wanted.contains(&true) {
        let names: std::collections::BTreeSet<&str> = plan.steps.iter().map(|s| s.address.name.as_str()).collect();
        let names: Vec<&str> = names.into_iter().collect();
        return Err(Error::Failed(format!("--only {name}: the file has no such name; it has {}", names.join(", "))));
    }
    for index in (0..plan.steps.len()).rev() {
        if wanted[index] {
            for input in &plan.steps[index].inputs {
                wanted[input.step.0] = true;
            }
        }
    }
    Ok(wanted)
}

/// Tables and plots of an earlier version of the file: left there, they would be taken for results of this run.
fn remove_stale(out: &Path, written: &BTreeSet<PathBuf>) -> Result<()> {
    for (folder, endings) in [("tables", &["csv"][..]), ("plots", &["svg", "png"])] {
        for entry in std::fs::read_dir(out.join(folder)).into_iter().flatten().flatten() {
            let path = entry.path();
            let is_ours = path.extension().is_some_and(|e| endings.iter().any(|ending| e == *ending));
            if is_ours && !written.contains(&path) {
                std::fs::remove_file(&path).map_err(|e| Error::file(&path, e))?;
            }
        }
    }
    Ok(())
}

fn folder_bytes(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(facts) if facts.is_dir() => folder_bytes(&entry.path()),
            Ok(facts) => facts.len(),
            Err(_) => 0,
        })
        .sum()
}

/// Hands a step's progress to the observer and keeps its notes.
struct StepWatch<'a> {
    observer: &'a dyn Observer,
    address: String,
    notes: Mutex<Vec<String>>,
}

impl StepWatch<'_> {
    fn into_notes(self) -> Vec<String> {
        self.notes.into_inner().unwrap_or_default()
    }
}

impl Watch for StepWatch<'_> {
    fn progress(&self, progress: &Progress) {
        self.observer.progress(&self.address, progress);
    }

    fn transfer(&self, transfer: &Transfer) {
        self.observer.transfer(&self.address, transfer);
    }

    fn stop(&self) -> bool {
        self.observer.stop()
    }

    fn note(&self, text: &str) {
        if let Ok(mut notes) = self.notes.lock() {
            notes.push(text.to_string());
        }
        self.observer.note(&self.address, text);
    }
}
