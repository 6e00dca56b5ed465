//! Before a run: what its file names of the hub is pinned in the lock file, and the facts of pinned models are fetched.

use std::collections::BTreeMap;
use std::path::Path;

use super::hub_cache;
use super::progress::{Show, bytes};
use super::world::lock_path;
use crate::exec::Observer;
use crate::exec::hub::{self, Hub, Problem, Settings};
use crate::exec::store::write_whole;
use crate::hash_cache;
use crate::lang::Span;
use crate::lang::diagnostic::{Code, Diagnostic};
use crate::lang::hub::{Entry, HubRef, HubWanted, Lock};
use crate::lang::plan::Plan;
use crate::ml::watch::Transfer;
use crate::ml::{Progress, Watch};

/// The hub as the environment of this process names it. No connection is opened.
pub fn of_machine() -> Hub {
    let memory = hash_cache::folder().map(|folder| folder.join("hub.json"));
    Hub::new(Settings::from_env(hub_cache::root(), Some(&hub_cache::home())), memory)
}

/// Whether the plan is to be made again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    None,
    /// The lock file or the cache has more than before.
    Known,
}

/// A failure with its place in the file; `None` when the user stopped.
pub type Refused = Option<Box<Diagnostic>>;

/// Pins what the plan names and the lock lacks, into the lock file; else fetches the small files that tell facts.
pub fn prepare(plan: &Plan, lock: &mut Lock, experiment: &Path, hub: &Hub, show: &Show) -> Result<Change, Refused> {
    let asked = asked(plan);
    let mut change = Change::None;
    for (reference, span) in asked.values().filter(|(reference, _)| reference.pin.is_none()) {
        pin(reference, *span, lock, experiment, hub, show)?;
        change = Change::Known;
    }
    if change == Change::Known {
        return Ok(change);
    }
    for (reference, span) in asked.values().filter(|(reference, _)| !hub::is_described(reference)) {
        let described = watched(show, &reference.wanted.id, |watch| hub.describe(reference, watch));
        described.map_err(|problem| refused(&problem, *span))?;
        change = Change::Known;
    }
    Ok(change)
}

/// Every reference of the plan once, with the declaration that names it first.
fn asked(plan: &Plan) -> BTreeMap<&HubWanted, (&HubRef, Span)> {
    let mut asked = BTreeMap::new();
    for step in &plan.steps {
        for (_, reference) in step.spec.hub_refs() {
            asked.entry(&reference.wanted).or_insert((reference, step.span));
        }
    }
    asked
}

fn pin(
    reference: &HubRef,
    span: Span,
    lock: &mut Lock,
    experiment: &Path,
    hub: &Hub,
    show: &Show,
) -> Result<(), Refused> {
    let wanted = &reference.wanted;
    let found = watched(show, &wanted.id, |watch| hub.pin(wanted, watch)).map_err(|problem| refused(&problem, span))?;
    let place = lock_path(experiment);
    let (files, commit) = (found.pin.files.len(), &found.pin.commit);
    let plural = if files == 1 { "" } else { "s" };
    let size = bytes(found.pin.bytes());
    let short = commit.get(..8).unwrap_or(commit);
    show.note(&wanted.id, &format!("commit {short}, {files} file{plural}, {size}; pinned in {}", place.display()));
    found.notes.iter().for_each(|note| show.note(&wanted.id, note));
    lock.set(Entry { wanted: wanted.clone(), pin: found.pin });
    write_whole(&place, lock.text().as_bytes()).map_err(|error| {
        let help = "it belongs beside the experiment; make that folder writable, or copy the experiment to one that is";
        let message = format!("the lock file cannot be written: {error}");
        Some(Box::new(Diagnostic::new(Code::LockDiffers, span, message).label("to be pinned").help(help)))
    })
}

fn watched<T>(show: &Show, name: &str, work: impl FnOnce(&dyn Watch) -> T) -> T {
    let start = std::time::Instant::now();
    show.started(name, "hub", 1, 1);
    let result = work(&Named { show, name });
    show.finished(name, "hub", false, start.elapsed().as_secs_f64());
    result
}

/// A problem of the hub with the place of the declaration; `None` when the user stopped.
fn refused(problem: &Problem, span: Span) -> Refused {
    if *problem == Problem::Stopped {
        return None;
    }
    let found = Diagnostic::new(problem.code(), span, problem.message());
    Some(Box::new(found.label(problem.label()).help(problem.help())))
}

/// Shows transfers under a name that is no step.
struct Named<'a> {
    show: &'a Show,
    name: &'a str,
}

impl Watch for Named<'_> {
    fn progress(&self, _: &Progress) {}

    fn transfer(&self, transfer: &Transfer) {
        self.show.transfer(self.name, transfer);
    }

    fn stop(&self) -> bool {
        self.show.stop()
    }

    fn note(&self, text: &str) {
        self.show.note(self.name, text);
    }
}
