//! Latents as an experiment chooses them, from the rows of classes and Latent Scaling.

use std::collections::BTreeMap;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::frames::ROWS;
use super::steps::Job;
use super::wiring::inputs;
use super::{Error, Result};
use crate::lang::plan::spec::{HowMany, LatentColumn, LatentTest, Latents};
use crate::lang::syntax::tree::Operator;
use crate::ml::scaling::average_ranks;
use crate::out::Frame;
use crate::out::frame::Cell;

/// Ratios outside of this range are not ordered by (docs/method.md 4.2).
const BELIEVABLE: std::ops::RangeInclusive<f64> = -0.1..=2.0;
/// Columns whose smallest values are the most specific.
const ASCENDING: &[&str] = &["rank", "nu_activation", "nu_reconstruction", "nu_error"];

/// Reads the steps in role `latents` and chooses from them.
pub struct Chooser {
    frames: Vec<Frame>,
    /// D.
    latents: u32,
    seed: u64,
}

impl Chooser {
    /// For a crosscoder of so many latents.
    ///
    /// # Errors
    /// When rows cannot be read.
    pub fn new(job: &Job<'_>, latents: usize, seed: u64) -> Result<Self> {
        let frames: Result<Vec<Frame>> = inputs(job.step, "latents")
            .into_iter()
            .map(|index| Ok(Frame::read(&job.store.artifact(&job.plan.steps[index.0].id).join(ROWS))?))
            .collect();
        Ok(Chooser { frames: frames?, latents: latents as u32, seed })
    }

    /// The chosen latents, in the order of the choice: for `top` the first comes first.
    ///
    /// # Errors
    /// When a column is not there; a defect of the planner.
    pub fn choose(&self, what: &Latents) -> Result<Vec<u32>> {
        Ok(self.draws(what)?.swap_remove(0))
    }

    /// One set a draw of `random`; one set of everything else.
    ///
    /// # Errors
    /// As [`Chooser::choose`].
    pub fn draws(&self, what: &Latents) -> Result<Vec<Vec<u32>>> {
        let one = match what {
            Latents::All => (0..self.latents).collect(),
            Latents::These { latents } => latents.clone(),
            Latents::Class { input, class } => {
                let classes = self.frame(*input)?.column("class")?;
                let of_class = |row: &usize| classes.cell(*row) == Cell::Text(class);
                self.numbers(*input)?.iter().enumerate().filter(|(row, _)| of_class(row)).map(|(_, j)| *j).collect()
            }
            Latents::Ordered { last, amount, by, of } => {
                let among = self.choose(of)?;
                let ordered = self.ordered(&among, by)?;
                let count = how_many(*amount, ordered.len());
                match last {
                    false => ordered[..count].to_vec(),
                    true => ordered[ordered.len() - count..].to_vec(),
                }
            }
            Latents::Threshold { tests, of } => {
                let mut kept = self.choose(of)?;
                for test in tests {
                    let values = self.values(&test.column)?;
                    kept.retain(|latent| values.get(latent).is_some_and(|value| holds(test, *value)));
                }
                kept
            }
            Latents::Random { amount, draws, of } => {
                let among = self.choose(of)?;
                let count = how_many(*amount, among.len());
                return Ok((0..*draws).map(|draw| drawn(&among, count, self.seed, draw)).collect());
            }
        };
        Ok(vec![one])
    }

    fn frame(&self, input: usize) -> Result<&Frame> {
        self.frames.get(input).ok_or_else(|| Error::Failed("a step that chosen latents name is not an input".into()))
    }

    /// The column `latent` of an input.
    fn numbers(&self, input: usize) -> Result<Vec<u32>> {
        let cells = self.frame(input)?.column("latent")?;
        Ok(cells.cells().filter_map(|cell| cell.number()).map(|number| number as u32).collect())
    }

    /// The numbers of a column by latent, empty cells left out.
    fn values(&self, column: &LatentColumn) -> Result<BTreeMap<u32, f64>> {
        let cells = self.frame(column.input)?.column(&column.column)?;
        let numbers = self.numbers(column.input)?;
        Ok(numbers.into_iter().zip(cells.cells()).filter_map(|(latent, cell)| Some((latent, cell.number()?))).collect())
    }

    /// `among`, those that can be ordered by the column, the first ones first; equal values in the order of the latents.
    fn ordered(&self, among: &[u32], by: &LatentColumn) -> Result<Vec<u32>> {
        let mut rows: Vec<(u32, f64)> = match by.column.as_str() {
            "rank" => self.ranked(among, by.input)?,
            column => {
                let values = self.values(by)?;
                let believable = |value: f64| !column.starts_with("nu_") || BELIEVABLE.contains(&value);
                let found = among.iter().filter_map(|latent| Some((*latent, *values.get(latent)?)));
                found.filter(|(_, value)| value.is_finite() && believable(*value)).collect()
            }
        };
        let sign = if ASCENDING.contains(&by.column.as_str()) { 1.0 } else { -1.0 };
        rows.sort_by(|a, b| (sign * a.1).total_cmp(&(sign * b.1)).then(a.0.cmp(&b.0)));
        Ok(rows.into_iter().map(|(latent, _)| latent).collect())
    }

    /// rank(nu_reconstruction) + rank(nu_error) among the chosen ones with believable ratios (docs/method.md 5.2).
    fn ranked(&self, among: &[u32], input: usize) -> Result<Vec<(u32, f64)>> {
        let values = |column: &str| self.values(&LatentColumn { input, column: column.to_string() });
        let (reconstruction, error) = (values("nu_reconstruction")?, values("nu_error")?);
        let ratios: Vec<(u32, f64, f64)> = among
            .iter()
            .filter_map(|latent| Some((*latent, *reconstruction.get(latent)?, *error.get(latent)?)))
            .filter(|(_, r, e)| BELIEVABLE.contains(r) && BELIEVABLE.contains(e))
            .collect();
        let by_reconstruction = average_ranks(&ratios.iter().map(|r| Some(r.1)).collect::<Vec<_>>());
        let by_error = average_ranks(&ratios.iter().map(|r| Some(r.2)).collect::<Vec<_>>());
        let sums = by_reconstruction.iter().zip(&by_error).map(|(a, b)| Some((*a)? + (*b)?));
        Ok(ratios.iter().zip(sums).filter_map(|(r, sum)| Some((r.0, sum?))).collect())
    }
}

fn how_many(amount: HowMany, of: usize) -> usize {
    match amount {
        HowMany::Count(count) => (count as usize).min(of),
        HowMany::Share(share) => ((share * of as f64) as usize).min(of),
    }
}

fn holds(test: &LatentTest, value: f64) -> bool {
    let value = if test.absolute { value.abs() } else { value };
    match test.operator {
        Operator::Less => value < test.value,
        Operator::LessEqual => value <= test.value,
        Operator::Greater => value > test.value,
        Operator::GreaterEqual => value >= test.value,
        Operator::Equal => value == test.value,
        Operator::NotEqual => value != test.value,
    }
}

/// `count` of `among` without repetition, ascending; a stream of random numbers of its own for each draw.
fn drawn(among: &[u32], count: usize, seed: u64, draw: u64) -> Vec<u32> {
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    generator.set_stream(draw);
    let mut all = among.to_vec();
    let (chosen, _) = all.partial_shuffle(&mut generator, count);
    let mut chosen = chosen.to_vec();
    chosen.sort_unstable();
    chosen
}
