//! The causality experiment against a slow one that reruns everything, and what must hold whatever the numbers are.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use xd::ml::activations::{Normalize, Normalizer, Statistics};
use xd::ml::analysis::TappedPair;
use xd::ml::analysis::patch::{
    Entry, Metric, Mode, PatchConfig, Patched, Positions, PromptSums, WINDOW, patch, predicting,
};
use xd::ml::crosscoder::{Activation, Autoencoder, CodeNorm, Crosscoder, Target, Variant};
use xd::ml::data::TokenSequence;
use xd::ml::lm::{Decoder, Dtype, Prediction, Reading, Site, Weights, predictions};
use xd::ml::watch::Unwatched;
use xd::ml::{BASE, MemoryRows, Progress, TUNED, TokenGroup, Watch};

use crate::lm::{FAMILIES, distance, expected, fixture};
use crate::support::Lab;

pub const SITES: [Site; 4] = [Site::ResidualPre, Site::AttnOut, Site::MlpOut, Site::ResidualPost];

/// Numbers in -1..1, the same every time.
pub struct Draws(pub u32);

impl Draws {
    pub fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.0 >> 8) as f32 / (1 << 23) as f32 - 1.0
    }

    pub fn many(&mut self, count: usize, scale: f32) -> Vec<f32> {
        (0..count).map(|_| scale * self.next()).collect()
    }
}

/// A decoder with every weight moved a little.
pub fn tuned(base: &Decoder, family: &str) -> Decoder {
    let weights = Weights::load(&fixture(family), base.config(), Dtype::F32).unwrap();
    let mut draws = Draws(11);
    let moved = |tensor: &Tensor| {
        let values: Vec<f32> = tensor.flatten_all().unwrap().to_vec1().unwrap();
        let values: Vec<f32> = values.iter().map(|x| x * (1.0 + 0.3 * draws.next()) + 0.005 * draws.next()).collect();
        Tensor::from_vec(values, tensor.dims(), &Device::Cpu).unwrap()
    };
    let mut moved = moved;
    let parts: BTreeMap<String, Tensor> =
        weights.parts().iter().map(|(name, tensor)| (name.clone(), moved(tensor))).collect();
    Decoder::new(base.config().clone(), &Weights::new(parts, Dtype::F32).unwrap()).unwrap()
}

pub fn crosscoder(width: usize, latents: usize) -> Crosscoder {
    let mut draws = Draws(5);
    let scale = (3.0 / width as f32).sqrt();
    Crosscoder {
        width,
        latents,
        encoder_weight: draws.many(2 * width * latents, scale),
        encoder_bias: draws.many(latents, 0.3),
        decoder_weight: draws.many(2 * width * latents, 0.5 * scale),
        decoder_bias: draws.many(2 * width, 0.5),
        code_norm: CodeNorm::Sum,
        activation: Activation::Relu,
        normalizer: None,
        variant: Variant::SharedCode,
    }
}

/// A normaliser of some rows.
pub fn normalizer(width: usize, by: Normalize) -> Normalizer {
    let mut draws = Draws(7);
    let rows = MemoryRows { width, values: draws.many(40 * width, 2.0), infos: Vec::new() };
    Normalizer::fit(by, &Statistics::over(&rows).unwrap()).unwrap()
}

/// Conversations: a turn of the user, one of the assistant, and of some another.
pub fn conversations(vocabulary: usize) -> Vec<TokenSequence> {
    use TokenGroup::{Assistant as A, AssistantEnd as E, Bos as B, Control as C, User as U};
    let answer = [C, C, A, A, A, A, A, E, C];
    let shapes = [
        [vec![B, C, C, U, U, C], answer.to_vec()].concat(),
        [vec![B, C, U, C], answer.to_vec(), vec![C, U, U, C], answer[..6].to_vec()].concat(),
        [vec![B, C, U], answer[..3].to_vec()].concat(),
    ];
    let mut state = 3usize;
    let mut id = || {
        state = (state * 73 + 11) % 7919;
        (state % (vocabulary - 8) + 4) as u32
    };
    shapes.into_iter().map(|groups| TokenSequence { ids: groups.iter().map(|_| id()).collect(), groups }).collect()
}

const METRICS: [Metric; 6] =
    [Metric::Kl, Metric::KlBase, Metric::KlTuned, Metric::Loss, Metric::LossArgmax, Metric::Agreement];
const SETS: [Positions; 4] = [Positions::All, Positions::First(4), Positions::Rest(4), Positions::Template];

fn entries(latents: usize) -> Vec<Entry> {
    let odd: Vec<u32> = (0..latents as u32).filter(|j| j % 2 == 1).collect();
    let by = |mode| Entry::LatentsBy(mode, odd.clone());
    let latents = Entry::Latents(odd.clone());
    vec![Entry::Nothing, Entry::Everything, Entry::Error, Entry::Template, latents, by(Mode::Add), by(Mode::Replace)]
}

fn config(latents: usize, into: usize, finish: usize, mode: Mode) -> PatchConfig {
    let (positions, metrics) = (SETS.to_vec(), METRICS.to_vec());
    PatchConfig { into, finish, entries: entries(latents), mode, positions, metrics }
}

fn run(pair: &TappedPair, texts: &[TokenSequence], config: &PatchConfig) -> Patched {
    patch(pair, texts, config, Vec::new(), &mut |_| Ok(()), &Unwatched).unwrap()
}

/// What stands at the site when `ids` are read.
pub fn stream(decoder: &Decoder, ids: &[u32], layer: usize, site: Site) -> Vec<Vec<f64>> {
    let mut found = Vec::new();
    let hook = |l: usize, s: Site, h: &Tensor| {
        if (l, s) == (layer, site) {
            found = h.squeeze(0)?.to_vec2::<f32>()?;
        }
        Ok(None)
    };
    decoder.run(&decoder.batch(&[ids]).unwrap(), &mut { hook }).unwrap();
    found.into_iter().map(|row| row.into_iter().map(f64::from).collect()).collect()
}

/// ln softmax of the logits of every position, with `values` in the place.
pub fn log_probabilities(decoder: &Decoder, ids: &[u32], place: Option<(usize, Site, &[Vec<f64>])>) -> Vec<Vec<f64>> {
    let hook = |l: usize, s: Site, h: &Tensor| {
        let Some((layer, site, values)) = place else { return Ok(None) };
        let values: Vec<f32> = values.concat().into_iter().map(|x| x as f32).collect();
        Ok((l == layer && s == site).then(|| Tensor::from_vec(values, h.dims(), &Device::Cpu)).transpose()?)
    };
    let logits = decoder.run(&decoder.batch(&[ids]).unwrap(), &mut { hook }).unwrap();
    let rows = logits.squeeze(0).unwrap().to_vec2::<f32>().unwrap();
    rows.into_iter()
        .map(|row| {
            let top = row.iter().fold(f64::NEG_INFINITY, |top, x| top.max(f64::from(*x)));
            let total: f64 = row.iter().map(|x| (f64::from(*x) - top).exp()).sum();
            row.iter().map(|x| f64::from(*x) - top - total.ln()).collect()
        })
        .collect()
}

pub fn kl(p: &[f64], q: &[f64]) -> f64 {
    p.iter().zip(q).map(|(p, q)| p.exp() * (p - q)).sum()
}

fn likeliest(p: &[f64]) -> usize {
    (0..p.len()).rev().max_by(|a, b| p[*a].total_cmp(&p[*b])).unwrap()
}

/// f of one position, and what model `m` reads and writes, spelled out in f64.
struct Slow<'a> {
    crosscoder: &'a Crosscoder,
    normalizer: &'a Normalizer,
}

impl Slow<'_> {
    fn code(&self, h: [&[f64]; 2]) -> Vec<f64> {
        let (d, latents) = (self.crosscoder.width, self.crosscoder.latents);
        (0..latents)
            .map(|j| {
                let mut p = f64::from(self.crosscoder.encoder_bias[j]);
                for m in [BASE, TUNED] {
                    for i in 0..d {
                        let mean = self.normalizer.mean().get(m * d + i).copied().unwrap_or(0.0);
                        let y = (h[m][i] - f64::from(mean)) * f64::from(self.normalizer.scale()[m]);
                        p += y * f64::from(self.crosscoder.encoder_weight[(m * d + i) * latents + j]);
                    }
                }
                p.max(0.0)
            })
            .collect()
    }

    /// d_j^m / s^m, one coordinate.
    fn vector(&self, m: usize, j: usize, i: usize) -> f64 {
        f64::from(self.crosscoder.decoder_row(m, j)[i]) / f64::from(self.normalizer.scale()[m])
    }

    fn patched(&self, entry: &Entry, mode: Mode, h: [&[f64]; 2], into: usize, control: bool) -> Vec<f64> {
        let (other, f) = (1 - into, self.code(h));
        let chosen: Vec<usize> = match entry {
            Entry::Nothing | Entry::Template => Vec::new(),
            Entry::Everything | Entry::Error => (0..f.len()).collect(),
            Entry::Latents(latents) | Entry::LatentsBy(_, latents) => latents.iter().map(|j| *j as usize).collect(),
        };
        let mode = if let Entry::LatentsBy(own, _) = entry { *own } else { mode };
        let sum = |m: usize, i: usize| chosen.iter().map(|&j| f[j] * self.vector(m, j, i)).sum::<f64>();
        (0..self.crosscoder.width)
            .map(|i| match entry {
                Entry::Error => h[other][i] + sum(into, i) - sum(other, i),
                Entry::Template if control => h[other][i],
                _ if mode == Mode::Add => h[into][i] + sum(other, i),
                _ => h[into][i] + sum(other, i) - sum(into, i),
            })
            .collect()
    }
}

/// Means `[run][set][metric]`, the untouched run first.
fn slow(
    pair: &TappedPair,
    decoders: [&Decoder; 2],
    texts: &[TokenSequence],
    config: &PatchConfig,
) -> Vec<Vec<Vec<f64>>> {
    let slow = Slow { crosscoder: pair.crosscoder, normalizer: pair.normalizer };
    let runs = config.entries.len() + 1;
    let mut sums = vec![vec![vec![(0.0, 0.0); METRICS.len()]; SETS.len()]; runs];
    for text in texts {
        let ids = [BASE, TUNED].map(|m| pair.read(m, &text.ids));
        let h = [BASE, TUNED].map(|m| stream(decoders[m], &ids[m], pair.layer, pair.site));
        let finish = decoders[config.finish];
        let clean = log_probabilities(finish, &ids[config.finish], None);
        let [base, own] = [BASE, TUNED].map(|m| log_probabilities(decoders[m], &ids[m], None));
        for run in 0..runs {
            let patched: Vec<Vec<f64>> = (0..text.len())
                .map(|t| {
                    let (h, control) = ([&h[BASE][t][..], &h[TUNED][t][..]], text.groups[t].is_control());
                    match run {
                        0 => h[config.finish].to_vec(),
                        run => slow.patched(&config.entries[run - 1], config.mode, h, config.into, control),
                    }
                })
                .collect();
            let q = log_probabilities(finish, &ids[config.finish], Some((pair.layer, pair.site, &patched)));
            let measured = predicting(&text.groups);
            for (s, set) in SETS.iter().enumerate() {
                let members = set.members(&text.groups, &measured);
                for (&t, _) in measured.iter().zip(members).filter(|(_, is)| *is) {
                    let (top, next) = (likeliest(&clean[t]), ids[config.finish][t + 1] as usize);
                    let agrees = if likeliest(&q[t]) == top { 1.0 } else { 0.0 };
                    let [from_base, from_tuned] = [kl(&base[t], &q[t]), kl(&own[t], &q[t])];
                    let found = [kl(&clean[t], &q[t]), from_base, from_tuned, -q[t][next], -q[t][top], agrees];
                    for (slot, x) in sums[run][s].iter_mut().zip(found) {
                        *slot = (slot.0 + x, slot.1 + 1.0);
                    }
                }
            }
        }
    }
    let mean = |sets: Vec<Vec<(f64, f64)>>| {
        sets.into_iter().map(|set| set.into_iter().map(|(sum, n)| sum / n).collect()).collect()
    };
    sums.into_iter().map(mean).collect()
}

fn assert_equal(patched: &Patched, want: &[Vec<Vec<f64>>], what: &str) {
    for (run, want) in want.iter().enumerate() {
        for (set, want) in want.iter().enumerate() {
            for (metric, want) in want.iter().enumerate() {
                let got = match run {
                    0 => patched.clean(set, metric),
                    run => patched.entry(run - 1, set, metric),
                };
                let got = got.unwrap().mean;
                let name = format!("{what}: run {run}, {:?}, {:?}", SETS[set], METRICS[metric]);
                // A near tie of the two likeliest tokens may fall on either side.
                let tolerance = if METRICS[metric] == Metric::Agreement { 0.1 } else { 2e-5 * (1.0 + want) };
                assert!((got - want).abs() < tolerance, "{name}: {got}, slowly {want}");
            }
        }
    }
}

#[test]
fn patches_agree_with_a_slow_rerun_for_every_family_and_site() {
    let normalizers = [Normalize::None, Normalize::PerModelScale, Normalize::Rms(10.0)];
    for (number, family) in FAMILIES.into_iter().enumerate() {
        let base = Decoder::load(fixture(family)).unwrap();
        let tuned = tuned(&base, family);
        let (width, latents) = (base.width(), 96);
        let crosscoder = crosscoder(width, latents);
        let texts = conversations(base.vocabulary());
        let read_as = BTreeMap::from([(texts[0].ids[1], 2), (texts[0].ids[8], 3)]);
        for (s, site) in SITES.into_iter().enumerate() {
            let normalizer = normalizer(width, normalizers[(number + s) % 3]);
            let pair = TappedPair {
                decoders: [&base, &tuned],
                read_as: &read_as,
                layer: 1,
                site,
                crosscoder: &crosscoder,
                normalizer: &normalizer,
            };
            let directions = [(BASE, TUNED), (TUNED, BASE), (BASE, BASE), (TUNED, TUNED)];
            let (into, finish) = directions[(number + s) % 4];
            let mode = if s % 2 == 0 { Mode::Replace } else { Mode::Add };
            let config = config(latents, into, finish, mode);
            let patched = run(&pair, &texts, &config);
            let what = format!("{family}, {site:?}, into {into}, finish {finish}, {mode:?}");
            assert_equal(&patched, &slow(&pair, [&base, &tuned], &texts, &config), &what);
            let distance = patched.entry(0, 0, 0).unwrap().mean;
            assert_eq!(distance < 1e-6, into == finish, "{what}: KL of nothing {distance}");
        }
    }
}

#[test]
fn a_held_run_goes_on_as_the_whole_one_and_as_transformers_does() {
    for family in FAMILIES {
        let (decoder, expected) = (Decoder::load(fixture(family)).unwrap(), expected(family));
        let ids = &expected["ids"];
        let logits = decoder.logits(ids).unwrap();
        for site in SITES {
            let held = decoder.hold(ids, 1, site).unwrap();
            let read = decoder.residual(ids, 1, site).unwrap();
            assert_eq!(bits(held.value()), bits(&read), "{family}, {site:?}");
            let again = decoder.unembed(&decoder.go_on(&held, held.value()).unwrap()).unwrap();
            assert_eq!(bits(&again), bits(&logits), "{family}, {site:?}");
            // Three values side by side are three runs.
            let other = held.value().affine(-0.5, 0.1).unwrap();
            let three = Tensor::cat(&[held.value(), &other, held.value()], 0).unwrap();
            let three = decoder.unembed(&decoder.go_on(&held, &three).unwrap()).unwrap();
            let hook = |l: usize, s: Site, _: &Tensor| Ok((l == 1 && s == site).then(|| other.clone()));
            let want = decoder.run(ids, &mut { hook }).unwrap();
            assert!(distance(&three.narrow(0, 2, 2).unwrap(), &want) < 1e-5, "{family}, {site:?}");
            assert!(distance(&three.narrow(0, 4, 2).unwrap(), &logits) < 1e-5, "{family}, {site:?}");
        }
        let held = decoder.hold(ids, 1, Site::ResidualPost).unwrap();
        let patched = decoder.unembed(&decoder.go_on(&held, &expected["patch_after_block_1"]).unwrap()).unwrap();
        let apart = distance(&patched, &expected["logits_patched"]);
        assert!(apart < 1e-4, "{family}: {apart}");
        assert!(decoder.go_on(&held, &logits).is_err(), "values of another shape");
        assert!(decoder.hold(ids, decoder.layers(), Site::AttnOut).is_err());
    }
}

fn bits(tensor: &Tensor) -> Vec<u32> {
    tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap().into_iter().map(f32::to_bits).collect()
}

/// A dictionary that reconstructs both models exactly: +e_i and -e_i of each of the 2d coordinates of a row.
pub fn perfect(width: usize) -> Crosscoder {
    let (both, latents) = (2 * width, 4 * width);
    let (mut encoder, mut decoder) = (vec![0.0; both * latents], vec![0.0; both * latents]);
    for i in 0..both {
        for (j, sign) in [(2 * i, 1.0), (2 * i + 1, -1.0)] {
            encoder[i * latents + j] = sign;
            let (model, coordinate) = (i / width, i % width);
            decoder[(model * latents + j) * width + coordinate] = sign;
        }
    }
    Crosscoder {
        width,
        latents,
        encoder_weight: encoder,
        encoder_bias: vec![0.0; latents],
        decoder_weight: decoder,
        decoder_bias: vec![0.0; both],
        code_norm: CodeNorm::Sum,
        activation: Activation::Relu,
        normalizer: None,
        variant: Variant::SharedCode,
    }
}

#[test]
fn a_perfect_dictionary_closes_everything_and_leaves_no_error() {
    for family in ["gemma2", "gpt_neox"] {
        let base = Decoder::load(fixture(family)).unwrap();
        let tuned = tuned(&base, family);
        let crosscoder = perfect(base.width());
        let texts = conversations(base.vocabulary());
        for by in [Normalize::None, Normalize::PerModelScale] {
            let normalizer = normalizer(base.width(), by);
            let pair = TappedPair {
                decoders: [&base, &tuned],
                read_as: &BTreeMap::new(),
                layer: 2,
                site: Site::ResidualPost,
                crosscoder: &crosscoder,
                normalizer: &normalizer,
            };
            let patched = run(&pair, &texts, &config(crosscoder.latents, BASE, TUNED, Mode::Replace));
            let kl = |entry: usize| patched.entry(entry, 0, 0).unwrap().mean;
            assert!(kl(0) > 1e-3, "{family}: {}", kl(0));
            assert!(kl(1).abs() < 1e-6 && (patched.closed(1, 0, 0, 0).unwrap() - 1.0).abs() < 1e-3, "{}", kl(1));
            // Nothing is left in the error: it is as far as nothing.
            assert!((kl(2) - kl(0)).abs() < 1e-5 * (1.0 + kl(0)), "{family}: {} {}", kl(2), kl(0));
            assert_eq!(patched.closed(0, 0, 0, 0), Some(0.0));
            // The untouched model is at zero, to the bit, and agrees with itself.
            assert_eq!(patched.clean(0, 0).unwrap().mean, 0.0);
            assert_eq!(patched.clean(0, 5).unwrap().mean, 1.0);
        }
    }
}

#[test]
fn the_tuned_stream_into_the_tuned_model_is_no_change_to_the_bit() {
    let base = Decoder::load(fixture("llama")).unwrap();
    let tuned = tuned(&base, "llama");
    let (crosscoder, texts) = (crosscoder(base.width(), 64), conversations(base.vocabulary()));
    let normalizer = normalizer(base.width(), Normalize::None);
    for site in SITES {
        let pair = TappedPair {
            decoders: [&base, &tuned],
            read_as: &BTreeMap::new(),
            layer: 0,
            site,
            crosscoder: &crosscoder,
            normalizer: &normalizer,
        };
        let patched = run(&pair, &texts, &config(64, TUNED, TUNED, Mode::Replace));
        assert_eq!(patched.entry(0, 0, 0).unwrap().mean, 0.0, "{site:?}");
        assert_eq!(patched.entry(0, 0, 2), patched.clean(0, 2), "{site:?}");
    }
}

/// The user has asked to stop.
struct Stopped;

impl Watch for Stopped {
    fn progress(&self, _: &Progress) {}

    fn note(&self, _: &str) {}

    fn stop(&self) -> bool {
        true
    }
}

/// More than one window of conversations.
fn many(vocabulary: usize) -> Vec<TokenSequence> {
    let few = conversations(vocabulary);
    let tokens: usize = few.iter().map(TokenSequence::len).sum();
    let mut all: Vec<TokenSequence> = (0..2 * WINDOW / tokens).flat_map(|_| few.clone()).collect();
    for (number, text) in all.iter_mut().enumerate() {
        text.ids[2] = (number % (vocabulary - 4) + 4) as u32;
    }
    all
}

#[test]
fn threads_and_stops_change_no_byte() {
    let base = Decoder::load(fixture("qwen3")).unwrap();
    let tuned = tuned(&base, "qwen3");
    let (crosscoder, texts) = (crosscoder(base.width(), 64), many(base.vocabulary()));
    let normalizer = normalizer(base.width(), Normalize::Rms(5.0));
    let pair = TappedPair {
        decoders: [&base, &tuned],
        read_as: &BTreeMap::new(),
        layer: 1,
        site: Site::ResidualPost,
        crosscoder: &crosscoder,
        normalizer: &normalizer,
    };
    let config = config(64, BASE, TUNED, Mode::Replace);
    let with = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| run(&pair, &texts, &config))
    };
    let one = with(1);
    assert_eq!(one, with(2));
    assert_eq!(one, with(3));
    let mut saved: Vec<Vec<PromptSums>> = Vec::new();
    let mut save = |sums: &[PromptSums]| {
        saved.push(sums.to_vec());
        Ok(())
    };
    patch(&pair, &texts, &config, Vec::new(), &mut save, &Unwatched).unwrap();
    assert!(saved.len() > 1, "{} windows", saved.len());
    // As from a file: f64 read back to the bit.
    let first: Vec<PromptSums> = serde_json::from_str(&serde_json::to_string(&saved[0]).unwrap()).unwrap();
    let stopped = patch(&pair, &texts, &config, first.clone(), &mut |_| Ok(()), &Stopped).unwrap_err();
    assert!(matches!(stopped, xd::ml::Error::Interrupted), "{stopped}");
    let mut windows = 0;
    let resumed = patch(
        &pair,
        &texts,
        &config,
        first,
        &mut |_| {
            windows += 1;
            Ok(())
        },
        &Unwatched,
    )
    .unwrap();
    assert_eq!(one, resumed);
    assert_eq!(windows, saved.len() - 1, "what was done is not done again");
}

#[test]
fn however_many_runs_are_compared_each_is_compared_as_if_alone() {
    let decoder = Decoder::load(fixture("gpt2")).unwrap();
    let other = Decoder::load(fixture("gpt2")).unwrap();
    let (width, positions) = (decoder.width(), 3);
    let mut draws = Draws(1);
    let mut rows = || Tensor::from_vec(draws.many(positions * width, 1.0), (positions, width), &Device::Cpu).unwrap();
    let clean = rows();
    let beside = rows();
    let runs: Vec<Tensor> = (0..5000).map(|_| rows()).collect();
    let reading = Some(Reading { decoder: &other, rows: &beside });
    let next = [1, 5, 9];
    let found = predictions(&decoder, &clean, &runs, reading, &next, &Unwatched).unwrap();
    assert_eq!((found.len(), found[0].len()), (5001, positions));
    for run in [0, 1, 2, 4094, 4095, 4096, 4999] {
        let alone = predictions(&decoder, &clean, &runs[run..=run], reading, &next, &Unwatched).unwrap();
        for (a, b) in [(&alone[1], &found[run + 1]), (&alone[0], &found[0])] {
            let near = |a: &Prediction, b: &Prediction| {
                let differences = [a.kl - b.kl, a.kl_other - b.kl_other, a.loss - b.loss];
                a.agrees == b.agrees && differences.iter().all(|x| x.abs() < 1e-5)
            };
            assert!(a.iter().zip(b.iter()).all(|(a, b)| near(a, b)), "{run}: {a:?} {b:?}");
        }
    }
    assert_eq!(predictions(&decoder, &clean, &[], None, &next, &Unwatched).unwrap().len(), 1);
    assert!(predictions(&decoder, &clean, &runs[..1], None, &[1], &Unwatched).is_err());
    assert!(predictions(&decoder, &clean, &runs[..1], None, &[1, 2, 1_000_000], &Unwatched).is_err());
}

#[test]
fn wrong_latents_and_other_widths_are_refused() {
    let base = Decoder::load(fixture("gpt2")).unwrap();
    let normalizer = normalizer(base.width(), Normalize::None);
    let texts = conversations(base.vocabulary());
    let small = crosscoder(base.width() / 2, 8);
    let right = crosscoder(base.width(), 8);
    let read_as = BTreeMap::new();
    let pair = TappedPair {
        decoders: [&base, &base],
        read_as: &read_as,
        layer: 0,
        site: Site::ResidualPost,
        crosscoder: &right,
        normalizer: &normalizer,
    };
    let refused = |pair: &TappedPair, config: &PatchConfig| {
        patch(pair, &texts, config, Vec::new(), &mut |_| Ok(()), &Unwatched).unwrap_err().to_string()
    };
    let mut beyond = config(8, BASE, TUNED, Mode::Replace);
    beyond.entries = vec![Entry::Latents(vec![8])];
    assert!(refused(&pair, &beyond).contains("latent 8"));
    let config = config(8, BASE, TUNED, Mode::Replace);
    assert!(refused(&TappedPair { crosscoder: &small, ..pair }, &config).contains("width"));
    assert!(refused(&TappedPair { layer: 99, ..pair }, &config).contains("layer 99"));
}

/// docs/method.md 5.2: the published SAE forms, with the rows of the table there.
#[test]
fn autoencoders_of_the_tuned_model_and_of_the_difference_are_crosscoders() {
    let base = Decoder::load(fixture("gemma2")).unwrap();
    let tuned = tuned(&base, "gemma2");
    let (d, n) = (base.width(), 48);
    let mut draws = Draws(9);
    let scale = (3.0 / d as f32).sqrt();
    let (encoder, decoder) = (draws.many(d * n, scale), draws.many(n * d, scale));
    let (b_enc, b_dec) = (draws.many(n, 0.3), draws.many(d, 0.5));
    let texts = conversations(base.vocabulary());
    let read_as = BTreeMap::new();
    let normalizer = normalizer(d, Normalize::None);
    let chosen: Vec<u32> = (0..n as u32).filter(|j| j % 3 != 1).collect();
    for of_difference in [false, true] {
        // The last latent is the bias.
        let count = n + 1;
        let mut crosscoder = Crosscoder {
            latents: count,
            encoder_weight: vec![0.0; 2 * d * count],
            encoder_bias: vec![1.0; count],
            decoder_weight: vec![0.0; 2 * d * count],
            decoder_bias: vec![0.0; 2 * d],
            ..crosscoder(d, count)
        };
        for j in 0..n {
            let shift: f32 = (0..d).map(|i| b_dec[i] * encoder[i * n + j]).sum();
            crosscoder.encoder_bias[j] = b_enc[j] - shift;
            for i in 0..d {
                crosscoder.encoder_weight[(d + i) * count + j] = encoder[i * n + j];
                if of_difference {
                    crosscoder.encoder_weight[i * count + j] = -encoder[i * n + j];
                }
            }
        }
        crosscoder.decoder_weight[count * d..][..n * d].copy_from_slice(&decoder);
        crosscoder.decoder_weight[count * d..][n * d..].copy_from_slice(&b_dec);
        let (layer, site) = (1, Site::ResidualPost);
        let pair = TappedPair {
            decoders: [&base, &tuned],
            read_as: &read_as,
            layer,
            site,
            crosscoder: &crosscoder,
            normalizer: &normalizer,
        };
        let with_bias = [chosen.clone(), vec![n as u32]].concat();
        let config = PatchConfig {
            entries: [Mode::Add, Mode::Replace]
                .into_iter()
                .flat_map(|mode| [&chosen, &with_bias].map(|latents| Entry::LatentsBy(mode, latents.clone())))
                .collect(),
            positions: vec![Positions::All],
            metrics: vec![Metric::Kl],
            ..config(count, BASE, TUNED, Mode::Add)
        };
        let patched = run(&pair, &texts, &config);
        // The autoencoder itself, in f64, at every position.
        let kl_with = |bias: f64| {
            let (mut sum, mut tokens) = (0.0, 0.0);
            for text in &texts {
                let h = [&base, &tuned].map(|decoder| stream(decoder, &text.ids, layer, site));
                let steered: Vec<Vec<f64>> = (0..text.len())
                    .map(|t| {
                        let mut row: Vec<f64> = (0..d).map(|i| h[BASE][t][i] + bias * f64::from(b_dec[i])).collect();
                        for &j in &chosen {
                            let j = j as usize;
                            let x = |i: usize| h[TUNED][t][i] - if of_difference { h[BASE][t][i] } else { 0.0 };
                            let p = (0..d).map(|i| (x(i) - f64::from(b_dec[i])) * f64::from(encoder[i * n + j]));
                            let f = (p.sum::<f64>() + f64::from(b_enc[j])).max(0.0);
                            row.iter_mut().enumerate().for_each(|(i, h)| *h += f * f64::from(decoder[j * d + i]));
                        }
                        row
                    })
                    .collect();
                let p = log_probabilities(&tuned, &text.ids, None);
                let q = log_probabilities(&tuned, &text.ids, Some((layer, site, &steered)));
                for t in predicting(&text.groups) {
                    sum += kl(&p[t], &q[t]);
                    tokens += 1.0;
                }
            }
            sum / tokens
        };
        let want = [kl_with(0.0), kl_with(1.0)];
        // As it is trained: its own weights, in the form of a crosscoder.
        let own = Autoencoder {
            on: if of_difference { Target::Difference } else { Target::Tuned },
            width: d,
            encoder: (0..n * d).map(|place| encoder[place % d * n + place / d]).collect(),
            encoder_bias: b_enc.clone(),
            decoder: decoder.clone(),
            bias: b_dec.clone(),
        };
        let trained = own.crosscoder(Activation::Relu);
        let pair = TappedPair { crosscoder: &trained, ..pair };
        let entries =
            [Mode::Add, Mode::Replace, Mode::AddWithBias].map(|mode| Entry::LatentsBy(mode, chosen.clone())).to_vec();
        let config = PatchConfig { entries, ..config };
        let by_itself = run(&pair, &texts, &config);
        assert!((want[0] - want[1]).abs() > 1e-4, "the bias changes nothing: {want:?}");
        for (entry, want) in [want[0], want[0], want[1]].into_iter().enumerate() {
            let got = by_itself.entry(entry, 0, 0).unwrap().mean;
            assert!((got - want).abs() < 2e-5 * (1.0 + want), "{of_difference}, {entry}: {got}, slowly {want}");
        }
        for (entry, want) in want.into_iter().cycle().take(4).enumerate() {
            let got = patched.entry(entry, 0, 0).unwrap().mean;
            assert!((got - want).abs() < 2e-5 * (1.0 + want), "{of_difference}, {entry}: {got}, slowly {want}");
        }
    }
}

/// The embedded pair with a small crosscoder.
const EXPERIMENT: &str = r#"xd 1

model base = folder("ORGANISM/base")
model chat = folder("ORGANISM/chat")
pair organism {
  base  = base
  tuned = chat
  label = "chat"
}
corpus prose = jsonl("ORGANISM/texts/prose_heldout.jsonl", column = "text")
corpus talk  = jsonl("ORGANISM/texts/chat_heldout.jsonl", column = "messages", template = tokenizer)
activations acts {
  of        = organism
  layer     = 2
  context   = 64 tokens
  train     = [6K tokens of prose, 6K tokens of talk]
  validate  = [500 tokens of prose, 500 tokens of talk]
  exclude   = [bos]
  normalize = per_model_scale
}
crosscoder cc {
  on      = acts
  latents = 256
  loss    = batch_topk(k = 8, dead_after = 5K tokens, threshold_from = 10 steps)
  train {
    batch     = 256 tokens
    length    = 2 epochs
    optimizer = adam(lr = 3e-3, warmup = 10 steps)
  }
}
classify classes { of = cc }
scaling nu {
  of     = cc
  tokens = 4K tokens
}
quality fit {
  of      = cc
  spliced = 300 tokens
}
patch untouched {
  of      = cc
  into    = base
  finish  = base
  prompts = 6 prompts of talk
  insert  = [nothing]
  metric  = [kl, kl_tuned]
}
patch causal {
  of        = cc
  prompts   = 6 prompts of talk
  context   = 64 tokens
  insert    = [
    nothing, everything, error, template,
    best(by = nu.rank, of = classes.shared),
    worst(by = nu.rank, of = classes.shared),
    random(20, seeds = 2),
    threshold(classes.delta_norm > 0.6),
    added = add(threshold(classes.delta_norm > 0.6)),
  ]
  positions = [all, first(10), rest(10), template]
  metric    = [kl, kl_base, loss, loss_argmax, agreement]
}
table effects {
  rows    = causal
  columns = [insert, draw, latents, positions, metric, mean, ci95, ci95_prompts, clean, closed, count, prompts]
}
table distance {
  rows    = untouched
  columns = [insert, positions, metric, mean, clean]
}
table splices {
  rows    = fit
}
expect near = max(fit.ce_recovered) <= 1
"#;

fn experiment() -> String {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments/organism");
    EXPERIMENT.replace("ORGANISM", &folder.display().to_string())
}

/// A table of a run, a map from column to cell a row.
pub fn table(lab: &Lab, path: &str) -> Vec<BTreeMap<String, String>> {
    let mut reader = csv::Reader::from_path(lab.path().join(path)).unwrap();
    reader.deserialize().map(|row| row.unwrap()).collect()
}

#[test]
fn the_embedded_pair_is_patched_and_spliced() {
    let lab = Lab::new(&experiment());
    let said = lab.run(&["--threads", "2", "--store", "a", "--out", "out"]);
    assert!(said.contains("latents are put in at every position"), "{said}");
    let rows = table(&lab, "out/tables/effects.csv");
    assert_eq!(rows.len(), 10 * 4 * 5);
    let find = |insert: &str, positions: &str, metric: &str| {
        let is = |row: &&BTreeMap<String, String>| {
            row["insert"].starts_with(insert) && row["positions"] == positions && row["metric"] == metric
        };
        rows.iter().find(is).unwrap_or_else(|| panic!("{insert} {positions} {metric}: {rows:?}"))
    };
    let number = |cell: &str| cell.parse::<f64>().unwrap_or_else(|_| panic!("`{cell}` is no number"));
    let mean = |insert: &str, positions: &str, metric: &str| number(&find(insert, positions, metric)["mean"]);
    assert!(mean("nothing", "all", "kl") > 0.01);
    assert!(mean("template", "template", "kl") >= 0.0);
    // The finishing model itself: nothing to close, and it agrees with itself.
    let nothing = find("nothing", "all", "kl");
    assert_eq!((nothing["clean"].as_str(), nothing["closed"].as_str(), nothing["latents"].as_str()), ("0", "0", "0"));
    assert_eq!(find("nothing", "all", "agreement")["clean"], "1");
    let closed = number(&find("error", "all", "kl")["closed"]);
    assert!((closed - (1.0 - mean("error", "all", "kl") / mean("nothing", "all", "kl"))).abs() < 1e-4, "{closed}");
    // All positions are those of first and rest.
    for metric in ["kl", "loss"] {
        let part = |positions: &str| {
            let row = find("everything", positions, metric);
            (number(&row["mean"]), number(&row["count"]))
        };
        let ((all, n), (first, a), (rest, b)) = (part("all"), part("first(10)"), part("rest(10)"));
        assert_eq!(n, a + b);
        assert!((all * n - first * a - rest * b).abs() < 1e-3 * n, "{all} {first} {rest}");
    }
    let draws: Vec<&str> =
        rows.iter().filter(|row| row["insert"].starts_with("random")).map(|row| row["draw"].as_str()).collect();
    assert_eq!((draws.len(), draws[0], draws[39]), (40, "0", "1"));
    assert_eq!(find("random", "all", "kl")["latents"], "20");

    // KL(tuned || base), both untouched: the base's own stream is no change.
    for row in table(&lab, "out/tables/distance.csv") {
        assert_eq!(row["mean"], row["clean"], "{row:?}");
        assert_eq!(number(&row["clean"]) > 0.01, row["metric"] == "kl_tuned", "{row:?}");
    }

    let fit = table(&lab, "out/tables/splices.csv");
    assert_eq!(fit.iter().map(|row| row["model"].as_str()).collect::<Vec<_>>(), ["base", "tuned", "joint"]);
    for row in &fit[..2] {
        let of = |column: &str| number(&row[column]);
        assert!(of("ce_clean") < of("ce_spliced") && of("ce_spliced") < of("ce_zero"), "{row:?}");
        let recovered = (of("ce_mean") - of("ce_spliced")) / (of("ce_mean") - of("ce_clean"));
        assert!((recovered - of("ce_recovered_mean")).abs() < 1e-3, "{row:?}");
        assert!(of("kl_spliced") > 0.0);
    }
    assert_eq!(fit[2]["ce_clean"], "");

    lab.run(&["--threads", "1", "--store", "b", "--out", "again"]);
    let changed = crate::support::differing(&lab.results("out"), &lab.results("again"));
    assert_eq!(changed, Vec::<String>::new());
    // Rows that are not stored have the same text, and nearly the same crosscoder.
    lab.write(&experiment().replace("exclude   = [bos]", "exclude   = [bos]\n  store     = none"));
    lab.run(&["--store", "a", "--out", "streamed"]);
    assert_eq!(table(&lab, "streamed/tables/effects.csv").len(), rows.len());
}

#[test]
fn a_corpus_with_fewer_conversations_is_said() {
    let lab = Lab::new(
        &experiment()
            .replace("prompts   = 6 prompts", "prompts   = 9999 prompts")
            .replace("metric    = [kl, kl_base, loss, loss_argmax, agreement]", "metric    = kl"),
    );
    let said = lab.run(&["--out", "out"]);
    assert!(said.contains("conversations to measure, 9999 were asked for"), "{said}");
}
