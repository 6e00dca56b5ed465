use std::cmp::Ordering;

/// One cell, borrowed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cell<'a> {
    Empty,
    Text(&'a str),
    Whole(i64),
    Real(f64),
    Truth(bool),
}

/// An owned, ordered form of a cell for maps: equal cells have equal keys, and -0 is 0.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Key {
    Empty,
    Truth(bool),
    Whole(i64),
    Real(u64),
    Text(String),
}

impl Cell<'_> {
    /// As a number: whole, real, or yes = 1 and no = 0.
    pub fn number(self) -> Option<f64> {
        match self {
            Self::Whole(n) => Some(n as f64),
            Self::Real(x) => Some(x),
            Self::Truth(t) => Some(f64::from(u8::from(t))),
            Self::Text(_) | Self::Empty => None,
        }
    }

    pub(crate) fn key(self) -> Key {
        match self {
            Self::Empty => Key::Empty,
            Self::Text(text) => Key::Text(text.to_owned()),
            Self::Whole(n) => Key::Whole(n),
            Self::Real(x) => Key::Real(if x == 0.0 { 0 } else { x.to_bits() }),
            Self::Truth(t) => Key::Truth(t),
        }
    }

    /// Order within one column: numbers by size, no before yes, words with the digits in them read as numbers (`s2` before
    /// `s10`). Empty cells compare as equal among themselves and after everything.
    pub fn order(self, other: Self) -> Ordering {
        match (self, other) {
            (Self::Empty, Self::Empty) => Ordering::Equal,
            (Self::Empty, _) => Ordering::Greater,
            (_, Self::Empty) => Ordering::Less,
            (Self::Text(a), Self::Text(b)) => natural(a, b),
            (Self::Whole(a), Self::Whole(b)) => a.cmp(&b),
            (a, b) => match (a.number(), b.number()) {
                (Some(a), Some(b)) => a.partial_cmp(&b).unwrap_or(Ordering::Equal),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => Ordering::Equal,
            },
        }
    }
}

/// As users read it: numbers by size, everything as in a CSV file; an empty cell is an empty string.
impl std::fmt::Display for Cell<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {
            Self::Empty => Ok(()),
            Self::Text(text) => f.write_str(text),
            Self::Whole(n) => write!(f, "{n}"),
            Self::Real(x) => f.write_str(&crate::out::number::short(x)),
            Self::Truth(t) => write!(f, "{t}"),
        }
    }
}

/// Words that are numbers first and by value, then the others piece by piece with runs of digits by value; ties by bytes.
fn natural(a: &str, b: &str) -> Ordering {
    let number = |word: &str| word.parse::<f64>().ok().filter(|x| x.is_finite());
    match (number(a), number(b)) {
        (Some(x), Some(y)) => return x.partial_cmp(&y).unwrap_or(Ordering::Equal).then_with(|| a.cmp(b)),
        (Some(_), None) => return Ordering::Less,
        (None, Some(_)) => return Ordering::Greater,
        (None, None) => {}
    }
    let (mut left, mut right) = (pieces(a), pieces(b));
    loop {
        let order = match (left.next(), right.next()) {
            (None, None) => return a.cmp(b),
            (None, Some(_)) => Ordering::Less,
            (Some(_), None) => Ordering::Greater,
            (Some(x), Some(y)) => match (digits(x), digits(y)) {
                (Some(x), Some(y)) => x.len().cmp(&y.len()).then_with(|| x.cmp(y)),
                _ => x.cmp(y),
            },
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

/// Maximal runs of digits and of everything else.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let first = rest.bytes().next()?.is_ascii_digit();
        let end = rest.bytes().position(|b| b.is_ascii_digit() != first).unwrap_or(rest.len());
        let (piece, after) = rest.split_at(end);
        rest = after;
        Some(piece)
    })
}

/// The digits of a run without leading zeros.
fn digits(piece: &str) -> Option<&str> {
    piece.bytes().all(|b| b.is_ascii_digit()).then(|| piece.trim_start_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_order_of_words_is_total(words in prop::collection::vec("[0-9a!e.-]{0,4}", 3)) {
            let order = |i: usize, j: usize| Cell::Text(&words[i]).order(Cell::Text(&words[j]));
            prop_assert_eq!(order(0, 1), order(1, 0).reverse());
            if order(0, 1) != Ordering::Greater && order(1, 2) != Ordering::Greater {
                prop_assert_ne!(order(0, 2), Ordering::Greater);
            }
        }
    }

    #[test]
    fn words_with_numbers_sort_by_the_number() {
        let mut words = vec!["s10", "s2", "s02", "a", "10", "9", "1e-2", "3e-3"];
        words.sort_by(|a, b| Cell::Text(a).order(Cell::Text(b)));
        assert_eq!(words, ["3e-3", "1e-2", "9", "10", "a", "s02", "s2", "s10"]);
    }
}
