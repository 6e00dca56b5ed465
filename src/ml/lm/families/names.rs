//! How a family calls and packs the parts of the decoder in its published files.

use std::collections::BTreeMap;

use candle_core::Tensor;

use crate::ml::Result;
use crate::ml::lm::DecoderConfig;
use crate::ml::lm::parts::parts;

/// How the parts lie within one published tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ml::lm) enum Packing {
    /// One below the other, as rows `[out, in]`.
    Rows,
    /// The same, transposed: `[in, out]` (GPT-2's Conv1D).
    Columns,
    /// Head by head: the first head's rows of each part, then the second head's (GPT-NeoX).
    Heads,
}

/// Published names; those of a layer stand behind `LAYERS.L.`, everything but the head behind the model's prefix.
pub(in crate::ml::lm) struct Names {
    pub embedding: &'static str,
    pub positions: Option<&'static str>,
    pub norm: &'static str,
    pub head: &'static str,
    pub layers: &'static str,
    /// Part of a layer, its published name, and how it lies there together with the parts of the same name.
    pub parts: &'static [(&'static str, &'static str, Packing)],
    /// What published files have before the names.
    pub prefix: &'static str,
}

/// A published tensor and the parts in it.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::ml::lm) struct Stored {
    /// Without the model's prefix.
    pub name: String,
    pub packing: Packing,
    /// Name and shape of each part, in their order.
    pub parts: Vec<(String, Vec<usize>)>,
}

impl Names {
    /// The published tensors of a configuration, in the order of the parts.
    pub(in crate::ml::lm) fn stored(&self, config: &DecoderConfig) -> Vec<Stored> {
        let mut found: Vec<Stored> = Vec::new();
        for (part, shape) in parts(config) {
            let (name, packing) = self.published(&part);
            match found.iter_mut().rev().find(|s| s.name == name) {
                Some(stored) => stored.parts.push((part, shape)),
                None => found.push(Stored { name, packing, parts: vec![(part, shape)] }),
            }
        }
        found
    }

    fn published(&self, part: &str) -> (String, Packing) {
        let (stem, kind) = part.rsplit_once('.').unwrap_or((part, "weight"));
        let plain = |name: &str| (format!("{name}.{kind}"), Packing::Rows);
        match stem.split('.').collect::<Vec<_>>().as_slice() {
            ["embedding"] => plain(self.embedding),
            ["positions"] => plain(self.positions.unwrap_or("positions")),
            ["norm"] => plain(self.norm),
            ["head"] => plain(self.head),
            ["layers", l, short] => {
                let known = self.parts.iter().find(|(p, _, _)| p == short);
                let (name, packing) = known.map_or((*short, Packing::Rows), |(_, name, packing)| (*name, *packing));
                (format!("{}.{l}.{name}.{kind}", self.layers), packing)
            }
            _ => plain(stem),
        }
    }
}

impl Stored {
    /// Shape of the published tensor.
    pub(in crate::ml::lm) fn shape(&self) -> Vec<usize> {
        let rows = self.parts.iter().map(|(_, shape)| shape[0]).sum();
        match (self.packing, self.parts[0].1.as_slice()) {
            (Packing::Columns, [_, inputs]) => vec![*inputs, rows],
            (_, [_, rest @ ..]) => [&[rows], rest].concat(),
            (_, []) => vec![rows],
        }
    }

    /// The parts in a published tensor; `heads` are those of [`Packing::Heads`].
    pub(in crate::ml::lm) fn split(&self, tensor: &Tensor, heads: usize) -> Result<BTreeMap<String, Tensor>> {
        let tensor = match (self.packing, tensor.rank()) {
            (Packing::Columns, 2) => tensor.t()?.contiguous()?,
            _ => tensor.clone(),
        };
        if let [(name, _)] = self.parts.as_slice() {
            return Ok(BTreeMap::from([(name.clone(), tensor)]));
        }
        let mut parts = BTreeMap::new();
        let mut start = 0;
        for (index, (name, shape)) in self.parts.iter().enumerate() {
            let part = match self.packing {
                Packing::Heads => {
                    let by_head = tensor.reshape(self.by_head(heads))?;
                    by_head.narrow(1, index, 1)?.contiguous()?.reshape(shape.as_slice())?
                }
                // A copy, so that the packed tensor does not stay in memory.
                _ => tensor.narrow(0, start, shape[0])?.force_contiguous()?,
            };
            start += shape[0];
            parts.insert(name.clone(), part);
        }
        Ok(parts)
    }

    /// The published tensor of the parts that `part` gives: [`Stored::split`] backwards.
    pub(in crate::ml::lm) fn join(&self, heads: usize, part: impl Fn(&str) -> Result<Tensor>) -> Result<Tensor> {
        let parts: Vec<Tensor> = self.parts.iter().map(|(name, _)| part(name)).collect::<Result<_>>()?;
        let joined = match self.packing {
            Packing::Heads => {
                let shape = self.by_head(heads);
                let one = [&[shape[0], 1], &shape[2..]].concat();
                let parts: Vec<Tensor> =
                    parts.iter().map(|p| p.reshape(one.as_slice())).collect::<std::result::Result<_, _>>()?;
                Tensor::cat(&parts, 1)?.reshape(self.shape())?
            }
            _ => Tensor::cat(&parts, 0)?,
        };
        match (self.packing, joined.rank()) {
            (Packing::Columns, 2) => Ok(joined.t()?.contiguous()?),
            _ => Ok(joined),
        }
    }

    /// `[heads, parts, n, ..]`, for parts of one shape.
    fn by_head(&self, heads: usize) -> Vec<usize> {
        let shape = &self.parts[0].1;
        [&[heads, self.parts.len(), shape[0] / heads.max(1)], &shape[1..]].concat()
    }
}
