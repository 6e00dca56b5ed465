//! What reconstructions are worth to the models: hhat in the place of h, and each model goes on.

use super::downstream::{Subject, downstream};
use super::held_out::HeldOut;
use super::patch::{hold, windows};
use super::ratio::{Ratio, ratio};
use super::tapped_pair::TappedPair;
use crate::ml::data::TokenSequence;
use crate::ml::lm::Prediction;
use crate::ml::{BASE, Error, Progress, Result, TUNED, Watch};

/// Next-token predictions of one model, means over the positions of all documents, in nats. Intervals are over documents.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Spliced {
    /// Cross entropy as it is.
    pub clean: Ratio,
    /// With hhat in the place of h.
    pub spliced: Ratio,
    /// With zeros.
    pub zero: Ratio,
    /// With the mean of h.
    pub mean: Ratio,
    /// KL(clean || spliced).
    pub kl: Ratio,
    /// KL(clean || zeros).
    pub kl_zero: Ratio,
    /// KL(clean || mean).
    pub kl_mean: Ratio,
    /// (zero - spliced) / (zero - clean): 1 where the reconstruction costs nothing, 0 where it is worth no more than the ablation. `None`
    /// where the ablation costs nothing.
    pub recovered: Option<Ratio>,
    /// The same of the mean.
    pub recovered_mean: Option<Ratio>,
    /// (kl_zero - kl) / kl_zero, likewise.
    pub kl_recovered: Option<Ratio>,
    /// The same of the mean.
    pub kl_recovered_mean: Option<Ratio>,
    /// Predictions.
    pub count: u64,
}

/// Sums over the predictions of one document.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    count: f64,
    /// Clean, spliced, zero, mean.
    loss: [f64; 4],
    /// Spliced, zero, mean.
    kl: [f64; 3],
}

impl Spliced {
    /// Of the sums of all documents.
    fn of(documents: &[Sums]) -> Spliced {
        type Pick<'a> = &'a dyn Fn(&Sums) -> [f64; 2];
        let of = |pick: Pick| ratio(documents.iter().map(pick));
        let mean = |pick: &dyn Fn(&Sums) -> f64| of(&|s| [pick(s), s.count]).unwrap_or_default();
        let recovered = |ablated: usize| of(&|s| [s.loss[ablated] - s.loss[1], s.loss[ablated] - s.loss[0]]);
        let kl_recovered = |ablated: usize| of(&|s| [s.kl[ablated] - s.kl[0], s.kl[ablated]]);
        Spliced {
            clean: mean(&|s| s.loss[0]),
            spliced: mean(&|s| s.loss[1]),
            zero: mean(&|s| s.loss[2]),
            mean: mean(&|s| s.loss[3]),
            kl: mean(&|s| s.kl[0]),
            kl_zero: mean(&|s| s.kl[1]),
            kl_mean: mean(&|s| s.kl[2]),
            recovered: recovered(2),
            recovered_mean: recovered(3),
            kl_recovered: kl_recovered(1),
            kl_recovered_mean: kl_recovered(2),
            count: documents.iter().map(|s| s.count as u64).sum(),
        }
    }
}

/// What is tried in the place.
const RUNS: usize = 3;

/// Runs both models on `documents` with three things in the place of h^m, at every position that has a row (others keep h^m):
///
/// ```text
/// hhat^m = mean^m + (sum over j of f_j d_j^m + b^m) / s^m      f by the activation for use, of both models' rows
/// 0
/// the mean of h^m over the held-out rows
/// ```
///
/// Every next token of every document counts, as that model reads it; so do those after positions that keep h. `mean [2, d]` is that
/// of the rows as the crosscoder sees them. Progress is in tokens of both models. Gives `[base, tuned]`; an autoencoder's is the model that it writes to,
/// and the other counts nothing.
pub fn splice(pair: &TappedPair, documents: &[HeldOut], mean: &[f32], watch: &dyn Watch) -> Result<[Spliced; 2]> {
    pair.check()?;
    let mut mean = mean.to_vec();
    pair.normalizer.undo(&mut mean);
    let documents: Vec<&HeldOut> = documents.iter().filter(|document| document.text.len() > 1).collect();
    let lengths: Vec<usize> = documents.iter().map(|document| document.text.len()).collect();
    let total = lengths.iter().sum::<usize>() as u64;
    let mut done = 0;
    let mut sums: [Vec<Sums>; 2] = [Vec::new(), Vec::new()];
    for window in windows(&lengths) {
        done += lengths[window.clone()].iter().sum::<usize>() as u64;
        measure(pair, &documents[window], &mean, &mut sums, watch)?;
        watch.progress(&Progress { done, total, loss: None });
    }
    for (sums, name) in sums.iter().zip(["base", "tuned"]) {
        if !sums.iter().flat_map(|s| s.loss.iter().chain(&s.kl)).all(|x| x.is_finite()) {
            return Err(Error::invalid("splice", format!("the {name} model's predictions are NaN or infinite")));
        }
    }
    Ok(sums.map(|sums| Spliced::of(&sums)))
}

/// The models that the crosscoder reconstructs.
fn measured(pair: &TappedPair) -> Vec<usize> {
    match pair.crosscoder.variant.target() {
        Some(target) => vec![target.model()],
        None => vec![BASE, TUNED],
    }
}

/// Adds up each document of a window.
fn measure(
    pair: &TappedPair,
    documents: &[&HeldOut],
    mean: &[f32],
    sums: &mut [Vec<Sums>; 2],
    watch: &dyn Watch,
) -> Result<()> {
    let width = pair.crosscoder.width;
    let texts: Vec<TokenSequence> = documents.iter().map(|document| document.text.clone()).collect();
    let side_by_side = pair.decoders.iter().all(|decoder| decoder.pace().side_by_side);
    let held = hold(&|model, ids| pair.hold(model, ids), &texts, side_by_side, watch)?;
    let mut streams: [Vec<f32>; 2] = [Vec::new(), Vec::new()];
    let mut first = Vec::with_capacity(texts.len());
    for both in &held {
        first.push(streams[BASE].len() / width);
        for model in [BASE, TUNED] {
            streams[model].extend(both[model].values()?);
        }
    }
    let reconstruction = pair.reconstruct([&streams[BASE], &streams[TUNED]]);
    for model in measured(pair) {
        let both = texts.iter().zip(&held);
        let subjects: Vec<Subject> = both
            .map(|(text, both)| Subject {
                held: &both[model],
                other: None,
                positions: (0..text.len() - 1).collect(),
                next: pair.read(model, &text.ids)[1..].to_vec(),
            })
            .collect();
        let values = |text: usize, run: usize| {
            let kept = &documents[text].kept;
            let mut out = streams[model][first[text] * width..][..kept.len() * width].to_vec();
            for (position, row) in out.chunks_exact_mut(width).enumerate().filter(|(position, _)| kept[*position]) {
                let half = (2 * (first[text] + position) + model) * width;
                match run {
                    0 => row.copy_from_slice(&reconstruction[half..half + width]),
                    1 => row.fill(0.0),
                    _ => row.copy_from_slice(&mean[model * width..(model + 1) * width]),
                }
            }
            Ok(out)
        };
        let found = downstream(pair.decoders[model], None, &subjects, RUNS, &values, watch)?;
        for document in 0..texts.len() {
            let total = |run: usize, of: fn(&Prediction) -> f64| found[run][document].iter().map(of).sum::<f64>();
            sums[model].push(Sums {
                count: found[0][document].len() as f64,
                loss: [0, 1, 2, 3].map(|run| total(run, |p| p.loss)),
                kl: [1, 2, 3].map(|run| total(run, |p| p.kl)),
            });
        }
    }
    Ok(())
}
