//! `layers`: how far the models of a pair are apart at each layer.

use std::path::Path;

use super::patch::{positions_of, save_sums};
use super::{Job, Made};
use crate::exec::frames::ROWS;
use crate::exec::sources::Tapped;
use crate::exec::{Error, Result, models};
use crate::lang::plan::spec::{LayersSpec, PositionSpec};
use crate::lang::schema::layers::MEASURES;
use crate::ml::BASE;
use crate::ml::analysis::layers::{DISTANCES, GROUPS, LayerSums, LayersConfig, TwoModels, layers};
use crate::ml::analysis::patch::{Conversations, Mean, Positions};
use crate::out::{Column, Frame};

/// Sums of the layers that are done, while the step is made.
const CHECKPOINT: &str = "layers.json";

/// Runs the conversations and writes one row a layer, measure and group.
///
/// # Errors
/// When the models or the conversations cannot be read.
pub fn make(job: &Job<'_>, spec: &LayersSpec) -> Result<Made> {
    let pair = &job.plan.steps[job.input("of")?.0];
    let last = spec.layers.iter().max().map(|layer| *layer as usize);
    let tapped = Tapped::of_pair(job.plan, job.store, job.gpu, pair, last, models::site(spec.site))?;
    let text = models::text(job.plan, job.hub, job.input("prompts")?)?;
    let context = spec.context as usize;
    let conversations = Conversations::choose(&tapped.texts(&text), spec.prompts, context, &(0..0), job.watch)?;
    if let Some(remark) = conversations.remark(&text.name, spec.prompts, context) {
        job.watch.note(&remark);
    }
    let models = TwoModels { decoders: tapped.decoders(), read_as: &tapped.replace };
    let config = LayersConfig {
        layers: match spec.layers.is_empty() {
            true => (0..tapped.decoders[BASE].layers()).collect(),
            false => spec.layers.iter().map(|layer| *layer as usize).collect(),
        },
        site: tapped.site,
        positions: spec.positions.iter().map(positions_of).collect::<Vec<Positions>>(),
    };
    let checkpoint = job.folder.join(CHECKPOINT);
    let mut save = |sums: &[LayerSums]| save_sums(&checkpoint, &sums);
    let found = layers(&models, &conversations.chosen, &config, load(&checkpoint), &mut save, job.watch)?;
    frame(&found, &spec.positions)?.write(&job.folder.join(ROWS))?;
    match std::fs::remove_file(&checkpoint) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(Error::file(&checkpoint, error)),
        _ => {}
    }
    let tokens: u64 = conversations.chosen.iter().map(|c| c.len() as u64).sum();
    Ok(Made { tokens: tokens * config.layers.len() as u64 })
}

fn frame(found: &[LayerSums], positions: &[PositionSpec]) -> Result<Frame> {
    let mut at: Vec<(usize, &str, String, Option<Mean>)> = Vec::new();
    for sums in found {
        for (set, spec) in positions.iter().enumerate() {
            at.push((sums.layer, MEASURES[0], super::patch::positions(spec), sums.kl(set)));
        }
        for measure in 0..DISTANCES {
            for (group, named) in GROUPS.iter().enumerate() {
                let mean = sums.distance(group, measure);
                at.push((sums.layer, MEASURES[measure + 1], named.name().to_string(), mean));
            }
        }
    }
    Ok(Frame::new()
        .with("layer", Column::whole(at.iter().map(|(layer, ..)| *layer as i64)))?
        .with("measure", Column::text(at.iter().map(|(_, measure, ..)| *measure)))?
        .with("group", Column::text(at.iter().map(|(.., group, _)| group)))?
        .with("mean", Column::Real(at.iter().map(|(.., found)| found.map(|f| f.mean)).collect()))?
        .with("ci95", Column::Real(at.iter().map(|(.., found)| found.and_then(|f| f.ci95)).collect()))?
        .with("ci95_prompts", Column::Real(at.iter().map(|(.., found)| found.and_then(|f| f.ci95_prompts)).collect()))?
        .with("count", Column::whole(at.iter().map(|(.., found)| found.map_or(0, |f| f.count as i64))))?
        .with("prompts", Column::whole(at.iter().map(|(.., found)| found.map_or(0, |f| f.prompts as i64))))?)
}

/// A damaged file is none: the layers are run again.
fn load(path: &Path) -> Vec<LayerSums> {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap_or_default()).unwrap_or_default()
}
