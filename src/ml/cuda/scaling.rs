//! Latent Scaling on a GPU: what `src/ml/scaling/measure.rs` does, with the sums in the GPU's memory.

use std::sync::Arc;

use super::array::Array;
use super::code::Code;
use super::columns::Turned;
use super::gpu::{Form, Gpu, Product};
use super::kernels::SUMS;
use super::launch::{blocks, launch};
use super::selection::{Scores, Selection, fits};
use super::staging::Staging;
use crate::ml::Result;
use crate::ml::analysis::chunk_rows;
use crate::ml::crosscoder::layout::by_latent;
use crate::ml::crosscoder::{Activation, Crosscoder};
use crate::ml::kernels::transposed;
use crate::ml::scaling;
use crate::ml::scaling::bootstrap::GROUPS;
use crate::ml::scaling::measure::{Gather, Gathered, fitted};

/// Scores that are in memory at a time: 1 GiB.
const SCORES: usize = 1 << 28;

/// One pass over the rows.
pub struct ScalingPass {
    gpu: Arc<dyn Gpu>,
    width: usize,
    latents: usize,
    activation: Activation,
    /// `[D, 2d]`, `[D]`, S `[D]`.
    encoder: Array<f32>,
    bias: Array<f32>,
    norms: Array<f32>,
    /// `[D]`, of JumpReLU.
    thresholds: Array<f32>,
    /// `[D, 2d]`, `[2d]`.
    decoder: Array<f32>,
    decoder_bias: Array<f32>,
    /// What is measured: latents, their fitted directions `[measured, d]`, and the sums of each, in all and by group.
    measured: Vec<Gathered>,
    which: Array<u32>,
    directions: Array<f32>,
    totals: Array<f64>,
    by_group: Array<f64>,
    active: Array<u64>,
    x: Staging<f32>,
    groups: Staging<u32>,
    products: Array<f32>,
    error: Array<f32>,
    selection: Selection,
    code: Code,
    columns: Turned,
    /// Projections of each entry `[entries, 4]`.
    along: Array<f32>,
}

fn portion_rows(latents: usize) -> usize {
    (SCORES / latents.max(1)).clamp(32, 4096)
}

/// Rows that are in memory at a time.
pub(super) fn rows_at_a_time(width: usize, latents: usize) -> usize {
    portion_rows(latents).min(chunk_rows(width))
}

impl ScalingPass {
    /// Before the first row.
    pub(crate) fn new(gpu: &Arc<dyn Gpu>, crosscoder: &Crosscoder, measured: Vec<Gathered>) -> Result<Self> {
        let (width, latents) = (crosscoder.width, crosscoder.latents);
        let array = |values: &[f32]| Array::of(gpu, values);
        let which: Vec<u32> = measured.iter().map(|gathered| gathered.latent as u32).collect();
        let directions: Vec<f32> = measured
            .iter()
            .flat_map(|gathered| fitted(crosscoder, gathered.latent, gathered.projections.direction))
            .copied()
            .collect();
        let thresholds = match &crosscoder.activation {
            Activation::JumpRelu { thresholds } => &thresholds[..],
            _ => &[],
        };
        let groups: usize = measured.iter().map(|gathered| gathered.groups.len()).sum();
        Ok(ScalingPass {
            width,
            latents,
            activation: crosscoder.activation.clone(),
            encoder: array(&transposed(&crosscoder.encoder_weight, 2 * width, latents))?,
            bias: array(&crosscoder.encoder_bias)?,
            norms: array(&crosscoder.code_norms())?,
            thresholds: array(thresholds)?,
            decoder: array(&by_latent(&crosscoder.decoder_weight, width, latents))?,
            decoder_bias: array(&crosscoder.decoder_bias)?,
            which: Array::of(gpu, &which)?,
            directions: array(&directions)?,
            totals: Array::zeros(gpu, measured.len() * SUMS)?,
            by_group: Array::zeros(gpu, groups * SUMS)?,
            active: Array::zeros(gpu, measured.len())?,
            measured,
            x: Staging::new(gpu),
            groups: Staging::new(gpu),
            products: Array::empty(gpu),
            error: Array::empty(gpu),
            selection: Selection::new(gpu)?,
            code: Code::empty(gpu),
            columns: Turned::empty(gpu),
            along: Array::empty(gpu),
            gpu: gpu.clone(),
        })
    }

    /// The code for use of the rows in `x`, as [`Activation::code`]; its entries are waited for.
    fn encode(&mut self, rows: usize) -> Result<()> {
        let product = Product { form: Form::Rows, m: rows, n: self.latents, k: 2 * self.width };
        self.products.resize(rows * self.latents)?;
        self.gpu.product(product, self.x.array().place(), self.encoder.place(), self.products.place())?;
        let plain = Scores { products: &self.products, bias: &self.bias, norms: None };
        let scaled = Scores { norms: Some(&self.norms), ..plain };
        let code = &mut self.code;
        match self.activation {
            Activation::Threshold { threshold, .. } if threshold >= 0.0 => {
                self.selection.over(scaled, threshold, None, code)
            }
            Activation::Relu | Activation::Threshold { .. } => self.selection.over(plain, 0.0, None, code),
            Activation::TopK { k } => {
                self.selection.row_top_k(scaled, k as usize, None, code)?;
                code.open(rows)
            }
            Activation::JumpRelu { .. } => self.selection.over(plain, 0.0, Some(&self.thresholds), code),
        }
    }

    fn portion(&mut self, values: &[f32], groups: &[u32]) -> Result<()> {
        let (rows, both) = (groups.len(), 2 * self.width);
        fits(rows, self.latents, both)?;
        self.x.bring(values)?;
        self.groups.bring(groups)?;
        self.encode(rows)?;
        self.error.resize(values.len())?;
        self.code.decode(&self.decoder, Some(&self.decoder_bias), both, &self.error)?;
        let gpu = &self.gpu;
        launch!(gpu, "take_error", [blocks(values.len()), 1], self.x.array(), values.len() as u64, &self.error)?;
        self.columns.fill(self.latents, &[&self.code])?;
        self.along.resize(4 * self.code.room)?;
        let Turned { starts, rows: of, values: f, .. } = &self.columns;
        let (which, count) = (&self.which, self.measured.len());
        let (directions, along) = (&self.directions, &self.along);
        let (x, error, width) = (self.x.array(), &self.error, self.width);
        launch!(gpu, "project_entries", [count as u32, 1], which, directions, starts, of, x, error, width, along)?;
        let by_group = (!self.by_group.is_empty()).then_some(&self.by_group);
        let (grid, group_of, into) = ([blocks(count), 1], self.groups.array(), (&self.totals, &self.active));
        launch!(
            gpu,
            "sum_entries",
            grid,
            which,
            count,
            starts,
            of,
            f,
            along,
            group_of,
            GROUPS,
            into.0,
            by_group,
            into.1,
        )
    }
}

impl Gather for ScalingPass {
    fn add(&mut self, values: &[f32], groups: &[u32]) -> Result<()> {
        let rows = portion_rows(self.latents);
        let portions = values.chunks(rows * 2 * self.width).zip(groups.chunks(rows));
        for (values, groups) in portions {
            self.portion(values, groups)?;
        }
        Ok(())
    }

    fn gathered(&mut self) -> Result<Vec<Gathered>> {
        let (totals, by_group, active) = (self.totals.get()?, self.by_group.get()?, self.active.get()?);
        let mut measured = std::mem::take(&mut self.measured);
        let mut groups = by_group.chunks_exact(SUMS);
        for ((gathered, total), active) in measured.iter_mut().zip(totals.chunks_exact(SUMS)).zip(active) {
            gathered.total = sums(total);
            gathered.active = active;
            gathered.groups.iter_mut().zip(&mut groups).for_each(|(group, part)| *group = sums(part));
        }
        Ok(measured)
    }
}

/// As the kernels lay them out.
fn sums(of: &[f64]) -> scaling::Sums {
    scaling::Sums { code: of[0], code_squared: of[1], activation: [of[2], of[3]], error: [of[4], of[5]] }
}
