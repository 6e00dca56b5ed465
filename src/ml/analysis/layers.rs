//! How far two models are apart at each layer (docs/method.md 7).
//!
//! ```text
//! base  -- blocks 0..=l --> h^base --+--> norms, by group of tokens
//!                                    |
//! tuned -- blocks 0..=l --> h^tuned -+--> rest of the tuned model on h^base  --> q
//!                                         the tuned model itself             --> p,   KL_t = sum over v of p_t(v) (ln p_t(v) - ln q_t(v))
//! ```
//!
//! Of a token t, with h of width d: `difference` = ||h^tuned_t - h^base_t||, `relative` = difference / ||h^base_t||, `cosine` =
//! h^base_t . h^tuned_t / (||h^base_t|| ||h^tuned_t||), and both norms; `relative` and `cosine` are 0 where a norm is. Sums are in f64 and in
//! the order of the tokens.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::downstream::{Subject, downstream};
use super::patch::{Mean, Positions, PromptSums, hold, mean, predicting, windows};
use super::tokens::CountedGroup;
use crate::ml::data::TokenSequence;
use crate::ml::lm::{LanguageModel, Site};
use crate::ml::{BASE, Error, Progress, Result, TUNED, Watch};

/// Groups of tokens, as rows have them.
pub const GROUPS: [CountedGroup; 5] =
    [CountedGroup::Control, CountedGroup::NonControl, CountedGroup::Bos, CountedGroup::User, CountedGroup::Assistant];
/// Measures of a token: difference, relative, cosine, norm_base, norm_tuned.
pub const DISTANCES: usize = 5;

/// Two models that read the same tokens.
#[derive(Clone, Copy)]
pub struct TwoModels<'a> {
    /// `[base, tuned]`.
    pub decoders: [&'a dyn LanguageModel; 2],
    /// What the base reads in place of which tokens (docs/method.md 2.3).
    pub read_as: &'a BTreeMap<u32, u32>,
}

impl TwoModels<'_> {
    fn read(&self, model: usize, ids: &[u32]) -> Vec<u32> {
        match model {
            BASE => ids.iter().map(|id| self.read_as.get(id).copied().unwrap_or(*id)).collect(),
            _ => ids.to_vec(),
        }
    }
}

/// Where to look, and what to measure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayersConfig {
    pub layers: Vec<usize>,
    pub site: Site,
    /// Of KL.
    pub positions: Vec<Positions>,
}

/// Sums of one layer, a conversation each.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LayerSums {
    pub layer: usize,
    /// By set of positions.
    kl: Vec<PromptSums>,
    /// By group, and within it by measure.
    distances: Vec<PromptSums>,
}

impl LayerSums {
    /// KL over a set of positions, by its place in the configuration; `None` without such positions.
    pub fn kl(&self, set: usize) -> Option<Mean> {
        mean(self.kl.iter().map(|prompt| (prompt.counts[set], prompt.sums[set])))
    }

    /// A measure over a group of [`GROUPS`], by their places; `None` without such tokens.
    pub fn distance(&self, group: usize, measure: usize) -> Option<Mean> {
        let place = group * DISTANCES + measure;
        mean(self.distances.iter().map(|prompt| (prompt.counts[group], prompt.sums[place])))
    }
}

/// Runs every conversation at every layer. `done` are the sums of the first layers, from an earlier call that was stopped; `save` is given
/// all sums after each layer. Progress is in tokens times layers. Errors: models of different widths, no such layer.
pub fn layers(
    models: &TwoModels,
    conversations: &[TokenSequence],
    config: &LayersConfig,
    done: Vec<LayerSums>,
    save: &mut dyn FnMut(&[LayerSums]) -> Result<()>,
    watch: &dyn Watch,
) -> Result<Vec<LayerSums>> {
    let [base, tuned] = models.decoders;
    if base.width() != tuned.width() {
        let problem = format!("the models have widths {} and {}", base.width(), tuned.width());
        return Err(Error::invalid("compare layers", problem));
    }
    let lengths: Vec<usize> = conversations.iter().map(TokenSequence::len).collect();
    let tokens = lengths.iter().sum::<usize>() as u64;
    let fits = |(sums, layer): (&LayerSums, &usize)| {
        let counts = [sums.kl.len(), sums.distances.len()] == [conversations.len(); 2];
        counts && sums.layer == *layer && sums.kl.iter().all(|prompt| prompt.counts.len() == config.positions.len())
    };
    let mut found = done;
    let good = found.iter().zip(&config.layers).take_while(|pair| fits(*pair)).count();
    found.truncate(good);
    for (place, &layer) in config.layers.iter().enumerate().skip(good) {
        let mut sums = LayerSums { layer, ..LayerSums::default() };
        let mut passed = place as u64 * tokens;
        for window in windows(&lengths) {
            passed += lengths[window.clone()].iter().sum::<usize>() as u64;
            measure(models, &conversations[window], layer, config, &mut sums, watch)?;
            watch.progress(&Progress { done: passed, total: config.layers.len() as u64 * tokens, loss: None });
        }
        found.push(sums);
        save(&found)?;
    }
    Ok(found)
}

/// Adds the sums of the conversations of a window at a layer.
fn measure(
    models: &TwoModels,
    conversations: &[TokenSequence],
    layer: usize,
    config: &LayersConfig,
    sums: &mut LayerSums,
    watch: &dyn Watch,
) -> Result<()> {
    let run = |model: usize, ids: &[u32]| {
        let ids = models.read(model, ids);
        let count = ids.len();
        models.decoders[model].hold(&Tensor::from_vec(ids, (1, count), &Device::Cpu)?, layer, config.site)
    };
    let side_by_side = models.decoders.iter().all(|decoder| decoder.pace().side_by_side);
    let held = hold(&run, conversations, side_by_side, watch)?;
    let mut streams = Vec::with_capacity(held.len());
    let mut subjects = Vec::with_capacity(held.len());
    for (conversation, [base, tuned]) in conversations.iter().zip(&held) {
        streams.push(base.values()?);
        let positions = predicting(&conversation.groups);
        let next = positions.iter().map(|position| conversation.ids[position + 1]).collect();
        subjects.push(Subject { held: tuned, other: None, next, positions });
    }
    let values = |text: usize, _: usize| Ok(streams[text].clone());
    let predicted = downstream(models.decoders[TUNED], None, &subjects, 1, &values, watch)?;
    for (number, conversation) in conversations.iter().enumerate() {
        let tuned = held[number][TUNED].values()?;
        let kl: Vec<f64> = predicted[1][number].iter().map(|prediction| prediction.kl).collect();
        sums.kl.push(diverged(&kl, conversation, &subjects[number].positions, config)?);
        sums.distances.push(apart(&streams[number], &tuned, conversation)?);
    }
    Ok(())
}

fn diverged(
    kl: &[f64],
    conversation: &TokenSequence,
    positions: &[usize],
    config: &LayersConfig,
) -> Result<PromptSums> {
    let mut sums = PromptSums::default();
    for set in &config.positions {
        let members = set.members(&conversation.groups, positions);
        let chosen: Vec<f64> = kl.iter().zip(&members).filter(|(_, is)| **is).map(|(kl, _)| *kl).collect();
        sums.counts.push(chosen.len() as u64);
        sums.sums.push(chosen.iter().fold([0.0; 2], |[sum, squares], x| [sum + x, squares + x * x]));
    }
    finite(sums)
}

fn apart(base: &[f32], tuned: &[f32], conversation: &TokenSequence) -> Result<PromptSums> {
    let width = base.len() / conversation.len().max(1);
    let mut sums = PromptSums { counts: vec![0; GROUPS.len()], sums: vec![[0.0; 2]; GROUPS.len() * DISTANCES] };
    for (token, group) in conversation.groups.iter().enumerate() {
        let at = token * width..(token + 1) * width;
        let measured = distances(&base[at.clone()], &tuned[at]);
        for place in (0..GROUPS.len()).filter(|place| GROUPS[*place].holds(*group)) {
            sums.counts[place] += 1;
            for (sum, x) in sums.sums[place * DISTANCES..].iter_mut().zip(measured) {
                *sum = [sum[0] + x, sum[1] + x * x];
            }
        }
    }
    finite(sums)
}

/// The measures of one token, in the order of [`DISTANCES`].
fn distances(base: &[f32], tuned: &[f32]) -> [f64; DISTANCES] {
    let (mut of_base, mut of_tuned, mut between, mut product) = (0.0, 0.0, 0.0, 0.0);
    for (&b, &t) in base.iter().zip(tuned) {
        let (b, t) = (f64::from(b), f64::from(t));
        of_base += b * b;
        of_tuned += t * t;
        between += (t - b) * (t - b);
        product += b * t;
    }
    let by = |number: f64, length: f64| if length > 0.0 { number / length } else { 0.0 };
    let (of_base, of_tuned, between) = (f64::sqrt(of_base), f64::sqrt(of_tuned), f64::sqrt(between));
    [between, by(between, of_base), by(product, of_base * of_tuned), of_base, of_tuned]
}

fn finite(sums: PromptSums) -> Result<PromptSums> {
    match sums.sums.iter().flatten().all(|sum| sum.is_finite()) {
        true => Ok(sums),
        false => Err(Error::invalid("compare layers", "values of the models are NaN or infinite")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ml::TokenGroup::{Assistant, Bos, Control};

    #[test]
    fn tokens_are_measured_in_their_groups() {
        let conversation = TokenSequence { ids: vec![1, 2, 3], groups: vec![Bos, Control, Assistant] };
        let base = [3.0, 4.0, 1.0, 0.0, 0.0, 0.0];
        let tuned = [3.0, 0.0, 0.0, 2.0, 0.0, 1.0];
        let sums = apart(&base, &tuned, &conversation).unwrap();
        assert_eq!(sums.counts, [1, 1, 1, 0, 1], "control, non_control, bos, user, assistant");
        let of = |group: usize| sums.sums[group * DISTANCES..][..DISTANCES].iter().map(|s| s[0]).collect::<Vec<_>>();
        assert_eq!(of(0), [5f64.sqrt(), 5f64.sqrt(), 0.0, 1.0, 2.0]);
        assert_eq!(of(2), [4.0, 0.8, 0.6, 5.0, 3.0]);
        // A vector of length 0 has no direction, and nothing is large beside it.
        assert_eq!(of(4), [1.0, 0.0, 0.0, 0.0, 1.0]);
        assert_eq!(sums.sums[0], [5f64.sqrt(), 5f64.sqrt() * 5f64.sqrt()]);
    }
}
