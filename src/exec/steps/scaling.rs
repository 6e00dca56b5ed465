//! `scaling`: Latent Scaling of the chosen latents on the first training rows.

use super::{Job, Made};
use crate::exec::frames::ROWS;
use crate::exec::{Error, Result, rows};
use crate::lang::plan::spec::{self, ScalingSpec};
use crate::ml::crosscoder::Crosscoder;
use crate::ml::scaling::{Fit, Interval, Scaling, ScalingConfig, Verdict, control_sample, scale_on};
use crate::ml::{BASE, TUNED};
use crate::out::frame::Cell;
use crate::out::{Column, Frame};

/// Measures and writes one row a latent.
///
/// # Errors
/// When the crosscoder, the classes or the rows cannot be read.
pub fn make(job: &Job<'_>, spec: &ScalingSpec) -> Result<Made> {
    let of = job.input("of")?;
    let crosscoder = Crosscoder::load(&job.store.artifact(&job.plan.steps[of.0].id))?;
    let opened = rows::open(job, rows::behind(job.plan, of)?)?;
    let latents = spec.latents.as_deref().map(|class| latents(job, "latents", class)).transpose()?;
    let control = match &spec.control {
        Some(class) => {
            let size = latents.as_ref().map(Vec::len).unwrap_or(usize::MAX);
            control_sample(&self::latents(job, "control", class)?, size, spec.seed)
        }
        None => Vec::new(),
    };
    let config = ScalingConfig {
        latents,
        control,
        fit: match spec.fit {
            spec::Fit::Tuned => Fit::Tuned,
            spec::Fit::Base => Fit::Base,
            spec::Fit::Both => Fit::Both,
        },
        tokens: spec.tokens,
        nu_reconstruction: spec.nu_reconstruction,
        nu_error: spec.nu_error,
        intervals: spec.intervals,
        seed: spec.seed,
    };
    let scaling = scale_on(job.gpu, &crosscoder, opened.train.as_ref(), &config, job.watch)?;
    frame(&scaling)?.write(&job.folder.join(ROWS))?;
    Ok(Made { tokens: scaling.rows })
}

/// Latents of a class, as the classify step in this role says.
fn latents(job: &Job<'_>, role: &str, class: &str) -> Result<Vec<u32>> {
    let step = &job.plan.steps[job.input(role)?.0];
    let frame = Frame::read(&job.store.artifact(&step.id).join(ROWS))?;
    let classes = frame.column("class")?;
    let numbers = frame.column("latent")?;
    let chosen = (0..frame.rows()).filter(|&row| classes.cell(row) == Cell::Text(class));
    chosen
        .map(|row| match numbers.cell(row) {
            Cell::Whole(latent) => Ok(latent as u32),
            other => Err(Error::Failed(format!("{}: a latent is called `{other}`", step.address))),
        })
        .collect()
}

fn frame(scaling: &Scaling) -> Result<Frame> {
    let mut frame = Frame::new().with("latent", Column::whole(scaling.latent.iter().map(|&j| j as i64)))?;
    type Pick = fn(&crate::ml::scaling::Betas) -> [f64; 2];
    let targets: [(&str, Pick); 4] = [
        ("activation", |b| b.activation),
        ("activation_no_bias", |b| b.activation_no_bias),
        ("reconstruction", |b| b.reconstruction),
        ("error", |b| b.error),
    ];
    for (target, pick) in targets {
        for (model, word) in [(BASE, "base"), (TUNED, "tuned")] {
            let cells = scaling.betas.iter().map(|betas| betas.as_ref().map(|betas| pick(betas)[model]));
            let known = cells.map(|beta| beta.filter(|beta| !beta.is_nan())).collect();
            frame.push(format!("beta_{target}_{word}"), Column::Real(known))?;
        }
    }
    frame.push("nu_activation", Column::Real(scaling.nus.iter().map(|nu| nu.activation).collect()))?;
    frame.push("nu_reconstruction", Column::Real(scaling.nus.iter().map(|nu| nu.reconstruction).collect()))?;
    frame.push("nu_error", Column::Real(scaling.nus.iter().map(|nu| nu.error).collect()))?;
    type Bounds = fn(&crate::ml::scaling::Intervals) -> Option<Interval>;
    let intervals: [(&str, Bounds); 3] =
        [("nu_activation", |i| i.activation), ("nu_reconstruction", |i| i.reconstruction), ("nu_error", |i| i.error)];
    for (name, pick) in intervals {
        let bounds: Vec<Option<Interval>> = scaling.intervals.iter().map(|i| i.as_ref().and_then(pick)).collect();
        frame.push(format!("{name}_low"), Column::Real(bounds.iter().map(|b| b.map(|b| b.low)).collect()))?;
        frame.push(format!("{name}_high"), Column::Real(bounds.iter().map(|b| b.map(|b| b.high)).collect()))?;
    }
    frame.push("rank", Column::Real(scaling.rank.clone()))?;
    let judged = |v: &Verdict| (*v != Verdict::Unjudged).then(|| v.name().into());
    frame.push("verdict", Column::Text(scaling.verdict.iter().map(judged).collect()))?;
    frame.push("within_shared", Column::Truth(scaling.within_shared.clone()))?;
    frame.push("active_tokens", Column::whole(scaling.active_tokens.iter().map(|&n| n as i64)))?;
    frame.push("control", Column::truth(scaling.control.iter().copied()))?;
    Ok(frame)
}
