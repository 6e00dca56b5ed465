//! The largest scores by way of near products: the same entries and bits whatever makes these.

use std::sync::Arc;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use xd::ml::Result;
use xd::ml::crosscoder::{Precision, SparseCode};
use xd::ml::cuda::{Arg, Array, Code, Form, Gpu, Narrow, Operands, Product, Scorer, Selection, Top, Way};
use xd::ml::kernels::{Preactivations, batch_top_k, row_top_k};

use crate::emulator::emulator;

/// A GPU whose products are as rough as the bound allows for: terms are aligned to the largest of four and the sum so far and cut off at 24
/// bits, from the last place to the first, and denormal numbers are read as 0.
struct Rough(Arc<dyn Gpu>);

/// Cuts a number off at 2^-23 of a power of two.
fn cut(value: f64, exponent: i32) -> f64 {
    let spacing = 2f64.powi(exponent - 23);
    (value / spacing).trunc() * spacing
}

fn exponent(value: f64) -> i32 {
    (value.to_bits() >> 52 & 0x7ff) as i32 - 1023
}

fn rough_dot(x: &[f32], w: &[f32]) -> f32 {
    let flushed = |v: f32| if v.is_normal() || !v.is_finite() { f64::from(v) } else { 0.0 };
    let mut sum = 0f64;
    for (x, w) in x.rchunks(4).zip(w.rchunks(4)) {
        let terms: Vec<f64> = x.iter().zip(w).map(|(&x, &w)| flushed(x) * flushed(w)).chain([sum]).collect();
        if terms.iter().any(|term| !term.is_finite()) {
            return terms.iter().sum::<f64>() as f32;
        }
        let largest = terms.iter().filter(|&&term| term != 0.0).map(|&term| exponent(term)).max();
        let Some(largest) = largest else { continue };
        sum = terms.iter().map(|&term| cut(term, largest)).sum();
        if sum != 0.0 {
            sum = cut(sum, exponent(sum));
        }
    }
    flushed(sum as f32) as f32
}

impl Gpu for Rough {
    fn name(&self) -> &str {
        "rough"
    }
    fn allocate(&self, bytes: usize) -> Result<u64> {
        self.0.allocate(bytes)
    }
    fn release(&self, place: u64, bytes: usize) {
        self.0.release(place, bytes);
    }
    fn clear(&self, place: u64, bytes: usize) -> Result<()> {
        self.0.clear(place, bytes)
    }
    fn upload(&self, place: u64, bytes: &[u8]) -> Result<()> {
        self.0.upload(place, bytes)
    }
    fn download(&self, place: u64, bytes: &mut [u8]) -> Result<()> {
        self.0.download(place, bytes)
    }
    fn allocate_host(&self, bytes: usize) -> Result<u64> {
        self.0.allocate_host(bytes)
    }
    fn release_host(&self, host: u64, bytes: usize) {
        self.0.release_host(host, bytes);
    }
    fn upload_beside(&self, place: u64, host: u64, bytes: usize) -> Result<()> {
        self.0.upload_beside(place, host, bytes)
    }
    fn join_uploads(&self) -> Result<()> {
        self.0.join_uploads()
    }
    fn launch(&self, kernel: &'static str, grid: [u32; 2], args: &[Arg]) -> Result<()> {
        self.0.launch(kernel, grid, args)
    }
    fn product(&self, of: Product, a: u64, b: u64, c: u64) -> Result<()> {
        let Product { form: Form::Rows, m, n, k } = of else { return self.0.product(of, a, b, c) };
        // SAFETY: memory of the emulator in the sizes that the product states.
        let (a, b, c) = unsafe {
            let read = |place: u64, len: usize| std::slice::from_raw_parts(place as *const f32, len);
            (read(a, m * k), read(b, n * k), std::slice::from_raw_parts_mut(c as *mut f32, m * n))
        };
        for (t, out) in c.iter_mut().enumerate() {
            *out = rough_dot(&a[t / n * k..][..k], &b[t % n * k..][..k]);
        }
        Ok(())
    }
    fn has_narrow(&self) -> bool {
        true
    }
    fn narrow_product(&self, _: Narrow, of: Product, a: u64, b: u64, c: u64) -> Result<()> {
        let Product { m, n, k, .. } = of;
        // SAFETY: as above; the scorer multiplies bf16.
        let wide = |place: u64, len: usize| -> Vec<f32> {
            let bits = unsafe { std::slice::from_raw_parts(place as *const u16, len) };
            bits.iter().map(|&bits| f32::from_bits(u32::from(bits) << 16)).collect()
        };
        let (a, b) = (wide(a, m * k), wide(b, n * k));
        self.product(of, a.as_ptr() as u64, b.as_ptr() as u64, c)
    }
    fn rounded_product(&self, of: Product, a: u64, b: u64, c: u64) -> Result<()> {
        self.0.rounded_product(of, a, b, c)
    }
}

struct Case {
    name: &'static str,
    depth: usize,
    x: Vec<f32>,
    encoder: Vec<f32>,
    bias: Vec<f32>,
    norms: Vec<f32>,
}

fn uniform(count: usize, seed: u64) -> Vec<f32> {
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    (0..count).map(|_| generator.random_range(-1.0..1.0)).collect()
}

fn case(name: &'static str, rows: usize, latents: usize, depth: usize) -> Case {
    Case {
        name,
        depth,
        x: uniform(rows * depth, 1),
        encoder: uniform(latents * depth, 2),
        bias: uniform(latents, 3).iter().map(|b| 0.1 * b).collect(),
        norms: uniform(latents, 4).iter().map(|s| 1.0 + s.abs()).collect(),
    }
}

fn cases() -> Vec<Case> {
    let mut cases = vec![case("ordinary", 12, 300, 67), case("one row", 1, 300, 260), case("one latent", 3, 1, 5)];
    let mut near = case("latents that differ by less than bf16 can tell", 9, 300, 96);
    let first = near.encoder[..96].to_vec();
    for (j, row) in near.encoder.chunks_mut(96).enumerate() {
        row.copy_from_slice(&first);
        row[j % 96] *= 1.0 + 1e-6 * (j / 96) as f32;
        row[(j * 7) % 96] += 3e-8;
    }
    near.bias.fill(0.25);
    near.norms.fill(1.5);
    cases.push(near);
    let mut ties = case("equal latents and equal rows", 8, 300, 40);
    let (first, row) = (ties.encoder[..40].to_vec(), ties.x[..40].to_vec());
    ties.encoder.chunks_mut(40).skip(3).step_by(2).for_each(|latent| latent.copy_from_slice(&first));
    ties.x.chunks_mut(40).skip(2).for_each(|x| x.copy_from_slice(&row));
    ties.bias.fill(0.5);
    ties.norms.fill(2.0);
    cases.push(ties);
    let mut range = case("rows and latents of every size", 12, 300, 48);
    let size = |i: usize, step: usize, low: i32, high: i32| 10f32.powi((i * step % (high - low) as usize) as i32 + low);
    range.x.chunks_mut(48).enumerate().for_each(|(i, x)| x.iter_mut().for_each(|v| *v *= size(i, 7, -44, 24)));
    range.encoder.chunks_mut(48).enumerate().for_each(|(j, w)| w.iter_mut().for_each(|v| *v *= size(j, 11, -42, 20)));
    range.bias.iter_mut().enumerate().for_each(|(j, b)| *b *= size(j, 5, -44, 3));
    range.norms.iter_mut().enumerate().for_each(|(j, s)| *s *= size(j, 3, -20, 10));
    cases.push(range);
    let mut denormal = case("denormal numbers", 8, 300, 48);
    denormal.x.iter_mut().for_each(|v| *v *= 1e-39);
    denormal.bias.fill(0.0);
    cases.push(denormal);
    let mut cancelled = case("sums that cancel", 12, 300, 64);
    for x in cancelled.x.chunks_mut(64) {
        x.chunks_mut(2).enumerate().for_each(|(i, pair)| {
            pair[0] = 1e4 * pair[0] + 1.0;
            pair[1] = -pair[0] + 1e-3 * i as f32;
        });
    }
    cancelled.encoder.chunks_mut(2).for_each(|pair| pair[1] = pair[0]);
    cases.push(cancelled);
    let mut zeros = case("zeros", 10, 300, 32);
    zeros.x[..5 * 32].fill(0.0);
    zeros.encoder[32..100 * 32].fill(0.0);
    zeros.bias[..150].fill(0.0);
    zeros.norms[250..260].fill(0.0);
    cases.push(zeros);
    let mut few = case("hardly any is positive", 12, 300, 32);
    few.bias.iter_mut().for_each(|b| *b = -40.0);
    few.bias[3] = 40.0;
    cases.push(few);
    let mut broken = case("numbers that are not finite", 10, 300, 32);
    (broken.x[3], broken.x[40], broken.x[70]) = (f32::NAN, f32::INFINITY, 3e38);
    (broken.encoder[64], broken.encoder[320], broken.encoder[640]) = (f32::NAN, f32::NEG_INFINITY, 2e38);
    (broken.bias[9], broken.norms[4], broken.norms[11]) = (f32::NEG_INFINITY, f32::INFINITY, f32::NAN);
    cases.push(broken);
    cases
}

/// fl(x.w) as the kernel sums it: lane l the places l, l + 32, .., then the lanes as a tree.
fn warp_dot(x: &[f32], w: &[f32]) -> f32 {
    let mut lanes = [0f32; 32];
    x.iter().zip(w).enumerate().for_each(|(i, (x, w))| lanes[i % 32] = x.mul_add(*w, lanes[i % 32]));
    let mut half = 16;
    while half > 0 {
        let before = lanes;
        (0..32).for_each(|lane| lanes[lane] = before[lane] + before[lane ^ half]);
        half /= 2;
    }
    lanes[0]
}

fn same(found: &SparseCode, expected: &SparseCode, what: &str) {
    assert_eq!(found.offsets, expected.offsets, "{what}");
    assert_eq!(found.latents, expected.latents, "{what}");
    let bits = |code: &SparseCode| code.values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(found), bits(expected), "{what}");
}

#[test]
fn selections_and_values_are_those_of_all_scores_in_the_kernels_order_whatever_makes_the_near_products() {
    let [Some(forwards), Some(backwards)] = [false, true].map(emulator) else { return };
    let rough: Arc<dyn Gpu> = Arc::new(Rough(forwards.clone()));
    for (which, gpu) in [("forwards", forwards), ("backwards", backwards), ("rough", rough)] {
        let (mut selection, mut code) = (Selection::new(&gpu).unwrap(), Code::empty(&gpu));
        for case in cases() {
            let (depth, latents) = (case.depth, case.bias.len());
            let rows = case.x.len() / depth;
            let dots = |t: usize| {
                warp_dot(&case.x[t / latents * depth..][..depth], &case.encoder[t % latents * depth..][..depth])
            };
            let products: Vec<f32> = (0..rows * latents).map(dots).collect();
            let exact = Preactivations { products: &products, bias: &case.bias, norms: &case.norms };
            let array = |values: &[f32]| Array::of(&gpu, values).unwrap();
            let (x, encoder, bias, norms) =
                (array(&case.x), array(&case.encoder), array(&case.bias), array(&case.norms));
            let near = array(&vec![0.0; rows * latents]);
            let of = Operands { x: &x, encoder: &encoder, bias: &bias, norms: &norms, products: &near };
            let some: Vec<u32> = (0..latents as u32).filter(|j| j % 3 == 0 || *j > 270).collect();
            let list = Array::of(&gpu, &some).unwrap();
            for way in [Way::Bf16, Way::F32] {
                let mut scorer = Scorer::new(&gpu, Precision::F32);
                scorer.set_way(way);
                let keeps = [3, 0, 1, latents / 3, latents];
                for keep in keeps.into_iter().take(if which == "backwards" { 1 } else { 5 }) {
                    let what = format!("{which}, {way:?}, {}, {keep}", case.name);
                    scorer.score(of).unwrap();
                    scorer.top(of, Top::Batch(rows * keep), &mut selection, &mut code).unwrap();
                    let least = Selection::least_of(selection.least().get().unwrap()[0]);
                    let (expected, expected_least) = batch_top_k(exact, rows * keep);
                    same(&code.get().unwrap(), &expected, &what);
                    assert_eq!(least.to_bits(), expected_least.to_bits(), "{what}");
                    scorer.top(of, Top::Row(keep, None), &mut selection, &mut code).unwrap();
                    same(&code.get().unwrap(), &row_top_k(exact, keep, None), &format!("{what} by row"));
                    scorer.top(of, Top::Row(keep, Some(&list)), &mut selection, &mut code).unwrap();
                    let expected = row_top_k(exact, keep, Some(&some));
                    same(&code.get().unwrap(), &expected, &format!("{what} by row among some"));
                }
            }
        }
    }
}

#[test]
fn few_entries_are_scored_again_and_where_too_many_are_near_the_top_f32_tells_them_apart() {
    let Some(gpu) = emulator(false) else { return };
    let (rows, latents, depth) = (16, 1500, 200);
    let (mut selection, mut code) = (Selection::new(&gpu).unwrap(), Code::empty(&gpu));
    let mut rescored = |alike: f32, steps: usize, way: Way| {
        let case = case("", rows, latents, depth);
        let first = case.encoder[..depth].to_vec();
        let one = |i: usize, w: &f32| first[i % depth] * alike + w * (1.0 - alike);
        let encoder: Vec<f32> = case.encoder.iter().enumerate().map(|(i, w)| one(i, w)).collect();
        let array = |values: &[f32]| Array::of(&gpu, values).unwrap();
        let (x, encoder, bias) = (array(&case.x), array(&encoder), array(&vec![5.0; latents]));
        let (norms, near) = (array(&vec![1.0; latents]), array(&vec![0.0; rows * latents]));
        let of = Operands { x: &x, encoder: &encoder, bias: &bias, norms: &norms, products: &near };
        let mut scorer = Scorer::new(&gpu, Precision::F32);
        scorer.set_way(way);
        for _ in 0..steps {
            scorer.score(of).unwrap();
            scorer.top(of, Top::Row(8, None), &mut selection, &mut code).unwrap();
        }
        (scorer.rescored(), scorer.fallbacks())
    };
    let wanted = 8 * rows;
    let (in_bf16, fallbacks) = rescored(0.0, 3, Way::Bf16);
    let (in_f32, _) = rescored(0.0, 1, Way::F32);
    println!("of {} wanted {in_bf16} are scored again in bf16 and {in_f32} in f32", wanted);
    assert_eq!(fallbacks, 0);
    assert!(wanted <= in_f32 && in_f32 <= wanted + wanted / 20 && in_f32 < in_bf16 && in_bf16 < 3 * wanted);
    // Tried at steps 0, 1, 3, 7 and 15: twice as long apart each time.
    let (found, fallbacks) = rescored(0.99, 16, Way::Bf16);
    assert!(fallbacks == 5 && found < 2 * wanted, "{found} {fallbacks}");
}

#[test]
fn kernels_round_numbers_as_the_cpu_does() {
    let Some(gpu) = emulator(false) else { return };
    let mut generator = ChaCha8Rng::seed_from_u64(8);
    let mut values: Vec<f32> = (0..3000).map(|_| f32::from_bits(generator.random())).collect();
    let halves = (0..600u32)
        .map(|i| f32::from_bits(i.wrapping_mul(0x0123_4567) & !0xffff | [0x8000, 0x1000, 0x3000][i as usize % 3]));
    values.extend(halves);
    values.extend([
        0.0,
        -0.0,
        f32::MAX,
        f32::INFINITY,
        f32::NEG_INFINITY,
        1e-45,
        f32::from_bits(0x7f80_0001),
        f32::NAN,
    ]);
    let on = Array::of(&gpu, &values).unwrap();
    let (wide, narrow) = (Array::zeros(&gpu, values.len()).unwrap(), Array::<u16>::zeros(&gpu, values.len()).unwrap());
    let round = |tf32: u32, wide: Arg, narrow: Arg| {
        let args = [on.arg(), Arg::U64(values.len() as u64), Arg::U32(tf32), wide, narrow];
        gpu.launch("round_numbers", [values.len().div_ceil(256) as u32, 1], &args).unwrap();
    };
    let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    let expected = |precision: Precision| bits(&values.iter().map(|&v| precision.round(v)).collect::<Vec<_>>());
    round(1, wide.arg(), Arg::Place(0));
    assert_eq!(bits(&wide.get().unwrap()), expected(Precision::Tf32));
    round(0, wide.arg(), Arg::Place(0));
    assert_eq!(bits(&wide.get().unwrap()), expected(Precision::Bf16));
    round(0, Arg::Place(0), narrow.arg());
    let narrow: Vec<u32> = narrow.get().unwrap().into_iter().map(|bits| u32::from(bits) << 16).collect();
    assert_eq!(narrow, expected(Precision::Bf16));
}
