//! The one table of what can be written: kinds, fields, units, forms and their arguments, output columns.
//!
//! Reading of values, checks, defaults, `xd explain` and docs/reference.md come out of it. A new kind is one file here.

mod activations;
mod autointerp;
mod classify;
mod column;
mod compare;
mod corpus;
mod crosscoder;
mod examples;
mod expect;
mod explain;
mod field;
mod kind;
mod latents;
pub mod layers;
pub mod loss;
mod model;
mod pair;
pub mod paper;
mod param;
mod patch;
mod plot;
mod quality;
mod recover;
mod reference;
mod scaling;
mod steer;
mod table;
mod template;
pub mod tokens;
mod twins;
mod ty;
mod unit;
mod variant;
mod word;

pub use column::{Column, ColumnType};
pub use explain::{explain, nearest_word};
pub use field::{Built, Default, Field};
pub use kind::{Kind, Part};
pub use reference::reference;
pub use ty::{Query, Type, article, join};
pub use unit::Unit;
pub use variant::Variant;
pub use word::Word;

/// The classes of Delta_norm.
pub const CLASSES: &[&str] = &["base_only", "shared", "tuned_only", "other"];

/// Every kind, in the order of the reference.
pub const KINDS: &[Kind] = &[
    param::KIND,
    model::KIND,
    pair::KIND,
    corpus::KIND,
    template::KIND,
    activations::KIND,
    loss::KIND,
    crosscoder::KIND,
    classify::KIND,
    scaling::KIND,
    quality::KIND,
    recover::KIND,
    layers::KIND,
    patch::KIND,
    tokens::KIND,
    twins::KIND,
    examples::KIND,
    autointerp::KIND,
    steer::KIND,
    compare::KIND,
    table::KIND,
    plot::KIND,
    expect::KIND,
];

/// The kind with this word.
pub fn kind(word: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|k| k.word == word)
}

/// Every word that the table knows, for suggestions of `xd explain`.
pub fn words() -> Vec<&'static str> {
    let mut words = Vec::new();
    for kind in KINDS {
        words.push(kind.word);
        words.extend(kind.columns.iter().map(|c| c.name));
        let value = kind.value.iter();
        for ty in kind.fields.iter().map(|f| &f.ty).chain(value) {
            words.extend(ty.words().iter().map(|w| w.word));
            for variant in ty.variants() {
                words.push(variant.word);
                words.extend(variant.arguments.iter().map(|a| a.path));
            }
        }
        words.extend(kind.fields.iter().map(|f| f.path));
    }
    words.extend(Unit::WORDS.iter().map(|u| u.word()));
    words.sort_unstable();
    words.dedup();
    words
}
