//! Which latents stay active (docs/method.md 1.4), on a GPU: the same entries as `src/ml/kernels/select.rs` finds, from the same
//! products.

use std::sync::Arc;

use super::array::Array;
use super::code::Code;
use super::gpu::Gpu;
use super::kernels::{BINS, ROWS};
use super::launch::{blocks, launch};
use super::scorer::Top;
use crate::ml::{Error, Result};

/// Digits of a score's bits.
const DIGITS: u32 = 3;
/// Those of them that a bound of near scores is made of: 21 bits, 2^-13 of the score at most, which is far less than what near scores
/// leave open. A whole pass over the scores is saved.
pub(super) const NEAR_DIGITS: u32 = 2;
/// What no score's bits are: the start of a minimum.
const NOTHING: u32 = u32::MAX;

/// Scores of B rows: (products + bias) S.
#[derive(Clone, Copy)]
pub struct Scores<'a> {
    /// x W_enc `[B, D]`, without the bias.
    pub products: &'a Array<f32>,
    /// `[D]`.
    pub bias: &'a Array<f32>,
    /// S `[D]`; 1 where it is not given.
    pub norms: Option<&'a Array<f32>>,
}

impl Scores<'_> {
    fn latents(&self) -> usize {
        self.bias.len()
    }

    fn rows(&self) -> usize {
        self.products.len() / self.latents()
    }
}

/// What a selection looks at.
pub(super) struct View<'a> {
    /// Their products are `[B, D]`, or with `offsets` those of the entries alone.
    pub scores: Scores<'a>,
    /// B.
    pub rows: usize,
    /// Latents that are looked at (ascending), or with `offsets` those of the entries.
    pub among: Option<&'a Array<u32>>,
    /// Where each row's entries begin, `[B + 1]`.
    pub offsets: Option<&'a Array<u32>>,
    /// With these the smallest scores that the products allow are looked at.
    pub margins: Option<Margins<'a>>,
}

/// How far products may be from those that count: see `scorer.rs`.
#[derive(Clone, Copy)]
pub(super) struct Margins<'a> {
    /// Of each row, `[B, 3]`.
    pub slopes: &'a Array<f32>,
    /// Of each latent, `[D, 2]`.
    pub sizes: &'a Array<f32>,
}

impl<'a> View<'a> {
    fn of(scores: Scores<'a>, among: Option<&'a Array<u32>>) -> Self {
        View { scores, rows: scores.rows(), among, offsets: None, margins: None }
    }

    /// Places of a row; with `offsets` of all of them.
    fn count(&self) -> usize {
        self.among.map_or(self.scores.latents(), Array::len)
    }

    fn margins(&self) -> (Option<&'a Array<f32>>, Option<&'a Array<f32>>) {
        (self.margins.map(|m| m.slopes), self.margins.map(|m| m.sizes))
    }
}

/// Buffers that are used again at each call.
pub struct Selection {
    gpu: Arc<dyn Gpu>,
    /// The digits found of the smallest score that stays, what is left to take of its equals, and whether it is found.
    search: Array<u32>,
    counts: Array<u32>,
    /// Of each row: scores over the bound, scores that equal it, these in the rows before, and how many of them stay.
    over: Array<u32>,
    equal: Array<u32>,
    before: Array<u32>,
    allowed: Array<u32>,
    /// Of each row: entries that stay, and the bound.
    kept: Array<u32>,
    bounds: Array<u32>,
    least: Array<u32>,
}

impl Selection {
    /// Nothing selected yet.
    pub fn new(gpu: &Arc<dyn Gpu>) -> Result<Self> {
        let array = || Array::empty(gpu);
        Ok(Selection {
            gpu: gpu.clone(),
            search: Array::zeros(gpu, 3)?,
            counts: Array::zeros(gpu, BINS)?,
            over: array(),
            equal: array(),
            before: array(),
            allowed: array(),
            kept: array(),
            bounds: array(),
            least: Array::of(gpu, &[NOTHING])?,
        })
    }

    fn resize(&mut self, rows: usize) -> Result<()> {
        self.before.resize(rows + 1)?;
        [&mut self.over, &mut self.equal, &mut self.allowed, &mut self.kept, &mut self.bounds]
            .into_iter()
            .try_for_each(|array| array.resize(rows))
    }

    /// The `keep` largest positive scores of the whole batch. Of equal scores the one that comes first (by row, then latent) stays.
    pub fn batch_top_k(&mut self, of: Scores, keep: usize, code: &mut Code) -> Result<()> {
        self.top_of_batch(&View::of(of, None), keep, code)
    }

    pub(super) fn top_of_batch(&mut self, of: &View, keep: usize, code: &mut Code) -> Result<()> {
        let keep = keep.min(of.scores.products.len());
        self.search(of, keep, DIGITS)?;
        self.count(of, None)?;
        let (gpu, rows) = (self.gpu.clone(), of.rows);
        launch!(&gpu, "scan", [1, 1], &self.equal, &self.before, rows)?;
        let (search, over, equal, before) = (&self.search, &self.over, &self.equal, &self.before);
        let to = (&self.allowed, &self.kept);
        launch!(&gpu, "allow_equals", [blocks(rows), 1], search, over, equal, before, rows, to.0, to.1)?;
        code.offsets.resize(rows + 1)?;
        launch!(&gpu, "scan", [1, 1], &self.kept, &code.offsets, rows)?;
        code.open_for(rows, keep)?;
        self.write(of, None, Some(&self.search), true, code)
    }

    /// The bits of the smallest score that the last [`Selection::batch_top_k`] kept; see [`Selection::least_of`].
    pub fn least(&self) -> &Array<u32> {
        &self.least
    }

    /// The score of these bits: 0 where none was kept.
    pub fn least_of(bits: u32) -> f32 {
        let least = f32::from_bits(bits);
        if least.is_finite() { least } else { 0.0 }
    }

    fn start(&self, prefix: u32, wanted: usize, least: Option<&Array<u32>>) -> Result<()> {
        launch!(&self.gpu, "start_search", [1, 1], &self.search, prefix, wanted, least)
    }

    /// Finds the `keep`-th largest score of the batch; with fewer than all digits the smallest that begins with the same.
    pub(super) fn search(&mut self, of: &View, keep: usize, digits: u32) -> Result<()> {
        self.resize(of.rows)?;
        self.start(0, keep.min(of.scores.products.len()), Some(&self.least))?;
        let (gpu, grid, latents) = (&self.gpu, [of.rows.div_ceil(ROWS) as u32, 1], of.scores.latents());
        let Scores { products, bias, norms } = of.scores;
        let (slopes, sizes) = of.margins();
        for digit in 0..digits {
            let (search, counts) = (&self.search, &self.counts);
            launch!(
                gpu,
                "score_histogram",
                grid,
                products,
                bias,
                norms,
                of.among,
                of.offsets,
                slopes,
                sizes,
                of.rows,
                latents,
                search,
                digit,
                counts,
            )?;
            launch!(gpu, "narrow_search", [1, 1], search, digit, digits, counts)?;
        }
        Ok(())
    }

    /// The `keep` largest positive scores of each row, among all latents or those listed (ascending). Of equal scores the lower
    /// latent stays.
    pub fn row_top_k(&mut self, of: Scores, keep: usize, among: Option<&Array<u32>>, code: &mut Code) -> Result<()> {
        self.top_of_rows(&View::of(of, among), keep, code)
    }

    pub(super) fn top_of_rows(&mut self, of: &View, keep: usize, code: &mut Code) -> Result<()> {
        let keep = keep.min(of.count());
        self.cut_rows(of, keep, DIGITS)?;
        code.offsets.resize(of.rows + 1)?;
        launch!(&self.gpu, "scan", [1, 1], &self.kept, &code.offsets, of.rows)?;
        code.open_for(of.rows, of.rows * keep)?;
        self.write(of, None, None, false, code)
    }

    /// Finds the `keep`-th largest score of each row.
    pub(super) fn cut_rows(&mut self, of: &View, keep: usize, digits: u32) -> Result<()> {
        self.resize(of.rows)?;
        let (latents, count) = (of.scores.latents(), of.count());
        let keep = keep.min(count);
        let Scores { products, bias, norms } = of.scores;
        let (slopes, sizes) = of.margins();
        let (bounds, allowed, kept) = (&self.bounds, &self.allowed, &self.kept);
        launch!(
            &self.gpu,
            "row_cuts",
            [of.rows as u32, 1],
            products,
            bias,
            norms,
            of.among,
            of.offsets,
            slopes,
            sizes,
            latents,
            count,
            keep,
            digits,
            bounds,
            allowed,
            kept,
        )
    }

    /// The bounds found last, and how far apart they are.
    pub(super) fn bounds_of(&self, top: Top) -> (&Array<u32>, u32) {
        match top {
            Top::Batch(_) => (&self.search, 0),
            Top::Row(..) => (&self.bounds, 1),
        }
    }

    /// Every positive score over a threshold (strictly; one under 0 is 0), or over the threshold of its latent `[D]`.
    pub fn over(&mut self, of: Scores, threshold: f32, each: Option<&Array<f32>>, code: &mut Code) -> Result<()> {
        self.count_over(of, threshold, each, code)?;
        code.open(of.rows())?;
        self.write_over(of, each, code)
    }

    /// The `entries` positive scores that [`Selection::count_positive`] has just counted.
    pub fn counted_positive(&mut self, of: Scores, entries: usize, code: &mut Code) -> Result<()> {
        code.open_for(of.rows(), entries)?;
        self.write_over(of, None, code)
    }

    fn write_over(&mut self, of: Scores, each: Option<&Array<f32>>, code: &Code) -> Result<()> {
        self.allowed.clear()?;
        self.write(&View::of(of, None), each, Some(&self.search), false, code)
    }

    /// How many scores are over 0; the GPU is waited for.
    pub fn count_positive(&mut self, of: Scores, code: &mut Code) -> Result<usize> {
        self.count_over(of, 0.0, None, code)?;
        Ok(code.offsets.get_from(of.rows(), 1)?[0] as usize)
    }

    fn count_over(&mut self, of: Scores, threshold: f32, each: Option<&Array<f32>>, code: &mut Code) -> Result<()> {
        let rows = of.rows();
        self.resize(rows)?;
        self.start(threshold.max(0.0).to_bits(), 0, None)?;
        self.count(&View::of(of, None), each)?;
        code.offsets.resize(rows + 1)?;
        launch!(&self.gpu, "scan", [1, 1], &self.over, &code.offsets, rows)
    }

    fn count(&self, of: &View, each: Option<&Array<f32>>) -> Result<()> {
        let (grid, bound) = ([of.rows as u32, 1], &self.search);
        let latents = of.scores.latents();
        let Scores { products, bias, norms } = of.scores;
        let (over, equal) = (&self.over, &self.equal);
        launch!(
            &self.gpu,
            "count_scores",
            grid,
            products,
            bias,
            norms,
            each,
            of.among,
            of.offsets,
            latents,
            bound,
            over,
            equal,
        )
    }

    /// `one` is the bound of all rows; without it each row has its own.
    fn write(
        &self,
        of: &View,
        each: Option<&Array<f32>>,
        one: Option<&Array<u32>>,
        take_least: bool,
        code: &Code,
    ) -> Result<()> {
        let (latents, count) = (of.scores.latents(), of.count());
        let step = u32::from(one.is_none());
        let bounds = one.unwrap_or(&self.bounds);
        let least = take_least.then_some(&self.least);
        let Scores { products, bias, norms } = of.scores;
        launch!(
            &self.gpu,
            "write_code",
            [of.rows as u32, 1],
            products,
            bias,
            norms,
            each,
            of.among,
            of.offsets,
            latents,
            count,
            bounds,
            step,
            &self.allowed,
            &code.offsets,
            &code.latents,
            &code.values,
            least,
        )
    }
}

/// Whether the counts of a batch fit into what the kernels count with.
pub(super) fn fits(rows: usize, latents: usize, width: usize) -> Result<()> {
    let fits = [rows.checked_mul(latents), rows.checked_mul(width), Some(latents + 1), Some(width)]
        .into_iter()
        .all(|count| count.is_some_and(|count| count < u32::MAX as usize));
    if fits {
        return Ok(());
    }
    let problem = format!("a batch of {rows} rows times {latents} latents is over 2^32 scores; a smaller batch fits");
    Err(Error::invalid("train on a GPU", problem))
}
