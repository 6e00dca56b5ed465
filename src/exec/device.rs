//! The machine: what it is called and how fast it multiplies and moves numbers, for predictions and the report.

use std::time::Instant;

use rayon::prelude::*;

use crate::lang::plan::Cost;

/// A processor and its measured speeds.
#[derive(Clone, Debug, PartialEq)]
pub struct Device {
    /// As a report states it: `cpu, 2 threads, AMD EPYC`.
    pub name: String,
    pub threads: usize,
    /// Floating point operations a second of a 768 x 768 x 768 f32 product.
    pub flops: f64,
    /// Bytes a second that are read and written where memory is changed that no cache holds.
    pub bandwidth: f64,
}

impl Device {
    /// Looks at the processor, times a few products and a few passes over memory (tens of milliseconds).
    pub fn measure() -> Self {
        let threads = rayon::current_num_threads();
        let name = format!("cpu, {threads} threads, {}", processor());
        Device { name, threads, flops: flops(threads), bandwidth: bandwidth(threads) }
    }

    /// Seconds that a cost takes here: flops at the speed of products, then bytes at the speed of memory.
    pub fn seconds(&self, cost: &Cost) -> f64 {
        cost.flops / self.flops + cost.bytes / self.bandwidth
    }
}

/// Floating point operations a second of products, the best of four.
fn flops(threads: usize) -> f64 {
    const N: usize = 768;
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
    2.0 * (N * N * N) as f64 / best
}

/// Bytes a second of passes over 64 MiB that change every number, the best of four (its making has touched the pages).
fn bandwidth(threads: usize) -> f64 {
    let mut values = vec![1.0f32; 16 << 20];
    let part = values.len().div_ceil(threads.max(1));
    let mut best = f64::INFINITY;
    for _ in 0..4 {
        let start = Instant::now();
        values.par_chunks_mut(part).for_each(|part| part.iter_mut().for_each(|value| *value *= 0.999));
        best = best.min(start.elapsed().as_secs_f64());
    }
    std::hint::black_box(&values);
    (2 * size_of_val(&values[..])) as f64 / best
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
