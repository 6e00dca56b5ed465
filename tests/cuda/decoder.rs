//! Each kernel of a decoder against a slow f64 reference or the CPU's operation.

use std::sync::Arc;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use xd::ml::cuda::{Arg, Array, Gpu, blocks};

use crate::emulator::emulator;

pub fn uniform(count: usize, seed: u64) -> Vec<f32> {
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    (0..count).map(|_| generator.random_range(-1.0..1.0)).collect()
}

/// Both orders of threads.
fn gpus() -> Vec<Arc<dyn Gpu>> {
    [false, true].into_iter().filter_map(emulator).collect()
}

/// Calls `run` on both orders, which must give the same bits; what they gave.
fn both(run: impl Fn(&Arc<dyn Gpu>) -> Vec<f32>) -> Option<Vec<f32>> {
    let found: Vec<Vec<f32>> = gpus().iter().map(run).collect();
    if let [forwards, backwards] = found.as_slice() {
        let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(forwards), bits(backwards), "threads and blocks in another order");
    }
    found.into_iter().next()
}

/// Largest distance, in units of the largest number wanted.
fn farthest(found: &[f32], wanted: &[f64]) -> f64 {
    assert_eq!(found.len(), wanted.len());
    let largest = wanted.iter().fold(1e-30, |most: f64, x| most.max(x.abs()));
    let worst = found.iter().zip(wanted).map(|(a, b)| (f64::from(*a) - b).abs());
    // A number that is none is far from every other.
    worst.fold(0.0, |most, x| if x <= most { most } else { x }) / largest
}

#[derive(Clone, Copy, Debug)]
struct Shape {
    sequences: usize,
    tokens: usize,
    heads: usize,
    kv_heads: usize,
    head: usize,
    window: Option<usize>,
    cap: f32,
}

/// softmax(mask(cap(scale q k^T))) v in f64.
fn slow_attention(q: &[f32], k: &[f32], v: &[f32], shape: Shape, scale: f32) -> Vec<f64> {
    let Shape { sequences, tokens, heads, kv_heads, head, window, cap } = shape;
    let at = |x: &[f32], row: usize, of: usize, h: usize, i: usize| f64::from(x[(row * of + h) * head + i]);
    let mut out = Vec::new();
    for row in 0..sequences * tokens {
        let (start, t) = (row / tokens * tokens, row % tokens);
        for h in 0..heads {
            let kv = h / (heads / kv_heads);
            let low = (t + 1).saturating_sub(window.unwrap_or(usize::MAX));
            let score = |key: usize| {
                let dot: f64 = (0..head).map(|i| at(q, row, heads, h, i) * at(k, start + key, kv_heads, kv, i)).sum();
                let (dot, cap) = (dot * f64::from(scale), f64::from(cap));
                if cap > 0.0 { cap * (dot / cap).tanh() } else { dot }
            };
            let scores: Vec<f64> = (low..=t).map(score).collect();
            let top = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let weights: Vec<f64> = scores.iter().map(|s| (s - top).exp()).collect();
            let total: f64 = weights.iter().sum();
            out.extend((0..head).map(|i| {
                let sum: f64 =
                    weights.iter().enumerate().map(|(n, w)| w * at(v, start + low + n, kv_heads, kv, i)).sum();
                sum / total
            }));
        }
    }
    out
}

#[test]
fn attention_is_that_of_f64_for_every_shape() {
    let plain = Shape { sequences: 1, tokens: 1, heads: 1, kv_heads: 1, head: 8, window: None, cap: 0.0 };
    let shapes = [
        plain,
        Shape { sequences: 3, tokens: 5, heads: 4, kv_heads: 2, ..plain },
        Shape { tokens: 64, heads: 3, ..plain },
        Shape { tokens: 65, heads: 2, head: 24, cap: 0.5, ..plain },
        Shape { tokens: 150, heads: 2, head: 64, window: Some(1), ..plain },
        Shape { sequences: 2, tokens: 130, heads: 2, head: 33, window: Some(64), ..plain },
        Shape { tokens: 200, head: 64, window: Some(67), cap: 2.0, ..plain },
        Shape { tokens: 70, heads: 6, kv_heads: 2, head: 80, window: Some(1000), ..plain },
        Shape { tokens: 67, heads: 2, head: 128, ..plain },
        Shape { tokens: 66, heads: 2, head: 256, cap: 5.0, window: Some(65), ..plain },
    ];
    for shape in shapes {
        let rows = shape.sequences * shape.tokens;
        let of = |heads: usize, seed: u64| {
            uniform(rows * heads * shape.head, seed).iter().map(|x| 3.0 * x).collect::<Vec<f32>>()
        };
        let (q, k, v) = (of(shape.heads, 1), of(shape.kv_heads, 2), of(shape.kv_heads, 3));
        let scale = 0.7 / (shape.head as f32).sqrt();
        let kernel = match shape.head {
            0..=64 => "attend_64",
            65..=128 => "attend_128",
            _ => "attend_256",
        };
        let run = |gpu: &Arc<dyn Gpu>| {
            let arrays = [&q, &k, &v].map(|x| Array::of(gpu, x).unwrap());
            let mut out = Array::<f32>::empty(gpu);
            out.resize(q.len()).unwrap();
            let [q, k, v] = &arrays;
            let args = [
                q.arg(),
                k.arg(),
                v.arg(),
                Arg::from(shape.tokens),
                Arg::from(shape.heads),
                Arg::from(shape.kv_heads),
                Arg::from(shape.head),
                Arg::F32(scale),
                Arg::F32(shape.cap),
                Arg::U32(shape.window.map_or(u32::MAX, |window| window as u32)),
                Arg::U32(0),
                out.arg(),
            ];
            let grid = [(shape.sequences * shape.heads * shape.tokens.div_ceil(64)) as u32, 1];
            gpu.launch(kernel, grid, &args).unwrap();
            out.get().unwrap()
        };
        let Some(found) = both(run) else { return };
        let distance = farthest(&found, &slow_attention(&q, &k, &v, shape, scale));
        assert!(distance < 2e-6, "{shape:?}: {distance}");
    }
}

#[test]
fn large_scores_do_not_overflow_and_one_key_takes_all() {
    let (tokens, head) = (70, 8);
    let q = vec![40.0f32; tokens * head];
    let k: Vec<f32> = (0..tokens * head).map(|i| (i / head) as f32 * 10.0).collect();
    let v = uniform(tokens * head, 5);
    let shape = Shape { sequences: 1, tokens, heads: 1, kv_heads: 1, head, window: None, cap: 0.0 };
    let run = |gpu: &Arc<dyn Gpu>| {
        let arrays = [&q, &k, &v].map(|x| Array::of(gpu, x).unwrap());
        let out = Array::<f32>::zeros(gpu, q.len()).unwrap();
        let [q, k, v] = &arrays;
        let sizes = [tokens, 1, 1, head].map(Arg::from);
        let rest = [Arg::F32(1.0), Arg::F32(0.0), Arg::U32(u32::MAX), Arg::U32(0), out.arg()];
        let args = [&[q.arg(), k.arg(), v.arg()], &sizes[..], &rest[..]].concat();
        gpu.launch("attend_64", [2, 1], &args).unwrap();
        out.get().unwrap()
    };
    let Some(found) = both(run) else { return };
    assert!(farthest(&found, &slow_attention(&q, &k, &v, shape, 1.0)) < 1e-6);
}

fn rounded(value: f32) -> f32 {
    half::bf16::from_f32(value).to_f32()
}

#[test]
fn rows_are_normalized_as_in_f64_and_rounded_as_in_bf16() {
    for (rows, n) in [(1, 8), (9, 24), (17, 300)] {
        let (x, w, b) = (uniform(rows * n, 1), uniform(n, 2), uniform(n, 3));
        for (centred, bias, offset, rounds) in [
            (0, false, 0.0, 0),
            (0, false, 1.0, 0),
            (1, true, 0.0, 0),
            (0, false, 0.0, 2),
            (0, false, 1.0, 1),
            (1, true, 0.0, 1),
        ] {
            let run = |gpu: &Arc<dyn Gpu>| {
                let [x, w, b] = [&x, &w, &b].map(|values| Array::of(gpu, values).unwrap());
                let bias = if bias { b.arg() } else { Arg::Place(0) };
                let sizes = [rows, n].map(Arg::from);
                let rest = [Arg::F32(1e-5), Arg::F32(offset), Arg::U32(centred), Arg::U32(rounds), x.arg()];
                let args = [&[x.arg(), w.arg(), bias], &sizes[..], &rest[..]].concat();
                gpu.launch("normalize", [rows.div_ceil(8) as u32, 1], &args).unwrap();
                x.get().unwrap()
            };
            let Some(found) = both(run) else { return };
            let wanted: Vec<f64> = x
                .chunks(n)
                .flat_map(|row| {
                    let row: Vec<f64> = row.iter().map(|x| f64::from(*x)).collect();
                    let mean = if centred == 1 { row.iter().sum::<f64>() / n as f64 } else { 0.0 };
                    let square = row.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / n as f64;
                    let scale = 1.0 / (square + 1e-5).sqrt();
                    let (w, b) = (&w, &b);
                    (0..n)
                        .map(move |i| {
                            let unit = (row[i] - mean) * scale;
                            let unit = if rounds == 2 { f64::from(rounded(unit as f32)) } else { unit };
                            let value = unit * f64::from(w[i] + offset) + if bias { f64::from(b[i]) } else { 0.0 };
                            if rounds > 0 { f64::from(rounded(value as f32)) } else { value }
                        })
                        .collect::<Vec<f64>>()
                })
                .collect();
            // Where a number lies between two of bf16, either is right.
            let within = if rounds > 0 { 2f64.powi(-8) } else { 1e-6 };
            let distance = farthest(&found, &wanted);
            assert!(distance < within, "{rows} x {n}, {centred} {offset} {rounds}: {distance}");
            let same = found.iter().zip(&wanted).filter(|(a, b)| f64::from(**a) == **b).count();
            assert!(rounds == 0 || same * 100 >= 97 * found.len(), "{same} of {}", found.len());
            assert!(rounds == 0 || found.iter().all(|x| rounded(*x) == *x));
        }
    }
}

/// Phi by the series of erf.
fn phi(x: f64) -> f64 {
    let z = x / 2f64.sqrt();
    let (mut term, mut total) = (z, z);
    for n in 1..120 {
        term *= -z * z / n as f64;
        total += term / (2 * n + 1) as f64;
    }
    0.5 * (1.0 + total * 2.0 / std::f64::consts::PI.sqrt())
}

#[test]
fn activations_and_their_gates_are_those_of_f64() {
    let x: Vec<f32> = (0..601).map(|i| (i as f32 - 300.0) / 60.0).collect();
    let up = uniform(x.len(), 4);
    for kind in 0..3u32 {
        for gated in [false, true] {
            let run = |gpu: &Arc<dyn Gpu>| {
                let (x, up) = (Array::of(gpu, &x).unwrap(), Array::of(gpu, &up).unwrap());
                let other = if gated { up.arg() } else { Arg::Place(0) };
                let args = [x.arg(), other, Arg::U64(x.len() as u64), Arg::U32(kind), Arg::U32(0), x.arg()];
                gpu.launch("activate", [blocks(x.len()), 1], &args).unwrap();
                x.get().unwrap()
            };
            let Some(found) = both(run) else { return };
            let wanted: Vec<f64> = x
                .iter()
                .zip(&up)
                .map(|(x, up)| {
                    let x = f64::from(*x);
                    let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x * x * x);
                    let value = match kind {
                        0 => x * phi(x),
                        1 => x / 2.0 * (1.0 + inner.tanh()),
                        _ => x / (1.0 + (-x).exp()),
                    };
                    if gated { value * f64::from(*up) } else { value }
                })
                .collect();
            assert!(farthest(&found, &wanted) < 1e-6, "{kind} {gated}: {}", farthest(&found, &wanted));
        }
    }
}

#[test]
fn pairs_of_coordinates_are_turned_by_the_angle_of_their_position() {
    let (sequences, tokens, heads, head, pairs) = (2, 7, 3, 10, 4);
    let x = uniform(sequences * tokens * heads * head, 1);
    let angle = |position: usize, pair: usize| position as f64 * 0.9f64.powi(pair as i32);
    let angles: Vec<f32> = (0..tokens)
        .flat_map(|t| (0..pairs).flat_map(move |i| [angle(t, i).cos() as f32, angle(t, i).sin() as f32]))
        .collect();
    let run = |gpu: &Arc<dyn Gpu>| {
        let (x, angles) = (Array::of(gpu, &x).unwrap(), Array::of(gpu, &angles).unwrap());
        let count = x.len() / head * pairs;
        let sizes = [tokens, heads, head, pairs].map(Arg::from);
        let args = [&[x.arg(), angles.arg(), Arg::U64(count as u64)], &sizes[..], &[Arg::U32(0)]].concat();
        gpu.launch("rotate", [blocks(count), 1], &args).unwrap();
        x.get().unwrap()
    };
    let Some(found) = both(run) else { return };
    let mut wanted: Vec<f64> = x.iter().map(|x| f64::from(*x)).collect();
    for (number, part) in wanted.chunks_mut(head).enumerate() {
        for i in 0..pairs {
            let (sin, cos) = angle(number / heads % tokens, i).sin_cos();
            let (a, b) = (part[i], part[i + pairs]);
            (part[i], part[i + pairs]) = (a * cos - b * sin, b * cos + a * sin);
        }
    }
    assert!(farthest(&found, &wanted) < 1e-6);
}
