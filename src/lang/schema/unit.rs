//! Units of quantities.

/// What a number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unit {
    /// A plain count, written without a unit.
    Bare,
    Epochs,
    Prompts,
    Steps,
    /// `32x`: a multiple of something the field names, mostly the width.
    Times,
    Tokens,
}

impl Unit {
    /// The units that are written as words.
    pub const WORDS: &'static [Unit] = &[Unit::Tokens, Unit::Steps, Unit::Epochs, Unit::Prompts];

    /// The word after the number, or nothing.
    pub fn word(self) -> &'static str {
        match self {
            Unit::Bare => "",
            Unit::Epochs => "epochs",
            Unit::Prompts => "prompts",
            Unit::Steps => "steps",
            Unit::Times => "x",
            Unit::Tokens => "tokens",
        }
    }

    /// The unit with this word. The singular is understood as well: `1 epoch`.
    pub fn of_word(word: &str) -> Option<Unit> {
        Unit::WORDS.iter().copied().find(|u| u.word() == word || u.word().strip_suffix('s') == Some(word))
    }

    /// A number with this unit, as an example: `20K steps`.
    pub fn example(self, digits: &str) -> String {
        match self {
            Unit::Bare => digits.to_string(),
            Unit::Times => format!("{digits}x"),
            unit => format!("{digits} {}", unit.word()),
        }
    }
}
