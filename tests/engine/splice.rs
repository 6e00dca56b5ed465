//! Spliced quality against a slow rerun, and what must hold.

use std::collections::BTreeMap;

use candle_core::Tensor;
use xd::ml::activations::{Normalize, Normalizer};
use xd::ml::analysis::{HeldOut, Spliced, TappedPair, splice};
use xd::ml::crosscoder::{Activation, Autoencoder, Crosscoder, Target, Variant};
use xd::ml::data::TokenSequence;
use xd::ml::lm::{Decoder, Site};
use xd::ml::watch::Unwatched;
use xd::ml::{BASE, TUNED, TokenGroup};

use crate::lm::fixture;
use crate::patch::{SITES, crosscoder, normalizer, perfect, tuned};

/// Texts of which some positions have no row.
fn documents(vocabulary: usize) -> Vec<HeldOut> {
    let text = |length: usize, from: usize| {
        let ids: Vec<u32> = (0..length).map(|i| ((from + 37 * i * i) % vocabulary) as u32).collect();
        let groups = vec![TokenGroup::Text; length];
        HeldOut { text: TokenSequence { ids, groups }, kept: (0..length).map(|i| i > 0 && i % 5 != 3).collect() }
    };
    vec![text(14, 3), text(1, 5), text(9, 20)]
}

fn pair<'a>(
    decoders: [&'a Decoder; 2],
    crosscoder: &'a Crosscoder,
    normalizer: &'a Normalizer,
    read_as: &'a BTreeMap<u32, u32>,
    site: Site,
) -> TappedPair<'a> {
    let [base, tuned] = decoders;
    TappedPair { decoders: [base, tuned], read_as, layer: 1, site, crosscoder, normalizer }
}

fn ln_softmax(logits: &[f32]) -> Vec<f64> {
    let top = logits.iter().fold(f64::NEG_INFINITY, |top, x| top.max(f64::from(*x)));
    let total: f64 = logits.iter().map(|x| (f64::from(*x) - top).exp()).sum();
    logits.iter().map(|x| f64::from(*x) - top - total.ln()).collect()
}

/// By decoder.run with a hook, one document and one kind at a time: sums of each document, cross entropy clean, spliced, zero and mean, then
/// KL of the last three, and its predictions.
fn slow(
    pair: &TappedPair,
    decoders: [&Decoder; 2],
    documents: &[HeldOut],
    mean: &[f32],
    model: usize,
) -> Vec<[f64; 8]> {
    let (d, mut found) = (pair.crosscoder.width, Vec::new());
    for document in documents.iter().filter(|document| document.text.len() > 1) {
        let rows = [BASE, TUNED].map(|m| {
            let ids = pair.read(m, &document.text.ids);
            let decoder = decoders[m];
            let h = decoder.residual(&decoder.batch(&[&ids]).unwrap(), pair.layer, pair.site).unwrap();
            h.squeeze(0).unwrap().to_vec2::<f32>().unwrap()
        });
        let scale = pair.normalizer.scale();
        let shift = |m: usize, i: usize| f64::from(pair.normalizer.mean().get(m * d + i).copied().unwrap_or(0.0));
        let raw = |m: usize, i: usize, y: f64| y / f64::from(scale[m]) + shift(m, i);
        let hat = |t: usize| -> Vec<f32> {
            let c = pair.crosscoder;
            let f: Vec<f64> = (0..c.latents)
                .map(|j| {
                    let mut p = f64::from(c.encoder_bias[j]);
                    for (m, rows) in rows.iter().enumerate() {
                        for i in 0..d {
                            let y = (f64::from(rows[t][i]) - shift(m, i)) * f64::from(scale[m]);
                            p += y * f64::from(c.encoder_weight[(m * d + i) * c.latents + j]);
                        }
                    }
                    p.max(0.0)
                })
                .collect();
            let value = |i: usize| {
                let sum: f64 = (0..c.latents).map(|j| f[j] * f64::from(c.decoder_row(model, j)[i])).sum();
                // The difference's reconstruction stands on the base.
                let below = match c.variant {
                    Variant::Sae(Target::Difference) => {
                        (f64::from(rows[BASE][t][i]) - shift(BASE, i)) * f64::from(scale[BASE])
                    }
                    _ => 0.0,
                };
                raw(model, i, below + sum + f64::from(c.decoder_bias[model * d + i])) as f32
            };
            (0..d).map(value).collect()
        };
        let ids = pair.read(model, &document.text.ids);
        let run = |kind: usize| -> Vec<Vec<f64>> {
            let stream: Vec<f32> = (0..ids.len())
                .flat_map(|t| match (document.kept[t], kind) {
                    (false, _) | (_, 0) => rows[model][t].clone(),
                    (_, 1) => hat(t),
                    (_, 2) => vec![0.0; d],
                    _ => (0..d).map(|i| raw(model, i, f64::from(mean[model * d + i])) as f32).collect(),
                })
                .collect();
            let decoder = decoders[model];
            let hook = |l: usize, s: Site, h: &Tensor| {
                let here = (l, s) == (pair.layer, pair.site);
                Ok(here.then(|| Tensor::from_vec(stream.clone(), h.dims(), h.device())).transpose()?)
            };
            let logits = decoder.run(&decoder.batch(&[&ids]).unwrap(), &mut { hook }).unwrap();
            logits.squeeze(0).unwrap().to_vec2::<f32>().unwrap().iter().map(|row| ln_softmax(row)).collect()
        };
        let runs: Vec<Vec<Vec<f64>>> = (0..4).map(run).collect();
        let mut sums = [0.0; 8];
        for t in 0..ids.len() - 1 {
            for (sum, run) in sums.iter_mut().zip(&runs) {
                *sum -= run[t][ids[t + 1] as usize];
            }
            for kind in 1..4 {
                sums[3 + kind] += runs[0][t].iter().zip(&runs[kind][t]).map(|(p, q)| p.exp() * (p - q)).sum::<f64>();
            }
            sums[7] += 1.0;
        }
        found.push(sums);
    }
    found
}

/// a / b over two documents and half of its interval: C / (C - 1) = 2, t_{0.975, 1} = 12.706.
fn of_two(documents: &[[f64; 8]], a: impl Fn(&[f64; 8]) -> f64, b: impl Fn(&[f64; 8]) -> f64) -> [f64; 2] {
    assert_eq!(documents.len(), 2);
    let bottom: f64 = documents.iter().map(&b).sum();
    let value = documents.iter().map(&a).sum::<f64>() / bottom;
    let residuals: f64 = documents.iter().map(|d| (a(d) - value * b(d)).powi(2)).sum();
    [value, 12.706_204_736 * (2.0 * residuals).sqrt() / bottom.abs()]
}

/// Every number with its interval.
fn numbers(found: &Spliced) -> Vec<[f64; 2]> {
    let means = [found.clean, found.spliced, found.zero, found.mean, found.kl, found.kl_zero, found.kl_mean];
    let shares = [found.recovered, found.recovered_mean, found.kl_recovered, found.kl_recovered_mean];
    let all = means.into_iter().chain(shares.into_iter().map(Option::unwrap));
    all.map(|ratio| [ratio.value, ratio.ci95.unwrap()]).collect()
}

#[test]
fn splices_agree_with_a_slow_rerun() {
    for (number, family) in ["gemma2", "gpt2", "gpt_neox", "llama", "qwen3"].into_iter().enumerate() {
        let base = Decoder::load(fixture(family)).unwrap();
        let tuned = tuned(&base, family);
        let (width, documents) = (base.width(), documents(base.vocabulary()));
        let crosscoder = crosscoder(width, 80);
        let mean: Vec<f32> = (0..2 * width).map(|i| (i % 7) as f32 * 0.1 - 0.3).collect();
        let read_as = BTreeMap::from([(documents[0].text.ids[4], 7)]);
        for (s, site) in SITES.into_iter().enumerate() {
            let by = [Normalize::None, Normalize::PerModelScale, Normalize::Rms(4.0)][(number + s) % 3];
            let normalizer = normalizer(width, by);
            let pair = pair([&base, &tuned], &crosscoder, &normalizer, &read_as, site);
            let found = splice(&pair, &documents, &mean, &Unwatched).unwrap();
            for model in [BASE, TUNED] {
                let (got, slow) = (found[model], slow(&pair, [&base, &tuned], &documents, &mean, model));
                let mut want: Vec<[f64; 2]> = (0..7).map(|at| of_two(&slow, |d| d[at], |d| d[7])).collect();
                want.extend([2, 3].map(|at| of_two(&slow, |d| d[at] - d[1], |d| d[at] - d[0])));
                want.extend([5, 6].map(|at| of_two(&slow, |d| d[at] - d[4], |d| d[at])));
                // What an ablation costs stands below the shares, and 12.7 before the intervals.
                let costs = [want[2][0] - want[0][0], want[3][0] - want[0][0], want[5][0], want[6][0]];
                for (at, (a, b)) in numbers(&got).iter().zip(&want).enumerate() {
                    let slack = 2e-5 / if at < 7 { 1.0 } else { costs[at - 7].abs().min(1.0) };
                    let near = |at: usize, times: f64| (a[at] - b[at]).abs() < times * slack * (1.0 + b[at].abs());
                    assert!(near(0, 1.0) && near(1, 30.0), "{family}, {site:?}, {at}: {a:?} {b:?}");
                }
                assert_eq!(got.count, 13 + 8);
            }
        }
    }
}

#[test]
fn an_autoencoder_is_spliced_into_the_model_that_it_writes_to() {
    let base = Decoder::load(fixture("gemma2")).unwrap();
    let tuned = tuned(&base, "gemma2");
    let (width, documents) = (base.width(), documents(base.vocabulary()));
    let of = crosscoder(width, 60);
    let mean: Vec<f32> = (0..2 * width).map(|i| (i % 7) as f32 * 0.1 - 0.3).collect();
    let read_as = BTreeMap::new();
    for (on, by) in [
        (Target::Base, Normalize::Rms(4.0)),
        (Target::Tuned, Normalize::None),
        (Target::Difference, Normalize::Rms(4.0)),
    ] {
        let own = Autoencoder {
            on,
            width,
            encoder: of.encoder_weight[..width * 60].to_vec(),
            encoder_bias: of.encoder_bias.clone(),
            decoder: of.decoder_weight[..width * 60].to_vec(),
            bias: of.decoder_bias[..width].to_vec(),
        };
        let made = own.crosscoder(Activation::Relu);
        let normalizer = normalizer(width, by);
        let pair = pair([&base, &tuned], &made, &normalizer, &read_as, Site::ResidualPost);
        let found = splice(&pair, &documents, &mean, &Unwatched).unwrap();
        let (got, slow) = (&found[on.model()], slow(&pair, [&base, &tuned], &documents, &mean, on.model()));
        for (got, at) in [(got.clean, 0), (got.spliced, 1), (got.zero, 2), (got.mean, 3), (got.kl, 4)] {
            let [want, _] = of_two(&slow, |d| d[at], |d| d[7]);
            assert!((got.value - want).abs() < 1e-4 * (1.0 + want), "{on:?} {at}: {} {want}", got.value);
        }
        assert_eq!(found[1 - on.model()].count, 0, "{on:?}");
    }
}

#[test]
fn a_perfect_reconstruction_costs_nothing_and_nothing_kept_changes_nothing() {
    let base = Decoder::load(fixture("gemma3")).unwrap();
    let tuned = tuned(&base, "gemma3");
    let (perfect, random) = (perfect(base.width()), crosscoder(base.width(), 40));
    let normalizer = normalizer(base.width(), Normalize::None);
    let (read_as, mean) = (BTreeMap::new(), vec![0.25; 2 * base.width()]);
    let mut documents = documents(base.vocabulary());
    let exact = pair([&base, &tuned], &perfect, &normalizer, &read_as, Site::ResidualPost);
    for found in splice(&exact, &documents, &mean, &Unwatched).unwrap() {
        let (clean, spliced) = (found.clean.value, found.spliced.value);
        assert!(found.kl.value.abs() < 1e-6 && (spliced - clean).abs() < 1e-6, "{found:?}");
        for share in [found.recovered, found.kl_recovered, found.kl_recovered_mean] {
            assert!((share.unwrap().value - 1.0).abs() < 1e-4, "{found:?}");
        }
        assert!(found.zero != found.clean && found.mean != found.zero);
    }
    documents.iter_mut().for_each(|document| document.kept.fill(false));
    let other = pair([&base, &tuned], &random, &normalizer, &read_as, Site::ResidualPost);
    for found in splice(&other, &documents, &mean, &Unwatched).unwrap() {
        assert_eq!([found.spliced, found.zero, found.mean], [found.clean; 3]);
        assert_eq!([found.kl, found.kl_zero, found.kl_mean].map(|kl| kl.value), [0.0; 3]);
        assert_eq!((found.recovered, found.kl_recovered, found.recovered_mean), (None, None, None));
    }
}
