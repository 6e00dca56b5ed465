//! The machine: what it is called and how fast it multiplies, for predictions and the report.

use std::time::Instant;

/// A processor and its measured speed.
#[derive(Clone, Debug, PartialEq)]
pub struct Device {
    /// As a report states it: `cpu, 2 threads, AMD EPYC`.
    pub name: String,
    pub threads: usize,
    /// Floating point operations a second of a 768 x 768 x 768 f32 product.
    pub flops: f64,
}

impl Device {
    /// Looks at the processor and times a few products (tens of milliseconds).
    pub fn measure() -> Self {
        const N: usize = 768;
        let threads = rayon::current_num_threads();
        let a = vec![1.0f32; N * N];
        let b = vec![0.5f32; N * N];
        let mut c = vec![0.0f32; N * N];
        let mut best = f64::INFINITY;
        for _ in 0..4 {
            let start = Instant::now();
            // SAFETY: the three matrices are N x N, row-major, and do not overlap.
            unsafe {
                gemm::gemm(
                    N,
                    N,
                    N,
                    c.as_mut_ptr(),
                    1,
                    N as isize,
                    false,
                    a.as_ptr(),
                    1,
                    N as isize,
                    b.as_ptr(),
                    1,
                    N as isize,
                    0.0,
                    1.0,
                    false,
                    false,
                    false,
                    gemm::Parallelism::Rayon(threads),
                );
            }
            best = best.min(start.elapsed().as_secs_f64());
        }
        let flops = 2.0 * (N * N * N) as f64 / best;
        Device { name: format!("cpu, {threads} threads, {}", processor()), threads, flops }
    }

    /// Seconds that so many operations take when a part of them runs at the speed of a product and the rest does not:
    /// whole steps reach about half of the product's speed.
    pub fn seconds(&self, flops: f64) -> f64 {
        flops / (0.5 * self.flops)
    }
}

/// The processor's name as the system gives it.
fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    text.lines()
        .find_map(|line| {
            line.strip_prefix("model name").map(|rest| rest.trim_start_matches([' ', '\t', ':']).to_string())
        })
        .unwrap_or_else(|| std::env::consts::ARCH.to_string())
}
