//! Tokens a second of a training step; run with
//! `cargo test --release --test engine crosscoder::speed -- --ignored --nocapture`.

use std::time::Instant;

use super::rows::{config, l1, rows, top};
use xd::ml::crosscoder::*;
use xd::ml::kernels::{Matrix, product};

const BATCH: usize = 1024;

/// Seconds that the processors spent on this process so far.
fn processor_seconds() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a timespec.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

/// Wall and processor seconds of each call, best half's median.
fn time(count: usize, mut work: impl FnMut(usize)) -> [f64; 2] {
    let mut times = [Vec::new(), Vec::new()];
    for i in 0..count {
        let (wall, processor) = (Instant::now(), processor_seconds());
        work(i);
        times[0].push(wall.elapsed().as_secs_f64());
        times[1].push(processor_seconds() - processor);
    }
    times.map(|mut times| {
        let late = &mut times[count / 3..];
        late.sort_by(f64::total_cmp);
        late[late.len() / 4]
    })
}

fn measure(name: &str, width: usize, latents: usize, loss: Loss, bias: f32, steps: usize) {
    let mut config = config(latents, loss);
    config.init.norm = Some(if matches!(loss, Loss::L1 { .. }) { 0.3 } else { 1.0 });
    let x = rows(2 * BATCH, width, 1);
    let batches: Vec<&[f32]> = x.chunks(BATCH * 2 * width).collect();
    let mut start = Trainer::new(config.clone(), width, None).unwrap().finish().unwrap();
    start.encoder_bias.fill(bias);
    let mut trainer = Trainer::new(config, width, Some(&start)).unwrap();
    let mut last = None;
    let [wall, processor] = time(steps, |step| last = Some(trainer.step(batches[step % batches.len()]).unwrap()));
    let encoder = vec![0.01f32; latents * 2 * width];
    let mut out = vec![0f32; BATCH * latents];
    let [_, product] = time(7, |_| {
        let encoder = Matrix::new(&encoder, latents, 2 * width).transposed();
        product(&mut out, Matrix::new(batches[0], BATCH, 2 * width), encoder);
    });
    let last = last.unwrap();
    println!(
        "{name} d {width} D {latents} B {BATCH}: {:.1} ms a step, {:.0} tokens/s; processor {:.1} ms, encoder product {:.1} ms = {:.0} %; l0 {:.1}, dead {}",
        wall * 1e3,
        BATCH as f64 / wall,
        processor * 1e3,
        product * 1e3,
        100.0 * product / processor,
        last.l0,
        last.dead
    );
}

#[test]
#[ignore = "a measurement"]
fn tokens_a_second() {
    for (width, latents, steps) in [(128, 2048, 24), (512, 8192, 9)] {
        measure("batch_topk k 32      ", width, latents, Loss::BatchTopK(top(32)), 0.0, steps);
        measure(
            "batch_topk k 32, auxk",
            width,
            latents,
            Loss::BatchTopK(TopK { dead_after: 2048, ..top(32) }),
            0.0,
            steps,
        );
        measure("topk k 32            ", width, latents, Loss::TopK(top(32)), 0.0, steps);
        let l1 = l1(0.01, Reconstruction::L2, CodeNorm::Sum);
        measure("l1, half are active  ", width, latents, l1, 0.0, steps);
        measure("l1, few are active   ", width, latents, l1, if width == 128 { -2.6 } else { -4.5 }, steps);
    }
}
