//! `autointerp`: what delphi found, one row a latent.

use std::collections::BTreeMap;

use super::{Job, Made};
use crate::exec::Result;
use crate::exec::frames::ROWS;
use crate::exec::wiring::path_of;
use crate::lang::plan::spec::AutointerpSpec;
use crate::ml::crosscoder::Crosscoder;
use crate::ml::formats::delphi_scores::{self, Interpretation, Score, TextGroup};
use crate::out::{Column, Frame};

/// A number of a latent.
type Number = fn(&Interpretation) -> Option<f64>;

const NUMBERS: [(&str, Number); 12] = [
    ("detection", |found| found.detection.accuracy()),
    ("detection_balanced", |found| found.detection.balanced()),
    ("detection_total", |found| found.detection.total(TextGroup::Random)),
    ("detection_total_similar", |found| found.detection.total(TextGroup::Similar)),
    ("detection_no_zero", |found| found.detection.of_quantiles()),
    ("detection_random", |found| found.detection.of(TextGroup::Random)),
    ("detection_similar", |found| found.detection.of(TextGroup::Similar)),
    ("detection_1", |found| found.detection.of(TextGroup::Quantile(1))),
    ("detection_2", |found| found.detection.of(TextGroup::Quantile(2))),
    ("detection_3", |found| found.detection.of(TextGroup::Quantile(3))),
    ("fuzz", |found| found.fuzz.accuracy()),
    ("fuzz_balanced", |found| found.fuzz.balanced()),
];

/// Reads delphi's results and writes one row a latent; none while there are no results.
///
/// # Errors
/// When the crosscoder or delphi's files cannot be read, or speak of latents that it does not have.
pub fn make(job: &Job<'_>, spec: &AutointerpSpec) -> Result<Made> {
    let of = job.input("of")?;
    let found = match &spec.scores {
        Some(scores) => {
            let crosscoder = Crosscoder::load(&job.store.artifact(&job.plan.steps[of.0].id))?;
            delphi_scores::read(&path_of(scores), crosscoder.latents)?
        }
        None => BTreeMap::new(),
    };
    let texts = |score: &Score| (score.answered() > 0).then_some(score.answered() as i64);
    let mut frame = Frame::new()
        .with("latent", Column::whole(found.keys().map(|latent| i64::from(*latent))))?
        .with("explanation", Column::Text(found.values().map(|found| found.explanation.clone()).collect()))?
        .with("texts", Column::Whole(found.values().map(|found| texts(&found.detection)).collect()))?;
    for (name, number) in NUMBERS {
        frame.push(name, Column::Real(found.values().map(number).collect()))?;
    }
    frame.write(&job.folder.join(ROWS))?;
    Ok(Made::default())
}
