//! Tuned-only and base-only latents with the same direction (docs/method.md 6.5).

use std::collections::{BTreeMap, BTreeSet};

use rand::SeedableRng;
use rand::seq::index::sample;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::latent_class::LatentClass;
use super::pass::Pass;
use super::vectors::{cosine, unit_rows};
use crate::ml::crosscoder::Crosscoder;
use crate::ml::kernels::{Matrix, product};
use crate::ml::{BASE, Error, Result, Rows, TUNED, Watch};

/// Cosines above which two latents are a pair, and the seed of the random pairs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TwinsConfig {
    pub cosine: f64,
    pub seed: u64,
}

/// Rows by the bucket of the tuned-only latent's activation and that of the base-only one's. With a = f S / maximum the buckets are, by the
/// published edges, up to 1e-6, 0.1, 0.4, 0.7, and over 0.7.
pub type Buckets = [[u64; 5]; 5];

/// Upper edges of the buckets but the last.
const EDGES: [f64; 4] = [1e-6, 0.1, 0.4, 0.7];

/// A tuned-only and a base-only latent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TwinPair {
    pub tuned: u32,
    pub base: u32,
    /// cos(d_tuned^tuned, d_base^base); `None` when one is zero.
    pub cosine: Option<f64>,
    /// All rows, activations as shares of the larger maximum of both; `None` when one of the two never fires.
    pub buckets: Option<Buckets>,
    /// The same, each as a share of its own maximum.
    pub buckets_relative: Option<Buckets>,
}

impl TwinPair {
    /// [`divergence`] by the larger maximum of both.
    pub fn divergence(&self) -> Option<f64> {
        self::divergence(self.buckets.as_ref()?)
    }

    /// [`divergence`], each latent by its own maximum.
    pub fn divergence_relative(&self) -> Option<f64> {
        self::divergence(self.buckets_relative.as_ref()?)
    }
}

/// Pairs by their direction, closest first, and as many random ones.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Twins {
    pub twins: Vec<TwinPair>,
    pub random: Vec<TwinPair>,
    /// Rows read.
    pub rows: u64,
}

/// Tuned-only rows whose cosines with all base-only latents are in memory at a time.
const BLOCK: usize = 512;
/// More than the rounding of a product in f32.
const SLACK: f32 = 1e-4;

/// Finds pairs (j, k), j tuned-only and k base-only, with cos(d_j^tuned, d_k^base) > `cosine`, and how their activations diverge on `rows`
/// (docs/method.md 6.5). From the closest pair on, a pair is dropped when one of its latents stands in a closer one. The random pairs are
/// as many different pairs under the cosine, as far as there are so many.
pub fn twins(
    crosscoder: &Crosscoder,
    classes: &[LatentClass],
    rows: &dyn Rows,
    config: &TwinsConfig,
    watch: &dyn Watch,
) -> Result<Twins> {
    let of = |class| (0..classes.len() as u32).filter(|&j| classes[j as usize] == class).collect::<Vec<u32>>();
    let (tuned, base) = (of(LatentClass::TunedOnly), of(LatentClass::BaseOnly));
    let close = close_pairs(crosscoder, &tuned, &base, config.cosine, watch)?;
    let chosen = greedy(&close);
    let random = random_pairs(&tuned, &base, &close, chosen.len(), config.seed);
    if chosen.is_empty() {
        return Ok(Twins::default());
    }
    let activations = Activations::read(crosscoder, chosen.iter().chain(&random), rows, watch)?;
    let measured = |pairs: &[(u32, u32)]| {
        pairs.par_iter().map(|&pair| activations.diverge(crosscoder, pair)).collect::<Vec<TwinPair>>()
    };
    Ok(Twins { twins: measured(&chosen), random: measured(&random), rows: activations.rows })
}

/// Every pair over the cosine. Products in f32 propose, cosines in f64 decide.
fn close_pairs(
    crosscoder: &Crosscoder,
    tuned: &[u32],
    base: &[u32],
    least: f64,
    watch: &dyn Watch,
) -> Result<BTreeMap<(u32, u32), f64>> {
    let direction = |model: usize, j: u32| crosscoder.decoder_row(model, j as usize);
    let units = |model: usize, latents: &[u32]| unit_rows(latents.iter().map(move |&j| direction(model, j).to_vec()));
    let (width, columns) = (crosscoder.width, units(BASE, base));
    let mut close = BTreeMap::new();
    for block in tuned.chunks(BLOCK) {
        if watch.stop() {
            return Err(Error::Interrupted);
        }
        let mut cosines = vec![0.0f32; block.len() * base.len()];
        let (rows, right) = (units(TUNED, block), Matrix::new(&columns, base.len(), width).transposed());
        product(&mut cosines, Matrix::new(&rows, block.len(), width), right);
        for (&j, cosines) in block.iter().zip(cosines.chunks(base.len().max(1))) {
            for (&k, _) in base.iter().zip(cosines).filter(|(_, c)| **c > least as f32 - SLACK) {
                if let Some(exact) = cosine(direction(TUNED, j), direction(BASE, k)).filter(|c| *c > least) {
                    close.insert((j, k), exact);
                }
            }
        }
    }
    Ok(close)
}

/// The closest pair, then the closest of what is left without its latents, and so on; equal cosines in the order of the latents.
fn greedy(close: &BTreeMap<(u32, u32), f64>) -> Vec<(u32, u32)> {
    let mut order: Vec<((u32, u32), f64)> = close.iter().map(|(pair, cosine)| (*pair, *cosine)).collect();
    order.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    let (mut tuned, mut base) = (BTreeSet::new(), BTreeSet::new());
    let mut chosen = Vec::new();
    for ((j, k), _) in order {
        if !tuned.contains(&j) && !base.contains(&k) {
            tuned.insert(j);
            base.insert(k);
            chosen.push((j, k));
        }
    }
    chosen
}

/// `count` different pairs that are not close, drawn alike.
fn random_pairs(
    tuned: &[u32],
    base: &[u32],
    close: &BTreeMap<(u32, u32), f64>,
    count: usize,
    seed: u64,
) -> Vec<(u32, u32)> {
    let all = tuned.len() * base.len();
    let drawn = sample(&mut ChaCha8Rng::seed_from_u64(seed), all, all.min(count + close.len()));
    let pairs = drawn.into_iter().map(|place| (tuned[place / base.len()], base[place % base.len()]));
    pairs.filter(|pair| !close.contains_key(pair)).take(count).collect()
}

/// Where each latent of some pairs is active: 8 bytes an entry.
struct Activations {
    /// Rows, ascending, and f_ij S_j there.
    of: BTreeMap<u32, Vec<(u32, f32)>>,
    norms: Vec<f32>,
    rows: u64,
}

/// A latent as one pair sees it: its activations and what they are shares of.
struct Scaled<'a> {
    entries: &'a [(u32, f32)],
    /// S_j / maximum.
    factor: f64,
}

impl Scaled<'_> {
    fn bucket(&self, f: f32) -> usize {
        let share = f64::from(f) * self.factor;
        EDGES.iter().filter(|edge| share > **edge).count()
    }
}

impl Activations {
    fn read<'p>(
        crosscoder: &Crosscoder,
        pairs: impl Iterator<Item = &'p (u32, u32)>,
        rows: &dyn Rows,
        watch: &dyn Watch,
    ) -> Result<Self> {
        let wanted: BTreeSet<u32> = pairs.flat_map(|&(j, k)| [j, k]).collect();
        if rows.count() > u64::from(u32::MAX) {
            return Err(Error::invalid("twins", format!("{} rows are more than it can number", rows.count())));
        }
        let mut place = vec![u32::MAX; crosscoder.latents];
        wanted.iter().enumerate().for_each(|(at, &j)| place[j as usize] = at as u32);
        let mut of: Vec<Vec<(u32, f32)>> = vec![Vec::new(); wanted.len()];
        let mut first = 0u32;
        let pass = Pass { name: "twins", crosscoder, rows, portions: None, watch };
        let rows = pass.run(|infos, code| {
            for i in 0..infos.len() {
                let (latents, values) = code.row(i);
                for (&j, &f) in latents.iter().zip(values) {
                    if let Some(entries) = of.get_mut(place[j as usize] as usize) {
                        entries.push((first + i as u32, f));
                    }
                }
            }
            first += infos.len() as u32;
        })?;
        Ok(Activations { of: wanted.into_iter().zip(of).collect(), norms: crosscoder.code_norms(), rows })
    }

    fn entries(&self, j: u32) -> &[(u32, f32)] {
        self.of.get(&j).map_or(&[], Vec::as_slice)
    }

    /// max_i f_ij S_j.
    fn largest(&self, j: u32) -> f64 {
        let norm = f64::from(self.norms[j as usize]);
        self.entries(j).iter().map(|(_, f)| f64::from(*f) * norm).fold(0.0, f64::max)
    }

    fn diverge(&self, crosscoder: &Crosscoder, (tuned, base): (u32, u32)) -> TwinPair {
        let maxima = [tuned, base].map(|j| self.largest(j));
        let both = maxima[0].max(maxima[1]);
        let fire = maxima.iter().all(|m| *m > 0.0);
        let buckets = |of: [f64; 2]| {
            let scaled = |j: u32, maximum: f64| Scaled {
                entries: self.entries(j),
                factor: f64::from(self.norms[j as usize]) / maximum,
            };
            fire.then(|| buckets(&scaled(tuned, of[0]), &scaled(base, of[1]), self.rows))
        };
        TwinPair {
            tuned,
            base,
            cosine: cosine(crosscoder.decoder_row(TUNED, tuned as usize), crosscoder.decoder_row(BASE, base as usize)),
            buckets: buckets([both; 2]),
            buckets_relative: buckets(maxima),
        }
    }
}

/// Counts `rows` rows, of which those that neither latent fires on are in the first bucket of both.
fn buckets(a: &Scaled, b: &Scaled, rows: u64) -> Buckets {
    let mut counts = Buckets::default();
    let mut seen = 0;
    let (mut left, mut right) = (a.entries.iter().peekable(), b.entries.iter().peekable());
    loop {
        let row = match (left.peek(), right.peek()) {
            (Some((l, _)), Some((r, _))) => *l.min(r),
            (Some((l, _)), None) => *l,
            (None, Some((r, _))) => *r,
            (None, None) => break,
        };
        let fa = left.next_if(|(at, _)| *at == row).map_or(0.0, |(_, f)| *f);
        let fb = right.next_if(|(at, _)| *at == row).map_or(0.0, |(_, f)| *f);
        counts[a.bucket(fa)][b.bucket(fb)] += 1;
        seen += 1;
    }
    counts[0][0] += rows - seen;
    counts
}

/// (n[A high, B low] + n[A low, B high]) / (n[A high] + n[B high] - n[both high]) (docs/method.md 6.5), high the last two buckets and low the
/// first two; `None` where none is high. A row on which a latent does not fire is low.
pub fn divergence(counts: &Buckets) -> Option<f64> {
    let (mut apart, mut any) = (0, 0);
    for (a, row) in counts.iter().enumerate() {
        for (b, count) in row.iter().enumerate() {
            any += if a >= 3 || b >= 3 { *count } else { 0 };
            apart += if (a >= 3 && b < 2) || (a < 2 && b >= 3) { *count } else { 0 };
        }
    }
    (any > 0).then(|| apart as f64 / any as f64)
}
