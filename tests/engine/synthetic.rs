//! A planted pair as a user would configure it.

use std::sync::Arc;

use xd::ml::analysis::LatentClass;
use xd::ml::synthetic::{Dictionary, Split, SyntheticConfig, SyntheticRows};
use xd::ml::{BASE, Rows, TUNED};

pub fn config() -> SyntheticConfig {
    SyntheticConfig {
        width: 64,
        shared: 176,
        weak: 48,
        weak_ratio: (0.3, 0.5),
        ratio: (0.7, 1.3),
        base_only: 16,
        tuned_only: 16,
        active: 8.0,
        tail: 1.5,
        frequency: (0.004, 0.5),
        scale: 4.0,
        magnitude: (0.5, 2.0),
        turn: 0.2,
        correlated: 20,
        correlation: 0.5,
        noise: 0.08,
        seed: 7,
    }
}

#[test]
fn the_truth_has_the_planted_classes_norms_and_frequencies() {
    let dictionary = Dictionary::new(&config()).unwrap();
    let count = |class| dictionary.features.iter().filter(|f| f.class == class).count();
    assert_eq!([LatentClass::Shared, LatentClass::BaseOnly, LatentClass::TunedOnly].map(count), [224, 16, 16]);
    assert_eq!(count(LatentClass::Other), 0);
    let active: f64 = dictionary.features.iter().map(|f| f.frequency).sum();
    assert!((active - 8.0).abs() < 1e-6);
    for (k, feature) in dictionary.features.iter().enumerate() {
        let norms =
            [BASE, TUNED].map(|m| dictionary.direction(m, k).iter().map(|&v| (v * v) as f64).sum::<f64>().sqrt());
        for m in [BASE, TUNED] {
            assert!((norms[m] - feature.norms[m]).abs() < 1e-5);
        }
        match feature.class {
            LatentClass::BaseOnly => assert_eq!((feature.delta_norm(), feature.cosine), (Some(0.0), None)),
            LatentClass::TunedOnly => assert_eq!((feature.delta_norm(), feature.cosine), (Some(1.0), None)),
            _ => {
                let ratio = norms[BASE] / norms[TUNED];
                let range = if k < 176 { 0.7..=1.3 } else { 0.3..=0.5 };
                assert!(range.contains(&((ratio * 1e4).round() / 1e4)), "feature {k}: {ratio}");
                // No shared feature is tuned-only by the paper's rule.
                assert!(feature.delta_norm().unwrap() < 0.86);
                let cosine = feature.cosine.unwrap();
                assert!((cosine - 1.0 / 1.04f64.sqrt()).abs() < 0.08, "feature {k}: {cosine}");
            }
        }
    }
}

#[test]
fn frequencies_are_heavy_tailed() {
    let spread = |tail: f64| {
        let dictionary = Dictionary::new(&SyntheticConfig { tail, ..config() }).unwrap();
        let mut p: Vec<f64> = dictionary.features.iter().map(|f| f.frequency).collect();
        p.sort_by(f64::total_cmp);
        assert!(p[0] >= 0.004 && p[255] <= 0.5);
        let mean = p.iter().sum::<f64>() / p.len() as f64;
        (p[128] / mean, p[255] / mean)
    };
    let (median, largest) = spread(3.0);
    assert!(median < 0.7 && largest > 3.0, "median {median}, largest {largest} times the mean");
    let (milder, _) = spread(1.5);
    assert!(median < milder && milder < 1.0);
}

#[test]
fn the_seed_changes_what_is_planted_and_nothing_else_does() {
    let dictionary = Dictionary::new(&config()).unwrap();
    assert_eq!(dictionary, Dictionary::new(&config()).unwrap());
    assert_ne!(dictionary.directions, Dictionary::new(&SyntheticConfig { seed: 8, ..config() }).unwrap().directions);
    // More rows do not change the first ones.
    let dictionary = Arc::new(dictionary);
    let read = |count| {
        let mut out = vec![0.0; 10 * 128];
        SyntheticRows::new(dictionary.clone(), Split::Train, count).read(0, &mut out).unwrap();
        out
    };
    assert_eq!(read(10), read(100_000));
}

#[test]
fn an_impossible_plan_is_refused_with_its_field() {
    let refused = |config: SyntheticConfig, word: &str| {
        let message = Dictionary::new(&config).unwrap_err().to_string();
        assert!(message.contains(word), "{message}");
    };
    refused(SyntheticConfig { active: 200.0, ..config() }, "active is 200");
    refused(SyntheticConfig { active: 0.1, ..config() }, "active is 0.1");
    refused(SyntheticConfig { ratio: (1.3, 0.7), ..config() }, "ratio is 1.3..0.7");
    refused(SyntheticConfig { frequency: (0.1, 1.5), ..config() }, "probabilities");
    refused(SyntheticConfig { noise: f64::NAN, ..config() }, "noise");
    refused(SyntheticConfig { correlated: 200, ..config() }, "200 correlated pairs");
    refused(SyntheticConfig { width: 0, ..config() }, "width");
}
