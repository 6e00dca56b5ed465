//! One fused step of Adam.

use super::{dispatched, multiply_add};

/// The scalars of one step (Kingma & Ba; the published trainers' order of operations).
#[derive(Clone, Copy, Debug)]
pub struct AdamStep {
    beta1: f32,
    beta2: f32,
    /// lr / (1 - beta1^t).
    rate: f32,
    /// 1 / sqrt(1 - beta2^t).
    root: f32,
    epsilon: f32,
    /// Factor of the gradient (global-norm clipping).
    scale: f32,
}

impl AdamStep {
    /// Of update number `t`, counted from 1.
    pub fn new(rate: f64, beta1: f64, beta2: f64, epsilon: f64, t: u64, scale: f64) -> Self {
        AdamStep {
            beta1: beta1 as f32,
            beta2: beta2 as f32,
            rate: (rate / (1.0 - beta1.powf(t as f64))) as f32,
            root: (1.0 / (1.0 - beta2.powf(t as f64)).sqrt()) as f32,
            epsilon: epsilon as f32,
            scale: scale as f32,
        }
    }

    /// beta1, beta2, rate, root, epsilon and scale, for who computes elsewhere.
    pub fn numbers(&self) -> [f32; 6] {
        [self.beta1, self.beta2, self.rate, self.root, self.epsilon, self.scale]
    }
}

/// First moments under this size are set to zero: they move a weight by nothing that f32 can hold, and on their way
/// down they would become denormal numbers, which cost a hundred cycles each.
const TINY: f32 = 1e-30;

dispatched! {
    /// Updates weights and both moments for the gradient: m = b1 m + (1 - b1) g, v = b2 v + (1 - b2) g^2,
    /// w -= rate m / (sqrt(v) root + epsilon).
    pub fn adam(weights: &mut [f32], mean: &mut [f32], square: &mut [f32], gradient: &[f32], step: &AdamStep) {
        let count = weights.len();
        let (mean, square, gradient) = (&mut mean[..count], &mut square[..count], &gradient[..count]);
        let (new1, new2) = (1.0 - step.beta1, 1.0 - step.beta2);
        for i in 0..count {
            let g = gradient[i] * step.scale;
            let m = multiply_add::<FMA>(new1, g, step.beta1 * mean[i]);
            let m = if m.abs() < TINY { 0.0 } else { m };
            let v = multiply_add::<FMA>(new2 * g, g, step.beta2 * square[i]);
            let v = if v < f32::MIN_POSITIVE { 0.0 } else { v };
            mean[i] = m;
            square[i] = v;
            weights[i] -= step.rate * m / multiply_add::<FMA>(v.sqrt(), step.root, step.epsilon);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_the_textbook() {
        let (mut w, mut m, mut v) = ([1.0f32, -2.0], [0.0f32; 2], [0.0f32; 2]);
        let (mut w64, mut m64, mut v64) = ([1.0f64, -2.0], [0.0f64; 2], [0.0f64; 2]);
        for t in 1..=50u64 {
            let g = [(t as f64 * 0.7).sin(), if t < 10 { 0.3 } else { 0.0 }];
            adam(&mut w, &mut m, &mut v, &g.map(|x| x as f32), &AdamStep::new(0.01, 0.9, 0.999, 1e-8, t, 0.5));
            for i in 0..2 {
                m64[i] = 0.9 * m64[i] + 0.1 * 0.5 * g[i];
                v64[i] = 0.999 * v64[i] + 0.001 * (0.5 * g[i]).powi(2);
                let (mh, vh) = (m64[i] / (1.0 - 0.9f64.powi(t as i32)), v64[i] / (1.0 - 0.999f64.powi(t as i32)));
                w64[i] -= 0.01 * mh / (vh.sqrt() + 1e-8);
                assert!((w[i] as f64 - w64[i]).abs() < 1e-5, "{t} {i}: {} {}", w[i], w64[i]);
            }
        }
    }

    #[test]
    fn never_stores_a_denormal() {
        let (mut w, mut m, mut v) = ([1.0f32], [0.0f32], [0.0f32]);
        adam(&mut w, &mut m, &mut v, &[1e-3], &AdamStep::new(1e-3, 0.9, 0.5, 1e-8, 1, 1.0));
        for t in 2..2000 {
            adam(&mut w, &mut m, &mut v, &[0.0], &AdamStep::new(1e-3, 0.9, 0.5, 1e-8, t, 1.0));
            assert!(!m[0].is_subnormal() && !v[0].is_subnormal());
        }
        assert_eq!((m[0], v[0]), (0.0, 0.0));
    }
}
