//! Which planted features a crosscoder found, and how it classed them.

use std::collections::BTreeSet;

use super::classify::Classes;
use super::latent_class::LatentClass;
use super::vectors::cosine;
use crate::ml::crosscoder::Crosscoder;
use crate::ml::synthetic::Dictionary;
use crate::ml::{BASE, Error, Result, TUNED};

/// The planted feature that a live latent resembles most.
#[derive(Clone, Debug, PartialEq)]
pub struct Match {
    pub latent: u32,
    /// What the crosscoder says about it.
    pub class: LatentClass,
    /// Index of the planted feature with the largest cosine.
    pub feature: u32,
    /// What that feature is.
    pub planted: LatentClass,
    pub cosine: f64,
    /// True when it is called tuned-only and flagged, so that it is called by no class.
    pub withdrawn: bool,
    /// True when the cosine reaches the threshold and the class is right: the latent tells the truth about that feature.
    pub right: bool,
}

/// One row a planted class.
#[derive(Clone, Debug, PartialEq)]
pub struct ClassRecovery {
    /// `BaseOnly`, `Shared` or `TunedOnly`.
    pub class: LatentClass,
    /// Features planted in this class.
    pub planted: u64,
    /// Those that at least one latent is right about.
    pub found: u64,
    /// Right latents among the live latents called by this class; `None` when there are none.
    pub precision: Option<f64>,
    /// found / planted; `None` when none was planted.
    pub recall: Option<f64>,
    /// Harmonic mean of the two; 0 when either is 0, `None` when either is undefined.
    pub f1: Option<f64>,
    /// Matthews correlation over the live latents between being called by this class and matching (at the threshold) a
    /// planted feature of it; `None` when a margin of the table is zero.
    pub mcc: Option<f64>,
    /// Live latents called tuned-only (and not withdrawn) that are not right; the same number in every row.
    pub false_tuned_only: u64,
}

/// Rows in the order base-only, shared, tuned-only, and what is behind them.
#[derive(Clone, Debug, PartialEq)]
pub struct Recovery {
    pub classes: Vec<ClassRecovery>,
    /// One a live latent, ascending.
    pub matches: Vec<Match>,
}

/// Holds the classes of a crosscoder against the planted features.
///
/// Dead latents do not count. Every live latent is matched with the planted feature of largest cosine between decoder
/// directions: in the tuned model for latents called tuned-only, in the base for base-only ones, and of the concatenation of
/// both (norms included) for the others. It is *right* when that cosine is at least `threshold` and the feature has the
/// class that the latent is called by; latents called shared and latents called other both say "in both models", since a
/// shared feature may have any norm ratio, so both count as called shared. Two latents on one feature are both right (each
/// tells the truth), but the feature is found once.
pub fn recover(
    crosscoder: &Crosscoder,
    classes: &Classes,
    dictionary: &Dictionary,
    threshold: f64,
) -> Result<Recovery> {
    recover_unflagged(crosscoder, classes, dictionary, threshold, &BTreeSet::new())
}

/// The same after Latent Scaling had its say: a tuned-only latent among the `flagged` (measured, and not found specific) is
/// withdrawn, that is, called by no class. So the false tuned-only latents left are those that were not flagged, and the
/// recall lost is what was flagged wrongly.
pub fn recover_unflagged(
    crosscoder: &Crosscoder,
    classes: &Classes,
    dictionary: &Dictionary,
    threshold: f64,
    flagged: &BTreeSet<u32>,
) -> Result<Recovery> {
    if dictionary.width() != crosscoder.width || classes.class.len() != crosscoder.latents {
        let problem = format!(
            "a dictionary of width {}, a crosscoder of width {} with {} latents, {} classes",
            dictionary.width(),
            crosscoder.width,
            crosscoder.latents,
            classes.class.len()
        );
        return Err(Error::invalid("recover", problem));
    }
    let matches: Vec<Match> = (0..crosscoder.latents)
        .filter(|&j| !classes.dead[j])
        .filter_map(|j| {
            let found = best_match(crosscoder, j, classes.class[j], dictionary, threshold)?;
            let withdrawn = found.class == LatentClass::TunedOnly && flagged.contains(&found.latent);
            Some(Match { withdrawn, right: found.right && !withdrawn, ..found })
        })
        .collect();
    let rows = [LatentClass::BaseOnly, LatentClass::Shared, LatentClass::TunedOnly];
    let classes = rows.map(|class| class_recovery(class, dictionary, &matches, threshold)).to_vec();
    Ok(Recovery { classes, matches })
}

/// `Other` says "in both models" as `Shared` does.
fn called(class: LatentClass) -> LatentClass {
    if class == LatentClass::Other { LatentClass::Shared } else { class }
}

fn best_match(
    crosscoder: &Crosscoder,
    latent: usize,
    class: LatentClass,
    dictionary: &Dictionary,
    threshold: f64,
) -> Option<Match> {
    let resemblance = |k: usize| match called(class) {
        LatentClass::TunedOnly => cosine(crosscoder.decoder_row(TUNED, latent), dictionary.direction(TUNED, k)),
        LatentClass::BaseOnly => cosine(crosscoder.decoder_row(BASE, latent), dictionary.direction(BASE, k)),
        _ => {
            let both = |of: &dyn Fn(usize) -> Vec<f32>| [of(BASE), of(TUNED)].concat();
            let latent = both(&|m| crosscoder.decoder_row(m, latent).to_vec());
            cosine(&latent, &both(&|m| dictionary.direction(m, k).to_vec()))
        }
    };
    let mut best: Option<(usize, f64)> = None;
    for k in 0..dictionary.features.len() {
        if let Some(c) = resemblance(k)
            && best.is_none_or(|(_, b)| c > b)
        {
            best = Some((k, c));
        }
    }
    let (feature, cosine) = best?;
    let planted = dictionary.features[feature].class;
    let right = cosine >= threshold && planted == called(class);
    Some(Match { latent: latent as u32, class, feature: feature as u32, planted, cosine, withdrawn: false, right })
}

fn class_recovery(class: LatentClass, dictionary: &Dictionary, matches: &[Match], threshold: f64) -> ClassRecovery {
    let planted = dictionary.features.iter().filter(|f| f.class == class).count() as u64;
    let (mut yes_yes, mut yes_no, mut no_yes, mut no_no) = (0u64, 0u64, 0u64, 0u64);
    let mut found = BTreeSet::new();
    for m in matches {
        let truly = m.cosine >= threshold && m.planted == class;
        match (!m.withdrawn && called(m.class) == class, truly) {
            (true, true) => {
                yes_yes += 1;
                found.insert(m.feature);
            }
            (true, false) => yes_no += 1,
            (false, true) => no_yes += 1,
            (false, false) => no_no += 1,
        }
    }
    let found = found.len() as u64;
    let precision = share(yes_yes, yes_yes + yes_no);
    let recall = share(found, planted);
    let f1 = precision.zip(recall).map(|(p, r)| if p + r > 0.0 { 2.0 * p * r / (p + r) } else { 0.0 });
    let wrong = |m: &&Match| m.class == LatentClass::TunedOnly && !m.withdrawn && !m.right;
    let false_tuned_only = matches.iter().filter(wrong).count() as u64;
    let mcc = matthews(yes_yes as f64, yes_no as f64, no_yes as f64, no_no as f64);
    ClassRecovery { class, planted, found, precision, recall, f1, mcc, false_tuned_only }
}

fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

fn matthews(tp: f64, fp: f64, fn_: f64, tn: f64) -> Option<f64> {
    let margins = (tp + fp) * (tp + fn_) * (tn + fp) * (tn + fn_);
    (margins > 0.0).then(|| (tp * tn - fp * fn_) / margins.sqrt())
}
