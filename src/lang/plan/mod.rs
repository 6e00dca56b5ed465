//! The plan: every declaration at every point is a step with an address, a content key and a specification.
//!
//! The executor reads nothing else. A step's `spec` holds all values with defaults filled in; its `inputs` say which
//! earlier steps it reads. `id` = blake3 over (kind, step version, the fields of `spec` that change results, ids of the
//! inputs, content hashes of the files read).

mod build;
mod cost;
pub mod draft;
pub mod effort;
pub mod facts;
mod key;
mod lower;
pub mod spec;

use serde::{Deserialize, Serialize};

use super::source::Span;
pub use build::{drafts, plan};
pub use spec::Spec;

/// Index into [`Plan::steps`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StepIndex(pub usize);

/// A file, resolved: what `xd run` will do.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    pub edition: u32,
    /// The `##` lines at the head of the file, before the first declaration and separated from it by an empty line.
    pub docs: Option<String>,
    /// Params in file order with the value in force.
    pub params: Vec<ParamValue>,
    /// In an order in which every step stands after its inputs; ties in file order.
    pub steps: Vec<Step>,
}

/// A param as `--help` and the report show it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ParamValue {
    pub name: String,
    pub value: String,
    pub default: String,
    /// True when `--set` changed it.
    pub set: bool,
    pub docs: Option<String>,
}

/// One declaration at one point.
#[derive(Clone, Debug)]
pub struct Step {
    /// Content key, 64 hex digits.
    pub id: String,
    pub address: Address,
    /// The word of the declaration: `crosscoder`, `scaling`, ...
    pub kind: &'static str,
    /// The declaration's doc comment.
    pub docs: Option<String>,
    pub spec: Spec,
    /// Every step it reads, by the role in which it reads it: `("of", 3)`. A field that takes all points of a name
    /// gives one entry a point, in point order.
    pub inputs: Vec<Input>,
    /// The name of the declaration, for messages that point into the file.
    pub span: Span,
    /// Every field with the value in force and where it came from, for `show` and the report.
    pub resolved: Vec<ResolvedField>,
    pub cost: Cost,
    /// Width d of the activations that it makes or reads; `None` where there are none, or where it is not known yet.
    pub width: Option<u64>,
}

/// A step that another one reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// The field that names it: `of`, `on`, `base`, `tuned`, `from`, `rows`, `data`, `against`, `train`, `left`, ...
    pub role: &'static str,
    pub step: StepIndex,
}

/// `cc[loss = l1, train.seed = 0]`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Address {
    /// The declared name; imported ones as `chat.gemma`.
    pub name: String,
    /// Axis label (the field path) and the value's short name, in declaration order, inherited axes first.
    pub point: Vec<(String, String)>,
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.name)?;
        if !self.point.is_empty() {
            let point: Vec<String> = self.point.iter().map(|(axis, value)| format!("{axis} = {value}")).collect();
            write!(f, "[{}]", point.join(", "))?;
        }
        Ok(())
    }
}

/// A field as `xd show` prints it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ResolvedField {
    pub path: String,
    /// In the syntax of the language.
    pub value: String,
    pub origin: Origin,
}

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// Written in the file, at this place.
    Written(Span),
    /// The default of the schema, with its source, such as `paper 2.2`.
    Default(String),
    /// Filled by the axis of the declaration.
    Axis,
    /// A param in force through `--set name=..`.
    Set(String),
    /// Pinned by the lock file of the experiment.
    Lock,
}

/// What a step will take, before anything is run. Zero means nothing worth naming.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// Tokens (rows) it processes.
    pub tokens: u64,
    /// Floating point operations of f32 products that take as long as its computing does ([`effort`]).
    pub flops: f64,
    /// Bytes that it reads and writes in memory beside these.
    pub bytes: f64,
    pub disk_bytes: u64,
    pub memory_bytes: u64,
    /// Only the tokens are known: the sizes of the models are not, as before a model of the hub is pinned.
    pub unknown: bool,
}
