//! A kind of declaration.

use super::column::Column;
use super::field::{Built, Field};
use super::ty::Type;

/// Further rows of a step, named behind it: `cc.log`.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    pub word: &'static str,
    /// One sentence: what a row is.
    pub doc: &'static str,
    /// The file in its artifact.
    pub file: &'static str,
    /// A CSV file without types, and not a frame of the store.
    pub plain: bool,
    pub columns: &'static [Column],
}

impl Part {
    /// The column of this name.
    pub fn column(&self, name: &str) -> Option<&'static Column> {
        self.columns.iter().find(|c| c.name == name)
    }
}

/// Everything that can be said of one kind.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    pub word: &'static str,
    /// One sentence.
    pub doc: &'static str,
    /// A paragraph more: formulas, conventions, what to mind.
    pub details: &'static str,
    /// Where it is described, such as `paper 2.3`; empty where there is nothing to cite.
    pub section: &'static str,
    /// What stands after `=` in the short form `kind name = value`, if there is a short form.
    pub value: Option<Type>,
    /// What stands in braces, in the order of the reference.
    pub fields: &'static [Field],
    pub columns: &'static [Column],
    /// Other rows that it gives.
    pub parts: &'static [Part],
    /// A declaration that can be copied.
    pub example: &'static str,
    /// Raised when the same inputs give other results, so that stored ones are made anew.
    pub version: u32,
    pub built: Built,
}

impl Kind {
    /// The field with this path.
    pub fn field(&self, path: &str) -> Option<&'static Field> {
        self.fields.iter().find(|f| f.path == path)
    }

    /// The column of this name.
    pub fn column(&self, name: &str) -> Option<&'static Column> {
        self.columns.iter().find(|c| c.name == name)
    }

    /// Other rows of this name.
    pub fn part(&self, word: &str) -> Option<&'static Part> {
        self.parts.iter().find(|part| part.word == word)
    }

    /// True for a block of fields such as `train`.
    pub fn is_block(&self, path: &str) -> bool {
        self.fields.iter().any(|f| f.path.strip_prefix(path).is_some_and(|rest| rest.starts_with('.')))
    }
}
