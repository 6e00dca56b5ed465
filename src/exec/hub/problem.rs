//! What can go wrong with the hub, as data, and what to do about it, in words.

use std::path::PathBuf;

use crate::exec::limits::bytes;
use crate::lang::diagnostic::Code;
use crate::lang::hub::{HubWanted, Repository};

/// Results of talking to the hub.
pub type Result<T> = std::result::Result<T, Problem>;

/// A repository as messages name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub repository: Repository,
    pub id: String,
    /// Its page.
    pub page: String,
    /// Where the token that was sent came from.
    pub token: Option<String>,
}

/// Why something of the hub is not here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// The user stopped the run; what came so far is kept.
    Stopped,
    /// The licence is not accepted, or not by the account of the token.
    Gated(Place),
    /// The hub does not know the token.
    BadToken(Place),
    /// The hub shows no such repository.
    Missing(Place),
    /// The repository has no such branch, tag or commit; `known` are those it has.
    NoRevision {
        place: Place,
        revision: String,
        known: Vec<String>,
    },
    /// The repository has no such file at the commit.
    NoFile {
        place: Place,
        path: String,
        commit: String,
    },
    /// Its files are not what xd can read: a sentence, what to do, and the file that is not there where it is one.
    Unsuitable {
        place: Place,
        message: String,
        help: String,
        absent: Option<String>,
    },
    /// The network may not be used.
    Offline {
        place: Place,
        revision: String,
        file: Option<String>,
        cache: PathBuf,
    },
    /// Nobody answers.
    Unreachable {
        address: String,
        why: String,
    },
    /// The endpoint is no address.
    BadEndpoint {
        endpoint: String,
    },
    /// Somebody answers who is no hub.
    NoHub {
        address: String,
        why: String,
    },
    /// The hub refuses for now, or fails.
    Busy {
        address: String,
        status: u16,
        why: String,
    },
    /// The connection broke, again and again.
    Broken {
        file: String,
        done: u64,
        total: u64,
        why: String,
    },
    /// What came is not what the hub or the lock file says it is.
    WrongContent {
        file: String,
        expected: String,
        found: String,
    },
    /// The file on the hub or in the cache is not the one that the lock file pins.
    LockDiffers {
        place: Place,
        file: String,
        where_: String,
        locked: String,
        found: String,
    },
    DiskFull {
        file: String,
        needed: u64,
        free: Option<u64>,
        folder: PathBuf,
    },
    /// A file or folder of the cache.
    File {
        path: PathBuf,
        why: String,
    },
}

impl Place {
    /// The repository that is wanted.
    pub fn of(wanted: &HubWanted, settings: &super::Settings) -> Self {
        Place {
            repository: wanted.repository,
            id: wanted.id.clone(),
            page: settings.page(wanted),
            token: settings.token.as_ref().map(|t| t.source.clone()),
        }
    }
}

impl Problem {
    /// Of an operation on a file of the cache.
    pub fn file(path: impl Into<PathBuf>, error: &std::io::Error) -> Self {
        let path = path.into();
        match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                let folder = path.parent().map(PathBuf::from).unwrap_or_default();
                Problem::DiskFull { file: path.display().to_string(), needed: 0, free: None, folder }
            }
            _ => Problem::File { path, why: error.to_string() },
        }
    }

    /// The code of its diagnostic.
    pub fn code(&self) -> Code {
        match self {
            Problem::Gated(_) => Code::GatedModel,
            Problem::LockDiffers { .. } => Code::LockDiffers,
            Problem::Missing(_) | Problem::NoRevision { .. } | Problem::NoFile { .. } | Problem::Unsuitable { .. } => {
                Code::HubMissing
            }
            Problem::Stopped
            | Problem::BadToken(_)
            | Problem::Offline { .. }
            | Problem::Unreachable { .. }
            | Problem::BadEndpoint { .. }
            | Problem::NoHub { .. }
            | Problem::Busy { .. }
            | Problem::Broken { .. }
            | Problem::WrongContent { .. }
            | Problem::DiskFull { .. }
            | Problem::File { .. } => Code::HubUnreachable,
        }
    }

    /// One sentence, no full stop.
    pub fn message(&self) -> String {
        match self {
            Problem::Stopped => "stopped".to_string(),
            Problem::Gated(place) => match &place.token {
                None => format!("`{}` is gated, and no token was sent", place.id),
                Some(source) => {
                    format!("`{}` is gated, and the account of the token in {source} may not read it", place.id)
                }
            },
            Problem::BadToken(place) => {
                format!("the hub does not accept the token in {}", place.token.as_deref().unwrap_or("use"))
            }
            Problem::Missing(place) => format!("the hub shows no {} `{}`", place.repository.noun(), place.id),
            Problem::NoRevision { place, revision, .. } => {
                format!("`{}` has no branch, tag or commit `{revision}`", place.id)
            }
            Problem::NoFile { place, path, commit } => {
                format!("`{}` has no file `{path}` at commit {}", place.id, short(commit))
            }
            Problem::Unsuitable { message, .. } => message.clone(),
            Problem::Offline { place, file: Some(file), .. } => {
                format!(
                    "`{file}` of `{}` is not in the cache, and the network may not be used (HF_HUB_OFFLINE)",
                    place.id
                )
            }
            Problem::Offline { place, revision, file: None, .. } => format!(
                "`{}` at `{revision}` is not in the cache, and the network may not be used (HF_HUB_OFFLINE)",
                place.id
            ),
            Problem::Unreachable { address, why } => format!("the hub at {address} cannot be reached: {why}"),
            Problem::BadEndpoint { endpoint } => format!("HF_ENDPOINT is `{endpoint}`, which is no address of a hub"),
            Problem::NoHub { address, why } => format!("{address} does not answer as a hub does: {why}"),
            Problem::Busy { address, status, why } => format!("the hub answers {status} to {address}: {why}"),
            Problem::Broken { file, done, total, why } => {
                format!("the connection broke after {} of {} of `{file}`: {why}", bytes(*done), bytes(*total))
            }
            Problem::WrongContent { file, expected, found } => {
                format!("what came as `{file}` is not that file: {found} in place of {expected}")
            }
            Problem::LockDiffers { place, file, where_, locked, found } => {
                format!(
                    "`{file}` of `{}` {where_} is not the one that the lock file pins: {found} in place of {locked}",
                    place.id
                )
            }
            Problem::DiskFull { file, needed: 0, folder, .. } => {
                format!("the disk of {} is full; `{file}` could not be written", folder.display())
            }
            Problem::DiskFull { file, needed, free, folder } => format!(
                "`{file}` needs {} and {} has {} free",
                bytes(*needed),
                folder.display(),
                free.map_or_else(|| "too little".to_string(), bytes)
            ),
            Problem::File { path, why } => format!("{}: {why}", path.display()),
        }
    }

    /// The words under the caret.
    pub fn label(&self) -> &'static str {
        match self {
            Problem::Gated(_) => "gated",
            Problem::Missing(_) => "not on the hub",
            Problem::NoRevision { .. } => "no such revision",
            Problem::LockDiffers { .. } => "differs from the lock file",
            Problem::Unsuitable { .. } => "cannot be read",
            Problem::Offline { .. } => "not in the cache",
            _ => "cannot be fetched",
        }
    }

    /// What to do.
    pub fn help(&self) -> String {
        match self {
            Problem::Stopped => "the same command goes on from here".to_string(),
            Problem::Gated(place) => match place.token {
                None => format!(
                    "accept its licence at {} with your account, then `hf auth login`, or set HF_TOKEN to a token of that account",
                    place.page
                ),
                Some(_) => format!(
                    "accept its licence at {} with the account of that token; some authors grant access by hand, and a \
                     fine-grained token must also be allowed to read gated repositories",
                    place.page
                ),
            },
            Problem::BadToken(_) => {
                "it may have expired or lost its end; make a new one in the settings of your account, then `hf auth login`, or set HF_TOKEN".to_string()
            }
            Problem::Missing(place) => {
                let private = match place.token {
                    None => "to whoever sends no token: `hf auth login`, or set HF_TOKEN",
                    Some(_) => "to accounts that may not read it, such as that of your token",
                };
                format!("compare the name with its page, {}; a private repository looks missing {private}", place.page)
            }
            Problem::NoRevision { known, place, .. } if known.is_empty() => {
                format!("{}/tree/main shows its branches and tags", place.page)
            }
            Problem::NoRevision { known, revision, .. } => match crate::lang::diagnostic::suggest(revision, known) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("it has {}", list(known)),
            },
            Problem::NoFile { place, commit, .. } => format!("{}/tree/{commit} shows its files", place.page),
            Problem::Unsuitable { help, .. } => help.clone(),
            Problem::Offline { place, revision, file, cache } => {
                let kind = if place.repository == Repository::Dataset { " --repo-type dataset" } else { "" };
                let file = file.as_deref().map(|f| format!(" '{f}'")).unwrap_or_default();
                format!(
                    "unset HF_HUB_OFFLINE, or fetch it where there is a network, `hf download {}{file} --revision {revision}{kind}`, \
                     and copy it into {}",
                    place.id,
                    cache.display()
                )
            }
            Problem::Unreachable { .. } => {
                "check the network and HTTPS_PROXY; with HF_HUB_OFFLINE=1 only the cache is used".to_string()
            }
            Problem::BadEndpoint { .. } => {
                "write it with its scheme, `https://huggingface.co`, or unset HF_ENDPOINT".to_string()
            }
            Problem::NoHub { .. } => {
                "is HF_ENDPOINT the address of a hub or of a mirror of it? a proxy or a login page of the network may also stand between".to_string()
            }
            Problem::Busy { status: 429, .. } => {
                "it was asked too often; wait some minutes, or send a token (HF_TOKEN), which is allowed more".to_string()
            }
            Problem::Busy { .. } => "the trouble is not on this side; try again later: what is here is kept".to_string(),
            Problem::Broken { .. } => "what came is kept, and the same command goes on from there".to_string(),
            Problem::WrongContent { .. } => {
                "it was thrown away; run again, and if it comes back, look for a proxy that changes what passes through it".to_string()
            }
            Problem::LockDiffers { .. } => {
                "if the change is wanted, `xd run FILE --update-lock` pins what is there now, or delete its entry from the lock file; \
                 if it is not, delete the file from the cache and run again"
                    .to_string()
            }
            Problem::DiskFull { .. } => {
                "make room, or put the cache elsewhere with HF_HUB_CACHE; what came is kept, and the same command goes on from there".to_string()
            }
            Problem::File { .. } => "the cache of the hub must be readable and writable; HF_HUB_CACHE puts it elsewhere".to_string(),
        }
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}\n  help: {}", self.message(), self.help())
    }
}

impl std::error::Error for Problem {}

/// The first few of a list, in backquotes.
pub fn list(names: &[String]) -> String {
    const SHOWN: usize = 8;
    let shown: Vec<String> = names.iter().take(SHOWN).map(|n| format!("`{n}`")).collect();
    match names.len() {
        n if n > SHOWN => format!("{} and {} more", shown.join(", "), n - SHOWN),
        _ => shown.join(", "),
    }
}

/// The first digits of a commit or hash.
pub fn short(commit: &str) -> &str {
    commit.get(..8).unwrap_or(commit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(token: Option<&str>) -> Place {
        let page = "https://huggingface.co/google/gemma-2-2b".to_string();
        Place { repository: Repository::Model, id: "google/gemma-2-2b".into(), page, token: token.map(str::to_string) }
    }

    /// Every message as a person reads it.
    #[test]
    fn every_problem_says_what_to_do() {
        let (address, file) = ("https://huggingface.co".to_string(), "model.safetensors".to_string());
        let commit = "0123456789".repeat(4);
        let cache = PathBuf::from("/home/a/.cache/huggingface/hub");
        let all = [
            Problem::Stopped,
            Problem::Gated(place(None)),
            Problem::Gated(place(Some("HF_TOKEN"))),
            Problem::BadToken(place(Some("/home/a/.cache/huggingface/token"))),
            Problem::Missing(place(None)),
            Problem::Missing(place(Some("HF_TOKEN"))),
            Problem::NoRevision {
                place: place(None),
                revision: "mian".into(),
                known: vec!["main".into(), "v1".into()],
            },
            Problem::NoRevision {
                place: place(None),
                revision: "2024".into(),
                known: vec!["main".into(), "v1".into()],
            },
            Problem::NoRevision { place: place(None), revision: "2024".into(), known: Vec::new() },
            Problem::NoFile { place: place(None), path: file.clone(), commit: commit.clone() },
            Problem::Offline { place: place(None), revision: "main".into(), file: None, cache: cache.clone() },
            Problem::Offline { place: place(None), revision: commit, file: Some(file.clone()), cache: cache.clone() },
            Problem::Unreachable { address: address.clone(), why: "its name is not known to the network".into() },
            Problem::BadEndpoint { endpoint: "huggingface.co".into() },
            Problem::NoHub { address: address.clone(), why: "its answer is not JSON".into() },
            Problem::Busy { address: address.clone(), status: 429, why: "too many requests".into() },
            Problem::Busy { address, status: 503, why: "service unavailable".into() },
            Problem::Broken { file: file.clone(), done: 700_000_000, total: 5_200_000_000, why: "it was cut".into() },
            Problem::WrongContent {
                file: file.clone(),
                expected: "sha256 01234567..".into(),
                found: "sha256 89abcdef..".into(),
            },
            Problem::LockDiffers {
                place: place(None),
                file: file.clone(),
                where_: "on the hub".into(),
                locked: "sha256 01234567..".into(),
                found: "sha256 89abcdef..".into(),
            },
            Problem::DiskFull {
                file: file.clone(),
                needed: 5_200_000_000,
                free: Some(1_000_000_000),
                folder: cache.clone(),
            },
            Problem::file(cache.join(&file), &std::io::Error::from(std::io::ErrorKind::StorageFull)),
            Problem::File { path: cache, why: "permission denied".into() },
        ];
        let text: Vec<String> = all.iter().map(|p| format!("{} {p}", p.code().slug())).collect();
        insta::assert_snapshot!(text.join("\n\n"));
    }
}
