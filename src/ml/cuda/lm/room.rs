//! What a forward pass writes on its way.

use std::sync::Arc;

use super::values::{Format, Values};
use crate::ml::Result;
use crate::ml::cuda::{Array, Gpu};
use crate::ml::lm::RopeTable;

/// Room of products with weights in bf16.
pub(super) struct Scratch {
    /// Weights in f32, where there are no units for narrow numbers.
    pub(super) wide: Array<f32>,
    /// What is not rounded yet.
    pub(super) product: Array<f32>,
}

/// Intermediate results of one pass, used again by the next; N = B T rows.
pub(super) struct Room {
    pub(super) scratch: Scratch,
    pub(super) ids: Array<u32>,
    /// Rows that are taken out of the stream.
    pub(super) rows: Array<u32>,
    /// `[N, d]`: the stream, and what attention and MLP add to it.
    pub(super) stream: Values,
    pub(super) attention: Values,
    pub(super) mlp: Values,
    /// `[N, d]`: what a norm gave.
    pub(super) normed: Values,
    /// `[N, heads n]`, `[N, kv_heads n]`.
    pub(super) q: Values,
    pub(super) k: Values,
    pub(super) v: Values,
    pub(super) attended: Values,
    /// `[N, inner]`.
    pub(super) gate: Values,
    pub(super) up: Values,
    /// What comes in and what goes out.
    pub(super) values: Values,
    /// Angles `[tokens, pairs]` of (cos, sin), one a table of the decoder.
    angles: Vec<Array<f32>>,
}

impl Room {
    pub(super) fn new(gpu: &Arc<dyn Gpu>, format: Format, tables: usize) -> Self {
        let none = || Array::empty(gpu);
        let values = || Values::empty(gpu, format);
        Room {
            scratch: Scratch { wide: none(), product: none() },
            ids: Array::empty(gpu),
            rows: Array::empty(gpu),
            stream: values(),
            attention: values(),
            mlp: values(),
            normed: values(),
            q: values(),
            k: values(),
            v: values(),
            attended: values(),
            gate: values(),
            up: values(),
            values: values(),
            angles: (0..tables).map(|_| none()).collect(),
        }
    }

    /// Sees to it that there are angles of so many tokens.
    pub(super) fn turn_to(&mut self, tables: &[(RopeTable, usize)], tokens: usize) -> Result<()> {
        for ((table, pairs), angles) in tables.iter().zip(&mut self.angles) {
            if angles.len() < 2 * tokens * pairs {
                let all: Vec<f32> = table.angles(tokens).iter().flat_map(|(cos, sin)| [*cos, *sin]).collect();
                angles.set(&all)?;
            }
        }
        Ok(())
    }

    pub(super) fn angles(&self, table: usize) -> &Array<f32> {
        &self.angles[table]
    }
}
