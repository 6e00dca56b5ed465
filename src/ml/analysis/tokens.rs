//! On which tokens latents fire (docs/method.md 6.1).

use super::pass::Pass;
use crate::ml::crosscoder::Crosscoder;
use crate::ml::{Result, Rows, TokenGroup, Watch};

/// Tokens that are counted together. `Control` and `NonControl` divide all tokens of chats but BOS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CountedGroup {
    /// Written by the chat template, the ends of the assistant's turns among them.
    Control,
    /// All others of chats but BOS.
    NonControl,
    Bos,
    User,
    /// Contents of the assistant.
    Assistant,
    /// Outside of chats.
    Text,
}

impl CountedGroup {
    /// The word in tables.
    pub fn name(self) -> &'static str {
        match self {
            CountedGroup::Control => "control",
            CountedGroup::NonControl => "non_control",
            CountedGroup::Bos => "bos",
            CountedGroup::User => "user",
            CountedGroup::Assistant => "assistant",
            CountedGroup::Text => "text",
        }
    }

    pub(super) fn holds(self, token: TokenGroup) -> bool {
        match self {
            CountedGroup::Control => token.is_control(),
            CountedGroup::NonControl => is_counted(token) && !token.is_control(),
            CountedGroup::Bos => token == TokenGroup::Bos,
            CountedGroup::User => token == TokenGroup::User,
            CountedGroup::Assistant => token == TokenGroup::Assistant,
            CountedGroup::Text => token == TokenGroup::Text,
        }
    }
}

/// Tokens of which shares of control tokens are taken: those of chats but BOS. Plain text has no template, and the published numbers are of
/// chats alone.
pub(super) fn is_counted(token: TokenGroup) -> bool {
    !matches!(token, TokenGroup::Bos | TokenGroup::Text)
}

/// What is counted.
#[derive(Clone, Debug, PartialEq)]
pub struct TokensConfig {
    pub groups: Vec<CountedGroup>,
    /// Portions of the held-out rows that are read; `None` = all.
    pub portions: Option<Vec<u16>>,
    /// A latent counts as active where f_ij S_j is over this (1e-3 in the published code).
    pub above: f64,
}

/// A latent on the tokens of a group.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GroupCount {
    /// n_g: tokens of the group on which it is active.
    pub count: u64,
    /// n_g / tokens of the group; `None` without tokens.
    pub frequency: Option<f64>,
    /// n_g / (n_control + n_non_control + n_bos); for control / (n_control + n_non_control), for text / all active ones. `None` where it
    /// is active on none of these.
    pub share: Option<f64>,
    /// Mean f_ij S_j over those n_g tokens; `None` without any.
    pub mean: Option<f64>,
    /// Largest f_ij S_j of the group, 0 where it is never active; `None` without tokens.
    pub max: Option<f64>,
}

/// All counts.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenCounts {
    /// By latent, and within it by group as asked.
    pub counts: Vec<GroupCount>,
    /// The same of the tokens of one bucket: by latent, group and bucket. The bucket of a token is that of f_ij S_j / max_i f_ij S_j among
    /// [`BUCKET_EDGES`]; frequencies are by all tokens of the group, shares by the active ones of the bucket.
    pub buckets: Vec<GroupCount>,
    /// Rows read.
    pub rows: u64,
}

/// Upper edges of the buckets of activation but the last (published code); an edge belongs to the bucket below it.
pub const BUCKET_EDGES: [f64; 3] = [0.1, 0.4, 0.7];
/// How many buckets there are.
pub const BUCKETS: usize = BUCKET_EDGES.len() + 1;

/// Every kind of token, for sums that are kept apart.
const KINDS: [TokenGroup; 7] = [
    TokenGroup::Text,
    TokenGroup::Bos,
    TokenGroup::Control,
    TokenGroup::User,
    TokenGroup::Assistant,
    TokenGroup::Other,
    TokenGroup::AssistantEnd,
];

/// Active tokens of one kind, and the sum and maximum of f_ij S_j there.
#[derive(Clone, Copy, Default)]
struct Sums {
    count: u64,
    sum: f64,
    max: f64,
}

impl Sums {
    fn add(&mut self, activation: f64) {
        self.count += 1;
        self.sum += activation;
        self.max = self.max.max(activation);
    }
}

/// Sums of a latent by kind of token.
type ByKind = [Sums; KINDS.len()];

/// Counts in two passes over the rows (docs/method.md 6.1: `share`, `frequency`, `mean` and `max` of each latent and group): the first one
/// finds the largest activations, the second one the buckets.
pub fn tokens(
    crosscoder: &Crosscoder,
    rows: &dyn Rows,
    config: &TokensConfig,
    watch: &dyn Watch,
) -> Result<TokenCounts> {
    let mut sums = vec![ByKind::default(); crosscoder.latents];
    let mut seen = [0u64; KINDS.len()];
    let pass = Pass { name: "tokens", crosscoder, rows, portions: config.portions.as_deref(), watch };
    let read = active(&pass, config.above, &mut seen, &mut |j, kind, activation| sums[j][kind].add(activation))?;
    let largest: Vec<f64> = sums.iter().map(|sums| sums.iter().map(|s| s.max).fold(0.0, f64::max)).collect();
    let mut in_bucket = vec![[ByKind::default(); BUCKETS]; crosscoder.latents];
    active(&pass, config.above, &mut [0; KINDS.len()], &mut |j, kind, activation| {
        in_bucket[j][bucket(activation / largest[j])][kind].add(activation);
    })?;
    let of = |sums: &ByKind, group: CountedGroup| count(group, sums, &seen);
    let counts = sums.iter().flat_map(|sums| config.groups.iter().map(|&group| of(sums, group))).collect();
    let buckets = in_bucket.iter().flat_map(|by_bucket| {
        config.groups.iter().flat_map(|&group| by_bucket.iter().map(move |sums| of(sums, group)))
    });
    Ok(TokenCounts { counts, buckets: buckets.collect(), rows: read })
}

/// Shows `each` activation over a limit: latent, place of the kind of token, f_ij S_j. Adds the tokens of each kind to `seen`; how many there
/// were.
fn active(
    pass: &Pass,
    above: f64,
    seen: &mut [u64; KINDS.len()],
    each: &mut dyn FnMut(usize, usize, f64),
) -> Result<u64> {
    let norms = pass.crosscoder.code_norms();
    pass.run(|infos, code| {
        for (i, info) in infos.iter().enumerate() {
            let kind = info.group as usize;
            seen[kind] += 1;
            let (latents, values) = code.row(i);
            for (&j, &f) in latents.iter().zip(values) {
                let activation = f64::from(f) * f64::from(norms[j as usize]);
                if activation > above {
                    each(j as usize, kind, activation);
                }
            }
        }
    })
}

/// Place of a share of the largest activation among the buckets.
fn bucket(share: f64) -> usize {
    BUCKET_EDGES.iter().filter(|edge| share > **edge).count()
}

fn count(group: CountedGroup, sums: &ByKind, seen: &[u64; KINDS.len()]) -> GroupCount {
    let mut of_group = Sums::default();
    let (mut tokens, mut active) = (0, 0);
    for (kind, (sums, seen)) in KINDS.iter().zip(sums.iter().zip(seen)) {
        if group.holds(*kind) {
            tokens += seen;
            of_group.count += sums.count;
            of_group.sum += sums.sum;
            of_group.max = of_group.max.max(sums.max);
        }
        let is_part = match group {
            CountedGroup::Control => is_counted(*kind),
            CountedGroup::Text => true,
            _ => *kind != TokenGroup::Text,
        };
        active += if is_part { sums.count } else { 0 };
    }
    let ratio = |part: f64, whole: u64| (whole > 0).then(|| part / whole as f64);
    GroupCount {
        count: of_group.count,
        frequency: ratio(of_group.count as f64, tokens),
        share: ratio(of_group.count as f64, active),
        mean: ratio(of_group.sum, of_group.count),
        max: (tokens > 0).then_some(of_group.max),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_stands_at_its_number() {
        for (place, kind) in KINDS.iter().enumerate() {
            assert_eq!(*kind as usize, place);
        }
    }

    #[test]
    fn an_edge_belongs_to_the_bucket_below_it() {
        assert_eq!([0.0, 0.1, 0.11, 0.4, 0.5, 0.7, 0.71, 1.0].map(bucket), [0, 0, 1, 1, 2, 2, 3, 3]);
    }
}
