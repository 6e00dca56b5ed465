//! What training and Latent Scaling spend their time in, piece by piece: `cargo bench --bench kernels`.
//!
//! d = 512, D = 8192, B = 1024, k = 32, f32, rows and weights drawn from a normal distribution; `-- NAME` runs the benches of that name. Neighbours on the
//! machine disturb: compare within one run.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use xd::ml::crosscoder::*;
use xd::ml::kernels::*;
use xd::ml::scaling::{ScalingConfig, scale};
use xd::ml::watch::Unwatched;
use xd::ml::{MemoryRows, RowInfo};

const WIDTH: usize = 512;
const BOTH: usize = 2 * WIDTH;
const LATENTS: usize = 8192;
const BATCH: usize = 1024;
const K: usize = 32;

/// Numbers of about the normal distribution, times `size`.
fn normal(count: usize, size: f32, seed: u64) -> Vec<f32> {
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    (0..count).map(|_| size * (0..6).map(|_| generator.random::<f32>() - 0.5).sum::<f32>()).collect()
}

fn encoder(c: &mut Criterion) {
    let (x, w) = (normal(BATCH * BOTH, 1.0, 1), normal(LATENTS * BOTH, 0.03, 2));
    let (bias, norms) = (vec![0.0; LATENTS], vec![1.0; LATENTS]);
    let mut products = vec![0.0; BATCH * LATENTS];
    let mut group = c.benchmark_group("encoder");
    group.sample_size(10);
    group.bench_function("product, f32", |b| b.iter(|| dots(&mut products, &x, &w, BOTH, None)));
    let right = Matrix::new(&w, LATENTS, BOTH).transposed();
    group.bench_function("product, gemm", |b| b.iter(|| product(&mut products, Matrix::new(&x, BATCH, BOTH), right)));
    dots(&mut products, &x, &w, BOTH, None);
    let at = Preactivations { products: &products, bias: &bias, norms: &norms };
    group.bench_function("select, f32", |b| b.iter(|| black_box(batch_top_k(at, BATCH * K))));
    let (exact, least) = batch_top_k(at, BATCH * K);
    let mut rounded = Rounded::empty(Side::Left);
    rounded.fill(&w, BOTH);
    let of = Latents { encoder: &w, rounded: &rounded, bias: &bias, norms: &norms };
    let mut candidates = Candidates::default();
    let mut code = SparseCode::default();
    for unit in Unit::all() {
        group.bench_function(format!("product and select, bf16 and exact, {unit:?}"), |b| {
            b.iter(|| candidates.batch_top_k(unit, &x, of, BATCH * K, 0.99 * least, &mut code))
        });
        assert_eq!(code, exact);
    }
    group.finish();
}

fn sparse(c: &mut Criterion) {
    let crosscoder = crosscoder(Loss::BatchTopK(top()));
    let x = normal(BATCH * BOTH, 1.0, 3);
    let code = crosscoder.encode(&x);
    let mut group = c.benchmark_group("sparse");
    group.sample_size(10);
    group.bench_function("decode", |b| b.iter(|| black_box(crosscoder.decode(&code))));
    let mut columns = Columns::default();
    columns.fill(LATENTS, &[(&code, &code.values)]);
    let (mut w, mut m, mut v) = (normal(LATENTS * BOTH, 0.03, 2), vec![0.0; LATENTS * BOTH], vec![0.0; LATENTS * BOTH]);
    let step = AdamStep::new(1e-4, 0.9, 0.999, 1e-8, 1, 1.0);
    group.bench_function("gradients and Adam, one matrix, one thread", |b| {
        let mut gradient = vec![0.0; BOTH];
        b.iter(|| {
            for j in 0..LATENTS {
                let (rows, values, _) = columns.column(j);
                let row = j * BOTH..(j + 1) * BOTH;
                gradient.fill(0.0);
                gather_sum(&mut gradient, values, rows, &x);
                adam(&mut w[row.clone()], &mut m[row.clone()], &mut v[row], &gradient, &step);
            }
        })
    });
    group.finish();
}

fn steps(c: &mut Criterion) {
    let x = normal(4 * BATCH * BOTH, 1.0, 4);
    let batches: Vec<&[f32]> = x.chunks(BATCH * BOTH).collect();
    let l1 = Loss::L1 { weight: 0.01, warmup: 0, reconstruction: Reconstruction::L2, norm: CodeNorm::Sum };
    let mut group = c.benchmark_group("step");
    group.sample_size(10);
    for (name, loss, in_f32) in [
        ("BatchTopK", Loss::BatchTopK(top()), false),
        ("BatchTopK, all in f32", Loss::BatchTopK(top()), true),
        ("L1", l1, false),
    ] {
        let mut trainer = Trainer::new(config(loss), WIDTH, None).expect("a trainer");
        if in_f32 {
            trainer = trainer.in_f32();
        }
        let mut next = batches.iter().cycle();
        group.bench_function(name, |b| b.iter(|| trainer.step(next.next().expect("a batch")).expect("a step")));
    }
    group.finish();
}

fn latent_scaling(c: &mut Criterion) {
    let mut crosscoder = crosscoder(Loss::BatchTopK(top()));
    let values = normal(BATCH * BOTH, 1.0, 3);
    crosscoder.activation = Activation::Threshold { k: K as u64, threshold: 2.5 };
    let rows = MemoryRows { width: WIDTH, values, infos: vec![RowInfo::default(); BATCH] };
    let config = ScalingConfig { tokens: BATCH as u64, ..ScalingConfig::default() };
    let mut group = c.benchmark_group("scaling");
    group.sample_size(10);
    group.bench_function("1,024 rows", |b| {
        b.iter(|| black_box(scale(&crosscoder, &rows, &config, &Unwatched).expect("sums")))
    });
    group.finish();
}

fn top() -> TopK {
    TopK {
        k: K as u64,
        aux: 1.0 / 32.0,
        dead_after: 10_000_000,
        threshold_from: 1000,
        anneal: None,
        reconstruction: Reconstruction::L2,
        norm: CodeNorm::Sum,
    }
}

fn config(loss: Loss) -> TrainerConfig {
    let optimizer = AdamConfig { learning_rate: 1e-4, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, warmup: 1000, decay: 0 };
    let clip = (!matches!(loss, Loss::L1 { .. })).then_some(1.0);
    let train = Train {
        batch: BATCH as u64,
        steps: 1_000_000,
        optimizer,
        clip,
        shuffle: Shuffle::None,
        validate: 0,
        log: 0,
        seed: 0,
        precision: Precision::F32,
        resample: None,
    };
    let init = Init { norm: Some(1.0), encoder: InitEncoder::Transpose, same: true };
    TrainerConfig { latents: LATENTS, variant: Variant::SharedCode, loss, init, train }
}

/// With the K largest scores of each row.
fn crosscoder(loss: Loss) -> Crosscoder {
    let mut crosscoder = Trainer::new(config(loss), WIDTH, None).expect("a trainer").finish().expect("weights");
    crosscoder.activation = Activation::TopK { k: K as u64 };
    crosscoder
}

criterion_group!(benches, encoder, sparse, steps, latent_scaling);
criterion_main!(benches);
