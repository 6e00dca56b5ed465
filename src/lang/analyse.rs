//! The single entry of the language half: text to plan, with every mistake of the file.

use super::check;
use super::diagnostic::{Diagnostic, Severity};
use super::plan::{self, Plan};
use super::resolve::{self, Scope, Sink};
use super::source::{FileId, Sources};
use super::world::World;

/// What is known of a file.
#[derive(Clone, Debug, Default)]
pub struct Analysis {
    /// What `xd run` would do; `None` when there are errors.
    pub plan: Option<Plan>,
    /// Everything that was found, in the order of the text (the asked file first), each once.
    pub diagnostics: Vec<Diagnostic>,
}

impl Analysis {
    /// True when the file cannot be run.
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(|d| d.severity == Severity::Error)
    }
}

/// Reads `file` (already in `sources`) and what it imports (added to `sources`), checks everything and plans it.
///
/// `sets` are the `--set` arguments as typed, `k=50` each; a wrong one is reported in a text named `--set`, added to
/// `sources`. Lints are only reported when `pedantic`.
pub fn analyse(world: &dyn World, sources: &mut Sources, file: FileId, sets: &[String], pedantic: bool) -> Analysis {
    let mut sink = Sink::default();
    let modules = resolve::load(world, sources, file, &mut sink);
    let scope = Scope::build(modules, sources, sets, &mut sink);
    let sources = &*sources;
    let resolution = resolve::resolve(&scope, sources, &mut sink);
    let drafts = plan::drafts(world, &scope, sources, &resolution, &mut sink);
    check::hub::lock(world, &scope, &drafts, &mut sink);
    check::sweeps::too_large(&scope, &resolution, &mut sink);
    check::unused::unused(&scope, &resolution, &mut sink);
    check::unused::nothing_to_do(&scope, &resolution, &mut sink);
    if pedantic {
        check::lints::pedantic(&scope, &resolution, &drafts, &mut sink);
    }
    let plan = match sink.has_errors() {
        true => None,
        false => plan::plan(world, &scope, &resolution, &drafts, &mut sink),
    };
    let mut diagnostics = sink.into_vec();
    diagnostics.sort_by_key(|d| (d.span.file, d.span.start, d.span.end));
    let errors = diagnostics.iter().any(|d| d.severity == Severity::Error);
    Analysis { plan: plan.filter(|_| !errors), diagnostics }
}
