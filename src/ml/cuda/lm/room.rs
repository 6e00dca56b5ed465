//! What a forward pass writes on its way.

use std::sync::Arc;

use crate::ml::Result;
use crate::ml::cuda::{Array, Gpu};
use crate::ml::lm::RopeTable;

/// Room of products with weights in bf16.
pub(super) struct Scratch {
    /// Weights in f32.
    pub(super) wide: Array<f32>,
    pub(super) product: Array<f32>,
}

/// Intermediate results of one pass, used again by the next; N = B T rows.
pub(super) struct Room {
    pub(super) scratch: Scratch,
    pub(super) ids: Array<u32>,
    /// Rows that are taken out of the stream.
    pub(super) rows: Array<u32>,
    /// `[N, d]`: the stream, and what attention and MLP add to it.
    pub(super) stream: Array<f32>,
    pub(super) attention: Array<f32>,
    pub(super) mlp: Array<f32>,
    /// `[N, d]`: what a norm gave.
    pub(super) normed: Array<f32>,
    /// `[N, heads n]`, `[N, kv_heads n]`.
    pub(super) q: Array<f32>,
    pub(super) k: Array<f32>,
    pub(super) v: Array<f32>,
    pub(super) attended: Array<f32>,
    /// `[N, inner]`.
    pub(super) gate: Array<f32>,
    pub(super) up: Array<f32>,
    /// What comes in and what goes out.
    pub(super) values: Array<f32>,
    /// Angles `[tokens, pairs]` of (cos, sin), one a table of the decoder.
    angles: Vec<Array<f32>>,
}

impl Room {
    pub(super) fn new(gpu: &Arc<dyn Gpu>, tables: usize) -> Self {
        let none = || Array::empty(gpu);
        Room {
            scratch: Scratch { wide: none(), product: none() },
            ids: Array::empty(gpu),
            rows: Array::empty(gpu),
            stream: none(),
            attention: none(),
            mlp: none(),
            normed: none(),
            q: none(),
            k: none(),
            v: none(),
            attended: none(),
            gate: none(),
            up: none(),
            values: none(),
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
