//! What one field or one argument of a variant may hold.

use super::ty::Type;

/// A field of a kind, or an argument of a variant: the whole truth about it.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Dotted path within the declaration: `train.batch`. An argument has a plain word.
    pub path: &'static str,
    pub ty: Type,
    pub default: Default,
    /// The default of a crosscoder with `variant = sae(..)`, where that is another.
    pub default_of_sae: Option<&'static str>,
    /// One sentence.
    pub doc: &'static str,
    /// It never changes a result, so it stays out of the content key.
    pub harmless: bool,
    pub built: Built,
    /// An argument that may stand without its name, in the order of the list.
    pub positional: bool,
    /// All values without a name from here on are the entries of its list.
    pub rest: bool,
}

/// What holds when a field is not written.
#[derive(Clone, Copy, Debug)]
pub enum Default {
    /// It must be written.
    Required,
    /// Nothing holds; the words say what that means.
    Absent(&'static str),
    /// This text of the language, and where the value comes from.
    Text { text: &'static str, source: &'static str },
    /// One text for the L1 losses and one for the top-k losses.
    ByLoss { l1: &'static str, topk: &'static str, source: &'static str },
}

/// Whether this version of xd can do it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Built {
    Yes,
    /// Not yet; what to write meanwhile.
    NotYet(&'static str),
}

impl Field {
    /// A field that must be written, until a default is given.
    pub const fn new(path: &'static str, ty: Type, doc: &'static str) -> Self {
        Field {
            path,
            ty,
            default: Default::Required,
            default_of_sae: None,
            doc,
            harmless: false,
            built: Built::Yes,
            positional: false,
            rest: false,
        }
    }

    /// With a default and its source.
    pub const fn default(mut self, text: &'static str, source: &'static str) -> Self {
        self.default = Default::Text { text, source };
        self
    }

    /// With another default for autoencoders, of the same source.
    pub const fn of_sae(mut self, text: &'static str) -> Self {
        self.default_of_sae = Some(text);
        self
    }

    /// With a default that depends on the loss.
    pub const fn by_loss(mut self, l1: &'static str, topk: &'static str, source: &'static str) -> Self {
        self.default = Default::ByLoss { l1, topk, source };
        self
    }

    /// It may be left out; the words say what holds then.
    pub const fn absent(mut self, meaning: &'static str) -> Self {
        self.default = Default::Absent(meaning);
        self
    }

    /// It does not change results.
    pub const fn harmless(mut self) -> Self {
        self.harmless = true;
        self
    }

    /// It is known and refused; the words say what to write meanwhile.
    pub const fn later(mut self, meanwhile: &'static str) -> Self {
        self.built = Built::NotYet(meanwhile);
        self
    }

    /// It may stand without its name.
    pub const fn positional(mut self) -> Self {
        self.positional = true;
        self
    }

    /// A positional list whose entries stand as arguments: `replace([1, 2], [3, 4])`.
    pub const fn rest(mut self) -> Self {
        self.positional = true;
        self.rest = true;
        self
    }

    /// The last word of the path: `batch` of `train.batch`.
    pub fn word(&self) -> &'static str {
        self.path.rsplit('.').next().unwrap_or(self.path)
    }
}
