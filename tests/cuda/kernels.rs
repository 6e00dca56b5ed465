//! Each kernel against the CPU's or a slow f64 reference, where it is most likely to be wrong.

use std::sync::Arc;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use xd::ml::crosscoder::{SparseCode, geometric_median};
use xd::ml::cuda::{Array, Code, Form, Gpu, Product, Scores, Selection, Staging, Sums, Turned};
use xd::ml::kernels::{Columns, Preactivations, batch_top_k, over_each, over_threshold, positive, row_top_k};

/// Products `[B, D]`, bias and S.
struct Case {
    name: &'static str,
    products: Vec<f32>,
    bias: Vec<f32>,
    norms: Vec<f32>,
}

impl Case {
    fn on_cpu(&self) -> Preactivations<'_> {
        Preactivations { products: &self.products, bias: &self.bias, norms: &self.norms }
    }

    fn rows(&self) -> usize {
        self.products.len() / self.bias.len()
    }
}

fn uniform(count: usize, seed: u64) -> Vec<f32> {
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    (0..count).map(|_| generator.random_range(-1.0..1.0)).collect()
}

fn case(name: &'static str, rows: usize, latents: usize) -> Case {
    let norms = uniform(latents, 3).iter().map(|s| 1.0 + s.abs()).collect();
    let bias = uniform(latents, 2).iter().map(|b| 0.1 * b).collect();
    Case { name, products: uniform(rows * latents, 1), bias, norms }
}

fn cases() -> Vec<Case> {
    let mut cases = vec![
        case("ordinary", 40, 700),
        case("one latent", 5, 1),
        case("one row", 1, 257),
        case("a whole block", 3, 256),
    ];
    let mut ties = case("ties", 33, 300);
    ties.products.iter_mut().for_each(|p| *p = (*p * 2.0).round() / 2.0);
    ties.bias.fill(0.0);
    ties.norms.fill(2.0);
    cases.push(ties);
    let mut equal = case("all are equal", 9, 300);
    equal.products.fill(0.75);
    equal.bias.fill(0.25);
    equal.norms.fill(3.0);
    cases.push(equal);
    let mut negative = case("rows without a positive score", 12, 300);
    negative.products[300..1500].fill(-3.0);
    cases.push(negative);
    let mut zeros = case("zeros", 12, 300);
    zeros.products[..1800].fill(0.0);
    zeros.bias.fill(0.0);
    zeros.norms[7] = 0.0;
    cases.push(zeros);
    let mut few = case("hardly any is positive", 12, 300);
    few.products.iter_mut().for_each(|p| *p -= 1.0);
    few.bias[3] = 5.0;
    cases.push(few);
    let mut range = case("a huge range", 12, 300);
    range.products.iter_mut().enumerate().for_each(|(i, p)| *p *= 10f32.powi((i * 7 % 70) as i32 - 36));
    range.bias.fill(0.0);
    cases.push(range);
    let mut broken = case("numbers that are not finite", 12, 300);
    (broken.products[5], broken.products[700], broken.bias[9]) = (f32::NAN, f32::INFINITY, f32::NEG_INFINITY);
    (broken.norms[4], broken.norms[11]) = (f32::INFINITY, f32::NAN);
    cases.push(broken);
    cases
}

struct OnGpu {
    products: Array<f32>,
    bias: Array<f32>,
    norms: Array<f32>,
}

impl OnGpu {
    fn of(gpu: &Arc<dyn Gpu>, case: &Case) -> Self {
        let array = |values: &[f32]| Array::of(gpu, values).unwrap();
        OnGpu { products: array(&case.products), bias: array(&case.bias), norms: array(&case.norms) }
    }

    fn scores(&self) -> Scores<'_> {
        Scores { products: &self.products, bias: &self.bias, norms: Some(&self.norms) }
    }
}

crate::checks!(
    the_largest_scores_of_a_batch_are_those_of_the_cpu_ties_included,
    the_largest_scores_of_each_row_are_those_of_the_cpu_among_all_and_among_some,
    scores_over_thresholds_are_those_of_the_cpu,
    codes_are_decoded_and_turned_round_as_their_definition_says,
    two_codes_that_share_no_latent_are_turned_round_together,
    sums_of_columns_and_of_numbers_are_those_of_f64,
    products_are_those_of_f64_however_the_operands_lie,
    what_is_sent_ahead_is_what_comes,
    the_geometric_median_of_a_batch_is_that_of_the_cpu,
);

fn same(found: &SparseCode, expected: &SparseCode, what: &str) {
    assert_eq!(found.offsets, expected.offsets, "{what}");
    assert_eq!(found.latents, expected.latents, "{what}");
    let bits = |code: &SparseCode| code.values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(found), bits(expected), "{what}");
}

fn the_largest_scores_of_a_batch_are_those_of_the_cpu_ties_included(gpus: &[Arc<dyn Gpu>]) {
    for gpu in gpus {
        let (mut selection, mut code) = (Selection::new(gpu).unwrap(), Code::empty(gpu));
        for case in cases() {
            let on = OnGpu::of(gpu, &case);
            let all = case.products.len();
            for keep in [0, 1, case.rows(), 5 * case.rows(), all / 3, all - 1, all, 10 * all] {
                let (expected, least) = batch_top_k(case.on_cpu(), keep);
                selection.batch_top_k(on.scores(), keep, &mut code).unwrap();
                let found = Selection::least_of(selection.least().get().unwrap()[0]);
                same(&code.get().unwrap(), &expected, &format!("{} {keep}", case.name));
                assert_eq!(found.to_bits(), least.to_bits(), "{} {keep}", case.name);
            }
        }
    }
}

fn the_largest_scores_of_each_row_are_those_of_the_cpu_among_all_and_among_some(gpus: &[Arc<dyn Gpu>]) {
    for gpu in gpus {
        let (mut selection, mut code) = (Selection::new(gpu).unwrap(), Code::empty(gpu));
        for case in cases() {
            let on = OnGpu::of(gpu, &case);
            let latents = case.bias.len();
            let some: Vec<u32> = (0..latents as u32).filter(|j| j % 3 == 0 || *j > 270).collect();
            let list = Array::of(gpu, &some).unwrap();
            for keep in [0, 1, 4, latents / 2, latents] {
                selection.row_top_k(on.scores(), keep, None, &mut code).unwrap();
                let expected = row_top_k(case.on_cpu(), keep, None);
                same(&code.get().unwrap(), &expected, &format!("{} {keep}", case.name));
                selection.row_top_k(on.scores(), keep, Some(&list), &mut code).unwrap();
                let expected = row_top_k(case.on_cpu(), keep, Some(&some));
                same(&code.get().unwrap(), &expected, &format!("{} {keep} among some", case.name));
            }
        }
    }
}

fn scores_over_thresholds_are_those_of_the_cpu(gpus: &[Arc<dyn Gpu>]) {
    for gpu in gpus {
        let (mut selection, mut code) = (Selection::new(gpu).unwrap(), Code::empty(gpu));
        for case in cases() {
            let on = OnGpu::of(gpu, &case);
            let at = case.on_cpu();
            for threshold in [0.0, 0.5, 3.0, 1e9] {
                selection.over(on.scores(), threshold, None, &mut code).unwrap();
                same(&code.get().unwrap(), &over_threshold(at, threshold), &format!("{} {threshold}", case.name));
            }
            let plain = Scores { norms: None, ..on.scores() };
            let count = selection.count_positive(plain, &mut code).unwrap();
            selection.counted_positive(plain, count, &mut code).unwrap();
            let expected = positive(at.products, at.bias);
            assert_eq!(count, expected.values.len(), "{}", case.name);
            same(&code.get().unwrap(), &expected, case.name);
            selection.over(plain, -1.0, None, &mut code).unwrap();
            same(&code.get().unwrap(), &expected, case.name);
            let each = uniform(case.bias.len(), 9);
            selection.over(plain, 0.0, Some(&Array::of(gpu, &each).unwrap()), &mut code).unwrap();
            same(&code.get().unwrap(), &over_each(at, &each), case.name);
        }
    }
}

/// Codes of 70 rows: ordinary, with one latent in every row, with empty rows, and empty.
fn codes(latents: usize) -> Vec<SparseCode> {
    let mut generator = ChaCha8Rng::seed_from_u64(5);
    let mut codes = Vec::new();
    for kind in 0..4 {
        let mut code = SparseCode { offsets: vec![0], ..SparseCode::default() };
        for row in 0..70 {
            for latent in 0..latents as u32 {
                let everywhere = kind == 1 && latent == 3;
                let here = kind < 3 && generator.random_bool(0.05) && !(kind == 2 && row % 3 != 0);
                if everywhere || here {
                    code.latents.push(latent);
                    code.values.push(generator.random_range(0.1..2.0));
                }
            }
            code.offsets.push(code.latents.len());
        }
        codes.push(code);
    }
    codes
}

fn codes_are_decoded_and_turned_round_as_their_definition_says(gpus: &[Arc<dyn Gpu>]) {
    let (latents, width) = (300, 310);
    let (decoder, start) = (uniform(latents * width, 1), uniform(width, 2));
    let upstream = uniform(70 * width, 3);
    for gpu in gpus {
        let array = |values: &[f32]| Array::of(gpu, values).unwrap();
        let (on, from, flow) = (array(&decoder), array(&start), array(&upstream));
        let mut turned = Turned::empty(gpu);
        for (kind, code) in codes(latents).iter().enumerate() {
            let mut here = Code::empty(gpu);
            here.set(code, &vec![f32::NAN; code.values.len()]).unwrap();
            let out = Array::<f32>::zeros(gpu, 70 * width).unwrap();
            for from in [Some(&from), None] {
                here.decode(&on, from, width, &out).unwrap();
                let found = out.get().unwrap();
                for row in 0..70 {
                    let (which, values) = code.row(row);
                    for c in 0..width {
                        let first = if from.is_some() { f64::from(start[c]) } else { 0.0 };
                        let exact = which.iter().zip(values).fold(first, |sum, (&j, &f)| {
                            sum + f64::from(f) * f64::from(decoder[j as usize * width + c])
                        });
                        let off = (f64::from(found[row * width + c]) - exact).abs();
                        assert!(off < 1e-5, "code {kind}, row {row}, place {c}: {off:e}");
                    }
                }
            }
            here.back(&flow, &on, width).unwrap();
            let gradients = here.gradients.get().unwrap();
            for row in 0..70 {
                for t in code.offsets[row]..code.offsets[row + 1] {
                    let direction = &decoder[code.latents[t] as usize * width..][..width];
                    let pairs = direction.iter().zip(&upstream[row * width..][..width]);
                    let exact: f64 = pairs.map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
                    assert!((f64::from(gradients[t]) - exact).abs() < 1e-5, "code {kind}, entry {t}");
                }
            }
            let mut columns = Columns::default();
            columns.fill(latents, &[(code, &gradients)]);
            turned.fill(latents, &[&here]).unwrap();
            let starts: Vec<usize> = turned.starts.get().unwrap().into_iter().map(|start| start as usize).collect();
            assert_eq!(starts, columns.offsets, "code {kind}");
            assert_eq!(turned.rows.get().unwrap(), columns.rows, "code {kind}");
            assert_eq!(turned.values.get().unwrap(), columns.values, "code {kind}");
            assert_eq!(turned.gradients.get().unwrap(), columns.gradients, "code {kind}");
        }
    }
}

fn two_codes_that_share_no_latent_are_turned_round_together(gpus: &[Arc<dyn Gpu>]) {
    let all = &codes(300)[0];
    let part = |odd: u32| {
        let mut code = SparseCode { offsets: vec![0], ..SparseCode::default() };
        for row in 0..all.rows() {
            let (latents, values) = all.row(row);
            for (&latent, &value) in latents.iter().zip(values).filter(|(latent, _)| *latent % 2 == odd) {
                code.latents.push(latent);
                code.values.push(value);
            }
            code.offsets.push(code.latents.len());
        }
        code
    };
    let (even, odd) = (part(0), part(1));
    let mut columns = Columns::default();
    columns.fill(300, &[(&even, &even.values), (&odd, &odd.values)]);
    for gpu in gpus {
        let codes = [&even, &odd].map(|code| {
            let mut here = Code::empty(gpu);
            here.set(code, &code.values).unwrap();
            here
        });
        let mut turned = Turned::empty(gpu);
        turned.fill(300, &[&codes[0], &codes[1]]).unwrap();
        assert_eq!(turned.rows.get().unwrap(), columns.rows);
        assert_eq!(turned.values.get().unwrap(), columns.values);
        assert_eq!(turned.gradients.get().unwrap(), columns.gradients);
    }
}

fn sums_of_columns_and_of_numbers_are_those_of_f64(gpus: &[Arc<dyn Gpu>]) {
    for gpu in gpus {
        let mut sums = Sums::new(gpu).unwrap();
        for (rows, columns) in [(1, 1), (64, 256), (131, 300)] {
            let matrix = uniform(rows * columns, 4);
            let on = Array::of(gpu, &matrix).unwrap();
            let mean = Array::<f64>::zeros(gpu, columns).unwrap();
            let (spread, narrow) =
                (Array::<f64>::zeros(gpu, columns).unwrap(), Array::<f32>::zeros(gpu, columns).unwrap());
            sums.columns(&on, columns, None, 1.0 / rows as f64, Some(&mean), Some(&narrow)).unwrap();
            sums.columns(&on, columns, Some(&mean), 1.0, Some(&spread), None).unwrap();
            sums.take(&spread, 2).unwrap();
            sums.take_squared_norm(&on, 5).unwrap();
            let (means, narrow) = (mean.get().unwrap(), narrow.get().unwrap());
            let (mut whole, mut squares) = (0.0, 0.0);
            for c in 0..columns {
                let column = || (0..rows).map(|r| f64::from(matrix[r * columns + c]));
                let exact = column().sum::<f64>() / rows as f64;
                assert!((means[c] - exact).abs() < 1e-12 && narrow[c] == exact as f32, "{rows} {columns} {c}");
                whole += column().map(|v| (v - exact).powi(2)).sum::<f64>();
                squares += column().map(|v| v * v).sum::<f64>();
            }
            let [found, norm] = sums.get([2, 5]).unwrap();
            assert!((found - whole).abs() < 1e-9 * whole.max(1.0) && (norm - squares).abs() < 1e-9 * squares, "{rows}");
        }
    }
}

fn products_are_those_of_f64_however_the_operands_lie(gpus: &[Arc<dyn Gpu>]) {
    for gpu in gpus {
        for (m, n, k) in [(1, 1, 1), (33, 70, 129), (70, 33, 40), (5, 300, 64)] {
            let (left, right) = (uniform(m * k, 7), uniform(n * k, 8));
            for form in [Form::Rows, Form::Plain, Form::Turned] {
                let (a, b) = (Array::of(gpu, &left).unwrap(), Array::of(gpu, &right).unwrap());
                let c = Array::<f32>::zeros(gpu, m * n).unwrap();
                gpu.product(Product { form, m, n, k }, a.place(), b.place(), c.place()).unwrap();
                for (place, found) in c.get().unwrap().into_iter().enumerate() {
                    let (row, column) = (place / n, place % n);
                    let exact: f64 = (0..k)
                        .map(|l| match form {
                            Form::Rows => (left[row * k + l], right[column * k + l]),
                            Form::Plain => (left[row * k + l], right[l * n + column]),
                            Form::Turned => (left[l * m + row], right[l * n + column]),
                        })
                        .map(|(a, b)| f64::from(a) * f64::from(b))
                        .sum();
                    // TF32 would be off by 1e-3.
                    assert!(
                        (f64::from(found) - exact).abs() < 2e-5,
                        "{form:?} {m} {n} {k} at {row} {column}: {found} {exact}"
                    );
                }
            }
        }
    }
}

fn what_is_sent_ahead_is_what_comes(gpus: &[Arc<dyn Gpu>]) {
    let batches: Vec<Vec<f32>> = (0..7).map(|seed| uniform(3000 + 500 * (seed as usize % 3), seed)).collect();
    for gpu in gpus {
        let mut staging = Staging::new(gpu);
        for (number, batch) in batches.iter().enumerate() {
            staging.bring(batch).unwrap();
            // The one after next, nothing, or what really comes.
            match number % 3 {
                0 => staging.send_ahead(&batches[(number + 2) % 7]).unwrap(),
                1 => {}
                _ => staging.send_ahead(&batches[(number + 1) % 7]).unwrap(),
            }
            let found = staging.array().get().unwrap();
            assert!(
                found.iter().zip(batch).all(|(a, b)| a.to_bits() == b.to_bits()) && found.len() == batch.len(),
                "{number}"
            );
        }
    }
}

fn the_geometric_median_of_a_batch_is_that_of_the_cpu(gpus: &[Arc<dyn Gpu>]) {
    for gpu in gpus {
        for (rows, width, parts) in [(1, 3, 2), (5, 2, 2), (70, 300, 1), (33, 130, 2)] {
            let mut x = uniform(rows * width * parts, 9);
            // Rows far out, and one that is the mean of its two neighbours.
            x.iter_mut().take(width).for_each(|v| *v += 50.0);
            if rows > 4 {
                let both = width * parts;
                (0..both).for_each(|i| x[3 * both + i] = (x[2 * both + i] + x[4 * both + i]) / 2.0);
            }
            let on = Array::of(gpu, &x).unwrap();
            let found = xd::ml::cuda::geometric_median(gpu, &on, width, parts).unwrap();
            let expected = geometric_median(&x, width, parts);
            for (a, b) in found.iter().zip(&expected) {
                assert!((a - b).abs() <= 1e-5 * b.abs().max(1.0), "{rows} {width} {parts}: {a} {b}");
            }
            assert_eq!(found.len(), expected.len());
        }
    }
}
