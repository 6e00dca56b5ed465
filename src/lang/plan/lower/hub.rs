use crate::lang::check;
use crate::lang::hub::{HubPart, HubRef, HubWanted, Repository};
use crate::lang::plan::draft::At;
use crate::lang::resolve::{Call, Sink};

/// The repository that `hf(..)` names, with what the lock file pins of it.
pub fn reference(at: &At, call: &Call, repository: Repository, part: HubPart, sink: &mut Sink) -> Option<HubRef> {
    let node = call.get("id")?;
    let id = at.string(node, sink)?;
    if !check::hub::id(&id, node.span, sink) {
        return None;
    }
    let revision = optional(call.get("revision").map(|n| at.string(n, sink)))?;
    if let (Some(revision), Some(node)) = (&revision, call.get("revision"))
        && !check::hub::revision(revision, node.span, sink)
    {
        return None;
    }
    let wanted = HubWanted { repository, id, revision, part };
    // A lock file that cannot be read is reported once for all of them.
    let pin = at.world.lock().ok().and_then(|lock| lock.pin(&wanted).cloned());
    let folder = pin.as_ref().and_then(|pin| at.world.hub_folder(&wanted, &pin.commit));
    Some(HubRef { wanted, pin, folder })
}

/// An argument that may be left out: the outer `None` is a mistake in one that is written.
pub fn optional(argument: Option<Option<String>>) -> Option<Option<String>> {
    match argument {
        None => Some(None),
        Some(text) => text.map(Some),
    }
}
