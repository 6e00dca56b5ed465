//! `patch`: latents in one model's activations, and what the other one makes of them.

use std::path::Path;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::{Job, Made};
use crate::exec::frames::ROWS;
use crate::exec::latents::Chooser;
use crate::exec::sources::Tapped;
use crate::exec::trained_text::trained;
use crate::exec::{Error, Result, models, rows};
use crate::lang::plan::spec::{self, ActivationsSource, ActivationsSpec, Insert, PatchSpec, Role};
use crate::ml::analysis::TappedPair;
use crate::ml::analysis::patch::{
    Conversations, Entry, Metric, Mode, PatchConfig, Patched, Positions, PromptSums, patch,
};
use crate::ml::crosscoder::Crosscoder;
use crate::ml::{BASE, TUNED};
use crate::out::{Column, Frame};

/// Sums of the conversations that are done, while the step is made.
const CHECKPOINT: &str = "prompts.json";
/// Time between two saves. Changes no result.
const SAVE: Duration = Duration::from_secs(5);

/// Runs the conversations and writes one row an entry, set of positions and metric.
///
/// # Errors
/// When the crosscoder, the models or the conversations cannot be read.
pub fn make(job: &Job<'_>, spec: &PatchSpec) -> Result<Made> {
    let of = job.input("of")?;
    let crosscoder = Crosscoder::load(&job.store.artifact(&job.plan.steps[of.0].id))?;
    let rows = rows::behind(job.plan, of)?;
    let activations = &job.plan.steps[rows.0];
    let read = rows::spec_of(activations)?;
    let tapped = Tapped::open(job.plan, job.store, job.gpu, activations, read)?;
    let corpus = job.input("prompts")?;
    let text = models::text(job.plan, job.hub, corpus)?;
    let context = spec.context as usize;
    let trained = trained(job, rows, corpus)?;
    let conversations = Conversations::choose(&tapped.texts(&text), spec.prompts, context, &trained, job.watch)?;
    if let Some(remark) = conversations.remark(&text.name, spec.prompts, context) {
        job.watch.note(&remark);
    }
    if let Some(remark) = left_out(read, &activations.address.to_string()) {
        job.watch.note(&remark);
    }
    let entries = entries(&Chooser::new(job, crosscoder.latents, spec.seed)?, spec)?;
    for entry in entries.iter().filter(|entry| entry.what.chosen().is_some_and(<[u32]>::is_empty)) {
        job.watch.note(&format!("{}: no latent is chosen", entry.name()));
    }
    let config = config(spec, &entries);
    let normalizer = rows::scaling(job.plan, job.store, rows, crosscoder.width)?;
    let pair = TappedPair {
        decoders: tapped.decoders(),
        read_as: &tapped.replace,
        layer: tapped.layer,
        site: tapped.site,
        crosscoder: &crosscoder,
        normalizer: &normalizer,
    };
    let checkpoint = job.folder.join(CHECKPOINT);
    let done = Checkpoint::load(&checkpoint);
    let mut saved = Instant::now();
    let mut save = |prompts: &[PromptSums]| {
        if saved.elapsed() < SAVE {
            return Ok(());
        }
        saved = Instant::now();
        Checkpoint::save(&checkpoint, prompts)
    };
    let patched = patch(&pair, &conversations.chosen, &config, done, &mut save, job.watch)?;
    frame(&patched, &entries, spec, crosscoder.latents)?.write(&job.folder.join(ROWS))?;
    match std::fs::remove_file(&checkpoint) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(Error::file(&checkpoint, error)),
        _ => {}
    }
    let tokens = conversations.chosen.iter().map(|c| c.len() as u64).sum();
    Ok(Made { tokens })
}

/// The crosscoder has not seen every position that is patched.
fn left_out(read: &ActivationsSpec, name: &str) -> Option<String> {
    let ActivationsSource::Models { skip, exclude, .. } = &read.source else { return None };
    let reason = match (*skip, exclude.is_empty()) {
        (0, true) => return None,
        (0, false) => "by `exclude`",
        (_, true) => "by `skip`",
        _ => "by `skip` and `exclude`",
    };
    Some(format!(
        "{name} leaves out tokens {reason}, which this crosscoder has not learned; latents are put in at every position, as in the \
         published code"
    ))
}

/// One row of the result: an entry, or a draw of it.
struct Row {
    label: String,
    draw: Option<u64>,
    what: Entry,
    is_nothing: bool,
}

impl Row {
    fn name(&self) -> String {
        match self.draw {
            Some(draw) => format!("{} (draw {draw})", self.label),
            None => self.label.clone(),
        }
    }
}

fn entries(chooser: &Chooser, spec: &PatchSpec) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for insert in &spec.insert {
        let mut push = |draw: Option<u64>, what: Entry| {
            let is_nothing = what == Entry::Nothing;
            rows.push(Row { label: insert.label.clone(), draw, what, is_nothing });
        };
        match &insert.what {
            Insert::Nothing => push(None, Entry::Nothing),
            Insert::Everything => push(None, Entry::Everything),
            Insert::Error => push(None, Entry::Error),
            Insert::Template => push(None, Entry::Template),
            Insert::Latents(latents) | Insert::By { latents, .. } => {
                let is_random = matches!(latents, spec::Latents::Random { .. });
                for (draw, chosen) in chooser.draws(latents)?.into_iter().enumerate() {
                    let entry = match insert.what {
                        Insert::By { mode, .. } => Entry::LatentsBy(self::mode(mode), chosen),
                        _ => Entry::Latents(chosen),
                    };
                    push(is_random.then_some(draw as u64), entry);
                }
            }
        }
    }
    Ok(rows)
}

fn config(spec: &PatchSpec, entries: &[Row]) -> PatchConfig {
    let role = |role: Role| match role {
        Role::Base => BASE,
        Role::Tuned => TUNED,
    };
    PatchConfig {
        into: role(spec.into),
        finish: role(spec.finish),
        entries: entries.iter().map(|row| row.what.clone()).collect(),
        mode: mode(spec.mode),
        positions: spec.positions.iter().map(positions_of).collect(),
        metrics: spec.metrics.iter().map(|metric| self::metric(*metric).0).collect(),
    }
}

fn mode(mode: spec::PatchMode) -> Mode {
    match mode {
        spec::PatchMode::Replace => Mode::Replace,
        spec::PatchMode::Add => Mode::Add,
        spec::PatchMode::AddWithBias => Mode::AddWithBias,
    }
}

fn metric(metric: spec::Metric) -> (Metric, &'static str) {
    match metric {
        spec::Metric::Kl => (Metric::Kl, "kl"),
        spec::Metric::KlBase => (Metric::KlBase, "kl_base"),
        spec::Metric::KlTuned => (Metric::KlTuned, "kl_tuned"),
        spec::Metric::Loss => (Metric::Loss, "loss"),
        spec::Metric::LossArgmax => (Metric::LossArgmax, "loss_argmax"),
        spec::Metric::Agreement => (Metric::Agreement, "agreement"),
    }
}

/// The positions that are measured.
pub(super) fn positions_of(positions: &spec::PositionSpec) -> Positions {
    match *positions {
        spec::PositionSpec::All => Positions::All,
        spec::PositionSpec::First(count) => Positions::First(count),
        spec::PositionSpec::Rest(count) => Positions::Rest(count),
        spec::PositionSpec::Template => Positions::Template,
    }
}

/// The word of positions in tables.
pub(super) fn positions(positions: &spec::PositionSpec) -> String {
    match positions {
        spec::PositionSpec::All => "all".to_string(),
        spec::PositionSpec::First(count) => format!("first({count})"),
        spec::PositionSpec::Rest(count) => format!("rest({count})"),
        spec::PositionSpec::Template => "template".to_string(),
    }
}

fn frame(patched: &Patched, entries: &[Row], spec: &PatchSpec, latents: usize) -> Result<Frame> {
    let nothing = entries.iter().position(|row| row.is_nothing);
    let mut at = Vec::new();
    for entry in 0..entries.len() {
        for set in 0..spec.positions.len() {
            at.extend((0..spec.metrics.len()).map(|metric| (entry, set, metric)));
        }
    }
    let count = |entry: &Row| match &entry.what {
        Entry::Latents(chosen) | Entry::LatentsBy(_, chosen) => Some(chosen.len() as i64),
        Entry::Everything | Entry::Error => Some(latents as i64),
        Entry::Nothing | Entry::Template => Some(0),
    };
    let found: Vec<_> = at.iter().map(|&(entry, set, metric)| patched.entry(entry, set, metric)).collect();
    let closed = |&(entry, set, metric): &(usize, usize, usize)| patched.closed(entry, nothing?, set, metric);
    let clean = |&(_, set, metric): &(usize, usize, usize)| patched.clean(set, metric).map(|found| found.mean);
    Ok(Frame::new()
        .with("insert", Column::text(at.iter().map(|(entry, ..)| &entries[*entry].label)))?
        .with("draw", Column::Whole(at.iter().map(|(entry, ..)| entries[*entry].draw.map(|d| d as i64)).collect()))?
        .with("latents", Column::Whole(at.iter().map(|(entry, ..)| count(&entries[*entry])).collect()))?
        .with("positions", Column::text(at.iter().map(|(_, set, _)| positions(&spec.positions[*set]))))?
        .with("metric", Column::text(at.iter().map(|(.., m)| metric(spec.metrics[*m]).1)))?
        .with("mean", Column::Real(found.iter().map(|f| f.map(|f| f.mean)).collect()))?
        .with("ci95", Column::Real(found.iter().map(|f| f.and_then(|f| f.ci95)).collect()))?
        .with("ci95_prompts", Column::Real(found.iter().map(|f| f.and_then(|f| f.ci95_prompts)).collect()))?
        .with("clean", Column::Real(at.iter().map(clean).collect()))?
        .with("closed", Column::Real(at.iter().map(closed).collect()))?
        .with("count", Column::whole(found.iter().map(|f| f.map_or(0, |f| f.count as i64))))?
        .with("prompts", Column::whole(found.iter().map(|f| f.map_or(0, |f| f.prompts as i64))))?)
}

/// Keeps what a step has summed so far.
pub(super) fn save_sums(path: &Path, sums: &impl Serialize) -> crate::ml::Result<()> {
    let text = serde_json::to_string(sums).map_err(|e| crate::ml::Error::invalid("save sums", e.to_string()))?;
    let next = path.with_extension("next");
    let written = std::fs::write(&next, text).and_then(|()| std::fs::rename(&next, path));
    written.map_err(|e| crate::ml::Error::file(path, e))
}

/// What is kept when the step is stopped; everything else follows from the plan.
#[derive(Serialize, Deserialize)]
struct Checkpoint {
    prompts: Vec<PromptSums>,
}

impl Checkpoint {
    fn load(path: &Path) -> Vec<PromptSums> {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        serde_json::from_str(&text).map(|checkpoint: Checkpoint| checkpoint.prompts).unwrap_or_default()
    }

    fn save(path: &Path, prompts: &[PromptSums]) -> crate::ml::Result<()> {
        save_sums(path, &Checkpoint { prompts: prompts.to_vec() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_come_back_to_the_bit_and_a_damaged_file_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(CHECKPOINT);
        assert!(Checkpoint::load(&path).is_empty());
        let sums =
            vec![PromptSums { counts: vec![3, 0], sums: vec![[0.1 + 0.2, 1.0 / 3.0], [f64::MIN_POSITIVE, -0.0]] }];
        Checkpoint::save(&path, &sums).unwrap();
        assert_eq!(Checkpoint::load(&path), sums);
        std::fs::write(&path, "{\"prompts\": [{\"counts\"").unwrap();
        assert!(Checkpoint::load(&path).is_empty());
    }
}
