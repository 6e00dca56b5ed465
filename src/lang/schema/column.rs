//! Output columns: what a table, plot or expectation may name.

use super::field::Built;

/// One column of the rows that a kind gives.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    pub name: &'static str,
    pub ty: ColumnType,
    /// Unit, as an axis of a figure shows it; empty for pure numbers.
    pub unit: &'static str,
    /// One sentence, with the formula.
    pub doc: &'static str,
    /// Where it is described; empty where there is nothing to cite.
    pub section: &'static str,
    pub built: Built,
}

/// What the cells hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnType {
    Real,
    Whole,
    Truth,
    /// One of these words.
    Words(&'static [&'static str]),
}

impl Column {
    /// A pure number.
    pub const fn real(name: &'static str, doc: &'static str) -> Self {
        Column { name, ty: ColumnType::Real, unit: "", doc, section: "", built: Built::Yes }
    }

    /// A count or an index.
    pub const fn whole(name: &'static str, doc: &'static str) -> Self {
        Column { name, ty: ColumnType::Whole, unit: "", doc, section: "", built: Built::Yes }
    }

    /// `true` or `false`.
    pub const fn truth(name: &'static str, doc: &'static str) -> Self {
        Column { name, ty: ColumnType::Truth, unit: "", doc, section: "", built: Built::Yes }
    }

    /// One of a few words.
    pub const fn words(name: &'static str, words: &'static [&'static str], doc: &'static str) -> Self {
        Column { name, ty: ColumnType::Words(words), unit: "", doc, section: "", built: Built::Yes }
    }

    /// With a unit.
    pub const fn unit(mut self, unit: &'static str) -> Self {
        self.unit = unit;
        self
    }

    /// With the section that defines it.
    pub const fn section(mut self, section: &'static str) -> Self {
        self.section = section;
        self
    }

    /// Known and refused.
    pub const fn later(mut self, meanwhile: &'static str) -> Self {
        self.built = Built::NotYet(meanwhile);
        self
    }
}
