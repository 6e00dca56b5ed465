//! The scores of a batch on a GPU: near ones for all entries by one product, and those that count for the few that can be among the
//! largest.
//!
//! A product of a library sums in an order of its own, and one of bf16 numbers rounds what it reads. So that the selection depends on
//! neither, the score that counts is made by a kernel of ours: P = fl(x.w), a warp an entry, lane l of which sums the places l, l + 32, ..
//! with fused multiply-add, then the lanes as a tree. It is made where the near product P' = fl(x'.w') says that the entry can matter:
//!
//! ```text
//! |P' - P| <= a N + b M + c,   N >= ||w||, M >= ||w - w'||, r = ||x|| + ||x - x'|| >= ||x'||
//! a = ||x - x'|| + g' r + g ||x|| + 2^-125 sqrt(K)
//! b = r (1 + g')
//! c = 2^-124 (K + 64) + 2^-125 sqrt(K) r
//! ```
//!
//! because x.w - x'.w' = (x - x').w + x'.(w - w') (Cauchy-Schwarz), a sum of K products in any order is off by at most K 2^-24 of the norms'
//! product (Higham, Accuracy and Stability, 3.1), and what a unit flushes to zero is smaller than 2^-126 a number. x' and w' are x and w for
//! a product of f32, where b = 0; for bf16 they are rounded to the nearest. g' = (2 K + 8) 2^-24 for f32 and (4 K + 8) 2^-24 for bf16: twice and four
//! times the sum's bound, because tensor cores cut off what they align (at most 1.5 K 2^-23 with four products an addition and no bit to spare;
//! Fasi, Higham, Mikaitis and Pranesh 2021), and 8 for the rounding of P' -+ e. g = (K / 16 + 14) 2^-24 is twice the bound of our kernel. Norms are
//! sums in f64, enlarged by 2^-20 (in any order they are off by K 2^-53) and rounded up; a, b and c are enlarged by 2^-10 for their own
//! rounding. Rows and latents over 1e18 or that are not finite have no bound: they
//! always count as near the top, and so does what is no number. The bound holds to K = 2^16.
//!
//! With e the bound, fl(fl(P' - e + bias) S) <= score <= fl(fl(P' + e + bias) S), because rounding is monotone and S is not negative. If T is the
//! `keep`-th largest of the lower ends (of the batch, or of a row), at least `keep` scores are T or more, so whatever is among the `keep` largest has
//! an upper end of T or more. A smaller T only lets in more, and T is made of the first 21 bits of its score. Those entries are scored again, and
//! selected among as ever: the selection and its values are the same for every product within its bound.
//!
//! What the encoder's side is made of (its rows in bf16 and their sizes) is held from step to step, because few other passes read as much:
//! whoever moves rows of the encoder writes the copy too ([`Scorer::follow`]). It is made anew where nobody did: at first, and after
//! [`Scorer::forget_encoder`].

use std::sync::Arc;

use super::array::Array;
use super::code::Code;
use super::gpu::{Arg, Form, Gpu, Narrow, Product};
use super::kernels::ROWS;
use super::launch::{blocks, launch, slices};
use super::selection::{Margins, NEAR_DIGITS, Scores, Selection, View};
use crate::ml::crosscoder::Precision;
use crate::ml::{Error, Result};

/// What makes the near products.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Bf16,
    F32,
}

/// Whose largest scores stay.
#[derive(Clone, Copy)]
pub enum Top<'a> {
    /// So many of all rows together.
    Batch(usize),
    /// So many of each row, among all latents or those listed (ascending).
    Row(usize, Option<&'a Array<u32>>),
}

/// What is multiplied.
#[derive(Clone, Copy)]
pub struct Operands<'a> {
    /// `[B, K]`.
    pub x: &'a Array<f32>,
    /// `[D, K]`.
    pub encoder: &'a Array<f32>,
    /// `[D]`.
    pub bias: &'a Array<f32>,
    /// S `[D]`.
    pub norms: &'a Array<f32>,
    /// Where x W_enc `[B, D]` is written to, without the bias.
    pub products: &'a Array<f32>,
}

impl<'a> Operands<'a> {
    fn scores(&self, products: &'a Array<f32>) -> Scores<'a> {
        Scores { products, bias: self.bias, norms: Some(self.norms) }
    }

    fn product(&self) -> Product {
        let n = self.bias.len();
        let k = self.encoder.len() / n;
        Product { form: Form::Rows, m: self.x.len() / k, n, k }
    }
}

/// Depths to which the bound is proved.
const DEEPEST: usize = 1 << 16;
/// So many times the entries wanted, and so many a row, are scored again; when more can matter, the near products are made in f32.
const MOST_TIMES: usize = 8;
const MOST_OF_ROW: usize = 32;
/// Steps after which bf16 is tried again, at most.
const LONGEST_REST: u64 = 64;

/// So many of `all` entries are scored again at most, before the near products are made in f32; there is room for as many.
pub(super) fn scored_again(wanted: usize, rows: usize, all: usize) -> usize {
    wanted.saturating_mul(MOST_TIMES).saturating_add(rows * MOST_OF_ROW).min(all)
}

/// How what the scorer has of the encoder stands: its rows, rounded, and for near products their sizes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Held {
    Nothing,
    /// The encoder may have changed since.
    Stale,
    Fresh,
}

/// Where a kernel that changes rows of the encoder keeps the scorer's copy of them up, as `measure_rows` and `round_numbers` would make it. Places
/// are 0, and there are no sizes, where none are held.
pub(super) struct Copied {
    /// bf16 `[D, K]`.
    pub narrow: Arg,
    /// Rounded numbers as f32 `[D, K]`: to TF32 or to bf16.
    pub wide: Arg,
    pub is_tf32: bool,
    /// `[D, 2]`.
    pub sizes: Option<Arg>,
}

/// Buffers that are used again at each step.
pub struct Scorer {
    gpu: Arc<dyn Gpu>,
    precision: Precision,
    way: Way,
    /// What made the products at hand; `None` when they are as `precision` says and count themselves.
    near: Option<Way>,
    /// Of a step of a top-k loss x and the encoder; of other products what is at hand.
    rounded: [Rounded; 2],
    held: Held,
    /// Norms of x and of the encoder, and what bf16 leaves of them, `[B, 2]` and `[D, 2]`.
    sizes: [Array<f32>; 2],
    /// a, b and c of each row, `[B, 3]`.
    slopes: Array<f32>,
    /// A bit for each entry that can matter, `[B, D / 32]`.
    marks: Array<u32>,
    /// The entries that can matter, by row: counts `[B]`, offsets `[B + 1]`, latents, and their products.
    counts: Array<u32>,
    offsets: Array<u32>,
    candidates: Array<u32>,
    exact: Array<f32>,
    /// Steps that were scored in f32 because too many entries could matter, how many did without a break, and how many are still to come.
    fallbacks: u64,
    streak: u32,
    rest: u64,
    /// Whether that happened when bf16 was tried last.
    fell: bool,
}

/// An operand rounded: two bytes each, or f32.
struct Rounded {
    narrow: Array<u16>,
    wide: Array<f32>,
}

impl Rounded {
    fn empty(gpu: &Arc<dyn Gpu>) -> Self {
        Rounded { narrow: Array::empty(gpu), wide: Array::empty(gpu) }
    }

    /// Where a unit for these numbers reads them; one for f32 reads those that are `wide`.
    fn fill(&mut self, gpu: &Arc<dyn Gpu>, of: Narrow, is_wide: bool, values: &Array<f32>) -> Result<()> {
        let count = values.len();
        let (mut narrow, mut wide) = (None, None);
        if is_wide {
            self.wide.resize(count)?;
            wide = Some(&self.wide);
        } else {
            self.narrow.resize(count)?;
            narrow = Some(&self.narrow);
        }
        let (grid, tf32) = ([blocks(count), 1], u32::from(of == Narrow::Tf32));
        launch!(gpu, "round_numbers", grid, values, count as u64, tf32, wide, narrow)
    }

    fn place(&self, is_wide: bool) -> u64 {
        if is_wide { self.wide.place() } else { self.narrow.place() }
    }
}

impl Scorer {
    /// Of a training in a precision.
    pub fn new(gpu: &Arc<dyn Gpu>, precision: Precision) -> Self {
        let way = if gpu.has_narrow() { Way::Bf16 } else { Way::F32 };
        let (ints, floats) = (|| Array::empty(gpu), || Array::empty(gpu));
        Scorer {
            gpu: gpu.clone(),
            precision,
            way,
            near: None,
            rounded: [Rounded::empty(gpu), Rounded::empty(gpu)],
            held: Held::Nothing,
            sizes: [floats(), floats()],
            slopes: floats(),
            marks: ints(),
            counts: ints(),
            offsets: ints(),
            candidates: ints(),
            exact: floats(),
            fallbacks: 0,
            streak: 0,
            rest: 0,
            fell: false,
        }
    }

    /// Near products are made this way from here on. No selection and no value changes.
    pub fn set_way(&mut self, way: Way) {
        self.way = if self.gpu.has_narrow() { way } else { Way::F32 };
        self.forget_encoder();
    }

    /// The encoder has changed in a way that its copy did not follow: it is made anew before the next scores.
    pub(super) fn forget_encoder(&mut self) {
        if self.held == Held::Fresh {
            self.held = Held::Stale;
        }
    }

    /// Where to write what changes of the encoder that was scored last. Who takes this keeps the copy up: the next scores read it as it is then.
    /// Without it every [`Scorer::score`] makes the copy anew.
    pub(super) fn follow(&mut self) -> Copied {
        let none = Arg::Place(0);
        if self.held == Held::Nothing {
            return Copied { narrow: none, wide: none, is_tf32: false, sizes: None };
        }
        self.held = Held::Fresh;
        let Rounded { narrow, wide } = &self.rounded[1];
        let sizes = (self.precision == Precision::F32).then(|| self.sizes[1].arg());
        Copied { narrow: narrow.arg(), wide: wide.arg(), is_tf32: self.precision == Precision::Tf32, sizes }
    }

    /// Steps that were scored in f32 because too many entries could be among the largest.
    pub fn fallbacks(&self) -> u64 {
        self.fallbacks
    }

    /// Entries that were scored again by the last selection.
    pub fn rescored(&self) -> usize {
        self.candidates.len()
    }

    /// A product as the training's precision says.
    pub fn multiply(&mut self, of: Product, a: &Array<f32>, b: &Array<f32>, c: &Array<f32>) -> Result<()> {
        self.held = Held::Nothing;
        self.multiply_kept(of, a, b, c, false)
    }

    /// The same; with `is_kept` the second operand is there already, rounded.
    fn multiply_kept(
        &mut self,
        of: Product,
        a: &Array<f32>,
        b: &Array<f32>,
        c: &Array<f32>,
        is_kept: bool,
    ) -> Result<()> {
        let narrow = match self.precision {
            Precision::F32 => return self.gpu.product(of, a.place(), b.place(), c.place()),
            Precision::Tf32 => Narrow::Tf32,
            Precision::Bf16 => Narrow::Bf16,
        };
        let has_narrow = self.gpu.has_narrow();
        let is_wide = narrow == Narrow::Tf32 || !has_narrow;
        let [left, right] = &mut self.rounded;
        left.fill(&self.gpu, narrow, is_wide, a)?;
        if !is_kept {
            right.fill(&self.gpu, narrow, is_wide, b)?;
        }
        let (a, b) = (left.place(is_wide), right.place(is_wide));
        // Without such units the same numbers are multiplied in f32.
        match has_narrow {
            true => self.gpu.narrow_product(narrow, of, a, b, c.place()),
            false => self.gpu.product(of, a, b, c.place()),
        }
    }

    /// Scores a batch, from which [`Scorer::top`] then selects.
    pub fn score(&mut self, of: Operands) -> Result<()> {
        let product = of.product();
        let depth = product.k;
        let is_kept = self.held == Held::Fresh;
        self.held = Held::Stale;
        if self.precision != Precision::F32 {
            self.near = None;
            return self.multiply_kept(product, of.x, of.encoder, of.products, is_kept);
        }
        if depth > DEEPEST {
            let problem = format!("rows of {depth} numbers are wider than 65536, to which the scores' bound is proved");
            return Err(Error::invalid("train on a GPU", problem));
        }
        let way = if self.rest > 0 { Way::F32 } else { self.way };
        self.rest = self.rest.saturating_sub(1);
        if way == Way::Bf16 && !std::mem::take(&mut self.fell) {
            self.streak = 0;
        }
        self.measure(0, of.x, depth, way)?;
        if !is_kept {
            // In bf16 also while a step in f32 does without, so that what follows the encoder can keep it up.
            self.measure(1, of.encoder, depth, self.way)?;
        }
        self.slopes.resize(3 * product.m)?;
        self.near_products(of, way)
    }

    /// Sizes of the rows of an operand, and its copy where near products are in bf16.
    fn measure(&mut self, operand: usize, values: &Array<f32>, depth: usize, way: Way) -> Result<()> {
        let (rounded, sizes) = (&mut self.rounded[operand].narrow, &mut self.sizes[operand]);
        let count = values.len() / depth;
        sizes.resize(2 * count)?;
        if way == Way::Bf16 {
            rounded.resize(values.len())?;
        }
        let narrow = (way == Way::Bf16).then_some(&*rounded);
        launch!(&self.gpu, "measure_rows", [count as u32, 1], values, depth, narrow, &*sizes)
    }

    /// The near products and their bounds.
    fn near_products(&mut self, of: Operands, way: Way) -> Result<()> {
        let product = of.product();
        let [x, encoder] = &self.rounded;
        let (times, is_narrow) = match way {
            Way::Bf16 => {
                let (x, encoder, out) = (x.narrow.place(), encoder.narrow.place(), of.products.place());
                self.gpu.narrow_product(Narrow::Bf16, product, x, encoder, out)?;
                (4.0, 1u32)
            }
            Way::F32 => {
                self.gpu.product(product, of.x.place(), of.encoder.place(), of.products.place())?;
                (2.0, 0)
            }
        };
        self.near = Some(way);
        let (rows, depth) = (product.m, product.k as f64);
        let unit = 2f64.powi(-24);
        let (grown, own) = ((times * depth + 8.0) * unit, (depth / 16.0 + 14.0) * unit);
        let (flushed, lost) = (2f64.powi(-126) * depth.sqrt(), 2f64.powi(-124) * (depth + 64.0));
        let (grid, sizes, slopes) = ([blocks(rows), 1], &self.sizes[0], &self.slopes);
        launch!(&self.gpu, "bound_rows", grid, sizes, rows, is_narrow, grown, own, flushed, lost, slopes)
    }

    /// The largest scores of the batch that was scored last. Of equal scores the one that comes first stays. The GPU is waited for once, to know
    /// how many are scored again.
    pub fn top(&mut self, of: Operands, top: Top, selection: &mut Selection, code: &mut Code) -> Result<()> {
        let scores = of.scores(of.products);
        let Some(way) = self.near else {
            return match top {
                Top::Batch(keep) => selection.batch_top_k(scores, keep, code),
                Top::Row(keep, among) => selection.row_top_k(scores, keep, among, code),
            };
        };
        let Product { m: rows, n: latents, .. } = of.product();
        let (wanted, all) = match top {
            Top::Batch(keep) => (keep, rows * latents),
            Top::Row(keep, among) => (rows.saturating_mul(keep), rows * among.map_or(latents, Array::len)),
        };
        let most = scored_again(wanted, rows, all);
        self.candidates.resize(most)?;
        self.exact.resize(most)?;
        let mut found = self.find(of, top, selection)?;
        if way == Way::Bf16 && found > most {
            self.fall_back();
            self.near_products(of, Way::F32)?;
            found = self.find(of, top, selection)?;
        }
        self.rescore(of, top, found)?;
        let scores = of.scores(&self.exact);
        let among = View { scores, rows, among: Some(&self.candidates), offsets: Some(&self.offsets), margins: None };
        match top {
            Top::Batch(keep) => selection.top_of_batch(&among, keep, code),
            Top::Row(keep, _) => selection.top_of_rows(&among, keep, code),
        }
    }

    fn fall_back(&mut self) {
        self.fallbacks += 1;
        self.rest = (1u64 << self.streak.min(32)).min(LONGEST_REST) - 1;
        self.streak += 1;
        self.fell = true;
    }

    /// Bounds what can be among the largest, and counts it by row.
    fn find(&mut self, of: Operands, top: Top, selection: &mut Selection) -> Result<usize> {
        let latents = of.bias.len();
        let rows = of.product().m;
        let scores = of.scores(of.products);
        let margins = Some(Margins { slopes: &self.slopes, sizes: &self.sizes[1] });
        let among = match top {
            Top::Batch(_) => None,
            Top::Row(_, among) => among,
        };
        let view = View { scores, rows, among, offsets: None, margins };
        match top {
            Top::Batch(keep) => selection.search(&view, keep, NEAR_DIGITS)?,
            Top::Row(keep, _) => selection.cut_rows(&view, keep, NEAR_DIGITS)?,
        }
        self.counts.resize(rows)?;
        self.offsets.resize(rows + 1)?;
        let (bounds, step) = selection.bounds_of(top);
        let Scores { products, bias, norms } = scores;
        let (count, grid) = (among.map_or(latents, Array::len), [rows.div_ceil(ROWS) as u32, 1]);
        self.marks.resize(rows * count.div_ceil(32))?;
        let (slopes, sizes, marks, counts) = (&self.slopes, &self.sizes[1], &self.marks, &self.counts);
        launch!(
            &self.gpu,
            "count_candidates",
            grid,
            products,
            bias,
            norms,
            among,
            slopes,
            sizes,
            rows,
            latents,
            count,
            bounds,
            step,
            marks,
            counts,
        )?;
        launch!(&self.gpu, "scan", [1, 1], counts, &self.offsets, rows)?;
        Ok(self.offsets.get_from(rows, 1)?[0] as usize)
    }

    /// Lists what was found and scores it again.
    fn rescore(&mut self, of: Operands, top: Top, found: usize) -> Result<()> {
        let Product { m: rows, n: latents, k: depth, .. } = of.product();
        // In f32 more than was reckoned with may be near one another.
        self.candidates.resize(found)?;
        self.exact.resize(found)?;
        let among = match top {
            Top::Batch(_) => None,
            Top::Row(_, among) => among,
        };
        let (gpu, count) = (&self.gpu, among.map_or(latents, Array::len));
        let (marks, offsets, candidates, exact) = (&self.marks, &self.offsets, &self.candidates, &self.exact);
        launch!(gpu, "list_candidates", [rows as u32, 1], marks, among, count, offsets, candidates)?;
        // x_i . w_j of each entry, as the gradient of an entry is G_i . d_j.
        let (slice, slices) = slices(latents, depth);
        let grid = [rows as u32, slices as u32];
        launch!(gpu, "entry_gradients", grid, offsets, candidates, of.x, of.encoder, depth, slice, exact)
    }
}
