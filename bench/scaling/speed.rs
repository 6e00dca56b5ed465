//! Latent Scaling of all latents of a crosscoder on given rows, and how long it took: the xd side of `compare.py`.
//!
//! `scaling_speed ROWS.safetensors CROSSCODER THREADS OUT [--device cuda]`: OUT gets, for each latent, the eight betas (activation, activation without
//! bias, reconstruction, error; base and tuned of each) and the number of active tokens, nine f64 little endian, NaN where there is
//! no beta. One JSON line is printed.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use xd::ml::crosscoder::Crosscoder;
use xd::ml::crosscoder::tensor_file::TensorFile;
use xd::ml::lm::tune_allocator;
use xd::ml::scaling::{Scaling, ScalingConfig, scale_on};
use xd::ml::{MemoryRows, Progress, Watch};

include!("../device.rs");

fn main() -> Result<(), Box<dyn std::error::Error>> {
    tune_allocator();
    let (arguments, card) = arguments()?;
    let [_, rows, crosscoder, threads, out] = &arguments[..] else {
        return Err("usage: scaling_speed ROWS.safetensors CROSSCODER THREADS OUT [--device cuda]".into());
    };
    let bare = resident("VmRSS:");
    rayon::ThreadPoolBuilder::new().num_threads(threads.parse()?).build_global()?;
    let (shape, values) = TensorFile::open(Path::new(rows))?.matrix("rows", &[None, Some(2), None])?;
    let rows = MemoryRows { width: shape[2], values, infos: Vec::new() };
    let crosscoder = Crosscoder::load(Path::new(crosscoder))?;
    let before = card.map(free).transpose()?;
    let gpu = card.map(xd::ml::cuda::open).transpose()?;
    let watch = Watched { card, least: AtomicU64::new(u64::MAX) };
    let begun = Instant::now();
    let scaling = scale_on(gpu.as_ref(), &crosscoder, &rows, &ScalingConfig::default(), &watch)?;
    let seconds = begun.elapsed().as_secs_f64();
    std::fs::write(out, numbers(&scaling).iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>())?;
    let peak_bytes = match card {
        Some(_) => before.map(|before| before.saturating_sub(watch.least.into_inner())),
        None => resident("VmHWM:").zip(bare).map(|(most, bare)| most - bare),
    };
    println!("{}", serde_json::json!({ "seconds": seconds, "peak_bytes": peak_bytes }));
    Ok(())
}

/// Looks at the free memory of the card when all rows have gone by and nothing is given back yet.
struct Watched {
    card: Option<usize>,
    least: AtomicU64,
}

impl Watch for Watched {
    fn progress(&self, progress: &Progress) {
        if let Some(card) = self.card.filter(|_| progress.done == progress.total) {
            self.least.store(free(card).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
    }

    fn note(&self, _: &str) {}
}

/// Nine a latent.
fn numbers(scaling: &Scaling) -> Vec<f64> {
    let mut numbers = Vec::new();
    for (betas, &active) in scaling.betas.iter().zip(&scaling.active_tokens) {
        match betas {
            Some(b) => [b.activation, b.activation_no_bias, b.reconstruction, b.error]
                .iter()
                .for_each(|two| numbers.extend(two)),
            None => numbers.extend([f64::NAN; 8]),
        }
        numbers.push(active as f64);
    }
    numbers
}

/// A size of this process in bytes by its name in /proc (`VmRSS:` now, `VmHWM:` the largest so far); `None` where the system does
/// not tell.
fn resident(name: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().trim_end_matches(" kB").parse::<u64>().ok().map(|kilobytes| 1024 * kilobytes)
}
