//! `quality`: reconstruction on the validation rows, per model and joint, and what it is worth to the models.

use super::{Job, Made};
use crate::exec::frames::ROWS;
use crate::exec::sources::Tapped;
use crate::exec::wiring::inputs;
use crate::exec::{Result, models, rows};
use crate::lang::plan::StepIndex;
use crate::lang::plan::spec::{ActivationsSource, QualitySpec};
use crate::ml::activations::{Documents, Texts};
use crate::ml::analysis::{Places, Ratio, Spliced, TappedPair, splice};
use crate::ml::crosscoder::{Crosscoder, evaluate};
use crate::ml::{BASE, TUNED};
use crate::out::{Column, Frame};

/// Measures and writes a row for the base, the tuned model, and both; of an autoencoder one row.
///
/// # Errors
/// When the crosscoder, the rows or the models cannot be read.
pub fn make(job: &Job<'_>, spec: &QualitySpec) -> Result<Made> {
    let of = job.input("of")?;
    let crosscoder = Crosscoder::load(&job.store.artifact(&job.plan.steps[of.0].id))?;
    let behind = rows::behind(job.plan, of)?;
    let opened = rows::open(job, behind)?;
    let limit = (spec.tokens > 0).then_some(spec.tokens);
    let found = evaluate(&crosscoder, opened.validate.as_ref(), limit, job.watch)?;
    let places = Places::choose(opened.validate.as_ref(), spec.spliced)?;
    // Rows that are streamed hold the models too.
    drop(opened);
    let spliced = spliced(job, &crosscoder, behind, &places, &found.mean)?;
    let models = found.of(crosscoder.variant);
    type Pick = fn(&Spliced) -> Option<Ratio>;
    let predictions: [(&str, Pick); 11] = [
        ("ce_clean", |s| Some(s.clean)),
        ("ce_spliced", |s| Some(s.spliced)),
        ("ce_zero", |s| Some(s.zero)),
        ("ce_mean", |s| Some(s.mean)),
        ("ce_recovered", |s| s.recovered),
        ("ce_recovered_mean", |s| s.recovered_mean),
        ("kl_spliced", |s| Some(s.kl)),
        ("kl_zero", |s| Some(s.kl_zero)),
        ("kl_mean", |s| Some(s.kl_mean)),
        ("kl_recovered", |s| s.kl_recovered),
        ("kl_recovered_mean", |s| s.kl_recovered_mean),
    ];
    let mut frame = Frame::new()
        .with("model", Column::text(models.iter().map(|(model, _)| model)))?
        .with("fve", Column::real(models.iter().map(|(_, quality)| quality.fve)))?
        .with("mse", Column::real(models.iter().map(|(_, quality)| quality.mse)))?
        .with("l0", Column::real(models.iter().map(|_| found.l0)))?
        .with("l0_training", Column::real(models.iter().map(|_| found.l0_training)))?
        .with("dead", Column::real(models.iter().map(|_| found.dead)))?;
    // Which model each row is about; both together predict nothing.
    let about: Vec<Option<usize>> = match crosscoder.variant.target() {
        Some(target) => vec![Some(target.model())],
        None => vec![Some(BASE), Some(TUNED), None],
    };
    let of = |model: Option<usize>, pick: Pick| pick(&spliced.as_ref()?[model?]);
    for (name, pick) in predictions {
        let values = about.iter().map(|model| of(*model, pick).map(|found| found.value));
        frame.push(name, Column::Real(values.collect()))?;
    }
    for (name, pick) in predictions {
        let halves = about.iter().map(|model| of(*model, pick).and_then(|found| found.ci95));
        frame.push(format!("{name}_ci95"), Column::Real(halves.collect()))?;
    }
    frame.write(&job.folder.join(ROWS))?;
    Ok(Made { tokens: found.tokens })
}

/// Both models with the reconstruction in place; `None` where there are no models or nothing is to be read. `mean` is that of the rows.
fn spliced(
    job: &Job<'_>,
    crosscoder: &Crosscoder,
    behind: StepIndex,
    places: &Places,
    mean: &[f32],
) -> Result<Option<[Spliced; 2]>> {
    let activations = &job.plan.steps[behind.0];
    let read = rows::spec_of(activations)?;
    if *places == Places::default() || !matches!(read.source, ActivationsSource::Models { .. }) {
        return Ok(None);
    }
    let tapped = Tapped::open(job.plan, job.store, job.gpu, activations, read)?;
    let texts: Vec<models::Text> = inputs(activations, "validate")
        .into_iter()
        .map(|corpus| models::text(job.plan, job.hub, corpus))
        .collect::<Result<_>>()?;
    let texts: Vec<Texts<'_>> = texts.iter().map(|text| tapped.texts(text)).collect();
    let corpora: Vec<&dyn Documents> = texts.iter().map(|texts| texts as &dyn Documents).collect();
    let documents = places.read(&corpora)?;
    let normalizer = rows::scaling(job.plan, job.store, behind, crosscoder.width)?;
    let pair = TappedPair {
        decoders: tapped.decoders(),
        read_as: &tapped.replace,
        layer: tapped.layer,
        site: tapped.site,
        crosscoder,
        normalizer: &normalizer,
    };
    let found = splice(&pair, &documents, mean, job.watch)?;
    if found.iter().all(|found| found.count == 0) {
        job.watch.note("no held-out document has two tokens: nothing is spliced");
        return Ok(None);
    }
    Ok(Some(found))
}
