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

/// erf to 5e-7: a rational function in x^2, on [-4, 4].
#[inline(always)]
#[allow(clippy::excessive_precision)]
pub(super) fn erf(x: f32) -> f32 {
    let x = x.clamp(-4.0, 4.0);
    let s = x * x;
    let mut p = -2.726_142_258_013_06e-10;
    p = p * s + 2.770_681_424_959_02e-8;
    p = p * s + -2.101_024_020_825_08e-6;
    p = p * s + -5.692_506_394_623_46e-5;
    p = p * s + -7.349_906_303_268_55e-4;
    p = p * s + -2.954_599_808_540_25e-3;
    p = p * s + -1.609_603_332_624_15e-2;
    let mut q = -1.456_607_184_649_96e-5;
    q = q * s + -2.133_740_552_789_05e-4;
    q = q * s + -1.682_826_974_382_03e-3;
    q = q * s + -7.373_329_167_204_68e-3;
    q = q * s + -1.426_473_905_141_89e-2;
    x * p / q
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
pub(super) mod tests {
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

    /// By its series, which 4 does not overstrain in f64.
    pub(in super::super) fn erf_f64(x: f64) -> f64 {
        let (mut term, mut total) = (x, x);
        for n in 1..200 {
            term *= -x * x / n as f64;
            total += term / (2 * n + 1) as f64;
        }
        total * 2.0 / std::f64::consts::PI.sqrt()
    }

    #[test]
    fn erf_agrees_with_its_series() {
        let mut x = -4.0f32;
        while x < 4.0 {
            let (got, want) = (erf(x), erf_f64(f64::from(x)));
            assert!((f64::from(got) - want).abs() < 5e-7, "erf({x}) = {got}, not {want}");
            x += 0.00137;
        }
        assert_eq!((erf(0.0), erf(30.0)), (0.0, erf(4.0)));
        assert!((erf(30.0) - 1.0).abs() < 5e-7);
    }

    #[test]
    fn sums_and_maxima_take_every_element() {
        let xs: Vec<f32> = (0..37).map(|i| ((i * 7) % 37) as f32).collect();
        assert_eq!(sum(xs.len(), |i| xs[i]), 666.0);
        assert_eq!(max(&xs), 36.0);
        assert_eq!(max(&[]), f32::NEG_INFINITY);
    }
}
