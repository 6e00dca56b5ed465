//! Trains a crosscoder on given rows from given weights, and says how long each step took: the xd side of `compare.py`.
//!
//! `train_speed ROWS.safetensors START CONFIG.json [--device cuda]`: ROWS has the tensor `rows` `[N, 2, d]`, START is a crosscoder's folder;
//! batches are taken as the rows lie. One JSON line is printed. On a card `peak_bytes` is what the whole process took of it, and `forecast_bytes` what
//! `xd plan` says.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use serde::Deserialize;
use xd::ml::crosscoder::tensor_file::TensorFile;
use xd::ml::crosscoder::{
    AdamConfig, CodeNorm, Crosscoder, Init, InitEncoder, Loss, Precision, Reconstruction, Shuffle, TopK, Train,
    Trainer, TrainerConfig, Variant,
};
use xd::ml::kernels::{Matrix, product};
use xd::ml::lm::tune_allocator;

include!("../device.rs");

type Failure = Box<dyn std::error::Error>;

/// The numbers that both sides are given.
#[derive(Deserialize)]
struct Setting {
    /// `batch_topk` or `l1`.
    loss: String,
    k: u64,
    /// Weight of the L1 penalty.
    weight: f64,
    /// Weight of AuxK.
    aux: f64,
    dead_after: u64,
    batch: u64,
    steps: u64,
    rate: f64,
    threads: usize,
}

impl Setting {
    /// The published recipe: unsquared norms, Adam without warm-up, the gradient of BatchTopK clipped at 1.
    fn trainer(&self, latents: usize) -> Result<TrainerConfig, Failure> {
        let (reconstruction, norm) = (Reconstruction::L2, CodeNorm::Sum);
        let loss = match self.loss.as_str() {
            "l1" => Loss::L1 { weight: self.weight, warmup: 0, reconstruction, norm },
            "batch_topk" => Loss::BatchTopK(TopK {
                k: self.k,
                aux: self.aux,
                dead_after: self.dead_after,
                threshold_from: 0,
                anneal: None,
                reconstruction,
                norm,
            }),
            other => return Err(format!("no loss is called {other}").into()),
        };
        let optimizer =
            AdamConfig { learning_rate: self.rate, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, warmup: 0, decay: 0 };
        Ok(TrainerConfig {
            latents,
            variant: Variant::SharedCode,
            loss,
            init: Init { norm: None, encoder: InitEncoder::Transpose, same: true },
            train: Train {
                batch: self.batch,
                steps: self.steps,
                optimizer,
                clip: (self.loss != "l1").then_some(1.0),
                shuffle: Shuffle::None,
                validate: 0,
                log: 0,
                seed: 0,
                precision: Precision::F32,
                resample: None,
            },
        })
    }
}

fn main() -> Result<(), Failure> {
    tune_allocator();
    let (arguments, card) = arguments()?;
    let [_, rows, start, setting] = &arguments[..] else {
        return Err("usage: train_speed ROWS.safetensors START CONFIG.json [--device cuda]".into());
    };
    let bare = resident("VmRSS:");
    let setting: Setting = serde_json::from_str(&std::fs::read_to_string(setting)?)?;
    rayon::ThreadPoolBuilder::new().num_threads(setting.threads).build_global()?;
    let (shape, rows) = TensorFile::open(Path::new(rows))?.matrix("rows", &[None, Some(2), None])?;
    let (width, both) = (shape[2], 2 * shape[2]);
    let (mut trainer, latents) = {
        let start = Crosscoder::load(Path::new(start))?;
        (Trainer::new(setting.trainer(start.latents)?, width, Some(&start))?, start.latents)
    };
    let before = card.map(free).transpose()?;
    if let Some(card) = card {
        trainer = trainer.on(&xd::ml::cuda::open(card)?)?;
    }
    let batch = setting.batch as usize;
    let batches: Vec<Arc<Vec<f32>>> = rows.chunks_exact(batch * both).map(|batch| Arc::new(batch.to_vec())).collect();
    let (mut ms, mut losses, mut l0) = (Vec::new(), Vec::new(), Vec::new());
    for step in 0..setting.steps as usize {
        let begun = Instant::now();
        trainer.expect(&batches[(step + 1) % batches.len()]);
        let report = trainer.step(&batches[step % batches.len()])?;
        ms.push(1000.0 * begun.elapsed().as_secs_f64());
        losses.push(report.loss);
        l0.push(report.l0);
    }
    let (peak_bytes, forecast_bytes) = match card {
        Some(card) => {
            let taken = before.map(|before| free(card).map(|now| before.saturating_sub(now))).transpose()?;
            (taken, Some(xd::ml::cuda::memory::training(trainer.config(), width).bytes()))
        }
        None => (resident("VmHWM:").zip(bare).map(|(most, bare)| most - bare), None),
    };
    let weights = trainer.finish()?;
    let mut told = serde_json::json!({
        "ms": ms, "losses": losses, "l0": l0, "peak_bytes": peak_bytes, "forecast_bytes": forecast_bytes, "weights": hash(&weights),
    });
    // The card's limits are measured by the other side.
    if card.is_none() {
        told["product_ms"] = product_ms(&rows[..batch * both], &weights.encoder_weight, both, latents).into();
        told["peak_flops"] = fma_rate(setting.threads).into();
    }
    println!("{told}");
    Ok(())
}

/// Of all weights, to the bit.
fn hash(of: &Crosscoder) -> String {
    let mut hasher = blake3::Hasher::new();
    for values in [&of.encoder_weight, &of.encoder_bias, &of.decoder_weight, &of.decoder_bias] {
        values.chunks(1 << 20).for_each(|part| {
            let bytes: Vec<u8> = part.iter().flat_map(|value| value.to_le_bytes()).collect();
            hasher.update(&bytes);
        });
    }
    hasher.finalize().to_hex().to_string()
}

/// A size of this process in bytes by its name in /proc (`VmRSS:` now, `VmHWM:` the largest so far); `None` where the system does
/// not tell.
fn resident(name: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().trim_end_matches(" kB").parse::<u64>().ok().map(|kilobytes| 1024 * kilobytes)
}

/// The encoder product alone, x `[B, 2d]` by W `[2d, D]` held as `[D, 2d]`, best of five, in milliseconds.
fn product_ms(x: &[f32], encoder: &[f32], both: usize, latents: usize) -> f64 {
    let rows = x.len() / both;
    let mut held = vec![0.0; encoder.len()];
    for (j, row) in held.chunks_mut(both).enumerate() {
        row.iter_mut().enumerate().for_each(|(i, slot)| *slot = encoder[i * latents + j]);
    }
    let mut out = vec![0.0; rows * latents];
    let mut best = f64::INFINITY;
    for _ in 0..5 {
        let begun = Instant::now();
        product(&mut out, Matrix::new(x, rows, both), Matrix::new(&held, latents, both).transposed());
        best = best.min(begun.elapsed().as_secs_f64());
    }
    1000.0 * best
}

/// Floating point operations a second of multiply-adds that touch registers only, in so many threads at once, best of three; `None`
/// on a processor without AVX2.
fn fma_rate(threads: usize) -> Option<f64> {
    const ROUNDS: usize = 10_000_000;
    let rate = || {
        let begun = Instant::now();
        let each: Vec<Option<usize>> = std::thread::scope(|scope| {
            let running: Vec<_> = (0..threads).map(|_| scope.spawn(|| multiply_adds(ROUNDS))).collect();
            running.into_iter().map(|thread| thread.join().ok().flatten()).collect()
        });
        let flops: Option<usize> = each.into_iter().sum();
        Some(flops? as f64 / begun.elapsed().as_secs_f64())
    };
    (0..3).filter_map(|_| rate()).max_by(f64::total_cmp)
}

/// Runs so many rounds of multiply-adds in registers; the number of operations.
fn multiply_adds(rounds: usize) -> Option<usize> {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: the feature was detected.
            return Some(unsafe { with_avx512(rounds) });
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: the features were detected.
            return Some(unsafe { with_avx2(rounds) });
        }
    }
    let _ = rounds;
    None
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn with_avx512(rounds: usize) -> usize {
    use std::arch::x86_64::{_mm512_fmadd_ps, _mm512_reduce_add_ps, _mm512_set1_ps};
    const SUMS: usize = 16;
    let (a, b) = (_mm512_set1_ps(0.999), _mm512_set1_ps(0.001));
    let mut sums: [_; SUMS] = std::array::from_fn(|i| _mm512_set1_ps(i as f32));
    for _ in 0..rounds {
        for sum in &mut sums {
            *sum = _mm512_fmadd_ps(*sum, a, b);
        }
    }
    std::hint::black_box(sums.map(|sum| _mm512_reduce_add_ps(sum)));
    rounds * SUMS * 16 * 2
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn with_avx2(rounds: usize) -> usize {
    use std::arch::x86_64::{_mm256_fmadd_ps, _mm256_set1_ps, _mm256_storeu_ps};
    const SUMS: usize = 12;
    let (a, b) = (_mm256_set1_ps(0.999), _mm256_set1_ps(0.001));
    let mut sums: [_; SUMS] = std::array::from_fn(|i| _mm256_set1_ps(i as f32));
    for _ in 0..rounds {
        for sum in &mut sums {
            *sum = _mm256_fmadd_ps(*sum, a, b);
        }
    }
    let mut out = [0f32; 8];
    for sum in sums {
        // SAFETY: `out` has eight numbers.
        unsafe { _mm256_storeu_ps(out.as_mut_ptr(), sum) };
        std::hint::black_box(out);
    }
    rounds * SUMS * 8 * 2
}
