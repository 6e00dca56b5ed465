//! Names of the hub that cannot be, and lock files that say something else than the experiment.

use crate::lang::diagnostic::{Code, Diagnostic};
use crate::lang::hub::{HubWanted, LockProblem};
use crate::lang::plan::draft::Drafts;
use crate::lang::resolve::{DeclId, Scope, Sink};
use crate::lang::source::Span;
use crate::lang::world::World;

/// What the experiment asks of the hub against what its lock file pins. A file without hub references has no lock file to look at.
pub fn lock(world: &dyn World, scope: &Scope, drafts: &Drafts, sink: &mut Sink) {
    let mut asked: Vec<(&HubWanted, Span)> = Vec::new();
    for (index, own) in drafts.iter().enumerate() {
        let span = scope.get(DeclId(index)).name_span;
        let specs = own.iter().filter_map(|draft| draft.spec.as_ref());
        asked.extend(specs.flat_map(|spec| spec.hub_refs()).map(|(_, hub)| (&hub.wanted, span)));
    }
    let Some(&(_, first)) = asked.first() else { return };
    let lock = match world.lock() {
        Ok(lock) => lock,
        Err(why) => {
            sink.push(
                Diagnostic::new(Code::LockDiffers, first, format!("the lock file does not say what is pinned: {why}"))
                    .label("pinned there")
                    .help("mend it, take it back from version control, or delete it: `xd run` then pins what the hub has now"),
            );
            return;
        }
    };
    let all: Vec<&HubWanted> = asked.iter().map(|(wanted, _)| *wanted).collect();
    let mut said: Vec<&HubWanted> = Vec::new();
    for (wanted, span) in &asked {
        if said.contains(wanted) {
            continue;
        }
        let Some(problem) = lock.problem(wanted, &all) else { continue };
        said.push(wanted);
        sink.push(differs(wanted, &problem, *span));
    }
}

fn differs(wanted: &HubWanted, problem: &LockProblem, span: Span) -> Diagnostic {
    let id = &wanted.id;
    let asked = match &wanted.revision {
        Some(revision) => format!("revision `{revision}`"),
        None => "the default branch".to_string(),
    };
    let (locked, back) = match problem {
        LockProblem::OtherRevision { locked: Some(revision) } => {
            (format!("revision `{revision}`"), format!("write `revision = \"{revision}\"`"))
        }
        LockProblem::OtherRevision { locked: None } => {
            ("the default branch".to_string(), "leave `revision` out".to_string())
        }
        LockProblem::OtherCommit { commit } => (format!("commit {commit}"), format!("write `revision = \"{commit}\"`")),
    };
    Diagnostic::new(
        Code::LockDiffers,
        span,
        format!("the file asks for {asked} of `{id}`, and its lock file pins {locked}"),
    )
    .label("pinned differently")
    .help(format!(
        "to go on with what is pinned, {back}; to pin anew, delete the entry of `{id}` from the lock file, or \
         `xd run FILE --update-lock` for all that the file names"
    ))
}

/// A name of the hub: `owner/name`, or one word for the oldest repositories. False when it is reported.
pub fn id(id: &str, span: Span, sink: &mut Sink) -> bool {
    let parts: Vec<&str> = id.split('/').collect();
    let is_word = |part: &&str| {
        !part.is_empty()
            && !matches!(*part, "." | "..")
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
    };
    if parts.len() <= 2 && parts.iter().all(is_word) {
        return true;
    }
    let help = match id.split_once("huggingface.co/") {
        Some((_, rest)) => {
            let rest = rest.strip_prefix("datasets/").unwrap_or(rest);
            let short: Vec<&str> = rest.split('/').take(2).collect();
            format!("the hub is known; write only the name: `\"{}\"`", short.join("/"))
        }
        None => "a name on the hub is `\"owner/name\"`, as at the top of its page".to_string(),
    };
    sink.push(
        Diagnostic::new(Code::WrongType, span, format!("`{id}` is no name on the hub")).label("not a name").help(help),
    );
    false
}

/// A branch, tag or commit as git allows it. False when it is reported.
pub fn revision(revision: &str, span: Span, sink: &mut Sink) -> bool {
    let is_sound = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.contains("..");
    let odd = |c: char| c.is_control() || c.is_whitespace() || "~^:?*[\\".contains(c);
    if revision.split('/').all(is_sound) && !revision.contains(odd) {
        return true;
    }
    sink.push(
        Diagnostic::new(Code::WrongType, span, format!("`{revision}` is no branch, tag or commit"))
            .label("not a revision")
            .help("take one from the page `Files and versions` of the repository, such as `revision = \"main\"`"),
    );
    false
}
