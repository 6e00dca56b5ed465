//! How far models are apart at each layer, against a slow reference that reruns everything.

use std::collections::BTreeMap;

use xd::ml::analysis::layers::{GROUPS, LayerSums, LayersConfig, TwoModels, layers};
use xd::ml::analysis::patch::{Positions, predicting};
use xd::ml::lm::Decoder;
use xd::ml::watch::Unwatched;
use xd::ml::{BASE, TUNED, TokenGroup};

use crate::lm::{FAMILIES, fixture};
use crate::patch::{SITES, conversations, kl, log_probabilities, stream, tuned};

const SETS: [Positions; 2] = [Positions::All, Positions::First(4)];

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn length(h: &[f64]) -> f64 {
    h.iter().map(|x| x * x).sum::<f64>().sqrt()
}

#[test]
fn layers_are_compared_by_the_definition() {
    for family in &FAMILIES[..2] {
        let base = Decoder::load(fixture(family)).unwrap();
        let tuned = tuned(&base, family);
        let texts = conversations(base.vocabulary());
        // The base reads another token in place of one.
        let read_as = BTreeMap::from([(texts[0].ids[3], 5)]);
        let models = TwoModels { decoders: [&base, &tuned], read_as: &read_as };
        for site in SITES {
            let config = LayersConfig { layers: vec![1, 0], site, positions: SETS.to_vec() };
            let run =
                |done: Vec<LayerSums>| layers(&models, &texts, &config, done, &mut |_| Ok(()), &Unwatched).unwrap();
            let found = run(Vec::new());
            for (at, &layer) in config.layers.iter().enumerate() {
                let mut of_kl = vec![Vec::new(); SETS.len()];
                let mut measured = vec![vec![Vec::new(); GROUPS.len()]; 5];
                for text in &texts {
                    let ids: Vec<u32> = text.ids.iter().map(|id| read_as.get(id).copied().unwrap_or(*id)).collect();
                    let (of_base, of_tuned) =
                        (stream(&base, &ids, layer, site), stream(&tuned, &text.ids, layer, site));
                    let clean = log_probabilities(&tuned, &text.ids, None);
                    let other = log_probabilities(&tuned, &text.ids, Some((layer, site, &of_base)));
                    let positions = predicting(&text.groups);
                    for (set, found) in SETS.iter().zip(&mut of_kl) {
                        let members = set.members(&text.groups, &positions);
                        let chosen = positions.iter().zip(members).filter(|(_, is)| *is);
                        found.extend(chosen.map(|(&t, _)| kl(&clean[t], &other[t])));
                    }
                    for (t, group) in text.groups.iter().enumerate() {
                        let (b, h) = (&of_base[t], &of_tuned[t]);
                        let apart: Vec<f64> = h.iter().zip(b).map(|(h, b)| h - b).collect();
                        let cosine = h.iter().zip(b).map(|(h, b)| h * b).sum::<f64>() / (length(h) * length(b));
                        let all = [length(&apart), length(&apart) / length(b), cosine, length(b), length(h)];
                        let groups: &[usize] = match group {
                            TokenGroup::Control | TokenGroup::AssistantEnd => &[0],
                            TokenGroup::Bos => &[2],
                            TokenGroup::User => &[1, 3],
                            TokenGroup::Assistant => &[1, 4],
                            _ => &[1],
                        };
                        for (measure, x) in all.into_iter().enumerate() {
                            groups.iter().for_each(|&group| measured[measure][group].push(x));
                        }
                    }
                }
                let near = |found: f64, expected: &[f64], what: &str| {
                    let expected = mean(expected);
                    let slack = 2e-4 * expected.abs().max(0.05);
                    assert!(
                        (found - expected).abs() < slack,
                        "{family} {site:?} {layer} {what}: {found}, not {expected}"
                    );
                };
                for (set, expected) in of_kl.iter().enumerate() {
                    near(found[at].kl(set).unwrap().mean, expected, "kl");
                    assert_eq!(found[at].kl(set).unwrap().count as usize, expected.len());
                }
                for (measure, groups) in measured.iter().enumerate() {
                    for (group, expected) in groups.iter().enumerate() {
                        near(found[at].distance(group, measure).unwrap().mean, expected, GROUPS[group].name());
                    }
                }
            }
            // Gone on from the first layer, and from sums that are of something else.
            assert_eq!(run(vec![found[0].clone()]), found);
            assert_eq!(run(vec![found[1].clone()]), found);
        }
    }
}

#[test]
fn models_that_are_the_same_are_not_apart() {
    let base = Decoder::load(fixture(FAMILIES[0])).unwrap();
    let texts = conversations(base.vocabulary());
    let read_as = BTreeMap::new();
    let mut decoders = [&base; 2];
    decoders.swap(BASE, TUNED);
    let config = LayersConfig { layers: vec![0], site: SITES[3], positions: SETS.to_vec() };
    let models = TwoModels { decoders: decoders.map(|decoder| decoder as _), read_as: &read_as };
    let found = layers(&models, &texts, &config, Vec::new(), &mut |_| Ok(()), &Unwatched).unwrap();
    assert!(found[0].kl(0).unwrap().mean.abs() < 1e-9 && found[0].distance(0, 0).unwrap().mean == 0.0);
    assert!((found[0].distance(0, 2).unwrap().mean - 1.0).abs() < 1e-9);
}
