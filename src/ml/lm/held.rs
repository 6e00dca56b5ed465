//! A run that stands at a site of a layer, to be continued with something else in that place.

use candle_core::{Device, Tensor};

use super::{Decoder, Residual, Site};
use crate::ml::{Error, Result};

/// What a decoder has computed up to a site.
#[derive(Clone, Debug)]
pub struct Held {
    layer: usize,
    site: Site,
    value: Tensor,
    /// What the block adds the value to, in the order of its sums: see [`Decoder::go_on`].
    aside: Vec<Tensor>,
}

impl Held {
    pub(crate) fn new(layer: usize, site: Site, value: Tensor, aside: Vec<Tensor>) -> Self {
        Held { layer, site, value, aside }
    }

    pub(crate) fn place(&self) -> (usize, Site) {
        (self.layer, self.site)
    }

    pub(crate) fn aside(&self) -> &[Tensor] {
        &self.aside
    }

    /// (B, T, N) where values `[N B, T, d]` may take its place. Errors: they may not.
    pub(crate) fn fits(&self, values: &Tensor) -> Result<(usize, usize, usize)> {
        let (batch, tokens, width) = self.value.dims3()?;
        let (many, t, d) = values.dims3()?;
        if !many.is_multiple_of(batch) || (t, d) != (tokens, width) {
            let problem =
                format!("values {:?} in the place of [{batch}, {tokens}, {width}] at {:?}", values.dims(), self.site);
            return Err(Error::invalid("continue a run", problem));
        }
        Ok((batch, tokens, many / batch))
    }

    /// What stands at the site, `[B, T, d]`.
    pub fn value(&self) -> &Tensor {
        &self.value
    }

    /// The same, row-major.
    pub fn values(&self) -> Result<Vec<f32>> {
        Ok(self.value.flatten_all()?.to_vec1()?)
    }
}

impl Decoder {
    /// Runs `ids [B, T]` up to a site of `layer`, and of that block what the rest needs beside it. No block that comes after it is
    /// run.
    pub fn hold(&self, ids: &Tensor, layer: usize, site: Site) -> Result<Held> {
        self.check_layer(layer)?;
        let mut h = self.embed(ids)?;
        for l in 0..layer {
            h = self.block(l, &h)?;
        }
        let (value, aside) = match (site, self.config().residual) {
            (Site::ResidualPre, _) => (h, Vec::new()),
            (Site::ResidualPost, _) => (self.block(layer, &h)?, Vec::new()),
            (Site::AttnOut, Residual::Sequential) => (self.attention(layer, &h)?, vec![h]),
            (Site::MlpOut, Residual::Sequential) => {
                let h = self.add(&h, &self.attention(layer, &h)?)?;
                (self.mlp(layer, &h)?, vec![h])
            }
            (Site::AttnOut, Residual::Parallel) => (self.attention(layer, &h)?, vec![self.mlp(layer, &h)?, h]),
            (Site::MlpOut, Residual::Parallel) => (self.mlp(layer, &h)?, vec![self.attention(layer, &h)?, h]),
        };
        Ok(Held { layer, site, value, aside })
    }

    /// The stream after the last block, `[N B, T, d]`, when each of N values `[N B, T, d]` takes the place of the held one `[B, T, d]`.
    /// With the held value itself it is the stream of the whole run, to the bit. Values are rounded to the decoder's format first.
    pub fn go_on(&self, held: &Held, values: &Tensor) -> Result<Tensor> {
        let (_, _, runs) = held.fits(values)?;
        let values = self.dtype().round(values.clone())?;
        let aside: Vec<Tensor> = match runs {
            1 => held.aside.clone(),
            _ => held.aside.iter().map(|x| x.repeat((runs, 1, 1))).collect::<candle_core::Result<_>>()?,
        };
        let mut h = match (held.site, aside.as_slice()) {
            (Site::ResidualPre, _) => self.block(held.layer, &values)?,
            (Site::AttnOut, [h]) => {
                let h = self.add(h, &values)?;
                self.add(&h, &self.mlp(held.layer, &h)?)?
            }
            (Site::MlpOut, [h]) => self.add(h, &values)?,
            (Site::AttnOut, [mlp, h]) => self.add(&self.add(mlp, &values)?, h)?,
            (Site::MlpOut, [attention, h]) => self.add(&self.add(&values, attention)?, h)?,
            _ => values,
        };
        for l in held.layer + 1..self.layers() {
            h = self.block(l, &h)?;
        }
        Ok(h)
    }

    /// What the head reads at some positions of the stream `[B, T, d]` after the last block: normed, `[B P, d]`.
    pub fn head_rows(&self, h: &Tensor, positions: &[usize]) -> Result<Tensor> {
        let (batch, tokens, width) = h.dims3()?;
        let rows: Vec<u32> =
            (0..batch).flat_map(|b| positions.iter().map(move |position| (b * tokens + position) as u32)).collect();
        let count = rows.len();
        let rows = Tensor::from_vec(rows, count, &Device::Cpu)?;
        let h = h.reshape((batch * tokens, width))?.index_select(&rows, 0)?;
        self.before_head(&h.reshape((1, count, width))?)
    }
}
