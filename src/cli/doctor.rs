//! `xd doctor`: what this machine offers and where things are kept.

use std::path::PathBuf;
use std::process::ExitCode;

use super::progress::bytes;
use super::session::{ended, store_folder};
use super::{Format, Status};
use crate::exec::device::Device;
use crate::exec::{Store, limits};

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
    if matches!(args.format, Format::Json) {
        let value = serde_json::json!({
            "device": device.name, "flops": device.flops, "store": store.root(), "artifacts": artifacts,
            "begun": begun, "disk_free_bytes": disk, "memory_free_bytes": memory, "cuda": false,
        });
        say!("{}", serde_json::to_string_pretty(&value).unwrap_or_default());
        return ExitCode::SUCCESS;
    }
    let amount = |count: Option<u64>| count.map(bytes).unwrap_or_else(|| "unknown".to_string());
    say!("device  {}, {:.0} GFLOP/s in f32 products", device.name, device.flops / 1e9);
    say!("cuda    not in this build");
    say!("memory  {} free", amount(memory));
    say!("store   {}, {artifacts} artifacts, {begun} begun and not finished", store.root().display());
    say!("disk    {} free there", amount(disk));
    ExitCode::SUCCESS
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
