//! Requests to the hub and what its answers mean.
//!
//! hf-hub gives the addresses, the request for a repository's facts and the layout of the cache. It hides status and headers of
//! refusals, follows every redirect or none, and knows no ranges; those requests are made here, with the agent that it is
//! built on.

use std::sync::OnceLock;
use std::time::Duration;

use hf_hub::api::sync::{Api, ApiBuilder};
use hf_hub::{Cache, Repo, RepoType};
use serde_json::Value;
use ureq::http::{Response, Uri};
use ureq::{Agent, Body};

use super::listing::RemoteFile;
use super::problem::{Place, Problem, Result};
use super::settings::Settings;
use crate::lang::hub::{HubWanted, Repository};

/// Answers of the API are read up to this size; a page of a listing has a thousand files.
const LONGEST_ANSWER: u64 = 64 << 20;
/// Redirects within the hub: renamed repositories.
const REDIRECTS: usize = 5;
/// Pages of a listing.
const PAGES: usize = 1000;
/// Times that a request is made before it is given up.
const TRIES: u32 = 4;

/// Whoever is asked to stop.
pub type Stop<'a> = &'a dyn Fn() -> bool;

/// What the hub says about a repository at a revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// Its name now: another one than asked for when it was renamed.
    pub id: String,
    pub commit: String,
}

/// What the hub says about a file before it is fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Names the file in the cache: the sha256 of large files, git's hash of others.
    pub etag: String,
    pub bytes: Option<u64>,
    /// Where its bytes are.
    pub location: String,
    /// The bytes are within the hub, so the token goes along.
    pub trusted: bool,
}

/// Speaks to one hub. Making it opens no connection.
#[derive(Debug)]
pub struct Client {
    settings: Settings,
    endpoint: Uri,
    api: Api,
    agent: Agent,
    asked: OnceLock<()>,
}

impl Client {
    /// Errors: the endpoint is no address.
    pub fn new(settings: Settings) -> Result<Self> {
        let bad = || Problem::BadEndpoint { endpoint: settings.endpoint.clone() };
        let endpoint: Uri = settings.endpoint.parse().map_err(|_| bad())?;
        let is_web = matches!(endpoint.scheme_str(), Some("http" | "https"));
        if !is_web || endpoint.host().is_none_or(str::is_empty) {
            return Err(bad());
        }
        let api = ApiBuilder::from_cache(Cache::new(settings.cache.clone()))
            .with_endpoint(settings.endpoint.clone())
            .with_token(settings.token.as_ref().map(|t| t.text.clone()))
            .with_user_agent("xd", env!("CARGO_PKG_VERSION"))
            .with_progress(false)
            .build()
            .map_err(|e| Problem::NoHub { address: settings.endpoint.clone(), why: e.to_string() })?;
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_connect(Some(settings.patience))
            .timeout_recv_response(Some(settings.patience))
            .timeout_per_read(Some(settings.patience))
            .user_agent(concat!("xd/", env!("CARGO_PKG_VERSION")))
            .accept_encoding("identity")
            .build()
            .into();
        Ok(Client { settings, endpoint, api, agent, asked: OnceLock::new() })
    }

    /// True once a request was made.
    pub fn was_used(&self) -> bool {
        self.asked.get().is_some()
    }

    /// The repository's present name and the commit of the revision.
    pub fn info(&self, wanted: &HubWanted, revision: &str, stop: Stop) -> Result<Info> {
        let place = Place::of(wanted, &self.settings);
        let repo = repo(wanted, revision);
        let address = format!("{}/api/{}", self.settings.endpoint, repo.api_url());
        let api = self.api.repo(repo);
        let response = self.try_often(&address, stop, || {
            let request = api.info_request().config().http_status_as_error(false);
            request
                .timeout_connect(Some(self.settings.patience))
                .timeout_per_read(Some(self.settings.patience))
                .build()
                .call()
        })?;
        let value = match response.status().as_u16() {
            200 => json(response, &address)?,
            _ => return Err(self.refusal(response, &place, Asked::Revision(revision), &address, wanted, stop)),
        };
        let word = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_string);
        match (word("id"), word("sha")) {
            (Some(id), Some(commit)) if commit.len() == 40 && commit.bytes().all(|b| b.is_ascii_hexdigit()) => {
                Ok(Info { id, commit })
            }
            _ => Err(Problem::NoHub { address, why: "its answer names no `id` and no commit (`sha`)".to_string() }),
        }
    }

    /// Every file of the repository at a commit, in the order of their paths.
    pub fn tree(&self, wanted: &HubWanted, commit: &str, stop: Stop) -> Result<Vec<RemoteFile>> {
        let place = Place::of(wanted, &self.settings);
        let id = &wanted.id;
        let mut address =
            format!("{}/api/{}/{id}/tree/{commit}?recursive=true", self.settings.endpoint, wanted.repository.plural());
        let mut files = Vec::new();
        for _ in 0..PAGES {
            let (response, _) = self.follow("GET", &address, stop)?;
            if response.status() != 200 {
                return Err(self.refusal(response, &place, Asked::Revision(commit), &address, wanted, stop));
            }
            let next = next_page(&response);
            let value = json(response, &address)?;
            let page = RemoteFile::page(&value).ok_or_else(|| Problem::NoHub {
                address: address.clone(),
                why: "its answer is no list of files".to_string(),
            })?;
            files.extend(page);
            match next {
                Some(next) => address = self.absolute(&address, &next)?,
                None => break,
            }
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(files)
    }

    /// Names of branches and tags; none when they cannot be had.
    fn references(&self, wanted: &HubWanted, stop: Stop) -> Vec<String> {
        let address = format!("{}/api/{}/{}/refs", self.settings.endpoint, wanted.repository.plural(), wanted.id);
        let Ok((response, _)) = self.follow("GET", &address, stop) else { return Vec::new() };
        let Some(value) = Some(response).filter(|r| r.status() == 200).and_then(|r| json(r, &address).ok()) else {
            return Vec::new();
        };
        let names = ["branches", "tags"].into_iter().filter_map(|kind| value.get(kind)?.as_array().cloned());
        names.flatten().filter_map(|entry| Some(entry.get("name")?.as_str()?.to_string())).collect()
    }

    /// What a file is and where its bytes are.
    pub fn head(&self, wanted: &HubWanted, commit: &str, path: &str, stop: Stop) -> Result<Head> {
        let place = Place::of(wanted, &self.settings);
        let address = self.file_address(wanted, commit, path);
        let (response, address) = self.follow("HEAD", &address, stop)?;
        let status = response.status().as_u16();
        if status != 200 && !response.status().is_redirection() {
            return Err(self.refusal(response, &place, Asked::File { path, commit }, &address, wanted, stop));
        }
        let no_hub = |why: &str| Problem::NoHub { address: address.clone(), why: why.to_string() };
        if header(&response, "x-repo-commit").is_none() {
            return Err(no_hub("its answer has no X-Repo-Commit"));
        }
        let etag = header(&response, "x-linked-etag").or_else(|| header(&response, "etag")).map(|tag| plain_tag(&tag));
        let etag = etag.filter(|tag| is_file_name(tag)).ok_or_else(|| no_hub("its answer has no ETag"))?;
        let size = match header(&response, "x-linked-size") {
            None if status == 200 => header(&response, "content-length"),
            linked => linked,
        };
        let location = match header(&response, "location") {
            Some(to) => self.absolute(&address, &to)?,
            None => address,
        };
        let trusted = self.is_same_host(&location);
        Ok(Head { etag, bytes: size.and_then(|s| s.parse().ok()), location, trusted })
    }

    /// The bytes from `start` on; the status is 200 when the server sends all of them instead, and 206 when it does as asked.
    pub fn bytes(&self, head: &Head, start: u64) -> std::result::Result<Response<Body>, ureq::Error> {
        let mut request = self.agent.get(&head.location);
        if start > 0 {
            request = request.header("Range", format!("bytes={start}-"));
        }
        if let (true, Some(token)) = (head.trusted, &self.settings.token) {
            request = request.header("Authorization", format!("Bearer {}", token.text));
        }
        let _ = self.asked.set(());
        request.config().max_redirects(if head.trusted { 0 } else { 5 }).build().call()
    }

    fn file_address(&self, wanted: &HubWanted, commit: &str, path: &str) -> String {
        let path: Vec<String> = path.split('/').map(encoded).collect();
        self.api.repo(repo(wanted, commit)).url(&path.join("/"))
    }

    /// Asks, with the token where that is the hub itself, and follows redirects as long as they stay within the hub; with the address that answered.
    fn follow(&self, method: &str, address: &str, stop: Stop) -> Result<(Response<Body>, String)> {
        let mut address = address.to_string();
        for _ in 0..=REDIRECTS {
            let response = self.try_often(&address, stop, || {
                let mut request = if method == "HEAD" { self.agent.head(&address) } else { self.agent.get(&address) };
                if let Some(token) = self.settings.token.as_ref().filter(|_| self.is_same_host(&address)) {
                    request = request.header("Authorization", format!("Bearer {}", token.text));
                }
                request.call()
            })?;
            // Bytes of large files are elsewhere; such an answer says so by the hash of what is linked.
            let linked = header(&response, "x-linked-etag").is_some();
            match header(&response, "location").filter(|_| response.status().is_redirection() && !linked) {
                Some(to) => {
                    let next = self.absolute(&address, &to)?;
                    if !self.is_same_host(&next) {
                        return Err(Problem::NoHub { address, why: format!("it sends elsewhere, to {next}") });
                    }
                    address = next;
                }
                None => return Ok((response, address)),
            }
        }
        Err(Problem::NoHub { address, why: "it redirects for ever".to_string() })
    }

    /// Makes a request again while nobody answers or the hub is busy.
    fn try_often(
        &self,
        address: &str,
        stop: Stop,
        request: impl Fn() -> std::result::Result<Response<Body>, ureq::Error>,
    ) -> Result<Response<Body>> {
        let _ = self.asked.set(());
        let mut attempt = 1;
        loop {
            let answer = request();
            let again = match &answer {
                Ok(response) => matches!(response.status().as_u16(), 429 | 500 | 502 | 503 | 504),
                Err(error) => is_passing(error),
            };
            if !again || attempt == TRIES {
                return answer.map_err(|error| self.unreachable(address, &error));
            }
            wait(attempt, stop)?;
            attempt += 1;
        }
    }

    fn unreachable(&self, address: &str, error: &ureq::Error) -> Problem {
        match error {
            ureq::Error::Protocol(_) | ureq::Error::LargeResponseHeader(..) => {
                Problem::NoHub { address: address.to_string(), why: plain_error(error) }
            }
            _ => Problem::Unreachable { address: self.settings.endpoint.clone(), why: plain_error(error) },
        }
    }

    /// What an answer means that is not the wanted one.
    fn refusal(
        &self,
        response: Response<Body>,
        place: &Place,
        asked: Asked<'_>,
        address: &str,
        wanted: &HubWanted,
        stop: Stop,
    ) -> Problem {
        let status = response.status().as_u16();
        let code = header(&response, "x-error-code").unwrap_or_default();
        let said = header(&response, "x-error-message").unwrap_or_default();
        let no_revision = |revision: &str| Problem::NoRevision {
            place: place.clone(),
            revision: revision.to_string(),
            known: self.references(wanted, stop),
        };
        match (status, code.as_str(), asked) {
            (_, "GatedRepo", _) => Problem::Gated(place.clone()),
            (401, _, _) if said.contains("Invalid credentials") => Problem::BadToken(place.clone()),
            (_, "RepoNotFound", _) => Problem::Missing(place.clone()),
            (_, "RevisionNotFound", Asked::Revision(revision) | Asked::File { commit: revision, .. }) => {
                no_revision(revision)
            }
            (_, "EntryNotFound", Asked::File { path, commit }) => {
                Problem::NoFile { place: place.clone(), path: path.to_string(), commit: commit.to_string() }
            }
            // Without a token the hub does not tell missing repositories from private ones.
            (401, ..) => Problem::Missing(place.clone()),
            (403, ..) if said.contains("disabled") => Problem::Busy { address: address.to_string(), status, why: said },
            (403, ..) => Problem::Gated(place.clone()),
            (404, _, Asked::File { path, commit }) => {
                Problem::NoFile { place: place.clone(), path: path.to_string(), commit: commit.to_string() }
            }
            (404, ..) => Problem::Missing(place.clone()),
            (429 | 500..=599, ..) => {
                let why = if said.is_empty() {
                    response.status().canonical_reason().unwrap_or("it fails").to_string()
                } else {
                    said
                };
                Problem::Busy { address: address.to_string(), status, why: why.to_lowercase() }
            }
            _ => Problem::NoHub {
                address: address.to_string(),
                why: format!("the status of its answer is {status} {said}").trim_end().to_string(),
            },
        }
    }

    fn absolute(&self, base: &str, to: &str) -> Result<String> {
        let odd =
            || Problem::NoHub { address: base.to_string(), why: format!("it sends to `{to}`, which is no address") };
        let uri: Uri = to.parse().map_err(|_| odd())?;
        if uri.host().is_some() {
            return Ok(to.to_string());
        }
        let base: Uri = base.parse().map_err(|_| odd())?;
        let (Some(scheme), Some(authority)) = (base.scheme_str(), base.authority()) else { return Err(odd()) };
        Ok(format!("{scheme}://{authority}{}", if to.starts_with('/') { to.to_string() } else { format!("/{to}") }))
    }

    fn is_same_host(&self, address: &str) -> bool {
        address.parse::<Uri>().is_ok_and(|uri| {
            uri.authority().map(|a| a.as_str()) == self.endpoint.authority().map(|a| a.as_str())
                && uri.scheme() == self.endpoint.scheme()
        })
    }
}

/// What was asked for, to say what is missing.
#[derive(Clone, Copy)]
enum Asked<'a> {
    Revision(&'a str),
    File { path: &'a str, commit: &'a str },
}

/// The repository as hf-hub names it.
pub fn repo(wanted: &HubWanted, revision: &str) -> Repo {
    let kind = match wanted.repository {
        Repository::Model => RepoType::Model,
        Repository::Dataset => RepoType::Dataset,
    };
    Repo::with_revision(wanted.id.clone(), kind, revision.to_string())
}

/// Waits a little longer each time, and stops waiting when asked to.
pub fn wait(attempt: u32, stop: Stop) -> Result<()> {
    let until = std::time::Instant::now() + Duration::from_millis(250) * 2u32.pow(attempt.min(5));
    while std::time::Instant::now() < until {
        if stop() {
            return Err(Problem::Stopped);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// True for what may be over in a moment.
fn is_passing(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::Timeout(_) => true,
        ureq::Error::Io(error) => error.kind() != std::io::ErrorKind::ConnectionRefused,
        _ => false,
    }
}

/// An error of the agent in plain words.
pub fn plain_error(error: &ureq::Error) -> String {
    match error {
        ureq::Error::HostNotFound => "its name is not known to the network".to_string(),
        ureq::Error::Timeout(_) => "it did not answer in time".to_string(),
        ureq::Error::Io(error) => plain_io(error),
        other => other.to_string(),
    }
}

/// An error of a connection in plain words.
pub fn plain_io(error: &std::io::Error) -> String {
    use std::io::ErrorKind;
    match error.kind() {
        ErrorKind::ConnectionRefused => "it refuses the connection".to_string(),
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe => "it was cut".to_string(),
        ErrorKind::UnexpectedEof => "it ended early".to_string(),
        ErrorKind::TimedOut | ErrorKind::WouldBlock => "nothing came for a while".to_string(),
        _ => match error.get_ref().and_then(|inner| inner.downcast_ref::<ureq::Error>()) {
            Some(ureq::Error::Timeout(_)) => "nothing came for a while".to_string(),
            Some(inner) => inner.to_string(),
            None => error.to_string(),
        },
    }
}

fn header(response: &Response<Body>, name: &str) -> Option<String> {
    response.headers().get(name)?.to_str().ok().map(str::to_string)
}

/// `W/"abc"` is `abc`.
fn plain_tag(tag: &str) -> String {
    tag.trim().trim_start_matches("W/").trim_matches('"').to_string()
}

fn is_file_name(tag: &str) -> bool {
    !tag.is_empty() && tag.len() < 200 && tag.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

/// One part of a path within an address.
fn encoded(part: &str) -> String {
    let keep = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~');
    part.bytes().map(|b| if keep(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

/// `<https://..>; rel="next"`.
fn next_page(response: &Response<Body>) -> Option<String> {
    let link = header(response, "link")?;
    let next = link.split(',').find(|part| part.contains("rel=\"next\""))?;
    Some(next.split_once('<')?.1.split_once('>')?.0.to_string())
}

fn json(mut response: Response<Body>, address: &str) -> Result<Value> {
    let no_hub = |why: String| Problem::NoHub { address: address.to_string(), why };
    let text = response.body_mut().with_config().limit(LONGEST_ANSWER).read_to_vec();
    let text = text.map_err(|e| no_hub(plain_error(&e)))?;
    serde_json::from_slice(&text).map_err(|_| no_hub("its answer is not JSON".to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_addresses() {
        assert_eq!(encoded("a b#1%.txt"), "a%20b%231%25.txt");
        assert_eq!(encoded("ä"), "%C3%A4");
        assert_eq!(plain_tag("W/\"ab\""), "ab");
        assert!(is_file_name("0f") && !is_file_name("../x") && !is_file_name(""));
    }

    #[test]
    fn an_endpoint_has_a_scheme_and_a_host() {
        for endpoint in ["huggingface.co", "ftp://x", "http://", "", "http://a b"] {
            let settings = Settings { endpoint: endpoint.to_string(), ..Settings::from_env("/cache".into(), None) };
            assert!(matches!(Client::new(settings), Err(Problem::BadEndpoint { .. })), "{endpoint}");
        }
    }
}
