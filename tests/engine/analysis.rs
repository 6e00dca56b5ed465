//! Classes and recovery on crosscoders made by hand.

use xd::ml::analysis::{
    ClassRecovery, ClassThresholds, CountedGroup, LatentClass, TokensConfig, classify, recover, recover_unflagged,
    tokens,
};
use xd::ml::crosscoder::{Activation, CodeNorm, Crosscoder, Variant};
use xd::ml::synthetic::{Dictionary, Split, SyntheticConfig, SyntheticRows};
use xd::ml::watch::Unwatched;
use xd::ml::{BASE, MemoryRows, TUNED, TokenGroup};

use crate::toy;

#[test]
fn classes_count_what_fires() {
    let cc = toy::crosscoder(10, 24, Activation::Threshold { k: 5, threshold: 3.0 }, 3);
    let mut rows = toy::rows(10, 5000, 7, 1);
    for (i, info) in rows.infos.iter_mut().enumerate() {
        info.group = match (i % 6, i % 3) {
            (0, _) => TokenGroup::Bos,
            (_, 0) => TokenGroup::Control,
            _ => TokenGroup::User,
        };
    }
    let classes = classify(&cc, &rows, &ClassThresholds::default(), &Unwatched).unwrap();
    let codes: Vec<Vec<f64>> = rows.values.chunks_exact(20).map(|row| toy::encode(&cc, row)).collect();
    for j in 0..24 {
        let active: Vec<usize> = (0..5000).filter(|&i| codes[i][j] > 0.0).collect();
        let largest = active.iter().map(|&i| codes[i][j] * toy::code_norm(&cc, j)).fold(0.0, f64::max);
        assert!((classes.frequency[j] - active.len() as f64 / 5000.0).abs() < 1e-3);
        assert!((classes.max_activation[j] - largest).abs() < 1e-4 * (1.0 + largest));
        assert_eq!(classes.dead[j], active.is_empty());
        let sum: f64 = active.iter().map(|&i| codes[i][j] * toy::code_norm(&cc, j)).sum();
        match classes.mean_activation[j] {
            Some(mean) => assert!((mean - sum / active.len() as f64).abs() < 1e-2),
            None => assert!(active.is_empty()),
        }
        let encoder =
            |m: usize| -> Vec<f64> { (0..10).map(|i| f64::from(cc.encoder_weight[(m * 10 + i) * 24 + j])).collect() };
        let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
        let (b, t) = (encoder(BASE), encoder(TUNED));
        assert!((classes.encoder_norm_base[j] - product(&b, &b).sqrt()).abs() < 1e-9);
        assert!((classes.encoder_norm_tuned[j] - product(&t, &t).sqrt()).abs() < 1e-9);
        let cosine = product(&b, &t) / (product(&b, &b) * product(&t, &t)).sqrt();
        assert!((classes.encoder_cosine[j].unwrap() - cosine).abs() < 1e-9);
        // Row 0 and every sixth one after it is BOS, which counts neither way.
        let counted: Vec<usize> = active.iter().copied().filter(|i| i % 6 != 0).collect();
        let control = counted.iter().filter(|&&i| i % 3 == 0).count() as f64 / counted.len() as f64;
        match classes.control_share[j] {
            Some(share) => assert!((share - control).abs() < 0.01),
            None => assert!(counted.is_empty()),
        }
        let norm = |m| toy::decoder(&cc, m, j).iter().map(|v| v * v).sum::<f64>().sqrt();
        assert!((classes.norm_base[j] - norm(BASE)).abs() < 1e-9 && (classes.norm_tuned[j] - norm(TUNED)).abs() < 1e-9);
    }
    assert!(classes.dead.iter().filter(|&&dead| !dead).count() > 10);
    assert_eq!(classes.counts().iter().map(|(_, count, _)| count).sum::<u64>(), 24);
}

/// Prose stood in the denominator: a latent of the template seemed to be one of everything.
#[test]
fn prose_beside_chats_changes_no_share_of_control_tokens() {
    let cc = toy::crosscoder(10, 24, Activation::Relu, 3);
    let mut chat = toy::rows(10, 1000, 7, 1);
    for (i, info) in chat.infos.iter_mut().enumerate() {
        info.group = [TokenGroup::Bos, TokenGroup::Control, TokenGroup::User, TokenGroup::AssistantEnd][i % 4];
    }
    let prose = toy::rows(10, 3000, 7, 2);
    assert!(prose.infos.iter().all(|info| info.group == TokenGroup::Text));
    let both = MemoryRows {
        width: 10,
        values: [prose.values.clone(), chat.values.clone()].concat(),
        infos: [prose.infos.clone(), chat.infos.clone()].concat(),
    };
    let share = |rows: &MemoryRows| classify(&cc, rows, &ClassThresholds::default(), &Unwatched).unwrap().control_share;
    assert_eq!(share(&both), share(&chat));
    assert!(share(&chat).iter().any(|share| share.is_some_and(|share| share > 0.0 && share < 1.0)));
    assert!(share(&prose).iter().all(Option::is_none));
    let config =
        TokensConfig { groups: vec![CountedGroup::Control, CountedGroup::NonControl], portions: None, above: 0.0 };
    let counts = |rows: &MemoryRows| tokens(&cc, rows, &config, &Unwatched).unwrap().counts;
    assert_eq!(counts(&both), counts(&chat));
}

#[test]
fn a_dead_latent_without_norms_is_other() {
    let mut cc = toy::crosscoder(10, 4, Activation::Relu, 3);
    for m in 0..2 {
        cc.decoder_weight[(m * 4 + 2) * 10..(m * 4 + 3) * 10].fill(0.0);
    }
    cc.encoder_bias[2] = -1e6;
    let classes = classify(&cc, &toy::rows(10, 50, 7, 1), &ClassThresholds::default(), &Unwatched).unwrap();
    assert_eq!((classes.class[2], classes.delta_norm[2], classes.cosine[2]), (LatentClass::Other, None, None));
    assert_eq!((classes.dead[2], classes.control_share[2], classes.max_activation[2]), (true, None, 0.0));
}

#[test]
fn rows_of_another_width_are_an_error() {
    let cc = toy::crosscoder(10, 4, Activation::Relu, 3);
    assert!(
        classify(&cc, &MemoryRows { width: 9, ..MemoryRows::default() }, &ClassThresholds::default(), &Unwatched)
            .is_err()
    );
}

/// 6 shared, 2 base-only, 4 tuned-only features.
fn dictionary() -> Dictionary {
    let config = SyntheticConfig {
        width: 32,
        shared: 4,
        weak: 2,
        weak_ratio: (0.3, 0.5),
        ratio: (0.7, 1.3),
        base_only: 2,
        tuned_only: 4,
        active: 2.0,
        tail: 1.5,
        frequency: (0.01, 0.5),
        scale: 4.0,
        magnitude: (0.5, 2.0),
        turn: 0.2,
        correlated: 0,
        correlation: 0.0,
        noise: 0.0,
        seed: 3,
    };
    Dictionary::new(&config).unwrap()
}

/// A crosscoder whose latent j decodes `[base, tuned]` of feature k for `(k, [base, tuned])`, and always fires unless dead.
fn latents_of(dictionary: &Dictionary, latents: &[(usize, [f32; 2], bool)]) -> Crosscoder {
    let (d, n) = (dictionary.width(), latents.len());
    let mut cc = Crosscoder {
        width: d,
        latents: n,
        encoder_weight: vec![0.0; 2 * d * n],
        encoder_bias: latents.iter().map(|l| if l.2 { 1.0 } else { -1.0 }).collect(),
        decoder_weight: vec![0.0; 2 * n * d],
        decoder_bias: vec![0.0; 2 * d],
        code_norm: CodeNorm::Sum,
        activation: Activation::Relu,
        normalizer: None,
        variant: Variant::SharedCode,
    };
    for (j, (k, norms, _)) in latents.iter().enumerate() {
        for m in 0..2 {
            for (i, w) in dictionary.direction(m, *k).iter().enumerate() {
                cc.decoder_weight[(m * n + j) * d + i] = norms[m] * w;
            }
        }
    }
    cc
}

#[test]
fn recovery_counts_by_hand() {
    let dictionary = dictionary();
    let (both, tuned, base) = ([1.0, 1.0], [0.0, 1.0], [1.0, 0.0]);
    let cc = latents_of(
        &dictionary,
        &[
            (0, both, true),
            (1, both, true),
            (4, both, true),  // weak: classed other or shared, right either way
            (5, tuned, true), // Complete Shrinkage of a weak shared feature: a false tuned-only latent
            (2, tuned, true), // Latent Decoupling of a shared feature: one false tuned-only latent ...
            (2, base, true),  // ... and one false base-only latent
            (6, base, true),
            (8, tuned, true),
            (8, tuned, true), // the same feature again: right, found once
            (9, tuned, true),
            (10, tuned, false), // dead: found by nobody
        ],
    );
    let rows = SyntheticRows::new(std::sync::Arc::new(dictionary.clone()), Split::Validate, 100);
    let classes = classify(&cc, &rows, &ClassThresholds::default(), &Unwatched).unwrap();
    let recovery = recover(&cc, &classes, &dictionary, 0.9).unwrap();
    assert_eq!(recovery.matches.len(), 10);
    let [base, shared, tuned] = &recovery.classes[..] else { panic!("three rows") };
    assert_eq!((tuned.class, tuned.planted, tuned.found), (LatentClass::TunedOnly, 4, 2));
    assert_eq!((tuned.precision, tuned.recall), (Some(3.0 / 5.0), Some(0.5)));
    assert!((tuned.f1.unwrap() - 2.0 * 0.6 * 0.5 / 1.1).abs() < 1e-12);
    // TP 3, FP 2, FN 0, TN 5.
    assert!((tuned.mcc.unwrap() - 15.0 / (5.0f64 * 3.0 * 7.0 * 5.0).sqrt()).abs() < 1e-12);
    assert_eq!((base.planted, base.found, base.precision), (2, 1, Some(0.5)));
    assert_eq!((shared.planted, shared.found, shared.precision), (6, 3, Some(1.0)));
    assert!([base, shared, tuned].iter().all(|row| row.false_tuned_only == 2));
    // Latent Scaling flags one false latent (3) and one right one (9); what it says of other classes does not matter.
    let flagged = [0, 3, 5, 9].into();
    let judged = recover_unflagged(&cc, &classes, &dictionary, 0.9, &flagged).unwrap();
    let [judged_base, judged_shared, judged_tuned] = &judged.classes[..] else { panic!("three rows") };
    assert_eq!((judged_tuned.precision, judged_tuned.recall), (Some(2.0 / 3.0), Some(0.25)));
    assert_eq!(judged_base, &ClassRecovery { false_tuned_only: 1, ..base.clone() });
    assert_eq!(judged_shared, &ClassRecovery { false_tuned_only: 1, ..shared.clone() });
    let wrong: Vec<(u32, u32)> = recovery.matches.iter().filter(|m| !m.right).map(|m| (m.latent, m.feature)).collect();
    assert_eq!(wrong, [(3, 5), (4, 2), (5, 2)]);
}

#[test]
fn a_latent_that_resembles_nothing_is_not_right() {
    let dictionary = dictionary();
    let mut cc = latents_of(&dictionary, &[(8, [0.0, 1.0], true)]);
    // Half feature 8, half feature 9: cosine about 0.7 with either.
    for (i, w) in dictionary.direction(TUNED, 9).iter().enumerate() {
        cc.decoder_weight[32 + i] += w;
    }
    let rows = SyntheticRows::new(std::sync::Arc::new(dictionary.clone()), Split::Validate, 100);
    let classes = classify(&cc, &rows, &ClassThresholds::default(), &Unwatched).unwrap();
    let recovery = recover(&cc, &classes, &dictionary, 0.9).unwrap();
    assert_eq!(recovery.classes[2].precision, Some(0.0));
    assert_eq!((recovery.classes[2].found, recovery.classes[2].false_tuned_only), (0, 1));
    assert_eq!((recovery.classes[2].f1, recovery.classes[1].precision), (Some(0.0), None));
    assert_eq!(recover(&cc, &classes, &dictionary, 0.6).unwrap().classes[2].precision, Some(1.0));
}
