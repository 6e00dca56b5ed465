//! Tokens, twins and matches of latents, against slow references in f64 and in whole runs.

use std::collections::BTreeMap;

use xd::ml::analysis::{
    ClassThresholds, CountedGroup, Directions, LatentClass, TokensConfig, TwinsConfig, classify, compare, tokens, twins,
};
use xd::ml::crosscoder::{Activation, Crosscoder};
use xd::ml::watch::Unwatched;
use xd::ml::{BASE, MemoryRows, TUNED, TokenGroup};

use crate::support::{Lab, differing, table};
use crate::toy;

const KINDS: [TokenGroup; 7] = [
    TokenGroup::Text,
    TokenGroup::Bos,
    TokenGroup::Control,
    TokenGroup::User,
    TokenGroup::Assistant,
    TokenGroup::Other,
    TokenGroup::AssistantEnd,
];
const GROUPS: [CountedGroup; 6] = [
    CountedGroup::Control,
    CountedGroup::NonControl,
    CountedGroup::Bos,
    CountedGroup::User,
    CountedGroup::Assistant,
    CountedGroup::Text,
];

/// Rows of all kinds of tokens and of two portions.
fn rows(width: usize, count: usize) -> MemoryRows {
    let mut rows = toy::rows(width, count, 7, 1);
    for (i, info) in rows.infos.iter_mut().enumerate() {
        info.group = KINDS[i * 5 % 7];
        info.corpus = u16::from(i % 3 == 0);
    }
    rows
}

/// f_ij S_j of every row, dense, in f64.
fn scaled(cc: &Crosscoder, rows: &MemoryRows) -> Vec<Vec<f64>> {
    let norms: Vec<f64> = (0..cc.latents).map(|j| toy::code_norm(cc, j)).collect();
    let scale = |row: &[f32]| toy::encode(cc, row).iter().zip(&norms).map(|(f, s)| f * s).collect();
    rows.values.chunks_exact(2 * cc.width).map(scale).collect()
}

/// With so many threads.
fn threads<T: Send>(count: usize, run: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new().num_threads(count).build().unwrap().install(run)
}

#[test]
fn tokens_are_counted_by_the_definition() {
    let cc = toy::crosscoder(10, 24, Activation::Relu, 3);
    let rows = rows(10, 9000);
    let activations = scaled(&cc, &rows);
    for (portions, above) in [(None, 1e-3), (Some(vec![1]), 0.7)] {
        let config = TokensConfig { groups: GROUPS.to_vec(), portions: portions.clone(), above };
        let counted = tokens(&cc, &rows, &config, &Unwatched).unwrap();
        assert_eq!(counted, threads(1, || tokens(&cc, &rows, &config, &Unwatched)).unwrap());
        assert_eq!(counted, threads(3, || tokens(&cc, &rows, &config, &Unwatched)).unwrap());
        let read: Vec<usize> =
            (0..9000).filter(|&i| portions.as_ref().is_none_or(|p| p.contains(&rows.infos[i].corpus))).collect();
        assert_eq!(counted.rows as usize, read.len());
        for j in 0..24 {
            for (g, group) in GROUPS.iter().enumerate() {
                let is_control =
                    |i: &usize| matches!(rows.infos[*i].group, TokenGroup::Control | TokenGroup::AssistantEnd);
                let in_group = |i: &usize| match group {
                    CountedGroup::Control => is_control(i),
                    CountedGroup::NonControl => {
                        !is_control(i) && !matches!(rows.infos[*i].group, TokenGroup::Bos | TokenGroup::Text)
                    }
                    CountedGroup::Bos => rows.infos[*i].group == TokenGroup::Bos,
                    CountedGroup::User => rows.infos[*i].group == TokenGroup::User,
                    CountedGroup::Assistant => rows.infos[*i].group == TokenGroup::Assistant,
                    CountedGroup::Text => rows.infos[*i].group == TokenGroup::Text,
                };
                let of_group: Vec<usize> = read.iter().copied().filter(in_group).collect();
                let active: Vec<f64> = of_group.iter().map(|&i| activations[i][j]).filter(|a| *a > above).collect();
                let whole = read
                    .iter()
                    .filter(|&&i| activations[i][j] > above)
                    .filter(|i| *group != CountedGroup::Control || rows.infos[**i].group != TokenGroup::Bos)
                    .filter(|i| *group == CountedGroup::Text || rows.infos[**i].group != TokenGroup::Text);
                let whole = whole.count() as f64;
                let found = counted.counts[j * GROUPS.len() + g];
                let near = |found: Option<f64>, expected: f64, slack: f64| match found {
                    Some(found) => assert!((found - expected).abs() <= slack, "{j} {group:?}: {found}, not {expected}"),
                    None => assert!(expected.is_nan(), "{j} {group:?}: nothing, not {expected}"),
                };
                // Two rows may fall on the other side of the limit in f32.
                assert!(found.count.abs_diff(active.len() as u64) <= 2);
                near(found.frequency, active.len() as f64 / of_group.len() as f64, 2.0 / of_group.len() as f64);
                near(found.share, active.len() as f64 / whole, 2.0 / whole.max(1.0));
                near(found.mean, active.iter().sum::<f64>() / active.len() as f64, 1e-2);
                near(found.max, active.iter().copied().fold(0.0, f64::max), 1e-4);
                let largest = read.iter().map(|&i| activations[i][j]).filter(|a| *a > above).fold(0.0, f64::max);
                for (b, edges) in [0.0, 0.1, 0.4, 0.7, f64::INFINITY].windows(2).enumerate() {
                    let found = counted.buckets[(j * GROUPS.len() + g) * 4 + b];
                    let inside = |a: &&f64| edges[0] < **a / largest && **a / largest <= edges[1];
                    let expected: Vec<f64> = active.iter().filter(inside).copied().collect();
                    assert!(found.count.abs_diff(expected.len() as u64) <= 2, "{j} {group:?} {b}");
                    near(found.frequency, expected.len() as f64 / of_group.len() as f64, 2.0 / of_group.len() as f64);
                }
            }
        }
    }
}

#[test]
fn without_a_limit_tokens_agree_with_classes() {
    let cc = toy::crosscoder(10, 24, Activation::Threshold { k: 5, threshold: 3.0 }, 3);
    let rows = rows(10, 5000);
    let config = TokensConfig {
        groups: vec![CountedGroup::Control, CountedGroup::NonControl, CountedGroup::Bos, CountedGroup::Text],
        portions: None,
        above: 0.0,
    };
    let counted = tokens(&cc, &rows, &config, &Unwatched).unwrap();
    let classes = classify(&cc, &rows, &ClassThresholds::default(), &Unwatched).unwrap();
    for j in 0..24 {
        let [control, non_control, bos, text] = counted.counts[4 * j..4 * j + 4] else { panic!("four groups") };
        let groups = [control, non_control, bos, text];
        assert_eq!(control.share, classes.control_share[j]);
        let all = groups.iter().map(|c| c.count).sum::<u64>() as f64;
        assert_eq!(all / 5000.0, classes.frequency[j]);
        let largest = groups.iter().filter_map(|c| c.max).fold(0.0, f64::max);
        assert_eq!(largest, classes.max_activation[j]);
        if let Some(mean) = classes.mean_activation[j] {
            let sum: f64 = groups.iter().filter_map(|c| Some(c.mean? * c.count as f64)).sum();
            assert!((sum / all - mean).abs() < 1e-9);
        }
    }
    assert!(classes.control_share.iter().any(|share| share.is_some_and(|s| s > 0.0)));
}

/// Latents 0..12 tuned-only, 12..24 base-only, the rest shared; base-only 12 + i resembles tuned-only i, less and less. What fires is
/// related likewise: the encoder of 12 + i is a mixture of its own and that of i.
fn with_twins() -> (Crosscoder, Vec<LatentClass>) {
    let (d, n) = (10, 40);
    let mut cc = toy::crosscoder(d, n, Activation::Relu, 5);
    for j in 0..24 {
        let silent = if j < 12 { BASE } else { TUNED };
        cc.decoder_weight[(silent * n + j) * d..(silent * n + j + 1) * d].fill(0.0);
    }
    for i in 0..12 {
        let own = 0.06 * i as f32;
        for at in 0..d {
            let twin = cc.decoder_weight[(TUNED * n + i) * d + at];
            let weight = &mut cc.decoder_weight[(BASE * n + 12 + i) * d + at];
            *weight = twin + own * *weight;
        }
        for at in 0..2 * d {
            let twin = cc.encoder_weight[at * n + i];
            let weight = &mut cc.encoder_weight[at * n + 12 + i];
            *weight = if i == 4 { -twin } else { twin + own * *weight };
        }
        cc.encoder_bias[12 + i] = cc.encoder_bias[i];
    }
    // A third latent beside two twins, whose closest one it is not; and a dead twin.
    for at in 0..d {
        let twin = cc.decoder_weight[(TUNED * n + 2) * d + at];
        cc.decoder_weight[(BASE * n + 23) * d + at] = twin + 0.02 * at as f32;
    }
    cc.encoder_bias[12] = -1e6;
    let classes = classify(&cc, &rows(d, 10), &ClassThresholds::default(), &Unwatched).unwrap().class;
    (cc, classes)
}

#[test]
fn twins_are_found_and_held_against_random_pairs() {
    let (cc, classes) = with_twins();
    let rows = rows(10, 3000);
    let config = TwinsConfig { cosine: 0.9, seed: 42 };
    let found = twins(&cc, &classes, &rows, &config, &Unwatched).unwrap();
    assert_eq!(found, threads(1, || twins(&cc, &classes, &rows, &config, &Unwatched)).unwrap());
    assert_eq!(found, threads(3, || twins(&cc, &classes, &rows, &config, &Unwatched)).unwrap());

    let cosine = |j: u32, k: u32| {
        let (a, b) = (toy::decoder(&cc, TUNED, j as usize), toy::decoder(&cc, BASE, k as usize));
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
        dot(&a, &b) / (dot(&a, &a) * dot(&b, &b)).sqrt()
    };
    let mut expected: Vec<(u32, u32)> = Vec::new();
    loop {
        let free = (0..12u32).flat_map(|j| (12..24u32).map(move |k| (j, k)));
        let free = free.filter(|(j, k)| cosine(*j, *k) > 0.9 && !expected.iter().any(|(a, b)| a == j || b == k));
        let Some(best) = free.max_by(|a, b| cosine(a.0, a.1).total_cmp(&cosine(b.0, b.1))) else { break };
        expected.push(best);
    }
    let pairs = |pairs: &[xd::ml::analysis::TwinPair]| pairs.iter().map(|p| (p.tuned, p.base)).collect::<Vec<_>>();
    assert_eq!(pairs(&found.twins), expected);
    assert!(expected.len() >= 4 && expected.contains(&(0, 12)) && expected.contains(&(4, 16)), "{expected:?}");

    let random = pairs(&found.random);
    let different: std::collections::BTreeSet<_> = random.iter().copied().collect();
    assert_eq!((random.len(), different.len()), (expected.len(), expected.len()));
    assert!(random.iter().all(|(j, k)| *j < 12 && (12..24).contains(k) && cosine(*j, *k) <= 0.9));
    let other = twins(&cc, &classes, &rows, &TwinsConfig { seed: 43, ..config }, &Unwatched).unwrap();
    assert!(other.twins == found.twins && other.random != found.random);

    let activations = scaled(&cc, &rows);
    let largest = |j: u32| activations.iter().map(|row| row[j as usize]).fold(0.0, f64::max);
    let bucket = |a: f64| [1e-6, 0.1, 0.4, 0.7].iter().filter(|edge| a > **edge).count();
    for pair in found.twins.iter().chain(&found.random) {
        assert!((pair.cosine.unwrap() - cosine(pair.tuned, pair.base)).abs() < 1e-6);
        let (a, b) = (largest(pair.tuned), largest(pair.base));
        let scales = [
            (pair.divergence(), pair.buckets, [a.max(b); 2]),
            (pair.divergence_relative(), pair.buckets_relative, [a, b]),
        ];
        for (divergence, buckets, of) in scales {
            let mut counts = BTreeMap::new();
            for row in &activations {
                let buckets = (bucket(row[pair.tuned as usize] / of[0]), bucket(row[pair.base as usize] / of[1]));
                *counts.entry(buckets).or_insert(0.0) += 1.0;
            }
            let count = |a: fn(usize) -> bool, b: fn(usize) -> bool| -> f64 {
                counts.iter().filter(|((x, y), _)| a(*x) && b(*y)).map(|(_, n)| n).sum()
            };
            let (high, low, any): (fn(usize) -> bool, fn(usize) -> bool, fn(usize) -> bool) =
                (|x| x >= 3, |x| x < 2, |_| true);
            let apart = count(high, low) + count(low, high);
            let slow = apart / (count(high, any) + count(any, high) - count(high, high) + 1e-10);
            if let Some(buckets) = buckets {
                assert_eq!(buckets.iter().flatten().sum::<u64>(), 3000);
                // A row or two may fall on the other side of an edge in f32.
                for (x, row) in buckets.iter().enumerate() {
                    for (y, count) in row.iter().enumerate() {
                        let slow: f64 = counts.get(&(x, y)).copied().unwrap_or(0.0);
                        assert!((*count as f64 - slow).abs() <= 3.0, "{pair:?}: {x} {y} {slow}");
                    }
                }
            }
            match divergence {
                Some(divergence) => assert!((divergence - slow).abs() < 0.01, "{pair:?}: {slow}"),
                None => assert!(a == 0.0 || b == 0.0, "{pair:?}"),
            }
        }
    }
    let of = |j, k| found.twins.iter().find(|p| (p.tuned, p.base) == (j, k)).unwrap().divergence();
    assert_eq!(of(0, 12), None, "one of the two is dead");
    assert!(of(4, 16).unwrap() > 0.9, "they fire on opposite rows");
    assert!(of(1, 13).unwrap() < 0.5, "they fire together");
}

#[test]
fn no_pair_is_close_enough() {
    let (cc, classes) = with_twins();
    let config = TwinsConfig { cosine: 1.0, seed: 42 };
    let found = twins(&cc, &classes, &rows(10, 100), &config, &Unwatched).unwrap();
    assert!(found.twins.is_empty() && found.random.is_empty());
    let none = vec![LatentClass::Shared; 40];
    assert!(
        twins(&cc, &none, &rows(10, 100), &TwinsConfig { cosine: 0.0, seed: 1 }, &Unwatched).unwrap().twins.is_empty()
    );
}

#[test]
fn matches_are_the_largest_cosines() {
    // More latents than one block has, on both sides.
    let mut a = toy::crosscoder(3, 530, Activation::Relu, 1);
    let b = toy::crosscoder(3, 4300, Activation::Relu, 2);
    for m in 0..2 {
        a.decoder_weight[(m * 530 + 7) * 3..(m * 530 + 8) * 3].fill(0.0);
    }
    let (left, right) = (Directions::of(&a), Directions::of(&b));
    let found = compare(&left, &right, &Unwatched).unwrap();
    assert_eq!(found, threads(1, || compare(&left, &right, &Unwatched)).unwrap());
    assert_eq!(found, threads(3, || compare(&left, &right, &Unwatched)).unwrap());
    let unit = |cc: &Crosscoder, j: usize| {
        let both = [toy::decoder(cc, BASE, j), toy::decoder(cc, TUNED, j)].concat();
        let norm = both.iter().map(|x| x * x).sum::<f64>().sqrt();
        both.iter().map(|x| x / norm).collect::<Vec<f64>>()
    };
    let (rows, columns): (Vec<_>, Vec<_>) =
        ((0..530).map(|j| unit(&a, j)).collect(), (0..4300).map(|k| unit(&b, k)).collect());
    let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
    let mut mutual = 0;
    for (j, found) in found.iter().enumerate() {
        if j == 7 {
            assert_eq!((found.latent, found.cosine, found.mutual), (None, None, false));
            continue;
        }
        let best = columns.iter().map(|column| dot(&rows[j], column)).fold(f64::MIN, f64::max);
        let chosen = &columns[found.latent.unwrap() as usize];
        assert!((found.cosine.unwrap() - best).abs() < 1e-6 && (dot(&rows[j], chosen) - best).abs() < 1e-6, "{j}");
        let back = (0..530).filter(|i| *i != 7).map(|i| dot(&rows[i], chosen)).fold(f64::MIN, f64::max);
        assert_eq!(found.mutual, (back - best).abs() < 1e-7, "{j}: {back} {best}");
        mutual += usize::from(found.mutual);
    }
    assert!((100..530).contains(&mutual), "{mutual}");
    // A crosscoder is matched with itself, and in the other direction matches are mutual just as often.
    let same = compare(&left, &left, &Unwatched).unwrap();
    assert!(same.iter().enumerate().all(|(j, m)| j == 7 || (m.latent == Some(j as u32) && m.mutual)));
    let reversed = compare(&right, &left, &Unwatched).unwrap();
    assert_eq!(reversed.iter().filter(|m| m.mutual).count(), mutual);
    assert!(compare(&left, &Directions::of(&toy::crosscoder(4, 5, Activation::Relu, 1)), &Unwatched).is_err());
}

const PLANTED: &str = r#"xd 1
pair toy = synthetic(width = 16, shared = 20, weak = 4, base_only = 3, tuned_only = 3, active = 4, correlated = 2, seed = 7)
activations acts {
  of       = toy
  train    = 40K tokens
  validate = 4K tokens
}
crosscoder cc for loss in [l1(weight = 0.1), batch_topk(k = 4, dead_after = 5K tokens, threshold_from = 50 steps)] {
  on      = acts
  latents = 96
  train {
    batch     = 256 tokens
    length    = 2 epochs
    optimizer = adam(lr = 3e-3, warmup = 20 steps)
  }
}
classify classes {
  of         = cc
  base_only  = 0.0..0.4
  shared     = 0.4..0.6
  tuned_only = 0.6..1.0
}
tokens fired {
  of     = cc
  groups = [text, control]
}
twins doubles {
  of     = classes
  cosine = 0.2
}
twins strict { of = cc }
compare both {
  a = classes[loss = l1]
  b = cc[loss = batch_topk]
}
recover truth {
  of      = classes
  against = toy
}
table fires {
  rows    = [fired, classes]
  where   = group == text
  columns = [loss, latent, count, fired.frequency, classes.frequency, share, max, max_activation, mean_activation, encoder_norm_base, encoder_cosine]
}
table pairs {
  rows    = doubles
  group   = [loss, pair]
  columns = [loss, pair, n = count(), mean(cosine), mean(divergence)]
}
table strict_pairs {
  rows    = strict
  columns = [loss, tuned_latent, base_latent, cosine]
}
table matched {
  rows    = both
  group   = [class_a, mutual]
  columns = [class_a, mutual, count(), mean(cosine)]
}
table recovered { rows = truth }
expect all_matched = min(both.cosine) > 0.0
"#;

#[test]
fn planted_latents_are_counted_paired_and_matched() {
    let lab = Lab::new(PLANTED);
    lab.run(&["--threads", "2", "--out", "out"]);
    lab.run(&["--threads", "1", "--store", "other", "--out", "again"]);
    assert_eq!(differing(&lab.results("out"), &lab.results("again")), Vec::<String>::new());
    let number = |cell: &str| cell.parse::<f64>().unwrap_or(f64::NAN);
    let fires = table(&lab, "out/tables/fires.csv");
    assert_eq!(fires.len(), 2 * 96);
    for row in &fires {
        // A synthetic pair has plain rows only; what is left out is what is under 1e-3.
        assert!((number(&row[3]) - number(&row[4])).abs() < 0.02, "{row:?}");
        if number(&row[2]) > 0.0 {
            assert!((number(&row[5]) - 1.0).abs() < 1e-12 && (number(&row[6]) / number(&row[7]) - 1.0).abs() < 1e-5);
            assert!(number(&row[8]) > 0.0 && number(&row[8]) <= number(&row[7]), "{row:?}");
        }
        assert!(number(&row[9]) > 0.0 && number(&row[10]).abs() <= 1.0);
    }
    let pairs = table(&lab, "out/tables/pairs.csv");
    assert!(pairs.len() >= 2, "{pairs:?}");
    assert!(pairs.iter().filter(|row| row[1] == "twin").all(|row| number(&row[3]) > 0.2), "{pairs:?}");
    assert!(table(&lab, "out/tables/strict_pairs.csv").iter().all(|row| number(&row[3]) > 0.9));
    let matched = table(&lab, "out/tables/matched.csv");
    assert_eq!(matched.iter().map(|row| number(&row[2])).sum::<f64>(), 96.0);
    assert!(matched.iter().any(|row| row[1] == "true"), "{matched:?}");
    assert_eq!(table(&lab, "out/tables/recovered.csv").len(), 6);
}

const SEEDS: &str = r#"xd 1
pair toy = synthetic(width = 16, shared = 20, weak = 4, base_only = 3, tuned_only = 3, active = 4, correlated = 2, seed = 7)
activations acts {
  of       = toy
  train    = 8K tokens
  validate = 1K tokens
}
crosscoder cc for train.seed in [0, 1] {
  on      = acts
  loss    = batch_topk(k = 4, dead_after = 5K tokens, threshold_from = 10 steps)
  latents = 32
  train {
    batch     = 256 tokens
    length    = 1 epochs
    optimizer = adam(lr = 3e-3, warmup = 10 steps)
  }
}
compare itself {
  a = cc[train.seed = 0]
  b = cc[train.seed = 0]
}
compare between {
  a = cc[train.seed = 0]
  b = cc[train.seed = 1]
}
table own {
  rows    = itself
  columns = [latent_a, latent_b, cosine]
}
table other {
  rows    = between
  columns = [latent_a, latent_b, cosine]
}
"#;

/// Each latent of a seed has its match in the other, and itself in its own seed.
#[test]
fn crosscoders_of_different_seeds_are_matched_with_one_of_them() {
    let lab = Lab::new(SEEDS);
    lab.run(&["--out", "out"]);
    let rows_of = |name: &str| {
        let rows = table(&lab, &format!("out/tables/{name}.csv"));
        assert_eq!(rows.len(), 32, "{name}");
        rows.into_iter().map(|row| (row[0] == row[1], row[2].parse::<f64>().unwrap())).collect::<Vec<_>>()
    };
    let own = rows_of("own");
    assert!(own.iter().all(|(same, cosine)| *same && *cosine > 1.0 - 1e-6), "{own:?}");
    let other = rows_of("other");
    assert!(other.iter().all(|(_, cosine)| *cosine < 1.0 - 1e-6) && other.iter().any(|(_, c)| *c > 0.5), "{other:?}");
}

const EMBEDDED: &str = r#"xd 1
model base = folder("ORGANISM/base")
model chat = folder("ORGANISM/chat")
pair small {
  base  = base
  tuned = chat
}
corpus prose = jsonl("ORGANISM/texts/prose_heldout.jsonl", column = "text")
corpus talk  = jsonl("ORGANISM/texts/chat_heldout.jsonl", column = "messages", template = tokenizer)
activations acts {
  of       = small
  layer    = 2
  context  = 64 tokens
  train    = [4K tokens of prose, 4K tokens of talk]
  validate = [1K tokens of prose, 1K tokens of talk]
  store    = f32
}
crosscoder cc {
  on      = acts
  latents = 128
  loss    = topk(k = 6, dead_after = 2K tokens)
  train {
    batch     = 256 tokens
    length    = 2 epochs
    optimizer = adam(lr = 3e-3, warmup = 10 steps)
  }
}
classify classes {
  of         = cc
  base_only  = 0.0..0.45
  shared     = 0.45..0.55
  tuned_only = 0.55..1.0
}
tokens everywhere {
  of     = cc
  groups = [control, non_control, bos, user, assistant, text]
}
tokens chatting {
  of     = cc
  corpus = talk
}
twins doubles {
  of     = classes
  cosine = 0.1
}

## How many latents fire mostly on the template.
table mostly_template {
  rows    = [chatting, classes]
  where   = group == control
  group   = class
  columns = [class, mostly = share(share > 0.5), a_third = share(share > 0.333), count()]
}
table control {
  rows    = [everywhere, classes]
  where   = group == control
  columns = [latent, share, control_share, frequency]
}
table groups {
  rows    = chatting
  group   = group
  columns = [group, active = mean(count), frequency = mean(frequency)]
}
table whole {
  rows    = everywhere
  group   = group
  columns = [group, active = mean(count)]
}
table pairs { rows = doubles }
"#;

#[test]
fn latents_of_the_embedded_pair_fire_on_tokens_of_the_template() {
    let organism = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments/organism").display().to_string();
    let lab = Lab::new(&EMBEDDED.replace("ORGANISM", &organism));
    lab.run(&["--out", "out"]);
    let number = |cell: &str| cell.parse::<f64>().unwrap_or(f64::NAN);
    let column = |file: &str, name: &str, at: usize| {
        let rows = table(&lab, &format!("out/tables/{file}.csv"));
        rows.iter().find(|row| row[0] == name).map(|row| number(&row[at])).unwrap()
    };
    // Two rows of three groups each: `share` is the share of `classify` but for activations up to 1e-3.
    let control = table(&lab, "out/tables/control.csv");
    assert_eq!(control.len(), 128);
    let alike =
        |row: &&Vec<String>| row[1].is_empty() && row[2].is_empty() || (number(&row[1]) - number(&row[2])).abs() < 0.02;
    assert!(control.iter().filter(alike).count() >= 124, "{control:?}");
    assert!(control.iter().any(|row| number(&row[1]) > 0.5), "some latent fires on the template");
    // In the chats every token is of the template, of the user, of the assistant, or BOS; in prose none of the first three.
    for (part, whole) in [("user", "user"), ("assistant", "assistant"), ("control", "control")] {
        assert!(column("groups", part, 1) > 0.0);
        assert!((column("groups", part, 1) - column("whole", whole, 1)).abs() < 1e-9);
    }
    assert!(column("whole", "text", 1) > 0.0);
    let inner = column("groups", "user", 1) + column("groups", "assistant", 1);
    assert!((column("groups", "non_control", 1) - inner).abs() < 1e-9);
    let mostly = table(&lab, "out/tables/mostly_template.csv");
    assert_eq!(mostly.iter().map(|row| number(&row[3])).sum::<f64>(), 128.0);
    assert!(mostly.iter().all(|row| row[1].is_empty() || number(&row[1]) <= number(&row[2])));
    assert!(!table(&lab, "out/tables/pairs.csv").is_empty());
}
