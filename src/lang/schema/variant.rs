//! A form that a value can take, with its own arguments: `l1(weight = 3e-2)`, `folder("path")`, `adam(..)`.

use super::field::{Built, Field};

/// One form and its arguments.
#[derive(Clone, Copy, Debug)]
pub struct Variant {
    pub word: &'static str,
    /// One sentence.
    pub doc: &'static str,
    /// Formula, in plain text; empty where there is none.
    pub formula: &'static str,
    /// Where it is described, such as `paper 2.2`; empty where there is nothing to cite.
    pub section: &'static str,
    pub arguments: &'static [Field],
    pub built: Built,
}

impl Variant {
    /// A form without a formula.
    pub const fn new(word: &'static str, arguments: &'static [Field], doc: &'static str) -> Self {
        Variant { word, doc, formula: "", section: "", arguments, built: Built::Yes }
    }

    /// With its formula and where it is described.
    pub const fn formula(mut self, formula: &'static str, section: &'static str) -> Self {
        self.formula = formula;
        self.section = section;
        self
    }

    /// It is known and refused; the words say what to write meanwhile.
    pub const fn later(mut self, meanwhile: &'static str) -> Self {
        self.built = Built::NotYet(meanwhile);
        self
    }

    /// The argument of this name.
    pub fn argument(&self, word: &str) -> Option<&'static Field> {
        self.arguments.iter().find(|a| a.path == word)
    }
}
