//! The pass over the rows.

use std::collections::BTreeSet;
use std::sync::Arc;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::average_rank::average_ranks;
use super::betas::{Betas, Nus, Projections};
use super::bootstrap::{self, GROUPS, Intervals};
use super::config::{Direction, Fit, ScalingConfig};
use super::sums::Sums;
use super::verdict::Verdict;
use crate::ml::analysis::chunk_rows;
use crate::ml::analysis::delta_norm;
use crate::ml::analysis::vectors::{self, decoder_norms};
use crate::ml::crosscoder::{Crosscoder, Encoder, SparseCode};
use crate::ml::cuda::{Gpu, ScalingPass};
use crate::ml::kernels::{Columns, dot};
use crate::ml::{BASE, Error, Progress, Result, RowInfo, Rows, TUNED, Watch};

/// Delta_norm of shared latents (paper).
pub const SHARED: std::ops::RangeInclusive<f64> = 0.4..=0.6;

/// One entry a measured latent, ascending by latent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scaling {
    pub latent: Vec<u32>,
    /// True for latents that were measured only for comparison.
    pub control: Vec<bool>,
    /// The direction fitted.
    pub direction: Vec<Direction>,
    /// `None` when the latent never fires on the rows or its direction is zero.
    pub betas: Vec<Option<Betas>>,
    pub nus: Vec<Nus>,
    /// `None` when no intervals were asked for.
    pub intervals: Vec<Option<Intervals>>,
    /// Average rank of nu_reconstruction plus average rank of nu_error, both ascending, among the measured latents that are
    /// no control and have both: the smallest is the most specific one.
    pub rank: Vec<Option<f64>>,
    pub verdict: Vec<Verdict>,
    /// nu_reconstruction lies within the central 95% of those of the measured shared latents (Delta_norm in [`SHARED`]); `None` without such
    /// latents, and where it is not known.
    pub within_shared: Vec<Option<bool>>,
    /// Rows on which the latent is active.
    pub active_tokens: Vec<u64>,
    /// Rows read.
    pub rows: u64,
}

/// What is known of one measured latent while the rows go by.
pub(crate) struct Gathered {
    pub latent: usize,
    pub projections: Projections,
    pub active: u64,
    pub total: Sums,
    /// `[GROUPS]`, or empty without intervals.
    pub groups: Vec<Sums>,
}

/// Measures every latent asked for on the first `tokens` rows, in one pass over the active (row, latent) pairs.
///
/// A latent's sums are gathered by one task in the order of the rows, so no result depends on the number of threads.
pub fn scale(crosscoder: &Crosscoder, rows: &dyn Rows, config: &ScalingConfig, watch: &dyn Watch) -> Result<Scaling> {
    scale_on(None, crosscoder, rows, config, watch)
}

/// [`scale`], with the sums made on a GPU if one is given: the same equations, other roundings.
pub fn scale_on(
    gpu: Option<&Arc<dyn Gpu>>,
    crosscoder: &Crosscoder,
    rows: &dyn Rows,
    config: &ScalingConfig,
    watch: &dyn Watch,
) -> Result<Scaling> {
    check(crosscoder, rows, config)?;
    let measured = measured(crosscoder, config);
    match gpu {
        Some(gpu) => pass(&mut ScalingPass::new(gpu, crosscoder, measured)?, crosscoder, rows, config, watch),
        None => pass(&mut OnCpu::new(crosscoder, measured), crosscoder, rows, config, watch),
    }
}

/// What gathers the sums of the measured latents while the rows go by.
pub(crate) trait Gather {
    /// Takes rows `[n, 2, d]` and the bootstrap group of each.
    fn add(&mut self, values: &[f32], groups: &[u32]) -> Result<()>;

    /// What was gathered.
    fn gathered(&mut self) -> Result<Vec<Gathered>>;
}

fn pass(
    gather: &mut dyn Gather,
    crosscoder: &Crosscoder,
    rows: &dyn Rows,
    config: &ScalingConfig,
    watch: &dyn Watch,
) -> Result<Scaling> {
    let total = rows.count().min(config.tokens);
    let (width, chunk) = (crosscoder.width, chunk_rows(crosscoder.width));
    let mut values = vec![0.0f32; chunk * 2 * width];
    let mut infos = vec![RowInfo::default(); chunk];
    let mut start = 0;
    while start < total {
        if watch.stop() {
            return Err(Error::Interrupted);
        }
        let count = chunk.min((total - start) as usize);
        let values = &mut values[..count * 2 * width];
        rows.read(start, values)?;
        rows.info(start, &mut infos[..count])?;
        let groups: Vec<u32> = infos[..count].iter().map(|info| bootstrap::group(info) as u32).collect();
        gather.add(values, &groups)?;
        start += count as u64;
        watch.progress(&Progress { done: start, total, loss: None });
    }
    let mut scaling = table(gather.gathered()?, config, total);
    let shared: Vec<bool> = scaling.latent.iter().map(|&latent| is_shared(crosscoder, latent as usize)).collect();
    scaling.within_shared = within_shared(&scaling.nus, &shared);
    if crosscoder.variant.target().is_some() {
        scaling.of_activations();
    }
    Ok(scaling)
}

impl Scaling {
    /// An autoencoder has no reconstruction of the other model: what is about one, or about its error, is not there.
    fn of_activations(&mut self) {
        for betas in self.betas.iter_mut().flatten() {
            *betas = Betas { activation: betas.activation, ..Betas::UNKNOWN };
        }
        self.nus = self.nus.iter().map(|nus| Nus { activation: nus.activation, ..Nus::default() }).collect();
        for intervals in self.intervals.iter_mut().flatten() {
            *intervals = Intervals { activation: intervals.activation, ..Intervals::default() };
        }
        self.rank.fill(None);
        self.within_shared.fill(None);
        self.verdict.fill(Verdict::Unjudged);
    }
}

/// Sums made on the CPU.
struct OnCpu<'a> {
    crosscoder: &'a Crosscoder,
    encoder: Encoder<'a>,
    columns: Columns,
    measured: Vec<Gathered>,
}

impl<'a> OnCpu<'a> {
    fn new(crosscoder: &'a Crosscoder, measured: Vec<Gathered>) -> Self {
        OnCpu { crosscoder, encoder: crosscoder.encoder(), columns: Columns::default(), measured }
    }
}

impl Gather for OnCpu<'_> {
    fn add(&mut self, values: &[f32], groups: &[u32]) -> Result<()> {
        let code = self.encoder.encode(values);
        self.columns.fill(self.crosscoder.latents, &[(&code, &code.values)]);
        let errors = errors(self.crosscoder, &code, values);
        gather(self.crosscoder, &mut self.measured, &self.columns, values, &errors, groups);
        Ok(())
    }

    fn gathered(&mut self) -> Result<Vec<Gathered>> {
        Ok(std::mem::take(&mut self.measured))
    }
}

fn is_shared(crosscoder: &Crosscoder, latent: usize) -> bool {
    let [base, tuned] = decoder_norms(crosscoder, latent);
    delta_norm(base, tuned).is_some_and(|delta| SHARED.contains(&delta))
}

/// At most `count` of the `candidates`, drawn without replacement by `seed`, ascending.
pub fn control_sample(candidates: &[u32], count: usize, seed: u64) -> Vec<u32> {
    let mut sample = candidates.to_vec();
    sample.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    sample.truncate(count);
    sample.sort_unstable();
    sample
}

fn check(crosscoder: &Crosscoder, rows: &dyn Rows, config: &ScalingConfig) -> Result<()> {
    if rows.width() != crosscoder.width {
        let problem = format!("rows of width {}, crosscoder of width {}", rows.width(), crosscoder.width);
        return Err(Error::invalid("latent scaling", problem));
    }
    let chosen = config.latents.iter().flatten().chain(&config.control);
    match chosen.max() {
        Some(&j) if j as usize >= crosscoder.latents => {
            Err(Error::invalid("latent scaling", format!("latent {j} of {}", crosscoder.latents)))
        }
        _ => Ok(()),
    }
}

fn measured(crosscoder: &Crosscoder, config: &ScalingConfig) -> Vec<Gathered> {
    let mut latents: Vec<usize> = match &config.latents {
        None => (0..crosscoder.latents).collect(),
        Some(chosen) => chosen.iter().chain(&config.control).map(|&j| j as usize).collect(),
    };
    latents.sort_unstable();
    latents.dedup();
    let groups = if config.intervals > 0 { GROUPS } else { 0 };
    let gathered = |latent| Gathered {
        latent,
        projections: projections(crosscoder, latent, direction(crosscoder, latent, config.fit)),
        active: 0,
        total: Sums::default(),
        groups: vec![Sums::default(); groups],
    };
    latents.into_iter().map(gathered).collect()
}

fn direction(crosscoder: &Crosscoder, latent: usize, fit: Fit) -> Direction {
    let [base, tuned] = decoder_norms(crosscoder, latent);
    match fit {
        Fit::Tuned => Direction::Tuned,
        Fit::Base => Direction::Base,
        Fit::Both if delta_norm(base, tuned).is_some_and(|x| x < 0.1) => Direction::Base,
        Fit::Both => Direction::Tuned,
    }
}

/// The direction that is fitted, `[d]`.
pub(crate) fn fitted(crosscoder: &Crosscoder, latent: usize, direction: Direction) -> &[f32] {
    let model = match direction {
        Direction::Base => BASE,
        Direction::Tuned => TUNED,
    };
    crosscoder.decoder_row(model, latent)
}

fn projections(crosscoder: &Crosscoder, latent: usize, direction: Direction) -> Projections {
    let d = fitted(crosscoder, latent, direction);
    Projections {
        direction,
        squared: vectors::dot(d, d),
        decoder: [BASE, TUNED].map(|m| vectors::dot(d, crosscoder.decoder_row(m, latent))),
        bias: [BASE, TUNED].map(|m| vectors::dot(d, &crosscoder.decoder_bias[m * d.len()..(m + 1) * d.len()])),
    }
}

/// h - hhat, `[B, 2, d]`.
fn errors(crosscoder: &Crosscoder, code: &SparseCode, values: &[f32]) -> Vec<f32> {
    let mut errors = crosscoder.decode(code);
    errors.par_iter_mut().zip(values).for_each(|(error, value)| *error = value - *error);
    errors
}

fn gather(
    crosscoder: &Crosscoder,
    measured: &mut [Gathered],
    code: &Columns,
    values: &[f32],
    errors: &[f32],
    groups: &[u32],
) {
    let width = crosscoder.width;
    measured.par_iter_mut().for_each(|gathered| {
        let d = fitted(crosscoder, gathered.latent, gathered.projections.direction);
        let (rows, code, _) = code.column(gathered.latent);
        for (&row, &f) in rows.iter().zip(code) {
            let (row, f) = (row as usize, f as f64);
            let along = |of: &[f32], m: usize| dot(d, &of[(2 * row + m) * width..(2 * row + m + 1) * width]) as f64;
            let sums = Sums {
                code: f,
                code_squared: f * f,
                activation: [BASE, TUNED].map(|m| f * along(values, m)),
                error: [BASE, TUNED].map(|m| f * along(errors, m)),
            };
            gathered.active += 1;
            gathered.total += &sums;
            if let Some(group) = gathered.groups.get_mut(groups[row] as usize) {
                *group += &sums;
            }
        }
    });
}

fn table(measured: Vec<Gathered>, config: &ScalingConfig, rows: u64) -> Scaling {
    let draws = bootstrap::draws(config.intervals, config.seed);
    let intervals: Vec<Option<Intervals>> = measured
        .par_iter()
        .map(|g| (!draws.is_empty()).then(|| bootstrap::intervals(&g.groups, &g.projections, &draws)))
        .collect();
    let chosen: Option<BTreeSet<u32>> = config.latents.as_ref().map(|chosen| chosen.iter().copied().collect());
    let chosen = |j: u32| chosen.as_ref().is_none_or(|chosen| chosen.contains(&j));
    let mut scaling = Scaling { intervals, rows, ..Scaling::default() };
    for gathered in &measured {
        let betas = Betas::new(&gathered.total, &gathered.projections);
        let nus = betas.map(|betas| betas.nus(gathered.projections.direction)).unwrap_or_default();
        scaling.latent.push(gathered.latent as u32);
        scaling.control.push(!chosen(gathered.latent as u32));
        scaling.direction.push(gathered.projections.direction);
        scaling.betas.push(betas);
        scaling.nus.push(nus);
        scaling.verdict.push(Verdict::of(nus.reconstruction, nus.error, (config.nu_reconstruction, config.nu_error)));
        scaling.active_tokens.push(gathered.active);
    }
    scaling.rank = ranks(&scaling);
    scaling
}

/// Whether nu_reconstruction lies between the 2.5% and the 97.5% quantile of those of the shared latents.
fn within_shared(nus: &[Nus], shared: &[bool]) -> Vec<Option<bool>> {
    let known = nus.iter().zip(shared).filter(|(_, shared)| **shared);
    let mut ratios: Vec<f64> = known.filter_map(|(nus, _)| nus.reconstruction).filter(|nu| nu.is_finite()).collect();
    ratios.sort_by(f64::total_cmp);
    let (Some(low), Some(high)) = (quantile(&ratios, 0.025), quantile(&ratios, 0.975)) else {
        return vec![None; nus.len()];
    };
    nus.iter().map(|nus| nus.reconstruction.map(|nu| (low..=high).contains(&nu))).collect()
}

/// The quantile of ascending numbers, on the line between the two next to it: number at (n - 1) q.
fn quantile(ascending: &[f64], q: f64) -> Option<f64> {
    let place = q * (ascending.len().checked_sub(1)? as f64);
    let (low, part) = (place.floor() as usize, place.fract());
    let high = ascending.get(low + 1).unwrap_or(&ascending[low]);
    Some(ascending[low] + part * (high - ascending[low]))
}

fn ranks(scaling: &Scaling) -> Vec<Option<f64>> {
    let both =
        |i: usize| !scaling.control[i] && scaling.nus[i].reconstruction.is_some() && scaling.nus[i].error.is_some();
    let of = |nu: &dyn Fn(&Nus) -> Option<f64>| {
        let values: Vec<_> = scaling.nus.iter().enumerate().map(|(i, n)| nu(n).filter(|_| both(i))).collect();
        average_ranks(&values)
    };
    let (reconstruction, error) = (of(&|n| n.reconstruction), of(&|n| n.error));
    reconstruction.iter().zip(&error).map(|(r, e)| Some((*r)? + (*e)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_numpy() {
        // numpy.quantile([1, 2, 4, 8], [0.025, 0.5, 0.975, 1]) = [1.075, 3, 7.7, 8]
        let numbers = [1.0, 2.0, 4.0, 8.0];
        for (q, expected) in [(0.025, 1.075), (0.5, 3.0), (0.975, 7.7), (1.0, 8.0)] {
            let found = quantile(&numbers, q).expect("numbers");
            assert!((found - expected).abs() < 1e-12, "{q}: {found}");
        }
        assert_eq!(quantile(&[3.0], 0.025), Some(3.0));
        assert_eq!(quantile(&[], 0.5), None);
    }

    #[test]
    fn the_shared_latents_have_a_central_interval() {
        let nu = |reconstruction| Nus { reconstruction, ..Nus::default() };
        let nus = [nu(Some(0.8)), nu(Some(1.2)), nu(Some(1.0)), nu(Some(0.1)), nu(None)];
        let within = within_shared(&nus, &[true, true, false, false, true]);
        assert_eq!(within, [Some(false), Some(false), Some(true), Some(false), None], "0.81 to 1.19");
        assert_eq!(within_shared(&nus, &[false; 5]), [None; 5]);
    }
}
