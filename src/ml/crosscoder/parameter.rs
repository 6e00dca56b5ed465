//! A trained tensor with its Adam moments.

use rayon::prelude::*;

use crate::ml::kernels::{AdamStep, adam};

/// Weights and both moments, all of one shape.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Parameter {
    pub value: Vec<f32>,
    /// First moment m.
    pub mean: Vec<f32>,
    /// Second moment v.
    pub square: Vec<f32>,
}

/// A part of a [`Parameter`].
pub struct ParameterPart<'a> {
    pub value: &'a mut [f32],
    mean: &'a mut [f32],
    square: &'a mut [f32],
}

impl Parameter {
    /// These weights, with moments 0.
    pub fn new(value: Vec<f32>) -> Self {
        let zeros = vec![0.0; value.len()];
        Parameter { mean: zeros.clone(), square: zeros, value }
    }

    /// Parts of `size` numbers each.
    pub fn parts(&mut self, size: usize) -> impl IndexedParallelIterator<Item = ParameterPart<'_>> {
        let moments = self.mean.par_chunks_mut(size).zip(self.square.par_chunks_mut(size));
        self.value.par_chunks_mut(size).zip(moments).map(|(value, (mean, square))| ParameterPart {
            value,
            mean,
            square,
        })
    }

    /// One step of Adam for the whole of it.
    pub fn step(&mut self, gradient: &[f32], step: &AdamStep) {
        adam(&mut self.value, &mut self.mean, &mut self.square, gradient, step);
    }

    /// Forgets the moments of a range.
    pub fn forget(&mut self, range: std::ops::Range<usize>) {
        self.mean[range.clone()].fill(0.0);
        self.square[range].fill(0.0);
    }

    /// True when a range has never had a gradient.
    pub fn untouched(&self, range: std::ops::Range<usize>) -> bool {
        self.square[range.clone()].iter().chain(&self.mean[range]).all(|&moment| moment == 0.0)
    }
}

impl ParameterPart<'_> {
    /// One step of Adam for `range` of the part.
    pub fn step(&mut self, range: std::ops::Range<usize>, gradient: &[f32], step: &AdamStep) {
        adam(&mut self.value[range.clone()], &mut self.mean[range.clone()], &mut self.square[range], gradient, step);
    }
}
