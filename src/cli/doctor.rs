//! `xd doctor`: what this machine offers and where things are kept.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::progress::bytes;
use super::session::{ended, store_folder};
use super::{Format, Status};
use crate::exec::device::Device;
use crate::exec::hub::Hub;
use crate::exec::{Store, limits};
use crate::ml::cuda;

/// Arguments of `xd doctor`.
#[derive(clap::Args, Debug)]
pub struct DoctorArgs {
    /// Where artifacts are kept [default: $XD_STORE or .xd/store].
    #[arg(long, value_name = "DIR")]
    pub store: Option<PathBuf>,
    /// How to report: for people, one line each, or JSON.
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// Runs the verb.
pub fn run(args: &DoctorArgs) -> ExitCode {
    let device = Device::measure();
    let folder = store_folder(args.store.as_ref());
    let store = match Store::open(&folder) {
        Ok(store) => store,
        Err(error) => return ended(Status::Failed, &format!("the store cannot be opened: {error}")),
    };
    let (artifacts, begun) = count(&store);
    let disk = limits::free_disk(store.root());
    let memory = limits::free_memory();
    let hub = super::hub::of_machine();
    let cached = Cached::count(&hub.settings().cache);
    if matches!(args.format, Format::Json) {
        let settings = hub.settings();
        let value = serde_json::json!({
            "hub": {
                "endpoint": settings.endpoint, "offline": settings.offline, "cache": settings.cache,
                "token_from": settings.token.as_ref().map(|t| &t.source), "repositories": cached.repositories,
                "cache_bytes": cached.bytes, "incomplete": cached.incomplete,
            },
            "device": device.name, "flops": device.flops, "bandwidth": device.bandwidth, "store": store.root(), "artifacts": artifacts,
            "begun": begun, "disk_free_bytes": disk, "memory_free_bytes": memory, "cuda": cards(),
        });
        say!("{}", serde_json::to_string_pretty(&value).unwrap_or_default());
        return ExitCode::SUCCESS;
    }
    let amount = |count: Option<u64>| count.map(bytes).unwrap_or_else(|| "unknown".to_string());
    let (flops, bandwidth) = (device.flops / 1e9, device.bandwidth / 1e9);
    say!("device  {}, {flops:.0} GFLOP/s in f32 products, {bandwidth:.1} GB/s of memory", device.name);
    print_cards();
    say!("memory  {} free", amount(memory));
    say!("store   {}, {artifacts} artifacts, {begun} begun and not finished", store.root().display());
    say!("disk    {} free there", amount(disk));
    print_hub(&hub, &cached);
    ExitCode::SUCCESS
}

/// For JSON: the cards, or what is missing.
fn cards() -> serde_json::Value {
    match cuda::cards() {
        Ok(cards) => serde_json::json!({"usable": true, "cards": cards}),
        Err(problem) => {
            serde_json::json!({"usable": false, "cards": [], "problem": problem.to_string(), "help": problem.help()})
        }
    }
}

fn print_cards() {
    match cuda::cards() {
        Ok(cards) => {
            for card in cards {
                let (free, all) = (bytes(card.free), bytes(card.memory));
                say!("cuda:{}  {}, sm {}, {free} of {all} free", card.number, card.name, card.capability);
            }
        }
        Err(problem) => {
            say!("cuda    {problem}");
            say!("        {}", problem.help());
        }
    }
}

fn print_hub(hub: &Hub, cached: &Cached) {
    let settings = hub.settings();
    let token = match &settings.token {
        Some(token) => format!("token from {}", token.source),
        None => "no token (gated and private repositories cannot be read)".to_string(),
    };
    let offline = if settings.offline { "; offline (HF_HUB_OFFLINE)" } else { "" };
    say!("hub     {}, {token}{offline}", settings.endpoint);
    let plural = if cached.repositories == 1 { "repository" } else { "repositories" };
    let incomplete = match cached.incomplete {
        0 => String::new(),
        1 => ", 1 file begun and not finished".to_string(),
        n => format!(", {n} files begun and not finished"),
    };
    let size = bytes(cached.bytes);
    say!("cache   {}, {} {plural}, {size}{incomplete}", settings.cache.display(), cached.repositories);
}

/// What the cache of the hub holds.
#[derive(Default)]
struct Cached {
    repositories: usize,
    bytes: u64,
    incomplete: usize,
}

impl Cached {
    fn count(cache: &Path) -> Self {
        let mut cached = Cached::default();
        for entry in std::fs::read_dir(cache).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if !["models--", "datasets--", "spaces--"].iter().any(|kind| name.starts_with(kind)) {
                continue;
            }
            cached.repositories += 1;
            for blob in std::fs::read_dir(entry.path().join("blobs")).into_iter().flatten().flatten() {
                cached.bytes += blob.metadata().map_or(0, |facts| facts.len());
                cached.incomplete += usize::from(blob.path().extension().is_some_and(|e| e == "incomplete"));
            }
        }
        cached
    }
}

/// Finished and unfinished artifacts of a store.
fn count(store: &Store) -> (usize, usize) {
    let shelves = std::fs::read_dir(store.root()).into_iter().flatten().flatten();
    let names: Vec<String> = shelves
        .filter(|shelf| shelf.file_name().len() == 2)
        .flat_map(|shelf| std::fs::read_dir(shelf.path()).into_iter().flatten().flatten())
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    let begun = names.iter().filter(|name| name.ends_with(".work")).count();
    (names.len() - begun, begun)
}
