//! Loops that the crosscoder spends its time in: dense products, sparse gathers, selection, the optimiser.
//!
//! Every result depends on the arguments and the machine's vector width alone, never on the number of threads: work is
//! split at fixed sizes, and each output number is made by one thread in a fixed order.

mod adam;
mod candidates;
mod columns;
mod dots;
mod gather;
mod product;
mod rounded;
mod score;
mod select;
mod transposed;

pub use adam::{AdamStep, adam};
pub use candidates::{Candidates, Latents};
pub use columns::Columns;
pub use dots::dots;
pub use gather::{dot, gather_dots, gather_sum, squared_norm};
pub use product::{Matrix, product};
pub use rounded::{GROUP, Rounded, RoundedGroup, Side};
pub use score::Unit;
pub use select::{
    Preactivations, Selector, batch_top_k, count_positive, over_each, over_threshold, positive, row_top_k,
};
pub use transposed::transposed;

/// Compiles a body three times (AVX-512, AVX2 + FMA, what the target has) and picks at run time. Inside, `FMA` tells
/// whether fused multiply-add is an instruction; a body must not hold closures, which would not inherit the features.
macro_rules! dispatched {
    ($(#[$doc:meta])* pub fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $out:ty)? $body:block) => {
        $(#[$doc])*
        pub fn $name($($arg: $ty),*) $(-> $out)? {
            #[allow(clippy::extra_unused_type_parameters)]
            #[inline(always)]
            fn body<const FMA: bool>($($arg: $ty),*) $(-> $out)? $body
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2,fma")]
                fn wide($($arg: $ty),*) $(-> $out)? {
                    body::<true>($($arg),*)
                }
                #[target_feature(enable = "avx2,fma")]
                fn middle($($arg: $ty),*) $(-> $out)? {
                    body::<true>($($arg),*)
                }
                if is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                {
                    // SAFETY: the features were detected.
                    return unsafe { wide($($arg),*) };
                }
                if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                    // SAFETY: the features were detected.
                    return unsafe { middle($($arg),*) };
                }
            }
            body::<false>($($arg),*)
        }
    };
}
use dispatched;

/// a * b + c.
#[inline(always)]
fn multiply_add<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}
