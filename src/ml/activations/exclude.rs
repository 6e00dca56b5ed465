//! Rows that are not stored.

use serde::{Deserialize, Serialize};

use super::source::Vocabulary;
use crate::ml::{RowInfo, TokenGroup};

/// A reason not to store a row.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exclude {
    /// The token that begins a sequence.
    Bos,
    /// Every special token of the tokenizer, among them that one.
    Special,
    /// The norm in either model is over so many times that model's median norm.
    NormAbove(f64),
}

/// Which tokens stay, judged without running a model.
pub(super) struct TokenFilter<'a> {
    pub skip: u64,
    pub exclude: &'a [Exclude],
    pub vocabulary: &'a Vocabulary,
}

impl TokenFilter<'_> {
    pub fn keeps(&self, info: &RowInfo) -> bool {
        if u64::from(info.position) < self.skip {
            return false;
        }
        let bos = info.group == TokenGroup::Bos || self.vocabulary.bos == Some(info.token);
        !self.exclude.iter().any(|reason| match reason {
            Exclude::Bos => bos,
            Exclude::Special => bos || self.vocabulary.special.contains(&info.token),
            Exclude::NormAbove(_) => false,
        })
    }
}

/// The lowest `norm_above` of the list.
pub(super) fn norm_multiple(exclude: &[Exclude]) -> Option<f64> {
    let multiples = exclude.iter().filter_map(|reason| match reason {
        Exclude::NormAbove(multiple) => Some(*multiple),
        _ => None,
    });
    multiples.reduce(f64::min)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bos_with_id_0_is_a_bos() {
        let vocabulary = Vocabulary { bos: Some(0), special: [0, 5].into(), ..Vocabulary::default() };
        let row = |position, token| RowInfo { position, token, ..RowInfo::default() };
        let keeps = |exclude: &[Exclude], info| TokenFilter { skip: 0, exclude, vocabulary: &vocabulary }.keeps(&info);
        assert!(keeps(&[], row(0, 0)));
        assert!(!keeps(&[Exclude::Bos], row(0, 0)));
        assert!(keeps(&[Exclude::Bos], row(0, 5)));
        assert!(!keeps(&[Exclude::Special], row(3, 5)));
        assert!(!keeps(&[Exclude::Special], row(0, 0)));
        assert!(keeps(&[Exclude::Special, Exclude::NormAbove(10.0)], row(1, 1)));
    }

    #[test]
    fn no_bos_is_not_id_0() {
        let vocabulary = Vocabulary::default();
        let filter = TokenFilter { skip: 1, exclude: &[Exclude::Bos], vocabulary: &vocabulary };
        assert!(filter.keeps(&RowInfo { position: 1, ..RowInfo::default() }));
        assert!(!filter.keeps(&RowInfo::default()), "skipped, being at position 0");
    }

    #[test]
    fn the_strictest_norm_counts() {
        assert_eq!(norm_multiple(&[Exclude::NormAbove(10.0), Exclude::Bos, Exclude::NormAbove(4.0)]), Some(4.0));
        assert_eq!(norm_multiple(&[Exclude::Bos]), None);
    }
}
