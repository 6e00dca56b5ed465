//! Weights in the memory of a GPU.

use std::sync::Arc;

use candle_core::{DType, Tensor};

use super::room::Scratch;
use super::values::{Format, Values};
use crate::ml::cuda::launch::{blocks, launch};
use crate::ml::cuda::{Arg, Array, Form, Gpu, Narrow, Product};
use crate::ml::lm::{NormShape, Weights};
use crate::ml::{Error, Result};

/// Numbers of bf16 weights that are widened at once (256 MiB in f32), whole rows of them.
pub(crate) const WIDE: usize = 1 << 26;

/// A matrix, row-major, in the format of its model.
pub(super) struct Matrix {
    wide: Option<Array<f32>>,
    narrow: Option<Array<u16>>,
    rows: usize,
    columns: usize,
}

impl Matrix {
    /// The part `name` of shape `[rows, columns]`.
    pub(super) fn new(gpu: &Arc<dyn Gpu>, weights: &Weights, name: &str, rows: usize, columns: usize) -> Result<Self> {
        let tensor = weights.get(name, &[rows, columns])?.flatten_all()?;
        let (wide, narrow) = match tensor.dtype() {
            DType::BF16 => {
                let bits: Vec<u16> = tensor.to_vec1::<half::bf16>()?.into_iter().map(half::bf16::to_bits).collect();
                (None, Some(Array::of(gpu, &bits)?))
            }
            _ => (Some(Array::of(gpu, &tensor.to_vec1::<f32>()?)?), None),
        };
        Ok(Matrix { wide, narrow, rows, columns })
    }

    /// In f32, where it is.
    pub(super) fn wide(&self) -> Option<&Array<f32>> {
        self.wide.as_ref()
    }

    /// In bf16, where it is.
    pub(super) fn narrow(&self) -> Option<&Array<u16>> {
        self.narrow.as_ref()
    }

    /// y = x w^T + b; `x [rows, columns of w]`, y `[rows, rows of w]`. With weights in bf16 products are summed in f32 and y is rounded to
    /// bf16 once: where x is [`Format::Narrow`] they are multiplied as they are, else they are widened block by block.
    pub(super) fn apply(
        &self,
        gpu: &Arc<dyn Gpu>,
        x: &Values,
        bias: Option<&Array<f32>>,
        scratch: &mut Scratch,
        y: &mut Values,
    ) -> Result<()> {
        let (inputs, outputs, count) = (self.columns, self.rows, x.len() / self.columns);
        y.resize(count * outputs)?;
        if count == 0 {
            return Ok(());
        }
        let product = Product { form: Form::Rows, m: count, n: outputs, k: inputs };
        match (&self.wide, &self.narrow) {
            (Some(wide), _) => {
                gpu.product(product, x.place(), wide.place(), y.place())?;
                match bias {
                    Some(bias) => finish(gpu, y.place(), Some(bias), product, 0, y),
                    None => Ok(()),
                }
            }
            (None, Some(narrow)) if x.format() != Format::Narrow => widen(gpu, narrow, product, x, bias, scratch, y),
            (None, Some(narrow)) if y.format() == Format::Narrow && bias.is_none() => {
                gpu.rounded_product(product, x.place(), narrow.place(), y.place())
            }
            (None, Some(narrow)) => {
                let sums = match y.format() {
                    Format::Narrow => {
                        scratch.product.resize(count * outputs)?;
                        scratch.product.place()
                    }
                    _ => y.place(),
                };
                gpu.narrow_product(Narrow::Bf16, product, x.place(), narrow.place(), sums)?;
                finish(gpu, sums, bias, product, 0, y)
            }
            (None, None) => Ok(()),
        }
    }
}

/// Columns `first ..` of y from the sums of a product, with the bias where there is one.
fn finish(
    gpu: &Arc<dyn Gpu>,
    sums: u64,
    bias: Option<&Array<f32>>,
    of: Product,
    first: usize,
    y: &Values,
) -> Result<()> {
    let (grid, outputs) = ([of.m as u32, blocks(of.n)], y.len() / of.m);
    launch!(gpu, "finish_product", grid, Arg::Place(sums), bias, of.n, first, outputs, y.format(), y)
}

/// y = x w^T + b, with a block of w after the other in f32.
fn widen(
    gpu: &Arc<dyn Gpu>,
    w: &Array<u16>,
    of: Product,
    x: &Values,
    bias: Option<&Array<f32>>,
    scratch: &mut Scratch,
    y: &Values,
) -> Result<()> {
    let most = (WIDE / of.k).max(1);
    for first in (0..of.n).step_by(most) {
        let part = Product { n: most.min(of.n - first), ..of };
        let numbers = part.n * part.k;
        scratch.wide.resize(numbers)?;
        launch!(gpu, "widen", [blocks(numbers), 1], w.at(first * of.k), numbers as u64, &scratch.wide)?;
        scratch.product.resize(part.m * part.n)?;
        gpu.product(part, x.place(), scratch.wide.place(), scratch.product.place())?;
        finish(gpu, scratch.product.place(), bias, part, first, y)?;
    }
    Ok(())
}

/// Numbers that are f32 whatever the rest is.
fn vector(gpu: &Arc<dyn Gpu>, weights: &Weights, name: &str, n: usize) -> Result<Array<f32>> {
    let tensor: Tensor = weights.get(name, &[n])?.to_dtype(DType::F32)?;
    Array::of(gpu, &tensor.to_vec1::<f32>()?)
}

/// A linear map, with or without a bias.
pub(super) struct Linear {
    matrix: Matrix,
    bias: Option<Array<f32>>,
}

impl Linear {
    /// Parts `NAME.weight [outputs, inputs]` and, if asked for, `NAME.bias`.
    pub(super) fn new(
        gpu: &Arc<dyn Gpu>,
        weights: &Weights,
        name: &str,
        [outputs, inputs]: [usize; 2],
        bias: bool,
    ) -> Result<Self> {
        let matrix = Matrix::new(gpu, weights, &format!("{name}.weight"), outputs, inputs)?;
        let bias = if bias { Some(vector(gpu, weights, &format!("{name}.bias"), outputs)?) } else { None };
        Ok(Linear { matrix, bias })
    }

    /// y = x w^T + b.
    pub(super) fn apply(&self, gpu: &Arc<dyn Gpu>, x: &Values, scratch: &mut Scratch, y: &mut Values) -> Result<()> {
        self.matrix.apply(gpu, x, self.bias.as_ref(), scratch, y)
    }
}

/// A norm over rows of n numbers.
pub(super) struct Norm {
    shape: NormShape,
    weight: Array<f32>,
    bias: Option<Array<f32>>,
}

impl Norm {
    /// Parts `NAME.weight` and, for a layer norm, `NAME.bias`.
    pub(super) fn new(gpu: &Arc<dyn Gpu>, weights: &Weights, name: &str, shape: NormShape, n: usize) -> Result<Self> {
        let take = |part: &str| vector(gpu, weights, &format!("{name}.{part}"), n);
        let bias = if shape.has_bias() { Some(take("bias")?) } else { None };
        Ok(Norm { shape, weight: take("weight")?, bias })
    }

    /// Into `out`.
    pub(super) fn apply(&self, gpu: &Arc<dyn Gpu>, x: &Values, out: &mut Values) -> Result<()> {
        out.resize(x.len())?;
        self.launch(gpu, x, out)
    }

    /// In the place of what is normalised.
    pub(super) fn replace(&self, gpu: &Arc<dyn Gpu>, x: &mut Values) -> Result<()> {
        self.launch(gpu, x, x)
    }

    fn launch(&self, gpu: &Arc<dyn Gpu>, x: &Values, out: &Values) -> Result<()> {
        let n = self.weight.len();
        let rows = x.len() / n;
        if u32::try_from(rows).is_err() {
            return Err(Error::invalid("normalise", format!("{rows} rows")));
        }
        let (epsilon, offset, is_centred) = match self.shape {
            NormShape::Rms { epsilon, offset } => (epsilon, offset, false),
            NormShape::Layer { epsilon } => (epsilon, 0.0, true),
        };
        // As `src/ml/lm/norm.rs`: in bf16 Llama's norm hands the normalised row on before it multiplies it by w.
        let twice = x.format() != Format::F32 && matches!(self.shape, NormShape::Rms { offset: 0.0, .. });
        let grid = [rows.div_ceil(8) as u32, 1];
        let (weight, bias, centred) = (&self.weight, self.bias.as_ref(), u32::from(is_centred));
        let (twice, format) = (u32::from(twice), x.format());
        launch!(gpu, "normalize", grid, x, weight, bias, rows, n, epsilon, offset, centred, twice, format, out)
    }
}
