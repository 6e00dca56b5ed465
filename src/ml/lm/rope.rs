//! Angles of the rotary position embedding.

use std::sync::{Arc, RwLock};

use super::Dtype;

/// How the frequencies are stretched for long contexts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RopeScaling {
    None,
    /// All frequencies divided by the factor.
    Linear {
        factor: f64,
    },
    /// Llama 3.1: only long wavelengths are divided, with a ramp between.
    Llama3 {
        factor: f64,
        low: f64,
        high: f64,
        context: f64,
    },
}

/// How positions turn queries and keys.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rope {
    pub theta: f64,
    /// The first so many coordinates of each head are turned, i with i + turned / 2; the others stay. An odd number is rounded up
    /// (but the angles keep it as their divisor, as transformers has it).
    pub turned: usize,
    pub scaling: RopeScaling,
}

impl Rope {
    /// Without scaling; all `head` coordinates are turned.
    pub fn plain(head: usize, theta: f64) -> Self {
        Self { theta, turned: head, scaling: RopeScaling::None }
    }

    /// Pairs of coordinates that are turned.
    pub fn pairs(&self) -> usize {
        self.turned.div_ceil(2)
    }

    /// Angle a position adds, for each of the pairs.
    pub(super) fn frequencies(&self) -> Vec<f32> {
        let n = self.turned;
        (0..self.pairs()).map(|i| self.scaled(self.theta.powf(-2.0 * i as f64 / n as f64)) as f32).collect()
    }

    fn scaled(&self, frequency: f64) -> f64 {
        match self.scaling {
            RopeScaling::None => frequency,
            RopeScaling::Linear { factor } => frequency / factor,
            RopeScaling::Llama3 { factor, low, high, context } => {
                let turns = context * frequency / std::f64::consts::TAU;
                let kept = ((turns - low) / (high - low)).clamp(0.0, 1.0);
                (1.0 - kept) * frequency / factor + kept * frequency
            }
        }
    }
}

/// (cos, sin) `[T, pairs]`.
pub(crate) type Angles = Arc<Vec<(f32, f32)>>;

/// Angles of as many positions as were asked for so far.
pub(crate) struct RopeTable {
    frequencies: Vec<f32>,
    dtype: Dtype,
    angles: RwLock<Angles>,
}

impl RopeTable {
    pub(crate) fn new(rope: Rope, dtype: Dtype) -> Self {
        Self { frequencies: rope.frequencies(), dtype, angles: RwLock::new(Arc::new(Vec::new())) }
    }

    /// Angles of one position.
    pub(super) fn at(&self, position: usize) -> Angles {
        let pairs = self.frequencies.len();
        // Twice as many when they run out, so that sequences which grow do not make them anew for each token.
        let angles = self.angles((position + 1).next_power_of_two());
        Arc::new(angles[position * pairs..(position + 1) * pairs].to_vec())
    }

    /// Angles of at least `tokens` positions.
    pub(crate) fn angles(&self, tokens: usize) -> Angles {
        let needed = tokens * self.frequencies.len();
        if let Ok(angles) = self.angles.read()
            && angles.len() >= needed
        {
            return angles.clone();
        }
        let angle = |position: usize, frequency: f32| {
            let angle = f64::from(position as f32 * frequency);
            (self.dtype.number(angle.cos() as f32), self.dtype.number(angle.sin() as f32))
        };
        let table = (0..tokens).flat_map(|p| self.frequencies.iter().map(move |f| angle(p, *f))).collect();
        let table: Angles = Arc::new(table);
        if let Ok(mut angles) = self.angles.write() {
            *angles = table.clone();
        }
        table
    }
}
