//! What reconstructions are worth to the models: hhat in the place of h, and each model goes on.

use super::downstream::{Subject, downstream};
use super::held_out::HeldOut;
use super::patch::{hold, windows};
use super::tapped_pair::TappedPair;
use crate::ml::data::TokenSequence;
use crate::ml::lm::Prediction;
use crate::ml::{BASE, Error, Progress, Result, TUNED, Watch};

/// Next-token predictions of one model, means over the positions of all documents, in nats.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Spliced {
    /// Cross entropy as it is.
    pub clean: f64,
    /// With hhat in the place of h.
    pub spliced: f64,
    /// With zeros.
    pub zero: f64,
    /// With the mean of h.
    pub mean: f64,
    /// KL(clean || spliced).
    pub kl: f64,
    /// Predictions.
    pub count: u64,
}

impl Spliced {
    /// (ablated - spliced) / (ablated - clean): 1 where the reconstruction costs nothing, 0 where it is worth no more than an
    /// ablation. `None` where the ablation costs nothing.
    pub fn recovered(&self, ablated: f64) -> Option<f64> {
        Some((ablated - self.spliced) / (ablated - self.clean)).filter(|share| share.is_finite())
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
/// of the rows as the crosscoder sees them. Progress is in tokens of both models. Gives `[base, tuned]`.
pub fn splice(pair: &TappedPair, documents: &[HeldOut], mean: &[f32], watch: &dyn Watch) -> Result<[Spliced; 2]> {
    pair.check()?;
    let mut mean = mean.to_vec();
    pair.normalizer.undo(&mut mean);
    let documents: Vec<&HeldOut> = documents.iter().filter(|document| document.text.len() > 1).collect();
    let lengths: Vec<usize> = documents.iter().map(|document| document.text.len()).collect();
    let total = lengths.iter().sum::<usize>() as u64;
    let mut done = 0;
    let mut sums = [Spliced::default(); 2];
    for window in windows(&lengths) {
        done += lengths[window.clone()].iter().sum::<usize>() as u64;
        measure(pair, &documents[window], &mean, &mut sums, watch)?;
        watch.progress(&Progress { done, total, loss: None });
    }
    for (sums, name) in sums.iter_mut().zip(["base", "tuned"]) {
        let count = sums.count.max(1) as f64;
        for sum in [&mut sums.clean, &mut sums.spliced, &mut sums.zero, &mut sums.mean, &mut sums.kl] {
            *sum /= count;
            if !sum.is_finite() {
                return Err(Error::invalid("splice", format!("the {name} model's predictions are NaN or infinite")));
            }
        }
    }
    Ok(sums)
}

/// Adds up a window of documents.
fn measure(
    pair: &TappedPair,
    documents: &[&HeldOut],
    mean: &[f32],
    sums: &mut [Spliced; 2],
    watch: &dyn Watch,
) -> Result<()> {
    let width = pair.crosscoder.width;
    let texts: Vec<TokenSequence> = documents.iter().map(|document| document.text.clone()).collect();
    let held = hold(pair, &texts, watch)?;
    let mut streams: [Vec<f32>; 2] = [Vec::new(), Vec::new()];
    let mut first = Vec::with_capacity(texts.len());
    for both in &held {
        first.push(streams[BASE].len() / width);
        for model in [BASE, TUNED] {
            streams[model].extend(both[model].values()?);
        }
    }
    let reconstruction = pair.reconstruct(&pair.encode([&streams[BASE], &streams[TUNED]]));
    for model in [BASE, TUNED] {
        let texts = texts.iter().zip(&held);
        let subjects: Vec<Subject> = texts
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
        let total = |run: usize, of: fn(&Prediction) -> f64| found[run].iter().flatten().map(of).sum::<f64>();
        let sums = &mut sums[model];
        sums.clean += total(0, |p| p.loss);
        sums.spliced += total(1, |p| p.loss);
        sums.zero += total(2, |p| p.loss);
        sums.mean += total(3, |p| p.loss);
        sums.kl += total(1, |p| p.kl);
        sums.count += found[0].iter().map(|text| text.len() as u64).sum::<u64>();
    }
    Ok(())
}
