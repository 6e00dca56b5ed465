//! Latent Scaling of all latents of a crosscoder on given rows, and how long it took: the xd side of `compare.py`.
//!
//! `scaling_speed ROWS.safetensors CROSSCODER THREADS OUT`: OUT gets, for each latent, the eight betas (activation, activation without
//! bias, reconstruction, error; base and tuned of each) and the number of active tokens, nine f64 little endian, NaN where there is
//! no beta. One JSON line is printed.

use std::path::Path;
use std::time::Instant;

use xd::ml::MemoryRows;
use xd::ml::crosscoder::Crosscoder;
use xd::ml::crosscoder::tensor_file::TensorFile;
use xd::ml::lm::tune_allocator;
use xd::ml::scaling::{Scaling, ScalingConfig, scale};
use xd::ml::watch::Unwatched;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    tune_allocator();
    let arguments: Vec<String> = std::env::args().collect();
    let [_, rows, crosscoder, threads, out] = &arguments[..] else {
        return Err("usage: scaling_speed ROWS.safetensors CROSSCODER THREADS OUT".into());
    };
    let bare = resident("VmRSS:");
    rayon::ThreadPoolBuilder::new().num_threads(threads.parse()?).build_global()?;
    let (shape, values) = TensorFile::open(Path::new(rows))?.matrix("rows", &[None, Some(2), None])?;
    let rows = MemoryRows { width: shape[2], values, infos: Vec::new() };
    let crosscoder = Crosscoder::load(Path::new(crosscoder))?;
    let begun = Instant::now();
    let scaling = scale(&crosscoder, &rows, &ScalingConfig::default(), &Unwatched)?;
    let seconds = begun.elapsed().as_secs_f64();
    std::fs::write(out, numbers(&scaling).iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>())?;
    let peak_bytes = resident("VmHWM:").zip(bare).map(|(most, bare)| most - bare);
    println!("{}", serde_json::json!({ "seconds": seconds, "peak_bytes": peak_bytes }));
    Ok(())
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
