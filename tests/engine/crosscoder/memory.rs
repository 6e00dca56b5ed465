//! A step of a crosscoder asks for no memory once its buffers have their sizes.

use xd::ml::crosscoder::*;

use super::rows::{config, l1, rows, top};
use crate::allocations::all;
use crate::support::said;

const CHILD: &str = "XD_STEPS_WITHOUT_ALLOCATION";
const STEPS: usize = 20;

/// Pieces and bytes that so many steps ask for, the batch being the same at each so that buffers keep their sizes, on a pool of two threads.
/// `bias` is that of the encoder.
fn asked(config: TrainerConfig, bias: f32) -> (u64, u64) {
    let width = 64;
    let batch = rows(256, width, 5);
    let mut start = Trainer::new(config.clone(), width, None).unwrap().crosscoder().unwrap();
    start.encoder_bias.fill(bias);
    let mut trainer = Trainer::new(config, width, Some(&start)).unwrap();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    pool.install(|| {
        (0..3 * STEPS).for_each(|_| drop(trainer.step(&batch).unwrap()));
        all(|| (0..STEPS).for_each(|_| drop(trainer.step(&batch).unwrap())))
    })
}

/// Runs in a process of its own, where nothing else asks for memory.
#[test]
fn child_that_counts() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let still = |loss: Loss, clip: Option<f64>| {
        let mut config = config(512, loss);
        config.train.optimizer.learning_rate = 1e-9;
        config.train.clip = clip;
        config
    };
    let helped = TopK { dead_after: 300, ..top(4) };
    let l1 = l1(0.1, Reconstruction::L2, CodeNorm::Sum);
    for (name, config, bias) in [
        ("batch_topk", still(Loss::BatchTopK(top(8)), Some(1.0)), 0.0),
        ("batch_topk with auxk", still(Loss::BatchTopK(helped), None), 0.0),
        ("topk", still(Loss::TopK(top(8)), Some(1.0)), 0.0),
        ("l1 with few active latents", still(l1, Some(1.0)), -3.0),
    ] {
        assert_eq!(asked(config, bias), (0, 0), "{name}: pieces and bytes in {STEPS} steps");
    }
    // Dense products pack their operands, in a library.
    let (pieces, bytes) = asked(still(l1, None), 0.0);
    assert!(
        pieces > 0 && pieces <= 8 * STEPS as u64 && bytes < STEPS as u64 * (1 << 20),
        "{pieces} pieces, {bytes} bytes"
    );
}

#[test]
fn a_step_asks_for_no_memory() {
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command.args(["crosscoder::memory::child_that_counts", "--exact", "--nocapture"]);
    let output = command.env(CHILD, "yes").output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    assert!(said(&output).contains("1 passed"), "{}", said(&output));
}
