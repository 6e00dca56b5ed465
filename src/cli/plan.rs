//! `xd plan FILE`: the steps in order, each cached or to do and why, with tokens, disk, memory and time on this machine.

use std::process::ExitCode;

use serde_json::json;

use super::device::{DeviceArgs, Refusal, with_card};
use super::hub_cache;
use super::progress::{bytes, duration, thousands};
use super::session::{Loaded, Session, SessionArgs, ended};
use super::{Format, Status as Ended};
use crate::exec::card_memory::{self, CardNeed};
use crate::exec::device::Device;
use crate::exec::status::{Status, status};
use crate::exec::{Store, hub, limits};
use crate::lang::plan::{Plan, Spec, Step};
use crate::ml::cuda::CardInfo;

/// Arguments of `xd plan`.
#[derive(clap::Args, Debug)]
pub struct PlanArgs {
    #[command(flatten)]
    pub session: SessionArgs,
    #[command(flatten)]
    pub device: DeviceArgs,
    /// Say what the file takes of a card with so much free memory, such as 80GB, which need not be in this machine.
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub card_memory: Option<u64>,
    /// How to report: for people, one line each, or JSON.
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// Runs the verb.
pub fn run(args: &PlanArgs) -> ExitCode {
    let Loaded { plan, session } = match Session::load(&args.session, args.format) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    let statuses = match status(&plan, &session.store, &session.experiment) {
        Ok(statuses) => statuses,
        Err(error) => return ended(Ended::Failed, &error.to_string()),
    };
    let card = args.device.look();
    let name = card.as_ref().ok().and_then(Option::as_ref).map(|card| format!("cuda:{}, {}", card.number, card.name));
    let device = with_card(Device::measure(), name.as_deref());
    let totals = Totals::of(&plan, &statuses, &device);
    let room = CardRoom::of(args.card_memory, card.as_ref().ok().and_then(Option::as_ref));
    let needs = room.as_ref().map_or_else(Vec::new, |room| room.needs(&plan, &session.store, &statuses));
    let mut refusals = refusals(&totals, session.store.root());
    refusals.extend(room.and_then(|room| room.refusal(&plan, &needs)));
    refusals.splice(..0, card.err());
    match args.format {
        Format::Json => print_json(&plan, &statuses, &device, &totals, &needs, &refusals),
        Format::Short => print_short(&plan, &statuses),
        Format::Human => print_human(&plan, &statuses, &device, &totals, &needs, &session.file),
    }
    if refusals.is_empty() {
        return ExitCode::SUCCESS;
    }
    if !matches!(args.format, Format::Json) {
        for (code, message, help) in &refusals {
            tell!("\nxd::{code}\n\n  × {message}\n  help: {help}");
        }
    }
    Ended::Invalid.into()
}

/// `80GB` in bytes.
fn size(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = match unit.trim() {
        "MB" => 1e6,
        "GB" => 1e9,
        "MiB" => (1u64 << 20) as f64,
        "GiB" => (1u64 << 30) as f64,
        _ => return Err("it is a number with its unit: 80GB, 24GiB, 900MB".to_string()),
    };
    let number: f64 = number.parse().map_err(|_| format!("`{number}` is no number"))?;
    Ok((number * factor) as u64)
}

/// A card and its free memory.
pub struct CardRoom {
    name: String,
    free: u64,
    has_narrow: bool,
}

impl CardRoom {
    /// Of a card that is only stated (with units for narrow numbers), or else of the one that was looked at.
    fn of(stated: Option<u64>, card: Option<&CardInfo>) -> Option<Self> {
        let there = |card: &CardInfo| CardRoom {
            name: format!("cuda:{}, {}", card.number, card.name),
            free: card.free,
            has_narrow: card.has_narrow(),
        };
        let stated = stated.map(|free| CardRoom { name: "the card".to_string(), free, has_narrow: true });
        stated.or_else(|| card.map(there))
    }

    /// What the steps that are to do take of it.
    pub fn needs(&self, plan: &Plan, store: &Store, statuses: &[Status]) -> Vec<CardNeed> {
        card_memory::needs(plan, store, statuses, self.has_narrow)
    }

    /// Of a card that is there.
    pub fn here(card: &CardInfo) -> Option<Self> {
        CardRoom::of(None, Some(card))
    }

    /// The first step that does not fit.
    pub fn refusal(&self, plan: &Plan, needs: &[CardNeed]) -> Option<Refusal> {
        let need = needs.iter().find(|need| need.bytes > self.free)?;
        let step = &plan.steps[need.steps[0]].address;
        let beside = match need.steps.len() {
            1 => String::new(),
            count => format!(" and the {} that train beside it", count - 1),
        };
        let takes = if beside.is_empty() { "takes" } else { "take" };
        Some((
            "memory",
            format!(
                "{step}{beside} {takes} {} of a card's memory, and {} has {} free",
                bytes(need.bytes),
                self.name,
                bytes(self.free)
            ),
            need.advice(plan, self.free),
        ))
    }
}

/// What the steps to do take together.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Totals {
    pub to_do: usize,
    pub cached: usize,
    pub tokens: u64,
    pub disk: u64,
    /// The largest of a single step.
    pub memory: u64,
    pub seconds: f64,
    /// Steps to do of which only the tokens are known.
    pub unknown: usize,
    /// Bytes of models and crosscoders of the hub that are not here, as far as the lock file tells them.
    pub download: u64,
    /// The same of corpora, of which only the files come that are read.
    pub download_texts: u64,
}

impl Totals {
    /// Adds up the steps that are to do.
    pub fn of(plan: &Plan, statuses: &[Status], device: &Device) -> Self {
        let mut totals = Totals::default();
        for (step, status) in plan.steps.iter().zip(statuses) {
            match status {
                Status::Cached { .. } => totals.cached += 1,
                Status::ToDo { .. } => {
                    totals.download += to_fetch(step).unwrap_or(0);
                    totals.to_do += 1;
                    totals.unknown += usize::from(step.cost.unknown);
                    totals.tokens += step.cost.tokens;
                    totals.disk += step.cost.disk_bytes;
                    totals.memory = totals.memory.max(step.cost.memory_bytes);
                    totals.seconds += device.seconds(&step.cost);
                }
                Status::Download { bytes } => {
                    let place = match step.spec {
                        Spec::Corpus(_) => &mut totals.download_texts,
                        _ => &mut totals.download,
                    };
                    *place += bytes.unwrap_or(0);
                }
                Status::Nothing | Status::Always | Status::Away => {}
            }
        }
        totals
    }
}

/// What cannot fit: code, message, help.
pub fn refusals(totals: &Totals, store: &std::path::Path) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    let cache = hub_cache::root();
    // The folder may not be there yet; its disk is that of what is.
    let disk = cache.ancestors().find(|folder| folder.exists());
    if let Some(free) = disk.and_then(limits::free_disk).filter(|&free| totals.download > free) {
        refusals.push((
            "disk_full",
            format!(
                "what is to be downloaded is {} and {} has {} free",
                bytes(totals.download),
                cache.display(),
                bytes(free)
            ),
            "make room, or put the cache of the hub elsewhere with HF_HUB_CACHE".to_string(),
        ));
    }
    if let Some(free) = limits::free_disk(store).filter(|&free| totals.disk > free) {
        refusals.push((
            "disk_full",
            format!("the run needs {} of disk and {} has {} free", bytes(totals.disk), store.display(), bytes(free)),
            format!(
                "harvest {:.0} % as many tokens, store them as bf16, or put the store elsewhere with `--store DIR`",
                (90.0 * free as f64 / totals.disk as f64).floor()
            ),
        ));
    }
    if let Some(free) = limits::free_memory().filter(|&free| totals.memory > free) {
        refusals.push((
            "memory",
            format!("a step needs {} of memory and this machine has {} free", bytes(totals.memory), bytes(free)),
            "fewer latents or a smaller batch need less; `xd plan FILE` shows the step".to_string(),
        ));
    }
    refusals
}

/// Bytes of the hub that a step reads itself and that are not here; `None` while nothing is pinned.
fn to_fetch(step: &Step) -> Option<u64> {
    step.spec.hub_refs().into_iter().map(|(_, reference)| hub::missing(reference)).sum()
}

fn words(status: &Status) -> (&'static str, String) {
    match status {
        Status::Nothing => ("ready", String::new()),
        Status::Cached { seconds } => ("cached", format!("took {}", duration(*seconds))),
        Status::ToDo { why } => ("to do", why.clone()),
        Status::Always => ("each run", String::new()),
        Status::Away => ("away", "not all on this machine; no step to do reads it".to_string()),
        Status::Download { bytes: Some(count) } => ("fetch", format!("{} of the hub are not here yet", bytes(*count))),
        Status::Download { bytes: None } => ("fetch", "not pinned yet; `xd run` asks the hub".to_string()),
    }
}

/// Bytes of a card that a step takes, and with how many others; `None` where it takes none of its own.
fn of_card(needs: &[CardNeed], index: usize) -> Option<(u64, usize)> {
    needs.iter().find(|need| need.steps[0] == index).map(|need| (need.bytes, need.steps.len() - 1))
}

fn print_human(plan: &Plan, statuses: &[Status], device: &Device, totals: &Totals, needs: &[CardNeed], file: &str) {
    say!("{file} on {}\n", device.name);
    let width = plan.steps.iter().map(|s| s.address.to_string().chars().count()).max().unwrap_or(0).min(44);
    for (index, (step, status)) in plan.steps.iter().zip(statuses).enumerate() {
        let (word, why) = words(status);
        let mut costs = Vec::new();
        if matches!(status, Status::ToDo { .. }) {
            match to_fetch(step) {
                Some(0) => {}
                Some(count) => costs.push(format!("{} to fetch", bytes(count))),
                None => costs.push("not pinned yet; `xd run` asks the hub".to_string()),
            }
            if step.cost.tokens > 0 {
                costs.push(format!("{} tokens", thousands(step.cost.tokens)));
            }
            if step.cost.disk_bytes > 0 {
                costs.push(format!("{} disk", bytes(step.cost.disk_bytes)));
            }
            if step.cost.memory_bytes > 0 {
                costs.push(format!("{} memory", bytes(step.cost.memory_bytes)));
            }
            match of_card(needs, index) {
                None => {}
                Some((count, 0)) => costs.push(format!("{} of the card", bytes(count))),
                Some((count, beside)) => {
                    costs.push(format!("{} of the card with the {beside} that train beside it", bytes(count)));
                }
            }
            costs.push(match step.cost.unknown {
                true => "its cost is known once its models are pinned".to_string(),
                false => format!("about {}", duration(device.seconds(&step.cost))),
            });
        }
        let line = format!("  {:width$}  {:11}  {word:8}  {why}", step.address.to_string(), step.kind);
        say!("{}", line.trim_end());
        if !costs.is_empty() {
            say!("  {:width$}  {:11}  {:8}  {}", "", "", "", costs.join(", "));
        }
    }
    say!(
        "\n{} to do, {} in the store; {} tokens, {} disk, {} memory, about {}",
        totals.to_do,
        totals.cached,
        thousands(totals.tokens),
        bytes(totals.disk),
        bytes(totals.memory),
        duration(totals.seconds)
    );
    if totals.unknown > 0 {
        say!("and what {} steps take whose models are not pinned yet", totals.unknown);
    }
    if totals.download > 0 {
        say!("{} of models and crosscoders to download", bytes(totals.download));
    }
    if totals.download_texts > 0 {
        say!("at most {} of corpora to download; each file comes when it is first read", bytes(totals.download_texts));
    }
}

fn print_short(plan: &Plan, statuses: &[Status]) {
    for (step, status) in plan.steps.iter().zip(statuses) {
        let (word, why) = words(status);
        let line = format!("{}\t{}\t{word}\t{why}", step.address, step.kind);
        say!("{}", line.trim_end());
    }
}

fn print_json(
    plan: &Plan,
    statuses: &[Status],
    device: &Device,
    totals: &Totals,
    needs: &[CardNeed],
    refusals: &[Refusal],
) {
    let steps: Vec<_> = plan
        .steps
        .iter()
        .zip(statuses)
        .enumerate()
        .map(|(index, (step, status))| {
            let (state, why) = words(status);
            json!({
                "address": step.address.to_string(), "kind": step.kind, "id": step.id, "state": state, "why": why,
                "tokens": step.cost.tokens, "disk_bytes": step.cost.disk_bytes, "memory_bytes": step.cost.memory_bytes,
                "seconds": device.seconds(&step.cost), "cost_unknown": step.cost.unknown,
                "card_bytes": of_card(needs, index).map(|(bytes, _)| bytes),
                "download_bytes": match status {
                    Status::Download { bytes } => json!(bytes),
                    _ => json!(0),
                },
                "inputs": step.inputs.iter().map(|i| plan.steps[i.step.0].address.to_string()).collect::<Vec<_>>(),
            })
        })
        .collect();
    let refusals: Vec<_> =
        refusals.iter().map(|(code, message, help)| json!({"code": code, "message": message, "help": help})).collect();
    let value = json!({
        "device": device.name, "steps": steps, "refused": refusals,
        "total": {"to_do": totals.to_do, "cached": totals.cached, "tokens": totals.tokens, "disk_bytes": totals.disk,
                  "memory_bytes": totals.memory, "seconds": totals.seconds, "download_bytes": totals.download,
                  "download_texts_at_most_bytes": totals.download_texts},
    });
    say!("{}", serde_json::to_string_pretty(&value).unwrap_or_default());
}
