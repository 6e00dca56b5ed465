//! The fields of a declaration at one combination of its own axes.

use std::collections::{BTreeMap, BTreeSet};

use super::typed::{Call, Node};

/// Every field that has a value, by path; `=` is the value of the short form.
#[derive(Clone, Debug, Default)]
pub struct Fields {
    pub nodes: BTreeMap<&'static str, Node>,
    /// Fields that were written but could not be read; they have been reported.
    pub broken: BTreeSet<String>,
}

impl Fields {
    /// The value of a field, written or default.
    pub fn get(&self, path: &str) -> Option<&Node> {
        self.nodes.get(path)
    }

    /// True when everything that was written could be read.
    pub fn is_whole(&self) -> bool {
        self.broken.is_empty() && self.nodes.values().all(|n| n.call().is_none_or(|c| !c.broken))
    }

    /// The form of a field or of the short declaration.
    pub fn call(&self, path: &str) -> Option<&Call> {
        self.get(path)?.call()
    }

    /// The whole number of a field.
    pub fn whole(&self, path: &str) -> Option<u64> {
        self.get(path)?.whole()
    }

    /// The number of a field.
    pub fn number(&self, path: &str) -> Option<f64> {
        self.get(path)?.number()
    }

    /// The word of a field.
    pub fn word(&self, path: &str) -> Option<&'static str> {
        self.get(path)?.word()
    }
}
