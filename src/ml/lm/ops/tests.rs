//! Each operation against its formula in f64, and its gradient against central differences of that formula.

use std::sync::Arc;

use candle_core::{Device, Tensor, Var};

use super::*;

/// Inputs of an operation: values and shape.
type Inputs = Vec<(Vec<f64>, Vec<usize>)>;

/// Reproducible numbers between -1 and 1 times `scale`.
fn numbers(count: usize, seed: u64, scale: f64) -> Vec<f64> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(1);
    (0..count)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            scale * ((state >> 33) as f64 / (1u64 << 30) as f64 - 1.0)
        })
        .collect()
}

fn inputs(shapes: &[&[usize]], scale: f64) -> Inputs {
    let one = |(i, shape): (usize, &&[usize])| (numbers(shape.iter().product(), i as u64 + 1, scale), shape.to_vec());
    shapes.iter().enumerate().map(one).collect()
}

/// `fast` on f32 tensors must equal `slow` on f64 slices, and the gradients of sum(c * result) must agree.
fn check(inputs: &Inputs, fast: impl Fn(&[Tensor]) -> Tensor, slow: impl Fn(&[Vec<f64>]) -> Vec<f64>) {
    let variables: Vec<Var> = inputs
        .iter()
        .map(|(values, shape)| {
            let values: Vec<f32> = values.iter().map(|v| *v as f32).collect();
            Var::from_vec(values, shape.as_slice(), &Device::Cpu).unwrap()
        })
        .collect();
    let tensors: Vec<Tensor> = variables.iter().map(|v| v.as_tensor().clone()).collect();
    let values: Vec<Vec<f64>> = inputs.iter().map(|(v, _)| v.iter().map(|v| f64::from(*v as f32)).collect()).collect();
    let (result, wanted) = (fast(&tensors), slow(&values));
    let got = result.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    assert_eq!(got.len(), wanted.len());
    for (got, want) in got.iter().zip(&wanted) {
        assert!((f64::from(*got) - want).abs() < 2e-6 * (1.0 + want.abs()), "value {got}, formula {want}");
    }
    let mix = numbers(wanted.len(), 99, 1.0);
    let mix32 =
        Tensor::from_vec(mix.iter().map(|c| *c as f32).collect::<Vec<_>>(), result.shape(), &Device::Cpu).unwrap();
    let gradients = (result * mix32).unwrap().sum_all().unwrap().backward().unwrap();
    let mixed =
        |values: &[Vec<f64>]| -> f64 { slow(values).iter().zip(&mix).map(|(y, c)| y * f64::from(*c as f32)).sum() };
    for (index, variable) in variables.iter().enumerate() {
        let got = gradients.get(variable.as_tensor()).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        for (i, got) in got.iter().enumerate() {
            let mut moved = values.clone();
            moved[index][i] += 1e-5;
            let up = mixed(&moved);
            moved[index][i] -= 2e-5;
            let want = (up - mixed(&moved)) / 2e-5;
            let error = (f64::from(*got) - want).abs();
            assert!(error < 1e-5 * (1.0 + want.abs()), "input {index}, element {i}: gradient {got}, formula {want}");
        }
    }
}

#[test]
fn rms_norm_is_its_formula() {
    for offset in [0.0, 1.0] {
        check(
            &inputs(&[&[70, 6], &[6]], 1.5),
            |t| rms_norm(&t[0], &t[1], 1e-3, offset).unwrap(),
            |v| {
                v[0].chunks(6)
                    .flat_map(|x| {
                        let mean = x.iter().map(|x| x * x).sum::<f64>() / 6.0;
                        let scale = (mean + f64::from(1e-3f32)).sqrt().recip();
                        x.iter().zip(&v[1]).map(move |(x, w)| x * scale * (w + f64::from(offset))).collect::<Vec<_>>()
                    })
                    .collect()
            },
        );
    }
}

#[test]
fn rotate_is_its_formula() {
    let (tokens, heads) = (5, 2);
    let angle = |position: usize, i: usize| (position as f64) * [1.0, 0.3][i];
    let table =
        (0..tokens).flat_map(|p| (0..2).map(move |i| (angle(p, i).cos() as f32, angle(p, i).sin() as f32))).collect();
    let table = Arc::new(table);
    // Heads that are turned as a whole, and heads of which the last coordinates stay.
    for n in [4, 7] {
        check(
            &inputs(&[&[2 * tokens, heads * n]], 1.0),
            |t| rotate(&t[0], &table, n, 4, tokens).unwrap(),
            |v| {
                let mut out = v[0].clone();
                for row in 0..2 * tokens {
                    for h in 0..heads {
                        for i in 0..2 {
                            let (a, b) = (row * heads * n + h * n + i, row * heads * n + h * n + i + 2);
                            let (sin, cos) = angle(row % tokens, i).sin_cos();
                            out[a] = v[0][a] * cos - v[0][b] * sin;
                            out[b] = v[0][b] * cos + v[0][a] * sin;
                        }
                    }
                }
                out
            },
        );
    }
}

#[test]
fn rotate_bf16_rounds_products_and_sums() {
    let (cos, sin) = (bf16(0.8), bf16(0.6));
    let (a, b, stays) = (bf16(1.37), bf16(-2.71), bf16(0.3));
    let x = Tensor::from_slice(&[a, b, stays], (1, 3), &Device::Cpu).unwrap();
    let got = rotate_bf16(&x, &Arc::new(vec![(cos, sin)]), 3, 2, 1).unwrap().flatten_all().unwrap();
    let product = |x: f32, y: f32| f64::from(bf16(f64::from(x) * f64::from(y)));
    let want = [bf16(product(a, cos) - product(b, sin)), bf16(product(b, cos) + product(a, sin)), stays];
    assert_eq!(got.to_vec1::<f32>().unwrap(), want);
}

const ACTIVATIONS: [Activation; 3] = [Activation::Gelu, Activation::GeluTanh, Activation::Silu];

fn slow_activation(x: f64, activation: Activation) -> f64 {
    let root = (2.0 / std::f64::consts::PI).sqrt();
    match activation {
        Activation::Gelu => 0.5 * x * (1.0 + super::math::tests::erf_f64(x / 2f64.sqrt())),
        Activation::GeluTanh => 0.5 * x * (1.0 + (root * (x + 0.044715 * x * x * x)).tanh()),
        Activation::Silu => x / (1.0 + (-x).exp()),
    }
}

#[test]
fn gated_is_its_formula() {
    for activation in ACTIVATIONS {
        check(
            &inputs(&[&[7, 5], &[7, 5]], 4.0),
            |t| gated(&t[0], &t[1], activation).unwrap(),
            |v| v[0].iter().zip(&v[1]).map(|(g, u)| slow_activation(*g, activation) * u).collect(),
        );
    }
}

#[test]
fn activate_is_its_formula() {
    for activation in ACTIVATIONS {
        check(
            &inputs(&[&[9, 5]], 4.0),
            |t| activate(&t[0], activation).unwrap(),
            |v| v[0].iter().map(|x| slow_activation(*x, activation)).collect(),
        );
    }
}

#[test]
fn layer_norm_is_its_formula() {
    check(
        &inputs(&[&[3, 2, 37], &[37], &[37]], 2.0),
        |t| layer_norm(&t[0], &t[1], &t[2], 1e-3).unwrap(),
        |v| {
            let row = |x: &[f64]| {
                let mean = x.iter().sum::<f64>() / 37.0;
                let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 37.0;
                let scale = (variance + f64::from(1e-3f32)).sqrt().recip();
                let one = |((x, w), b): ((&f64, &f64), &f64)| (x - mean) * scale * w + b;
                x.iter().zip(&v[1]).zip(&v[2]).map(one).collect::<Vec<f64>>()
            };
            v[0].chunks(37).flat_map(row).collect()
        },
    );
}

#[test]
fn add_bias_is_its_formula() {
    check(
        &inputs(&[&[130, 5], &[5]], 1.0),
        |t| add_bias(&t[0], &t[1]).unwrap(),
        |v| v[0].iter().enumerate().map(|(i, x)| x + v[1][i % 5]).collect(),
    );
}

fn bf16(x: f64) -> f32 {
    half::bf16::from_f64(x).to_f32()
}

#[test]
fn rounded_is_the_nearest_bf16_with_ties_to_even() {
    let mut xs: Vec<f32> = numbers(1000, 5, 300.0).into_iter().map(|x| x as f32).collect();
    // 1 + 2^-8 lies between 1 and 1 + 2^-7, and 1 + 3 2^-8 between 1 + 2^-7 and 1 + 2^-6.
    xs.extend([1.0 + 2f32.powi(-8), 1.0 + 3.0 * 2f32.powi(-8), -0.0, f32::INFINITY, 1e-40, f32::MAX]);
    let got = rounded(&Tensor::from_slice(&xs, xs.len(), &Device::Cpu).unwrap()).unwrap().to_vec1::<f32>().unwrap();
    for (x, got) in xs.iter().zip(&got) {
        assert_eq!(half::bf16::from_f32(*x).to_f32().to_bits(), got.to_bits(), "{x}");
    }
    assert_eq!(got[1000..1002], [1.0, 1.0 + 2f32.powi(-6)]);
    let nan = rounded(&Tensor::new(&[f32::NAN], &Device::Cpu).unwrap()).unwrap().to_vec1::<f32>().unwrap();
    assert!(nan[0].is_nan());
}

#[test]
fn linear_bf16_is_its_formula_rounded_once() {
    // More rows of w than one block of the product.
    let (rows, inputs, out) = (3, 40, 1500);
    let draw = |count, seed| numbers(count, seed, 1.0).into_iter().map(bf16).collect::<Vec<f32>>();
    let (x, w, b) = (draw(rows * inputs, 1), draw(out * inputs, 2), draw(out, 3));
    let tensor = |v: &[f32], shape: &[usize]| Tensor::from_slice(v, shape, &Device::Cpu).unwrap();
    let half = |t: Tensor| t.to_dtype(candle_core::DType::BF16).unwrap();
    let (x_tensor, w_tensor) = (tensor(&x, &[rows, inputs]), half(tensor(&w, &[out, inputs])));
    let bias = half(tensor(&b, &[out]));
    for with in [false, true] {
        let got = linear_bf16(&x_tensor, &w_tensor, with.then_some(&bias)).unwrap().to_vec2::<f32>().unwrap();
        for (r, row) in got.iter().enumerate() {
            for (o, got) in row.iter().enumerate() {
                let product: f64 =
                    (0..inputs).map(|i| f64::from(x[r * inputs + i]) * f64::from(w[o * inputs + i])).sum();
                let want = product + if with { f64::from(b[o]) } else { 0.0 };
                // Half a unit in the last place, and the error of the sum in f32.
                assert!((f64::from(*got) - want).abs() <= want.abs() / 256.0 + 1e-5, "{got} {want}");
                assert_eq!(*got, half::bf16::from_f32(*got).to_f32());
            }
        }
    }
}

#[test]
fn cross_entropy_refuses_what_does_not_fit() {
    let x = Tensor::from_vec(vec![0f32, 1.0, 2.0, 2.0], (2, 2), &Device::Cpu).unwrap();
    let got = capped_losses(&x, &[1, 0], None).unwrap();
    for (got, want) in got.iter().zip([(1.0 + 1f64.exp()).ln() - 1.0, 2f64.ln()]) {
        assert!((got - want).abs() < 1e-6);
    }
    assert!(capped_losses(&x, &[2, 0], None).is_err());
    assert!(softmax_gradient(&x, &[1], None, 1.0).is_err());
}

#[test]
fn soft_cap_is_its_formula() {
    let x = Tensor::from_vec(vec![-100f32, -1.0, 0.0, 0.5, 40.0], 5, &Device::Cpu).unwrap();
    let got = soft_cap(&x, 30.0).unwrap().to_vec1::<f32>().unwrap();
    for (x, got) in [-100f64, -1.0, 0.0, 0.5, 40.0].iter().zip(got) {
        assert!((30.0 * (x / 30.0).tanh() - f64::from(got)).abs() < 1e-5);
    }
}

/// Attention one score at a time.
fn slow_attention(v: &[Vec<f64>], shape: Attention, batch: usize) -> Vec<f64> {
    let Attention { heads, kv_heads, head: n, tokens, .. } = shape;
    let mut out = vec![0f64; v[0].len()];
    for (b, h, t) in (0..batch).flat_map(|b| (0..heads).flat_map(move |h| (0..tokens).map(move |t| (b, h, t)))) {
        let kv = h / (heads / kv_heads);
        let q_at = |t: usize, i: usize| (b * tokens + t) * heads * n + h * n + i;
        let k_at = |t: usize, i: usize| (b * tokens + t) * kv_heads * n + kv * n + i;
        let low = (t + 1).saturating_sub(shape.window.unwrap_or(tokens));
        let score = |s: usize| {
            let product: f64 = (0..n).map(|i| v[0][q_at(t, i)] * v[1][k_at(s, i)]).sum();
            let score = f64::from(shape.scale) * product;
            shape.cap.map_or(score, |c| f64::from(c) * (score / f64::from(c)).tanh())
        };
        let weights: Vec<f64> = (low..=t).map(|s| score(s).exp()).collect();
        let total: f64 = weights.iter().sum();
        for i in 0..n {
            out[q_at(t, i)] = weights.iter().zip(low..).map(|(w, s)| w / total * v[2][k_at(s, i)]).sum();
        }
    }
    out
}

#[test]
fn attention_is_its_formula() {
    for (heads, kv_heads, cap, window) in
        [(2, 2, None, None), (4, 2, Some(0.7), None), (4, 1, None, Some(3)), (2, 1, Some(2.0), Some(1))]
    {
        let shape = Attention { heads, kv_heads, head: 4, tokens: 7, scale: 0.6, cap, window };
        check(
            &inputs(&[&[14, heads * 4], &[14, kv_heads * 4], &[14, kv_heads * 4]], 1.2),
            |t| attention(&t[0], &t[1], &t[2], shape).unwrap(),
            |v| slow_attention(v, shape, 2),
        );
    }
}
