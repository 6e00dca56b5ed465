//! Each kernel of a decoder against a slow f64 reference or the CPU's operation.

use std::sync::Arc;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use xd::ml::cuda::{Arg, Array, Gpu, blocks};

crate::checks!(
    attention_is_that_of_f64_for_every_shape,
    attention_in_bf16_is_that_of_f64_rounded_for_every_shape,
    large_scores_do_not_overflow_and_one_key_takes_all,
    rows_are_normalized_as_in_f64_and_rounded_as_in_bf16,
    activations_and_their_gates_are_those_of_f64,
    pairs_of_coordinates_are_turned_by_the_angle_of_their_position,
    numbers_in_two_bytes_are_those_in_four,
);

pub fn uniform(count: usize, seed: u64) -> Vec<f32> {
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    (0..count).map(|_| generator.random_range(-1.0..1.0)).collect()
}

/// Calls `run` on all, which must give the same bits; what they gave.
fn both(gpus: &[Arc<dyn Gpu>], run: impl Fn(&Arc<dyn Gpu>) -> Vec<f32>) -> Option<Vec<f32>> {
    let found: Vec<Vec<f32>> = gpus.iter().map(run).collect();
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

fn shapes() -> Vec<Shape> {
    let plain = Shape { sequences: 1, tokens: 1, heads: 1, kv_heads: 1, head: 8, window: None, cap: 0.0 };
    vec![
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
    ]
}

/// What attention reads: q, k, v and the scale of the scores.
fn operands(shape: Shape) -> ([Vec<f32>; 3], f32) {
    let rows = shape.sequences * shape.tokens;
    let of = |heads: usize, seed: u64| {
        uniform(rows * heads * shape.head, seed).iter().map(|x| 3.0 * x).collect::<Vec<f32>>()
    };
    ([of(shape.heads, 1), of(shape.kv_heads, 2), of(shape.kv_heads, 3)], 0.7 / (shape.head as f32).sqrt())
}

/// The arguments of a kernel of attention up to the window.
fn sizes(shape: Shape, scale: f32) -> Vec<Arg> {
    let Shape { tokens, heads, kv_heads, head, window, cap, .. } = shape;
    let window = Arg::U32(window.map_or(u32::MAX, |window| window as u32));
    let counts = [tokens, heads, kv_heads, head].map(Arg::from);
    [&counts[..], &[Arg::F32(scale), Arg::F32(cap), window]].concat()
}

fn attend(gpu: &Arc<dyn Gpu>, [q, k, v]: &[Vec<f32>; 3], shape: Shape, scale: f32) -> Vec<f32> {
    let kernel = match shape.head {
        0..=64 => "attend_64",
        65..=128 => "attend_128",
        _ => "attend_256",
    };
    let [q, k, v] = [q, k, v].map(|x| Array::of(gpu, x).unwrap());
    let mut out = Array::<f32>::empty(gpu);
    out.resize(q.len()).unwrap();
    let args = [&[q.arg(), k.arg(), v.arg()], &sizes(shape, scale)[..], &[Arg::U32(F32), out.arg()]].concat();
    let grid = [(shape.sequences * shape.heads * shape.tokens.div_ceil(64)) as u32, 1];
    gpu.launch(kernel, grid, &args).unwrap();
    out.get().unwrap()
}

fn attention_is_that_of_f64_for_every_shape(gpus: &[Arc<dyn Gpu>]) {
    for shape in shapes() {
        let (operands, scale) = operands(shape);
        let Some(found) = both(gpus, |gpu| attend(gpu, &operands, shape, scale)) else { return };
        let [q, k, v] = &operands;
        let distance = farthest(&found, &slow_attention(q, k, v, shape, scale));
        assert!(distance < 2e-6, "{shape:?}: {distance}");
    }
}

/// On numbers that are bf16.
fn attend_narrow(gpu: &Arc<dyn Gpu>, [q, k, v]: &[Vec<f32>; 3], shape: Shape, scale: f32) -> Vec<f32> {
    let (kernel, queries) = match shape.head {
        0..=64 => ("attend_narrow_64", 128),
        65..=128 => ("attend_narrow_128", 128),
        _ => ("attend_narrow_256", 64),
    };
    let [q, k, v] = [q, k, v].map(|x| Array::of(gpu, &narrow(x)).unwrap());
    let mut out = Array::<u16>::empty(gpu);
    out.resize(q.len()).unwrap();
    let args = [&[q.arg(), k.arg(), v.arg()], &sizes(shape, scale)[..], &[out.arg()]].concat();
    let grid = [(shape.sequences * shape.heads * shape.tokens.div_ceil(queries)) as u32, 1];
    gpu.launch(kernel, grid, &args).unwrap();
    wide(&out.get().unwrap())
}

/// The result is rounded once: it is the bf16 of a number within some millionths of the one of f64.
fn attention_in_bf16_is_that_of_f64_rounded_for_every_shape(gpus: &[Arc<dyn Gpu>]) {
    if gpus.iter().any(|gpu| !gpu.has_narrow()) {
        return;
    }
    let plain = Shape { sequences: 1, tokens: 1, heads: 1, kv_heads: 1, head: 8, window: None, cap: 0.0 };
    let more = [
        Shape { head: 1, heads: 3, tokens: 3, ..plain },
        // A tile of which one query sees one key, and one of which one query misses one key.
        Shape { head: 16, tokens: 70, window: Some(2), ..plain },
        Shape { head: 16, tokens: 80, window: Some(79), ..plain },
        Shape { head: 16, tokens: 128, window: Some(16), ..plain },
        Shape { head: 16, tokens: 129, heads: 2, window: Some(17), cap: 3.0, ..plain },
        Shape { head: 72, tokens: 140, heads: 2, window: Some(40), ..plain },
        Shape { head: 96, tokens: 65, heads: 2, kv_heads: 2, sequences: 2, ..plain },
        Shape { head: 106, tokens: 40, cap: 1.0, ..plain },
        Shape { head: 129, tokens: 33, heads: 2, ..plain },
        Shape { head: 256, tokens: 1, ..plain },
        Shape { head: 256, tokens: 130, heads: 2, kv_heads: 1, window: Some(48), sequences: 2, ..plain },
    ];
    for shape in shapes().into_iter().chain(more) {
        let (operands, scale) = operands(shape);
        let operands = operands.map(|x| wide(&narrow(&x)));
        let Some(found) = both(gpus, |gpu| attend_narrow(gpu, &operands, shape, scale)) else { return };
        let [q, k, v] = &operands;
        let wanted = slow_attention(q, k, v, shape, scale);
        let largest = wanted.iter().fold(0.0, |most: f64, x| most.max(x.abs()));
        let within = 1e-5 * largest;
        for (i, (found, wanted)) in found.iter().zip(&wanted).enumerate() {
            let (low, high) = (rounded((wanted - within) as f32), rounded((wanted + within) as f32));
            assert!((low..=high).contains(found), "{shape:?} at {i}: {found}, not {wanted}");
        }
    }
}

fn large_scores_do_not_overflow_and_one_key_takes_all(gpus: &[Arc<dyn Gpu>]) {
    let (tokens, head) = (70, 8);
    let q = vec![40.0f32; tokens * head];
    let k: Vec<f32> = (0..tokens * head).map(|i| (i / head) as f32 * 10.0).collect();
    let v = wide(&narrow(&uniform(tokens * head, 5)));
    let shape = Shape { sequences: 1, tokens, heads: 1, kv_heads: 1, head, window: None, cap: 0.0 };
    let operands = [q, wide(&narrow(&k)), v];
    let [q, k, v] = &operands;
    let wanted = slow_attention(q, k, v, shape, 1.0);
    let Some(found) = both(gpus, |gpu| attend(gpu, &operands, shape, 1.0)) else { return };
    assert!(farthest(&found, &wanted) < 1e-6);
    if gpus.iter().all(|gpu| gpu.has_narrow()) {
        let Some(found) = both(gpus, |gpu| attend_narrow(gpu, &operands, shape, 1.0)) else { return };
        assert!(found.iter().zip(&wanted).all(|(found, wanted)| f64::from(*found) == *wanted));
    }
}

// The formats of `decoder.cu`.
const F32: u32 = 0;
const ROUNDED: u32 = 1;
const NARROW: u32 = 2;

/// The bits of the nearest bf16 of each.
fn narrow(values: &[f32]) -> Vec<u16> {
    values.iter().map(|x| half::bf16::from_f32(*x).to_bits()).collect()
}

fn wide(values: &[u16]) -> Vec<f32> {
    values.iter().map(|bits| f32::from_bits(u32::from(*bits) << 16)).collect()
}

fn rounded(value: f32) -> f32 {
    half::bf16::from_f32(value).to_f32()
}

fn rows_are_normalized_as_in_f64_and_rounded_as_in_bf16(gpus: &[Arc<dyn Gpu>]) {
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
                let (twice, format) = (u32::from(rounds == 2), if rounds > 0 { ROUNDED } else { F32 });
                let flags = [centred, twice, format].map(Arg::U32);
                let rest = [&[Arg::F32(1e-5), Arg::F32(offset)], &flags[..], &[x.arg()]].concat();
                let args = [&[x.arg(), w.arg(), bias], &sizes[..], &rest[..]].concat();
                gpu.launch("normalize", [rows.div_ceil(8) as u32, 1], &args).unwrap();
                x.get().unwrap()
            };
            let Some(found) = both(gpus, run) else { return };
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

fn activations_and_their_gates_are_those_of_f64(gpus: &[Arc<dyn Gpu>]) {
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
            let Some(found) = both(gpus, run) else { return };
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

fn pairs_of_coordinates_are_turned_by_the_angle_of_their_position(gpus: &[Arc<dyn Gpu>]) {
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
    let Some(found) = both(gpus, run) else { return };
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

/// Of kernels that read and give numbers in a format.
fn numbers_in_two_bytes_are_those_in_four(gpus: &[Arc<dyn Gpu>]) {
    let (rows, heads, head, pairs, tokens) = (6, 3, 12, 5, 4);
    let n = heads * head;
    let [x, other] = [1, 2].map(|seed| wide(&narrow(&uniform(rows * n, seed))));
    let [w, bias, angles] = [3, 4, 5].map(|seed| uniform(2 * tokens * n, seed));
    let count = Arg::U64((rows * n) as u64);
    let of = |sizes: &[usize]| sizes.iter().map(|size| Arg::from(*size)).collect::<Vec<Arg>>();
    type Call = (&'static str, [u32; 2], Vec<Arg>);
    let calls = |x: Arg, other: Arg, [w, bias, angles, places]: [Arg; 4], out: Arg, format: u32| -> Vec<Call> {
        let format = Arg::U32(format);
        let [all, by_row] = [[blocks(rows * n), 1], [rows as u32, blocks(n)]];
        let turned = rows * heads * pairs;
        let norm = [&[x, w, bias], &of(&[rows, n])[..], &[Arg::F32(1e-5), Arg::F32(1.0)]].concat();
        let flags = [Arg::U32(1), Arg::U32(1), format, out];
        let sizes = of(&[tokens, heads, head, pairs]);
        vec![
            ("normalize", [blocks(32 * rows), 1], [&norm[..], &flags].concat()),
            ("activate", all, vec![x, other, count, Arg::U32(2), format, out]),
            ("add_streams", all, vec![x, other, count, format, out]),
            ("take_rows", by_row, vec![x, places, Arg::from(n), format, out]),
            ("finish_product", by_row, [&[w, bias], &of(&[n, 0, n])[..], &[format, out]].concat()),
            ("rotate", [blocks(turned), 1], [&[out, angles, Arg::U64(turned as u64)], &sizes[..], &[format]].concat()),
        ]
    };
    let run = |gpu: &Arc<dyn Gpu>| {
        let given = [&w, &bias, &angles].map(|values| Array::of(gpu, values).unwrap());
        let places = Array::of(gpu, &[5u32, 0, 3, 3, 1, 2]).unwrap();
        let args = [given[0].arg(), given[1].arg(), given[2].arg(), places.arg()];
        let [x4, other4] = [&x, &other].map(|values| Array::of(gpu, values).unwrap());
        let [x2, other2] = [&x, &other].map(|values| Array::of(gpu, &narrow(values)).unwrap());
        let (out4, out2) = (Array::of(gpu, &x).unwrap(), Array::of(gpu, &narrow(&x)).unwrap());
        let in4 = calls(x4.arg(), other4.arg(), args, out4.arg(), ROUNDED);
        let in2 = calls(x2.arg(), other2.arg(), args, out2.arg(), NARROW);
        let mut found = Vec::new();
        for ((kernel, grid, args4), (_, _, args2)) in in4.into_iter().zip(in2) {
            gpu.launch(kernel, grid, &args4).unwrap();
            gpu.launch(kernel, grid, &args2).unwrap();
            let (four, two) = (out4.get().unwrap(), wide(&out2.get().unwrap()));
            assert_eq!(four, two, "{kernel}");
            found.extend(four);
        }
        found
    };
    let Some(found) = both(gpus, run) else { return };
    assert!(found.iter().all(|x| x.is_finite() && rounded(*x) == *x));
}
