//! Characters to mark places of a text with.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use crate::ml::{Error, Result};

/// Code points that Unicode keeps for a program's own use within itself, then the private use of plane 15. Any of them can
/// stand in a text all the same.
const CANDIDATES: [RangeInclusive<char>; 2] = ['\u{FDD0}'..='\u{FDEF}', '\u{F0000}'..='\u{FFFFD}'];

/// Two characters that are in none of the texts. Errors: all that could be taken are there.
pub(super) fn marks<'a>(texts: impl Iterator<Item = &'a str>) -> Result<[char; 2]> {
    let is_candidate = |c: &char| CANDIDATES.iter().any(|range| range.contains(c));
    let taken: BTreeSet<char> = texts.flat_map(str::chars).filter(is_candidate).collect();
    let mut free = CANDIDATES.into_iter().flatten().filter(|c| !taken.contains(c));
    match (free.next(), free.next()) {
        (Some(open), Some(close)) => Ok([open, close]),
        _ => Err(Error::invalid("chat template", "the chat has every character that xd could mark places with")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_in_no_text() {
        assert_eq!(marks(["a", "\u{F8F0}"].into_iter()).unwrap(), ['\u{FDD0}', '\u{FDD1}']);
        assert_eq!(marks(["\u{FDD0}b", "\u{FDD2}"].into_iter()).unwrap(), ['\u{FDD1}', '\u{FDD3}']);
        let all: String = ('\u{FDD0}'..='\u{FDEF}').collect();
        assert_eq!(marks([all.as_str()].into_iter()).unwrap(), ['\u{F0000}', '\u{F0001}']);
        let rest: String = ('\u{F0000}'..='\u{FFFFC}').collect();
        assert!(marks([all.as_str(), rest.as_str()].into_iter()).is_err());
    }
}
