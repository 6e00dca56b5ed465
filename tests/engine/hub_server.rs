//! A hub on a real socket: the API, files with ETags and ranges, large files elsewhere, refusals, renames, connections that
//! break. Everything that it is asked is written down.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

/// Files of at least so many bytes are in large storage, known by their sha256 and served from another path.
const LARGE: usize = 20_000;
/// Entries of one page of a listing.
const PAGE: usize = 4;
/// The token that the server knows.
pub const TOKEN: &str = "hf_test";

/// A request as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    pub method: String,
    pub path: String,
    pub range: Option<String>,
    pub token: bool,
}

/// A repository: its commits, newest last, and what stands in the way.
#[derive(Clone, Debug, Default)]
pub struct Repo {
    commits: Vec<(String, BTreeMap<String, Vec<u8>>)>,
    revisions: BTreeMap<String, String>,
    pub gated: bool,
    pub private: bool,
}

impl Repo {
    /// With one commit, on `main`.
    pub fn new(files: &[(&str, Vec<u8>)]) -> Self {
        let mut repo = Repo::default();
        repo.commit("main", files);
        repo
    }

    /// A new commit that these files replace files of; the branch points to it.
    pub fn commit(&mut self, branch: &str, files: &[(&str, Vec<u8>)]) -> String {
        let mut all = self.commits.last().map(|(_, files)| files.clone()).unwrap_or_default();
        all.extend(files.iter().map(|(path, content)| (path.to_string(), content.clone())));
        let mut hasher = blake3::Hasher::new();
        hasher.update(&(self.commits.len() as u64).to_le_bytes());
        all.iter().for_each(|(path, content)| {
            hasher.update(path.as_bytes());
            hasher.update(content);
        });
        let commit = hasher.finalize().to_hex().to_string()[..40].to_string();
        self.commits.push((commit.clone(), all));
        self.revisions.insert(branch.to_string(), commit.clone());
        commit
    }

    fn find(&self, revision: &str) -> Option<&(String, BTreeMap<String, Vec<u8>>)> {
        let commit = self.revisions.get(revision).map_or(revision, String::as_str);
        self.commits.iter().find(|(c, _)| c == commit)
    }
}

#[derive(Default)]
struct State {
    /// By `models/ID` and `datasets/ID`.
    repos: BTreeMap<String, Repo>,
    /// Old name to new.
    renamed: BTreeMap<String, String>,
    /// Of a file's path: after so many bytes the connection is closed, once for each number.
    cuts: BTreeMap<String, Vec<usize>>,
    /// Paths whose bytes are changed on the way.
    spoiled: Vec<String>,
    /// Paths that answer 200 with everything, whatever range was asked for.
    rangeless: Vec<String>,
    /// Sizes that are told in place of the real ones.
    inflated: BTreeMap<String, u64>,
    /// Bytes of large files are on another host, as on the hub, and not only under another path.
    elsewhere: bool,
    /// Small files are sent for to `/api/resolve-cache`, as on the hub; whether that answer tells what is linked, too.
    cached: Option<bool>,
    /// Answers to the next requests, whatever they are.
    failing: Vec<u16>,
    /// Pause between pieces of a body.
    slow: Option<Duration>,
    asked: Vec<Asked>,
}

/// A hub that lives as long as it is held.
pub struct HubServer {
    pub address: String,
    state: Arc<Mutex<State>>,
}

impl HubServer {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let state: Arc<Mutex<State>> = Arc::default();
        let shared = state.clone();
        let own = address.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (state, own) = (shared.clone(), own.clone());
                std::thread::spawn(move || {
                    // A client that goes away is its own business.
                    let _ = answer(stream, &state, &own);
                });
            }
        });
        HubServer { address, state }
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap())
    }

    /// Adds or replaces a repository; `name` is `models/ID` or `datasets/ID`.
    pub fn put(&self, name: &str, repo: Repo) {
        self.with(|state| state.repos.insert(name.to_string(), repo));
    }

    /// Changes a repository.
    pub fn change<T>(&self, name: &str, change: impl FnOnce(&mut Repo) -> T) -> T {
        self.with(|state| change(state.repos.get_mut(name).unwrap()))
    }

    pub fn rename(&self, old: &str, new: &str) {
        self.with(|state| {
            let repo = state.repos.remove(old).unwrap();
            state.repos.insert(new.to_string(), repo);
            state.renamed.insert(old.to_string(), new.to_string());
        });
    }

    pub fn cut(&self, path: &str, after: &[usize]) {
        self.with(|state| state.cuts.insert(path.to_string(), after.iter().rev().copied().collect()));
    }

    pub fn spoil(&self, path: &str, on: bool) {
        self.with(|state| {
            state.spoiled.retain(|p| p != path);
            if on {
                state.spoiled.push(path.to_string());
            }
        });
    }

    pub fn without_ranges(&self, path: &str) {
        self.with(|state| state.rangeless.push(path.to_string()));
    }

    /// Sends to another host for the bytes of large files.
    pub fn elsewhere(&self) {
        self.with(|state| state.elsewhere = true);
    }

    /// Sends to `/api/resolve-cache` for small files, with or without X-Linked headers.
    pub fn resolve_cache(&self, linked: bool) {
        self.with(|state| state.cached = Some(linked));
    }

    /// Tells another size of a large file.
    pub fn inflate(&self, path: &str, bytes: u64) {
        self.with(|state| state.inflated.insert(path.to_string(), bytes));
    }

    /// The next requests fail with these.
    pub fn fail(&self, statuses: &[u16]) {
        self.with(|state| state.failing = statuses.iter().rev().copied().collect());
    }

    pub fn slow(&self, pause: Duration) {
        self.with(|state| state.slow = Some(pause));
    }

    /// What was asked since the last time.
    pub fn asked(&self) -> Vec<Asked> {
        self.with(|state| std::mem::take(&mut state.asked))
    }
}

/// sha256 in hex.
pub fn sha256(content: &[u8]) -> String {
    hex(ring::digest::digest(&ring::digest::SHA256, content).as_ref())
}

/// git's hash of a file in hex.
pub fn git_hash(content: &[u8]) -> String {
    let mut all = format!("blob {}\0", content.len()).into_bytes();
    all.extend_from_slice(content);
    hex(ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, &all).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

struct Request {
    method: String,
    path: String,
    query: String,
    range: Option<usize>,
    token: Option<String>,
}

fn answer(mut stream: TcpStream, state: &Mutex<State>, own: &str) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace();
    let (method, target) = (words.next().unwrap_or("").to_string(), words.next().unwrap_or("").to_string());
    let (mut range, mut token) = (None, None);
    loop {
        let mut header = String::new();
        if reader.read_line(&mut header)? == 0 || header.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = header.split_once(':') {
            match name.to_lowercase().as_str() {
                "range" => range = Some(value.trim().to_string()),
                "authorization" => token = Some(value.trim().trim_start_matches("Bearer ").to_string()),
                _ => {}
            }
        }
    }
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let from = range.as_ref().and_then(|r| r.strip_prefix("bytes=")?.split('-').next()?.parse().ok());
    let request = Request { method, path: decoded(path), query: query.to_string(), range: from, token };
    let reply = {
        let mut state = state.lock().unwrap();
        state.asked.push(Asked {
            method: request.method.clone(),
            path: request.path.clone(),
            range,
            token: request.token.is_some(),
        });
        match state.failing.pop() {
            Some(status) => Reply::empty(status),
            None => route(&mut state, &request, own),
        }
    };
    let slow = state.lock().unwrap().slow;
    let mut head =
        format!("HTTP/1.1 {} X\r\nConnection: close\r\nContent-Length: {}\r\n", reply.status, reply.body.len());
    reply.headers.iter().for_each(|(name, value)| head += &format!("{name}: {value}\r\n"));
    stream.write_all(format!("{head}\r\n").as_bytes())?;
    if request.method == "HEAD" {
        return Ok(());
    }
    let body = &reply.body[..reply.cut.unwrap_or(reply.body.len()).min(reply.body.len())];
    for piece in body.chunks(64 << 10) {
        stream.write_all(piece)?;
        slow.into_iter().for_each(std::thread::sleep);
    }
    stream.flush()?;
    if reply.cut.is_none() {
        // Until the client has read everything: closing at once could throw away what is still on the way.
        stream.shutdown(std::net::Shutdown::Write)?;
        let _ = stream.read(&mut [0; 1]);
    }
    Ok(())
}

fn decoded(path: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = path.bytes();
    while let Some(byte) = rest.next() {
        let digit = |b: Option<u8>| b.and_then(|b| (b as char).to_digit(16)).unwrap_or(0) as u8;
        bytes.push(if byte == b'%' { digit(rest.next()) * 16 + digit(rest.next()) } else { byte });
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[derive(Default)]
struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    cut: Option<usize>,
}

impl Reply {
    fn empty(status: u16) -> Self {
        Reply { status, ..Reply::default() }
    }

    fn json(value: &Value) -> Self {
        Reply { status: 200, body: value.to_string().into_bytes(), ..Reply::default() }
            .with("Content-Type", "application/json")
    }

    fn error(status: u16, code: &str, message: &str) -> Self {
        let body = json!({ "error": message }).to_string().into_bytes();
        Reply { status, body, ..Reply::default() }.with("X-Error-Code", code).with("X-Error-Message", message)
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_string(), value.to_string()));
        self
    }
}

fn route(state: &mut State, request: &Request, own: &str) -> Reply {
    if let Some(name) = request.path.strip_prefix("/cdn/") {
        let content = state.repos.values().flat_map(|r| &r.commits).flat_map(|(_, files)| files);
        let found = content.map(|(path, content)| (path.clone(), content.clone())).find(|(_, c)| sha256(c) == name);
        return match found {
            Some((path, content)) => bytes(state, &path, &content, request, Reply::empty(200)),
            None => Reply::empty(404),
        };
    }
    if let Some(rest) = request.path.strip_prefix("/api/resolve-cache/") {
        let mut repos = state.repos.iter();
        let found = repos.find_map(|(name, repo)| Some((repo, rest.strip_prefix(&format!("{name}/"))?)));
        let parts = found.and_then(|(repo, tail)| Some((repo, tail.split_once('/')?)));
        let file = parts.and_then(|(repo, (commit, path))| Some((repo.find(commit)?, path)));
        let Some(((commit, files), path)) = file.map(|(found, path)| (found.clone(), path)) else {
            return Reply::empty(404);
        };
        let Some(content) = files.get(path) else { return Reply::empty(404) };
        let head = Reply::empty(200).with("X-Repo-Commit", &commit).with("ETag", &format!("\"{}\"", git_hash(content)));
        return bytes(state, path, content, request, head);
    }
    let (is_api, rest) = match request.path.strip_prefix("/api/") {
        Some(rest) => (true, rest.to_string()),
        None => (false, request.path.trim_start_matches('/').to_string()),
    };
    let full = if is_api || rest.starts_with("datasets/") { rest } else { format!("models/{rest}") };
    let names: Vec<String> = state.repos.keys().chain(state.renamed.keys()).cloned().collect();
    let Some(name) = names.into_iter().find(|name| full == **name || full.starts_with(&format!("{name}/"))) else {
        return Reply::error(401, "RepoNotFound", "Repository not found");
    };
    let tail = full[name.len()..].trim_start_matches('/').to_string();
    if let Some(new) = state.renamed.get(&name) {
        let target = if is_api { format!("/api/{new}") } else { format!("/{}", new.trim_start_matches("models/")) };
        let query = if request.query.is_empty() { String::new() } else { format!("?{}", request.query) };
        // A revision with a slash stays one part of the path.
        let tail = tail.replace("refs/convert/parquet", "refs%2Fconvert%2Fparquet");
        return Reply::empty(307).with("Location", &format!("{target}/{tail}{query}"));
    }
    let repo = state.repos[&name].clone();
    let known = request.token.as_deref() == Some(TOKEN);
    if request.token.is_some() && !known {
        return Reply::error(401, "", "Invalid credentials in Authorization header");
    }
    if repo.private && !known {
        return Reply::error(401, "RepoNotFound", "Repository not found");
    }
    if is_api {
        return api(&repo, &state.inflated, &name, &tail, request, own);
    }
    let Some(file) = tail.strip_prefix("resolve/") else { return Reply::empty(404) };
    let mut revisions = repo.revisions.keys().cloned().chain(repo.commits.iter().map(|(c, _)| c.clone()));
    let Some(revision) = revisions.find(|r| file.starts_with(&format!("{r}/"))) else {
        return Reply::error(404, "RevisionNotFound", "Invalid rev id");
    };
    let path = &file[revision.len() + 1..];
    if repo.gated && !known {
        return Reply::error(401, "GatedRepo", "Access to this repository is restricted");
    }
    let Some((commit, files)) = repo.find(&revision) else { return Reply::empty(404) };
    let Some(content) = files.get(path) else {
        return Reply::error(404, "EntryNotFound", "Entry not found").with("X-Repo-Commit", commit);
    };
    if content.len() >= LARGE {
        let hash = sha256(content);
        // The same server under another name.
        let host = if state.elsewhere { own.replace("127.0.0.1", "localhost") } else { String::new() };
        return Reply::empty(302)
            .with("Location", &format!("{host}/cdn/{hash}"))
            .with("X-Repo-Commit", commit)
            .with("X-Linked-Size", &state.inflated.get(path).copied().unwrap_or(content.len() as u64).to_string())
            .with("X-Linked-ETag", &format!("\"{hash}\""));
    }
    let tag = format!("\"{}\"", git_hash(content));
    if let Some(linked) = state.cached {
        let target = format!("/api/resolve-cache/{name}/{commit}/{path}");
        let reply = Reply::empty(307).with("Location", &target).with("X-Repo-Commit", commit);
        return match linked {
            true => reply.with("X-Linked-Size", &content.len().to_string()).with("X-Linked-ETag", &tag),
            false => reply,
        };
    }
    let head = Reply::empty(200).with("X-Repo-Commit", commit).with("ETag", &tag);
    bytes(state, path, content, request, head)
}

fn bytes(state: &mut State, path: &str, content: &[u8], request: &Request, mut reply: Reply) -> Reply {
    let mut content = content.to_vec();
    if state.spoiled.iter().any(|p| p == path) {
        let last = content.len() - 1;
        content[last] ^= 1;
    }
    let start = request.range.filter(|_| !state.rangeless.iter().any(|p| p == path)).unwrap_or(0);
    if start > content.len() {
        return Reply::empty(416);
    }
    if start > 0 {
        reply.status = 206;
        let range = format!("bytes {start}-{}/{}", content.len() - 1, content.len());
        reply = reply.with("Content-Range", &range);
    }
    if request.method == "GET" {
        reply.cut = state.cuts.get_mut(path).and_then(Vec::pop);
    }
    reply.body = content[start..].to_vec();
    reply.with("Accept-Ranges", "bytes")
}

fn api(repo: &Repo, sizes: &BTreeMap<String, u64>, name: &str, tail: &str, request: &Request, own: &str) -> Reply {
    let id = name.split_once('/').unwrap().1;
    if tail == "refs" {
        let branches: Vec<Value> =
            repo.revisions.iter().map(|(name, commit)| json!({"name": name, "targetCommit": commit})).collect();
        return Reply::json(&json!({"branches": branches, "converts": [], "tags": []}));
    }
    let listing = tail.strip_prefix("tree/");
    let revision = listing.or_else(|| tail.strip_prefix("revision/")).unwrap_or("main");
    let Some((commit, files)) = repo.find(revision) else {
        return Reply::error(404, "RevisionNotFound", &format!("Invalid rev id: {revision}"));
    };
    if listing.is_none() {
        let siblings: Vec<Value> = files.keys().map(|path| json!({"rfilename": path})).collect();
        let facts = json!({
            "id": id, "modelId": id, "sha": commit, "gated": if repo.gated { json!("manual") } else { json!(false) },
            "private": repo.private, "siblings": siblings, "tags": [], "downloads": 0, "likes": 0, "disabled": false,
        });
        return Reply::json(&facts);
    }
    let entries: Vec<Value> = files
        .iter()
        .map(|(path, content)| match content.len() >= LARGE {
            true => {
                let size = sizes.get(path).copied().unwrap_or(content.len() as u64);
                json!({"type": "file", "oid": git_hash(b"pointer"), "size": size, "path": path,
                       "lfs": {"oid": sha256(content), "size": size, "pointerSize": 134}})
            }
            false => json!({"type": "file", "oid": git_hash(content), "size": content.len(), "path": path}),
        })
        .collect();
    let page: usize = request.query.split('&').find_map(|part| part.strip_prefix("cursor=")?.parse().ok()).unwrap_or(0);
    let reply = Reply::json(&json!(entries.chunks(PAGE).nth(page).unwrap_or_default()));
    match (page + 1) * PAGE < entries.len() {
        true => {
            let next = format!("<{own}/api/{name}/tree/{commit}?recursive=true&cursor={}>; rel=\"next\"", page + 1);
            reply.with("Link", &next)
        }
        false => reply,
    }
}
