//! Latents as an experiment chooses them, from the rows of classes and Latent Scaling.

use std::collections::{BTreeMap, BTreeSet};

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::frames::ROWS;
use super::steps::Job;
use super::wiring::{input, inputs};
use super::{Error, Result};
use crate::lang::plan::spec::{BELIEVABLE, HowMany, LatentColumn, LatentTest, Latents};
use crate::lang::plan::{Spec, StepIndex};
use crate::lang::syntax::tree::Operator;
use crate::ml::scaling::average_ranks;
use crate::out::Frame;
use crate::out::frame::Cell;

/// m_j by latent, the largest f_j S_j on the held-out rows, where the steps in role `latents` name classes of the crosscoder `of`.
///
/// # Errors
/// When rows cannot be read.
pub fn largest_of_classes(job: &Job<'_>, of: StepIndex) -> Result<Option<BTreeMap<u32, f32>>> {
    for index in inputs(job.step, "latents") {
        let step = &job.plan.steps[index.0];
        if !matches!(step.spec, Spec::Classify(_)) || input(step, "of")? != of {
            continue;
        }
        let frame = Frame::read(&job.store.artifact(&step.id).join(ROWS))?;
        let numbers = frame.column("latent")?.cells().zip(frame.column("max_activation")?.cells());
        let largest = numbers.filter_map(|(latent, most)| Some((latent.number()? as u32, most.number()? as f32)));
        return Ok(Some(largest.collect()));
    }
    Ok(None)
}

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

    /// The latents of all draws, each once, in the order in which they come first.
    ///
    /// # Errors
    /// As [`Chooser::choose`].
    pub fn each(&self, what: &Latents) -> Result<Vec<u32>> {
        let mut seen = BTreeSet::new();
        let drawn = self.draws(what)?.concat();
        Ok(drawn.into_iter().filter(|latent| seen.insert(*latent)).collect())
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
                let believable = |value: f64| !is_ratio(column) || BELIEVABLE.contains(&value);
                let found = among.iter().filter_map(|latent| Some((*latent, *values.get(latent)?)));
                found.filter(|(_, value)| value.is_finite() && believable(*value)).collect()
            }
        };
        let sign = if by.column == "rank" || is_ratio(&by.column) { 1.0 } else { -1.0 };
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

/// nu and the ends of its intervals: the smallest are the most specific.
fn is_ratio(column: &str) -> bool {
    column.starts_with("nu_")
}

/// Shares are rounded down. 0.29 * 100 is 28.999.. in f64, hence a billionth.
fn how_many(amount: HowMany, of: usize) -> usize {
    match amount {
        HowMany::Count(count) => (count as usize).min(of),
        HowMany::Share(share) => ((share * of as f64 + 1e-9).floor() as usize).min(of),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::out::Column;

    /// Classes of eight latents, and their scaling: latent 5 never fired, 6 and 7 have ratios that nobody believes.
    fn chooser(seed: u64) -> Chooser {
        let class =
            ["tuned_only", "shared", "tuned_only", "tuned_only", "shared", "tuned_only", "tuned_only", "tuned_only"];
        let classes = Frame::new()
            .with("latent", Column::whole(0..8))
            .and_then(|f| f.with("delta_norm", Column::real([0.95, 0.5, 0.91, 0.99, 0.5, 0.97, 0.92, 0.91])))
            .and_then(|f| f.with("class", Column::text(class)))
            .and_then(|f| f.with("frequency", Column::real([0.1, 0.2, 0.1, 0.3, 0.1, 0.0, 0.2, 0.1])))
            .unwrap();
        let reconstruction = [0.5, 0.0, 0.1, 0.3, 1.0, f64::NAN, 5.0, 0.2];
        let error = [0.3, 0.4, 0.1, 0.2, 1.5, f64::NAN, 0.1, -0.5];
        let ranks = [11.0, 5.0, 2.0, 8.0, 14.0, f64::NAN, 99.0, 99.0];
        // Rows of a scaling step stand in another order.
        let order = [7, 6, 5, 4, 3, 2, 1, 0];
        let pick = |values: [f64; 8]| Column::real(order.map(|j| values[j]));
        let scaling = Frame::new()
            .with("latent", Column::whole(order.map(|j| j as i64)))
            .and_then(|f| f.with("nu_reconstruction", pick(reconstruction)))
            .and_then(|f| f.with("nu_error", pick(error)))
            .and_then(|f| f.with("rank", pick(ranks)))
            .unwrap();
        Chooser { frames: vec![classes, scaling], latents: 8, seed }
    }

    fn column(input: usize, column: &str) -> LatentColumn {
        LatentColumn { input, column: column.to_string() }
    }

    fn tuned_only() -> Box<Latents> {
        Box::new(Latents::Class { input: 0, class: "tuned_only".into() })
    }

    fn ordered(last: bool, amount: HowMany, by: LatentColumn, of: Box<Latents>) -> Latents {
        Latents::Ordered { last, amount, by, of }
    }

    fn chosen(what: &Latents) -> Vec<u32> {
        chooser(1).choose(what).unwrap()
    }

    #[test]
    fn all_some_and_those_of_a_class() {
        assert_eq!(chosen(&Latents::All), [0, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(chosen(&Latents::These { latents: vec![5, 2] }), [5, 2]);
        assert_eq!(chosen(&tuned_only()), [0, 2, 3, 5, 6, 7]);
        assert_eq!(chosen(&Latents::Class { input: 0, class: "base_only".into() }), [0u32; 0]);
    }

    #[test]
    fn columns_go_down_and_ratios_up_with_equal_values_in_the_order_of_latents() {
        let by_norm = |last, count| ordered(last, HowMany::Count(count), column(0, "delta_norm"), tuned_only());
        assert_eq!(chosen(&by_norm(false, 3)), [3, 5, 0]);
        assert_eq!(chosen(&by_norm(true, 3)), [6, 2, 7]);
        assert_eq!(chosen(&by_norm(false, 100)), [3, 5, 0, 6, 2, 7]);
        let by_error = ordered(false, HowMany::Count(9), column(1, "nu_error"), Box::new(Latents::All));
        // 5 has none, and -0.5 of latent 7 is not believable; 6 is believable in this column.
        assert_eq!(chosen(&by_error), [2, 6, 3, 0, 1, 4]);
    }

    #[test]
    fn ranks_are_made_again_among_the_chosen() {
        // The stored ranks would put 1 between 2 and 3. Among 0, 2, 3: by nu_reconstruction 2 3 0, by nu_error 2 3 0.
        let by = |last, share, of| ordered(last, HowMany::Share(share), column(1, "rank"), of);
        assert_eq!(chosen(&by(false, 1.0, tuned_only())), [2, 3, 0]);
        // Among all: 1 is first by reconstruction and fourth by error; 2 is second and first.
        assert_eq!(chosen(&by(false, 1.0, Box::new(Latents::All))), [2, 1, 3, 0, 4]);
    }

    #[test]
    fn halves_round_down_and_leave_the_middle_out() {
        let by = |last| ordered(last, HowMany::Share(0.5), column(1, "rank"), Box::new(Latents::All));
        assert_eq!(chosen(&by(false)), [2, 1]);
        assert_eq!(chosen(&by(true)), [0, 4]);
        let one = ordered(true, HowMany::Share(0.5), column(1, "rank"), Box::new(Latents::These { latents: vec![3] }));
        assert_eq!(chosen(&one), [0u32; 0]);
    }

    /// 29 % of 100 were 28.
    #[test]
    fn a_share_loses_no_latent_to_rounding() {
        for (share, of, count) in
            [(0.29, 100, 29), (0.57, 100, 57), (0.58, 50, 29), (0.5, 7, 3), (1.0, 7, 7), (0.0, 7, 0)]
        {
            assert_eq!(how_many(HowMany::Share(share), of), count, "{share} of {of}");
        }
    }

    /// Figure 4 compared halves of different sets: only the order by rank left latents out.
    #[test]
    fn the_papers_orders_divide_the_same_latents() {
        // Of the tuned-only ones 5 is dead, 6 and 7 have ratios that nobody believes.
        let of = Box::new(tuned_only().measured(0, 1));
        assert_eq!(chosen(&of), [0, 2, 3]);
        for (amount, size) in [(HowMany::Share(0.5), 1), (HowMany::Share(1.0), 3)] {
            let by = |last, by| chosen(&ordered(last, amount, by, of.clone()));
            let halves =
                [(1, "rank"), (0, "delta_norm")].map(|(i, c)| [by(false, column(i, c)), by(true, column(i, c))]);
            assert!(halves.iter().flatten().all(|half| half.len() == size), "{halves:?}");
            for half in halves.iter().flatten().flatten() {
                assert!([0, 2, 3].contains(half), "{half}");
            }
        }
        // Four latents: nothing is left in the middle.
        let all = Box::new(Latents::These { latents: vec![0, 1, 2, 3, 5, 6] }.measured(0, 1));
        let union = |(input, name): (usize, &str)| {
            let by = |last| chosen(&ordered(last, HowMany::Share(0.5), column(input, name), all.clone()));
            let (mut best, worst) = (by(false), by(true));
            assert_eq!((best.len(), worst.len()), (2, 2));
            best.extend(worst);
            best.sort_unstable();
            best
        };
        assert_eq!([(1, "rank"), (0, "delta_norm")].map(union), [[0, 1, 2, 3]; 2]);
    }

    #[test]
    fn every_comparison_must_hold_and_an_empty_cell_satisfies_none() {
        let test = |input, name: &str, absolute, operator, value| LatentTest {
            column: column(input, name),
            absolute,
            operator,
            value,
        };
        let tests = vec![
            test(0, "delta_norm", false, Operator::Greater, 0.9),
            test(1, "nu_error", true, Operator::LessEqual, 0.3),
        ];
        let threshold = Latents::Threshold { tests, of: Box::new(Latents::All) };
        assert_eq!(chosen(&threshold), [0, 2, 3, 6]);
        let never = vec![test(1, "nu_error", false, Operator::NotEqual, 0.0)];
        assert!(!chosen(&Latents::Threshold { tests: never, of: Box::new(Latents::All) }).contains(&5));
    }

    #[test]
    fn draws_differ_from_one_another_and_are_the_same_again() {
        let random = |amount, draws| Latents::Random { amount, draws, of: tuned_only() };
        let draws = |seed| chooser(seed).draws(&random(HowMany::Count(3), 20)).unwrap();
        let first = draws(1);
        assert_eq!(first, draws(1));
        assert_ne!(first, draws(2));
        assert!(first.windows(2).any(|pair| pair[0] != pair[1]));
        let among = chosen(&tuned_only());
        for draw in &first {
            assert!(draw.len() == 3 && draw.windows(2).all(|pair| pair[0] < pair[1]), "{draw:?}");
            assert!(draw.iter().all(|latent| among.contains(latent)));
        }
        // More draws do not change the first ones; every latent comes in some.
        assert_eq!(chooser(1).draws(&random(HowMany::Count(3), 2)).unwrap(), first[..2]);
        assert!(among.iter().all(|latent| first.concat().contains(latent)));
        assert_eq!(chooser(1).draws(&random(HowMany::Share(0.5), 1)).unwrap()[0].len(), 3);
        assert_eq!(chooser(1).draws(&random(HowMany::Count(99), 1)).unwrap()[0], among);
    }

    /// `random(n, seeds = k)` in `steer` and `examples` showed a latent of two draws twice.
    #[test]
    fn latents_of_several_draws_come_once() {
        let what = Latents::Random { amount: HowMany::Count(3), draws: 20, of: tuned_only() };
        let each = chooser(1).each(&what).unwrap();
        let draws = chooser(1).draws(&what).unwrap();
        assert_eq!(each[..3], draws[0]);
        let mut sorted = each.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, chosen(&tuned_only()));
    }

    #[test]
    fn a_step_or_column_that_is_not_there_is_an_error() {
        let chooser = chooser(1);
        assert!(chooser.choose(&Latents::Class { input: 2, class: "shared".into() }).is_err());
        let missing = ordered(false, HowMany::Count(1), column(0, "nu_error"), Box::new(Latents::All));
        assert!(chooser.choose(&missing).is_err());
    }
}
