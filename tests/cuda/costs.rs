//! What a step asks of the GPU: memory as forecast, launches, and times that the host waits.

use std::sync::Arc;

use candle_core::{Device, Tensor};

use xd::ml::crosscoder::*;
use xd::ml::cuda::GpuDecoder;
use xd::ml::cuda::memory::{self, Memory, ScalingSizes};
use xd::ml::lm::{Dtype, LanguageModel, Site};
use xd::ml::scaling::{ScalingConfig, scale_on};
use xd::ml::watch::Unwatched;
use xd::ml::{MemoryRows, RowInfo};

use crate::counting::{Counting, Counts};
use crate::emulator::{emulator, without_narrow};
use crate::rows::{config, l1, rows, top};

/// Latents are dead at once, so that AuxK has all it may have.
fn lively(k: u64) -> TopK {
    TopK { dead_after: 1, ..top(k) }
}

/// Trains on a GPU that counts; the counts of the last step, with the memory of all.
fn steps(config: &TrainerConfig, width: usize, count: usize) -> Option<Counts> {
    let counting = Counting::new(emulator(true)?);
    let mut trainer = Trainer::new(config.clone(), width, None).unwrap().on(&counting.gpu()).unwrap();
    let batch = config.train.batch as usize;
    let batches: Vec<Arc<Vec<f32>>> =
        rows(count * batch, width, 11).chunks(batch * 2 * width).map(|rows| Arc::new(rows.to_vec())).collect();
    for (number, batch) in batches.iter().enumerate() {
        counting.restart();
        // What comes after the last one never comes.
        trainer.expect(batches.get(number + 1).unwrap_or(batch));
        trainer.step(batch).unwrap();
    }
    let counts = counting.counts().clone();
    drop(trainer);
    assert_eq!(counting.counts().live, 0, "all memory is given back");
    Some(counts)
}

fn assert_near(measured: u64, forecast: &Memory, what: &str) {
    let said = forecast.bytes();
    println!("{what}: {measured} bytes at the peak, {said} forecast");
    let share = measured as f64 / said as f64;
    assert!((0.9..=1.0).contains(&share), "{what}: {measured} bytes at the peak, {said} forecast: {forecast:?}");
}

#[test]
fn a_training_takes_as_much_memory_as_was_forecast() {
    for (width, latents, batch) in [(20, 150, 32), (60, 400, 70), (8, 700, 130)] {
        let losses = [
            ("BatchTopK", Loss::BatchTopK(lively(4))),
            ("BatchTopK, annealed, without AuxK", Loss::BatchTopK(TopK { aux: 0.0, anneal: Some((9, 5)), ..top(4) })),
            ("TopK", Loss::TopK(lively(3))),
            ("L1", l1(0.001, Reconstruction::L2, CodeNorm::Sum)),
        ];
        for (name, loss) in losses {
            let mut config = config(latents, loss);
            config.train.batch = batch;
            config.train.resample = matches!(loss, Loss::TopK(_)).then_some(2);
            let Some(counts) = steps(&config, width, 4) else { return };
            let what = format!("{name}, d = {width}, D = {latents}, B = {batch}");
            assert_near(counts.peak, &memory::training(&config, width), &what);
            for precision in [Precision::Tf32, Precision::Bf16] {
                config.train.precision = precision;
                let Some(counts) = steps(&config, width, 4) else { return };
                assert_near(counts.peak, &memory::training(&config, width), &format!("{what}, {precision:?}"));
            }
        }
    }
}

#[test]
fn latent_scaling_takes_as_much_memory_as_was_forecast() {
    let width = 20;
    for (latents, count, intervals) in [(150, 300, 0), (150, 300, 20), (700, 120, 20)] {
        let mut trainer = Trainer::new(config(latents, Loss::TopK(top(5))), width, None).unwrap();
        trainer.step(&rows(64, width, 3)).unwrap();
        let crosscoder = trainer.finish().unwrap();
        let values = rows(count, width, 5);
        let infos = (0..count as u32).map(|i| RowInfo { sequence: i / 20, ..RowInfo::default() }).collect();
        let data = MemoryRows { width, values, infos };
        let Some(gpu) = emulator(false) else { return };
        let counting = Counting::new(gpu);
        let settings = ScalingConfig { intervals, ..ScalingConfig::default() };
        scale_on(Some(&counting.gpu()), &crosscoder, &data, &settings, &Unwatched).unwrap();
        let sizes = ScalingSizes {
            width,
            latents,
            measured: latents,
            by_group: intervals > 0,
            thresholds: false,
            rows: count as u64,
            active: memory::active(&crosscoder.activation, latents),
        };
        let what = format!("Latent Scaling, D = {latents}, {count} rows, {intervals} intervals");
        assert_near(counting.counts().peak, &memory::scaling(sizes), &what);
    }
}

/// Of every family: a pass that ends at a tap, and one that goes on from values to logits.
#[test]
fn a_model_takes_as_much_memory_as_was_forecast() {
    let (sequences, tokens) = (5, 33);
    for family in ["gemma2", "gemma3", "gpt2", "gpt_neox", "llama", "qwen3"] {
        let wide = [(Dtype::F32, true, false), (Dtype::F32, true, true)];
        let narrow = [(Dtype::Bf16, true, false), (Dtype::Bf16, true, true), (Dtype::Bf16, false, true)];
        for (dtype, has_narrow, goes_on) in wide.into_iter().chain(narrow) {
            let Some(gpu) = (if has_narrow { emulator(false) } else { without_narrow() }) else { return };
            let counting = Counting::new(gpu);
            let decoder = GpuDecoder::open(&counting.gpu(), crate::models::fixture(family), dtype).unwrap();
            let (layers, width, vocabulary) = (decoder.layers(), decoder.width(), decoder.vocabulary());
            let ids: Vec<u32> = (0..(sequences * tokens) as u32).map(|i| i % 7 + 3).collect();
            let ids = Tensor::from_vec(ids, (sequences, tokens), &Device::Cpu).unwrap();
            if !goes_on {
                decoder.residual(&ids, layers - 1, Site::ResidualPost).unwrap();
            } else {
                let held = decoder.hold(&ids, 0, Site::ResidualPost).unwrap();
                let positions: Vec<usize> = (0..tokens).collect();
                let rows = decoder.read_on(&held, held.value(), &positions).unwrap();
                decoder.logits_of(&rows).unwrap();
            }
            let all = sequences * tokens;
            let logits = goes_on.then_some(all * vocabulary);
            let forecast = memory::model(decoder.config(), dtype, has_narrow, all, tokens, logits);
            let what = format!("{family}, d = {width}, {dtype:?}, {has_narrow}, {goes_on}");
            assert_near(counting.counts().peak, &forecast, &what);
        }
    }
}

/// The sizes of the paper, and larger ones: a training takes less than weights, gradients (which a sparse step does not store), moments and 1 GB.
#[test]
fn a_training_of_the_papers_size_takes_no_more_than_a_gigabyte_beside_weights_moments_and_gradients() {
    let l1 = l1(0.04, Reconstruction::L2, CodeNorm::Sum);
    for (width, latents, k, batch, loss) in [
        (2304, 73_728, 100, 2048, Loss::BatchTopK(top(100))),
        (2304, 73_728, 100, 2048, l1),
        (4096, 131_072, 200, 2048, Loss::BatchTopK(top(200))),
    ] {
        let mut config = config(latents, loss);
        config.train.batch = batch;
        let memory = memory::training(&config, width);
        let weights = 4 * (4 * width * latents) as u64;
        let gradients = if matches!(loss, Loss::L1 { .. }) { weights } else { 0 };
        let beside = memory.bytes() - 3 * weights - gradients;
        println!(
            "d = {width}, D = {latents}, k = {k}, B = {batch}, {loss:?}: {} bytes, {beside} beside",
            memory.bytes()
        );
        memory.arrays.iter().for_each(|(what, bytes)| println!("  {bytes:>14}  {what}"));
        assert!(memory.bytes() < 4 * weights + 1_000_000_000, "{beside}");
        assert!(memory.bytes() < 80_000_000_000);
    }
}

/// Waits, launches and allocations of the last of some steps; the entries of a sparse step of L1 are as many as there are, so these may grow.
#[test]
fn a_step_waits_five_times_at_most_and_allocates_nothing() {
    let mut fast = config(150, l1(3.0, Reconstruction::L2, CodeNorm::Sum));
    fast.train.optimizer.learning_rate = 2e-2;
    let plain = |loss, clip: bool| {
        let mut config = config(150, loss);
        config.train.clip = clip.then_some(1.0);
        config
    };
    let cases = [
        ("BatchTopK with AuxK and clip", plain(Loss::BatchTopK(lively(4)), true), 5),
        ("BatchTopK without AuxK", plain(Loss::BatchTopK(TopK { aux: 0.0, ..top(4) }), false), 5),
        ("TopK with AuxK and clip", plain(Loss::TopK(lively(4)), true), 5),
        ("L1, dense", plain(l1(0.001, Reconstruction::L2, CodeNorm::Sum), false), 5),
        ("L1, sparse", fast, 40),
    ];
    let mut found = Vec::new();
    for (name, config, count) in &cases {
        let Some(counts) = steps(config, 20, *count) else { return };
        println!("{name}: {counts:?}");
        assert_eq!(counts.launches.contains_key("dense_values"), *name == "L1, dense", "{name}");
        assert!(counts.allocations == 0 || *name == "L1, sparse", "{name}: {counts:?}");
        assert_eq!((counts.uploads, counts.uploads_beside), (0, 1), "{name}");
        found.push((*name, counts.waits(), counts.launched()));
    }
    let expected = [
        ("BatchTopK with AuxK and clip", 5, 71),
        ("BatchTopK without AuxK", 3, 47),
        ("TopK with AuxK and clip", 5, 57),
        ("L1, dense", 3, 28),
        ("L1, sparse", 3, 29),
    ];
    assert_eq!(found, expected, "waits and launches");
}

/// Kernels and products of one block, between two passes that differ by it.
#[test]
fn a_block_in_bf16_takes_no_pass_that_only_rounds_or_widens() {
    // Norms, products, turns, attention, activation and sums; a product with a bias is finished by a kernel.
    let cases = [("gemma2", 7, 4 + 2 + 1 + 1 + 2), ("llama", 7, 2 + 2 + 1 + 1 + 2), ("gpt2", 6, 2 + 1 + 1 + 2 + 6)];
    for (family, products, kernels) in cases {
        let Some(gpu) = emulator(false) else { return };
        let counting = Counting::new(gpu);
        let decoder = GpuDecoder::open(&counting.gpu(), crate::models::fixture(family), Dtype::Bf16).unwrap();
        let ids = Tensor::new(&[[3u32, 4, 5]], &Device::Cpu).unwrap();
        let of = |layer: usize| {
            counting.restart();
            decoder.residual(&ids, layer, Site::ResidualPost).unwrap();
            let counts = counting.counts().clone();
            (counts.products, counts.launches.values().sum::<usize>())
        };
        let (before, after) = (of(0), of(1));
        assert_eq!((after.0 - before.0, after.1 - before.1), (products, kernels), "{family}");
        assert!(!counting.counts().launches.contains_key("widen"), "{family}");
    }
}
