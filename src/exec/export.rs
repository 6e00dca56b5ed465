//! A step's result in the format of another project, read back and compared before it is believed.

use std::path::Path;

use super::frames::ROWS;
use super::held_out_text::HeldOutText;
use super::hub::Hub;
use super::rows::Live;
use super::status::is_stored;
use super::wiring::input;
use super::{Error, Result, Store, latent_df, rows};
use crate::lang::plan::{Plan, Spec, Step, StepIndex};
use crate::ml::activations::{TensorRows, export_tensors};
use crate::ml::analysis::examples::{sequences_of_rows, tokens_of_rows};
use crate::ml::crosscoder::Crosscoder;
use crate::ml::formats::pickle::Dtype;
use crate::ml::formats::slow_crosscoder::SlowCrosscoder;
use crate::ml::formats::{
    CacheRows, Choices, Comparison, ExportLayout, WeightsFile, delphi, export_crosscoder, lost, lost_alphas,
    slices_apart, verify_export, write_cache,
};
use crate::ml::{Rows, Watch};
use crate::out::Frame;

/// Rows of a cache's shard, as the published project has them.
const SHARD_ROWS: u64 = 1_000_000;
/// Rows that are compared after they were written.
const COMPARED: u64 = 256;

/// A format of [`export`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportAs {
    Layout(ExportLayout),
    Delphi,
    LatentDf,
    Tensors,
    Cache,
}

/// How.
pub struct ExportOptions<'a> {
    pub format: ExportAs,
    pub out: &'a Path,
    /// Write even what the format has no place for.
    pub lossy: bool,
    /// Validation rows instead of training rows.
    pub validate: bool,
    /// Shards of a cache in bf16 instead of f32.
    pub bf16: bool,
    /// Brings what rows that are not stored read of the hub.
    pub hub: &'a Hub,
    pub watch: &'a dyn Watch,
}

/// What was written.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Exported {
    /// One line: what and how much.
    pub what: String,
    /// What the format has no place for.
    pub lost: Vec<String>,
    pub notes: Vec<String>,
    /// Both readings on a probe, for crosscoders.
    pub probe: Option<Comparison>,
}

/// The step of an address, or of a name with a single point.
///
/// # Errors
/// A sentence: there is none, or there are several.
pub fn find(plan: &Plan, address: &str) -> std::result::Result<StepIndex, String> {
    let plain = |text: &str| text.replace(' ', "");
    let exact = plan.steps.iter().position(|step| plain(&step.address.to_string()) == plain(address));
    if let Some(index) = exact {
        return Ok(StepIndex(index));
    }
    let points: Vec<usize> = (0..plan.steps.len()).filter(|&i| plan.steps[i].address.name == address).collect();
    match points[..] {
        [one] => Ok(StepIndex(one)),
        [] => {
            let names: Vec<String> = plan.steps.iter().map(|step| step.address.to_string()).collect();
            Err(match crate::lang::diagnostic::suggest(address, &names) {
                Some(near) => format!("the file has no step `{address}`; did you mean `{near}`?"),
                None => format!("the file has no step `{address}`; it has {}", names.join(", ")),
            })
        }
        _ => {
            let names: Vec<String> = points.iter().map(|&i| plan.steps[i].address.to_string()).collect();
            Err(format!("`{address}` has several points: name one of {}", names.join(", ")))
        }
    }
}

/// Writes the result of a step.
///
/// # Errors
/// The step is not done, the format does not fit it or would lose something, or what was written does not give the same numbers.
pub fn export(plan: &Plan, store: &Store, index: StepIndex, options: &ExportOptions<'_>) -> Result<Exported> {
    let step = &plan.steps[index.0];
    done(store, step)?;
    match (&step.spec, options.format) {
        (Spec::Crosscoder(_), ExportAs::Layout(layout)) => crosscoder(plan, store, index, layout, options),
        (Spec::Crosscoder(_), ExportAs::Tensors) => tensors_of(plan, store, index, options),
        (Spec::Crosscoder(_), ExportAs::Delphi) => for_delphi(plan, store, index, options),
        (Spec::Activations(_), ExportAs::Tensors | ExportAs::Cache) => activations(plan, store, index, options),
        (Spec::Classify(_) | Spec::Scaling(_), ExportAs::LatentDf) => table(plan, store, index, options),
        (spec, _) => {
            let fits = match spec {
                Spec::Crosscoder(_) => "published, torch, kissane, crosscode, saelens, delphi or tensors",
                Spec::Activations(_) => "tensors or cache",
                Spec::Classify(_) | Spec::Scaling(_) => "latent_df",
                _ => return Err(Error::Failed(format!("a {} has nothing that another project reads", step.kind))),
            };
            Err(Error::Failed(format!("a {} goes out as {fits}", step.kind)))
        }
    }
}

fn done(store: &Store, step: &Step) -> Result<()> {
    if is_stored(&step.spec) && store.record(&step.id)?.is_none() {
        return Err(Error::Failed(format!(
            "{} is not in the store: run it first, `xd run FILE --only {}`",
            step.address, step.address.name
        )));
    }
    Ok(())
}

/// A crosscoder that reads rows as the models give them: what `normalize` did to the rows of its training goes with it.
fn of_raw_rows(plan: &Plan, store: &Store, index: StepIndex) -> Result<(Crosscoder, Vec<String>)> {
    let mut crosscoder = Crosscoder::load(&store.artifact(&plan.steps[index.0].id))?;
    let mut notes = Vec::new();
    if let Some(normalizer) = rows::normalizer(plan, store, rows::behind(plan, index)?)? {
        let [base, tuned] = normalizer.scale;
        notes.push(format!(
            "it was trained on normalised rows; the mean and the scales {base} (base) and {tuned} (tuned) go with it, so it reads rows as the \
             models give them"
        ));
        crosscoder.fold(normalizer);
    }
    Ok((crosscoder, notes))
}

/// Refuses what a format has no place for, unless it is to be written all the same.
fn refuse_lost(lost: &[String], options: &ExportOptions<'_>) -> Result<()> {
    if lost.is_empty() || options.lossy {
        return Ok(());
    }
    Err(Error::Failed(format!(
        "something would be lost: {}. Choose another format, or write it all the same with `--lossy`",
        lost.join("; ")
    )))
}

fn crosscoder(
    plan: &Plan,
    store: &Store,
    index: StepIndex,
    layout: ExportLayout,
    options: &ExportOptions<'_>,
) -> Result<Exported> {
    let (crosscoder, mut notes) = of_raw_rows(plan, store, index)?;
    let lost = lost(&crosscoder, layout);
    refuse_lost(&lost, options)?;
    export_crosscoder(&crosscoder, layout, options.out)?;
    let probe = match verify_export(&crosscoder, layout, options.out) {
        Err(_) if !lost.is_empty() => None,
        probe => Some(probe?),
    };
    if let Some(probe) = probe.filter(|probe| !probe.agrees())
        && lost.is_empty()
    {
        return Err(Error::Failed(format!(
            "{}: read back by the convention of its project it does not give the same ({probe:?}); the files are not to be used",
            options.out.display()
        )));
    }
    if layout == ExportLayout::Saelens && crosscoder.variant.target().is_none() {
        let [base, tuned] = slices_apart(&crosscoder, options.out)?;
        notes.push(format!(
            "`joint` is the whole crosscoder, over both models' activations side by side. The slices `base` and `tuned` decode exactly; \
             encoding with one of them alone misses what the other model adds to a preactivation: features differ by up to {base:.2} and \
             {tuned:.2} of the largest on the probe"
        ));
    }
    let what = format!("{} latents of width {}", crosscoder.latents, crosscoder.width);
    Ok(Exported { what, lost, notes, probe })
}

/// The published names in one safetensors file.
fn tensors_of(plan: &Plan, store: &Store, index: StepIndex, options: &ExportOptions<'_>) -> Result<Exported> {
    let (crosscoder, notes) = of_raw_rows(plan, store, index)?;
    let lost: Vec<String> = lost_alphas(&crosscoder).into_iter().collect();
    refuse_lost(&lost, options)?;
    let folder = options.out.with_extension("new");
    let moved = |error| Error::file(options.out, error);
    std::fs::create_dir_all(&folder).map_err(moved)?;
    crosscoder.save(&folder)?;
    std::fs::rename(folder.join("model.safetensors"), options.out).map_err(moved)?;
    std::fs::remove_dir_all(&folder).map_err(moved)?;
    let what = format!("{} latents of width {}", crosscoder.latents, crosscoder.width);
    Ok(Exported { what, lost, notes, ..Exported::default() })
}

fn activations(plan: &Plan, store: &Store, index: StepIndex, options: &ExportOptions<'_>) -> Result<Exported> {
    let opened = rows::open_live(plan, store, index, true, &live(options))?;
    let rows = if options.validate { opened.validate } else { opened.train };
    let mut notes = Vec::new();
    if let Spec::Activations(spec) = &plan.steps[index.0].spec
        && spec.normalize != crate::lang::plan::spec::Normalize::None
    {
        notes.push(
            "rows are written as the models gave them; `normalize` is to be written again where they are read"
                .to_string(),
        );
    }
    let out = options.out;
    let rounding = if options.format == ExportAs::Tensors {
        export_tensors(rows.as_ref(), out)?;
        same_rows(rows.as_ref(), &TensorRows::open(out, "activations")?, None)?;
        0.0
    } else {
        let dtype = if options.bf16 { Dtype::Bf16 } else { Dtype::F32 };
        write_cache(rows.as_ref(), out, "xd_out", dtype, SHARD_ROWS)?;
        let back = CacheRows::open(&out.join("base/xd_out"), &out.join("tuned/xd_out"))?;
        notes.push("rows stand in the order of their texts, not of the store".to_string());
        same_rows(rows.as_ref(), &back, Some(if options.bf16 { 1.0 / 256.0 } else { 0.0 }))?;
        if options.bf16 { 1.0 / 256.0 } else { 0.0 }
    };
    if rounding > 0.0 {
        notes.push("numbers are rounded to bf16".to_string());
    }
    Ok(Exported { what: format!("{} rows of width {}", rows.count(), rows.width()), notes, ..Exported::default() })
}

/// The first rows that were written are among those read back: at the same place, or, `by_text`, at the same place of the same text up to this
/// rounding.
fn same_rows(written: &dyn Rows, back: &dyn Rows, by_text: Option<f32>) -> Result<()> {
    let count = written.count().min(COMPARED) as usize;
    let both = 2 * written.width();
    let differ = || {
        Error::Failed("what was written does not read back as the same rows; the files are not to be used".to_string())
    };
    if back.count() != written.count() || back.width() != written.width() {
        return Err(differ());
    }
    let mut order: Vec<u64> = (0..written.count()).collect();
    if by_text.is_some() {
        let mut infos = vec![Default::default(); written.count() as usize];
        written.info(0, &mut infos)?;
        order.sort_by_key(|&row| infos[row as usize]);
    }
    let (mut one, mut other) = (vec![0.0; both], vec![0.0; both]);
    for place in 0..count {
        written.read(order[place], &mut one)?;
        back.read(place as u64, &mut other)?;
        let rounding = by_text.unwrap_or(0.0);
        if one.iter().zip(&other).any(|(a, b)| (a - b).abs() > rounding * a.abs()) {
            return Err(differ());
        }
    }
    Ok(())
}

fn live<'a>(options: &ExportOptions<'a>) -> Live<'a> {
    Live { hub: options.hub, gpu: None, watch: options.watch, log: None }
}

fn for_delphi(plan: &Plan, store: &Store, index: StepIndex, options: &ExportOptions<'_>) -> Result<Exported> {
    let step = &plan.steps[index.0];
    let artifact = store.artifact(&step.id);
    let crosscoder = Crosscoder::load(&artifact)?;
    let activations = rows::behind(plan, index)?;
    let opened = rows::open_live(plan, store, activations, false, &live(options))?;
    let (set, rows) = match options.validate {
        true => ("validate", opened.validate),
        false => ("train", opened.train),
    };
    let model = tuned_model(plan, activations);
    let wanted = sequences_of_rows(rows.as_ref())?;
    let tokens = match HeldOutText::open(plan, store, options.hub, activations, set)? {
        Some(text) => text.tokens(&wanted)?,
        None => tokens_of_rows(rows.as_ref(), &wanted)?,
    };
    let written = delphi::write_delphi(&crosscoder, rows.as_ref(), &tokens, options.out, &model, options.watch)?;
    let slow = SlowCrosscoder::open(&WeightsFile::open(&artifact, None)?, &Choices::default())?;
    let apart = delphi::verify_delphi(&slow, &crosscoder.code_norms(), rows.as_ref(), &tokens, options.out)?;
    if apart > crate::ml::formats::probe::AGREES {
        return Err(Error::Failed(format!(
            "{}: read back, activations differ by {apart:.1e} of the largest; the files are not to be used",
            options.out.display()
        )));
    }
    let mut notes = vec![format!(
        "activations are f_j times the code norm; read back they differ by at most {apart:.1e} of the largest"
    )];
    if model.is_empty() {
        notes.push(
            "`model_name` in crosscoder/config.json is empty: write the name of the tokenizer's model there"
                .to_string(),
        );
    }
    if written.dropped > 0 {
        notes.push(format!(
            "{} tokens of the last text are left out: they do not fill a row of `tokens`",
            written.dropped
        ));
    }
    let what =
        format!("{} activations of {} latents on {} rows", written.activations, crosscoder.latents, written.rows);
    Ok(Exported { what, notes, ..Exported::default() })
}

/// The folder of the tuned model behind activations, as written; empty when there is none.
fn tuned_model(plan: &Plan, activations: StepIndex) -> String {
    let model = || {
        let pair = input(&plan.steps[activations.0], "of").ok()?;
        let tuned = input(&plan.steps[pair.0], "tuned").ok()?;
        let spec = serde_json::to_value(&plan.steps[tuned.0].spec).ok()?;
        let named = [&spec["path"]["path"], &spec["repository"]["id"]];
        named.into_iter().find_map(|name| name.as_str().map(str::to_string))
    };
    model().unwrap_or_default()
}

fn table(plan: &Plan, store: &Store, index: StepIndex, options: &ExportOptions<'_>) -> Result<Exported> {
    let step = &plan.steps[index.0];
    let of = input(step, "of")?;
    let read = |step: &Step| Frame::read(&store.artifact(&step.id).join(ROWS));
    let mut frame = read(step)?;
    let mut notes = Vec::new();
    // Classes and Latent Scaling of one crosscoder stand in one published table.
    let other = plan.steps.iter().enumerate().find(|(place, other)| {
        *place != index.0
            && matches!(
                (&step.spec, &other.spec),
                (Spec::Classify(_), Spec::Scaling(_)) | (Spec::Scaling(_), Spec::Classify(_))
            )
            && input(other, "of").is_ok_and(|crosscoder| crosscoder == of)
    });
    match other {
        Some((_, other)) if store.record(&other.id)?.is_some() => {
            let (classes, scaling) = match step.spec {
                Spec::Classify(_) => (frame, read(other)?),
                _ => (read(other)?, frame),
            };
            frame = latent_df::whole(&classes, &scaling)?;
        }
        Some((_, other)) => notes.push(format!("{} is not in the store, so its columns are not here", other.address)),
        None => notes.push("only this step's columns: the file has no other table of the same crosscoder".to_string()),
    }
    // So do delphi's scores.
    for other in plan.steps.iter().filter(|other| matches!(other.spec, Spec::Autointerp(_))) {
        if input(other, "of")? != of {
            continue;
        }
        match store.record(&other.id)? {
            Some(_) => frame = latent_df::whole(&frame, &read(other)?)?,
            None => notes.push(format!("{} is not in the store, so its columns are not here", other.address)),
        }
    }
    let published = latent_df::published(&frame)?;
    latent_df::write(&published, options.out)?;
    let back = latent_df::read(options.out)?;
    let apart = (0..frame.rows()).any(|row| {
        let (one, other) = (latent_df::number(&frame, row, "delta_norm"), latent_df::number(&back, row, "delta_norm"));
        match (one, other) {
            (Some(one), Some(other)) => (one - other).abs() > 1e-4,
            (one, other) => one.is_some() != other.is_some(),
        }
    });
    if apart || back.rows() != frame.rows() {
        return Err(Error::Failed(format!("{}: read back it is another table", options.out.display())));
    }
    notes.push("`dec_norm_diff` is 1 - delta_norm: 0 is tuned-only".to_string());
    let what = format!("{} latents, {} columns", published.rows(), published.names().count());
    Ok(Exported { what, notes, ..Exported::default() })
}
