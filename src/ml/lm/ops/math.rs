//! exp and tanh that the compiler can turn into vector code, and sums with a fixed order.
//!
//! The same sequence of roundings on every processor: wider registers change the speed, never a bit.

/// Compiles a function a second time for AVX2 and picks at run time.
macro_rules! vectorised {
    ($(#[$doc:meta])* pub(super) fn $name:ident($($arg:ident: $type:ty),* $(,)?) $(-> $out:ty)? $body:block) => {
        $(#[$doc])*
        pub(super) fn $name($($arg: $type),*) $(-> $out)? {
            #[inline(always)]
            fn plain($($arg: $type),*) $(-> $out)? $body

            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2")]
                fn wide($($arg: $type),*) $(-> $out)? {
                    plain($($arg),*)
                }
                if std::arch::is_x86_feature_detected!("avx2") {
                    // SAFETY: the processor has AVX2.
                    return unsafe { wide($($arg),*) };
                }
            }
            plain($($arg),*)
        }
    };
}
pub(super) use vectorised;

/// e^x to 1e-7 relative, for x clamped to [-87, 88] (Cephes' expf).
#[inline(always)]
#[allow(clippy::excessive_precision)]
pub(super) fn exp(x: f32) -> f32 {
    const MAGIC: f32 = 12_582_912.0; // 1.5 * 2^23: adding it rounds to an integer in the low bits
    let x = x.clamp(-87.0, 88.0);
    let shifted = x * std::f32::consts::LOG2_E + MAGIC;
    let n = shifted - MAGIC;
    let r = x - n * 0.693_359_375 - n * -2.121_944_40e-4;
    let mut p = 1.987_569_15e-4;
    p = p * r + 1.398_199_95e-3;
    p = p * r + 8.333_451_91e-3;
    p = p * r + 4.166_579_59e-2;
    p = p * r + 1.666_666_55e-1;
    p = p * r + 5.000_000_12e-1;
    let e = p * r * r + r + 1.0;
    let scale = f32::from_bits(shifted.to_bits().wrapping_sub(MAGIC.to_bits()).wrapping_add(127) << 23);
    e * scale
}

/// tanh to 2e-7 (Cephes' tanhf).
#[inline(always)]
#[allow(clippy::excessive_precision)]
pub(super) fn tanh(x: f32) -> f32 {
    let a = x.abs();
    let s = x * x;
    let mut p = -5.704_988_72e-3;
    p = p * s + 2.063_908_88e-2;
    p = p * s - 5.373_971_55e-2;
    p = p * s + 1.333_144_22e-1;
    p = p * s - 3.333_328_19e-1;
    let small = p * s * x + x;
    let large = (1.0 - 2.0 / (exp(2.0 * a) + 1.0)).copysign(x);
    if a < 0.625 { small } else { large }
}

const LANES: usize = 16;

/// Sum of f(i) over 0..n, in 16 interleaved lanes.
#[inline(always)]
pub(super) fn sum(n: usize, f: impl Fn(usize) -> f32) -> f32 {
    let mut lanes = [0f32; LANES];
    let whole = n - n % LANES;
    let mut at = 0;
    while at < whole {
        for (lane, slot) in lanes.iter_mut().enumerate() {
            *slot += f(at + lane);
        }
        at += LANES;
    }
    let mut total = 0.0;
    for slot in lanes {
        total += slot;
    }
    for i in whole..n {
        total += f(i);
    }
    total
}

/// Largest value; `NEG_INFINITY` for none.
#[inline(always)]
pub(super) fn max(xs: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let chunks = xs.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (slot, x) in lanes.iter_mut().zip(chunk) {
            *slot = if *x > *slot { *x } else { *slot };
        }
    }
    lanes.iter().chain(rest).copied().fold(f32::NEG_INFINITY, |a, b| if b > a { b } else { a })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_and_tanh_agree_with_f64() {
        let mut x = -86.0f32;
        while x < 86.0 {
            let truth = f64::from(x).exp();
            assert!((f64::from(exp(x)) / truth - 1.0).abs() < 2e-7, "exp({x})");
            x += 0.0137;
        }
        let mut x = -12.0f32;
        while x < 12.0 {
            assert!((f64::from(tanh(x)) - f64::from(x).tanh()).abs() < 2e-7, "tanh({x})");
            x += 0.00137;
        }
        assert_eq!(tanh(0.0), 0.0);
    }

    #[test]
    fn sums_and_maxima_take_every_element() {
        let xs: Vec<f32> = (0..37).map(|i| ((i * 7) % 37) as f32).collect();
        assert_eq!(sum(xs.len(), |i| xs[i]), 666.0);
        assert_eq!(max(&xs), 36.0);
        assert_eq!(max(&[]), f32::NEG_INFINITY);
    }
}
