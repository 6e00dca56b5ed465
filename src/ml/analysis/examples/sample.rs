//! Which sequences are shown of each latent.

use std::collections::{BTreeMap, BinaryHeap};

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use rayon::prelude::*;

use super::sequences::{SequenceId, Sequences, Survey};
use crate::ml::analysis::some_latents::{Chunk, SomeLatents, raise};
use crate::ml::crosscoder::Crosscoder;
use crate::ml::{Error, Result, Rows, Watch};

/// What to collect.
#[derive(Clone, Debug, PartialEq)]
pub struct ExamplesConfig {
    pub latents: Vec<u32>,
    /// Indices of the portions that are looked at; `None`: all.
    pub portions: Option<Vec<u16>>,
    /// Sequences a latent and bin.
    pub count: usize,
    /// Upper edges, ascending to 1, as shares of the latent's largest activation.
    pub bins: Vec<f64>,
    /// Tokens on each side of the largest activation.
    pub around: u32,
    pub seed: u64,
    /// m_j by latent, where another step has measured them; `None`: they take a pass of their own.
    pub largest: Option<BTreeMap<u32, f32>>,
}

/// A sequence that is shown of a latent.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept {
    pub latent: u32,
    pub bin: u8,
    /// max_i f_ij S_j over the rows i of the sequence.
    pub activation: f32,
    pub sequence: SequenceId,
    /// Where that is, the first place if it is several times, and the token there.
    pub position: u32,
    pub token: u32,
    /// Position and f_j S_j > 0 of the rows within `around` of it, ascending.
    pub fires: Box<[(u32, f32)]>,
}

/// Draws examples: of each latent and bin up to `count` sequences, evenly (docs/method.md 6.3). By latent, strongest bin first, largest
/// activation first.
///
/// With v_js = max_i f_ij S_j over the rows i of sequence s and m_j the largest v_js, s is in the first bin b with v_js <= edge_b m_j. Each pair
/// (j, s) has a random number, drawn from the stream of latent j at the place of s; those of a bin with the smallest ones are kept. That
/// is a reservoir whose result does not depend on the order of the rows, and an even draw without repetition.
///
/// One pass over the activations to draw, and one before it for m_j where the configuration does not say them. The origins of the rows
/// tell the lengths of the sequences and which have the same tokens; those count once, as the first of them. m_j is that of all rows,
/// the portions that are not looked at among them.
///
/// Memory: 48 bytes a sequence and 8 a latent; 16 bytes for each f_ij > 0 of the sequences of which some rows are still to come (a
/// shuffled block of them at most, for rows out of xd's shards); 64 bytes for each kept sequence and 8 for each place where it fires, so
/// 0.5 GB for 73,728 latents, 5 bins, 10 sequences a bin and 9 places each.
///
/// # Errors
/// Rows without text, or that cannot be read.
pub fn sample(
    crosscoder: &Crosscoder,
    rows: &dyn Rows,
    config: &ExamplesConfig,
    watch: &dyn Watch,
) -> Result<Vec<Kept>> {
    if config.bins.is_empty() || config.bins.len() > usize::from(u8::MAX) {
        return Err(Error::invalid("collect examples", format!("{} bins", config.bins.len())));
    }
    let some = SomeLatents::new(crosscoder, &config.latents)?;
    if some.latents().is_empty() {
        return Ok(Vec::new());
    }
    let mut survey = Survey::default();
    rows.origins(&mut |infos| infos.iter().for_each(|info| survey.add(info)))?;
    let sequences = survey.finish(config.portions.as_deref())?;
    let largest = match &config.largest {
        Some(known) => some.latents().iter().map(|latent| known.get(latent).copied().unwrap_or(0.0)).collect(),
        None => {
            let mut largest = vec![0f32; some.latents().len()];
            some.pass(rows, None, watch, |chunk| raise(&mut largest, chunk))?;
            largest
        }
    };
    let generator = ChaCha8Rng::seed_from_u64(config.seed);
    let draw = Draw { config, largest: &largest, latents: some.latents(), generator };
    let mut reservoirs: Vec<BinaryHeap<Ranked>> = Vec::new();
    reservoirs.resize_with(some.latents().len() * config.bins.len(), BinaryHeap::new);
    let mut open: BTreeMap<u32, Open> = BTreeMap::new();
    some.pass(rows, config.portions.as_deref(), watch, |chunk| {
        let closed = take_in(chunk, &sequences, &mut open);
        let found: Vec<Vec<Candidate>> = closed.par_iter().map(|sequence| draw.candidates(sequence)).collect();
        for (sequence, candidates) in closed.iter().zip(&found) {
            candidates.iter().for_each(|candidate| draw.offer(sequence, candidate, &mut reservoirs));
        }
    })?;
    let mut kept = Vec::new();
    for latent in reservoirs.chunks_mut(config.bins.len()) {
        for bin in latent.iter_mut().rev() {
            let mut bin: Vec<Kept> = std::mem::take(bin).into_iter().map(|ranked| ranked.kept).collect();
            bin.sort_unstable_by(|a, b| b.activation.total_cmp(&a.activation).then(a.sequence.cmp(&b.sequence)));
            kept.append(&mut bin);
        }
    }
    Ok(kept)
}

/// A row of a sequence on which a latent fires.
#[derive(Clone, Copy, Debug)]
struct Fire {
    /// Place of the latent among those asked for.
    place: u32,
    position: u32,
    token: u32,
    value: f32,
}

/// A sequence of which rows were met.
#[derive(Debug, Default)]
struct Open {
    id: SequenceId,
    number: u32,
    /// Rows still to come.
    left: u32,
    fires: Vec<Fire>,
}

/// Adds a chunk to the open sequences; those that are complete now, in the order in which they became so.
fn take_in(chunk: &Chunk<'_>, sequences: &Sequences, open: &mut BTreeMap<u32, Open>) -> Vec<Open> {
    let mut closed = Vec::new();
    for (info, fires) in chunk.infos.iter().zip(&chunk.fires) {
        let Some((number, rows)) = sequences.get(info) else { continue };
        let entry = open.entry(number).or_insert_with(|| Open {
            id: (info.corpus, info.sequence),
            number,
            left: rows,
            ..Open::default()
        });
        entry.left -= 1;
        let fire = |&(place, value): &(u32, f32)| Fire { place, position: info.position, token: info.token, value };
        entry.fires.extend(fires.iter().map(fire));
        if entry.left == 0 {
            let mut done = open.remove(&number).unwrap_or_default();
            done.fires.sort_unstable_by_key(|fire| (fire.place, fire.position));
            closed.push(done);
        }
    }
    closed
}

/// A latent that fires in a sequence.
struct Candidate {
    /// Its part of the fires.
    fires: std::ops::Range<usize>,
    peak: Fire,
    bin: usize,
    rank: u64,
}

/// What decides.
struct Draw<'a> {
    config: &'a ExamplesConfig,
    /// m_j, and j, by place.
    largest: &'a [f32],
    latents: &'a [u32],
    generator: ChaCha8Rng,
}

impl Draw<'_> {
    fn candidates(&self, sequence: &Open) -> Vec<Candidate> {
        let mut start = 0;
        let of_one = sequence.fires.chunk_by(|a, b| a.place == b.place);
        let candidate = |fires: &[Fire]| {
            let first = start;
            start += fires.len();
            let peak = fires.iter().fold(fires[0], |peak, fire| if fire.value > peak.value { *fire } else { peak });
            let rank = self.rank(peak.place, sequence.number);
            Candidate { fires: first..start, peak, bin: self.bin(peak), rank }
        };
        of_one.map(candidate).collect()
    }

    /// The first bin whose edge is not below the activation.
    fn bin(&self, peak: Fire) -> usize {
        let most = f64::from(self.largest[peak.place as usize]);
        let fits = |edge: &f64| f64::from(peak.value) <= edge * most;
        self.config.bins.iter().position(fits).unwrap_or(self.config.bins.len() - 1)
    }

    /// The random number of a latent and a sequence.
    fn rank(&self, place: u32, sequence: u32) -> u64 {
        let mut generator = self.generator.clone();
        generator.set_stream(u64::from(self.latents[place as usize]));
        // Two words a number.
        generator.set_word_pos(2 * u128::from(sequence));
        generator.next_u64()
    }

    fn offer(&self, sequence: &Open, candidate: &Candidate, reservoirs: &mut [BinaryHeap<Ranked>]) {
        let Candidate { peak, bin, rank, .. } = candidate;
        let reservoir = &mut reservoirs[peak.place as usize * self.config.bins.len() + bin];
        let order = (*rank, sequence.number);
        if reservoir.len() == self.config.count {
            if reservoir.peek().is_none_or(|last| last.order < order) {
                return;
            }
            reservoir.pop();
        }
        let around = self.config.around;
        let window = peak.position.saturating_sub(around)..=peak.position.saturating_add(around);
        let fires = sequence.fires[candidate.fires.clone()].iter().filter(|fire| window.contains(&fire.position));
        let kept = Kept {
            latent: self.latents[peak.place as usize],
            bin: *bin as u8,
            activation: peak.value,
            sequence: sequence.id,
            position: peak.position,
            token: peak.token,
            fires: fires.map(|fire| (fire.position, fire.value)).collect(),
        };
        reservoir.push(Ranked { order, kept });
    }
}

/// By random number, and the sequence where two are the same.
struct Ranked {
    order: (u64, u32),
    kept: Kept,
}

impl PartialEq for Ranked {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}

impl Eq for Ranked {}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.order.cmp(&other.order)
    }
}
