//! `examples`: the text on which latents fire.

use rayon::prelude::*;

use super::{Job, Made};
use crate::exec::frames::ROWS;
use crate::exec::held_out_text::HeldOutText;
use crate::exec::latents::{Chooser, largest_of_classes};
use crate::exec::{Result, rows};
use crate::lang::plan::spec::ExamplesSpec;
use crate::ml;
use crate::ml::analysis::examples::{
    Example, ExamplesConfig, ExamplesWriter, Spell, sample, sequences_of, tokens_of_rows, with_text,
};
use crate::ml::crosscoder::Crosscoder;
use crate::out::{Column, Frame};

/// Examples that get their text at a time.
const AT_A_TIME: usize = 512;

/// Draws sequences of the held-out rows and writes them with their text.
///
/// # Errors
/// When the crosscoder, the rows or the text cannot be read.
pub fn make(job: &Job<'_>, spec: &ExamplesSpec) -> Result<Made> {
    let of = job.input("of")?;
    let crosscoder = Crosscoder::load(&job.store.artifact(&job.plan.steps[of.0].id))?;
    let chooser = Chooser::new(job, crosscoder.latents, spec.seed)?;
    let latents: Vec<u32> = chooser.each(&spec.latents)?;
    if latents.is_empty() {
        job.watch.note("no latent is chosen: there is nothing to show");
    }
    let activations = rows::behind(job.plan, of)?;
    let opened = rows::open(job, activations)?;
    let validate = opened.validate.as_ref();
    let config = ExamplesConfig {
        latents,
        portions: spec.portions.clone(),
        count: spec.count as usize,
        bins: spec.bins.clone(),
        around: u32::try_from(spec.around).unwrap_or(u32::MAX),
        seed: spec.seed,
        largest: largest_of_classes(job, of)?,
    };
    let kept = sample(&crosscoder, validate, &config, job.watch)?;
    let wanted = sequences_of(&kept);
    let held_out = HeldOutText::open(job.plan, job.store, job.hub, activations, "validate")?;
    let tokens = match &held_out {
        Some(held_out) => held_out.tokens(&wanted)?,
        None => {
            job.watch.note("these activations came without a tokenizer: tokens are shown by their numbers");
            tokens_of_rows(validate, &wanted)?
        }
    };
    let spell = |ids: &[u32]| match &held_out {
        Some(held_out) => held_out.tokenizer.pieces(ids),
        None => Ok(ids.iter().map(|id| format!("⟨{id}⟩")).collect()),
    };
    let spell: &Spell<'_> = &spell;
    let mut writer = ExamplesWriter::create(job.folder)?;
    let mut cells = Cells::default();
    for kept in kept.chunks(AT_A_TIME) {
        if job.watch.stop() {
            return Err(ml::Error::Interrupted.into());
        }
        let examples: Vec<ml::Result<Example>> =
            kept.par_iter().map(|kept| with_text(kept, &tokens, config.around, spell)).collect();
        for example in examples {
            let example = example?;
            cells.push(&example);
            writer.push(example)?;
        }
    }
    writer.finish()?;
    cells.frame()?.write(&job.folder.join(ROWS))?;
    Ok(Made { tokens: validate.count() })
}

/// The columns of the rows.
#[derive(Default)]
struct Cells {
    latent: Vec<i64>,
    bin: Vec<i64>,
    activation: Vec<f64>,
    sequence: Vec<i64>,
    position: Vec<i64>,
    text: Vec<String>,
}

impl Cells {
    fn push(&mut self, example: &Example) {
        self.latent.push(example.latent.into());
        self.bin.push(example.bin.into());
        self.activation.push(example.activation.into());
        self.sequence.push(example.sequence.into());
        self.position.push((example.start + example.peak).into());
        self.text.push(example.text());
    }

    fn frame(self) -> Result<Frame> {
        Ok(Frame::new()
            .with("latent", Column::whole(self.latent))?
            .with("bin", Column::whole(self.bin))?
            .with("activation", Column::real(self.activation))?
            .with("sequence", Column::whole(self.sequence))?
            .with("position", Column::whole(self.position))?
            .with("text", Column::text(self.text))?)
    }
}
